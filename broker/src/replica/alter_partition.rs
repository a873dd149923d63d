//! Proposals of an ISR on their way to the controller: `AlterPartitionManager`.
//!
//! One request is in flight at a time and carries all that is pending. A request that fails as a
//! whole is sent again after 50 ms; none is ever given up.

use crate::channel::Channel;
use crate::env::{ConnId, Env, TimerToken};
use crate::ids::*;
use crate::replica::partition::IsrProposal;
use crate::time::{MILLIS, Nanos, SECONDS};
use crate::wire::*;
use std::collections::BTreeMap;

/// `controller.socket.timeout.ms`.
const REQUEST_TIMEOUT: Nanos = 30 * SECONDS;
/// Back-off after an error of the whole request (`AlterPartitionManager.sendRequest`).
const RETRY: Nanos = 50 * MILLIS;

/// A proposal and its members' broker epochs.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What is proposed.
    pub proposal: IsrProposal,
    /// Its members with their broker epochs.
    pub members: Vec<(BrokerId, BrokerEpoch)>,
}

/// What a response says of one proposal.
#[derive(Debug)]
pub struct Answer {
    /// Which partition.
    pub partition: TopicPartition,
    /// What was proposed.
    pub proposal: IsrProposal,
    /// The new state, or the error in it.
    pub result: AlterPartitionResult,
}

/// The broker's proposals.
#[derive(Debug)]
pub struct AlterPartitionManager {
    broker: BrokerId,
    channel: Channel,
    timer: TimerToken,
    unsent: BTreeMap<TopicPartition, Item>,
    in_flight: bool,
    retry_at: Nanos,
}

impl AlterPartitionManager {
    /// Without proposals.
    pub fn new(
        broker: BrokerId,
        controller: NodeId,
        channel_timer: TimerToken,
        timer: TimerToken,
    ) -> Self {
        AlterPartitionManager {
            broker,
            channel: Channel::new(controller, channel_timer),
            timer,
            unsent: BTreeMap::new(),
            in_flight: false,
            retry_at: 0,
        }
    }

    /// Whether this connection is the manager's.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.channel.owns(conn)
    }

    /// Takes a proposal. Returns false where one for the partition is pending already
    /// (`OPERATION_NOT_ATTEMPTED`).
    pub fn submit(
        &mut self,
        id: TopicPartition,
        item: Item,
        epoch: BrokerEpoch,
        env: &mut Env<'_>,
    ) -> bool {
        if self.unsent.contains_key(&id) {
            return false;
        }
        self.unsent.insert(id, item);
        self.propagate(epoch, env);
        true
    }

    fn propagate(&mut self, epoch: BrokerEpoch, env: &mut Env<'_>) {
        if self.in_flight || self.unsent.is_empty() || env.now < self.retry_at {
            return;
        }
        self.in_flight = true;
        let mut topics: ByTopicId<AlterPartition> = Vec::new();
        for (id, item) in &self.unsent {
            let ask = AlterPartition {
                partition: id.partition,
                leader_epoch: item.proposal.leader_epoch,
                partition_epoch: item.proposal.partition_epoch,
                new_isr: item.members.clone(),
            };
            push_by_topic(&mut topics, &id.topic, ask);
        }
        let request = AlterPartitionRequest {
            broker: self.broker,
            broker_epoch: epoch,
            topics,
        };
        self.channel
            .send(Request::AlterPartition(request), REQUEST_TIMEOUT, env);
    }

    fn failed(&mut self, env: &mut Env<'_>) {
        self.in_flight = false;
        self.retry_at = env.now + RETRY;
        env.timer_in(RETRY, self.timer);
    }

    /// The retry timer fired.
    pub fn on_timer(&mut self, epoch: BrokerEpoch, env: &mut Env<'_>) {
        self.propagate(epoch, env);
    }

    /// The channel's timer fired.
    pub fn on_channel_timer(&mut self, env: &mut Env<'_>) {
        if self.channel.on_timer(env) {
            self.failed(env);
        }
    }

    /// The channel is connected.
    pub fn on_connected(&mut self, env: &mut Env<'_>) {
        self.channel.on_connected(env);
    }

    /// The channel's connection is gone.
    pub fn on_closed(&mut self, env: &mut Env<'_>) {
        if self.channel.on_closed(env) {
            self.failed(env);
        }
    }

    /// The controller answered. What it says of each proposal; the caller goes on with
    /// [`Self::on_timer`].
    pub fn on_response(
        &mut self,
        correlation: i32,
        response: Response,
        env: &mut Env<'_>,
    ) -> Vec<Answer> {
        if !self.channel.on_response(correlation) {
            return Vec::new();
        }
        let Response::AlterPartition(response) = response else {
            panic!("AlterPartition answered by {:?}", response.api());
        };
        if !response.error.is_none() {
            self.failed(env);
            return Vec::new();
        }
        self.in_flight = false;
        let mut answers = Vec::new();
        for (topic, results) in response.topics {
            for result in results {
                let id = TopicPartition::new(topic, result.partition);
                if let Some(item) = self.unsent.remove(&id) {
                    answers.push(Answer {
                        partition: id,
                        proposal: item.proposal,
                        result,
                    });
                }
            }
        }
        answers
    }
}
