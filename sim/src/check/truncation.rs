//! Invariant: a follower cuts its log nowhere below the point up to which it agrees with its leader's.
//!
//! KIP-101 and KIP-279 give the reason: what both logs hold is a beginning of both, and taking it away
//! leaves a moment in which a committed record has one copy less than anybody counts on. Truncation
//! below the high watermark is another thing, and legal after an unclean election.
//!
//! Judged only while the leader leads in the follower's epoch, as the facts tell: its log then holds
//! what it held when it answered, and more of its own. What both replicas have not told of their logs
//! (see [`shadow`](super::shadow)) cannot be missed here.

use super::shadow::ShadowLogs;
use crate::result::Anomaly;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;

/// Takes a fact that the logs have *not* seen yet; says what it breaks.
pub fn check(node: NodeId, fact: &Fact, logs: &ShadowLogs) -> Option<Anomaly> {
    let Fact::Truncated { partition, to, .. } = fact else {
        return None;
    };
    let log = logs.log(node)?;
    let (leader, leading) = logs.leader_of(log)?;
    let agreed = log
        .ends_above(*to)
        .iter()
        .rev()
        .find(|(end, prefix)| leading.prefix_at(*end) == Some(*prefix))?;
    Some(Anomaly {
        check: "truncation".into(),
        what: format!(
            "{node} cut its log of partition {} to offset {to} although it agreed with its leader, \
             {leader}, up to {}",
            partition.partition, agreed.0
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use super::*;

    fn judge(history: &[(NodeId, Fact)]) -> Vec<Anomaly> {
        let mut logs = ShadowLogs::default();
        let seen = history.iter().filter_map(|(node, fact)| {
            let broken = check(*node, fact, &logs);
            logs.see(*node, fact);
            broken
        });
        seen.collect()
    }

    /// A leads and has 0, 1, 2; B follows with 0, 1 and another 2.
    fn parted() -> Vec<(NodeId, Fact)> {
        vec![
            leads(A, 3, 0),
            follows(B, 3, A),
            appended(A, 0, 10),
            appended(A, 1, 11),
            appended(A, 2, 12),
            copied(B, 0, 0, 10),
            copied(B, 1, 1, 11),
            copied(B, 2, 2, 99),
        ]
    }

    #[test]
    fn cutting_what_the_leader_has_not_is_right() {
        let mut history = parted();
        history.push(truncated(B, 3, 2));
        assert_eq!(judge(&history), []);
    }

    #[test]
    fn cutting_what_both_have_is_caught() {
        let mut history = parted();
        history.push(truncated(B, 3, 1));
        let anomalies = judge(&history);
        assert_eq!(anomalies.len(), 1);
        assert!(anomalies[0].what.contains("up to 2"), "{anomalies:?}");
    }

    #[test]
    fn below_the_high_watermark_is_legal_where_the_leader_has_other_records() {
        let history = [
            leads(B, 0, 0),
            appended(B, 0, 10),
            high_watermark(B, 1),
            leads(A, 1, 0),
            follows(B, 1, A),
            truncated(B, 1, 0),
        ];
        assert_eq!(judge(&history), []);
    }

    #[test]
    fn a_leader_of_another_epoch_proves_nothing() {
        let mut history = parted();
        history.extend([leads(A, 4, 3), truncated(B, 3, 1)]);
        assert_eq!(judge(&history), []);
    }

    #[test]
    fn what_a_lost_disk_held_is_not_there_to_be_cut() {
        let mut history = parted();
        history.extend([
            (B, Fact::BrokerStarted { clean: false }),
            follows(B, 3, A),
            truncated(B, 3, 0),
        ]);
        assert_eq!(judge(&history), []);
    }
}
