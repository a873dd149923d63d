//! From what the runs of a cell add up to, to the cell's verdict and the exit status.

use super::tally::Tally;
use crate::failure::TESTBED;
use crate::report::{Cell, CellVerdict, Expected, MarkCount, Report};
use crate::suite::CellPlan;
use everyack_sim::mechanism::Mechanism;

/// How a campaign ends: the exit status of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every cell as promised.
    AsPromised = 0,
    /// A promise was broken; or, where they are judged, a witness, an exposed run or a required
    /// mark is missing.
    Broken = 1,
    /// The testbed failed: a run hit its limit or panicked, or the canary was not caught.
    Testbed = 3,
    /// SIGINT.
    Interrupted = 130,
}

impl Exit {
    /// The status of the process.
    pub fn code(self) -> i32 {
        self as i32
    }
}

/// How strictly cells are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judging {
    /// Witnesses, exposure and required marks are demanded: a bundled suite, whole and at its own
    /// seeds per cell, or `--strict`.
    pub demanded: bool,
    /// The family must be survived whatever the model expects.
    pub tolerated: bool,
}

/// A cell's verdict, and why, where that needs words.
pub fn verdict(cell: &CellPlan, tally: &Tally, judging: Judging) -> (CellVerdict, String) {
    if let Some(first) = tally.broken.values().next() {
        return (CellVerdict::Broken, first.what.clone());
    }
    if judging.tolerated && tally.runs_with_loss > 0 {
        let by: Vec<&str> = tally
            .losses_by_mechanism
            .keys()
            .map(String::as_str)
            .collect();
        let note = format!("must be survived, and lost by {}", by.join(", "));
        return (CellVerdict::Broken, note);
    }
    if let Some(first) = tally.testbed.values().next() {
        return (CellVerdict::Inconclusive, first.what.clone());
    }
    if tally.runs == 0 {
        return (CellVerdict::Inconclusive, "no run".to_owned());
    }
    if !tally.has_been_exposed() {
        let note = match tally.fired {
            0 => "the fault never struck",
            _ => "no record was where the fault could take it",
        };
        return (CellVerdict::NotExposed, note.to_owned());
    }
    let missing: Vec<&str> = missing(cell, tally)
        .into_iter()
        .map(Mechanism::id)
        .collect();
    match (cell.expectation.expected, missing.is_empty()) {
        (Expected::MayLose, false) => {
            let note = format!("no run shows {}", missing.join(", "));
            (without_witness(judging.demanded), note)
        }
        _ if tally.runs_with_loss > 0 => (CellVerdict::LostAsExpected, String::new()),
        _ => (CellVerdict::Kept, String::new()),
    }
}

/// Expected mechanisms without a witness.
pub fn missing(cell: &CellPlan, tally: &Tally) -> Vec<Mechanism> {
    let expected = cell.expectation.mechanisms.iter().copied();
    expected
        .filter(|mechanism| !tally.has(*mechanism))
        .collect()
}

/// Judges the missing witnesses of a cell again, whose verdict was given in a part of a campaign: as a
/// whole it may demand what its parts could not. Everything else that decides a verdict is the
/// cell's own, and cells are never split.
pub fn judged_again(cell: &mut Cell, demanded: bool) {
    let undecided = matches!(
        cell.verdict,
        CellVerdict::NoWitness | CellVerdict::Inconclusive
    );
    let testbed = cell.witnesses.iter().any(|w| w.mechanism == TESTBED);
    if undecided && cell.runs > 0 && !testbed {
        cell.verdict = without_witness(demanded);
    }
}

fn without_witness(demanded: bool) -> CellVerdict {
    match demanded {
        true => CellVerdict::NoWitness,
        false => CellVerdict::Inconclusive,
    }
}

/// The exit status. A testbed that failed comes before what it found; an interrupt before both.
pub fn exit(report: &Report) -> Exit {
    let demanded = report.demanded();
    let broken = |cell: &Cell| match cell.verdict {
        CellVerdict::Broken => true,
        CellVerdict::NoWitness | CellVerdict::NotExposed => demanded,
        CellVerdict::Inconclusive => false,
        CellVerdict::Kept | CellVerdict::LostAsExpected => false,
    };
    let unreached = |mark: &MarkCount| demanded && mark.required && mark.runs == 0;
    let canary_missed = report.canary.as_ref().is_none_or(|canary| !canary.caught);
    if report.asked.interrupted {
        Exit::Interrupted
    } else if report.testbed_failed() || canary_missed {
        Exit::Testbed
    } else if report.cells.iter().any(broken) || report.marks.iter().any(unreached) {
        Exit::Broken
    } else {
        Exit::AsPromised
    }
}
