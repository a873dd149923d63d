//! `trace-hashes`: the trace hash of each seed, one line each, for the determinism gate, which
//! compares these lines between processes, thread counts and wire modes.

use crate::args::{RunWire, TraceHashesArguments};
use crate::exit::{Error, Status};
use crate::{input, output};
use everyack_scenarios::suite::CellPlan;
use everyack_sim::run::{Plant, run_with};
use everyack_sim::spec::{Record, RunSpec, WireMode};
use everyack_sim::{RunResult, result::Outcome};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Prints `seed hash` lines in the order of the seeds, or with `--steps` every step of one seed.
pub fn trace_hashes(arguments: &TraceHashesArguments) -> Result<Status, Error> {
    let suite = input::suite(&arguments.suite)?;
    let cells = suite
        .cells()
        .map_err(|error| Error::Input(error.to_string()))?;
    let cell = cells.first().ok_or_else(|| {
        Error::Input(format!(
            "--suite {}: found no cell, allowed is a suite with one",
            arguments.suite
        ))
    })?;
    let plant = if arguments.plant_hash_map {
        Plant::HashMapOrder
    } else {
        Plant::Nothing
    };
    warm_up(cell, arguments, plant)?;
    let text = match arguments.steps {
        Some(seed) => steps(cell, arguments, seed, plant)?,
        None => hashes(cell, arguments, plant)?,
    };
    output::print(&text)?;
    Ok(Status::AsPromised)
}

fn spec(cell: &CellPlan, arguments: &TraceHashesArguments, seed: u64) -> RunSpec {
    let wire = match arguments.wire {
        RunWire::Typed => WireMode::Typed,
        RunWire::Bytes => WireMode::Bytes,
    };
    cell.spec(seed, cell.draw(seed), wire, None)
}

/// Runs seeds that are not asked for, so that whatever a process keeps between runs has changed.
fn warm_up(cell: &CellPlan, arguments: &TraceHashesArguments, plant: Plant) -> Result<(), Error> {
    let first = arguments.from.wrapping_add(arguments.count);
    in_parallel(arguments.warm, arguments.jobs, |n| {
        let seed = first.wrapping_add(n);
        finished(seed, run_with(&spec(cell, arguments, seed), plant)).map(drop)
    })
    .map(drop)
}

fn hashes(
    cell: &CellPlan,
    arguments: &TraceHashesArguments,
    plant: Plant,
) -> Result<String, Error> {
    let hashes = in_parallel(arguments.count, arguments.jobs, |n| {
        let seed = arguments.from.wrapping_add(n);
        let result = finished(seed, run_with(&spec(cell, arguments, seed), plant))?;
        Ok((seed, result.trace_hash))
    })?;
    let mut text = String::new();
    for (seed, hash) in hashes {
        writeln!(text, "{seed:#x} {hash:016x}").expect("a string takes every line");
    }
    Ok(text)
}

fn steps(
    cell: &CellPlan,
    arguments: &TraceHashesArguments,
    seed: u64,
    plant: Plant,
) -> Result<String, Error> {
    let spec = RunSpec {
        record: Record::Full,
        ..spec(cell, arguments, seed)
    };
    Ok(step_lines(&finished(seed, run_with(&spec, plant))?))
}

/// One line a step: number, simulated nanoseconds, node, trace hash after it, input.
pub fn step_lines(result: &RunResult) -> String {
    let mut text = String::new();
    for step in &result.steps {
        let (n, at, node) = (step.step, step.at_ns, step.node);
        writeln!(text, "{n} {at} {node} {:016x} {}", step.hash, step.input)
            .expect("a string takes every line");
    }
    text
}

fn finished(seed: u64, result: RunResult) -> Result<RunResult, Error> {
    match &result.outcome {
        Outcome::Finished => Ok(result),
        Outcome::LimitReached(limit) => Err(Error::Testbed(format!(
            "seed {seed:#x} reached the limit {limit}"
        ))),
        Outcome::Panicked(message) => Err(Error::Testbed(format!(
            "seed {seed:#x} panicked: {message}"
        ))),
    }
}

/// Does the same for 0..count, on so many threads, and gives what came out in that order.
fn in_parallel<T: Send>(
    count: u64,
    jobs: u16,
    work: impl Fn(u64) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let next = AtomicU64::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    let outcome = work(n);
                    done.lock()
                        .expect("no work panics while it holds the list")
                        .push((n, outcome));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .expect("no work panics while it holds the list");
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_in_order_whatever_the_number_of_threads() {
        for jobs in [1, 2, 7] {
            assert_eq!(
                in_parallel(20, jobs, |n| Ok(n * n)),
                Ok((0..20).map(|n| n * n).collect())
            );
        }
        let failed = in_parallel(5, 2, |n| match n {
            3 => Err(Error::Testbed("three".to_string())),
            n => Ok(n),
        });
        assert_eq!(failed, Err(Error::Testbed("three".to_string())));
    }
}
