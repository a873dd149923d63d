//! What a fault does when it strikes.

use super::Injector;
use crate::cluster::{Cluster, TOPIC, consumer_node, machine_of};
use crate::event::{EventKind, FaultEvent};
use crate::fault::{Direction, DiskOperation, Errno, Fault, Unsynced, What, Whom};
use crate::kernel::disk::Rule;
use crate::node::Node;
use crate::world::{ApplicationId, World};
use everyack_broker::controller::AdminCommand;
use everyack_broker::disk::DiskError;
use everyack_broker::ids::*;
use everyack_broker::time::{MICROS, MILLIS};
use everyack_broker::wire::{Frame, Request};

impl Injector {
    /// Does it. Answers whether there was anything to do it to; if not, the fault has not struck.
    pub(super) async fn act(
        &mut self,
        i: usize,
        fault: &Fault,
        targets: &[NodeId],
        cluster: &Cluster,
        world: &World<Node>,
    ) -> bool {
        match fault.what {
            What::ResetConnections => self.reset_connections(targets, cluster, world),
            What::CutConnections => self.cut_connections(i, targets, cluster, world),
            What::Crash => self.crash(i, targets, cluster, world).await,
            What::PowerLoss { unsynced } => self.power_loss(i, targets, unsynced, world),
            What::ShutDown => self.shut_down(i, targets, world),
            What::Pause => self.pause(i, targets, world),
            What::DestroyDisk => self.destroy_disk(i, targets, world),
            What::FillDisk { nth } => {
                let full = Rule {
                    operation: DiskOperation::Write,
                    files: None,
                    error: DiskError::NoSpace,
                    nth,
                    lasting: true,
                };
                self.fail_disk(i, targets, full, world)
            }
            What::FailDisk {
                operation,
                files,
                nth,
                lasting,
                errno,
            } => {
                let rule = Rule {
                    operation,
                    files,
                    error: match errno {
                        Errno::Io => DiskError::Io,
                        Errno::NoSpace => DiskError::NoSpace,
                    },
                    nth,
                    lasting,
                };
                self.fail_disk(i, targets, rule, world)
            }
            What::LieAboutSyncs => self.let_disk_lie(i, targets, world),
            What::FlipBits { .. } | What::MisdirectWrite { .. } => {
                self.damage(fault, targets, cluster, world)
            }
            What::SlowDisk { stall_ms } => self.slow_disk(i, targets, stall_ms, world),
            What::ClockJump { by_ms } => {
                let jumped = FaultEvent::ClockJumped { by_ms };
                self.upset_clock(i, targets, jumped, world)
            }
            What::ClockDrift { ppm } => {
                let drifts = FaultEvent::ClockDrifts { ppm };
                self.upset_clock(i, targets, drifts, world)
            }
            What::CutFromFollowers { direction } => {
                let others = broker_nodes(cluster).collect();
                self.cut_all(i, targets, others, direction, world)
            }
            What::CutFromController { direction } => {
                self.cut_all(i, targets, vec![cluster.controller], direction, world)
            }
            What::CutFromClients { direction } => {
                let clients = producer_nodes(cluster).chain(consumer_nodes(cluster));
                self.cut_all(i, targets, clients.collect(), direction, world)
            }
            What::CutFromCluster { only_producer } => {
                let cluster_nodes = broker_nodes(cluster).chain([cluster.controller]);
                let mut others: Vec<NodeId> = cluster_nodes.collect();
                if let Some(spared) = only_producer {
                    let spared = NodeId(NodeId::FIRST_CLIENT + spared);
                    let clients = producer_nodes(cluster).chain(consumer_nodes(cluster));
                    others.extend(clients.filter(|client| *client != spared));
                }
                self.cut_all(i, targets, others, Direction::Both, world)
            }
            What::MoveLeader => move_leader(targets, fault, cluster, world),
            What::SlowLinks { extra_us } => self.slow_links(i, targets, extra_us, cluster, world),
            What::SlowCopies { extra_us } => self.slow_copies(i, targets, extra_us, cluster, world),
            What::LateMetadata { extra_us } => {
                for &target in targets {
                    self.slow(i, cluster.controller, target, extra_us, world);
                    let slowed = FaultEvent::MetadataSlowed { extra_us };
                    world.record(target, EventKind::Fault(slowed));
                }
                true
            }
            What::HoldIsrProposals => self.hold_proposals(i, targets, world),
            What::GiveLeadership => give_leadership(targets, cluster, world),
            What::StartConsumers => {
                self.consumers_wanted = true;
                true
            }
            What::FailProcessing { records, times } => {
                for &node in targets {
                    world.break_handler(node, records, times);
                    let fails = FaultEvent::HandlerFails { records, times };
                    world.record(node, EventKind::Fault(fails));
                    self.outages[i].handlers.push(node);
                }
                true
            }
        }
    }

    fn reset_connections(
        &self,
        targets: &[NodeId],
        cluster: &Cluster,
        world: &World<Node>,
    ) -> bool {
        for &leader in targets {
            for producer in producer_nodes(cluster) {
                if world.kernel().reset_connections(producer, leader) > 0 {
                    let event = FaultEvent::ConnectionReset { to: leader };
                    world.record(producer, EventKind::Fault(event));
                }
            }
        }
        true
    }

    fn cut_connections(
        &mut self,
        i: usize,
        targets: &[NodeId],
        cluster: &Cluster,
        world: &World<Node>,
    ) -> bool {
        for &leader in targets {
            for producer in producer_nodes(cluster) {
                self.cut(i, producer, leader, world);
                self.cut(i, leader, producer, world);
            }
        }
        true
    }

    fn cut_all(
        &mut self,
        i: usize,
        targets: &[NodeId],
        others: Vec<NodeId>,
        direction: Direction,
        world: &World<Node>,
    ) -> bool {
        for &target in targets {
            for &other in others.iter().filter(|o| **o != target) {
                if direction != Direction::Inbound {
                    self.cut(i, target, other, world);
                }
                if direction != Direction::Outbound {
                    self.cut(i, other, target, world);
                }
            }
        }
        true
    }

    fn cut(&mut self, i: usize, from: NodeId, to: NodeId, world: &World<Node>) {
        let count = self.cuts.entry((from, to)).or_default();
        *count += 1;
        if *count == 1 {
            world.kernel().cut(from, to);
            world.record(from, EventKind::Fault(FaultEvent::LinkCut { to }));
        }
        self.outages[i].links.push((from, to));
    }

    async fn crash(
        &mut self,
        i: usize,
        targets: &[NodeId],
        cluster: &Cluster,
        world: &World<Node>,
    ) -> bool {
        let mut done = false;
        for &target in targets {
            if let Some(application) = application_of(target, cluster) {
                if world.kill_application(application).await {
                    world.record(target, EventKind::Fault(FaultEvent::Killed));
                    self.outages[i].application = Some(application);
                    done = true;
                } else if is_finished_producer(target, cluster, world) {
                    // It has ended in order: nothing is left that could be killed.
                    done = true;
                }
            } else {
                let killed = world.kernel().kill(target);
                if killed {
                    world.record(target, EventKind::Fault(FaultEvent::Killed));
                    self.outages[i].brokers.push(target.0 as BrokerId);
                }
                done |= killed;
            }
        }
        done
    }

    fn power_loss(
        &mut self,
        i: usize,
        targets: &[NodeId],
        unsynced: Unsynced,
        world: &World<Node>,
    ) -> bool {
        let mut done = false;
        for &target in targets {
            let lost = world.kernel().power_off(machine_of(target), unsynced);
            if let Some((unsynced_bytes, kept_bytes)) = lost {
                let event = FaultEvent::PowerLost {
                    unsynced_bytes,
                    kept_bytes,
                };
                world.record(target, EventKind::Fault(event));
                self.outages[i].brokers.push(target.0 as BrokerId);
                done = true;
            }
        }
        done
    }

    fn shut_down(&mut self, i: usize, targets: &[NodeId], world: &World<Node>) -> bool {
        let mut done = false;
        for &target in targets {
            let kernel = world.kernel();
            let runs = kernel.is_alive(target) && !kernel.is_paused(target);
            drop(kernel);
            if runs {
                world.record(target, EventKind::Fault(FaultEvent::ShutDownAsked));
                self.outages[i].shut_down.push(target);
                world.kernel().shut_down(target);
                done = true;
            }
        }
        done
    }

    fn pause(&mut self, i: usize, targets: &[NodeId], world: &World<Node>) -> bool {
        let mut done = false;
        for &target in targets {
            if world.kernel().pause(target) {
                world.record(target, EventKind::Fault(FaultEvent::Paused));
                self.outages[i].paused.push(target);
                done = true;
            }
        }
        done
    }

    fn destroy_disk(&mut self, i: usize, targets: &[NodeId], world: &World<Node>) -> bool {
        let mut done = false;
        for &target in targets {
            if world.kernel().kill(target) {
                world.record(target, EventKind::Fault(FaultEvent::Killed));
                world.kernel().replace_disk(machine_of(target));
                world.record(target, EventKind::Fault(FaultEvent::DiskDestroyed));
                self.outages[i].brokers.push(target.0 as BrokerId);
                done = true;
            }
        }
        done
    }

    /// Whether no other fault has hold of the disk, so that the end of one does not mend another's.
    fn is_disk_free(&self, node: NodeId) -> bool {
        !self.outages.iter().any(|o| o.disks.contains(&node))
    }

    fn fail_disk(&mut self, i: usize, targets: &[NodeId], rule: Rule, world: &World<Node>) -> bool {
        let mut done = false;
        for &target in targets {
            if world.kernel().is_alive(target) && self.is_disk_free(target) {
                let machine = machine_of(target);
                let fails = FaultEvent::DiskFails {
                    operation: rule.operation,
                    files: rule.files,
                    error: rule.error,
                    nth: rule.nth,
                };
                world.record(target, EventKind::Fault(fails));
                world.kernel().fail_disk(machine, rule);
                self.outages[i].disks.push(target);
                done = true;
            }
        }
        done
    }

    fn let_disk_lie(&mut self, i: usize, targets: &[NodeId], world: &World<Node>) -> bool {
        let mut done = false;
        for &target in targets {
            if self.is_disk_free(target) {
                world.record(target, EventKind::Fault(FaultEvent::DiskLies));
                world.kernel().let_disk_lie(machine_of(target));
                self.outages[i].disks.push(target);
                done = true;
            }
        }
        done
    }

    fn slow_disk(
        &mut self,
        i: usize,
        targets: &[NodeId],
        stall_ms: u64,
        world: &World<Node>,
    ) -> bool {
        let mut done = false;
        for &target in targets {
            if self.is_disk_free(target) {
                let slowed = FaultEvent::DiskSlowed { stall_ms };
                world.record(target, EventKind::Fault(slowed));
                let stall = stall_ms.saturating_mul(MILLIS);
                world.kernel().stall_disk(machine_of(target), stall);
                self.outages[i].disks.push(target);
                done = true;
            }
        }
        done
    }

    fn upset_clock(
        &mut self,
        i: usize,
        targets: &[NodeId],
        how: FaultEvent,
        world: &World<Node>,
    ) -> bool {
        let mut done = false;
        for &target in targets {
            if self.outages.iter().any(|o| o.clocks.contains(&target)) {
                continue;
            }
            let machine = machine_of(target);
            match how {
                FaultEvent::ClockJumped { by_ms } => world.kernel().jump_clock(machine, by_ms),
                FaultEvent::ClockDrifts { ppm } => world.kernel().drift_clock(machine, ppm),
                ref other => panic!("{other:?} is nothing that happens to a clock"),
            }
            world.record(target, EventKind::Fault(how.clone()));
            self.outages[i].clocks.push(target);
            done = true;
        }
        done
    }

    fn slow(&mut self, i: usize, from: NodeId, to: NodeId, extra_us: u64, world: &World<Node>) {
        let extra = extra_us * MICROS;
        world.kernel().set_extra_latency(from, to, extra);
        self.outages[i].slowed.push((from, to));
    }

    fn slow_copies(
        &mut self,
        i: usize,
        targets: &[NodeId],
        extra_us: u64,
        cluster: &Cluster,
        world: &World<Node>,
    ) -> bool {
        for &target in targets {
            for other in broker_nodes(cluster).filter(|other| *other != target) {
                self.slow(i, other, target, extra_us, world);
            }
            let slowed = FaultEvent::CopiesSlowed { extra_us };
            world.record(target, EventKind::Fault(slowed));
        }
        true
    }

    fn hold_proposals(&mut self, i: usize, targets: &[NodeId], world: &World<Node>) -> bool {
        let is_proposal = |frame: &Frame| match frame {
            Frame::Request(_, request) => matches!(**request, Request::AlterPartition(_)),
            Frame::Response(..) => false,
        };
        for &target in targets {
            world.kernel().hold_sends(target, is_proposal);
            world.record(target, EventKind::Fault(FaultEvent::IsrProposalsHeld));
            self.outages[i].held.push(target);
        }
        true
    }

    fn slow_links(
        &mut self,
        i: usize,
        targets: &[NodeId],
        extra_us: u64,
        cluster: &Cluster,
        world: &World<Node>,
    ) -> bool {
        for &target in targets {
            for other in broker_nodes(cluster).filter(|other| *other != target) {
                self.slow(i, target, other, extra_us, world);
            }
            let slowed = FaultEvent::LinksSlowed { extra_us };
            world.record(target, EventKind::Fault(slowed));
        }
        true
    }
}

fn broker_nodes(cluster: &Cluster) -> impl Iterator<Item = NodeId> + use<'_> {
    cluster.brokers.iter().map(|b| NodeId::of_broker(*b))
}

/// The consumers, and the producers for dead letters beside them.
fn consumer_nodes(cluster: &Cluster) -> impl Iterator<Item = NodeId> + use<> {
    let consumers = (0..cluster.consumers.len() as u32).map(consumer_node);
    consumers.chain(cluster.dead_letter_nodes())
}

pub(super) fn producer_nodes(cluster: &Cluster) -> impl Iterator<Item = NodeId> + use<> {
    (0..cluster.producers.len() as u32).map(|n| NodeId(NodeId::FIRST_CLIENT + n))
}

fn application_of(node: NodeId, cluster: &Cluster) -> Option<ApplicationId> {
    let n = node.0.checked_sub(NodeId::FIRST_CLIENT)? as usize;
    let consumers = (consumer_node(0).0 - NodeId::FIRST_CLIENT) as usize;
    match n.checked_sub(consumers) {
        Some(index) => cluster.consumers.get(index).copied(),
        None => cluster.producers.get(n).copied(),
    }
}

fn is_finished_producer(node: NodeId, cluster: &Cluster, world: &World<Node>) -> bool {
    node.0 < consumer_node(0).0
        && application_of(node, cluster).is_some_and(|application| !world.is_running(application))
}

fn move_leader(targets: &[NodeId], fault: &Fault, cluster: &Cluster, world: &World<Node>) -> bool {
    let Whom::LeaderOf(partition) = fault.whom else {
        panic!("a leadership is moved away from the leader of a partition: {fault:?}");
    };
    let id = TopicPartition::new(TOPIC, partition);
    let to = {
        let kernel = world.kernel();
        let image = cluster.image(&kernel);
        let state = image.partition(id).expect("the topic exists");
        // The next replica in the order of the assignment, so that moves go round.
        let replicas = &cluster.assignment[partition as usize];
        let leader = targets[0].0 as BrokerId;
        let at = replicas.iter().position(|b| *b == leader).unwrap_or(0);
        (1..replicas.len())
            .map(|step| replicas[(at + step) % replicas.len()])
            .find(|b| state.isr.contains(b) && image.is_active(*b))
    };
    let Some(to) = to else {
        // With one replica there is nobody to move to, and the family runs all the same.
        return cluster.assignment[partition as usize].len() == 1;
    };
    let event = FaultEvent::LeaderMoveAsked { partition };
    world.record(NodeId::of_broker(to), EventKind::Fault(event));
    let command = AdminCommand::MoveLeader { partition: id, to };
    world.kernel().admin(cluster.controller, command)
}

/// Answers true where there is nothing to give: who leads partition 0 already, or has no replica of it.
fn give_leadership(targets: &[NodeId], cluster: &Cluster, world: &World<Node>) -> bool {
    let (id, to) = (TopicPartition::new(TOPIC, 0), targets[0].0 as BrokerId);
    let is_ready = {
        let kernel = world.kernel();
        if !cluster.assignment[0].contains(&to) || cluster.leader(&kernel, 0) == Some(to) {
            return true;
        }
        let image = cluster.image(&kernel);
        let state = image.partition(id).expect("the topic exists");
        state.isr.contains(&to) && image.is_active(to)
    };
    if !is_ready {
        return false;
    }
    let event = FaultEvent::LeaderMoveAsked { partition: 0 };
    world.record(targets[0], EventKind::Fault(event));
    let command = AdminCommand::MoveLeader { partition: id, to };
    world.kernel().admin(cluster.controller, command)
}
