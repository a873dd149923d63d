//! The producer engine against a scripted cluster.

use super::*;
use crate::client::harness::{Harness, Pending, TOPIC_ID, topic};
use crate::client::{Call, ProducerRecord, RecordMetadata};
use crate::config::Acks;
use crate::fact::Fact;
use crate::log::batch::{BatchHeader, records};
use crate::time::MILLIS;
use crate::wire::*;
use bytes::Bytes;

mod memory;
mod order;
mod partitioning;
mod splitting;

fn config() -> ProducerConfig {
    ProducerConfig {
        acks: Acks::All,
        enable_idempotence: true,
        retries: i32::MAX,
        retry_backoff_ms: 100,
        retry_backoff_max_ms: 1_000,
        reconnect_backoff_ms: 50,
        reconnect_backoff_max_ms: 1_000,
        request_timeout_ms: 3_000,
        delivery_timeout_ms: 12_000,
        linger_ms: 5,
        batch_size: 16_384,
        buffer_memory: 32 << 20,
        max_block_ms: 6_000,
        max_request_size: 1 << 20,
        max_in_flight_requests_per_connection: 5,
        metadata_max_age_ms: 300_000,
        partitioner_ignore_keys: false,
        partitioner_adaptive_partitioning_enable: true,
        partitioner_availability_timeout_ms: 0,
        socket_connection_setup_timeout_ms: 10_000,
        socket_connection_setup_timeout_max_ms: 30_000,
    }
}

fn plain() -> ProducerConfig {
    ProducerConfig {
        enable_idempotence: false,
        ..config()
    }
}

fn start(config: ProducerConfig, partitions: usize) -> Harness<Producer> {
    let linger = config.linger_ms as u64;
    let mut world = Harness::new(Producer::new(config, vec![NodeId(0)], None), partitions);
    // One record to learn the topic, so that the tests begin with metadata and a producer id.
    let call = send(&mut world, 0, "warm-up");
    world.run_ms(linger + 5);
    let request = world.take(ApiKey::Produce);
    answer(&mut world, &request, ErrorCode::None, 0);
    assert_eq!(world.replies_to(call).len(), 2);
    world.replies.clear();
    world
}

fn send(world: &mut Harness<Producer>, partition: i32, value: &str) -> CallId {
    world.call(Call::Send(Box::new(ProducerRecord {
        topic: topic(),
        partition: Some(partition),
        key: None,
        value: Bytes::copy_from_slice(value.as_bytes()),
    })))
}

/// Partition, header and values of each batch of a Produce.
fn batches_of(pending: &Pending) -> Vec<(i32, BatchHeader, Vec<String>)> {
    let Request::Produce(request) = &pending.request else {
        panic!("not a Produce");
    };
    let mut found = Vec::new();
    for (id, partitions) in &request.topics {
        assert_eq!(*id, TOPIC_ID);
        for data in partitions {
            let header = BatchHeader::read(&data.records).expect("header");
            header.check_crc(&data.records).expect("crc");
            let values = records(&data.records)
                .expect("records")
                .map(|r| String::from_utf8(r.expect("record").value.expect("value").to_vec()))
                .map(|v| v.expect("text"));
            found.push((data.partition, header, values.collect()));
        }
    }
    found
}

fn values(pending: &Pending) -> Vec<String> {
    batches_of(pending).into_iter().flat_map(|b| b.2).collect()
}

fn sequence(pending: &Pending) -> (i16, i32) {
    let header = batches_of(pending)[0].1;
    (header.producer_epoch, header.base_sequence)
}

fn answer(world: &mut Harness<Producer>, pending: &Pending, error: ErrorCode, base: Offset) {
    answer_hint(world, pending, error, base, (-1, -1));
}

fn answer_hint(
    world: &mut Harness<Producer>,
    pending: &Pending,
    error: ErrorCode,
    base: Offset,
    current_leader: (BrokerId, LeaderEpoch),
) {
    let results = batches_of(pending)
        .into_iter()
        .map(|(partition, _, _)| ProducePartitionResult {
            partition,
            error,
            base_offset: if error.is_none() { base } else { -1 },
            log_start_offset: 0,
            current_leader,
        })
        .collect();
    let response = ProduceResponse {
        topics: vec![(TOPIC_ID, results)],
        node_endpoints: Vec::new(),
    };
    world.answer(pending, Response::Produce(response));
}

fn fate(world: &Harness<Producer>, call: CallId) -> Option<Result<Offset, ClientError>> {
    world.replies_to(call).into_iter().find_map(|r| match r {
        Reply::Sent(result) => Some(result.map(|m: RecordMetadata| m.offset)),
        _ => None,
    })
}

/// Sends one record and lets linger pass, so that it is a request of its own.
fn send_alone(world: &mut Harness<Producer>, value: &str) -> CallId {
    let call = send(world, 0, value);
    world.run_ms(6);
    call
}

#[test]
fn linger_gathers_records_into_one_batch_and_each_learns_its_offset() {
    let mut world = start(config(), 1);
    let calls: Vec<_> = ["a", "b", "c"]
        .map(|v| send(&mut world, 0, v))
        .into_iter()
        .collect();
    for call in &calls {
        assert_eq!(world.replies_to(*call), [Reply::Accepted]);
    }
    world.run_ms(4);
    assert_eq!(world.count(ApiKey::Produce), 0, "linger.ms has not passed");
    world.run_ms(1);
    let request = world.take(ApiKey::Produce);
    assert_eq!(values(&request), ["a", "b", "c"]);
    assert_eq!(world.engine.pending(), 3);
    answer(&mut world, &request, ErrorCode::None, 10);
    let offsets: Vec<_> = calls.iter().map(|c| fate(&world, *c)).collect();
    assert_eq!(offsets, [Some(Ok(10)), Some(Ok(11)), Some(Ok(12))]);
    assert_eq!(world.engine.pending(), 0);
}

#[test]
fn a_full_batch_does_not_linger_and_the_last_one_does() {
    let mut world = start(
        ProducerConfig {
            batch_size: 180,
            ..config()
        },
        1,
    );
    for _ in 0..3 {
        send(&mut world, 0, &"x".repeat(60));
    }
    let request = world.take(ApiKey::Produce);
    assert_eq!(values(&request).len(), 1, "two do not fit into 180 bytes");
    assert_eq!(values(&world.take(ApiKey::Produce)).len(), 1);
    assert_eq!(world.count(ApiKey::Produce), 0);
    world.run_ms(5);
    assert_eq!(world.count(ApiKey::Produce), 1);
}

#[test]
fn one_request_carries_all_partitions_of_a_node_and_nodes_have_their_own() {
    let mut world = start(config(), 3);
    world.leaders = vec![(0, 6), (0, 6), (1, 6)];
    world.reset_connections(NodeId(0)); // asks for metadata again
    world.run_ms(2_000);
    for partition in 0..3 {
        send(&mut world, partition, "v");
    }
    world.run_ms(300);
    let requests = [world.take(ApiKey::Produce), world.take(ApiKey::Produce)];
    assert_eq!(world.count(ApiKey::Produce), 0);
    let mut seen: Vec<_> = requests
        .iter()
        .flat_map(|r| batches_of(r).into_iter().map(|b| (r.node.0, b.0)))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [(0, 0), (0, 1), (1, 2)]);
}

#[test]
fn a_disconnect_is_retried_with_the_same_sequence() {
    let mut world = start(config(), 1);
    let call = send_alone(&mut world, "a");
    let first = world.take(ApiKey::Produce);
    let metadata_before = world.metadata_requests;
    world.reset_connections(NodeId(0));
    assert_eq!(fate(&world, call), None);
    world.run_ms(500);
    assert!(world.metadata_requests > metadata_before);
    let second = world.take(ApiKey::Produce);
    assert_eq!(batches_of(&first), batches_of(&second));
    answer(&mut world, &second, ErrorCode::None, 1);
    assert_eq!(fate(&world, call), Some(Ok(1)));
}

#[test]
fn with_idempotence_batches_are_retried_in_order_one_at_a_time() {
    let mut world = start(config(), 1);
    for value in ["a", "b", "c"] {
        send_alone(&mut world, value);
    }
    assert_eq!(world.count(ApiKey::Produce), 3);
    world.reset_connections(NodeId(0));
    world.run_ms(1_000);
    for (value, offset) in [("a", 1), ("b", 2), ("c", 3)] {
        assert_eq!(
            world.count(ApiKey::Produce),
            1,
            "one in flight while retrying"
        );
        let request = world.take(ApiKey::Produce);
        assert_eq!(values(&request), [value]);
        assert_eq!(sequence(&request), (0, offset));
        answer(&mut world, &request, ErrorCode::None, offset.into());
        world.run_ms(1_000);
    }
}

#[test]
fn no_more_requests_in_flight_than_allowed() {
    let mut world = start(
        ProducerConfig {
            max_in_flight_requests_per_connection: 2,
            ..plain()
        },
        1,
    );
    for value in ["a", "b", "c"] {
        send_alone(&mut world, value);
    }
    assert_eq!(world.count(ApiKey::Produce), 2);
    let request = world.take(ApiKey::Produce);
    answer(&mut world, &request, ErrorCode::None, 1);
    assert_eq!(world.count(ApiKey::Produce), 2);
}

#[test]
fn delivery_timeout_expires_records_that_cannot_be_sent() {
    let mut world = start(config(), 1);
    world.leaders = vec![(-1, 6)];
    world.reset_connections(NodeId(0));
    world.run_ms(500);
    let call = send(&mut world, 0, "a");
    world.run_ms(11_990);
    assert_eq!(fate(&world, call), None);
    world.run_ms(11);
    assert!(matches!(
        fate(&world, call),
        Some(Err(ClientError::Timeout(_)))
    ));
    assert_eq!(world.engine.pending(), 0);
}

#[test]
fn delivery_timeout_expires_a_request_in_flight_and_a_late_success_changes_nothing() {
    let mut world = start(
        ProducerConfig {
            request_timeout_ms: 60_000,
            ..config()
        },
        1,
    );
    let call = send_alone(&mut world, "a");
    let request = world.take(ApiKey::Produce);
    world.run_ms(12_000);
    assert!(matches!(
        fate(&world, call),
        Some(Err(ClientError::Timeout(_)))
    ));
    answer(&mut world, &request, ErrorCode::None, 1);
    assert_eq!(world.replies_to(call).len(), 2, "one Accepted, one Sent");
    // The sequence was resolved by the late answer: no bump.
    let _ = send_alone(&mut world, "b");
    let request = world.take(ApiKey::Produce);
    assert_eq!(sequence(&request), (0, 2));
}

#[test]
fn request_timeout_closes_the_connection_and_retries_what_was_in_flight() {
    let mut world = start(config(), 1);
    let calls = [send_alone(&mut world, "a"), send_alone(&mut world, "b")];
    let old = world.take(ApiKey::Produce).conn;
    world.run_ms(3_000);
    world.run_ms(500);
    let request = world.take(ApiKey::Produce);
    assert_ne!(request.conn, old);
    assert_eq!(values(&request), ["a"]);
    assert_eq!(calls.map(|c| fate(&world, c)), [None, None]);
}

#[test]
fn acks_0_is_done_when_it_is_handed_to_the_socket() {
    let mut world = Harness::new(
        Producer::new(
            ProducerConfig {
                acks: Acks::None,
                ..plain()
            },
            vec![NodeId(0)],
            None,
        ),
        1,
    );
    let call = send_alone(&mut world, "a");
    assert_eq!(fate(&world, call), Some(Ok(-1)));
    assert_eq!(world.engine.pending(), 0);
    let request = world.take(ApiKey::Produce);
    assert_eq!(values(&request), ["a"]);
    world.reset_connections(NodeId(0));
    world.run_ms(20_000);
    assert_eq!(world.replies_to(call).len(), 2);
    assert_eq!(world.count(ApiKey::Produce), 0, "never retried");
    // No answer is awaited, so nothing bounds what is in flight.
    for _ in 0..8 {
        send_alone(&mut world, "b");
    }
    assert_eq!(world.count(ApiKey::Produce), 8);
}

#[test]
fn a_topic_that_does_not_appear_fails_after_max_block_and_one_that_does_is_sent_to() {
    let mut world = Harness::new(Producer::new(config(), vec![NodeId(0)], None), 0);
    let lost = send(&mut world, 0, "a");
    world.run_ms(6_000);
    assert!(matches!(
        world.replies_to(lost)[..],
        [Reply::Sent(Err(ClientError::Timeout(_)))]
    ));
    let found = send(&mut world, 0, "b");
    world.run_ms(300);
    world.leaders = vec![(1, 0)];
    world.run_ms(2_000);
    assert_eq!(world.replies_to(found), [Reply::Accepted]);
    assert_eq!(world.take(ApiKey::Produce).node, NodeId(1));
}

#[test]
fn p21_out_of_order_sequence_bumps_the_epoch_and_goes_on_without_telling_anybody() {
    let mut world = start(config(), 1);
    let calls = ["a", "b", "c"].map(|v| send_alone(&mut world, v));
    let requests = [(); 3].map(|()| world.take(ApiKey::Produce));
    assert_eq!(requests.each_ref().map(sequence), [(0, 1), (0, 2), (0, 3)]);
    // The broker lost the warm-up record: sequence 1 is not next there, nor are 2 and 3.
    for request in &requests {
        answer(&mut world, request, ErrorCode::OutOfOrderSequenceNumber, -1);
    }
    for (index, value) in ["a", "b", "c"].into_iter().enumerate() {
        world.run_ms(1_000);
        let request = world.take(ApiKey::Produce);
        assert_eq!(world.count(ApiKey::Produce), 0);
        assert_eq!(values(&request), [value]);
        assert_eq!(sequence(&request), (1, index as i32));
        answer(&mut world, &request, ErrorCode::None, index as i64);
    }
    assert_eq!(
        calls.map(|c| fate(&world, c)),
        [Some(Ok(0)), Some(Ok(1)), Some(Ok(2))]
    );
    assert!(world.facts.contains(&Fact::ProducerIdAssigned {
        producer_id: 900,
        epoch: 1
    }));
}

#[test]
fn out_of_order_sequence_of_a_later_batch_waits_for_the_earlier_one() {
    let mut world = start(config(), 1);
    send_alone(&mut world, "a");
    send_alone(&mut world, "b");
    let (a, b) = (world.take(ApiKey::Produce), world.take(ApiKey::Produce));
    answer(&mut world, &a, ErrorCode::NotEnoughReplicas, -1);
    answer(&mut world, &b, ErrorCode::OutOfOrderSequenceNumber, -1);
    world.run_ms(1_000);
    let request = world.take(ApiKey::Produce);
    assert_eq!(
        (values(&request), sequence(&request)),
        (vec!["a".to_string()], (0, 1))
    );
    answer(&mut world, &request, ErrorCode::None, 1);
    world.run_ms(1_000);
    let request = world.take(ApiKey::Produce);
    assert_eq!(
        (values(&request), sequence(&request)),
        (vec!["b".to_string()], (0, 2))
    );
}

#[test]
fn duplicate_sequence_is_a_success_without_offset() {
    let mut world = start(config(), 1);
    let call = send_alone(&mut world, "a");
    let request = world.take(ApiKey::Produce);
    answer(&mut world, &request, ErrorCode::DuplicateSequenceNumber, -1);
    assert_eq!(fate(&world, call), Some(Ok(-1)));
}

#[test]
fn a_message_too_large_for_the_broker_or_the_client_fails() {
    let mut world = start(
        ProducerConfig {
            max_request_size: 1_000,
            ..config()
        },
        1,
    );
    let call = send(&mut world, 0, &"x".repeat(1_000));
    assert!(matches!(
        world.replies_to(call)[..],
        [Reply::Sent(Err(ClientError::RecordTooLarge {
            limit: 1_000,
            ..
        }))]
    ));
    let call = send_alone(&mut world, "a");
    let request = world.take(ApiKey::Produce);
    answer(&mut world, &request, ErrorCode::MessageTooLarge, -1);
    assert_eq!(
        fate(&world, call),
        Some(Err(ClientError::Broker(ErrorCode::MessageTooLarge)))
    );
    // Its sequence is used by nobody, so the epoch is bumped (KIP-360).
    send_alone(&mut world, "b");
    assert_eq!(sequence(&world.take(ApiKey::Produce)), (1, 0));
}

#[test]
fn a_leader_hint_redirects_the_retry_without_back_off() {
    let mut world = start(config(), 1);
    send_alone(&mut world, "a");
    let request = world.take(ApiKey::Produce);
    world.answer_metadata = false;
    answer_hint(
        &mut world,
        &request,
        ErrorCode::NotLeaderOrFollower,
        -1,
        (1, 6),
    );
    world.run_ms(1);
    assert_eq!(world.take(ApiKey::Produce).node, NodeId(1));
}

#[test]
fn a_retriable_error_backs_off_before_the_retry() {
    let mut world = start(config(), 1);
    send_alone(&mut world, "a");
    let request = world.take(ApiKey::Produce);
    answer(&mut world, &request, ErrorCode::NotEnoughReplicas, -1);
    world.run_ms(79);
    assert_eq!(world.count(ApiKey::Produce), 0);
    world.run_ms(42);
    assert_eq!(world.count(ApiKey::Produce), 1);
}

#[test]
fn retries_run_out() {
    let mut world = start(
        ProducerConfig {
            retries: 1,
            ..plain()
        },
        1,
    );
    let call = send_alone(&mut world, "a");
    for expected in [
        None,
        Some(Err(ClientError::Broker(ErrorCode::NotEnoughReplicas))),
    ] {
        let request = world.take(ApiKey::Produce);
        answer(&mut world, &request, ErrorCode::NotEnoughReplicas, -1);
        assert_eq!(fate(&world, call), expected);
        world.run_ms(500);
    }
    assert_eq!(world.count(ApiKey::Produce), 0);
}

#[test]
fn flush_sends_at_once_and_ends_with_the_last_record_before_it() {
    let mut world = start(
        ProducerConfig {
            linger_ms: 10_000,
            ..config()
        },
        1,
    );
    send(&mut world, 0, "a");
    let flush = world.call(Call::Flush);
    let request = world.take(ApiKey::Produce);
    assert_eq!(world.replies_to(flush), []);
    answer(&mut world, &request, ErrorCode::None, 1);
    assert_eq!(world.replies_to(flush), [Reply::Done(Ok(()))]);
    let idle = world.call(Call::Flush);
    assert_eq!(world.replies_to(idle), [Reply::Done(Ok(()))]);
}

#[test]
fn close_sends_what_is_left_and_refuses_more() {
    let mut world = start(
        ProducerConfig {
            linger_ms: 10_000,
            ..config()
        },
        1,
    );
    let call = send(&mut world, 0, "a");
    let close = world.call(Call::Close);
    let refused = send(&mut world, 0, "b");
    assert_eq!(
        world.replies_to(refused),
        [Reply::Sent(Err(ClientError::Closed))]
    );
    let request = world.take(ApiKey::Produce);
    assert_eq!(world.replies_to(close), []);
    answer(&mut world, &request, ErrorCode::None, 1);
    assert_eq!(fate(&world, call), Some(Ok(1)));
    assert_eq!(world.replies_to(close), [Reply::Done(Ok(()))]);
    assert_eq!(world.connections_to(NodeId(0)), 0);
}

#[test]
fn nothing_is_sent_before_the_producer_id_is_there_and_nothing_expires_either() {
    let engine = Producer::new(config(), vec![NodeId(0)], None);
    let mut world = Harness::stopped(engine, 1);
    world.producer_id = None;
    world.step(Input::Start);
    let call = send(&mut world, 0, "a");
    world.run_ms(15_000);
    assert_eq!(world.count(ApiKey::Produce), 0);
    assert_eq!(
        fate(&world, call),
        None,
        "Kafka waits past delivery.timeout.ms"
    );
    assert!(world.facts.is_empty());
}

#[test]
fn an_idle_producer_wakes_only_for_its_metadata() {
    let mut world = start(config(), 1);
    world.run_ms(200_000);
    let before = world.metadata_requests;
    world.run_ms(200_000);
    assert_eq!(world.metadata_requests - before, 1);
    assert!(world.now >= 400_000 * MILLIS);
}
