//! The rules of a leader and its followers, one by one.

use super::fetcher::truncation_offset;
use super::partition::{Partition, ReplicationProgress};
use crate::bug::Bug;
use crate::config::{BrokerConfig, TopicConfig};
use crate::controller::{
    MetadataImage, MetadataRecord, PartitionRegistration, RegisterBrokerRecord,
};
use crate::env::{Env, Output, Stream};
use crate::fact::Fact;
use crate::ids::*;
use crate::log::memory_disk::MemoryDisk;
use crate::log::{BatchBuilder, LoadFrom, PartitionLog};
use crate::wire::ErrorCode;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const ID: TopicPartition = TopicPartition {
    topic: TopicId(7),
    partition: 0,
};
/// `replica.lag.time.max.ms` of these tests.
pub(super) const LAG_MS: i64 = 10_000;

/// Broker 1's replica of a partition with replicas 1, 2, 3 and `min.insync.replicas` 2.
pub(super) struct Play {
    pub(super) partition: Partition,
    image: MetadataImage,
    disk: MemoryDisk,
    rng: Stream,
    pub(super) wall_ms: i64,
    out: Vec<Output>,
    facts: Vec<Fact>,
    next_conn: u64,
}

impl Play {
    fn new() -> Play {
        Play::with(None)
    }

    pub(super) fn with(bug: Option<Bug>) -> Play {
        let mut disk = MemoryDisk::default();
        let (log, _) = PartitionLog::open(
            "t-0",
            &mut disk,
            LoadFrom {
                clean: true,
                recovery_point: 0,
                log_start: 0,
                now_ms: 0,
                bug,
            },
        )
        .unwrap();
        let topic = BTreeMap::from([("min.insync.replicas".to_string(), "2".to_string())]);
        let broker = BrokerConfig::from_properties(&BTreeMap::new()).unwrap();
        let config = TopicConfig::resolve(&broker, &topic).unwrap();
        let mut image = MetadataImage::new();
        for broker in 1..=3 {
            let record = MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                broker,
                incarnation: Incarnation(broker as u128),
                epoch: i64::from(broker) * 10,
                fenced: false,
                in_controlled_shutdown: false,
            });
            image.apply(&record, i64::from(broker));
        }
        Play {
            partition: Partition::new(ID, "t".into(), 1, log, config, LAG_MS, bug),
            image,
            disk,
            rng: Stream::new(1, 1),
            wall_ms: 1_000_000,
            out: Vec::new(),
            facts: Vec::new(),
            next_conn: 0,
        }
    }

    pub(super) fn act<T>(
        &mut self,
        what: impl FnOnce(&mut Partition, &MetadataImage, &mut Env<'_>) -> T,
    ) -> T {
        let mut env = Env {
            now: 0,
            wall_ms: self.wall_ms,
            disk: &mut self.disk,
            rng: &mut self.rng,
            out: &mut self.out,
            facts: &mut self.facts,
            next_conn: &mut self.next_conn,
        };
        what(&mut self.partition, &self.image, &mut env)
    }

    pub(super) fn lead(&mut self, epoch: LeaderEpoch, isr: &[BrokerId]) {
        let state = state(1, epoch, isr, epoch);
        self.act(|p, image, env| p.make_leader(&state, image, env));
    }

    pub(super) fn append(&mut self, records: i64) {
        for _ in 0..records {
            let epoch = self.partition.leader_epoch();
            self.act(|p, image, env| {
                let mut batch = BatchBuilder::new();
                batch.append(env.wall_ms, None, Some(b"v"), &[]);
                let config = p.config.clone();
                p.log
                    .append_as_leader(&batch.build(), epoch, &config, env.wall_ms, env.disk)
                    .unwrap();
                p.maybe_increment_high_watermark(image, env)
            });
        }
    }

    /// A follower's fetch with the broker epoch of its registration.
    pub(super) fn fetch(&mut self, broker: BrokerId, offset: Offset) -> Result<bool, ErrorCode> {
        self.fetch_with_epoch(broker, i64::from(broker) * 10, offset)
    }

    fn fetch_with_epoch(
        &mut self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        offset: Offset,
    ) -> Result<bool, ErrorCode> {
        self.act(|p, image, env| {
            let remote = p.fetching_remote(broker, epoch, image)?;
            Ok(p.update_follower(remote, epoch, offset, 0, image, env))
        })
    }

    pub(super) fn high_watermark(&self) -> Offset {
        self.partition.log.high_watermark
    }
}

pub(super) fn state(
    leader: BrokerId,
    leader_epoch: LeaderEpoch,
    isr: &[BrokerId],
    partition_epoch: PartitionEpoch,
) -> PartitionRegistration {
    PartitionRegistration {
        replicas: Arc::from([1, 2, 3]),
        isr: Arc::from(isr),
        leader,
        leader_epoch,
        partition_epoch,
        recovering: false,
    }
}

#[test]
fn the_high_watermark_is_the_smallest_fetch_offset_of_the_isr() {
    let mut play = Play::new();
    play.lead(0, &[1, 2, 3]);
    play.append(5);
    assert_eq!(play.high_watermark(), 0);
    play.fetch(2, 5).unwrap();
    assert_eq!(play.high_watermark(), 0, "broker 3 has not fetched");
    play.fetch(3, 3).unwrap();
    assert_eq!(play.high_watermark(), 3);
}

#[test]
fn a_new_leader_keeps_its_high_watermark_below_its_log_end() {
    let mut play = Play::new();
    play.lead(0, &[1, 2, 3]);
    play.append(5);
    play.fetch(2, 2).unwrap();
    play.fetch(3, 2).unwrap();
    play.lead(1, &[1, 2, 3]);
    assert_eq!(play.high_watermark(), 2);
    assert!(play.partition.high_watermark_lags_behind_epoch());
}

#[test]
fn a_leader_that_never_writes_has_an_epoch_entry() {
    let mut play = Play::new();
    play.lead(0, &[1, 2, 3]);
    play.append(3);
    play.lead(1, &[1, 2, 3]);
    play.lead(2, &[1, 2, 3]);
    assert_eq!(play.partition.end_offset_for_epoch(0), Some((0, 3)));
    assert_eq!(play.partition.end_offset_for_epoch(2), Some((2, 3)));
}

#[test]
fn below_min_isr_acks_all_is_refused_acks_1_is_not_and_the_high_watermark_stands_still() {
    let mut play = Play::new();
    play.lead(0, &[1]);
    assert_eq!(play.partition.admits(-1), Err(ErrorCode::NotEnoughReplicas));
    assert_eq!(play.partition.admits(1), Ok(()));
    play.append(4);
    assert_eq!(
        play.high_watermark(),
        0,
        "strict min ISR, whatever the acks"
    );
}

#[test]
fn a_proposed_shrink_moves_no_high_watermark_before_it_is_committed() {
    let mut play = Play::new();
    play.lead(0, &[1, 2, 3]);
    play.append(2);
    play.fetch(2, 2).unwrap();
    play.wall_ms += LAG_MS + 1;
    play.fetch(2, 2).unwrap();
    assert!(play.act(|p, _, env| p.maybe_shrink_isr(env)));
    let proposal = play.partition.pending().unwrap().clone();
    assert_eq!(proposal.isr, [1, 2]);
    play.append(1);
    play.fetch(2, 3).unwrap();
    assert_eq!(play.high_watermark(), 0, "broker 3 still counts");
    let moved = play.act(|p, image, env| p.isr_committed(&proposal, 0, 1, &[1, 2], image, env));
    assert!(moved);
    assert_eq!(play.high_watermark(), 3);
}

#[test]
fn a_proposed_expansion_holds_the_high_watermark_back_at_once() {
    let mut play = Play::new();
    play.lead(0, &[1, 2]);
    play.append(3);
    play.fetch(2, 3).unwrap();
    play.wall_ms += LAG_MS + 1;
    play.fetch(2, 3).unwrap();
    assert_eq!(play.high_watermark(), 3);
    play.fetch(3, 3).unwrap();
    assert_eq!(play.partition.pending().unwrap().isr, [1, 2, 3]);
    assert_eq!(
        play.partition.isr(),
        [1, 2],
        "only the controller commits it"
    );
    play.append(1);
    play.fetch(2, 4).unwrap();
    assert_eq!(play.high_watermark(), 3);
}

#[test]
fn a_follower_joins_the_isr_only_at_the_high_watermark_and_the_start_of_the_epoch() {
    let mut play = Play::new();
    play.lead(0, &[1, 2, 3]);
    play.append(6);
    play.fetch(2, 4).unwrap();
    play.fetch(3, 4).unwrap();
    play.lead(1, &[1, 2]);
    play.fetch(3, 5).unwrap();
    assert!(
        play.partition.pending().is_none(),
        "5 is below the start of the epoch, 6"
    );
    play.fetch(3, 6).unwrap();
    assert!(play.partition.pending().is_some());
}

#[test]
fn an_older_incarnation_of_a_follower_neither_counts_nor_joins() {
    let mut play = Play::new();
    play.lead(0, &[1, 2]);
    play.append(1);
    let stale = play.fetch_with_epoch(3, 29, 1);
    assert_eq!(stale, Err(ErrorCode::NotLeaderOrFollower));
    assert!(play.partition.pending().is_none());
}

#[test]
fn a_produce_is_done_when_the_high_watermark_has_passed_it() {
    let mut play = Play::new();
    play.lead(0, &[1, 2, 3]);
    play.append(1);
    assert_eq!(
        play.partition.replication_progress(1),
        ReplicationProgress::Waiting
    );
    play.fetch(2, 1).unwrap();
    play.fetch(3, 1).unwrap();
    let done = ReplicationProgress::Decided(ErrorCode::None);
    assert_eq!(play.partition.replication_progress(1), done);
}

#[test]
fn a_produce_whose_isr_shrank_meanwhile_ends_with_not_enough_replicas_after_append() {
    let mut play = Play::new();
    play.lead(0, &[1, 2, 3]);
    play.append(1);
    play.fetch(2, 1).unwrap();
    play.fetch(3, 1).unwrap();
    play.lead(0, &[1]);
    let error = ErrorCode::NotEnoughReplicasAfterAppend;
    let decided = ReplicationProgress::Decided(error);
    assert_eq!(play.partition.replication_progress(1), decided);
    assert_eq!(play.partition.log.log_end_offset(), 1, "the record stays");
}

#[test]
fn a_deposed_leader_answers_not_leader() {
    let mut play = Play::new();
    play.lead(0, &[1, 2, 3]);
    play.append(1);
    let state = state(2, 1, &[2, 3], 5);
    assert!(play.act(|p, _, env| p.make_follower(&state, env)));
    let error = ErrorCode::NotLeaderOrFollower;
    assert_eq!(play.partition.admits(1), Err(error));
    assert_eq!(
        play.partition.replication_progress(1),
        ReplicationProgress::Decided(error)
    );
    assert_eq!(
        play.partition.check_leader_epoch(0, true),
        Err(ErrorCode::FencedLeaderEpoch)
    );
}

#[test]
fn metadata_older_than_an_alter_partition_answer_is_passed_over() {
    let mut play = Play::new();
    let newer = state(1, 0, &[1, 2, 3], 4);
    play.act(|p, image, env| p.make_leader(&newer, image, env));
    let older = state(1, 0, &[1], 3);
    play.act(|p, image, env| p.make_leader(&older, image, env));
    assert_eq!(play.partition.isr(), [1, 2, 3]);
}

#[test]
fn a_diverging_follower_cuts_to_where_the_epochs_part() {
    let mut play = Play::new();
    // Epoch 0 up to 3, epoch 2 up to 5 in this log.
    play.lead(0, &[1, 2, 3]);
    play.append(3);
    play.lead(2, &[1, 2, 3]);
    play.append(2);
    // The leader's epoch 2 ends at 4: one record of this log was never the leader's.
    assert_eq!(truncation_offset(&play.partition, 2, 4), 4);
    // The leader knows epoch 1, which this log does not: back to the end of epoch 0 (KIP-279).
    assert_eq!(truncation_offset(&play.partition, 1, 4), 3);
    assert_eq!(truncation_offset(&play.partition, 0, 2), 2);
}

#[test]
fn a_leader_finds_where_a_follower_parted() {
    let mut play = Play::new();
    play.lead(0, &[1, 2, 3]);
    play.append(3);
    play.lead(2, &[1, 2, 3]);
    play.append(2);
    let parts = |epoch, offset| play.partition.diverging_epoch(epoch, offset);
    assert_eq!(parts(2, 5), Ok(None));
    assert_eq!(parts(0, 4), Ok(Some((0, 3))), "epoch 0 ended at 3 here");
    assert_eq!(parts(1, 4), Ok(Some((0, 3))), "epoch 1 is not known here");
    assert_eq!(parts(NO_EPOCH, 0), Ok(None), "an empty log cannot part");
}

/// `Partition.makeLeader` forgets what followers told only where `isNewLeader`, and a broker that applies
/// two elections in one batch of metadata, away from it and back, was leader all along. So its
/// high watermark may pass records that a follower has cut off in between: a hole in Kafka, which the
/// plans that are drawn here keep away from.
#[test]
fn a_leader_that_never_heard_of_the_leadership_in_between_goes_on_with_what_followers_told_it() {
    let mut play = Play::new();
    play.lead(0, &[1, 2, 3]);
    play.append(5);
    play.fetch(3, 5).unwrap();
    play.lead(2, &[1, 2, 3]);
    play.fetch(2, 5).unwrap();
    assert_eq!(
        play.high_watermark(),
        5,
        "and broker 3 has not fetched since"
    );
}
