//! Failure files: a whole run with the verdict that it showed.

use crate::suite::CellPlan;
use everyack_sim::result::{Anomaly, Loss, MessageCounts, Outcome, StoryLine};
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

    /// Whether a run, by any build and of any spec, fails in the same way: by the same mechanism or
    /// check. `cell` tells which mechanisms are expected there, and is not needed for the others.
    pub fn fails_in_the_same_way(&self, result: &RunResult) -> bool {
        let mechanisms = || result.losses.iter().filter_map(|loss| loss.mechanism);
        match self.mechanism.as_str() {
            TESTBED => result.outcome != Outcome::Finished,
            UNEXPLAINED => {
                let shown: Vec<_> = self.showed.losses.iter().map(|l| l.mechanism).collect();
                result.losses.iter().any(|l| shown.contains(&l.mechanism))
            }
            id => {
                mechanisms().any(|mechanism| mechanism.id() == id)
                    || result.anomalies.iter().any(|anomaly| anomaly.check == id)
            }
        }
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
