//! Witnesses of drawn plans, shrunk: one of each of ten families of the suite `guide`, the first whose
//! drawn plans lose something, by its first mechanism.
//!
//! `cargo bench -p everyack-scenarios --bench shrink`. A run's events are those of the kernel.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a benchmark reads the clock

use everyack_scenarios::failure::{Build, Failure, Showed};
use everyack_scenarios::runner::{RunKey, Wire};
use everyack_scenarios::shrink::{self, Shrunk};
use everyack_scenarios::suite::{self, CellPlan};
use std::collections::BTreeSet;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Witnesses to shrink.
const WITNESSES: usize = 10;
/// Drawn plans that a cell is given to lose something.
const PLANS: u64 = 100;
/// Unlike that of campaigns.
const BASE: u64 = 0x7368_7269;

/// The first drawn plan of a cell that loses something.
fn witness(cell: &CellPlan) -> Option<Failure> {
    let build = Build {
        everyack: env!("CARGO_PKG_VERSION").into(),
        commit: "unknown".into(),
        rustc: "unknown".into(),
        target: "unknown".into(),
    };
    (0..PLANS).find_map(|n| {
        let key = RunKey::Batch(n);
        let seed = key.seed(BASE, &cell.seed_group);
        let spec = cell.spec(seed, key.plan(cell, seed), Wire::Sampled.of(seed), None);
        let result = everyack_sim::run(&spec);
        let mechanism = result.losses.iter().find_map(|loss| loss.mechanism)?;
        let (showed, hash) = (Showed::of(&result), result.trace_hash);
        let name = mechanism.id();
        Some(Failure::of(&build, "guide", cell, name, spec, showed, hash))
    })
}

fn main() {
    let suite = suite::bundled("guide")
        .expect("it is bundled")
        .expect("it is valid");
    println!(
        "events of the run, faults, messages and settings before > after; runs and time that it took"
    );
    let mut families = BTreeSet::new();
    for cell in suite.cells().expect("it is valid") {
        if families.len() == WITNESSES || families.contains(&cell.family) {
            continue;
        }
        let Some(failure) = witness(&cell) else {
            continue;
        };
        families.insert(cell.family);
        let start = Instant::now();
        let shrunk = shrink::shrink(&failure, &failure.build, &everyack_sim::run, &mut |_, _| {
            true
        });
        let seconds = start.elapsed().as_secs_f64();
        let Shrunk {
            before,
            after,
            runs,
            ..
        } = shrunk.expect("the same build shows the same");
        println!(
            "{:<44} {:>4} {:>6} > {:<5} {:>2} > {:<2} {:>4} > {:<3} {:>2} > {:<2} {runs:>4} runs {seconds:>5.2} s",
            cell.id,
            failure.mechanism,
            before.events,
            after.events,
            before.faults,
            after.faults,
            before.messages,
            after.messages,
            before.settings,
            after.settings,
        );
    }
}
