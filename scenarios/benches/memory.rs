//! Resident memory after 1,000 and after 20,000 seeds of the standard run: it must be flat.
//!
//! `cargo bench -p everyack-scenarios --bench memory`. Reads `/proc/self/statm`, so Linux only.

use everyack_scenarios::suite;
use everyack_sim::run::sampled_wire;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    for seed in 0..20_000u64 {
        let spec = cell.spec(seed, cell.draw(seed), sampled_wire(seed), None);
        std::hint::black_box(everyack_sim::run(&spec));
        if seed + 1 == 1_000 || seed + 1 == 20_000 {
            println!("{} seeds: {:.1} MiB resident", seed + 1, resident_mib());
        }
    }
}
