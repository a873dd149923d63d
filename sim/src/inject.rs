//! Doing what a fault plan says: when a fault strikes, to whom, and when its outage ends.
//!
//! - [`triggers`] events that faults wait for, and roles
//! - [`act`] what each fault does; [`damage`] to what a disk has stored
//! - [`exposure`] whether a record is where a fault can take it
//! - [`in_hand`] what applications have been given
//!
//! Cuts of one link by several faults are counted, so that the end of one does not heal what another
//! still holds. A fault whose role nobody has at the moment (a partition without leader), or whose
//! target is already as the fault would make it, waits.

mod act;
mod damage;
mod exposure;
mod in_hand;
mod triggers;

use crate::cluster::{Cluster, TOPIC, machine_of};
use crate::event::{ClientEvent, Event, EventKind, FaultEvent};
use crate::fault::{Family, FaultPlan, Trigger, What, When};
use crate::node::Node;
use crate::result::StruckFault;
use crate::world::{ApplicationId, World};
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;
use everyack_broker::time::{MICROS, MILLIS, Nanos};
use in_hand::InHand;
use std::collections::BTreeMap;
use triggers::origin_of;

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
    paused: Vec<NodeId>,
    /// Asked to end in order; those that have ended are among the brokers as well.
    shut_down: Vec<NodeId>,
    /// Their disks fail or stall.
    disks: Vec<NodeId>,
    /// Their wall clocks are wrong.
    clocks: Vec<NodeId>,
    /// Their handlers fail.
    handlers: Vec<NodeId>,
    /// What they propose for an ISR is held up.
    held: Vec<NodeId>,
}

/// Executes one plan.
pub struct Injector {
    plan: FaultPlan,
    states: Vec<State>,
    /// Whether some fault counts events now.
    counting: bool,
    outages: Vec<Outage>,
    counts: Vec<u32>,
    /// Node at which the event that set a fault off happened.
    origins: Vec<Option<NodeId>>,
    cuts: BTreeMap<(NodeId, NodeId), u32>,
    struck: Vec<StruckFault>,
    leader_of_0: BrokerId,
    in_hand: InHand,
    consumers_wanted: bool,
    /// The fault that strikes has damaged a leader's batch that no application was given.
    hit_unread: bool,
    /// An operation of a disk failed.
    disk_failed: bool,
}

impl Injector {
    /// For a plan; nothing strikes before [`Self::begin`].
    pub fn new(plan: FaultPlan) -> Injector {
        let n = plan.faults.len();
        let mut injector = Injector {
            plan,
            states: vec![State::Waiting; n],
            counting: false,
            outages: vec![Outage::default(); n],
            counts: vec![0; n],
            origins: vec![None; n],
            cuts: BTreeMap::new(),
            struck: Vec::new(),
            leader_of_0: NO_BROKER,
            in_hand: InHand::default(),
            consumers_wanted: false,
            hit_unread: false,
            disk_failed: false,
        };
        injector.counting = injector.counts_events();
        injector
    }

    fn enter(&mut self, i: usize, state: State) {
        self.states[i] = state;
        self.counting = self.counts_events();
    }

    fn counts_events(&self) -> bool {
        let waiting = |i: &usize| self.states[*i] == State::Waiting;
        let mut waiting = (0..self.states.len()).filter(waiting);
        waiting.any(|i| self.awaits(i).is_some())
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
        self.in_hand.is_any()
    }

    /// What struck so far.
    pub fn struck(&self) -> &[StruckFault] {
        &self.struck
    }

    /// Whether the plan did what its family is there for ([`Family::has_fired`]).
    pub fn has_fired(&self, family: Family) -> bool {
        let struck = |i: usize| self.struck.iter().any(|s| s.fault == i);
        family.has_fired(&self.plan, &struck, self.disk_failed)
    }

    /// Whether a record was where the family could take it when it struck; a preparation takes nothing.
    pub fn was_exposed(&self, family: Family) -> bool {
        let mut exposed = self.struck.iter().filter(|s| s.exposed);
        exposed.any(|s| !family.is_preparation(&self.plan, s.fault))
    }

    /// Whether every fault has struck and every outage has ended.
    pub fn is_over(&self) -> bool {
        self.states.iter().all(|s| *s == State::Ended)
    }

    /// The producers start now.
    pub fn begin(&mut self, world: &World<Node>) {
        let now = world.now();
        for i in 0..self.plan.faults.len() {
            if let When::AtUs(us) = self.plan.faults[i].when {
                self.enter(i, State::Due);
                world.kernel().control(now + us * MICROS, STRIKE | i as u64);
            }
        }
    }

    fn schedule(&mut self, i: usize, delay: Nanos, world: &World<Node>) {
        self.enter(i, State::Due);
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
                self.end(i, false, cluster, world).await;
            }
        } else if self.states[i] == State::Due {
            self.strike(i, on_the_way, cluster, world).await;
        }
    }

    /// Keeps the books of what applications hold, from the start of the run on; none of the events [of
    /// replication](Event::of_replication) is booked.
    #[inline]
    pub fn keep_books(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Client(ClientEvent::Delivered { message, offset }) => {
                self.in_hand
                    .delivered(event.node, message.partition, *offset);
            }
            EventKind::Client(ClientEvent::Processed { message, offset }) => {
                self.in_hand
                    .processed(event.node, message.partition, *offset);
            }
            EventKind::Fault(FaultEvent::Killed) => self.in_hand.killed(event.node),
            EventKind::Fact(Fact::PartitionChanged {
                partition, leader, ..
            }) if *partition == partition_0() => self.leader_of_0 = *leader,
            EventKind::Fault(FaultEvent::DiskFailed { .. }) => self.disk_failed = true,
            _ => {}
        }
    }

    /// The event that a fault counts now: which, how many of them, and the delay behind the last.
    fn awaits(&self, i: usize) -> Option<(Trigger, u32, u64)> {
        match self.plan.faults[i].when {
            When::After {
                event,
                nth,
                delay_us,
            } => Some((event, nth, delay_us)),
            When::Then {
                fault,
                event,
                nth,
                delay_us,
            } if matches!(self.states[fault], State::Struck | State::Ended) => {
                Some((event, nth, delay_us))
            }
            _ => None,
        }
    }

    /// Counts an event for the faults that wait for its kind; none waits for one [of
    /// replication](Event::of_replication).
    #[inline]
    pub fn see(&mut self, event: &Event, cluster: &Cluster, world: &World<Node>) {
        if let EventKind::Fault(FaultEvent::DiskFailed { .. }) = &event.kind {
            self.look_at_failed_disk(event.node, cluster, world);
        }
        if self.counting {
            self.count(event, cluster, world);
        }
    }

    fn count(&mut self, event: &Event, cluster: &Cluster, world: &World<Node>) {
        for i in 0..self.states.len() {
            if self.states[i] != State::Waiting {
                continue;
            }
            let Some((trigger, nth, delay_us)) = self.awaits(i) else {
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
            if self.states[i] == State::Waiting
                && let Some((Trigger::ProduceInFlight, nth, delay_us)) = self.awaits(i)
                && to == NodeId::of_broker(self.leader_of_0)
            {
                self.counts[i] += 1;
                if self.counts[i] == nth.max(1) {
                    self.schedule(i, delay_us * MICROS, world);
                }
            }
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
        let exposed = self.is_exposed(&fault, &targets, on_the_way, cluster, world);
        let done = self.act(i, &fault, &targets, cluster, world).await;
        if !done {
            self.schedule(i, LOOK_AGAIN, world);
            return;
        }
        self.enter(i, State::Struck);
        self.struck.push(StruckFault {
            fault: i,
            at_us: world.now() / MICROS,
            nodes: targets.iter().map(|n| n.0).collect(),
            exposed: exposed || std::mem::take(&mut self.hit_unread),
        });
        self.wake_followers(i, cluster, world);
        match fault.counted_from {
            None if fault.for_ms == 0 => self.end(i, false, cluster, world).await,
            None => self.schedule_end(i, fault.for_ms * MILLIS, world),
            Some(other) => {
                if let Some(struck) = self.struck.iter().find(|s| s.fault == other) {
                    let since = world.now() - struck.at_us * MICROS;
                    let left = (fault.for_ms * MILLIS).saturating_sub(since);
                    self.schedule_end(i, left, world);
                }
            }
        }
    }

    /// A fault has struck: what waits for that, or is counted from it, is scheduled.
    fn wake_followers(&mut self, i: usize, cluster: &Cluster, world: &World<Node>) {
        for next in 0..self.plan.faults.len() {
            let fault = &self.plan.faults[next];
            if fault.counted_from == Some(i) && self.states[next] == State::Struck && next != i {
                self.schedule_end(next, fault.for_ms * MILLIS, world);
            }
            if self.states[next] != State::Waiting {
                continue;
            }
            match self.plan.faults[next].when {
                When::AfterFault { fault, delay_ms } if fault == i => {
                    self.schedule(next, delay_ms * MILLIS, world);
                }
                When::Then {
                    fault,
                    event: Trigger::IsrIsLeader,
                    nth: 0 | 1,
                    delay_us,
                } if fault == i && triggers::isr_is_leader(cluster, world) => {
                    self.schedule(next, delay_us * MICROS, world);
                }
                _ => {}
            }
        }
    }

    fn schedule_end(&self, i: usize, delay: Nanos, world: &World<Node>) {
        let at = world.now().saturating_add(delay);
        world.kernel().control(at, END | i as u64);
    }

    // ---- ending -----------------------------------------------------------------------------

    /// Ends an outage. A shutdown that is still under way is awaited, unless `now`: then its supervisor
    /// has lost patience.
    async fn end(&mut self, i: usize, now: bool, cluster: &Cluster, world: &World<Node>) {
        let stopping = |node: &&NodeId| world.kernel().is_alive(**node);
        let shut_down = &self.outages[i].shut_down;
        if let Some(&node) = shut_down.iter().find(stopping) {
            if !now {
                self.schedule_end(i, LOOK_AGAIN, world);
                return;
            }
            world.kernel().kill(node);
            world.record(node, EventKind::Fault(FaultEvent::Killed));
            self.outages[i].brokers.push(node.0 as BrokerId);
        }
        self.enter(i, State::Ended);
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
        self.mend(&outage, world);
        for &broker in &outage.brokers {
            start_broker(broker, cluster, world);
        }
        if let Some(application) = outage.application
            && !world.is_running(application)
        {
            world.start_application(application).await;
        }
        for next in 0..self.plan.faults.len() {
            if let When::AfterOutage { fault, delay_ms } = self.plan.faults[next].when
                && fault == i
                && self.states[next] == State::Waiting
            {
                self.schedule(next, delay_ms * MILLIS, world);
            }
        }
    }

    /// Machines, stopped processes and handlers are as they were before.
    fn mend(&self, outage: &Outage, world: &World<Node>) {
        for &node in &outage.disks {
            world.kernel().mend_disk(machine_of(node));
            world.record(node, EventKind::Fault(FaultEvent::DiskHealed));
        }
        for &node in &outage.clocks {
            world.kernel().set_clock(machine_of(node));
            world.record(node, EventKind::Fault(FaultEvent::ClockSet));
        }
        for &node in &outage.paused {
            if world.kernel().is_paused(node) {
                world.record(node, EventKind::Fault(FaultEvent::Resumed));
                world.kernel().resume(node);
            }
        }
        for &node in &outage.held {
            world.record(node, EventKind::Fault(FaultEvent::IsrProposalsReleased));
            world.kernel().release_sends(node);
        }
        for &node in &outage.handlers {
            world.mend_handler(node);
            world.record(node, EventKind::Fault(FaultEvent::HandlerHealed));
        }
    }

    /// A broker's process has ended by itself: over its disk, or because it was asked to. The outage
    /// that made it do so starts it again, else the heal.
    pub fn halted(&mut self, node: NodeId, world: &World<Node>) {
        world.record(node, EventKind::Fault(FaultEvent::Halted));
        let mut outages = self.outages.iter_mut();
        let cause = outages.find(|o| o.shut_down.contains(&node) || o.disks.contains(&node));
        if let Some(outage) = cause {
            outage.brokers.push(node.0 as BrokerId);
        }
    }

    /// Ends every outage at once.
    pub async fn heal(&mut self, cluster: &Cluster, world: &World<Node>) {
        for i in 0..self.states.len() {
            // A group that was to start late starts now at the latest, and that is late indeed.
            let late = self.plan.faults[i].what == What::StartConsumers;
            if late && matches!(self.states[i], State::Waiting | State::Due) {
                self.strike(i, false, cluster, world).await;
            }
            if self.states[i] == State::Struck {
                self.end(i, true, cluster, world).await;
            }
            self.enter(i, State::Ended);
        }
        for &broker in &cluster.brokers {
            start_broker(broker, cluster, world);
        }
        // A broker may halt at once again over what is in its log directory; no fault hits the controller.
        assert!(
            world.kernel().is_alive(cluster.controller),
            "the controller is down"
        );
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

fn partition_0() -> TopicPartition {
    TopicPartition::new(TOPIC, 0)
}
