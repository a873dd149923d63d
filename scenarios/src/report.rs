//! The machine-readable outcome of a campaign: `report.json`, field by field.

use crate::failure::TESTBED;
use everyack_sim::mechanism::Mechanism;
use everyack_sim::result::MessageCounts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A whole campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of everyack.
    pub everyack: String,
    /// Commit it was built from, "unknown" outside a repository.
    pub commit: String,
    /// Name of the suite, or `check`.
    pub suite: String,
    /// Base of the seeds, as `0x...`.
    pub seed_base: String,
    /// What was asked for.
    pub asked: Asked,
    /// Wall-clock seconds; of several reports merged, their sum.
    pub wall_s: f64,
    /// Parallel jobs; of several reports merged, the most.
    pub jobs: usize,
    /// How fast.
    pub throughput: Throughput,
    /// Marks, by name.
    pub marks: Vec<MarkCount>,
    /// The planted bug that every campaign must catch.
    pub canary: Option<Canary>,
    /// Warnings about the input, one line each.
    pub warnings: Vec<String>,
    /// Every row of the suite, with or without cells here, in its order.
    pub rows: Vec<RowClaim>,
    /// One entry a cell, in the order of the suite.
    pub cells: Vec<Cell>,
}

impl Report {
    /// Whether witnesses, exposure and required marks are demanded: of a bundled suite, whole and at
    /// its own seeds per cell, and wherever `--strict` says so; never of an interrupted campaign.
    pub fn demanded(&self) -> bool {
        let asked = &self.asked;
        let whole = asked.parts.is_empty() && asked.budget_s.is_none();
        !asked.interrupted && (asked.strict || (asked.bundled && asked.own_seeds && whole))
    }

    /// Whether some run was not judged: it hit a limit or panicked, and was saved.
    pub fn testbed_failed(&self) -> bool {
        let mut witnesses = self.cells.iter().flat_map(|cell| &cell.witnesses);
        witnesses.any(|witness| witness.mechanism == TESTBED)
    }
}

/// What was asked for: all that decides, beside suite and seed base, what was run and how strictly it
/// is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The command without its flags for how much and where: `everyack run guide`.
    pub command: String,
    /// Of everything in the suite that a run depends on, as `0x...`: a suite that was edited has
    /// another one, whatever its name.
    pub fingerprint: String,
    /// Whether the suite is a bundled one.
    pub bundled: bool,
    /// Drawn plans a cell.
    pub seeds: u64,
    /// Whether that is the suite's own number.
    pub own_seeds: bool,
    /// Time to spread over the cells, instead of a count.
    pub budget_s: Option<f64>,
    /// Time for shrinking what is saved, at a nominal speed.
    pub shrink_budget_s: f64,
    /// The planted bug.
    pub bug: Option<String>,
    /// How requests travelled: `typed`, `bytes` or `sampled`.
    pub wire: String,
    /// Whether evidence was demanded whatever the suite.
    pub strict: bool,
    /// Whether SIGINT came before everything was run.
    pub interrupted: bool,
    /// Cells of the whole suite.
    pub suite_cells: usize,
    /// Which of them were asked for; empty where all were. Several where reports were merged that
    /// are not the whole suite together.
    pub parts: Vec<Part>,
}

/// A part of a suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `--filter`, empty without one.
    pub filter: String,
    /// `--shard`, as `2/4`.
    pub shard: Option<String>,
}

/// A row of the suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowClaim {
    /// Its name.
    pub name: String,
    /// The claim that it shows.
    pub claim: String,
}

/// How fast a campaign was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the units are in the names
pub struct Throughput {
    pub runs_per_s: f64,
    pub simulated_s_per_s: f64,
    pub messages_per_s: f64,
}

/// How many runs reached a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkCount {
    /// Its name.
    pub name: String,
    /// Whether the suite requires it.
    pub required: bool,
    /// Runs that reached it.
    pub runs: u64,
}

/// The canary's fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The planted bug.
    pub bug: String,
    /// Whether it was caught.
    pub caught: bool,
    /// Seeds it took.
    pub seeds: u64,
}

/// What the guarantee model expects of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// No acknowledged message is ever lost.
    NeverLoses,
    /// Some schedule loses one, by one of the mechanisms.
    MayLose,
    /// Computed for each run from the faults that happened (`random`).
    PerRun,
}

/// How expectation and observation compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellVerdict {
    /// Nothing was lost where nothing may be.
    Kept,
    /// A loss or an anomaly that the model forbids, or that nothing explains.
    Broken,
    /// A witness for each mechanism.
    LostAsExpected,
    /// A mechanism without a witness, in a suite that must have one.
    NoWitness,
    /// A mechanism without a witness, in a campaign too small to demand one.
    Inconclusive,
    /// No run in which the fault could have taken anything.
    NotExposed,
}

/// One cell: a row's configuration under one fault family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What tells the cell from all others of its suite.
    #[serde(default)]
    pub id: String,
    /// Its place in the suite, from 0; shards leave gaps.
    #[serde(default)]
    pub index: usize,
    /// Name of the row.
    pub row: String,
    /// What the row sets, Kafka's names.
    pub config: BTreeMap<String, String>,
    /// The consumer application.
    pub application: String,
    /// The cluster.
    pub topology: CellTopology,
    /// The fault family.
    pub faults: String,
    /// What must come out.
    pub expected: Expected,
    /// By which mechanisms it may lose.
    pub mechanisms: Vec<Mechanism>,
    /// Writes are refused meanwhile.
    pub writes_stop: bool,
    /// Reads are refused meanwhile.
    pub reads_stop: bool,
    /// What came out.
    pub verdict: CellVerdict,
    /// Why the verdict is what it is, where that needs words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Every run of the cell.
    pub runs: u64,
    /// Runs in which the family's fault struck.
    pub fired: u64,
    /// Runs in which a record was where the family could take it.
    pub exposed: u64,
    /// Runs that lost a message.
    pub runs_with_loss: u64,
    /// The fixed batch of drawn plans.
    pub batch: Batch,
    /// Lossy runs of the exposed ones of the batch.
    pub loss_rate: Option<f64>,
    /// One-sided 95 % Clopper-Pearson bound.
    pub loss_rate_upper_95: Option<f64>,
    /// The weaker twin under the same plans.
    pub twin: Option<Twin>,
    /// Id of the weaker twin, in this report or in another shard's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin_id: Option<String>,
    /// Messages of all runs, by verdict.
    pub messages: MessageCounts,
    /// Losses by mechanism; `unexplained` where none applies.
    pub losses_by_mechanism: BTreeMap<String, u64>,
    /// Longest stretch without a successful produce.
    pub unavailable_ms: Quantiles,
    /// Acknowledgement latency, modelled.
    pub ack_ms: AckQuantiles,
    /// What the configuration costs when nothing goes wrong; `null` where no run told.
    #[serde(default)]
    pub price: Option<Price>,
    /// Runs that show it.
    pub witnesses: Vec<Witness>,
}

/// The cluster of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct CellTopology {
    pub brokers: u32,
    pub controllers: u32,
}

/// The fixed batch of drawn plans, from which rates come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct Batch {
    pub runs: u64,
    pub exposed: u64,
    pub runs_with_loss: u64,
}

/// The weaker twin of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// What differs.
    pub config: BTreeMap<String, String>,
    /// Its lossy runs over the same plans.
    pub runs_with_loss: u64,
}

/// Median and maximum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct Quantiles {
    pub p50: u64,
    pub max: u64,
}

/// The price of a configuration without a fault, modelled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Acknowledgement latency at the suite's pace.
    pub ack_ms: AckQuantiles,
    /// Messages acknowledged a second where the producers send all at once; `null` with acks=0, which
    /// waits for nothing.
    pub messages_per_s: Option<f64>,
}

/// Median and 99th percentile in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct AckQuantiles {
    pub p50: f64,
    pub p99: f64,
}

/// A saved run that shows a loss, expected or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The mechanism's id, `unexplained`, or the anomaly's check.
    pub mechanism: String,
    /// Its seed, as `0x...`.
    pub seed: String,
    /// The failure file, relative to the report.
    pub spec: String,
    /// How to run it again.
    pub command: String,
    /// What shrinking left of it; `null` where it was not shrunk.
    #[serde(default)]
    pub shrunk: Option<SmallerRun>,
}

/// A witness that was shrunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmallerRun {
    /// Its file, relative to the report.
    pub spec: String,
    /// How to run it.
    pub command: String,
    /// Faults that are left.
    pub faults: u64,
    /// Messages that are left.
    pub messages: u64,
    /// Nothing more goes; otherwise the budget was used up, and `everyack shrink` does it in full.
    pub minimal: bool,
}

/// A word of a command as a POSIX shell takes it: in quotes where it has to be.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
