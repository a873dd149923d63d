//! `report` from outside: shards merged are what one run gives, and what cannot be merged is refused.

#![allow(clippy::disallowed_methods)] // a test of files reads and writes them

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A suite of a few cells and runs: what acks=1 loses, and what acks=all does not.
const SUITE: &str = r#"
name = "small"
seeds = 4
search = 4
required-marks = ["leader-elected"]

[workload]
producers = 2
consumers = 2
messages = 60
processing-us = 1000

[shortened.broker]
"broker.session.timeout.ms" = 3000
"broker.heartbeat.interval.ms" = 500
"replica.lag.time.max.ms" = 3000
"offsets.topic.num.partitions" = 1

[[row]]
name = "acks=1"
claim = "it <waits> for the leader alone"
faults = ["none", "leader-crash", "leader-move"]
broker."default.replication.factor" = 3
producer."acks" = "1"
consumer."auto.offset.reset" = "earliest"

[[row]]
name = "acks=all"
claim = "it waits for the ISR"
faults = ["none", "leader-crash", "leader-move"]
twin = "acks=1"
broker."default.replication.factor" = 3
broker."min.insync.replicas" = 2
producer."acks" = "all"
consumer."auto.offset.reset" = "earliest"
"#;

/// A directory of this test's own, empty but for the suite.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("cargo's own directory takes another");
    fs::write(directory.join("small.toml"), SUITE).expect("it takes files");
    directory
}

fn everyack(directory: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_everyack"))
        .args(line.split_whitespace())
        .current_dir(directory)
        .env("CI", "true")
        .env_remove("GITHUB_STEP_SUMMARY")
        .output()
        .expect("the binary was built for this test")
}

fn status(directory: &Path, line: &str) -> i32 {
    let output = everyack(directory, line);
    let status = output.status.code().expect("it exits");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(status != 2 && status != 3, "{line}: {stderr}");
    status
}

fn text(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The report but for what may differ.
fn report(directory: &Path, name: &str) -> Value {
    let mut report: Value = serde_json::from_str(&text(directory, name)).expect("JSON");
    for field in ["wall_s", "jobs", "throughput"] {
        let removed = report.as_object_mut().expect("an object").remove(field);
        assert!(removed.is_some(), "{field} is reported");
    }
    report
}

/// Names and texts of the saved runs.
fn failures(directory: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(directory.join("failures")).expect("failures/");
    let mut files: Vec<(String, String)> = files
        .map(|file| {
            let path = file.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("a failure file");
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                text,
            )
        })
        .collect();
    files.sort();
    files
}

/// One run and four shards of it under these flags, merged from the folder `all`.
fn one_run_and_four_shards(name: &str, flags: &str) -> (PathBuf, i32, i32) {
    let own = directory(name);
    let whole = status(&own, &format!("run small.toml {flags} --quiet --out all"));
    fs::rename(own.join("all"), own.join("whole")).expect("it is there");
    for shard in 1..=4 {
        let line =
            format!("run small.toml {flags} --quiet --shard {shard}/4 --jobs 1 --out {shard}");
        let part = status(&own, &line);
        assert!(part == 0 || part == 1, "{shard}/4: {part}");
    }
    let merged = status(&own, "report 1 2 3 4 --out all");
    (own, whole, merged)
}

#[test]
fn four_shards_merge_to_what_one_run_gives() {
    for (name, flags, ends) in [
        ("shards-kept", "", 0),
        ("shards-strict", "--strict", 0),
        (
            "shards-broken",
            "--bug ack-before-replication --seeds 12",
            1,
        ),
    ] {
        let (own, whole, merged) = one_run_and_four_shards(name, flags);
        assert_eq!((whole, merged), (ends, ends), "{name}");
        assert_eq!(
            report(&own, "whole/report.json"),
            report(&own, "all/report.json"),
            "{name}"
        );
        assert_eq!(
            text(&own, "whole/junit.xml"),
            text(&own, "all/junit.xml"),
            "{name}"
        );
        let saved = failures(&own.join("whole"));
        assert!(!saved.is_empty(), "{name}: acks=1 loses");
        assert_eq!(saved, failures(&own.join("all")), "{name}");
        // The commands in the merged report name files that are there and show what they showed.
        let report = report(&own, "all/report.json");
        let witness = report["cells"]
            .as_array()
            .expect("cells")
            .iter()
            .find_map(|cell| cell["witnesses"][0]["shrunk"]["command"].as_str())
            .expect("a witness that was shrunk");
        let replay = witness.strip_prefix("everyack ").expect("a command");
        assert_eq!(status(&own, replay), 0, "{witness}");
    }
}

#[test]
fn a_result_alone_renders_again_to_itself_with_its_page() {
    let own = directory("again");
    assert_eq!(
        status(&own, "run small.toml --seeds 2 --quiet --out one"),
        0
    );
    let before =
        ["report.json", "junit.xml", "index.html"].map(|file| text(&own.join("one"), file));
    assert_eq!(status(&own, "report one --out one"), 0);
    let after = ["report.json", "junit.xml", "index.html"].map(|file| text(&own.join("one"), file));
    assert_eq!(before, after);
    let page = &after[2];
    assert!(
        page.contains("it &lt;waits&gt; for the leader alone"),
        "{page}"
    );
    assert!(
        page.contains("Its story</summary>"),
        "a loss is told: {page}"
    );
    assert!(
        page.contains("everyack run small.toml --seed-base 0x"),
        "{page}"
    );
}

/// What `report` says of directories that it cannot merge: one line, and nothing is written.
fn refused(own: &Path, line: &str, says: &[&str]) {
    let output = everyack(own, line);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{line}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{line}: {stderr}");
    assert!(output.stdout.is_empty(), "{line}");
    for word in says {
        assert!(stderr.contains(word), "{line}: {word} in {stderr}");
    }
    assert!(!own.join("merged").exists(), "{line} wrote something");
}

#[test]
fn directories_that_are_not_one_campaign_are_refused_in_one_line() {
    let own = directory("refused");
    let filter = "--filter faults=leader-crash";
    for (flags, out) in [
        ("--seeds 2 --shard 2/2", "1"),
        ("--seeds 2 --shard 1/2", "2"),
        ("--seeds 3 --shard 1/2", "seeds"),
        ("--seeds 2 --shard 1/2 --seed-base 8", "base"),
    ] {
        let line = format!("run small.toml {filter} {flags} --quiet --out {out}");
        assert_eq!(status(&own, &line), 0, "{line}");
    }
    refused(
        &own,
        "report 1 1 --out merged",
        &[
            "1/report.json: cells: acks=1/leader-crash",
            "1/report.json too",
        ],
    );
    refused(
        &own,
        "report 1 seeds --out merged",
        &["seeds/report.json: asked.seeds: found 3, allowed is 2"],
    );
    refused(
        &own,
        "report 1 base --out merged",
        &["base/report.json: seed_base: found 0x8"],
    );
    refused(
        &own,
        "report 1 2 --out 2",
        &["--out 2", "allowed is another"],
    );
    refused(
        &own,
        "report 1 nowhere --out merged",
        &["nowhere/report.json: cannot be read"],
    );
    refused(&own, "report --out merged", &["<DIR>"]);

    fs::create_dir_all(own.join("half/failures")).unwrap();
    let report = text(&own, "2/report.json");
    fs::write(own.join("half/report.json"), &report[..report.len() / 2]).unwrap();
    refused(
        &own,
        "report 1 half --out merged",
        &["half/report.json: found", "allowed is a report.json"],
    );

    let (saved, _) = failures(&own.join("1"))
        .into_iter()
        .next()
        .expect("acks=1 loses");
    fs::write(own.join("1/failures").join(&saved), "{}").unwrap();
    refused(
        &own,
        "report 1 2 --out merged",
        &[&saved, "allowed is a failure file"],
    );
    fs::remove_file(own.join("1/failures").join(&saved)).unwrap();
    refused(&own, "report 1 2 --out merged", &[&saved, "cannot be read"]);
}

#[test]
fn github_gets_a_summary_of_every_command_and_annotations_of_what_broke() {
    let own = directory("github");
    let summary = own.join("summary.md");
    fs::write(&summary, "what stood there\n").unwrap();
    let told = |line: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_everyack"))
            .args(line.split_whitespace())
            .current_dir(&own)
            .env("CI", "true")
            .env("GITHUB_STEP_SUMMARY", &summary)
            .output()
            .expect("the binary was built for this test");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        (output.status.code(), output.stdout, stderr)
    };
    let run = "run small.toml --filter faults=leader-crash --bug ack-before-replication --seeds 12 \
               --quiet --github --format json --out broken";
    let (status, stdout, stderr) = told(run);
    assert_eq!(status, Some(1), "{stderr}");
    assert!(
        serde_json::from_slice::<Value>(&stdout).is_ok(),
        "stdout stays JSON"
    );
    let annotation = stderr
        .lines()
        .find(|line| line.starts_with("::error title="));
    let annotation = annotation.unwrap_or_else(|| panic!("no annotation: {stderr}"));
    assert!(annotation.contains("everyack replay broken/failures/acks-all-leader-crash-"));
    assert_eq!(told("report broken --github --out again").0, Some(1));
    let text = fs::read_to_string(&summary).unwrap();
    assert!(
        text.starts_with("what stood there\n## everyack: small\n"),
        "{text}"
    );
    assert_eq!(text.matches("**PROMISE BROKEN**").count(), 2, "{text}");
    assert!(text.contains("everyack replay again/failures/"), "{text}");

    let output = everyack(&own, "report broken --github --out again");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(
        stderr.contains("GITHUB_STEP_SUMMARY is not set"),
        "{stderr}"
    );
}
