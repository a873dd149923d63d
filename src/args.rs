//! The command line's grammar. What is accepted here is what users script against: commands and
//! flags may be added, and those that exist keep their meaning.

use crate::exit::{Error, Status};
use crate::output;
use clap::error::ErrorKind;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use everyack_broker::bug::Bug;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  everyack run                                    the suite `guide`: each piece of advice, both ways
  everyack run replication --seeds 20 --jobs 4
  everyack run guide --filter 'acks=all,faults=leader-crash'
  everyack run ./my-suite.toml --budget 60s --out nightly
  everyack check --server server.properties --producer producer.properties \\
                 --consumer consumer.properties
  everyack replay everyack-out/failures/<id>.json
  everyack shrink everyack-out/failures/<id>.json
  everyack run --shard 2/4 --out shards/2         one of four parts, on four machines
  everyack report shards/*                        all four merged: what one run gives
  everyack list mechanisms
  everyack serve --brokers 3                      for kcat, confluent-kafka, your own application

Exit status: 0 as promised, 1 a promise broken, 2 the input is wrong, 3 the testbed failed,
130 interrupted (what had finished is reported).
Environment: NO_COLOR, CI=true (plain progress lines).";

const BENCH_BUGS_HELP: &str = "\
A seed is one run; the suite's cells are taken in turn. Twenty searches where the first finds the bug
within 2,000 runs, else one of 20,000.

Examples:
  everyack bench-bugs                             measure all of them: many minutes
  everyack bench-bugs --check --sample 4 --seed-base git
  everyack bench-bugs --only skip-flush --suites guide

Exit status: 0 every bug that the checked-in table has is found, 1 one is not.";

const SHRINK_HELP: &str = "\
Fewer faults, then shorter ones, a smaller load, fewer settings that differ from Kafka's defaults: what
remains still loses by the same mechanism with the same verdict, or breaks the same invariant.

Examples:
  everyack shrink everyack-out/failures/<id>.json
  everyack replay everyack-out/failures/<id>.json.shrunk.json

Exit status: 0 it still fails in the same way, 1 it does not fail at all, 2 the input is wrong.";
const REPORT_HELP: &str = "\
Examples:
  everyack run guide --shard 1/4 --out shards/1    on four machines, 1/4 to 4/4
  everyack report shards/* --out everyack-out      what one run gives
  everyack report nightly                          render one result again, into everyack-out

Each DIR has the report.json and the failures/ of a run, a check or a report. They must be of one
suite, version, commit, seed base and number of seeds, and no two may hold the same cell. Witnesses
and required marks of a bundled suite are judged once all of its cells are there, as `run` judges
them whole. Nothing is run; the exit status is that of `run` over the merged cells.";

const SERVE_HELP: &str = "\
The first line on stdout is `ready bootstrap=127.0.0.1:PORT,...`, once every broker is there. SIGTERM and
SIGINT end the cluster in order (a second one at once): leaderships are moved, logs flushed, the markers
of a clean shutdown written. Each broker has a folder below DIR, and a cluster keeps its number of
brokers. Nobody is authenticated, so it listens on 127.0.0.1 alone. Served are topics, produce (idempotent
too), fetch, offsets, commits by assignment and deletion of records; no consumer groups, transactions or
deletion of topics.

offsets.topic.replication.factor is 3 as in Kafka, or the number of brokers where there are fewer and the
file says nothing; else Kafka's defaults stand for what the file does not set.

Examples:
  everyack serve                                  one broker, any free port, a folder that goes with it
  everyack serve --brokers 3 --port 9092 --data-dir data
  everyack serve --config server.properties -v    and log lines on stderr
  kcat -b 127.0.0.1:9092 -L

Exit status: 0 it was ended, 2 the input is wrong or the port or folder is taken, 3 a broker failed.";

/// Deterministic simulation testing of Kafka's delivery promises: is every acknowledged message
/// eventually consumed?
#[derive(Debug, Parser)]
#[command(name = "everyack", version, about, after_help = EXAMPLES, max_term_width = 100)]
#[command(disable_help_subcommand = true, subcommand_required = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Reads the process's arguments. Help and version are answered here, and so is an error: it
    /// is told in one line.
    ///
    /// # Errors
    /// How the command ended, if it has.
    pub fn read() -> Result<Arguments, Result<Status, Error>> {
        Arguments::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                output::print(&error.to_string()).map(|()| Status::AsPromised)
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(Error::Input(
                "no command; allowed are run, check, replay, shrink, report, bench-bugs, list and serve: see everyack --help"
                    .to_string(),
            )),
            _ => Err(Error::Input(one_line(&error.to_string()))),
        })
    }
}

/// What clap says in several paragraphs, without the usage: `found ...; tip: ...`.
fn one_line(text: &str) -> String {
    let boilerplate = |text: &&str| text.starts_with("Usage:") || text.starts_with("For more");
    let paragraphs = text
        .split("\n\n")
        .map(str::trim)
        .filter(|text| !boilerplate(text));
    let told: Vec<String> = paragraphs
        .map(|text| {
            text.trim_start_matches("error: ")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .filter(|text| !text.is_empty())
        .collect();
    told.join("; ")
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a suite: a bundled name, or a path to a .toml
    Run(RunArguments),
    /// Judge one's own Kafka configuration, from its .properties files
    Check(CheckArguments),
    /// Run one failure file again, verify its trace hash, and tell its story
    Replay(ReplayArguments),
    /// Find the smallest fault plan, workload and configuration that still fail in the same way
    Shrink(ShrinkArguments),
    /// Plant each known bug and count the runs until a suite finds it
    BenchBugs(BenchBugsArguments),
    /// Merge the results of several runs or shards, and render them again
    Report(ReportArguments),
    /// List what can be named on the command line and in suites
    List(ListArguments),
    /// Serve the same brokers on real sockets and disks, for real Kafka clients
    Serve(ServeArguments),
    /// Print the trace hash of each seed of a suite's first cell: the determinism gate compares
    #[command(hide = true)]
    TraceHashes(TraceHashesArguments),
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// A bundled suite's name, or a path to a .toml
    #[arg(default_value = "guide")]
    pub suite: String,
    /// How much, where to, and how.
    #[command(flatten)]
    pub campaign: CampaignArguments,
}

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The brokers' server.properties; taken to be the controllers' too
    #[arg(long, value_name = "FILE")]
    pub server: PathBuf,
    /// The topic's own settings
    #[arg(long, value_name = "FILE")]
    pub topic: Option<PathBuf>,
    /// producer.properties
    #[arg(long, value_name = "FILE")]
    pub producer: Option<PathBuf>,
    /// consumer.properties
    #[arg(long, value_name = "FILE")]
    pub consumer: Option<PathBuf>,
    /// Only these fault families
    #[arg(long, value_name = "LIST")]
    pub faults: Option<String>,
    /// Brokers of the cluster
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=15))]
    pub brokers: u32,
    /// Families that must be survived: single-fault, any, none, or family names; `none` always is
    #[arg(long, value_name = "LIST", default_value = "single-fault")]
    pub tolerate: String,
    /// How much, where to, and how.
    #[command(flatten)]
    pub campaign: CampaignArguments,
}

/// What `run` and `check` have in common.
#[derive(Debug, Args)]
pub struct CampaignArguments {
    /// Seeds per cell
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub seeds: Option<u64>,
    /// Time to spread over the cells instead of a count: 90s, 10m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "seeds")]
    pub budget: Option<Duration>,
    /// Base of the seeds: a number, 0x..., or `git` (HEAD of the repository you stand in)
    #[arg(long, value_name = "S")]
    pub seed_base: Option<SeedBase>,
    /// Runs in parallel [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Only the cells that match all of these, for example 'acks=all,faults=leader-crash'
    #[arg(long, value_name = "KEY=VALUE,..")]
    pub filter: Option<String>,
    /// Every N-th cell, whole, beginning with the I-th (from 1)
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Directory for report.json, index.html, junit.xml and failures/
    #[arg(long, value_name = "DIR", default_value = "everyack-out")]
    pub out: PathBuf,
    /// What goes to stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// How requests travel: as values, encoded, or encoded on one seed in sixteen
    #[arg(long, value_name = "MODE", default_value = "sampled")]
    pub wire: Wire,
    /// Switch a known bug on (see `everyack list bugs`)
    #[arg(long, value_name = "NAME", value_parser = bug)]
    pub bug: Option<Bug>,
    /// Time for shrinking what is saved, for the whole suite at a nominal speed; 0s is none
    #[arg(long, value_name = "TIME", value_parser = duration_or_none, default_value = "5s")]
    pub shrink_budget: Duration,
    /// Demand witnesses, exposure and required marks of any campaign
    #[arg(long, action = ArgAction::SetTrue)]
    pub strict: bool,
    /// Append a job summary to the file that GITHUB_STEP_SUMMARY names, and annotate what fails;
    /// never by itself, since a job may expect a failure
    #[arg(long, action = ArgAction::SetTrue)]
    pub github: bool,
    /// No progress on stderr
    #[arg(long, short, action = ArgAction::SetTrue)]
    pub quiet: bool,
}

/// `replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// A failure file: a saved run with the verdict and the trace hash that it showed
    pub file: PathBuf,
    /// How requests travel, instead of as recorded; the trace hash is the same
    #[arg(long, value_name = "MODE")]
    pub wire: Option<RunWire>,
    /// Print every step of the run as well
    #[arg(long, action = ArgAction::SetTrue)]
    pub trace: bool,
}

/// `shrink`.
#[derive(Debug, Args)]
#[command(after_help = SHRINK_HELP)]
pub struct ShrinkArguments {
    /// A failure file
    pub file: PathBuf,
    /// The smaller failure's file [default: FILE.shrunk.json]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Stop after that time with the smallest so far: 10s, 2m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub budget: Option<Duration>,
    /// No progress on stderr
    #[arg(long, short, action = ArgAction::SetTrue)]
    pub quiet: bool,
}

/// `bench-bugs`.
#[derive(Debug, Args)]
#[command(after_help = BENCH_BUGS_HELP)]
pub struct BenchBugsArguments {
    /// Only these bugs (see `everyack list bugs`)
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = bug)]
    pub only: Vec<Bug>,
    /// Only so many of them, others with each seed base
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub sample: Option<u16>,
    /// The suites that are to find them
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "guide,elections,replication,table"
    )]
    pub suites: Vec<String>,
    /// One search a bug, in the suite that the checked-in table names, instead of measuring
    #[arg(long, action = ArgAction::SetTrue)]
    pub check: bool,
    /// Base of the seeds: a number, 0x..., or `git` (HEAD of the repository you stand in)
    #[arg(long, value_name = "S")]
    pub seed_base: Option<SeedBase>,
    /// Runs in parallel [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Directory for bugs.json
    #[arg(long, value_name = "DIR", default_value = "everyack-out")]
    pub out: PathBuf,
    /// What goes to stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// No progress on stderr
    #[arg(long, short, action = ArgAction::SetTrue)]
    pub quiet: bool,
}

/// `report`.
#[derive(Debug, Args)]
#[command(after_help = REPORT_HELP)]
pub struct ReportArguments {
    /// Directories with the report.json and the failures/ of a run, a check or a report
    #[arg(required = true, value_name = "DIR")]
    pub directories: Vec<PathBuf>,
    /// Directory for what they give together: report.json, index.html, junit.xml and failures/
    #[arg(long, value_name = "DIR", default_value = "everyack-out")]
    pub out: PathBuf,
    /// What goes to stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// Demand witnesses, exposure and required marks even of a part
    #[arg(long, action = ArgAction::SetTrue)]
    pub strict: bool,
    /// Append a job summary to the file that GITHUB_STEP_SUMMARY names, and annotate what fails;
    /// never by itself, since a job may expect a failure
    #[arg(long, action = ArgAction::SetTrue)]
    pub github: bool,
}

/// `serve`.
#[derive(Debug, Args)]
#[command(after_help = SERVE_HELP)]
pub struct ServeArguments {
    /// Brokers, 1 or 3 as a rule
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=15))]
    pub brokers: u16,
    /// Port of the first broker, the others' follow; 0 is any free ones
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub port: u16,
    /// Where the brokers keep their logs [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR", visible_alias = "data")]
    pub data_dir: Option<PathBuf>,
    /// The brokers' server.properties; taken to be the controller's too
    #[arg(long, value_name = "FILE", visible_alias = "server")]
    pub config: Option<PathBuf>,
    /// Log lines on stderr: -v what happens, -vv each request as well
    #[arg(long, short, action = ArgAction::Count)]
    pub verbose: u8,
}

/// `list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// What
    pub what: Listed,
    /// Text, or JSON for scripts
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// `trace-hashes`.
#[derive(Debug, Args)]
pub struct TraceHashesArguments {
    /// A bundled suite's name, or a path to a .toml
    #[arg(long, default_value = "standard")]
    pub suite: String,
    /// First seed
    #[arg(long, value_name = "SEED", value_parser = seed)]
    pub from: u64,
    /// How many seeds
    #[arg(long, value_name = "N")]
    pub count: u64,
    /// Run that many other seeds first, in the same process
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub warm: u64,
    /// Runs in parallel
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: u16,
    /// How requests travel
    #[arg(long, value_name = "MODE", default_value = "typed")]
    pub wire: RunWire,
    /// Instead of the hashes: every step of this seed, with the hash after it
    #[arg(long, value_name = "SEED", value_parser = seed)]
    pub steps: Option<u64>,
    /// Let the order of a std HashMap into every run, so that the gate can be seen to fail
    #[arg(long, action = ArgAction::SetTrue)]
    pub plant_hash_map: bool,
}

/// What `list` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // these words are the documentation
pub enum Listed {
    Suites,
    Faults,
    Properties,
    Bugs,
    Marks,
    Mechanisms,
}

/// What goes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

/// How the requests of a campaign travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wire {
    /// As values.
    Typed,
    /// Encoded and decoded.
    Bytes,
    /// Encoded on one seed in sixteen.
    Sampled,
}

/// How the requests of one run travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RunWire {
    /// As values.
    Typed,
    /// Encoded and decoded.
    Bytes,
}

/// Every `of`-th cell, beginning with the `index`-th, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1 to `of`.
    pub index: u64,
    /// Of how many.
    pub of: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/').and_then(|(index, of)| {
            Some(Shard {
                index: index.trim().parse().ok()?,
                of: of.trim().parse().ok()?,
            })
        });
        parts
            .filter(|shard| (1..=shard.of).contains(&shard.index))
            .ok_or_else(|| "allowed is I/N with 1 <= I <= N, such as 2/4".to_string())
    }
}

/// Where the seeds of a campaign begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedBase {
    /// This number.
    Number(u64),
    /// HEAD of the repository that the command runs in.
    Git,
}

impl FromStr for SeedBase {
    type Err = String;

    fn from_str(text: &str) -> Result<SeedBase, String> {
        match text {
            "git" => Ok(SeedBase::Git),
            number => seed(number).map(SeedBase::Number),
        }
    }
}

/// A seed in decimal or as `0x...`.
pub fn seed(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let parsed = match digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    parsed.map_err(|_| "allowed is a number of 64 bits, in decimal or as 0x...".to_string())
}

fn bug(name: &str) -> Result<Bug, String> {
    Bug::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        format!("allowed are {}", names.join(", "))
    })
}

/// As [`duration`], or none at all.
fn duration_or_none(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        text => duration(text),
    }
}

/// A time with its unit: `1500ms`, `60s`, `10m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let ms_per_unit: u64 = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let ms = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(ms_per_unit));
    match ms {
        Some(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        _ => Err("allowed is a number above 0 with ms, s, m or h, such as 60s".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_grammar_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn run_alone_is_the_guide_with_every_default() {
        let Command::Run(run) = parse("everyack run").unwrap().command else {
            panic!()
        };
        assert_eq!(run.suite, "guide");
        assert_eq!(run.campaign.out, PathBuf::from("everyack-out"));
        assert_eq!(run.campaign.wire, Wire::Sampled);
        assert_eq!(
            (
                run.campaign.seeds,
                run.campaign.seed_base,
                run.campaign.shard
            ),
            (None, None, None)
        );
    }

    #[test]
    fn every_flag_of_a_campaign_is_read() {
        let line = "everyack run table --seeds 7 --seed-base 0xff --jobs 3 --filter acks=all,faults=none \
                    --shard 2/4 --out o --format json --wire bytes --bug skip-flush --strict --github --quiet";
        let Command::Run(run) = parse(&line.split_whitespace().collect::<Vec<_>>().join(" "))
            .unwrap()
            .command
        else {
            panic!()
        };
        let campaign = run.campaign;
        assert_eq!((campaign.seeds, campaign.jobs), (Some(7), Some(3)));
        assert_eq!(campaign.seed_base, Some(SeedBase::Number(255)));
        assert_eq!(campaign.filter.as_deref(), Some("acks=all,faults=none"));
        assert_eq!(campaign.shard, Some(Shard { index: 2, of: 4 }));
        assert_eq!(
            (campaign.format, campaign.bug),
            (Format::Json, Some(Bug::SkipFlush))
        );
        assert!(campaign.strict && campaign.github && campaign.quiet);
    }

    #[test]
    fn report_takes_one_directory_or_more() {
        let line = "everyack report a b --out c --format json --strict --github";
        let Command::Report(report) = parse(line).unwrap().command else {
            panic!()
        };
        assert_eq!(report.directories, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(
            (report.out, report.format),
            (PathBuf::from("c"), Format::Json)
        );
        assert!(report.strict && report.github);
        assert!(parse("everyack report").is_err());
    }

    #[test]
    fn wrong_values_say_what_is_allowed() {
        for (line, says) in [
            ("everyack run --shard 5/4", "1 <= I <= N"),
            ("everyack run --budget 10y", "such as 60s"),
            ("everyack run --seed-base main", "0x"),
            ("everyack run --bug nothing", "skip-flush"),
            ("everyack run --seeds 0", "1..=100000000"),
            ("everyack check", "--server"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
        assert!(parse("everyack run --seeds 1 --budget 5s").is_err());
    }

    #[test]
    fn an_error_is_told_in_one_line_with_its_tip() {
        let told = |line: &str| one_line(&parse(line).unwrap_err().to_string());
        assert_eq!(
            told("everyack check"),
            "the following required arguments were not provided: --server <FILE>"
        );
        assert_eq!(
            told("everyack run --jbos 3"),
            "unexpected argument '--jbos' found; tip: a similar argument exists: '--jobs'"
        );
    }

    #[test]
    fn times_and_seeds_are_read_with_their_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(seed("0x1F"), Ok(31));
        assert_eq!(seed("31"), Ok(31));
        assert!(seed("0x1_0000_0000_0000_0000").is_err());
        assert_eq!("git".parse(), Ok(SeedBase::Git));
    }
}
