//! Making a log durable: `UnifiedLog.flush`, and the leader-epoch checkpoint.
//!
//! A flush syncs the segment file and, as long as nothing of it was ever flushed, its directory
//! afterwards (KAFKA-3968). What it covers is the log end at its beginning; that becomes the
//! recovery point once both are done. In Kafka the flushing thread waits; here the caller hands the
//! completed syncs in. Who has to wait for a flush (the append that made it due, under the log's
//! lock) is the caller's affair.

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
    /// The directory has to follow.
    directory_too: bool,
}

/// What a completed sync led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushProgress {
    /// The directory's sync was started with the same token: it will come back once more.
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
        let due = self.log_end > self.recovery_point;
        if due {
            self.begin_close_flush(disk, token);
        }
        due
    }

    /// Starts a flush even of a log without unflushed records, as an orderly shutdown does
    /// (`forceFlushActiveSegment`).
    pub fn begin_close_flush(&mut self, disk: &mut dyn Disk, token: SyncToken) {
        self.flushes.push(PendingFlush {
            token,
            offset: self.log_end,
            directory_too: self.base_offset >= self.recovery_point,
        });
        disk.sync(self.file, token);
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
        if result.is_ok() && self.flushes[index].directory_too {
            self.flushes[index].directory_too = false;
            disk.sync_dir(&self.dir, token);
            return Ok(FlushProgress::Again);
        }
        let flush = self.flushes.remove(index);
        result?;
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
