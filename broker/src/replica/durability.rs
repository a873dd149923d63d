//! What a broker's replicas make durable, and what happens when the disk fails them.
//!
//! Flushes, the checkpoints of high watermarks, recovery points and leader epochs, and the syncs under
//! way. An I/O error of any of them, as of an append or a truncation, takes the log directory offline
//! (`LogDirFailureChannel`): from then on nothing is appended to it (`UnifiedLog.maybeHandleIOException`,
//! KAFKA_STORAGE_ERROR), and a thread of its own, `LogDirFailureHandler`, finds that no directory is left
//! and halts the process (`LogManager.handleLogDirFailure`). Until it gets to it, the broker answers:
//! the append that failed with an error, reads as before.
//!
//! Not modelled: several log directories, so that the first failure is the last.

use crate::bug::Bug;
use crate::controller::MetadataImage;
use crate::disk::DiskError;
use crate::env::{Env, Output, Queue, SyncToken};
use crate::fact::Fact;
use crate::ids::*;
use crate::log::checkpoint::{offset_checkpoint_text, parse_offset_checkpoint, read_text};
use crate::log::clean_shutdown::write_clean_shutdown;
use crate::log::partition_metadata::{PARTITION_METADATA_FILE, partition_metadata_text};
use crate::log::{
    CheckpointProgress, CheckpointWrite, FlushProgress, LogStartReason, PartitionLog,
};
use crate::replica::locks::{Append, Turn};
use crate::replica::manager::{ReplicaManager, Upcall};
use crate::replica::partition::Partition;
use crate::time::{MICROS, Nanos, millis};
use std::collections::BTreeMap;

/// How soon `LogDirFailureHandler` takes the failed directory up. *Modelled*, not measured.
const LOG_DIR_FAILURE_COST: Nanos = 100 * MICROS;

/// What a running sync is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncUse {
    /// An append that holds the partition's lock.
    Append(TopicPartition),
    /// A flush in the background.
    Background(TopicPartition),
    /// The leader-epoch checkpoint of a partition.
    Epochs(TopicPartition),
    /// `replication-offset-checkpoint`.
    HighWatermarks,
    /// `recovery-point-offset-checkpoint`.
    RecoveryPoints,
    /// `log-start-offset-checkpoint`.
    LogStarts,
    /// Segments that the cleaner has written.
    Cleaning,
    /// `cleaner-offset-checkpoint`.
    CleanerCheckpoint,
    /// `partition.metadata` of a partition.
    PartitionMetadata(TopicPartition),
    /// The clean-shutdown marker.
    CleanShutdown,
}

impl ReplicaManager {
    /// Whether any write is on its way to the disk.
    pub fn is_syncing(&self) -> bool {
        !self.syncs.is_empty()
    }

    /// `LogManager.shutdown`: flushes every log.
    pub fn flush_all(&mut self, env: &mut Env<'_>) {
        let all: Vec<TopicPartition> = self.replicas.keys().collect();
        for id in all {
            let token = self.sync_token(SyncUse::Background(id));
            let log = &mut self.replicas.get_mut(id).expect("listed").partition.log;
            let begun = log.begin_close(env.disk, token).map(|()| true);
            self.begun(token, begun, env);
        }
    }

    /// Everything is flushed: leaves the marker that says so.
    pub fn write_clean_shutdown(&mut self, epoch: BrokerEpoch, env: &mut Env<'_>) {
        let token = self.sync_token(SyncUse::CleanShutdown);
        let begun = write_clean_shutdown(env.disk, epoch, token).map(|()| true);
        self.begun(token, begun, env);
    }

    /// Whether the log directory has failed.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// An I/O error: the log directory is offline from now on (`maybeAddOfflineLogDir`).
    pub(super) fn log_directory_failed(&mut self, error: DiskError, env: &mut Env<'_>) {
        if !std::mem::replace(&mut self.offline, true) {
            env.fact(Fact::LogDirectoryOffline { error });
            env.serve(Queue::LogDirFailureHandler, LOG_DIR_FAILURE_COST);
        }
    }

    /// `LogDirFailureHandler`: the last log directory is gone, and the process with it.
    pub fn handle_log_directory_failure(&mut self, env: &mut Env<'_>) {
        assert!(self.offline, "there was a failure to handle");
        env.out.push(Output::Halt);
    }

    // ---- the scheduler's tasks --------------------------------------------------------------

    /// `LogManager.flushDirtyLogs`: a log whose last flush is older than its `flush.ms`.
    pub fn flush_dirty_logs(&mut self, env: &mut Env<'_>) {
        if self.offline {
            return;
        }
        let due: Vec<TopicPartition> = self
            .replicas
            .iter()
            .filter(|(_, r)| {
                let log = &r.partition.log;
                let age = env.wall_ms.saturating_sub(log.last_flush_ms());
                log.unflushed_messages() > 0 && age >= r.partition.config.flush_ms
            })
            .map(|(id, _)| id)
            .collect();
        for id in due {
            let token = self.sync_token(SyncUse::Background(id));
            let log = &mut self.replicas.get_mut(id).expect("listed").partition.log;
            let begun = log.begin_flush(env.disk, token);
            assert!(begun, "it has unflushed messages");
        }
    }

    /// `checkpointHighWatermarks`, every `replica.high.watermark.checkpoint.interval.ms`.
    pub fn checkpoint_high_watermarks(&mut self, env: &mut Env<'_>) {
        if self.offline {
            return;
        }
        let text = self.checkpoint_of(|p| p.log.high_watermark);
        let token = self.sync_token(SyncUse::HighWatermarks);
        let begun = self.high_watermark_checkpoint.begin(env.disk, text, token);
        self.begun(token, begun, env);
    }

    /// `checkpointLogRecoveryOffsets`, every `log.flush.offset.checkpoint.interval.ms`.
    pub fn checkpoint_recovery_points(&mut self, env: &mut Env<'_>) {
        if self.offline {
            return;
        }
        let text = self.checkpoint_of(|p| p.log.recovery_point());
        let token = self.sync_token(SyncUse::RecoveryPoints);
        let begun = self.recovery_point_checkpoint.begin(env.disk, text, token);
        self.begun(token, begun, env);
    }

    /// `checkpointLogStartOffsets`, every `log.flush.start.offset.checkpoint.interval.ms`.
    pub fn checkpoint_log_starts(&mut self, env: &mut Env<'_>) {
        if self.offline {
            return;
        }
        let entries: Vec<(&str, i32, Offset)> = self
            .replicas
            .values()
            .map(|r| &r.partition)
            .filter(|p| p.log.log_start_needs_checkpoint())
            .map(|p| (&*p.topic, p.id.partition, p.log.log_start_offset()))
            .collect();
        let text = offset_checkpoint_text(entries.into_iter());
        let token = self.sync_token(SyncUse::LogStarts);
        let begun = self.log_start_checkpoint.begin(env.disk, text, token);
        self.begun(token, begun, env);
    }

    /// `flush-log`, which a roll has scheduled.
    pub fn flush_rolled(&mut self, id: TopicPartition, offset: Offset, env: &mut Env<'_>) {
        if self.offline {
            return;
        }
        let token = self.sync_token(SyncUse::Background(id));
        let log = &mut self.replicas.get_mut(id).expect("it rolled").partition.log;
        // The log may have been cut since.
        let offset = offset.min(log.log_end_offset());
        if !log.begin_flush_up_to(offset, env.disk, token) {
            self.syncs.remove(&token);
        }
    }

    /// `LogManager.cleanupLogs`, every `log.retention.check.interval.ms`. A log that is compacted is its
    /// cleaner's.
    pub fn delete_old_segments(&mut self, env: &mut Env<'_>) {
        if self.offline {
            return;
        }
        let deletable: Vec<TopicPartition> = self
            .replicas
            .iter()
            .filter(|(_, r)| !r.partition.config.cleanup_policy.compact)
            .map(|(id, _)| id)
            .collect();
        for id in deletable {
            self.delete_old_segments_of(id, env);
        }
    }

    /// The same for one log, whatever its policy.
    pub(super) fn delete_old_segments_of(&mut self, id: TopicPartition, env: &mut Env<'_>) {
        let partition = &mut self.replicas.get_mut(id).expect("listed").partition;
        let bound = partition.log.high_watermark;
        let (log, config) = (&mut partition.log, &partition.config);
        let before = log.log_start_offset();
        let deleted = log.delete_old_segments(config, bound, env.wall_ms, env.disk);
        log_start_moved(id, log, before, LogStartReason::SegmentDeletion, env);
        self.do_chores(id, env);
        if let Err(error) = deleted {
            self.log_directory_failed(error, env);
        }
    }

    /// `delete-file`: what is due is deleted for good.
    pub fn delete_files(&mut self, env: &mut Env<'_>) {
        while !self.offline
            && let Some(entry) = self.deletions.first_entry()
            && entry.key().0 <= env.now
        {
            if let Err(error) = entry.remove().delete(env.disk) {
                self.log_directory_failed(error, env);
            }
        }
    }

    /// Writes whom a partition's folder belongs to, where it does not say so yet
    /// (`PartitionMetadataFile`).
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn write_partition_metadata(
        &mut self,
        id: TopicPartition,
        dir: &str,
        env: &mut Env<'_>,
    ) -> Result<(), DiskError> {
        let path = format!("{dir}/{PARTITION_METADATA_FILE}");
        if env.disk.exists(&path) {
            return Ok(());
        }
        let token = self.sync_token(SyncUse::PartitionMetadata(id));
        let mut write = CheckpointWrite::new(path);
        let text = partition_metadata_text(uuid::Uuid::from_u128(id.topic.0));
        let begun = write.begin(env.disk, text, token);
        self.metadata_writes.insert(id, write);
        if begun.is_err() {
            self.syncs.remove(&token);
        }
        begun.map(|_| ())
    }

    /// Sees to what a log's append, truncation or retention has left to do
    /// ([`PartitionLog::has_chores`](crate::log::PartitionLog::has_chores)).
    pub(super) fn do_chores(&mut self, id: TopicPartition, env: &mut Env<'_>) {
        self.write_epochs(id, env);
        let partition = &mut self.replicas.get_mut(id).expect("it has a log").partition;
        if let Some(offset) = partition.log.take_roll_flush() {
            env.fact(Fact::SegmentRolled {
                partition: id,
                base_offset: offset,
            });
            self.upcalls.push_back(Upcall::FlushLog(id, offset));
        }
        for segment in partition.log.take_deleted_segments() {
            let delay = millis(partition.config.file_delete_delay_ms);
            let number = self.next_sync;
            self.next_sync += 1;
            let due = env.now.saturating_add(delay);
            self.deletions.insert((due, number), segment);
            self.upcalls.push_back(Upcall::DeleteFileAfter(delay));
        }
    }

    fn checkpoint_of(&self, offset: impl Fn(&Partition) -> Offset) -> String {
        let entries = self.replicas.values().map(|r| {
            let p = &r.partition;
            (&*p.topic, p.id.partition, offset(p))
        });
        offset_checkpoint_text(entries)
    }

    /// Writes a partition's leader epochs where they changed (`LeaderEpochFileCache`).
    pub(super) fn write_epochs(&mut self, id: TopicPartition, env: &mut Env<'_>) {
        let log = &self.replicas[id].partition.log;
        if !log.epoch_checkpoint_due() || self.offline {
            return;
        }
        let token = self.sync_token(SyncUse::Epochs(id));
        let log = &mut self
            .replicas
            .get_mut(id)
            .expect("known partition")
            .partition
            .log;
        let begun = log.begin_epoch_checkpoint(env.disk, token);
        self.begun(token, begun, env);
    }

    /// `Ok(false)`: another write is under way, whose token serves this one too.
    pub(super) fn begun(
        &mut self,
        token: SyncToken,
        begun: Result<bool, DiskError>,
        env: &mut Env<'_>,
    ) {
        if begun != Ok(true) {
            self.syncs.remove(&token);
        }
        if let Err(error) = begun {
            self.log_directory_failed(error, env);
        }
    }

    pub(super) fn sync_token(&mut self, use_: SyncUse) -> SyncToken {
        let token = SyncToken(self.next_sync);
        self.next_sync += 1;
        self.syncs.insert(token, use_);
        token
    }

    /// Starts the flush of an append that holds its partition's lock.
    pub(super) fn hold_for_flush(&mut self, id: TopicPartition, then: Append, env: &mut Env<'_>) {
        let token = self.sync_token(SyncUse::Append(id));
        let replica = self.replicas.get_mut(id).expect("it was appended to");
        assert!(replica.held.is_none(), "the lock has one holder");
        replica.held = Some((token, then));
        let begun = replica.partition.log.begin_flush(env.disk, token);
        assert!(begun, "it has just appended");
    }

    /// A sync completed.
    pub fn synced(
        &mut self,
        token: SyncToken,
        result: Result<(), DiskError>,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let Some(&use_) = self.syncs.get(&token) else {
            return;
        };
        let result = result.or_else(|error| match self.bug {
            Some(Bug::FsyncErrorIgnored) => Ok(()),
            _ => Err(error),
        });
        let again = match use_ {
            SyncUse::Append(id) => {
                let flushed = self.flushed(id, token, result, env);
                match flushed {
                    Ok(true) => {}
                    Ok(false) => self.release(id, token, Turn::Flushed, image, env),
                    Err(error) => {
                        // Offline before it goes on: nothing behind it is appended.
                        self.log_directory_failed(error, env);
                        self.release(id, token, Turn::FlushFailed, image, env);
                    }
                }
                flushed
            }
            SyncUse::Background(id) => self.flushed(id, token, result, env),
            SyncUse::Epochs(id) => {
                let log = &mut self.replicas.get_mut(id).expect("known").partition.log;
                let progress = log.epoch_checkpoint_synced(env.disk, result);
                progress.map(|p| p == CheckpointProgress::Again)
            }
            SyncUse::HighWatermarks => {
                let progress = self.high_watermark_checkpoint.synced(env.disk, result);
                progress.map(|p| p == CheckpointProgress::Again)
            }
            SyncUse::LogStarts => {
                let progress = self.log_start_checkpoint.synced(env.disk, result);
                progress.map(|p| p == CheckpointProgress::Again)
            }
            SyncUse::Cleaning => self.cleaning_synced(token, result, env),
            SyncUse::CleanerCheckpoint => {
                let progress = self.cleaner.checkpoint.synced(env.disk, result);
                progress.map(|p| p == CheckpointProgress::Again)
            }
            SyncUse::PartitionMetadata(id) => {
                let write = self.metadata_writes.get_mut(&id).expect("it is under way");
                let progress = write.synced(env.disk, result);
                if progress != Ok(CheckpointProgress::Again) {
                    self.metadata_writes.remove(&id);
                }
                progress.map(|p| p == CheckpointProgress::Again)
            }
            SyncUse::CleanShutdown => result.map(|()| false),
            SyncUse::RecoveryPoints => {
                let progress = self.recovery_point_checkpoint.synced(env.disk, result);
                progress.map(|p| p == CheckpointProgress::Again)
            }
        };
        match again {
            Ok(true) => {}
            Ok(false) => {
                self.syncs.remove(&token);
            }
            Err(error) => {
                self.syncs.remove(&token);
                self.log_directory_failed(error, env);
            }
        }
    }

    /// The flush of an append is over: it goes on, and then those that waited for the lock.
    fn release(
        &mut self,
        id: TopicPartition,
        token: SyncToken,
        turn: Turn,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let replica = self.replicas.get_mut(id).expect("it holds the lock");
        let (holder, append) = replica.held.take().expect("it holds the lock");
        assert_eq!(holder, token, "the lock's holder is the one that synced");
        self.continue_append(append, turn, image, env);
        self.serve_lock_queue(id, image, env);
    }

    /// A sync of a log completed; `Ok(true)` where its directory is synced next.
    fn flushed(
        &mut self,
        id: TopicPartition,
        token: SyncToken,
        result: Result<(), DiskError>,
        env: &mut Env<'_>,
    ) -> Result<bool, DiskError> {
        let log = &mut self.replicas.get_mut(id).expect("known").partition.log;
        match log.flush_completed(token, result, env.wall_ms, env.disk)? {
            FlushProgress::Again => Ok(true),
            FlushProgress::Done { recovery_point } => {
                env.fact(Fact::Flushed {
                    partition: id,
                    offset: recovery_point,
                });
                Ok(false)
            }
        }
    }
}

/// Tells that a log start moved, if it did.
pub(super) fn log_start_moved(
    id: TopicPartition,
    log: &PartitionLog,
    before: Offset,
    reason: LogStartReason,
    env: &mut Env<'_>,
) {
    let offset = log.log_start_offset();
    if offset > before {
        env.fact(Fact::LogStartMoved {
            partition: id,
            offset,
            reason,
        });
    }
}

pub(super) fn read_offsets(
    checkpoint: &CheckpointWrite,
    env: &mut Env<'_>,
) -> Result<BTreeMap<(String, i32), Offset>, DiskError> {
    let Some(text) = read_text(env.disk, checkpoint.path())? else {
        return Ok(BTreeMap::new());
    };
    // A malformed checkpoint takes the log directory offline, as an I/O error does.
    let entries = parse_offset_checkpoint(&text).map_err(|_| DiskError::Io)?;
    Ok(entries
        .into_iter()
        .map(|e| ((e.topic, e.partition), e.offset))
        .collect())
}
