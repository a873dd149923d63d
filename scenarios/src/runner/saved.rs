//! The runs that a campaign saves, and what shrinking leaves of them.
//!
//! Shrinking has a budget a suite, in time at a nominal speed: it is counted in events and shared out
//! evenly over the suite's cells, so that jobs, shards and the machine's own speed change nothing. A
//! cell that saves nothing leaves its share unused.

use super::{Running, Tally};
use crate::failure::Failure;
use crate::merge::replay_command;
use crate::report::{SmallerRun, Witness};
use crate::shrink::{Shrunk, shrink};
use crate::suite::CellPlan;
use std::sync::Mutex;
use std::time::Duration;

/// Events in a second of the budget; of the order of what one core takes.
const EVENTS_PER_SECOND: u64 = 2_000_000;

/// A share below this is not begun: one run may take as much.
const LEAST_SHARE: u64 = 50_000;

/// A run that is saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// As it was found.
    pub failure: Failure,
    /// What shrinking left of it; `None` where it was not shrunk.
    pub shrunk: Option<Shrunk>,
}

impl Saved {
    /// Name of its file, relative to the report.
    pub fn file(&self) -> String {
        format!("failures/{}.json", self.failure.id())
    }

    /// Name of the shrunk run's file, as `everyack shrink` would name it.
    pub fn shrunk_file(&self) -> String {
        format!("{}.shrunk.json", self.file())
    }

    /// The witness in the report, whose files lie under `out`.
    pub(super) fn witness(&self, out: &str) -> Witness {
        let command = |file: &str| replay_command(out, file);
        Witness {
            mechanism: self.failure.mechanism.clone(),
            seed: format!("0x{:016x}", self.failure.spec.seed),
            spec: self.file(),
            command: command(&self.file()),
            shrunk: self.shrunk.as_ref().map(|shrunk| SmallerRun {
                spec: self.shrunk_file(),
                command: command(&self.shrunk_file()),
                faults: shrunk.after.faults as u64,
                messages: shrunk.after.messages,
                minimal: shrunk.complete,
            }),
        }
    }
}

impl Running<'_> {
    /// The runs that each cell saves, shrunk as far as the cell's share of the budget goes.
    pub(super) fn saved(&self, tallies: &[Tally]) -> Vec<Vec<Saved>> {
        let cells = self.cells.iter().zip(tallies);
        let saved: Vec<Mutex<Vec<Saved>>> = cells
            .map(|(cell, tally)| Mutex::new(self.found(cell, tally)))
            .collect();
        let share = share(self.options.shrink, self.suite_cells);
        let with_something: Vec<&Mutex<Vec<Saved>>> = saved
            .iter()
            .filter(|saved| !saved.lock().expect("nobody else has it yet").is_empty())
            .collect();
        if share >= LEAST_SHARE {
            self.each(with_something.len() as u64, &|unit| {
                let mut saved = with_something[unit as usize]
                    .lock()
                    .expect("each unit once");
                self.shrink_all(&mut saved, share);
            });
        }
        let own = |saved: Mutex<Vec<Saved>>| saved.into_inner().expect("every thread has ended");
        saved.into_iter().map(own).collect()
    }

    /// What broke a cell first, then its witnesses.
    fn found(&self, cell: &CellPlan, tally: &Tally) -> Vec<Saved> {
        let broken = tally.broken.iter().chain(&tally.testbed);
        let broken = broken.map(|(key, kept)| (*key, kept));
        let witnesses = tally.witnesses.values().map(|(key, kept)| (*key, kept));
        let saved = broken.chain(witnesses).map(|(key, kept)| Saved {
            failure: Failure::of(
                &self.options.build,
                &self.suite.name,
                cell,
                &kept.shows,
                self.spec(cell, key),
                kept.showed.clone(),
                kept.trace_hash,
            ),
            shrunk: None,
        });
        saved.collect()
    }

    fn shrink_all(&self, saved: &mut [Saved], share: u64) {
        let run = |spec: &_| super::guarded(self.host.run, spec);
        let mut spent = 0;
        let runs = saved.len() as u64;
        for (saved, nth) in saved.iter_mut().zip(1..) {
            // What one leaves of its part falls to the next.
            let until = share * nth / runs;
            let mut go_on = |result: &everyack_sim::RunResult, _| {
                spent += result.events;
                spent < until && !self.stopped()
            };
            let shrunk = shrink(&saved.failure, &self.options.build, &run, &mut go_on);
            saved.shrunk = shrunk.filter(|shrunk| shrunk.before != shrunk.after);
        }
    }
}

/// A cell's share of the budget, in events.
fn share(budget: Duration, cells: usize) -> u64 {
    let events = budget.as_millis() as u64 * (EVENTS_PER_SECOND / 1_000);
    events / cells.max(1) as u64
}
