//! The group coordinator: Kafka's `AbstractCoordinator` and `ConsumerCoordinator` for a consumer
//! that assigns itself.
//!
//! The coordinator is looked up only when it is needed: for the committed offsets of partitions
//! without a position and for commits. It has a connection of its own. Commits carry generation -1.
//!
//! An async commit is sent once and never again (`doCommitOffsetsAsync`): a repetition could overtake
//! a later commit and set the group back. Those that wait for the coordinator's lookup are sent in
//! their order when it is found and fail with the lookup; those on the connection are handled by the
//! coordinator in the order of their correlation ids, before a `commitSync` behind them. Callbacks wait
//! for the application's next call.
//!
//! NOT modelled: membership, heartbeats, rebalances, interceptors, `UNSTABLE_OFFSET_COMMIT`.

use super::offsets::position_reset;
use super::subscription::{FetchPosition, FetchState, PartitionId};
use super::{Consumer, Tag};
use crate::env::Env;
use crate::fact::PositionResetReason;
use crate::ids::*;
use crate::time::{Nanos, millis};
use crate::wire::{
    ByTopicName, CommitPartition, ErrorCode, FetchedOffset, FindCoordinatorRequest,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, Request,
    Response, push_by_topic,
};

use super::super::network::{Link, Outcome};
use super::super::{CallId, ClientError, Reply, TopicPartitionOffset};

/// Why a request to the coordinator failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// `RetriableException`.
    Retriable,
    Fatal(ClientError),
}

/// Whose commit a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommitKind {
    /// Of the `commitSync` with that number.
    Sync(u64),
    /// Nobody waits for it.
    Async(Origin),
}

/// Who is told of an async commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Auto-commit inside poll.
    Auto,
    /// The callback of the application's `commitAsync`.
    Application(CallId),
}

/// `pendingCommittedOffsetRequest`: the committed offsets of partitions without a position.
#[derive(Debug, Default)]
enum Committed {
    #[default]
    None,
    InFlight(Vec<PartitionId>),
    Done(Vec<PartitionId>, Result<OffsetFetchResponse, Failure>),
}

/// See the module head.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    link: Option<Link>,
    looking_up: bool,
    lookup_attempts: u32,
    lookup_not_before: Nanos,
    /// `awaitMetadataUpdate` after a failed lookup: none again while the version is this.
    lookup_awaits_update: Option<u64>,
    fatal_lookup_error: Option<ClientError>,
    committed: Committed,
    committed_attempts: u32,
    committed_not_before: Nanos,
    /// `pendingAsyncCommits`: commits that wait for the lookup.
    pending_async: Vec<(Origin, Vec<TopicPartitionOffset>)>,
    /// `inFlightAsyncCommits`.
    in_flight_async: usize,
    /// `completedOffsetCommits`: whoever is to be told is told in the next call.
    completed_async: Vec<(Origin, Result<(), Failure>)>,
    close_waits_for_lookup: bool,
    pub next_auto_commit: Nanos,
    sync_serial: u64,
    sync_result: Option<Result<(), Failure>>,
}

/// Where a `commitSync` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    NeedCoordinator,
    InFlight,
    Sleeping(Nanos),
}

/// `ConsumerCoordinator.commitOffsetsSync`, which loops until its timer expires.
#[derive(Debug)]
pub(super) struct SyncCommit {
    offsets: Vec<TopicPartitionOffset>,
    attempts: u32,
    stage: Stage,
    pub deadline: Nanos,
}

impl SyncCommit {
    pub(super) fn new(offsets: Vec<TopicPartitionOffset>, deadline: Nanos) -> SyncCommit {
        SyncCommit {
            offsets,
            attempts: 0,
            stage: Stage::NeedCoordinator,
            deadline,
        }
    }

    /// Whether it is still to be sent.
    pub(super) fn needs_coordinator(&self) -> bool {
        self.stage == Stage::NeedCoordinator
    }

    /// When it wants to be looked at again.
    pub(super) fn next_deadline(&self) -> Nanos {
        match self.stage {
            Stage::Sleeping(until) => until.min(self.deadline),
            _ => self.deadline,
        }
    }
}

impl Coordinator {
    /// Whether `close` waits: for commits that wait for the lookup (`ConsumerCoordinator.close`), then
    /// for those on the way to a coordinator that is known (`AbstractCoordinator.close`,
    /// `awaitPendingRequests`).
    pub(super) fn holds_up_close(&self) -> bool {
        !self.pending_async.is_empty() || (self.in_flight_async > 0 && self.link.is_some())
    }

    /// Whether no async commit has ended without its callback invoked, nor a `commitSync` without having
    /// been looked at.
    pub(super) fn has_told_of_all_commits(&self) -> bool {
        self.completed_async.is_empty() && self.sync_result.is_none()
    }

    /// When a back-off ends.
    pub(super) fn next_deadline(&self, now: Nanos) -> Nanos {
        [self.lookup_not_before, self.committed_not_before]
            .into_iter()
            .filter(|at| *at > now)
            .min()
            .unwrap_or(Nanos::MAX)
    }
}

impl Consumer {
    /// `AbstractCoordinator.ensureCoordinatorReady`, one look at a time.
    fn ensure_coordinator_ready(&mut self, env: &mut Env<'_>) -> Result<bool, ClientError> {
        if let Some(error) = self.coordinator.fatal_lookup_error.take() {
            return Err(error);
        }
        if self.check_and_get_coordinator(env).is_some() {
            return Ok(true);
        }
        let version = self.network.metadata.update_version();
        let may_look_up = !self.coordinator.looking_up
            && self.coordinator.lookup_not_before <= env.now
            && self.coordinator.lookup_awaits_update != Some(version);
        if may_look_up {
            self.lookup_coordinator(env);
        }
        Ok(false)
    }

    /// `AbstractCoordinator.checkAndGetCoordinator`.
    fn check_and_get_coordinator(&mut self, env: &mut Env<'_>) -> Option<Link> {
        let link = self.coordinator.link?;
        if self.network.is_unavailable(link, env.now) {
            self.mark_coordinator_unknown(link, true, env);
            return None;
        }
        Some(link)
    }

    /// `AbstractCoordinator.lookupCoordinator`.
    fn lookup_coordinator(&mut self, env: &mut Env<'_>) {
        assert!(!self.coordinator.looking_up, "two lookups at once");
        let Some(node) = self.network.least_loaded_node(env) else {
            self.lookup_failed(env);
            return;
        };
        self.coordinator.looking_up = true;
        let group = self.group.clone().expect("lookup without a group");
        let request = Request::FindCoordinator(FindCoordinatorRequest { group });
        self.enqueue(node, request, Tag::FindCoordinator, env);
    }

    fn lookup_failed(&mut self, env: &mut Env<'_>) {
        let attempts = self.coordinator.lookup_attempts;
        self.coordinator.lookup_attempts += 1;
        let backoff = self.retry_backoff.after(attempts, env.rng);
        self.coordinator.lookup_not_before = env.now.saturating_add(backoff);
        self.network.metadata.request_update(false);
        self.coordinator.lookup_awaits_update = Some(self.network.metadata.update_version());
        for (origin, _) in std::mem::take(&mut self.coordinator.pending_async) {
            let failed = (origin, Err(Failure::Retriable));
            self.coordinator.completed_async.push(failed);
        }
    }

    /// `FindCoordinatorResponseHandler`.
    pub(super) fn handle_find_coordinator(&mut self, outcome: Outcome, env: &mut Env<'_>) {
        self.coordinator.looking_up = false;
        let Outcome::Response(Response::FindCoordinator(answer)) = outcome else {
            self.lookup_failed(env);
            return;
        };
        if !answer.error.is_none() {
            if !answer.error.is_retriable() {
                self.coordinator.fatal_lookup_error = Some(ClientError::Broker(answer.error));
            }
            self.lookup_failed(env);
            return;
        }
        let link = Link::Coordinator(NodeId::of_broker(answer.node));
        self.coordinator.link = Some(link);
        self.coordinator.lookup_attempts = 0;
        self.coordinator.lookup_awaits_update = None;
        self.network.try_connect(link, env);
        for (origin, offsets) in std::mem::take(&mut self.coordinator.pending_async) {
            self.send_async_commit(origin, &offsets, env);
        }
    }

    /// `AbstractCoordinator.markCoordinatorUnknown`: also closes the connection where it is not the
    /// connection that failed.
    fn mark_coordinator_unknown(&mut self, link: Link, disconnected: bool, env: &mut Env<'_>) {
        if self.coordinator.link != Some(link) {
            return;
        }
        self.coordinator.link = None;
        if !disconnected {
            self.network.disconnect(link, env);
        }
    }

    /// `ConsumerCoordinator.initWithCommittedOffsetsIfNeeded`. False where they are not there yet.
    pub(super) fn init_with_committed_offsets(
        &mut self,
        env: &mut Env<'_>,
    ) -> Result<bool, ClientError> {
        let wanted: Vec<PartitionId> = self
            .subscriptions
            .iter()
            .filter(|p| p.state == FetchState::Initializing)
            .map(|p| p.id)
            .collect();
        if wanted.is_empty() {
            return Ok(true);
        }
        match std::mem::take(&mut self.coordinator.committed) {
            Committed::InFlight(asked) if asked == wanted => {
                self.coordinator.committed = Committed::InFlight(asked);
                return Ok(false);
            }
            Committed::Done(asked, result) if asked == wanted => match result {
                Ok(response) => {
                    self.coordinator.committed_attempts = 0;
                    return self.refresh_committed_offsets(&wanted, &response, env);
                }
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Retriable) => {
                    let attempts = self.coordinator.committed_attempts;
                    self.coordinator.committed_attempts += 1;
                    let backoff = self.retry_backoff.after(attempts, env.rng);
                    self.coordinator.committed_not_before = env.now.saturating_add(backoff);
                }
            },
            // Answers for another assignment are not wanted any more.
            _ => {}
        }
        if self.coordinator.committed_not_before > env.now {
            return Ok(false);
        }
        if self.ensure_coordinator_ready(env)? {
            self.fetch_committed_offsets(wanted, env);
        }
        Ok(false)
    }

    /// `ConsumerCoordinator.sendOffsetFetchRequest`.
    fn fetch_committed_offsets(&mut self, wanted: Vec<PartitionId>, env: &mut Env<'_>) {
        let mut topics: ByTopicName<i32> = Vec::new();
        for id in &wanted {
            let partition = self.subscriptions.get(*id).expect("assigned");
            push_by_topic(&mut topics, &partition.topic, partition.partition);
        }
        let request = Request::OffsetFetch(OffsetFetchRequest {
            group: self.group.clone().expect("offsets without a group"),
            require_stable: true,
            topics,
        });
        let link = self.coordinator.link.expect("the coordinator is ready");
        self.coordinator.committed = Committed::InFlight(wanted.clone());
        self.enqueue(link, request, Tag::OffsetFetch(wanted), env);
    }

    /// `OffsetFetchResponseHandler`; the next poll looks at the result.
    pub(super) fn handle_offset_fetch(
        &mut self,
        asked: Vec<PartitionId>,
        link: Link,
        outcome: Outcome,
        env: &mut Env<'_>,
    ) {
        let result = match outcome {
            Outcome::Response(Response::OffsetFetch(response)) => match response.error {
                ErrorCode::None => Ok(response),
                error => {
                    if matches!(
                        error,
                        ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator
                    ) {
                        self.mark_coordinator_unknown(link, false, env);
                    }
                    Err(match error.is_retriable() {
                        true => Failure::Retriable,
                        false => Failure::Fatal(ClientError::Broker(error)),
                    })
                }
            },
            Outcome::Response(other) => panic!("OffsetFetch answered with {other:?}"),
            // CoordinatorResponseHandler.onFailure
            Outcome::Disconnected | Outcome::TimedOut => {
                self.mark_coordinator_unknown(link, true, env);
                Err(Failure::Retriable)
            }
            Outcome::NotSent => Err(Failure::Retriable),
        };
        if matches!(&self.coordinator.committed, Committed::InFlight(ids) if *ids == asked) {
            self.coordinator.committed = Committed::Done(asked, result);
        }
    }

    /// `ConsumerUtils.refreshCommittedOffsets`. Partitions without a committed offset stay as they
    /// are; any error of a partition fails the poll.
    fn refresh_committed_offsets(
        &mut self,
        asked: &[PartitionId],
        response: &OffsetFetchResponse,
        env: &mut Env<'_>,
    ) -> Result<bool, ClientError> {
        let results = || response.topics.iter().flat_map(|(_, results)| results);
        if let Some(failed) = results().find(|r| !r.error.is_none()) {
            return Err(ClientError::Broker(failed.error));
        }
        for id in asked {
            let partition = self.subscriptions.get_mut(*id).expect("assigned");
            let found: Option<&FetchedOffset> = response
                .topics
                .iter()
                .filter(|(topic, _)| *topic == partition.topic)
                .flat_map(|(_, results)| results)
                .find(|r| r.partition == partition.partition && r.offset >= 0);
            let Some(found) = found else {
                continue;
            };
            let metadata = &mut self.network.metadata;
            let (topic, index) = (&partition.topic, partition.partition);
            metadata.update_last_seen_epoch_if_newer(topic, index, found.leader_epoch);
            let position = FetchPosition {
                offset: found.offset,
                offset_epoch: (found.leader_epoch >= 0).then_some(found.leader_epoch),
                current_leader: metadata.current_leader(topic, index),
            };
            partition.seek_unvalidated(position);
            let why = PositionResetReason::Committed;
            env.facts
                .extend(position_reset(metadata, partition, -1, found.offset, why));
        }
        Ok(true)
    }

    /// `ConsumerCoordinator.maybeAutoCommitOffsetsAsync`: at every turn of poll, once the interval
    /// has passed, the positions of what earlier polls returned.
    pub(super) fn maybe_auto_commit_async(&mut self, env: &mut Env<'_>) {
        if !self.auto_commit || env.now < self.coordinator.next_auto_commit {
            return;
        }
        let interval = millis(self.config.auto_commit_interval_ms);
        self.coordinator.next_auto_commit = env.now.saturating_add(interval);
        let offsets = self.subscriptions.all_consumed();
        self.commit_offsets_async(Origin::Auto, offsets, env);
    }

    /// `ConsumerCoordinator.commitOffsetsAsync`.
    pub(super) fn commit_offsets_async(
        &mut self,
        origin: Origin,
        offsets: Vec<TopicPartitionOffset>,
        env: &mut Env<'_>,
    ) {
        self.invoke_completed_commits(env);
        if offsets.is_empty() {
            self.coordinator.completed_async.push((origin, Ok(())));
            return;
        }
        if self.check_and_get_coordinator(env).is_some() {
            self.send_async_commit(origin, &offsets, env);
            return;
        }
        self.coordinator.pending_async.push((origin, offsets));
        if !self.coordinator.looking_up {
            self.lookup_coordinator(env);
        }
    }

    fn send_async_commit(
        &mut self,
        origin: Origin,
        offsets: &[TopicPartitionOffset],
        env: &mut Env<'_>,
    ) {
        match self.check_and_get_coordinator(env) {
            None => {
                let failed = (origin, Err(Failure::Retriable));
                self.coordinator.completed_async.push(failed);
            }
            Some(link) => {
                self.coordinator.in_flight_async += 1;
                self.send_commit(link, offsets, CommitKind::Async(origin), env);
            }
        }
    }

    /// The loop of `ConsumerCoordinator.close`: callbacks are invoked while commits wait for the
    /// lookup and once after that. Commits that are still on the way then are waited for, and nobody
    /// is told of them.
    pub(super) fn invoke_commits_of_close(&mut self, env: &mut Env<'_>) {
        let waits = !self.coordinator.pending_async.is_empty();
        if waits || self.coordinator.close_waits_for_lookup {
            self.invoke_completed_commits(env);
        }
        self.coordinator.close_waits_for_lookup = waits;
    }

    /// `ConsumerCoordinator.invokeCompletedOffsetCommitCallbacks`: an auto-commit that failed and may
    /// be retried is, with the positions of then, after `retry.backoff.ms`.
    #[inline]
    pub(super) fn invoke_completed_commits(&mut self, env: &mut Env<'_>) {
        if !self.coordinator.completed_async.is_empty() {
            self.invoke_callbacks(env);
        }
    }

    #[inline(never)]
    fn invoke_callbacks(&mut self, env: &mut Env<'_>) {
        for (origin, result) in std::mem::take(&mut self.coordinator.completed_async) {
            match (origin, result) {
                (Origin::Auto, Err(Failure::Retriable)) => {
                    let backoff = millis(self.config.retry_backoff_ms);
                    self.coordinator.next_auto_commit = env.now.saturating_add(backoff);
                }
                (Origin::Auto, _) => {}
                (Origin::Application(call), result) => {
                    let outcome = result.map_err(|failure| match failure {
                        Failure::Retriable => ClientError::RetriableCommitFailed,
                        Failure::Fatal(error) => error,
                    });
                    env.reply(call, Reply::Done(outcome));
                }
            }
        }
    }

    /// `ConsumerCoordinator.sendOffsetCommitRequest`.
    fn send_commit(
        &mut self,
        link: Link,
        offsets: &[TopicPartitionOffset],
        kind: CommitKind,
        env: &mut Env<'_>,
    ) {
        let mut topics: ByTopicName<CommitPartition> = Vec::with_capacity(1);
        for offset in offsets {
            let commit = CommitPartition {
                partition: offset.partition,
                offset: offset.offset,
                leader_epoch: offset.leader_epoch,
            };
            push_by_topic(&mut topics, &offset.topic, commit);
        }
        let request = Request::OffsetCommit(OffsetCommitRequest {
            group: self.group.clone().expect("commit without a group"),
            generation: -1,
            member_id: self.no_member_id.clone(),
            topics,
        });
        self.enqueue(link, request, Tag::OffsetCommit(kind), env);
    }

    /// `OffsetCommitResponseHandler`.
    pub(super) fn handle_offset_commit(
        &mut self,
        kind: CommitKind,
        link: Link,
        outcome: Outcome,
        env: &mut Env<'_>,
    ) {
        let result = match outcome {
            Outcome::Response(Response::OffsetCommit(response)) => {
                let (result, unknown) = judge_commit(&response);
                if unknown {
                    self.mark_coordinator_unknown(link, false, env);
                }
                result
            }
            Outcome::Response(other) => panic!("OffsetCommit answered with {other:?}"),
            // CoordinatorResponseHandler.onFailure
            Outcome::Disconnected | Outcome::TimedOut => {
                self.mark_coordinator_unknown(link, true, env);
                Err(Failure::Retriable)
            }
            Outcome::NotSent => Err(Failure::Retriable),
        };
        match kind {
            CommitKind::Async(origin) => {
                self.coordinator.in_flight_async -= 1;
                self.coordinator.completed_async.push((origin, result));
            }
            CommitKind::Sync(serial) if serial == self.coordinator.sync_serial => {
                self.coordinator.sync_result = Some(result);
            }
            // Of a commitSync that has timed out.
            CommitKind::Sync(_) => {}
        }
    }

    /// One look at a `commitSync`: `None` while it goes on.
    pub(super) fn advance_commit(
        &mut self,
        commit: &mut SyncCommit,
        env: &mut Env<'_>,
    ) -> Option<Result<(), ClientError>> {
        let expired = env.now >= commit.deadline;
        let timeout = ClientError::Timeout("default.api.timeout.ms before the commit was done");
        self.invoke_completed_commits(env);
        if commit.offsets.is_empty() {
            // invokePendingAsyncCommits, which does not look at those that wait for the lookup
            return match self.coordinator.in_flight_async {
                0 => Some(Ok(())),
                _ => expired.then_some(Err(timeout)),
            };
        }
        if commit.stage == Stage::InFlight {
            match self.coordinator.sync_result.take() {
                None => {}
                Some(Ok(())) => return Some(Ok(())),
                Some(Err(Failure::Fatal(error))) => return Some(Err(error)),
                Some(Err(Failure::Retriable)) => {
                    let backoff = self.retry_backoff.after(commit.attempts, env.rng);
                    commit.attempts += 1;
                    commit.stage = Stage::Sleeping(env.now.saturating_add(backoff));
                }
            }
        }
        if matches!(commit.stage, Stage::Sleeping(until) if until <= env.now) {
            commit.stage = Stage::NeedCoordinator;
        }
        if expired {
            // Whatever is still in flight may be committed; its answer is ignored.
            self.coordinator.sync_serial += 1;
            return Some(Err(timeout));
        }
        if commit.stage == Stage::NeedCoordinator {
            match self.ensure_coordinator_ready(env) {
                Err(error) => return Some(Err(error)),
                Ok(false) => {}
                Ok(true) => {
                    let link = self.coordinator.link.expect("the coordinator is ready");
                    self.coordinator.sync_serial += 1;
                    self.coordinator.sync_result = None;
                    commit.stage = Stage::InFlight;
                    let kind = CommitKind::Sync(self.coordinator.sync_serial);
                    self.send_commit(link, &commit.offsets, kind, env);
                }
            }
        }
        None
    }
}

/// The first error decides; the flag says that the coordinator is another.
fn judge_commit(response: &OffsetCommitResponse) -> (Result<(), Failure>, bool) {
    let error = response
        .topics
        .iter()
        .flat_map(|(_, results)| results)
        .map(|(_, error)| *error)
        .find(|error| !error.is_none());
    match error {
        None => (Ok(()), false),
        Some(ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnknownTopicOrPartition) => {
            (Err(Failure::Retriable), false)
        }
        Some(
            ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::RequestTimedOut,
        ) => (Err(Failure::Retriable), true),
        Some(error) => (Err(Failure::Fatal(ClientError::Broker(error))), false),
    }
}
