//! The names of things: nodes, brokers, topics, partitions.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A process of the world that can be connected to. Brokers have their `node.id`, controllers
/// start at [`NodeId::FIRST_CONTROLLER`], clients at [`NodeId::FIRST_CLIENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Node id of the first dedicated controller.
    pub const FIRST_CONTROLLER: u32 = 1000;
    /// Node id of the first client process.
    pub const FIRST_CLIENT: u32 = 2000;

    /// The node that runs the broker with this `node.id`.
    pub fn of_broker(broker: BrokerId) -> NodeId {
        NodeId(broker as u32)
    }

    /// The broker id of this node, if it is a broker.
    pub fn broker(self) -> Option<BrokerId> {
        (self.0 < Self::FIRST_CONTROLLER).then_some(self.0 as BrokerId)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            id if id < Self::FIRST_CONTROLLER => write!(f, "broker {id}"),
            id if id < Self::FIRST_CLIENT => write!(f, "controller {id}"),
            id => write!(f, "client {id}"),
        }
    }
}

/// `node.id` of a broker; -1 means none (Kafka's `NO_LEADER`).
pub type BrokerId = i32;
/// No broker: an offline partition's leader.
pub const NO_BROKER: BrokerId = -1;
/// The replica id that a consumer's Fetch carries.
pub const CONSUMER_REPLICA: BrokerId = -1;
/// Grows with every change of a partition's leader.
pub type LeaderEpoch = i32;
/// The epoch that says "unknown" on the wire.
pub const NO_EPOCH: LeaderEpoch = -1;
/// Grows with every change of a partition's state (leader, ISR, replicas): KIP-497.
pub type PartitionEpoch = i32;
/// Position of a record in its partition.
pub type Offset = i64;
/// The epoch of a broker's registration, KIP-500: the metadata offset of its record.
pub type BrokerEpoch = i64;
/// Identity of an idempotent producer, KIP-98.
pub type ProducerId = i64;
/// A batch without producer id.
pub const NO_PRODUCER_ID: ProducerId = -1;

/// A topic's name, shared cheaply.
pub type TopicName = Arc<str>;

/// KIP-516 topic id: names are reused, ids are not. Aligned like a `u64`, so that the many values that
/// hold one are not padded to 16 bytes.
#[repr(Rust, packed(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub u128);

impl TopicId {
    /// The metadata log's own id in Kafka (`Uuid.METADATA_TOPIC_ID`).
    pub const METADATA: TopicId = TopicId(1);
}

/// One process of a broker, drawn anew by each. Aligned like [`TopicId`]: with 16 bytes every request and
/// whatever holds one would be padded, and allocated by the allocator's slow path.
#[repr(Rust, packed(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u128);

/// One partition of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// Which topic.
    pub topic: TopicId,
    /// Index within the topic, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: TopicId, partition: i32) -> Self {
        TopicPartition { topic, partition }
    }
}
