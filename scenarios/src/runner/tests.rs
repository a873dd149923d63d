use super::*;
use crate::failure::Failure;
use crate::report::CellVerdict;
use crate::suite::{CheckInput, Tolerate, check_suite, parse};
use everyack_sim::fault::{What, Whom};
use everyack_sim::mechanism::Mechanism;
use everyack_sim::result::{Anomaly, Loss, LossVerdict, MessageCounts, StruckFault};
use everyack_sim::spec::{Properties, WireMode};

const SUITE: &str = r#"
name = "test"
seeds = 20
search = 10
tries = 3

[[row]]
name = "acks=1"
claim = "it loses"
faults = ["none", "leader-crash"]
broker."default.replication.factor" = 3
producer."acks" = "1"
consumer."auto.offset.reset" = "earliest"

[[row]]
name = "acks=all"
claim = "it does not"
faults = ["none", "leader-crash"]
twin = "acks=1"
broker."default.replication.factor" = 3
producer."acks" = "all"
consumer."auto.offset.reset" = "earliest"
"#;

fn options() -> Options {
    Options {
        command: "everyack run test.toml".to_owned(),
        seeds: None,
        budget: None,
        seed_base: 7,
        jobs: 1,
        filter: Filter::default(),
        shard: None,
        wire: Wire::Sampled,
        bug: None,
        shrink: Duration::ZERO,
        strict: true,
        out: "out/".to_owned(),
        build: Build {
            everyack: "0.1.0".into(),
            commit: "unknown".into(),
            rustc: "1".into(),
            target: "t".into(),
        },
    }
}

/// A run in which everything was consumed and the fault struck where it could.
fn kept(spec: &RunSpec) -> RunResult {
    RunResult {
        outcome: Outcome::Finished,
        messages: MessageCounts {
            sent: 10,
            acked: 10,
            consumed: 10,
            ..Default::default()
        },
        losses: Vec::new(),
        anomalies: Vec::new(),
        faults: Vec::new(),
        fired: true,
        exposed: true,
        marks: vec!["fault-struck".to_owned()],
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

fn lost(spec: &RunSpec, by: Option<Mechanism>) -> RunResult {
    let mut result = kept(spec);
    result.messages.consumed -= 1;
    result.messages.lost += 1;
    result.losses.push(Loss {
        producer: 0,
        sequence: 1,
        partition: 0,
        offset: 1,
        verdict: LossVerdict::Lost,
        mechanism: by,
    });
    result
}

/// What theory expects: acks=1 loses by P04 on every third crash, the planted bug too.
fn as_expected(spec: &RunSpec) -> RunResult {
    let crash = spec.family == "leader-crash";
    let acks = spec.properties.producer.get("acks");
    let weak = acks.is_some_and(|acks| acks == "1") || spec.bug.is_some();
    match crash && weak && spec.seed.is_multiple_of(3) {
        true => lost(spec, Some(Mechanism::P04)),
        false => kept(spec),
    }
}

fn run_with(suite: &Suite, options: &Options, run: RunFn<'_>) -> Campaign {
    let stop = AtomicBool::new(false);
    let host = Host {
        run,
        progress: &|_| {},
        stop: &stop,
        clock: &|| Duration::ZERO,
    };
    run_suite(suite, options, &host).unwrap()
}

fn run_it(options: &Options, run: RunFn<'_>) -> Campaign {
    run_with(&parse("test.toml", SUITE).unwrap(), options, run)
}

fn cell<'a>(campaign: &'a Campaign, id: &str) -> &'a Cell {
    let cells = &campaign.report.cells;
    cells.iter().find(|cell| cell.id == id).unwrap()
}

#[test]
fn as_promised_when_the_weak_loses_as_expected_and_the_strong_keeps() {
    let campaign = run_it(&options(), &as_expected);
    assert_eq!(campaign.exit, Exit::AsPromised);
    let weak = cell(&campaign, "acks=1/leader-crash");
    assert_eq!(weak.verdict, CellVerdict::LostAsExpected, "{}", weak.note);
    assert!(weak.losses_by_mechanism["P04"] > 0);
    let strong = cell(&campaign, "acks=all/leader-crash");
    assert_eq!(strong.verdict, CellVerdict::Kept);
    assert_eq!(strong.runs, 20);
    assert_eq!((strong.batch.runs, strong.batch.exposed), (20, 20));
    assert_eq!(strong.loss_rate, Some(0.0));
    assert!((strong.loss_rate_upper_95.unwrap() - 0.139_108).abs() < 1e-5);
    assert_eq!(strong.messages.acked, 200);
    assert_eq!(
        campaign.report.canary.as_ref().map(|c| c.caught),
        Some(true)
    );
    assert_eq!(campaign.report.marks[0].name, "fault-struck");
}

#[test]
fn the_twin_stands_beside_with_its_lossy_runs_over_the_same_plans() {
    let campaign = run_it(&options(), &as_expected);
    let weak = cell(&campaign, "acks=1/leader-crash");
    let twin = cell(&campaign, "acks=all/leader-crash")
        .twin
        .clone()
        .unwrap();
    assert_eq!(
        twin.config,
        BTreeMap::from([("acks".to_owned(), "1".to_owned())])
    );
    assert_eq!(twin.runs_with_loss, weak.batch.runs_with_loss);
    assert!(twin.runs_with_loss > 0);
    assert_eq!(weak.twin, None);
}

#[test]
fn a_loss_where_nothing_may_be_lost_breaks_the_cell_and_is_saved() {
    let campaign = run_it(
        &options(),
        &|spec| match spec.properties.producer["acks"] == "all" && spec.bug.is_none() {
            true => lost(spec, Some(Mechanism::P04)),
            false => as_expected(spec),
        },
    );
    assert_eq!(campaign.exit, Exit::Broken);
    let broken = cell(&campaign, "acks=all/leader-crash");
    assert_eq!(broken.verdict, CellVerdict::Broken);
    assert!(
        broken.note.contains("P04") && broken.note.contains("nothing allows"),
        "{}",
        broken.note
    );
    assert_eq!(broken.losses_by_mechanism["unexplained"], 20);
    assert_eq!(broken.witnesses[0].mechanism, "unexplained");
    let saved = saved_of(&campaign, &broken.id);
    assert_eq!(
        broken.witnesses[0].spec,
        format!("failures/{}.json", saved.id())
    );
    assert_eq!(
        broken.witnesses[0].command,
        format!("everyack replay out/failures/{}.json", saved.id())
    );
}

#[test]
fn a_cell_that_was_not_exposed_yet_is_searched_up_to_the_cap() {
    let exposed_from = |first: u64| {
        let runs = AtomicU64::new(0);
        let late = |spec: &RunSpec| {
            let weak = spec.properties.producer["acks"] == "1";
            let crash = spec.family == "leader-crash" && spec.bug.is_none() && !weak;
            RunResult {
                exposed: !crash || runs.fetch_add(1, Ordering::Relaxed) + 1 >= first,
                ..as_expected(spec)
            }
        };
        let campaign = run_it(&options(), &late);
        let cell = cell(&campaign, "acks=all/leader-crash").clone();
        (cell.verdict, cell.runs, cell.exposed)
    };
    // 20 runs of the batch, 10 of the search.
    assert_eq!(exposed_from(25), (CellVerdict::Kept, 25, 1));
    assert_eq!(exposed_from(31), (CellVerdict::NotExposed, 30, 0));
}

fn saved_of<'a>(campaign: &'a Campaign, cell: &str) -> &'a Failure {
    let saved = campaign
        .saved
        .iter()
        .find(|saved| saved.failure.cell == cell);
    &saved.unwrap().failure
}

#[test]
fn what_is_saved_is_shrunk_within_the_budget_whatever_the_shard() {
    let shrinks = |budget, shard| {
        let mut options = options();
        options.shrink = Duration::from_secs(budget);
        options.shard = shard;
        let costly = |spec: &RunSpec| RunResult {
            events: 40_000,
            ..as_expected(spec)
        };
        run_it(&options, &costly)
    };
    let none = shrinks(0, None);
    let witnesses = |campaign: &Campaign| -> Vec<report::Witness> {
        let cells = campaign.report.cells.iter();
        cells.flat_map(|cell| cell.witnesses.clone()).collect()
    };
    assert!(!witnesses(&none).is_empty());
    assert!(witnesses(&none).iter().all(|w| w.shrunk.is_none()));
    let whole = shrinks(60, None);
    let smaller: Vec<_> = witnesses(&whole)
        .into_iter()
        .map(|w| w.shrunk.unwrap())
        .collect();
    assert!(
        smaller.iter().all(|s| s.messages == 1 && s.minimal),
        "{smaller:?}"
    );
    let saved = &whole.saved[0];
    assert!(saved.shrunk_file().ends_with(".json.shrunk.json"));
    assert_eq!(smaller[0].spec, saved.shrunk_file());
    // A share that is used up leaves what there is by then.
    let little = witnesses(&shrinks(1, None));
    assert!(
        little
            .iter()
            .any(|w| w.shrunk.as_ref().is_some_and(|s| !s.minimal)),
        "{little:?}"
    );
    let mut of_shards: Vec<report::Witness> = Vec::new();
    for shard in 1..=2 {
        of_shards.extend(witnesses(&shrinks(1, Some((shard, 2)))));
    }
    let sorted = |mut witnesses: Vec<report::Witness>| {
        witnesses.sort_by(|a, b| a.spec.cmp(&b.spec));
        witnesses
    };
    assert_eq!(sorted(of_shards), sorted(little));
}

#[test]
fn an_unexplained_loss_breaks_a_cell_that_may_lose_too() {
    let campaign = run_it(&options(), &|spec| match spec.family == "leader-crash"
        && spec.seed.is_multiple_of(5)
        && spec.bug.is_none()
    {
        true => lost(spec, None),
        false => as_expected(spec),
    });
    let weak = cell(&campaign, "acks=1/leader-crash");
    assert_eq!(weak.verdict, CellVerdict::Broken);
    assert!(weak.losses_by_mechanism["unexplained"] > 0);
    assert_eq!(campaign.exit, Exit::Broken);
}

#[test]
fn an_anomaly_breaks_a_cell_without_any_loss() {
    let campaign = run_it(&options(), &|spec| {
        let mut result = as_expected(spec);
        if spec.family == "none" {
            result.anomalies.push(Anomaly {
                check: "offsets".into(),
                what: "one offset, two values".into(),
            });
        }
        result
    });
    let none = cell(&campaign, "acks=all/none");
    assert_eq!(none.verdict, CellVerdict::Broken);
    assert_eq!(none.note, "offsets: one offset, two values");
    assert_eq!(none.witnesses[0].mechanism, "offsets");
    assert_eq!(campaign.exit, Exit::Broken);
}

#[test]
fn lost_messages_without_names_break_a_cell() {
    let campaign = run_it(&options(), &|spec| {
        let mut result = as_expected(spec);
        if spec.family == "none" {
            result.messages.hidden = 1;
        }
        result
    });
    assert_eq!(cell(&campaign, "acks=1/none").verdict, CellVerdict::Broken);
}

#[test]
fn a_mechanism_without_a_witness_fails_where_it_is_demanded_after_tries_and_search() {
    let blind = |spec: &RunSpec| match spec.bug {
        Some(_) => lost(spec, Some(Mechanism::P04)),
        None => kept(spec),
    };
    let campaign = run_it(&options(), &blind);
    let weak = cell(&campaign, "acks=1/leader-crash");
    assert_eq!(weak.verdict, CellVerdict::NoWitness);
    assert_eq!(weak.note, "no run shows P04");
    assert_eq!(weak.runs, 3 + 20 + 10, "tries, batch, search");
    assert_eq!(campaign.exit, Exit::Broken);
    let lenient = Options {
        strict: false,
        ..options()
    };
    let campaign = run_it(&lenient, &blind);
    let weak = cell(&campaign, "acks=1/leader-crash");
    assert_eq!(weak.verdict, CellVerdict::Inconclusive);
    assert_eq!(campaign.exit, Exit::AsPromised);
}

#[test]
fn the_search_finds_what_the_canonical_plans_and_the_batch_missed() {
    let suite = parse("test.toml", &SUITE.replace("search = 10", "search = 500")).unwrap();
    let first_39 = AtomicU64::new(0);
    let rare = |spec: &RunSpec| match spec.family == "leader-crash" {
        _ if spec.bug.is_some() => lost(spec, Some(Mechanism::P04)),
        // Three tries and twenty of the batch come before, then the search.
        true if spec.properties.producer["acks"] == "1"
            && first_39.fetch_add(1, Ordering::Relaxed) == 39 =>
        {
            lost(spec, Some(Mechanism::P04))
        }
        _ => kept(spec),
    };
    let campaign = run_with(&suite, &options(), &rare);
    let weak = cell(&campaign, "acks=1/leader-crash");
    assert_eq!(weak.verdict, CellVerdict::LostAsExpected);
    assert_eq!(weak.runs, 40);
    assert_eq!(
        weak.batch.runs, 20,
        "the batch has its size whatever was searched"
    );
}

#[test]
fn a_cell_without_an_exposed_run_is_not_kept() {
    let campaign = run_it(&options(), &|spec| {
        let mut result = as_expected(spec);
        if spec.properties.producer["acks"] == "all" && spec.bug.is_none() {
            result.exposed = false;
        }
        result
    });
    let strong = cell(&campaign, "acks=all/leader-crash");
    assert_eq!(strong.verdict, CellVerdict::NotExposed);
    assert_eq!(strong.note, "no record was where the fault could take it");
    assert_eq!((strong.loss_rate, strong.loss_rate_upper_95), (None, None));
    assert_eq!(campaign.exit, Exit::Broken);
}

#[test]
fn rates_are_over_exposed_runs_of_the_batch_only() {
    let campaign = run_it(&options(), &|spec| {
        let mut result = as_expected(spec);
        result.exposed = spec.seed.is_multiple_of(2) || !result.losses.is_empty();
        result
    });
    let weak = cell(&campaign, "acks=1/leader-crash");
    let expected = weak.batch.runs_with_loss as f64 / weak.batch.exposed as f64;
    assert!(weak.batch.exposed < 20);
    assert_eq!(weak.loss_rate, Some(rounded(expected)));
    assert_eq!(
        weak.loss_rate_upper_95,
        upper_95(weak.batch.runs_with_loss, weak.batch.exposed).map(rounded)
    );
}

#[test]
fn jobs_change_nothing_but_their_own_number() {
    let one = run_it(&options(), &as_expected);
    for jobs in [2, 7] {
        let mut many = run_it(&Options { jobs, ..options() }, &as_expected);
        many.report.jobs = 1;
        assert_eq!(many, one);
    }
}

#[test]
fn shards_together_are_the_whole() {
    let suite = parse("test.toml", SUITE).unwrap();
    let whole = run_with(&suite, &options(), &as_expected);
    let mut cells = Vec::new();
    for shard in 1..=3 {
        let options = Options {
            shard: Some((shard, 3)),
            ..options()
        };
        cells.extend(run_with(&suite, &options, &as_expected).report.cells);
    }
    cells.sort_by_key(|cell| cell.index);
    link_twins(&mut cells);
    assert_eq!(cells, whole.report.cells);
}

#[test]
fn a_panic_or_a_limit_is_the_testbeds_failure_and_the_spec_is_saved() {
    let panics = |spec: &RunSpec| {
        if spec.family == "none" && spec.seed.is_multiple_of(7) {
            panic!("broken invariant");
        }
        as_expected(spec)
    };
    let campaign = run_it(&options(), &panics);
    assert_eq!(campaign.exit, Exit::Testbed);
    let none = cell(&campaign, "acks=all/none");
    assert_eq!(none.verdict, CellVerdict::Inconclusive);
    assert_eq!(none.note, "a run panicked: broken invariant");
    let saved = saved_of(&campaign, &none.id);
    assert_eq!(saved.mechanism, "testbed");
    let limited = |spec: &RunSpec| RunResult {
        outcome: Outcome::LimitReached("events".into()),
        ..kept(spec)
    };
    assert_eq!(run_it(&options(), &limited).exit, Exit::Testbed);
}

#[test]
fn a_canary_that_is_not_caught_fails_the_testbed() {
    let blind = |spec: &RunSpec| match spec.bug {
        Some(_) => kept(spec),
        None => as_expected(spec),
    };
    let campaign = run_it(&options(), &blind);
    assert_eq!(campaign.exit, Exit::Testbed);
    let canary = campaign.report.canary.unwrap();
    assert_eq!((canary.caught, canary.seeds), (false, 400));
}

#[test]
fn an_interrupt_reports_what_is_finished() {
    let stop = AtomicBool::new(false);
    let ran = AtomicU64::new(0);
    let run = |spec: &RunSpec| {
        if spec.bug.is_none() && ran.fetch_add(1, Ordering::Relaxed) == 9 {
            stop.store(true, Ordering::Relaxed);
        }
        as_expected(spec)
    };
    let host = Host {
        run: &run,
        progress: &|_| {},
        stop: &stop,
        clock: &|| Duration::ZERO,
    };
    let campaign = run_suite(&parse("test.toml", SUITE).unwrap(), &options(), &host).unwrap();
    assert_eq!(campaign.exit, Exit::Interrupted);
    let runs: u64 = campaign.report.cells.iter().map(|cell| cell.runs).sum();
    assert_eq!(runs, 10);
}

#[test]
fn a_budget_spreads_over_the_cells_and_rates_wait_for_the_whole_batch() {
    let ran = AtomicU64::new(0);
    let run = |spec: &RunSpec| {
        ran.fetch_add(1, Ordering::Relaxed);
        as_expected(spec)
    };
    let clock = || Duration::from_millis(ran.load(Ordering::Relaxed));
    let campaign = |ms: u64| {
        ran.store(0, Ordering::Relaxed);
        let stop = AtomicBool::new(false);
        let host = Host {
            run: &run,
            progress: &|_| {},
            stop: &stop,
            clock: &clock,
        };
        let options = Options {
            budget: Some(Duration::from_millis(ms)),
            ..options()
        };
        run_suite(&parse("test.toml", SUITE).unwrap(), &options, &host).unwrap()
    };
    let short = campaign(40);
    let batches: Vec<u64> = short
        .report
        .cells
        .iter()
        .map(|cell| cell.batch.runs)
        .collect();
    assert!(
        batches.iter().max().unwrap() - batches.iter().min().unwrap() <= 1,
        "{batches:?}"
    );
    assert!(
        short
            .report
            .cells
            .iter()
            .all(|cell| cell.loss_rate.is_none())
    );
    let long = campaign(400);
    let none = cell(&long, "acks=all/none");
    assert_eq!(none.batch.runs, 20);
    assert!(none.runs > 20);
    assert!(none.loss_rate.is_some());
}

#[test]
fn a_filter_leaves_what_matches_and_refuses_what_matches_nothing() {
    let filter = |text: &str| Options {
        filter: Filter::parse(text).unwrap(),
        ..options()
    };
    let campaign = run_it(&filter("acks=all,faults=leader-crash"), &as_expected);
    assert_eq!(campaign.report.cells.len(), 1);
    assert_eq!(campaign.report.cells[0].id, "acks=all/leader-crash");
    let stop = AtomicBool::new(false);
    let host = Host {
        run: &as_expected,
        progress: &|_| {},
        stop: &stop,
        clock: &|| Duration::ZERO,
    };
    let suite = parse("test.toml", SUITE).unwrap();
    let error = run_suite(&suite, &filter("acks=2"), &host)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "test: --filter: found \"acks=2\", allowed is what matches one of the 4 cells"
    );
    assert!(Filter::parse("acks").is_err());
}

#[test]
fn a_required_mark_that_no_run_reached_fails() {
    let text = SUITE.replace("tries = 3", "tries = 3\nrequired-marks = [\"isr-of-one\"]");
    let suite = parse("test.toml", &text).unwrap();
    assert_eq!(
        run_with(&suite, &options(), &as_expected).exit,
        Exit::Broken
    );
    let lenient = Options {
        strict: false,
        ..options()
    };
    assert_eq!(
        run_with(&suite, &lenient, &as_expected).exit,
        Exit::AsPromised
    );
}

fn check(tolerate: Tolerate, faults: Vec<Family>) -> Suite {
    let set = |pairs: &[(&str, &str)]| -> Properties {
        pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect()
    };
    check_suite(&CheckInput {
        server: set(&[("default.replication.factor", "3")]),
        topic: set(&[]),
        producer: set(&[("acks", "1")]),
        consumer: set(&[("auto.offset.reset", "earliest")]),
        brokers: 3,
        faults: Some(faults),
        tolerate,
    })
    .unwrap()
}

#[test]
fn check_breaks_on_a_loss_that_must_be_survived_and_reports_one_beyond() {
    let options = Options {
        strict: false,
        ..options()
    };
    let crash = vec![Family::LeaderCrash];
    let single = run_with(
        &check(Tolerate::SingleFault, crash.clone()),
        &options,
        &as_expected,
    );
    assert_eq!(single.report.cells[0].verdict, CellVerdict::Broken);
    assert_eq!(
        single.report.cells[0].note,
        "must be survived, and lost by P04"
    );
    assert_eq!(single.exit, Exit::Broken);
    let nothing = run_with(&check(Tolerate::Nothing, crash), &options, &as_expected);
    assert_eq!(nothing.report.cells[0].verdict, CellVerdict::LostAsExpected);
    assert_eq!(nothing.exit, Exit::AsPromised);
}

#[test]
fn a_random_run_is_judged_by_the_faults_that_struck_in_it() {
    let suite = check(Tolerate::Nothing, vec![Family::Random]);
    let options = Options {
        strict: false,
        ..options()
    };
    let run = |struck: bool| {
        move |spec: &RunSpec| {
            if spec.bug.is_some() {
                return lost(spec, Some(Mechanism::P04));
            }
            let of_leader = |fault: &everyack_sim::fault::Fault| {
                fault.what == What::Crash && matches!(fault.whom, Whom::LeaderOf(_))
            };
            let Some(at) = spec.plan.faults.iter().position(of_leader) else {
                return kept(spec);
            };
            let mut result = lost(spec, Some(Mechanism::P04));
            if struck {
                result.faults.push(StruckFault {
                    fault: at,
                    at_us: 1,
                    nodes: vec![1],
                    exposed: true,
                });
            }
            result
        }
    };
    let explained = run_with(&suite, &options, &run(true));
    assert_eq!(
        explained.report.cells[0].verdict,
        CellVerdict::LostAsExpected
    );
    let unexplained = run_with(&suite, &options, &run(false));
    assert_eq!(unexplained.report.cells[0].verdict, CellVerdict::Broken);
}

#[test]
fn a_saved_run_is_the_run_that_was_and_reads_back() {
    let campaign = run_it(&options(), &as_expected);
    let saved = &campaign.saved[0].failure;
    let text = serde_json::to_string(saved).unwrap();
    let read: Failure = serde_json::from_str(&text).unwrap();
    assert_eq!(read, *saved);
    let again = as_expected(&read.spec);
    assert!(read.shows_again(&again));
    assert!(read.fails_in_the_same_way(&again));
    assert!(!read.shows_again(&kept(&read.spec)));
    assert!(!read.fails_in_the_same_way(&kept(&read.spec)));
    assert_eq!(read.trace_hash, format!("0x{:016x}", again.trace_hash));
    assert!(matches!(read.spec.wire, WireMode::Typed | WireMode::Bytes));
    assert!(
        read.id()
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
    );
}
