//! Order and repetition across retries: `max.in.flight.requests.per.connection`, epoch bumps, P12, P14.

use super::*;
use crate::bug::Bug;

#[test]
fn one_in_flight_request_keeps_the_order_without_idempotence() {
    let mut world = start(
        ProducerConfig {
            max_in_flight_requests_per_connection: 1,
            ..plain()
        },
        1,
    );
    for value in ["a", "b", "c"] {
        send_alone(&mut world, value);
    }
    let mut order = Vec::new();
    let request = world.take(ApiKey::Produce);
    assert_eq!(world.count(ApiKey::Produce), 0, "muted");
    answer(&mut world, &request, ErrorCode::NotEnoughReplicas, -1);
    for _ in 0..4 {
        world.run_ms(200);
        if world.count(ApiKey::Produce) == 0 {
            break;
        }
        let request = world.take(ApiKey::Produce);
        assert_eq!(world.count(ApiKey::Produce), 0);
        order.extend(values(&request));
        answer(&mut world, &request, ErrorCode::None, 1);
    }
    assert_eq!(order.concat(), "abc");
}

#[test]
fn without_idempotence_a_disconnect_reverses_the_batches_in_flight() {
    let mut world = start(plain(), 1);
    for value in ["a", "b", "c"] {
        send_alone(&mut world, value);
    }
    assert_eq!(world.count(ApiKey::Produce), 3);
    world.reset_connections(NodeId(0));
    world.run_ms(1_000);
    let order: Vec<_> = (0..3)
        .flat_map(|_| values(&world.take(ApiKey::Produce)))
        .collect();
    assert_eq!(order, ["c", "b", "a"], "P12");
}

#[test]
fn after_a_retried_batch_expired_nothing_follows_until_the_epoch_is_bumped() {
    let mut world = start(
        ProducerConfig {
            request_timeout_ms: 60_000,
            ..config()
        },
        1,
    );
    let a = send_alone(&mut world, "a");
    world.run_ms(11_900);
    let b = send_alone(&mut world, "b");
    let (first, second) = (world.take(ApiKey::Produce), world.take(ApiKey::Produce));
    assert_eq!(sequence(&second), (0, 2));
    // It waits for its retry when it expires, and the broker may have it.
    answer(
        &mut world,
        &first,
        ErrorCode::NotEnoughReplicasAfterAppend,
        -1,
    );
    world.run_ms(79);
    assert_eq!(world.count(ApiKey::Produce), 0);
    world.run_ms(20);
    assert!(matches!(
        fate(&world, a),
        Some(Err(ClientError::Timeout(_)))
    ));
    let c = send_alone(&mut world, "c");
    assert_eq!(
        world.count(ApiKey::Produce),
        0,
        "the sequence is unresolved"
    );
    // The broker lost sequence 1, so it refuses 2, the one behind the unresolved gap.
    answer(&mut world, &second, ErrorCode::OutOfOrderSequenceNumber, -1);
    world.run_ms(1_000);
    let request = world.take(ApiKey::Produce);
    assert_eq!(
        (values(&request), sequence(&request)),
        (vec!["b".to_string()], (1, 0))
    );
    answer(&mut world, &request, ErrorCode::None, 1);
    world.run_ms(10);
    let request = world.take(ApiKey::Produce);
    assert_eq!(
        (values(&request), sequence(&request)),
        (vec!["c".to_string()], (1, 1))
    );
    answer(&mut world, &request, ErrorCode::None, 2);
    assert_eq!(
        (fate(&world, b), fate(&world, c)),
        (Some(Ok(1)), Some(Ok(2)))
    );
}

fn one_in_flight() -> ProducerConfig {
    ProducerConfig {
        max_in_flight_requests_per_connection: 1,
        ..plain()
    }
}

/// `a` is on its way to the old leader, which does not answer, when the producer learns of the new
/// one and has `b` to send. Then the old leader dies. In which order `a` and `b` reach brokers that
/// answer.
fn order_across_a_leader_change(bug: Option<Bug>) -> Vec<String> {
    let mut world = Harness::new(Producer::new(one_in_flight(), vec![NodeId(0)], bug), 2);
    for partition in [0, 1] {
        send(&mut world, partition, "warm-up");
        world.run_ms(10);
        let request = world.take(ApiKey::Produce);
        answer(&mut world, &request, ErrorCode::None, 0);
    }
    send_alone(&mut world, "a");
    assert_eq!(world.take(ApiKey::Produce).node, NodeId(0));
    world.leaders = vec![(1, 6), (1, 5)];
    send(&mut world, 1, "other");
    world.run_ms(10);
    let other = world.take(ApiKey::Produce);
    answer(&mut world, &other, ErrorCode::UnknownTopicOrPartition, -1);
    world.run_ms(500);
    let other = world.take(ApiKey::Produce);
    answer(&mut world, &other, ErrorCode::None, 1);
    send_alone(&mut world, "b");
    let mut order = Vec::new();
    for step in 0..4 {
        if world.count(ApiKey::Produce) > 0 {
            let request = world.take(ApiKey::Produce);
            assert_eq!(request.node, NodeId(1));
            order.extend(values(&request));
            answer(&mut world, &request, ErrorCode::None, 1);
        }
        if step == 0 {
            world.down.insert(NodeId(0));
            world.reset_connections(NodeId(0));
        }
        world.run_ms(1_000);
    }
    order
}

#[test]
fn one_in_flight_request_keeps_the_order_across_a_leader_change() {
    assert_eq!(order_across_a_leader_change(None).concat(), "ab");
}

#[test]
fn the_planted_bug_reorders_across_a_leader_change() {
    let order = order_across_a_leader_change(Some(Bug::ReorderInflight1));
    assert_eq!(order.concat(), "ba", "KAFKA-3197");
}

#[test]
fn an_expired_request_keeps_its_partition_muted_until_it_ends() {
    let slow = ProducerConfig {
        request_timeout_ms: 60_000,
        ..one_in_flight()
    };
    let mut world = start(slow, 1);
    let a = send_alone(&mut world, "a");
    let request = world.take(ApiKey::Produce);
    world.run_ms(12_000);
    assert!(matches!(
        fate(&world, a),
        Some(Err(ClientError::Timeout(_)))
    ));
    send_alone(&mut world, "b");
    assert_eq!(world.count(ApiKey::Produce), 0);
    answer(&mut world, &request, ErrorCode::None, 1);
    assert_eq!(values(&world.take(ApiKey::Produce)), ["b"]);
}

#[test]
fn p14_what_the_application_sends_again_after_an_error_has_a_new_epoch_and_is_a_duplicate() {
    let mut world = start(config(), 1);
    let first = send_alone(&mut world, "a");
    let request = world.take(ApiKey::Produce);
    assert_eq!(sequence(&request), (0, 1));
    // The leader has appended it when it answers so.
    let appended = ErrorCode::NotEnoughReplicasAfterAppend;
    answer(&mut world, &request, appended, -1);
    while fate(&world, first).is_none() {
        world.run_ms(500);
        while world.count(ApiKey::Produce) > 0 {
            let again = world.take(ApiKey::Produce);
            assert_eq!(
                sequence(&again),
                (0, 1),
                "a retry of the client is no duplicate"
            );
            answer(&mut world, &again, appended, -1);
        }
    }
    assert!(matches!(
        fate(&world, first),
        Some(Err(ClientError::Timeout(_)))
    ));
    send_alone(&mut world, "a");
    let again = world.take(ApiKey::Produce);
    assert_eq!(values(&again), ["a"]);
    assert_eq!(sequence(&again), (1, 0), "the leader cannot know it");
}
