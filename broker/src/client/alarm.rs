//! An engine's one timer.

use crate::env::{Env, TimerToken};
use crate::time::Nanos;

/// Wakes an engine at the earliest instant at which it has something to do. Timers are never cancelled:
/// one that was overtaken by an earlier one is known by its token, which is its instant.
#[derive(Debug)]
pub(super) struct Alarm {
    /// The earliest timer outstanding.
    at: Nanos,
}

impl Alarm {
    pub(super) fn new() -> Alarm {
        Alarm { at: Nanos::MAX }
    }

    /// When it is set to; [`Nanos::MAX`] where it is not.
    pub(super) fn at(&self) -> Nanos {
        self.at
    }

    /// Sets it, unless it wakes the engine earlier.
    ///
    /// # Panics
    /// At an instant that has come: what was due then was left undone.
    pub(super) fn set(&mut self, at: Nanos, env: &mut Env<'_>) {
        if at < self.at {
            let now = env.now;
            assert!(at > now, "a deadline at {at} was left undone at {now}");
            self.at = at;
            env.timer_in(at - now, TimerToken(at));
        }
    }

    /// A timer fired: whether it is this one, and not one that was overtaken.
    pub(super) fn rings(&mut self, token: TimerToken) -> bool {
        let rings = token.0 == self.at;
        if rings {
            self.at = Nanos::MAX;
        }
        rings
    }
}
