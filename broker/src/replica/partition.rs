//! One replica of one partition: `kafka.cluster.Partition` and `kafka.cluster.Replica`.
//!
//! Modelled: leader and follower roles, and the fetch state of each remote replica, forgotten where
//! the leader is new. The ISR in three forms: committed (gates acks=all), proposed, and maximal
//! (members and a proposed addition, gates the high watermark and the answer). A follower joins with
//! its log end at or above both the high watermark and the start of this leader epoch, unfenced, not
//! shutting down, and in the broker epoch of its registration. The high watermark waits for the
//! maximal ISR and for those who are caught up and may join, and stands still below
//! `min.insync.replicas`, strict whatever the acks, effective as min(it, replication factor).
//!
//! Not modelled: reassignment (adding and removing replicas), future replicas of a log
//! directory move, tiered storage, fetching from followers.

use crate::bug::Bug;
use crate::config::TopicConfig;
use crate::controller::MetadataImage;
use crate::env::Env;
use crate::fact::Fact;
use crate::ids::*;
use crate::log::PartitionLog;
use crate::wire::ErrorCode;
use std::sync::Arc;

/// A remote replica as the leader knows it (`kafka.cluster.ReplicaState`).
#[derive(Debug, Clone)]
pub struct RemoteReplica {
    /// Its broker.
    pub broker: BrokerId,
    /// Its log end: the offset of its last fetch; -1 before the first fetch in this leadership.
    pub log_end_offset: Offset,
    /// Its log start, as its last fetch told; -1 before the first fetch in this leadership.
    pub log_start_offset: Offset,
    last_fetch_leader_log_end: Offset,
    last_fetch_ms: i64,
    last_caught_up_ms: i64,
    /// Broker epoch of its last fetch, `None` before the first (KIP-903).
    broker_epoch: Option<BrokerEpoch>,
}

impl RemoteReplica {
    fn new(broker: BrokerId) -> Self {
        RemoteReplica {
            broker,
            log_end_offset: -1,
            log_start_offset: -1,
            last_fetch_leader_log_end: -1,
            last_fetch_ms: 0,
            last_caught_up_ms: 0,
            broker_epoch: None,
        }
    }

    /// `Replica.resetReplicaState`: the leader was elected or re-elected.
    fn reset(&mut self, now_ms: i64, leader_end: Offset, new_leader: bool, in_sync: bool) {
        self.last_caught_up_ms = if in_sync { now_ms } else { 0 };
        if new_leader {
            self.log_end_offset = -1;
            self.log_start_offset = -1;
            self.last_fetch_leader_log_end = -1;
            self.last_fetch_ms = 0;
            self.broker_epoch = None;
        } else {
            self.last_fetch_leader_log_end = leader_end;
            self.last_fetch_ms = if in_sync { now_ms } else { 0 };
        }
    }

    /// `ReplicaState.isCaughtUp`.
    fn is_caught_up(&self, leader_end: Offset, now_ms: i64, lag_max_ms: i64) -> bool {
        leader_end == self.log_end_offset
            || now_ms.saturating_sub(self.last_caught_up_ms) <= lag_max_ms
    }
}

/// A proposed ISR, on its way to the controller (KIP-497).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrProposal {
    /// The proposed members, sorted.
    pub isr: Vec<BrokerId>,
    /// The member that an expansion adds; `None` for a shrink.
    pub adds: Option<BrokerId>,
    /// The partition epoch that it starts from.
    pub partition_epoch: PartitionEpoch,
    /// The leader epoch that it belongs to.
    pub leader_epoch: LeaderEpoch,
}

/// What a leader answers to "may this produce be acknowledged" (`checkEnoughReplicasReachOffset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicationProgress {
    /// Not yet.
    Waiting,
    /// Decided, with this error or none.
    Decided(ErrorCode),
}

/// One replica.
pub struct Partition {
    /// Which partition.
    pub id: TopicPartition,
    /// Its topic's name.
    pub topic: TopicName,
    /// Its settings.
    pub config: TopicConfig,
    /// Its log.
    pub log: PartitionLog,
    local: BrokerId,
    lag_max_ms: i64,
    pub(super) bug: Option<Bug>,
    leader: BrokerId,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    leader_epoch_start: Option<Offset>,
    replicas: Arc<[BrokerId]>,
    /// Committed ISR; empty on followers, as in Kafka.
    isr: Vec<BrokerId>,
    pending: Option<IsrProposal>,
    remotes: Vec<RemoteReplica>,
}

impl Partition {
    /// A replica that has not heard of its role yet.
    pub fn new(
        id: TopicPartition,
        topic: TopicName,
        local: BrokerId,
        log: PartitionLog,
        config: TopicConfig,
        lag_max_ms: i64,
        bug: Option<Bug>,
    ) -> Partition {
        Partition {
            id,
            topic,
            config,
            log,
            local,
            lag_max_ms,
            bug,
            leader: NO_BROKER,
            leader_epoch: -1,
            partition_epoch: -1,
            leader_epoch_start: None,
            replicas: Arc::from([]),
            isr: Vec::new(),
            pending: None,
            remotes: Vec::new(),
        }
    }

    /// Whether this replica leads.
    pub fn is_leader(&self) -> bool {
        self.leader == self.local
    }

    /// The leader as this replica knows it, -1 for none.
    pub fn leader(&self) -> BrokerId {
        self.leader
    }

    /// The epoch of that leader.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The committed ISR as this leader knows it; empty on followers.
    pub fn isr(&self) -> &[BrokerId] {
        &self.isr
    }

    /// The proposal on its way, if there is one.
    pub fn pending(&self) -> Option<&IsrProposal> {
        self.pending.as_ref()
    }

    /// Remote replicas, on the leader.
    pub fn remotes(&self) -> &[RemoteReplica] {
        &self.remotes
    }

    /// Where that broker's replica is in [`Self::remotes`], if this leader knows of one.
    pub fn remote_of(&self, broker: BrokerId) -> Option<usize> {
        self.remotes.iter().position(|r| r.broker == broker)
    }

    /// The same of a follower that fetches with this broker epoch, or the error that fences its fetch.
    pub fn fetching_remote(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        image: &MetadataImage,
    ) -> Result<usize, ErrorCode> {
        let remote = self
            .remote_of(broker)
            .ok_or(ErrorCode::UnknownLeaderEpoch)?;
        match is_of_former_process(broker, epoch, image) {
            true => Err(ErrorCode::NotLeaderOrFollower),
            false => Ok(remote),
        }
    }

    /// min(`min.insync.replicas`, replication factor): `Partition.effectiveMinIsr` (since 3.7).
    pub fn effective_min_isr(&self) -> i32 {
        self.config
            .min_insync_replicas
            .min(self.replicas.len() as i32)
    }

    fn is_under_min_isr(&self) -> bool {
        self.bug != Some(Bug::IgnoreMinIsr) && (self.isr.len() as i32) < self.effective_min_isr()
    }

    /// The maximal ISR: members plus a proposed addition. A proposed removal still counts, since the
    /// controller may refuse it (KIP-497).
    fn in_maximal_isr(&self, broker: BrokerId) -> bool {
        self.isr.contains(&broker)
            || self.bug != Some(Bug::CommittedIsrForHighWatermark)
                && self
                    .pending
                    .as_ref()
                    .is_some_and(|p| p.adds == Some(broker))
    }

    fn maximal_isr_len(&self) -> usize {
        let adds = self.pending.as_ref().is_some_and(|p| p.adds.is_some());
        self.isr.len() + usize::from(adds)
    }

    fn emit_isr(&self, env: &mut Env<'_>) {
        env.fact(Fact::IsrApplied {
            partition: self.id,
            isr: self.isr.clone(),
            effective_min_isr: self.effective_min_isr(),
        });
    }

    /// `Partition.makeLeader`. Returns whether the high watermark moved.
    pub fn make_leader(
        &mut self,
        state: &crate::controller::PartitionRegistration,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> bool {
        // An older state than an AlterPartition answer has already told.
        if state.partition_epoch < self.partition_epoch {
            return false;
        }
        let new_leader = !self.is_leader();
        let new_epoch = state.leader_epoch > self.leader_epoch;
        self.replicas = state.replicas.clone();
        let local = self.local;
        self.remotes.retain(|r| state.replicas.contains(&r.broker));
        for &broker in state.replicas.iter().filter(|b| **b != local) {
            if !self.remotes.iter().any(|r| r.broker == broker) {
                self.remotes.push(RemoteReplica::new(broker));
            }
        }
        self.isr = state.isr.to_vec();
        self.isr.sort_unstable();
        self.pending = None;
        if new_epoch {
            let start = self.log.log_end_offset();
            // Also without a single write: a follower may hold entries of a later epoch than any in
            // this log (KAFKA-7415).
            if self.bug != Some(Bug::NoEpochOnBecomeLeader) {
                self.log
                    .assign_epoch_start_offset(state.leader_epoch, start);
            }
            for remote in &mut self.remotes {
                let in_sync = state.isr.contains(&remote.broker);
                let told = (remote.log_end_offset, remote.broker_epoch);
                if self.bug != Some(Bug::StaleFollowerStateOnElection) {
                    remote.reset(env.wall_ms, start, new_leader, in_sync);
                }
                if self.bug == Some(Bug::IsrJoinWithOldEpochOffset) && !in_sync {
                    (remote.log_end_offset, remote.broker_epoch) = told;
                }
            }
            self.leader_epoch = state.leader_epoch;
            self.leader_epoch_start = Some(start);
            env.fact(Fact::BecameLeader {
                partition: self.id,
                leader_epoch: state.leader_epoch,
                log_end: start,
            });
        }
        self.partition_epoch = state.partition_epoch;
        self.leader = local;
        self.emit_isr(env);
        if new_epoch && self.bug == Some(Bug::IsrJoinWithOldEpochOffset) {
            for &broker in state.replicas.iter().filter(|b| **b != local) {
                self.maybe_expand_isr(broker, image, env);
            }
        }
        // The ISR may be this replica alone.
        self.maybe_increment_high_watermark(image, env)
    }

    /// `Partition.makeFollower`. Returns whether the leader epoch is new, so that fetchers restart.
    pub fn make_follower(
        &mut self,
        state: &crate::controller::PartitionRegistration,
        env: &mut Env<'_>,
    ) -> bool {
        if state.partition_epoch < self.partition_epoch {
            return false;
        }
        let new_epoch = state.leader_epoch > self.leader_epoch;
        self.leader = state.leader;
        self.leader_epoch = state.leader_epoch;
        self.leader_epoch_start = None;
        self.partition_epoch = state.partition_epoch;
        self.replicas = state.replicas.clone();
        let remembers = [
            Bug::StaleFollowerStateOnElection,
            Bug::IsrJoinWithOldEpochOffset,
        ];
        if !self.bug.is_some_and(|bug| remembers.contains(&bug)) {
            self.remotes.clear();
        }
        self.isr.clear();
        self.pending = None;
        if new_epoch {
            env.fact(Fact::BecameFollower {
                partition: self.id,
                leader_epoch: state.leader_epoch,
                leader: state.leader,
            });
        }
        new_epoch
    }

    /// `Partition.getLocalLog`: the epoch first, then the role.
    pub fn check_leader_epoch(
        &self,
        current: LeaderEpoch,
        leader_only: bool,
    ) -> Result<(), ErrorCode> {
        if current != NO_EPOCH && current < self.leader_epoch {
            Err(ErrorCode::FencedLeaderEpoch)
        } else if current != NO_EPOCH && current > self.leader_epoch {
            Err(ErrorCode::UnknownLeaderEpoch)
        } else if leader_only && !self.is_leader() {
            Err(ErrorCode::NotLeaderOrFollower)
        } else {
            Ok(())
        }
    }

    /// Planted: a follower's fetch in another epoch is taken as one from before KIP-320 was, which said
    /// neither its epoch nor that of the follower's last record.
    pub fn takes_any_epoch(&self, current: LeaderEpoch) -> bool {
        self.bug == Some(Bug::NoFetchEpoch) && current != self.leader_epoch
    }

    /// Whether the high watermark has not reached the start of this leadership yet; until then a
    /// consumer's question for the log end is not answered (`OFFSET_NOT_AVAILABLE`, KIP-207).
    pub fn high_watermark_lags_behind_epoch(&self) -> bool {
        self.leader_epoch_start
            .is_some_and(|start| start > self.log.high_watermark)
    }

    /// `Partition.lastOffsetForLeaderEpoch`; `None` is Kafka's undefined (-1, -1).
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let found = self.log.end_offset_for_epoch(epoch);
        if self.bug == Some(Bug::EpochEndNaive) {
            return found.map(|(_, end)| (epoch, end));
        }
        found
    }

    /// KIP-595: whether a follower whose last record has this epoch and that continues at this offset
    /// has parted from this log, and where.
    pub fn diverging_epoch(
        &self,
        last_fetched_epoch: LeaderEpoch,
        fetch_offset: Offset,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
        if last_fetched_epoch == NO_EPOCH {
            return Ok(None);
        }
        let (epoch, end_offset) = self
            .end_offset_for_epoch(last_fetched_epoch)
            .ok_or(ErrorCode::OffsetOutOfRange)?;
        if fetch_offset < self.log.log_start_offset() {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let parted = epoch < last_fetched_epoch || end_offset < fetch_offset;
        Ok(parted.then_some((epoch, end_offset)))
    }

    /// The admission check of `Partition.appendRecordsToLeader`: acks=all needs the committed ISR.
    pub fn admits(&self, acks: i16) -> Result<(), ErrorCode> {
        if !self.is_leader() {
            Err(ErrorCode::NotLeaderOrFollower)
        } else if acks == -1 && self.is_under_min_isr() {
            Err(ErrorCode::NotEnoughReplicas)
        } else {
            Ok(())
        }
    }

    /// `Partition.checkEnoughReplicasReachOffset`.
    pub fn replication_progress(&self, required: Offset) -> ReplicationProgress {
        if !self.is_leader() {
            ReplicationProgress::Decided(ErrorCode::NotLeaderOrFollower)
        } else if self.log.high_watermark < required {
            ReplicationProgress::Waiting
        } else if self.bug != Some(Bug::IgnoreMinIsr)
            && self.effective_min_isr() > self.maximal_isr_len() as i32
        {
            // Appended before the ISR shrank. The records stay, and may appear.
            ReplicationProgress::Decided(ErrorCode::NotEnoughReplicasAfterAppend)
        } else {
            ReplicationProgress::Decided(ErrorCode::None)
        }
    }

    /// `Partition.maybeIncrementLeaderHW`: the smallest log end of the maximal ISR and of replicas
    /// that are caught up and could join, and only while the ISR has `min.insync.replicas` members
    /// (strict min ISR, KAFKA-15583, whatever the acks). Returns whether it moved.
    pub fn maybe_increment_high_watermark(
        &mut self,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> bool {
        if !self.may_increment_high_watermark() {
            return false;
        }
        let leader_end = self.log.log_end_offset();
        let mut new = leader_end;
        for remote in &self.remotes {
            if remote.log_end_offset < new
                && (self.in_maximal_isr(remote.broker)
                    || (remote.is_caught_up(leader_end, env.wall_ms, self.lag_max_ms)
                        && self.is_isr_eligible(remote, image)))
            {
                new = remote.log_end_offset;
            }
        }
        if new < 0 || self.log.maybe_increment_high_watermark(new).is_none() {
            return false;
        }
        env.fact(Fact::HighWatermark {
            partition: self.id,
            offset: new,
            as_leader: true,
        });
        true
    }

    /// `Partition.isReplicaIsrEligible`: unfenced, not shutting down, and of the broker epoch that it
    /// fetches with (KIP-841, KIP-903).
    fn is_isr_eligible(&self, remote: &RemoteReplica, image: &MetadataImage) -> bool {
        match (image.broker(remote.broker), remote.broker_epoch) {
            (Some(registration), Some(fetched_with)) => {
                !registration.fenced
                    && !registration.in_controlled_shutdown
                    && (fetched_with == -1 || fetched_with == registration.epoch)
            }
            _ => false,
        }
    }

    /// Whether [`Self::maybe_increment_high_watermark`] comes as far as the log, whose lock it takes then
    /// even where nothing moves (`UnifiedLog.maybeIncrementHighWatermark`).
    pub fn may_increment_high_watermark(&self) -> bool {
        let strict = self.bug != Some(Bug::NoStrictMinIsr);
        self.is_leader() && !(strict && self.is_under_min_isr())
    }

    /// `Partition.updateFollowerFetchState`: what the fetch of a remote says of its log. Returns whether
    /// the high watermark moved.
    #[inline]
    pub fn update_follower(
        &mut self,
        remote: usize,
        broker_epoch: BrokerEpoch,
        fetch_offset: Offset,
        log_start_offset: Offset,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> bool {
        let broker = self.remotes[remote].broker;
        let moved =
            self.take_fetch_state(remote, broker_epoch, fetch_offset, log_start_offset, env);
        self.maybe_expand_isr(broker, image, env);
        moved && self.maybe_increment_high_watermark(image, env)
    }

    /// Its first part, `Replica.updateFetchStateOrThrow`. Returns whether the remote's log end moved.
    #[inline]
    pub fn take_fetch_state(
        &mut self,
        remote: usize,
        broker_epoch: BrokerEpoch,
        fetch_offset: Offset,
        log_start_offset: Offset,
        env: &Env<'_>,
    ) -> bool {
        let leader_end = self.log.log_end_offset();
        let remote = &mut self.remotes[remote];
        let now = env.wall_ms;
        if fetch_offset >= leader_end {
            remote.last_caught_up_ms = remote.last_caught_up_ms.max(now);
        } else if fetch_offset >= remote.last_fetch_leader_log_end {
            // It had caught up with what was there at its previous fetch.
            remote.last_caught_up_ms = remote.last_caught_up_ms.max(remote.last_fetch_ms);
        }
        let moved = remote.log_end_offset != fetch_offset;
        remote.log_end_offset = fetch_offset;
        remote.log_start_offset = log_start_offset;
        remote.last_fetch_leader_log_end = remote.last_fetch_leader_log_end.max(leader_end);
        remote.last_fetch_ms = now;
        remote.broker_epoch = Some(broker_epoch);
        moved
    }

    /// `Partition.maybeExpandIsr`: the follower's log end has reached the high watermark and the start
    /// of this leader epoch, and it is eligible.
    #[inline]
    pub fn maybe_expand_isr(&mut self, broker: BrokerId, image: &MetadataImage, env: &mut Env<'_>) {
        if self.needs_expand_isr(broker, image) {
            let mut isr = self.isr.clone();
            isr.push(broker);
            self.propose(isr, Some(broker), env);
        }
    }

    /// `Partition.needsExpandIsr`.
    #[inline]
    pub fn needs_expand_isr(&self, broker: BrokerId, image: &MetadataImage) -> bool {
        self.pending.is_none()
            && !self.isr.contains(&broker)
            && self.is_leader()
            && self.may_join(broker, image)
    }

    #[cold] // most fetches are of members
    fn may_join(&self, broker: BrokerId, image: &MetadataImage) -> bool {
        let Some(remote) = self.remotes.iter().find(|r| r.broker == broker) else {
            return false;
        };
        let end = remote.log_end_offset;
        let high_watermark =
            end >= self.log.high_watermark || self.bug == Some(Bug::IsrJoinBelowHighWatermark);
        let epoch_start = self.leader_epoch_start.is_some_and(|start| end >= start)
            || self.bug == Some(Bug::IsrJoinBelowEpochStart);
        high_watermark && epoch_start && self.is_isr_eligible(remote, image)
    }

    /// `Partition.maybeShrinkIsr`: drops members that have not caught up within
    /// `replica.lag.time.max.ms`. Returns whether a proposal was made.
    pub fn maybe_shrink_isr(&mut self, env: &mut Env<'_>) -> bool {
        let shrunk = self.shrunk_isr(env);
        let proposed = shrunk.is_some();
        if let Some(isr) = shrunk {
            self.propose(isr, None, env);
        }
        proposed
    }

    /// The ISR without those members, if there are any (`Partition.needsShrinkIsr`).
    pub fn shrunk_isr(&self, env: &Env<'_>) -> Option<Vec<BrokerId>> {
        if self.pending.is_some() || !self.is_leader() {
            return None;
        }
        let leader_end = self.log.log_end_offset();
        let in_sync = |broker: &BrokerId| {
            *broker == self.local
                || self.remotes.iter().any(|r| {
                    r.broker == *broker && r.is_caught_up(leader_end, env.wall_ms, self.lag_max_ms)
                })
        };
        let isr: Vec<BrokerId> = self.isr.iter().copied().filter(|b| in_sync(b)).collect();
        (isr.len() < self.isr.len()).then_some(isr)
    }

    fn propose(&mut self, mut isr: Vec<BrokerId>, adds: Option<BrokerId>, env: &mut Env<'_>) {
        isr.sort_unstable();
        env.fact(Fact::IsrProposed {
            partition: self.id,
            isr: isr.clone(),
        });
        self.pending = Some(IsrProposal {
            isr,
            adds,
            partition_epoch: self.partition_epoch,
            leader_epoch: self.leader_epoch,
        });
    }

    /// Members of a proposal with the broker epochs that the leader knows (`addBrokerEpochToIsr`).
    pub fn with_broker_epochs(
        &self,
        isr: &[BrokerId],
        own_epoch: BrokerEpoch,
    ) -> Vec<(BrokerId, BrokerEpoch)> {
        isr.iter()
            .map(|&broker| {
                let epoch = if broker == self.local {
                    own_epoch
                } else {
                    self.remotes
                        .iter()
                        .find(|r| r.broker == broker)
                        .and_then(|r| r.broker_epoch)
                        .unwrap_or(-1)
                };
                (broker, epoch)
            })
            .collect()
    }

    /// `Partition.handleAlterPartitionUpdate`. Returns whether the high watermark moved.
    pub fn isr_committed(
        &mut self,
        proposal: &IsrProposal,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        isr: &[BrokerId],
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> bool {
        if self.pending.as_ref() != Some(proposal)
            || leader_epoch != self.leader_epoch
            || partition_epoch < self.partition_epoch
        {
            return false;
        }
        self.isr = isr.to_vec();
        self.isr.sort_unstable();
        self.partition_epoch = partition_epoch;
        self.pending = None;
        self.emit_isr(env);
        self.maybe_increment_high_watermark(image, env)
    }

    /// `Partition.handleAlterPartitionError`. Returns whether the proposal must be sent again.
    pub fn isr_refused(&mut self, proposal: &IsrProposal, error: ErrorCode) -> bool {
        use ErrorCode as E;
        if self.pending.as_ref() != Some(proposal) {
            return false;
        }
        match error {
            // The controller says that the epoch is right and nothing was applied: back to the
            // committed state.
            E::IneligibleReplica => {
                self.pending = None;
                false
            }
            // Newer metadata is on its way and will replace the proposal.
            E::UnknownTopicOrPartition
            | E::UnknownTopicId
            | E::FencedLeaderEpoch
            | E::InvalidUpdateVersion
            | E::InvalidRequest
            | E::NewLeaderElected => false,
            _ => true,
        }
    }
}

/// Whether a broker that is alive has registered again since it had that epoch (KIP-903).
pub fn is_of_former_process(broker: BrokerId, epoch: BrokerEpoch, image: &MetadataImage) -> bool {
    let is_newer = || {
        let registered = image.broker(broker);
        registered.is_some_and(|b| !b.fenced && b.epoch > epoch)
    };
    epoch != -1 && is_newer()
}
