//! How likely a correct build is to fail a bundled suite by bad luck, the seed base drawn anew each
//! time: a mechanism that no run happens to show, a cell in which no run happens to be exposed, a
//! required mark that is not reached, a canary that is not caught.
//!
//! `cargo bench -p everyack-scenarios --bench power [SUITE..]`. Each rate is measured over runs of its
//! own and taken at the lower end of its 95 % interval; the probabilities of the ways to fail are added.

use everyack_scenarios::plans;
use everyack_scenarios::runner::statistics::lower_95;
use everyack_scenarios::runner::{RunKey, Wire};
use everyack_scenarios::suite::{self, CellPlan, Suite};
use everyack_sim::RunResult;
use everyack_sim::mechanism::Mechanism;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs for each rate, in a suite of few cells and in one of many.
const RUNS: (u64, u64) = (120, 40);
const FEW: usize = 100;
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

fn measure(suite: &Suite, cell: &CellPlan, runs: u64) -> Measured {
    let drawn: Vec<RunResult> = (0..runs).map(|n| run(cell, RunKey::Batch(n))).collect();
    let mut out = Measured::default();
    for mark in drawn.iter().flat_map(|result| &result.marks) {
        *out.marks.entry(mark.clone()).or_default() += 1;
    }
    let mut exposed = never(
        rate(
            drawn.iter().filter(|result| result.exposed).count() as u64,
            runs,
        ),
        suite.seeds,
    );
    for &mechanism in &cell.expectation.mechanisms {
        let scripted = plans::canonical(&cell.decides, cell.family, mechanism, &cell.context).len();
        let mut unseen = never(
            rate(shown_by(&drawn, mechanism), runs),
            suite.seeds + suite.search / 2,
        );
        for plan in 0..scripted {
            let scripts = (0..runs).map(|n| run(cell, RunKey::Canonical { mechanism, plan, n }));
            let (mut shown, mut open) = (0, 0);
            for result in scripts {
                shown += u64::from(shows(&result, mechanism));
                open += u64::from(result.exposed);
            }
            unseen *= never(
                rate(shown, runs),
                suite.tries + suite.search / 2 / scripted as u64,
            );
            exposed *= never(rate(open, runs), 1);
        }
        out.ways
            .push((unseen, format!("{} shows no {mechanism}", cell.id)));
    }
    out.ways
        .push((exposed, format!("{} is never exposed", cell.id)));
    out
}

fn judge(suite: &Suite) {
    let cells = suite.cells().expect("it is valid");
    let runs = if cells.len() < FEW { RUNS.0 } else { RUNS.1 };
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Vec::new());
    let worker = || {
        while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
            let measured = measure(suite, cell, runs);
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
    let mut ways: Vec<(f64, String)> = Vec::new();
    for mark in &suite.required_marks {
        let cell_misses = |cell: &Measured| {
            never(
                rate(cell.marks.get(mark).copied().unwrap_or(0), runs),
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
