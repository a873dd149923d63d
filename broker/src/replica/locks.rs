//! Kafka's locks of a partition, as they show from outside.
//!
//! An append that must flush (`log.flush.interval.messages`) holds its log's lock until the sync
//! completes (`UnifiedLog.append` flushes inside it, after the log end has moved), and all the while its
//! partition's `leaderIsrUpdateLock` for reading (`Partition.appendRecordsToLeader`). Reads of the log
//! take the latter for reading too and go on. What waits:
//! - for the log's lock, later appends, and a follower's fetch that has something to say to the high
//!   watermark (`UnifiedLog.maybeIncrementHighWatermark`): it has read by then, and its place is taken;
//! - for `leaderIsrUpdateLock`, to write it, whoever changes the ISR (`Partition.maybeExpandIsr`,
//!   `maybeShrinkIsr`, the answer of `submitAlterPartition`) or the role (`makeLeader`, `makeFollower`);
//!   and behind the first of these everybody who would read it, since the lock is not fair to readers
//!   (`ReentrantReadWriteLock.NonfairSync.readerShouldBlock`). So a leader that is replaced appends
//!   what is inside by then and nothing more.
//!
//! All of them wait in one queue. A flush by time or at a checkpoint takes no lock.
//!
//! Not modelled: that a thread which waits (a request handler, the scheduler, the sender to the
//! controller) is missing elsewhere, so that more appends can be inside than there are request
//! handlers (`num.io.threads`); ListOffsets, OffsetForLeaderEpoch, DeleteRecords and requests that
//! end their wait do not wait for these locks.

use crate::controller::MetadataImage;
use crate::env::{Env, SyncToken};
use crate::ids::*;
use crate::replica::fetch::FetchJob;
use crate::replica::manager::{ReplicaManager, Upcall};
use crate::replica::partition::{IsrProposal, Partition};
use crate::replica::produce::ProduceJob;
use crate::wire::AlterPartitionResult;
use std::collections::VecDeque;

/// An append to one partition's log that may have to wait for the log's lock or for a sync.
#[derive(Debug)]
pub enum Append {
    /// A Produce request, at its next partition.
    Produce(ProduceJob),
    /// A fetch response of a follower, at its next partition.
    Follow(super::follow::FollowJob),
    /// Records of a coordinator; `job` names them in its completion.
    Coordinator {
        /// Its partition of an internal topic.
        partition: TopicPartition,
        /// Chosen by the coordinator.
        job: u64,
        /// One batch.
        records: bytes::Bytes,
    },
}

/// How an append comes to its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has the log's lock now.
    Locked,
    /// The flush that it waited for is done.
    Flushed,
    /// That flush failed: what was appended stays in the log, unacknowledged.
    FlushFailed,
}

/// Who waits for one of a partition's locks.
#[derive(Debug)]
pub(super) enum Waiter {
    /// An append.
    Append(Append),
    /// A fetch, before it reads or after.
    Fetch(Box<FetchJob>),
    /// `Partition.maybeShrinkIsr`.
    IsrShrink,
    /// What the controller answered to a proposal.
    IsrAnswer(Box<(IsrProposal, AlterPartitionResult)>),
    /// The metadata publisher, with a new role.
    Publisher,
}

impl Waiter {
    /// Whether it waits to write `leaderIsrUpdateLock`.
    fn is_writer(&self) -> bool {
        match self {
            Waiter::Append(_) => false,
            Waiter::Fetch(fetch) => fetch.may_change_isr(),
            Waiter::IsrShrink | Waiter::IsrAnswer(_) | Waiter::Publisher => true,
        }
    }
}

/// A replica and who holds its locks.
pub struct Replica {
    /// The replica.
    pub partition: Partition,
    /// The append whose flush holds the log's lock.
    pub(super) held: Option<(SyncToken, Append)>,
    /// The metadata publisher holds `leaderIsrUpdateLock`.
    pub(super) publishing: bool,
    /// Who waits for the locks, in order.
    pub(super) queue: VecDeque<Waiter>,
}

impl Replica {
    /// Nobody holds it.
    pub(super) fn new(partition: Partition) -> Replica {
        Replica {
            partition,
            held: None,
            publishing: false,
            queue: VecDeque::new(),
        }
    }

    /// Whether anybody is inside `leaderIsrUpdateLock` or waits for it.
    #[inline]
    pub(super) fn is_locked(&self) -> bool {
        self.held.is_some() || self.publishing || !self.queue.is_empty()
    }

    /// Whether an append of a leader has to wait.
    #[inline]
    pub(super) fn is_closed_to_appends(&self) -> bool {
        self.held.is_some() || self.publishing
    }

    /// Whether who would read `leaderIsrUpdateLock` has to wait.
    pub(super) fn is_closed_to_readers(&self) -> bool {
        self.publishing || self.queue.iter().any(Waiter::is_writer)
    }

    /// The scheduler finds a member that lags, while the ISR can not change.
    pub(super) fn wait_to_shrink(&mut self, env: &Env<'_>) {
        let waits = |w: &Waiter| matches!(w, Waiter::IsrShrink);
        if !self.queue.iter().any(waits) && self.partition.shrunk_isr(env).is_some() {
            self.queue.push_back(Waiter::IsrShrink);
        }
    }
}

impl ReplicaManager {
    /// Those who waited for the locks go on, until one of them holds them again.
    pub(super) fn serve_lock_queue(
        &mut self,
        id: TopicPartition,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        loop {
            let replica = self.replicas.get_mut(id).expect("known partition");
            if replica.is_closed_to_appends() {
                return;
            }
            match replica.queue.pop_front() {
                None => return,
                Some(Waiter::Append(append)) => {
                    self.continue_append(append, Turn::Locked, image, env);
                }
                Some(Waiter::Fetch(fetch)) => self.continue_fetch(*fetch, image, env),
                Some(Waiter::IsrShrink) => {
                    if replica.partition.maybe_shrink_isr(env) {
                        self.upcalls.push_back(Upcall::ProposeIsr(id));
                    }
                }
                Some(Waiter::IsrAnswer(answer)) => {
                    self.take_isr_answer(id, &answer.0, &answer.1, image, env);
                }
                // It goes on at the end of this step.
                Some(Waiter::Publisher) => replica.publishing = true,
            }
        }
    }

    /// Goes on with an append.
    pub(super) fn continue_append(
        &mut self,
        append: Append,
        turn: Turn,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        match append {
            Append::Produce(job) => self.run_produce(job, turn, image, env),
            Append::Follow(job) => self.run_follow(job, turn, env),
            Append::Coordinator {
                partition,
                job,
                records,
            } => self.run_coordinator_append(partition, job, records, turn, image, env),
        }
    }
}
