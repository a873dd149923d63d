//! Finding and checking positions: Kafka's `OffsetFetcher` with `OffsetFetcherUtils` and
//! `OffsetsForLeaderEpochClient`.
//!
//! A partition without a committed offset, or whose offset is out of range, is reset by ListOffsets
//! under `auto.offset.reset`. A position whose leader or epoch changed is validated by
//! OffsetForLeaderEpoch (KIP-320): where the epoch of its last record ends earlier at the leader, the
//! log was truncated, and the position goes back to there (or, under `none`, the poll fails).

use super::by_node::ByNode;
use super::subscription::{FetchPosition, FetchState, PartitionId, PartitionState};
use super::{Consumer, Tag};
use crate::config::AutoOffsetReset;
use crate::env::Env;
use crate::fact::{Fact, PositionResetReason};
use crate::ids::*;
use crate::time::millis;
use crate::wire::{
    EARLIEST_TIMESTAMP, EpochEnd, EpochPartition, LATEST_TIMESTAMP, ListOffsetsPartition,
    ListOffsetsRequest, OffsetForLeaderEpochRequest, Request, Response,
};

use super::super::ClientError;
use super::super::network::{Link, Outcome};

impl Consumer {
    /// `ClassicKafkaConsumer.updateFetchPositions`. `Ok(false)` where the committed offsets are not
    /// there yet.
    #[inline]
    pub(super) fn update_fetch_positions(
        &mut self,
        env: &mut Env<'_>,
    ) -> Result<bool, ClientError> {
        if self.cached_validate_error.is_none() {
            self.validate_positions_on_metadata_change();
            if self.subscriptions.has_all_fetch_positions() {
                self.has_all_fetch_positions = true;
                return Ok(true);
            }
        }
        self.find_fetch_positions(env)
    }

    /// The same where positions are missing, are to be validated, or failed to be.
    #[cold]
    pub(super) fn find_fetch_positions(&mut self, env: &mut Env<'_>) -> Result<bool, ClientError> {
        self.validate_positions_if_needed(env)?;
        self.has_all_fetch_positions = self.subscriptions.has_all_fetch_positions();
        if self.has_all_fetch_positions {
            return Ok(true);
        }
        if self.group.is_some() && !self.init_with_committed_offsets(env)? {
            return Ok(false);
        }
        // SubscriptionState.resetInitializingPositions
        let no_policy = self.config.auto_offset_reset == AutoOffsetReset::None;
        for partition in self.subscriptions.iter_mut() {
            if partition.state == FetchState::Initializing {
                if no_policy {
                    return Err(ClientError::NoOffsetForPartition);
                }
                partition.reset(PositionResetReason::NoOffset);
            }
        }
        self.reset_positions_if_needed(env)?;
        Ok(true)
    }

    /// `OffsetFetcher.resetPositionsIfNeeded`.
    fn reset_positions_if_needed(&mut self, env: &mut Env<'_>) -> Result<(), ClientError> {
        if let Some(error) = self.cached_reset_error.take() {
            return Err(error);
        }
        let timestamp = match self.config.auto_offset_reset {
            AutoOffsetReset::Earliest => EARLIEST_TIMESTAMP,
            AutoOffsetReset::Latest | AutoOffsetReset::None => LATEST_TIMESTAMP,
        };
        let retry_at = env.now.saturating_add(self.request_timeout());
        let mut requests = ByNode::new();
        for partition in self.subscriptions.iter_mut() {
            if partition.state != FetchState::AwaitReset || env.now < partition.next_retry {
                continue;
            }
            let metadata = &mut self.network.metadata;
            let leader = metadata.current_leader(&partition.topic, partition.partition);
            let Some(node) = leader.leader else {
                metadata.request_update(true);
                continue;
            };
            if self.network.is_unavailable(Link::Data(node), env.now) {
                self.network.try_connect(Link::Data(node), env);
                continue;
            }
            partition.next_retry = retry_at;
            let asked = ListOffsetsPartition {
                partition: partition.partition,
                current_leader_epoch: leader.epoch.unwrap_or(NO_EPOCH),
                timestamp,
            };
            requests.push(node, &partition.topic, partition.id, asked);
        }
        for to in requests.drain() {
            let request = Request::ListOffsets(ListOffsetsRequest {
                replica_id: CONSUMER_REPLICA,
                isolation_level: i8::from(self.config.read_committed),
                topics: to.topics,
            });
            let tag = Tag::ListOffsets(to.asked);
            self.enqueue(Link::Data(to.node), request, tag, env);
        }
        Ok(())
    }

    /// `OffsetFetcherUtils.onSuccessfulResponseForResettingPositions` and its failure. Every error
    /// of a partition is retried, as `handleListOffsetResponse` does but for authorization.
    pub(super) fn handle_list_offsets(
        &mut self,
        asked: Vec<PartitionId>,
        outcome: Outcome,
        env: &mut Env<'_>,
    ) {
        let retry_at = env.now.saturating_add(millis(self.config.retry_backoff_ms));
        let topics = match outcome {
            Outcome::Response(Response::ListOffsets(response)) => response.topics,
            Outcome::Response(other) => panic!("ListOffsets answered with {other:?}"),
            Outcome::Disconnected | Outcome::TimedOut | Outcome::NotSent => Vec::new(),
        };
        for id in asked {
            let Some(partition) = self.subscriptions.get_mut(id) else {
                continue;
            };
            let answer = topics
                .iter()
                .filter(|(topic, _)| *topic == partition.topic)
                .flat_map(|(_, results)| results)
                .find(|result| result.partition == partition.partition);
            match answer {
                Some(answer) if answer.error.is_none() => {
                    if answer.offset == -1 || partition.state != FetchState::AwaitReset {
                        continue;
                    }
                    let metadata = &mut self.network.metadata;
                    let position = FetchPosition {
                        offset: answer.offset,
                        // Without an epoch the position is not validated.
                        offset_epoch: None,
                        current_leader: metadata
                            .current_leader(&partition.topic, partition.partition),
                    };
                    metadata.update_last_seen_epoch_if_newer(
                        &partition.topic,
                        partition.partition,
                        answer.leader_epoch,
                    );
                    partition.seek_unvalidated(position);
                    let (from, why) = partition.reset_from;
                    let to = answer.offset;
                    let fact = position_reset(&self.network.metadata, partition, from, to, why);
                    env.facts.extend(fact);
                }
                _ => {
                    partition.next_retry = retry_at;
                    self.network.metadata.request_update(false);
                }
            }
        }
    }

    /// `OffsetFetcherUtils.validatePositionsOnMetadataChange`.
    #[inline]
    pub(super) fn validate_positions_on_metadata_change(&mut self) {
        let version = self.network.metadata.snapshot_version();
        if self.seen_snapshot != version {
            self.seen_snapshot = version;
            self.subscriptions
                .validate_positions(&self.network.metadata);
        }
    }

    /// `OffsetFetcher.validatePositionsIfNeeded`.
    fn validate_positions_if_needed(&mut self, env: &mut Env<'_>) -> Result<(), ClientError> {
        if let Some(error) = self.cached_validate_error.take() {
            return Err(error);
        }
        self.validate_positions_on_metadata_change();
        let retry_at = env.now.saturating_add(self.request_timeout());
        let mut requests = ByNode::new();
        for partition in self.subscriptions.iter_mut() {
            if partition.state != FetchState::AwaitValidation || env.now < partition.next_retry {
                continue;
            }
            let position = partition.position.expect("validated without a position");
            let Some(node) = position.current_leader.leader else {
                continue;
            };
            if !self.network.knows_api_versions(Link::Data(node)) {
                self.network.try_connect(Link::Data(node), env);
                continue;
            }
            partition.next_retry = retry_at;
            let question = EpochPartition {
                partition: partition.partition,
                current_leader_epoch: position.current_leader.epoch.unwrap_or(NO_EPOCH),
                leader_epoch: position.offset_epoch.unwrap_or(NO_EPOCH),
            };
            let asked = (partition.id, position);
            requests.push(node, &partition.topic, asked, question);
        }
        for to in requests.drain() {
            let request = Request::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest {
                replica_id: CONSUMER_REPLICA,
                topics: to.topics,
            });
            let tag = Tag::EpochEnd(to.asked);
            self.enqueue(Link::Data(to.node), request, tag, env);
        }
        Ok(())
    }

    /// `OffsetFetcherUtils.onSuccessfulResponseForValidatingPositions` and its failure.
    pub(super) fn handle_epoch_ends(
        &mut self,
        asked: Vec<(PartitionId, FetchPosition)>,
        outcome: Outcome,
        env: &mut Env<'_>,
    ) {
        let retry_at = env.now.saturating_add(millis(self.config.retry_backoff_ms));
        let topics = match outcome {
            Outcome::Response(Response::OffsetForLeaderEpoch(response)) => response.topics,
            Outcome::Response(other) => panic!("OffsetForLeaderEpoch answered with {other:?}"),
            Outcome::Disconnected | Outcome::TimedOut | Outcome::NotSent => Vec::new(),
        };
        for (id, position) in asked {
            let Some(partition) = self.subscriptions.get_mut(id) else {
                continue;
            };
            let answer = topics
                .iter()
                .filter(|(topic, _)| *topic == partition.topic)
                .flat_map(|(_, results)| results)
                .find(|result| result.partition == partition.partition)
                .copied();
            match answer.filter(|a| a.error.is_none()) {
                Some(answer) => self.maybe_complete_validation(id, position, answer, env),
                None => {
                    partition.next_retry = retry_at;
                    self.network.metadata.request_update(false);
                }
            }
        }
    }

    /// `SubscriptionState.maybeCompleteValidation`.
    fn maybe_complete_validation(
        &mut self,
        id: PartitionId,
        requested: FetchPosition,
        answer: EpochEnd,
        env: &mut Env<'_>,
    ) {
        let partition = self
            .subscriptions
            .get_mut(id)
            .expect("checked by the caller");
        if partition.state != FetchState::AwaitValidation || partition.position != Some(requested) {
            return;
        }
        let no_policy = self.config.auto_offset_reset == AutoOffsetReset::None;
        let undefined = answer.end_offset == -1 || answer.leader_epoch == NO_EPOCH;
        if !undefined && answer.end_offset >= requested.offset {
            partition.complete_validation();
        } else if no_policy {
            self.cached_validate_error
                .get_or_insert(ClientError::LogTruncation);
        } else if undefined {
            partition.reset(PositionResetReason::Truncation);
        } else {
            partition.seek_validated(FetchPosition {
                offset: answer.end_offset,
                offset_epoch: Some(answer.leader_epoch),
                current_leader: requested.current_leader,
            });
            let why = PositionResetReason::Truncation;
            let (from, to) = (requested.offset, answer.end_offset);
            let fact = position_reset(&self.network.metadata, partition, from, to, why);
            env.facts.extend(fact);
        }
    }
}

/// The fact; none where the topic's id was never seen, since the world could not attribute it.
pub(super) fn position_reset(
    metadata: &super::super::metadata::Metadata,
    partition: &PartitionState,
    from: Offset,
    to: Offset,
    why: PositionResetReason,
) -> Option<Fact> {
    let topic = metadata.last_topic_id(&partition.topic)?;
    Some(Fact::PositionReset {
        partition: TopicPartition::new(topic, partition.partition),
        from,
        to,
        why,
    })
}
