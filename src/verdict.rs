//! From a report to an exit status.

use crate::exit::Status;
use everyack_reports::cell;
use everyack_scenarios::report::Report;

/// What beside the report decides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    /// Witnesses, exposure and required marks are demanded: a bundled suite, whole and at its own
    /// number of seeds, or `--strict`.
    pub demanding: bool,
    /// SIGINT ended the campaign early.
    pub interrupted: bool,
    /// Runs that diverged, hit a limit or panicked.
    pub failed_runs: u64,
}

/// The exit status of a campaign. A testbed that failed outranks what it claims to have seen.
pub fn status(report: &Report, circumstances: Circumstances) -> Status {
    let canary_missed = report.canary.as_ref().is_some_and(|canary| !canary.caught);
    let broken = report
        .cells
        .iter()
        .any(|cell| cell::fails(cell, circumstances.demanding));
    let mark_missed = report
        .marks
        .iter()
        .any(|mark| mark.required && mark.runs == 0);
    if circumstances.interrupted {
        Status::Interrupted
    } else if canary_missed || circumstances.failed_runs > 0 {
        Status::TestbedFailed
    } else if broken || (circumstances.demanding && mark_missed) {
        Status::Broken
    } else {
        Status::AsPromised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report with one cell of this verdict, read as a script would write it.
    fn report(verdict: &str) -> Report {
        let cell = serde_json::json!({
            "row": "r", "config": {}, "application": "a",
            "topology": { "brokers": 3, "controllers": 1 }, "faults": "none",
            "expected": "may-lose", "mechanisms": ["P04"], "writes_stop": false, "reads_stop": false,
            "verdict": verdict, "runs": 1, "fired": 1, "exposed": 1, "runs_with_loss": 0,
            "batch": { "runs": 1, "exposed": 1, "runs_with_loss": 0 },
            "loss_rate": null, "loss_rate_upper_95": null, "twin": null,
            "messages": { "sent": 1, "acked": 1, "consumed": 1, "lost": 0, "lost_on_disk": 0,
                "skipped": 0, "hidden": 0, "expired": 0, "duplicated": 0, "reordered": 0,
                "reported": 0, "unreported": 0 },
            "losses_by_mechanism": {}, "unavailable_ms": { "p50": 0, "max": 0 },
            "ack_ms": { "p50": 0.0, "p99": 0.0 }, "witnesses": []
        });
        serde_json::from_value(serde_json::json!({
            "everyack": "0", "commit": "c", "suite": "s", "seed_base": "0x0", "wall_s": 0.0, "jobs": 1,
            "throughput": { "runs_per_s": 0.0, "simulated_s_per_s": 0.0, "messages_per_s": 0.0 },
            "marks": [{ "name": "m", "required": true, "runs": 1 }],
            "canary": { "bug": "b", "caught": true, "seeds": 1 }, "warnings": [], "cells": [cell]
        }))
        .unwrap()
    }

    const DEMANDING: Circumstances = Circumstances {
        demanding: true,
        interrupted: false,
        failed_runs: 0,
    };

    #[test]
    fn a_broken_promise_fails_always_and_missing_evidence_where_it_is_demanded() {
        let lenient = Circumstances::default();
        for (verdict, lenient_status, demanding_status) in [
            ("kept", 0, 0),
            ("lost-as-expected", 0, 0),
            ("broken", 1, 1),
            ("no-witness", 1, 1),
            ("inconclusive", 0, 1),
            ("not-exposed", 0, 1),
        ] {
            let report = report(verdict);
            assert_eq!(status(&report, lenient).code(), lenient_status, "{verdict}");
            assert_eq!(
                status(&report, DEMANDING).code(),
                demanding_status,
                "{verdict}"
            );
        }
    }

    #[test]
    fn a_required_mark_that_no_run_reached_fails_where_it_is_demanded() {
        let mut report = report("kept");
        report.marks[0].runs = 0;
        assert_eq!(
            status(&report, Circumstances::default()),
            Status::AsPromised
        );
        assert_eq!(status(&report, DEMANDING), Status::Broken);
        report.marks[0].required = false;
        assert_eq!(status(&report, DEMANDING), Status::AsPromised);
    }

    #[test]
    fn a_testbed_that_failed_outranks_its_own_verdicts() {
        let mut report = report("broken");
        let failed = Circumstances {
            failed_runs: 1,
            ..DEMANDING
        };
        assert_eq!(status(&report, failed), Status::TestbedFailed);
        report.canary.as_mut().unwrap().caught = false;
        assert_eq!(status(&report, DEMANDING), Status::TestbedFailed);
        let interrupted = Circumstances {
            interrupted: true,
            ..DEMANDING
        };
        assert_eq!(status(&report, interrupted), Status::Interrupted);
    }
}
