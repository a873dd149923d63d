//! Which positions are committed and read: C02, C03, C05, seek, `isolation.level`.

use super::*;

fn offset(offset: Offset, leader_epoch: LeaderEpoch) -> TopicPartitionOffset {
    TopicPartitionOffset {
        topic: topic(),
        partition: 0,
        offset,
        leader_epoch,
    }
}

/// What the group's next start reads of the hundred records 0..100.
fn next_start_reads(committed: Option<Vec<(i32, Offset, LeaderEpoch)>>) -> Vec<Offset> {
    let (from, epoch) = match committed.as_deref() {
        None => (-1, -1),
        Some([(0, offset, epoch)]) => (*offset, *epoch),
        Some(other) => panic!("{other:?} was committed"),
    };
    let mut world = start_at(config(), from, epoch);
    world.call(Call::Poll(1_000));
    if from < 0 {
        let list = world.take(ApiKey::ListOffsets);
        answer_list_offsets(&mut world, &list, ErrorCode::None, 0);
    }
    if epoch >= 0 {
        let validation = world.take(ApiKey::OffsetForLeaderEpoch);
        answer_epoch_end(&mut world, &validation, 5, 100);
    }
    let at = fetches(&world.take(ApiKey::Fetch))[0].1;
    (at..100).collect()
}

#[test]
fn c02_close_after_an_exception_commits_the_whole_batch_under_auto_commit() {
    let mut world = start_at(auto(), 0, -1);
    assert_eq!(poll_records(&mut world, 100).len(), 100);
    // The handler throws at record 3; `finally` closes the consumer.
    world.call(Call::Close);
    let commit = commits(&world.take(ApiKey::OffsetCommit));
    assert!(
        next_start_reads(Some(commit)).is_empty(),
        "3..99 are skipped"
    );
}

#[test]
fn c03_a_kill_in_the_middle_of_a_batch_commits_nothing_of_it() {
    let mut world = start_at(auto(), 0, -1);
    assert_eq!(poll_records(&mut world, 100).len(), 100);
    world.run_ms(60_000);
    assert_eq!(world.count(ApiKey::OffsetCommit), 0);
    let all: Vec<_> = (0..100).collect();
    assert_eq!(next_start_reads(None), all, "duplicates, no skip");
}

#[test]
fn c05_commit_sync_without_arguments_commits_the_position_and_not_what_was_processed() {
    let mut world = start_at(config(), 0, -1);
    assert_eq!(poll_records(&mut world, 100).len(), 100);
    // The loop is left at record 3.
    world.call(Call::CommitSync);
    let commit = commits(&world.take(ApiKey::OffsetCommit));
    assert!(
        next_start_reads(Some(commit)).is_empty(),
        "3..99 are skipped"
    );

    let mut world = start_at(config(), 0, -1);
    assert_eq!(poll_records(&mut world, 100).len(), 100);
    world.call(Call::CommitSyncOffsets(vec![offset(3, -1)]));
    let commit = commits(&world.take(ApiKey::OffsetCommit));
    let rest: Vec<_> = (3..100).collect();
    assert_eq!(next_start_reads(Some(commit)), rest);
}

#[test]
fn trap_11_auto_commit_happens_inside_poll_and_never_by_a_timer() {
    let mut world = start_at(auto(), 0, -1);
    poll_records(&mut world, 3);
    end_long_poll(&mut world);
    world.run_ms(200_000);
    assert_eq!(world.count(ApiKey::OffsetCommit), 0, "a timer committed");
    world.call(Call::Poll(0));
    assert_eq!(commits(&world.take(ApiKey::OffsetCommit)), [(0, 3, 5)]);
}

#[test]
fn commit_sync_of_offsets_commits_the_epoch_that_was_given() {
    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    for (given, sent) in [(offset(1, -1), (0, 1, -1)), (offset(2, 5), (0, 2, 5))] {
        world.call(Call::CommitSyncOffsets(vec![given]));
        let request = world.take(ApiKey::OffsetCommit);
        assert_eq!(commits(&request), [sent]);
        answer_commit(&mut world, &request, ErrorCode::None);
    }
}

#[test]
fn a_committed_epoch_that_is_news_asks_for_metadata() {
    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    let before = world.metadata_requests;
    world.call(Call::CommitSyncOffsets(vec![offset(1, 6)]));
    world.run_ms(200);
    assert_eq!(world.metadata_requests, before + 1);
}

#[test]
fn after_a_seek_the_buffered_records_are_dropped_and_reading_goes_on_there() {
    let two_at_a_time = ConsumerConfig {
        max_poll_records: 2,
        ..config()
    };
    let mut world = start_at(two_at_a_time, 0, -1);
    assert_eq!(poll_records(&mut world, 10), [0, 1]);
    let seek = world.call(Call::Seek(offset(1, -1)));
    assert_eq!(world.replies_to(seek), [Reply::Done(Ok(()))]);
    assert_eq!(world.engine.positions()[0].offset, 1);
    let last = resets(&world).pop();
    assert_eq!(last, Some((2, 1, PositionResetReason::Seek)));
    world.call(Call::Poll(1_000));
    assert_eq!(world.count(ApiKey::OffsetForLeaderEpoch), 0);
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 1, 5)]);
}

#[test]
fn a_seek_to_where_the_buffer_stands_reads_on_from_the_buffer() {
    let two_at_a_time = ConsumerConfig {
        max_poll_records: 2,
        ..config()
    };
    let mut world = start_at(two_at_a_time, 0, -1);
    assert_eq!(poll_records(&mut world, 10), [0, 1]);
    world.call(Call::Seek(offset(2, -1)));
    let poll = world.call(Call::Poll(1_000));
    assert_eq!(offsets(&world.replies_to(poll)), [2, 3]);
}

#[test]
fn a_seek_with_an_epoch_is_validated_first() {
    let mut world = start_at(config(), 0, -1);
    poll_records(&mut world, 3);
    end_long_poll(&mut world);
    world.call(Call::Seek(offset(2, 5)));
    world.call(Call::Poll(1_000));
    assert_eq!(world.count(ApiKey::Fetch), 0);
    let validation = world.take(ApiKey::OffsetForLeaderEpoch);
    answer_epoch_end(&mut world, &validation, 5, 9);
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 2, 5)]);
}

#[test]
fn a_seek_before_the_first_poll_makes_the_committed_offset_needless() {
    let mut world = start_at(config(), 50, -1);
    world.call(Call::Seek(offset(7, -1)));
    world.call(Call::Poll(1_000));
    world.run_ms(100);
    // The leader was unknown when the application sought.
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 7, 5)]);
}

#[test]
fn a_seek_on_a_partition_of_somebody_else_is_thrown() {
    let mut world = start(config(), 1);
    let seek = world.call(Call::Seek(TopicPartitionOffset {
        partition: 1,
        ..offset(0, -1)
    }));
    let error = ClientError::NotAssigned;
    assert_eq!(world.replies_to(seek), [Reply::Done(Err(error))]);
}

#[test]
fn isolation_level_is_asked_of_the_broker_in_fetches_and_lookups() {
    for (read_committed, code) in [(false, 0), (true, 1)] {
        let config = ConsumerConfig {
            read_committed,
            ..with_policy(AutoOffsetReset::Latest)
        };
        let mut world = start(config, 1);
        world.call(Call::Poll(1_000));
        let list = world.take(ApiKey::ListOffsets);
        let Request::ListOffsets(request) = &list.request else {
            unreachable!()
        };
        assert_eq!(request.isolation_level, code);
        answer_list_offsets(&mut world, &list, ErrorCode::None, 9);
        let fetch = world.take(ApiKey::Fetch);
        let Request::Fetch(request) = &fetch.request else {
            unreachable!()
        };
        assert_eq!(request.isolation_level, code);
    }
}
