//! Beginning a new segment: `UnifiedLog.maybeRoll` and `roll`.

use crate::config::TopicConfig;
use crate::disk::{Disk, DiskError};
use crate::ids::Offset;
use crate::log::append::AppendError;
use crate::log::partition_log::PartitionLog;
use crate::log::segment::{Arriving, Segment};

impl PartitionLog {
    /// Rolls where what is about to be appended at `first_offset` does not belong into the active
    /// segment. That comes before the check of sequences: a duplicate rolls too.
    ///
    /// # Errors
    /// Where it fits into no segment; the disk's, with the active segment still active.
    #[inline]
    pub(super) fn maybe_roll(
        &mut self,
        arriving: Arriving,
        first_offset: Offset,
        config: &TopicConfig,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<(), AppendError> {
        if arriving.bytes > u64::from(config.segment_bytes.unsigned_abs()) {
            return Err(AppendError::RecordListTooLarge {
                size: arriving.bytes as usize,
                segment_bytes: config.segment_bytes,
            });
        }
        if self.active().should_roll(config, arriving, now_ms) {
            self.roll(first_offset, now_ms, disk)?;
        }
        Ok(())
    }

    /// Begins a segment at the log end, or at `expected` where that lies behind it. The records below
    /// are to be flushed, in the background ([`take_roll_flush`](Self::take_roll_flush)). An active
    /// segment that begins there and is empty stays.
    ///
    /// # Errors
    /// The disk's; the active segment is still active then.
    pub(super) fn roll(
        &mut self,
        expected: Offset,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        let base_offset = expected.max(self.log_end);
        if base_offset == self.active().base_offset {
            return Ok(());
        }
        let active = self.segments.last_mut().expect("a log has a segment");
        active.become_inactive(&self.dir, disk)?;
        self.take_snapshot(disk)?;
        let segment = Segment::create(&self.dir, base_offset, now_ms, disk)?;
        self.segments.push(segment);
        self.rolled_to = Some(base_offset);
        Ok(())
    }
}
