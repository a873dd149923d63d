//! All replicas of a broker: `ReplicaManager`.
//!
//! Not modelled: several log directories, reassignment, quotas. Fetch sessions (KIP-227) neither: they
//! leave out of a response what has not changed, and a high watermark that moved has; nothing that
//! anybody sees depends on them.

use crate::bug::Bug;
use crate::config::{BrokerConfig, TopicConfig};
use crate::controller::MetadataImage;
use crate::disk::DiskError;
use crate::env::{Env, SyncToken, TimerToken};
use crate::fact::Fact;
use crate::ids::*;
use crate::log::checkpoint::{
    LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT,
};
use crate::log::{CheckpointWrite, DeletedSegment, LoadFrom, PartitionLog};
use crate::replica::compaction::Cleaner;
use crate::replica::durability::{SyncUse, read_offsets};
use crate::replica::fetcher::Fetcher;
use crate::replica::locks::{Replica, Waiter};
use crate::replica::partition::{IsrProposal, Partition};
use crate::replica::produce::ProduceJob;
use crate::replica::purgatory::{Asker, Change, Delayed, Purgatory};
use crate::sorted_map::SortedMap;
use crate::time::{Nanos, millis};
use crate::wire::{AlterPartitionResult, ErrorCode, Response};
use std::collections::{BTreeMap, VecDeque};

/// What the replica layer asks of the rest of the broker, drained after every step.
#[derive(Debug)]
pub enum Upcall {
    /// A response is ready; `None` answers nothing (acks=0), and `close` asks to close the connection.
    Respond {
        /// To whom.
        asker: Asker,
        /// What.
        response: Option<Box<Response>>,
        /// Close the connection instead (an error under acks=0).
        close: bool,
    },
    /// A Produce has its flush behind it and is to be answered in a later step: its partition's lock is
    /// free meanwhile, and what waited for it goes first or not. In a box, since it is rare and large.
    AnswerProduce(Box<ProduceJob>),
    /// A proposal of this partition's ISR waits to be sent.
    ProposeIsr(TopicPartition),
    /// The high watermark of this partition moved on its leader.
    HighWatermark(TopicPartition),
    /// The append of a coordinator's job to this partition is done: the offset behind it, or an error.
    CoordinatorAppended(TopicPartition, u64, Result<Offset, ErrorCode>),
    /// This broker became leader of a partition, in this epoch.
    BecameLeader(TopicPartition, LeaderEpoch),
    /// This broker leads a partition no more.
    ResignedLeader(TopicPartition),
    /// A log was rolled: what lies below that offset is to be flushed in the background.
    FlushLog(TopicPartition, Offset),
    /// Files of a deleted segment are to be deleted then.
    DeleteFileAfter(Nanos),
    /// The cleaner looks again then.
    CleanAfter(Nanos),
}

/// All replicas of a broker.
pub struct ReplicaManager {
    pub(super) local: BrokerId,
    pub(super) config: BrokerConfig,
    pub(super) bug: Option<Bug>,
    pub(super) broker_epoch: BrokerEpoch,
    pub(super) replicas: SortedMap<TopicPartition, Replica>,
    pub(super) fetchers: SortedMap<BrokerId, Fetcher>,
    pub(super) purgatory: Purgatory,
    pub(super) upcalls: VecDeque<Upcall>,
    /// Logs loaded at start-up that no metadata has claimed yet, by directory.
    unclaimed: BTreeMap<String, PartitionLog>,
    pub(super) high_watermark_checkpoint: CheckpointWrite,
    pub(super) recovery_point_checkpoint: CheckpointWrite,
    pub(super) log_start_checkpoint: CheckpointWrite,
    pub(super) cleaner: Cleaner,
    /// `partition.metadata` files that are being written.
    pub(super) metadata_writes: BTreeMap<TopicPartition, CheckpointWrite>,
    checkpointed_high_watermarks: BTreeMap<(String, i32), Offset>,
    pub(super) syncs: BTreeMap<SyncToken, SyncUse>,
    pub(super) next_sync: u64,
    /// Removed segments by when their files are to be deleted, and a number.
    pub(super) deletions: BTreeMap<(Nanos, u64), DeletedSegment>,
    /// The log directory has failed.
    pub(super) offline: bool,
    pub(super) in_controlled_shutdown: bool,
    timer_kind_fetcher: u64,
    timer_kind_purgatory: u64,
}

impl ReplicaManager {
    /// Loads the logs that the disk holds, without recovery after a `clean` shutdown. `timer_kinds` are the upper bits of the tokens of fetcher
    /// and purgatory timers.
    pub fn load(
        local: BrokerId,
        config: BrokerConfig,
        bug: Option<Bug>,
        clean: bool,
        timer_kinds: (u64, u64),
        env: &mut Env<'_>,
    ) -> Result<ReplicaManager, DiskError> {
        let high_watermark_checkpoint = CheckpointWrite::new(REPLICATION_OFFSET_CHECKPOINT);
        let recovery_point_checkpoint = CheckpointWrite::new(RECOVERY_POINT_CHECKPOINT);
        let checkpointed_high_watermarks = read_offsets(&high_watermark_checkpoint, env)?;
        let recovery_points = read_offsets(&recovery_point_checkpoint, env)?;
        let log_start_checkpoint = CheckpointWrite::new(LOG_START_CHECKPOINT);
        let log_starts = read_offsets(&log_start_checkpoint, env)?;
        let mut unclaimed = BTreeMap::new();
        for dir in log_directories(env) {
            let Some((topic, partition)) = split_directory(&dir) else {
                continue;
            };
            let key = (topic.to_string(), partition);
            let recovery_point = recovery_points.get(&key).copied().unwrap_or(0);
            let log_start = log_starts.get(&key).copied().unwrap_or(0);
            let (log, recovery) = PartitionLog::open(
                &dir,
                env.disk,
                LoadFrom {
                    clean,
                    recovery_point,
                    log_start,
                    now_ms: env.wall_ms,
                    bug,
                },
            )?;
            // The topic's id is not known before the metadata is; the directory is.
            env.fact(Fact::LogRecovered {
                topic: topic.into(),
                partition,
                log_start: log.log_start_offset(),
                log_end: recovery.log_end,
                prefix: log.prefix(),
                truncated_bytes: recovery.truncated_bytes,
                gaps: log.gaps(),
            });
            unclaimed.insert(dir, log);
        }
        Ok(ReplicaManager {
            local,
            config,
            bug,
            broker_epoch: -1,
            replicas: SortedMap::new(),
            fetchers: SortedMap::new(),
            purgatory: Purgatory::default(),
            upcalls: VecDeque::new(),
            unclaimed,
            high_watermark_checkpoint,
            recovery_point_checkpoint,
            log_start_checkpoint,
            cleaner: Cleaner::load(env)?,
            metadata_writes: BTreeMap::new(),
            checkpointed_high_watermarks,
            syncs: BTreeMap::new(),
            next_sync: 0,
            deletions: BTreeMap::new(),
            offline: false,
            in_controlled_shutdown: false,
            timer_kind_fetcher: timer_kinds.0,
            timer_kind_purgatory: timer_kinds.1,
        })
    }

    /// The replica of a partition, if this broker has one.
    pub fn partition(&self, id: TopicPartition) -> Option<&Partition> {
        self.replicas.get(id).map(|r| &r.partition)
    }

    /// How a follower's fetcher stands with a partition.
    #[cfg(test)]
    pub(crate) fn fetch_state(&self, id: TopicPartition) -> Option<&super::fetcher::FetchState> {
        self.fetchers.values().find_map(|f| f.partitions.get(id))
    }

    /// All replicas, in order.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.replicas.values().map(|r| &r.partition)
    }

    /// What the rest of the broker must do next.
    #[inline]
    pub fn next_upcall(&mut self) -> Option<Upcall> {
        self.upcalls.pop_front()
    }

    /// Whether there is anything in [`Self::next_upcall`].
    #[inline]
    pub fn has_upcalls(&self) -> bool {
        !self.upcalls.is_empty()
    }

    /// Forgets what the rest of the broker would have to do.
    pub fn drop_upcalls(&mut self) {
        self.upcalls.clear();
    }

    /// The epoch of the broker's registration, which its fetches carry (KIP-903).
    pub fn set_broker_epoch(&mut self, epoch: BrokerEpoch) {
        self.broker_epoch = epoch;
    }

    pub(super) fn create(
        &mut self,
        id: TopicPartition,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> Result<(), DiskError> {
        let topic = image
            .topic(id.topic)
            .expect("a partition belongs to a topic");
        let name = topic.name.clone();
        let dir = format!("{name}-{}", id.partition);
        let mut log = match self.unclaimed.remove(&dir) {
            Some(log) => log,
            None => {
                let from = LoadFrom {
                    clean: true,
                    recovery_point: 0,
                    log_start: 0,
                    now_ms: env.wall_ms,
                    bug: self.bug,
                };
                PartitionLog::open(&dir, env.disk, from)?.0
            }
        };
        let checkpointed = self
            .checkpointed_high_watermarks
            .get(&(name.to_string(), id.partition))
            .copied()
            .unwrap_or(0);
        log.update_high_watermark(checkpointed);
        self.write_partition_metadata(id, &dir, env)?;
        let config = TopicConfig::resolve(
            &self.config,
            image.topic_configs(&name).unwrap_or(&BTreeMap::new()),
        )
        .expect("topic settings were validated when the topic was created");
        let partition = Partition::new(
            id,
            name,
            self.local,
            log,
            config,
            self.config.replica_lag_time_max_ms,
            self.bug,
        );
        self.replicas.insert(id, Replica::new(partition));
        Ok(())
    }

    /// The broker asks to be let go.
    pub fn begin_controlled_shutdown(&mut self) {
        self.in_controlled_shutdown = true;
    }

    /// `ReplicaManager.shutdown`: fetchers end, and what waits is dropped.
    pub fn stop(&mut self, env: &mut Env<'_>) {
        for fetcher in std::mem::take(&mut self.fetchers).values_mut() {
            fetcher.channel.drop_request(env);
        }
        self.purgatory = Purgatory::default();
    }

    /// `isr-expiration`, every half `replica.lag.time.max.ms`.
    pub fn expire_isr(&mut self, env: &mut Env<'_>) {
        for (id, replica) in self.replicas.iter_mut() {
            if replica.is_locked() {
                replica.wait_to_shrink(env);
            } else if replica.partition.maybe_shrink_isr(env) {
                self.upcalls.push_back(Upcall::ProposeIsr(id));
            }
        }
    }

    /// The controller answered a proposal (`Partition.submitAlterPartition`).
    pub fn isr_answered(
        &mut self,
        id: TopicPartition,
        proposal: IsrProposal,
        result: AlterPartitionResult,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        match self.replicas.get_mut(id) {
            Some(replica) if replica.is_locked() => {
                let answer = Box::new((proposal, result));
                replica.queue.push_back(Waiter::IsrAnswer(answer));
            }
            Some(_) => self.take_isr_answer(id, &proposal, &result, image, env),
            None => {}
        }
    }

    pub(super) fn take_isr_answer(
        &mut self,
        id: TopicPartition,
        proposal: &IsrProposal,
        result: &AlterPartitionResult,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let partition = &mut self.replicas.get_mut(id).expect("it leads").partition;
        if !result.error.is_none() {
            if partition.isr_refused(proposal, result.error) {
                self.upcalls.push_back(Upcall::ProposeIsr(id));
            }
            return;
        }
        let moved = partition.isr_committed(
            proposal,
            result.leader_epoch,
            result.partition_epoch,
            &result.isr,
            image,
            env,
        );
        if moved {
            self.high_watermark_moved(id, image, env);
        }
    }

    /// `OPERATION_NOT_ATTEMPTED`: an older proposal of this partition is still on its way.
    pub fn isr_not_attempted(
        &mut self,
        id: TopicPartition,
        proposal: IsrProposal,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let result = AlterPartitionResult {
            partition: id.partition,
            // What becomes of it is the same.
            error: ErrorCode::IneligibleReplica,
            leader: NO_BROKER,
            leader_epoch: NO_EPOCH,
            isr: Vec::new(),
            partition_epoch: -1,
        };
        self.isr_answered(id, proposal, result, image, env);
    }

    pub(super) fn high_watermark_moved(
        &mut self,
        id: TopicPartition,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        self.upcalls.push_back(Upcall::HighWatermark(id));
        self.complete_delayed(id, Change::HighWatermark, image, env);
    }

    pub(super) fn respond(&mut self, asker: Asker, response: Box<Response>) {
        self.upcalls.push_back(Upcall::Respond {
            asker,
            response: Some(response),
            close: false,
        });
    }

    pub(super) fn fetcher_timer_kind(&self) -> u64 {
        self.timer_kind_fetcher
    }

    /// Lets a request wait for that long at most.
    pub(super) fn park(&mut self, delayed: Delayed, wait_ms: i32, env: &mut Env<'_>) {
        let deadline = env.now.saturating_add(millis(i64::from(wait_ms)));
        let timer = self.purgatory.park(delayed, deadline);
        self.set_purgatory_timer(timer, env);
    }

    pub(super) fn set_purgatory_timer(&self, at: Option<Nanos>, env: &mut Env<'_>) {
        if let Some(at) = at {
            let token = TimerToken(self.timer_kind_purgatory);
            env.timer_in(at.saturating_sub(env.now), token);
        }
    }
}

/// The directories that hold logs, sorted.
fn log_directories(env: &Env<'_>) -> Vec<String> {
    let mut dirs: Vec<String> = env
        .disk
        .list("")
        .iter()
        .filter_map(|path| path.split_once('/'))
        .map(|(dir, _)| dir.to_string())
        .collect();
    dirs.dedup();
    dirs
}

/// `topic-0` as topic and partition.
fn split_directory(dir: &str) -> Option<(&str, i32)> {
    let (topic, partition) = dir.rsplit_once('-')?;
    Some((topic, partition.parse().ok()?))
}
