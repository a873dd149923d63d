//! The stories of the saved runs: each is run once more with its story recorded, which a campaign of
//! thousands of runs does not. A failure file then carries what the page tells beside a loss, and
//! `report` has it without a simulation. It is also a check: the second run has the hash of the first.

use everyack_scenarios::failure::{Failure, TESTBED};
use everyack_scenarios::runner::Saved;
use everyack_sim::spec::{Record, RunSpec};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Fills in the stories, of what shrinking left where it left something, on so many threads, until it
/// is stopped. Those runs that the testbed failed have none. Returns what does not repeat, a line
/// each.
pub fn tell(saved: &mut [Saved], jobs: usize, stop: &AtomicBool) -> Vec<String> {
    let left = Mutex::new(saved.iter_mut());
    let diverged = Mutex::new(Vec::new());
    let worker = || {
        while !stop.load(Ordering::Relaxed) {
            let next = left.lock().expect("no thread panics with it").next();
            let Some(saved) = next else {
                break;
            };
            let (file, failure) = match &mut saved.shrunk {
                Some(shrunk) => (
                    format!("{}, shrunk", saved.failure.id()),
                    &mut shrunk.failure,
                ),
                None => (saved.failure.id(), &mut saved.failure),
            };
            if failure.mechanism == TESTBED {
                continue;
            }
            if let Some(what) = tell_one(failure) {
                let mut diverged = diverged.lock().expect("no thread panics with it");
                diverged.push(format!("{file}: {what}"));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(worker);
        }
    });
    let mut diverged = diverged.into_inner().expect("every thread has ended");
    diverged.sort();
    diverged
}

fn tell_one(failure: &mut Failure) -> Option<String> {
    let spec = RunSpec {
        record: Record::Story,
        ..failure.spec.clone()
    };
    let result = everyack_sim::run(&spec);
    let hash = format!("0x{:016x}", result.trace_hash);
    failure.story = result.story;
    let recorded = &failure.trace_hash;
    (hash != *recorded).then(|| {
        format!(
            "gave trace hash {recorded}, and {hash} when it was run again: the testbed is not \
             deterministic"
        )
    })
}
