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
//! - [`verdict`] what became of each acknowledged message

pub mod committed;
pub mod copies;
pub mod high_watermark;
#[cfg(test)]
mod histories;
pub mod isr_members;
pub mod log_matching;
pub mod min_isr;
pub mod order;
pub mod shadow;
pub mod truncation;
pub mod verdict;

use crate::result::Anomaly;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;

/// Every invariant over facts. Each costs at most the logarithm of the batches a fact.
#[derive(Debug, Default)]
pub struct Invariants {
    min_isr: min_isr::MinIsr,
    logs: shadow::ShadowLogs,
    log_matching: log_matching::LogMatching,
    committed: committed::Committed,
    isr_members: isr_members::IsrMembers,
    copies: copies::Copies,
    high_watermark: high_watermark::HighWatermark,
}

impl Invariants {
    /// Takes a fact, and notes what it breaks. `id_of` gives the id of a topic by name.
    pub fn check(
        &mut self,
        node: NodeId,
        fact: &Fact,
        id_of: impl Fn(&str) -> TopicId,
        anomalies: &mut Vec<Anomaly>,
    ) {
        // Most facts are these two, and concern these only.
        match fact {
            Fact::Appended { .. } => {
                self.logs.see(node, fact, id_of);
                anomalies.extend(self.copies.check(node, fact, &self.logs));
                return;
            }
            Fact::HighWatermark { .. } => {
                anomalies.extend(self.min_isr.check(node, fact));
                self.committed.check(node, fact);
                anomalies.extend(self.log_matching.check(node, fact, &self.logs));
                let (logs, matching) = (&self.logs, &self.log_matching);
                let isr = &self.isr_members;
                let passed = self.high_watermark.check(node, fact, logs, matching, isr);
                anomalies.extend(passed);
                return;
            }
            _ => {}
        }
        anomalies.extend(self.min_isr.check(node, fact));
        anomalies.extend(self.committed.check(node, fact));
        anomalies.extend(truncation::check(node, fact, &self.logs));
        self.logs.see(node, fact, id_of);
        anomalies.extend(self.log_matching.check(node, fact, &self.logs));
        let (logs, matching) = (&self.logs, &self.log_matching);
        anomalies.extend(self.isr_members.check(node, fact, logs, matching));
    }

    /// Takes a record that a poll of a consumer returned, and notes what it breaks.
    pub fn delivered(
        &self,
        node: NodeId,
        partition: TopicPartition,
        offset: Offset,
        anomalies: &mut Vec<Anomaly>,
    ) {
        anomalies.extend(self.committed.delivered(node, partition, offset));
    }
}
