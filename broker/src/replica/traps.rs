//! The traps that an implementation of Kafka's replication falls into, each a test of real brokers and
//! a real controller. Two are not here: that a flush at a segment roll is asynchronous comes with
//! segments, and that auto-commit happens inside poll() is the consumer engine's.

use crate::controller::MetadataImage;
use crate::env::{Input, Queue};
use crate::fact::Fact;
use crate::ids::*;
use crate::test_cluster::TestCluster;
use crate::time::{MILLIS, SECONDS};
use crate::wire::{ErrorCode, Frame, Response};

const NONE: ErrorCode = ErrorCode::None;

/// Cuts the leader, broker 1, from both followers.
fn cut_followers(c: &mut TestCluster) {
    c.cut_brokers(1, 2);
    c.cut_brokers(1, 3);
}

fn is_isr_answer(input: &Input) -> bool {
    matches!(
        input,
        Input::Received(_, Frame::Response(_, response)) if matches!(**response, Response::AlterPartition(_))
    )
}

#[test]
fn trap_01_a_duplicate_of_an_acks_all_batch_waits_for_the_high_watermark_too() {
    let mut c = TestCluster::start(&[], None);
    cut_followers(&mut c);
    let original = c.produce_idempotent(1, 0, "a");
    c.run(SECONDS);
    c.new_connection(1);
    let retry = c.produce_idempotent(1, 0, "a");
    c.run(SECONDS);
    assert_eq!((c.answer(original), c.answer(retry)), (None, None));
    c.heal();
    c.until("both answers", |c| {
        c.answer(original).is_some() && c.answer(retry).is_some()
    });
    assert_eq!(c.answer(retry), Some((NONE, 0)));
    assert_eq!(c.values(1), ["a"]);
}

#[test]
fn trap_02_records_of_a_produce_that_timed_out_stay_and_appear() {
    let mut c = TestCluster::start(&[("min.insync.replicas", "2")], None);
    cut_followers(&mut c);
    assert_eq!(c.produced(1, -1, "a").0, ErrorCode::RequestTimedOut);
    assert_eq!(c.values(1), ["a"]);
    c.heal();
    c.until("it to be committed", |c| c.high_watermark(1) == 1);
    assert_eq!(c.values(2), ["a"]);
}

#[test]
fn trap_02_records_of_a_produce_with_not_enough_replicas_after_append_stay_and_appear() {
    let settings = [
        ("min.insync.replicas", "3"),
        ("log.flush.interval.messages", "1"),
    ];
    let mut c = TestCluster::start(&settings, None);
    // The leader's flush takes long. Meanwhile both followers copy the record, say so, and one dies.
    // The controller shrinks the ISR, and the leader applies it as soon as the flush is done and the
    // high watermark has moved: before the request handler comes to the answer.
    c.hold(1, |input| matches!(input, Input::Synced(..)));
    let sent = c.produce(1, -1, "a");
    c.until("both to have it", |c| {
        c.log_end(2) == 1 && c.log_end(3) == 1
    });
    c.run(10 * MILLIS);
    assert_eq!((c.high_watermark(1), c.answer(sent)), (0, None));
    c.kill(3);
    c.until("the ISR to shrink", |c| c.state().isr.len() == 2);
    c.run(SECONDS);
    c.release();
    c.run(10 * MILLIS);
    let error = ErrorCode::NotEnoughReplicasAfterAppend;
    assert_eq!(c.answer(sent), Some((error, -1)));
    c.start_broker(3);
    c.until("broker 3 in sync", |c| c.partition(1).isr() == [1, 2, 3]);
    assert_eq!(
        (c.values(1), c.values(3)),
        (vec!["a".into()], vec!["a".into()])
    );
}

/// A cluster whose leader has appended a record, not flushed it, and will not until it is released.
fn unflushed(acks: i16) -> (TestCluster, i32) {
    let settings = [
        ("min.insync.replicas", "2"),
        ("log.flush.interval.messages", "1"),
    ];
    let mut c = TestCluster::start(&settings, None);
    c.run(SECONDS);
    c.hold(1, |input| matches!(input, Input::Synced(..)));
    let sent = c.produce(1, acks, "a");
    c.until("the append", |c| c.log_end(1) == 1);
    (c, sent)
}

#[test]
fn a_follower_that_waits_is_not_woken_by_an_append_before_its_flush() {
    let (mut c, sent) = unflushed(1);
    c.run(20 * MILLIS);
    assert_eq!((c.log_end(2), c.log_end(3)), (0, 0));
    c.release();
    c.run(20 * MILLIS);
    assert_eq!(c.answer(sent), Some((NONE, 0)));
    assert_eq!((c.log_end(2), c.log_end(3)), (1, 1));
}

#[test]
fn the_high_watermark_passes_no_record_whose_flush_is_under_way() {
    let (mut c, sent) = unflushed(-1);
    // At the end of their wait they read it, and their next fetch says so.
    c.run(SECONDS);
    assert_eq!((c.log_end(2), c.log_end(3)), (1, 1));
    let ends: Vec<Offset> = c
        .partition(1)
        .remotes()
        .iter()
        .map(|r| r.log_end_offset)
        .collect();
    assert_eq!(ends, [1, 1]);
    assert_eq!((c.high_watermark(1), c.answer(sent)), (0, None));
    c.release();
    c.run(10 * MILLIS);
    assert_eq!((c.high_watermark(1), c.answer(sent)), (1, Some((NONE, 0))));
}

#[test]
fn the_isr_does_not_change_while_a_flush_is_under_way() {
    let (mut c, _) = unflushed(-1);
    c.cut_brokers(1, 3);
    let proposed = |c: &TestCluster| {
        let is_proposal = |f: &&Fact| matches!(f, Fact::IsrProposed { .. });
        c.facts_of(1).filter(is_proposal).count()
    };
    c.run(60 * SECONDS);
    assert_eq!((proposed(&c), c.partition(1).isr()), (0, &[1, 2, 3][..]));
    // Who would read comes behind the scheduler, which waits to shrink it.
    c.new_connection(1);
    let fetch = c.fetch_from(1, NO_EPOCH, 0);
    c.run(SECONDS);
    assert!(c.response(fetch).is_none());
    c.release();
    c.run(10 * MILLIS);
    assert_eq!(proposed(&c), 1);
    c.until("the ISR to shrink", |c| c.partition(1).isr() == [1, 2]);
    assert!(c.response(fetch).is_some());
}

#[test]
fn a_leader_that_is_replaced_appends_what_waits_by_then_and_nothing_more() {
    let (mut c, first) = unflushed(1);
    c.new_connection(1);
    let inside = c.produce(1, 1, "b");
    c.run(10 * MILLIS);
    c.move_leader(2);
    c.until("leader 2", |c| c.is_led_by(2));
    c.run(SECONDS);
    c.new_connection(1);
    let late = c.produce(1, 1, "c");
    c.run(10 * MILLIS);
    assert!(c.partition(1).is_leader());
    while c.partition(1).is_leader() {
        c.release_one();
        c.run(10 * MILLIS);
    }
    assert_eq!(c.answer(first), Some((NONE, 0)));
    assert_eq!(c.answer(inside), Some((NONE, 1)));
    let moved = ErrorCode::NotLeaderOrFollower;
    assert_eq!(c.answer(late), Some((moved, -1)));
}

#[test]
fn trap_03_a_dead_broker_is_noticed_by_its_session_and_not_by_a_connection_reset() {
    let mut c = TestCluster::start(&[], None);
    // Its last heartbeat may be two seconds old.
    c.kill(1);
    c.run(6_900 * MILLIS);
    assert_eq!(c.state().leader, 1);
    c.run(4 * SECONDS);
    assert_eq!(c.state().leader, 2);
}

#[test]
fn trap_04_the_high_watermark_follows_the_next_fetch_offset_and_not_the_bytes_sent() {
    let mut c = TestCluster::start(&[], None);
    for follower in [2, 3] {
        c.hold_queue(follower, Queue::ReplicaFetcher(1));
    }
    let sent = c.produce(1, -1, "a");
    c.run(SECONDS);
    assert_eq!(c.held_back(), 2, "both followers have the bytes");
    assert_eq!((c.high_watermark(1), c.answer(sent)), (0, None));
    c.release();
    c.run(10 * MILLIS);
    assert_eq!(c.answer(sent), Some((NONE, 0)));
}

#[test]
fn trap_05_a_new_leader_does_not_set_its_high_watermark_to_its_log_end() {
    let mut c = TestCluster::start(&[], None);
    c.produced(1, -1, "a");
    c.run(SECONDS);
    c.cut_brokers(1, 3);
    c.cut_brokers(2, 3);
    c.produce(1, 1, "b");
    c.until("broker 2 to copy it", |c| c.log_end(2) == 2);
    c.move_leader(2);
    c.until("leader 2", |c| c.is_led_by(2));
    c.run(SECONDS);
    assert_eq!((c.high_watermark(2), c.log_end(2)), (1, 2));
}

#[test]
fn trap_06_a_leader_that_never_writes_has_an_epoch_entry() {
    let mut c = TestCluster::start(&[], None);
    c.produced(1, -1, "a");
    for leader in [2, 1] {
        c.move_leader(leader);
        c.until("the next leader", |c| c.is_led_by(leader));
    }
    let epoch = c.state().leader_epoch;
    assert_eq!(epoch, 2);
    assert_eq!(c.partition(1).log.latest_epoch(), Some(epoch));
    assert_eq!(c.partition(1).end_offset_for_epoch(0), Some((0, 1)));
}

#[test]
fn a_leader_that_is_elected_again_wakes_nobody_unless_the_high_watermark_moves() {
    let mut c = TestCluster::start(&[], None);
    c.run(SECONDS);
    c.cut_from_controller(1);
    c.move_leader(2);
    c.until("leader 2", |c| c.is_led_by(2));
    c.move_leader(1);
    c.until("another epoch", |c| c.state().leader_epoch == 2);
    assert_eq!(c.state().leader, 1);
    c.heal();
    let fetch = c.fetch_from(1, 0, 0);
    c.until("broker 1 to know", |c| c.partition(1).leader_epoch() == 2);
    let missed = |f: &Fact| matches!(f, Fact::BecameFollower { .. });
    assert!(!c.facts_of(1).any(missed));
    c.run(10 * MILLIS);
    assert!(c.response(fetch).is_none());
    c.run(500 * MILLIS);
    match c.response(fetch) {
        Some(Response::Fetch(response)) => {
            assert_eq!(response.topics[0].1[0].error, ErrorCode::FencedLeaderEpoch);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn trap_07_a_proposed_shrink_does_not_move_the_high_watermark_and_a_proposed_expansion_holds_it() {
    let mut c = TestCluster::start(&[], None);
    c.hold(1, is_isr_answer);
    c.hold_queue(1, Queue::MetadataPublisher);
    c.cut_brokers(1, 3);
    c.produce(1, -1, "a");
    c.until("a proposal", |c| c.partition(1).pending().is_some());
    c.run(SECONDS);
    assert_eq!(&c.state().isr[..], &[1, 2], "the controller has agreed");
    assert_eq!(c.partition(1).isr(), [1, 2, 3], "the leader has not heard");
    assert_eq!(c.high_watermark(1), 0);
    c.release();
    assert_eq!(c.high_watermark(1), 1);
    // Broker 3 comes back; the leader asks to add it and does not hear the answer.
    c.hold(1, is_isr_answer);
    c.hold_queue(1, Queue::MetadataPublisher);
    c.heal();
    c.until("another proposal", |c| c.partition(1).pending().is_some());
    c.cut_brokers(1, 3);
    c.produce(1, 1, "b");
    c.run(SECONDS);
    assert_eq!(c.partition(1).isr(), [1, 2]);
    assert_eq!((c.log_end(2), c.high_watermark(1)), (2, 1));
}

#[test]
fn trap_08_a_zombie_leader_acknowledges_acks_1_and_never_acks_all() {
    let mut c = TestCluster::start(&[], None);
    c.cut_from_controller(1);
    cut_followers(&mut c);
    c.until("another leader", |c| c.is_led_by(2));
    assert!(c.partition(1).is_leader(), "it does not know");
    assert_eq!(c.produced(1, 1, "a"), (NONE, 0));
    let all = c.produce(1, -1, "b");
    c.run(100 * SECONDS);
    assert_eq!(c.answer(all), Some((ErrorCode::RequestTimedOut, -1)));
    c.heal();
    c.until("it to follow", |c| c.partition(1).leader() == 2);
    c.until("it to be cut", |c| c.log_end(1) == 0);
}

#[test]
fn trap_09_truncation_below_the_high_watermark_is_legal_after_an_unclean_election() {
    let mut c = TestCluster::start(&[("unclean.leader.election.enable", "true")], None);
    c.kill(2);
    c.kill(3);
    c.until("a single ISR member", |c| c.partition(1).isr() == [1]);
    for value in ["a", "b", "c"] {
        assert_eq!(c.produced(1, -1, value).0, NONE);
    }
    c.run(10 * SECONDS);
    c.kill(1);
    c.start_broker(2);
    c.until("an unclean election", |c| c.state().leader == 2);
    c.start_broker(1);
    c.until("it to be cut", |c| c.has_partition(1) && c.log_end(1) == 0);
    let cut = |f: &Fact| {
        matches!(
            f,
            Fact::Truncated {
                from: 3,
                to: 0,
                high_watermark: 3,
                ..
            }
        )
    };
    assert!(c.facts_of(1).any(cut));
    assert!(c.is_alive(1));
}

#[test]
fn trap_10_the_flush_behind_a_roll_holds_up_no_acknowledgement() {
    let mut c = TestCluster::start_topic(&[("internal.segment.bytes", "100")]);
    for broker in 1..=3 {
        c.hold(broker, |input| matches!(input, Input::Synced(..)));
    }
    assert_eq!(c.produced(1, -1, "a"), (NONE, 0));
    assert_eq!(c.produced(1, -1, "b"), (NONE, 1));
    assert_eq!(c.produced(1, -1, "c"), (NONE, 2));
    let bases: Vec<Offset> = c.partition(1).log.segment_base_offsets().collect();
    assert_eq!(bases, [0, 1, 2], "each rolls");
    assert_eq!(c.partition(1).log.recovery_point(), 0, "nothing is flushed");
    c.release();
    c.until("the flush in the background", |c| {
        c.partition(1).log.recovery_point() == 2
    });
}

#[test]
fn trap_12_a_leader_changes_no_isr_without_the_controller() {
    let mut c = TestCluster::start(&[], None);
    c.cut_from_controller(1);
    cut_followers(&mut c);
    c.produce(1, 1, "a");
    c.run(60 * SECONDS);
    assert_eq!(c.partition(1).isr(), [1, 2, 3], "nobody has agreed");
    assert!(c.partition(1).pending().is_some());
}

#[test]
fn trap_12_the_last_isr_member_stays_when_it_dies_and_leads_again() {
    let mut c = TestCluster::start(&[], None);
    c.kill(2);
    c.kill(3);
    c.until("a single ISR member", |c| c.state().isr[..] == [1]);
    c.kill(1);
    c.until("no leader", |c| c.state().leader == NO_BROKER);
    assert_eq!(&c.state().isr[..], &[1]);
    c.start_broker(2);
    c.run(60 * SECONDS);
    let image: &MetadataImage = c.controller().image();
    assert!(image.is_active(2));
    assert_eq!(c.state().leader, NO_BROKER, "broker 2 is not in the ISR");
    c.start_broker(1);
    c.until("leader 1", |c| c.is_led_by(1));
}
