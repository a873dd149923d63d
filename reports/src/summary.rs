//! One sentence for a whole campaign.

use crate::cell;
use crate::matrix::Shade;
use crate::text::{counted, listed};
use everyack_scenarios::report::{Cell, CellVerdict, Report};
use everyack_scenarios::runner::{Exit, exit};

/// Name of the suite that `check` makes of the files that it was given.
pub const CHECK: &str = "check";

/// The verdict in a word or two, and its shade.
pub(crate) fn seal(report: &Report) -> (&'static str, Shade) {
    let has = |verdict: CellVerdict| report.cells.iter().any(|cell| cell.verdict == verdict);
    match exit(report) {
        Exit::Interrupted => ("INTERRUPTED", Shade::Open),
        Exit::Testbed => ("TESTBED FAILED", Shade::Missing),
        Exit::Broken if has(CellVerdict::Broken) => ("PROMISE BROKEN", Shade::Broken),
        Exit::Broken => ("EVIDENCE MISSING", Shade::Missing),
        Exit::AsPromised if has(CellVerdict::Inconclusive) || has(CellVerdict::NotExposed) => {
            ("AS PROMISED, PARTLY OPEN", Shade::Open)
        }
        Exit::AsPromised => ("AS PROMISED", Shade::Kept),
    }
}

/// The verdict in the words that suit the report: a suite's, or those of `check`.
pub fn sentence(report: &Report) -> String {
    match report.suite.as_str() {
        CHECK => check(report),
        _ => campaign(report),
    }
}

/// The verdict of a campaign: what is wrong first, else how many cells were as promised.
pub fn campaign(report: &Report) -> String {
    let n = |verdict: CellVerdict| {
        report
            .cells
            .iter()
            .filter(|cell| cell.verdict == verdict)
            .count() as u64
    };
    let cells = counted(report.cells.len() as u64, "cell");
    let lost = n(CellVerdict::LostAsExpected);
    let kept = n(CellVerdict::Kept);
    let mut parts = Vec::new();
    for (verdict, words) in [
        (CellVerdict::Broken, "broken"),
        (CellVerdict::NoWitness, "without a witness"),
        (CellVerdict::Inconclusive, "inconclusive"),
        (CellVerdict::NotExposed, "not exposed"),
    ] {
        if n(verdict) > 0 {
            parts.push(format!("{} {words}", n(verdict)));
        }
    }
    let unreached = unreached(report).len() as u64;
    if unreached > 0 {
        let marks = counted(unreached, "required mark");
        parts.push(format!("{marks} never reached"));
    }
    let as_promised =
        format!("{kept} kept every acknowledged message, {lost} lost some as theory says");
    let failed = report
        .cells
        .iter()
        .filter(|cell| cell::testbed_failed(cell))
        .count();
    if failed > 0 {
        let failed = counted(failed as u64, "cell");
        parts.insert(0, format!("the testbed itself failed in {failed}"));
    }
    if report.canary.as_ref().is_some_and(|canary| !canary.caught) {
        parts.insert(
            0,
            "the canary was not caught, so nothing here can be trusted".to_string(),
        );
    }
    match parts.is_empty() {
        true => format!("As promised: of {cells}, {as_promised}."),
        false => format!("Of {cells}, {as_promised}; {}.", parts.join(", ")),
    }
}

/// Marks that are required and demanded, and that no run reached.
pub(crate) fn unreached(report: &Report) -> Vec<&str> {
    let demanded = report.demanded();
    let marks = report.marks.iter();
    marks
        .filter(|mark| demanded && mark.required && mark.runs == 0)
        .map(|mark| mark.name.as_str())
        .collect()
}

/// The verdict of `check`: what the given configuration keeps and loses, and when.
pub fn check(report: &Report) -> String {
    let losing: Vec<&Cell> = report
        .cells
        .iter()
        .filter(|cell| cell.runs_with_loss > 0)
        .collect();
    let broken_families: Vec<String> = losing
        .iter()
        .filter(|cell| cell.verdict == CellVerdict::Broken)
        .map(|cell| with_cause(cell))
        .collect();
    let beyond: Vec<String> = losing
        .iter()
        .filter(|cell| cell.verdict != CellVerdict::Broken)
        .map(|cell| with_cause(cell))
        .collect();
    let anomalous = report
        .cells
        .iter()
        .filter(|cell| cell.verdict == CellVerdict::Broken && cell.runs_with_loss == 0);
    let anomalous: Vec<&str> = anomalous.map(family).collect();
    let kept: Vec<&str> = families(report, CellVerdict::Kept);
    let open: Vec<&str> = families(report, CellVerdict::Inconclusive)
        .into_iter()
        .chain(families(report, CellVerdict::NoWitness))
        .filter(|family| losing.iter().all(|cell| self::family(cell) != *family))
        .collect();
    let grey = families(report, CellVerdict::NotExposed);

    let mut parts = Vec::new();
    if !broken_families.is_empty() {
        parts.push(format!(
            "loses acknowledged messages under {}, which it must survive",
            listed(&broken_families)
        ));
    }
    if !beyond.is_empty() {
        parts.push(format!(
            "may lose under {}, beyond what was asked of it",
            listed(&beyond)
        ));
    }
    if !anomalous.is_empty() {
        parts.push(format!("shows anomalies under {}", listed(&anomalous)));
    }
    if !kept.is_empty() {
        parts.push(format!(
            "kept every acknowledged message under {}",
            listed(&kept)
        ));
    }
    if !open.is_empty() {
        parts.push(format!(
            "could lose in theory, and was not seen to, under {}",
            listed(&open)
        ));
    }
    if !grey.is_empty() {
        parts.push(format!("was never exposed under {}", listed(&grey)));
    }
    let canary = match &report.canary {
        Some(canary) if !canary.caught => " The canary was not caught: trust nothing of this.",
        _ => "",
    };
    if parts.is_empty() {
        return format!("Nothing was judged.{canary}");
    }
    format!("This configuration {}.{canary}", parts.join("; it "))
}

fn families(report: &Report, verdict: CellVerdict) -> Vec<&str> {
    report
        .cells
        .iter()
        .filter(|cell| cell.verdict == verdict)
        .map(family)
        .collect()
}

fn with_cause(cell: &Cell) -> String {
    match cell::seen(cell).as_slice() {
        [] => family(cell).to_string(),
        ids => format!("{} ({})", family(cell), ids.join(", ")),
    }
}

/// A family as a sentence has it: "under none" would read as its opposite.
fn family(cell: &Cell) -> &str {
    match cell.faults.as_str() {
        "none" => "no fault at all",
        family => family,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use everyack_sim::mechanism::Mechanism;

    #[test]
    fn a_campaign_names_what_is_wrong_and_never_hides_an_uncaught_canary() {
        let mut report = sample::every_kind();
        let text = campaign(&report);
        assert!(text.contains("1 broken"), "{text}");
        assert!(text.contains("1 not exposed"), "{text}");
        report.canary.as_mut().unwrap().caught = false;
        assert!(campaign(&report).contains("canary was not caught"));
    }

    #[test]
    fn a_clean_campaign_says_as_promised() {
        let mut report = sample::report(vec![
            sample::kept("acks=all", "none"),
            sample::lossy("acks=1", "leader-crash", &[Mechanism::P04], 2),
        ]);
        assert!(
            campaign(&report).ends_with("; 1 required mark never reached."),
            "unclean-election was not"
        );
        report.marks.clear();
        assert_eq!(
            campaign(&report),
            "As promised: of 2 cells, 1 kept every acknowledged message, 1 lost some as theory says."
        );
    }

    #[test]
    fn check_says_what_is_kept_and_lost_and_when() {
        let mut skips = sample::broken("the given files", "late-start");
        skips.losses_by_mechanism = std::collections::BTreeMap::from([("C12".to_string(), 12)]);
        let report = sample::report(vec![
            sample::kept("the given files", "leader-crash"),
            sample::lossy(
                "the given files",
                "cluster-power-loss",
                &[Mechanism::S02],
                4,
            ),
            skips,
        ]);
        assert_eq!(
            check(&report),
            "This configuration loses acknowledged messages under late-start (C12), which it must survive; \
             it may lose under cluster-power-loss (S02), beyond what was asked of it; \
             it kept every acknowledged message under leader-crash."
        );
    }
}
