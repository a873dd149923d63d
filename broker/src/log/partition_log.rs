//! One replica's log of one partition: Kafka's `UnifiedLog` with its `LocalLog`.
//!
//! The batches' positions are kept in memory, so that reads never scan a file. Errors of the disk
//! are returned and leave what is in memory as it was; Kafka takes the log directory offline then.
//! What is modelled and what is not stands at the head of [`crate::log`].

use crate::bug::Bug;
use crate::disk::{Disk, DiskError};
use crate::fact::Gaps;
use crate::ids::{LeaderEpoch, Offset, ProducerId};
use crate::log::batch::BatchHeader;
use crate::log::checkpoint::CheckpointWrite;
use crate::log::epoch::LeaderEpochCache;
use crate::log::flush::PendingFlush;
use crate::log::producer_snapshots::ProducerSnapshots;
use crate::log::producer_state::ProducerStateManager;
use crate::log::segment::{DeletedSegment, Segment};
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// Room for so many batches' metadata is made with the first of a log.
const BATCHES_ROOM: usize = 64;

/// Where a batch is, and what is needed of it without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // fields of the batch's header
pub struct BatchMetadata {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// First byte in its segment's file.
    pub position: u64,
    /// Bytes.
    pub size: u32,
    pub leader_epoch: LeaderEpoch,
    pub max_timestamp: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    /// Fingerprint of this batch and all before it, since the log was begun or loaded: the sum of what
    /// offset, epoch and checksum of each give. Two logs that were begun at one offset, with the same one
    /// behind a later one, hold the same records between.
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

/// The fingerprint of a log with one more batch: a sum, so that what two logs hold behind an offset can
/// be compared although the front of one is gone.
fn chain(before: u64, base_offset: Offset, leader_epoch: LeaderEpoch, crc: u32) -> u64 {
    // Odd constants of splitmix64; any mixing of all bits does.
    let offset = (base_offset as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let batch = (u64::from(leader_epoch as u32) << 32) | u64::from(crc);
    let mixed = (offset ^ (offset >> 29) ^ batch).wrapping_mul(0x94d0_49bb_1331_11eb);
    before.wrapping_add(mixed ^ (mixed >> 31))
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
    /// CORRUPT_MESSAGE.
    #[error(
        "{file} holds no record batch at byte {position}, where offset {offset} is to be found"
    )]
    Corrupt {
        /// The segment's file.
        file: String,
        /// First byte that belongs to no batch.
        position: u64,
        /// Asked for.
        offset: Offset,
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
    /// Oldest first, never empty; appends go to the last, the active one.
    pub(super) segments: Vec<Segment>,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    /// Of all segments.
    pub(super) batches: Vec<BatchMetadata>,
    /// Fingerprint of what retention has taken from the front since the log was begun or loaded.
    pub(super) front_prefix: u64,
    /// Removed segments whose files are still there.
    pub(super) deleted: Vec<DeletedSegment>,
    /// A roll asked for a flush up to here (`UnifiedLog.roll`).
    pub(super) rolled_to: Option<Offset>,
    pub(super) epochs: LeaderEpochCache,
    pub(super) epochs_changed: bool,
    pub(super) epoch_checkpoint: CheckpointWrite,
    pub(super) producers: ProducerStateManager,
    pub(super) snapshots: ProducerSnapshots,
    pub(super) recovery_point: Offset,
    pub(super) last_flush_ms: i64,
    pub(super) flushes: Vec<PendingFlush>,
    /// The leader patches a copy of what the producer sent; kept to spare an allocation.
    pub(super) scratch: Vec<u8>,
    /// Half of an append is in the file and could not be cut off again.
    pub(super) damaged: bool,
    /// A planted bug.
    pub(super) bug: Option<Bug>,
    /// Records below it are committed, as far as this replica knows. The replica layer moves it,
    /// forward by [`maybe_increment_high_watermark`](Self::maybe_increment_high_watermark) on a
    /// leader; truncation takes it back.
    pub high_watermark: Offset,
}

impl PartitionLog {
    /// Name of the segment file that starts at `base_offset`.
    pub fn file_name(dir: &str, base_offset: Offset) -> String {
        Segment::path(dir, base_offset, ".log")
    }

    /// A log of these segments, its batches not known yet.
    pub(super) fn of_segments(dir: &str, segments: Vec<Segment>) -> PartitionLog {
        let base_offset = segments[0].base_offset;
        PartitionLog {
            dir: dir.to_owned(),
            segments,
            log_start: base_offset,
            log_end: base_offset,
            batches: Vec::new(),
            front_prefix: 0,
            deleted: Vec::new(),
            rolled_to: None,
            epochs: LeaderEpochCache::new(),
            epochs_changed: false,
            epoch_checkpoint: CheckpointWrite::new(format!("{dir}/{}", LeaderEpochCache::FILE)),
            producers: ProducerStateManager::new(),
            snapshots: ProducerSnapshots::default(),
            recovery_point: base_offset,
            last_flush_ms: 0,
            flushes: Vec::new(),
            scratch: Vec::new(),
            damaged: false,
            bug: None,
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

    /// Bytes in the segments.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Base offsets of the segments, oldest first; the last is the active one.
    pub fn segment_base_offsets(&self) -> impl ExactSizeIterator<Item = Offset> {
        self.segments.iter().map(|segment| segment.base_offset)
    }

    /// Whether a truncation to `offset` leaves nothing and begins the log anew there
    /// ([`truncate_fully_and_start_at`](Self::truncate_fully_and_start_at)).
    fn begins_behind(&self, offset: Offset) -> bool {
        offset < self.segments[0].base_offset
    }

    /// Where the segment begins that holds a batch, which is its file's name
    /// ([`file_name`](Self::file_name)).
    pub fn segment_that_holds(&self, batch: &BatchMetadata) -> Offset {
        self.segment_of(batch.base_offset).base_offset
    }

    /// Segments that were removed since this was last asked; their files are renamed and are to be
    /// deleted after `file.delete.delay.ms`.
    pub fn take_deleted_segments(&mut self) -> Vec<DeletedSegment> {
        std::mem::take(&mut self.deleted)
    }

    pub(super) fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    /// The segment that `offset` belongs to (`LogSegments.floorSegment`), the first for what is older.
    pub(super) fn segment_of(&self, offset: Offset) -> &Segment {
        let active = self.active();
        if offset >= active.base_offset {
            return active;
        }
        let behind = self.segments.partition_point(|s| s.base_offset <= offset);
        &self.segments[behind.saturating_sub(1)]
    }

    /// The batches of the segment at `index`, as indices into `batches`.
    pub(super) fn batches_of_segment(&self, index: usize) -> Range<usize> {
        let from = self.segments[index].base_offset;
        let start = self.batches.partition_point(|b| b.base_offset < from);
        let end = match self.segments.get(index + 1) {
            Some(next) => {
                let next = next.base_offset;
                self.batches.partition_point(|b| b.base_offset < next)
            }
            None => self.batches.len(),
        };
        start..end
    }

    /// Every batch, in order.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches
    }

    /// Takes note of a batch.
    #[inline]
    pub(super) fn push_batch(&mut self, batch: BatchMetadata) {
        if self.batches.len() == self.batches.capacity() {
            self.make_room_for_batches();
        }
        self.batches.push(batch);
    }

    /// A log that gets one batch gets many: room for them comes in large pieces, so that those that are
    /// known are moved seldom.
    #[cold]
    fn make_room_for_batches(&mut self) {
        let more = BATCHES_ROOM.max(3 * self.batches.len());
        self.batches.reserve(more);
    }

    /// The batches that hold offsets from `offset` on: what an append has just added, for instance.
    pub fn batches_metadata_from(&self, offset: Offset) -> &[BatchMetadata] {
        &self.batches[self.first_ending_at_or_after(offset)..]
    }

    /// Fingerprint of all that was appended since the log was begun or loaded and not cut off again,
    /// whether retention has left it or not ([`BatchMetadata::prefix`]).
    pub fn prefix(&self) -> u64 {
        let last = self.batches.last();
        last.map_or(self.front_prefix, |batch| batch.prefix)
    }

    /// Where it has no records between its start and its end.
    pub fn gaps(&self) -> Option<Box<Gaps>> {
        let batches = self.batches.iter().map(|b| (b.base_offset, b.last_offset));
        Gaps::of((self.log_start, self.log_end), batches)
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
    /// `LocalLog.read`, and from one segment only. With `min_one_message` the first batch comes even if it is larger. Kafka cuts
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
        self.read_batches(from, max_bytes, upper_bound, disk, min_one_message)
    }

    fn read_batches(
        &self,
        from: Offset,
        max_bytes: i32,
        upper_bound: Offset,
        disk: &dyn Disk,
        min_one_message: bool,
    ) -> Result<Bytes, ReadError> {
        let first = self.first_ending_at_or_after(from);
        let mut bound = self.first_ending_at_or_after(upper_bound);
        if from < self.active().base_offset {
            self.check_readable(from, first)?;
        }
        if first >= bound {
            return Ok(Bytes::new());
        }
        let mut segment = self.active();
        let base_offset = self.batches[first].base_offset;
        if base_offset < segment.base_offset {
            segment = self.segment_of(base_offset);
            bound = bound.min(self.end_of_segment_with(segment));
        }
        let start = self.batches[first].position;
        let limit = start + max_bytes.max(0) as u64;
        let available = &self.batches[first..bound];
        let fits = |batch: &BatchMetadata| batch.end_position() <= limit;
        let fitting = match available {
            // Mostly all of them do.
            [.., last] if fits(last) => available.len(),
            _ => available.partition_point(fits),
        };
        let count = fitting.max(usize::from(min_one_message));
        if count == 0 {
            return Ok(Bytes::new());
        }
        let end = available[count - 1].end_position();
        Ok(disk.read(segment.file, start, end - start)?)
    }

    /// Kafka finds an offset by the batches' headers from an index entry on, and fails where they are
    /// none (`FileRecords.searchForOffsetFromPosition`).
    fn check_readable(&self, offset: Offset, first: usize) -> Result<(), ReadError> {
        let segment = self.segment_of(offset);
        let Some(position) = segment.corrupt_at else {
            return Ok(());
        };
        let found = self.batches.get(first).map(|b| b.base_offset);
        if found.is_some_and(|b| self.segment_of(b).base_offset == segment.base_offset) {
            return Ok(());
        }
        Err(ReadError::Corrupt {
            file: PartitionLog::file_name(&self.dir, segment.base_offset),
            position,
            offset,
        })
    }

    /// Index of the first batch behind that segment.
    fn end_of_segment_with(&self, segment: &Segment) -> usize {
        let at = self
            .segments
            .partition_point(|s| s.base_offset < segment.base_offset);
        self.batches_of_segment(at).end
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
        let first = self.first_ending_at_or_after(offset);
        let mut chunks = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let mut range = self.batches_of_segment(index);
            range.start = range.start.max(first);
            if let Some(batch) = self.batches.get(range.start).filter(|_| !range.is_empty()) {
                let len = segment.size - batch.position;
                chunks.push(disk.read(segment.file, batch.position, len)?);
            }
        }
        let bytes = match chunks.as_mut_slice() {
            [only] => std::mem::take(only),
            _ => {
                let mut all = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
                chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
                all.freeze()
            }
        };
        Ok(LogBatches {
            metadata: &self.batches[first..],
            bytes,
        })
    }

    /// Cuts the log so that its end is `offset`: the batch that holds `offset` goes as a whole, and
    /// with it the epochs and producer state behind. Where `offset` is not below the log end, only the
    /// epochs that start at the log end go (KAFKA-10706). Returns whether records could be removed.
    ///
    /// The log end becomes `offset` even in the middle of a removed batch, as in `LocalLog.truncateTo`.
    /// A high watermark above the new end moves down to it: legal after an unclean election.
    ///
    /// # Errors
    /// The disk's; the log directory is to be taken offline then, since half of it may have happened.
    ///
    /// # Panics
    /// On a negative offset.
    pub fn truncate_to(&mut self, offset: Offset, disk: &mut dyn Disk) -> Result<bool, DiskError> {
        assert!(offset >= 0, "{}: truncation to {offset}", self.dir);
        if offset >= self.log_end {
            self.epochs_changed |= self.epochs.truncate_from_end(self.log_end);
            return Ok(false);
        }
        if self.begins_behind(offset) {
            self.truncate_fully_and_start_at(offset, disk)?;
            return Ok(true);
        }
        while self.active().base_offset > offset {
            self.remove_active(disk)?;
        }
        let kept = self.first_ending_at_or_after(offset);
        if let Some(first_removed) = self.batches.get(kept) {
            let position = first_removed.position;
            disk.truncate(self.active().file, position)?;
            self.batches.truncate(kept);
            let range = self.batches_of_segment(self.segments.len() - 1);
            let (segment, batches) = (self.segments.last_mut(), &self.batches[range]);
            let segment = segment.expect("a log has a segment");
            segment.cut(&self.dir, offset, batches, disk)?;
        }
        self.set_log_end_after_truncation(offset);
        self.epochs_changed |= self.epochs.truncate_from_end(offset);
        self.log_start = self.log_start.min(offset);
        self.high_watermark = self.high_watermark.min(offset);
        self.reload_producers(disk)?;
        Ok(true)
    }

    /// Empties the log and lets it start at `offset`, in a new file of that name. Used where a follower's
    /// log ends before its leader's begins.
    ///
    /// # Errors
    /// The disk's, as of [`truncate_to`](Self::truncate_to).
    ///
    /// # Panics
    /// On a negative offset.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: Offset,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        assert!(offset >= 0, "{}: log start at {offset}", self.dir);
        while self.segments.len() > 1 {
            self.remove_active(disk)?;
        }
        // `LocalLog.createAndDeleteSegment`: the new segment exists before the old one goes, unless
        // both have the same name.
        let now_ms = self.last_flush_ms;
        let old = self.active().base_offset;
        let same_name = offset == old;
        if same_name {
            let removed = self.active().rename_to_deleted(&self.dir, disk)?;
            self.deleted.push(removed);
        }
        let new = Segment::create(&self.dir, offset, now_ms, disk)?;
        if !same_name {
            let removed = self.active().rename_to_deleted(&self.dir, disk)?;
            self.deleted.push(removed);
        }
        self.segments = vec![new];
        self.batches.clear();
        self.front_prefix = 0;
        self.damaged = false;
        self.log_start = offset;
        self.set_log_end_after_truncation(offset);
        self.epochs.clear();
        self.epochs_changed = true;
        self.high_watermark = offset;
        self.forget_producers(disk)
    }

    /// Takes the last segment, which is not the only one, out of the log: its files are renamed.
    fn remove_active(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let range = self.batches_of_segment(self.segments.len() - 1);
        let removed = self.active().rename_to_deleted(&self.dir, disk)?;
        self.deleted.push(removed);
        self.segments.pop();
        self.batches.truncate(range.start);
        if let Some(last) = self.batches.last() {
            self.log_end = self.log_end.min(last.last_offset + 1);
        }
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
