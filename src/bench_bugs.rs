//! `bench-bugs`: is each planted bug found, and how soon?

use crate::args::{BenchBugsArguments, Format, SeedBase};
use crate::campaign::{SEED_BASE, cores};
use crate::exit::{Error, Status};
use crate::interrupt::on_interrupt;
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::{input, seed_base};
use everyack_broker::bug::Bug;
use everyack_reports::bugs;
use everyack_scenarios::bug_bench::{Bench, LAST, Line, sooner, table};
use everyack_scenarios::suite::Suite;
use std::sync::atomic::{AtomicU64, Ordering};

/// Measures the bugs, or looks whether those of the checked-in table are still found, and writes the
/// table. 1 where one of them is not.
pub fn bench_bugs(arguments: &BenchBugsArguments) -> Result<Status, Error> {
    let suites: Result<Vec<Suite>, Error> = arguments
        .suites
        .iter()
        .map(|name| input::suite(name))
        .collect();
    let suites = suites?;
    let seed_base = seed_base::resolve(arguments.seed_base.unwrap_or(SeedBase::Number(SEED_BASE)))?;
    let chosen = chosen(arguments, seed_base);
    let output = Output::create(&arguments.out)?;
    let stop = on_interrupt()?;
    let progress = Progress::new(arguments.quiet, None);
    let runs = AtomicU64::new(0);
    let known = table();
    let mut lines: Vec<Line> = Vec::new();
    for (at, bug) in chosen.iter().enumerate() {
        let told = || format!("{} ({} of {})", bug.name(), at + 1, chosen.len());
        let bench = Bench {
            run: &everyack_sim::run,
            ran: &|| {
                let runs = runs.fetch_add(1, Ordering::Relaxed) + 1;
                progress.stands(runs, &told);
            },
            stop: &stop,
            jobs: arguments.jobs.map_or_else(cores, usize::from),
            seed_base,
        };
        let line = match arguments.check {
            true => checked(&bench, *bug, &known)?,
            false => measured(&bench, *bug, &suites)?,
        };
        if stop.load(Ordering::Relaxed) {
            break;
        }
        lines.extend(line);
    }
    progress.end();
    output.write("bugs.json", &bugs::json(&lines))?;
    output::print(&match arguments.format {
        Format::Json => bugs::json(&lines),
        Format::Text => bugs::render(&lines),
    })?;
    let expected = |bug: Bug| {
        known
            .iter()
            .any(|line| line.bug == bug && is_reliable(line))
    };
    let missed = |line: &Line| line.found == 0 && expected(line.bug);
    Ok(if stop.load(Ordering::Relaxed) {
        Status::Interrupted
    } else if lines.iter().any(missed) {
        Status::Broken
    } else {
        Status::AsPromised
    })
}

/// All of them, or a sample that begins at another one with each seed base, in the catalogue's order.
fn chosen(arguments: &BenchBugsArguments, seed_base: u64) -> Vec<Bug> {
    let mut all = match arguments.only.is_empty() {
        true => Bug::ALL.to_vec(),
        false => arguments.only.clone(),
    };
    if let Some(sample) = arguments.sample {
        let first = (seed_base % all.len() as u64) as usize;
        all.rotate_left(first);
        all.truncate(usize::from(sample));
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// The suite that finds the bug soonest; nothing after an interrupt.
fn measured(bench: &Bench<'_>, bug: Bug, suites: &[Suite]) -> Result<Option<Line>, Error> {
    let mut best: Option<Line> = None;
    for suite in suites {
        let line = bench.measure(suite, bug);
        let Some(line) = line.map_err(|error| Error::Input(error.to_string()))? else {
            return Ok(None);
        };
        best = Some(match best {
            Some(best) => sooner(best, line),
            None => line,
        });
    }
    Ok(best)
}

/// Whether another search is to find the bug too: several have. What took one long search, beyond the
/// runs that repetitions get, may take longer the next time.
fn is_reliable(line: &Line) -> bool {
    line.found > 0 && line.searches > 1
}

/// One search where the table's searches found it; nothing where they did not.
fn checked(bench: &Bench<'_>, bug: Bug, known: &[Line]) -> Result<Option<Line>, Error> {
    let Some(line) = known
        .iter()
        .find(|line| line.bug == bug && is_reliable(line))
    else {
        return Ok(None);
    };
    let cells = input::suite(&line.suite)?.cells();
    let cells =
        cells.map_err(|error| Error::Testbed(format!("a bundled suite is wrong: {error}")))?;
    let found = bench.search(&cells, bug, 0, LAST);
    let seeds = found.as_ref().map(|found| found.seeds);
    Ok(Some(Line {
        bug,
        suite: line.suite.clone(),
        found_by: found.as_ref().map(|found| found.by.clone()),
        searches: 1,
        found: u64::from(found.is_some()),
        cell: found.map(|found| found.cell),
        seeds_median: seeds,
        seeds_p90: seeds,
    }))
}
