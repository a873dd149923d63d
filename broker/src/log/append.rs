//! Appending: by the leader with offsets and validation, by a follower as the leader's bytes
//! (`UnifiedLog.append`, `LogValidator`).

use crate::config::TopicConfig;
use crate::disk::{Disk, DiskError};
use crate::ids::{LeaderEpoch, Offset};
use crate::log::batch::{BatchError, BatchHeader, patch, set_max_timestamp};
use crate::log::codec::{CodecError, check_records};
use crate::log::partition_log::{BatchMetadata, PartitionLog};
use crate::log::producer_state::ProducerStateError;
use crate::log::segment::Arriving;
use crate::wire::ErrorCode;

/// A compressed batch may decompress to this many times `max.message.bytes`, or a MiB where that is
/// less. Kafka 4.3 has no bound, later versions have one a record.
const DECOMPRESSED_FACTOR: usize = 128;

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
    /// RECORD_LIST_TOO_LARGE.
    #[error("batch of {size} bytes does not fit into a segment of {segment_bytes}")]
    RecordListTooLarge {
        /// Bytes of the batch, or of all batches of a follower's append.
        size: usize,
        /// `segment.bytes`.
        segment_bytes: i32,
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
    /// UNKNOWN_SERVER_ERROR: that is what Kafka's `KafkaException` becomes on the wire.
    #[error("batch is not valid: {0}")]
    Compression(CodecError),
    /// INVALID_TIMESTAMP.
    #[error("record timestamp {timestamp} is too far from the broker's time {now_ms}")]
    InvalidTimestamp {
        /// Of the record that is furthest away, -1 where the batch claims LogAppendTime.
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
        /// Their last offset.
        last_offset: Offset,
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
            AppendError::RecordListTooLarge { .. } => 18,
            AppendError::CorruptRecord(_) => 2,
            AppendError::InvalidBatch(_) | AppendError::InvalidRecord(_) => 87,
            AppendError::InvalidTimestamp { .. } => 32,
            AppendError::ProducerState(ProducerStateError::OutOfOrderSequence { .. }) => 45,
            AppendError::ProducerState(ProducerStateError::InvalidProducerEpoch { .. }) => 47,
            AppendError::Compression(_)
            | AppendError::OffsetsOutOfOrder { .. }
            | AppendError::UnexpectedAppendOffset { .. } => -1,
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
pub(super) fn validate_produced(
    records: &[u8],
    config: &TopicConfig,
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
    let behind = &records[header.size()..];
    if !behind.is_empty() {
        check_bytes_behind(behind)?;
    }
    if header.base_offset != 0 {
        return Err(AppendError::InvalidBatch("base offset is not 0"));
    }
    let size = header.size();
    let max = config.max_message_bytes;
    if size > max.max(0) as usize {
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
    // A compressed batch is looked into as well, and stays the bytes that it is
    // (`validateMessagesAndAssignOffsetsCompressed` with `compression.type=producer`).
    let (mut earliest, mut latest, mut all_have_keys) = (i64::MAX, -1, true);
    let see = |timestamp: i64, has_key: bool| {
        all_have_keys &= has_key;
        latest = timestamp.max(latest);
        // `RecordBatch.NO_TIMESTAMP` has no bounds.
        if timestamp != -1 {
            earliest = timestamp.min(earliest);
        }
    };
    let decompressed_max = max.max(1 << 20) as usize * DECOMPRESSED_FACTOR;
    check_records(batch, &header, decompressed_max, see).map_err(|error| match error {
        CodecError::Batch(error) => AppendError::InvalidRecord(error),
        error => AppendError::Compression(error),
    })?;
    if config.cleanup_policy.compact && !all_have_keys {
        // `LogValidator.validateKey`
        return Err(AppendError::InvalidBatch(
            "a compacted topic takes no record without key",
        ));
    }
    if config.log_append_time {
        return Ok((header, now_ms));
    }
    let before_max = config.message_timestamp_before_max_ms;
    let after_max = config.message_timestamp_after_max_ms;
    let timestamp = if latest.saturating_sub(now_ms) > after_max {
        latest
    } else if earliest != i64::MAX && now_ms.saturating_sub(earliest) > before_max {
        earliest
    } else {
        return Ok((header, latest));
    };
    Err(AppendError::InvalidTimestamp { timestamp, now_ms })
}

/// Bytes behind the batch that are no whole batch are cut off (`trimInvalidBytes`).
#[cold]
fn check_bytes_behind(bytes: &[u8]) -> Result<(), AppendError> {
    match BatchHeader::next(bytes) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(AppendError::InvalidBatch("more than one record batch")),
        Err(error) => Err(AppendError::CorruptRecord(error)),
    }
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
        let (mut header, max_timestamp) = validate_produced(records, config, now_ms)?;
        let base_offset = self.log_end;
        self.epochs_changed |= self.epochs.assign(leader_epoch, base_offset);
        let last_offset = base_offset + i64::from(header.last_offset_delta);
        let arriving = Arriving {
            bytes: header.size() as u64,
            last_offset,
            max_timestamp,
        };
        self.maybe_roll(arriving, base_offset, config, now_ms, disk)?;
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
        self.check_relative_offset(last_offset)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(&records[..header.size()]);
        patch(&mut scratch, base_offset, leader_epoch);
        if config.log_append_time || max_timestamp != header.max_timestamp {
            set_max_timestamp(&mut scratch, max_timestamp, config.log_append_time);
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
            self.active().size,
            self.prefix(),
        );
        self.push_batch(batch);
        self.index(self.batches.len() - 1, config, disk)?;
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
        config: &TopicConfig,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<Option<FollowerAppend>, AppendError> {
        let known = self.batches.len();
        let appended = self.append_batches(records, config, now_ms, disk);
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
        self.log_end = last_offset + 1;
        Ok(Some(FollowerAppend {
            base_offset,
            last_offset,
            batches: self.batches.len() - known,
            flush_due: self.flush_due(config.flush_messages),
        }))
    }

    /// Checks the batches, adds their metadata, notes their epochs, and writes them.
    fn append_batches(
        &mut self,
        records: &[u8],
        config: &TopicConfig,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<(), AppendError> {
        let known = self.batches.len();
        let mut at = 0;
        let mut out_of_order = None;
        let mut arriving = Arriving {
            bytes: 0,
            last_offset: -1,
            max_timestamp: -1,
        };
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
            let position = at as u64;
            let batch =
                BatchMetadata::new(&header, header.base_offset, epoch, position, self.prefix());
            if batch.last_offset <= arriving.last_offset {
                out_of_order = Some((arriving.last_offset, batch.last_offset));
            }
            arriving.last_offset = batch.last_offset;
            arriving.max_timestamp = arriving.max_timestamp.max(batch.max_timestamp);
            self.push_batch(batch);
            at += header.size();
        }
        arriving.bytes = at as u64;
        if let Some((previous_last_offset, last_offset)) = out_of_order {
            return Err(AppendError::OffsetsOutOfOrder {
                previous_last_offset,
                last_offset,
            });
        }
        let Some(first) = self.batches.get(known) else {
            return Ok(());
        };
        let first_offset = first.base_offset;
        if first_offset < self.log_end {
            return Err(AppendError::UnexpectedAppendOffset {
                first_offset,
                last_offset: arriving.last_offset,
                log_end: self.log_end,
            });
        }
        self.maybe_roll(arriving, first_offset, config, now_ms, disk)?;
        self.check_relative_offset(arriving.last_offset)?;
        let position = self.active().size;
        for batch in &mut self.batches[known..] {
            batch.position += position;
            self.epochs_changed |= self.epochs.assign(batch.leader_epoch, batch.base_offset);
        }
        self.write(&records[..at], disk)?;
        Ok(self.index(known, config, disk)?)
    }

    /// Takes the batches from `known` on, which are in the file, into account in the active segment and
    /// its indexes.
    fn index(
        &mut self,
        known: usize,
        config: &TopicConfig,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        let active = self.segments.last_mut().expect("a log has a segment");
        for batch in &self.batches[known..] {
            active.appended(&self.dir, batch, config.index_interval_bytes, disk)?;
        }
        Ok(())
    }

    /// `LogSegment.ensureOffsetInRange`.
    fn check_relative_offset(&self, last_offset: Offset) -> Result<(), AppendError> {
        if self.active().can_hold_offset(last_offset) {
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
        let (file, end) = (self.active().file, self.active().size);
        let Err(error) = disk.append(file, bytes) else {
            return Ok(());
        };
        if disk.len(file) != end {
            self.damaged = disk.truncate(file, end).is_err();
        }
        Err(error)
    }
}
