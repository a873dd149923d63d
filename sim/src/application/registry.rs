//! The applications that a spec can name.

use super::consumers::{self, OnException, OnTheWayOut, WithEpoch};
use super::{Addressing, Context, Run, producers};

/// An application of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name in a spec.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// Its process has a producer beside its consumer, and the cluster a topic, for records on which its
    /// handler throws.
    pub sends_dead_letters: bool,
    /// Looks at no result of a send: what failed, nobody knows.
    pub ignores_results: bool,
    /// Its code.
    pub main: fn(Context) -> Run,
}

impl Entry {
    const fn new(name: &'static str, about: &'static str, main: fn(Context) -> Run) -> Entry {
        Entry {
            name,
            about,
            sends_dead_letters: false,
            ignores_results: false,
            main,
        }
    }

    const fn with_dead_letters(self) -> Entry {
        Entry {
            sends_dead_letters: true,
            ..self
        }
    }

    const fn without_results(self) -> Entry {
        Entry {
            ignores_results: true,
            ..self
        }
    }
}

/// Producer applications.
pub const PRODUCERS: [Entry; 4] = [
    Entry::new(
        "checks-results",
        "sends the workload in small bursts and checks the result of every send",
        |context| Box::pin(producers::checks_results(context, Addressing::Partition)),
    ),
    Entry::new(
        "checks-results-keyed",
        "the same with a key in each record, whose hash decides its partition",
        |context| Box::pin(producers::checks_results(context, Addressing::Key)),
    ),
    Entry::new(
        "checks-results-unkeyed",
        "the same without key or partition: the sticky partitioner decides",
        |context| Box::pin(producers::checks_results(context, Addressing::Nothing)),
    ),
    Entry::new(
        "ignores-results",
        "sends the same and never looks at the result of a send",
        |context| Box::pin(producers::ignores_results(context)),
    )
    .without_results(),
];

/// Consumer applications.
pub const CONSUMERS: [Entry; 12] = [
    Entry::new(
        "commit-after-processing",
        "polls, processes every record, then commits",
        |context| Box::pin(consumers::commit_after_processing(context)),
    ),
    Entry::new(
        "commit-before-processing",
        "polls, commits, then processes: at most once",
        |context| Box::pin(consumers::commit_before_processing(context)),
    ),
    Entry::new(
        "auto-commit",
        "polls and processes in one thread, with enable.auto.commit",
        |context| Box::pin(consumers::auto_commit(context)),
    ),
    Entry::new(
        "commit-explicit-offsets",
        "polls, processes every record, then commits the offset behind the last, without its epoch",
        |context| Box::pin(consumers::commit_explicit_offsets(context, WithEpoch::No)),
    ),
    Entry::new(
        "commit-explicit-offsets-with-epoch",
        "polls, processes every record, then commits the offset behind the last, with its leader epoch",
        |context| Box::pin(consumers::commit_explicit_offsets(context, WithEpoch::Yes)),
    ),
    Entry::new(
        "commit-async",
        "polls, processes every record, then commits with commitAsync and goes on",
        |context| Box::pin(consumers::commit_async(context)),
    ),
    Entry::new(
        "retry-on-exception",
        "as commit-after-processing; a record on which its handler throws is tried again until it does not",
        |context| Box::pin(consumers::commit_after_processing(context)),
    ),
    Entry::new(
        "skip-on-exception",
        "as commit-after-processing; a record on which its handler throws is logged and passed over",
        |context| Box::pin(consumers::on_exception(context, OnException::Skip)),
    ),
    Entry::new(
        "dead-letter",
        "a record on which its handler throws goes to a dead-letter topic, and the commit waits for the ack",
        |context| Box::pin(consumers::on_exception(context, OnException::AwaitDeadLetter)),
    )
    .with_dead_letters(),
    Entry::new(
        "dead-letter-unawaited",
        "a record on which its handler throws goes to a dead-letter topic, and nobody waits for the ack",
        |context| Box::pin(consumers::on_exception(context, OnException::SendDeadLetter)),
    )
    .with_dead_letters(),
    Entry::new(
        "close-on-exception",
        "ends when its handler throws, closes its consumer on the way out, and is started again",
        |context| Box::pin(consumers::leave_on_exception(context, OnTheWayOut::Close)),
    ),
    Entry::new(
        "commit-on-exception",
        "ends when its handler throws, calls commitSync() on the way out, and is started again",
        |context| Box::pin(consumers::leave_on_exception(context, OnTheWayOut::CommitAndClose)),
    ),
];

/// The producer application of that name.
pub fn producer(name: &str) -> Option<&'static Entry> {
    PRODUCERS.iter().find(|entry| entry.name == name)
}

/// The consumer application of that name.
pub fn consumer(name: &str) -> Option<&'static Entry> {
    CONSUMERS.iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_found_and_there_once() {
        for (all, find) in [
            (&PRODUCERS[..], producer as fn(&str) -> _),
            (&CONSUMERS[..], consumer),
        ] {
            let names: BTreeSet<_> = all.iter().map(|entry| entry.name).collect();
            assert_eq!(names.len(), all.len());
            for entry in all {
                assert_eq!(find(entry.name).map(|found| found.about), Some(entry.about));
            }
        }
        assert!(consumer("checks-results").is_none());
    }
}
