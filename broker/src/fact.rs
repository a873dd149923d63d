//! Facts: every change that matters, typed. History, marks, invariants, attribution and the story
//! read this one stream, and nothing else of a process.

use crate::disk::DiskError;
use crate::ids::*;
use crate::log::LogStartReason;
use crate::wire::ErrorCode;
use bytes::Bytes;

/// Something that happened inside a process, at the time of the step that emitted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The broker process started; its logs are loaded.
    BrokerStarted {
        /// Whether the clean-shutdown marker was found.
        clean: bool,
    },
    /// The broker was asked to end in order.
    ShutdownBegan {
        /// It lets the controller move its leaderships away first.
        controlled: bool,
    },
    /// The broker has written its clean-shutdown marker and ends.
    ShutDownCleanly {
        /// What the marker holds.
        broker_epoch: BrokerEpoch,
    },
    /// The broker could not register within `initial.broker.registration.timeout.ms`, and ends.
    RegistrationTimedOut,
    /// The broker's only log directory failed: nothing is appended any more, and the process is about
    /// to halt.
    LogDirectoryOffline {
        /// What the disk said.
        error: DiskError,
    },
    /// A log was loaded at start-up.
    LogRecovered {
        /// Its topic; ids are not known before the metadata is.
        topic: TopicName,
        /// Its index.
        partition: i32,
        /// First offset that can be read.
        log_start: Offset,
        /// Log end after recovery.
        log_end: Offset,
        /// Fingerprint of what was loaded ([`BatchMetadata::prefix`]).
        ///
        /// [`BatchMetadata::prefix`]: crate::log::BatchMetadata::prefix
        prefix: u64,
        /// Bytes cut off behind the last valid batch.
        truncated_bytes: u64,
        /// Where it has no records between its start and its end, if anywhere.
        gaps: Option<Box<Gaps>>,
    },
    /// A batch was appended.
    Appended {
        /// Which partition.
        partition: TopicPartition,
        /// First offset.
        base_offset: Offset,
        /// Last offset.
        last_offset: Offset,
        /// Leader epoch stamped into the batch.
        leader_epoch: LeaderEpoch,
        /// Fingerprint of the log up to its end ([`BatchMetadata::prefix`]).
        ///
        /// [`BatchMetadata::prefix`]: crate::log::BatchMetadata::prefix
        prefix: u64,
        /// By the leader (true) or copied by a follower.
        as_leader: bool,
    },
    /// A replica cut its log: records from `to` on are gone here.
    Truncated {
        /// Which partition.
        partition: TopicPartition,
        /// Log end before.
        from: Offset,
        /// Log end after.
        to: Offset,
        /// This replica's high watermark before.
        high_watermark: Offset,
        /// No batch is left: the log's fingerprint begins anew, at 0.
        anew: bool,
    },
    /// A partition's log was made durable up to `offset`.
    Flushed {
        /// Which partition.
        partition: TopicPartition,
        /// Every record below is durable.
        offset: Offset,
    },
    /// A log began a new segment.
    SegmentRolled {
        /// Which partition.
        partition: TopicPartition,
        /// Where it begins.
        base_offset: Offset,
    },
    /// The cleaner replaced segments of a log.
    LogCleaned {
        /// Which partition.
        partition: TopicPartition,
        /// What lies below may have lost records that a later one of their key replaces.
        up_to: Offset,
    },
    /// A log's start moved forward: what lies below is not read any more.
    LogStartMoved {
        /// Which partition.
        partition: TopicPartition,
        /// The new start.
        offset: Offset,
        /// Why.
        reason: LogStartReason,
    },
    /// The high watermark as this replica knows it moved forward.
    HighWatermark {
        /// Which partition.
        partition: TopicPartition,
        /// The new value.
        offset: Offset,
        /// On the leader (true) or taken over by a follower.
        as_leader: bool,
    },
    /// The broker applied that it leads a partition.
    BecameLeader {
        /// Which partition.
        partition: TopicPartition,
        /// Its new epoch.
        leader_epoch: LeaderEpoch,
        /// Log end at that instant.
        log_end: Offset,
    },
    /// The broker applied that it follows.
    BecameFollower {
        /// Which partition.
        partition: TopicPartition,
        /// Its epoch.
        leader_epoch: LeaderEpoch,
        /// Whom it follows; -1 while there is no leader.
        leader: BrokerId,
    },
    /// The leader's committed ISR, as this leader knows it.
    IsrApplied {
        /// Which partition.
        partition: TopicPartition,
        /// Members, sorted.
        isr: Vec<BrokerId>,
        /// min(min.insync.replicas, replication factor) at this leader.
        effective_min_isr: i32,
    },
    /// The leader asks the controller for another ISR.
    IsrProposed {
        /// Which partition.
        partition: TopicPartition,
        /// Members, sorted.
        isr: Vec<BrokerId>,
    },
    /// A Produce request has reached the broker's process and waits for a request handler.
    ProduceArrived {
        /// One of its partitions; a request of several gives several facts.
        partition: TopicPartition,
        /// 0, 1 or -1.
        acks: i16,
        /// The batch, as it came.
        records: Bytes,
    },
    /// A leader decided the answer to one partition of a Produce request.
    ProduceAnswered {
        /// Which partition.
        partition: TopicPartition,
        /// First offset, -1 on errors before the append.
        base_offset: Offset,
        /// Last offset.
        last_offset: Offset,
        /// 0, 1 or -1.
        acks: i16,
        /// What the producer is told (for acks=0 only what the broker knows).
        error: ErrorCode,
    },
    /// The controller changed a partition's state.
    PartitionChanged {
        /// Which partition.
        partition: TopicPartition,
        /// New leader, -1 for none.
        leader: BrokerId,
        /// New leader epoch.
        leader_epoch: LeaderEpoch,
        /// New ISR.
        isr: Vec<BrokerId>,
        /// The leader was elected from outside the ISR.
        unclean: bool,
    },
    /// The controller registered a broker's incarnation.
    BrokerRegistered {
        /// Which broker.
        broker: BrokerId,
        /// Its new epoch.
        epoch: BrokerEpoch,
    },
    /// The controller fenced a broker.
    BrokerFenced {
        /// Which broker.
        broker: BrokerId,
    },
    /// The controller unfenced a broker.
    BrokerUnfenced {
        /// Which broker.
        broker: BrokerId,
    },
    /// A coordinator has loaded its partition of `__consumer_offsets`.
    CoordinatorLoaded {
        /// Which partition of `__consumer_offsets`.
        partition: i32,
    },
    /// A coordinator answered a commit with success.
    OffsetCommitted {
        /// Whose.
        group: TopicName,
        /// For which partition.
        partition: TopicPartition,
        /// The committed offset: the next one to read.
        offset: Offset,
    },
    /// A producer got a new id or epoch.
    ProducerIdAssigned {
        /// The id.
        producer_id: ProducerId,
        /// The epoch.
        epoch: i16,
    },
    /// A consumer engine moved its position other than by reading.
    PositionReset {
        /// Which partition.
        partition: TopicPartition,
        /// Where it stood, -1 if it had none.
        from: Offset,
        /// Where it stands now.
        to: Offset,
        /// Why.
        why: PositionResetReason,
    },
}

/// Parts of a log without records: what compaction removed, or what a power loss took of a segment
/// that others follow (`LogLoader.recoverLog` drops those behind a damaged one, not behind an empty one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gaps(Vec<(Offset, Offset)>);

impl Gaps {
    /// Of a log with this start and end, and batches of these first and last offsets.
    pub fn of(
        (start, end): (Offset, Offset),
        batches: impl Iterator<Item = (Offset, Offset)>,
    ) -> Option<Box<Gaps>> {
        let mut next = start;
        let mut gaps = Vec::new();
        for (first, last) in batches.chain([(end, end)]) {
            if first > next {
                gaps.push((next, first));
            }
            next = next.max(last + 1);
        }
        (!gaps.is_empty()).then(|| Box::new(Gaps(gaps)))
    }

    /// Whether an offset lies in one.
    pub fn contain(&self, offset: Offset) -> bool {
        self.0
            .iter()
            .any(|(from, to)| (*from..*to).contains(&offset))
    }
}

impl Fact {
    /// The partition that it is about, where it names one by its topic's id.
    pub fn partition(&self) -> Option<TopicPartition> {
        match self {
            Fact::Appended { partition, .. }
            | Fact::Truncated { partition, .. }
            | Fact::Flushed { partition, .. }
            | Fact::SegmentRolled { partition, .. }
            | Fact::LogStartMoved { partition, .. }
            | Fact::LogCleaned { partition, .. }
            | Fact::HighWatermark { partition, .. }
            | Fact::BecameLeader { partition, .. }
            | Fact::BecameFollower { partition, .. }
            | Fact::IsrApplied { partition, .. }
            | Fact::IsrProposed { partition, .. }
            | Fact::ProduceArrived { partition, .. }
            | Fact::ProduceAnswered { partition, .. }
            | Fact::PartitionChanged { partition, .. }
            | Fact::OffsetCommitted { partition, .. }
            | Fact::PositionReset { partition, .. } => Some(*partition),
            Fact::BrokerStarted { .. }
            | Fact::ShutdownBegan { .. }
            | Fact::ShutDownCleanly { .. }
            | Fact::RegistrationTimedOut
            | Fact::LogDirectoryOffline { .. }
            | Fact::LogRecovered { .. }
            | Fact::BrokerRegistered { .. }
            | Fact::BrokerFenced { .. }
            | Fact::BrokerUnfenced { .. }
            | Fact::CoordinatorLoaded { .. }
            | Fact::ProducerIdAssigned { .. } => None,
        }
    }
}

/// Why a consumer's position was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PositionResetReason {
    /// From the group's committed offset.
    Committed,
    /// No committed offset: `auto.offset.reset` decided.
    NoOffset,
    /// The offset was out of range: `auto.offset.reset` decided.
    OutOfRange,
    /// KIP-320: the log was truncated, the position went back to where the logs part.
    Truncation,
    /// The application sought.
    Seek,
}

#[cfg(test)]
mod tests {
    use super::Gaps;

    #[test]
    fn gaps_lie_before_between_and_behind_batches() {
        let gaps = Gaps::of((2, 12), [(4, 5), (6, 6), (9, 9)].into_iter()).expect("two");
        let within: Vec<i64> = (0..14).filter(|offset| gaps.contain(*offset)).collect();
        assert_eq!(within, [2, 3, 7, 8, 10, 11]);
        assert_eq!(Gaps::of((4, 7), [(4, 5), (6, 6)].into_iter()), None);
        assert_eq!(Gaps::of((4, 4), [].into_iter()), None);
    }
}
