//! Doing what a fault plan says: when a fault strikes, to whom, and when its outage ends.
//!
//! Cuts of one link by several faults are counted, so that the end of one does not heal what another
//! still holds. A fault whose role nobody has at the moment (a partition without leader) waits for
//! somebody to take it.

use crate::cluster::{Cluster, TOPIC, consumer_node, machine_of};
use crate::event::{ClientEvent, Event, EventKind, FaultEvent};
use crate::fault::{Direction, Fault, FaultPlan, Trigger, What, When, Whom};
use crate::node::Node;
use crate::result::StruckFault;
use crate::world::{ApplicationId, World};
use everyack_broker::controller::AdminCommand;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;
use everyack_broker::time::{MICROS, MILLIS, Nanos};
use std::collections::{BTreeMap, BTreeSet};

/// How long a fault waits before it looks again for somebody in its role.
const LOOK_AGAIN: Nanos = 10 * MILLIS;

/// Control tokens of the injector: the fault's index below.
const STRIKE: u64 = 1 << 32;
const END: u64 = 2 << 32;

/// Where a fault is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    /// A strike is scheduled.
    Due,
    Struck,
    Ended,
}

/// What was done to whom, to be undone at the end of the outage.
#[derive(Debug, Clone, Default)]
struct Outage {
    brokers: Vec<BrokerId>,
    links: Vec<(NodeId, NodeId)>,
    slowed: Vec<(NodeId, NodeId)>,
    application: Option<ApplicationId>,
}

/// Executes one plan.
pub struct Injector {
    plan: FaultPlan,
    states: Vec<State>,
    outages: Vec<Outage>,
    counts: Vec<u32>,
    /// Node at which the event that set a fault off happened.
    origins: Vec<Option<NodeId>>,
    cuts: BTreeMap<(NodeId, NodeId), u32>,
    struck: Vec<StruckFault>,
    leader_of_0: BrokerId,
    /// Records delivered and not processed yet, by consumer.
    in_hand: BTreeMap<NodeId, BTreeSet<(i32, Offset)>>,
    consumers_wanted: bool,
}

impl Injector {
    /// For a plan; nothing strikes before [`Self::begin`].
    pub fn new(plan: FaultPlan) -> Injector {
        let n = plan.faults.len();
        Injector {
            plan,
            states: vec![State::Waiting; n],
            outages: vec![Outage::default(); n],
            counts: vec![0; n],
            origins: vec![None; n],
            cuts: BTreeMap::new(),
            struck: Vec::new(),
            leader_of_0: NO_BROKER,
            in_hand: BTreeMap::new(),
            consumers_wanted: false,
        }
    }

    /// Whether the plan itself starts the consumers.
    pub fn starts_consumers(&self) -> bool {
        self.plan
            .faults
            .iter()
            .any(|f| f.what == What::StartConsumers)
    }

    /// Whether a fault asked for the consumers to start since this was last called.
    pub fn take_consumers_wanted(&mut self) -> bool {
        std::mem::take(&mut self.consumers_wanted)
    }

    /// Records that some application holds unprocessed.
    pub fn is_anything_in_hand(&self) -> bool {
        self.in_hand.values().any(|records| !records.is_empty())
    }

    /// What struck so far.
    pub fn struck(&self) -> &[StruckFault] {
        &self.struck
    }

    /// Looks again, while an outage lasts, whether a record has come to where a cut can take it: what a
    /// cut puts at risk is appended after it began.
    pub fn look_for_exposure(&mut self, cluster: &Cluster, world: &World<Node>) {
        let kernel = world.kernel();
        for struck in self.struck.iter_mut().filter(|s| !s.exposed) {
            let what = self.plan.faults[struck.fault].what;
            let is_cut = matches!(
                what,
                What::CutFromFollowers { .. } | What::CutFromController { .. }
            );
            if !is_cut || self.states[struck.fault] != State::Struck {
                continue;
            }
            struck.exposed = struck.nodes.iter().any(|n| {
                (0..cluster.assignment.len() as i32).any(|p| {
                    let own = cluster.replica(&kernel, *n as BrokerId, p);
                    own.is_some_and(|r| r.is_leader()) && !cluster.is_copied(&kernel, p)
                })
            });
        }
    }

    /// Whether the plan did what it is there for: some fault other than a preparation has struck.
    pub fn has_fired(&self) -> bool {
        self.struck.iter().any(|s| {
            let what = self.plan.faults[s.fault].what;
            !matches!(what, What::SlowLinks { .. })
        })
    }

    /// Whether every fault has struck and every outage has ended.
    pub fn is_over(&self) -> bool {
        self.states.iter().all(|s| *s == State::Ended)
    }

    /// The producers start now.
    pub fn begin(&mut self, world: &World<Node>) {
        let now = world.now();
        for (i, fault) in self.plan.faults.iter().enumerate() {
            if let When::AtUs(us) = fault.when {
                self.states[i] = State::Due;
                world.kernel().control(now + us * MICROS, STRIKE | i as u64);
            }
        }
    }

    fn schedule(&mut self, i: usize, delay: Nanos, world: &World<Node>) {
        self.states[i] = State::Due;
        let at = world.now() + delay;
        world.kernel().control(at, STRIKE | i as u64);
    }

    /// Whether a control token is the injector's.
    pub fn owns(token: u64) -> bool {
        token >> 32 == STRIKE >> 32 || token >> 32 == END >> 32
    }

    /// A control event of the injector is due. `on_the_way`: acks=0 messages were sent that no leader
    /// has appended.
    pub async fn control(
        &mut self,
        token: u64,
        on_the_way: bool,
        cluster: &Cluster,
        world: &World<Node>,
    ) {
        let i = (token & 0xffff_ffff) as usize;
        if token & END != 0 {
            if self.states[i] == State::Struck {
                self.end(i, cluster, world).await;
            }
        } else if self.states[i] == State::Due {
            self.strike(i, on_the_way, cluster, world).await;
        }
    }

    /// Keeps the books of what applications hold, from the start of the run on.
    pub fn keep_books(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Client(ClientEvent::Delivered { message, offset }) => {
                let records = self.in_hand.entry(event.node).or_default();
                records.insert((message.partition, *offset));
            }
            EventKind::Client(ClientEvent::Processed { message, offset }) => {
                if let Some(records) = self.in_hand.get_mut(&event.node) {
                    records.remove(&(message.partition, *offset));
                }
            }
            EventKind::Fault(FaultEvent::Killed) => {
                self.in_hand.remove(&event.node);
            }
            EventKind::Fact(Fact::PartitionChanged {
                partition, leader, ..
            }) if *partition == partition_0() => self.leader_of_0 = *leader,
            _ => {}
        }
    }

    /// Counts an event for the faults that wait for its kind.
    pub fn see(&mut self, event: &Event, cluster: &Cluster, world: &World<Node>) {
        for i in 0..self.states.len() {
            if self.states[i] != State::Waiting {
                continue;
            }
            let When::After {
                event: trigger,
                nth,
                delay_us,
            } = self.plan.faults[i].when
            else {
                continue;
            };
            if self.matches(trigger, event, cluster, world) {
                self.counts[i] += 1;
                if self.counts[i] == nth.max(1) {
                    self.origins[i] = Some(origin_of(event, cluster));
                    self.schedule(i, delay_us * MICROS, world);
                }
            }
        }
    }

    /// A Produce request was sent to the leader of partition 0.
    pub fn produce_sent(&mut self, to: NodeId, world: &World<Node>) {
        for i in 0..self.states.len() {
            if let When::After {
                event: Trigger::ProduceInFlight,
                nth,
                delay_us,
            } = self.plan.faults[i].when
                && self.states[i] == State::Waiting
                && to == NodeId::of_broker(self.leader_of_0)
            {
                self.counts[i] += 1;
                if self.counts[i] == nth.max(1) {
                    self.schedule(i, delay_us * MICROS, world);
                }
            }
        }
    }

    fn matches(
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
            (
                Fact::OffsetCommitted {
                    partition, offset, ..
                },
                Trigger::CommittedUnprocessed,
            ) if partition.topic == TOPIC => {
                let reader = cluster.reader_of(partition.partition);
                self.in_hand.get(&reader).is_some_and(|records| {
                    records
                        .iter()
                        .any(|(p, at)| *p == partition.partition && at < offset)
                })
            }
            _ => false,
        }
    }

    // ---- striking ---------------------------------------------------------------------------

    async fn strike(&mut self, i: usize, on_the_way: bool, cluster: &Cluster, world: &World<Node>) {
        let fault = self.plan.faults[i].clone();
        let targets = self.bind(&fault, i, cluster, world);
        if targets.is_empty() {
            self.schedule(i, LOOK_AGAIN, world);
            return;
        }
        let exposed = is_exposed(&fault, &targets, on_the_way, self, cluster, world);
        let done = match fault.what {
            What::ResetConnections => self.reset_connections(&targets, cluster, world),
            What::CutConnections => self.cut_connections(i, &targets, cluster, world),
            What::Crash => self.crash(i, &targets, cluster, world).await,
            What::PowerLoss { unsynced } => self.power_loss(i, &targets, unsynced, world),
            What::CutFromFollowers { direction } => {
                let others = cluster.brokers.iter().map(|b| NodeId::of_broker(*b));
                self.cut_all(i, &targets, others.collect(), direction, world)
            }
            What::CutFromController { direction } => {
                self.cut_all(i, &targets, vec![cluster.controller], direction, world)
            }
            What::MoveLeader => move_leader(&targets, &fault, cluster, world),
            What::SlowLinks { extra_us } => self.slow_links(i, &targets, extra_us, cluster, world),
            What::StartConsumers => {
                self.consumers_wanted = true;
                true
            }
            What::ShutDown
            | What::Pause
            | What::DestroyDisk
            | What::FillDisk { .. }
            | What::FailDisk { .. }
            | What::SlowDisk { .. }
            | What::ClockJump { .. }
            | What::ClockDrift { .. }
            | What::CutFromClients { .. }
            | What::CutFromCluster { .. }
            | What::FailProcessing { .. } => {
                panic!("this world cannot do {:?} to {targets:?}", fault.what)
            }
        };
        if !done {
            self.schedule(i, LOOK_AGAIN, world);
            return;
        }
        self.states[i] = State::Struck;
        self.struck.push(StruckFault {
            fault: i,
            at_us: world.now() / MICROS,
            nodes: targets.iter().map(|n| n.0).collect(),
            exposed,
        });
        for next in 0..self.plan.faults.len() {
            if let When::AfterFault { fault, delay_ms } = self.plan.faults[next].when
                && fault == i
                && self.states[next] == State::Waiting
            {
                self.schedule(next, delay_ms * MILLIS, world);
            }
        }
        if fault.for_ms == 0 {
            self.end(i, cluster, world).await;
        } else {
            let at = world.now() + fault.for_ms * MILLIS;
            world.kernel().control(at, END | i as u64);
        }
    }

    fn bind(&self, fault: &Fault, i: usize, cluster: &Cluster, world: &World<Node>) -> Vec<NodeId> {
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
        unsynced: crate::fault::Unsynced,
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

    fn slow_links(
        &mut self,
        i: usize,
        targets: &[NodeId],
        extra_us: u64,
        cluster: &Cluster,
        world: &World<Node>,
    ) -> bool {
        for &target in targets {
            for other in cluster.brokers.iter().map(|b| NodeId::of_broker(*b)) {
                if other != target {
                    let mut kernel = world.kernel();
                    kernel.set_extra_latency(target, other, extra_us * MICROS);
                    self.outages[i].slowed.push((target, other));
                }
            }
            world.record(
                target,
                EventKind::Fault(FaultEvent::LinksSlowed { extra_us }),
            );
        }
        true
    }

    // ---- ending -----------------------------------------------------------------------------

    async fn end(&mut self, i: usize, cluster: &Cluster, world: &World<Node>) {
        self.states[i] = State::Ended;
        let outage = std::mem::take(&mut self.outages[i]);
        for &(from, to) in &outage.slowed {
            world.kernel().set_extra_latency(from, to, 0);
        }
        for &(from, to) in &outage.links {
            let count = self.cuts.get_mut(&(from, to)).expect("it was cut");
            *count -= 1;
            if *count == 0 {
                world.kernel().heal(from, to);
                world.record(from, EventKind::Fault(FaultEvent::LinkHealed { to }));
            }
        }
        if self.plan.faults[i].what == What::CutConnections {
            // "silently cut and later reset"
            for &(from, to) in outage
                .links
                .iter()
                .filter(|(from, _)| from.broker().is_none())
            {
                world.kernel().reset_connections(from, to);
                world.record(from, EventKind::Fault(FaultEvent::ConnectionReset { to }));
            }
        }
        for &broker in &outage.brokers {
            start_broker(broker, cluster, world);
        }
        if let Some(application) = outage.application
            && !world.is_running(application)
        {
            world.start_application(application).await;
        }
    }

    /// Ends every outage at once.
    pub async fn heal(&mut self, cluster: &Cluster, world: &World<Node>) {
        for i in 0..self.states.len() {
            if self.states[i] == State::Struck {
                self.end(i, cluster, world).await;
            }
            self.states[i] = State::Ended;
        }
        let brokers = cluster.brokers.iter().map(|b| NodeId::of_broker(*b));
        for node in brokers.chain([cluster.controller]) {
            assert!(
                world.kernel().is_alive(node),
                "{node} is still down after the heal"
            );
        }
        world.record(cluster.controller, EventKind::Fault(FaultEvent::Healed));
    }
}

/// Gives a broker's machine power, where it has none, and starts its process.
pub fn start_broker(broker: BrokerId, cluster: &Cluster, world: &World<Node>) {
    let node = NodeId::of_broker(broker);
    let incarnation = {
        let mut kernel = world.kernel();
        if !kernel.is_powered(machine_of(node)) {
            kernel.power_on(machine_of(node));
        }
        if kernel.is_alive(node) {
            return;
        }
        kernel.start(node, cluster.new_broker(broker))
    };
    world.record(node, EventKind::Fault(FaultEvent::Started { incarnation }));
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

fn partition_0() -> TopicPartition {
    TopicPartition::new(TOPIC, 0)
}

fn producer_nodes(cluster: &Cluster) -> impl Iterator<Item = NodeId> + use<> {
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

/// Whether a record is now where the fault can take it ([`crate::fault::family::Exposure`]).
/// `on_the_way` says that acks=0 messages were sent which no leader has appended.
fn is_exposed(
    fault: &Fault,
    targets: &[NodeId],
    on_the_way: bool,
    injector: &Injector,
    cluster: &Cluster,
    world: &World<Node>,
) -> bool {
    let kernel = world.kernel();
    let unanswered = |node: NodeId| match kernel.process(node) {
        Some(Node::Producer(producer)) => producer.pending() > 0,
        _ => false,
    };
    let any_unanswered = || producer_nodes(cluster).any(unanswered);
    let led = || targets.iter().flat_map(|t| led_by(*t, cluster, &kernel));
    match fault.what {
        What::SlowLinks { .. } => false,
        What::ResetConnections | What::CutConnections => on_the_way || any_unanswered(),
        What::FailProcessing { .. } => injector.is_anything_in_hand(),
        What::StartConsumers => (0..cluster.assignment.len() as i32).any(|p| {
            cluster.assignment[p as usize].iter().any(|b| {
                let replica = cluster.replica(&kernel, *b, p);
                replica.is_some_and(|r| r.log.log_end_offset() > 0)
            })
        }),
        What::Crash if targets[0].broker().is_none() => targets.iter().any(|t| {
            let in_hand = injector.in_hand.get(t).is_some_and(|r| !r.is_empty());
            unanswered(*t) || in_hand || cluster.is_commit_behind(&kernel, *t)
        }),
        What::PowerLoss { .. } => {
            on_the_way
                || led().any(|p| {
                    cluster.assignment[p as usize].iter().any(|b| {
                        let replica = cluster.replica(&kernel, *b, p);
                        replica.is_some_and(|r| r.log.unflushed_messages() > 0)
                    })
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
                || led().any(|p| !cluster.is_copied(&kernel, p))
        }
    }
}

/// Where an event happened, to an application: a commit is the reader's, though a broker tells of it.
fn origin_of(event: &Event, cluster: &Cluster) -> NodeId {
    match &event.kind {
        EventKind::Fact(Fact::OffsetCommitted { partition, .. }) => {
            cluster.reader_of(partition.partition)
        }
        _ => event.node,
    }
}

fn led_by<'k>(
    node: NodeId,
    cluster: &'k Cluster,
    kernel: &'k crate::kernel::Kernel<Node>,
) -> impl Iterator<Item = i32> + 'k {
    let broker = node.0 as BrokerId;
    (0..cluster.assignment.len() as i32).filter(move |p| cluster.leader(kernel, *p) == Some(broker))
}
