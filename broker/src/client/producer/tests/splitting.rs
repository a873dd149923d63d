//! Batches of several records that the broker finds too large (KIP-126, KAFKA-8325, KAFKA-8350).

use super::*;

/// A batch of one record of [`long`] has 168 bytes or so, each further record a hundred more.
const FOR_ONE: usize = 200;

/// A value of a hundred bytes. What Kafka takes for the size of a small record is far too much, and
/// batches of such are not halved to the end.
fn long(value: &str) -> String {
    format!("{value:.<100}")
}

/// The values as they were sent, without what made them long.
fn short(values: Vec<String>) -> Vec<String> {
    let short = values.iter().map(|v| v.trim_end_matches('.').to_string());
    short.collect()
}

/// Sends the values in one batch and takes its request.
fn one_batch(world: &mut Harness<Producer>, values: &[&str]) -> (Vec<CallId>, Pending) {
    let calls = values.iter().map(|v| send(world, 0, &long(v))).collect();
    world.run_ms(6);
    (calls, world.take(ApiKey::Produce))
}

fn too_large(world: &mut Harness<Producer>, request: &Pending) {
    answer(world, request, ErrorCode::MessageTooLarge, -1);
}

/// A topic that takes batches of at most so many bytes: every request is answered until none comes.
/// The values and sequences of the batches that were taken, in order.
fn serve(world: &mut Harness<Producer>, most_bytes: usize) -> Vec<(Vec<String>, i32)> {
    let mut taken = Vec::new();
    let mut offset = 1;
    for _ in 0..1_000 {
        if world.count(ApiKey::Produce) == 0 {
            return taken;
        }
        let request = world.take(ApiKey::Produce);
        let (_, header, values) = batches_of(&request).remove(0);
        if header.size() > most_bytes {
            too_large(world, &request);
        } else {
            answer(world, &request, ErrorCode::None, offset);
            offset += values.len() as i64;
            taken.push((short(values), header.base_sequence));
        }
    }
    panic!("it is split for ever");
}

#[test]
fn a_batch_that_is_too_large_is_split_and_each_record_learns_its_offset() {
    let mut world = start(config(), 1);
    let (calls, request) = one_batch(&mut world, &["aa", "bb", "cc", "dd", "ee", "ff"]);
    let size = batches_of(&request)[0].1.size();
    assert_eq!(sequence(&request), (0, 1));
    too_large(&mut world, &request);
    // The first split is by batch.size, into the same batch again; then it is halved.
    let taken = serve(&mut world, size - 1);
    let parts = [(["aa", "bb"], 1), (["cc", "dd"], 3), (["ee", "ff"], 5)];
    let parts = parts.map(|(values, sequence)| (values.map(String::from).to_vec(), sequence));
    assert_eq!(taken, parts, "the sequences are shared out");
    let fates: Vec<_> = calls.iter().map(|c| fate(&world, *c)).collect();
    assert_eq!(fates, [1, 2, 3, 4, 5, 6].map(|offset| Some(Ok(offset))));
    assert_eq!(world.engine.pending(), 0);
}

#[test]
fn a_record_that_is_too_large_alone_fails_and_its_neighbours_are_sent() {
    let mut world = start(config(), 1);
    let big = "x".repeat(500);
    let (calls, request) = one_batch(&mut world, &["a", &big, "c"]);
    too_large(&mut world, &request);
    serve(&mut world, 400);
    let error = ClientError::Broker(ErrorCode::MessageTooLarge);
    assert_eq!(fate(&world, calls[1]), Some(Err(error)));
    // Its sequence is used by nobody, so those behind it go on in a new epoch.
    world.run_ms(2_000);
    serve(&mut world, 400);
    assert!(matches!(fate(&world, calls[0]), Some(Ok(_))));
    assert!(matches!(fate(&world, calls[2]), Some(Ok(_))));
}

#[test]
fn splitting_is_no_retry_and_keeps_the_order_of_one_request_in_flight() {
    let never_again = ProducerConfig {
        retries: 0,
        max_in_flight_requests_per_connection: 1,
        ..plain()
    };
    let mut world = start(never_again, 1);
    let (_, request) = one_batch(&mut world, &["aa", "bb", "cc", "dd", "ee"]);
    too_large(&mut world, &request);
    let taken = serve(&mut world, FOR_ONE);
    let order: Vec<_> = taken.iter().flat_map(|(values, _)| values).collect();
    assert_eq!(order, ["aa", "bb", "cc", "dd", "ee"]);
}

#[test]
fn the_parts_are_as_old_as_the_batch() {
    let slow = ProducerConfig {
        request_timeout_ms: 11_000,
        ..config()
    };
    let mut world = start(slow, 1);
    let (calls, request) = one_batch(&mut world, &["aa", "bb"]);
    world.run_ms(10_000);
    too_large(&mut world, &request);
    assert_eq!(world.count(ApiKey::Produce), 1);
    world.run_ms(1_993);
    assert_eq!(fate(&world, calls[0]), None);
    world.run_ms(1);
    for call in calls {
        assert!(matches!(
            fate(&world, call),
            Some(Err(ClientError::Timeout(_)))
        ));
    }
}

#[test]
fn a_flush_waits_for_the_parts() {
    let mut world = start(config(), 1);
    let calls = ["aa", "bb", "cc"].map(|v| send(&mut world, 0, &long(v)));
    let flush = world.call(Call::Flush);
    let request = world.take(ApiKey::Produce);
    too_large(&mut world, &request);
    let request = world.take(ApiKey::Produce);
    too_large(&mut world, &request);
    let first = world.take(ApiKey::Produce);
    answer(&mut world, &first, ErrorCode::None, 1);
    assert!(fate(&world, calls[0]).is_some());
    assert_eq!(world.replies_to(flush), []);
    serve(&mut world, 1_000);
    assert!(calls.iter().all(|c| fate(&world, *c).is_some()));
    assert_eq!(world.replies_to(flush), [Reply::Done(Ok(()))]);
}

#[test]
fn the_memory_of_a_split_batch_is_given_back_once() {
    let one_batch_of_memory = ProducerConfig {
        buffer_memory: 16_384,
        ..config()
    };
    let mut world = start(one_batch_of_memory, 1);
    for round in 0..3 {
        let (calls, request) = one_batch(&mut world, &["aa", "bb"]);
        too_large(&mut world, &request);
        // The parts live outside of the pool: another batch finds memory at once.
        let next = send(&mut world, 0, "next");
        assert_eq!(world.replies_to(next), [Reply::Accepted], "round {round}");
        serve(&mut world, FOR_ONE);
        world.run_ms(6);
        serve(&mut world, FOR_ONE);
        let all = calls.into_iter().chain([next]);
        assert!(all.into_iter().all(|c| fate(&world, c).is_some()));
    }
}

#[test]
fn batches_behind_one_that_is_split_keep_their_place() {
    let mut world = start(config(), 1);
    let (_, first) = one_batch(&mut world, &["aa", "bb"]);
    let (_, second) = one_batch(&mut world, &["cc"]);
    too_large(&mut world, &first);
    // Sequence 3 is not the next one at the leader.
    answer(&mut world, &second, ErrorCode::OutOfOrderSequenceNumber, -1);
    let mut taken = Vec::new();
    for _ in 0..5 {
        taken.extend(serve(&mut world, FOR_ONE));
        world.run_ms(1_000);
    }
    let expected = [("aa", 1), ("bb", 2), ("cc", 3)].map(|(v, s)| (vec![v.to_string()], s));
    assert_eq!(taken, expected);
}
