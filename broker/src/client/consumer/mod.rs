//! The consumer engine: Kafka's classic `KafkaConsumer` (`ClassicKafkaConsumer`) with partitions
//! assigned by hand.
//!
//! - [`subscription`] positions and what state they are in
//! - [`fetcher`] Fetch requests, the buffer, and what a poll takes out of it
//! - [`offsets`] resetting by `auto.offset.reset` and validating by leader epoch (KIP-320)
//! - [`coordinator`] committed offsets, commits, auto-commit
//! - [`turns`] when the call that is being served goes on
//!
//! As in Kafka, everything is driven by the application's calls: positions are looked up, fetches
//! sent, metadata refreshed and offsets committed only while one is being served. Answers that arrive
//! between calls are read at once, which in Kafka happens in the next call; nothing acts on them
//! before it. The consumer serves one call at a time; a second one waits.
//!
//! Where librdkafka differs: it fetches and auto-commits from threads of its own, at any time, and
//! commits stored offsets rather than positions.
//!
//! NOT modelled: groups, the KIP-848 protocol and its `AsyncKafkaConsumer`, subscribing, pausing,
//! `seekToBeginning` and `seekToEnd`, `wakeup`, transactions, interceptors.

mod by_node;
mod coordinator;
mod fetcher;
mod offsets;
mod subscription;
#[cfg(test)]
mod tests;
mod turns;

use self::coordinator::{CommitKind, Coordinator, Origin, SyncCommit};
use self::fetcher::{CompletedFetch, FetchTag};
use self::offsets::position_reset;
use self::subscription::{FetchPosition, PartitionId, SubscriptionState};
use super::alarm::Alarm;
use super::backoff::ExponentialBackoff;
use super::metadata::Metadata;
use super::network::{Completion, Link, NetworkClient, NetworkConfig, Outcome};
use super::{Call, CallId, ClientError, Reply, TopicPartitionOffset};
use crate::bug::Bug;
use crate::config::ConsumerConfig;
use crate::env::{Env, Input, Process};
use crate::fact::PositionResetReason;
use crate::ids::*;
use crate::time::{MILLIS, Nanos, SECONDS, millis};
use crate::wire::{ErrorCode, Request};
use smallvec::SmallVec;
use std::collections::VecDeque;

/// `ConsumerUtils.CONSUMER_MAX_INFLIGHT_REQUESTS_PER_CONNECTION`.
const MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION: usize = 100;
/// `ConsumerUtils.DEFAULT_CLOSE_TIMEOUT_MS`.
const DEFAULT_CLOSE_TIMEOUT: Nanos = 30 * SECONDS;

/// What a request was for.
#[derive(Debug)]
enum Tag {
    Fetch(FetchTag),
    ListOffsets(Vec<PartitionId>),
    EpochEnd(Vec<(PartitionId, FetchPosition)>),
    FindCoordinator,
    OffsetFetch(Vec<PartitionId>),
    OffsetCommit(CommitKind),
}

/// A request that waits for its connection: `ConsumerNetworkClient.UnsentRequests`.
#[derive(Debug)]
struct Unsent {
    link: Link,
    request: Request,
    tag: Tag,
    deadline: Nanos,
}

/// The call that is being served.
#[derive(Debug)]
enum Active {
    Poll(CallId, Nanos),
    Commit(CallId, SyncCommit),
    Positions(CallId, Nanos),
    Close(CallId, Option<SyncCommit>, Nanos),
}

/// A consumer process: one `KafkaConsumer`.
#[derive(Debug)]
pub struct Consumer {
    config: ConsumerConfig,
    group: Option<TopicName>,
    no_member_id: TopicName,
    /// `enable.auto.commit`, which needs a group.
    auto_commit: bool,
    bug: Option<Bug>,
    network: NetworkClient<Tag>,
    retry_backoff: ExponentialBackoff,
    unsent: Vec<Unsent>,
    subscriptions: SubscriptionState,
    seen_snapshot: u64,
    nodes_with_pending_fetch: Vec<NodeId>,
    fetch_buffer: VecDeque<Box<CompletedFetch>>,
    next_in_line: Option<Box<CompletedFetch>>,
    cached_reset_error: Option<ClientError>,
    cached_validate_error: Option<ClientError>,
    coordinator: Coordinator,
    active: Option<Active>,
    /// `awaitMetadataUpdate` of a poll: nothing goes on while the version is this.
    await_update: Option<u64>,
    /// When the call that is being served looks again by itself.
    next_turn_at: Nanos,
    /// `cachedSubscriptionHasAllFetchPositions`.
    has_all_fetch_positions: bool,
    waiting_calls: VecDeque<(CallId, Call)>,
    closed: bool,
    alarm: Alarm,
}

impl Consumer {
    /// A consumer that begins at `bootstrap`. Of the bugs,
    /// [`Bug::CommitBeforeProcessingInPoll`] concerns it.
    pub fn new(config: ConsumerConfig, bootstrap: Vec<NodeId>, bug: Option<Bug>) -> Consumer {
        let network = NetworkConfig {
            request_timeout_ms: config.request_timeout_ms,
            reconnect_backoff_ms: config.reconnect_backoff_ms,
            reconnect_backoff_max_ms: config.reconnect_backoff_max_ms,
            socket_connection_setup_timeout_ms: config.socket_connection_setup_timeout_ms,
            socket_connection_setup_timeout_max_ms: config.socket_connection_setup_timeout_max_ms,
            max_in_flight_requests_per_connection: MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION,
        };
        let (backoff, backoff_max) = (config.retry_backoff_ms, config.retry_backoff_max_ms);
        let metadata = Metadata::new(bootstrap, backoff, backoff_max, config.metadata_max_age_ms);
        let group: Option<TopicName> = config.group_id.as_deref().map(TopicName::from);
        Consumer {
            auto_commit: config.enable_auto_commit && group.is_some(),
            group,
            no_member_id: TopicName::from(""),
            bug,
            network: NetworkClient::new(network, metadata),
            retry_backoff: ExponentialBackoff::new(backoff, backoff_max),
            unsent: Vec::new(),
            subscriptions: SubscriptionState::default(),
            seen_snapshot: 0,
            nodes_with_pending_fetch: Vec::new(),
            fetch_buffer: VecDeque::new(),
            next_in_line: None,
            cached_reset_error: None,
            cached_validate_error: None,
            coordinator: Coordinator::default(),
            active: None,
            await_update: None,
            next_turn_at: Nanos::MAX,
            has_all_fetch_positions: false,
            waiting_calls: VecDeque::new(),
            closed: false,
            alarm: Alarm::new(),
            config,
        }
    }

    /// Where the assigned partitions stand: the next offset that a poll will return, and the epoch
    /// of the record before it. Partitions without a position are left out.
    pub fn positions(&self) -> Vec<TopicPartitionOffset> {
        self.subscriptions.positions()
    }

    /// Whether no call is being served or waits.
    pub fn is_idle(&self) -> bool {
        self.active.is_none() && self.waiting_calls.is_empty()
    }

    /// Begins to serve a call; those that can be are answered at once.
    fn begin(&mut self, call: CallId, what: Call, env: &mut Env<'_>) {
        let api_deadline = env
            .now
            .saturating_add(millis(self.config.default_api_timeout_ms));
        if self.closed {
            let reply = match what {
                Call::Poll(_) | Call::Positions => Reply::Failed(ClientError::Closed),
                Call::Close => Reply::Done(Ok(())),
                _ => Reply::Done(Err(ClientError::Closed)),
            };
            env.reply(call, reply);
            return;
        }
        match what {
            Call::Assign(partitions) => self.assign(call, &partitions, env),
            Call::Poll(_) if self.subscriptions.is_empty() => {
                // IllegalStateException: not subscribed or assigned anything
                let error = ClientError::Broker(ErrorCode::InvalidRequest);
                env.reply(call, Reply::Failed(error));
            }
            Call::Poll(timeout_ms) => {
                let timeout = timeout_ms.saturating_mul(MILLIS);
                self.await_update = None;
                self.active = Some(Active::Poll(call, env.now.saturating_add(timeout)));
            }
            Call::CommitSync => {
                let offsets = self.subscriptions.all_consumed();
                self.begin_commit(call, offsets, api_deadline, env);
            }
            Call::CommitSyncOffsets(offsets) => {
                self.begin_commit(call, offsets, api_deadline, env);
            }
            Call::CommitAsync(offsets) => self.commit_async(call, offsets, env),
            Call::Seek(to) => self.seek(call, to, env),
            Call::Positions => self.active = Some(Active::Positions(call, api_deadline)),
            Call::Close => {
                let patience = DEFAULT_CLOSE_TIMEOUT.min(self.request_timeout());
                let deadline = env.now.saturating_add(patience);
                let commit = self
                    .auto_commit
                    .then(|| SyncCommit::new(self.subscriptions.all_consumed(), deadline));
                self.active = Some(Active::Close(call, commit, deadline));
            }
            other => panic!("a consumer was asked to {other:?}"),
        }
    }

    /// `ClassicKafkaConsumer.assign`.
    #[cold]
    fn assign(&mut self, call: CallId, partitions: &[(TopicName, i32)], env: &mut Env<'_>) {
        // What is given up is committed first, if it is time.
        self.maybe_auto_commit_async(env);
        if self.subscriptions.assign(partitions) {
            let metadata = &mut self.network.metadata;
            for (topic, _) in partitions {
                metadata.add_topic(topic);
            }
            metadata.retain_topics(|name| partitions.iter().any(|(topic, _)| topic == name));
            metadata.request_update_for_new_topics();
            self.drop_unassigned_fetches();
        }
        env.reply(call, Reply::Done(Ok(())));
    }

    /// `ClassicKafkaConsumer.commitSync`.
    fn begin_commit(
        &mut self,
        call: CallId,
        offsets: Vec<TopicPartitionOffset>,
        deadline: Nanos,
        env: &mut Env<'_>,
    ) {
        if self.group.is_none() {
            // InvalidGroupIdException
            let error = ClientError::Broker(ErrorCode::InvalidRequest);
            env.reply(call, Reply::Done(Err(error)));
            return;
        }
        self.update_last_seen_epochs(&offsets);
        self.active = Some(Active::Commit(call, SyncCommit::new(offsets, deadline)));
    }

    /// `ClassicKafkaConsumer.commitAsync`: returns at once.
    #[inline(never)]
    fn commit_async(
        &mut self,
        call: CallId,
        offsets: Option<Vec<TopicPartitionOffset>>,
        env: &mut Env<'_>,
    ) {
        if self.group.is_none() {
            // InvalidGroupIdException
            let error = ClientError::Broker(ErrorCode::InvalidRequest);
            env.reply(call, Reply::Done(Err(error)));
            return;
        }
        let offsets = offsets.unwrap_or_else(|| self.subscriptions.all_consumed());
        self.update_last_seen_epochs(&offsets);
        self.commit_offsets_async(Origin::Application(call), offsets, env);
        env.reply(call, Reply::Accepted);
    }

    /// `ClassicKafkaConsumer.updateLastSeenEpochIfNewer`.
    fn update_last_seen_epochs(&mut self, offsets: &[TopicPartitionOffset]) {
        for offset in offsets {
            self.network.metadata.update_last_seen_epoch_if_newer(
                &offset.topic,
                offset.partition,
                offset.leader_epoch,
            );
        }
    }

    /// `ClassicKafkaConsumer.seek`: what is buffered for another position is dropped when a poll meets
    /// it. With an epoch the new position is validated first, without one it is read as it is.
    #[cold]
    fn seek(&mut self, call: CallId, to: TopicPartitionOffset, env: &mut Env<'_>) {
        let current_leader = self
            .network
            .metadata
            .current_leader(&to.topic, to.partition);
        self.update_last_seen_epochs(std::slice::from_ref(&to));
        let Some(partition) = self.subscriptions.find_mut(&to.topic, to.partition) else {
            env.reply(call, Reply::Done(Err(ClientError::NotAssigned)));
            return;
        };
        let from = partition.position.map_or(-1, |p| p.offset);
        partition.seek_unvalidated(FetchPosition {
            offset: to.offset,
            offset_epoch: (to.leader_epoch >= 0).then_some(to.leader_epoch),
            current_leader,
        });
        let why = PositionResetReason::Seek;
        let fact = position_reset(&self.network.metadata, partition, from, to.offset, why);
        env.facts.extend(fact);
        env.reply(call, Reply::Done(Ok(())));
    }

    /// One turn of the loop of the call that is being served. True where it was answered.
    fn advance(&mut self, env: &mut Env<'_>) -> bool {
        self.next_turn_at = Nanos::MAX;
        let answer = match self.active {
            None => return false,
            Some(Active::Poll(call, deadline)) => {
                self.turn_of_poll(deadline, env).map(|reply| (call, reply))
            }
            Some(Active::Positions(call, deadline)) => self
                .turn_of_positions(deadline, env)
                .map(|reply| (call, reply)),
            Some(Active::Commit(..) | Active::Close(..)) => self.turn_of_commit_or_close(env),
        };
        let Some((call, reply)) = answer else {
            return false;
        };
        self.active = None;
        env.reply(call, reply);
        true
    }

    fn turn_of_commit_or_close(&mut self, env: &mut Env<'_>) -> Option<(CallId, Reply)> {
        let mut active = self.active.take();
        let answer = match &mut active {
            Some(Active::Commit(call, commit)) => self
                .advance_commit(commit, env)
                .map(|result| (*call, Reply::Done(result))),
            Some(Active::Close(call, commit, deadline)) => self
                .turn_of_close(commit, *deadline, env)
                .then_some((*call, Reply::Done(Ok(())))),
            _ => unreachable!("the caller has looked"),
        };
        self.active = active;
        answer
    }

    /// The body of the loop in `ClassicKafkaConsumer.poll`.
    fn turn_of_poll(&mut self, deadline: Nanos, env: &mut Env<'_>) -> Option<Reply> {
        let expired = env.now >= deadline;
        if self.group.is_some() && !self.turn_of_coordinator(env) && !expired {
            return None;
        }
        match self.update_fetch_positions(env) {
            Err(error) => return Some(Reply::Failed(error)),
            Ok(false) if !expired => return None,
            Ok(_) => {}
        }
        if self.has_answers() {
            let fetch = match self.collect_fetch() {
                Err(error) => return Some(Reply::Failed(error)),
                Ok(fetch) => fetch,
            };
            if !fetch.is_empty() {
                // The next fetch is on its way while the application works.
                self.send_fetches(env);
                if self.bug == Some(Bug::CommitBeforeProcessingInPoll) {
                    self.maybe_auto_commit_async(env);
                }
                self.try_send(env);
                return Some(Reply::Records(fetch.records));
            }
        }
        self.send_fetches(env);
        expired.then(|| {
            self.try_send(env);
            Reply::Records(Vec::new())
        })
    }

    /// `ConsumerCoordinator.poll` for partitions assigned by hand. False while it waits for
    /// metadata because no connection is up.
    fn turn_of_coordinator(&mut self, env: &mut Env<'_>) -> bool {
        self.invoke_completed_commits(env);
        let version = self.network.metadata.update_version();
        if self.await_update.is_some_and(|awaited| awaited == version) {
            return false;
        }
        self.await_update = None;
        if self.network.metadata.update_requested() && !self.network.has_ready_nodes() {
            self.network.metadata.request_update(false);
            self.await_update = Some(version);
            return false;
        }
        if self.bug != Some(Bug::CommitBeforeProcessingInPoll) {
            self.maybe_auto_commit_async(env);
        }
        true
    }

    /// `ClassicKafkaConsumer.position` for all partitions.
    #[cold]
    fn turn_of_positions(&mut self, deadline: Nanos, env: &mut Env<'_>) -> Option<Reply> {
        if self.subscriptions.has_all_fetch_positions() {
            return Some(Reply::Positions(self.subscriptions.positions()));
        }
        if let Err(error) = self.find_fetch_positions(env) {
            return Some(Reply::Failed(error));
        }
        (env.now >= deadline).then_some(Reply::Failed(ClientError::Timeout(
            "default.api.timeout.ms before the position was known",
        )))
    }

    /// `ConsumerCoordinator.close`: commits the positions, whatever comes of it.
    #[cold]
    fn turn_of_close(
        &mut self,
        commit: &mut Option<SyncCommit>,
        deadline: Nanos,
        env: &mut Env<'_>,
    ) -> bool {
        if let Some(task) = commit {
            if self.advance_commit(task, env).is_none() {
                return false;
            }
            *commit = None;
        }
        self.invoke_commits_of_close(env);
        if self.coordinator.holds_up_close() && env.now < deadline {
            return false;
        }
        self.network.close_all(env);
        self.unsent.clear();
        self.closed = true;
        true
    }

    /// `ConsumerNetworkClient.send`: sent once its connection is ready.
    fn enqueue(&mut self, link: Link, request: Request, tag: Tag, env: &mut Env<'_>) {
        self.unsent.push(Unsent {
            link,
            request,
            tag,
            deadline: env.now.saturating_add(self.request_timeout()),
        });
    }

    /// `ConsumerNetworkClient.trySend`, `checkDisconnects` and `failExpiredRequests`. Says whether
    /// something was sent, and whether something failed.
    #[inline]
    fn try_send(&mut self, env: &mut Env<'_>) -> (bool, bool) {
        match self.unsent.is_empty() {
            true => (false, false),
            false => self.try_send_unsent(env),
        }
    }

    fn try_send_unsent(&mut self, env: &mut Env<'_>) -> (bool, bool) {
        let (mut sent, mut failed) = (false, false);
        let mut not_ready: SmallVec<[Link; 4]> = SmallVec::new();
        let mut at = 0;
        // What is kept stays where it is: a request is some hundred bytes.
        while let Some(unsent) = self.unsent.get(at) {
            let (link, deadline) = (unsent.link, unsent.deadline);
            // In order: what is behind a request that cannot go waits too.
            if !not_ready.contains(&link) && self.network.ready(link, env) {
                let unsent = self.unsent.remove(at);
                self.network.send(link, unsent.request, unsent.tag, env);
                sent = true;
                continue;
            }
            not_ready.push(link);
            let outcome = if self.network.connection_failed(link) {
                Outcome::Disconnected
            } else if deadline <= env.now {
                Outcome::NotSent
            } else {
                at += 1;
                continue;
            };
            failed = true;
            // A failure enqueues nothing: whoever is told tries again in a later turn.
            let tag = self.unsent.remove(at).tag;
            self.handle_completion(Completion { link, tag, outcome }, env);
        }
        (sent, failed)
    }

    fn handle_completion(&mut self, completion: Completion<Tag>, env: &mut Env<'_>) {
        let Completion { link, tag, outcome } = completion;
        match tag {
            Tag::Fetch(tag) => self.handle_fetch(tag, outcome),
            Tag::ListOffsets(asked) => self.handle_list_offsets(asked, outcome, env),
            Tag::EpochEnd(asked) => self.handle_epoch_ends(asked, outcome, env),
            Tag::FindCoordinator => self.handle_find_coordinator(outcome, env),
            Tag::OffsetFetch(asked) => self.handle_offset_fetch(asked, link, outcome, env),
            Tag::OffsetCommit(kind) => self.handle_offset_commit(kind, link, outcome, env),
        }
    }
}

impl Process for Consumer {
    fn step(&mut self, input: Input, env: &mut Env<'_>) {
        let (mut begun, mut happened) = (false, false);
        match input {
            Input::Start => {
                let interval = millis(self.config.auto_commit_interval_ms);
                self.coordinator.next_auto_commit = env.now.saturating_add(interval);
            }
            Input::Connected(conn) => self.network.connected(conn, env),
            Input::Received(conn, frame) => {
                if let Some(completion) = self.network.received(conn, frame, env) {
                    happened = true;
                    self.handle_completion(completion, env);
                }
            }
            Input::Closed(conn, _) => self.network.closed(conn, env),
            Input::Timer(token) => {
                if !self.alarm.rings(token) {
                    return;
                }
            }
            Input::Call(call, what) if self.is_idle() => {
                (begun, happened) = (true, true);
                self.begin(call, what, env);
            }
            Input::Call(call, what) => self.waiting_calls.push_back((call, what)),
            other => panic!("a consumer received {other:?}"),
        }
        self.run(begun, happened, env);
    }
}
