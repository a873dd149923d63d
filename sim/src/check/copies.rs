//! Invariant: what a follower has just copied, its leader has, and everything before it too.
//!
//! KIP-320 and KIP-595 give the reason: a fetch names the leader epoch and the epoch of the follower's
//! last record, so that what the leader answers continues a log that is a beginning of its own; and an
//! answer from another epoch, or to another offset than the follower is at by now, is not taken
//! (`AbstractFetcherThread.processFetchRequest`, KAFKA-18991).
//!
//! Judged only while the leader leads in the follower's epoch, as the facts tell: its log holds then
//! what it held when it answered, and more of its own. Where no batch of the leader's is known to end
//! at the follower's end, lengths are all that can be compared.

use super::shadow::ShadowLogs;
use crate::result::Anomaly;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;

/// Watches every follower of a partition.
#[derive(Debug, Default)]
pub struct Copies {
    /// Said already.
    broken: bool,
}

impl Copies {
    /// Takes a fact, which the logs have seen already; says what it breaks, once.
    #[inline]
    pub fn check(&mut self, node: NodeId, fact: &Fact, logs: &ShadowLogs) -> Option<Anomaly> {
        let Fact::Appended {
            partition,
            as_leader: false,
            ..
        } = fact
        else {
            return None;
        };
        let log = logs.log(node)?;
        let (leader, leading) = logs.leader_of(log)?;
        let differs = match (leading.prefix_at(log.log_end), log.prefix()) {
            (Some(leaders), Some(own)) => leaders != own,
            _ => false,
        };
        let same = leading.log_end >= log.log_end && !differs;
        if same || std::mem::replace(&mut self.broken, true) {
            return None;
        }
        let (end, leaders_end) = (log.log_end, leading.log_end);
        Some(broken(node, *partition, end, (leader, leaders_end)))
    }
}

#[cold]
fn broken(
    node: NodeId,
    partition: TopicPartition,
    end: Offset,
    (leader, leaders_end): (NodeId, Offset),
) -> Anomaly {
    Anomaly {
        check: "copies".into(),
        what: format!(
            "{node} has copied records of partition {} up to offset {end} that its leader, {leader}, \
             whose log ends at {leaders_end}, does not have",
            partition.partition
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use super::*;
    use everyack_broker::fact::Gaps;

    fn judge(history: &[(NodeId, Fact)]) -> Vec<Anomaly> {
        let (mut logs, mut check) = (ShadowLogs::default(), Copies::default());
        let seen = history.iter().filter_map(|(node, fact)| {
            logs.see(*node, fact);
            check.check(*node, fact, &logs)
        });
        seen.collect()
    }

    /// A leads in epoch 3 and has 0 and 1; B follows.
    fn followed() -> Vec<(NodeId, Fact)> {
        vec![
            leads(A, 3, 0),
            follows(B, 3, A),
            appended(A, 0, 10),
            appended(A, 1, 11),
        ]
    }

    #[test]
    fn a_copy_of_what_the_leader_has_is_right() {
        let mut history = followed();
        history.extend([copied(B, 0, 0, 10), copied(B, 1, 1, 11)]);
        assert_eq!(judge(&history), []);
    }

    #[test]
    fn other_records_below_are_caught_once() {
        let mut history = followed();
        history.extend([copied(B, 0, 0, 99), copied(B, 1, 1, 98)]);
        let anomalies = judge(&history);
        assert_eq!(anomalies.len(), 1);
        assert_eq!(anomalies[0].check, "copies");
    }

    #[test]
    fn what_is_copied_from_a_compacted_log_is_judged_by_its_length_only() {
        let cleaned = |node, up_to| {
            (
                node,
                Fact::LogCleaned {
                    partition: P,
                    up_to,
                },
            )
        };
        let mut history = followed();
        history.extend([cleaned(A, 1), copied(B, 0, 0, 99), copied(B, 1, 1, 98)]);
        assert_eq!(judge(&history), []);
        history.push(copied(B, 2, 2, 97));
        assert_eq!(judge(&history).len(), 1, "behind the leader's end");
    }

    #[test]
    fn a_log_without_its_front_is_compared_by_what_is_left() {
        let recovered = |prefix| Fact::LogRecovered {
            topic: "t".into(),
            partition: 0,
            log_start: 1,
            log_end: 2,
            prefix,
            truncated_bytes: 0,
            gaps: None,
        };
        let told = |prefix| {
            let mut history = followed();
            history.extend([copied(B, 0, 1, 11), (B, recovered(1))]);
            history.extend([(B, Fact::BrokerStarted { clean: false }), follows(B, 3, A)]);
            // It counts from its second record on, and lacks ten.
            history.extend([appended(A, 2, 12), copied(B, 2, 2, prefix)]);
            judge(&history).len()
        };
        assert_eq!(told(2), 0);
        assert_eq!(told(12), 1);
    }

    #[test]
    fn a_log_that_begins_anew_is_counted_from_there() {
        let anew = Fact::Truncated {
            partition: P,
            from: 2,
            to: 1,
            high_watermark: 1,
            anew: true,
        };
        let told = |prefix| {
            let mut history = followed();
            history.extend([copied(B, 0, 0, 10), copied(B, 1, 1, 11)]);
            history.extend([(B, anew.clone()), copied(B, 1, 1, prefix)]);
            judge(&history).len()
        };
        assert_eq!(told(1), 0, "ten and one are eleven");
        assert_eq!(told(11), 1);
    }

    #[test]
    fn a_log_that_lost_its_front_and_is_cut_to_nothing_is_counted_from_its_first_record() {
        // The power took what the first segment had and left the second (`LogLoader.recoverLog`).
        let recovered = Fact::LogRecovered {
            topic: "t".into(),
            partition: 0,
            log_start: 0,
            log_end: 2,
            prefix: 1,
            truncated_bytes: 0,
            gaps: None,
        };
        let nothing = Fact::Truncated {
            partition: P,
            from: 2,
            to: 0,
            high_watermark: 0,
            anew: true,
        };
        let told = |prefix| {
            let mut history = followed();
            history.extend([copied(B, 0, 0, 10), copied(B, 1, 1, 11)]);
            history.extend([(B, recovered.clone()), follows(B, 3, A)]);
            history.extend([(B, nothing.clone()), copied(B, 0, 0, prefix)]);
            judge(&history).len()
        };
        assert_eq!(told(10), 0);
        assert_eq!(told(1), 1);
    }

    #[test]
    fn what_is_copied_from_a_log_with_gaps_is_judged_by_its_length_only() {
        let told = |gaps| {
            let mut history = followed();
            let recovered = Fact::LogRecovered {
                topic: "t".into(),
                partition: 0,
                log_start: 0,
                log_end: 2,
                prefix: 1,
                truncated_bytes: 0,
                gaps,
            };
            history.extend([(A, recovered), leads(A, 4, 2), follows(B, 4, A)]);
            history.push(copied(B, 0, 1, 1));
            judge(&history).len()
        };
        assert_eq!(told(Gaps::of((0, 2), [(1, 1)].into_iter())), 0);
        assert_eq!(told(None), 1);
    }

    #[test]
    fn records_behind_the_leaders_end_are_caught() {
        let mut history = followed();
        history.push(copied(B, 0, 2, 12));
        assert_eq!(judge(&history).len(), 1);
    }

    #[test]
    fn a_leader_that_leads_no_more_in_that_epoch_proves_nothing() {
        let mut history = followed();
        history.extend([leads(A, 5, 2), copied(B, 0, 2, 12)]);
        assert_eq!(judge(&history), []);
        let mut history = followed();
        history.extend([follows(A, 4, B), copied(B, 0, 2, 12)]);
        assert_eq!(judge(&history), []);
    }
}
