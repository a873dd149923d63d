//! The cleaner's thread: which log is cleaned next, and how it goes on (`LogCleaner.CleanerThread`,
//! `LogCleanerManager`).
//!
//! One thread (`log.cleaner.threads` of 1): it takes the log with the highest dirty ratio that is due, cleans
//! it piece by piece, and looks for the next; where there is none it deletes old segments of compacted logs
//! and sleeps for `log.cleaner.backoff.ms`.

use crate::disk::DiskError;
use crate::env::{Env, Queue, SyncToken};
use crate::fact::Fact;
use crate::ids::*;
use crate::log::CheckpointWrite;
use crate::log::checkpoint::offset_checkpoint_text;
use crate::log::cleaner::{
    CLEANER_OFFSET_CHECKPOINT, Cleanable, Cleaning, CleaningError, CleaningProgress,
};
use crate::replica::durability::{SyncUse, read_offsets};
use crate::replica::manager::{ReplicaManager, Upcall};
use crate::time::{MILLIS, Nanos, millis};
use std::collections::{BTreeMap, BTreeSet};

/// What a piece of a cleaning takes: up to a MiB is read and written. *Modelled*, not measured.
const CLEANING_COST: Nanos = MILLIS;

/// What the cleaner's thread knows.
pub(super) struct Cleaner {
    at_work: Option<(TopicPartition, Cleaning)>,
    /// Up to where each log is clean, by topic and partition as the checkpoint has it.
    clean_to: BTreeMap<(String, i32), Offset>,
    /// Logs with a batch that cannot be cleaned (`markPartitionUncleanable`).
    uncleanable: BTreeSet<TopicPartition>,
    pub(super) checkpoint: CheckpointWrite,
}

impl Cleaner {
    /// As its checkpoint says.
    ///
    /// # Errors
    /// The disk's; `Io` for a malformed checkpoint.
    pub(super) fn load(env: &mut Env<'_>) -> Result<Cleaner, DiskError> {
        let checkpoint = CheckpointWrite::new(CLEANER_OFFSET_CHECKPOINT);
        Ok(Cleaner {
            at_work: None,
            clean_to: read_offsets(&checkpoint, env)?,
            uncleanable: BTreeSet::new(),
            checkpoint,
        })
    }
}

impl ReplicaManager {
    /// The thread's next piece of work.
    pub fn serve_cleaner(&mut self, env: &mut Env<'_>) {
        if self.offline {
            return;
        }
        if self.cleaner.at_work.is_none() && !self.begin_cleaning(env) {
            self.delete_old_segments_of_compacted(env);
            let backoff = millis(self.config.log_cleaner_backoff_ms);
            self.upcalls.push_back(Upcall::CleanAfter(backoff));
            return;
        }
        let token = self.sync_token(SyncUse::Cleaning);
        let (id, mut cleaning) = self.cleaner.at_work.take().expect("it was just begun");
        let log = &mut self.replicas.get_mut(id).expect("known").partition.log;
        let progress = cleaning.step(log, env.disk, token);
        if progress != Ok(CleaningProgress::Syncing) {
            self.syncs.remove(&token);
        }
        if let Err(error) = self.go_on_cleaning(id, cleaning, progress, env) {
            self.log_directory_failed(error, env);
        }
    }

    /// Takes up the log that needs it most (`grabFilthiestCompactedLog`); false where none does.
    fn begin_cleaning(&mut self, env: &mut Env<'_>) -> bool {
        let mut filthiest: Option<(u32, TopicPartition, Cleanable)> = None;
        for (id, replica) in self.replicas.iter() {
            let (log, config) = (&replica.partition.log, &replica.partition.config);
            if !config.cleanup_policy.compact || self.cleaner.uncleanable.contains(&id) {
                continue;
            }
            let key = (replica.partition.topic.to_string(), id.partition);
            let clean_to = self.cleaner.clean_to.get(&key).copied();
            // Without transactions the last stable offset is the high watermark.
            let bound = log.high_watermark;
            let cleanable = Cleanable::of(log, clean_to, bound, config, env.wall_ms);
            let ratio = cleanable.ratio_millionths();
            if cleanable.is_due(config) && filthiest.as_ref().is_none_or(|(most, ..)| ratio > *most)
            {
                filthiest = Some((ratio, id, cleanable));
            }
        }
        let Some((_, id, cleanable)) = filthiest else {
            return false;
        };
        let partition = &self.replicas[id].partition;
        let cleaning = Cleaning::begin(&partition.log, cleanable, &partition.config, env.wall_ms);
        self.cleaner.at_work = Some((id, cleaning));
        true
    }

    /// A sync of the cleaning under way completed; `Ok(true)` where another one is.
    pub(super) fn cleaning_synced(
        &mut self,
        token: SyncToken,
        result: Result<(), DiskError>,
        env: &mut Env<'_>,
    ) -> Result<bool, DiskError> {
        let (id, mut cleaning) = self.cleaner.at_work.take().expect("its sync completed");
        let log = &mut self.replicas.get_mut(id).expect("known").partition.log;
        let progress = cleaning.synced(log, result, token, env.disk);
        let again = progress == Ok(CleaningProgress::Syncing);
        self.go_on_cleaning(id, cleaning, progress, env)?;
        Ok(again)
    }

    fn go_on_cleaning(
        &mut self,
        id: TopicPartition,
        cleaning: Cleaning,
        progress: Result<CleaningProgress, CleaningError>,
        env: &mut Env<'_>,
    ) -> Result<(), DiskError> {
        if self.replicas[id].partition.log.has_chores() {
            // Segments were replaced.
            env.fact(Fact::LogCleaned {
                partition: id,
                up_to: cleaning.end_offset(),
            });
            self.do_chores(id, env);
        }
        match progress {
            Ok(CleaningProgress::Syncing) => self.cleaner.at_work = Some((id, cleaning)),
            Ok(CleaningProgress::More) => {
                self.cleaner.at_work = Some((id, cleaning));
                env.serve(Queue::LogCleaner, CLEANING_COST);
            }
            Ok(CleaningProgress::Done { end_offset }) => {
                let topic = self.replicas[id].partition.topic.to_string();
                let key = (topic, id.partition);
                self.cleaner.clean_to.insert(key, end_offset);
                self.checkpoint_cleaner(env);
                env.serve(Queue::LogCleaner, CLEANING_COST);
            }
            Err(CleaningError::Aborted) => {
                let backoff = millis(self.config.log_cleaner_backoff_ms);
                self.upcalls.push_back(Upcall::CleanAfter(backoff));
            }
            Err(CleaningError::Corrupt(_)) => {
                self.cleaner.uncleanable.insert(id);
                env.serve(Queue::LogCleaner, CLEANING_COST);
            }
            Err(CleaningError::Disk(error)) => return Err(error),
        }
        Ok(())
    }

    fn checkpoint_cleaner(&mut self, env: &mut Env<'_>) {
        let clean_to = self.cleaner.clean_to.iter();
        let entries = clean_to.map(|((topic, partition), offset)| (&**topic, *partition, *offset));
        let text = offset_checkpoint_text(entries);
        let token = self.sync_token(SyncUse::CleanerCheckpoint);
        let begun = self.cleaner.checkpoint.begin(env.disk, text, token);
        self.begun(token, begun, env);
    }

    /// `LogCleanerManager.deletableLogs`: of compacted logs the cleaner lets go what retention lets go.
    fn delete_old_segments_of_compacted(&mut self, env: &mut Env<'_>) {
        let compacted: Vec<TopicPartition> = self
            .replicas
            .iter()
            .filter(|(_, r)| r.partition.config.cleanup_policy.compact)
            .map(|(id, _)| id)
            .collect();
        for id in compacted {
            self.delete_old_segments_of(id, env);
        }
    }
}
