//! What is committed, and to whom.

use super::*;

#[test]
fn commit_sync_commits_the_positions_with_their_epochs() {
    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    let call = world.call(Call::CommitSync);
    let commit = world.take(ApiKey::OffsetCommit);
    assert_eq!(commit.node, NodeId(2));
    assert_eq!(commits(&commit), [(0, 3, 5)]);
    assert_eq!(world.replies_to(call), []);
    answer_commit(&mut world, &commit, ErrorCode::None);
    assert_eq!(world.replies_to(call), [Reply::Done(Ok(()))]);
}

#[test]
fn commit_sync_of_offsets_commits_what_was_given() {
    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    world.call(Call::CommitSyncOffsets(vec![TopicPartitionOffset {
        topic: topic(),
        partition: 0,
        offset: 1,
        leader_epoch: -1,
    }]));
    assert_eq!(commits(&world.take(ApiKey::OffsetCommit)), [(0, 1, -1)]);
}

#[test]
fn a_commit_is_retried_and_the_coordinator_looked_up_again() {
    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    end_long_poll(&mut world);
    let call = world.call(Call::CommitSync);
    let commit = world.take(ApiKey::OffsetCommit);
    answer_commit(&mut world, &commit, ErrorCode::CoordinatorLoadInProgress);
    world.run_ms(121);
    let commit = world.take(ApiKey::OffsetCommit);
    assert_eq!(commit.node, NodeId(2));
    world.coordinator = Some(1);
    answer_commit(&mut world, &commit, ErrorCode::NotCoordinator);
    assert_eq!(world.replies_to(call), []);
    world.run_ms(1_000);
    let commit = world.take(ApiKey::OffsetCommit);
    assert_eq!(commit.node, NodeId(1));
    assert_eq!(world.connections_to(NodeId(2)), 0, "the old one is closed");
    // Lost with its connection, and sent again.
    world.reset_connections(NodeId(1));
    world.run_ms(2_000);
    let commit = world.take(ApiKey::OffsetCommit);
    answer_commit(&mut world, &commit, ErrorCode::None);
    assert_eq!(world.replies_to(call), [Reply::Done(Ok(()))]);
}

#[test]
fn a_coordinator_that_the_client_leaves_is_no_reason_to_ask_for_metadata() {
    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    end_long_poll(&mut world);
    let metadata = world.metadata_requests;
    world.call(Call::CommitSync);
    let commit = world.take(ApiKey::OffsetCommit);
    world.coordinator = Some(1);
    answer_commit(&mut world, &commit, ErrorCode::NotCoordinator);
    assert_eq!(world.connections_to(NodeId(2)), 0);
    world.run_ms(1_000);
    assert_eq!(world.take(ApiKey::OffsetCommit).node, NodeId(1));
    assert_eq!(world.metadata_requests, metadata);
}

#[test]
fn a_coordinator_to_which_nothing_could_be_sent_in_time_is_not_looked_up_again() {
    let impatient = ConsumerConfig {
        request_timeout_ms: 5_000,
        ..config()
    };
    let mut world = start_at(impatient, 0, -1);
    world.coordinator = None;
    world.hanging.insert(NodeId(2));
    world.call(Call::Poll(60_000));
    let lookup = world.take(ApiKey::FindCoordinator);
    let found = FindCoordinatorResponse {
        group: "g".into(),
        node: 2,
        error: ErrorCode::None,
    };
    world.answer(&lookup, Response::FindCoordinator(found));
    // The request expires, and the next one waits for the same connection.
    world.run_ms(7_000);
    assert_eq!(world.count(ApiKey::FindCoordinator), 0);
    // With the connection the coordinator is lost.
    world.reset_connections(NodeId(2));
    world.run_ms(1_000);
    assert_eq!(world.count(ApiKey::FindCoordinator), 1);
}

#[test]
fn a_commit_gives_up_after_default_api_timeout_and_on_errors_that_stay() {
    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    end_long_poll(&mut world);
    world.coordinator = None;
    world.reset_connections(NodeId(2));
    let call = world.call(Call::CommitSync);
    world.run_ms(59_999);
    assert_eq!(world.replies_to(call), []);
    world.run_ms(1);
    let replies = world.replies_to(call);
    assert!(
        matches!(replies[..], [Reply::Done(Err(ClientError::Timeout(_)))]),
        "{replies:?}"
    );

    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    let call = world.call(Call::CommitSync);
    let commit = world.take(ApiKey::OffsetCommit);
    answer_commit(&mut world, &commit, ErrorCode::UnknownMemberId);
    let error = ClientError::Broker(ErrorCode::UnknownMemberId);
    assert_eq!(world.replies_to(call), [Reply::Done(Err(error))]);
}

#[test]
fn auto_commit_happens_in_poll_and_never_covers_what_that_poll_returns() {
    let mut world = start_at(auto(), 0, -1);
    assert_eq!(poll_records(&mut world, 3), [0, 1, 2]);
    world.run_ms(20_000);
    assert_eq!(world.count(ApiKey::OffsetCommit), 0, "no timer commits");
    let fetch = world.take(ApiKey::Fetch);
    answer_fetch(&mut world, &fetch, ErrorCode::None, stored_batch(3, 4, 5));
    let poll = world.call(Call::Poll(1_000));
    assert_eq!(offsets(&world.replies_to(poll)), [3, 4, 5, 6]);
    let commit = world.take(ApiKey::OffsetCommit);
    assert_eq!(commits(&commit), [(0, 3, 5)]);
    answer_commit(&mut world, &commit, ErrorCode::None);
    // The interval begins anew.
    world.run_ms(4_999);
    world.call(Call::Poll(0));
    assert_eq!(world.count(ApiKey::OffsetCommit), 0);
    world.run_ms(1);
    world.call(Call::Poll(0));
    assert_eq!(commits(&world.take(ApiKey::OffsetCommit)), [(0, 7, 5)]);
}

#[test]
fn the_planted_bug_commits_what_the_poll_is_about_to_return() {
    let bug = Some(Bug::CommitBeforeProcessingInPoll);
    let mut world = start_at_with_bug(auto(), 0, -1, bug);
    assert_eq!(poll_records(&mut world, 3), [0, 1, 2]);
    world.run_ms(6_000);
    let fetch = world.take(ApiKey::Fetch);
    answer_fetch(&mut world, &fetch, ErrorCode::None, stored_batch(3, 4, 5));
    let poll = world.call(Call::Poll(1_000));
    assert_eq!(offsets(&world.replies_to(poll)), [3, 4, 5, 6]);
    assert_eq!(commits(&world.take(ApiKey::OffsetCommit)), [(0, 7, 5)]);
}

#[test]
fn a_failed_auto_commit_is_retried_soon_with_the_positions_of_then() {
    let mut world = start_at(auto(), 0, -1);
    poll_records(&mut world, 3);
    world.run_ms(5_000);
    world.call(Call::Poll(0));
    let commit = world.take(ApiKey::OffsetCommit);
    answer_commit(&mut world, &commit, ErrorCode::CoordinatorLoadInProgress);
    world.call(Call::Poll(0)); // learns of it
    world.run_ms(100);
    world.call(Call::Poll(0));
    assert_eq!(commits(&world.take(ApiKey::OffsetCommit)), [(0, 3, 5)]);
}

#[test]
fn a_long_poll_commits_when_the_interval_passes() {
    let mut world = start_at(auto(), 0, -1);
    poll_records(&mut world, 3);
    let poll = world.call(Call::Poll(10_000));
    world.run_ms(5_000);
    assert_eq!(commits(&world.take(ApiKey::OffsetCommit)), [(0, 3, 5)]);
    assert_eq!(world.replies_to(poll), []);
}

#[test]
fn close_commits_synchronously_only_with_auto_commit() {
    let mut world = start_at(auto(), 0, -1);
    poll_records(&mut world, 3);
    let close = world.call(Call::Close);
    assert_eq!(world.replies_to(close), []);
    let commit = world.take(ApiKey::OffsetCommit);
    assert_eq!(commits(&commit), [(0, 3, 5)]);
    answer_commit(&mut world, &commit, ErrorCode::None);
    assert_eq!(world.replies_to(close), [Reply::Done(Ok(()))]);
    assert_eq!(world.connections_to(NodeId(0)), 0);
    let poll = world.call(Call::Poll(0));
    let closed = ClientError::Closed;
    assert_eq!(world.replies_to(poll), [Reply::Failed(closed)]);

    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    let close = world.call(Call::Close);
    assert_eq!(world.replies_to(close), [Reply::Done(Ok(()))]);
    assert_eq!(world.count(ApiKey::OffsetCommit), 0);
}
