//! The bug bench: how many runs of a suite it takes until a planted bug is found.
//!
//! A seed is one run; the suite's cells are taken in turn, each with its canonical plans first and
//! drawn ones after. A bug is found by the first run that breaks its cell, exactly as in a campaign: a
//! loss that the model forbids, or an invariant. The search is repeated with other seed bases where it
//! finds the bug soon.

use crate::report::Expected;
use crate::runner::{RunFn, RunKey, Tally, Wire};
use crate::suite::{CellPlan, Suite, SuiteError};
use everyack_broker::bug::Bug;
use serde::{Deserialize, Serialize};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Searches where the first one finds the bug within [`SOON`].
pub const REPETITIONS: u64 = 20;
/// Runs of a search that is repeated.
pub const SOON: u64 = 2_000;
/// Runs of a search that is made once.
pub const LAST: u64 = 20_000;

/// A line of the checked-in table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which bug.
    pub bug: Bug,
    /// The suite that finds it soonest.
    pub suite: String,
    /// What found it most often: a mechanism's id, `unexplained`, or a check; null where nothing did.
    pub found_by: Option<String>,
    /// The cell in which it was found first.
    pub cell: Option<String>,
    /// Searches.
    pub searches: u64,
    /// Those that found it.
    pub found: u64,
    /// Runs until it was found, median over the searches; null where nothing found it.
    pub seeds_median: Option<u64>,
    /// The same, 90th percentile.
    pub seeds_p90: Option<u64>,
}

/// The checked-in table, as `everyack bench-bugs --write` last measured it.
pub fn table() -> Vec<Line> {
    serde_json::from_str(include_str!("bug_bench.json")).expect("a test reads it")
}

/// A bug that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Runs until then, from 1.
    pub seeds: u64,
    /// By what: as in [`Line::found_by`].
    pub by: String,
    /// Where.
    pub cell: String,
}

/// What the bench runs with.
pub struct Bench<'a> {
    /// Runs a spec.
    pub run: RunFn<'a>,
    /// Told after each run.
    pub ran: &'a (dyn Fn() + Sync),
    /// Raised by SIGINT.
    pub stop: &'a AtomicBool,
    /// Threads.
    pub jobs: usize,
    /// Base of the seeds.
    pub seed_base: u64,
}

impl Bench<'_> {
    /// Measures a bug against a suite; `None` after an interrupt.
    ///
    /// # Errors
    /// As [`Suite::cells`].
    pub fn measure(&self, suite: &Suite, bug: Bug) -> Result<Option<Line>, SuiteError> {
        let cells = suite.cells()?;
        let mut searches = vec![self.search(&cells, bug, 0, LAST)];
        let soon = searches[0]
            .as_ref()
            .is_some_and(|found| found.seeds <= SOON);
        if soon {
            searches.extend((1..REPETITIONS).map(|n| self.search(&cells, bug, n, SOON)));
        }
        let interrupted = self.stop.load(Ordering::Relaxed);
        Ok((!interrupted).then(|| line(suite, bug, &searches)))
    }

    /// Searches once, in other seeds for each `repetition`.
    pub fn search(
        &self,
        cells: &[CellPlan],
        bug: Bug,
        repetition: u64,
        limit: u64,
    ) -> Option<Found> {
        let base = self.seed_base ^ repetition.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let next = AtomicU64::new(0);
        let least: Mutex<Option<Found>> = Mutex::new(None);
        let known = AtomicU64::new(limit);
        let worker = || {
            loop {
                // Whatever has a lesser number than the least that is known is run: jobs change nothing.
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= known.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed) {
                    return;
                }
                let cell = &cells[n as usize % cells.len()];
                let by = self.breaks(cell, bug, base, n / cells.len() as u64);
                (self.ran)();
                let Some(by) = by else { continue };
                let mut least = least.lock().expect("no thread panics with it");
                if least.as_ref().is_none_or(|found| n + 1 < found.seeds) {
                    known.fetch_min(n, Ordering::Relaxed);
                    *least = Some(Found {
                        seeds: n + 1,
                        by,
                        cell: cell.id.clone(),
                    });
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(worker);
            }
        });
        least.into_inner().expect("every thread has ended")
    }

    /// What breaks the `nth` run of a cell.
    fn breaks(&self, cell: &CellPlan, bug: Bug, base: u64, nth: u64) -> Option<String> {
        let key = key(cell, nth);
        let seed = key.seed(base, &cell.seed_group);
        let wire = Wire::Sampled.of(seed);
        let spec = cell.spec(seed, key.plan(cell, seed), wire, Some(bug));
        let result = (self.run)(&spec);
        let mut tally = Tally::default();
        tally.add(cell, key, &spec.plan, &result);
        let kept = tally.broken.into_values().next();
        kept.map(|kept| kept.shows)
    }
}

/// The `nth` run of a cell: its canonical plans, then drawn ones.
fn key(cell: &CellPlan, nth: u64) -> RunKey {
    let drawn = match cell.expectation.expected {
        Expected::PerRun => nth,
        _ => {
            let mut before = 0;
            for &mechanism in &cell.expectation.mechanisms {
                let plans =
                    crate::plans::canonical(&cell.decides, cell.family, mechanism, &cell.context);
                let plan = nth - before;
                if plan < plans.len() as u64 {
                    return RunKey::Canonical {
                        mechanism,
                        plan: plan as usize,
                        n: 0,
                    };
                }
                before += plans.len() as u64;
            }
            nth - before
        }
    };
    RunKey::Batch(drawn)
}

fn line(suite: &Suite, bug: Bug, searches: &[Option<Found>]) -> Line {
    let found: Vec<&Found> = searches.iter().flatten().collect();
    let mut ways: Vec<&str> = found.iter().map(|found| found.by.as_str()).collect();
    ways.sort_unstable();
    let most = ways.chunk_by(|a, b| a == b).max_by_key(|same| same.len());
    // A search that found nothing took longer than any that did.
    let mut seeds: Vec<Option<u64>> = searches
        .iter()
        .map(|found| found.as_ref().map(|found| found.seeds))
        .collect();
    seeds.sort_unstable_by_key(|seeds| seeds.unwrap_or(u64::MAX));
    let quantile = |percent: usize| seeds[(seeds.len() * percent).div_ceil(100).max(1) - 1];
    Line {
        bug,
        suite: suite.name.clone(),
        found_by: most.map(|same| same[0].to_owned()),
        cell: found.first().map(|found| found.cell.clone()),
        searches: searches.len() as u64,
        found: found.len() as u64,
        seeds_median: quantile(50),
        seeds_p90: quantile(90),
    }
}

/// The better of two lines for the same bug: more of the searches found it, then sooner.
pub fn sooner(a: Line, b: Line) -> Line {
    let rank = |line: &Line| {
        let missed = line.searches - line.found;
        (
            line.found == 0,
            line.searches < REPETITIONS,
            missed,
            line.seeds_median.unwrap_or(u64::MAX),
        )
    };
    if rank(&b) < rank(&a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;
    use everyack_sim::RunResult;
    use everyack_sim::RunSpec;
    use everyack_sim::result::{Anomaly, Outcome};

    /// Finds the bug in one seed of so many, in one cell of the suite.
    fn fake(one_in: u64) -> impl Fn(&RunSpec) -> RunResult + Sync {
        move |spec: &RunSpec| {
            let mut result = RunResult::broken(Outcome::Finished);
            if spec.bug.is_some() && spec.seed.is_multiple_of(one_in) {
                result.anomalies.push(Anomaly {
                    check: "log-matching".into(),
                    what: "planted".into(),
                });
            }
            result
        }
    }

    fn measured(one_in: u64, jobs: usize) -> Line {
        let suite = suite::bundled("guide").unwrap().unwrap();
        let stop = AtomicBool::new(false);
        let bench = Bench {
            run: &fake(one_in),
            ran: &|| {},
            stop: &stop,
            jobs,
            seed_base: 5,
        };
        bench.measure(&suite, Bug::SkipFlush).unwrap().unwrap()
    }

    #[test]
    fn the_median_is_that_of_the_searches_and_jobs_change_nothing() {
        let line = measured(100, 1);
        assert_eq!((line.searches, line.found), (20, 20));
        assert_eq!(line.found_by.as_deref(), Some("log-matching"));
        let (median, p90) = (line.seeds_median.unwrap(), line.seeds_p90.unwrap());
        assert!((20..200).contains(&median) && p90 > median, "{line:?}");
        assert_eq!(line, measured(100, 2));
    }

    #[test]
    fn what_is_not_found_soon_is_searched_once_to_the_end() {
        let rare = measured(30_011, 2);
        assert_eq!(rare.searches, 1);
        let never = measured(u64::MAX, 2);
        assert_eq!((never.searches, never.found), (1, 0));
        assert_eq!((never.found_by.clone(), never.seeds_median), (None, None));
        assert!(sooner(never.clone(), rare.clone()).found >= rare.found);
        assert_eq!(sooner(never, measured(100, 1)).found, 20);
    }

    #[test]
    fn canonical_plans_come_first_and_every_drawn_plan_once() {
        let suite = suite::bundled("guide").unwrap().unwrap();
        let cells = suite.cells().unwrap();
        let cell = cells
            .iter()
            .find(|cell| !cell.expectation.mechanisms.is_empty())
            .unwrap();
        let keys: Vec<RunKey> = (0..40).map(|nth| key(cell, nth)).collect();
        assert!(matches!(keys[0], RunKey::Canonical { plan: 0, n: 0, .. }));
        let drawn = keys.iter().filter(|key| matches!(key, RunKey::Batch(_)));
        let drawn: Vec<RunKey> = drawn.copied().collect();
        assert!(
            drawn
                .iter()
                .zip(0..)
                .all(|(key, n)| *key == RunKey::Batch(n))
        );
        let mut distinct = keys.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn the_table_has_every_bug_once_and_finds_what_can_do_harm() {
        let table = table();
        let bugs: Vec<Bug> = table.iter().map(|line| line.bug).collect();
        assert_eq!(bugs, Bug::ALL);
        let missed = table.iter().filter(|line| line.found == 0);
        let missed: Vec<Bug> = missed.map(|line| line.bug).collect();
        // Its documentation says why it harms nothing.
        assert_eq!(missed, [Bug::RefetchInSameEpoch]);
    }
}
