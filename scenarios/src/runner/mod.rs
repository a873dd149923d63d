//! The runner: a suite's cells and seeds, on as many threads as asked, and what they add up to.
//!
//! Each cell runs its canonical plans, each with a few seeds until one shows its mechanism; then a
//! fixed batch of drawn plans, from which rates come; then, for mechanisms still without a witness,
//! a capped search. What is saved of them is shrunk, as far as a budget goes. What a run is follows
//! from the seed base, the cell and its number alone ([`RunKey`]), and what runs add up to does not
//! depend on their order ([`Tally`]), so that jobs and shards change nothing but the time.
//!
//! Nothing here reads a clock, a file or a signal: the caller hands in a clock, a stop flag and the
//! function that runs a spec, and writes what comes back.
//!
//! No witness is kept with a suite from campaign to campaign: every mechanism that the model names has a
//! canonical plan, which shows it whatever the seeds, and outlives changes of the code.

mod filter;
mod price;
mod saved;
mod seeds;
pub mod statistics;
mod tally;
mod verdict;

pub use filter::Filter;
pub use saved::Saved;
pub use seeds::{RunKey, Wire};
pub use tally::{Kept, Tally};
pub use verdict::{Exit, Judging, exit, judged_again, missing, verdict};

use crate::failure::Build;
use crate::model::Application;
use crate::report::{
    self, Asked, Cell, CellTopology, MarkCount, Part, Report, RowClaim, Throughput, Twin, Witness,
};
use crate::suite::{CellPlan, Load, Point, Row, Suite, SuiteError};
use everyack_broker::bug::Bug;
use everyack_sim::fault::Family;
use everyack_sim::result::Outcome;
use everyack_sim::spec::PropertyFiles;
use everyack_sim::{RunResult, RunSpec};
use statistics::{rounded, upper_95};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What runs a spec.
pub type RunFn<'a> = &'a (dyn Fn(&RunSpec) -> RunResult + Sync);

/// What the command line says.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The command without its flags for how much and where: `everyack run guide`.
    pub command: String,
    /// Drawn plans a cell, instead of the suite's own number.
    pub seeds: Option<u64>,
    /// Wall-clock time to spread over the cells, instead of a count.
    pub budget: Option<Duration>,
    /// Base of the seeds.
    pub seed_base: u64,
    /// Threads.
    pub jobs: usize,
    /// Only these cells.
    pub filter: Filter,
    /// Every N-th cell, from the I-th on: (I from 1, N).
    pub shard: Option<(u64, u64)>,
    /// How requests travel.
    pub wire: Wire,
    /// A planted bug.
    pub bug: Option<Bug>,
    /// Time for shrinking what is saved, for the whole suite at a nominal speed.
    pub shrink: Duration,
    /// Demand witnesses, exposure and required marks whatever the suite.
    pub strict: bool,
    /// Folder of the output, as commands name it.
    pub out: String,
    /// What built this program.
    pub build: Build,
}

/// What the world around a campaign is.
pub struct Host<'a> {
    /// Runs a spec.
    pub run: RunFn<'a>,
    /// Told after each run.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Raised by SIGINT: runs under way are finished, no other is begun.
    pub stop: &'a AtomicBool,
    /// Wall-clock time since some instant.
    pub clock: &'a (dyn Fn() -> Duration + Sync),
}

/// How far a campaign is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Units of work done.
    pub done: u64,
    /// Units known so far; a search adds to them. With a budget, at least so many.
    pub total: u64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Campaign {
    /// The report.
    pub report: Report,
    /// Runs to save.
    pub saved: Vec<Saved>,
    /// The exit status.
    pub exit: Exit,
}

/// Runs a suite.
///
/// # Errors
/// A filter that no cell matches, or a shard beyond the number of shards.
pub fn run_suite(
    suite: &Suite,
    options: &Options,
    host: &Host<'_>,
) -> Result<Campaign, SuiteError> {
    let all = suite.cells()?;
    let suite_cells = all.len();
    let cells = chosen(suite, options, all)?;
    let started = (host.clock)();
    let campaign = Running {
        suite,
        options,
        host,
        tallies: cells.iter().map(|_| Mutex::new(Tally::default())).collect(),
        cells,
        suite_cells,
        deadline: options.budget.map(|budget| started + budget),
        done: AtomicU64::new(0),
        total: AtomicU64::new(0),
    };
    let canary = campaign.canary()?;
    campaign.canonical();
    campaign.batch();
    campaign.search();
    let prices = campaign.prices();
    Ok(campaign.finish(canary, prices, started))
}

/// The cells that the command line leaves.
fn chosen(
    suite: &Suite,
    options: &Options,
    mut cells: Vec<CellPlan>,
) -> Result<Vec<CellPlan>, SuiteError> {
    let wrong = |key: &str, what: String| SuiteError {
        file: suite.name.clone(),
        line: None,
        key: key.to_owned(),
        what,
    };
    if let Some((shard, of)) = options.shard {
        if shard < 1 || shard > of {
            let what = format!("found {shard}/{of}, allowed is 1/{of} to {of}/{of}");
            return Err(wrong("--shard", what));
        }
        cells.retain(|cell| cell.index as u64 % of == shard - 1);
    }
    let before = cells.len();
    cells.retain(|cell| options.filter.matches(cell));
    if cells.is_empty() && before > 0 {
        let what = format!(
            "found {}, allowed is what matches one of the {before} cells",
            options.filter
        );
        return Err(wrong("--filter", what));
    }
    Ok(cells)
}

struct Running<'a> {
    suite: &'a Suite,
    options: &'a Options,
    host: &'a Host<'a>,
    cells: Vec<CellPlan>,
    /// Cells of the whole suite, whatever was chosen of them.
    suite_cells: usize,
    tallies: Vec<Mutex<Tally>>,
    deadline: Option<Duration>,
    done: AtomicU64,
    total: AtomicU64,
}

impl Running<'_> {
    fn stopped(&self) -> bool {
        let late = || self.deadline.is_some_and(|at| (self.host.clock)() >= at);
        self.host.stop.load(Ordering::Relaxed) || late()
    }

    fn seeds(&self) -> u64 {
        self.options.seeds.unwrap_or(self.suite.seeds)
    }

    /// Does units 0..count on the threads, in order of their numbers as threads come free.
    fn each(&self, count: u64, work: &(dyn Fn(u64) + Sync)) {
        self.total.fetch_add(count, Ordering::Relaxed);
        let next = AtomicU64::new(0);
        let worker = || {
            while !self.stopped() {
                let unit = next.fetch_add(1, Ordering::Relaxed);
                if unit >= count {
                    break;
                }
                work(unit);
                let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
                (self.host.progress)(Progress {
                    done,
                    total: self.total.load(Ordering::Relaxed).max(done),
                });
            }
        };
        // Threads belong to the runner: a run never sees on which one it is.
        std::thread::scope(|scope| {
            for _ in 0..self.options.jobs.max(1) {
                scope.spawn(worker);
            }
        });
    }

    fn spec(&self, cell: &CellPlan, key: RunKey) -> RunSpec {
        let seed = key.seed(self.options.seed_base, &cell.seed_group);
        let plan = key.plan(cell, seed);
        cell.spec(seed, plan, self.options.wire.of(seed), self.options.bug)
    }

    /// Runs one key of a cell and adds it up; true where it shows this mechanism.
    fn one(&self, cell: usize, key: RunKey) -> RunResult {
        let plan = &self.cells[cell];
        let spec = self.spec(plan, key);
        let result = guarded(self.host.run, &spec);
        let mut tally = self.tallies[cell].lock().expect("no thread panics with it");
        tally.add(plan, key, &spec.plan, &result);
        result
    }

    /// Runs the planted bug of the canary's own until it is caught: acks=all, three replicas, min ISR
    /// 2, under drawn plans of leader-crash, whatever the suite is about.
    fn canary(&self) -> Result<Option<report::Canary>, SuiteError> {
        let cell = canary_cell(self.suite)?;
        let canary = self.suite.canary;
        let seeds = AtomicU64::new(0);
        let caught = AtomicBool::new(false);
        self.each(1, &|_| {
            for n in 0..canary.seeds {
                if self.host.stop.load(Ordering::Relaxed) {
                    return;
                }
                let key = RunKey::Batch(n);
                let seed = key.seed(self.options.seed_base, &cell.seed_group);
                let wire = self.options.wire.of(seed);
                let spec = cell.spec(seed, cell.draw(seed), wire, Some(canary.bug));
                let result = guarded(self.host.run, &spec);
                seeds.store(n + 1, Ordering::Relaxed);
                let seen = tally::has_loss(&result) || !result.anomalies.is_empty();
                if result.outcome == Outcome::Finished && seen {
                    caught.store(true, Ordering::Relaxed);
                    return;
                }
            }
        });
        let (caught, seeds) = (caught.into_inner(), seeds.into_inner());
        Ok((caught || seeds == canary.seeds).then(|| report::Canary {
            bug: canary.bug.name().to_owned(),
            caught,
            seeds,
        }))
    }

    /// Each canonical plan, with its seeds one after the other until one shows its mechanism.
    fn canonical(&self) {
        let mut units: Vec<(usize, _, usize)> = Vec::new();
        for (at, cell) in self.cells.iter().enumerate() {
            for mechanism in &cell.expectation.mechanisms {
                let plans =
                    crate::plans::canonical(&cell.decides, cell.family, *mechanism, &cell.context);
                units.extend((0..plans.len()).map(|plan| (at, *mechanism, plan)));
            }
        }
        self.each(units.len() as u64, &|unit| {
            let (cell, mechanism, plan) = units[unit as usize];
            for n in 0..self.suite.tries {
                let key = RunKey::Canonical { mechanism, plan, n };
                let result = self.one(cell, key);
                let shown = |loss: &everyack_sim::result::Loss| loss.mechanism == Some(mechanism);
                if self.stopped() || result.losses.iter().any(shown) {
                    break;
                }
            }
        });
    }

    /// The drawn plans, a round over all cells at a time; with a budget, round after round until it
    /// is used up.
    fn batch(&self) {
        let cells = self.cells.len() as u64;
        let seeds = self.seeds();
        let rounds = match self.deadline {
            Some(_) => u64::MAX / cells.max(1),
            None => seeds,
        };
        self.each(rounds * cells, &|unit| {
            let n = unit / cells;
            let key = match n < seeds {
                true => RunKey::Batch(n),
                false => RunKey::Extra(n),
            };
            self.one((unit % cells) as usize, key);
        });
    }

    /// For mechanisms still without a witness, and cells in which nothing was exposed yet: drawn plans
    /// and canonical ones in turn, with other seeds, up to the cap.
    fn search(&self) {
        let open: Vec<usize> = (0..self.cells.len())
            .filter(|cell| !self.is_shown(*cell).0)
            .collect();
        self.each(open.len() as u64, &|unit| {
            let cell = open[unit as usize];
            for n in 0..self.suite.search {
                let (shown, missing) = self.is_shown(cell);
                if shown || self.stopped() {
                    break;
                }
                let mechanism = match n % 2 {
                    1 if !missing.is_empty() => Some(missing[(n / 2) as usize % missing.len()]),
                    _ => None,
                };
                self.one(cell, RunKey::Search { n, mechanism });
            }
        });
    }

    /// Whether a cell has shown what its verdict needs, and the mechanisms that it has not.
    fn is_shown(&self, cell: usize) -> (bool, Vec<everyack_sim::mechanism::Mechanism>) {
        let tally = self.tallies[cell].lock().expect("no thread panics with it");
        let missing = missing(&self.cells[cell], &tally);
        (missing.is_empty() && tally.has_been_exposed(), missing)
    }

    fn asked(&self) -> Asked {
        let options = self.options;
        let part = Part {
            filter: options.filter.text(),
            shard: options.shard.map(|(shard, of)| format!("{shard}/{of}")),
        };
        let whole = part.filter.is_empty() && part.shard.is_none();
        Asked {
            command: options.command.clone(),
            fingerprint: format!("0x{:016x}", self.suite.fingerprint()),
            bundled: self.suite.bundled,
            seeds: self.seeds(),
            own_seeds: self.seeds() == self.suite.seeds,
            budget_s: options.budget.map(|budget| rounded(budget.as_secs_f64())),
            shrink_budget_s: rounded(options.shrink.as_secs_f64()),
            bug: options.bug.map(|bug| bug.name().to_owned()),
            wire: options.wire.name().to_owned(),
            strict: options.strict,
            interrupted: self.host.stop.load(Ordering::Relaxed),
            suite_cells: self.suite_cells,
            parts: if whole { Vec::new() } else { vec![part] },
        }
    }

    fn finish(
        self,
        canary: Option<report::Canary>,
        prices: Vec<Option<report::Price>>,
        started: Duration,
    ) -> Campaign {
        let elapsed = || ((self.host.clock)().saturating_sub(started)).as_secs_f64();
        let running = elapsed();
        let tallies: Vec<Tally> = self
            .tallies
            .iter()
            .map(|tally| tally.lock().expect("every thread has ended").clone())
            .collect();
        let saved = self.saved(&tallies);
        let mut report = Report {
            wall_s: rounded(elapsed()),
            ..self.report(&tallies, canary, running)
        };
        let demanded = report.demanded();
        report.cells = self
            .cells
            .iter()
            .zip(&tallies)
            .zip(saved.iter().zip(prices))
            .map(|((cell, tally), (saved, price))| {
                let witness = |saved: &Saved| saved.witness(&self.options.out);
                let witnesses = saved.iter().map(witness).collect();
                let judging = Judging {
                    demanded,
                    tolerated: self.suite.tolerate.contains(&cell.family),
                };
                cell_of(cell, tally, judging, self.seeds(), (witnesses, price))
            })
            .collect();
        link_twins(&mut report.cells);
        Campaign {
            exit: exit(&report),
            report,
            saved: saved.into_iter().flatten().collect(),
        }
    }

    /// The report without its cells, of runs that took so many seconds.
    fn report(&self, tallies: &[Tally], canary: Option<report::Canary>, running: f64) -> Report {
        let per_s = |amount: f64| {
            if running > 0.0 {
                rounded(amount / running)
            } else {
                0.0
            }
        };
        let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>() as f64;
        let claim = |row: &Row| RowClaim {
            name: row.name.clone(),
            claim: row.claim.clone(),
        };
        Report {
            everyack: self.options.build.everyack.clone(),
            commit: self.options.build.commit.clone(),
            suite: self.suite.name.clone(),
            seed_base: format!("0x{:x}", self.options.seed_base),
            asked: self.asked(),
            wall_s: rounded(running),
            jobs: self.options.jobs,
            throughput: Throughput {
                runs_per_s: per_s(sum(|tally| tally.runs)),
                simulated_s_per_s: per_s(sum(|tally| tally.simulated_ns) / 1e9),
                messages_per_s: per_s(sum(|tally| tally.messages.sent)),
            },
            marks: self.marks(tallies),
            canary,
            warnings: self.suite.warnings.clone(),
            rows: self.suite.rows.iter().map(claim).collect(),
            cells: Vec::new(),
        }
    }

    /// Every mark that a run reached or that the suite requires, by name.
    fn marks(&self, tallies: &[Tally]) -> Vec<MarkCount> {
        let required: BTreeSet<&String> = self.suite.required_marks.iter().collect();
        let mut runs: BTreeMap<String, u64> =
            required.iter().map(|mark| ((*mark).clone(), 0)).collect();
        for (mark, count) in tallies.iter().flat_map(|tally| &tally.marks) {
            *runs.entry(mark.clone()).or_default() += count;
        }
        runs.into_iter()
            .map(|(name, runs)| MarkCount {
                required: required.contains(&name),
                name,
                runs,
            })
            .collect()
    }
}

/// Runs a spec; a panic that escapes it becomes the outcome of this run alone.
fn guarded(run: RunFn<'_>, spec: &RunSpec) -> RunResult {
    catch_unwind(AssertUnwindSafe(|| run(spec))).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "without a message".to_owned());
        RunResult {
            outcome: Outcome::Panicked(message),
            messages: Default::default(),
            losses: Vec::new(),
            anomalies: Vec::new(),
            faults: Vec::new(),
            fired: false,
            exposed: false,
            marks: Vec::new(),
            unavailable_ms: 0,
            ack_us: Vec::new(),
            trace_hash: 0,
            simulated_ns: 0,
            requests: 0,
            events: 0,
            story: Vec::new(),
            steps: Vec::new(),
        }
    })
}

/// The canary's cell: at the suite's timeouts, on a configuration of its own.
///
/// # Errors
/// As [`Suite::cells`].
pub fn canary_cell(suite: &Suite) -> Result<CellPlan, SuiteError> {
    let map = |pairs: &[(&str, &str)]| {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    };
    let row = Row {
        name: "canary".to_owned(),
        claim: "a planted bug is caught".to_owned(),
        points: Vec::new(),
        cells: Vec::new(),
        twin: None,
        brokers: 3,
        partitions: 3,
        load: Load::default(),
    };
    let point = Point {
        files: PropertyFiles {
            broker: map(&[
                ("default.replication.factor", "3"),
                ("min.insync.replicas", "2"),
            ]),
            topic: map(&[]),
            producer: map(&[("acks", "all")]),
            consumer: map(&[
                ("enable.auto.commit", "false"),
                ("auto.offset.reset", "earliest"),
            ]),
        },
        application: Application::CommitAfterProcessing,
    };
    suite.cell(&row, &point, Family::LeaderCrash, 0)
}

/// A cell of the report.
fn cell_of(
    cell: &CellPlan,
    tally: &Tally,
    judging: Judging,
    seeds: u64,
    (witnesses, price): (Vec<Witness>, Option<report::Price>),
) -> Cell {
    let (verdict, note) = verdict(cell, tally, judging);
    let batch = tally.batch;
    // Rates come from the whole batch or from none of it.
    let rated = batch.runs == seeds && batch.exposed > 0;
    let lossy = tally.batch_exposed_with_loss;
    Cell {
        id: cell.id.clone(),
        index: cell.index,
        row: cell.row.clone(),
        config: cell.config.clone(),
        application: cell.application().to_owned(),
        topology: CellTopology {
            brokers: cell.topology().brokers,
            controllers: cell.topology().controllers,
        },
        faults: cell.family.name().to_owned(),
        expected: cell.expectation.expected,
        mechanisms: cell.expectation.mechanisms.clone(),
        writes_stop: cell.expectation.writes_stop,
        reads_stop: cell.expectation.reads_stop,
        verdict,
        note,
        runs: tally.runs,
        fired: tally.fired,
        exposed: tally.exposed,
        runs_with_loss: tally.runs_with_loss,
        batch,
        loss_rate: rated.then(|| rounded(lossy as f64 / batch.exposed as f64)),
        loss_rate_upper_95: rated
            .then(|| upper_95(lossy, batch.exposed).map(rounded))
            .flatten(),
        twin: None,
        twin_id: cell.twin.clone(),
        messages: tally.messages,
        losses_by_mechanism: tally.losses_by_mechanism.clone(),
        unavailable_ms: tally.unavailable.quantiles(),
        ack_ms: tally.ack.ack_quantiles(),
        price,
        witnesses,
    }
}

/// Puts the weaker twin beside each cell whose twin is among the cells: what differs, and its lossy
/// runs over the same batch.
pub fn link_twins(cells: &mut [Cell]) {
    let beside: BTreeMap<String, (BTreeMap<String, String>, u64)> = cells
        .iter()
        .map(|cell| {
            let mut config = cell.config.clone();
            config.insert("application".to_owned(), cell.application.clone());
            (cell.id.clone(), (config, cell.batch.runs_with_loss))
        })
        .collect();
    for cell in cells {
        let twin = cell.twin_id.as_ref().and_then(|id| beside.get(id));
        cell.twin = twin.map(|(config, runs_with_loss)| Twin {
            config: config
                .iter()
                .filter(|(key, value)| {
                    cell.config.get(*key) != Some(value)
                        && !(key.as_str() == "application" && **value == cell.application)
                })
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            runs_with_loss: *runs_with_loss,
        });
    }
}

#[cfg(test)]
mod tests;
