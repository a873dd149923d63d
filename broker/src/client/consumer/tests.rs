//! The consumer engine against a scripted cluster.

use super::*;
use crate::bug::Bug;
use crate::client::ConsumerRecord;
use crate::client::harness::{Harness, Pending, TOPIC_ID, stored_batch, topic};
use crate::config::AutoOffsetReset;
use crate::fact::{Fact, PositionResetReason};
use crate::wire::*;
use bytes::Bytes;
use smallvec::smallvec;

mod async_commits;
mod commits;
mod fetching;
mod positions;
mod truncation;

fn config() -> ConsumerConfig {
    ConsumerConfig {
        group_id: Some("g".to_string()),
        enable_auto_commit: false,
        auto_commit_interval_ms: 5_000,
        auto_offset_reset: AutoOffsetReset::Earliest,
        fetch_min_bytes: 1,
        fetch_max_wait_ms: 500,
        fetch_max_bytes: 50 << 20,
        max_partition_fetch_bytes: 1 << 20,
        max_poll_records: 500,
        check_crcs: true,
        read_committed: false,
        request_timeout_ms: 30_000,
        default_api_timeout_ms: 60_000,
        retry_backoff_ms: 100,
        retry_backoff_max_ms: 1_000,
        reconnect_backoff_ms: 50,
        reconnect_backoff_max_ms: 1_000,
        metadata_max_age_ms: 300_000,
        socket_connection_setup_timeout_ms: 10_000,
        socket_connection_setup_timeout_max_ms: 30_000,
    }
}

fn auto() -> ConsumerConfig {
    ConsumerConfig {
        enable_auto_commit: true,
        ..config()
    }
}

fn with_policy(auto_offset_reset: AutoOffsetReset) -> ConsumerConfig {
    ConsumerConfig {
        auto_offset_reset,
        ..config()
    }
}

type World = Harness<Consumer>;

fn start_with_bug(config: ConsumerConfig, partitions: usize, bug: Option<Bug>) -> World {
    let engine = Consumer::new(config, vec![NodeId(0)], bug);
    let mut world = Harness::new(engine, partitions);
    let all = (0..partitions as i32).map(|p| (topic(), p)).collect();
    let assign = world.call(Call::Assign(all));
    assert_eq!(world.replies_to(assign), [Reply::Done(Ok(()))]);
    world
}

fn start(config: ConsumerConfig, partitions: usize) -> World {
    start_with_bug(config, partitions, None)
}

/// A consumer with a committed offset, so that its position is known at the first poll.
fn start_at(config: ConsumerConfig, offset: Offset, epoch: LeaderEpoch) -> World {
    start_at_with_bug(config, offset, epoch, None)
}

fn start_at_with_bug(
    config: ConsumerConfig,
    offset: Offset,
    epoch: LeaderEpoch,
    bug: Option<Bug>,
) -> World {
    let mut world = start_with_bug(config, 1, bug);
    world.committed = Some(vec![(offset, epoch)]);
    world
}

fn fetches(pending: &Pending) -> Vec<(i32, Offset, LeaderEpoch)> {
    let Request::Fetch(request) = &pending.request else {
        panic!("not a Fetch");
    };
    assert_eq!(request.replica_id, CONSUMER_REPLICA);
    let parts = request.topics.iter().flat_map(|(id, parts)| {
        assert_eq!(*id, TOPIC_ID);
        parts
    });
    parts
        .map(|p| (p.partition, p.fetch_offset, p.current_leader_epoch))
        .collect()
}

fn fetch_result(error: ErrorCode, records: Bytes) -> FetchPartitionResult {
    FetchPartitionResult {
        partition: 0,
        error,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        diverging_epoch: None,
        current_leader: (-1, -1),
        records,
    }
}

/// Answers a Fetch of partition 0 alone.
fn answer_fetch(world: &mut World, pending: &Pending, error: ErrorCode, records: Bytes) {
    answer_fetch_with(world, pending, fetch_result(error, records));
}

fn answer_fetch_with(world: &mut World, pending: &Pending, result: FetchPartitionResult) {
    let leader = result.current_leader.0;
    let response = FetchResponse {
        error: ErrorCode::None,
        topics: vec![(TOPIC_ID, smallvec![result])],
        node_endpoints: Vec::from_iter((leader != NO_BROKER).then_some(leader)),
    };
    world.answer(pending, Response::Fetch(response));
}

fn answer_list_offsets(world: &mut World, pending: &Pending, error: ErrorCode, offset: Offset) {
    let Request::ListOffsets(request) = &pending.request else {
        panic!("not a ListOffsets");
    };
    let topics = request.topics.iter().map(|(topic, parts)| {
        let results = parts.iter().map(|p| ListOffsetsPartitionResult {
            partition: p.partition,
            error,
            timestamp: -1,
            offset,
            leader_epoch: -1,
        });
        (topic.clone(), results.collect())
    });
    let topics = topics.collect();
    world.answer(
        pending,
        Response::ListOffsets(ListOffsetsResponse { topics }),
    );
}

fn answer_epoch_end(world: &mut World, pending: &Pending, epoch: LeaderEpoch, end: Offset) {
    let Request::OffsetForLeaderEpoch(request) = &pending.request else {
        panic!("not an OffsetForLeaderEpoch");
    };
    let topics = request.topics.iter().map(|(topic, parts)| {
        let results = parts.iter().map(|p| EpochEnd {
            partition: p.partition,
            error: ErrorCode::None,
            leader_epoch: epoch,
            end_offset: end,
        });
        (topic.clone(), results.collect())
    });
    let topics = topics.collect();
    let response = OffsetForLeaderEpochResponse { topics };
    world.answer(pending, Response::OffsetForLeaderEpoch(response));
}

/// Partition, offset and epoch of each part of a commit.
fn commits(pending: &Pending) -> Vec<(i32, Offset, LeaderEpoch)> {
    let Request::OffsetCommit(request) = &pending.request else {
        panic!("not an OffsetCommit");
    };
    assert_eq!((&*request.group, request.generation), ("g", -1));
    let parts = request.topics.iter().flat_map(|(_, parts)| parts);
    parts
        .map(|p| (p.partition, p.offset, p.leader_epoch))
        .collect()
}

fn answer_commit(world: &mut World, pending: &Pending, error: ErrorCode) {
    let parts = commits(pending).iter().map(|c| (c.0, error)).collect();
    let topics = vec![(topic(), parts)];
    let response = Response::OffsetCommit(OffsetCommitResponse { topics });
    world.answer(pending, response);
}

fn offsets(reply: &[Reply]) -> Vec<Offset> {
    match reply {
        [Reply::Records(records)] => records.iter().map(|r| r.offset).collect(),
        other => panic!("not records: {other:?}"),
    }
}

/// Polls and answers the one Fetch that it sends with `count` records.
fn poll_records(world: &mut World, count: i64) -> Vec<Offset> {
    let poll = world.call(Call::Poll(1_000));
    if world.replies_to(poll).is_empty() {
        let fetch = world.take(ApiKey::Fetch);
        let base = fetches(&fetch)[0].1;
        answer_fetch(world, &fetch, ErrorCode::None, stored_batch(base, count, 5));
    }
    offsets(&world.replies_to(poll))
}

/// The leader answers the Fetch that waits, with nothing, as it does after `fetch.max.wait.ms`:
/// what is behind it on the connection can be answered.
fn end_long_poll(world: &mut World) {
    let fetch = world.take(ApiKey::Fetch);
    answer_fetch(world, &fetch, ErrorCode::None, Bytes::new());
}

fn resets(world: &World) -> Vec<(Offset, Offset, PositionResetReason)> {
    let facts = world.facts.iter().map(|fact| match fact {
        Fact::PositionReset {
            partition,
            from,
            to,
            why,
        } => {
            assert_eq!(partition.topic, TOPIC_ID);
            (*from, *to, *why)
        }
        other => panic!("a consumer said {other:?}"),
    });
    facts.collect()
}

#[test]
fn a_committed_offset_is_where_reading_begins_and_its_coordinator_has_a_connection_of_its_own() {
    let mut world = start(config(), 3);
    world.committed = Some(vec![(7, 5), (8, -1), (-1, -1)]);
    let poll = world.call(Call::Poll(2_000));
    // Partition 0 was committed with an epoch: its position is validated first.
    let validation = world.take(ApiKey::OffsetForLeaderEpoch);
    answer_epoch_end(&mut world, &validation, 5, 9);
    let list = world.take(ApiKey::ListOffsets);
    assert_eq!(list.node, NodeId(2));
    answer_list_offsets(&mut world, &list, ErrorCode::None, 3);
    let mut asked: Vec<_> = (0..3)
        .flat_map(|_| fetches(&world.take(ApiKey::Fetch)))
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, [(0, 7, 5), (1, 8, 5), (2, 3, 5)]);
    assert_eq!(world.connections_to(NodeId(2)), 2);
    use PositionResetReason::{Committed, NoOffset};
    let expected = [(-1, 7, Committed), (-1, 8, Committed), (-1, 3, NoOffset)];
    assert_eq!(resets(&world), expected);
    world.run_ms(2_000);
    assert_eq!(world.replies_to(poll), [Reply::Records(Vec::new())]);
}

#[test]
fn without_a_committed_offset_the_policy_decides() {
    for (policy, timestamp) in [
        (AutoOffsetReset::Earliest, EARLIEST_TIMESTAMP),
        (AutoOffsetReset::Latest, LATEST_TIMESTAMP),
    ] {
        let mut world = start(with_policy(policy), 1);
        let poll = world.call(Call::Poll(2_000));
        let list = world.take(ApiKey::ListOffsets);
        let Request::ListOffsets(request) = &list.request else {
            unreachable!()
        };
        assert_eq!(request.topics[0].1[0].timestamp, timestamp);
        answer_list_offsets(&mut world, &list, ErrorCode::None, 30);
        assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 30, 5)]);
        assert_eq!(world.replies_to(poll), []);
    }
    let mut world = start(with_policy(AutoOffsetReset::None), 1);
    let poll = world.call(Call::Poll(2_000));
    let error = ClientError::NoOffsetForPartition;
    assert_eq!(world.replies_to(poll), [Reply::Failed(error)]);
}

#[test]
fn a_failed_reset_is_tried_again_after_the_back_off() {
    let mut world = start(config(), 1);
    world.call(Call::Poll(5_000));
    let list = world.take(ApiKey::ListOffsets);
    answer_list_offsets(&mut world, &list, ErrorCode::NotLeaderOrFollower, -1);
    assert_eq!(world.count(ApiKey::ListOffsets), 0);
    world.run_ms(200);
    let list = world.take(ApiKey::ListOffsets);
    answer_list_offsets(&mut world, &list, ErrorCode::None, 4);
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 4, 5)]);
}

#[test]
fn a_poll_returns_records_at_once_and_sends_the_next_fetch_before_it_returns() {
    let mut world = start_at(config(), 10, -1);
    let poll = world.call(Call::Poll(1_000));
    let fetch = world.take(ApiKey::Fetch);
    answer_fetch(&mut world, &fetch, ErrorCode::None, stored_batch(10, 3, 5));
    let replies = world.replies_to(poll);
    assert_eq!(offsets(&replies), [10, 11, 12]);
    let Reply::Records(records) = &replies[0] else {
        unreachable!()
    };
    let expected = ConsumerRecord {
        topic: topic(),
        partition: 0,
        offset: 11,
        leader_epoch: 5,
        timestamp: 1_000,
        key: None,
        value: Bytes::from_static(b"11"),
    };
    assert_eq!(records[1], expected);
    let next = world.take(ApiKey::Fetch);
    assert_eq!(fetches(&next), [(0, 13, 5)]);
    // Its answer waits in the buffer; the position moves only when a poll takes records out.
    answer_fetch(&mut world, &next, ErrorCode::None, stored_batch(13, 2, 5));
    assert_eq!(world.engine.positions()[0].offset, 13);
    assert_eq!(world.count(ApiKey::Fetch), 0);
    assert!(world.engine.is_idle());
    let poll = world.call(Call::Poll(1_000));
    assert_eq!(offsets(&world.replies_to(poll)), [13, 14]);
    assert_eq!(world.engine.positions()[0].offset, 15);
    assert_eq!(world.engine.positions()[0].leader_epoch, 5);
}

#[test]
fn max_poll_records_are_handed_out_and_nothing_is_fetched_while_some_are_buffered() {
    let small = ConsumerConfig {
        max_poll_records: 2,
        ..config()
    };
    let mut world = start_at(small, 0, -1);
    assert_eq!(poll_records(&mut world, 5), [0, 1]);
    assert_eq!(world.count(ApiKey::Fetch), 0, "three records are buffered");
    assert_eq!(poll_records(&mut world, 0), [2, 3]);
    let poll = world.call(Call::Poll(0));
    assert_eq!(offsets(&world.replies_to(poll)), [4]);
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 5, 5)]);
}

#[test]
fn a_fetch_that_begins_inside_a_batch_skips_the_records_before_the_position() {
    let mut world = start_at(config(), 12, -1);
    let poll = world.call(Call::Poll(1_000));
    let fetch = world.take(ApiKey::Fetch);
    answer_fetch(&mut world, &fetch, ErrorCode::None, stored_batch(10, 5, 5));
    assert_eq!(offsets(&world.replies_to(poll)), [12, 13, 14]);
}

#[test]
fn a_poll_without_records_returns_when_its_time_is_over() {
    let mut world = start_at(config(), 0, -1);
    let poll = world.call(Call::Poll(100));
    world.run_ms(99);
    assert_eq!(world.replies_to(poll), []);
    world.run_ms(1);
    assert_eq!(world.replies_to(poll), [Reply::Records(Vec::new())]);
}

#[test]
fn an_offset_out_of_range_is_reset_or_thrown() {
    let mut world = start_at(with_policy(AutoOffsetReset::Latest), 50, -1);
    world.call(Call::Poll(1_000));
    let fetch = world.take(ApiKey::Fetch);
    answer_fetch(
        &mut world,
        &fetch,
        ErrorCode::OffsetOutOfRange,
        Bytes::new(),
    );
    let list = world.take(ApiKey::ListOffsets);
    answer_list_offsets(&mut world, &list, ErrorCode::None, 20);
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 20, 5)]);
    let last = resets(&world).pop();
    assert_eq!(last, Some((50, 20, PositionResetReason::OutOfRange)));

    let mut world = start_at(with_policy(AutoOffsetReset::None), 50, -1);
    let poll = world.call(Call::Poll(1_000));
    let fetch = world.take(ApiKey::Fetch);
    answer_fetch(
        &mut world,
        &fetch,
        ErrorCode::OffsetOutOfRange,
        Bytes::new(),
    );
    let error = ClientError::OffsetOutOfRange;
    assert_eq!(world.replies_to(poll), [Reply::Failed(error)]);
    assert_eq!(world.engine.positions()[0].offset, 50);
}

#[test]
fn a_corrupt_batch_fails_every_poll_unless_checksums_are_off() {
    let mut corrupt = stored_batch(0, 1, 5).to_vec();
    let last = corrupt.len() - 2; // the record's value
    corrupt[last] ^= 1;
    let error = ClientError::Broker(ErrorCode::CorruptMessage);
    let mut world = start_at(config(), 0, -1);
    let poll = world.call(Call::Poll(1_000));
    let fetch = world.take(ApiKey::Fetch);
    answer_fetch(&mut world, &fetch, ErrorCode::None, corrupt.clone().into());
    assert_eq!(world.replies_to(poll), [Reply::Failed(error.clone())]);
    let again = world.call(Call::Poll(1_000));
    assert_eq!(world.replies_to(again), [Reply::Failed(error)]);

    let unchecked = ConsumerConfig {
        check_crcs: false,
        ..config()
    };
    let mut world = start_at(unchecked, 0, -1);
    let poll = world.call(Call::Poll(1_000));
    let fetch = world.take(ApiKey::Fetch);
    answer_fetch(&mut world, &fetch, ErrorCode::None, corrupt.into());
    assert_eq!(offsets(&world.replies_to(poll)), [0]);
}

#[test]
fn not_leader_asks_for_metadata_and_a_hint_is_followed_at_once_after_validation() {
    // The metadata at hand names the one broker and not the other.
    for leader in [1, 9] {
        let mut world = start_at(config(), 0, -1);
        assert_eq!(poll_records(&mut world, 2), [0, 1]);
        world.call(Call::Poll(1_000));
        let fetch = world.take(ApiKey::Fetch);
        world.answer_metadata = false;
        let result = FetchPartitionResult {
            current_leader: (leader, 6),
            ..fetch_result(ErrorCode::NotLeaderOrFollower, Bytes::new())
        };
        answer_fetch_with(&mut world, &fetch, result);
        world.run_ms(1);
        let validation = world.take(ApiKey::OffsetForLeaderEpoch);
        let node = NodeId::of_broker(leader);
        assert_eq!(validation.node, node);
        answer_epoch_end(&mut world, &validation, 5, 2);
        let fetch = world.take(ApiKey::Fetch);
        assert_eq!((fetch.node, fetches(&fetch)), (node, vec![(0, 2, 6)]));
    }
}

#[test]
fn close_does_not_wait_for_a_coordinator_for_ever() {
    let mut world = start_at(auto(), 0, -1);
    poll_records(&mut world, 3);
    let close = world.call(Call::Close);
    world.run_ms(29_999);
    assert_eq!(world.replies_to(close), []);
    world.run_ms(1);
    assert_eq!(world.replies_to(close), [Reply::Done(Ok(()))]);
}

#[test]
fn positions_are_answered_once_every_partition_has_one() {
    let mut world = start(config(), 1);
    let call = world.call(Call::Positions);
    assert_eq!(world.replies_to(call), []);
    let list = world.take(ApiKey::ListOffsets);
    answer_list_offsets(&mut world, &list, ErrorCode::None, 9);
    let expected = TopicPartitionOffset {
        topic: topic(),
        partition: 0,
        offset: 9,
        leader_epoch: -1,
    };
    assert_eq!(world.replies_to(call), [Reply::Positions(vec![expected])]);
}

#[test]
fn a_consumer_without_group_needs_no_coordinator() {
    let alone = ConsumerConfig {
        group_id: None,
        ..auto()
    };
    let mut world = start(alone, 1);
    world.coordinator = None;
    world.call(Call::Poll(1_000));
    let list = world.take(ApiKey::ListOffsets);
    answer_list_offsets(&mut world, &list, ErrorCode::None, 0);
    assert_eq!(world.count(ApiKey::Fetch), 1);
    assert_eq!(world.count(ApiKey::FindCoordinator), 0);
}

#[test]
fn a_broken_leader_connection_is_tried_again_and_reading_goes_on() {
    let mut world = start_at(config(), 0, -1);
    world.down.insert(NodeId(0));
    let poll = world.call(Call::Poll(20_000));
    world.run_ms(5_000);
    assert_eq!(world.count(ApiKey::Fetch), 0);
    world.down.clear();
    world.run_ms(2_000);
    let fetch = world.take(ApiKey::Fetch);
    answer_fetch(&mut world, &fetch, ErrorCode::None, stored_batch(0, 1, 5));
    assert_eq!(offsets(&world.replies_to(poll)), [0]);
}

#[test]
fn nothing_is_sent_while_no_call_is_served() {
    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    end_long_poll(&mut world);
    let metadata = world.metadata_requests;
    world.run_ms(1_000_000);
    assert!(world.pending.is_empty());
    assert_eq!(world.metadata_requests, metadata);
    world.call(Call::Poll(100));
    assert_eq!(world.metadata_requests, metadata + 1, "refreshed by age");
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 3, 5)]);
}

#[test]
fn a_second_call_waits_for_the_first() {
    let mut world = start_at(config(), 0, -1);
    let poll = world.call(Call::Poll(100));
    let commit = world.call(Call::CommitSync);
    assert!(!world.engine.is_idle());
    world.run_ms(100);
    assert_eq!(world.replies_to(poll).len(), 1);
    let request = world.take(ApiKey::OffsetCommit);
    answer_commit(&mut world, &request, ErrorCode::None);
    assert_eq!(world.replies_to(commit), [Reply::Done(Ok(()))]);
    assert!(world.engine.is_idle());
}
