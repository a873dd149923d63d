//! Deletions asked of real brokers. The followers' fetches wait half a second for records, so that
//! they come to know a log start that late.

use crate::disk::DiskError;
use crate::env::{Input, Queue};
use crate::fact::Fact;
use crate::group::OFFSETS_TOPIC;
use crate::ids::*;
use crate::log::{BatchBuilder, LogStartReason};
use crate::test_cluster::{OTHER, P0, TestCluster};
use crate::time::{MILLIS, SECONDS};
use crate::wire::*;
use smallvec::smallvec;

const NONE: ErrorCode = ErrorCode::None;
const TIMED_OUT: (Offset, ErrorCode) = (0, ErrorCode::RequestTimedOut);

/// Asks a broker to delete from these partitions, each by topic, index and offset.
fn ask(c: &mut TestCluster, of: BrokerId, what: &[(&str, i32, Offset)], timeout_ms: i32) -> i32 {
    let topics = what.iter().map(|&(topic, partition, offset)| {
        let partition = DeleteRecordsPartition { partition, offset };
        (topic.into(), smallvec![partition])
    });
    let request = DeleteRecordsRequest {
        topics: topics.collect(),
        timeout_ms,
    };
    c.send(of, Request::DeleteRecords(request))
}

/// Low watermark and error of each, if it was answered.
fn answer(c: &TestCluster, asked: i32) -> Option<Vec<(Offset, ErrorCode)>> {
    match c.response(asked)? {
        Response::DeleteRecords(r) => {
            let results = r.topics.iter().flat_map(|(_, results)| results);
            Some(results.map(|r| (r.low_watermark, r.error)).collect())
        }
        other => panic!("DeleteRecords answered by {:?}", other.api()),
    }
}

/// Asks and waits for the answer.
fn deleted(
    c: &mut TestCluster,
    of: BrokerId,
    what: &[(&str, i32, Offset)],
) -> Vec<(Offset, ErrorCode)> {
    let asked = ask(c, of, what, 30_000);
    c.until("the deletion to be answered", |c| {
        answer(c, asked).is_some()
    });
    answer(c, asked).expect("just seen")
}

/// Five records in `t-0`, which all replicas know to be committed.
fn five_records(mut c: TestCluster) -> TestCluster {
    for value in ["a", "b", "c", "d", "e"] {
        assert_eq!(c.produced(1, -1, value).0, NONE);
    }
    c.until("all to know it", |c| {
        (1..=3).all(|id| c.high_watermark(id) == 5)
    });
    c
}

fn cluster() -> TestCluster {
    five_records(TestCluster::start(&[], None))
}

fn log_start(c: &TestCluster, id: BrokerId) -> Offset {
    c.partition(id).log.log_start_offset()
}

fn log_starts(c: &TestCluster) -> [Offset; 3] {
    [1, 2, 3].map(|id| log_start(c, id))
}

#[test]
fn it_is_answered_when_every_replica_has_deleted() {
    let mut c = cluster();
    let asked = ask(&mut c, 1, &[("t", 0, 3)], 30_000);
    c.run(10 * MILLIS);
    assert_eq!((log_starts(&c), answer(&c, asked)), ([3, 0, 0], None));
    c.until("the answer", |c| answer(c, asked).is_some());
    assert_eq!(answer(&c, asked), Some(vec![(3, NONE)]));
    assert_eq!(log_starts(&c), [3, 3, 3]);
    for (id, reason) in [
        (1, LogStartReason::ClientDeletion),
        (2, LogStartReason::Leader),
        (3, LogStartReason::Leader),
    ] {
        let moved = Fact::LogStartMoved {
            partition: P0,
            offset: 3,
            reason,
        };
        assert_eq!(c.facts_of(id).filter(|f| **f == moved).count(), 1);
    }
    // Nothing is left to delete, and nobody to wait for.
    let asked = ask(&mut c, 1, &[("t", 0, 2)], 30_000);
    c.run(10 * MILLIS);
    assert_eq!(answer(&c, asked), Some(vec![(3, NONE)]));
    assert_eq!(log_starts(&c), [3, 3, 3]);
}

#[test]
fn minus_one_is_the_high_watermark() {
    let mut c = cluster();
    c.cut_brokers(1, 2);
    c.cut_brokers(1, 3);
    c.produce(1, 1, "not committed");
    c.run(100 * MILLIS);
    c.heal();
    c.new_connection(1);
    c.hold_queue(1, Queue::RequestHandler);
    let asked = ask(&mut c, 1, &[("t", 0, DELETE_TO_HIGH_WATERMARK)], 30_000);
    c.run(2 * MILLIS);
    c.release_one();
    assert_eq!((log_start(&c, 1), c.log_end(1)), (5, 6));
    c.release();
    c.until("the answer", |c| answer(c, asked).is_some());
    assert_eq!(answer(&c, asked), Some(vec![(5, NONE)]));
}

#[test]
fn what_does_not_exist_or_is_not_there_to_delete_is_refused() {
    let mut c = five_records(TestCluster::start_with(OFFSETS_TOPIC));
    let what = [
        ("nowhere", 0, 1),
        ("t", 9, 1),
        (OFFSETS_TOPIC, 0, 0),
        (OFFSETS_TOPIC, 9, 0),
        ("t", 0, 6),
        ("t", 0, -2),
        ("t", 0, 0),
    ];
    let refused = |error| (INVALID_LOW_WATERMARK, error);
    let expected = [
        refused(ErrorCode::UnknownTopicOrPartition),
        refused(ErrorCode::UnknownTopicOrPartition),
        refused(ErrorCode::InvalidTopicException),
        refused(ErrorCode::UnknownTopicOrPartition),
        refused(ErrorCode::OffsetOutOfRange),
        refused(ErrorCode::OffsetOutOfRange),
        (0, NONE),
    ];
    assert_eq!(deleted(&mut c, 1, &what), expected);
    let error = ErrorCode::NotLeaderOrFollower;
    assert_eq!(deleted(&mut c, 2, &[("t", 0, 1)]), [refused(error)]);
    assert_eq!(log_starts(&c), [0, 0, 0]);
}

#[test]
fn each_partition_has_its_own_answer_while_one_waits() {
    let mut c = cluster();
    let what = [("nowhere", 0, 1), ("t", 0, 2)];
    let unknown = (INVALID_LOW_WATERMARK, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(deleted(&mut c, 1, &what), [unknown, (2, NONE)]);
}

#[test]
fn what_is_only_compacted_is_not_deleted_from() {
    for (policy, expected) in [
        (
            "compact",
            (INVALID_LOW_WATERMARK, ErrorCode::PolicyViolation),
        ),
        ("compact,delete", (0, NONE)),
        ("", (0, NONE)),
    ] {
        let mut c = TestCluster::start_topic(&[("cleanup.policy", policy)]);
        assert_eq!(deleted(&mut c, 1, &[("t", 0, 0)]), [expected], "{policy}");
    }
}

#[test]
fn nothing_is_deleted_from_a_failed_log_directory() {
    let mut c = cluster();
    c.hold_queue(1, Queue::LogDirFailureHandler);
    c.disk(1).fail_next = Some(DiskError::Io);
    assert_eq!(c.produced(1, 1, "f").0, ErrorCode::KafkaStorageError);
    let refused = (INVALID_LOW_WATERMARK, ErrorCode::KafkaStorageError);
    assert_eq!(deleted(&mut c, 1, &[("t", 0, 1)]), [refused]);
    assert_eq!(log_start(&c, 1), 0);
}

#[test]
fn a_follower_that_does_not_fetch_is_waited_for_until_the_time_is_over() {
    let mut c = cluster();
    c.cut_brokers(1, 3);
    let asked = ask(&mut c, 1, &[("t", 0, 4)], 1_500);
    c.run(1_490 * MILLIS);
    assert_eq!((log_starts(&c), answer(&c, asked)), ([4, 4, 0], None));
    c.run(20 * MILLIS);
    assert_eq!(answer(&c, asked), Some(vec![TIMED_OUT]));
    c.heal();
    c.until("broker 3 to follow", |c| log_starts(c) == [4, 4, 4]);
}

#[test]
fn no_time_is_no_wait() {
    let mut c = cluster();
    let asked = ask(&mut c, 1, &[("t", 0, 4)], 0);
    c.run(10 * MILLIS);
    assert_eq!(answer(&c, asked), Some(vec![TIMED_OUT]));
    assert_eq!(log_start(&c, 1), 4);
}

#[test]
fn a_dead_follower_is_not_waited_for() {
    let mut c = cluster();
    c.kill(3);
    c.until("broker 1 to know", |c| c.partition(1).isr() == [1, 2]);
    assert_eq!(deleted(&mut c, 1, &[("t", 0, 4)]), [(4, NONE)]);
    c.start_broker(3);
    c.until("broker 3 to follow", |c| {
        c.has_partition(3) && log_start(c, 3) == 4
    });
}

#[test]
fn one_that_dies_meanwhile_is_passed_over_when_a_watermark_moves_next() {
    let mut c = cluster();
    c.cut_brokers(1, 3);
    let asked = ask(&mut c, 1, &[("t", 0, 4)], 60_000);
    c.run(SECONDS);
    c.kill(3);
    c.until("broker 1 to know", |c| c.partition(1).isr() == [1, 2]);
    c.run(SECONDS);
    assert_eq!(answer(&c, asked), None, "nothing has moved");
    c.new_connection(1);
    assert_eq!(c.produced(1, -1, "f"), (NONE, 5));
    c.run(10 * MILLIS);
    assert_eq!(answer(&c, asked), Some(vec![(4, NONE)]));
}

#[test]
fn a_leader_of_late_is_found_out_when_another_partition_moves() {
    let mut c = five_records(TestCluster::start_with("u"));
    let mut batch = BatchBuilder::new();
    batch.append(1_700_000_000_000, None, Some(b"a"), &[]);
    let partition = ProducePartition {
        partition: 0,
        records: batch.build(),
    };
    let produce = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topics: vec![(OTHER, smallvec![partition])],
    };
    let sent = c.send(1, Request::Produce(produce));
    c.until("it to be committed", |c| c.answer(sent) == Some((NONE, 0)));
    c.cut_brokers(1, 2);
    c.cut_brokers(1, 3);
    let asked = ask(&mut c, 1, &[("t", 0, 3), ("u", 0, 1)], 30_000);
    c.run(100 * MILLIS);
    c.move_leader(2);
    c.until("broker 2 to lead", |c| c.is_led_by(2));
    c.run(100 * MILLIS);
    assert!(!c.partition(1).is_leader());
    assert_eq!(answer(&c, asked), None, "nobody looks");
    c.heal();
    c.until("the answer", |c| answer(c, asked).is_some());
    let deposed = (INVALID_LOW_WATERMARK, ErrorCode::NotLeaderOrFollower);
    assert_eq!(answer(&c, asked), Some(vec![deposed, (1, NONE)]));
}

#[test]
fn a_leader_of_late_answers_at_the_end_of_the_time_where_nothing_else_moves() {
    let mut c = cluster();
    c.cut_brokers(1, 2);
    c.cut_brokers(1, 3);
    let asked = ask(&mut c, 1, &[("t", 0, 3)], 2_000);
    c.run(100 * MILLIS);
    c.move_leader(2);
    c.run(1_500 * MILLIS);
    assert!(!c.partition(1).is_leader());
    assert_eq!(answer(&c, asked), None);
    c.run(500 * MILLIS);
    assert_eq!(answer(&c, asked), Some(vec![TIMED_OUT]));
}

#[test]
fn the_log_starts_there_after_a_restart() {
    let mut c = cluster();
    assert_eq!(deleted(&mut c, 1, &[("t", 0, 3)]), [(3, NONE)]);
    // `log.flush.start.offset.checkpoint.interval.ms`
    c.run(61 * SECONDS);
    c.kill(1);
    c.until("broker 2 or 3 to lead", |c| c.state().leader > 1);
    let before = c.facts_of(1).count();
    c.start_broker(1);
    let recovered = c.facts_of(1).skip(before).find_map(|f| match f {
        Fact::LogRecovered {
            log_start, log_end, ..
        } => Some((*log_start, *log_end)),
        _ => None,
    });
    assert_eq!(recovered, Some((3, 5)));
    // An orderly end does not wait for that interval.
    let leader = c.state().leader;
    c.until("all to be in sync", |c| c.state().isr.len() == 3);
    assert_eq!(deleted(&mut c, leader, &[("t", 0, 4)]), [(4, NONE)]);
    c.shut_down(leader);
    c.until("it to end", |c| !c.is_alive(leader));
    let text = c.disk(leader).bytes("log-start-offset-checkpoint").clone();
    let text = String::from_utf8(text).expect("a checkpoint is text");
    assert!(text.contains("t 0 4"), "{text}");
}

#[test]
fn an_empty_follower_copies_the_batch_that_the_leaders_log_start_lies_in() {
    let mut c = TestCluster::start(&[], None);
    c.kill(3);
    c.until("broker 1 to know", |c| c.partition(1).isr() == [1, 2]);
    let mut batch = BatchBuilder::new();
    for value in [b"a", b"b", b"c", b"d", b"e"] {
        batch.append(1_700_000_000_000, None, Some(value), &[]);
    }
    let partition = ProducePartition {
        partition: 0,
        records: batch.build(),
    };
    let produce = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topics: vec![(P0.topic, smallvec![partition])],
    };
    let sent = c.send(1, Request::Produce(produce));
    c.until("it to be committed", |c| c.answer(sent) == Some((NONE, 0)));
    assert_eq!(deleted(&mut c, 1, &[("t", 0, 3)]), [(3, NONE)]);
    c.start_broker(3);
    c.until("broker 3 to be in sync", |c| c.state().isr.len() == 3);
    assert_eq!((log_start(&c, 3), c.log_end(3)), (3, 5));
    assert_eq!(c.values(3), c.values(1));
    let begun = |to| {
        let anew = |f: &&Fact| matches!(f, Fact::Truncated { to: at, anew: true, .. } if *at == to);
        c.facts_of(3).filter(anew).count()
    };
    assert_eq!(
        (begun(3), begun(0)),
        (1, 1),
        "first where the leader begins"
    );
}

#[test]
fn readers_find_the_log_to_start_there() {
    let mut c = cluster();
    assert_eq!(deleted(&mut c, 1, &[("t", 0, 3)]), [(3, NONE)]);
    let earliest = ListOffsetsPartition {
        partition: 0,
        current_leader_epoch: NO_EPOCH,
        timestamp: EARLIEST_TIMESTAMP,
    };
    let asked = c.send(
        1,
        Request::ListOffsets(ListOffsetsRequest {
            replica_id: CONSUMER_REPLICA,
            isolation_level: 0,
            topics: vec![("t".into(), smallvec![earliest])],
        }),
    );
    c.run(10 * MILLIS);
    let Some(Response::ListOffsets(r)) = c.response(asked) else {
        panic!("it is answered");
    };
    assert_eq!((r.topics[0].1[0].error, r.topics[0].1[0].offset), (NONE, 3));
}

/// A cluster in which broker 3 knows the leader, 1, again, which has deleted what broker 3 would fetch
/// next. It asks for the leader's offsets; the question is held back, or its answer.
fn out_of_range(is_held: impl Fn(BrokerId, &Input) -> bool + Copy + 'static) -> TestCluster {
    let mut c = TestCluster::start(&[], None);
    c.cut_brokers(1, 3);
    for value in ["a", "b", "c"] {
        c.produced(1, 1, value);
    }
    c.until("the ISR to shrink", |c| c.partition(1).isr() == [1, 2]);
    c.until("all of it to be committed", |c| c.high_watermark(1) == 3);
    ask(&mut c, 1, &[("t", 0, 3)], 0);
    c.run(10 * MILLIS);
    assert_eq!(c.partition(1).log.log_start_offset(), 3);
    for broker in [1, 3] {
        c.hold(broker, move |input| is_held(broker, input));
    }
    c.heal();
    c.until("the question", |c| c.held_back() > 0);
    c
}

#[test]
fn a_fetcher_stays_in_its_epoch_while_it_asks_the_leader_for_its_offsets() {
    let is_answer = |broker, input: &Input| {
        broker == 3
            && matches!(input, Input::Received(_, Frame::Response(_, r))
                if matches!(**r, Response::ListOffsets(_)))
    };
    let mut c = out_of_range(is_answer);
    c.move_leader(2);
    c.until("leader 2", |c| c.is_led_by(2));
    c.run(SECONDS);
    assert_eq!(c.partition(3).leader(), 2);
    assert_eq!(
        c.fetch_state(3).leader_epoch,
        0,
        "its fetcher is not there yet"
    );
    c.release();
    assert_eq!(c.fetch_state(3).leader_epoch, 0);
    c.until("broker 3 in sync", |c| c.partition(2).isr() == [1, 2, 3]);
    assert_eq!(c.fetch_state(3).leader_epoch, 1);
    assert_eq!(c.log_end(3), 3);
}

#[test]
fn a_follower_whose_epoch_is_over_when_it_asks_for_offsets_waits_for_metadata() {
    let is_question = |broker, input: &Input| {
        broker == 1
            && matches!(input, Input::Received(_, Frame::Request(_, r))
                if matches!(&**r, Request::ListOffsets(r) if r.replica_id == 3))
    };
    let mut c = out_of_range(is_question);
    c.cut_from_controller(3);
    for leader in [2, 1] {
        c.move_leader(leader);
        c.until("the next leader", |c| c.is_led_by(leader));
    }
    c.release();
    c.run(10 * MILLIS);
    let replicas = c.broker(3).replicas().expect("it runs");
    assert!(replicas.fetch_state(P0).is_none(), "marked as failed");
    c.heal();
    c.until("broker 3 in sync", |c| c.partition(1).isr() == [1, 2, 3]);
}
