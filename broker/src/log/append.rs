//! Appending: by the leader with offsets and validation, by a follower as the leader's bytes
//! (`UnifiedLog.append`, `LogValidator`).

use crate::config::TopicConfig;
use crate::disk::{Disk, DiskError};
use crate::ids::{LeaderEpoch, Offset};
use crate::log::batch::{BatchError, BatchHeader, check_records, patch, set_max_timestamp};
use crate::log::partition_log::{BatchMetadata, PartitionLog};
use crate::log::producer_state::ProducerStateError;
use crate::wire::ErrorCode;

/// `log.message.timestamp.after.max.ms`: how far a record may lie in the broker's future, in
/// milliseconds. The default since 4.0 (KIP-1030); `before.max.ms` has no bound.
pub const MESSAGE_TIMESTAMP_AFTER_MAX_MS: i64 = 3_600_000;

/// Why a log refuses records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// MESSAGE_TOO_LARGE.
    #[error("batch of {size} bytes is above max.message.bytes of {max}")]
    RecordTooLarge {
        /// Bytes of the batch.
        size: usize,
        /// `max.message.bytes`.
        max: i32,
    },
    /// CORRUPT_MESSAGE.
    #[error("batch is corrupt: {0}")]
    CorruptRecord(BatchError),
    /// INVALID_RECORD.
    #[error("batch is not valid: {0}")]
    InvalidBatch(&'static str),
    /// INVALID_RECORD.
    #[error("record is not valid: {0}")]
    InvalidRecord(BatchError),
    /// INVALID_TIMESTAMP.
    #[error("record timestamp {timestamp} is too far from the broker's time {now_ms}")]
    InvalidTimestamp {
        /// Of the record that is furthest in the future, -1 where the batch claims LogAppendTime.
        timestamp: i64,
        /// The broker's wall clock.
        now_ms: i64,
    },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER or INVALID_PRODUCER_EPOCH.
    #[error(transparent)]
    ProducerState(#[from] ProducerStateError),
    /// Kafka's `OffsetsOutOfOrderException`; only on followers.
    #[error("batches are out of order: {last_offset} follows {previous_last_offset}")]
    OffsetsOutOfOrder {
        /// Last offset of a batch.
        previous_last_offset: Offset,
        /// Last offset of the batch after it.
        last_offset: Offset,
    },
    /// Kafka's `UnexpectedAppendOffsetException`; only on followers.
    #[error("append at offset {first_offset} is below the log end {log_end}")]
    UnexpectedAppendOffset {
        /// First offset of the records.
        first_offset: Offset,
        /// Where the log ends.
        log_end: Offset,
    },
    /// KAFKA_STORAGE_ERROR.
    #[error("log append failed: {0}")]
    Disk(#[from] DiskError),
}

impl AppendError {
    /// Kafka's number for it (`Errors`).
    pub fn code(&self) -> i16 {
        match self {
            AppendError::RecordTooLarge { .. } => 10,
            AppendError::CorruptRecord(_) => 2,
            AppendError::InvalidBatch(_) | AppendError::InvalidRecord(_) => 87,
            AppendError::InvalidTimestamp { .. } => 32,
            AppendError::ProducerState(ProducerStateError::OutOfOrderSequence { .. }) => 45,
            AppendError::ProducerState(ProducerStateError::InvalidProducerEpoch { .. }) => 47,
            AppendError::OffsetsOutOfOrder { .. } | AppendError::UnexpectedAppendOffset { .. } => {
                -1
            }
            AppendError::Disk(_) => 56,
        }
    }

    /// The same as the wire's type; what that does not list is UNKNOWN_SERVER_ERROR.
    pub fn error_code(&self) -> ErrorCode {
        ErrorCode::from_code(self.code())
    }
}

/// What a leader's append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderAppend {
    /// Offset of the first record; of the original where it is a duplicate.
    pub base_offset: Offset,
    /// Offset of the last record, likewise.
    pub last_offset: Offset,
    /// The batch was in the log already; nothing was written. Its acknowledgement still has to wait
    /// for the high watermark.
    pub duplicate: bool,
    /// `flush.messages` are unflushed now: the acknowledgement waits for a flush.
    pub flush_due: bool,
}

/// What a follower's append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerAppend {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Whole batches written; their metadata is what
    /// [`PartitionLog::batches_metadata_from`] gives for `base_offset`.
    pub batches: usize,
    /// `flush.messages` are unflushed now: the next fetch waits for a flush.
    pub flush_due: bool,
}

/// The one batch of a Produce request, checked as `ProduceRequest.validateRecords`,
/// `UnifiedLog.analyzeAndValidateRecords` and `LogValidator` do, in their order. Returns its header
/// and the largest timestamp of its records.
fn validate_produced(
    records: &[u8],
    max_message_bytes: i32,
    now_ms: i64,
) -> Result<(BatchHeader, i64), AppendError> {
    let header = match BatchHeader::next(records) {
        Ok(Some(header)) => header,
        Ok(None) => return Err(AppendError::InvalidBatch("no whole record batch")),
        Err(BatchError::Magic(0 | 1)) => {
            return Err(AppendError::InvalidBatch("magic is below 2"));
        }
        Err(error) => return Err(AppendError::CorruptRecord(error)),
    };
    // Bytes behind it that are no whole batch are cut off (`trimInvalidBytes`).
    match BatchHeader::next(&records[header.size()..]) {
        Ok(None) => {}
        Ok(Some(_)) => return Err(AppendError::InvalidBatch("more than one record batch")),
        Err(error) => return Err(AppendError::CorruptRecord(error)),
    }
    if header.base_offset != 0 {
        return Err(AppendError::InvalidBatch("base offset is not 0"));
    }
    let size = header.size();
    if size > max_message_bytes.max(0) as usize {
        let max = max_message_bytes;
        return Err(AppendError::RecordTooLarge { size, max });
    }
    let batch = &records[..size];
    header
        .check_crc(batch)
        .map_err(AppendError::CorruptRecord)?;
    if header.last_offset_delta < 0 || header.record_count <= 0 {
        return Err(AppendError::InvalidBatch("batch has no records"));
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count) {
        return Err(AppendError::InvalidBatch("offsets and record count differ"));
    }
    if header.is_control() {
        return Err(AppendError::InvalidBatch(
            "clients write no control records",
        ));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(AppendError::InvalidBatch("producer id without sequence"));
    }
    if header.is_log_append_time() {
        let timestamp = -1;
        return Err(AppendError::InvalidTimestamp { timestamp, now_ms });
    }
    let max_timestamp = if header.compression() == 0 {
        let mut max = -1;
        check_records(batch, &header, |timestamp| max = timestamp.max(max))
            .map_err(AppendError::InvalidRecord)?;
        max
    } else {
        header.max_timestamp
    };
    if max_timestamp.saturating_sub(now_ms) > MESSAGE_TIMESTAMP_AFTER_MAX_MS {
        let timestamp = max_timestamp;
        return Err(AppendError::InvalidTimestamp { timestamp, now_ms });
    }
    Ok((header, max_timestamp))
}

impl PartitionLog {
    /// Appends what a producer sent: validates the batch, gives it the offsets at the log end and the
    /// leader's epoch, and checks its sequence. A retry of one of the producer's last batches is
    /// answered with the original offsets. The leader epoch is noted first, whatever becomes of the
    /// batch, as in Kafka.
    ///
    /// # Errors
    /// Where the batch is refused, or the disk fails; the log is then as it was.
    pub fn append_as_leader(
        &mut self,
        records: &[u8],
        leader_epoch: LeaderEpoch,
        config: &TopicConfig,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<LeaderAppend, AppendError> {
        let (mut header, max_timestamp) =
            validate_produced(records, config.max_message_bytes, now_ms)?;
        let base_offset = self.log_end;
        self.epochs_changed |= self.epochs.assign(leader_epoch, base_offset);
        if header.has_producer_id()
            && let Some(original) = self.producers.check(&header)?
        {
            return Ok(LeaderAppend {
                base_offset: original.first_offset,
                last_offset: original.last_offset,
                duplicate: true,
                flush_due: false,
            });
        }
        let last_offset = base_offset + i64::from(header.last_offset_delta);
        self.check_relative_offset(last_offset)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(&records[..header.size()]);
        patch(&mut scratch, base_offset, leader_epoch);
        if max_timestamp != header.max_timestamp {
            set_max_timestamp(&mut scratch, max_timestamp);
            header.max_timestamp = max_timestamp;
            header.crc = BatchHeader::crc_of(&scratch);
        }
        let written = self.write(&scratch, disk);
        self.scratch = scratch;
        written?;
        let batch = BatchMetadata::new(
            &header,
            base_offset,
            leader_epoch,
            self.end_position,
            self.prefix(),
        );
        self.end_position += u64::from(batch.size);
        self.batches.push(batch);
        self.producers.update(&batch);
        self.log_end = last_offset + 1;
        Ok(LeaderAppend {
            base_offset,
            last_offset,
            duplicate: false,
            flush_due: self.flush_due(config.flush_messages),
        })
    }

    /// Appends batches as the leader sent them, and takes over their epochs and producers without
    /// validating sequences (KAFKA-6003). A batch cut off at the end is left out; `None` where no whole
    /// batch is there. Offsets may leave a gap behind the log end, as in Kafka, where compaction makes
    /// them; they may not lie below it.
    ///
    /// # Errors
    /// Where a batch is refused, or the disk fails; no batch has been added then.
    pub fn append_as_follower(
        &mut self,
        records: &[u8],
        flush_messages: i64,
        disk: &mut dyn Disk,
    ) -> Result<Option<FollowerAppend>, AppendError> {
        let known = self.batches.len();
        let appended = self.append_batches(records, disk);
        if appended.is_err() {
            self.batches.truncate(known);
        }
        let added = appended.map(|()| &self.batches[known..])?;
        let (Some(first), Some(last)) = (added.first(), added.last()) else {
            return Ok(None);
        };
        let (base_offset, last_offset) = (first.base_offset, last.last_offset);
        for batch in added {
            self.producers.update(batch);
        }
        self.end_position = last.position + u64::from(last.size);
        self.log_end = last_offset + 1;
        Ok(Some(FollowerAppend {
            base_offset,
            last_offset,
            batches: self.batches.len() - known,
            flush_due: self.flush_due(flush_messages),
        }))
    }

    /// Checks the batches, adds their metadata, notes their epochs, and writes them.
    fn append_batches(&mut self, records: &[u8], disk: &mut dyn Disk) -> Result<(), AppendError> {
        let known = self.batches.len();
        let mut at = 0;
        let mut out_of_order = None;
        while let Some(header) =
            BatchHeader::next(&records[at..]).map_err(AppendError::CorruptRecord)?
        {
            header
                .check_crc(&records[at..])
                .map_err(AppendError::CorruptRecord)?;
            let epoch = header.partition_leader_epoch;
            if epoch < 0 || header.base_offset < 0 || header.last_offset_delta < 0 {
                return Err(AppendError::InvalidBatch("negative epoch or offset"));
            }
            self.check_relative_offset(header.last_offset())?;
            let position = self.end_position + at as u64;
            let batch =
                BatchMetadata::new(&header, header.base_offset, epoch, position, self.prefix());
            if let Some(previous) = self.batches[known..].last()
                && previous.last_offset >= batch.last_offset
            {
                out_of_order = Some(AppendError::OffsetsOutOfOrder {
                    previous_last_offset: previous.last_offset,
                    last_offset: batch.last_offset,
                });
            }
            self.batches.push(batch);
            at += header.size();
        }
        if let Some(error) = out_of_order {
            return Err(error);
        }
        let Some(first) = self.batches.get(known) else {
            return Ok(());
        };
        if first.base_offset < self.log_end {
            return Err(AppendError::UnexpectedAppendOffset {
                first_offset: first.base_offset,
                log_end: self.log_end,
            });
        }
        for batch in &self.batches[known..] {
            self.epochs_changed |= self.epochs.assign(batch.leader_epoch, batch.base_offset);
        }
        self.write(&records[..at], disk)?;
        Ok(())
    }

    /// A segment file holds offsets up to 2^31 - 1 behind its own (`ensureOffsetInRange`); Kafka would
    /// roll a new one.
    fn check_relative_offset(&self, last_offset: Offset) -> Result<(), AppendError> {
        let relative = last_offset.wrapping_sub(self.base_offset);
        if (0..=i64::from(i32::MAX)).contains(&relative) {
            return Ok(());
        }
        Err(AppendError::InvalidBatch("offset is outside the segment"))
    }

    /// Appends bytes to the file. Where that fails half-way the file is cut back to where the batches
    /// end; where that fails too, nothing is appended any more until the log is loaded again.
    fn write(&mut self, bytes: &[u8], disk: &mut dyn Disk) -> Result<(), DiskError> {
        if self.damaged {
            return Err(DiskError::Io);
        }
        let Err(error) = disk.append(self.file, bytes) else {
            return Ok(());
        };
        if disk.len(self.file) != self.end_position {
            self.damaged = disk.truncate(self.file, self.end_position).is_err();
        }
        Err(error)
    }
}
