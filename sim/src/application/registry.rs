//! The applications that a spec can name.

use super::{Context, Run, consumers, producers};

/// An application of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name in a spec.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// Its code.
    pub main: fn(Context) -> Run,
}

/// Producer applications.
pub const PRODUCERS: [Entry; 1] = [Entry {
    name: "checks-results",
    about: "sends the workload in small bursts and checks the result of every send",
    main: |context| Box::pin(producers::checks_results(context)),
}];

/// Consumer applications.
pub const CONSUMERS: [Entry; 3] = [
    Entry {
        name: "commit-after-processing",
        about: "polls, processes every record, then commits",
        main: |context| Box::pin(consumers::commit_after_processing(context)),
    },
    Entry {
        name: "commit-before-processing",
        about: "polls, commits, then processes: at most once",
        main: |context| Box::pin(consumers::commit_before_processing(context)),
    },
    Entry {
        name: "auto-commit",
        about: "polls and processes in one thread, with enable.auto.commit",
        main: |context| Box::pin(consumers::auto_commit(context)),
    },
];

/// The producer application of that name.
pub fn producer(name: &str) -> Option<&'static Entry> {
    PRODUCERS.iter().find(|entry| entry.name == name)
}

/// The consumer application of that name.
pub fn consumer(name: &str) -> Option<&'static Entry> {
    CONSUMERS.iter().find(|entry| entry.name == name)
}
