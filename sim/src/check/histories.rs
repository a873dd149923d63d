//! Words for the histories that the invariants' tests tell.

use everyack_broker::fact::Fact;
use everyack_broker::ids::*;

pub const P: TopicPartition = TopicPartition {
    topic: TopicId(7),
    partition: 0,
};
pub const A: NodeId = NodeId(1);
pub const B: NodeId = NodeId(2);
pub const CONTROLLER: NodeId = NodeId(NodeId::FIRST_CONTROLLER);

pub fn leads(node: NodeId, leader_epoch: LeaderEpoch, log_end: Offset) -> (NodeId, Fact) {
    let partition = P;
    let fact = Fact::BecameLeader {
        partition,
        leader_epoch,
        log_end,
    };
    (node, fact)
}

pub fn follows(node: NodeId, leader_epoch: LeaderEpoch, leader: NodeId) -> (NodeId, Fact) {
    let fact = Fact::BecameFollower {
        partition: P,
        leader_epoch,
        leader: leader.broker().expect("a broker"),
    };
    (node, fact)
}

/// A leader's append of one record; `prefix` stands for the log up to it.
pub fn appended(node: NodeId, offset: Offset, prefix: u64) -> (NodeId, Fact) {
    let (node, mut fact) = copied(node, offset, offset, prefix);
    if let Fact::Appended { as_leader, .. } = &mut fact {
        *as_leader = true;
    }
    (node, fact)
}

/// A follower's append of several.
pub fn copied(node: NodeId, from: Offset, to: Offset, prefix: u64) -> (NodeId, Fact) {
    let fact = Fact::Appended {
        partition: P,
        base_offset: from,
        last_offset: to,
        leader_epoch: 0,
        prefix,
        as_leader: false,
    };
    (node, fact)
}

pub fn truncated(node: NodeId, from: Offset, to: Offset) -> (NodeId, Fact) {
    let fact = Fact::Truncated {
        partition: P,
        from,
        to,
        high_watermark: 0,
        anew: false,
    };
    (node, fact)
}

pub fn high_watermark(node: NodeId, offset: Offset) -> (NodeId, Fact) {
    let fact = Fact::HighWatermark {
        partition: P,
        offset,
        as_leader: false,
    };
    (node, fact)
}

/// A leader's high watermark moves.
pub fn moved(node: NodeId, offset: Offset) -> (NodeId, Fact) {
    let (node, mut fact) = high_watermark(node, offset);
    if let Fact::HighWatermark { as_leader, .. } = &mut fact {
        *as_leader = true;
    }
    (node, fact)
}

/// The controller changes the partition.
pub fn changed(
    leader: BrokerId,
    leader_epoch: LeaderEpoch,
    isr: &[BrokerId],
    unclean: bool,
) -> (NodeId, Fact) {
    let fact = Fact::PartitionChanged {
        partition: P,
        leader,
        leader_epoch,
        isr: isr.to_vec(),
        unclean,
    };
    (CONTROLLER, fact)
}
