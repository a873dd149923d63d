//! Checkers: what must hold of a run, one property a file.
//!
//! - [`min_isr`] an invariant over facts: nothing is promised below `min.insync.replicas`
//! - [`order`] one request in flight keeps the order of a producer's messages
//! - [`log_matching`] an invariant: logs are equal up to the smaller high watermark
//! - [`truncation`] an invariant: no truncation below the point where follower and leader agree
//! - [`copies`] an invariant: what a follower has copied, its leader has
//! - [`high_watermark`] an invariant: what lies below it, every member of the ISR has
//! - [`committed`] an invariant: nothing above it is deleted, or read by a consumer
//! - [`isr_members`] an invariant: whoever joins the ISR holds every committed record
//! - [`shadow`] the logs as the facts tell, which these compare
//! - [`by_partition`] what is kept for each partition
//! - [`messages`] the messages in the bytes of a log
//! - [`verdict`] what became of each acknowledged message

pub mod by_partition;
pub mod committed;
pub mod copies;
pub mod high_watermark;
#[cfg(test)]
mod histories;
pub mod isr_members;
pub mod log_matching;
pub mod messages;
pub mod min_isr;
pub mod order;
pub mod shadow;
pub mod truncation;
pub mod verdict;

use crate::result::Anomaly;
use by_partition::ByPartition;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;

/// What the invariants know of one partition.
#[derive(Debug, Default)]
struct Watched {
    min_isr: min_isr::MinIsr,
    logs: shadow::ShadowLogs,
    log_matching: log_matching::LogMatching,
    committed: committed::Committed,
    isr_members: isr_members::IsrMembers,
    copies: copies::Copies,
    high_watermark: high_watermark::HighWatermark,
}

/// Every invariant over facts. Each watches one partition, and costs at most the logarithm of the batches
/// a fact.
#[derive(Debug, Default)]
pub struct Invariants {
    partitions: ByPartition<Watched>,
    unregistered: isr_members::Unregistered,
}

impl Invariants {
    /// Takes a fact, and notes what it breaks. `id_of` gives the id of a topic by name: a log that is
    /// loaded tells no other.
    #[inline]
    pub fn check(
        &mut self,
        node: NodeId,
        fact: &Fact,
        id_of: impl Fn(&str) -> TopicId,
        anomalies: &mut Vec<Anomaly>,
    ) {
        // Most facts are of the first two kinds, and each concerns few.
        match fact {
            Fact::Appended { partition, .. } => {
                let watched = self.partitions.of(*partition);
                watched.appended(node, fact, anomalies);
            }
            Fact::HighWatermark { partition, .. } => {
                let watched = self.partitions.of(*partition);
                watched.high_watermark_moved(node, fact, anomalies);
            }
            // Nothing is promised with these.
            Fact::ProduceArrived { .. } | Fact::OffsetCommitted { .. } | Fact::Flushed { .. } => {}
            Fact::LogRecovered {
                topic, partition, ..
            } => {
                let partition = TopicPartition::new(id_of(topic), *partition);
                self.recovered(node, partition, fact);
            }
            _ => self.check_other(node, fact, anomalies),
        }
    }

    fn check_other(&mut self, node: NodeId, fact: &Fact, anomalies: &mut Vec<Anomaly>) {
        match fact {
            Fact::ProduceAnswered { partition, .. } => {
                let watched = self.partitions.of(*partition);
                note(watched.min_isr.check(node, fact), anomalies);
            }
            _ => self.check_seldom(node, fact, anomalies),
        }
    }

    #[cold]
    fn recovered(&mut self, node: NodeId, partition: TopicPartition, fact: &Fact) {
        self.partitions.of(partition).logs.see(node, fact);
    }

    #[cold]
    fn check_seldom(&mut self, node: NodeId, fact: &Fact, anomalies: &mut Vec<Anomaly>) {
        self.unregistered.see(node, fact);
        if let Fact::BrokerStarted { .. } = fact {
            for watched in self.partitions.values_mut() {
                watched.logs.see(node, fact);
            }
        }
        if let Some(partition) = fact.partition() {
            let watched = self.partitions.of(partition);
            watched.check(node, fact, &self.unregistered, anomalies);
        }
    }

    /// Takes a record that a poll of a consumer returned, and notes what it breaks.
    pub fn delivered(
        &mut self,
        node: NodeId,
        partition: TopicPartition,
        offset: Offset,
        anomalies: &mut Vec<Anomaly>,
    ) {
        let committed = &self.partitions.of(partition).committed;
        note(committed.delivered(node, partition, offset), anomalies);
    }
}

impl Watched {
    fn appended(&mut self, node: NodeId, fact: &Fact, anomalies: &mut Vec<Anomaly>) {
        self.logs.see(node, fact);
        note(self.copies.check(node, fact, &self.logs), anomalies);
    }

    fn high_watermark_moved(&mut self, node: NodeId, fact: &Fact, anomalies: &mut Vec<Anomaly>) {
        note(self.min_isr.check(node, fact), anomalies);
        note(self.committed.check(node, fact), anomalies);
        let (logs, matching) = (&self.logs, &mut self.log_matching);
        note(matching.check(node, fact, logs), anomalies);
        let isr = &self.isr_members;
        let passed = self.high_watermark.check(node, fact, logs, matching, isr);
        note(passed, anomalies);
    }

    #[cold]
    fn check(
        &mut self,
        node: NodeId,
        fact: &Fact,
        unregistered: &isr_members::Unregistered,
        anomalies: &mut Vec<Anomaly>,
    ) {
        note(self.min_isr.check(node, fact), anomalies);
        note(self.committed.check(node, fact), anomalies);
        note(truncation::check(node, fact, &self.logs), anomalies);
        self.logs.see(node, fact);
        let (logs, matching) = (&self.logs, &mut self.log_matching);
        note(matching.check(node, fact, logs), anomalies);
        let joined = self.isr_members.check(fact, logs, matching, unregistered);
        note(joined, anomalies);
    }
}

#[inline]
fn note(found: Option<Anomaly>, anomalies: &mut Vec<Anomaly>) {
    if let Some(anomaly) = found {
        anomalies.push(anomaly);
    }
}

#[cfg(test)]
mod tests {
    use super::histories::*;
    use super::*;

    fn judge(history: &[(NodeId, Fact)]) -> Vec<String> {
        let (mut invariants, mut anomalies) = (Invariants::default(), Vec::new());
        for (node, fact) in history {
            invariants.check(*node, fact, |_| P.topic, &mut anomalies);
        }
        anomalies.into_iter().map(|anomaly| anomaly.check).collect()
    }

    /// The same about another partition of the topic.
    fn of_another((node, mut fact): (NodeId, Fact)) -> (NodeId, Fact) {
        match &mut fact {
            Fact::Appended { partition, .. }
            | Fact::HighWatermark { partition, .. }
            | Fact::BecameLeader { partition, .. }
            | Fact::BecameFollower { partition, .. } => partition.partition = 3,
            other => panic!("{other:?}"),
        }
        (node, fact)
    }

    #[test]
    fn partitions_are_watched_one_by_one() {
        let parted = [
            leads(A, 0, 0),
            follows(B, 0, A),
            appended(A, 0, 10),
            copied(B, 0, 0, 99),
            moved(A, 1),
            high_watermark(B, 1),
        ];
        assert_eq!(judge(&parted), ["copies", "log-matching"]);
        let [.., b_moves] = parted.clone();
        let mut history = parted[..3].to_vec();
        history.extend(parted[..5].iter().cloned().map(of_another));
        history.push(b_moves);
        assert_eq!(judge(&history), ["copies"], "B has nothing of the first");
        history.push(of_another(high_watermark(B, 1)));
        assert_eq!(judge(&history), ["copies", "log-matching"]);
    }

    #[test]
    fn a_start_concerns_every_log_of_a_broker() {
        let started = (B, Fact::BrokerStarted { clean: false });
        let history = |then: Option<(NodeId, Fact)>| {
            let mut history = Vec::new();
            for of in [|told| told, of_another] {
                history.extend([leads(A, 0, 0), follows(B, 0, A)].map(of));
            }
            history.extend(then);
            // Whom it follows is not known until it has applied a role again.
            history.extend([copied(B, 0, 0, 10), of_another(copied(B, 0, 0, 10))]);
            judge(&history)
        };
        assert_eq!(history(None), ["copies", "copies"]);
        assert_eq!(history(Some(started)), [""; 0]);
    }
}
