//! What a follower does with its fetchers: ask, append, truncate (`AbstractFetcherThread.doWork`).

use crate::bug::Bug;
use crate::env::{ConnId, Env, Queue};
use crate::fact::Fact;
use crate::ids::*;
use crate::log::{AppendError, LogStartReason};
use crate::replica::Partition;
use crate::replica::answers::Answers;
use crate::replica::durability::log_start_moved;
use crate::replica::fetcher::{Asked, FetchState, truncation_offset};
use crate::replica::locks::{Append, Turn, Waiter};
use crate::replica::manager::ReplicaManager;
use crate::replica::start_anew::front_of_spanning;
use crate::time::{MICROS, millis};
use crate::wire::*;
use smallvec::smallvec;

/// A fetch response on its way through its partitions.
#[derive(Debug)]
pub struct FollowJob {
    leader: BrokerId,
    /// What was asked and answered, and is not handled yet.
    todo: Answers,
    /// The append whose flush is under way.
    flushing: bool,
}

/// Service time of a response at the fetcher, beside its appends.
const RESPONSE_COST: u64 = 20 * MICROS;

impl ReplicaManager {
    /// Every idle fetcher sends its next request.
    pub fn fetch_all(&mut self, env: &mut Env<'_>) {
        let leaders: Vec<BrokerId> = self.fetchers.keys().collect();
        for leader in leaders {
            self.ask(leader, env);
        }
    }

    /// `doWork`: asks the leader for what is next.
    fn ask(&mut self, leader: BrokerId, env: &mut Env<'_>) {
        let Some(fetcher) = self.fetchers.get_mut(leader) else {
            return;
        };
        if !matches!(fetcher.asked, Asked::Nothing) || fetcher.channel.is_busy() {
            return;
        }
        let timeout = millis(self.config.replica_socket_timeout_ms);
        let asker = (self.local, self.broker_epoch);
        while let Some(id) = fetcher.out_of_range.pop() {
            let Some(state) = fetcher.partitions.get(id) else {
                continue;
            };
            fetcher.asked = Asked::LeaderEnd(id);
            let partition = &self.replicas[id].partition;
            let request = list_offset_request(asker.0, partition, state, LATEST_TIMESTAMP);
            fetcher.channel.send(request, timeout, env);
            return;
        }
        let replicas = &self.replicas;
        let mut near = 0;
        let log_start = |id| {
            let at = replicas.position_near(near, id).expect("it is fetched");
            near = at + 1;
            replicas.at(at).partition.log.log_start_offset()
        };
        let mut asked = std::mem::take(&mut fetcher.spare);
        let topics = fetcher.ready(
            env.now,
            log_start,
            self.config.replica_fetch_max_bytes,
            &mut asked,
        );
        if asked.is_empty() {
            fetcher.spare = asked;
            // All of them back off: wake up for the first.
            if let Some(at) = fetcher.next_ready()
                && fetcher.wake_at.is_none_or(|w| w > at || w <= env.now)
            {
                fetcher.wake_at = Some(at);
                let token = crate::env::TimerToken(self.fetcher_timer_kind() | leader as u64);
                env.timer_in(at.saturating_sub(env.now), token);
            }
            return;
        }
        let request = FetchRequest {
            replica_id: asker.0,
            replica_epoch: asker.1,
            max_wait_ms: self.config.replica_fetch_wait_max_ms as i32,
            min_bytes: self.config.replica_fetch_min_bytes,
            max_bytes: self.config.replica_fetch_response_max_bytes,
            isolation_level: 0,
            topics,
        };
        fetcher.asked = Asked::Fetch(asked);
        fetcher.channel.send(Request::Fetch(request), timeout, env);
    }

    /// The fetcher that owns a connection.
    pub fn fetcher_of(&self, conn: ConnId) -> Option<BrokerId> {
        self.fetchers
            .values()
            .find(|f| f.channel.owns(conn))
            .map(|f| f.leader)
    }

    /// A fetcher's connection is established.
    pub fn fetcher_connected(&mut self, leader: BrokerId, env: &mut Env<'_>) {
        if let Some(fetcher) = self.fetchers.get_mut(leader) {
            fetcher.channel.on_connected(env);
        }
    }

    /// A fetcher's connection is gone.
    pub fn fetcher_closed(&mut self, leader: BrokerId, env: &mut Env<'_>) {
        if let Some(fetcher) = self.fetchers.get_mut(leader)
            && fetcher.channel.on_closed(env)
        {
            self.fetch_failed(leader, env);
        }
    }

    /// A fetcher's timer fired: a timeout, or the end of a back-off.
    pub fn fetcher_timer(&mut self, leader: BrokerId, env: &mut Env<'_>) {
        let Some(fetcher) = self.fetchers.get_mut(leader) else {
            return;
        };
        if fetcher.wake_at.is_some_and(|at| at <= env.now) {
            fetcher.wake_at = None;
        }
        if fetcher.channel.on_timer(env) {
            self.fetch_failed(leader, env);
        } else {
            self.ask(leader, env);
        }
    }

    /// The request failed as a whole: all partitions back off (`replica.fetch.backoff.ms`).
    fn fetch_failed(&mut self, leader: BrokerId, env: &mut Env<'_>) {
        let until = env.now + millis(self.config.replica_fetch_backoff_ms);
        let fetcher = self.fetchers.get_mut(leader).expect("the caller has it");
        match std::mem::replace(&mut fetcher.asked, Asked::Nothing) {
            Asked::LeaderEnd(id) | Asked::LeaderStart(id, _) => {
                if let Some(state) = fetcher.partitions.get_mut(id) {
                    state.delayed_until = until;
                }
            }
            _ => {
                for state in fetcher.partitions.values_mut() {
                    state.delayed_until = until;
                }
            }
        }
        self.ask(leader, env);
    }

    /// A response arrived at a fetcher; it waits for the fetcher's turn.
    pub fn fetcher_received(
        &mut self,
        leader: BrokerId,
        correlation: i32,
        response: Box<Response>,
        env: &mut Env<'_>,
    ) {
        let Some(fetcher) = self.fetchers.get_mut(leader) else {
            return;
        };
        if fetcher.channel.on_response(correlation) {
            fetcher.response = Some(response);
            env.serve(Queue::ReplicaFetcher(leader), RESPONSE_COST);
        }
    }

    /// The fetcher handles the response that it has.
    pub fn serve_fetcher(&mut self, leader: BrokerId, env: &mut Env<'_>) {
        let Some(fetcher) = self.fetchers.get_mut(leader) else {
            return;
        };
        let Some(response) = fetcher.response.take() else {
            return;
        };
        let asked = std::mem::replace(&mut fetcher.asked, Asked::Nothing);
        match (asked, *response) {
            (Asked::Fetch(asked), Response::Fetch(response)) => {
                if !response.error.is_none() {
                    self.fetch_failed(leader, env);
                    return;
                }
                fetcher.asked = Asked::Processing;
                let job = FollowJob {
                    leader,
                    todo: Answers::new(asked, response.topics),
                    flushing: false,
                };
                self.run_follow(job, Turn::Locked, env);
            }
            (Asked::LeaderEnd(id), Response::ListOffsets(response)) => {
                self.leader_end_known(leader, id, &response, env);
            }
            (Asked::LeaderStart(id, end), Response::ListOffsets(response)) => {
                self.leader_start_known(leader, id, end, &response, env);
            }
            (asked, response) => panic!(
                "the fetcher from broker {leader} asked {asked:?} and got {:?}",
                response.api()
            ),
        }
    }

    /// Handles one partition after the other; stops at a lock or a flush and is continued.
    pub(super) fn run_follow(&mut self, mut job: FollowJob, turn: Turn, env: &mut Env<'_>) {
        if turn != Turn::Locked {
            assert!(job.flushing, "a flush was under way");
            job.flushing = false;
            let (id, _, result) = job.todo.front().expect("its partition is still listed");
            if turn == Turn::Flushed {
                self.copied(job.leader, id, result, env);
            } else {
                self.mark_failed(job.leader, id);
            }
            job.todo.pop_front();
        }
        // Where the next replica may be.
        let mut near = 0;
        loop {
            // As long as none backs off or is gone, what is asked for is all that is fetched.
            let place = job.todo.place();
            let Some((id, ask, result)) = job.todo.front() else {
                break;
            };
            // A partition that was removed, re-added or truncated meanwhile is not the one that was
            // asked for: its fetch offset or its epoch differs.
            let state = self.fetchers.get_mut(job.leader).and_then(|fetcher| {
                let at = fetcher.partitions.position_near(place, id)?;
                let state = fetcher.partitions.at_mut(at);
                state.is_asked_for(ask, self.bug).then_some(state)
            });
            let Some(state) = state else {
                job.todo.pop_front();
                continue;
            };
            if !result.error.is_none() {
                let error = result.error;
                job.todo.pop_front();
                self.fetch_error(job.leader, id, error, env);
                continue;
            }
            if let Some((epoch, end)) = result.diverging_epoch {
                job.todo.pop_front();
                self.diverged(job.leader, id, epoch, end, env);
                continue;
            }
            let at = self.replicas.position_near(near, id);
            let at = at.expect("it is fetched");
            near = at + 1;
            let replica = self.replicas.at_mut(at);
            if replica.held.is_some() {
                // For the log alone: it takes no `leaderIsrUpdateLock`.
                replica
                    .queue
                    .push_front(Waiter::Append(Append::Follow(job)));
                return;
            }
            if result.records.is_empty() {
                copied(&mut replica.partition, state, result, env);
                job.todo.pop_front();
                continue;
            }
            if self.offline {
                job.todo.pop_front();
                self.mark_failed(job.leader, id);
                continue;
            }
            let partition = &mut replica.partition;
            let appended = partition.log.append_as_follower(
                &result.records,
                &partition.config,
                env.wall_ms,
                env.disk,
            );
            match appended {
                Ok(append) => {
                    if let Some(append) = append {
                        env.fact(Fact::Appended {
                            partition: id,
                            base_offset: append.base_offset,
                            last_offset: append.last_offset,
                            leader_epoch: partition.log.latest_epoch().unwrap_or(NO_EPOCH),
                            prefix: partition.log.prefix(),
                            as_leader: false,
                        });
                    }
                    let flush_due = append.is_some_and(|a| a.flush_due);
                    let hold = flush_due && self.bug != Some(Bug::SkipFlush);
                    if !hold && !partition.log.has_chores() {
                        copied(partition, state, result, env);
                        job.todo.pop_front();
                        continue;
                    }
                    self.do_chores(id, env);
                    if hold {
                        job.flushing = true;
                        self.hold_for_flush(id, Append::Follow(job), env);
                        return;
                    }
                    self.copied(job.leader, id, result, env);
                    job.todo.pop_front();
                }
                Err(AppendError::CorruptRecord(_)) => {
                    // Tried again after a back-off.
                    job.todo.pop_front();
                    self.back_off(job.leader, id, env);
                }
                Err(refused) => {
                    if let Some(front) = front_of_spanning(&refused, &partition.log)
                        && self.start_anew(id, front, env)
                    {
                        // The same records again, which it takes now.
                        continue;
                    }
                    if let AppendError::Disk(error) = refused {
                        self.log_directory_failed(error, env);
                    }
                    job.todo.pop_front();
                    self.mark_failed(job.leader, id);
                }
            }
        }
        if let Some(fetcher) = self.fetchers.get_mut(job.leader)
            && matches!(fetcher.asked, Asked::Processing)
        {
            fetcher.asked = Asked::Nothing;
            fetcher.spare = job.todo.into_empty_asked();
        }
        self.ask(job.leader, env);
    }

    /// `markPartitionFailed`: not fetched any more until its leader epoch changes.
    fn mark_failed(&mut self, leader: BrokerId, id: TopicPartition) {
        if let Some(fetcher) = self.fetchers.get_mut(leader) {
            fetcher.partitions.remove(id);
        }
    }

    /// [`copied`], unless the partition is fetched from there no more.
    fn copied(
        &mut self,
        leader: BrokerId,
        id: TopicPartition,
        result: &FetchPartitionResult,
        env: &mut Env<'_>,
    ) {
        let partition = &mut self.replicas.get_mut(id).expect("it is fetched").partition;
        match self
            .fetchers
            .get_mut(leader)
            .and_then(|f| f.partitions.get_mut(id))
        {
            Some(state) => copied(partition, state, result, env),
            None => take_high_watermark(partition, result, env),
        }
    }

    fn fetch_error(
        &mut self,
        leader: BrokerId,
        id: TopicPartition,
        error: ErrorCode,
        env: &mut Env<'_>,
    ) {
        match error {
            // Planted: where a leader could not say where an epoch ends, a follower cut its log to its
            // own high watermark (`getOffsetTruncationState`).
            ErrorCode::OffsetOutOfRange if self.bug == Some(Bug::NoEpochOnBecomeLeader) => {
                let high_watermark = self.replicas[id].partition.log.high_watermark;
                self.truncate(leader, id, high_watermark, env);
            }
            ErrorCode::OffsetOutOfRange => {
                let fetcher = self.fetchers.get_mut(leader).expect("it asked");
                fetcher.out_of_range.push(id);
            }
            // The follower is behind: it waits for the metadata that says so (`onPartitionFenced`).
            ErrorCode::FencedLeaderEpoch => {
                let fetcher = self.fetchers.get_mut(leader).expect("it asked");
                fetcher.partitions.remove(id);
            }
            _ => self.back_off(leader, id, env),
        }
    }

    fn back_off(&mut self, leader: BrokerId, id: TopicPartition, env: &mut Env<'_>) {
        let until = env.now + millis(self.config.replica_fetch_backoff_ms);
        if let Some(state) = self
            .fetchers
            .get_mut(leader)
            .and_then(|f| f.partitions.get_mut(id))
        {
            state.delayed_until = until;
        }
    }

    /// `truncateOnFetchResponse`: the logs part; cut the own one and ask again.
    fn diverged(
        &mut self,
        leader: BrokerId,
        id: TopicPartition,
        epoch: LeaderEpoch,
        end: Offset,
        env: &mut Env<'_>,
    ) {
        if self.bug == Some(Bug::OorTruncateAll) {
            self.fetch_error(leader, id, ErrorCode::OffsetOutOfRange, env);
            return;
        }
        let offset = truncation_offset(&self.replicas[id].partition, epoch, end);
        self.truncate(leader, id, offset, env);
    }

    /// Cuts the log of a replica that follows `leader`.
    pub(super) fn truncate(
        &mut self,
        leader: BrokerId,
        id: TopicPartition,
        to: Offset,
        env: &mut Env<'_>,
    ) {
        if self.offline {
            self.mark_failed(leader, id);
            return;
        }
        let partition = &mut self.replicas.get_mut(id).expect("it is fetched").partition;
        let from = partition.log.log_end_offset();
        let high_watermark = partition.log.high_watermark;
        let cut = match partition.log.truncate_to(to, env.disk) {
            Ok(cut) => cut,
            Err(error) => {
                self.log_directory_failed(error, env);
                self.mark_failed(leader, id);
                return;
            }
        };
        let to = partition.log.log_end_offset();
        if to < from {
            env.fact(Fact::Truncated {
                partition: id,
                from,
                to,
                high_watermark,
                anew: partition.log.prefix() == 0,
            });
        }
        let epoch = partition.log.latest_epoch().unwrap_or(NO_EPOCH);
        if let Some(state) = self
            .fetchers
            .get_mut(leader)
            .and_then(|f| f.partitions.get_mut(id))
        {
            state.fetch_offset = to;
            state.last_fetched_epoch = epoch;
        }
        self.do_chores(id, env);
        if cut {
            // The recovery point may have gone back with it (`LogManager.truncateTo`).
            self.checkpoint_recovery_points(env);
        }
    }

    /// `fetchOffsetAndTruncate`: the leader's log end, after OFFSET_OUT_OF_RANGE.
    fn leader_end_known(
        &mut self,
        leader: BrokerId,
        id: TopicPartition,
        response: &ListOffsetsResponse,
        env: &mut Env<'_>,
    ) {
        let state = self.fetchers[leader].partitions.get(id);
        match (only_offset(response), state) {
            (Ok(leader_end), Some(state)) => {
                let log_end = self.replicas[id].partition.log.log_end_offset();
                if leader_end < log_end && self.bug != Some(Bug::OorTruncateAll) {
                    self.truncate(leader, id, leader_end, env);
                } else {
                    let timeout = millis(self.config.replica_socket_timeout_ms);
                    let partition = &self.replicas[id].partition;
                    let request =
                        list_offset_request(self.local, partition, state, EARLIEST_TIMESTAMP);
                    let fetcher = self.fetchers.get_mut(leader).expect("it asked");
                    fetcher.asked = Asked::LeaderStart(id, leader_end);
                    fetcher.channel.send(request, timeout, env);
                    return;
                }
            }
            (Ok(_), None) => {}
            (Err(error), _) => self.leader_offset_refused(leader, id, error, env),
        }
        self.ask(leader, env);
    }

    fn leader_start_known(
        &mut self,
        leader: BrokerId,
        id: TopicPartition,
        leader_end: Offset,
        response: &ListOffsetsResponse,
        env: &mut Env<'_>,
    ) {
        let fetched = self.fetchers[leader].partitions.contains(id);
        match only_offset(response) {
            Ok(leader_start) if fetched => {
                let log_end = self.replicas[id].partition.log.log_end_offset();
                let truncate_all = self.bug == Some(Bug::OorTruncateAll);
                assert!(
                    leader_end >= log_end || truncate_all,
                    "a shorter leader truncates"
                );
                if (leader_start > log_end || truncate_all)
                    && !self.start_anew(id, leader_start, env)
                {
                    self.mark_failed(leader, id);
                    return;
                }
                let partition = &self.replicas[id].partition;
                let next = partition.log.log_end_offset().max(leader_start);
                let epoch = partition.log.latest_epoch().unwrap_or(NO_EPOCH);
                let state = self
                    .fetchers
                    .get_mut(leader)
                    .and_then(|f| f.partitions.get_mut(id))
                    .expect("fetched");
                state.fetch_offset = next;
                state.last_fetched_epoch = epoch;
            }
            Ok(_) => {}
            Err(error) => self.leader_offset_refused(leader, id, error, env),
        }
        self.ask(leader, env);
    }

    /// What `handleOutOfRangeError` catches.
    fn leader_offset_refused(
        &mut self,
        leader: BrokerId,
        id: TopicPartition,
        error: ErrorCode,
        env: &mut Env<'_>,
    ) {
        match error {
            ErrorCode::FencedLeaderEpoch => self.mark_failed(leader, id),
            _ => self.back_off(leader, id, env),
        }
    }
}

/// `processPartitionData` after its append: the high watermark, the leader's log start, and the next
/// offset to ask for.
fn copied(
    partition: &mut Partition,
    state: &mut FetchState,
    result: &FetchPartitionResult,
    env: &mut Env<'_>,
) {
    take_high_watermark(partition, result, env);
    if !result.records.is_empty() {
        state.fetch_offset = partition.log.log_end_offset();
        state.last_fetched_epoch = partition.log.latest_epoch().unwrap_or(NO_EPOCH);
    }
}

fn take_high_watermark(
    partition: &mut Partition,
    result: &FetchPartitionResult,
    env: &mut Env<'_>,
) {
    let leaders = result.high_watermark;
    if let Some(offset) = partition.log.maybe_update_high_watermark(leaders) {
        env.fact(Fact::HighWatermark {
            partition: partition.id,
            offset,
            as_leader: false,
        });
    }
    // The follower may not have all that the leader has let go: then its own end.
    let log_start = result.log_start_offset.min(partition.log.log_end_offset());
    if log_start > partition.log.log_start_offset() {
        let (id, log) = (partition.id, &mut partition.log);
        let before = log
            .maybe_increment_log_start(log_start)
            .expect("it is above");
        log_start_moved(id, log, before, LogStartReason::Leader, env);
    }
}

fn only_offset(response: &ListOffsetsResponse) -> Result<Offset, ErrorCode> {
    let result = response
        .topics
        .first()
        .and_then(|(_, results)| results.first())
        .ok_or(ErrorCode::UnknownServerError)?;
    if result.error.is_none() {
        Ok(result.offset)
    } else {
        Err(result.error)
    }
}

/// Asks in the epoch that is fetched in: the replica may know a later one already.
fn list_offset_request(
    local: BrokerId,
    partition: &Partition,
    state: &FetchState,
    timestamp: i64,
) -> Request {
    Request::ListOffsets(ListOffsetsRequest {
        replica_id: local,
        isolation_level: 0,
        topics: vec![(
            partition.topic.clone(),
            smallvec![ListOffsetsPartition {
                partition: partition.id.partition,
                current_leader_epoch: state.leader_epoch,
                timestamp,
            }],
        )],
    })
}
