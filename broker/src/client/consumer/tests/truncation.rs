//! What a consumer makes of a log that was cut below its position (KIP-320): C14, C14b and C15 as
//! Kafka's Java client was seen to behave under each `auto.offset.reset`.

use super::*;

/// Reads two records in epoch 5, then the leader changes to broker 1 in epoch 6.
fn truncated(policy: AutoOffsetReset) -> (World, CallId, Pending) {
    let mut world = start_at(with_policy(policy), 0, -1);
    assert_eq!(poll_records(&mut world, 4), [0, 1, 2, 3]);
    world.leaders = vec![(1, 6)];
    world.down.insert(NodeId(0));
    world.reset_connections(NodeId(0));
    let poll = world.call(Call::Poll(3_000));
    world.run_ms(500);
    let validation = world.take(ApiKey::OffsetForLeaderEpoch);
    assert_eq!(validation.node, NodeId(1));
    let Request::OffsetForLeaderEpoch(request) = &validation.request else {
        unreachable!()
    };
    let asked = request.topics[0].1[0];
    assert_eq!((asked.current_leader_epoch, asked.leader_epoch), (6, 5));
    assert_eq!(
        world.count(ApiKey::Fetch),
        0,
        "read before it was validated"
    );
    (world, poll, validation)
}

#[test]
fn a_position_past_the_end_of_its_epoch_goes_back_to_where_the_logs_part() {
    let (mut world, _, validation) = truncated(AutoOffsetReset::Latest);
    answer_epoch_end(&mut world, &validation, 5, 3);
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 3, 6)]);
    let last = resets(&world).pop();
    assert_eq!(last, Some((4, 3, PositionResetReason::Truncation)));
}

#[test]
fn a_position_within_its_epoch_stays() {
    let (mut world, _, validation) = truncated(AutoOffsetReset::Latest);
    answer_epoch_end(&mut world, &validation, 5, 4);
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 4, 6)]);
    assert_eq!(resets(&world).len(), 1);
}

#[test]
fn a_truncation_without_policy_is_thrown() {
    let (mut world, poll, validation) = truncated(AutoOffsetReset::None);
    answer_epoch_end(&mut world, &validation, 5, 3);
    let error = ClientError::LogTruncation;
    assert_eq!(world.replies_to(poll), [Reply::Failed(error)]);
}

#[test]
fn an_undefined_epoch_end_leaves_the_choice_to_the_policy() {
    let (mut world, _, validation) = truncated(AutoOffsetReset::Earliest);
    answer_epoch_end(&mut world, &validation, -1, -1);
    let list = world.take(ApiKey::ListOffsets);
    answer_list_offsets(&mut world, &list, ErrorCode::None, 0);
    let last = resets(&world).pop();
    assert_eq!(last, Some((4, 0, PositionResetReason::Truncation)));
}

#[test]
fn an_undefined_epoch_end_without_policy_is_thrown() {
    let (mut world, poll, validation) = truncated(AutoOffsetReset::None);
    answer_epoch_end(&mut world, &validation, -1, -1);
    let error = ClientError::LogTruncation;
    assert_eq!(world.replies_to(poll), [Reply::Failed(error)]);
}

#[test]
fn a_commit_without_epoch_skips_validation() {
    let mut world = start_at(config(), 120, -1);
    world.call(Call::Poll(1_000));
    assert_eq!(world.count(ApiKey::OffsetForLeaderEpoch), 0);
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 120, 5)]);
}

#[test]
fn a_committed_epoch_is_validated_before_the_first_fetch() {
    let mut world = start_at(config(), 120, 5);
    world.leaders = vec![(1, 6)];
    world.call(Call::Poll(5_000));
    world.run_ms(100);
    let validation = world.take(ApiKey::OffsetForLeaderEpoch);
    assert_eq!(world.count(ApiKey::Fetch), 0);
    answer_epoch_end(&mut world, &validation, 5, 100);
    let (node, offset) = (validation.node.0 as i32, world.take(ApiKey::Fetch));
    assert_eq!(fetches(&offset), [(0, 100, 5 + node)]);
    use PositionResetReason::{Committed, Truncation};
    assert_eq!(
        resets(&world),
        [(-1, 120, Committed), (120, 100, Truncation)]
    );
}

/// A leader whose log was cut at 100 by an unclean election and grew again. Epoch 5 wrote what is
/// before, epoch 6 what is after.
struct CutLog {
    end: Offset,
}

const CUT_AT: Offset = 100;

impl CutLog {
    /// Answers what the consumer asks, up to the Fetch at the end of the log, which the leader holds.
    fn serve(&self, world: &mut World) {
        loop {
            if world.count(ApiKey::OffsetForLeaderEpoch) > 0 {
                let asked = world.take(ApiKey::OffsetForLeaderEpoch);
                // Epoch 5 ends where epoch 6 begins.
                answer_epoch_end(world, &asked, 5, CUT_AT);
            } else if world.count(ApiKey::ListOffsets) > 0 {
                let asked = world.take(ApiKey::ListOffsets);
                let offset = match &asked.request {
                    Request::ListOffsets(r) if r.topics[0].1[0].timestamp == LATEST_TIMESTAMP => {
                        self.end
                    }
                    _ => 0,
                };
                answer_list_offsets(world, &asked, ErrorCode::None, offset);
            } else if !self.serve_fetch(world) {
                return;
            }
        }
    }

    fn serve_fetch(&self, world: &mut World) -> bool {
        let at = world
            .pending
            .iter()
            .find(|p| p.request.api() == ApiKey::Fetch);
        let Some((_, offset, _)) = at.map(|p| fetches(p)[0]) else {
            return false;
        };
        if offset == self.end {
            return false;
        }
        let fetch = world.take(ApiKey::Fetch);
        if offset > self.end {
            answer_fetch(world, &fetch, ErrorCode::OffsetOutOfRange, Bytes::new());
        } else {
            let (end, epoch) = match offset < CUT_AT {
                true => (CUT_AT, 5),
                false => (self.end, 6),
            };
            let records = stored_batch(offset, end - offset, epoch);
            answer_fetch(world, &fetch, ErrorCode::None, records);
        }
        true
    }
}

/// What a consumer reads from a log that was cut at 100, below its group's committed offset 120, and
/// ends at `end` now; or what its poll throws.
fn reads(
    policy: AutoOffsetReset,
    committed_epoch: LeaderEpoch,
    end: Offset,
) -> Result<Vec<Offset>, ClientError> {
    let all = ConsumerConfig {
        max_poll_records: i32::MAX,
        ..with_policy(policy)
    };
    let mut world = start_at(all, 120, committed_epoch);
    world.leaders = vec![(1, 6)];
    let log = CutLog { end };
    let mut read = Vec::new();
    for _ in 0..5 {
        let poll = world.call(Call::Poll(1_000));
        world.run_ms(300);
        log.serve(&mut world);
        world.run_ms(1_000);
        log.serve(&mut world);
        match &world.replies_to(poll)[..] {
            [Reply::Records(records)] => read.extend(records.iter().map(|r| r.offset)),
            [Reply::Failed(error)] => return Err(error.clone()),
            other => panic!("{other:?}"),
        }
    }
    let position = world.engine.positions()[0].offset;
    assert_eq!(position, end, "it reads to the end whatever it skipped");
    Ok(read)
}

#[test]
fn c14_a_commit_with_the_epoch_goes_on_where_the_log_was_cut_or_throws_without_policy() {
    use AutoOffsetReset::{Earliest, Latest, None};
    for policy in [Latest, Earliest] {
        assert_eq!(reads(policy, 5, 110), Ok((100..110).collect()));
    }
    assert_eq!(reads(None, 5, 110), Err(ClientError::LogTruncation));
}

#[test]
fn c14_commit_sync_without_arguments_carries_the_epoch() {
    let mut world = start_at(config(), 0, -1);
    assert_eq!(poll_records(&mut world, 120).len(), 120);
    world.call(Call::CommitSync);
    let commit = commits(&world.take(ApiKey::OffsetCommit));
    assert_eq!(commit, [(0, 120, 5)], "what the first test begins with");
}

#[test]
fn c14b_a_commit_without_the_epoch_skips_all_or_reads_all_again_or_throws() {
    use AutoOffsetReset::{Earliest, Latest, None};
    assert_eq!(
        reads(Latest, -1, 110),
        Ok(Vec::new()),
        "all ten are skipped"
    );
    assert_eq!(reads(Earliest, -1, 110), Ok((0..110).collect()));
    assert_eq!(reads(None, -1, 110), Err(ClientError::OffsetOutOfRange));
}

#[test]
fn c15_a_commit_with_the_epoch_reads_everything_in_the_log_that_grew_past_it() {
    use AutoOffsetReset::{Earliest, Latest, None};
    for policy in [Latest, Earliest] {
        assert_eq!(reads(policy, 5, 160), Ok((100..160).collect()));
    }
    assert_eq!(reads(None, 5, 160), Err(ClientError::LogTruncation));
}

#[test]
fn c15_a_commit_without_the_epoch_skips_the_first_twenty_silently_under_every_policy() {
    for policy in [
        AutoOffsetReset::Latest,
        AutoOffsetReset::Earliest,
        AutoOffsetReset::None,
    ] {
        assert_eq!(reads(policy, -1, 160), Ok((120..160).collect()));
    }
}

#[test]
fn a_log_truncation_is_thrown_again_until_the_application_seeks() {
    let (mut world, poll, validation) = truncated(AutoOffsetReset::None);
    answer_epoch_end(&mut world, &validation, 5, 3);
    let thrown = [Reply::Failed(ClientError::LogTruncation)];
    assert_eq!(world.replies_to(poll), thrown);
    // It is asked again only after request.timeout.ms (OffsetFetcher.validatePositionsAsync).
    let poll = world.call(Call::Poll(60_000));
    world.run_ms(30_000);
    let validation = world.take(ApiKey::OffsetForLeaderEpoch);
    answer_epoch_end(&mut world, &validation, 5, 3);
    assert_eq!(world.replies_to(poll), thrown);
    let seek = world.call(Call::Seek(TopicPartitionOffset {
        topic: topic(),
        partition: 0,
        offset: 3,
        leader_epoch: 5,
    }));
    assert_eq!(world.replies_to(seek), [Reply::Done(Ok(()))]);
    world.call(Call::Poll(1_000));
    let validation = world.take(ApiKey::OffsetForLeaderEpoch);
    answer_epoch_end(&mut world, &validation, 5, 3);
    assert_eq!(fetches(&world.take(ApiKey::Fetch)), [(0, 3, 6)]);
}
