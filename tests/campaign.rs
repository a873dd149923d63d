//! Whole campaigns through the command line: each planted bug is caught and replays, the number of
//! jobs changes nothing, and every witness repeats.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A fresh directory for one test's output.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    #[allow(clippy::disallowed_methods)] // a test of files
    let _ = std::fs::remove_dir_all(&directory);
    directory
}

/// Runs a part of the bundled suite `guide`; exit status and report.
fn guide(out: &Path, arguments: &[&str]) -> (i32, Value) {
    run("guide", out, arguments)
}

/// Runs a part of a bundled suite; exit status and report.
fn run(suite: &str, out: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_everyack"))
        .args(["run", suite, "--quiet", "--out"])
        .arg(out)
        .args(arguments)
        .output()
        .expect("the binary was built for this test");
    let status = output.status.code().expect("it exits");
    #[allow(clippy::disallowed_methods)] // a test of files
    let report = std::fs::read(out.join("report.json")).unwrap_or_else(|e| {
        panic!(
            "no report: {e}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (status, serde_json::from_slice(&report).expect("JSON"))
}

fn cells(report: &Value) -> &Vec<Value> {
    report["cells"].as_array().expect("cells")
}

fn replay(file: &Path, arguments: &[&str]) -> i32 {
    let output = Command::new(env!("CARGO_BIN_EXE_everyack"))
        .arg("replay")
        .arg(file)
        .args(arguments)
        .output()
        .expect("the binary was built for this test");
    output.status.code().expect("it exits")
}

/// A planted bug breaks a cell that theory calls safe; what it saved shows it again.
fn caught(bug: &str, filter: &str) {
    let out = directory(&format!("bug-{bug}"));
    let (sane, report) = guide(&out, &["--seeds", "60", "--filter", filter]);
    assert_eq!(sane, 0, "{filter} holds without the bug: {report}");
    let (status, report) = guide(&out, &["--seeds", "60", "--filter", filter, "--bug", bug]);
    assert_eq!(status, 1, "{bug} is not caught by {filter}");
    let broken = cells(&report)
        .iter()
        .find(|cell| cell["verdict"] == "broken")
        .unwrap_or_else(|| panic!("{bug}: exit 1 without a broken cell"));
    let spec = broken["witnesses"][0]["spec"].as_str().expect("a file");
    assert_eq!(
        replay(&out.join(spec), &[]),
        0,
        "{bug}: {spec} shows it again"
    );
}

#[test]
fn ack_before_replication_is_caught() {
    caught("ack-before-replication", "row=acks=all,faults=leader-crash");
}

#[test]
fn truncate_to_high_watermark_is_caught() {
    caught(
        "truncate-to-high-watermark",
        "row=acks=all,faults=leader-move",
    );
}

#[test]
fn ignore_min_isr_is_caught() {
    caught(
        "ignore-min-isr",
        "row=acks=all,faults=leader-cut-from-followers",
    );
}

#[test]
fn skip_flush_is_caught() {
    caught(
        "skip-flush",
        "row=flush every message,faults=cluster-power-loss",
    );
}

#[test]
fn commit_before_processing_in_poll_is_caught() {
    caught(
        "commit-before-processing-in-poll",
        "application=auto-commit,faults=consumer-crash",
    );
}

/// Races of elections: what each check of Kafka's is there for comes about within some dozens of drawn
/// plans, and without a bug nothing breaks.
#[test]
fn bugs_of_elections_are_caught_by_records_metadata_and_proposals_that_are_late() {
    let out = directory("elections");
    let some = ["--seeds", "36", "--filter", "acks=1"];
    let (sane, report) = run("elections", &out, &some);
    assert_eq!(sane, 0, "it holds without a bug: {report}");
    for (bug, by) in [
        ("stale-follower-state-on-election", "high-watermark"),
        ("no-partition-epoch-check", "isr-members"),
        ("epoch-end-naive", "copies"),
    ] {
        let arguments = [&some[..], &["--bug", bug]].concat();
        let (status, report) = run("elections", &out, &arguments);
        assert_eq!(status, 1, "{bug} is not caught");
        let note = cells(&report)[0]["note"].as_str().expect("what broke it");
        assert!(note.starts_with(by), "{bug}: {note}");
    }
}

#[test]
fn two_reports_of_the_same_work_are_equal_but_for_time_and_jobs() {
    let report = |jobs: &str| {
        let out = directory(&format!("jobs-{jobs}"));
        let arguments = [
            "--seeds",
            "20",
            "--filter",
            "faults=leader-crash",
            "--jobs",
            jobs,
        ];
        let (status, mut report) = guide(&out, &arguments);
        assert_eq!(status, 0);
        for field in ["wall_s", "jobs", "throughput"] {
            let removed = report.as_object_mut().expect("an object").remove(field);
            assert!(removed.is_some(), "{field} is reported");
        }
        // The commands name the directory, which differs here.
        let text = report.to_string();
        text.replace(&format!("jobs-{jobs}"), "jobs")
    };
    assert_eq!(report("1"), report("2"));
}

#[test]
fn every_witness_repeats_in_a_new_process_typed_and_as_bytes() {
    let out = directory("witnesses");
    let (status, report) = guide(&out, &["--seeds", "30", "--filter", "row=acks=1"]);
    assert_eq!(status, 0);
    let witnesses = || {
        let cells = cells(&report).iter();
        cells.flat_map(|cell| cell["witnesses"].as_array().expect("witnesses"))
    };
    let found = witnesses().map(|witness| witness["spec"].as_str().expect("a file"));
    let shrunk = witnesses().filter_map(|witness| witness["shrunk"]["spec"].as_str());
    let (found, shrunk): (Vec<&str>, Vec<&str>) = (found.collect(), shrunk.collect());
    assert!(found.len() >= 3, "acks=1 loses in three ways: {found:?}");
    assert!(shrunk.len() >= 3, "within the budget: {shrunk:?}");
    let files = found.into_iter().chain(shrunk);
    for file in files {
        for wire in ["typed", "bytes"] {
            let status = replay(&out.join(file), &["--wire", wire]);
            assert_eq!(status, 0, "{file} as {wire}");
        }
    }
}

#[test]
fn a_failure_is_shrunk_to_what_matters_and_fails_alike() {
    let out = directory("shrink");
    let filter = ["--seeds", "5", "--filter", "row=acks=1,faults=leader-move"];
    let arguments = [&filter[..], &["--shrink-budget", "0s"]].concat();
    let (status, report) = guide(&out, &arguments);
    assert_eq!(status, 0);
    let witness = &cells(&report)[0]["witnesses"][0];
    assert!(witness["shrunk"].is_null(), "{witness}");
    let file = out.join(witness["spec"].as_str().expect("a file"));
    let shrink = |file: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_everyack"))
            .args(["shrink", "--quiet"])
            .arg(file)
            .output()
            .expect("the binary was built for this test");
        (
            output.status.code(),
            String::from_utf8(output.stdout).expect("UTF-8"),
        )
    };
    let (status, told) = shrink(&file);
    assert_eq!(status, Some(0), "{told}");
    assert!(
        told.contains("nothing more goes") && told.contains("acks=1"),
        "{told}"
    );
    let smaller = PathBuf::from(format!("{}.shrunk.json", file.display()));
    assert_eq!(replay(&smaller, &[]), 0);
    let read = |file: &Path| -> Value {
        #[allow(clippy::disallowed_methods)] // a test of files
        let text = std::fs::read(file).expect("it was written");
        serde_json::from_slice(&text).expect("JSON")
    };
    let (found, mut left) = (read(&file), read(&smaller));
    assert_eq!(found["mechanism"], left["mechanism"]);
    let lines = |failure: &Value| failure["story"].as_array().map_or(0, Vec::len);
    assert!(
        lines(&left) > 0 && found["story"] != left["story"],
        "its own story"
    );
    let messages = |failure: &Value| failure["spec"]["workload"]["messages_per_producer"].as_u64();
    assert!(messages(&left) < messages(&found), "{left}");
    assert_eq!(left["spec"]["properties"]["producer"]["acks"], "1");
    // With acks=all it does not fail at all.
    left["spec"]["properties"]["producer"]["acks"] = "all".into();
    let safe = out.join("safe.json");
    #[allow(clippy::disallowed_methods)] // a test of files
    std::fs::write(&safe, left.to_string()).expect("a file");
    assert_eq!(shrink(&safe).0, Some(1));
}

/// What theory says of a cell and what its runs show agree on whether it loses: of the suite `table`
/// every seventieth cell here, all of them where the gate runs the suite.
#[test]
fn theory_and_runs_agree_on_what_loses() {
    let out = directory("table");
    let output = Command::new(env!("CARGO_BIN_EXE_everyack"))
        .args(["run", "table", "--quiet", "--strict", "--shard", "3/70"])
        .args(["--shrink-budget", "0s", "--out"])
        .arg(&out)
        .output()
        .expect("the binary was built for this test");
    assert_eq!(output.status.code(), Some(0));
    #[allow(clippy::disallowed_methods)] // a test of files
    let report = std::fs::read(out.join("report.json")).expect("it was written");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let agree = |cell: &&Value| {
        let may_lose = cell["expected"] == "may-lose";
        let lost = cell["runs_with_loss"].as_u64().expect("a count") > 0;
        may_lose == lost
    };
    let cells = cells(&report);
    let lossy = cells.iter().filter(|cell| cell["expected"] == "may-lose");
    let lossy = lossy.count();
    assert!(
        lossy > 3 && cells.len() - lossy > 3,
        "{lossy} of {}",
        cells.len()
    );
    assert_eq!(cells.iter().filter(agree).count(), cells.len());
}
