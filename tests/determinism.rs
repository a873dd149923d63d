//! The determinism gate: the same specs give the same trace hashes in any process, on any number of
//! threads, after other runs, and whichever way requests travel. It names the first step at which
//! two runs part, and it is itself proven by a planted offence.

use std::process::Command;

/// Seeds of the gate: few enough for a debug build, each a run of the standard suite under `random`.
const SEEDS: &str = "24";
const FROM: &str = "0x6a7e";

fn trace_hashes(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_everyack"))
        .args(["trace-hashes", "--from", FROM, "--count", SEEDS])
        .args(arguments)
        .output()
        .expect("the binary was built for this test");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("hashes are text")
}

/// Compares two ways to run the same seeds; says where the first seed that differs parts.
fn compare(one: &[&str], other: &[&str]) -> Result<(), String> {
    let (first, second) = (trace_hashes(one), trace_hashes(other));
    assert_eq!(first.lines().count(), 24, "a line a seed: {first}");
    let Some((a, b)) = first.lines().zip(second.lines()).find(|(a, b)| a != b) else {
        return Ok(());
    };
    let seed = a.split_whitespace().next().expect("a seed and a hash");
    let steps = |arguments: &[&str]| trace_hashes(&[arguments, &["--steps", seed]].concat());
    let (first, second) = (steps(one), steps(other));
    let parts = first.lines().zip(second.lines()).find(|(a, b)| a != b);
    Err(match parts {
        Some((x, y)) => format!("seed {seed} parts at step\n  {x}\n  {y}"),
        None => format!("seed {seed}: {a} is not {b}, and a third and fourth run agree"),
    })
}

#[test]
fn seeds_repeat_in_another_process_after_other_runs_and_on_two_threads() {
    compare(&[], &["--warm", "60", "--jobs", "2"]).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn typed_and_encoded_requests_give_one_trace() {
    compare(&["--wire", "typed"], &["--wire", "bytes", "--jobs", "2"])
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn the_gate_notices_a_planted_hash_map_and_names_the_step() {
    let planted = &["--plant-hash-map"];
    let caught = compare(planted, planted).expect_err("a hash map's order decided something");
    assert!(caught.contains("seed 0x"), "{caught}");
}
