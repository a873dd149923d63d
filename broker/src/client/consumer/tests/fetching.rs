//! Whom a poll asks for records.

use super::*;

#[test]
fn a_leader_is_not_asked_while_records_of_one_of_its_partitions_are_buffered() {
    let small = ConsumerConfig {
        max_poll_records: 2,
        ..config()
    };
    let mut world = start(small, 3);
    world.leaders = vec![(0, 5), (0, 5), (1, 5)];
    world.committed = Some(vec![(0, -1), (7, -1), (9, -1)]);
    let poll = world.call(Call::Poll(1_000));
    let both = world.take(ApiKey::Fetch);
    assert_eq!(fetches(&both), [(0, 0, 5), (1, 7, 5)]);
    let other = world.take(ApiKey::Fetch);
    assert_eq!(fetches(&other), [(2, 9, 5)]);
    answer_fetch(&mut world, &both, ErrorCode::None, stored_batch(0, 5, 5));
    assert_eq!(offsets(&world.replies_to(poll)), [0, 1]);
    assert_eq!(world.count(ApiKey::Fetch), 0, "three records are buffered");
    // A leader that has nothing in the buffer is asked.
    let nothing = FetchPartitionResult {
        partition: 2,
        ..fetch_result(ErrorCode::None, Bytes::new())
    };
    answer_fetch_with(&mut world, &other, nothing);
    let poll = world.call(Call::Poll(1_000));
    assert_eq!(offsets(&world.replies_to(poll)), [2, 3]);
    assert_eq!(world.count(ApiKey::Fetch), 0, "partition 2 waits as well");
    let poll = world.call(Call::Poll(1_000));
    assert_eq!(offsets(&world.replies_to(poll)), [4]);
    let asked = [world.take(ApiKey::Fetch), world.take(ApiKey::Fetch)];
    let mut asked: Vec<_> = asked.iter().flat_map(fetches).collect();
    asked.sort_unstable();
    assert_eq!(asked, [(0, 5, 5), (1, 7, 5), (2, 9, 5)]);
}

#[test]
fn a_topic_that_the_metadata_has_lost_is_fetched_on() {
    let mut world = start_at(config(), 0, -1);
    assert_eq!(poll_records(&mut world, 3), [0, 1, 2]);
    world.leaders.clear();
    let metadata = world.metadata_requests;
    world.reset_connections(NodeId(0));
    world.call(Call::Poll(5_000));
    world.run_ms(1_000);
    assert!(world.metadata_requests > metadata);
    // The answer waits behind the Fetch that is under way. The one after that is sent before it is read.
    end_long_poll(&mut world);
    end_long_poll(&mut world);
    let fetch = world.take(ApiKey::Fetch);
    assert_eq!((fetch.node, fetches(&fetch)), (NodeId(0), vec![(0, 3, 5)]));
}
