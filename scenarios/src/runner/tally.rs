//! What the runs of a cell add up to. Every figure is a sum, a set or a least key, so that the order
//! in which runs end changes nothing.

use super::seeds::RunKey;
use super::statistics::Histogram;
use crate::failure::{Showed, TESTBED, UNEXPLAINED};
use crate::model;
use crate::report::{Batch, Expected};
use crate::suite::CellPlan;
use everyack_sim::RunResult;
use everyack_sim::fault::FaultPlan;
use everyack_sim::mechanism::Mechanism;
use everyack_sim::result::{MessageCounts, Outcome};
use std::collections::BTreeMap;

/// Runs of a kind that are kept whole in a cell, the least keys.
const KEPT: usize = 3;

/// A run that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What it shows: a mechanism's id, `unexplained`, a check, or `testbed`.
    pub shows: String,
    /// In words, for the cell's note.
    pub what: String,
    /// Its verdict.
    pub showed: Showed,
    /// Its trace hash.
    pub trace_hash: u64,
}

/// The sum over the runs of a cell.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)] // the counts are those of report.json
pub struct Tally {
    pub runs: u64,
    pub fired: u64,
    pub exposed: u64,
    pub runs_with_loss: u64,
    pub batch: Batch,
    /// Lossy runs among the exposed ones of the batch.
    pub batch_exposed_with_loss: u64,
    pub messages: MessageCounts,
    pub losses_by_mechanism: BTreeMap<String, u64>,
    pub unavailable: Histogram,
    pub ack: Histogram,
    pub marks: BTreeMap<String, u64>,
    pub simulated_ns: u64,
    /// The first run that shows each expected mechanism.
    pub witnesses: BTreeMap<Mechanism, (RunKey, Kept)>,
    /// Runs that break the promise or an invariant; the first ones.
    pub broken: BTreeMap<RunKey, Kept>,
    pub broken_runs: u64,
    /// Runs that were not judged; the first ones.
    pub testbed: BTreeMap<RunKey, Kept>,
    pub testbed_runs: u64,
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, cell: &CellPlan, key: RunKey, plan: &FaultPlan, result: &RunResult) {
        self.runs += 1;
        self.simulated_ns += result.simulated_ns;
        let kept = |shows: &str, what: String| Kept {
            shows: shows.to_owned(),
            what,
            showed: Showed::of(result),
            trace_hash: result.trace_hash,
        };
        if result.outcome != Outcome::Finished {
            let why = match &result.outcome {
                Outcome::LimitReached(limit) => format!("a run reached its limit: {limit}"),
                Outcome::Panicked(message) => format!("a run panicked: {message}"),
                Outcome::Finished => unreachable!("asked above"),
            };
            self.testbed_runs += 1;
            keep(&mut self.testbed, key, || kept(TESTBED, why));
            return;
        }
        self.count(key, result);
        let allowed = |mechanism: Mechanism| match cell.expectation.expected {
            Expected::PerRun => {
                model::expect_run(&cell.decides, &result.faults, plan).contains(&mechanism)
            }
            _ => cell.expectation.allows(mechanism),
        };
        let mut forbidden: Option<String> = None;
        for loss in &result.losses {
            match loss.mechanism.filter(|mechanism| allowed(*mechanism)) {
                Some(mechanism) => {
                    self.count_loss(mechanism.id());
                    let first = || (key, kept(mechanism.id(), mechanism.name().to_owned()));
                    let witness = self.witnesses.entry(mechanism).or_insert_with(first);
                    if key < witness.0 {
                        *witness = first();
                    }
                }
                None => {
                    self.count_loss(UNEXPLAINED);
                    forbidden.get_or_insert_with(|| match loss.mechanism {
                        Some(mechanism) => format!(
                            "a message was lost by {mechanism} ({}), which nothing allows here",
                            mechanism.name()
                        ),
                        None => {
                            "a message was lost and nothing that happened accounts for it".into()
                        }
                    });
                }
            }
        }
        if let Some(what) = forbidden {
            self.broken_runs += 1;
            keep(&mut self.broken, key, || kept(UNEXPLAINED, what));
        } else if let Some(anomaly) = result.anomalies.first() {
            self.broken_runs += 1;
            let what = format!("{}: {}", anomaly.check, anomaly.what);
            keep(&mut self.broken, key, || kept(&anomaly.check, what));
        } else if result.messages.broken() > 0 && result.losses.is_empty() {
            self.broken_runs += 1;
            let what = "messages were lost of which the run names none".to_owned();
            keep(&mut self.broken, key, || kept(UNEXPLAINED, what));
        }
    }

    fn count(&mut self, key: RunKey, result: &RunResult) {
        let lossy = has_loss(result);
        self.fired += u64::from(result.fired);
        self.exposed += u64::from(result.exposed);
        self.runs_with_loss += u64::from(lossy);
        if matches!(key, RunKey::Batch(_)) {
            self.batch.runs += 1;
            self.batch.exposed += u64::from(result.exposed);
            self.batch.runs_with_loss += u64::from(lossy);
            self.batch_exposed_with_loss += u64::from(lossy && result.exposed);
        }
        let MessageCounts {
            sent,
            acked,
            consumed,
            lost,
            lost_on_disk,
            skipped,
            hidden,
            expired,
            duplicated,
            reordered,
            reported,
            unreported,
        } = result.messages;
        let sum = &mut self.messages;
        sum.sent += sent;
        sum.acked += acked;
        sum.consumed += consumed;
        sum.lost += lost;
        sum.lost_on_disk += lost_on_disk;
        sum.skipped += skipped;
        sum.hidden += hidden;
        sum.expired += expired;
        sum.duplicated += duplicated;
        sum.reordered += reordered;
        sum.reported += reported;
        sum.unreported += unreported;
        self.unavailable.add(result.unavailable_ms);
        for us in &result.ack_us {
            self.ack.add(u64::from(*us));
        }
        for mark in &result.marks {
            *self.marks.entry(mark.clone()).or_default() += 1;
        }
    }

    fn count_loss(&mut self, by: &str) {
        *self.losses_by_mechanism.entry(by.to_owned()).or_default() += 1;
    }

    /// Whether the family could take something in some run; what was lost, it could.
    pub fn has_been_exposed(&self) -> bool {
        self.exposed > 0 || self.runs_with_loss > 0
    }

    /// Whether this mechanism has a witness.
    pub fn has(&self, mechanism: Mechanism) -> bool {
        self.witnesses.contains_key(&mechanism)
    }
}

/// Whether a message was acknowledged and not consumed.
pub fn has_loss(result: &RunResult) -> bool {
    result.messages.broken() > 0 || !result.losses.is_empty()
}

/// Keeps the runs with the least keys.
fn keep(kept: &mut BTreeMap<RunKey, Kept>, key: RunKey, run: impl FnOnce() -> Kept) {
    let worse = kept.len() >= KEPT && kept.last_key_value().is_some_and(|(last, _)| *last < key);
    if worse {
        return;
    }
    kept.insert(key, run());
    if kept.len() > KEPT {
        kept.pop_last();
    }
}
