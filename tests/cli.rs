//! The command line from outside: exit statuses, one-line errors, and what goes to which stream.

#![allow(clippy::disallowed_methods)] // a test of files reads and writes them

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn everyack(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_everyack"))
        .args(arguments)
        .env("CI", "true")
        .env_remove("NO_COLOR")
        .output()
        .expect("the binary was built for this test")
}

/// Status, stdout, stderr.
fn told(arguments: &[&str]) -> (i32, String, String) {
    let output = everyack(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the command line prints UTF-8");
    (
        output.status.code().expect("it exits"),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A wrong input: status 2, nothing on stdout, and one line that says all of this.
fn refused(arguments: &[&str], says: &[&str]) {
    let (status, stdout, stderr) = told(arguments);
    assert_eq!(status, 2, "{arguments:?}: {stderr}");
    assert_eq!(stdout, "", "{arguments:?}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    for word in says {
        assert!(stderr.contains(word), "{word} in {stderr}");
    }
}

#[test]
fn wrong_arguments_are_refused_in_one_line() {
    refused(&[], &["no command", "check"]);
    refused(&["runn"], &["runn", "run"]);
    refused(
        &["run", "--shard", "0/3"],
        &["--shard", "0/3", "1 <= I <= N"],
    );
    refused(
        &["run", "--bug", "none"],
        &["--bug", "ack-before-replication"],
    );
    refused(&["check"], &["--server"]);
    refused(&["list", "things"], &["things", "mechanisms"]);
}

#[test]
fn help_and_version_go_to_stdout_and_succeed() {
    let (status, stdout, stderr) = told(&["--help"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.contains("everyack check --server"), "{stdout}");
    assert!(!stdout.contains("trace-hashes"), "{stdout}");
    assert_eq!(told(&["--version"]).0, 0);
}

#[test]
fn lists_are_json_where_that_was_asked_for() {
    let (status, stdout, _) = told(&["list", "mechanisms", "--format", "json"]);
    let list: serde_json::Value = serde_json::from_str(&stdout).expect("one JSON value");
    assert_eq!(status, 0);
    assert_eq!(list[0]["id"], "P01");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_everyack"))
        .args(["list", "properties", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), stderr.as_str()),
        (Some(0), "")
    );
}

/// A directory of this test's own, empty.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("cargo's own directory takes another");
    directory
}

fn file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, text).expect("a test's own directory takes files");
    path.to_str().expect("its path is UTF-8").to_string()
}

#[test]
fn wrong_files_are_told_with_file_line_and_key_and_nothing_runs() {
    let own = directory("wrong-files");
    let server = file(
        &own,
        "server.properties",
        "# first\nmin.insync.replicas = two\n",
    );
    let producer = file(&own, "producer.properties", "acks=alll\n");
    let out = own.join("out");
    let out = out.to_str().unwrap();
    let found = [
        "server.properties:2",
        "min.insync.replicas",
        "two",
        "allowed",
    ];
    refused(&["check", "--server", &server, "--out", out], &found);
    let good = file(&own, "good.properties", "min.insync.replicas=1\n");
    let check = [
        "check",
        "--server",
        &good,
        "--producer",
        &producer,
        "--out",
        out,
    ];
    refused(
        &check,
        &["producer.properties:1", "acks", "alll", "all, -1, 0 or 1"],
    );
    refused(
        &["check", "--server", "nowhere.properties"],
        &["nowhere.properties", "cannot be read"],
    );
    refused(
        &["check", "--server", &good, "--faults", "meteor"],
        &["--faults", "meteor", "leader-crash"],
    );
    refused(
        &["check", "--server", &good, "--tolerate", "all"],
        &["--tolerate", "\"all\"", "single-fault"],
    );
    let suite = file(&own, "suite.toml", "name = \"mine\"\nrows = 3\n");
    refused(
        &["run", &suite, "--out", out],
        &["suite.toml:2", "rows", "allowed"],
    );
    refused(&["run", "giude", "--out", out], &["giude", "guide"]);
    assert!(!Path::new(out).exists());
}

#[test]
fn a_reachable_loss_is_found_saved_and_replayed() {
    let own = directory("replayed");
    let out = own.to_str().unwrap();
    let arguments = [
        "run",
        "guide",
        "--seeds",
        "2",
        "--filter",
        "row=acks=1,faults=leader-cut-from-controller",
        "--out",
        out,
        "--format",
        "json",
        "--quiet",
    ];
    let (status, stdout, stderr) = told(&arguments);
    assert_eq!((status, stderr.as_str()), (0, ""));
    let report: serde_json::Value =
        serde_json::from_str(&stdout).expect("stdout is the report alone");
    assert_eq!(stdout, fs::read_to_string(own.join("report.json")).unwrap());
    assert!(
        fs::read_to_string(own.join("junit.xml"))
            .unwrap()
            .contains("leader-cut-from-controller")
    );
    let cell = &report["cells"][0];
    assert_eq!(cell["verdict"], "lost-as-expected");

    let saved = own.join(
        cell["witnesses"][0]["spec"]
            .as_str()
            .expect("a loss has a witness"),
    );
    let path = saved.to_str().unwrap();
    for wire in ["typed", "bytes"] {
        let (status, story, stderr) = told(&["replay", path, "--wire", wire]);
        assert_eq!((status, stderr.as_str()), (0, ""), "{wire}");
        assert!(
            story.contains("LOST: P06") && story.contains("As recorded: P06"),
            "{story}"
        );
    }
    let (_, traced, _) = told(&["replay", path, "--trace"]);
    assert!(traced.lines().count() > 1000, "{traced}");

    let text = fs::read_to_string(&saved).unwrap();
    let mut failure: serde_json::Value = serde_json::from_str(&text).unwrap();
    failure["trace_hash"] = "0x0000000000000001".into();
    let diverged = file(&own, "diverged.json", &failure.to_string());
    let (status, story, _) = told(&["replay", &diverged]);
    assert_eq!(status, 3);
    assert!(story.contains("DIVERGED"), "{story}");

    failure["commit"] = "another".into();
    let foreign = file(&own, "foreign.json", &failure.to_string());
    let (status, _, stderr) = told(&["replay", &foreign]);
    assert_eq!(status, 0);
    assert!(
        stderr.contains("another build") && stderr.lines().count() == 1,
        "{stderr}"
    );

    failure["spec"]["properties"]["producer"]["acks"] = "all".into();
    let healed = file(&own, "healed.json", &failure.to_string());
    let (status, story, _) = told(&["replay", &healed]);
    assert_eq!(status, 1);
    assert!(story.contains("NOT as recorded"), "{story}");

    failure["spec"]["family"] = "meteor".into();
    let wrong = file(&own, "wrong.json", &failure.to_string());
    refused(&["replay", &wrong], &["wrong.json", "family", "meteor"]);
    let cut = file(&own, "cut.json", &text[..text.len() / 2]);
    refused(&["replay", &cut], &["cut.json", "a failure file"]);
}

#[test]
fn the_guides_own_files_lose_what_a_late_group_was_sent() {
    let own = directory("guide-files");
    let arguments = [
        "check",
        "--server",
        "scenarios/guide/server.properties",
        "--producer",
        "scenarios/guide/producer.properties",
        "--consumer",
        "scenarios/guide/consumer.properties",
        "--faults",
        "none,late-start",
        "--seeds",
        "3",
        "--out",
        own.to_str().unwrap(),
    ];
    let (status, stdout, _) = told(&arguments);
    assert_eq!(status, 1, "{stdout}");
    let flat = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains("BROKEN your configuration × late-start"),
        "{stdout}"
    );
    assert!(
        flat.contains("loses acknowledged messages under late-start (C12)"),
        "{stdout}"
    );
    assert!(
        flat.contains("kept every acknowledged message under no fault at all"),
        "{stdout}"
    );
    assert!(
        flat.contains("log.flush.interval.ms: 1000 does nothing by itself"),
        "{stdout}"
    );
    let wide: Vec<&str> = stdout
        .lines()
        .filter(|line| line.chars().count() > 100)
        .collect();
    assert!(
        wide.iter().all(|line| line.contains("failures/")),
        "{wide:#?}"
    );
    assert!(!stdout.contains('\u{1b}'), "no colour into a pipe");
}

#[test]
fn an_interrupt_reports_what_had_finished() {
    let own = directory("interrupted");
    let mut child = Command::new(env!("CARGO_BIN_EXE_everyack"))
        .args([
            "run", "guide", "--budget", "600s", "--jobs", "1", "--quiet", "--out",
        ])
        .arg(&own)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    // The handler is installed before the directory is made; the budget leaves this loop its time.
    while !own.join("failures").exists() {
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(stdout.contains("suite guide"), "{stdout}");
    assert!(own.join("report.json").exists());
}

#[test]
fn trace_hashes_are_the_same_in_any_process_and_differ_with_the_planted_map() {
    let hashes = |more: &[&str]| {
        let arguments = [&["trace-hashes", "--from", "0x10", "--count", "4"], more].concat();
        let (status, stdout, stderr) = told(&arguments);
        assert_eq!((status, stderr.as_str()), (0, ""));
        stdout
    };
    let plain = hashes(&[]);
    assert_eq!(plain.lines().count(), 4);
    assert!(plain.starts_with("0x10 "), "{plain}");
    assert_eq!(
        hashes(&["--warm", "3", "--jobs", "2", "--wire", "bytes"]),
        plain
    );
    // Two producers have two orders, so that three processes agree on four runs by chance once in
    // 2^8 times; a fourth to sixth makes it 2^20.
    let planted = |_| hashes(&["--plant-hash-map", "--jobs", "2", "--warm", "1"]);
    let outputs: Vec<String> = (0..6).map(planted).collect();
    assert!(outputs.iter().any(|output| *output != outputs[0]));
    assert!(hashes(&["--steps", "0x10"]).lines().count() > 1000);
}
