use super::*;
use crate::failure::Build;
use crate::runner::{Exit, Filter, Host, Options, Wire, exit, run_suite};
use crate::suite::{Suite, parse};
use everyack_sim::mechanism::Mechanism;
use everyack_sim::result::{Loss, LossVerdict, MessageCounts, Outcome};
use everyack_sim::{RunResult, RunSpec};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const SUITE: &str = r#"
name = "test"
seeds = 12
search = 6
tries = 2
required-marks = ["fault-struck"]

[[row]]
name = "acks=1"
claim = "it loses"
faults = ["none", "leader-crash", "leader-move"]
broker."default.replication.factor" = 3
producer."acks" = "1"
consumer."auto.offset.reset" = "earliest"

[[row]]
name = "acks=all"
claim = "it does not"
faults = ["none", "leader-crash", "leader-move"]
twin = "acks=1"
broker."default.replication.factor" = 3
producer."acks" = "all"
consumer."auto.offset.reset" = "earliest"
"#;

fn bundled() -> Suite {
    Suite {
        bundled: true,
        ..parse("test.toml", SUITE).unwrap()
    }
}

fn options(shard: Option<(u64, u64)>) -> Options {
    Options {
        command: "everyack run test".to_owned(),
        seeds: None,
        budget: None,
        seed_base: 7,
        jobs: 1,
        filter: Filter::default(),
        shard,
        wire: Wire::Typed,
        bug: None,
        shrink: Duration::ZERO,
        strict: false,
        out: "out".to_owned(),
        build: Build {
            everyack: "0.1.0".into(),
            commit: "unknown".into(),
            rustc: "1".into(),
            target: "t".into(),
        },
    }
}

/// acks=1 loses by P04 on every third crash, and by P05 on none of the moves; figures differ by seed.
fn world(spec: &RunSpec) -> RunResult {
    let weak = spec.properties.producer["acks"] == "1" || spec.bug.is_some();
    let lossy = weak && spec.family == "leader-crash" && spec.seed.is_multiple_of(3);
    let loss = Loss {
        producer: 0,
        sequence: 1,
        partition: 0,
        offset: 1,
        verdict: LossVerdict::Lost,
        mechanism: Some(Mechanism::P04),
    };
    RunResult {
        outcome: Outcome::Finished,
        messages: MessageCounts {
            sent: 10,
            acked: 10,
            consumed: 10 - u64::from(lossy),
            lost: u64::from(lossy),
            ..Default::default()
        },
        losses: lossy.then_some(loss).into_iter().collect(),
        anomalies: Vec::new(),
        faults: Vec::new(),
        fired: true,
        exposed: true,
        marks: match spec.family.as_str() {
            "none" => Vec::new(),
            _ => vec!["fault-struck".to_owned()],
        },
        unavailable_ms: spec.seed % 100,
        ack_us: vec![(spec.seed % 1_000) as u32; 3],
        trace_hash: spec.seed,
        simulated_ns: 1_000_000,
        requests: 1,
        events: 1,
        story: Vec::new(),
        steps: Vec::new(),
    }
}

fn ran(suite: &Suite, options: &Options) -> (Report, Exit) {
    let stop = AtomicBool::new(false);
    let host = Host {
        run: &world,
        progress: &|_| {},
        stop: &stop,
        clock: &|| Duration::ZERO,
    };
    let campaign = run_suite(suite, options, &host).unwrap();
    (campaign.report, campaign.exit)
}

fn source(file: &str, report: Report) -> Source {
    Source {
        file: file.to_owned(),
        report,
    }
}

fn shards(suite: &Suite, of: u64) -> Vec<Source> {
    let shard = |n| {
        let (report, _) = ran(suite, &options(Some((n, of))));
        source(&format!("{n}/report.json"), report)
    };
    (1..=of).map(shard).collect()
}

#[test]
fn shards_of_a_bundled_suite_are_judged_as_the_one_run_is_witnesses_included() {
    let suite = bundled();
    let (whole, whole_exit) = ran(&suite, &options(None));
    assert_eq!(whole_exit, Exit::Broken, "P05 has no witness");
    for of in [1, 2, 4] {
        let parts = shards(&suite, of);
        for part in &parts {
            // A part alone demands nothing.
            assert_eq!(exit(&part.report), Exit::AsPromised, "{}", part.file);
        }
        let merged = merge(&parts, "out", false).unwrap();
        assert_eq!(merged, whole, "{of} shards");
        assert_eq!(exit(&merged), whole_exit, "{of} shards");
    }
    let backwards: Vec<Source> = shards(&suite, 3).into_iter().rev().collect();
    assert_eq!(merge(&backwards, "out", false).unwrap(), whole);
}

#[test]
fn shards_that_lack_one_demand_nothing_unless_strict_and_say_which_they_are() {
    let suite = bundled();
    let mut parts = shards(&suite, 3);
    parts.remove(1);
    let merged = merge(&parts, "out", false).unwrap();
    let named: Vec<_> = merged.asked.parts.iter().map(|p| p.shard.clone()).collect();
    assert_eq!(named, [Some("1/3".to_owned()), Some("3/3".to_owned())]);
    assert_eq!((merged.cells.len(), merged.asked.suite_cells), (4, 6));
    assert_eq!(exit(&merged), Exit::AsPromised);
    // The cell without a witness is acks=1 under leader-move, in the third shard.
    assert_eq!(exit(&merge(&parts, "out", true).unwrap()), Exit::Broken);
}

#[test]
fn parts_by_filter_are_the_suite_once_every_cell_is_there() {
    let suite = bundled();
    let part = |filter: &str| {
        let options = Options {
            filter: Filter::parse(filter).unwrap(),
            ..options(None)
        };
        source(filter, ran(&suite, &options).0)
    };
    let parts = [part("acks=1"), part("acks=all")];
    let merged = merge(&parts, "out", false).unwrap();
    assert_eq!(merged, ran(&suite, &options(None)).0);
}

#[test]
fn commands_name_the_folder_that_is_written_to() {
    let merged = merge(&shards(&bundled(), 2), "all of it/", false).unwrap();
    let mut witnesses = merged.cells.iter().flat_map(|cell| &cell.witnesses);
    let command = &witnesses.next().expect("P04 has one").command;
    assert!(
        command.starts_with("everyack replay 'all of it/failures/acks-1-leader-crash-P04-"),
        "{command}"
    );
}

#[test]
fn what_is_not_one_campaign_is_refused_with_file_key_and_both_values() {
    let edit = |change: fn(&mut Report)| {
        let mut parts = shards(&bundled(), 2);
        change(&mut parts[1].report);
        merge(&parts, "out", false).unwrap_err().to_string()
    };
    let refused = |says: &str, change: fn(&mut Report)| {
        let error = edit(change);
        assert!(error.starts_with("2/report.json: "), "{error}");
        assert!(error.contains(says), "{error}");
    };
    refused(
        "suite: found other, allowed is test as in 1/report.json",
        |report| {
            report.suite = "other".to_owned();
        },
    );
    refused("everyack: found 9.9.9", |report| {
        report.everyack = "9.9.9".to_owned();
    });
    refused("commit: found abc", |report| {
        report.commit = "abc".to_owned()
    });
    refused("seed_base: found 0x8, allowed is 0x7", |report| {
        report.seed_base = "0x8".to_owned();
    });
    refused("asked.seeds: found 3, allowed is 12", |report| {
        report.asked.seeds = 3
    });
    refused("asked.fingerprint", |report| {
        report.asked.fingerprint = "0x0".to_owned();
    });
    refused("asked.bug: found skip-flush, allowed is none", |report| {
        report.asked.bug = Some("skip-flush".to_owned());
    });
    refused(
        "canary: found ack-before-replication missed after",
        |report| {
            report.canary.as_mut().unwrap().caught = false;
        },
    );
    refused(
        "index: found 99, allowed is less than suite_cells=6",
        |report| {
            report.cells[0].index = 99;
        },
    );
    refused("spec: found \"failures/../../x.json\"", |report| {
        let cell = report
            .cells
            .iter_mut()
            .find(|cell| !cell.witnesses.is_empty());
        cell.unwrap().witnesses[0].spec = "failures/../../x.json".to_owned();
    });
}

#[test]
fn a_cell_that_two_reports_hold_is_refused() {
    let parts = shards(&bundled(), 2);
    let twice = [
        parts[0].clone(),
        source("again/report.json", parts[0].report.clone()),
    ];
    let error = merge(&twice, "out", false).unwrap_err().to_string();
    assert!(
        error.contains("again/report.json: cells: acks=1/none: found it in 1/report.json too"),
        "{error}"
    );
}

#[test]
fn an_interrupted_part_makes_the_whole_interrupted() {
    let mut parts = shards(&bundled(), 2);
    parts[1].report.asked.interrupted = true;
    parts[1].report.canary = None;
    let merged = merge(&parts, "out", false).unwrap();
    assert_eq!((exit(&merged), merged.canary), (Exit::Interrupted, None));
}

#[test]
fn a_suite_that_was_edited_has_another_fingerprint_and_its_name_is_nothing_to_it() {
    let suite = bundled();
    let renamed = parse("other.toml", &SUITE.replace("\"test\"", "\"other\"")).unwrap();
    assert_eq!(suite.fingerprint(), renamed.fingerprint());
    for (from, to) in [
        ("\"1\"", "\"0\""),
        ("seeds = 12", "seeds = 13"),
        ("it loses", "it may"),
    ] {
        let edited = parse("test.toml", &SUITE.replacen(from, to, 1)).unwrap();
        assert_ne!(suite.fingerprint(), edited.fingerprint(), "{from}");
    }
}
