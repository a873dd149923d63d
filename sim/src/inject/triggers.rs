//! Which events a fault waits for, and the roles that a fault's target can have.

use super::{Injector, partition_0};
use crate::cluster::{Cluster, TOPIC, consumer_node};
use crate::event::{ClientEvent, Event, EventKind};
use crate::fault::{Fault, Trigger, Whom};
use crate::node::Node;
use crate::world::World;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;

impl Injector {
    pub(super) fn matches(
        &self,
        trigger: Trigger,
        event: &Event,
        cluster: &Cluster,
        world: &World<Node>,
    ) -> bool {
        match (&event.kind, trigger) {
            (EventKind::Client(ClientEvent::Acked(id, offset)), _) if id.partition == 0 => {
                match trigger {
                    Trigger::Acked => true,
                    Trigger::AckedUnreplicated => {
                        *offset < 0 || !is_replicated(*offset, cluster, world)
                    }
                    Trigger::AckedUnsynced => *offset < 0 || !is_synced(*offset, cluster, world),
                    _ => false,
                }
            }
            (EventKind::Client(client), trigger) => match (client, trigger) {
                (ClientEvent::Processed { .. }, Trigger::Processed)
                | (ClientEvent::CommitDone, Trigger::Committed) => true,
                (ClientEvent::Polled(n), Trigger::Polled) => *n > 0,
                _ => false,
            },
            (EventKind::Fact(fact), trigger) => self.fact_matches(trigger, fact, cluster),
            (EventKind::Fault(_), _) => false,
        }
    }

    fn fact_matches(&self, trigger: Trigger, fact: &Fact, cluster: &Cluster) -> bool {
        match (fact, trigger) {
            (
                Fact::Appended {
                    partition,
                    as_leader: true,
                    ..
                },
                Trigger::Appended | Trigger::AppendedUnreplicated,
            )
            | (Fact::BecameLeader { partition, .. }, Trigger::LeaderApplied) => {
                *partition == partition_0()
            }
            (Fact::ProduceArrived { partition, .. }, Trigger::ProduceArrived) => {
                *partition == partition_0()
            }
            (
                Fact::Appended {
                    partition,
                    as_leader: true,
                    ..
                },
                Trigger::IsrIsLeader,
            ) => *partition == partition_0() && cluster.assignment[0].len() == 1,
            (
                Fact::PartitionChanged {
                    partition,
                    leader,
                    isr,
                    ..
                },
                trigger,
            ) if *partition == partition_0() => match trigger {
                Trigger::IsrIsLeader => {
                    isr.len() == 1 && isr[0] == *leader && cluster.assignment[0].len() > 1
                }
                // The books have not been told yet: this is still the leader before.
                Trigger::LeaderElected => *leader != NO_BROKER && *leader != self.leader_of_0,
                _ => false,
            },
            (Fact::BrokerFenced { broker }, Trigger::LeaderFenced) => *broker == self.leader_of_0,
            (Fact::BrokerUnfenced { .. }, Trigger::Unfenced) => true,
            (Fact::IsrProposed { partition, .. }, Trigger::IsrProposed) => {
                *partition == partition_0()
            }
            (
                Fact::OffsetCommitted {
                    partition, offset, ..
                },
                Trigger::CommittedUnprocessed,
            ) if partition.topic == TOPIC => {
                let reader = cluster.reader_of(partition.partition);
                self.in_hand
                    .is_any_below(reader, partition.partition, *offset)
            }
            _ => false,
        }
    }

    /// The nodes that have the role at this moment; none where nobody has it.
    pub(super) fn bind(
        &self,
        fault: &Fault,
        i: usize,
        cluster: &Cluster,
        world: &World<Node>,
    ) -> Vec<NodeId> {
        let kernel = world.kernel();
        let brokers: Vec<BrokerId> = match fault.whom {
            Whom::LeaderOf(p) => cluster.leader(&kernel, p).into_iter().collect(),
            Whom::FollowerOf(p, n) => {
                let leader = cluster.leader(&kernel, p);
                follower(p, n, leader, cluster).into_iter().collect()
            }
            Whom::LeaderAndFollowerOf(p, n) => match cluster.leader(&kernel, p) {
                Some(leader) => {
                    let follower = follower(p, n, Some(leader), cluster);
                    [leader].into_iter().chain(follower).collect()
                }
                None => Vec::new(),
            },
            Whom::ReplicaOf(p, n) => replica(p, n, cluster).into_iter().collect(),
            Whom::SameAs(other) => {
                let struck = self.struck.iter().find(|s| s.fault == other);
                return struck.map_or(Vec::new(), |s| s.nodes.iter().map(|n| NodeId(*n)).collect());
            }
            Whom::Broker(b) => vec![b],
            Whom::AllBrokers => cluster.brokers.clone(),
            Whom::Producer(n) => return vec![NodeId(NodeId::FIRST_CLIENT + n)],
            Whom::Consumer(n) => return vec![consumer_node(n)],
            Whom::WhereItHappened => return self.origins[i].into_iter().collect(),
        };
        brokers.into_iter().map(NodeId::of_broker).collect()
    }
}

/// The n-th follower of a partition by broker id; with one replica, of the brokers without one.
fn follower(
    partition: i32,
    n: u32,
    leader: Option<BrokerId>,
    cluster: &Cluster,
) -> Option<BrokerId> {
    let replicas = &cluster.assignment[partition as usize];
    let others = match replicas.len() {
        1 => &cluster.brokers,
        _ => replicas,
    };
    let mut others: Vec<BrokerId> = others.clone();
    others.retain(|b| Some(*b) != leader);
    others.sort_unstable();
    others.get(n as usize).copied()
}

/// The n-th broker of a partition's assignment, then of the brokers without a replica.
fn replica(partition: i32, n: u32, cluster: &Cluster) -> Option<BrokerId> {
    let replicas = &cluster.assignment[partition as usize];
    let without = cluster.brokers.iter().filter(|b| !replicas.contains(b));
    replicas.iter().chain(without).nth(n as usize).copied()
}

/// Whether some in-sync replica other than the leader of partition 0 has the record.
fn is_replicated(offset: Offset, cluster: &Cluster, world: &World<Node>) -> bool {
    let kernel = world.kernel();
    if cluster.assignment[0].len() == 1 {
        return false;
    }
    let Some(state) = cluster.image(&kernel).partition(partition_0()) else {
        return false;
    };
    state.isr.iter().filter(|b| **b != state.leader).any(|b| {
        let replica = cluster.replica(&kernel, *b, 0);
        replica.is_some_and(|r| r.log.log_end_offset() > offset)
    })
}

/// Whether every replica of partition 0 has made the record durable.
fn is_synced(offset: Offset, cluster: &Cluster, world: &World<Node>) -> bool {
    let kernel = world.kernel();
    cluster.assignment[0].iter().all(|b| {
        let replica = cluster.replica(&kernel, *b, 0);
        replica.is_some_and(|r| r.log.recovery_point() > offset)
    })
}

/// Where an event happened, to an application: a commit is the reader's, though a broker tells of it.
pub(super) fn origin_of(event: &Event, cluster: &Cluster) -> NodeId {
    match &event.kind {
        EventKind::Fact(Fact::OffsetCommitted { partition, .. }) => {
            cluster.reader_of(partition.partition)
        }
        _ => event.node,
    }
}

/// Whether the ISR of partition 0 is its leader alone, where it can be more.
pub(super) fn isr_is_leader(cluster: &Cluster, world: &World<Node>) -> bool {
    let kernel = world.kernel();
    let state = cluster.image(&kernel).partition(partition_0());
    state.is_some_and(|s| s.replicas.len() > 1 && s.isr.len() == 1 && s.isr[0] == s.leader)
}
