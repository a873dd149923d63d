//! Failure files: a whole run with the verdict that it showed.

use crate::model::{self, CellConfig};
use crate::suite::CellPlan;
use everyack_sim::fault::Family;
use everyack_sim::mechanism::Mechanism;
use everyack_sim::result::{Anomaly, Loss, LossVerdict, MessageCounts, Outcome, StoryLine};
use everyack_sim::{RunResult, RunSpec};
use serde::{Deserialize, Serialize};

/// What built the program that wrote a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Version of everyack.
    pub everyack: String,
    /// Commit, "unknown" outside a repository.
    pub commit: String,
    /// Version of the compiler.
    pub rustc: String,
    /// Target triple.
    pub target: String,
}

/// A saved run. Read by another build it is still judged, without the hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What wrote it.
    #[serde(flatten)]
    pub build: Build,
    /// Suite.
    pub suite: String,
    /// Cell.
    pub cell: String,
    /// The mechanism's id, `unexplained`, an anomaly's check, or `testbed`.
    pub mechanism: String,
    /// What the run showed.
    pub showed: Showed,
    /// Trace hash of the run, as `0x...`.
    pub trace_hash: String,
    /// The run.
    pub spec: RunSpec,
    /// What happened in it, in order, where it was told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub story: Vec<StoryLine>,
}

/// The verdict of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Showed {
    /// How it ended.
    pub outcome: Outcome,
    /// Messages by verdict.
    pub messages: MessageCounts,
    /// What was lost, and how.
    pub losses: Vec<Loss>,
    /// What was broken beside.
    pub anomalies: Vec<Anomaly>,
}

impl Showed {
    /// The verdict of a result.
    pub fn of(result: &RunResult) -> Showed {
        Showed {
            outcome: result.outcome.clone(),
            messages: result.messages,
            losses: result.losses.clone(),
            anomalies: result.anomalies.clone(),
        }
    }
}

/// The word for a loss that no mechanism of its cell explains.
pub const UNEXPLAINED: &str = "unexplained";

/// The word for a run that was not judged: it hit a limit, or panicked.
pub const TESTBED: &str = "testbed";

impl Failure {
    /// The name of its file, without folder and ending: cell, mechanism and seed.
    pub fn id(&self) -> String {
        let mut id = String::new();
        for c in format!("{}-{}", self.cell, self.mechanism).chars() {
            match c {
                c if c.is_ascii_alphanumeric() || c == '.' => id.push(c),
                _ if id.ends_with('-') => {}
                _ => id.push('-'),
            }
        }
        format!("{id}-{:016x}", self.spec.seed)
    }

    /// Whether a run of its spec, by the same build, ends with the very verdict.
    pub fn shows_again(&self, result: &RunResult) -> bool {
        self.showed == Showed::of(result)
    }

    /// Whether a run of its spec, by any build, fails in the same way: by the same mechanism with one of
    /// the same verdicts, or by the same check. What was forbidden must be forbidden still.
    pub fn fails_in_the_same_way(&self, result: &RunResult) -> bool {
        Way::of(self).is_shown(&self.spec, result)
    }

    /// A failure of a cell.
    pub fn of(
        build: &Build,
        suite: &str,
        cell: &CellPlan,
        mechanism: &str,
        spec: RunSpec,
        showed: Showed,
        trace_hash: u64,
    ) -> Failure {
        Failure {
            build: build.clone(),
            suite: suite.to_owned(),
            cell: cell.id.clone(),
            mechanism: mechanism.to_owned(),
            showed,
            trace_hash: format!("0x{trace_hash:016x}"),
            spec,
            story: Vec::new(),
        }
    }
}

/// The way in which a run fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Lost by this mechanism, with one of these verdicts.
    Lost(Mechanism, Vec<LossVerdict>),
    /// Lost by this mechanism, or by none that is known, where the model allows no such loss.
    Forbidden(Vec<(Option<Mechanism>, LossVerdict)>),
    /// This check found something.
    Anomaly(String),
    /// The run hit a limit, or panicked with this message, wherever in the code that stands by now.
    Testbed(Option<String>),
}

impl Way {
    /// As a failure file records it.
    pub(crate) fn of(failure: &Failure) -> Way {
        let losses = &failure.showed.losses;
        match failure.mechanism.as_str() {
            TESTBED => Way::Testbed(match &failure.showed.outcome {
                Outcome::Panicked(message) => Some(without_place(message).to_owned()),
                _ => None,
            }),
            UNEXPLAINED => {
                Way::Forbidden(losses.iter().map(|l| (l.mechanism, l.verdict)).collect())
            }
            id => match Mechanism::from_id(id) {
                Some(mechanism) => {
                    let by_it = losses.iter().filter(|l| l.mechanism == Some(mechanism));
                    Way::Lost(mechanism, by_it.map(|l| l.verdict).collect())
                }
                None => Way::Anomaly(id.to_owned()),
            },
        }
    }

    /// Whether a run of that spec fails so.
    pub(crate) fn is_shown(&self, spec: &RunSpec, result: &RunResult) -> bool {
        match self {
            Way::Testbed(None) => matches!(result.outcome, Outcome::LimitReached(_)),
            Way::Testbed(Some(panic)) => match &result.outcome {
                Outcome::Panicked(message) => without_place(message) == panic,
                _ => false,
            },
            _ if result.outcome != Outcome::Finished => false,
            Way::Anomaly(check) => result.anomalies.iter().any(|a| a.check == *check),
            Way::Lost(mechanism, verdicts) => result
                .losses
                .iter()
                .any(|loss| loss.mechanism == Some(*mechanism) && verdicts.contains(&loss.verdict)),
            Way::Forbidden(losses) => result.losses.iter().any(|loss| {
                losses.contains(&(loss.mechanism, loss.verdict))
                    && loss.mechanism.is_none_or(|m| !is_allowed(spec, result, m))
            }),
        }
    }
}

/// Whether the model lets a configuration lose by a mechanism, under the family or, for `random`, by
/// what struck.
fn is_allowed(spec: &RunSpec, result: &RunResult, mechanism: Mechanism) -> bool {
    let config = CellConfig::new(&spec.topology, &spec.properties, &spec.applications);
    let (Ok(config), Some(family)) = (config, Family::from_name(&spec.family)) else {
        return true;
    };
    match family {
        Family::Random => {
            model::expect_run(&config, &result.faults, &spec.plan).contains(&mechanism)
        }
        family => model::expect(&config, family).allows(mechanism),
    }
}

/// The message of a panic without its file and line, which come behind the last comma.
fn without_place(message: &str) -> &str {
    message.rsplit_once(", ").map_or(message, |(text, _)| text)
}
