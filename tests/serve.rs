//! `serve` from outside: its line, its end, and what it refuses.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a test of files reads them

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

fn serve(arguments: &[&str], temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everyack"));
    command.arg("serve").args(arguments);
    command.env("NO_COLOR", "1").env("TMPDIR", temporary);
    command
}

/// A cluster that has said that it is ready.
struct Served {
    child: Child,
    stdout: BufReader<ChildStdout>,
    addresses: Vec<String>,
}

impl Served {
    fn start(arguments: &[&str], temporary: &Path) -> Served {
        let mut command = serve(arguments, temporary);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built for this test");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let bootstrap = line.trim_end().strip_prefix("ready bootstrap=");
        let bootstrap = bootstrap.unwrap_or_else(|| panic!("not ready: {line:?}"));
        Served {
            addresses: bootstrap.split(',').map(str::to_string).collect(),
            child,
            stdout,
        }
    }

    /// Sends the signal and waits for the end: status, the rest of stdout, stderr.
    fn end(mut self, signal: Signal) -> (i32, String, String) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).expect("text");
        let pipe = self.child.stderr.as_mut().expect("it is piped");
        pipe.read_to_string(&mut stderr).expect("text");
        let status = self.child.wait().expect("it ends");
        (status.code().expect("it exits"), stdout, stderr)
    }
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let status = output.status.code().expect("it exits");
    (status, text(&output.stdout), text(&output.stderr))
}

fn refused(arguments: &[&str], says: &[&str]) {
    let temporary = tempfile::tempdir().unwrap();
    let (status, stdout, stderr) = told(&serve(arguments, temporary.path()).output().unwrap());
    assert_eq!(
        (status, stdout.as_str()),
        (2, ""),
        "{arguments:?}: {stderr}"
    );
    let last = stderr.lines().last().unwrap_or_default();
    for word in says {
        assert!(last.contains(word), "{word} in {stderr}");
    }
}

fn entries(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn it_says_where_it_listens_ends_with_sigterm_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let served = Served::start(&["--brokers", "3"], temporary.path());
    assert_eq!(served.addresses.len(), 3);
    for address in &served.addresses {
        TcpStream::connect(address).expect("it listens");
    }
    assert_eq!(entries(temporary.path()).len(), 1, "its folder");
    let (status, stdout, stderr) = served.end(Signal::TERM);
    assert_eq!((status, stdout.as_str()), (0, ""), "{stderr}");
    assert!(stderr.contains("removed at the end"), "{stderr}");
    assert_eq!(entries(temporary.path()), [] as [PathBuf; 0]);
}

#[test]
fn a_corrupt_folder_is_told_by_file_and_byte() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments = ["--data-dir", data.to_str().unwrap()];
    let served = Served::start(&arguments, dir.path());
    assert_eq!(served.end(Signal::TERM).0, 0);
    let checkpoint = data.join("broker-1/recovery-point-offset-checkpoint");
    fs::write(checkpoint, "0\n1\nmessages 0 x\n").unwrap();
    let (status, stdout, stderr) = told(&serve(&arguments, dir.path()).output().unwrap());
    assert_eq!((status, stdout.as_str()), (3, ""), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    let says = "recovery-point-offset-checkpoint: byte 4: ";
    assert!(last.contains(says), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_folder_that_was_named_is_kept_with_the_marker_of_a_clean_end() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let named = data.to_str().unwrap();
    for round in 0..2 {
        let served = Served::start(&["--data-dir", named, "-v"], dir.path());
        let (status, _, stderr) = served.end(Signal::INT);
        assert_eq!(status, 0, "{stderr}");
        let clean = format!("its last end was clean: {}", round > 0);
        assert!(stderr.contains(&clean), "{stderr}");
        assert!(!stderr.contains('\u{1b}'), "no colours: {stderr}");
    }
    for file in ["broker-1/.kafka_cleanshutdown", "broker-1/meta.properties"] {
        assert!(data.join(file).is_file(), "{file}");
    }
    assert!(data.join("controller/__cluster_metadata-0").is_dir());
    let again = ["--data", named, "--brokers", "3"];
    refused(&again, &["1 brokers", "3 were asked for"]);
}

#[test]
fn the_brokers_read_their_properties_and_say_what_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    fs::write(&file, "num.partitions=5\nlog.dirs=/nowhere\n").unwrap();
    let served = Served::start(&["--config", file.to_str().unwrap()], dir.path());
    let (status, _, stderr) = served.end(Signal::TERM);
    assert_eq!(status, 0, "{stderr}");
    assert!(stderr.contains("log.dirs (line 2)"), "{stderr}");
}

#[test]
fn wrong_input_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    fs::write(&file, "num.partitions=none\n").unwrap();
    let file = file.to_str().unwrap();
    refused(&["--brokers", "0"], &["--brokers", "1..=15"]);
    refused(&["--config", "nowhere.properties"], &["nowhere.properties"]);
    refused(&["--server", file], &[file, "num.partitions", "none"]);
    refused(&["--port", "65535", "--brokers", "3"], &["--port", "65536"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(
        &["--port", &port],
        &[&format!("127.0.0.1:{port}"), "in use"],
    );
    let a_file = format!("{file}/data");
    refused(&["--data-dir", &a_file], &[file]);
}
