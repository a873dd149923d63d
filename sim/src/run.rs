//! The one function: a spec in, a result out.
//!
//! A run has four phases. The cluster starts and creates its topics; the consumers fix their first
//! positions; the producers start, and faults strike; everything is healed, and what was acknowledged
//! must come out within a bound. It ends as soon as nothing can change any more: everything
//! acknowledged was processed, or all is replicated, committed and read to the end. Then it is judged.

mod observer;

use crate::application::registry;
use crate::attribution::Attribution;
use crate::check::order;
use crate::check::verdict::{Broken, judge};
use crate::cluster::{Cluster, TOPIC};
use crate::event::Event;
use crate::fault::{Family, Timeouts};
use crate::history::History;
use crate::host::host;
use crate::inject::{Injector, start_broker};
use crate::kernel::{Kernel, Next};
use crate::node::Node;
use crate::parts::{Part, enter};
use crate::result::*;
use crate::spec::{Record, RunSpec, WireMode};
use crate::story;
use crate::world::World;
use everyack_broker::config::{Acks, ProducerConfig};
use everyack_broker::ids::*;
use everyack_broker::time::{MICROS, MILLIS, Nanos, SECONDS};
use everyack_broker::wire::{Frame, Request};
use observer::Observer;
use std::cell::Cell;

/// How often the phases are looked at.
const TICK: Nanos = 50 * MILLIS;
/// Control token of the tick; the injector's lie above.
const TICK_TOKEN: u64 = 1;
/// Bound on the start of a healthy cluster: registration, unfencing and election take a few
/// heartbeats.
const START_BOUND: Nanos = 60 * SECONDS;

/// Room for the events of a run of half a minute, so that they are not moved again and again as they
/// become more.
const EVENTS_EXPECTED: usize = 1 << 14;
/// More room than this is given back.
const EVENTS_KEPT: usize = 1 << 17;

thread_local! {
    /// The room that the last run on behalf of this thread left. Each run has a thread of its own, whose
    /// memory the system would clear anew.
    static ROOM: Cell<Vec<Event>> = const { Cell::new(Vec::new()) };
}

/// Runs a spec. The same spec and the same build give the same result, on any thread, in any
/// process. A panic of the testbed is an outcome, never a panic of the caller.
pub fn run(spec: &RunSpec) -> RunResult {
    run_with(spec, Plant::Nothing)
}

/// A deliberate offence against determinism, to prove that the gate notices one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// None.
    Nothing,
    /// The iteration order of a `std` hash map decides when a run's first messages are sent.
    HashMapOrder,
}

/// As [`run`], with a planted offence.
pub fn run_with(spec: &RunSpec, plant: Plant) -> RunResult {
    // Out here a hash map has random keys; on the run's own thread madsim answers getrandom, and the
    // order would be the same in every process.
    let producers = (0..spec.applications.producers as usize).collect();
    let order = match plant {
        Plant::Nothing => producers,
        Plant::HashMapOrder => by_hash_map(producers),
    };
    let mut room = ROOM.take();
    room.reserve(EVENTS_EXPECTED);
    match host(spec.seed, || drive(spec, order, room)) {
        Ok((result, mut room)) => {
            room.clear();
            room.shrink_to(EVENTS_KEPT);
            ROOM.set(room);
            result
        }
        Err(panic) => RunResult::broken(Outcome::Panicked(panic)),
    }
}

async fn drive(spec: &RunSpec, producers: Vec<usize>, room: Vec<Event>) -> (RunResult, Vec<Event>) {
    let mut run = Run::set_up(spec, producers, room);
    let outcome = run.play().await;
    let result = run.judge(outcome);
    (result, run.events)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    FixingPositions,
    Faults { since: Nanos },
    Liveness { since: Nanos },
}

struct Run<'a> {
    spec: &'a RunSpec,
    world: World<Node>,
    cluster: Cluster,
    injector: Injector,
    observer: Observer,
    /// The producers promise to keep the order.
    in_order: bool,
    events: Vec<Event>,
    /// How many of the events were looked at.
    observed: usize,
    /// Sender and receiver of Produce requests sent since the last look.
    sent: Vec<(NodeId, NodeId)>,
    phase: Phase,
    family: Family,
    timeouts: Timeouts,
    acks_0: bool,
    quiet_ticks: u32,
    /// The order in which the producers start, by their index.
    producers_in_order: Vec<usize>,
}

impl<'a> Run<'a> {
    fn set_up(spec: &'a RunSpec, producers_in_order: Vec<usize>, room: Vec<Event>) -> Run<'a> {
        let mut kernel = Kernel::new(spec.seed, spec.wire);
        if spec.record == Record::Full {
            kernel.record_steps();
        }
        kernel.watch_sends(|frame| match frame {
            Frame::Request(_, request) => match &**request {
                Request::Produce(produce) => {
                    let topic = produce.topics.iter().filter(|(id, _)| *id == TOPIC);
                    let mut partitions = topic.flat_map(|(_, ps)| ps);
                    partitions.any(|p| p.partition == 0)
                }
                _ => false,
            },
            Frame::Response(..) => false,
        });
        let world = World::new(spec.seed, kernel);
        let cluster = Cluster::add_to(&world, spec);
        let timeouts = Timeouts::from_properties(&spec.properties)
            .unwrap_or_else(|e| panic!("spec with invalid timeouts: {e}"));
        let family = Family::from_name(&spec.family)
            .unwrap_or_else(|| panic!("spec with the unknown family {}", spec.family));
        let producer = ProducerConfig::from_properties(&spec.properties.producer)
            .unwrap_or_else(|e| panic!("spec with invalid producer properties: {e}"));
        let acks_0 = producer.acks == Acks::None;
        let application = registry::producer(&spec.applications.producer);
        let results_ignored = application.is_some_and(|entry| entry.ignores_results);
        let history = History::new(spec.applications.producers)
            .with_room(spec.workload.messages_per_producer)
            .with_results_ignored(results_ignored);
        let in_order = producer.max_in_flight_requests_per_connection == 1 && !acks_0;
        Run {
            spec,
            world,
            cluster,
            injector: Injector::new(spec.plan.clone()),
            observer: Observer::new(history),
            in_order,
            events: room,
            observed: 0,
            sent: Vec::new(),
            phase: Phase::Starting,
            family,
            timeouts,
            acks_0,
            quiet_ticks: 0,
            producers_in_order,
        }
    }

    /// The loop: one event of the kernel after the other, until nothing can change any more.
    async fn play(&mut self) -> Outcome {
        let controller = self.cluster.new_controller(self.spec);
        let id = self.cluster.controller;
        self.world.kernel().start(id, controller);
        for &broker in &self.cluster.brokers {
            start_broker(broker, &self.cluster, &self.world);
        }
        self.world.kernel().control(TICK, TICK_TOKEN);
        loop {
            let next = self.world.next().await;
            match next {
                Next::Idle => return Outcome::LimitReached("nothing left to happen".into()),
                Next::Control(TICK_TOKEN) => {
                    if let Some(outcome) = self.tick().await {
                        return outcome;
                    }
                    let at = self.world.now() + TICK;
                    self.world.kernel().control(at, TICK_TOKEN);
                }
                Next::Control(token) if Injector::owns(token) => {
                    let on_the_way = self.acks_0 && self.observer.history.unappended() > 0;
                    self.injector
                        .control(token, on_the_way, &self.cluster, &self.world)
                        .await;
                }
                Next::Control(token) => panic!("a control event of nobody: {token:#x}"),
                Next::Stepped(_) | Next::Quiet => {}
            }
            if !self.world.kernel().halted.is_empty() {
                self.note_halts();
            }
            self.observe();
            if self.injector.take_consumers_wanted() {
                self.start_consumers().await;
                self.observe();
            }
        }
    }

    /// Processes that ended by themselves; what clients do is their applications' business.
    #[cold]
    fn note_halts(&mut self) {
        let halted = std::mem::take(&mut self.world.kernel().halted);
        for node in halted.into_iter().filter(|n| n.broker().is_some()) {
            self.injector.halted(node, &self.world);
        }
    }

    // ---- observing --------------------------------------------------------------------------

    /// Takes what the last event caused, if anything: history, marks, invariants, triggers.
    #[inline]
    fn observe(&mut self) {
        self.world.take_events(&mut self.events, &mut self.sent);
        if self.observed < self.events.len() || !self.sent.is_empty() {
            self.look();
        }
    }

    fn look(&mut self) {
        let under_load = matches!(self.phase, Phase::Faults { .. });
        for (_, to) in self.sent.drain(..) {
            if under_load {
                self.injector.produce_sent(to, &self.world);
            }
        }
        let _part = enter(Part::Checkers);
        for event in &self.events[self.observed..] {
            if let Some(fact) = event.of_replication() {
                self.observer.see_replication(event.node, fact);
                continue;
            }
            self.observer.see(event, &self.cluster, &self.world);
            if under_load {
                self.injector.see(event, &self.cluster, &self.world);
            }
            self.injector.keep_books(event);
        }
        self.observed = self.events.len();
    }

    // ---- phases -----------------------------------------------------------------------------

    /// Looks whether the present phase is over; an outcome ends the run.
    async fn tick(&mut self) -> Option<Outcome> {
        self.observe();
        let now = self.world.now();
        if now > self.spec.limits.simulated_ms * MILLIS {
            return Some(Outcome::LimitReached(format!(
                "{} s simulated",
                now / SECONDS
            )));
        }
        if self.world.kernel().stats().events > self.spec.limits.events {
            return Some(Outcome::LimitReached(format!(
                "{} events",
                self.spec.limits.events
            )));
        }
        match self.phase {
            Phase::Starting => {
                if now > START_BOUND {
                    return Some(Outcome::LimitReached("the cluster did not start".into()));
                }
                let healthy = self.cluster.is_healthy(&self.world.kernel());
                if healthy && self.injector.starts_consumers() {
                    self.start_producers().await;
                } else if healthy {
                    self.phase = Phase::FixingPositions;
                    self.world.set_attended(true);
                    self.start_consumers().await;
                }
            }
            Phase::FixingPositions => {
                if now > 2 * START_BOUND {
                    return Some(Outcome::LimitReached(
                        "the consumers got no positions".into(),
                    ));
                }
                if self.observer.positions_fixed.len() == self.cluster.consumers.len() {
                    self.start_producers().await;
                }
            }
            Phase::Faults { since } => {
                self.injector.look_for_exposure(&self.cluster, &self.world);
                let spread = self.spec.workload.spread_ms;
                let faults = self.spec.plan.faults.len();
                let longest = self.timeouts.fault_phase_ms(self.family, spread, faults);
                let done = self.injector.is_over() && self.producers_are_done();
                if done || now - since >= longest.saturating_mul(MILLIS) {
                    self.heal().await;
                }
            }
            Phase::Liveness { since } => {
                let producers = self.spec.applications.producers;
                let processing_ms = self.spec.workload.processing_ms(producers);
                let bound = self.timeouts.liveness_ms(processing_ms);
                // A consumer that is slow is not one that stands still.
                let idle = now - since.max(self.observer.last_progress);
                let late = idle >= bound.saturating_mul(MILLIS);
                if late || self.nothing_can_change() {
                    return Some(Outcome::Finished);
                }
            }
        }
        self.observe();
        None
    }

    async fn start_consumers(&mut self) {
        for &application in &self.cluster.consumers {
            if !self.world.is_running(application) {
                self.world.start_application(application).await;
            }
        }
    }

    async fn start_producers(&mut self) {
        let now = self.world.now();
        self.phase = Phase::Faults { since: now };
        self.world.set_attended(false);
        self.observer.marks.begin();
        self.injector.begin(&self.world);
        for index in std::mem::take(&mut self.producers_in_order) {
            let application = self.cluster.producers[index];
            self.world.start_application(application).await;
        }
    }

    fn producers_are_done(&self) -> bool {
        self.observer.finished_producers >= self.cluster.producers.len()
    }

    async fn heal(&mut self) {
        self.injector.heal(&self.cluster, &self.world).await;
        self.world.set_attended(true);
        self.start_consumers().await;
        let now = self.world.now();
        self.phase = Phase::Liveness { since: now };
    }

    fn nothing_can_change(&mut self) -> bool {
        if !self.producers_are_done() {
            return false;
        }
        if self.observer.history.all_acked_are_processed() {
            return true;
        }
        let kernel = self.world.kernel();
        let quiet = self.cluster.is_healthy(&kernel)
            && self.cluster.is_replicated(&kernel)
            && self.cluster.is_read_to_the_end(&kernel)
            && self.cluster.are_dead_letters_answered(&kernel)
            && !self.injector.is_anything_in_hand();
        // Twice in a row, so that what is under way between two processes is seen as well.
        self.quiet_ticks = if quiet { self.quiet_ticks + 1 } else { 0 };
        self.quiet_ticks >= 2
    }

    // ---- judging ----------------------------------------------------------------------------

    fn judge(&mut self, outcome: Outcome) -> RunResult {
        let _part = enter(Part::Checkers);
        let kernel = self.world.kernel();
        let disks = || self.cluster.final_partitions(&kernel);
        let dead_letters = || self.cluster.kept_dead_letters(&kernel);
        let (messages, broken) = judge(&self.observer.history, disks, dead_letters);
        if self.in_order {
            self.observer
                .anomalies
                .extend(order::check(&self.observer.history, &disks()));
        }
        let losses = self.explain(&broken);
        let struck = self.injector.struck().to_vec();
        let no_fault = self.family == Family::None;
        let stats = kernel.stats();
        let mut ack_us = self.observer.history.ack_us().to_vec();
        ack_us.sort_unstable();
        let result = RunResult {
            outcome,
            messages,
            anomalies: std::mem::take(&mut self.observer.anomalies),
            fired: no_fault || self.injector.has_fired(self.family),
            // What was lost had been where the fault could take it.
            exposed: no_fault || !losses.is_empty() || self.injector.was_exposed(self.family),
            losses,
            faults: struck,
            marks: self.observer.marks.names(),
            unavailable_ms: self.observer.history.longest_gap() / MILLIS,
            ack_us,
            trace_hash: kernel.trace_hash(),
            simulated_ns: kernel.now(),
            requests: stats.requests,
            events: stats.events,
            story: Vec::new(),
            steps: Vec::new(),
        };
        drop(kernel);
        self.with_records(result)
    }

    fn explain(&self, broken: &[Broken]) -> Vec<Loss> {
        if broken.is_empty() {
            return Vec::new();
        }
        let reader_of = |partition: i32| self.cluster.reader_of(partition);
        let attribution =
            Attribution::new(&self.events, TOPIC, &self.cluster.assignment, &reader_of);
        let losses = broken.iter().map(|broken| Loss {
            producer: broken.id.producer,
            sequence: broken.id.sequence,
            partition: broken.id.partition,
            offset: broken.told,
            verdict: broken.verdict,
            mechanism: attribution.explain(self.observer.history.message(broken.id), broken),
        });
        losses.collect()
    }

    fn with_records(&self, mut result: RunResult) -> RunResult {
        if self.spec.record != Record::Summary {
            let names = story::Names::of(&self.cluster);
            result.story = story::tell(&self.events, &names);
        }
        if self.spec.record == Record::Full {
            result.steps = self.world.kernel().trace_mut().take_records();
        }
        result
    }
}

impl RunResult {
    /// The result of a run that the testbed could not judge.
    pub fn broken(outcome: Outcome) -> RunResult {
        RunResult {
            outcome,
            messages: MessageCounts::default(),
            losses: Vec::new(),
            anomalies: Vec::new(),
            faults: Vec::new(),
            fired: false,
            exposed: false,
            marks: Vec::new(),
            unavailable_ms: 0,
            ack_us: Vec::new(),
            trace_hash: 0,
            simulated_ns: 0,
            requests: 0,
            events: 0,
            story: Vec::new(),
            steps: Vec::new(),
        }
    }
}

/// The planted offence: an order that differs from process to process.
fn by_hash_map(order: Vec<usize>) -> Vec<usize> {
    #[allow(clippy::disallowed_types)] // it is there to be caught
    let map: std::collections::HashMap<usize, ()> = order.into_iter().map(|i| (i, ())).collect();
    map.into_keys().collect()
}

/// Simulated time in microseconds.
pub(crate) fn micros(at: Nanos) -> u64 {
    at / MICROS
}

/// Whether a seed's requests travel as bytes when nobody says: one in sixteen.
pub fn sampled_wire(seed: u64) -> WireMode {
    if seed.is_multiple_of(16) {
        WireMode::Bytes
    } else {
        WireMode::Typed
    }
}
