//! Making a log durable: `UnifiedLog.flush`, and the leader-epoch checkpoint.
//!
//! A flush syncs the segments from the recovery point on and, where one of them was begun behind it,
//! their directory afterwards (KAFKA-3968). What it covers is the log end at its beginning, or the end
//! of the segment that was rolled; that becomes the
//! recovery point once both are done. In Kafka the flushing thread waits; here the caller hands the
//! completed syncs in. Who has to wait for a flush (the append that made it due, under the log's
//! lock) is the caller's affair.

use crate::bug::Bug;
use crate::disk::{Disk, DiskError};
use crate::env::SyncToken;
use crate::ids::Offset;
use crate::log::checkpoint::CheckpointProgress;
use crate::log::partition_log::PartitionLog;

/// A flush that is under way.
#[derive(Debug, Clone)]
pub(super) struct PendingFlush {
    token: SyncToken,
    /// What is durable once it is done.
    pub(super) offset: Offset,
    /// Syncs of files that have not completed.
    outstanding: usize,
    /// The first that failed.
    failed: Option<DiskError>,
    /// The directory has to follow.
    directory_too: bool,
}

/// What a completed sync led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushProgress {
    /// Another sync with the same token is under way: it will come back once more.
    Again,
    /// Everything below the recovery point is durable.
    Done {
        /// The recovery point now.
        recovery_point: Offset,
    },
}

impl PartitionLog {
    /// Records that a power loss may take.
    pub fn unflushed_messages(&self) -> i64 {
        self.log_end - self.recovery_point
    }

    /// Whether `flush.messages` asks for a flush now.
    pub fn flush_due(&self, flush_messages: i64) -> bool {
        self.unflushed_messages() >= flush_messages
    }

    /// Everything below is durable.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// When a flush last moved the recovery point, or the log was loaded: milliseconds of the wall
    /// clock, for `flush.ms`.
    pub fn last_flush_ms(&self) -> i64 {
        self.last_flush_ms
    }

    /// Starts a flush up to the log end; false where all of it is flushed already.
    pub fn begin_flush(&mut self, disk: &mut dyn Disk, token: SyncToken) -> bool {
        self.begin_flush_up_to(self.log_end, disk, token)
    }

    /// Starts a flush of the records below `offset`; false where they are flushed already.
    pub fn begin_flush_up_to(
        &mut self,
        offset: Offset,
        disk: &mut dyn Disk,
        token: SyncToken,
    ) -> bool {
        let due = offset > self.recovery_point;
        if due {
            self.flush_segments(offset, false, disk, token);
        }
        due
    }

    /// Ends the log in order: completes its indexes, writes down its producers, and starts a flush even
    /// of a log without unflushed records (`flush(forceFlushActiveSegment)`, `UnifiedLog.close`).
    ///
    /// # Errors
    /// The disk's; no flush is under way then.
    pub fn begin_close(&mut self, disk: &mut dyn Disk, token: SyncToken) -> Result<(), DiskError> {
        let active = self.segments.last_mut().expect("a log has a segment");
        active.become_inactive(&self.dir, disk)?;
        self.take_snapshot(disk)?;
        self.flush_segments(self.log_end, true, disk, token);
        Ok(())
    }

    /// `LocalLog.flush`: the segments from the recovery point to `offset`, then the directory if one
    /// of them was begun since.
    fn flush_segments(
        &mut self,
        offset: Offset,
        active_too: bool,
        disk: &mut dyn Disk,
        token: SyncToken,
    ) {
        let unflushed = self.segment_of(self.recovery_point).base_offset;
        let mut flush = PendingFlush {
            token,
            offset,
            outstanding: 0,
            failed: None,
            directory_too: false,
        };
        let directory_too = self.bug != Some(Bug::NoDirectorySync);
        let last = self.segments.len() - 1;
        for (index, segment) in self.segments.iter_mut().enumerate() {
            let in_range = segment.base_offset >= unflushed && segment.base_offset < offset;
            if in_range || (active_too && index == last) {
                flush.outstanding += segment.sync(disk, token);
                flush.directory_too |= directory_too && segment.base_offset >= self.recovery_point;
            }
        }
        for (_, snapshot) in self.take_unsynced_snapshots() {
            disk.sync(snapshot, token);
            disk.close(snapshot);
            flush.outstanding += 1;
        }
        self.flushes.push(flush);
    }

    /// The flush that the rolls since this was last asked ask for: of all records below this offset, in
    /// the background (`UnifiedLog.roll` schedules `flush-log`).
    pub fn take_roll_flush(&mut self) -> Option<Offset> {
        self.rolled_to.take()
    }

    /// Whether a flush is under way.
    pub fn is_flushing(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// Takes the completion of a sync that a flush of this log started.
    ///
    /// # Errors
    /// The sync's: the recovery point stays. Kafka takes the log directory offline then.
    ///
    /// # Panics
    /// On a token that no flush under way has.
    pub fn flush_completed(
        &mut self,
        token: SyncToken,
        result: Result<(), DiskError>,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<FlushProgress, DiskError> {
        let index = self.flushes.iter().position(|flush| flush.token == token);
        let Some(index) = index else {
            panic!("{}: no flush under way has {token:?}", self.dir);
        };
        let flush = &mut self.flushes[index];
        flush.failed = flush.failed.or(result.err());
        flush.outstanding -= 1;
        if flush.outstanding > 0 {
            return Ok(FlushProgress::Again);
        }
        if flush.failed.is_none() && flush.directory_too {
            flush.directory_too = false;
            flush.outstanding = 1;
            disk.sync_dir(&self.dir, token);
            return Ok(FlushProgress::Again);
        }
        let flush = self.flushes.remove(index);
        if let Some(error) = flush.failed {
            return Err(error);
        }
        if flush.offset > self.recovery_point {
            self.recovery_point = flush.offset;
            self.last_flush_ms = now_ms;
        }
        Ok(FlushProgress::Done {
            recovery_point: self.recovery_point,
        })
    }

    /// Whether the epochs have changed since their checkpoint was last begun. Kafka writes it at once
    /// when an epoch is assigned and soon after a truncation (KAFKA-15046).
    pub fn epoch_checkpoint_due(&self) -> bool {
        self.epochs_changed
    }

    /// Whether something came up that the log's owner has to see to: the leader-epoch checkpoint, a flush
    /// behind a roll, the files of removed segments.
    #[inline]
    pub fn has_chores(&self) -> bool {
        self.epochs_changed || self.rolled_to.is_some() || !self.deleted.is_empty()
    }

    /// Starts writing the leader-epoch checkpoint; false where it was queued behind the write under
    /// way, whose token serves it too ([`CheckpointWrite::begin`](crate::log::CheckpointWrite::begin)).
    ///
    /// # Errors
    /// The disk's; the checkpoint is still due then.
    pub fn begin_epoch_checkpoint(
        &mut self,
        disk: &mut dyn Disk,
        token: SyncToken,
    ) -> Result<bool, DiskError> {
        let text = self.epochs.to_checkpoint();
        let started = self.epoch_checkpoint.begin(disk, text, token)?;
        self.epochs_changed = false;
        Ok(started)
    }

    /// Takes the completion of a sync of that write.
    ///
    /// # Errors
    /// The sync's or the disk's; the checkpoint is due again then.
    pub fn epoch_checkpoint_synced(
        &mut self,
        disk: &mut dyn Disk,
        result: Result<(), DiskError>,
    ) -> Result<CheckpointProgress, DiskError> {
        let progress = self.epoch_checkpoint.synced(disk, result);
        self.epochs_changed |= progress.is_err();
        progress
    }
}
