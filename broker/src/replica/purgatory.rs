//! Requests that wait: `DelayedProduce`, `DelayedFetch` and `DelayedDeleteRecords` in their purgatories.

use crate::env::ConnId;
use crate::ids::*;
use crate::time::Nanos;
use crate::wire::{DeleteRecordsResponse, FetchRequest, ProducePartitionResult};

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// Its connection.
    pub conn: ConnId,
    /// Its request.
    pub correlation: i32,
}

/// One partition of a waiting produce.
#[derive(Debug, Clone)]
pub struct ProduceStatus {
    /// Which partition.
    pub partition: TopicPartition,
    /// The answer so far.
    pub result: ProducePartitionResult,
    /// Last offset appended.
    pub last_offset: Offset,
    /// Whether it still waits for the high watermark to reach the end of what was appended.
    pub pending: bool,
}

/// A produce with acks=all, appended, not yet replicated. The request is answered as one, when its
/// slowest partition is done.
#[derive(Debug)]
pub struct DelayedProduce {
    /// Who asked.
    pub asker: Asker,
    /// Its partitions in the order of the request.
    pub partitions: Vec<ProduceStatus>,
}

/// A fetch that waits for `min_bytes`.
#[derive(Debug)]
pub struct DelayedFetch {
    /// Who asked.
    pub asker: Asker,
    /// What.
    pub request: FetchRequest,
}

/// One partition of a waiting DeleteRecords, whose replicas have not all deleted as much yet.
#[derive(Debug)]
pub struct DeletionStatus {
    /// Which partition.
    pub partition: TopicPartition,
    /// The low watermark that it waits for.
    pub required: Offset,
    /// Topic and partition of its result, as indexes into the answer.
    pub place: (usize, usize),
}

/// A DeleteRecords, done on the leader, not yet on its followers. The request is answered as one, when
/// its slowest partition is done.
#[derive(Debug)]
pub struct DelayedDeletion {
    /// Who asked.
    pub asker: Asker,
    /// The answer so far: of a partition that still waits, that it timed out.
    pub answer: DeleteRecordsResponse,
    /// Partitions that still wait.
    pub pending: Vec<DeletionStatus>,
}

/// A waiting request.
#[derive(Debug)]
pub enum Delayed {
    /// A produce.
    Produce(DelayedProduce),
    /// A fetch.
    Fetch(DelayedFetch),
    /// A DeleteRecords.
    Deletion(DelayedDeletion),
}

/// What changed about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The log grew, and the high watermark did not move: only followers can have more to read.
    LogEnd,
    /// The high watermark moved, and the log did not grow: only consumers and producers can wait for
    /// that.
    HighWatermark,
    /// The low watermark moved: only a DeleteRecords can wait for that.
    LowWatermark,
    /// The role or the epoch. A DeleteRecords is not looked at again for that:
    /// `completeDelayedOperationsWhenNotPartitionLeader` passes over its purgatory.
    Role,
    /// The log grew and the high watermark moved, or it moved with the role or the epoch.
    Any,
}

impl Delayed {
    /// Whether this change of this partition may be what it waits for.
    fn waits_for(&self, partition: TopicPartition, change: Change) -> bool {
        match self {
            Delayed::Produce(produce) => {
                !matches!(change, Change::LogEnd | Change::LowWatermark)
                    && produce
                        .partitions
                        .iter()
                        .any(|p| p.pending && p.partition == partition)
            }
            Delayed::Fetch(DelayedFetch { request, .. }) => {
                let unconcerned = match change {
                    Change::LogEnd => request.replica_id < 0,
                    Change::HighWatermark => request.replica_id >= 0,
                    Change::LowWatermark => true,
                    Change::Role | Change::Any => false,
                };
                !unconcerned
                    && request.topics.iter().any(|(topic, partitions)| {
                        *topic == partition.topic
                            && partitions
                                .iter()
                                .any(|p| p.partition == partition.partition)
                    })
            }
            Delayed::Deletion(deletion) => {
                !matches!(change, Change::LogEnd | Change::Role)
                    && deletion.pending.iter().any(|p| p.partition == partition)
            }
        }
    }
}

/// All waiting requests of a broker. There are few at a time, one a connection at most, so that whoever
/// waits for a partition is found by looking at each.
#[derive(Debug, Default)]
pub struct Purgatory {
    next: u64,
    /// Number, deadline and request, oldest first.
    waiting: Vec<(u64, Nanos, Delayed)>,
    /// How many of them are deletions.
    deletions: usize,
    timer_at: Option<Nanos>,
}

impl Purgatory {
    /// Parks a request until one of its partitions changes or the deadline passes.
    pub fn park(&mut self, delayed: Delayed, deadline: Nanos) {
        self.deletions += usize::from(matches!(delayed, Delayed::Deletion(_)));
        self.waiting.push((self.next, deadline, delayed));
        self.next += 1;
    }

    /// When the timer must be set to, if it must: one timer serves all deadlines.
    pub fn timer_to_set(&mut self) -> Option<Nanos> {
        let first = self
            .waiting
            .iter()
            .map(|(_, deadline, _)| *deadline)
            .min()?;
        if self.timer_at.is_some_and(|at| at <= first) {
            return None;
        }
        self.timer_at = Some(first);
        self.timer_at
    }

    /// The timer fired: the number of each request whose deadline has passed, oldest first.
    pub fn expired(&mut self, now: Nanos) -> Vec<u64> {
        if self.timer_at.is_some_and(|at| at <= now) {
            self.timer_at = None;
        }
        let late = self
            .waiting
            .iter()
            .filter(|(_, deadline, _)| *deadline <= now);
        late.map(|(id, ..)| *id).collect()
    }

    /// Numbers of the requests that may have waited for this change of a partition, oldest first, behind what is in the vector.
    pub fn watching(&self, partition: TopicPartition, change: Change, into: &mut Vec<u64>) {
        let watching = self
            .waiting
            .iter()
            .filter(|(.., delayed)| delayed.waits_for(partition, change));
        into.extend(watching.map(|(id, ..)| *id));
    }

    /// Where the request of that number is, unless it was answered.
    pub fn index(&self, id: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&id, |(id, ..)| *id).ok()
    }

    /// The request there, to note its progress.
    pub fn at_mut(&mut self, index: usize) -> &mut Delayed {
        &mut self.waiting[index].2
    }

    /// Takes the request there out.
    pub fn take(&mut self, index: usize) -> Delayed {
        let taken = self.waiting.remove(index).2;
        self.deletions -= usize::from(matches!(taken, Delayed::Deletion(_)));
        taken
    }

    /// Whether any DeleteRecords waits (`DelayedOperations.numDelayedDelete` is not 0).
    pub fn has_deletions(&self) -> bool {
        self.deletions > 0
    }
}
