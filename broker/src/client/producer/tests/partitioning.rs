//! Records that name no partition.

use super::*;

fn send_any(world: &mut Harness<Producer>, key: Option<&str>, value: &str) -> CallId {
    world.call(Call::Send(Box::new(ProducerRecord {
        topic: topic(),
        partition: None,
        key: key.map(|k| Bytes::copy_from_slice(k.as_bytes())),
        value: Bytes::copy_from_slice(value.as_bytes()),
    })))
}

/// Sends the records one by one, lets them all be answered, and says where each went.
fn partitions_of(
    world: &mut Harness<Producer>,
    records: impl Iterator<Item = (Option<&'static str>, String)>,
) -> Vec<i32> {
    let calls: Vec<_> = records
        .map(|(key, value)| send_any(world, key, &value))
        .collect();
    world.run_ms(6);
    while world.count(ApiKey::Produce) > 0 {
        let request = world.take(ApiKey::Produce);
        answer(world, &request, ErrorCode::None, 0);
    }
    calls.into_iter().map(|call| went_to(world, call)).collect()
}

fn went_to(world: &Harness<Producer>, call: CallId) -> i32 {
    let sent = world.replies_to(call).into_iter().find_map(|r| match r {
        Reply::Sent(result) => Some(result.expect("sent").partition),
        _ => None,
    });
    sent.expect("it has its fate")
}

fn values_of(count: usize) -> impl Iterator<Item = (Option<&'static str>, String)> {
    (0..count).map(|n| (None, format!("value {n:04}")))
}

fn switches(partitions: &[i32]) -> usize {
    partitions.windows(2).filter(|w| w[0] != w[1]).count()
}

#[test]
fn a_key_decides_by_its_murmur2_hash() {
    // UtilsTest.testMurmur2: "foobar" is -790332482, "21" is -973932308; modulo 3 without the sign bit.
    for (key, partition) in [("foobar", 1_357_151_166 % 3), ("21", 1_173_551_340 % 3)] {
        let mut world = start(config(), 3);
        let records = (0..5).map(|n| (Some(key), n.to_string()));
        assert_eq!(partitions_of(&mut world, records), [partition; 5]);
    }
}

#[test]
fn keys_are_ignored_where_it_is_said() {
    let ignoring = ProducerConfig {
        partitioner_ignore_keys: true,
        ..config()
    };
    let mut world = start(ignoring, 3);
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let records = keys.into_iter().map(|key| (Some(key), key.to_string()));
    let partitions = partitions_of(&mut world, records);
    assert_eq!(
        switches(&partitions),
        0,
        "one batch, one partition: {partitions:?}"
    );
}

#[test]
fn records_without_a_key_stay_in_a_partition_until_a_batch_is_full() {
    let small = ProducerConfig {
        batch_size: 300,
        ..config()
    };
    let mut world = start(small, 3);
    let partitions = partitions_of(&mut world, values_of(300));
    let mut run = 1;
    let mut runs = Vec::new();
    for pair in partitions.windows(2) {
        if pair[0] == pair[1] {
            run += 1;
        } else {
            runs.push(std::mem::replace(&mut run, 1));
        }
    }
    // 300 bytes hold the header and a dozen such records.
    assert!(runs.iter().all(|run| *run >= 10), "{runs:?}");
    let mut seen = partitions.clone();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn a_partition_without_a_leader_is_not_chosen() {
    let every_record = ProducerConfig {
        batch_size: 0,
        ..config()
    };
    let mut world = Harness::stopped(Producer::new(every_record, vec![NodeId(0)], None), 3);
    world.leaders[1] = (-1, 5);
    world.step(Input::Start);
    send_any(&mut world, None, "the first waits for metadata");
    let partitions = partitions_of(&mut world, values_of(50));
    assert!(!partitions.contains(&1), "{partitions:?}");
    assert!(switches(&partitions) > 5);
}

/// Partition 0's broker takes two requests and answers nothing. How many of the records that follow
/// go to each partition.
fn with_a_stuck_broker(config: ProducerConfig) -> [usize; 3] {
    let one_by_one = ProducerConfig {
        batch_size: 0,
        linger_ms: 0,
        // Not 1, which would mute the partition instead of the node.
        max_in_flight_requests_per_connection: 2,
        delivery_timeout_ms: 1_000_000,
        request_timeout_ms: 900_000,
        enable_idempotence: false,
        ..config
    };
    let mut world = start(one_by_one, 3);
    for partition in [0, 1, 2, 0, 0, 0] {
        send(&mut world, partition, "to begin with");
    }
    let mut counts = [0; 3];
    let calls: Vec<_> = (0..400)
        .map(|n| {
            let call = send_any(&mut world, None, &n.to_string());
            world.run_ms(10);
            let answered: Vec<_> = (0..world.pending.len())
                .filter_map(|_| world.pending.pop_front())
                .collect();
            for request in answered {
                if request.node == NodeId(0) {
                    world.pending.push_back(request);
                } else {
                    answer(&mut world, &request, ErrorCode::None, 0);
                }
            }
            call
        })
        .collect();
    for call in calls {
        let sent = world.replies_to(call).len() == 2;
        counts[if sent {
            went_to(&world, call) as usize
        } else {
            0
        }] += 1;
    }
    counts
}

#[test]
fn adaptive_partitioning_spares_the_partition_whose_queue_grows() {
    let even = with_a_stuck_broker(ProducerConfig {
        partitioner_adaptive_partitioning_enable: false,
        ..config()
    });
    assert!(even.iter().all(|count| *count > 90), "{even:?}");
    let adaptive = with_a_stuck_broker(config());
    assert!(adaptive[0] < 30, "{adaptive:?}");
    assert!(adaptive[1] > 150 && adaptive[2] > 150, "{adaptive:?}");
}

#[test]
fn a_node_that_takes_nothing_for_the_availability_timeout_is_not_chosen_at_all() {
    let counts = with_a_stuck_broker(ProducerConfig {
        partitioner_availability_timeout_ms: 100,
        ..config()
    });
    // Those of the first 100 ms.
    assert!(counts[0] <= 4, "{counts:?}");
}

#[test]
fn max_block_counts_the_wait_for_metadata_and_the_wait_for_memory_together() {
    let little = ProducerConfig {
        buffer_memory: 16_384,
        ..plain()
    };
    let mut world = Harness::new(Producer::new(little, vec![NodeId(0)], None), 0);
    // The topic appears after four seconds; then the second record finds no memory.
    let first = send_any(&mut world, None, &"x".repeat(16_000));
    let second = send_any(&mut world, None, &"y".repeat(16_000));
    world.run_ms(4_000);
    assert!(world.replies_to(first).is_empty());
    world.leaders = vec![(0, 5)];
    world.run_ms(1_999);
    assert_eq!(world.replies_to(first), [Reply::Accepted]);
    assert_eq!(world.replies_to(second), []);
    world.run_ms(1);
    assert!(matches!(
        world.replies_to(second)[..],
        [Reply::Sent(Err(ClientError::Timeout(_)))]
    ));
}
