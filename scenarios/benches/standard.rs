//! The yardstick of speed: the standard run on one core, and a run at Kafka's default timeouts.
//!
//! `cargo bench -p everyack-scenarios --bench standard`. Beside criterion's figures it prints runs a
//! second, simulated seconds a second and nanoseconds a request. The floor, the kernel's empty echo,
//! is `cargo bench -p everyack-sim --bench kernel`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use everyack_scenarios::suite::{self, CellPlan};
use everyack_sim::fault::Family;
use everyack_sim::run::sampled_wire;
use everyack_sim::spec::RunSpec;
use std::hint::black_box;

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

#[allow(clippy::disallowed_methods, clippy::disallowed_types)] // a benchmark reads the clock
fn print_figures(name: &str, specs: &[RunSpec]) {
    let start = std::time::Instant::now();
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

fn runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("run");
    group.sample_size(10);
    group.throughput(Throughput::Elements(SEEDS));
    for (name, specs) in [
        ("standard", specs(&standard())),
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
