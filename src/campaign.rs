//! A campaign, as `run` and `check` share it: from the flags to the runner, and from what came out
//! to the files, the terminal and the exit status, which `report` shares too.

use crate::args::{CampaignArguments, Format, SeedBase, Wire};
use crate::exit::{Error, Status};
use crate::github;
use crate::interrupt;
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::seed_base;
use crate::stories;
use everyack_reports::{html, json, junit, terminal};
use everyack_scenarios::failure::{Build, Failure};
use everyack_scenarios::report::Report;
use everyack_scenarios::runner::{self, Campaign, Exit, Filter, Host, Options, run_suite};
use everyack_scenarios::suite::Suite;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The base of seeds when nobody says: `everyack` in ASCII. Fixed, so that a suite gives the same
/// runs everywhere until somebody asks for others.
pub const SEED_BASE: u64 = u64::from_be_bytes(*b"everyack");

/// What is written and printed.
pub struct Results<'a> {
    /// The report.
    pub report: &'a Report,
    /// The saved runs that are at hand, by the file that the report names.
    pub failures: &'a BTreeMap<String, Failure>,
    /// Whether to tell GitHub too.
    pub github: bool,
}

/// Runs a suite and tells what came out. `command` is what was typed, without the flags for how much
/// and where.
pub fn judge(
    suite: &Suite,
    command: String,
    arguments: &CampaignArguments,
) -> Result<Status, Error> {
    let options = options(command, arguments)?;
    let stop = interrupt::on_interrupt()?;
    let output = Output::create(&arguments.out)?;
    let mut campaign = run(suite, &options, &stop, arguments.quiet)?;
    let diverged = stories::tell(&mut campaign.saved, options.jobs, &stop);
    for saved in &campaign.saved {
        output.write(&saved.file(), &json::failure(&saved.failure))?;
        if let Some(shrunk) = &saved.shrunk {
            output.write(&saved.shrunk_file(), &json::failure(&shrunk.failure))?;
        }
    }
    let mut failures = BTreeMap::new();
    for saved in campaign.saved {
        if let Some(shrunk) = &saved.shrunk {
            failures.insert(saved.shrunk_file(), shrunk.failure.clone());
        }
        failures.insert(saved.file(), saved.failure);
    }
    if campaign.exit == Exit::Interrupted {
        eprintln!("everyack: interrupted: this covers the runs that had finished");
    }
    publish(
        &output,
        &Results {
            report: &campaign.report,
            failures: &failures,
            github: arguments.github,
        },
        arguments.format,
    )?;
    match diverged.into_iter().next() {
        Some(line) => Err(Error::Testbed(line)),
        None => Ok(status(campaign.exit)),
    }
}

/// Writes everything that scripts read, and then prints: a reader that goes away, or a failure of the
/// printing, takes nothing with it.
pub fn publish(output: &Output, results: &Results<'_>, format: Format) -> Result<(), Error> {
    let report = results.report;
    output.write("report.json", &json::render(report))?;
    output.write("index.html", &html::render(report, results.failures))?;
    output.write("junit.xml", &junit::render(report, report.demanded()))?;
    if results.github {
        github::tell(report)?;
    }
    output::print(&match format {
        Format::Json => json::render(report),
        Format::Text => terminal::render(report, style()),
    })
}

fn run(
    suite: &Suite,
    options: &Options,
    stop: &AtomicBool,
    quiet: bool,
) -> Result<Campaign, Error> {
    let progress = Progress::new(quiet, options.budget);
    let runs = AtomicU64::new(0);
    let host = Host {
        run: &|spec| {
            let result = everyack_sim::run(spec);
            runs.fetch_add(1, Ordering::Relaxed);
            result
        },
        progress: &|at| progress.advanced(runs.load(Ordering::Relaxed), at.done, at.total),
        stop,
        clock: &|| progress.elapsed(),
    };
    let campaign = run_suite(suite, options, &host);
    progress.end();
    campaign.map_err(|error| Error::Input(error.to_string()))
}

fn options(command: String, arguments: &CampaignArguments) -> Result<Options, Error> {
    let filter = arguments.filter.as_deref().unwrap_or_default();
    Ok(Options {
        command,
        seeds: arguments.seeds,
        budget: arguments.budget,
        seed_base: seed_base::resolve(arguments.seed_base.unwrap_or(SeedBase::Number(SEED_BASE)))?,
        jobs: arguments.jobs.map_or_else(cores, usize::from),
        filter: Filter::parse(filter).map_err(Error::Input)?,
        shard: arguments.shard.map(|shard| (shard.index, shard.of)),
        wire: match arguments.wire {
            Wire::Typed => runner::Wire::Typed,
            Wire::Bytes => runner::Wire::Bytes,
            Wire::Sampled => runner::Wire::Sampled,
        },
        bug: arguments.bug,
        shrink: arguments.shrink_budget,
        strict: arguments.strict,
        out: arguments.out.display().to_string(),
        build: build(),
    })
}

/// All of them.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What built this program.
pub fn build() -> Build {
    Build {
        everyack: env!("CARGO_PKG_VERSION").to_string(),
        commit: env!("EVERYACK_COMMIT").to_string(),
        rustc: env!("EVERYACK_RUSTC").to_string(),
        target: env!("EVERYACK_TARGET").to_string(),
    }
}

/// Colour on a terminal, unless `NO_COLOR` is set to anything (no-color.org).
#[allow(clippy::disallowed_methods)] // the environment decides on colour and nothing else
fn style() -> terminal::Style {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    terminal::Style {
        width: terminal::WIDTH,
        colour: std::io::stdout().is_terminal() && !no_color,
    }
}

/// The exit status of what the runner found.
pub fn status(exit: Exit) -> Status {
    match exit {
        Exit::AsPromised => Status::AsPromised,
        Exit::Broken => Status::Broken,
        Exit::Testbed => Status::TestbedFailed,
        Exit::Interrupted => Status::Interrupted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_and_the_command_line_mean_the_same_status() {
        for exit in [
            Exit::AsPromised,
            Exit::Broken,
            Exit::Testbed,
            Exit::Interrupted,
        ] {
            assert_eq!(i32::from(status(exit).code()), exit.code());
        }
    }

    #[test]
    fn the_program_knows_what_built_it() {
        let build = build();
        assert!(build.rustc.starts_with("rustc "), "{build:?}");
        assert!(build.target.contains('-'), "{build:?}");
    }
}
