//! Async commits: never repeated, in order, told in the application's next call.

use super::*;

fn at(offset: Offset) -> Option<Vec<TopicPartitionOffset>> {
    Some(vec![TopicPartitionOffset {
        topic: topic(),
        partition: 0,
        offset,
        leader_epoch: -1,
    }])
}

/// Calls that were told of success, in order.
fn done(world: &World) -> impl Iterator<Item = CallId> {
    let done = world
        .replies
        .iter()
        .filter(|(_, r)| *r == Reply::Done(Ok(())));
    done.map(|(call, _)| *call)
}

/// A consumer that has read three records and knows its coordinator.
fn after_three_records() -> World {
    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    end_long_poll(&mut world);
    world
}

#[test]
fn an_async_commit_returns_at_once_and_its_callback_waits_for_the_next_call() {
    let mut world = after_three_records();
    let commit = world.call(Call::CommitAsync(None));
    assert_eq!(world.replies_to(commit), [Reply::Accepted]);
    let request = world.take(ApiKey::OffsetCommit);
    assert_eq!(commits(&request), [(0, 3, 5)], "the positions, with epoch");
    answer_commit(&mut world, &request, ErrorCode::None);
    world.run_ms(10_000);
    assert_eq!(world.replies_to(commit).len(), 1, "nothing tells it");
    world.call(Call::Poll(0));
    let told = [Reply::Accepted, Reply::Done(Ok(()))];
    assert_eq!(world.replies_to(commit), told);
}

#[test]
fn an_async_commit_that_fails_is_not_repeated() {
    for (error, told) in [
        (
            ErrorCode::CoordinatorLoadInProgress,
            ClientError::RetriableCommitFailed,
        ),
        (
            ErrorCode::NotCoordinator,
            ClientError::RetriableCommitFailed,
        ),
        (
            ErrorCode::UnknownServerError,
            ClientError::Broker(ErrorCode::UnknownServerError),
        ),
    ] {
        let mut world = after_three_records();
        let commit = world.call(Call::CommitAsync(at(1)));
        let request = world.take(ApiKey::OffsetCommit);
        assert_eq!(commits(&request), [(0, 1, -1)]);
        answer_commit(&mut world, &request, error);
        world.call(Call::Poll(5_000));
        world.run_ms(5_000);
        assert_eq!(world.count(ApiKey::OffsetCommit), 0);
        let told = [Reply::Accepted, Reply::Done(Err(told))];
        assert_eq!(world.replies_to(commit), told);
    }
}

#[test]
fn async_commits_leave_in_order_and_those_that_wait_for_the_lookup_too() {
    let mut world = after_three_records();
    world.coordinator = None;
    world.reset_connections(NodeId(2));
    let calls = [1, 2, 3].map(|n| world.call(Call::CommitAsync(at(n))));
    assert_eq!(world.count(ApiKey::OffsetCommit), 0);
    let lookup = world.take(ApiKey::FindCoordinator);
    assert_eq!(
        world.count(ApiKey::FindCoordinator),
        0,
        "one lookup for all"
    );
    let found = FindCoordinatorResponse {
        group: "g".into(),
        node: 1,
        error: ErrorCode::None,
    };
    world.answer(&lookup, Response::FindCoordinator(found));
    world.call(Call::Poll(0));
    world.call(Call::Poll(0));
    let requests = [(); 3].map(|()| world.take(ApiKey::OffsetCommit));
    let sent: Vec<_> = requests.iter().map(|r| commits(r)[0].1).collect();
    assert_eq!(sent, [1, 2, 3]);
    for request in &requests {
        assert_eq!(request.node, NodeId(1));
        answer_commit(&mut world, request, ErrorCode::None);
    }
    world.call(Call::Poll(0));
    let told: Vec<CallId> = done(&world).filter(|c| calls.contains(c)).collect();
    assert_eq!(told, calls);
}

#[test]
fn async_commits_fail_with_the_lookup_that_they_wait_for() {
    let mut world = after_three_records();
    world.coordinator = None;
    world.reset_connections(NodeId(2));
    let commit = world.call(Call::CommitAsync(at(1)));
    let lookup = world.take(ApiKey::FindCoordinator);
    let failed = FindCoordinatorResponse {
        group: "g".into(),
        node: -1,
        error: ErrorCode::CoordinatorNotAvailable,
    };
    world.answer(&lookup, Response::FindCoordinator(failed));
    world.call(Call::Poll(0));
    let error = ClientError::RetriableCommitFailed;
    let told = [Reply::Accepted, Reply::Done(Err(error))];
    assert_eq!(world.replies_to(commit), told);
}

#[test]
fn commit_sync_is_behind_the_async_commits_before_it_and_tells_of_them_first() {
    let mut world = after_three_records();
    let first = world.call(Call::CommitAsync(at(1)));
    let sync = world.call(Call::CommitSyncOffsets(at(2).expect("offsets")));
    let requests = [(); 2].map(|()| world.take(ApiKey::OffsetCommit));
    assert_eq!(commits(&requests[0])[0].1, 1);
    assert_eq!(requests[0].conn, requests[1].conn, "on one connection");
    for request in &requests {
        answer_commit(&mut world, request, ErrorCode::None);
    }
    let told: Vec<CallId> = done(&world).collect();
    assert!(told.ends_with(&[first, sync]), "{told:?}");
}

#[test]
fn commit_sync_of_nothing_waits_for_the_async_commits_on_the_way() {
    let mut world = after_three_records();
    let first = world.call(Call::CommitAsync(at(1)));
    let sync = world.call(Call::CommitSyncOffsets(Vec::new()));
    assert_eq!(world.replies_to(sync), []);
    let request = world.take(ApiKey::OffsetCommit);
    answer_commit(&mut world, &request, ErrorCode::None);
    assert_eq!(world.replies_to(sync), [Reply::Done(Ok(()))]);
    assert_eq!(world.replies_to(first).len(), 2);
}

#[test]
fn close_waits_for_async_commits_on_the_way_and_tells_nobody() {
    let mut world = after_three_records();
    let commit = world.call(Call::CommitAsync(at(1)));
    let close = world.call(Call::Close);
    assert_eq!(world.replies_to(close), []);
    let request = world.take(ApiKey::OffsetCommit);
    answer_commit(&mut world, &request, ErrorCode::None);
    assert_eq!(world.replies_to(close), [Reply::Done(Ok(()))]);
    assert_eq!(world.replies_to(commit), [Reply::Accepted]);
}

#[test]
fn close_gives_async_commits_up_after_its_time_and_when_the_coordinator_is_lost() {
    let mut world = after_three_records();
    world.call(Call::CommitAsync(at(1)));
    let close = world.call(Call::Close);
    world.run_ms(29_999);
    assert_eq!(world.replies_to(close), []);
    world.run_ms(1);
    assert_eq!(world.replies_to(close), [Reply::Done(Ok(()))]);

    let mut world = after_three_records();
    world.call(Call::CommitAsync(at(1)));
    let close = world.call(Call::Close);
    world.reset_connections(NodeId(2));
    assert_eq!(world.replies_to(close), [Reply::Done(Ok(()))]);
}

#[test]
fn close_waits_for_the_lookup_that_an_async_commit_needs() {
    let mut world = after_three_records();
    world.coordinator = None;
    world.reset_connections(NodeId(2));
    let commit = world.call(Call::CommitAsync(at(1)));
    let close = world.call(Call::Close);
    assert_eq!(world.replies_to(close), []);
    let lookup = world.take(ApiKey::FindCoordinator);
    let failed = FindCoordinatorResponse {
        group: "g".into(),
        node: -1,
        error: ErrorCode::CoordinatorNotAvailable,
    };
    world.answer(&lookup, Response::FindCoordinator(failed));
    assert_eq!(world.replies_to(close), [Reply::Done(Ok(()))]);
    let error = ClientError::RetriableCommitFailed;
    let told = [Reply::Accepted, Reply::Done(Err(error))];
    assert_eq!(world.replies_to(commit), told, "the loop of close tells it");
}

#[test]
fn a_commit_async_without_group_is_thrown() {
    let alone = ConsumerConfig {
        group_id: None,
        ..config()
    };
    let mut world = start(alone, 1);
    let commit = world.call(Call::CommitAsync(at(1)));
    let error = ClientError::Broker(ErrorCode::InvalidRequest);
    assert_eq!(world.replies_to(commit), [Reply::Done(Err(error))]);
}
