//! What an operator asks of the controller.

use crate::ids::*;

/// An operator's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminCommand {
    /// Makes `to`, a replica, the preferred one and moves the leadership to it, as a replica
    /// reordering followed by a preferred election does. Nothing happens where `to` is fenced or
    /// outside the ISR.
    MoveLeader {
        /// Which partition.
        partition: TopicPartition,
        /// The new leader.
        to: BrokerId,
    },
}

/// A topic that exists from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: TopicName,
    /// Id.
    pub id: TopicId,
    /// Replicas of each partition, preferred leader first.
    pub assignment: Vec<Vec<BrokerId>>,
    /// Topic-level settings in Kafka's own names.
    pub configs: Vec<(String, String)>,
}
