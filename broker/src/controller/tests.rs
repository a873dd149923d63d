//! The controller in a world of its own: one disk, one clock, brokers that the tests play.

use super::*;
use crate::config::TopicConfig;
use crate::disk::{Disk, DiskError, FileId};
use crate::quorum::{METADATA_SEGMENT, decode_batches};
use crate::time::SECONDS;
use bytes::Bytes;

/// How long a sync takes.
const SYNC_TIME: Nanos = 2 * MILLIS;
const SESSION: Nanos = 9 * SECONDS;
const TOPIC: TopicId = TopicId(77);

/// A disk that tells apart what is synced.
#[derive(Debug, Default)]
struct MemoryDisk {
    paths: Vec<String>,
    contents: Vec<Vec<u8>>,
    started: Vec<SyncToken>,
}

impl Disk for MemoryDisk {
    fn open(&mut self, path: &str) -> Result<FileId, DiskError> {
        let index = self.paths.iter().position(|p| p == path);
        let index = index.unwrap_or_else(|| {
            self.paths.push(path.to_string());
            self.contents.push(Vec::new());
            self.paths.len() - 1
        });
        Ok(FileId(index as u32))
    }
    fn exists(&self, path: &str) -> bool {
        self.paths.iter().any(|p| p == path)
    }
    fn list(&self, prefix: &str) -> Vec<String> {
        let mut found: Vec<String> = self.paths.clone();
        found.retain(|p| p.starts_with(prefix));
        found.sort();
        found
    }
    fn len(&self, file: FileId) -> u64 {
        self.contents[file.0 as usize].len() as u64
    }
    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError> {
        self.contents[file.0 as usize].extend_from_slice(bytes);
        Ok(())
    }
    fn read(&self, file: FileId, at: u64, len: u64) -> Result<Bytes, DiskError> {
        let end = (at + len) as usize;
        let bytes = self.contents[file.0 as usize].get(at as usize..end);
        bytes.map(Bytes::copy_from_slice).ok_or(DiskError::Io)
    }
    fn truncate(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        self.contents[file.0 as usize].truncate(len as usize);
        Ok(())
    }
    fn rename(&mut self, _from: &str, _to: &str) -> Result<(), DiskError> {
        unreachable!("the controller renames nothing")
    }
    fn delete(&mut self, _path: &str) -> Result<(), DiskError> {
        unreachable!("the controller deletes nothing")
    }
    fn sync(&mut self, _file: FileId, token: SyncToken) {
        self.started.push(token);
    }
    fn sync_dir(&mut self, _dir: &str, token: SyncToken) {
        self.started.push(token);
    }
}

fn config(unclean: bool) -> BrokerConfig {
    BrokerConfig {
        broker_session_timeout_ms: (SESSION / MILLIS) as i64,
        broker_heartbeat_interval_ms: 2000,
        initial_broker_registration_timeout_ms: 60_000,
        replica_lag_time_max_ms: 30_000,
        replica_fetch_wait_max_ms: 500,
        replica_fetch_min_bytes: 1,
        replica_fetch_max_bytes: 1 << 20,
        replica_fetch_response_max_bytes: 10 << 20,
        replica_fetch_backoff_ms: 1000,
        replica_socket_timeout_ms: 30_000,
        replica_high_watermark_checkpoint_interval_ms: 5000,
        log_flush_scheduler_interval_ms: i64::MAX,
        log_flush_offset_checkpoint_interval_ms: 60_000,
        log_initial_task_delay_ms: 30_000,
        request_timeout_ms: 30_000,
        offsets_commit_timeout_ms: 5000,
        offsets_topic_num_partitions: 1,
        offsets_topic_replication_factor: 3,
        producer_id_expiration_ms: 86_400_000,
        topic_defaults: TopicConfig {
            min_insync_replicas: 1,
            unclean_leader_election_enable: unclean,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            max_message_bytes: 1 << 20,
        },
    }
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
    next_correlation: i32,
    epochs: BTreeMap<BrokerId, BrokerEpoch>,
}

impl World {
    /// A started controller whose log is open, with one connection, number 100.
    fn start(config: BrokerConfig, topics: Vec<TopicSpec>, disk: MemoryDisk) -> World {
        let mut world = World {
            controller: Controller::new(config, topics, None),
            disk,
            now: 0,
            events: BTreeMap::new(),
            next_event: 0,
            rng: Stream::new(1, 1),
            facts: Vec::new(),
            answers: Vec::new(),
            closed: Vec::new(),
            next_correlation: 0,
            epochs: BTreeMap::new(),
        };
        world.step(Input::Start);
        world.step(Input::Accepted(ConnId(100), NodeId(0)));
        world.run_for(10 * MILLIS);
        world
    }

    fn with_three_brokers(unclean: bool) -> World {
        let mut world = World::start(config(unclean), topics(), MemoryDisk::default());
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
                    self.answers.push((conn, correlation, response))
                }
                Output::Timer(at, token) => self.schedule(at.max(self.now), Input::Timer(token)),
                Output::Serve(queue, cost) => self.schedule(self.now + cost, Input::Serve(queue)),
                Output::Close(conn) => self.closed.push(conn),
                other => panic!("unexpected {other:?}"),
            }
        }
        for token in std::mem::take(&mut self.disk.started) {
            self.schedule(self.now + SYNC_TIME, Input::Synced(token, Ok(())));
        }
    }

    fn run_for(&mut self, duration: Nanos) {
        let end = self.now + duration;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
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
        let frame = Frame::Request(self.next_correlation, request);
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
            incarnation,
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
            topics: vec![(TOPIC, vec![proposal])],
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
                vec![FetchPartition {
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

#[test]
fn topics_come_once_all_their_brokers_are_unfenced_with_the_whole_assignment_in_sync() {
    let mut world = World::start(config(false), topics(), MemoryDisk::default());
    for broker in 0..3 {
        world.register(broker, 9, -1);
    }
    world.heartbeat(0);
    world.heartbeat(1);
    world.run_for(SECONDS);
    assert!(world.controller.image().topics().is_empty());
    world.heartbeat(2);
    world.run_for(10 * MILLIS);
    assert_eq!(world.state(0).leader, 0);
    assert_eq!(&world.state(1).isr[..], &[1, 2, 0]);
    assert_eq!((world.state(1).leader, world.state(1).leader_epoch), (1, 0));
    let image = world.controller.image();
    assert_eq!(
        image.topic_config("payments", "min.insync.replicas"),
        Some("2")
    );
}

#[test]
fn a_broker_is_unfenced_only_when_it_has_applied_its_own_registration() {
    let mut world = World::start(config(false), Vec::new(), MemoryDisk::default());
    let epoch = world.register(1, 7, -1).broker_epoch;
    let behind = BrokerHeartbeatRequest {
        current_metadata_offset: epoch - 1,
        ..world.heartbeat_request(1)
    };
    let answer = world.beat(behind);
    assert!(answer.is_fenced && !answer.is_caught_up);
    assert_eq!(world.count(&Fact::BrokerUnfenced { broker: 1 }), 0);
    let answer = world.heartbeat(1);
    assert!(!answer.is_fenced && answer.is_caught_up);
    assert_eq!(world.count(&Fact::BrokerUnfenced { broker: 1 }), 1);
    assert_eq!(world.count(&Fact::BrokerRegistered { broker: 1, epoch }), 1);
}

#[test]
fn a_heartbeat_of_another_epoch_is_stale_and_changes_nothing() {
    let mut world = World::with_three_brokers(false);
    let request = BrokerHeartbeatRequest {
        broker_epoch: world.epochs[&1] - 1,
        want_fence: true,
        ..world.heartbeat_request(1)
    };
    assert_eq!(world.beat(request).error, ErrorCode::StaleBrokerEpoch);
    assert!(world.controller.image().is_active(1));
}

#[test]
fn registering_the_same_incarnation_again_keeps_its_epoch_and_its_state() {
    let mut world = World::with_three_brokers(false);
    let epoch = world.epochs[&1];
    assert_eq!(world.register(1, 1, -1).broker_epoch, epoch);
    assert!(world.controller.image().is_active(1));
    assert_eq!(&world.state(0).isr[..], &[0, 1, 2]);
    assert_eq!(world.count(&Fact::BrokerRegistered { broker: 1, epoch }), 1);
}

#[test]
fn another_incarnation_is_a_duplicate_until_the_session_ends_and_then_gets_a_new_epoch() {
    let mut world = World::with_three_brokers(false);
    let former = world.epochs[&1];
    let refused = world.register(1, 0xbeef, former);
    assert_eq!(refused.error, ErrorCode::DuplicateBrokerRegistration);
    assert_eq!(refused.broker_epoch, -1);
    world.pass(SESSION - SECONDS, &[0, 2]);
    let refused = world.register(1, 0xbeef, former);
    assert_eq!(refused.error, ErrorCode::DuplicateBrokerRegistration);
    world.pass(2 * SECONDS, &[0, 2]);
    let accepted = world.register(1, 0xbeef, former);
    assert_eq!(accepted.error, ErrorCode::None);
    assert!(accepted.broker_epoch > former);
}

/// KAFKA-18106: the sweep that fences comes up to an eighth of a session after its end.
#[test]
fn a_new_incarnation_before_the_fencing_takes_the_old_one_out_of_isr_and_leadership() {
    let mut world = World::with_three_brokers(false);
    let last_heard = world.now;
    world.pass(SESSION - SECONDS, &[0, 2]);
    // Just behind the session's end; the next sweep is still to come.
    while world.now <= last_heard + SESSION {
        world.run_for(MILLIS);
    }
    assert!(world.controller.image().is_active(1), "fenced already");
    assert_eq!(world.register(1, 0xbeef, -1).error, ErrorCode::None);
    assert_eq!(&world.state(0).isr[..], &[0, 2]);
    assert_eq!((world.state(1).leader, world.state(1).leader_epoch), (2, 1));
    assert_eq!(world.count(&Fact::BrokerFenced { broker: 1 }), 1);
}

#[test]
fn a_silent_broker_is_fenced_after_its_session_and_its_partitions_get_leaders_from_the_isr() {
    let mut world = World::with_three_brokers(false);
    world.pass(SESSION - SECONDS, &[1, 2]);
    assert!(world.controller.image().is_active(0));
    world.pass(3 * SECONDS, &[1, 2]);
    assert!(!world.controller.image().is_active(0));
    let led = world.state(0);
    assert_eq!(
        (led.leader, led.leader_epoch, led.partition_epoch),
        (1, 1, 1)
    );
    assert_eq!(&led.isr[..], &[1, 2]);
    // It only followed in the other: the ISR shrinks and the leader epoch stays (KAFKA-15021).
    let followed = world.state(1);
    assert_eq!(
        (
            followed.leader,
            followed.leader_epoch,
            followed.partition_epoch
        ),
        (1, 0, 1)
    );
    let fact = Fact::PartitionChanged {
        partition: tp(0),
        leader: 1,
        leader_epoch: 1,
        isr: vec![1, 2],
        unclean: false,
    };
    assert_eq!(world.count(&fact), 1);
    assert_eq!(world.count(&Fact::BrokerFenced { broker: 0 }), 1);
}

/// KAFKA-17793: the sweep was queued before the heartbeat came, and is handled before it.
#[test]
fn a_heartbeat_counts_as_it_arrives_not_as_it_is_handled() {
    let mut world = World::with_three_brokers(false);
    let last_heard = world.now;
    world.pass(SESSION - SECONDS, &[0, 2]);
    while world.now <= last_heard + SESSION {
        world.run_for(MILLIS);
    }
    world.step(Input::Timer(FENCE_STALE));
    let request = world.heartbeat_request(1);
    world.send(Request::BrokerHeartbeat(request));
    world.run_for(SECONDS);
    assert!(world.controller.image().is_active(1));
}

/// Fences 1 and 2, then 0: broker 0 is the last member of both ISRs.
fn fence_all_but_last(world: &mut World) {
    world.pass(12 * SECONDS, &[0]);
    assert_eq!(&world.state(0).isr[..], &[0]);
    world.pass(12 * SECONDS, &[]);
    world.run_for(12 * SECONDS);
    assert!(!world.controller.image().is_active(0));
}

#[test]
fn the_last_isr_member_stays_and_is_elected_again_when_it_is_back() {
    let mut world = World::with_three_brokers(false);
    fence_all_but_last(&mut world);
    let offline = world.state(0);
    assert_eq!((&offline.isr[..], offline.leader), (&[0][..], NO_BROKER));
    // A replica that is not in the ISR does not help.
    assert!(!world.heartbeat(2).is_fenced);
    assert_eq!(world.state(0), offline);
    assert!(!world.heartbeat(0).is_fenced);
    let back = world.state(0);
    assert_eq!(
        (back.leader, back.leader_epoch),
        (0, offline.leader_epoch + 1)
    );
    assert!(!back.recovering);
}

#[test]
fn unclean_election_takes_a_replica_outside_the_isr_as_it_is_unfenced() {
    let mut world = World::with_three_brokers(true);
    fence_all_but_last(&mut world);
    assert!(!world.heartbeat(2).is_fenced);
    let state = world.state(0);
    assert_eq!(
        (state.leader, &state.isr[..], state.recovering),
        (2, &[2][..], true)
    );
    let fact = Fact::PartitionChanged {
        partition: tp(0),
        leader: 2,
        leader_epoch: state.leader_epoch,
        isr: vec![2],
        unclean: true,
    };
    assert_eq!(world.count(&fact), 1);
    // The leader's first proposal ends the recovery.
    let proposal = world.proposal(&[2]);
    assert_eq!(world.alter_one(2, proposal).error, ErrorCode::None);
    assert!(!world.state(0).recovering);
}

#[test]
fn a_topics_own_setting_overrides_the_controllers_default_of_unclean_election() {
    let mut specs = topics();
    specs[0]
        .configs
        .push(("unclean.leader.election.enable".into(), "false".into()));
    let mut world = World::start(config(true), specs, MemoryDisk::default());
    for broker in 0..3 {
        world.register(broker, 1, -1);
        world.heartbeat(broker);
    }
    world.run_for(10 * MILLIS);
    fence_all_but_last(&mut world);
    world.heartbeat(2);
    assert_eq!(world.state(0).leader, NO_BROKER);
}

#[test]
fn an_isr_change_by_the_leader_is_answered_with_the_new_state() {
    let mut world = World::with_three_brokers(false);
    let shrink = world.proposal(&[1, 0]);
    let result = world.alter_one(0, shrink);
    assert_eq!(
        (result.error, result.leader, result.leader_epoch),
        (ErrorCode::None, 0, 0)
    );
    assert_eq!((result.isr, result.partition_epoch), (vec![0, 1], 1));
    let expand = world.proposal(&[0, 1, 2]);
    assert_eq!(world.alter_one(0, expand).partition_epoch, 2);
    assert_eq!(&world.state(0).isr[..], &[0, 1, 2]);
}

#[test]
fn alter_partition_refuses_what_kafka_refuses_and_changes_nothing() {
    let mut world = World::with_three_brokers(false);
    let shrink = world.proposal(&[0, 1]);
    world.alter_one(0, shrink);
    let before = world.state(0);
    let good = world.proposal(&[0, 1, 2]);
    let epochs = world.epochs.clone();
    let refused: Vec<(&str, BrokerId, AlterPartition, ErrorCode)> = vec![
        (
            "leader epoch ahead",
            0,
            AlterPartition {
                leader_epoch: 1,
                ..good.clone()
            },
            ErrorCode::NotController,
        ),
        (
            "partition epoch ahead",
            0,
            AlterPartition {
                partition_epoch: 2,
                ..good.clone()
            },
            ErrorCode::NotController,
        ),
        (
            "leader epoch behind",
            0,
            AlterPartition {
                leader_epoch: -1,
                ..good.clone()
            },
            ErrorCode::FencedLeaderEpoch,
        ),
        ("not the leader", 1, good.clone(), ErrorCode::InvalidRequest),
        (
            "partition epoch behind",
            0,
            AlterPartition {
                partition_epoch: 0,
                ..good.clone()
            },
            ErrorCode::InvalidUpdateVersion,
        ),
        (
            "without the leader",
            0,
            AlterPartition {
                new_isr: vec![(1, epochs[&1])],
                ..good.clone()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "a stranger",
            0,
            AlterPartition {
                new_isr: vec![(0, epochs[&0]), (8, -1)],
                ..good.clone()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "one twice",
            0,
            AlterPartition {
                new_isr: vec![(0, -1), (0, -1)],
                ..good.clone()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "another incarnation",
            0,
            AlterPartition {
                new_isr: vec![(0, epochs[&0]), (2, epochs[&2] - 1)],
                ..good.clone()
            },
            ErrorCode::IneligibleReplica,
        ),
        (
            "no such partition",
            0,
            AlterPartition {
                partition: 9,
                ..good.clone()
            },
            ErrorCode::UnknownTopicOrPartition,
        ),
    ];
    for (why, broker, proposal, error) in refused {
        let result = world.alter_one(broker, proposal);
        assert_eq!(result.error, error, "{why}");
        assert_eq!(result.leader, NO_BROKER, "{why}");
        assert_eq!(world.state(0), before, "{why}");
    }
    let stale = world.alter(0, epochs[&0] - 1, good.clone());
    assert_eq!(stale.error, ErrorCode::StaleBrokerEpoch);
    // The proposal that all of them spoiled is good.
    assert_eq!(world.alter_one(0, good).error, ErrorCode::None);
}

#[test]
fn fenced_and_shutting_down_replicas_may_not_join_the_isr() {
    let mut world = World::with_three_brokers(false);
    world.pass(12 * SECONDS, &[0, 1]);
    assert_eq!(&world.state(0).isr[..], &[0, 1]);
    let fenced = world.proposal(&[0, 1, 2]);
    assert_eq!(
        world.alter_one(0, fenced).error,
        ErrorCode::IneligibleReplica
    );
    let leaves = BrokerHeartbeatRequest {
        want_shut_down: true,
        ..world.heartbeat_request(1)
    };
    assert!(!world.beat(leaves).should_shut_down);
    assert_eq!(&world.state(0).isr[..], &[0]);
    let leaving = world.proposal(&[0, 1]);
    assert_eq!(
        world.alter_one(0, leaving).error,
        ErrorCode::IneligibleReplica
    );
}

#[test]
fn controlled_shutdown_moves_leaders_away_and_waits_until_the_others_have_applied_it() {
    let mut world = World::with_three_brokers(false);
    let leaves = BrokerHeartbeatRequest {
        want_shut_down: true,
        ..world.heartbeat_request(0)
    };
    let answer = world.beat(leaves);
    assert!(!answer.is_fenced && !answer.should_shut_down);
    assert_eq!(
        (world.state(0).leader, &world.state(0).isr[..]),
        (1, &[1, 2][..])
    );
    // Broker 2 has not applied the move yet.
    world.heartbeat(1);
    let behind = BrokerHeartbeatRequest {
        current_metadata_offset: world.epochs[&2],
        ..world.heartbeat_request(2)
    };
    world.beat(behind);
    assert!(!world.beat(leaves).should_shut_down);
    world.heartbeat(2);
    let answer = world.beat(leaves);
    assert!(answer.should_shut_down && answer.is_fenced);
    // KAFKA-19047: its next incarnation need not wait for the session to end.
    assert_eq!(
        world.register(0, 0xcafe, world.epochs[&0]).error,
        ErrorCode::None
    );
    assert!(
        !world
            .controller
            .image()
            .broker(0)
            .unwrap()
            .in_controlled_shutdown
    );
}

#[test]
fn a_planned_move_reorders_the_replicas_and_elects_the_first_of_them() {
    let mut world = World::with_three_brokers(false);
    let command = AdminCommand::MoveLeader {
        partition: tp(0),
        to: 2,
    };
    world.step(Input::Admin(command.clone()));
    world.run_for(10 * MILLIS);
    let moved = world.state(0);
    assert_eq!(
        (moved.leader, moved.leader_epoch, moved.partition_epoch),
        (2, 1, 2)
    );
    assert_eq!(
        (&moved.replicas[..], &moved.isr[..]),
        (&[2, 0, 1][..], &[0, 1, 2][..])
    );
    world.step(Input::Admin(command));
    world.run_for(10 * MILLIS);
    assert_eq!(world.state(0), moved);
}

#[test]
fn a_planned_move_to_a_replica_that_is_fenced_or_out_of_sync_does_nothing() {
    let mut world = World::with_three_brokers(false);
    let shrink = world.proposal(&[0, 1]);
    world.alter_one(0, shrink);
    let before = world.state(0);
    world.step(Input::Admin(AdminCommand::MoveLeader {
        partition: tp(0),
        to: 2,
    }));
    world.run_for(10 * MILLIS);
    assert_eq!(world.state(0), before);
}

#[test]
fn blocks_of_producer_ids_do_not_overlap() {
    let mut world = World::with_three_brokers(false);
    let mut first = Vec::new();
    for broker in [1, 2] {
        let request = AllocateProducerIdsRequest {
            broker,
            broker_epoch: world.epochs[&broker],
        };
        match world.ask(Request::AllocateProducerIds(request)) {
            Response::AllocateProducerIds(r) => first.push((r.error, r.first, r.count)),
            other => panic!("{other:?}"),
        }
    }
    let none = ErrorCode::None;
    assert_eq!(first, vec![(none, 0, 1000), (none, 1000, 1000)]);
}

#[test]
fn an_observer_that_fetches_everything_has_the_controllers_image() {
    let mut world = World::with_three_brokers(false);
    world.pass(12 * SECONDS, &[1, 2]);
    let mut image = MetadataImage::new();
    let mut next = 0;
    loop {
        let mut request = world.fetch_request(next, 0);
        request.max_bytes = 100; // a batch at a time
        let answer = world.fetch(request);
        let decoded = decode_batches(&answer.records).unwrap();
        for (offset, record) in &decoded.records {
            image.apply(record, *offset);
        }
        match decoded.end {
            Some((end, epoch)) => {
                assert_eq!(epoch, 1);
                next = end;
            }
            None => break,
        }
    }
    assert_eq!(&image, world.controller.image());
    assert_eq!(
        image.feature_level(METADATA_VERSION_FEATURE),
        METADATA_VERSION_LEVEL
    );
}

#[test]
fn a_metadata_fetch_waits_for_new_records_and_is_answered_when_they_commit() {
    let mut world = World::with_three_brokers(false);
    let end = world.controller.log().unwrap().high_watermark();
    let fetch = world.fetch_request(end, 500);
    let waiting = world.send(Request::Fetch(fetch));
    world.run_for(100 * MILLIS);
    assert!(world.answer(waiting).is_none());
    let shrink = world.proposal(&[0, 1]);
    let started = world.now;
    world.alter_one(0, shrink);
    let Some(Response::Fetch(answer)) = world.answer(waiting) else {
        panic!("answered by {:?} after {started}", world.answers.last());
    };
    let result = &answer.topics[0].1[0];
    assert_eq!(result.high_watermark, end + 1);
    let decoded = decode_batches(&result.records).unwrap();
    assert_eq!(decoded.records.len(), 1);
    assert_eq!(decoded.records[0].0, end);
}

#[test]
fn a_metadata_fetch_without_news_is_answered_empty_after_its_wait() {
    let mut world = World::with_three_brokers(false);
    let end = world.controller.log().unwrap().high_watermark();
    let fetch = world.fetch_request(end, 500);
    let waiting = world.send(Request::Fetch(fetch));
    world.run_for(499 * MILLIS);
    assert!(world.answer(waiting).is_none());
    world.run_for(2 * MILLIS);
    let Some(Response::Fetch(answer)) = world.answer(waiting) else {
        panic!("not answered");
    };
    assert!(answer.topics[0].1[0].records.is_empty());
    assert_eq!(answer.topics[0].1[0].high_watermark, end);
}

#[test]
fn a_metadata_fetch_in_another_epoch_or_beyond_the_end_learns_so() {
    let mut world = World::with_three_brokers(false);
    let end = world.controller.log().unwrap().high_watermark();
    let mut fetch = |offset, leader_epoch, last_epoch| {
        let mut request = world.fetch_request(offset, 500);
        request.topics[0].1[0].current_leader_epoch = leader_epoch;
        request.topics[0].1[0].last_fetched_epoch = last_epoch;
        world.fetch(request)
    };
    let controller = NodeId::FIRST_CONTROLLER as i32;
    let fenced = fetch(0, 0, 0);
    assert_eq!(
        (fenced.error, fenced.current_leader),
        (ErrorCode::FencedLeaderEpoch, (controller, 1))
    );
    assert_eq!(fetch(0, 2, 0).error, ErrorCode::UnknownLeaderEpoch);
    assert_eq!(fetch(end + 5, 1, 1).diverging_epoch, Some((1, end)));
    assert_eq!(fetch(-1, 1, -1).error, ErrorCode::InvalidRequest);
}

#[test]
fn nothing_is_answered_and_no_fact_is_told_before_the_sync() {
    let mut world = World::with_three_brokers(false);
    let facts = world.facts.len();
    let request = AlterPartitionRequest {
        broker: 0,
        broker_epoch: world.epochs[&0],
        topics: vec![(TOPIC, vec![world.proposal(&[0, 1])])],
    };
    let change = world.send(Request::AlterPartition(request.clone()));
    // Writes nothing, but what it would say rests on the change before it.
    let read = world.send(Request::AlterPartition(request));
    world.run_for(SYNC_TIME);
    assert_eq!(&world.state(0).isr[..], &[0, 1]);
    assert!(world.answer(change).is_none() && world.answer(read).is_none());
    assert_eq!(world.facts.len(), facts);
    world.run_for(MILLIS);
    assert!(world.answer(change).is_some() && world.answer(read).is_some());
    assert_eq!(world.facts.len(), facts + 1);
}

#[test]
fn the_log_survives_a_restart_and_unfenced_brokers_get_a_fresh_session() {
    let mut world = World::with_three_brokers(false);
    world.pass(12 * SECONDS, &[0, 1]);
    let image = world.controller.image().clone();
    let epochs = world.epochs.clone();
    let mut again = World::start(config(false), topics(), world.disk);
    again.epochs = epochs;
    assert_eq!(again.controller.image(), &image);
    assert_eq!(again.controller.log().unwrap().leader_epoch(), 2);
    assert!(again.facts.is_empty(), "{:?}", again.facts);
    again.pass(8 * SECONDS, &[0]);
    assert!(again.controller.image().is_active(1));
    again.pass(4 * SECONDS, &[0]);
    assert!(!again.controller.image().is_active(1));
    // Offsets go on behind the batch that opened the epoch.
    assert!(again.register(2, 0xd00d, -1).broker_epoch > image.offset() + 1);
}

#[test]
fn a_torn_batch_at_the_end_of_the_log_is_cut_off() {
    let mut world = World::with_three_brokers(false);
    let before = world.controller.image().clone();
    let shrink = world.proposal(&[0, 1]);
    world.alter_one(0, shrink);
    let mut disk = world.disk;
    let file = disk.open(METADATA_SEGMENT).unwrap();
    let torn = disk.len(file) - 1;
    disk.truncate(file, torn).unwrap();
    let mut again = World::start(config(false), topics(), disk);
    assert_eq!(again.controller.image(), &before);
    assert_eq!(again.fetch_all().offset(), before.offset());
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

#[test]
fn a_flipped_bit_in_fetched_records_is_noticed() {
    let mut world = World::with_three_brokers(false);
    let request = world.fetch_request(0, 0);
    let records = world.fetch(request).records;
    assert!(decode_batches(&records).is_ok());
    for at in [20, 30, records.len() - 1] {
        let mut flipped = records.to_vec();
        flipped[at] ^= 1;
        assert!(decode_batches(&flipped).is_err(), "byte {at}");
    }
}

#[test]
fn a_connection_that_asks_for_a_brokers_api_is_closed() {
    let mut world = World::with_three_brokers(false);
    world.send(Request::Metadata(MetadataRequest { topics: None }));
    assert_eq!(world.closed, vec![ConnId(100)]);
}

#[test]
fn the_versions_on_offer_are_those_of_the_controller_listener() {
    let mut world = World::start(config(false), Vec::new(), MemoryDisk::default());
    let Response::ApiVersions(answer) = world.ask(Request::ApiVersions(ApiVersionsRequest)) else {
        panic!("not ApiVersions");
    };
    let keys: Vec<i16> = answer.apis.iter().map(|(key, _, _)| *key).collect();
    assert_eq!(keys, vec![1, 18, 56, 62, 63, 67]);
}
