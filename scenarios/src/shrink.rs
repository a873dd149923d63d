//! Shrinking: the smallest run that still fails in the same way, by the same mechanism and verdict.
//!
//! Fewer faults first, then shorter and earlier ones, then a smaller load and cluster, then fewer
//! settings that differ from Kafka's defaults; round after round until nothing more goes. Each step
//! is a run, and only what a run showed is kept. Delta debugging as Zeller and Hildebrandt describe
//! it (IEEE TSE 28(2), 2002), greedy: what comes out is minimal in each single step, not the least
//! of all.

use crate::failure::{Build, Failure, Showed, Way};
use crate::model::CellConfig;
use crate::runner::RunFn;
use everyack_sim::fault::{Fault, FaultPlan, When, Whom};
use everyack_sim::spec::{Properties, PropertyFiles};
use everyack_sim::{RunResult, RunSpec};

/// Seeds that a smaller load or cluster is tried with: it shifts every draw of what is left.
const SEEDS: u64 = 3;

/// A step may not make the run longer than so many times the first one's simulated time: a default
/// timeout in place of a shortened one says nothing about the failure.
const LONGER: u64 = 2;

/// What a failure is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Faults of the plan.
    pub faults: usize,
    /// Messages of all producers.
    pub messages: u64,
    /// Producers and consumers.
    pub applications: u32,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Settings in all files.
    pub settings: usize,
    /// Events that the run took.
    pub events: u64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Shrunk {
    /// The smaller run, with what it shows.
    pub failure: Failure,
    /// Before.
    pub before: Size,
    /// After.
    pub after: Size,
    /// Runs that it took.
    pub runs: u64,
    /// Nothing more goes; otherwise it was told to stop.
    pub complete: bool,
}

/// Told of each run, and of the smallest failure so far; says whether there may be another run.
pub type GoOn<'a> = &'a mut dyn FnMut(&RunResult, Size) -> bool;

/// Shrinks a failure. `None` where its own spec does not fail in the recorded way at all.
pub fn shrink(failure: &Failure, build: &Build, run: RunFn<'_>, go_on: GoOn<'_>) -> Option<Shrunk> {
    let way = Way::of(failure);
    let result = run(&failure.spec);
    if !way.is_shown(&failure.spec, &result) {
        return None;
    }
    let before = size(&failure.spec, &result);
    let may_go_on = go_on(&result, before);
    let longest_ns = result.simulated_ns.saturating_mul(LONGER);
    let mut shrinking = Shrinking {
        way,
        run,
        go_on,
        best: failure.spec.clone(),
        longest_ns,
        result,
        runs: 1,
        stopped: !may_go_on,
    };
    while shrinking.round() {}
    let Shrinking {
        best,
        result,
        runs,
        stopped,
        ..
    } = shrinking;
    Some(Shrunk {
        before,
        after: size(&best, &result),
        runs,
        complete: !stopped,
        failure: Failure {
            build: build.clone(),
            showed: Showed::of(&result),
            trace_hash: format!("0x{:016x}", result.trace_hash),
            spec: best,
            // The story is that of the larger run.
            story: Vec::new(),
            ..failure.clone()
        },
    })
}

fn size(spec: &RunSpec, result: &RunResult) -> Size {
    let PropertyFiles {
        broker,
        topic,
        producer,
        consumer,
    } = &spec.properties;
    let applications = &spec.applications;
    Size {
        faults: spec.plan.faults.len(),
        messages: u64::from(applications.producers)
            * u64::from(spec.workload.messages_per_producer),
        applications: applications.producers + applications.consumers,
        partitions: spec.topology.partitions,
        settings: [broker, topic, producer, consumer]
            .map(Properties::len)
            .iter()
            .sum(),
        events: result.events,
    }
}

struct Shrinking<'a> {
    way: Way,
    run: RunFn<'a>,
    go_on: GoOn<'a>,
    best: RunSpec,
    result: RunResult,
    longest_ns: u64,
    runs: u64,
    stopped: bool,
}

impl Shrinking<'_> {
    /// Every kind of step once; whether one went.
    fn round(&mut self) -> bool {
        let before = self.best.clone();
        self.fewer_faults();
        // A small load makes every later run a short one.
        self.smaller_load();
        self.shorter_faults();
        self.fewer_settings();
        !self.stopped && self.best != before
    }

    /// Runs a smaller spec, and takes it where it fails in the same way.
    fn takes(&mut self, spec: RunSpec) -> bool {
        if self.stopped || spec == self.best {
            return false;
        }
        if CellConfig::new(&spec.topology, &spec.properties, &spec.applications).is_err() {
            return false;
        }
        let result = (self.run)(&spec);
        self.runs += 1;
        let shown = self.way.is_shown(&spec, &result) && result.simulated_ns <= self.longest_ns;
        if shown {
            (self.best, self.result) = (spec, result.clone());
        }
        self.stopped = !(self.go_on)(&result, size(&self.best, &self.result));
        shown
    }

    /// As [`Self::takes`], with some seeds.
    fn takes_with_some_seed(&mut self, spec: &RunSpec) -> bool {
        (0..SEEDS).any(|n| {
            let seed = spec.seed.wrapping_add(n);
            self.takes(RunSpec {
                seed,
                ..spec.clone()
            })
        })
    }

    // ---- the plan ---------------------------------------------------------------------------

    fn fewer_faults(&mut self) {
        let mut chunk = self.best.plan.faults.len();
        while chunk > 0 {
            let mut from = 0;
            while from < self.best.plan.faults.len() {
                let gone = from..from + chunk;
                let mut spec = self.best.clone();
                spec.plan = without(&spec.plan, &|fault| gone.contains(&fault));
                if !self.takes(spec) {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
    }

    fn shorter_faults(&mut self) {
        for at in 0..self.best.plan.faults.len() {
            self.lower(0, 1, |spec| Some(&mut spec.plan.faults[at].for_ms));
            self.lower(0, 1, |spec| match &mut spec.plan.faults[at].when {
                When::AtUs(us) => Some(us),
                When::After { delay_us, .. } | When::Then { delay_us, .. } => Some(delay_us),
                When::AfterFault { delay_ms, .. } | When::AfterOutage { delay_ms, .. } => {
                    Some(delay_ms)
                }
            });
            self.lower_with(1, 1, |spec, to| match &mut spec.plan.faults[at].when {
                When::After { nth, .. } | When::Then { nth, .. } => {
                    Some(std::mem::replace(nth, to.map_or(*nth, |to| to as u32)).into())
                }
                _ => None,
            });
        }
    }

    // ---- the load ---------------------------------------------------------------------------

    fn smaller_load(&mut self) {
        // The pace stays: fewer messages take less time.
        self.lower_with(1, SEEDS, |spec, to| {
            let load = &mut spec.workload;
            let before = u64::from(load.messages_per_producer);
            if let Some(to) = to {
                load.messages_per_producer = to as u32;
                load.spread_ms = load.spread_ms * to / before;
            }
            Some(before)
        });
        self.lower_with(1, SEEDS, |spec, to| {
            let producers = &mut spec.applications.producers;
            Some(std::mem::replace(producers, to.map_or(*producers, |to| to as u32)).into())
        });
        self.lower_with(1, SEEDS, |spec, to| {
            let consumers = &mut spec.applications.consumers;
            Some(std::mem::replace(consumers, to.map_or(*consumers, |to| to as u32)).into())
        });
        self.lower_with(1, SEEDS, |spec, to| {
            let partitions = &mut spec.topology.partitions;
            Some(std::mem::replace(partitions, to.map_or(*partitions, |to| to as i32)) as u64)
        });
        let replicas = self.best.topology.replication_factor.max(1) as u64;
        self.lower_with(replicas, SEEDS, |spec, to| {
            let brokers = &mut spec.topology.brokers;
            Some(std::mem::replace(brokers, to.map_or(*brokers, |to| to as u32)).into())
        });
        self.lower(0, 1, |spec| Some(&mut spec.workload.processing_us));
        self.lower(0, 1, |spec| Some(&mut spec.workload.spread_ms));
    }

    // ---- the settings -----------------------------------------------------------------------

    /// Takes settings away, so that Kafka's defaults are left.
    fn fewer_settings(&mut self) {
        let keys = |files: &PropertyFiles| -> Vec<(usize, String)> {
            let files = [
                &files.broker,
                &files.topic,
                &files.producer,
                &files.consumer,
            ];
            let keys = files.into_iter().enumerate();
            keys.flat_map(|(file, map)| map.keys().map(move |key| (file, key.clone())))
                .collect()
        };
        let mut chunk = keys(&self.best.properties).len();
        while chunk > 0 {
            let mut from = 0;
            loop {
                let keys = keys(&self.best.properties);
                let Some(gone) = keys.get(from..(from + chunk).min(keys.len())) else {
                    break;
                };
                if gone.is_empty() {
                    break;
                }
                let mut spec = self.best.clone();
                let files = &mut spec.properties;
                let maps = [
                    &mut files.broker,
                    &mut files.topic,
                    &mut files.producer,
                    &mut files.consumer,
                ];
                for (file, map) in maps.into_iter().enumerate() {
                    map.retain(|key, _| !gone.iter().any(|(f, k)| *f == file && k == key));
                }
                if !self.takes(spec) {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
    }

    // ---- numbers ----------------------------------------------------------------------------

    fn lower(&mut self, least: u64, seeds: u64, field: impl Fn(&mut RunSpec) -> Option<&mut u64>) {
        self.lower_with(least, seeds, |spec, to| {
            let field = field(spec)?;
            Some(std::mem::replace(field, to.unwrap_or(*field)))
        });
    }

    /// Lowers a number to `least`, or by halves as far as the run fails in the same way. What is tried with
    /// some seeds is a load: there twice as much is tried again and again, from the least on, since small
    /// loads make short runs. `change` sets it, where it is told to what, and answers what it was.
    fn lower_with(
        &mut self,
        least: u64,
        seeds: u64,
        change: impl Fn(&mut RunSpec, Option<u64>) -> Option<u64>,
    ) {
        let Some(now) = change(&mut self.best.clone(), None) else {
            return;
        };
        // Fails in the same way at `works`, and was not seen to below `untried`.
        let (mut untried, mut works, mut step) = (least, now, 0);
        while untried < works && !self.stopped {
            let to = match (works == now && seeds > 1, step) {
                (true, _) | (false, 0) => least.saturating_add(step).min(works - 1),
                (false, _) => untried + (works - untried) / 2,
            };
            let mut spec = self.best.clone();
            change(&mut spec, Some(to));
            let taken = match seeds {
                1 => self.takes(spec),
                _ => self.takes_with_some_seed(&spec),
            };
            match taken {
                true => works = to,
                false => untried = to + 1,
            }
            step = 2 * step + 1;
            // The last few per cent of a long time tell nobody anything.
            if works < now && works - untried <= works / 16 {
                return;
            }
        }
    }
}

/// The plan without some of its faults, and without those that wait for them or hit the same broker.
pub(crate) fn without(plan: &FaultPlan, gone: &dyn Fn(usize) -> bool) -> FaultPlan {
    let mut goes: Vec<bool> = (0..plan.faults.len()).map(gone).collect();
    let depends = |at: usize, goes: &[bool]| {
        let mut named = refers_to(&plan.faults[at]).into_iter().flatten();
        named.any(|to| goes[to])
    };
    while let Some(at) = (0..goes.len()).find(|at| !goes[*at] && depends(*at, &goes)) {
        goes[at] = true;
    }
    let place = |to: usize| goes[..to].iter().filter(|goes| !**goes).count();
    let kept = plan.faults.iter().zip(&goes).filter(|(_, goes)| !**goes);
    let faults = kept.map(|(fault, _)| {
        let mut fault = fault.clone();
        match &mut fault.when {
            When::AfterFault { fault, .. }
            | When::AfterOutage { fault, .. }
            | When::Then { fault, .. } => *fault = place(*fault),
            When::AtUs(_) | When::After { .. } => {}
        }
        if let Whom::SameAs(to) = &mut fault.whom {
            *to = place(*to);
        }
        fault.counted_from = fault.counted_from.map(place);
        fault
    });
    FaultPlan {
        faults: faults.collect(),
        canonical: plan.canonical.clone(),
    }
}

/// The faults that a fault names.
fn refers_to(fault: &Fault) -> [Option<usize>; 3] {
    let awaited = match fault.when {
        When::AfterFault { fault, .. }
        | When::AfterOutage { fault, .. }
        | When::Then { fault, .. } => Some(fault),
        When::AtUs(_) | When::After { .. } => None,
    };
    let same = match fault.whom {
        Whom::SameAs(fault) => Some(fault),
        _ => None,
    };
    [awaited, same, fault.counted_from]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::UNEXPLAINED;
    use crate::model;
    use crate::suite;
    use everyack_sim::fault::{Family, Trigger, What};
    use everyack_sim::mechanism::Mechanism;
    use everyack_sim::result::{Loss, LossVerdict, MessageCounts, Outcome};
    use everyack_sim::spec::WireMode;

    fn build() -> Build {
        Build {
            everyack: "0".into(),
            commit: "c".into(),
            rustc: "r".into(),
            target: "t".into(),
        }
    }

    fn at(ms: u64, what: What, whom: Whom) -> Fault {
        Fault::new(When::AtUs(ms * 1_000), what, whom, 4_000)
    }

    /// A cell of the standard suite with acks=1 and six faults, of which two matter: a crash of the
    /// leader behind a cut that the crash waits for.
    fn spec() -> RunSpec {
        let suite = suite::bundled("standard").unwrap().unwrap();
        let cell = suite.cells().unwrap().remove(0);
        let cut = What::CutFromFollowers {
            direction: everyack_sim::fault::Direction::Both,
        };
        let noise = |ms| at(ms, What::MoveLeader, Whom::LeaderOf(1));
        let behind = When::Then {
            fault: 2,
            event: Trigger::Acked,
            nth: 3,
            delay_us: 700,
        };
        let plan = FaultPlan {
            faults: vec![
                noise(100),
                noise(200),
                at(300, cut, Whom::LeaderOf(0)),
                noise(400),
                Fault::new(behind, What::Crash, Whom::SameAs(2), 4_000),
                noise(500),
            ],
            canonical: None,
        };
        let mut spec = cell.spec(7, plan, WireMode::Typed, None);
        spec.properties.producer.insert("acks".into(), "1".into());
        spec
    }

    fn result(lost: bool) -> RunResult {
        let loss = Loss {
            producer: 0,
            sequence: 0,
            partition: 0,
            offset: 0,
            verdict: LossVerdict::Lost,
            mechanism: Some(Mechanism::P04),
        };
        RunResult {
            messages: MessageCounts {
                lost: u64::from(lost),
                ..MessageCounts::default()
            },
            losses: lost.then_some(loss).into_iter().collect(),
            simulated_ns: 1,
            ..RunResult::broken(Outcome::Finished)
        }
    }

    fn failure(spec: RunSpec) -> Failure {
        Failure {
            build: build(),
            suite: "standard".into(),
            cell: "cell".into(),
            mechanism: "P04".into(),
            showed: Showed::of(&result(true)),
            trace_hash: "0x0".into(),
            spec,
            story: Vec::new(),
        }
    }

    /// Loses where a leader that was cut off crashes, with acks=1 and five messages.
    fn loses(spec: &RunSpec) -> bool {
        let faults = &spec.plan.faults;
        let crash = faults.iter().find(|fault| fault.what == What::Crash);
        let behind_the_cut = crash.is_some_and(|crash| match crash.whom {
            Whom::SameAs(to) => matches!(faults[to].what, What::CutFromFollowers { .. }),
            _ => false,
        });
        behind_the_cut
            && spec
                .properties
                .producer
                .get("acks")
                .is_some_and(|acks| acks == "1")
            && spec.workload.messages_per_producer >= 5
            && spec.plan.faults[0].for_ms >= 1_000
    }

    #[test]
    fn what_does_not_matter_goes_and_what_matters_stays() {
        let run = |spec: &RunSpec| result(loses(spec));
        let shrunk = shrink(&failure(spec()), &build(), &run, &mut |_, _| true).unwrap();
        let spec = &shrunk.failure.spec;
        assert!(shrunk.complete && loses(spec));
        assert_eq!(spec.plan.faults.len(), 2);
        let (cut, crash) = (&spec.plan.faults[0], &spec.plan.faults[1]);
        assert_eq!((&cut.when, crash.for_ms), (&When::AtUs(0), 0));
        assert!((1_000..1_100).contains(&cut.for_ms), "{}", cut.for_ms);
        let When::Then {
            fault: 0,
            nth: 1,
            delay_us: 0,
            ..
        } = crash.when
        else {
            panic!("{crash:?}");
        };
        assert_eq!(crash.whom, Whom::SameAs(0));
        assert_eq!(spec.workload.messages_per_producer, 5);
        assert_eq!(
            (spec.applications.producers, spec.applications.consumers),
            (1, 1)
        );
        assert_eq!((spec.topology.partitions, spec.topology.brokers), (1, 3));
        assert_eq!((shrunk.before.faults, shrunk.after.faults), (6, 2));
        assert_eq!(shrunk.after.settings, 1);
        assert!(shrunk.runs < 400, "{}", shrunk.runs);
    }

    #[test]
    fn a_spec_that_does_not_fail_so_is_not_shrunk() {
        let kept = |_: &RunSpec| result(false);
        assert_eq!(
            shrink(&failure(spec()), &build(), &kept, &mut |_, _| true),
            None
        );
        let otherwise = |_: &RunSpec| {
            let mut result = result(true);
            result.losses[0].verdict = LossVerdict::Skipped;
            result
        };
        assert_eq!(
            shrink(&failure(spec()), &build(), &otherwise, &mut |_, _| true),
            None
        );
    }

    #[test]
    fn a_panic_is_the_same_one_wherever_it_stands_in_the_code() {
        let panicked = |message: &str| RunResult::broken(Outcome::Panicked(message.into()));
        let mut failure = failure(spec());
        failure.mechanism = "testbed".into();
        failure.showed = Showed::of(&panicked("no server, at all, step.rs:250"));
        let same = |result| failure.fails_in_the_same_way(&result);
        assert!(same(panicked("no server, at all, step.rs:261")));
        assert!(!same(panicked("no leader, at all, step.rs:250")));
        assert!(!same(RunResult::broken(Outcome::LimitReached(
            "events".into()
        ))));
        assert!(!same(result(true)));
    }

    #[test]
    fn it_stops_when_told_with_the_best_so_far() {
        let run = |spec: &RunSpec| result(loses(spec));
        let mut left = 12;
        let shrunk = shrink(&failure(spec()), &build(), &run, &mut |_, _| {
            left -= 1;
            left > 0
        });
        let shrunk = shrunk.unwrap();
        assert!(!shrunk.complete && shrunk.runs == 12);
        assert!(shrunk.after.faults < 6 && loses(&shrunk.failure.spec));
    }

    #[test]
    fn a_loss_that_was_forbidden_stays_forbidden() {
        let mut failure = failure(spec());
        failure.mechanism = UNEXPLAINED.into();
        failure.spec.family = Family::LeaderCrash.name().to_owned();
        failure
            .spec
            .properties
            .producer
            .insert("acks".into(), "all".into());
        // A build that loses whatever the configuration: acks=all must stay, since acks=1 may lose so.
        let run = |_: &RunSpec| result(true);
        let shrunk = shrink(&failure, &build(), &run, &mut |_, _| true).unwrap();
        let config = CellConfig::new(
            &shrunk.failure.spec.topology,
            &shrunk.failure.spec.properties,
            &shrunk.failure.spec.applications,
        );
        let allowed = model::expect(&config.unwrap(), Family::LeaderCrash);
        assert!(!allowed.allows(Mechanism::P04));
        assert_eq!(shrunk.after.faults, 0);
    }
}
