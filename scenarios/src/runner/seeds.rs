//! Seeds and the identity of runs: what a run is does not depend on when, or on which thread, it ran.

use crate::plans;
use crate::suite::{CellPlan, fnv_1a};
use everyack_sim::fault::FaultPlan;
use everyack_sim::mechanism::Mechanism;
use everyack_sim::spec::WireMode;

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wire {
    /// As values.
    Typed,
    /// As bytes.
    Bytes,
    /// As bytes on one seed in sixteen.
    #[default]
    Sampled,
}

impl Wire {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Wire::Typed => "typed",
            Wire::Bytes => "bytes",
            Wire::Sampled => "sampled",
        }
    }

    /// What a seed gets.
    pub fn of(self, seed: u64) -> WireMode {
        match self {
            Wire::Typed => WireMode::Typed,
            Wire::Bytes => WireMode::Bytes,
            Wire::Sampled if seed.is_multiple_of(16) => WireMode::Bytes,
            Wire::Sampled => WireMode::Typed,
        }
    }
}

/// One run of a cell. The order is the one in which a lone thread would take them, and the first
/// run that shows something is the one that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunKey {
    /// A canonical plan, with its n-th seed.
    Canonical {
        /// Written for.
        mechanism: Mechanism,
        /// Which of its plans.
        plan: usize,
        /// Which seed.
        n: u64,
    },
    /// A drawn plan of the fixed batch.
    Batch(u64),
    /// A drawn plan beyond it, while the budget lasts.
    Extra(u64),
    /// A run of the search.
    Search {
        /// Which, from 0.
        n: u64,
        /// The mechanism whose canonical plan it tries once more; a drawn plan where there is none.
        mechanism: Option<Mechanism>,
    },
}

impl RunKey {
    /// Tells the stages apart in seeds: drawn plans of batch and budget are one sequence.
    fn salt(self) -> (u64, u64) {
        match self {
            RunKey::Canonical { mechanism, plan, n } => {
                (1 + ((mechanism as u64) << 8) + ((plan as u64) << 32), n)
            }
            RunKey::Batch(n) | RunKey::Extra(n) => (2, n),
            RunKey::Search { n, .. } => (3, n),
        }
    }

    /// The seed of this run.
    pub fn seed(self, base: u64, group: &str) -> u64 {
        let (stage, n) = self.salt();
        mixed(mixed(mixed(base ^ fnv_1a(group)) ^ stage) ^ n)
    }

    /// The plan of this run.
    pub fn plan(self, cell: &CellPlan, seed: u64) -> FaultPlan {
        let canonical = |mechanism, at: usize| {
            let plans = plans::canonical(&cell.decides, cell.family, mechanism, &cell.context);
            let at = at % plans.len().max(1);
            plans.into_iter().nth(at)
        };
        let scripted = match self {
            RunKey::Canonical {
                mechanism, plan, ..
            } => canonical(mechanism, plan),
            RunKey::Search {
                n,
                mechanism: Some(mechanism),
            } => canonical(mechanism, n as usize),
            _ => None,
        };
        scripted.unwrap_or_else(|| cell.draw(seed))
    }
}

/// SplitMix64's output function: every bit of the input reaches every bit of the output.
fn mixed(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_base_group_stage_and_number_and_by_nothing_else() {
        let key = RunKey::Batch(3);
        assert_eq!(key.seed(1, "a/none"), key.seed(1, "a/none"));
        assert_ne!(key.seed(1, "a/none"), key.seed(2, "a/none"));
        assert_ne!(key.seed(1, "a/none"), key.seed(1, "b/none"));
        assert_ne!(key.seed(1, "a/none"), RunKey::Batch(4).seed(1, "a/none"));
        let search = RunKey::Search {
            n: 3,
            mechanism: None,
        };
        assert_ne!(key.seed(1, "a/none"), search.seed(1, "a/none"));
    }

    #[test]
    fn one_seed_in_sixteen_travels_as_bytes() {
        let seeds = (0..16_000).map(|n| RunKey::Batch(n).seed(1, "a"));
        let bytes = seeds
            .filter(|seed| Wire::Sampled.of(*seed) == WireMode::Bytes)
            .count();
        assert!((900..1_100).contains(&bytes), "{bytes}");
        assert_eq!(Wire::Bytes.of(1), WireMode::Bytes);
        assert_eq!(Wire::Typed.of(16), WireMode::Typed);
    }
}
