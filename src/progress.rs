//! Progress on stderr: nothing in the first two seconds, then a bar on a terminal, and plain lines
//! every few seconds where there is none or `CI=true` says so.
//!
//! It measures wall-clock time, which no run ever sees.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;
#[allow(clippy::disallowed_types)] // how long the user has waited; no run sees it
use std::time::Instant;

/// Until then nothing is printed.
const SILENCE: Duration = Duration::from_secs(2);
/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A campaign's progress; callable from every job.
pub struct Progress {
    manner: Manner,
    #[allow(clippy::disallowed_types)] // as above
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Silent,
    Lines,
    Bar,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    last_line: Option<Duration>,
}

impl Progress {
    /// Progress as the flags and the environment ask for it.
    #[allow(clippy::disallowed_methods)] // wall-clock time of the campaign; CI changes only this
    pub fn new(quiet: bool) -> Progress {
        let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1");
        let manner = match (quiet, std::io::stderr().is_terminal() && !in_ci) {
            (true, _) => Manner::Silent,
            (false, true) => Manner::Bar,
            (false, false) => Manner::Lines,
        };
        Progress {
            manner,
            started: Instant::now(),
            state: Mutex::new(State::default()),
        }
    }

    /// So many runs have finished, of as many as are planned by now.
    pub fn advanced(&self, finished: u64, planned: u64) {
        let elapsed = self.started.elapsed();
        if self.manner == Manner::Silent || elapsed < SILENCE {
            return;
        }
        // A job that holds the lock is printing at this moment; two lines would say the same.
        let Ok(mut state) = self.state.try_lock() else {
            return;
        };
        match self.manner {
            Manner::Bar => {
                let bar = state.bar.get_or_insert_with(|| bar(elapsed, finished));
                bar.set_length(planned.max(finished));
                bar.set_position(finished);
            }
            Manner::Lines if due(state.last_line, elapsed) => {
                state.last_line = Some(elapsed);
                eprintln!("{}", line(finished, planned, elapsed));
            }
            Manner::Lines | Manner::Silent => {}
        }
    }

    /// Takes the bar away, so that results and diagnostics stand alone.
    pub fn end(&self) {
        if let Ok(state) = self.state.lock()
            && let Some(bar) = &state.bar
        {
            bar.finish_and_clear();
        }
    }
}

fn bar(elapsed: Duration, finished: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs  {per_sec}  ETA {eta}")
        .expect("the template is constant and was tried");
    let bar =
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_elapsed(elapsed);
    bar.set_style(style);
    bar.with_position(finished)
}

fn due(last: Option<Duration>, elapsed: Duration) -> bool {
    last.is_none_or(|last| elapsed >= last + LINE_EVERY)
}

fn line(finished: u64, planned: u64, elapsed: Duration) -> String {
    let per_s = finished as f64 / elapsed.as_secs_f64();
    let left = planned.saturating_sub(finished);
    let eta_s = if per_s > 0.0 {
        (left as f64 / per_s).ceil()
    } else {
        f64::INFINITY
    };
    let eta = if eta_s.is_finite() {
        format!(", {eta_s:.0} s left")
    } else {
        String::new()
    };
    format!(
        "{finished} of {} runs, {per_s:.0} runs/s{eta}",
        planned.max(finished)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_rate_and_time_left() {
        assert_eq!(
            line(400, 1_000, Duration::from_secs(2)),
            "400 of 1000 runs, 200 runs/s, 3 s left"
        );
        assert_eq!(
            line(0, 10, Duration::from_secs(3)),
            "0 of 10 runs, 0 runs/s"
        );
        assert_eq!(
            line(12, 10, Duration::from_secs(4)),
            "12 of 12 runs, 3 runs/s, 0 s left"
        );
    }

    #[test]
    fn lines_come_every_few_seconds_and_not_with_every_run() {
        let at = Duration::from_secs;
        assert!(due(None, at(2)));
        assert!(!due(Some(at(2)), at(6)));
        assert!(due(Some(at(2)), at(7)));
    }

    #[test]
    fn the_bar_has_a_valid_template() {
        assert_eq!(bar(Duration::from_secs(3), 7).position(), 7);
    }
}
