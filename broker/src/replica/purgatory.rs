//! Requests that wait: `DelayedProduce` and `DelayedFetch` in their purgatories.

use crate::env::ConnId;
use crate::ids::*;
use crate::time::Nanos;
use crate::wire::{FetchRequest, ProducePartitionResult};
use std::collections::BTreeMap;

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

/// A waiting request.
#[derive(Debug)]
pub enum Delayed {
    /// A produce.
    Produce(DelayedProduce),
    /// A fetch.
    Fetch(DelayedFetch),
}

/// All waiting requests of a broker, watched by partition.
#[derive(Debug, Default)]
pub struct Purgatory {
    next: u64,
    waiting: BTreeMap<u64, Delayed>,
    watchers: BTreeMap<TopicPartition, Vec<u64>>,
    /// Deadlines in the order of their numbers; swept by one timer each.
    deadlines: BTreeMap<u64, Nanos>,
}

impl Purgatory {
    /// Parks a request until one of its partitions changes or the deadline passes; returns its number.
    pub fn park(&mut self, delayed: Delayed, deadline: Nanos) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut watch = |partition: TopicPartition| {
            let ids = self.watchers.entry(partition).or_default();
            // Numbers of requests that are long answered are swept here.
            if ids.len() >= 16 {
                let waiting = &self.waiting;
                ids.retain(|id| waiting.contains_key(id));
            }
            ids.push(id);
        };
        match &delayed {
            Delayed::Produce(produce) => {
                for status in produce.partitions.iter().filter(|p| p.pending) {
                    watch(status.partition);
                }
            }
            Delayed::Fetch(fetch) => {
                for (topic, partitions) in &fetch.request.topics {
                    for p in partitions {
                        watch(TopicPartition::new(*topic, p.partition));
                    }
                }
            }
        }
        self.waiting.insert(id, delayed);
        self.deadlines.insert(id, deadline);
        id
    }

    /// Numbers of the requests that watch a partition, oldest first, into an empty vector.
    pub fn watching(&mut self, partition: TopicPartition, into: &mut Vec<u64>) {
        if let Some(ids) = self.watchers.get_mut(&partition) {
            let waiting = &self.waiting;
            ids.retain(|id| waiting.contains_key(id));
            into.extend_from_slice(ids);
        }
    }

    /// Takes a request out to look at it; it is put back or taken for good.
    pub fn take_for_check(&mut self, id: u64) -> Option<Delayed> {
        self.waiting.remove(&id)
    }

    /// Puts back what [`Self::take_for_check`] took.
    pub fn put_back(&mut self, id: u64, delayed: Delayed) {
        self.waiting.insert(id, delayed);
    }

    /// The request of that number, read only.
    pub fn get(&self, id: u64) -> Option<&Delayed> {
        self.waiting.get(&id)
    }

    /// Takes a request out.
    pub fn take(&mut self, id: u64) -> Option<Delayed> {
        self.deadlines.remove(&id);
        self.waiting.remove(&id)
    }

    /// Takes a request out if its deadline has passed.
    pub fn take_expired(&mut self, id: u64, now: Nanos) -> Option<Delayed> {
        if self.deadlines.get(&id).is_some_and(|at| *at <= now) {
            self.take(id)
        } else {
            None
        }
    }

    /// Requests that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
