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
    /// This broker follows now, or in a new epoch. A DeleteRecords is not looked at again for that:
    /// `completeDelayedOperationsWhenNotPartitionLeader` passes over its purgatory.
    Role,
    /// The log grew and the high watermark moved, or it moved as this broker began to lead.
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
    /// Deadline and request, oldest first.
    waiting: Vec<(Nanos, Delayed)>,
    /// How many of them are deletions.
    deletions: usize,
    /// The timer's instant: not after any deadline.
    timer_at: Option<Nanos>,
}

impl Purgatory {
    /// Parks a request until one of its partitions changes or the deadline passes. Returns when the timer
    /// must be set to, if it must: one timer serves all deadlines.
    pub fn park(&mut self, delayed: Delayed, deadline: Nanos) -> Option<Nanos> {
        self.deletions += usize::from(matches!(delayed, Delayed::Deletion(_)));
        self.waiting.push((deadline, delayed));
        if self.timer_at.is_some_and(|at| at <= deadline) {
            return None;
        }
        self.timer_at = Some(deadline);
        self.timer_at
    }

    /// The timer fired, and what was due is taken out: when it must be set to next, if it must.
    pub fn timer_to_set(&mut self, now: Nanos) -> Option<Nanos> {
        if self.timer_at.is_some_and(|at| at <= now) {
            self.timer_at = None;
        }
        let first = self.waiting.iter().map(|(deadline, _)| *deadline).min()?;
        if self.timer_at.is_some_and(|at| at <= first) {
            return None;
        }
        self.timer_at = Some(first);
        self.timer_at
    }

    /// Takes the oldest request out whose deadline has passed.
    pub fn take_expired(&mut self, now: Nanos) -> Option<Delayed> {
        let late = |(deadline, _): &(Nanos, Delayed)| *deadline <= now;
        let at = self.waiting.iter().position(late)?;
        Some(self.take(at))
    }

    /// The oldest request, of those from that place on, that may have waited for this change of a
    /// partition: where it is, and itself to note its progress.
    #[inline]
    pub fn watching(
        &mut self,
        from: usize,
        partition: TopicPartition,
        change: Change,
    ) -> Option<(usize, &mut Delayed)> {
        let mut waiting = self.waiting.iter_mut().enumerate().skip(from);
        waiting.find_map(|(at, (_, delayed))| {
            delayed
                .waits_for(partition, change)
                .then_some((at, delayed))
        })
    }

    /// Takes the request there out.
    pub fn take(&mut self, at: usize) -> Delayed {
        let taken = self.waiting.remove(at).1;
        self.deletions -= usize::from(matches!(taken, Delayed::Deletion(_)));
        taken
    }

    /// Whether any DeleteRecords waits (`DelayedOperations.numDelayedDelete` is not 0).
    pub fn has_deletions(&self) -> bool {
        self.deletions > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FetchPartition;
    use smallvec::smallvec;

    const TOPIC: TopicId = TopicId(7);

    /// The fetch of a partition, told from others by its correlation id.
    fn fetch(correlation: i32, partition: i32) -> Delayed {
        let ask = FetchPartition {
            partition,
            current_leader_epoch: NO_EPOCH,
            fetch_offset: 0,
            last_fetched_epoch: NO_EPOCH,
            log_start_offset: -1,
            partition_max_bytes: 1,
        };
        let conn = ConnId(0);
        Delayed::Fetch(DelayedFetch {
            asker: Asker { conn, correlation },
            request: FetchRequest {
                replica_id: -1,
                replica_epoch: -1,
                max_wait_ms: 500,
                min_bytes: 1,
                max_bytes: 1,
                isolation_level: 0,
                topics: vec![(TOPIC, smallvec![ask])],
            },
        })
    }

    fn number(delayed: &Delayed) -> i32 {
        match delayed {
            Delayed::Fetch(fetch) => fetch.asker.correlation,
            other => panic!("not a fetch: {other:?}"),
        }
    }

    #[test]
    fn who_waits_for_a_partition_is_found_in_the_order_of_arrival() {
        let mut purgatory = Purgatory::default();
        for (correlation, partition) in [(1, 0), (2, 1), (3, 0), (4, 0)] {
            purgatory.park(fetch(correlation, partition), 100);
        }
        let id = TopicPartition::new(TOPIC, 0);
        let mut found = |from, change| {
            let found = purgatory.watching(from, id, change);
            found.map(|(at, delayed)| (at, number(delayed)))
        };
        assert_eq!(
            found(0, Change::LogEnd),
            None,
            "a consumer waits for the high watermark"
        );
        assert_eq!(found(0, Change::HighWatermark), Some((0, 1)));
        assert_eq!(found(1, Change::HighWatermark), Some((2, 3)));
        assert_eq!(number(&purgatory.take(2)), 3);
        let behind = purgatory.watching(2, id, Change::Any);
        assert_eq!(
            behind.map(|(at, delayed)| (at, number(delayed))),
            Some((2, 4))
        );
        assert!(purgatory.watching(3, id, Change::Any).is_none());
    }

    #[test]
    fn one_timer_serves_all_deadlines() {
        let mut purgatory = Purgatory::default();
        assert_eq!(purgatory.park(fetch(1, 0), 300), Some(300));
        assert_eq!(purgatory.park(fetch(2, 0), 400), None);
        assert_eq!(purgatory.park(fetch(3, 0), 200), Some(200));
        assert_eq!(purgatory.park(fetch(4, 0), 200), None);
        let late = std::iter::from_fn(|| purgatory.take_expired(200));
        assert_eq!(
            late.map(|delayed| number(&delayed)).collect::<Vec<_>>(),
            [3, 4]
        );
        assert_eq!(purgatory.timer_to_set(200), Some(300));
        // An older timer fires at an instant for which there is one already.
        assert_eq!(purgatory.timer_to_set(250), None);
        assert_eq!(purgatory.take_expired(300).map(|d| number(&d)), Some(1));
        assert_eq!(purgatory.timer_to_set(300), Some(400));
        assert_eq!(purgatory.take_expired(400).map(|d| number(&d)), Some(2));
        assert_eq!(purgatory.timer_to_set(400), None);
        assert_eq!(purgatory.park(fetch(5, 0), 900), Some(900));
    }
}
