//! A cluster for this crate's tests: real brokers and a real controller, stepped one input after the
//! other in order of time. Messages take a millisecond, syncs too, queues their cost. What a test wants
//! to see in another order it holds back and releases.
//!
//! What it does not model: power loss (a disk keeps all bytes), loss of messages other than by a cut.

use crate::broker::Broker;
use crate::bug::Bug;
use crate::config::{BrokerConfig, PropertyMap};
use crate::controller::{AdminCommand, Controller, PartitionRegistration, TopicSpec};
use crate::disk::DiskError;
use crate::env::*;
use crate::fact::Fact;
use crate::ids::*;
use crate::log::BatchBuilder;
use crate::log::memory_disk::MemoryDisk;
use crate::replica::Partition;
use crate::replica::fetcher::FetchState;
use crate::time::{MILLIS, Nanos, SECONDS};
use crate::wire::*;
use smallvec::smallvec;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const TOPIC: TopicId = TopicId(77);
/// The other topic of [`TestCluster::start_with`].
pub(crate) const OTHER: TopicId = TopicId(78);
/// The partition under test.
pub(crate) const P0: TopicPartition = TopicPartition {
    topic: TOPIC,
    partition: 0,
};
const CONTROLLER: NodeId = NodeId(NodeId::FIRST_CONTROLLER);
const CLIENT: NodeId = NodeId(NodeId::FIRST_CLIENT);
const LATENCY: Nanos = MILLIS;
const SYNC_TIME: Nanos = MILLIS;

enum Kind {
    Broker(Box<Broker>),
    Controller(Box<Controller>),
}

struct Host {
    process: Option<Kind>,
    disk: MemoryDisk,
    incarnation: u64,
    rng: Stream,
    /// How far its wall clock is ahead.
    wall_ahead_ms: i64,
}

/// Whether an input is held back.
type Held = Box<dyn Fn(NodeId, &Input) -> bool>;

/// Brokers 1, 2, 3, a controller, and a client that the test plays.
pub(crate) struct TestCluster {
    pub now: Nanos,
    pub facts: Vec<(Nanos, NodeId, Fact)>,
    pub halted: Vec<NodeId>,
    config: BrokerConfig,
    bug: Option<Bug>,
    hosts: BTreeMap<NodeId, Host>,
    events: BTreeMap<(Nanos, u64), (NodeId, u64, Input)>,
    next_event: u64,
    /// Both ends; the first one connected.
    conns: BTreeMap<ConnId, (NodeId, NodeId)>,
    next_conn: u64,
    cuts: BTreeSet<(NodeId, NodeId)>,
    held: Vec<Held>,
    back: Vec<(NodeId, u64, Input)>,
    client: BTreeMap<BrokerId, ConnId>,
    answers: BTreeMap<i32, Response>,
    next_correlation: i32,
    /// Syncs of these nodes fail.
    pub failing_syncs: BTreeSet<BrokerId>,
}

impl TestCluster {
    /// A cluster whose partition 0 of topic `t` is led by broker 1 with all three in sync.
    pub fn start(properties: &[(&str, &str)], bug: Option<Bug>) -> TestCluster {
        TestCluster::launch_all(properties, bug, &[("t", TOPIC)], &[])
    }

    /// The same, the topic with settings of its own.
    pub fn start_topic(settings: &[(&str, &str)]) -> TestCluster {
        TestCluster::launch_all(&[], None, &[("t", TOPIC)], settings)
    }

    /// The same with another topic, of one partition on the same brokers.
    pub fn start_with(topic: &str) -> TestCluster {
        TestCluster::start_both(&[], topic)
    }

    /// Both topics, and brokers with properties of their own.
    pub fn start_both(properties: &[(&str, &str)], topic: &str) -> TestCluster {
        let topics = [("t", TOPIC), (topic, OTHER)];
        TestCluster::launch_all(properties, None, &topics, &[])
    }

    fn launch_all(
        properties: &[(&str, &str)],
        bug: Option<Bug>,
        topics: &[(&str, TopicId)],
        settings: &[(&str, &str)],
    ) -> TestCluster {
        let map: PropertyMap = properties
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        let config = BrokerConfig::from_properties(&map).expect("valid properties");
        let mut cluster = TestCluster {
            now: 0,
            facts: Vec::new(),
            halted: Vec::new(),
            config,
            bug,
            hosts: BTreeMap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            conns: BTreeMap::new(),
            next_conn: 1,
            cuts: BTreeSet::new(),
            held: Vec::new(),
            back: Vec::new(),
            client: BTreeMap::new(),
            answers: BTreeMap::new(),
            next_correlation: 0,
            failing_syncs: BTreeSet::new(),
        };
        let nodes = (1..=3).map(NodeId::of_broker).chain([CONTROLLER]);
        for node in nodes {
            let host = Host {
                process: None,
                disk: MemoryDisk::default(),
                incarnation: 0,
                rng: Stream::new(1, u64::from(node.0)),
                wall_ahead_ms: 0,
            };
            cluster.hosts.insert(node, host);
        }
        cluster.start_controller(topics, settings);
        for broker in 1..=3 {
            cluster.start_broker(broker);
        }
        cluster.until("the topic to be led and in sync", |c| {
            c.is_led_by(1) && c.partition(1).isr().len() == 3
        });
        cluster.run(100 * MILLIS);
        cluster
    }

    fn start_controller(&mut self, topics: &[(&str, TopicId)], settings: &[(&str, &str)]) {
        let settings = settings.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        let topics = topics.iter().map(|&(name, id)| TopicSpec {
            name: name.into(),
            id,
            assignment: vec![vec![1, 2, 3]],
            configs: settings.clone().collect(),
        });
        let controller = Controller::new(self.config.clone(), topics.collect(), self.bug);
        self.launch(CONTROLLER, Kind::Controller(Box::new(controller)));
    }

    /// Starts a broker's process on its disk.
    pub fn start_broker(&mut self, id: BrokerId) {
        let broker = Broker::new(id, self.config.clone(), CONTROLLER, self.bug);
        self.launch(NodeId::of_broker(id), Kind::Broker(Box::new(broker)));
    }

    fn launch(&mut self, node: NodeId, process: Kind) {
        let host = self.hosts.get_mut(&node).expect("a node");
        assert!(host.process.is_none(), "{node} runs");
        host.process = Some(process);
        host.incarnation += 1;
        self.step(node, Input::Start);
    }

    /// Kills a process: its connections are reset.
    pub fn kill(&mut self, id: BrokerId) {
        self.end(NodeId::of_broker(id));
    }

    fn end(&mut self, node: NodeId) {
        self.hosts.get_mut(&node).expect("a node").process = None;
        let conns: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, (a, b))| *a == node || *b == node)
            .map(|(conn, _)| *conn)
            .collect();
        for conn in conns {
            self.close(conn, node, CloseReason::Reset);
        }
    }

    pub fn disk(&mut self, id: BrokerId) -> &mut MemoryDisk {
        &mut self
            .hosts
            .get_mut(&NodeId::of_broker(id))
            .expect("a node")
            .disk
    }

    /// Cuts the way between two nodes, in both directions; what is sent meanwhile is lost.
    pub fn cut(&mut self, a: NodeId, b: NodeId) {
        self.cuts.extend([(a, b), (b, a)]);
    }

    pub fn cut_from_controller(&mut self, id: BrokerId) {
        self.cut(NodeId::of_broker(id), CONTROLLER);
    }

    pub fn cut_brokers(&mut self, a: BrokerId, b: BrokerId) {
        self.cut(NodeId::of_broker(a), NodeId::of_broker(b));
    }

    /// Ends every cut; connections over a cut way were lost.
    pub fn heal(&mut self) {
        let cuts = std::mem::take(&mut self.cuts);
        let broken: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, ends)| cuts.contains(ends))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in broken {
            let (a, _) = self.conns[&conn];
            self.close(conn, a, CloseReason::Reset);
            self.put(LATENCY, a, Input::Closed(conn, CloseReason::Reset));
        }
    }

    /// Holds back the inputs of a broker that the test names, from now on.
    pub fn hold(&mut self, id: BrokerId, what: impl Fn(&Input) -> bool + 'static) {
        let node = NodeId::of_broker(id);
        self.held
            .push(Box::new(move |to, input| to == node && what(input)));
    }

    /// Holds back a queue of a broker.
    pub fn hold_queue(&mut self, id: BrokerId, queue: Queue) {
        self.hold(
            id,
            move |input| matches!(input, Input::Serve(q) if *q == queue),
        );
    }

    /// Lets everything that was held back happen now, in its order.
    pub fn release(&mut self) {
        self.held.clear();
        for (node, incarnation, input) in std::mem::take(&mut self.back) {
            self.deliver(node, incarnation, input);
        }
    }

    /// Lets the first input that was held back happen; the rest stays.
    pub fn release_one(&mut self) {
        let (node, incarnation, input) = self.back.remove(0);
        if self.hosts[&node].incarnation == incarnation {
            self.step(node, input);
        }
    }

    /// Lets everything that was held back of one broker happen now.
    pub fn release_of(&mut self, id: BrokerId) {
        let node = NodeId::of_broker(id);
        let held = std::mem::take(&mut self.held);
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.back)
            .into_iter()
            .partition(|(to, ..)| *to == node);
        self.back = later;
        for (_, incarnation, input) in now {
            self.deliver(node, incarnation, input);
        }
        let freed = move |to: NodeId| to == node;
        self.held = held
            .into_iter()
            .map(|held| -> Held { Box::new(move |to, input| !freed(to) && held(to, input)) })
            .collect();
    }

    /// How many inputs are held back.
    pub fn held_back(&self) -> usize {
        self.back.len()
    }

    fn put(&mut self, delay: Nanos, node: NodeId, input: Input) {
        let Some(host) = self.hosts.get(&node) else {
            return self.client_takes(input);
        };
        let incarnation = host.incarnation;
        let key = (self.now + delay, self.next_event);
        self.events.insert(key, (node, incarnation, input));
        self.next_event += 1;
    }

    fn client_takes(&mut self, input: Input) {
        match input {
            Input::Received(_, Frame::Response(correlation, response)) => {
                self.answers.insert(correlation, *response);
            }
            Input::Closed(conn, _) => self.client.retain(|_, c| *c != conn),
            _ => {}
        }
    }

    fn deliver(&mut self, node: NodeId, incarnation: u64, input: Input) {
        let host = &self.hosts[&node];
        if host.incarnation != incarnation || host.process.is_none() {
            return;
        }
        if self.held.iter().any(|held| held(node, &input)) {
            self.back.push((node, incarnation, input));
            return;
        }
        self.step(node, input);
    }

    fn step(&mut self, node: NodeId, input: Input) {
        let mut out = Vec::new();
        let mut facts = Vec::new();
        let host = self.hosts.get_mut(&node).expect("a node");
        let mut env = Env {
            now: self.now,
            wall_ms: 1_700_000_000_000 + (self.now / MILLIS) as i64 + host.wall_ahead_ms,
            disk: &mut host.disk,
            rng: &mut host.rng,
            out: &mut out,
            facts: &mut facts,
            next_conn: &mut self.next_conn,
        };
        match host.process.as_mut().expect("it runs") {
            Kind::Broker(broker) => broker.step(input, &mut env),
            Kind::Controller(controller) => controller.step(input, &mut env),
        }
        let syncs = std::mem::take(&mut host.disk.syncs);
        let now = self.now;
        self.facts
            .extend(facts.into_iter().map(|fact| (now, node, fact)));
        let fails = node
            .broker()
            .is_some_and(|b| self.failing_syncs.contains(&b));
        for token in syncs {
            let result = if fails { Err(DiskError::Io) } else { Ok(()) };
            self.put(SYNC_TIME, node, Input::Synced(token, result));
        }
        for output in out {
            self.apply(node, output);
        }
    }

    fn apply(&mut self, node: NodeId, output: Output) {
        match output {
            Output::Connect(conn, to) => {
                self.conns.insert(conn, (node, to));
                if self.cuts.contains(&(node, to)) {
                } else if self.hosts[&to].process.is_none() {
                    self.conns.remove(&conn);
                    let refused = Input::Closed(conn, CloseReason::Refused);
                    self.put(LATENCY, node, refused);
                } else {
                    self.put(LATENCY, to, Input::Accepted(conn, node));
                    self.put(2 * LATENCY, node, Input::Connected(conn));
                }
            }
            Output::Send(conn, frame) => {
                if let Some(&(a, b)) = self.conns.get(&conn) {
                    let to = if a == node { b } else { a };
                    if !self.cuts.contains(&(node, to)) {
                        self.put(LATENCY, to, Input::Received(conn, frame));
                    }
                }
            }
            Output::Close(conn) => self.close(conn, node, CloseReason::Closed),
            Output::Timer(at, token) => {
                self.put(at.saturating_sub(self.now), node, Input::Timer(token));
            }
            Output::Serve(queue, cost) => self.put(cost, node, Input::Serve(queue)),
            Output::Reply(..) => unreachable!("no application here"),
            Output::Halt => {
                self.halted.push(node);
                self.end(node);
            }
        }
    }

    fn close(&mut self, conn: ConnId, by: NodeId, reason: CloseReason) {
        if let Some((a, b)) = self.conns.remove(&conn) {
            let other = if a == by { b } else { a };
            if !self.cuts.contains(&(by, other)) {
                self.put(LATENCY, other, Input::Closed(conn, reason));
            }
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Nanos) {
        let end = self.now + duration;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), (node, incarnation, input)) = entry.remove_entry();
            self.now = at;
            self.deliver(node, incarnation, input);
        }
        self.now = end;
    }

    /// Lets time pass until something is so, two minutes at most.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&TestCluster) -> bool) {
        let bound = self.now + 120 * SECONDS;
        while !is_so(self) {
            assert!(self.now < bound, "waited two minutes for {what}");
            self.run(MILLIS);
        }
    }

    /// Resets every connection between two brokers.
    pub fn reset_connections(&mut self, a: BrokerId, b: BrokerId) {
        self.cut_brokers(a, b);
        self.heal();
    }

    // ---- what a client and an operator do ---------------------------------------------------

    /// Sends a request from the client without waiting; its correlation id.
    pub fn send(&mut self, to: BrokerId, request: Request) -> i32 {
        let node = NodeId::of_broker(to);
        let conn = match self.client.get(&to) {
            Some(conn) => *conn,
            None => {
                let conn = ConnId(self.next_conn);
                self.next_conn += 1;
                self.conns.insert(conn, (CLIENT, node));
                self.client.insert(to, conn);
                self.put(LATENCY, node, Input::Accepted(conn, CLIENT));
                conn
            }
        };
        self.next_correlation += 1;
        let frame = Frame::request(self.next_correlation, request);
        self.put(LATENCY, node, Input::Received(conn, frame));
        self.next_correlation
    }

    /// The next request goes over a connection of its own.
    pub fn new_connection(&mut self, to: BrokerId) {
        self.client.remove(&to);
    }

    /// The client closes its connection, behind what it has sent.
    pub fn disconnect(&mut self, from: BrokerId) {
        let conn = self.client.remove(&from).expect("a connection");
        let closed = Input::Closed(conn, CloseReason::Closed);
        self.put(LATENCY, NodeId::of_broker(from), closed);
    }

    /// Sends one record to partition 0.
    pub fn produce(&mut self, to: BrokerId, acks: i16, value: &str) -> i32 {
        let mut batch = BatchBuilder::new();
        batch.append(1_700_000_000_000, None, Some(value.as_bytes()), &[]);
        self.produce_batch(to, acks, batch)
    }

    /// Sends one record with a producer's sequence to partition 0.
    pub fn produce_idempotent(&mut self, to: BrokerId, sequence: i32, value: &str) -> i32 {
        let mut batch = BatchBuilder::new();
        batch.append(1_700_000_000_000, None, Some(value.as_bytes()), &[]);
        batch.set_producer_state(5, 0, sequence);
        self.produce_batch(to, -1, batch)
    }

    fn produce_batch(&mut self, to: BrokerId, acks: i16, batch: BatchBuilder) -> i32 {
        let partition = ProducePartition {
            partition: 0,
            records: batch.build(),
        };
        let request = ProduceRequest {
            acks,
            timeout_ms: 30_000,
            topics: vec![(TOPIC, smallvec![partition])],
        };
        self.send(to, Request::Produce(request))
    }

    /// A consumer asks for what partition 0 has from an offset on, and waits half a second for it.
    pub fn fetch_from(&mut self, from: BrokerId, epoch: LeaderEpoch, offset: Offset) -> i32 {
        let ask = FetchPartition {
            partition: 0,
            current_leader_epoch: epoch,
            fetch_offset: offset,
            last_fetched_epoch: NO_EPOCH,
            log_start_offset: -1,
            partition_max_bytes: 1 << 20,
        };
        let request = FetchRequest {
            replica_id: -1,
            replica_epoch: -1,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation_level: 0,
            topics: vec![(TOPIC, smallvec![ask])],
        };
        self.send(from, Request::Fetch(request))
    }

    /// What a Produce was answered, if it was: the error and the offset.
    pub fn answer(&self, correlation: i32) -> Option<(ErrorCode, Offset)> {
        match self.answers.get(&correlation)? {
            Response::Produce(response) => {
                let result = &response.topics[0].1[0];
                Some((result.error, result.base_offset))
            }
            other => panic!("not a Produce: {other:?}"),
        }
    }

    /// The answer to a request, if it has come.
    pub fn response(&self, correlation: i32) -> Option<&Response> {
        self.answers.get(&correlation)
    }

    /// Sends one record and waits for the answer.
    pub fn produced(&mut self, to: BrokerId, acks: i16, value: &str) -> (ErrorCode, Offset) {
        let correlation = self.produce(to, acks, value);
        self.until("a Produce to be answered", |c| {
            c.answer(correlation).is_some()
        });
        self.answer(correlation).expect("just seen")
    }

    /// Asks the controller to move the leadership.
    pub fn move_leader(&mut self, to: BrokerId) {
        self.move_leader_of(P0, to);
    }

    /// The same for another partition.
    pub fn move_leader_of(&mut self, partition: TopicPartition, to: BrokerId) {
        let command = AdminCommand::MoveLeader { partition, to };
        self.step(CONTROLLER, Input::Admin(command));
    }

    /// SIGTERM.
    pub fn shut_down(&mut self, id: BrokerId) {
        self.step(NodeId::of_broker(id), Input::Shutdown);
    }

    // ---- what there is to see ---------------------------------------------------------------

    pub fn is_alive(&self, id: BrokerId) -> bool {
        self.hosts[&NodeId::of_broker(id)].process.is_some()
    }

    pub fn broker(&self, id: BrokerId) -> &Broker {
        match &self.hosts[&NodeId::of_broker(id)].process {
            Some(Kind::Broker(broker)) => broker,
            _ => panic!("broker {id} does not run"),
        }
    }

    /// A broker's replica of partition 0.
    pub fn partition(&self, id: BrokerId) -> &Partition {
        let replicas = self.broker(id).replicas();
        replicas
            .and_then(|r| r.partition(P0))
            .expect("a replica of partition 0")
    }

    pub fn has_partition(&self, id: BrokerId) -> bool {
        self.is_alive(id)
            && self
                .broker(id)
                .replicas()
                .is_some_and(|r| r.partition(P0).is_some())
    }

    pub fn log_end(&self, id: BrokerId) -> Offset {
        self.partition(id).log.log_end_offset()
    }

    pub fn high_watermark(&self, id: BrokerId) -> Offset {
        self.partition(id).log.high_watermark
    }

    pub fn controller(&self) -> &Controller {
        match &self.hosts[&CONTROLLER].process {
            Some(Kind::Controller(controller)) => controller,
            _ => panic!("no controller"),
        }
    }

    /// Partition 0 as the controller has it.
    pub fn state(&self) -> PartitionRegistration {
        let image = self.controller().image();
        image.partition(P0).expect("created").clone()
    }

    /// Whether that broker leads partition 0 and knows it.
    pub fn is_led_by(&self, id: BrokerId) -> bool {
        let image = self.controller().image();
        image.partition(P0).is_some_and(|p| p.leader == id)
            && self.has_partition(id)
            && self.partition(id).is_leader()
            && self.partition(id).leader_epoch() == self.state().leader_epoch
    }

    /// How a follower's fetcher stands with partition 0.
    pub fn fetch_state(&self, id: BrokerId) -> &FetchState {
        let replicas = self.broker(id).replicas().expect("it runs");
        replicas.fetch_state(P0).expect("it fetches partition 0")
    }

    /// The values in a broker's log, in order of offset.
    pub fn values(&self, id: BrokerId) -> Vec<String> {
        let host = &self.hosts[&NodeId::of_broker(id)];
        let log = &self.partition(id).log;
        let batches = log.batches_from(0, &host.disk).expect("it can be read");
        let mut values = Vec::new();
        for batch in batches {
            for record in crate::log::records(&batch).expect("a batch") {
                let value = record.expect("a record").value.expect("a value");
                values.push(String::from_utf8_lossy(&value).into_owned());
            }
        }
        values
    }

    /// Facts of a broker.
    pub fn facts_of(&self, id: BrokerId) -> impl Iterator<Item = &Fact> {
        let node = NodeId::of_broker(id);
        self.facts
            .iter()
            .filter(move |(_, n, _)| *n == node)
            .map(|(.., fact)| fact)
    }
}
