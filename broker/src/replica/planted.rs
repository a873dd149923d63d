//! Planted bugs of replicas: what each switch changes, against the same play without it.

use super::fetcher::{FetchState, truncation_offset};
use super::tests::{LAG_MS, Play, state};
use crate::bug::Bug;
use crate::env::Queue;
use crate::fact::Fact;
use crate::ids::*;
use crate::test_cluster::{TOPIC, TestCluster};
use crate::time::{MILLIS, SECONDS};
use crate::wire::{ErrorCode, FetchPartition, FetchRequest, Request, Response};
use smallvec::smallvec;

/// What a play shows without and with a bug.
fn both<T>(bug: Bug, play: impl Fn(Option<Bug>) -> T) -> (T, T) {
    (play(None), play(Some(bug)))
}

#[test]
fn stale_follower_state_on_election_keeps_offsets_of_an_earlier_leadership() {
    let seen = both(Bug::StaleFollowerStateOnElection, |bug| {
        let mut play = Play::with(bug);
        play.lead(0, &[1, 2, 3]);
        play.append(5);
        play.fetch(2, 5).unwrap();
        let other = state(2, 1, &[1, 2], 1);
        play.act(|p, _, env| p.make_follower(&other, env));
        play.lead(2, &[1, 2]);
        let remote = play.partition.remotes().iter().find(|r| r.broker == 2);
        remote.unwrap().log_end_offset
    });
    assert_eq!(seen, (-1, 5));
}

#[test]
fn isr_join_with_old_epoch_offset_needs_no_fetch_in_the_new_epoch() {
    let seen = both(Bug::IsrJoinWithOldEpochOffset, |bug| {
        let mut play = Play::with(bug);
        play.lead(0, &[1, 2]);
        play.append(3);
        play.fetch(3, 3).unwrap();
        play.lead(1, &[1, 2]);
        play.partition.pending().map(|p| p.isr.clone())
    });
    assert_eq!(seen, (None, Some(vec![1, 2, 3])));
}

#[test]
fn isr_join_with_old_epoch_offset_remembers_who_was_outside_the_isr_over_another_leadership() {
    let seen = both(Bug::IsrJoinWithOldEpochOffset, |bug| {
        let mut play = Play::with(bug);
        play.lead(0, &[1, 2]);
        play.append(3);
        play.fetch(3, 3).unwrap();
        let other = state(2, 1, &[1, 2], 1);
        play.act(|p, _, env| p.make_follower(&other, env));
        play.lead(2, &[1, 2]);
        play.partition.pending().map(|p| p.isr.clone())
    });
    assert_eq!(seen, (None, Some(vec![1, 2, 3])));
}

#[test]
fn isr_join_below_high_watermark_lets_a_follower_in_that_lacks_committed_records() {
    let seen = both(Bug::IsrJoinBelowHighWatermark, |bug| {
        let mut play = Play::with(bug);
        play.lead(0, &[1, 2]);
        play.append(5);
        play.fetch(2, 5).unwrap();
        play.fetch(3, 2).unwrap();
        (play.high_watermark(), play.partition.pending().is_some())
    });
    assert_eq!(seen, ((5, false), (5, true)));
}

#[test]
fn isr_join_below_epoch_start_lets_a_follower_in_before_it_is_caught_up() {
    let seen = both(Bug::IsrJoinBelowEpochStart, |bug| {
        let mut play = Play::with(bug);
        play.lead(0, &[1, 2, 3]);
        play.append(6);
        play.fetch(2, 4).unwrap();
        play.fetch(3, 4).unwrap();
        play.lead(1, &[1, 2]);
        play.fetch(3, 5).unwrap();
        play.partition.pending().is_some()
    });
    assert_eq!(seen, (false, true));
}

#[test]
fn a_late_fetch_response_is_dropped_by_offset_and_by_epoch_which_the_switches_forget() {
    let now = FetchState {
        leader_epoch: 4,
        fetch_offset: 10,
        last_fetched_epoch: 3,
        delayed_until: 0,
    };
    let ask = |current_leader_epoch, fetch_offset| FetchPartition {
        partition: 0,
        current_leader_epoch,
        fetch_offset,
        last_fetched_epoch: 3,
        log_start_offset: 0,
        partition_max_bytes: 1,
    };
    let (by_offset, by_epoch) = (Bug::LateFetchResponseOffset, Bug::LateFetchResponseEpoch);
    for (bug, other_offset, other_epoch) in [
        (None, false, false),
        // Without either: while the offset was compared, the epoch was not yet.
        (Some(by_offset), true, true),
        (Some(by_epoch), false, true),
    ] {
        assert!(now.is_asked_for(&ask(4, 10), bug));
        assert_eq!(now.is_asked_for(&ask(4, 8), bug), other_offset, "{bug:?}");
        assert_eq!(now.is_asked_for(&ask(3, 10), bug), other_epoch, "{bug:?}");
    }
}

#[test]
fn no_strict_min_isr_moves_the_high_watermark_of_a_single_replica() {
    let seen = both(Bug::NoStrictMinIsr, |bug| {
        let mut play = Play::with(bug);
        play.lead(0, &[1]);
        play.append(4);
        (play.high_watermark(), play.partition.admits(-1))
    });
    let refused = Err(ErrorCode::NotEnoughReplicas);
    assert_eq!(seen, ((0, refused), (4, refused)));
}

#[test]
fn committed_isr_for_high_watermark_does_not_wait_for_a_proposed_member() {
    let seen = both(Bug::CommittedIsrForHighWatermark, |bug| {
        let mut play = Play::with(bug);
        play.lead(0, &[1, 2]);
        play.append(3);
        play.fetch(2, 3).unwrap();
        play.fetch(3, 3).unwrap();
        assert!(play.partition.pending().is_some());
        play.wall_ms += LAG_MS + 1;
        play.append(1);
        play.fetch(2, 4).unwrap();
        play.high_watermark()
    });
    assert_eq!(seen, (3, 4));
}

#[test]
fn epoch_end_naive_leaves_a_follower_with_records_that_the_leader_never_had() {
    // Leader: epoch 0 up to 3, epoch 2 behind. Follower: epoch 0 up to 2, epoch 1 up to 4.
    let seen = both(Bug::EpochEndNaive, |bug| {
        let mut leader = Play::with(bug);
        leader.lead(0, &[1, 2, 3]);
        leader.append(3);
        leader.lead(2, &[1, 2, 3]);
        leader.append(2);
        let mut follower = Play::with(bug);
        follower.lead(0, &[1, 2, 3]);
        follower.append(2);
        follower.lead(1, &[1, 2, 3]);
        follower.append(2);
        let (epoch, end) = leader.partition.diverging_epoch(1, 4).unwrap().unwrap();
        truncation_offset(&follower.partition, epoch, end)
    });
    assert_eq!(seen, (2, 3));
}

#[test]
fn no_epoch_on_become_leader_leaves_a_leader_without_writes_in_its_former_epoch() {
    let seen = both(Bug::NoEpochOnBecomeLeader, |bug| {
        let mut play = Play::with(bug);
        play.lead(0, &[1, 2, 3]);
        play.append(3);
        play.lead(4, &[1, 2, 3]);
        let parted = play.partition.diverging_epoch(2, 5);
        (play.partition.log.latest_epoch(), parted)
    });
    let lost = Err(ErrorCode::OffsetOutOfRange);
    assert_eq!(seen, ((Some(4), Ok(Some((0, 3)))), (Some(0), lost)));
}

#[test]
fn no_epoch_on_become_leader_makes_a_follower_cut_to_its_own_high_watermark() {
    let seen = both(Bug::NoEpochOnBecomeLeader, |bug| {
        let mut c = TestCluster::start(&[], bug);
        // The follower's high watermark is one fetch behind: it knows of none of them.
        c.produced(1, -1, "common");
        c.move_leader(2);
        c.until("leader 2", |c| c.is_led_by(2));
        c.cut_brokers(1, 2);
        c.cut_brokers(2, 3);
        c.produced(2, 1, "of nobody else");
        c.move_leader(3);
        c.until("leader 3", |c| c.is_led_by(3));
        c.heal();
        c.until("broker 2 to agree", |c| {
            c.partition(2).leader() == 3 && c.values(2) == ["common"]
        });
        c.facts_of(2).find_map(|f| match f {
            Fact::Truncated { to, .. } => Some(*to),
            _ => None,
        })
    });
    assert_eq!(seen, (Some(1), Some(0)));
}

#[test]
fn oor_truncate_all_drops_the_common_records_too() {
    let seen = both(Bug::OorTruncateAll, |bug| {
        let mut c = TestCluster::start(&[], bug);
        c.produced(1, -1, "common");
        c.run(SECONDS);
        c.cut_from_controller(1);
        c.cut_brokers(1, 2);
        c.cut_brokers(1, 3);
        c.produced(1, 1, "of nobody else");
        c.until("another leader", |c| c.is_led_by(2));
        c.heal();
        c.until("broker 1 to agree", |c| {
            c.partition(1).leader() == 2 && c.values(1) == ["common"]
        });
        c.facts_of(1).find_map(|f| match f {
            Fact::Truncated { to, .. } => Some(*to),
            _ => None,
        })
    });
    assert_eq!(seen, (Some(1), Some(0)));
}

#[test]
fn skip_trunc_same_leader_does_not_ask_where_the_logs_part() {
    let seen = both(Bug::SkipTruncSameLeader, |bug| {
        let mut c = TestCluster::start(&[], bug);
        c.produced(1, -1, "a");
        c.run(SECONDS);
        c.cut_from_controller(3);
        for leader in [2, 1] {
            c.move_leader(leader);
            c.until("the next leader", |c| c.is_led_by(leader));
        }
        c.heal();
        c.until("broker 3 to know", |c| c.partition(3).leader_epoch() == 2);
        let missed = |f: &Fact| matches!(f, Fact::BecameFollower { leader: 2, .. });
        assert!(!c.facts_of(3).any(missed));
        c.fetch_state(3).last_fetched_epoch
    });
    assert_eq!(seen, (0, NO_EPOCH));
}

#[test]
fn refetch_in_same_epoch_forgets_a_back_off() {
    let seen = both(Bug::RefetchInSameEpoch, |bug| {
        let mut c = TestCluster::start(&[], bug);
        c.hold_queue(2, Queue::MetadataPublisher);
        c.kill(3);
        c.until("the ISR to shrink", |c| c.state().isr.len() == 2);
        c.run(SECONDS);
        c.reset_connections(1, 2);
        c.until("a back-off", |c| c.fetch_state(2).delayed_until > c.now);
        c.release();
        c.run(10 * MILLIS);
        c.fetch_state(2).delayed_until > c.now
    });
    assert_eq!(seen, (true, false));
}

#[test]
fn no_fetch_epoch_serves_a_follower_of_an_earlier_epoch() {
    let seen = both(Bug::NoFetchEpoch, |bug| {
        let mut c = TestCluster::start(&[], bug);
        c.produced(1, -1, "a");
        c.move_leader(2);
        c.until("leader 2", |c| c.is_led_by(2));
        let ask = FetchPartition {
            partition: 0,
            current_leader_epoch: 0,
            fetch_offset: 1,
            last_fetched_epoch: 0,
            log_start_offset: 0,
            partition_max_bytes: 1_000,
        };
        let request = FetchRequest {
            replica_id: 3,
            replica_epoch: c.broker(3).epoch(),
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 1_000,
            isolation_level: 0,
            topics: vec![(TOPIC, smallvec![ask])],
        };
        let sent = c.send(2, Request::Fetch(request));
        c.until("an answer", |c| c.response(sent).is_some());
        match c.response(sent) {
            Some(Response::Fetch(response)) => response.topics[0].1[0].error,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(seen, (ErrorCode::FencedLeaderEpoch, ErrorCode::None));
}

#[test]
fn read_past_high_watermark_gives_a_consumer_what_no_follower_has() {
    let seen = both(Bug::ReadPastHighWatermark, |bug| {
        let mut c = TestCluster::start(&[], bug);
        c.cut_brokers(1, 2);
        c.cut_brokers(1, 3);
        c.produced(1, 1, "of nobody else");
        assert_eq!((c.high_watermark(1), c.log_end(1)), (0, 1));
        let ask = FetchPartition {
            partition: 0,
            current_leader_epoch: 0,
            fetch_offset: 0,
            last_fetched_epoch: NO_EPOCH,
            log_start_offset: 0,
            partition_max_bytes: 1_000,
        };
        let request = FetchRequest {
            replica_id: -1,
            replica_epoch: -1,
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 1_000,
            isolation_level: 0,
            topics: vec![(TOPIC, smallvec![ask])],
        };
        let sent = c.send(1, Request::Fetch(request));
        c.until("an answer", |c| c.response(sent).is_some());
        match c.response(sent) {
            Some(Response::Fetch(response)) => {
                let read = &response.topics[0].1[0];
                (read.error, read.high_watermark, !read.records.is_empty())
            }
            other => panic!("{other:?}"),
        }
    });
    let none = ErrorCode::None;
    assert_eq!(seen, ((none, 0, false), (none, 0, true)));
}

#[test]
fn false_clean_marker_starts_a_killed_broker_as_after_an_orderly_end() {
    let seen = both(Bug::FalseCleanMarker, |bug| {
        let mut c = TestCluster::start(&[], bug);
        c.kill(1);
        c.start_broker(1);
        c.run(SECONDS);
        let starts = c.facts_of(1).filter_map(|fact| match fact {
            Fact::BrokerStarted { clean } => Some(*clean),
            _ => None,
        });
        starts.last()
    });
    assert_eq!(seen, (Some(false), Some(true)));
}

#[test]
fn fsync_error_ignored_acknowledges_what_the_disk_did_not_take() {
    let seen = both(Bug::FsyncErrorIgnored, |bug| {
        let mut c = TestCluster::start(&[("log.flush.interval.messages", "1")], bug);
        c.failing_syncs.insert(1);
        let sent = c.produce(1, 1, "dropped");
        c.run(SECONDS);
        (c.is_alive(1), c.answer(sent).map(|(error, _)| error))
    });
    let refused = Some(ErrorCode::KafkaStorageError);
    assert_eq!(seen, ((false, refused), (true, Some(ErrorCode::None))));
}
