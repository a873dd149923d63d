//! Invariant: what lies below a leader's high watermark, every member of the ISR has (StrongIsr of
//! hachikuji/kafka-specification: every member of the *true* ISR, the controller's, whoever takes
//! itself for the leader).
//!
//! Judged at each step of a leader's high watermark: of every member the log must reach it, with the
//! same records as far as both logs have told. Not looked at: a leader of before an unclean election
//! or before a leader with a shorter log (it goes on with a history that was given up), and a member
//! that has lost records with its power or its disk since it told of them, until it has as many again;
//! what KIP-966 does about these comes with eligible leader replicas.

use super::isr_members::IsrMembers;
use super::log_matching::LogMatching;
use super::shadow::{ShadowLog, ShadowLogs};
use crate::result::Anomaly;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;

/// Watches every leader of a partition.
#[derive(Debug, Default)]
pub struct HighWatermark {
    /// Said already.
    broken: bool,
}

impl HighWatermark {
    /// Takes a fact, which the others have seen already; says what it breaks, once.
    #[inline]
    pub fn check(
        &mut self,
        node: NodeId,
        fact: &Fact,
        logs: &ShadowLogs,
        matching: &LogMatching,
        isr: &IsrMembers,
    ) -> Option<Anomaly> {
        let Fact::HighWatermark {
            partition,
            offset,
            as_leader: true,
        } = fact
        else {
            return None;
        };
        let leading = logs.log(node)?;
        if leading.leader_epoch < matching.since_epoch() {
            return None;
        }
        let last = leading.ends_up_to(*offset).last();
        let lacking = isr.members().iter().find_map(|broker| {
            let member = NodeId::of_broker(*broker);
            let log = logs.log(member).filter(|_| member != node)?;
            let lacks = !log.has_lost_records() && !has(log, last, *offset);
            lacks.then_some((*broker, log.log_end))
        })?;
        if std::mem::replace(&mut self.broken, true) {
            return None;
        }
        Some(broken(node, *partition, *offset, lacking))
    }
}

/// Whether a log has what the leader's has below an offset, as far as both have told; `last` is the
/// leader's last end up to there.
#[inline]
fn has(log: &ShadowLog, last: Option<&(Offset, u64)>, offset: Offset) -> bool {
    log.log_end >= offset
        && last.is_none_or(|(end, prefix)| log.prefix_at(*end).is_none_or(|own| own == *prefix))
}

#[cold]
fn broken(
    node: NodeId,
    partition: TopicPartition,
    offset: Offset,
    (member, end): (BrokerId, Offset),
) -> Anomaly {
    Anomaly {
        check: "high-watermark".into(),
        what: format!(
            "{node} moved the high watermark of partition {} to {offset}, and broker {member}, in the \
             ISR, does not have all records below it: its log ends at {end}",
            partition.partition
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use super::super::isr_members::Unregistered;
    use super::*;

    fn judge(history: &[(NodeId, Fact)]) -> usize {
        let (mut logs, mut matching) = (ShadowLogs::default(), LogMatching::default());
        let (mut isr, mut check) = (IsrMembers::default(), HighWatermark::default());
        let unregistered = Unregistered::default();
        let broken = history.iter().filter(|(node, fact)| {
            logs.see(*node, fact);
            matching.check(*node, fact, &logs);
            isr.check(fact, &logs, &matching, &unregistered);
            check.check(*node, fact, &logs, &matching, &isr).is_some()
        });
        broken.count()
    }

    /// A leads in epoch 0 and has two records, B is in the ISR and has one.
    fn behind() -> Vec<(NodeId, Fact)> {
        vec![
            changed(1, 0, &[1, 2], false),
            leads(A, 0, 0),
            follows(B, 0, A),
            appended(A, 0, 10),
            appended(A, 1, 11),
            copied(B, 0, 0, 10),
        ]
    }

    #[test]
    fn up_to_what_every_member_has_it_is_right() {
        let mut history = behind();
        history.push(moved(A, 1));
        assert_eq!(judge(&history), 0);
    }

    #[test]
    fn past_what_a_member_lacks_is_caught_once() {
        let mut history = behind();
        history.extend([moved(A, 2), moved(A, 2)]);
        assert_eq!(judge(&history), 1);
    }

    #[test]
    fn past_a_record_of_which_a_member_has_another_is_caught() {
        let mut history = behind();
        history.extend([copied(B, 1, 1, 99), moved(A, 2)]);
        assert_eq!(judge(&history), 1);
    }

    #[test]
    fn whoever_is_no_member_by_then_may_lack_anything() {
        let mut history = behind();
        history.extend([changed(1, 0, &[1], false), moved(A, 2)]);
        assert_eq!(judge(&history), 0);
    }

    #[test]
    fn a_member_that_lost_its_tail_with_the_power_is_passed_over_until_it_has_as_much_again() {
        let mut history = behind();
        let recovered = Fact::LogRecovered {
            topic: "t".into(),
            partition: 0,
            log_start: 0,
            prefix: 0,
            log_end: 0,
            truncated_bytes: 1,
            gaps: None,
        };
        history.extend([(B, recovered), moved(A, 1)]);
        assert_eq!(judge(&history), 0);
        history.extend([follows(B, 0, A), copied(B, 0, 0, 10), moved(A, 2)]);
        assert_eq!(judge(&history), 1);
    }

    #[test]
    fn an_isr_that_an_unclean_election_passed_over_may_go_on() {
        let mut history = behind();
        history.extend([changed(2, 1, &[2], true), moved(A, 2)]);
        assert_eq!(judge(&history), 0);
    }
}
