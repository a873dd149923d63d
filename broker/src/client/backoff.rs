//! `ExponentialBackoff` of Kafka's clients, in integers.
//!
//! Kafka computes `random(1 - jitter, 1 + jitter) * initial * multiplier ^ attempts` with floating
//! point, the exponent capped so that the term never passes the maximum. Here the term is doubled
//! and capped in integers and the jitter is an integer draw, so that every platform draws the same.

use crate::env::Stream;
use crate::time::{Nanos, millis};

/// `CommonClientConfigs.RETRY_BACKOFF_JITTER` and `RECONNECT_BACKOFF_JITTER`, in percent.
const JITTER_PERCENT: u64 = 20;

/// Grows by a factor of two with every attempt, jittered by 20 percent, never above its maximum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExponentialBackoff {
    initial: Nanos,
    max: Nanos,
    constant: bool,
}

impl ExponentialBackoff {
    /// From two configuration values in milliseconds. Where the maximum does not exceed the initial
    /// value the back-off is constantly the maximum, without jitter, as in Kafka.
    pub(crate) fn new(initial_ms: i64, max_ms: i64) -> Self {
        let (initial, max) = (millis(initial_ms), millis(max_ms));
        ExponentialBackoff {
            initial: initial.min(max),
            max,
            constant: max <= initial,
        }
    }

    /// How long to wait after `attempts` earlier attempts, in nanoseconds.
    pub(crate) fn after(&self, attempts: u32, rng: &mut Stream) -> Nanos {
        if self.constant {
            return self.initial;
        }
        let factor = 1u64.checked_shl(attempts).unwrap_or(u64::MAX);
        let term = self.initial.saturating_mul(factor).min(self.max);
        let spread = term / 100 * JITTER_PERCENT;
        (term - spread)
            .saturating_add(rng.below(spread.saturating_mul(2).saturating_add(1)))
            .min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MILLIS;

    #[test]
    fn doubles_within_its_jitter_and_never_passes_the_maximum() {
        let backoff = ExponentialBackoff::new(100, 1000);
        let mut rng = Stream::new(1, 1);
        for _ in 0..200 {
            for (attempts, low, high) in
                [(0, 80, 120), (1, 160, 240), (2, 320, 480), (9, 800, 1000)]
            {
                let wait = backoff.after(attempts, &mut rng);
                assert!(
                    (low * MILLIS..=high * MILLIS).contains(&wait),
                    "{attempts}: {wait}"
                );
            }
            assert!(backoff.after(u32::MAX, &mut rng) <= 1000 * MILLIS);
        }
        let distinct: std::collections::BTreeSet<_> =
            (0..20).map(|_| backoff.after(0, &mut rng)).collect();
        assert!(distinct.len() > 1, "no jitter");
    }

    #[test]
    fn is_constant_where_the_maximum_is_not_larger() {
        let backoff = ExponentialBackoff::new(100, 50);
        let mut rng = Stream::new(1, 1);
        assert_eq!(backoff.after(0, &mut rng), 50 * MILLIS);
        assert_eq!(backoff.after(7, &mut rng), 50 * MILLIS);
    }
}
