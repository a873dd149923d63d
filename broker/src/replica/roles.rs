//! New roles of a broker's replicas: `ReplicaManager.applyDelta`.
//!
//! Leaders come first, then followers, one partition after the other as its `leaderIsrUpdateLock` can
//! be written, and the fetchers last, when none of them is in the middle of a response
//! (`partitionMapLock`). Where it must wait the publisher stops, and goes on in a later step: what it
//! has changed is so meanwhile, and what it has not is not.

use crate::bug::Bug;
use crate::channel::Channel;
use crate::controller::MetadataImage;
use crate::env::{Env, TimerToken};
use crate::ids::*;
use crate::replica::fetcher::Fetcher;
use crate::replica::locks::Waiter;
use crate::replica::manager::{ReplicaManager, Upcall};
use crate::replica::purgatory::Change;

/// Partitions that changed, and how far the publisher has come with them.
#[derive(Debug)]
pub struct RoleChange {
    /// Fetchers are still to let go of what this broker leads.
    stops_fetching: bool,
    /// Still to be led, last first.
    leaders: Vec<TopicPartition>,
    /// Still to follow, last first.
    followers: Vec<TopicPartition>,
    /// Followed, to be fetched anew.
    start: Vec<TopicPartition>,
    /// Followed, to be fetched no more.
    stop: Vec<TopicPartition>,
    /// Followed in a new epoch.
    new_epochs: Vec<TopicPartition>,
    /// Of these, those whose leader is the one of before.
    same_leader: Vec<TopicPartition>,
    /// What the coordinators hear when all is done.
    upcalls: Vec<Upcall>,
}

impl RoleChange {
    /// What a broker has to do about partitions that changed, given in order.
    pub fn new(changed: &[TopicPartition], image: &MetadataImage, local: BrokerId) -> RoleChange {
        let (mut leaders, mut followers) = (Vec::new(), Vec::new());
        for &id in changed.iter().rev() {
            match image.partition(id) {
                Some(state) if state.leader == local => leaders.push(id),
                Some(state) if state.replicas.contains(&local) => followers.push(id),
                _ => {}
            }
        }
        RoleChange {
            stops_fetching: true,
            leaders,
            followers,
            start: Vec::new(),
            stop: Vec::new(),
            new_epochs: Vec::new(),
            same_leader: Vec::new(),
            upcalls: Vec::new(),
        }
    }
}

impl ReplicaManager {
    /// Takes over the roles that changed, as far as locks allow. Returns whether all is done.
    pub fn apply(
        &mut self,
        change: &mut RoleChange,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> bool {
        if change.stops_fetching && !change.leaders.is_empty() {
            if self.is_in_a_response() {
                return false;
            }
            for &id in &change.leaders {
                self.stop_fetching(id);
            }
        }
        change.stops_fetching = false;
        while let Some(&id) = change.leaders.last() {
            if !self.lock_role(id) {
                return false;
            }
            change.leaders.pop();
            if self.has_or_creates(id, image, env) {
                self.lead(id, change, image, env);
                self.unlock_role(id, image, env);
            }
        }
        while let Some(&id) = change.followers.last() {
            if !self.lock_role(id) {
                return false;
            }
            change.followers.pop();
            if self.has_or_creates(id, image, env) {
                self.follow(id, change, image, env);
                self.unlock_role(id, image, env);
            }
        }
        if self.is_in_a_response() {
            return false;
        }
        self.restart_fetchers(change, image, env);
        self.upcalls.extend(change.upcalls.drain(..));
        true
    }

    /// Whether a fetcher holds its `partitionMapLock`.
    fn is_in_a_response(&self) -> bool {
        self.fetchers.values().any(|f| f.asked.is_in_a_response())
    }

    /// Whether the publisher may change the role of a partition; else it waits in the queue from now on.
    fn lock_role(&mut self, id: TopicPartition) -> bool {
        let Some(replica) = self.replicas.get_mut(id) else {
            return true;
        };
        if replica.publishing || !replica.is_locked() {
            return true;
        }
        let waits = |w: &Waiter| matches!(w, Waiter::Publisher);
        if !replica.queue.iter().any(waits) {
            replica.queue.push_back(Waiter::Publisher);
        }
        false
    }

    /// The role is changed: who waited behind the publisher goes on.
    fn unlock_role(&mut self, id: TopicPartition, image: &MetadataImage, env: &mut Env<'_>) {
        let replica = self.replicas.get_mut(id).expect("its role changed");
        if std::mem::take(&mut replica.publishing) {
            self.serve_lock_queue(id, image, env);
        }
    }

    fn has_or_creates(
        &mut self,
        id: TopicPartition,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> bool {
        if self.replicas.contains(id) {
            return true;
        }
        let created = self.create(id, image, env);
        if let Err(error) = created {
            self.log_directory_failed(error, env);
        }
        created.is_ok()
    }

    /// `Partition.makeLeader`, with its lock.
    fn lead(
        &mut self,
        id: TopicPartition,
        change: &mut RoleChange,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let state = image.partition(id).expect("checked by the caller");
        let replica = self.replicas.get_mut(id).expect("created by the caller");
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
            change.upcalls.push(Upcall::BecameLeader(id, after.1));
            self.write_epochs(id, env);
        }
        if self.bug == Some(Bug::IsrJoinWithOldEpochOffset)
            && self.replicas[id].partition.pending().is_some()
        {
            self.upcalls.push_back(Upcall::ProposeIsr(id));
        }
        // Else who waits is not looked at again, whatever epoch he waits in.
        if moved {
            self.upcalls.push_back(Upcall::HighWatermark(id));
            self.complete_delayed(id, Change::Any, image, env);
        }
    }

    /// `Partition.makeFollower`, with its lock.
    fn follow(
        &mut self,
        id: TopicPartition,
        change: &mut RoleChange,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let state = image.partition(id).expect("checked when it was listed");
        let replica = self.replicas.get_mut(id).expect("created by the caller");
        let was_leader = replica.partition.is_leader();
        let former_leader = replica.partition.leader();
        let new_epoch = replica.partition.make_follower(state, env);
        if new_epoch && former_leader == state.leader && former_leader != NO_BROKER {
            change.same_leader.push(id);
        }
        if was_leader && !replica.partition.is_leader() {
            change.upcalls.push(Upcall::ResignedLeader(id));
        }
        // In controlled shutdown a replica outside the ISR, or without a leader, copies no more.
        if self.in_controlled_shutdown
            && (state.leader == NO_BROKER || !state.isr.contains(&self.local))
        {
            change.stop.push(id);
        } else if new_epoch || self.bug == Some(Bug::RefetchInSameEpoch) {
            change.start.push(id);
        }
        if new_epoch {
            change.new_epochs.push(id);
        }
    }

    fn restart_fetchers(
        &mut self,
        change: &mut RoleChange,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        for &id in change.start.iter().chain(&change.stop) {
            self.stop_fetching(id);
        }
        for &id in &change.start {
            self.start_fetching(id, image, env);
        }
        if self.bug == Some(Bug::SkipTruncSameLeader) {
            for &id in &change.same_leader {
                self.skip_truncation(id);
            }
        }
        for &id in &change.new_epochs {
            self.complete_delayed(id, Change::Role, image, env);
        }
        self.stop_idle_fetchers(env);
        self.fetch_all(env);
    }

    fn stop_fetching(&mut self, id: TopicPartition) {
        for fetcher in self.fetchers.values_mut() {
            fetcher.partitions.remove(id);
            fetcher.out_of_range.retain(|p| *p != id);
        }
    }

    fn start_fetching(&mut self, id: TopicPartition, image: &MetadataImage, env: &mut Env<'_>) {
        let leader = self.replicas[id].partition.leader();
        // A leader that is not alive has no endpoint in the image.
        if leader == NO_BROKER || image.broker(leader).is_none_or(|b| b.fenced) {
            return;
        }
        if self.bug == Some(Bug::TruncateToHighWatermark) {
            let high_watermark = self.replicas[id].partition.log.high_watermark;
            self.truncate(leader, id, high_watermark, env);
        }
        let kind = self.fetcher_timer_kind();
        if !self.fetchers.contains(leader) {
            let token = TimerToken(kind | leader as u64);
            let channel = Channel::new(NodeId::of_broker(leader), token);
            self.fetchers.insert(leader, Fetcher::new(leader, channel));
        }
        let fetcher = self.fetchers.get_mut(leader).expect("just inserted");
        fetcher.add(&self.replicas[id].partition);
    }

    /// Planted: without the epoch of its last record the leader cannot say where the logs part.
    fn skip_truncation(&mut self, id: TopicPartition) {
        for fetcher in self.fetchers.values_mut() {
            if let Some(state) = fetcher.partitions.get_mut(id) {
                state.last_fetched_epoch = NO_EPOCH;
            }
        }
    }

    /// `shutdownIdleFetcherThreads`: their connections close with them.
    fn stop_idle_fetchers(&mut self, env: &mut Env<'_>) {
        let idle = |fetcher: &Fetcher| fetcher.partitions.is_empty();
        let leaders: Vec<BrokerId> = self
            .fetchers
            .values()
            .filter(|f| idle(f))
            .map(|f| f.leader)
            .collect();
        for leader in leaders {
            let fetcher = self.fetchers.remove(leader);
            fetcher.expect("listed").channel.drop_request(env);
        }
    }
}
