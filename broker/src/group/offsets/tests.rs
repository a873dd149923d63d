//! What the members of a group are told, by brokers whose disk or followers are slow.

use crate::env::Input;
use crate::group::OFFSETS_TOPIC;
use crate::ids::*;
use crate::test_cluster::TestCluster;
use crate::time::{MILLIS, SECONDS};
use crate::wire::*;
use smallvec::smallvec;

const NONE: ErrorCode = ErrorCode::None;

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
