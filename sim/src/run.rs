//! The one function: a spec in, a result out.
//!
//! A run has four phases. The cluster starts and creates its topics; the consumers fix their first
//! positions; the producers start, and faults strike; everything is healed, and what was acknowledged
//! must come out within a bound. It ends as soon as nothing can change any more: everything
//! acknowledged was processed, or all is replicated, committed and read to the end. Then it is judged.

use crate::application::registry;
use crate::attribution::Attribution;
use crate::check::Invariants;
use crate::check::order;
use crate::check::verdict::{judge, keyed_messages_in, messages_in};
use crate::cluster::{Cluster, TOPIC, topic_id};
use crate::event::{ClientEvent, Event, EventKind, MessageId};
use crate::fault::{Family, Timeouts};
use crate::history::{AppendedAt, History, LetGo};
use crate::host::host;
use crate::inject::{Injector, start_broker};
use crate::kernel::{Kernel, Next};
use crate::marks::Marks;
use crate::node::Node;
use crate::parts::{Part, enter};
use crate::result::*;
use crate::spec::{Record, RunSpec, WireMode};
use crate::story;
use crate::world::World;
use bytes::Bytes;
use everyack_broker::config::{Acks, ProducerConfig};
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;
use everyack_broker::log::{LogStartReason, PartitionLog};
use everyack_broker::time::{MICROS, MILLIS, Nanos, SECONDS};
use everyack_broker::wire::{Frame, Request};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

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
    history: History,
    invariants: Invariants,
    /// The producers promise to keep the order.
    in_order: bool,
    marks: Marks,
    anomalies: Vec<Anomaly>,
    events: Vec<Event>,
    /// How many of the events were looked at.
    observed: usize,
    /// Sender and receiver of Produce requests sent since the last look.
    sent: Vec<(NodeId, NodeId)>,
    phase: Phase,
    family: Family,
    timeouts: Timeouts,
    acks_0: bool,
    positions_fixed: Vec<NodeId>,
    /// Files of the topic's segments, by partition and base offset, on whichever broker.
    segment_paths: BTreeMap<(i32, Offset), String>,
    finished_producers: u32,
    quiet_ticks: u32,
    /// When a message was last processed that had not been before.
    last_progress: Nanos,
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
        let in_order = producer.max_in_flight_requests_per_connection == 1 && !acks_0;
        Run {
            spec,
            world,
            cluster,
            injector: Injector::new(spec.plan.clone()),
            history: History::new(spec.applications.producers)
                .with_results_ignored(results_ignored),
            invariants: Invariants::default(),
            in_order,
            marks: Marks::default(),
            anomalies: Vec::new(),
            events: room,
            observed: 0,
            sent: Vec::new(),
            phase: Phase::Starting,
            family,
            timeouts,
            acks_0,
            positions_fixed: Vec::new(),
            segment_paths: BTreeMap::new(),
            finished_producers: 0,
            quiet_ticks: 0,
            last_progress: 0,
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
                    let on_the_way = self.acks_0 && self.history.unappended() > 0;
                    self.injector
                        .control(token, on_the_way, &self.cluster, &self.world)
                        .await;
                }
                Next::Control(token) => panic!("a control event of nobody: {token:#x}"),
                Next::Stepped(_) | Next::Quiet => {}
            }
            self.note_halts();
            self.observe();
            if self.injector.take_consumers_wanted() {
                self.start_consumers().await;
                self.observe();
            }
        }
    }

    /// Processes that ended by themselves; what clients do is their applications' business.
    fn note_halts(&mut self) {
        if self.world.kernel().halted.is_empty() {
            return;
        }
        let halted = std::mem::take(&mut self.world.kernel().halted);
        for node in halted.into_iter().filter(|n| n.broker().is_some()) {
            self.injector.halted(node, &self.world);
        }
    }

    // ---- observing --------------------------------------------------------------------------

    /// Takes what the last event caused: history, marks, invariants, triggers.
    fn observe(&mut self) {
        let under_load = matches!(self.phase, Phase::Faults { .. });
        self.world.take_events(&mut self.events, &mut self.sent);
        for (_, to) in self.sent.drain(..) {
            if under_load {
                self.injector.produce_sent(to, &self.world);
            }
        }
        if self.observed == self.events.len() {
            return;
        }
        let _part = enter(Part::Checkers);
        let events = std::mem::take(&mut self.events);
        for event in &events[self.observed..] {
            self.marks.see(event);
            match &event.kind {
                EventKind::Fact(fact) => self.see_fact(event, fact),
                EventKind::Client(client) => self.see_client(event, client),
                EventKind::Fault(_) => {}
            }
            if under_load {
                self.injector.see(event, &self.cluster, &self.world);
            }
            self.injector.keep_books(event);
        }
        self.observed = events.len();
        self.events = events;
    }

    fn see_fact(&mut self, event: &Event, fact: &Fact) {
        let (invariants, anomalies) = (&mut self.invariants, &mut self.anomalies);
        invariants.check(event.node, fact, topic_id, anomalies);
        match fact {
            Fact::Appended {
                partition,
                base_offset,
                leader_epoch,
                as_leader: true,
                ..
            } if partition.topic == TOPIC => {
                for (id, offset) in self.messages_at(event.node, *partition, *base_offset) {
                    let append = AppendedAt {
                        at: event.at,
                        node: event.node,
                        leader_epoch: *leader_epoch,
                        offset,
                    };
                    self.history.appended(id, append);
                }
            }
            Fact::ProduceArrived {
                partition,
                acks: 0,
                records,
            } if partition.topic == TOPIC => {
                for (id, _) in messages_in(records, partition.partition) {
                    self.history.arrived(id, event.at, event.node);
                }
            }
            Fact::LogStartMoved {
                partition,
                offset,
                reason: LogStartReason::SegmentDeletion,
            } if partition.topic == TOPIC => {
                self.see_what_was_let_go(event.node, partition.partition, *offset, false);
            }
            Fact::LogCleaned { partition, up_to } if partition.topic == TOPIC => {
                self.see_what_was_let_go(event.node, partition.partition, *up_to, true);
            }
            _ => {}
        }
    }

    /// Retention or the cleaner has removed segments below that offset; their files are still there.
    #[cold]
    fn see_what_was_let_go(&mut self, node: NodeId, partition: i32, below: Offset, cleaned: bool) {
        let kernel = self.world.kernel();
        let left = match cleaned {
            true => self.cluster.messages_on(&kernel, node, partition),
            false => BTreeSet::new(),
        };
        for segment in self.cluster.removed_segments(&kernel, node, partition) {
            for (id, offset, key) in keyed_messages_in(&segment, partition) {
                if offset < below && !left.contains(&id) {
                    let replaced = key.filter(|_| cleaned);
                    self.history.let_go(id, LetGo { offset, replaced });
                }
            }
        }
    }

    /// The messages of the batch that a leader has just appended, from its log; none where the same step
    /// has cut it off again.
    fn messages_at(
        &mut self,
        node: NodeId,
        partition: TopicPartition,
        base_offset: Offset,
    ) -> Vec<(MessageId, Offset)> {
        let kernel = self.world.kernel();
        let broker = node.broker().expect("only brokers append");
        let replica = self.cluster.replica(&kernel, broker, partition.partition);
        let batch = replica.and_then(|r| r.log.batches_metadata_from(base_offset).first().copied());
        let Some(batch) = batch.filter(|b| b.base_offset == base_offset) else {
            return Vec::new();
        };
        let log = &replica.expect("it has the batch").log;
        let segment = (partition.partition, log.segment_that_holds(&batch));
        let path = self.segment_paths.entry(segment).or_insert_with(|| {
            let dir = format!("{}-{}", self.cluster.topic, segment.0);
            PartitionLog::file_name(&dir, segment.1)
        });
        let disk = kernel.disk(crate::cluster::machine_of(node));
        let content = disk.content(path).expect("the log's file");
        let from = batch.position as usize;
        // A broker that takes no notice of a failed sync goes on behind what its disk has dropped.
        let Some(bytes) = content.get(from..from + batch.size as usize) else {
            return Vec::new();
        };
        messages_in(&Bytes::copy_from_slice(bytes), partition.partition)
    }

    fn see_client(&mut self, event: &Event, client: &ClientEvent) {
        self.history.record(event.at, client);
        match client {
            ClientEvent::PositionsFixed if !self.positions_fixed.contains(&event.node) => {
                self.positions_fixed.push(event.node);
            }
            ClientEvent::ProducerFinished => self.finished_producers += 1,
            ClientEvent::Delivered { message, offset } => {
                let partition = TopicPartition::new(TOPIC, message.partition);
                let (invariants, anomalies) = (&self.invariants, &mut self.anomalies);
                invariants.delivered(event.node, partition, *offset, anomalies);
            }
            ClientEvent::SendFailed(..) if self.history.are_results_ignored() => {
                self.marks.failed_unseen();
            }
            ClientEvent::DeadLettered(_) => self.last_progress = event.at,
            ClientEvent::Processed { message, .. } => {
                match self.history.times_processed(*message) {
                    0 | 1 => self.last_progress = event.at,
                    _ => self.marks.processed_again(),
                }
            }
            _ => {}
        }
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
                    self.start_consumers().await;
                }
            }
            Phase::FixingPositions => {
                if now > 2 * START_BOUND {
                    return Some(Outcome::LimitReached(
                        "the consumers got no positions".into(),
                    ));
                }
                if self.positions_fixed.len() == self.cluster.consumers.len() {
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
                let idle = now - since.max(self.last_progress);
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
        self.marks.begin();
        self.injector.begin(&self.world);
        for index in std::mem::take(&mut self.producers_in_order) {
            let application = self.cluster.producers[index];
            self.world.start_application(application).await;
        }
    }

    fn producers_are_done(&self) -> bool {
        self.finished_producers as usize >= self.cluster.producers.len()
    }

    async fn heal(&mut self) {
        self.injector.heal(&self.cluster, &self.world).await;
        self.start_consumers().await;
        let now = self.world.now();
        self.phase = Phase::Liveness { since: now };
    }

    fn nothing_can_change(&mut self) -> bool {
        if !self.producers_are_done() {
            return false;
        }
        if self.history.all_acked_are_processed() {
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
        let (messages, broken) = judge(&self.history, disks, dead_letters);
        if self.in_order {
            self.anomalies.extend(order::check(&self.history, &disks()));
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
            mechanism: attribution.explain(self.history.message(broken.id), broken),
        });
        let losses: Vec<Loss> = losses.collect();
        let struck = self.injector.struck().to_vec();
        let no_fault = self.family == Family::None;
        let stats = kernel.stats();
        let mut ack_us = self.history.ack_us().to_vec();
        ack_us.sort_unstable();
        let result = RunResult {
            outcome,
            messages,
            anomalies: std::mem::take(&mut self.anomalies),
            fired: no_fault || self.injector.has_fired(self.family),
            // What was lost had been where the fault could take it.
            exposed: no_fault || !losses.is_empty() || self.injector.was_exposed(self.family),
            losses,
            faults: struck,
            marks: self.marks.names(),
            unavailable_ms: self.history.longest_gap() / MILLIS,
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
