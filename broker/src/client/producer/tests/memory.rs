//! `buffer.memory`, and who waits for it.

use super::*;

#[test]
fn a_full_buffer_blocks_senders_in_order_until_memory_is_free() {
    let mut world = start(
        ProducerConfig {
            batch_size: 1_000,
            buffer_memory: 2_000,
            linger_ms: 1_000,
            ..config()
        },
        3,
    );
    let first = send(&mut world, 0, "a");
    let second = send(&mut world, 1, "b");
    let third = send(&mut world, 2, "c");
    let fourth = send(&mut world, 2, "d");
    assert_eq!(world.replies_to(second), [Reply::Accepted]);
    assert_eq!(world.replies_to(third), []);
    // Somebody waits for memory, so linger is over for everybody.
    assert_eq!(world.count(ApiKey::Produce), 2);
    let request = world.take(ApiKey::Produce);
    answer(&mut world, &request, ErrorCode::None, 1);
    assert_eq!(fate(&world, first), Some(Ok(1)));
    assert_eq!(world.replies_to(third), [Reply::Accepted]);
    assert_eq!(world.replies_to(fourth), [Reply::Accepted]);
    let order: Vec<_> = world.replies.iter().map(|(c, _)| *c).collect();
    assert!(order.iter().position(|c| *c == third) < order.iter().position(|c| *c == fourth));
}

#[test]
fn memory_of_a_batch_that_expires_in_flight_is_free_when_its_request_ends() {
    let mut world = start(
        ProducerConfig {
            batch_size: 1_000,
            buffer_memory: 1_000,
            request_timeout_ms: 60_000,
            max_block_ms: 60_000,
            ..config()
        },
        2,
    );
    let first = send_alone(&mut world, "a");
    let request = world.take(ApiKey::Produce);
    let blocked = send(&mut world, 1, "b");
    world.run_ms(12_000);
    assert!(matches!(
        fate(&world, first),
        Some(Err(ClientError::Timeout(_)))
    ));
    assert_eq!(world.replies_to(blocked), [], "KAFKA-19012");
    answer(&mut world, &request, ErrorCode::None, 1);
    assert_eq!(world.replies_to(blocked), [Reply::Accepted]);
}

#[test]
fn a_blocked_sender_gives_up_after_max_block() {
    let mut world = start(
        ProducerConfig {
            batch_size: 1_000,
            buffer_memory: 1_000,
            ..config()
        },
        2,
    );
    send_alone(&mut world, "a");
    let blocked = send(&mut world, 1, "b");
    world.run_ms(5_999);
    assert_eq!(world.replies_to(blocked), []);
    world.run_ms(1);
    let replies = world.replies_to(blocked);
    assert!(
        matches!(&replies[..], [Reply::Sent(Err(ClientError::Timeout(_)))]),
        "{replies:?}"
    );
}
