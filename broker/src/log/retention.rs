//! What a log forgets from its front: `UnifiedLog.deleteOldSegments` and `maybeIncrementLogStartOffset`.

use crate::bug::Bug;
use crate::config::TopicConfig;
use crate::disk::{Disk, DiskError};
use crate::ids::Offset;
use crate::log::partition_log::PartitionLog;

/// Why a log start moved (`LogStartOffsetIncrementReason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogStartReason {
    /// The follower took over its leader's.
    Leader,
    /// DeleteRecords.
    ClientDeletion,
    /// A segment was deleted: of its age, its log's size, or because it lies below the log start.
    SegmentDeletion,
}

impl PartitionLog {
    /// Deletes the segments that `cleanup.policy`, `retention.bytes` and `retention.ms` let go, oldest
    /// first, and those below the log start in any case. A segment goes only if all of it lies below
    /// `bound`, the high watermark. Where all go, a new one is begun first. Answers how many went; their
    /// files wait in [`take_deleted_segments`](Self::take_deleted_segments).
    ///
    /// # Errors
    /// The disk's; what went before stays gone.
    pub fn delete_old_segments(
        &mut self,
        config: &TopicConfig,
        bound: Offset,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<usize, DiskError> {
        let bound = match self.bug {
            Some(Bug::RetentionPastHighWatermark) => self.log_end,
            _ => bound,
        };
        let mut count = self.delete_below_log_start(bound, now_ms, disk)?;
        if config.cleanup_policy.delete {
            count += self.delete_above_size(config.retention_bytes, bound, now_ms, disk)?;
            count += self.delete_expired(config.retention_ms, bound, now_ms, disk)?;
        }
        Ok(count)
    }

    /// `deleteLogStartOffsetBreachedSegments`
    fn delete_below_log_start(
        &mut self,
        bound: Offset,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<usize, DiskError> {
        let log_start = self.log_start;
        let bases: Vec<Offset> = self.segment_base_offsets().skip(1).collect();
        let below = |index: usize| bases.get(index).is_some_and(|&next| next <= log_start);
        self.delete_while(below, bound, now_ms, disk)
    }

    /// `deleteRetentionSizeBreachedSegments`
    fn delete_above_size(
        &mut self,
        retention_bytes: i64,
        bound: Offset,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<usize, DiskError> {
        let Ok(retained) = u64::try_from(retention_bytes) else {
            return Ok(0);
        };
        let Some(mut excess) = self.size().checked_sub(retained) else {
            return Ok(0);
        };
        let sizes: Vec<u64> = self.segments.iter().map(|s| s.size).collect();
        let above = |index: usize| match excess.checked_sub(sizes[index]) {
            Some(rest) => {
                excess = rest;
                true
            }
            None => false,
        };
        self.delete_while(above, bound, now_ms, disk)
    }

    /// `deleteRetentionMsBreachedSegments`: by the newest timestamp of a segment. One without any has
    /// its file's time in Kafka; here it does not expire.
    fn delete_expired(
        &mut self,
        retention_ms: i64,
        bound: Offset,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<usize, DiskError> {
        if retention_ms < 0 {
            return Ok(0);
        }
        let newest: Vec<i64> = self.segments.iter().map(|s| s.max_timestamp()).collect();
        let expired = |index: usize| {
            newest[index] >= 0 && now_ms.saturating_sub(newest[index]) > retention_ms
        };
        self.delete_while(expired, bound, now_ms, disk)
    }

    /// `deletableSegments` and `deleteSegments`.
    fn delete_while(
        &mut self,
        mut may_go: impl FnMut(usize) -> bool,
        bound: Offset,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<usize, DiskError> {
        let mut count = 0;
        while let Some(segment) = self.segments.get(count) {
            let next = self.segments.get(count + 1).map(|next| next.base_offset);
            let end = next.unwrap_or(self.log_end);
            let is_last_and_empty = next.is_none() && segment.size == 0;
            if end > bound || is_last_and_empty || !may_go(count) {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        if count == self.segments.len() {
            self.roll(self.log_end, now_ms, disk)?;
        }
        for _ in 0..count {
            let removed = self.segments[0].rename_to_deleted(&self.dir, disk)?;
            self.deleted.push(removed);
            self.segments.remove(0);
        }
        let first = self.segments[0].base_offset;
        let gone = self.batches.partition_point(|b| b.base_offset < first);
        if let Some(last) = self.batches.drain(..gone).next_back() {
            self.front_prefix = last.prefix;
        }
        self.maybe_increment_log_start(first);
        Ok(count)
    }

    /// Moves the log start forward to `offset`; the old one where it moved. What lies below is not read
    /// any more; its segments go when retention is looked after next. The high watermark and the
    /// recovery point are never below it.
    ///
    /// # Panics
    /// Beyond the log end.
    pub fn maybe_increment_log_start(&mut self, offset: Offset) -> Option<Offset> {
        assert!(
            offset <= self.log_end,
            "{}: log start {offset} beyond log end {}",
            self.dir,
            self.log_end
        );
        if offset <= self.log_start {
            return None;
        }
        let old = std::mem::replace(&mut self.log_start, offset);
        self.high_watermark = self.high_watermark.max(offset);
        self.recovery_point = self.recovery_point.max(offset);
        self.epochs_changed |= self.epochs.truncate_from_start(offset);
        Some(old)
    }

    /// Whether the log start has to be written to its checkpoint: no segment begins with it
    /// (`LogManager.checkpointLogStartOffsetsInDir`).
    pub fn log_start_needs_checkpoint(&self) -> bool {
        self.log_start > self.segments[0].base_offset
    }
}
