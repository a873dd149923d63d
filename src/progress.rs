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
/// Steps of the bar.
const BAR_LENGTH: u64 = 1_000;
/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A campaign's progress; callable from every job.
pub struct Progress {
    manner: Manner,
    budget: Option<Duration>,
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
    /// Progress as the flags and the environment ask for it. With a budget it is time that runs
    /// out, otherwise work.
    #[allow(clippy::disallowed_methods, clippy::disallowed_types)] // wall clock; CI changes only this
    pub fn new(quiet: bool, budget: Option<Duration>) -> Progress {
        let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1");
        let manner = match (quiet, std::io::stderr().is_terminal() && !in_ci) {
            (true, _) => Manner::Silent,
            (false, true) => Manner::Bar,
            (false, false) => Manner::Lines,
        };
        Progress {
            manner,
            budget,
            started: Instant::now(),
            state: Mutex::new(State::default()),
        }
    }

    /// Wall-clock time since the campaign began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// So many runs have ended, and so many units of work of as many as are planned by now.
    pub fn advanced(&self, runs: u64, done: u64, planned: u64) {
        let elapsed = self.elapsed();
        if self.manner == Manner::Silent || elapsed < SILENCE {
            return;
        }
        // A job that holds the lock is printing at this moment; two lines would say the same.
        let Ok(mut state) = self.state.try_lock() else {
            return;
        };
        let share = share(done, planned, elapsed, self.budget);
        match self.manner {
            Manner::Bar => {
                let bar = state.bar.get_or_insert_with(bar);
                bar.set_position((share * BAR_LENGTH as f64) as u64);
                bar.set_message(line(runs, share, elapsed));
            }
            Manner::Lines if due(state.last_line, elapsed) => {
                state.last_line = Some(elapsed);
                eprintln!("{}", line(runs, share, elapsed));
            }
            Manner::Lines | Manner::Silent => {}
        }
    }

    /// Work whose end nobody knows: so many runs have ended, and this is how it stands.
    pub fn stands(&self, runs: u64, how: &dyn Fn() -> String) {
        let elapsed = self.elapsed();
        if self.manner == Manner::Silent || elapsed < SILENCE {
            return;
        }
        let Ok(mut state) = self.state.try_lock() else {
            return;
        };
        let per_s = runs as f64 / elapsed.as_secs_f64();
        let line = || format!("{runs} runs, {per_s:.0} runs/s; {}", how());
        match self.manner {
            Manner::Bar => {
                let bar = state.bar.get_or_insert_with(spinner);
                bar.set_message(line());
                bar.tick();
            }
            Manner::Lines if due(state.last_line, elapsed) => {
                state.last_line = Some(elapsed);
                eprintln!("{}", line());
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

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {msg}")
        .expect("the template is constant and was tried");
    let bar = ProgressBar::with_draw_target(Some(BAR_LENGTH), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar
}

fn spinner() -> ProgressBar {
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
}

fn due(last: Option<Duration>, elapsed: Duration) -> bool {
    last.is_none_or(|last| elapsed >= last + LINE_EVERY)
}

/// How far it is, from 0 to 1: of the budget where there is one, else of the work.
fn share(done: u64, planned: u64, elapsed: Duration, budget: Option<Duration>) -> f64 {
    let share = match budget {
        Some(budget) => elapsed.as_secs_f64() / budget.as_secs_f64(),
        None => done as f64 / planned.max(1) as f64,
    };
    share.clamp(0.0, 1.0)
}

fn line(runs: u64, share: f64, elapsed: Duration) -> String {
    let elapsed_s = elapsed.as_secs_f64();
    let per_s = runs as f64 / elapsed_s;
    let percent = share * 100.0;
    let left_s = elapsed_s / share - elapsed_s;
    let left = if left_s.is_finite() {
        format!(", {left_s:.0} s left")
    } else {
        String::new()
    };
    format!("{percent:3.0} %, {runs} runs, {per_s:.0} runs/s{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_rate_and_time_left() {
        let at = Duration::from_secs;
        assert_eq!(
            line(400, 0.4, at(2)),
            " 40 %, 400 runs, 200 runs/s, 3 s left"
        );
        assert_eq!(line(0, 0.0, at(3)), "  0 %, 0 runs, 0 runs/s");
        assert_eq!(
            line(800, 1.0, at(4)),
            "100 %, 800 runs, 200 runs/s, 0 s left"
        );
    }

    #[test]
    fn a_budget_runs_out_with_time_and_not_with_work() {
        let at = Duration::from_secs;
        assert_eq!(share(5, u64::MAX, at(30), Some(at(60))), 0.5);
        assert_eq!(share(5, 10, at(30), None), 0.5);
        assert_eq!(share(0, 0, at(3), None), 0.0);
        assert_eq!(share(1, 1, at(90), Some(at(60))), 1.0);
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
        assert_eq!(bar().length(), Some(BAR_LENGTH));
    }
}
