//! Where the time of the standard run goes, by part: samples of its stack, each counted for the innermost
//! function of ours.
//!
//! `cargo bench -p everyack-scenarios --features shares --bench shares`. A sample in the allocator, in a
//! map or in a checksum counts for whoever called it. On Unix only.

use everyack_scenarios::suite;
use everyack_sim::run::sampled_wire;
use std::collections::BTreeMap;
use std::fmt::Write;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs that are sampled.
const SEEDS: u64 = 1_000;
/// Samples a second of CPU time; a prime, so that nothing in a run keeps step with it.
const FREQUENCY: i32 = 997;

/// Parts, and the modules whose functions belong to them; the first that fits.
const PARTS: [(&str, &[&str]); 8] = [
    (
        "clients",
        &["everyack_broker::client", "everyack_sim::application"],
    ),
    (
        "broker",
        &[
            "everyack_broker::log",
            "everyack_broker::replica",
            "everyack_broker::broker",
            "everyack_broker::coordinator",
        ],
    ),
    ("controller", &["everyack_broker::controller"]),
    ("wire values", &["everyack_broker::wire", "everyack_broker"]),
    ("network", &["everyack_sim::kernel::network"]),
    ("disk", &["everyack_sim::kernel::disk"]),
    (
        "checkers",
        &[
            "everyack_sim::check",
            "everyack_sim::history",
            "everyack_sim::attribution",
            "everyack_sim::marks",
            "everyack_sim::run",
            "everyack_sim::inject",
            "everyack_sim::event",
        ],
    ),
    ("events", &["everyack_sim", "madsim"]),
];

/// The part that a function belongs to; `None` for what is not ours.
fn part_of(function: &str) -> Option<&'static str> {
    let path = function.trim_start_matches(['<', '&', '(']);
    let fits = |module: &&str| path.starts_with(*module);
    let part = PARTS.iter().find(|(_, modules)| modules.iter().any(fits));
    part.map(|(name, _)| *name)
}

/// The part of the innermost function of ours at a place in the program, inlined ones included.
fn part_at(frame: &backtrace::Frame) -> Option<&'static str> {
    let mut part = None;
    backtrace::resolve_frame(frame, |symbol| {
        let name = symbol.name().map(|name| name.to_string());
        part = part.or_else(|| part_of(&name?));
    });
    part
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
    let guard = pprof::ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        .build()
        .expect("a process may profile itself");
    for seed in 0..SEEDS {
        let spec = cell.spec(seed, cell.draw(seed), sampled_wire(seed), None);
        std::hint::black_box(everyack_sim::run(&spec));
    }
    let report = guard.report().build_unresolved().expect("it was sampled");
    let mut samples: BTreeMap<&str, isize> = BTreeMap::new();
    // A look into the debug information takes milliseconds.
    let mut known: BTreeMap<usize, Option<&'static str>> = BTreeMap::new();
    for (stack, count) in &report.data {
        let part = stack.frames.iter().find_map(|frame| {
            let address = frame.ip() as usize;
            *known.entry(address).or_insert_with(|| part_at(frame))
        });
        *samples.entry(part.unwrap_or("the rest")).or_default() += count;
    }
    let all: isize = samples.values().sum();
    let mut shares: Vec<(&str, isize)> = samples.into_iter().collect();
    shares.sort_by_key(|(name, count)| (-count, *name));
    let mut line = format!("{SEEDS} standard runs, {all} samples:");
    for (name, count) in shares {
        let percent = 100.0 * count as f64 / all as f64;
        write!(line, " {name} {percent:.0} %,").expect("a string takes all");
    }
    println!("{}", line.trim_end_matches(','));
}
