//! The controller in a world of its own: one disk, one clock, brokers that the tests play.

mod metadata_log;
mod new_topics;
mod partitions;
mod planted;
mod sessions;

use super::*;
use crate::config::PropertyMap;
use crate::disk::Disk;
use crate::log::memory_disk::MemoryDisk;
use crate::quorum::{METADATA_SEGMENT, decode_batches};
use crate::time::SECONDS;
use smallvec::smallvec;

/// How long a sync takes.
const SYNC_TIME: Nanos = 2 * MILLIS;
const SESSION: Nanos = 9 * SECONDS;
const TOPIC: TopicId = TopicId(77);

/// Kafka's defaults but for unclean election.
fn config(unclean: bool) -> BrokerConfig {
    let key = "unclean.leader.election.enable".to_string();
    let map = PropertyMap::from([(key, unclean.to_string())]);
    BrokerConfig::from_properties(&map).expect("a valid configuration")
}

fn topics() -> Vec<TopicSpec> {
    vec![TopicSpec {
        name: "payments".into(),
        id: TOPIC,
        assignment: vec![vec![0, 1, 2], vec![1, 2, 0]],
        configs: vec![("min.insync.replicas".into(), "2".into())],
    }]
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// The world: inputs by time and order.
struct World {
    controller: Controller,
    disk: MemoryDisk,
    now: Nanos,
    events: BTreeMap<(Nanos, u64), Input>,
    next_event: u64,
    rng: Stream,
    facts: Vec<Fact>,
    answers: Vec<(ConnId, i32, Response)>,
    closed: Vec<ConnId>,
    halted: bool,
    next_correlation: i32,
    epochs: BTreeMap<BrokerId, BrokerEpoch>,
}

impl World {
    /// A started controller whose log is open, with one connection, number 100.
    fn start(config: BrokerConfig, topics: Vec<TopicSpec>, disk: MemoryDisk) -> World {
        World::with_bug(config, topics, disk, None)
    }

    fn with_bug(
        config: BrokerConfig,
        topics: Vec<TopicSpec>,
        disk: MemoryDisk,
        bug: Option<Bug>,
    ) -> World {
        let mut world = World {
            controller: Controller::new(config, topics, bug),
            disk,
            now: 0,
            events: BTreeMap::new(),
            next_event: 0,
            rng: Stream::new(1, 1),
            facts: Vec::new(),
            answers: Vec::new(),
            closed: Vec::new(),
            halted: false,
            next_correlation: 0,
            epochs: BTreeMap::new(),
        };
        world.step(Input::Start);
        world.step(Input::Accepted(ConnId(100), NodeId(0)));
        world.run_for(10 * MILLIS);
        world
    }

    fn with_three_brokers(unclean: bool) -> World {
        World::three_brokers(World::start(
            config(unclean),
            topics(),
            MemoryDisk::default(),
        ))
    }

    fn three_brokers(mut world: World) -> World {
        for broker in 0..3 {
            assert_eq!(
                world.register(broker, broker as u128, -1).error,
                ErrorCode::None
            );
        }
        for broker in 0..3 {
            assert!(!world.heartbeat(broker).is_fenced);
        }
        world.run_for(10 * MILLIS);
        world
    }

    fn schedule(&mut self, at: Nanos, input: Input) {
        self.events.insert((at, self.next_event), input);
        self.next_event += 1;
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        let mut next_conn = 1;
        let mut env = Env {
            now: self.now,
            wall_ms: 1_700_000_000_000 + (self.now / MILLIS) as i64,
            disk: &mut self.disk,
            rng: &mut self.rng,
            out: &mut out,
            facts: &mut self.facts,
            next_conn: &mut next_conn,
        };
        self.controller.step(input, &mut env);
        for output in out {
            match output {
                Output::Send(conn, Frame::Response(correlation, response)) => {
                    self.answers.push((conn, correlation, *response))
                }
                Output::Timer(at, token) => self.schedule(at.max(self.now), Input::Timer(token)),
                Output::Serve(queue, cost) => self.schedule(self.now + cost, Input::Serve(queue)),
                Output::Close(conn) => self.closed.push(conn),
                Output::Halt => self.halted = true,
                other => panic!("unexpected {other:?}"),
            }
        }
        for token in std::mem::take(&mut self.disk.syncs) {
            self.schedule(self.now + SYNC_TIME, Input::Synced(token, Ok(())));
        }
    }

    fn run_for(&mut self, duration: Nanos) {
        let end = self.now + duration;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end || self.halted {
                break;
            }
            let ((at, _), input) = entry.remove_entry();
            self.now = at;
            self.step(input);
        }
        self.now = end;
    }

    /// Sends a request without waiting; answers its correlation id.
    fn send(&mut self, request: Request) -> i32 {
        self.next_correlation += 1;
        let frame = Frame::request(self.next_correlation, request);
        self.step(Input::Received(ConnId(100), frame));
        self.next_correlation
    }

    fn answer(&self, correlation: i32) -> Option<&Response> {
        let mut answers = self.answers.iter();
        answers
            .find(|(_, c, _)| *c == correlation)
            .map(|(_, _, r)| r)
    }

    fn ask(&mut self, request: Request) -> Response {
        let correlation = self.send(request);
        self.run_for(10 * MILLIS);
        self.answer(correlation)
            .expect("an answer within 10 ms")
            .clone()
    }

    fn register(
        &mut self,
        broker: BrokerId,
        incarnation: u128,
        previous_broker_epoch: BrokerEpoch,
    ) -> BrokerRegistrationResponse {
        let request = BrokerRegistrationRequest {
            broker,
            incarnation: Incarnation(incarnation),
            previous_broker_epoch,
        };
        match self.ask(Request::BrokerRegistration(request)) {
            Response::BrokerRegistration(r) => {
                if r.error.is_none() {
                    self.epochs.insert(broker, r.broker_epoch);
                }
                r
            }
            other => panic!("{other:?}"),
        }
    }

    fn heartbeat_request(&self, broker: BrokerId) -> BrokerHeartbeatRequest {
        BrokerHeartbeatRequest {
            broker,
            broker_epoch: self.epochs[&broker],
            current_metadata_offset: self.controller.image().offset(),
            want_fence: false,
            want_shut_down: false,
        }
    }

    fn beat(&mut self, request: BrokerHeartbeatRequest) -> BrokerHeartbeatResponse {
        match self.ask(Request::BrokerHeartbeat(request)) {
            Response::BrokerHeartbeat(r) => r,
            other => panic!("{other:?}"),
        }
    }

    fn heartbeat(&mut self, broker: BrokerId) -> BrokerHeartbeatResponse {
        let request = self.heartbeat_request(broker);
        self.beat(request)
    }

    /// Lets time pass while `alive` go on with their heartbeats every second.
    fn pass(&mut self, duration: Nanos, alive: &[BrokerId]) {
        let end = self.now + duration;
        while self.now < end {
            for broker in alive {
                self.heartbeat(*broker);
            }
            self.run_for(SECONDS);
        }
    }

    fn alter(
        &mut self,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
        proposal: AlterPartition,
    ) -> AlterPartitionResponse {
        let request = AlterPartitionRequest {
            broker,
            broker_epoch,
            topics: vec![(TOPIC, smallvec![proposal])],
        };
        match self.ask(Request::AlterPartition(request)) {
            Response::AlterPartition(r) => r,
            other => panic!("{other:?}"),
        }
    }

    /// What the leader of partition 0 would propose with this ISR.
    fn proposal(&self, isr: &[BrokerId]) -> AlterPartition {
        let state = self.state(0);
        AlterPartition {
            partition: 0,
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            new_isr: isr.iter().map(|id| (*id, self.epochs[id])).collect(),
        }
    }

    fn alter_one(&mut self, broker: BrokerId, proposal: AlterPartition) -> AlterPartitionResult {
        let epoch = self.epochs[&broker];
        let response = self.alter(broker, epoch, proposal);
        assert_eq!(response.error, ErrorCode::None);
        response.topics[0].1[0].clone()
    }

    fn state(&self, partition: i32) -> crate::controller::PartitionRegistration {
        self.controller
            .image()
            .partition(tp(partition))
            .expect("created")
            .clone()
    }

    fn fetch_request(&self, fetch_offset: Offset, max_wait_ms: i32) -> FetchRequest {
        FetchRequest {
            replica_id: 0,
            replica_epoch: -1,
            max_wait_ms,
            min_bytes: 0,
            max_bytes: 1 << 20,
            isolation_level: 0,
            topics: vec![(
                TopicId::METADATA,
                smallvec![FetchPartition {
                    partition: 0,
                    current_leader_epoch: NO_EPOCH,
                    fetch_offset,
                    last_fetched_epoch: NO_EPOCH,
                    log_start_offset: 0,
                    partition_max_bytes: 1 << 20,
                }],
            )],
        }
    }

    fn fetch(&mut self, request: FetchRequest) -> FetchPartitionResult {
        match self.ask(Request::Fetch(request)) {
            Response::Fetch(r) => r.topics[0].1[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    fn count(&self, wanted: &Fact) -> usize {
        self.facts.iter().filter(|f| *f == wanted).count()
    }
}

impl World {
    fn fetch_all(&mut self) -> MetadataImage {
        let request = self.fetch_request(0, 0);
        let answer = self.fetch(request);
        let mut image = MetadataImage::new();
        for (offset, record) in decode_batches(&answer.records).unwrap().records {
            image.apply(&record, offset);
        }
        image
    }
}
