//! Positions of the assigned partitions: Kafka's `SubscriptionState` for assignment by hand.
//!
//! A position carries the epoch of the record before it and the leader that the client believes in
//! (KIP-320). Whenever the metadata names another leader or epoch, the position must be validated
//! before anything is fetched (`FetchStates.AWAIT_VALIDATION`); a position without an epoch, as it
//! comes from `ListOffsets` or from a commit without one, skips that.
//!
//! NOT modelled: subscription by topic or pattern, pausing, preferred read replicas (KIP-392).

use crate::fact::PositionResetReason;
use crate::ids::*;
use crate::time::Nanos;

use super::super::TopicPartitionOffset;
use super::super::metadata::{LeaderAndEpoch, Metadata};

/// `SubscriptionState.FetchPosition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FetchPosition {
    pub offset: Offset,
    /// Epoch of the record before it.
    pub offset_epoch: Option<LeaderEpoch>,
    pub current_leader: LeaderAndEpoch,
}

/// `SubscriptionState.FetchStates`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchState {
    Initializing,
    Fetching,
    AwaitReset,
    AwaitValidation,
}

/// Names one partition of one assignment; not used again when it is assigned anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartitionId(u32);

/// `SubscriptionState.TopicPartitionState`.
#[derive(Debug)]
pub(super) struct PartitionState {
    pub id: PartitionId,
    pub topic: TopicName,
    pub partition: i32,
    pub state: FetchState,
    pub position: Option<FetchPosition>,
    /// No ListOffsets or OffsetForLeaderEpoch before this instant.
    pub next_retry: Nanos,
    /// Where the partition stood before it was reset, -1 for nowhere, and why it was.
    pub reset_from: (Offset, PositionResetReason),
}

impl PartitionState {
    /// `TopicPartitionState.hasValidPosition`: it may be fetched and committed.
    pub(super) fn has_valid_position(&self) -> bool {
        self.state == FetchState::Fetching
    }

    /// `TopicPartitionState.reset`: the policy will decide.
    pub(super) fn reset(&mut self, why: PositionResetReason) {
        let from = self.position.take().map_or(-1, |p| p.offset);
        if self.state != FetchState::AwaitReset {
            self.reset_from = (from, why);
        }
        self.state = FetchState::AwaitReset;
        self.next_retry = 0;
    }

    /// `TopicPartitionState.seekValidated`.
    pub(super) fn seek_validated(&mut self, position: FetchPosition) {
        self.state = FetchState::Fetching;
        self.position = Some(position);
        self.next_retry = 0;
    }

    /// `TopicPartitionState.seekUnvalidated`.
    pub(super) fn seek_unvalidated(&mut self, position: FetchPosition) {
        self.seek_validated(position);
        self.validate_position(position);
    }

    fn validate_position(&mut self, position: FetchPosition) {
        let epochs_known =
            position.offset_epoch.is_some() && position.current_leader.epoch.is_some();
        self.state = match epochs_known {
            true => FetchState::AwaitValidation,
            false => FetchState::Fetching,
        };
        self.position = Some(position);
        self.next_retry = 0;
    }

    /// `TopicPartitionState.maybeValidatePosition`: another leader or epoch than the position knows.
    pub(super) fn maybe_validate_position(&mut self, leader: LeaderAndEpoch) {
        if self.state == FetchState::AwaitReset || leader.leader.is_none() {
            return;
        }
        if let Some(position) = self.position
            && position.current_leader != leader
        {
            self.validate_position(FetchPosition {
                current_leader: leader,
                ..position
            });
        }
    }

    /// `TopicPartitionState.completeValidation`.
    pub(super) fn complete_validation(&mut self) {
        assert!(self.position.is_some(), "validated without a position");
        self.state = FetchState::Fetching;
        self.next_retry = 0;
    }
}

/// See the module head.
#[derive(Debug, Default)]
pub(super) struct SubscriptionState {
    partitions: Vec<PartitionState>,
    /// Order of fetching, as indices of partitions: `PartitionStates.moveToEnd`.
    order: Vec<usize>,
    next_id: u32,
}

impl SubscriptionState {
    /// `SubscriptionState.assignFromUser`. Partitions assigned already keep their state. True where
    /// the assignment changed.
    pub(super) fn assign(&mut self, wanted: &[(TopicName, i32)]) -> bool {
        let before = self.partitions.len();
        self.partitions.retain(|p| {
            wanted
                .iter()
                .any(|(t, i)| *t == p.topic && *i == p.partition)
        });
        let mut changed = self.partitions.len() != before;
        for (topic, partition) in wanted {
            let known = |p: &PartitionState| p.topic == *topic && p.partition == *partition;
            if self.partitions.iter().any(known) {
                continue;
            }
            changed = true;
            let id = PartitionId(self.next_id);
            self.next_id += 1;
            self.partitions.push(PartitionState {
                id,
                topic: topic.clone(),
                partition: *partition,
                state: FetchState::Initializing,
                position: None,
                next_retry: 0,
                reset_from: (-1, PositionResetReason::NoOffset),
            });
        }
        if changed {
            self.order = (0..self.partitions.len()).collect();
        }
        changed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PartitionState> {
        self.partitions.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PartitionState> {
        self.partitions.iter_mut()
    }

    /// The partition, unless it was unassigned meanwhile.
    pub(super) fn get(&self, id: PartitionId) -> Option<&PartitionState> {
        self.partitions.iter().find(|p| p.id == id)
    }

    pub(super) fn get_mut(&mut self, id: PartitionId) -> Option<&mut PartitionState> {
        self.partitions.iter_mut().find(|p| p.id == id)
    }

    /// The partition of that name, if it is assigned.
    pub(super) fn find_mut(
        &mut self,
        topic: &TopicName,
        partition: i32,
    ) -> Option<&mut PartitionState> {
        self.partitions
            .iter_mut()
            .find(|p| p.partition == partition && p.topic == *topic)
    }

    /// Partitions in the order in which they are to be fetched.
    pub(super) fn in_fetch_order(&self) -> impl Iterator<Item = &PartitionState> {
        self.order.iter().map(|at| &self.partitions[*at])
    }

    /// `SubscriptionState.movePartitionToEnd`.
    pub(super) fn move_to_end(&mut self, id: PartitionId) {
        let is_it = |at: &usize| self.partitions[*at].id == id;
        if let Some(at) = self.order.iter().position(is_it) {
            let moved = self.order.remove(at);
            self.order.push(moved);
        }
    }

    /// `SubscriptionState.hasAllFetchPositions`.
    pub(super) fn has_all_fetch_positions(&self) -> bool {
        self.partitions.iter().all(|p| p.has_valid_position())
    }

    /// `OffsetFetcherUtils.validatePositionsOnMetadataChange`, for every partition.
    pub(super) fn validate_positions(&mut self, metadata: &Metadata) {
        for partition in &mut self.partitions {
            let leader = metadata.current_leader(&partition.topic, partition.partition);
            partition.maybe_validate_position(leader);
        }
    }

    /// `SubscriptionState.allConsumed`: what a commit without arguments commits. Partitions that
    /// await a reset or a validation are left out.
    pub(super) fn all_consumed(&self) -> Vec<TopicPartitionOffset> {
        let mut offsets = Vec::with_capacity(self.partitions.len());
        let valid = self.partitions.iter().filter(|p| p.has_valid_position());
        offsets.extend(valid.filter_map(offset_of));
        offsets
    }

    /// Every position there is, valid or not.
    pub(super) fn positions(&self) -> Vec<TopicPartitionOffset> {
        self.partitions.iter().filter_map(offset_of).collect()
    }
}

fn offset_of(partition: &PartitionState) -> Option<TopicPartitionOffset> {
    partition.position.map(|position| TopicPartitionOffset {
        topic: partition.topic.clone(),
        partition: partition.partition,
        offset: position.offset,
        leader_epoch: position.offset_epoch.unwrap_or(NO_EPOCH),
    })
}
