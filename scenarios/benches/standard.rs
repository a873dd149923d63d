//! The yardstick of speed: the standard run on one core, and a run at Kafka's default timeouts.
//!
//! `cargo bench -p everyack-scenarios --bench standard`. Beside criterion's figures it prints runs a
//! second, simulated seconds a second, nanoseconds a request, the shares of the program's parts in the
//! time of the standard run, and what a second job adds. The floor, the kernel's empty echo, is
//! `cargo bench -p everyack-sim --bench kernel`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a benchmark reads the clock

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use everyack_scenarios::suite::{self, CellPlan};
use everyack_sim::fault::Family;
use everyack_sim::parts::{self, Part};
use everyack_sim::run::sampled_wire;
use everyack_sim::spec::RunSpec;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seeds of one iteration, one of which travels as bytes.
const SEEDS: u64 = 16;

fn standard() -> CellPlan {
    let suite = suite::bundled("standard")
        .expect("it is bundled")
        .expect("it is valid");
    suite.cells().expect("it is valid").remove(0)
}

fn specs(cell: &CellPlan) -> Vec<RunSpec> {
    (0..SEEDS)
        .map(|seed| cell.spec(seed, cell.draw(seed), sampled_wire(seed), None))
        .collect()
}

/// The same at Kafka's default timeouts, spread over 300 simulated seconds.
fn at_default_timeouts() -> Vec<RunSpec> {
    let mut specs = specs(&standard());
    for spec in &mut specs {
        let timeouts = [
            "timeout",
            "heartbeat",
            "lag.time",
            "backoff",
            "connection.setup",
        ];
        let files = &mut spec.properties;
        for map in [&mut files.broker, &mut files.producer, &mut files.consumer] {
            map.retain(|key, _| !timeouts.iter().any(|word| key.contains(word)));
        }
        spec.workload.spread_ms = 300_000;
        spec.limits.simulated_ms = 3_600_000;
        spec.plan.faults.clear();
        spec.family = Family::None.name().into();
    }
    specs
}

/// Runs every spec; simulated nanoseconds and requests.
fn run_all(specs: &[RunSpec]) -> (u64, u64) {
    specs.iter().fold((0, 0), |(simulated, requests), spec| {
        let result = everyack_sim::run(black_box(spec));
        (simulated + result.simulated_ns, requests + result.requests)
    })
}

fn print_figures(name: &str, specs: &[RunSpec]) {
    let start = Instant::now();
    let (simulated, requests) = run_all(specs);
    let wall = start.elapsed().as_secs_f64();
    println!(
        "{name}: {:.0} runs/s, {:.0} simulated s/s, {:.0} ns a request, {} requests a run",
        specs.len() as f64 / wall,
        simulated as f64 / 1e9 / wall,
        wall * 1e9 / requests as f64,
        requests / specs.len() as u64,
    );
}

/// How often the sampler looks which part is at work.
const SAMPLE_EVERY: Duration = Duration::from_micros(50);
/// For how long.
const SAMPLED: Duration = Duration::from_secs(5);

/// The shares of the parts in the time of the runs, looked at from another thread.
fn print_shares(specs: &[RunSpec]) {
    let done = AtomicBool::new(false);
    let counts = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut counts = Part::ALL.map(|_| 0u32);
            while !done.load(Ordering::Relaxed) {
                counts[parts::at_work() as usize] += 1;
                thread::sleep(SAMPLE_EVERY);
            }
            counts
        });
        let start = Instant::now();
        while start.elapsed() < SAMPLED {
            run_all(specs);
        }
        done.store(true, Ordering::Relaxed);
        sampler.join().expect("the sampler does not panic")
    });
    let samples = f64::from(counts.iter().sum::<u32>());
    let mut shares: Vec<(Part, f64)> = Part::ALL
        .map(|part| (part, f64::from(counts[part as usize]) / samples))
        .to_vec();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shares = shares
        .iter()
        .map(|(part, share)| format!("{} {:.0} %", part.name(), 100.0 * share));
    println!(
        "shares: {} ({samples} samples)",
        shares.collect::<Vec<_>>().join(", ")
    );
}

/// Rounds of one job, then two, to compare: what else the machine does hits both.
const ROUNDS: usize = 9;
/// Seeds of each in such a round.
const ROUND_SEEDS: usize = 96;

/// Runs a second of two jobs over those of one: the median of interleaved rounds.
fn print_second_job(specs: &[RunSpec]) {
    let specs: Vec<RunSpec> = specs.iter().cycle().take(ROUND_SEEDS).cloned().collect();
    let seconds = |jobs: usize| {
        let next = AtomicUsize::new(0);
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some(spec) = specs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        black_box(everyack_sim::run(spec));
                    }
                });
            }
        });
        start.elapsed().as_secs_f64()
    };
    let mut factors: Vec<f64> = (0..ROUNDS).map(|_| seconds(1) / seconds(2)).collect();
    factors.sort_by(f64::total_cmp);
    println!(
        "two jobs: {:.2} times one (median of {ROUNDS} rounds in turn, {:.2} to {:.2})",
        factors[ROUNDS / 2],
        factors[0],
        factors[ROUNDS - 1],
    );
}

fn runs(criterion: &mut Criterion) {
    let standard_specs = specs(&standard());
    run_all(&standard_specs);
    print_shares(&standard_specs);
    print_second_job(&standard_specs);
    let mut group = criterion.benchmark_group("run");
    group.sample_size(10);
    group.throughput(Throughput::Elements(SEEDS));
    for (name, specs) in [
        ("standard", standard_specs),
        ("300 s at default timeouts", at_default_timeouts()),
    ] {
        run_all(&specs);
        print_figures(name, &specs);
        group.bench_function(name, |bencher| bencher.iter(|| run_all(&specs)));
    }
    group.finish();
}

criterion_group!(benches, runs);
criterion_main!(benches);
