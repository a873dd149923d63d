//! Whether a record is where a fault can take it ([`crate::fault::family::Exposure`]).

use super::act::producer_nodes;
use super::{Injector, State};
use crate::cluster::Cluster;
use crate::fault::{Fault, What};
use crate::kernel::Kernel;
use crate::node::Node;
use crate::world::World;
use everyack_broker::ids::*;

impl Injector {
    /// Whether a record is now where the fault can take it. `on_the_way` says that acks=0 messages
    /// were sent which no leader has appended.
    pub(super) fn is_exposed(
        &self,
        fault: &Fault,
        targets: &[NodeId],
        on_the_way: bool,
        cluster: &Cluster,
        world: &World<Node>,
    ) -> bool {
        let kernel = world.kernel();
        let unanswered = |node: NodeId| match kernel.process(node) {
            Some(Node::Producer(producer)) => producer.pending() > 0,
            _ => false,
        };
        let any_unanswered = || producer_nodes(cluster).any(unanswered);
        let at_risk = || targets.iter().flat_map(|t| led_by(*t, cluster, &kernel));
        match fault.what {
            What::SlowLinks { .. }
            | What::SlowCopies { .. }
            | What::LateMetadata { .. }
            | What::HoldIsrProposals
            | What::LieAboutSyncs => false,
            // What was damaged shows when it is.
            What::FlipBits { .. } | What::MisdirectWrite { .. } => false,
            // Its target is who gets the leadership.
            What::GiveLeadership => on_the_way || !cluster.is_copied(&kernel, 0),
            What::ResetConnections | What::CutConnections => on_the_way || any_unanswered(),
            What::FailProcessing { .. } => self.is_anything_in_hand(),
            What::StartConsumers => (0..cluster.assignment.len() as i32).any(|p| {
                cluster.assignment[p as usize].iter().any(|b| {
                    let replica = cluster.replica(&kernel, *b, p);
                    replica.is_some_and(|r| r.log.log_end_offset() > 0)
                })
            }),
            What::Crash if targets[0].broker().is_none() => targets.iter().any(|t| {
                let in_hand = self.in_hand.is_any_at(*t);
                unanswered(*t) || in_hand || cluster.is_commit_behind(&kernel, *t)
            }),
            What::PowerLoss { .. } => {
                // Not yet synced on every replica, and be it that one has no copy yet.
                on_the_way
                    || at_risk().any(|p| {
                        let unsynced = cluster.assignment[p as usize].iter().any(|b| {
                            let replica = cluster.replica(&kernel, *b, p);
                            replica.is_some_and(|r| r.log.unflushed_messages() > 0)
                        });
                        unsynced
                            || !cluster.is_copied(&kernel, p)
                            || (self.is_lied_to(targets) && !cluster.is_on_devices(&kernel, p))
                    })
            }
            What::Crash
            | What::CutFromFollowers { .. }
            | What::CutFromController { .. }
            | What::CutFromClients { .. }
            | What::CutFromCluster { .. }
            | What::ShutDown
            | What::Pause
            | What::DestroyDisk
            | What::FillDisk { .. }
            | What::FailDisk { .. }
            | What::SlowDisk { .. }
            | What::ClockJump { .. }
            | What::ClockDrift { .. }
            | What::MoveLeader => {
                on_the_way
                    || (cluster.assignment[0].len() == 1 && any_unanswered())
                    || at_risk().any(|p| !cluster.is_copied(&kernel, p))
            }
        }
    }

    /// Whether the disk of one of these says of syncs that they are done, and keeps nothing.
    fn is_lied_to(&self, targets: &[NodeId]) -> bool {
        (0..self.plan.faults.len())
            .filter(|i| self.plan.faults[*i].what == What::LieAboutSyncs)
            .any(|i| {
                self.outages[i]
                    .disks
                    .iter()
                    .any(|node| targets.contains(node))
            })
    }

    /// An operation of a disk has failed just now, and the process may have ended over it: whether a
    /// record of a partition that it led is not on every replica.
    pub(super) fn look_at_failed_disk(
        &mut self,
        node: NodeId,
        cluster: &Cluster,
        world: &World<Node>,
    ) {
        let kernel = world.kernel();
        let outages = &self.outages;
        let fault = |i: usize| outages[i].disks.contains(&node);
        let struck = self.struck.iter_mut().filter(|s| !s.exposed);
        for struck in struck.filter(|s| fault(s.fault)) {
            struck.exposed = led_by(node, cluster, &kernel).any(|p| !cluster.is_copied(&kernel, p));
        }
    }

    /// Looks again, while an outage lasts, whether a record has come to where it can take it: what a cut,
    /// a disk or a clock puts at risk is appended after it began.
    pub fn look_for_exposure(&mut self, cluster: &Cluster, world: &World<Node>) {
        let kernel = world.kernel();
        for struck in self.struck.iter_mut().filter(|s| !s.exposed) {
            let what = self.plan.faults[struck.fault].what;
            if self.states[struck.fault] != State::Struck || !takes_what_comes_later(what) {
                continue;
            }
            // Whoever believes to lead: the controller may have elected another.
            let leads = |node: u32, p: i32| {
                let own = cluster.replica(&kernel, node as BrokerId, p);
                own.is_some_and(|r| r.is_leader())
            };
            struck.exposed = (0..cluster.assignment.len() as i32).any(|p| {
                let concerned = match what {
                    What::SlowDisk { .. } | What::ClockJump { .. } | What::ClockDrift { .. } => {
                        let replicas = cluster.assignment[p as usize].iter();
                        replicas.clone().any(|b| leads(*b as u32, p))
                            && struck
                                .nodes
                                .iter()
                                .any(|n| replicas.clone().any(|b| *b as u32 == *n))
                    }
                    _ => struck.nodes.iter().any(|n| leads(*n, p)),
                };
                concerned && !cluster.is_copied(&kernel, p)
            });
        }
    }
}

/// Whether a fault endangers records that are appended while its outage lasts.
fn takes_what_comes_later(what: What) -> bool {
    matches!(
        what,
        What::CutFromFollowers { .. }
            | What::CutFromController { .. }
            | What::CutFromClients { .. }
            | What::CutFromCluster { .. }
            | What::FillDisk { .. }
            | What::FailDisk { .. }
            | What::SlowDisk { .. }
            | What::ClockJump { .. }
            | What::ClockDrift { .. }
    )
}

fn led_by<'k>(
    node: NodeId,
    cluster: &'k Cluster,
    kernel: &'k Kernel<Node>,
) -> impl Iterator<Item = i32> + 'k {
    let broker = node.0 as BrokerId;
    (0..cluster.assignment.len() as i32).filter(move |p| cluster.leader(kernel, *p) == Some(broker))
}
