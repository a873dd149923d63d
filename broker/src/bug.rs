//! Known bugs that can be planted (`--bug NAME`): each weakens one check, as the real one did.

use serde::{Deserialize, Serialize};

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bug {
    /// acks=all is answered once the leader has appended.
    AckBeforeReplication,
    /// A follower truncates to its own high watermark instead of where the epochs part.
    TruncateToHighWatermark,
    /// Admission, completion and high watermark all ignore `min.insync.replicas`.
    IgnoreMinIsr,
    /// `log.flush.interval.messages` is acknowledged without its sync.
    SkipFlush,
    /// poll() commits the positions it is about to return.
    CommitBeforeProcessingInPoll,
    /// With one request in flight a producer does not wait for the answer of a partition's batch that
    /// is on its way to an earlier leader.
    ReorderInflight1,
    /// A broker that registers is taken for the process that registered before it, whatever its
    /// incarnation.
    RegistrationIgnoresIncarnation,
    /// A follower adds a partition to its fetcher anew at every change of it, not only in a newer leader
    /// epoch. Nothing is lost by that: the fetch offset begins at the log end, where it stood, since
    /// `AbstractFetcherThread` moves both together (`processPartitionData`, `truncate`), and a fetcher
    /// has one request on its way, which asked from there in the same epoch. It would take metadata that
    /// goes back, to an older epoch, which the log of one controller never does.
    RefetchInSameEpoch,
    /// A new leader goes on with what it knew of its followers in an earlier leadership.
    StaleFollowerStateOnElection,
    /// A leader elected again lets followers join the ISR by offsets that they fetched in an earlier epoch:
    /// it remembers what those outside the ISR told its former leadership.
    IsrJoinWithOldEpochOffset,
    /// A follower joins the ISR below the high watermark.
    IsrJoinBelowHighWatermark,
    /// A follower joins the ISR before it has reached the start of the leader's epoch.
    IsrJoinBelowEpochStart,
    /// A follower takes a fetch response although its fetch offset has changed since it asked; nor does it
    /// compare the leader epoch, which Kafka does only since KAFKA-18991.
    LateFetchResponseOffset,
    /// A follower takes a fetch response although the leader epoch has changed since it asked.
    LateFetchResponseEpoch,
    /// The high watermark advances while the ISR is smaller than `min.insync.replicas`.
    NoStrictMinIsr,
    /// The controller lets a replica into the ISR whatever incarnation of its broker the leader means.
    StaleBrokerEpochIsr,
    /// The controller takes a proposed ISR that was made from an older state of the partition.
    NoPartitionEpochCheck,
    /// The high watermark waits for the committed ISR only, not for a proposed addition.
    CommittedIsrForHighWatermark,
    /// A leader serves and counts fetches of followers in any leader epoch, without looking where the logs
    /// part: as fetches were before KIP-320, which named no epoch at all.
    NoFetchEpoch,
    /// A leader answers for an epoch that it never had with the start of the next one, and the follower
    /// takes it for the end of its own.
    EpochEndNaive,
    /// A follower that is told that its log has parted from the leader's takes itself for being behind the
    /// leader's start and drops its whole log.
    OorTruncateAll,
    /// A leader notes its epoch at its first append instead of when it takes over; where it therefore
    /// cannot say where an epoch ends, the follower cuts its log to its own high watermark.
    NoEpochOnBecomeLeader,
    /// A follower whose leader is the same broker in a newer epoch goes on without looking where the logs
    /// part.
    SkipTruncSameLeader,
    /// A consumer's fetch is bounded by the log end instead of the high watermark.
    ReadPastHighWatermark,
    /// Recovery after an unclean end looks at lengths and offsets of batches, and at no checksum: what a
    /// power loss left of a tail that was not synced is taken for records.
    RecoveryTrustsTail,
    /// The marker of an orderly shutdown is there at every start, however the broker ended: as if each
    /// had been shut down in order once, and no start since had taken the marker away. Nothing is recovered.
    FalseCleanMarker,
    /// A sync that failed counts as done.
    FsyncErrorIgnored,
    /// A flush syncs the files of new segments and not the directory that they are in.
    NoDirectorySync,
    /// The leader-epoch checkpoint takes its name before its bytes are synced.
    EpochCheckpointWithoutSync,
    /// Retention deletes whatever is old or too much, above the high watermark too.
    RetentionPastHighWatermark,
    /// The cleaner cleans whatever is not in the active segment, above the high watermark and the last
    /// stable offset too.
    CleanerPastLsoHw,
}

impl Bug {
    /// Every bug, in the order of the catalogue.
    pub const ALL: [Bug; 31] = [
        Bug::AckBeforeReplication,
        Bug::TruncateToHighWatermark,
        Bug::IgnoreMinIsr,
        Bug::SkipFlush,
        Bug::CommitBeforeProcessingInPoll,
        Bug::ReorderInflight1,
        Bug::RegistrationIgnoresIncarnation,
        Bug::RefetchInSameEpoch,
        Bug::StaleFollowerStateOnElection,
        Bug::IsrJoinWithOldEpochOffset,
        Bug::IsrJoinBelowHighWatermark,
        Bug::IsrJoinBelowEpochStart,
        Bug::LateFetchResponseOffset,
        Bug::LateFetchResponseEpoch,
        Bug::NoStrictMinIsr,
        Bug::StaleBrokerEpochIsr,
        Bug::NoPartitionEpochCheck,
        Bug::CommittedIsrForHighWatermark,
        Bug::NoFetchEpoch,
        Bug::EpochEndNaive,
        Bug::OorTruncateAll,
        Bug::NoEpochOnBecomeLeader,
        Bug::SkipTruncSameLeader,
        Bug::ReadPastHighWatermark,
        Bug::RecoveryTrustsTail,
        Bug::FalseCleanMarker,
        Bug::FsyncErrorIgnored,
        Bug::NoDirectorySync,
        Bug::EpochCheckpointWithoutSync,
        Bug::RetentionPastHighWatermark,
        Bug::CleanerPastLsoHw,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Bug::AckBeforeReplication => "ack-before-replication",
            Bug::TruncateToHighWatermark => "truncate-to-high-watermark",
            Bug::IgnoreMinIsr => "ignore-min-isr",
            Bug::SkipFlush => "skip-flush",
            Bug::CommitBeforeProcessingInPoll => "commit-before-processing-in-poll",
            Bug::ReorderInflight1 => "reorder-inflight1",
            Bug::RegistrationIgnoresIncarnation => "registration-ignores-incarnation",
            Bug::RefetchInSameEpoch => "refetch-in-same-epoch",
            Bug::StaleFollowerStateOnElection => "stale-follower-state-on-election",
            Bug::IsrJoinWithOldEpochOffset => "isr-join-with-old-epoch-offset",
            Bug::IsrJoinBelowHighWatermark => "isr-join-below-high-watermark",
            Bug::IsrJoinBelowEpochStart => "isr-join-below-epoch-start",
            Bug::LateFetchResponseOffset => "late-fetch-response-offset",
            Bug::LateFetchResponseEpoch => "late-fetch-response-epoch",
            Bug::NoStrictMinIsr => "no-strict-min-isr",
            Bug::StaleBrokerEpochIsr => "stale-broker-epoch-isr",
            Bug::NoPartitionEpochCheck => "no-partition-epoch-check",
            Bug::CommittedIsrForHighWatermark => "committed-isr-for-high-watermark",
            Bug::NoFetchEpoch => "no-fetch-epoch",
            Bug::EpochEndNaive => "epoch-end-naive",
            Bug::OorTruncateAll => "oor-truncate-all",
            Bug::NoEpochOnBecomeLeader => "no-epoch-on-become-leader",
            Bug::SkipTruncSameLeader => "skip-trunc-same-leader",
            Bug::ReadPastHighWatermark => "read-past-high-watermark",
            Bug::RecoveryTrustsTail => "recovery-trusts-tail",
            Bug::FalseCleanMarker => "false-clean-marker",
            Bug::FsyncErrorIgnored => "fsync-error-ignored",
            Bug::NoDirectorySync => "no-directory-sync",
            Bug::EpochCheckpointWithoutSync => "epoch-checkpoint-without-sync",
            Bug::RetentionPastHighWatermark => "retention-past-high-watermark",
            Bug::CleanerPastLsoHw => "cleaner-past-lso-hw",
        }
    }

    /// Where the mistake comes from.
    pub fn source(self) -> &'static str {
        match self {
            Bug::AckBeforeReplication => "acks=all without the wait of DelayedProduce",
            Bug::TruncateToHighWatermark => "KAFKA-1211, KIP-101 (fixed in 0.11.0)",
            Bug::IgnoreMinIsr => "Partition.appendRecordsToLeader, KAFKA-15583 (fixed in 3.7)",
            Bug::SkipFlush => "UnifiedLog.append without its flush",
            Bug::CommitBeforeProcessingInPoll => {
                "KAFKA-18641: auto-commit takes the position of records not yet returned"
            }
            Bug::ReorderInflight1 => "KAFKA-3197 (fixed in 0.10.0)",
            Bug::RegistrationIgnoresIncarnation => {
                "Vanlightly's kafka-tlaplus v3.5, the incarnation in the registration"
            }
            Bug::RefetchInSameEpoch => "Vanlightly's kafka-tlaplus v3.5, AddPartitionToFetcher",
            Bug::StaleFollowerStateOnElection => "Replica.resetReplicaState",
            Bug::IsrJoinWithOldEpochOffset => {
                "Vanlightly's kafka-tlaplus v3.5, the offset known in this leader epoch"
            }
            Bug::IsrJoinBelowHighWatermark => "Partition.isFollowerInSync",
            Bug::IsrJoinBelowEpochStart => {
                "Partition.isFollowerInSync, KAFKA-7128 (fixed in 1.1.2, 2.0.1)"
            }
            Bug::LateFetchResponseOffset => "AbstractFetcherThread.processFetchRequest",
            Bug::LateFetchResponseEpoch => "KAFKA-18991 (fixed in 4.1)",
            Bug::NoStrictMinIsr => "KAFKA-15583 (fixed in 3.7)",
            Bug::StaleBrokerEpochIsr => "KAFKA-14139, KIP-903 (fixed in 3.5)",
            Bug::NoPartitionEpochCheck => "ReplicationControlManager.validateAlterPartitionData",
            Bug::CommittedIsrForHighWatermark => "KIP-497, Partition.maybeIncrementLeaderHW",
            Bug::NoFetchEpoch => "KAFKA-7395, KIP-320 (fixed in 2.1)",
            Bug::EpochEndNaive => "KAFKA-6361, KIP-279 (fixed in 2.0)",
            Bug::OorTruncateAll => "KAFKA-2143 (fixed in 0.9.0.1), there after OFFSET_OUT_OF_RANGE",
            Bug::NoEpochOnBecomeLeader => "KAFKA-7415 (fixed in 2.1)",
            Bug::SkipTruncSameLeader => "KAFKA-7164 (fixed in 2.1)",
            Bug::ReadPastHighWatermark => "UnifiedLog.read without FetchIsolation.HIGH_WATERMARK",
            Bug::RecoveryTrustsTail => "LogSegment.recover without batch.ensureValid",
            Bug::FalseCleanMarker => "KAFKA-10471 (fixed in 2.8)",
            Bug::FsyncErrorIgnored => {
                "UnifiedLog.flush without the LogDirFailureChannel of KIP-112"
            }
            Bug::NoDirectorySync => "KAFKA-3968 (fixed in 3.0)",
            Bug::EpochCheckpointWithoutSync => "KAFKA-16541 (fixed in 3.7.1, 3.8)",
            Bug::RetentionPastHighWatermark => "UnifiedLog.deletableSegments without its bound",
            Bug::CleanerPastLsoHw => {
                "LogCleanerManager.cleanableOffsets without its bound, the last stable offset"
            }
        }
    }

    /// What it breaks, in one sentence.
    pub fn breaks(self) -> &'static str {
        match self {
            Bug::AckBeforeReplication => {
                "acks=all is acknowledged by the leader alone, so a leader crash loses it"
            }
            Bug::TruncateToHighWatermark => {
                "a restarted replica drops committed records above its stale high watermark"
            }
            Bug::IgnoreMinIsr => {
                "acks=all succeeds and the high watermark advances below min.insync.replicas"
            }
            Bug::SkipFlush => {
                "records that log.flush.interval.messages promised durable die with the power"
            }
            Bug::CommitBeforeProcessingInPoll => {
                "a consumer crash skips the records that the last poll returned"
            }
            Bug::ReorderInflight1 => {
                "max.in.flight.requests.per.connection=1 no longer keeps the order across a leader change"
            }
            Bug::RegistrationIgnoresIncarnation => {
                "a new process has the epoch of the former one, so that a proposal from before puts a broker that lost its disk back into the ISR"
            }
            Bug::RefetchInSameEpoch => {
                "fetch state is reset under a request on its way; by itself that only forgets back-offs and failures"
            }
            Bug::StaleFollowerStateOnElection => {
                "the high watermark passes records that a follower has meanwhile truncated"
            }
            Bug::IsrJoinWithOldEpochOffset => {
                "a follower joins the ISR although its log has been cut since"
            }
            Bug::IsrJoinBelowHighWatermark => {
                "an ISR member lacks committed records and may be elected"
            }
            Bug::IsrJoinBelowEpochStart => {
                "right after an election, with the high watermark still behind, an ISR member lacks committed records"
            }
            Bug::LateFetchResponseOffset => {
                "records of an earlier leadership are appended at an offset that the follower is no longer at"
            }
            Bug::LateFetchResponseEpoch => {
                "records and high watermark of an earlier leadership are taken over in a later one"
            }
            Bug::NoStrictMinIsr => {
                "records below the high watermark are on fewer than min.insync.replicas replicas"
            }
            Bug::StaleBrokerEpochIsr => {
                "a replica that came back with an empty disk is added to the ISR by a proposal from before"
            }
            Bug::NoPartitionEpochCheck => {
                "an overtaken proposal brings a replica back into the ISR that the controller had removed"
            }
            Bug::CommittedIsrForHighWatermark => {
                "a replica that the controller has just added lacks records below the high watermark"
            }
            Bug::NoFetchEpoch => "a follower that has not yet truncated moves the high watermark",
            Bug::EpochEndNaive => {
                "after two leader changes in quick succession a follower keeps records that the leader never had"
            }
            Bug::OorTruncateAll => {
                "a full replica empties itself and copies everything again, in the ISR all the while"
            }
            Bug::NoEpochOnBecomeLeader => {
                "after back-to-back elections without writes a follower cuts its log at the wrong offset"
            }
            Bug::SkipTruncSameLeader => {
                "a follower that missed a leadership in between keeps records that the leader has truncated"
            }
            Bug::ReadPastHighWatermark => {
                "a consumer goes on behind records that another leader then lacks, and passes over those in their place"
            }
            Bug::RecoveryTrustsTail => {
                "torn batches stay in the log after a power loss, and readers do not get past them"
            }
            Bug::FalseCleanMarker => {
                "what a power loss left of the log is taken as it is, torn batches too"
            }
            Bug::FsyncErrorIgnored => {
                "the broker goes on with, and acknowledges, records that its disk has dropped"
            }
            Bug::NoDirectorySync => "a flushed segment is gone after a power loss, file and all",
            Bug::EpochCheckpointWithoutSync => {
                "a power loss empties the leader epochs, and logs that have parted are not told apart"
            }
            Bug::RetentionPastHighWatermark => {
                "records that are not replicated yet are deleted, and the high watermark passes them"
            }
            Bug::CleanerPastLsoHw => {
                "committed records give way to later ones of their key that the next leader does not have"
            }
        }
    }

    /// The bug of that name.
    pub fn from_name(name: &str) -> Option<Bug> {
        Bug::ALL.into_iter().find(|b| b.name() == name)
    }
}
