//! Invariant: while a leader's ISR is smaller than the effective `min.insync.replicas`, it gives no
//! success to acks=all, and its high watermark does not move.
//!
//! Sources: `Partition.appendRecordsToLeader` and `checkEnoughReplicasReachOffset` (acks=all),
//! KAFKA-15583 / KIP-966 strict min ISR (the high watermark, whatever the acks). The ISR meant is the
//! leader's own committed one, kept here from [`Fact::IsrApplied`] alone, apart from the broker's
//! state; a proposed expansion may also count for the answer (maximal ISR, KIP-497).

use crate::result::Anomaly;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;

/// A leader's ISR as it last applied it.
#[derive(Debug, Clone, Copy)]
struct Shadow {
    members: i32,
    /// Members with a proposed expansion.
    maximal: i32,
    effective_min_isr: i32,
}

/// Watches every leader of a partition.
#[derive(Debug, Default)]
pub struct MinIsr {
    /// One for each broker that has led.
    leaders: Vec<(NodeId, Shadow)>,
}

impl MinIsr {
    /// Takes a fact; says what it breaks.
    #[inline]
    pub fn check(&mut self, node: NodeId, fact: &Fact) -> Option<Anomaly> {
        match fact {
            Fact::HighWatermark {
                partition,
                offset,
                as_leader: true,
            } => {
                let shadow = self.leader(node)?;
                (shadow.members < shadow.effective_min_isr)
                    .then(|| moved_below(node, *partition, *offset, *shadow))
            }
            Fact::ProduceAnswered {
                partition,
                last_offset,
                acks: -1,
                error,
                ..
            } if error.is_none() => {
                let shadow = self.leader(node)?;
                (shadow.maximal < shadow.effective_min_isr)
                    .then(|| acknowledged_below(node, *partition, *last_offset, *shadow))
            }
            Fact::HighWatermark { .. } | Fact::ProduceAnswered { .. } => None,
            _ => {
                self.see_isr(node, fact);
                None
            }
        }
    }

    #[cold]
    fn see_isr(&mut self, node: NodeId, fact: &Fact) {
        match fact {
            Fact::IsrApplied {
                isr,
                effective_min_isr,
                ..
            } => {
                let members = isr.len() as i32;
                let shadow = Shadow {
                    members,
                    maximal: members,
                    effective_min_isr: *effective_min_isr,
                };
                match self.leader(node) {
                    Some(known) => *known = shadow,
                    None => self.leaders.push((node, shadow)),
                }
            }
            Fact::IsrProposed { isr, .. } => {
                if let Some(shadow) = self.leader(node) {
                    shadow.maximal = shadow.members.max(isr.len() as i32);
                }
            }
            _ => {}
        }
    }

    #[inline]
    fn leader(&mut self, node: NodeId) -> Option<&mut Shadow> {
        let (_, shadow) = self.leaders.iter_mut().find(|(n, _)| *n == node)?;
        Some(shadow)
    }
}

#[cold]
fn acknowledged_below(
    node: NodeId,
    partition: TopicPartition,
    last_offset: Offset,
    shadow: Shadow,
) -> Anomaly {
    Anomaly {
        check: "min-isr".into(),
        what: format!(
            "{node} acknowledged acks=all up to offset {last_offset} of partition {} with {} in-sync \
             replicas, min.insync.replicas is {}",
            partition.partition, shadow.maximal, shadow.effective_min_isr
        ),
    }
}

#[cold]
fn moved_below(node: NodeId, partition: TopicPartition, offset: Offset, shadow: Shadow) -> Anomaly {
    Anomaly {
        check: "min-isr".into(),
        what: format!(
            "{node} moved the high watermark of partition {} to {offset} with {} in-sync replicas, \
             min.insync.replicas is {}",
            partition.partition, shadow.members, shadow.effective_min_isr
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everyack_broker::wire::ErrorCode;

    const P: TopicPartition = TopicPartition {
        topic: TopicId(7),
        partition: 0,
    };

    fn applied(isr: &[i32]) -> Fact {
        Fact::IsrApplied {
            partition: P,
            isr: isr.to_vec(),
            effective_min_isr: 2,
        }
    }

    fn answered(acks: i16) -> Fact {
        Fact::ProduceAnswered {
            partition: P,
            base_offset: 3,
            last_offset: 4,
            acks,
            error: ErrorCode::None,
        }
    }

    fn high_watermark() -> Fact {
        Fact::HighWatermark {
            partition: P,
            offset: 5,
            as_leader: true,
        }
    }

    #[test]
    fn acks_all_success_below_min_isr_is_caught() {
        let mut check = MinIsr::default();
        assert!(check.check(NodeId(1), &applied(&[1, 2])).is_none());
        assert!(check.check(NodeId(1), &answered(-1)).is_none());
        assert!(check.check(NodeId(1), &applied(&[1])).is_none());
        assert!(
            check.check(NodeId(1), &answered(1)).is_none(),
            "acks=1 never promised it"
        );
        assert!(check.check(NodeId(1), &answered(-1)).is_some());
    }

    #[test]
    fn a_high_watermark_that_moves_below_min_isr_is_caught_under_any_acks() {
        let mut check = MinIsr::default();
        check.check(NodeId(1), &applied(&[1]));
        assert!(check.check(NodeId(1), &high_watermark()).is_some());
        check.check(NodeId(1), &applied(&[1, 3]));
        assert!(check.check(NodeId(1), &high_watermark()).is_none());
    }

    #[test]
    fn a_proposed_expansion_counts_for_the_answer_and_not_for_the_high_watermark() {
        let mut check = MinIsr::default();
        check.check(NodeId(1), &applied(&[1]));
        let proposed = Fact::IsrProposed {
            partition: P,
            isr: vec![1, 2],
        };
        check.check(NodeId(1), &proposed);
        assert!(check.check(NodeId(1), &answered(-1)).is_none());
        assert!(check.check(NodeId(1), &high_watermark()).is_some());
    }
}
