//! One replica's log of one partition: Kafka's `UnifiedLog` with its `LocalLog`.
//!
//! The batches' positions are kept in memory, so that reads never scan the file. Errors of the disk
//! are returned and leave what is in memory as it was; Kafka takes the log directory offline then.
//! What is modelled and what is not stands at the head of [`crate::log`].

use crate::disk::{Disk, DiskError, FileId};
use crate::ids::{LeaderEpoch, Offset, ProducerId};
use crate::log::batch::BatchHeader;
use crate::log::checkpoint::CheckpointWrite;
use crate::log::epoch::LeaderEpochCache;
use crate::log::flush::PendingFlush;
use crate::log::producer_state::ProducerStateManager;
use bytes::Bytes;

/// Where a batch is, and what is needed of it without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // fields of the batch's header
pub struct BatchMetadata {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// First byte in the file.
    pub position: u64,
    /// Bytes.
    pub size: u32,
    pub leader_epoch: LeaderEpoch,
    pub max_timestamp: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    /// Fingerprint of this batch and all before it in the log: offsets, epochs and checksums. Two logs
    /// with the same one behind an offset hold the same records below it.
    pub prefix: u64,
}

impl BatchMetadata {
    /// Of a batch with that header, at these offsets and that position, behind a batch with that
    /// fingerprint (0 for the first of a log).
    pub(super) fn new(
        header: &BatchHeader,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        position: u64,
        prefix_before: u64,
    ) -> BatchMetadata {
        BatchMetadata {
            base_offset,
            last_offset: base_offset + i64::from(header.last_offset_delta),
            position,
            size: header.size() as u32,
            leader_epoch,
            max_timestamp: header.max_timestamp,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            prefix: chain(prefix_before, base_offset, leader_epoch, header.crc),
        }
    }

    /// Whether an idempotent producer wrote it.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > crate::ids::NO_PRODUCER_ID
    }

    fn end_position(&self) -> u64 {
        self.position + u64::from(self.size)
    }
}

/// The fingerprint of a log with one more batch.
fn chain(before: u64, base_offset: Offset, leader_epoch: LeaderEpoch, crc: u32) -> u64 {
    // Odd constants of splitmix64; any mixing of all bits does.
    let offset = (before.rotate_left(23) ^ base_offset as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let batch = (u64::from(leader_epoch as u32) << 32) | u64::from(crc);
    let mixed = (offset ^ (offset >> 29) ^ batch).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Why a read gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// OFFSET_OUT_OF_RANGE.
    #[error("offset {offset} is outside the log, which reaches from {log_start} to {log_end}")]
    OffsetOutOfRange {
        /// Asked for.
        offset: Offset,
        /// First offset of the log.
        log_start: Offset,
        /// Behind the last offset of the log.
        log_end: Offset,
    },
    /// KAFKA_STORAGE_ERROR.
    #[error("log read failed: {0}")]
    Disk(#[from] DiskError),
}

/// A partition's log on one disk.
#[derive(Debug, Clone)]
pub struct PartitionLog {
    /// `topic-partition`, relative to the log directory.
    pub(super) dir: String,
    pub(super) file: FileId,
    /// First offset of the segment file, and its name.
    pub(super) base_offset: Offset,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    pub(super) batches: Vec<BatchMetadata>,
    /// Bytes of the file that `batches` cover.
    pub(super) end_position: u64,
    pub(super) epochs: LeaderEpochCache,
    pub(super) epochs_changed: bool,
    pub(super) epoch_checkpoint: CheckpointWrite,
    pub(super) producers: ProducerStateManager,
    pub(super) recovery_point: Offset,
    pub(super) last_flush_ms: i64,
    pub(super) flushes: Vec<PendingFlush>,
    /// The leader patches a copy of what the producer sent; kept to spare an allocation.
    pub(super) scratch: Vec<u8>,
    /// Half of an append is in the file and could not be cut off again.
    pub(super) damaged: bool,
    /// Records below it are committed, as far as this replica knows. The replica layer moves it,
    /// forward by [`maybe_increment_high_watermark`](Self::maybe_increment_high_watermark) on a
    /// leader; truncation takes it back.
    pub high_watermark: Offset,
}

impl PartitionLog {
    /// Name of the segment file that starts at `base_offset`.
    pub fn file_name(dir: &str, base_offset: Offset) -> String {
        format!("{dir}/{base_offset:020}.log")
    }

    /// An empty log whose file is already open.
    pub(super) fn empty(dir: &str, file: FileId, base_offset: Offset) -> PartitionLog {
        PartitionLog {
            dir: dir.to_owned(),
            file,
            base_offset,
            log_start: base_offset,
            log_end: base_offset,
            batches: Vec::new(),
            end_position: 0,
            epochs: LeaderEpochCache::new(),
            epochs_changed: false,
            epoch_checkpoint: CheckpointWrite::new(format!("{dir}/{}", LeaderEpochCache::FILE)),
            producers: ProducerStateManager::new(),
            recovery_point: base_offset,
            last_flush_ms: 0,
            flushes: Vec::new(),
            scratch: Vec::new(),
            damaged: false,
            high_watermark: base_offset,
        }
    }

    /// First offset that can be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// Offset of the next record.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end
    }

    /// Bytes in the file.
    pub fn size(&self) -> u64 {
        self.end_position
    }

    /// Every batch, in order.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches
    }

    /// The batches that hold offsets from `offset` on: what an append has just added, for instance.
    pub fn batches_metadata_from(&self, offset: Offset) -> &[BatchMetadata] {
        &self.batches[self.first_ending_at_or_after(offset)..]
    }

    /// Fingerprint of the whole log, 0 for an empty one ([`BatchMetadata::prefix`]).
    pub fn prefix(&self) -> u64 {
        self.batches.last().map_or(0, |batch| batch.prefix)
    }

    /// What is known of the partition's producers.
    pub fn producers(&self) -> &ProducerStateManager {
        &self.producers
    }

    /// Forgets idle producers, see [`ProducerStateManager::remove_expired`].
    pub fn remove_expired_producers(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.remove_expired(now_ms, expiration_ms);
    }

    /// The leader epochs of this log.
    pub fn epochs(&self) -> &LeaderEpochCache {
        &self.epochs
    }

    /// The latest leader epoch of this log, if any.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest_epoch()
    }

    /// Largest epoch not above `epoch` and its end offset, `None` where undefined
    /// ([`LeaderEpochCache::end_offset_for`]).
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(epoch, self.log_end)
    }

    /// Notes that `leader_epoch` begins at `start_offset`: what a new leader does at its log end before
    /// it has written anything (`maybeAssignEpochStartOffset`, KAFKA-7415).
    pub fn assign_epoch_start_offset(&mut self, leader_epoch: LeaderEpoch, start_offset: Offset) {
        self.epochs_changed |= self.epochs.assign(leader_epoch, start_offset);
    }

    /// Sets the high watermark, bounded by log start and log end, and returns it
    /// (`updateHighWatermark`): at start-up from the checkpoint.
    pub fn update_high_watermark(&mut self, offset: Offset) -> Offset {
        self.high_watermark = offset.max(self.log_start).min(self.log_end);
        self.high_watermark
    }

    /// Raises a leader's high watermark; the old value where it moved.
    ///
    /// # Panics
    /// Beyond the log end, which Kafka refuses too.
    pub fn maybe_increment_high_watermark(&mut self, offset: Offset) -> Option<Offset> {
        assert!(
            offset <= self.log_end,
            "{}: high watermark {offset} beyond log end {}",
            self.dir,
            self.log_end
        );
        if offset <= self.high_watermark {
            return None;
        }
        Some(std::mem::replace(&mut self.high_watermark, offset))
    }

    /// Takes over the leader's high watermark on a follower, bounded as in
    /// [`update_high_watermark`](Self::update_high_watermark); the new value where it changed.
    pub fn maybe_update_high_watermark(&mut self, offset: Offset) -> Option<Offset> {
        let old = self.high_watermark;
        Some(self.update_high_watermark(offset)).filter(|&new| new != old)
    }

    /// Index of the first batch whose last offset is not below `offset`.
    fn first_ending_at_or_after(&self, offset: Offset) -> usize {
        // Whoever reads is mostly at the end, or one batch behind it.
        let (batches, before) = (&self.batches, |b: &BatchMetadata| b.last_offset < offset);
        match batches.as_slice() {
            [.., last] if before(last) => batches.len(),
            [.., last_but_one, _] if before(last_but_one) => batches.len() - 1,
            _ => batches.partition_point(before),
        }
    }

    /// Whole batches from the one that holds `from`, which may begin before it, up to `max_bytes` and
    /// up to the batch that holds `upper_bound` (log end, high watermark), which is left out as in
    /// `LocalLog.read`. With `min_one_message` the first batch comes even if it is larger. Kafka cuts
    /// the last batch at `max_bytes` and its readers drop the piece; here it is not sent.
    ///
    /// # Errors
    /// `OffsetOutOfRange` outside of log start ..= log end; the disk's.
    #[inline]
    pub fn read(
        &self,
        from: Offset,
        max_bytes: i32,
        upper_bound: Offset,
        disk: &dyn Disk,
        min_one_message: bool,
    ) -> Result<Bytes, ReadError> {
        if from < self.log_start || from > self.log_end {
            return Err(ReadError::OffsetOutOfRange {
                offset: from,
                log_start: self.log_start,
                log_end: self.log_end,
            });
        }
        // Most reads find nothing new.
        if from >= upper_bound {
            return Ok(Bytes::new());
        }
        let bytes = self.read_batches(from, max_bytes, upper_bound, disk, min_one_message);
        Ok(bytes?)
    }

    fn read_batches(
        &self,
        from: Offset,
        max_bytes: i32,
        upper_bound: Offset,
        disk: &dyn Disk,
        min_one_message: bool,
    ) -> Result<Bytes, DiskError> {
        let first = self.first_ending_at_or_after(from);
        let bound = self.first_ending_at_or_after(upper_bound);
        if first >= bound {
            return Ok(Bytes::new());
        }
        let start = self.batches[first].position;
        let limit = start + max_bytes.max(0) as u64;
        let fitting =
            self.batches[first..bound].partition_point(|batch| batch.end_position() <= limit);
        let count = fitting.max(usize::from(min_one_message));
        if count == 0 {
            return Ok(Bytes::new());
        }
        let end = self.batches[first + count - 1].end_position();
        disk.read(self.file, start, end - start)
    }

    /// Every whole batch from the one that holds `offset` to the log end, read at once: for loading
    /// coordinators and for judging what a disk holds.
    ///
    /// # Errors
    /// The disk's.
    pub fn batches_from(
        &self,
        offset: Offset,
        disk: &dyn Disk,
    ) -> Result<LogBatches<'_>, DiskError> {
        let metadata = self.batches_metadata_from(offset);
        let bytes = match metadata.first() {
            None => Bytes::new(),
            Some(first) => disk.read(
                self.file,
                first.position,
                self.end_position - first.position,
            )?,
        };
        Ok(LogBatches { metadata, bytes })
    }

    /// Cuts the log so that its end is `offset`: the batch that holds `offset` goes as a whole, and
    /// with it the epochs and producer state behind. Where `offset` is not below the log end, only the
    /// epochs that start at the log end go (KAFKA-10706). Returns whether records could be removed.
    ///
    /// The log end becomes `offset` even in the middle of a removed batch, as in `LocalLog.truncateTo`.
    /// A high watermark above the new end moves down to it: legal after an unclean election.
    ///
    /// # Errors
    /// The disk's; nothing has changed then.
    ///
    /// # Panics
    /// On a negative offset.
    pub fn truncate_to(&mut self, offset: Offset, disk: &mut dyn Disk) -> Result<bool, DiskError> {
        assert!(offset >= 0, "{}: truncation to {offset}", self.dir);
        if offset >= self.log_end {
            self.epochs_changed |= self.epochs.truncate_from_end(self.log_end);
            return Ok(false);
        }
        if offset < self.base_offset {
            self.truncate_fully_and_start_at(offset, disk)?;
            return Ok(true);
        }
        let kept = self.first_ending_at_or_after(offset);
        if let Some(first_removed) = self.batches.get(kept) {
            let position = first_removed.position;
            disk.truncate(self.file, position)?;
            self.end_position = position;
            self.batches.truncate(kept);
        }
        self.set_log_end_after_truncation(offset);
        self.epochs_changed |= self.epochs.truncate_from_end(offset);
        self.log_start = self.log_start.min(offset);
        self.producers
            .truncate_and_reload(self.log_start, offset, &self.batches);
        self.high_watermark = self.high_watermark.min(offset);
        Ok(true)
    }

    /// Empties the log and lets it start at `offset`, in a new file of that name. Used where a follower's
    /// log ends before its leader's begins.
    ///
    /// # Errors
    /// The disk's; nothing in memory has changed then. After a failed deletion of the old file the
    /// next loading takes the new one.
    ///
    /// # Panics
    /// On a negative offset.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: Offset,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        assert!(offset >= 0, "{}: log start at {offset}", self.dir);
        if offset == self.base_offset {
            disk.truncate(self.file, 0)?;
        } else {
            // The new segment exists before the old one goes, as in `LocalLog.createAndDeleteSegment`.
            let file = disk.open(&PartitionLog::file_name(&self.dir, offset))?;
            disk.truncate(file, 0)?;
            disk.delete(&PartitionLog::file_name(&self.dir, self.base_offset))?;
            self.file = file;
            self.base_offset = offset;
        }
        self.batches.clear();
        self.end_position = 0;
        self.damaged = false;
        self.log_start = offset;
        self.set_log_end_after_truncation(offset);
        self.epochs.clear();
        self.epochs_changed = true;
        self.producers.truncate_fully();
        self.high_watermark = offset;
        Ok(())
    }

    /// What was durable above the new end is gone; a flush that is under way covers only what is
    /// left (in Kafka it would still move the recovery point to its old offset).
    fn set_log_end_after_truncation(&mut self, offset: Offset) {
        self.log_end = offset;
        self.recovery_point = self.recovery_point.min(offset);
        for flush in &mut self.flushes {
            flush.offset = flush.offset.min(offset);
        }
    }
}

/// Iterator over whole batches, see [`PartitionLog::batches_from`].
#[derive(Debug, Clone)]
pub struct LogBatches<'a> {
    metadata: &'a [BatchMetadata],
    bytes: Bytes,
}

impl Iterator for LogBatches<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let (first, rest) = self.metadata.split_first()?;
        self.metadata = rest;
        Some(self.bytes.split_to(first.size as usize))
    }
}

#[cfg(test)]
mod tests;
