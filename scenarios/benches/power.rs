//! How likely a correct build is to fail a bundled suite by bad luck, the seed base drawn anew each
//! time: a mechanism that no run happens to show, a cell in which no run happens to be exposed, a
//! required mark that is not reached, a canary that is not caught.
//!
//! `cargo bench -p everyack-scenarios --bench power [SUITE..]`. Each rate is measured over runs of its
//! own and taken at the lower end of its 95 % interval; the probabilities of the ways to fail are added.

use everyack_scenarios::plans;
use everyack_scenarios::runner::statistics::lower_95;
use everyack_scenarios::runner::{RunKey, Wire, canary_cell};
use everyack_scenarios::suite::{self, CellPlan, Suite};
use everyack_sim::RunResult;
use everyack_sim::mechanism::Mechanism;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs for each rate.
const RUNS: u64 = 40;
/// Runs where fewer than that many of those show what is asked for.
const MORE_RUNS: u64 = 600;
const ENOUGH: u64 = 25;
/// What one way to fail may add without a closer look.
const NEGLIGIBLE: f64 = 1e-11;
/// Unlike that of campaigns.
const BASE: u64 = 0x7077_6572;
/// Ways to fail that are listed, the likeliest first.
const LISTED: usize = 12;

/// What one cell adds.
#[derive(Default)]
struct Measured {
    ways: Vec<(f64, String)>,
    /// Runs of a campaign, and of those measured here how many reached each mark.
    marks: BTreeMap<String, u64>,
}

fn run(cell: &CellPlan, key: RunKey) -> RunResult {
    let seed = key.seed(BASE, &cell.seed_group);
    let spec = cell.spec(seed, key.plan(cell, seed), Wire::Sampled.of(seed), None);
    everyack_sim::run(&spec)
}

fn rate(successes: u64, runs: u64) -> f64 {
    lower_95(successes, runs).expect("some runs")
}

fn never(rate: f64, runs: u64) -> f64 {
    (1.0 - rate).powi(runs as i32)
}

fn shows(result: &RunResult, mechanism: Mechanism) -> bool {
    let mut losses = result.losses.iter();
    losses.any(|loss| loss.mechanism == Some(mechanism))
}

fn shown_by(results: &[RunResult], mechanism: Mechanism) -> u64 {
    results
        .iter()
        .filter(|result| shows(result, mechanism))
        .count() as u64
}

/// The lower end of the interval of how many runs out of `runs` do it; more of them where few do.
fn measured(runs: u64, done: u64, run: impl Fn(u64) -> bool) -> f64 {
    if done >= ENOUGH {
        return rate(done, runs);
    }
    let more = (runs..MORE_RUNS).filter(|n| run(*n)).count() as u64;
    rate(done + more, MORE_RUNS)
}

fn measure(suite: &Suite, cell: &CellPlan) -> Measured {
    let drawn: Vec<RunResult> = (0..RUNS).map(|n| run(cell, RunKey::Batch(n))).collect();
    let mut out = Measured::default();
    for mark in drawn.iter().flat_map(|result| &result.marks) {
        *out.marks.entry(mark.clone()).or_default() += 1;
    }
    for &mechanism in &cell.expectation.mechanisms {
        let scripted = plans::canonical(&cell.decides, cell.family, mechanism, &cell.context).len();
        let mut unseen = never(
            rate(shown_by(&drawn, mechanism), RUNS),
            suite.seeds + suite.search / 2,
        );
        for plan in 0..scripted {
            let shows = |n| {
                let result = run(cell, RunKey::Canonical { mechanism, plan, n });
                shows(&result, mechanism)
            };
            let shown = (0..RUNS).filter(|n| shows(*n)).count() as u64;
            let searched = suite.search / 2 / scripted as u64;
            let tried = suite.tries + searched;
            let few = never(rate(shown, RUNS), tried);
            // Measured better only where it matters.
            unseen *= match unseen * few < NEGLIGIBLE {
                true => few,
                false => never(measured(RUNS, shown, shows), tried),
            };
        }
        out.ways
            .push((unseen, format!("{} shows no {mechanism}", cell.id)));
    }
    if cell.expectation.mechanisms.is_empty() {
        let open = drawn.iter().filter(|result| result.exposed).count() as u64;
        let again = |n| run(cell, RunKey::Batch(n)).exposed;
        let exposed = never(measured(RUNS, open, again), suite.seeds + suite.search);
        out.ways
            .push((exposed, format!("{} is never exposed", cell.id)));
    }
    out
}

fn canary(suite: &Suite) -> (f64, String) {
    let cell = canary_cell(suite).expect("it is valid");
    let caught = |n: u64| {
        let seed = RunKey::Batch(n).seed(BASE, &cell.seed_group);
        let wire = Wire::Sampled.of(seed);
        let result =
            everyack_sim::run(&cell.spec(seed, cell.draw(seed), wire, Some(suite.canary.bug)));
        !result.losses.is_empty() || !result.anomalies.is_empty()
    };
    let caught = (0..MORE_RUNS).filter(|n| caught(*n)).count() as u64;
    let missed = never(rate(caught, MORE_RUNS), suite.canary.seeds);
    (missed, "the canary is not caught".to_owned())
}

fn judge(suite: &Suite) {
    let cells = suite.cells().expect("it is valid");
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Vec::new());
    let worker = || {
        while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
            let measured = measure(suite, cell);
            all.lock().expect("no thread panics").push(measured);
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            scope.spawn(worker);
        }
    });
    let all = all.into_inner().expect("no thread panics");
    let mut ways: Vec<(f64, String)> = vec![canary(suite)];
    for mark in &suite.required_marks {
        let cell_misses = |cell: &Measured| {
            never(
                rate(cell.marks.get(mark).copied().unwrap_or(0), RUNS),
                suite.seeds,
            )
        };
        let missed: f64 = all.iter().map(cell_misses).product();
        ways.push((missed, format!("the mark {mark} is never reached")));
    }
    ways.extend(all.into_iter().flat_map(|cell| cell.ways));
    ways.sort_by(|a, b| b.0.total_cmp(&a.0));
    let sum: f64 = ways.iter().map(|(probability, _)| probability).sum();
    println!(
        "{}: a correct build fails with a probability below {sum:.1e}",
        suite.name
    );
    for (probability, way) in ways.iter().take(LISTED) {
        println!("  {probability:.1e}  {way}");
    }
}

fn main() {
    // `cargo test --benches` and `cargo bench --no-run` only want to know that it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    for (name, _) in suite::BUNDLED {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            let suite = suite::bundled(name).expect("it is bundled");
            judge(&suite.expect("it is valid"));
        }
    }
}
