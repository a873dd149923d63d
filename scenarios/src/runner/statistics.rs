//! Figures over runs that do not depend on the order in which the runs ended.

use crate::report::{AckQuantiles, Quantiles};
use std::collections::BTreeMap;

/// Confidence of the upper bound on a rate, one-sided.
const CONFIDENCE: f64 = 0.95;

/// Upper end of the one-sided 95 % Clopper-Pearson interval for `lossy` of `runs`: the rate at which
/// so few lossy runs would come out with a probability of 5 %. `None` without a run.
pub fn upper_95(lossy: u64, runs: u64) -> Option<f64> {
    if runs == 0 || lossy > runs {
        return None;
    }
    if lossy == runs {
        return Some(1.0);
    }
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    // Each step halves the interval: 60 of them reach the precision of an f64.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if at_most(lossy, runs, middle) > 1.0 - CONFIDENCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

/// Lower end of the same interval on the other side: rates below it show so many lossy runs with a
/// probability of less than 5 %.
pub fn lower_95(lossy: u64, runs: u64) -> Option<f64> {
    Some(1.0 - upper_95(runs.checked_sub(lossy)?, runs)?)
}

/// Probability of at most `lossy` of `runs` where each is lossy with probability `rate` (0 < rate < 1).
#[allow(clippy::disallowed_methods)] // a figure of the report, rounded there; no draw depends on it
fn at_most(lossy: u64, runs: u64, rate: f64) -> f64 {
    let odds = (rate / (1.0 - rate)).ln();
    let mut term = runs as f64 * (1.0 - rate).ln();
    let mut sum = term.exp();
    for j in 0..lossy {
        term += ((runs - j) as f64 / (j + 1) as f64).ln() + odds;
        sum += term.exp();
    }
    sum.min(1.0)
}

/// To six digits behind the point, so that reports of the same work are equal on every platform.
pub fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Counts of values, exact below 128 and to one part in 64 above: a fixed size for any number of runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: BTreeMap<u64, u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        *self.counts.entry(bucket(value)).or_default() += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// The value below which this share of the values lies, in percent; 0 without a value.
    pub fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (value, count) in &self.counts {
            seen += count;
            if seen >= rank {
                return *value;
            }
        }
        0
    }

    /// Median and maximum.
    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50: self.percentile(50),
            max: self.max,
        }
    }

    /// Median and 99th percentile of microseconds, in milliseconds.
    pub fn ack_quantiles(&self) -> AckQuantiles {
        AckQuantiles {
            p50: self.percentile(50) as f64 / 1_000.0,
            p99: self.percentile(99) as f64 / 1_000.0,
        }
    }
}

/// The least value that shares a bucket with this one.
fn bucket(value: u64) -> u64 {
    let bits = u64::BITS - value.leading_zeros();
    let dropped = bits.saturating_sub(7);
    value >> dropped << dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_clopper_and_pearsons() {
        // Reference values: found by bisection over the binomial sum in exact fractions.
        for (lossy, runs, expected) in [
            (0, 180, 0.016_505),
            (0, 100, 0.029_513),
            (0, 1, 0.95),
            (1, 10, 0.394_163),
            (3, 100, 0.075_711),
            (5, 20, 0.455_582),
            (10, 10, 1.0),
            (143, 200, 0.767_345),
        ] {
            let found = upper_95(lossy, runs).unwrap();
            assert!(
                (found - expected).abs() < 1e-6,
                "{lossy}/{runs}: {found} is not {expected}"
            );
        }
        assert_eq!(upper_95(0, 0), None);
    }

    /// The promise of the bound, simulated: whatever the true rate, batches whose bound lies below it are
    /// one in twenty at most.
    #[test]
    fn of_ten_thousand_batches_ninety_five_in_a_hundred_bound_the_rate_that_was_planted() {
        const BATCHES: u64 = 10_000;
        let mut draws = everyack_broker::env::Stream::new(1, 2);
        for per_mille in [5, 20, 100] {
            for runs in [40, 100, 200] {
                let rate = per_mille as f64 / 1_000.0;
                let bounds: Vec<f64> = (0..=runs).map(|k| upper_95(k, runs).unwrap()).collect();
                let mut lossy = || (0..runs).filter(|_| draws.chance(per_mille, 1_000)).count();
                let bounded = (0..BATCHES).filter(|_| rate <= bounds[lossy()]).count();
                let percent = bounded as f64 / BATCHES as f64 * 100.0;
                // 0.22 is a standard deviation of 10,000 draws at 95 %.
                assert!(
                    percent >= 95.0 - 3.0 * 0.22,
                    "{rate} of {runs}: {percent} %"
                );
                // And not because the bound is a wide one: the exact probability is met.
                let below = (0..=runs).rev().find(|k| bounds[*k as usize] < rate);
                let exact = 1.0 - below.map_or(0.0, |k| at_most(k, runs, rate));
                assert!(
                    (percent / 100.0 - exact).abs() < 0.01,
                    "{percent} %, exact {exact}"
                );
            }
        }
        assert!((lower_95(40, 40).unwrap().powi(40) - 0.05).abs() < 1e-9);
        assert_eq!(lower_95(3, 2), None);
    }

    #[test]
    fn the_bound_shrinks_with_runs_and_grows_with_losses() {
        assert!(upper_95(0, 200) < upper_95(0, 100));
        assert!(upper_95(1, 100) > upper_95(0, 100));
        assert!(upper_95(0, 100_000).unwrap() < 0.000_04);
        assert!(upper_95(50_000, 100_000).unwrap() < 0.51);
    }

    #[test]
    fn percentiles_are_exact_for_small_values_and_near_for_large_ones() {
        let mut histogram = Histogram::default();
        for value in 1..=100 {
            histogram.add(value);
        }
        assert_eq!(histogram.percentile(50), 50);
        assert_eq!(histogram.percentile(99), 99);
        assert_eq!(histogram.quantiles().max, 100);
        let mut large = Histogram::default();
        large.add(1_000_003);
        let p50 = large.percentile(50);
        assert!(p50 <= 1_000_003 && p50 > 1_000_003 - 1_000_003 / 64);
        assert_eq!(Histogram::default().percentile(50), 0);
    }
}
