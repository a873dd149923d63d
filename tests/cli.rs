//! The command line from outside: exit statuses, one-line errors, and what goes to which stream.

use std::io::Read;
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
