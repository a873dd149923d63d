//! What a consumer is told of its group's offsets, by brokers that are cut off or elected.

use crate::env::Input;
use crate::fact::Fact;
use crate::group::OFFSETS_TOPIC;
use crate::ids::*;
use crate::test_cluster::{OTHER, TestCluster};
use crate::time::{MILLIS, SECONDS};
use crate::wire::*;
use smallvec::smallvec;

const NONE: ErrorCode = ErrorCode::None;
const SHARD: TopicPartition = TopicPartition {
    topic: OTHER,
    partition: 0,
};

fn commit(c: &mut TestCluster, to: BrokerId, offset: Offset) -> i32 {
    let commit = CommitPartition {
        partition: 0,
        offset,
        leader_epoch: NO_EPOCH,
    };
    let request = OffsetCommitRequest {
        group: "g".into(),
        generation: -1,
        member_id: "".into(),
        topics: vec![("t".into(), smallvec![commit])],
    };
    c.new_connection(to);
    c.send(to, Request::OffsetCommit(request))
}

/// What a commit was answered, if it was.
fn commit_error(c: &TestCluster, sent: i32) -> Option<ErrorCode> {
    match c.response(sent)? {
        Response::OffsetCommit(response) => Some(response.topics[0].1[0].1),
        other => panic!("not an OffsetCommit: {other:?}"),
    }
}

fn committed(c: &mut TestCluster, to: BrokerId, offset: Offset) {
    let sent = commit(c, to, offset);
    c.until("the commit's answer", |c| c.response(sent).is_some());
    assert_eq!(commit_error(c, sent), Some(NONE));
}

fn fetch(c: &mut TestCluster, to: BrokerId, require_stable: bool) -> i32 {
    let request = OffsetFetchRequest {
        group: "g".into(),
        require_stable,
        topics: vec![("t".into(), smallvec![0])],
    };
    c.new_connection(to);
    c.send(to, Request::OffsetFetch(request))
}

/// What a fetch was answered, if it was: the error, or the offset.
fn fetched(c: &TestCluster, sent: i32) -> Option<Result<Offset, ErrorCode>> {
    match c.response(sent)? {
        Response::OffsetFetch(response) if response.error.is_none() => {
            Some(Ok(response.topics[0].1[0].offset))
        }
        Response::OffsetFetch(response) => Some(Err(response.error)),
        other => panic!("not an OffsetFetch: {other:?}"),
    }
}

fn fetch_now(c: &mut TestCluster, to: BrokerId, require_stable: bool) -> Result<Offset, ErrorCode> {
    let sent = fetch(c, to, require_stable);
    c.until("the fetch's answer", |c| c.response(sent).is_some());
    fetched(c, sent).expect("just seen")
}

/// Broker 1 leads the shard, 100 is committed, and 120 is in no other log than its own.
fn commit_cut_off() -> (TestCluster, i32) {
    let mut c = TestCluster::start_with(OFFSETS_TOPIC);
    c.run(SECONDS);
    committed(&mut c, 1, 100);
    c.run(SECONDS);
    c.cut_brokers(1, 2);
    c.cut_brokers(1, 3);
    let second = commit(&mut c, 1, 120);
    c.run(100 * MILLIS);
    assert_eq!(commit_error(&c, second), None);
    (c, second)
}

#[test]
fn a_new_coordinator_waits_until_what_it_has_read_is_committed() {
    let mut c = TestCluster::start_with(OFFSETS_TOPIC);
    c.run(SECONDS);
    committed(&mut c, 1, 100);
    c.run(SECONDS);
    committed(&mut c, 1, 120);
    // Nobody has told broker 2 yet that 120 is below the high watermark.
    c.kill(1);
    c.cut_brokers(2, 3);
    let mut answers = Vec::new();
    c.until("the new coordinator", |c| {
        c.broker(2)
            .image()
            .is_some_and(|image| image.partition(SHARD).is_some_and(|p| p.leader == 2))
    });
    while !matches!(answers.last(), Some(Ok(_))) {
        answers.push(fetch_now(&mut c, 2, false));
    }
    assert_eq!(answers.last(), Some(&Ok(100)), "what is surely committed");
    let sent = fetch(&mut c, 2, true);
    c.run(SECONDS);
    assert_eq!(fetched(&c, sent), None, "it waits for the follower");
    c.heal();
    c.until("the fetch's answer", |c| c.response(sent).is_some());
    assert_eq!(fetched(&c, sent), Some(Ok(120)));
}

#[test]
fn a_coordinator_cut_from_its_followers_gives_no_offset_that_may_be_another() {
    let (mut c, second) = commit_cut_off();
    assert_eq!(fetch_now(&mut c, 1, false), Ok(100));
    let began = c.now;
    let first = fetch_now(&mut c, 1, true);
    assert_eq!(first, Err(ErrorCode::NotCoordinator));
    let waited = c.now - began;
    assert!(
        (5 * SECONDS..6 * SECONDS).contains(&waited),
        "offsets.commit.timeout.ms, not {waited}"
    );
    let error = Some(ErrorCode::CoordinatorNotAvailable);
    assert_eq!(commit_error(&c, second), error);
    let mut answer = first;
    while answer == Err(ErrorCode::NotCoordinator) {
        answer = fetch_now(&mut c, 1, true);
    }
    assert_eq!(answer, Ok(120), "the ISR has shrunk");
}

#[test]
fn commits_behind_a_fetch_do_not_change_its_answer() {
    let (mut c, _) = commit_cut_off();
    let sent = fetch(&mut c, 1, true);
    c.run(100 * MILLIS);
    let third = commit(&mut c, 1, 140);
    c.run(SECONDS);
    assert_eq!(fetched(&c, sent), None);
    c.heal();
    c.until("the commit's answer", |c| c.response(third).is_some());
    assert_eq!(commit_error(&c, third), Some(NONE));
    assert_eq!(fetched(&c, sent), Some(Ok(120)));
}

#[test]
fn a_broker_that_resigns_answers_the_fetches_that_wait() {
    let (mut c, _) = commit_cut_off();
    let sent = fetch(&mut c, 1, true);
    c.run(SECONDS);
    assert_eq!(fetched(&c, sent), None);
    c.move_leader_of(SHARD, 2);
    c.run(SECONDS);
    assert_eq!(fetched(&c, sent), Some(Err(ErrorCode::NotCoordinator)));
}

#[test]
fn a_commit_that_is_replicated_before_its_flush_is_done_is_answered_then() {
    let properties = [("log.flush.interval.messages", "1")];
    let mut c = TestCluster::start_both(&properties, OFFSETS_TOPIC);
    c.run(SECONDS);
    c.hold(1, |input| matches!(input, Input::Synced(..)));
    let sent = commit(&mut c, 1, 120);
    c.run(SECONDS);
    assert_eq!(commit_error(&c, sent), None);
    c.release();
    c.run(10 * MILLIS);
    assert_eq!(commit_error(&c, sent), Some(NONE));
}

#[test]
fn a_fetch_takes_its_turn_behind_a_commit_whose_append_is_not_done() {
    let properties = [("log.flush.interval.messages", "1")];
    let mut c = TestCluster::start_both(&properties, OFFSETS_TOPIC);
    c.run(SECONDS);
    committed(&mut c, 1, 100);
    c.run(SECONDS);
    c.hold(1, |input| matches!(input, Input::Synced(..)));
    let second = commit(&mut c, 1, 120);
    let sent = fetch(&mut c, 1, true);
    c.run(SECONDS);
    assert_eq!(fetched(&c, sent), None);
    c.release();
    c.run(SECONDS);
    assert_eq!(commit_error(&c, second), Some(NONE));
    assert_eq!(fetched(&c, sent), Some(Ok(120)));
}

#[test]
fn a_fetch_behind_a_commit_whose_append_fails_reads_without_it() {
    let properties = [("log.flush.interval.messages", "1")];
    let mut c = TestCluster::start_both(&properties, OFFSETS_TOPIC);
    c.run(SECONDS);
    committed(&mut c, 1, 100);
    c.run(SECONDS);
    c.hold_queue(1, crate::env::Queue::LogDirFailureHandler);
    c.failing_syncs.insert(1);
    let second = commit(&mut c, 1, 120);
    let sent = fetch(&mut c, 1, true);
    c.run(SECONDS);
    assert_eq!(commit_error(&c, second), Some(ErrorCode::NotCoordinator));
    assert_eq!(fetched(&c, sent), Some(Ok(100)));
}

#[test]
fn a_leader_that_learns_only_of_another_epoch_of_its_own_does_not_load_again() {
    let mut c = TestCluster::start_with(OFFSETS_TOPIC);
    c.run(SECONDS);
    committed(&mut c, 1, 100);
    let epoch = |c: &TestCluster| {
        c.broker(1)
            .replicas()
            .unwrap()
            .partition(SHARD)
            .unwrap()
            .leader_epoch()
    };
    let before = epoch(&c);
    // It sleeps through the leadership of another.
    c.cut_from_controller(1);
    c.move_leader_of(SHARD, 2);
    c.move_leader_of(SHARD, 1);
    c.heal();
    c.until("the new epoch", |c| epoch(c) == before + 2);
    c.run(SECONDS);
    let loaded = |f: &&Fact| matches!(f, Fact::CoordinatorLoaded { .. });
    assert_eq!(c.facts_of(1).filter(loaded).count(), 1);
    assert_eq!(fetch_now(&mut c, 1, true), Ok(100));
}
