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
}

impl Bug {
    /// Every bug, in the order of the catalogue.
    pub const ALL: [Bug; 6] = [
        Bug::AckBeforeReplication,
        Bug::TruncateToHighWatermark,
        Bug::IgnoreMinIsr,
        Bug::SkipFlush,
        Bug::CommitBeforeProcessingInPoll,
        Bug::ReorderInflight1,
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
        }
    }

    /// The bug of that name.
    pub fn from_name(name: &str) -> Option<Bug> {
        Bug::ALL.into_iter().find(|b| b.name() == name)
    }
}
