//! `junit.xml`: a test suite a row, a test case a cell. It carries no timestamps, durations or
//! random ids, so that the same work gives the same bytes.

use crate::cell;
use everyack_scenarios::failure::TESTBED;
use everyack_scenarios::report::{Cell, CellVerdict, Report};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

/// The whole file. `demanding` says that witnesses and exposure are demanded of this campaign: a
/// cell without them is then a failure, else it counts as skipped.
pub fn render(report: &Report, demanding: bool) -> String {
    let mut out = quick_junit::Report::new(format!("everyack {}", report.suite));
    let mut rows: Vec<String> = Vec::new();
    let labels: Vec<String> = report
        .cells
        .iter()
        .map(|cell| cell::row_label(cell, &report.cells))
        .collect();
    for label in &labels {
        if !rows.contains(label) {
            rows.push(label.clone());
        }
    }
    for row in rows {
        let mut suite = TestSuite::new(row.as_str());
        for (cell, label) in report.cells.iter().zip(&labels) {
            if *label == row {
                suite.add_test_case(test_case(cell, &row, demanding));
            }
        }
        out.add_test_suite(suite);
    }
    if let Some(suite) = campaign_checks(report, demanding) {
        out.add_test_suite(suite);
    }
    out.to_string()
        .expect("a report in memory always serialises")
}

fn test_case(cell: &Cell, row: &str, demanding: bool) -> TestCase {
    let evidence = evidence(cell);
    let status = if cell::testbed_failed(cell) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status
            .set_type(TESTBED)
            .set_message(message(cell))
            .set_description(evidence.as_str());
        status
    } else if cell::fails(cell, demanding) {
        failure(verdict_word(cell), &message(cell), &evidence)
    } else if matches!(
        cell.verdict,
        CellVerdict::NotExposed | CellVerdict::Inconclusive
    ) {
        let mut skipped = TestCaseStatus::skipped();
        skipped.set_message(message(cell));
        skipped
    } else {
        TestCaseStatus::success()
    };
    let mut case = TestCase::new(cell.faults.as_str(), status);
    case.set_classname(row);
    if matches!(
        case.status,
        TestCaseStatus::Success { .. } | TestCaseStatus::Skipped { .. }
    ) {
        case.set_system_out(evidence);
    }
    case
}

/// What belongs to no cell: the canary, and the marks that the suite requires.
fn campaign_checks(report: &Report, demanding: bool) -> Option<TestSuite> {
    let mut suite = TestSuite::new("campaign");
    if let Some(canary) = &report.canary {
        let status = if canary.caught {
            TestCaseStatus::success()
        } else {
            let message = format!("the planted bug {} was not caught", canary.bug);
            failure("canary", &message, &message)
        };
        suite.add_test_case(TestCase::new("canary", status));
    }
    for mark in report.marks.iter().filter(|mark| mark.required) {
        let status = match (mark.runs, demanding) {
            (0, true) => failure("mark", "required, and reached by no run", &mark.name),
            (0, false) => {
                let mut skipped = TestCaseStatus::skipped();
                skipped.set_message("reached by no run, and not demanded of this campaign");
                skipped
            }
            _ => TestCaseStatus::success(),
        };
        suite.add_test_case(TestCase::new(format!("mark {}", mark.name), status));
    }
    (!suite.test_cases.is_empty()).then_some(suite)
}

fn failure(kind: &str, message: &str, description: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status
        .set_type(kind)
        .set_message(message)
        .set_description(description);
    status
}

fn verdict_word(cell: &Cell) -> &'static str {
    match cell.verdict {
        CellVerdict::Kept => "kept",
        CellVerdict::Broken => "broken",
        CellVerdict::LostAsExpected => "lost-as-expected",
        CellVerdict::NoWitness => "no-witness",
        CellVerdict::Inconclusive => "inconclusive",
        CellVerdict::NotExposed => "not-exposed",
    }
}

fn message(cell: &Cell) -> String {
    format!(
        "{}: expected: {}; seen: {}",
        verdict_word(cell),
        cell::expectation(cell),
        cell::observation(cell)
    )
}

fn evidence(cell: &Cell) -> String {
    let mut lines = vec![
        message(cell),
        format!("configuration: {}", cell::configuration(cell)),
    ];
    lines.extend(cell::rate(cell));
    if !cell.note.is_empty() {
        lines.push(cell.note.clone());
    }
    for witness in &cell.witnesses {
        lines.push(format!(
            "{} seed {}: {}",
            witness.mechanism, witness.seed, witness.command
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_broken_cell_fails_with_its_evidence_and_the_command_that_replays_it() {
        let xml = render(&sample::every_kind(), true);
        assert!(xml.contains("<failure"), "{xml}");
        assert!(xml.contains(r#"type="broken""#), "{xml}");
        assert!(
            xml.contains("everyack replay everyack-out/failures/unexplained-rolling-crash.json")
        );
        assert_eq!(xml.matches(r#"type="broken""#).count(), 1);
    }

    #[test]
    fn missing_exposure_is_skipped_unless_witnesses_are_demanded() {
        let report = sample::every_kind();
        let lenient = render(&report, false);
        let strict = render(&report, true);
        assert!(lenient.contains("<skipped"), "{lenient}");
        assert!(strict.contains(r#"type="not-exposed""#), "{strict}");
        assert!(strict.contains(r#"type="mark""#) && !lenient.contains(r#"type="mark""#));
    }

    #[test]
    fn the_same_report_gives_the_same_bytes_whatever_the_clock_says() {
        let mut other = sample::every_kind();
        (other.wall_s, other.jobs) = (999.0, 64);
        let xml = render(&sample::every_kind(), true);
        assert_eq!(xml, render(&other, true));
        for volatile in ["timestamp=", "uuid=", " time="] {
            assert!(!xml.contains(volatile), "{volatile} in {xml}");
        }
    }

    #[test]
    fn a_cell_in_which_the_testbed_failed_is_an_error_and_not_a_verdict() {
        let mut cell = sample::kept("acks=all", "none");
        cell.witnesses = vec![sample::witness(TESTBED, "none")];
        let xml = render(&sample::report(vec![cell]), false);
        assert!(
            xml.contains(r#"type="testbed""#) && xml.contains("<error"),
            "{xml}"
        );
    }

    #[test]
    fn an_uncaught_canary_fails() {
        let mut report = sample::report(vec![sample::kept("acks=all", "none")]);
        assert!(!render(&report, false).contains("<failure"));
        report.canary.as_mut().unwrap().caught = false;
        assert!(render(&report, false).contains("was not caught"));
    }
}
