//! Invariant: nothing above the high watermark is deleted from the front of a log, compacted, or read by a
//! consumer.
//!
//! `UnifiedLog.deletableSegments` keeps a segment that reaches beyond it, `Partition.deleteRecordsOnLeader`
//! refuses an offset above it, and a follower takes over its leader's log start. What is deleted above it
//! nobody else may have, and the high watermark, which is never below the log start, passes it unreplicated.
//! What is compacted above it gives way to a record that the next leader may not have: the cleaner stops at
//! the last stable offset (`LogCleanerManager.cleanableOffsets`). A consumer is served below it
//! (`FetchIsolation.HIGH_WATERMARK`): what lies above another leader may never have had.
//!
//! Judged against the highest that any replica of the partition has told, which covers all that is
//! committed; a replica that has just started tells nothing of its own.

use crate::result::Anomaly;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;

/// Watches every log of a partition, and its consumers.
#[derive(Debug, Default)]
pub struct Committed {
    /// The highest of all.
    high_watermark: Offset,
}

impl Committed {
    /// Takes a fact; says what it breaks.
    #[inline]
    pub fn check(&mut self, node: NodeId, fact: &Fact) -> Option<Anomaly> {
        match fact {
            Fact::HighWatermark { offset, .. } => {
                self.high_watermark = self.high_watermark.max(*offset);
                None
            }
            _ => self.check_front(node, fact),
        }
    }

    /// What takes records away from the front of a log.
    #[cold]
    fn check_front(&self, node: NodeId, fact: &Fact) -> Option<Anomaly> {
        let highest = self.high_watermark;
        match fact {
            Fact::LogStartMoved {
                partition,
                offset,
                reason,
            } => (*offset > highest).then(|| Anomaly {
                check: "committed".into(),
                what: format!(
                    "{node} let its log of partition {} start at offset {offset} ({reason:?}), above \
                     every high watermark of that partition so far, {highest}",
                    partition.partition
                ),
            }),
            // Up to there, not there.
            Fact::LogCleaned { partition, up_to } => (*up_to > highest).then(|| Anomaly {
                check: "committed".into(),
                what: format!(
                    "{node} compacted its log of partition {} below offset {up_to}, above every high \
                     watermark of that partition so far, {highest}",
                    partition.partition
                ),
            }),
            _ => None,
        }
    }

    /// Takes a record that a poll returned; says what it breaks.
    #[inline]
    pub fn delivered(
        &self,
        node: NodeId,
        partition: TopicPartition,
        offset: Offset,
    ) -> Option<Anomaly> {
        let highest = self.high_watermark;
        (offset >= highest).then(|| above(node, partition, offset, highest))
    }
}

#[cold]
fn above(node: NodeId, partition: TopicPartition, offset: Offset, highest: Offset) -> Anomaly {
    Anomaly {
        check: "committed".into(),
        what: format!(
            "{node} was given the record at offset {offset} of partition {}, which no high watermark of \
             that partition has passed so far, {highest}",
            partition.partition
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use super::*;
    use everyack_broker::log::LogStartReason;

    fn seen(history: &[(NodeId, Fact)]) -> (Committed, usize) {
        let mut committed = Committed::default();
        let broken = history.iter();
        let broken = broken.filter_map(|(node, fact)| committed.check(*node, fact));
        let broken = broken.count();
        (committed, broken)
    }

    fn starts(node: NodeId, offset: Offset) -> (NodeId, Fact) {
        let fact = Fact::LogStartMoved {
            partition: P,
            offset,
            reason: LogStartReason::SegmentDeletion,
        };
        (node, fact)
    }

    #[test]
    fn a_log_starts_up_to_the_high_watermark_that_any_replica_has_told() {
        assert_eq!(seen(&[moved(A, 5), starts(A, 5), starts(B, 4)]).1, 0);
        let behind = [moved(A, 5), high_watermark(B, 3), starts(B, 5)];
        assert_eq!(seen(&behind).1, 0);
    }

    #[test]
    fn a_log_start_above_it_is_found() {
        assert_eq!(seen(&[moved(A, 5), starts(A, 6)]).1, 1);
        assert_eq!(seen(&[starts(B, 1), moved(A, 5), starts(B, 6)]).1, 2);
    }

    #[test]
    fn a_log_is_compacted_below_the_high_watermark() {
        let cleaned = |up_to| {
            let partition = P;
            (A, Fact::LogCleaned { partition, up_to })
        };
        assert_eq!(seen(&[moved(B, 5), cleaned(5)]).1, 0);
        assert_eq!(seen(&[moved(B, 5), cleaned(6)]).1, 1);
    }

    #[test]
    fn a_consumer_is_given_what_lies_below_it() {
        let (committed, _) = seen(&[moved(A, 5), high_watermark(B, 3)]);
        let reader = NodeId(NodeId::FIRST_CLIENT);
        assert!(committed.delivered(reader, P, 4).is_none());
        assert!(committed.delivered(reader, P, 5).is_some());
        let untold = Committed::default();
        assert!(untold.delivered(reader, P, 0).is_some());
    }
}
