//! What comes out of a run: plain data.

use crate::mechanism::Mechanism;
use serde::{Deserialize, Serialize};

/// The outcome of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// How the run ended.
    pub outcome: Outcome,
    /// Messages by verdict.
    pub messages: MessageCounts,
    /// Every acknowledged message that was not consumed, and how it was lost.
    pub losses: Vec<Loss>,
    /// Broken invariants and histories, one sentence each; none in a correct build.
    pub anomalies: Vec<Anomaly>,
    /// The faults that struck, in order.
    pub faults: Vec<StruckFault>,
    /// The plan's own faults struck, as the family demands.
    pub fired: bool,
    /// A record was where the family could take it.
    pub exposed: bool,
    /// Points worth reaching that this run reached, sorted.
    pub marks: Vec<String>,
    /// Time without a successful produce while one was pending, longest stretch, in milliseconds.
    pub unavailable_ms: u64,
    /// Acknowledgement latencies in microseconds, sorted.
    pub ack_us: Vec<u32>,
    /// Hash over every step and fact.
    pub trace_hash: u64,
    /// Simulated nanoseconds.
    pub simulated_ns: u64,
    /// Requests delivered.
    pub requests: u64,
    /// Kernel events.
    pub events: u64,
    /// What happened, as far as the spec's `record` asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub story: Vec<StoryLine>,
    /// Hash after every step, with `record: full`, to find where two runs part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepRecord>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Judged.
    Finished,
    /// A limit of the spec was reached: which.
    LimitReached(String),
    /// The testbed panicked: its message.
    Panicked(String),
}

/// Messages by verdict. Duplicates and reordering are counted apart from the verdicts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the verdicts are those of report.json
pub struct MessageCounts {
    pub sent: u64,
    pub acked: u64,
    pub consumed: u64,
    pub lost: u64,
    pub lost_on_disk: u64,
    pub skipped: u64,
    pub hidden: u64,
    pub expired: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub reported: u64,
    pub unreported: u64,
}

impl MessageCounts {
    /// Messages that break the promise "acked implies eventually consumed".
    pub fn broken(&self) -> u64 {
        self.lost + self.lost_on_disk + self.skipped + self.hidden
    }
}

/// How the promise was broken for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum LossVerdict {
    /// In no replica's log.
    Lost,
    /// Not in the leader's log, but in that of another replica.
    LostOnDisk,
    /// Readable, but the group went past it.
    Skipped,
    /// Durable, never visible.
    Hidden,
}

/// One acknowledged message that was not consumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Producer (from 0).
    pub producer: u32,
    /// Number of the message at that producer (from 0).
    pub sequence: u32,
    /// Partition.
    pub partition: i32,
    /// Offset that the producer was told, -1 for none.
    pub offset: i64,
    /// How.
    pub verdict: LossVerdict,
    /// Why, from the events alone; `None` is unexplained.
    pub mechanism: Option<Mechanism>,
}

/// A broken invariant or history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// Which check, in kebab case.
    pub check: String,
    /// What it saw, one sentence.
    pub what: String,
}

/// A fault that struck.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StruckFault {
    /// Its index in the plan.
    pub fault: usize,
    /// Simulated microseconds since the start of the run.
    pub at_us: u64,
    /// The nodes that its role was bound to.
    pub nodes: Vec<u32>,
    /// Records were then where it could take them.
    pub exposed: bool,
}

/// One line of the story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryLine {
    /// Simulated microseconds since the start of the run.
    pub at_us: u64,
    /// Who, "broker 1" or "producer 0".
    pub who: String,
    /// What, a sentence.
    pub what: String,
}

/// One step of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Number of the step.
    pub step: u64,
    /// Simulated nanoseconds.
    pub at_ns: u64,
    /// Node.
    pub node: u32,
    /// What it was given.
    pub input: String,
    /// Trace hash after it.
    pub hash: u64,
}
