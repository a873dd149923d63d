//! All replicas of a broker: `ReplicaManager`.
//!
//! Kafka's locks as they show from outside: an append that must flush (`log.flush.interval.messages`)
//! holds its partition's log until the sync completes, later appends to that partition queue behind
//! it, and reads go on meanwhile (`UnifiedLog.append` flushes inside its lock after the log end has
//! moved). A flush by time or at a checkpoint takes no lock.
//!
//! Not modelled: several log directories, reassignment, quotas, fetch sessions.

use crate::bug::Bug;
use crate::channel::Channel;
use crate::config::{BrokerConfig, TopicConfig};
use crate::controller::MetadataImage;
use crate::disk::DiskError;
use crate::env::{Env, Output, SyncToken, TimerToken};
use crate::fact::Fact;
use crate::ids::*;
use crate::log::checkpoint::{offset_checkpoint_text, parse_offset_checkpoint, read_text};
use crate::log::{CheckpointProgress, CheckpointWrite, FlushProgress, PartitionLog};
use crate::replica::fetcher::Fetcher;
use crate::replica::partition::{IsrProposal, Partition};
use crate::replica::produce::ProduceJob;
use crate::replica::purgatory::{Asker, Change, Delayed, Purgatory};
use crate::time::millis;
use crate::wire::{ErrorCode, Response};
use std::collections::{BTreeMap, VecDeque};

/// An append to one partition's log that may have to wait for the log's lock or for a sync.
#[derive(Debug)]
pub enum Append {
    /// A Produce request, at its next partition.
    Produce(ProduceJob),
    /// A fetch response of a follower, at its next partition.
    Follow(super::follow::FollowJob),
    /// Records of a coordinator; `job` names them in its completion.
    Coordinator {
        /// Its partition of an internal topic.
        partition: TopicPartition,
        /// Chosen by the coordinator.
        job: u64,
        /// One batch.
        records: bytes::Bytes,
    },
}

/// A replica and who holds its log's lock.
pub struct Replica {
    /// The replica.
    pub partition: Partition,
    /// The append whose flush holds the lock.
    pub(super) held: Option<(SyncToken, Append)>,
    /// Appends that wait for the lock, in order.
    pub(super) queue: VecDeque<Append>,
}

/// What the replica layer asks of the rest of the broker, drained after every step.
#[derive(Debug)]
pub enum Upcall {
    /// A response is ready; `None` answers nothing (acks=0), and `close` asks to close the connection.
    Respond {
        /// To whom.
        asker: Asker,
        /// What.
        response: Option<Response>,
        /// Close the connection instead (an error under acks=0).
        close: bool,
    },
    /// A proposal of this partition's ISR waits to be sent.
    ProposeIsr(TopicPartition),
    /// The high watermark of this partition moved on its leader.
    HighWatermark(TopicPartition),
    /// A coordinator's append is done: the offset behind it, or an error.
    CoordinatorAppended(u64, Result<Offset, ErrorCode>),
    /// This broker became leader of a partition, in this epoch.
    BecameLeader(TopicPartition, LeaderEpoch),
    /// This broker leads a partition no more.
    ResignedLeader(TopicPartition),
}

/// All replicas of a broker.
pub struct ReplicaManager {
    pub(super) local: BrokerId,
    pub(super) config: BrokerConfig,
    pub(super) bug: Option<Bug>,
    pub(super) broker_epoch: BrokerEpoch,
    pub(super) replicas: BTreeMap<TopicPartition, Replica>,
    pub(super) fetchers: BTreeMap<BrokerId, Fetcher>,
    pub(super) purgatory: Purgatory,
    pub(super) upcalls: Vec<Upcall>,
    /// Numbers of waiting requests, reused.
    pub(super) scratch: Vec<u64>,
    /// Logs loaded at start-up that no metadata has claimed yet, by directory.
    unclaimed: BTreeMap<String, PartitionLog>,
    high_watermark_checkpoint: CheckpointWrite,
    recovery_point_checkpoint: CheckpointWrite,
    checkpointed_high_watermarks: BTreeMap<(String, i32), Offset>,
    syncs: BTreeMap<SyncToken, SyncUse>,
    next_sync: u64,
    timer_kind_fetcher: u64,
    timer_kind_purgatory: u64,
}

/// What a running sync is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SyncUse {
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
}

impl ReplicaManager {
    /// Loads the logs that the disk holds. `timer_kinds` are the upper bits of the tokens of fetcher
    /// and purgatory timers.
    pub fn load(
        local: BrokerId,
        config: BrokerConfig,
        bug: Option<Bug>,
        timer_kinds: (u64, u64),
        env: &mut Env<'_>,
    ) -> Result<ReplicaManager, DiskError> {
        let high_watermark_checkpoint = CheckpointWrite::new("replication-offset-checkpoint");
        let recovery_point_checkpoint = CheckpointWrite::new("recovery-point-offset-checkpoint");
        let checkpointed_high_watermarks = read_offsets(&high_watermark_checkpoint, env)?;
        let recovery_points = read_offsets(&recovery_point_checkpoint, env)?;
        let mut unclaimed = BTreeMap::new();
        // No orderly shutdown exists yet, so every start follows an unclean end.
        for dir in log_directories(env) {
            let Some((topic, partition)) = split_directory(&dir) else {
                continue;
            };
            let recovery_point = recovery_points
                .get(&(topic.to_string(), partition))
                .copied()
                .unwrap_or(0);
            let (log, recovery) =
                PartitionLog::open(&dir, env.disk, false, recovery_point, env.wall_ms)?;
            // The topic's id is not known before the metadata is; the directory is.
            env.fact(Fact::LogRecovered {
                topic: topic.into(),
                partition,
                log_end: recovery.log_end,
                truncated_bytes: recovery.truncated_bytes,
            });
            unclaimed.insert(dir, log);
        }
        Ok(ReplicaManager {
            local,
            config,
            bug,
            broker_epoch: -1,
            replicas: BTreeMap::new(),
            fetchers: BTreeMap::new(),
            purgatory: Purgatory::default(),
            upcalls: Vec::new(),
            scratch: Vec::new(),
            unclaimed,
            high_watermark_checkpoint,
            recovery_point_checkpoint,
            checkpointed_high_watermarks,
            syncs: BTreeMap::new(),
            next_sync: 0,
            timer_kind_fetcher: timer_kinds.0,
            timer_kind_purgatory: timer_kinds.1,
        })
    }

    /// The replica of a partition, if this broker has one.
    pub fn partition(&self, id: TopicPartition) -> Option<&Partition> {
        self.replicas.get(&id).map(|r| &r.partition)
    }

    /// All replicas, in order.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.replicas.values().map(|r| &r.partition)
    }

    /// What the rest of the broker must do now, in exchange for an empty vector.
    pub fn swap_upcalls(&mut self, empty: &mut Vec<Upcall>) {
        debug_assert!(empty.is_empty(), "upcalls would be lost");
        std::mem::swap(&mut self.upcalls, empty);
    }

    /// Whether there is anything in [`Self::swap_upcalls`].
    pub fn has_upcalls(&self) -> bool {
        !self.upcalls.is_empty()
    }

    /// The epoch of the broker's registration, which its fetches carry (KIP-903).
    pub fn set_broker_epoch(&mut self, epoch: BrokerEpoch) {
        self.broker_epoch = epoch;
    }

    /// `ReplicaManager.applyDelta`: takes over the roles that changed. Leaders first, as in Kafka.
    pub fn apply(&mut self, changed: &[TopicPartition], image: &MetadataImage, env: &mut Env<'_>) {
        let mut followers = Vec::new();
        for &id in changed {
            let Some(state) = image.partition(id) else {
                continue;
            };
            if !state.replicas.contains(&self.local) {
                continue;
            }
            if !self.replicas.contains_key(&id) && self.create(id, image, env).is_err() {
                env.out.push(Output::Halt);
                return;
            }
            if state.leader == self.local {
                self.stop_fetching(id);
                self.lead(id, image, env);
            } else {
                followers.push(id);
            }
        }
        let mut start = Vec::new();
        for id in followers {
            let state = image.partition(id).expect("listed above");
            let replica = self.replicas.get_mut(&id).expect("created above");
            let was_leader = replica.partition.is_leader();
            let new_epoch = replica.partition.make_follower(state, env);
            if was_leader && !replica.partition.is_leader() {
                self.upcalls.push(Upcall::ResignedLeader(id));
            }
            if new_epoch {
                start.push(id);
            }
        }
        for &id in &start {
            self.stop_fetching(id);
        }
        for &id in &start {
            self.start_fetching(id, image, env);
        }
        for id in start {
            self.complete_delayed(id, Change::Any, image, env);
        }
        self.stop_idle_fetchers(env);
        self.fetch_all(env);
    }

    fn lead(&mut self, id: TopicPartition, image: &MetadataImage, env: &mut Env<'_>) {
        let state = image.partition(id).expect("checked by the caller");
        let replica = self.replicas.get_mut(&id).expect("created by the caller");
        let before = (
            replica.partition.is_leader(),
            replica.partition.leader_epoch(),
        );
        let moved = replica.partition.make_leader(state, image, env);
        let after = (
            replica.partition.is_leader(),
            replica.partition.leader_epoch(),
        );
        if after.0 && after != before {
            self.upcalls.push(Upcall::BecameLeader(id, after.1));
            self.write_epochs(id, env);
        }
        if moved {
            self.upcalls.push(Upcall::HighWatermark(id));
        }
        self.complete_delayed(id, Change::Any, image, env);
    }

    fn create(
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
            None => PartitionLog::open(&dir, env.disk, true, 0, env.wall_ms)?.0,
        };
        let checkpointed = self
            .checkpointed_high_watermarks
            .get(&(name.to_string(), id.partition))
            .copied()
            .unwrap_or(0);
        log.update_high_watermark(checkpointed);
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
        let replica = Replica {
            partition,
            held: None,
            queue: VecDeque::new(),
        };
        self.replicas.insert(id, replica);
        Ok(())
    }

    fn stop_fetching(&mut self, id: TopicPartition) {
        for fetcher in self.fetchers.values_mut() {
            fetcher.partitions.remove(&id);
            fetcher.out_of_range.retain(|p| *p != id);
        }
    }

    fn start_fetching(&mut self, id: TopicPartition, image: &MetadataImage, env: &mut Env<'_>) {
        let leader = self.replicas[&id].partition.leader();
        // A leader that is not alive has no endpoint in the image.
        if leader == NO_BROKER || image.broker(leader).is_none_or(|b| b.fenced) {
            return;
        }
        if self.bug == Some(Bug::TruncateToHighWatermark) {
            let high_watermark = self.replicas[&id].partition.log.high_watermark;
            self.truncate(leader, id, high_watermark, env);
        }
        let kind = self.timer_kind_fetcher;
        let fetcher = self.fetchers.entry(leader).or_insert_with(|| {
            let token = TimerToken(kind | leader as u64);
            Fetcher::new(leader, Channel::new(NodeId::of_broker(leader), token))
        });
        fetcher.add(&self.replicas[&id].partition);
    }

    /// `shutdownIdleFetcherThreads`: their connections close with them.
    fn stop_idle_fetchers(&mut self, env: &mut Env<'_>) {
        self.fetchers.retain(|_, fetcher| {
            let idle = fetcher.partitions.is_empty();
            if idle {
                fetcher.channel.drop_request(env);
            }
            !idle
        });
    }

    /// `isr-expiration`, every half `replica.lag.time.max.ms`.
    pub fn expire_isr(&mut self, env: &mut Env<'_>) {
        for (id, replica) in &mut self.replicas {
            if replica.partition.maybe_shrink_isr(env) {
                self.upcalls.push(Upcall::ProposeIsr(*id));
            }
        }
    }

    /// The controller committed a proposed ISR.
    pub fn isr_committed(
        &mut self,
        id: TopicPartition,
        proposal: &IsrProposal,
        result: &crate::wire::AlterPartitionResult,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let Some(replica) = self.replicas.get_mut(&id) else {
            return;
        };
        let moved = replica.partition.isr_committed(
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

    /// The controller refused one.
    pub fn isr_refused(&mut self, id: TopicPartition, proposal: &IsrProposal, error: ErrorCode) {
        if let Some(replica) = self.replicas.get_mut(&id)
            && replica.partition.isr_refused(proposal, error)
        {
            self.upcalls.push(Upcall::ProposeIsr(id));
        }
    }

    pub(super) fn high_watermark_moved(
        &mut self,
        id: TopicPartition,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        self.upcalls.push(Upcall::HighWatermark(id));
        self.complete_delayed(id, Change::HighWatermark, image, env);
    }

    pub(super) fn respond(&mut self, asker: Asker, response: Response) {
        self.upcalls.push(Upcall::Respond {
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
        self.purgatory.park(delayed, deadline);
        self.set_purgatory_timer(env);
    }

    pub(super) fn set_purgatory_timer(&mut self, env: &mut Env<'_>) {
        if let Some(at) = self.purgatory.timer_to_set() {
            let token = TimerToken(self.timer_kind_purgatory);
            env.timer_in(at.saturating_sub(env.now), token);
        }
    }

    // ---- the scheduler's tasks --------------------------------------------------------------

    /// `LogManager.flushDirtyLogs`: a log whose last flush is older than its `flush.ms`.
    pub fn flush_dirty_logs(&mut self, env: &mut Env<'_>) {
        let due: Vec<TopicPartition> = self
            .replicas
            .iter()
            .filter(|(_, r)| {
                let log = &r.partition.log;
                let age = env.wall_ms.saturating_sub(log.last_flush_ms());
                log.unflushed_messages() > 0 && age >= r.partition.config.flush_ms
            })
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let token = self.sync_token(SyncUse::Background(id));
            let log = &mut self.replicas.get_mut(&id).expect("listed").partition.log;
            let begun = log.begin_flush(env.disk, token);
            assert!(begun, "it has unflushed messages");
        }
    }

    /// `checkpointHighWatermarks`, every `replica.high.watermark.checkpoint.interval.ms`.
    pub fn checkpoint_high_watermarks(&mut self, env: &mut Env<'_>) {
        let text = self.checkpoint_of(|p| p.log.high_watermark);
        let token = self.sync_token(SyncUse::HighWatermarks);
        let begun = self.high_watermark_checkpoint.begin(env.disk, text, token);
        self.begun(token, begun, env);
    }

    /// `checkpointLogRecoveryOffsets`, every `log.flush.offset.checkpoint.interval.ms`.
    pub fn checkpoint_recovery_points(&mut self, env: &mut Env<'_>) {
        let text = self.checkpoint_of(|p| p.log.recovery_point());
        let token = self.sync_token(SyncUse::RecoveryPoints);
        let begun = self.recovery_point_checkpoint.begin(env.disk, text, token);
        self.begun(token, begun, env);
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
        let log = &self.replicas[&id].partition.log;
        if !log.epoch_checkpoint_due() {
            return;
        }
        let token = self.sync_token(SyncUse::Epochs(id));
        let log = &mut self
            .replicas
            .get_mut(&id)
            .expect("known partition")
            .partition
            .log;
        let begun = log.begin_epoch_checkpoint(env.disk, token);
        self.begun(token, begun, env);
    }

    /// `Ok(false)`: another write is under way, whose token serves this one too. An error: the only log
    /// directory is gone, and `LogManager.handleLogDirFailure` halts the broker.
    fn begun(&mut self, token: SyncToken, begun: Result<bool, DiskError>, env: &mut Env<'_>) {
        if begun != Ok(true) {
            self.syncs.remove(&token);
        }
        if begun.is_err() {
            env.out.push(Output::Halt);
        }
    }

    fn sync_token(&mut self, use_: SyncUse) -> SyncToken {
        let token = SyncToken(self.next_sync);
        self.next_sync += 1;
        self.syncs.insert(token, use_);
        token
    }

    /// Starts the flush of an append that holds its partition's lock.
    pub(super) fn hold_for_flush(&mut self, id: TopicPartition, then: Append, env: &mut Env<'_>) {
        let token = self.sync_token(SyncUse::Append(id));
        let replica = self.replicas.get_mut(&id).expect("it was appended to");
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
        let again = match use_ {
            SyncUse::Append(id) => self.flushed(id, token, result, env).inspect(|again| {
                if !again {
                    self.release(id, token, image, env);
                }
            }),
            SyncUse::Background(id) => self.flushed(id, token, result, env),
            SyncUse::Epochs(id) => {
                let log = &mut self.replicas.get_mut(&id).expect("known").partition.log;
                let progress = log.epoch_checkpoint_synced(env.disk, result);
                progress.map(|p| p == CheckpointProgress::Again)
            }
            SyncUse::HighWatermarks => {
                let progress = self.high_watermark_checkpoint.synced(env.disk, result);
                progress.map(|p| p == CheckpointProgress::Again)
            }
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
            Err(_) => env.out.push(Output::Halt),
        }
    }

    /// The flush of an append is done: it goes on, and then those that waited for the lock.
    fn release(
        &mut self,
        id: TopicPartition,
        token: SyncToken,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let replica = self.replicas.get_mut(&id).expect("it holds the lock");
        let (holder, append) = replica.held.take().expect("it holds the lock");
        assert_eq!(holder, token, "the lock's holder is the one that synced");
        self.continue_append(append, true, image, env);
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
        let log = &mut self.replicas.get_mut(&id).expect("known").partition.log;
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

    /// Appends that waited for the lock go on, until one of them holds it again.
    pub(super) fn serve_lock_queue(
        &mut self,
        id: TopicPartition,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        loop {
            let replica = self.replicas.get_mut(&id).expect("known partition");
            if replica.held.is_some() {
                return;
            }
            let Some(append) = replica.queue.pop_front() else {
                return;
            };
            self.continue_append(append, false, image, env);
        }
    }

    /// Goes on with an append: its flush is done (`flushed`), or it has the lock now.
    pub(super) fn continue_append(
        &mut self,
        append: Append,
        flushed: bool,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        match append {
            Append::Produce(job) => self.run_produce(job, flushed, image, env),
            Append::Follow(job) => self.run_follow(job, flushed, env),
            Append::Coordinator {
                partition,
                job,
                records,
            } => self.run_coordinator_append(partition, job, records, flushed, image, env),
        }
    }
}

fn read_offsets(
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
