//! Resident memory after 1,000 and after 20,000 seeds of the standard run on two jobs: it must be flat.
//!
//! `cargo bench -p everyack-scenarios --bench memory`. Reads `/proc/self/statm`, so Linux only.

use everyack_scenarios::suite;
use everyack_sim::run::sampled_wire;
use std::sync::atomic::{AtomicU64, Ordering};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const JOBS: u64 = 2;
const SOME_SEEDS: u64 = 1_000;
const SEEDS: u64 = 20_000;

#[allow(clippy::disallowed_methods)] // a benchmark looks at its own process
fn resident_mib() -> f64 {
    let statm =
        std::fs::read_to_string("/proc/self/statm").expect("Linux tells a process its size");
    let pages = statm.split_whitespace().nth(1).expect("the second field");
    pages.parse::<f64>().expect("a number of pages") * 4096.0 / 1024.0 / 1024.0
}

fn main() {
    // `cargo test --benches` and `cargo bench --no-run` only want to know that it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let suite = suite::bundled("standard")
        .expect("it is bundled")
        .expect("it is valid");
    let cell = suite.cells().expect("it is valid").remove(0);
    let next = AtomicU64::new(0);
    let job = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return;
            }
            let spec = cell.spec(seed, cell.draw(seed), sampled_wire(seed), None);
            std::hint::black_box(everyack_sim::run(&spec));
            if seed + 1 == SOME_SEEDS || seed + 1 == SEEDS {
                println!(
                    "{} seeds on {JOBS} jobs: {:.1} MiB resident",
                    seed + 1,
                    resident_mib()
                );
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(job);
        }
    });
}
