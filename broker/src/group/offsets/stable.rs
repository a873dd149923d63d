//! OffsetFetch with `require_stable`, as every consumer asks: a write operation without records
//! (`GroupCoordinatorService.fetchOffsets`).
//!
//! It takes its turn behind the commits that came before it, since a shard's writes go one after the
//! other. It reads all that is written, and its answer is held until all of that is committed
//! (`CoordinatorRuntime.CoordinatorContext.waitForPendingWrites`); after `offsets.commit.timeout.ms` it
//! fails with NOT_COORDINATOR, and the client looks the coordinator up again.

use super::{Answer, OffsetsCoordinator, fetch_response};
use crate::env::Env;
use crate::ids::*;
use crate::replica::purgatory::Asker;
use crate::time::Nanos;
use crate::wire::*;

/// One that waits.
#[derive(Debug)]
pub(super) struct StableFetch {
    pub partition: i32,
    asker: Asker,
    group: TopicName,
    stage: Stage,
}

/// What it waits for.
#[derive(Debug)]
enum Stage {
    /// The appends of the commits of its shard that came before this job.
    Turn(u64, OffsetFetchRequest),
    /// The high watermark.
    Committed {
        answer: Response,
        /// The end of what was written when it was read.
        end: Offset,
        /// `CoordinatorRuntime.OperationTimeout`, set when the operation has run.
        deadline: Nanos,
    },
}

impl StableFetch {
    pub fn is_late(&self, now: Nanos) -> bool {
        matches!(self.stage, Stage::Committed { deadline, .. } if deadline <= now)
    }
}

impl OffsetsCoordinator {
    pub(super) fn fetch_stable(
        &mut self,
        asker: Asker,
        partition: i32,
        request: OffsetFetchRequest,
        high_watermark: Offset,
        env: &mut Env<'_>,
    ) -> Option<Answer> {
        let fetch = StableFetch {
            partition,
            asker,
            group: request.group.clone(),
            stage: Stage::Turn(self.next_job, request),
        };
        self.run(fetch, high_watermark, env)
    }

    /// Reads, if it is its turn: the answer, unless it waits.
    fn run(
        &mut self,
        mut fetch: StableFetch,
        high_watermark: Offset,
        env: &mut Env<'_>,
    ) -> Option<Answer> {
        if let Stage::Turn(job, request) = &fetch.stage {
            let partition = fetch.partition;
            let mut commits = self.pending.iter().take_while(|(id, _)| id < job);
            if !commits.any(|(_, c)| c.partition == partition && c.end.is_none()) {
                let answer = self.read(partition, request, Offset::MAX);
                match self.shard(partition) {
                    Ok(shard) if high_watermark < shard.written => {
                        fetch.stage = Stage::Committed {
                            answer,
                            end: shard.written,
                            deadline: env.now.saturating_add(self.commit_timeout),
                        }
                    }
                    _ => return Some((fetch.asker, answer)),
                }
            }
        }
        self.stable_fetches.push(fetch);
        self.set_timer(env);
        None
    }

    /// An append to that shard is done: runs those whose turn has come.
    pub fn run_stable_fetches(
        &mut self,
        partition: i32,
        high_watermark: Offset,
        env: &mut Env<'_>,
    ) -> Vec<Answer> {
        if self.stable_fetches.is_empty() {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut self.stable_fetches);
        let mut answers = Vec::new();
        for fetch in waiting {
            if fetch.partition == partition {
                answers.extend(self.run(fetch, high_watermark, env));
            } else {
                self.stable_fetches.push(fetch);
            }
        }
        answers
    }

    /// The high watermark of that shard's log moved.
    pub(super) fn release_stable(
        &mut self,
        partition: i32,
        high_watermark: Offset,
    ) -> impl Iterator<Item = Answer> {
        let done = move |fetch: &mut StableFetch| {
            fetch.partition == partition
                && matches!(fetch.stage, Stage::Committed { end, .. } if end <= high_watermark)
        };
        self.stable_fetches
            .extract_if(.., done)
            .map(|fetch| match fetch.stage {
                Stage::Committed { answer, .. } => (fetch.asker, answer),
                Stage::Turn(..) => unreachable!("it has not been read"),
            })
    }

    /// Answers some of them with NOT_COORDINATOR.
    pub(super) fn fail_stable(
        &mut self,
        which: impl Fn(&StableFetch) -> bool,
    ) -> impl Iterator<Item = Answer> {
        let failed = self
            .stable_fetches
            .extract_if(.., move |fetch| which(fetch));
        failed.map(|fetch| {
            let error = ErrorCode::NotCoordinator;
            let response = fetch_response(&fetch.group, error, Vec::new());
            (fetch.asker, response)
        })
    }

    pub(super) fn stable_deadline(&self) -> Option<Nanos> {
        let fetches = self.stable_fetches.iter();
        fetches
            .filter_map(|fetch| match fetch.stage {
                Stage::Committed { deadline, .. } => Some(deadline),
                Stage::Turn(..) => None,
            })
            .min()
    }
}
