//! Both orders of each interleaving, reached with real brokers.

use super::{ONE_INPUT, SEVERAL_INPUTS};
use crate::env::{Input, Queue};
use crate::fact::Fact;
use crate::group::OFFSETS_TOPIC;
use crate::test_cluster::{P0, TestCluster};
use crate::time::{MILLIS, SECONDS};
use crate::wire::*;

const NONE: ErrorCode = ErrorCode::None;

fn is_isr_answer(input: &Input) -> bool {
    matches!(
        input,
        Input::Received(_, Frame::Response(_, response)) if matches!(**response, Response::AlterPartition(_))
    )
}

#[test]
fn every_entry_has_a_name_of_its_own_and_both_sides_told() {
    let all: Vec<_> = SEVERAL_INPUTS.iter().chain(ONE_INPUT).collect();
    for (index, entry) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|other| other.name != entry.name));
        assert!(entry.kafka.ends_with('.') && entry.here.ends_with('.'));
    }
}

#[test]
fn fetch_response_waits_for_its_fetcher() {
    for late in [false, true] {
        let mut c = TestCluster::start(&[], None);
        c.hold_queue(2, Queue::ReplicaFetcher(1));
        c.produce(1, 1, "a");
        c.run(10 * MILLIS);
        assert_eq!(c.log_end(2), 0, "the response is here and not handled");
        if late {
            c.cut_brokers(1, 3);
            c.move_leader(2);
            c.until("leader 2", |c| c.is_led_by(2));
        }
        c.release();
        c.run(10 * MILLIS);
        let expected: &[&str] = if late { &[] } else { &["a"] };
        assert_eq!(c.values(2), expected, "late: {late}");
    }
}

#[test]
fn fetch_response_append_flush_high_watermark() {
    for synced in [false, true] {
        let mut c = TestCluster::start(&[("log.flush.interval.messages", "1")], None);
        c.produced(1, -1, "a");
        c.run(SECONDS);
        if !synced {
            c.hold(2, |input| matches!(input, Input::Synced(..)));
        }
        let sent = c.produce(1, -1, "b");
        c.run(SECONDS);
        assert_eq!(c.log_end(2), 2, "appended");
        let asked_on = c.fetch_state(2).fetch_offset == 2;
        assert_eq!(asked_on, synced, "and not yet acknowledged");
        assert_eq!(c.answer(sent).is_some(), synced);
        c.release();
        c.run(SECONDS);
        assert_eq!(c.answer(sent), Some((NONE, 1)));
    }
}

#[test]
fn metadata_image_before_replicas() {
    for between in [false, true] {
        let mut c = TestCluster::start(&[], None);
        c.hold_queue(2, Queue::MetadataPublisher);
        c.move_leader(2);
        c.run(SECONDS);
        // The first of the two inputs, then the second.
        c.release_one();
        assert_eq!(
            c.broker(2).image().unwrap().partition(P0).unwrap().leader,
            2
        );
        assert!(
            !c.partition(2).is_leader(),
            "its image says so, its replica not"
        );
        if between {
            let (error, _) = c.produced(2, 1, "a");
            assert_eq!(error, ErrorCode::NotLeaderOrFollower);
        }
        c.release();
        c.until("leader 2", |c| c.is_led_by(2));
        assert_eq!(c.produced(2, 1, "b").0, NONE);
    }
}

#[test]
fn metadata_publication_waits_for_the_log_lock() {
    for flushing in [false, true] {
        let mut c = TestCluster::start(&[("log.flush.interval.messages", "1")], None);
        if flushing {
            c.hold(2, |input| matches!(input, Input::Synced(..)));
            c.cut_brokers(1, 3);
            c.produce(1, 1, "a");
            c.until("broker 2 to append it", |c| c.log_end(2) == 1);
        }
        c.move_leader(3);
        c.run(SECONDS);
        // A new fetch from the new leader would acknowledge what no sync has covered.
        let follows_3 = c.partition(2).leader() == 3;
        assert_eq!(follows_3, !flushing);
        c.release();
        c.until("broker 2 to follow 3", |c| c.partition(2).leader() == 3);
    }
}

#[test]
fn produce_append_before_its_answer() {
    for shrinks in [false, true] {
        let settings = [
            ("min.insync.replicas", "3"),
            ("log.flush.interval.messages", "1"),
        ];
        let mut c = TestCluster::start(&settings, None);
        c.hold(1, |input| matches!(input, Input::Synced(..)));
        let sent = c.produce(1, -1, "a");
        c.until("both to have it", |c| {
            c.log_end(2) == 1 && c.log_end(3) == 1
        });
        c.run(10 * MILLIS);
        if shrinks {
            c.kill(3);
            c.until("the ISR to shrink", |c| c.state().isr.len() == 2);
            c.run(SECONDS);
        }
        c.release();
        c.run(10 * MILLIS);
        let expected = if shrinks {
            (ErrorCode::NotEnoughReplicasAfterAppend, -1)
        } else {
            (NONE, 0)
        };
        assert_eq!(c.answer(sent), Some(expected));
    }
}

#[test]
fn isr_proposal_and_its_answer() {
    for answer_first in [false, true] {
        let mut c = TestCluster::start(&[], None);
        if answer_first {
            c.hold_queue(1, Queue::MetadataPublisher);
        } else {
            c.hold(1, is_isr_answer);
        }
        c.cut_brokers(1, 3);
        c.produce(1, 1, "a");
        c.until("the leader to know", |c| c.partition(1).isr() == [1, 2]);
        assert!(c.held_back() > 0, "the other one has not come");
        assert!(c.partition(1).pending().is_none());
        c.release();
        c.run(SECONDS);
        assert_eq!(c.partition(1).isr(), [1, 2]);
        assert!(c.partition(1).pending().is_none());
    }
}

#[test]
fn isr_expiry_and_fetch() {
    for fetch_first in [false, true] {
        let mut c = TestCluster::start(&[], None);
        // Broker 3's responses are held back past the lag, then its next fetch and the scheduler meet.
        c.hold_queue(3, Queue::ReplicaFetcher(1));
        c.produce(1, 1, "a");
        c.hold_queue(1, Queue::Scheduler);
        c.run(50 * SECONDS);
        assert!(c.partition(1).pending().is_none());
        if fetch_first {
            c.release_of(3);
            c.run(100 * MILLIS);
        }
        c.release_of(1);
        let shrinks = c.partition(1).pending().is_some();
        assert_eq!(shrinks, !fetch_first);
    }
}

#[test]
fn coordinator_load_and_commit() {
    for load_first in [false, true] {
        let mut c = TestCluster::start_with(OFFSETS_TOPIC);
        c.hold_queue(2, Queue::Coordinator);
        c.kill(1);
        c.until("leader 2", |c| c.is_led_by(2));
        c.run(SECONDS);
        if load_first {
            c.release();
        }
        let request = OffsetFetchRequest {
            group: "g".into(),
            require_stable: true,
            topics: Vec::new(),
        };
        let sent = c.send(2, Request::OffsetFetch(request));
        c.until("an answer", |c| c.response(sent).is_some());
        let Some(Response::OffsetFetch(response)) = c.response(sent) else {
            panic!("not an OffsetFetch")
        };
        let expected = if load_first {
            NONE
        } else {
            ErrorCode::CoordinatorLoadInProgress
        };
        assert_eq!(response.error, expected);
    }
}

#[test]
fn disk_error_and_halt() {
    for halted in [false, true] {
        let mut c = TestCluster::start(&[], None);
        if !halted {
            c.hold_queue(1, Queue::LogDirFailureHandler);
        }
        c.disk(1).fail_next = Some(crate::disk::DiskError::Io);
        let first = c.produce(1, 1, "a");
        c.run(10 * MILLIS);
        assert_eq!(c.answer(first), Some((ErrorCode::KafkaStorageError, -1)));
        assert_eq!(c.is_alive(1), !halted);
    }
}

#[test]
fn heartbeat_and_isr_proposal() {
    for fenced_first in [false, true] {
        let mut c = TestCluster::start(&[], None);
        c.cut_brokers(1, 3);
        c.produce(1, 1, "a");
        if fenced_first {
            c.cut_from_controller(1);
        }
        c.until("a proposal", |c| c.partition(1).pending().is_some());
        c.run(SECONDS);
        // A fenced leader's proposal never took effect: its leadership had gone.
        let changed = |f: &Fact| matches!(f, Fact::PartitionChanged { leader: 1, isr, .. } if isr[..] == [1, 2]);
        let shrunk_by_leader = c.facts.iter().any(|(_, _, f)| changed(f));
        assert_eq!(shrunk_by_leader, !fenced_first);
        assert_eq!(c.state().leader == 1, !fenced_first);
    }
}
