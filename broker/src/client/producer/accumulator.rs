//! Records waiting to be sent: Kafka's `RecordAccumulator` with its `BufferPool`.
//!
//! One deque of batches per partition. Memory is accounted per batch (`batch.size`, or what its
//! first record needs) and given back when the batch's fate is known. Whoever finds none waits in
//! the producer, first come first served; one waiter suffices to make every partition sendable.
//!
//! A record that names no partition and has no key goes where the topic's [`BuiltInPartitioner`] is.

use super::batch::{BatchId, Batches, ProducerBatch, size_upper_bound};
use super::partitioner::{BuiltInPartitioner, Choice};
use super::transaction_manager::TransactionManager;
use crate::env::Stream;
use crate::ids::*;
use crate::log::batch::NO_SEQUENCE;
use crate::time::Nanos;
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};

use super::super::backoff::ExponentialBackoff;
use super::super::metadata::{LeaderAndEpoch, Metadata};
use super::super::{CallId, ProducerRecord};

/// A partition that records were sent to.
#[derive(Debug)]
pub(super) struct Partition {
    pub topic: TopicName,
    pub partition: i32,
    /// From the snapshot, renewed when that changes.
    pub leader: LeaderAndEpoch,
    /// From the snapshot, with the leader.
    pub topic_id: TopicId,
    deque: VecDeque<BatchId>,
    /// `Sender.inFlightBatches`, in the order of draining.
    pub in_flight: Vec<BatchId>,
    /// `RecordAccumulator.muted`: a request is in flight and only one is allowed.
    pub muted: bool,
}

/// How an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is in a batch; `wake` where the sender must look (a new batch, or a full one).
    Done { wake: bool, new_batch: bool },
    /// No memory for another batch.
    NoMemory,
}

/// `RecordAccumulator.ReadyCheckResult`.
#[derive(Debug)]
pub(super) struct ReadyCheck {
    pub nodes: SmallVec<[NodeId; 4]>,
    /// When a batch that is not ready yet may be.
    pub next: Nanos,
    pub unknown_leader: bool,
}

/// What one request takes to a node.
pub(super) type DrainedBatches = SmallVec<[BatchId; 8]>;

/// `TopicInfo`.
#[derive(Debug)]
struct Topic {
    /// Partitions that records were sent to, with their index.
    partitions: Vec<(i32, usize)>,
    partitioner: BuiltInPartitioner,
}

/// `NodeLatencyStats`: for how long a node has had batches that it does not take.
#[derive(Debug, Clone, Copy)]
struct NodeLatency {
    node: NodeId,
    drained_at: Nanos,
    ready_at: Nanos,
}

/// See the module head.
#[derive(Debug)]
pub(super) struct RecordAccumulator {
    batch_size: usize,
    adaptive_partitioning: bool,
    /// `partitioner.availability.timeout.ms`; 0 for none.
    availability_timeout: Nanos,
    node_latencies: Vec<NodeLatency>,
    linger: Nanos,
    pub delivery_timeout: Nanos,
    none_expires_before: Nanos,
    retry_backoff: ExponentialBackoff,
    memory: usize,
    available: usize,
    pub partitions: Vec<Partition>,
    by_topic: BTreeMap<TopicName, Topic>,
    pub batches: Batches,
    /// `nodesDrainIndex`.
    drain_index: Vec<(NodeId, usize)>,
    /// A record was sent that names no partition.
    uses_partitioner: bool,
    next_serial: u64,
    seen_snapshot: u64,
    /// Batches without a fate.
    pub incomplete: usize,
    /// Somebody waits for memory.
    pub exhausted: bool,
    pub flushes_in_progress: usize,
    pub closed: bool,
}

impl RecordAccumulator {
    pub(super) fn new(config: &super::ProducerConfig) -> Self {
        let memory = usize::try_from(config.buffer_memory).unwrap_or(0);
        RecordAccumulator {
            batch_size: usize::try_from(config.batch_size).unwrap_or(0),
            adaptive_partitioning: config.partitioner_adaptive_partitioning_enable,
            availability_timeout: crate::time::millis(config.partitioner_availability_timeout_ms),
            node_latencies: Vec::new(),
            linger: crate::time::millis(config.linger_ms),
            delivery_timeout: crate::time::millis(config.delivery_timeout_ms),
            none_expires_before: 0,
            retry_backoff: ExponentialBackoff::new(
                config.retry_backoff_ms,
                config.retry_backoff_max_ms,
            ),
            memory,
            available: memory,
            partitions: Vec::new(),
            by_topic: BTreeMap::new(),
            batches: Batches::default(),
            drain_index: Vec::new(),
            uses_partitioner: false,
            next_serial: 0,
            seen_snapshot: 0,
            incomplete: 0,
            exhausted: false,
            flushes_in_progress: 0,
            closed: false,
        }
    }

    fn topic(&mut self, topic: &TopicName) -> &mut Topic {
        if !self.by_topic.contains_key(topic) {
            let fresh = Topic {
                partitions: Vec::new(),
                partitioner: BuiltInPartitioner::new(self.batch_size),
            };
            self.by_topic.insert(topic.clone(), fresh);
        }
        self.by_topic.get_mut(topic).expect("just inserted")
    }

    fn partition_index(&mut self, topic: &TopicName, partition: i32, metadata: &Metadata) -> usize {
        // Few partitions, and mostly the very same name.
        let is_it = |p: &Partition| p.partition == partition && p.topic == *topic;
        if let Some(index) = self.partitions.iter().position(is_it) {
            return index;
        }
        let index = self.partitions.len();
        self.topic(topic).partitions.push((partition, index));
        self.partitions.push(Partition {
            topic: topic.clone(),
            partition,
            leader: metadata.snapshot_leader(topic, partition),
            topic_id: metadata.topic_id(topic).unwrap_or(TopicId(0)),
            deque: VecDeque::new(),
            in_flight: Vec::new(),
            muted: false,
        });
        index
    }

    /// `RecordAccumulator.append` for a partition that the record or its key names, or for any.
    pub(super) fn append(
        &mut self,
        call: CallId,
        record: &ProducerRecord,
        partition: Option<i32>,
        when: (Nanos, i64),
        metadata: &Metadata,
        rng: &mut Stream,
    ) -> Appended {
        if let Some(partition) = partition {
            let index = self.partition_index(&record.topic, partition, metadata);
            return self.append_to(index, call, record, when);
        }
        self.uses_partitioner = true;
        let topic = &record.topic;
        let choice = || Choice {
            available: metadata.available_partitions(topic),
            partitions: metadata.partition_count(topic).unwrap_or(1),
        };
        let mut partition = self.topic(topic).partitioner.current(choice, rng);
        let mut index = self.partition_index(topic, partition, metadata);
        // partitionChanged: a switch that had to wait for the last batch to be full.
        if self.all_batches_full(index) {
            let partitioner = &mut self.topic(topic).partitioner;
            partitioner.produced(0, true, choice, rng);
            partition = partitioner.current(choice, rng);
            index = self.partition_index(topic, partition, metadata);
        }
        let before = self.last_batch_bytes(index);
        let appended = self.append_to(index, call, record, when);
        if let Appended::Done { new_batch, .. } = appended {
            let before = if new_batch { 0 } else { before };
            let bytes = self.last_batch_bytes(index) - before;
            let full = self.all_batches_full(index);
            let partitioner = &mut self.topic(topic).partitioner;
            partitioner.produced(bytes, full, choice, rng);
        }
        appended
    }

    /// `allBatchesFull`: only the last may not be.
    fn all_batches_full(&self, index: usize) -> bool {
        let last = self.partitions[index].deque.back();
        last.is_none_or(|id| self.batches.get(*id).is_full())
    }

    fn last_batch_bytes(&self, index: usize) -> usize {
        let last = self.partitions[index].deque.back();
        last.map_or(0, |id| self.batches.get(*id).size())
    }

    fn append_to(
        &mut self,
        index: usize,
        call: CallId,
        record: &ProducerRecord,
        (now, timestamp): (Nanos, i64),
    ) -> Appended {
        let partition = &mut self.partitions[index];
        if let Some(last) = partition.deque.back() {
            let batch = self.batches.get_mut(*last);
            if batch.try_append(call, record, timestamp) {
                return Appended::Done {
                    wake: partition.deque.len() > 1 || batch.is_full(),
                    new_batch: false,
                };
            }
            batch.close_for_appends();
        }
        let capacity = self.batch_size.max(size_upper_bound(record));
        if capacity > self.available {
            return Appended::NoMemory;
        }
        self.available -= capacity;
        let mut batch = ProducerBatch::new(index, self.next_serial, capacity, now);
        self.next_serial += 1;
        let fits = batch.try_append(call, record, timestamp);
        assert!(fits, "the first record always fits");
        partition.deque.push_back(self.batches.insert(batch));
        self.incomplete += 1;
        Appended::Done {
            wake: true,
            new_batch: true,
        }
    }

    /// `BufferPool.totalMemory`, which no record may exceed.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// The serial that the next batch will have.
    pub(super) fn next_serial(&self) -> u64 {
        self.next_serial
    }

    /// Forgets a batch whose fate was told, and frees its memory.
    pub(super) fn deallocate(&mut self, id: BatchId) {
        let batch = self.batches.remove(id);
        if !batch.is_split {
            self.available += batch.capacity;
        }
        assert!(self.available <= self.memory, "memory freed twice");
    }

    /// Takes leaders and topic ids over from the snapshot where it changed.
    pub(super) fn refresh_leaders(&mut self, metadata: &Metadata) {
        if self.seen_snapshot == metadata.snapshot_version() {
            return;
        }
        self.seen_snapshot = metadata.snapshot_version();
        for partition in &mut self.partitions {
            partition.leader = metadata.snapshot_leader(&partition.topic, partition.partition);
            partition.topic_id = metadata.topic_id(&partition.topic).unwrap_or(TopicId(0));
        }
    }

    /// `RecordAccumulator.ready`: nodes with a partition whose first batch is full, has lingered, or
    /// must go, and does not back off.
    pub(super) fn ready(&mut self, now: Nanos, metadata: &Metadata) -> ReadyCheck {
        if self.uses_partitioner {
            self.update_load(metadata);
        }
        let mut check = ReadyCheck {
            nodes: SmallVec::new(),
            next: Nanos::MAX,
            unknown_leader: false,
        };
        let all_sendable = self.exhausted || self.closed || self.flushes_in_progress > 0;
        for partition in &self.partitions {
            let Some(first) = partition.deque.front() else {
                continue;
            };
            let batch = self.batches.get_mut(*first);
            batch.maybe_update_leader_epoch(partition.leader.epoch);
            let Some(leader) = partition.leader.leader else {
                check.unknown_leader = true;
                continue;
            };
            if partition.muted || check.nodes.contains(&leader) {
                continue;
            }
            let backing_off = batch.should_back_off(now);
            let to_wait = match backing_off {
                true => batch.backoff,
                false => self.linger,
            };
            let full = partition.deque.len() > 1 || batch.is_full();
            let expired = batch.waited(now) >= to_wait;
            if !backing_off && (full || expired || all_sendable) {
                check.nodes.push(leader);
            } else {
                check.next = check.next.min(batch.last_attempt.saturating_add(to_wait));
            }
        }
        check
    }

    /// The part of `RecordAccumulator.partitionReady` that adaptive partitioning needs: how many batches
    /// wait for each partition of a topic. Not before each of its partitions had one.
    #[inline(never)]
    fn update_load(&mut self, metadata: &Metadata) {
        for (name, topic) in &mut self.by_topic {
            if !topic.partitioner.is_used() {
                continue;
            }
            let all = topic.partitions.len();
            let count = metadata.partition_count(name).unwrap_or(0);
            let adapts = self.adaptive_partitioning && all as i32 >= count;
            let queues = adapts.then(|| {
                topic.partitions.iter().filter_map(|(partition, index)| {
                    let state = &self.partitions[*index];
                    let leader = state.leader.leader?;
                    let latency = self.node_latencies.iter().find(|l| l.node == leader);
                    let late = latency.is_some_and(|l| {
                        l.ready_at.saturating_sub(l.drained_at) > self.availability_timeout
                    });
                    let waiting = state.deque.len();
                    (waiting == 0 || !late).then_some((*partition, waiting))
                })
            });
            topic.partitioner.update_load(queues, all);
        }
    }

    /// `RecordAccumulator.updateNodeLatencyStats`: the node has batches, and takes them or not.
    pub(super) fn update_node_latency(&mut self, node: NodeId, now: Nanos, can_drain: bool) {
        if self.availability_timeout == 0 {
            return;
        }
        let known = self.node_latencies.iter().position(|l| l.node == node);
        let at = known.unwrap_or_else(|| {
            self.node_latencies.push(NodeLatency {
                node,
                drained_at: now,
                ready_at: now,
            });
            self.node_latencies.len() - 1
        });
        let latency = &mut self.node_latencies[at];
        latency.ready_at = now;
        if can_drain {
            latency.drained_at = now;
        }
    }

    /// `RecordAccumulator.splitAndReenqueue`: the parts of a batch that was too large take its place.
    /// Their memory is not of `buffer.memory`. Returns how many there are.
    pub(super) fn split(
        &mut self,
        id: BatchId,
        mut transactions: Option<&mut TransactionManager>,
    ) -> usize {
        let parts = self.batches.get(id).split(self.batch_size);
        let count = parts.len();
        self.incomplete += count;
        for part in parts.into_iter().rev() {
            let partition = part.partition;
            let part = self.batches.insert(part);
            if let Some(transactions) = transactions.as_deref_mut() {
                transactions.add_in_flight(part, &self.batches);
                self.insert_in_sequence_order(part);
            } else {
                self.partitions[partition].deque.push_front(part);
            }
        }
        count
    }

    /// `RecordAccumulator.drainBatchesForOneNode`: at most one batch per partition, beginning where
    /// the last drain ended, up to `max_size` bytes.
    pub(super) fn drain(
        &mut self,
        node: NodeId,
        max_size: usize,
        now: Nanos,
        mut transactions: Option<&mut TransactionManager>,
    ) -> DrainedBatches {
        let parts: SmallVec<[usize; 8]> = (0..self.partitions.len())
            .filter(|p| self.partitions[*p].leader.leader == Some(node))
            .collect();
        let mut ready = DrainedBatches::new();
        if parts.is_empty() {
            return ready;
        }
        let mut size = 0;
        let known = self.drain_index.iter().position(|(n, _)| *n == node);
        let drain_index = known.unwrap_or_else(|| {
            self.drain_index.push((node, 0));
            self.drain_index.len() - 1
        });
        let start = self.drain_index[drain_index].1 % parts.len();
        let mut last = start;
        for step in 0..parts.len() {
            last = (start + step) % parts.len();
            let index = parts[last];
            let partition = &self.partitions[index];
            let Some(first) = partition.deque.front().copied() else {
                continue;
            };
            if partition.muted {
                continue;
            }
            let batch = self.batches.get_mut(first);
            batch.maybe_update_leader_epoch(partition.leader.epoch);
            if batch.should_back_off(now) {
                continue;
            }
            if size + batch.size() > max_size && !ready.is_empty() {
                break;
            }
            if let Some(transactions) = transactions.as_deref_mut() {
                // Kafka leaves the whole loop here, so that a partition that waits for its earlier
                // batches also holds up those behind it on the same node.
                if should_stop_drain(first, &self.batches, transactions) {
                    break;
                }
                if !self.batches.get(first).has_sequence() {
                    transactions.assign_sequence(first, &mut self.batches);
                }
            }
            self.partitions[index].deque.pop_front();
            let batch = self.batches.get_mut(first);
            batch.close();
            batch.in_request = true;
            size += batch.size();
            ready.push(first);
        }
        self.drain_index[drain_index].1 = last;
        ready
    }

    /// `RecordAccumulator.reenqueue`: back to the front, or with idempotence to its place by
    /// sequence (`insertInSequenceOrder`).
    pub(super) fn reenqueue(
        &mut self,
        id: BatchId,
        in_sequence_order: bool,
        now: Nanos,
        rng: &mut Stream,
    ) {
        let backoff = self.retry_backoff;
        let batch = self.batches.get_mut(id);
        batch.reenqueued(now, &backoff, rng);
        let partition = batch.partition;
        if in_sequence_order {
            self.insert_in_sequence_order(id);
        } else {
            self.partitions[partition].deque.push_front(id);
        }
    }

    fn insert_in_sequence_order(&mut self, id: BatchId) {
        let batch = self.batches.get(id);
        let sequence = batch.base_sequence;
        assert_ne!(sequence, NO_SEQUENCE, "re-enqueued without a sequence");
        let batches = &self.batches;
        let deque = &mut self.partitions[batch.partition].deque;
        let before = deque.iter().take_while(|other| {
            let other = batches.get(**other);
            other.has_sequence() && other.base_sequence < sequence
        });
        let at = before.count();
        deque.insert(at, id);
    }

    /// Batches past `delivery.timeout.ms`, first those in the deques (`expiredBatches`), then those
    /// in flight (`Sender.getExpiredInflightBatches`). They leave both.
    pub(super) fn take_expired(&mut self, now: Nanos) -> Vec<BatchId> {
        let mut expired = Vec::new();
        let mut in_flight = Vec::new();
        for partition in &mut self.partitions {
            let batches = &self.batches;
            let timeout = self.delivery_timeout;
            let late = |id: &BatchId| batches.get(*id).created.saturating_add(timeout) <= now;
            while partition.deque.front().is_some_and(late) {
                expired.extend(partition.deque.pop_front());
            }
            let count = partition.in_flight.iter().take_while(|id| late(id)).count();
            in_flight.extend(partition.in_flight.drain(..count));
        }
        expired.extend(in_flight);
        // Whatever comes later was created later, but for the parts of a batch, which are as old as it.
        let kept = self.partitions.iter();
        let kept = kept.flat_map(|p| p.deque.iter().chain(&p.in_flight));
        let oldest = kept.map(|id| self.batches.get(*id).created).min();
        self.none_expires_before = oldest.unwrap_or(now).saturating_add(self.delivery_timeout);
        expired
    }

    /// Whether [`Self::take_expired`] may find any.
    pub(super) fn may_expire(&self, now: Nanos) -> bool {
        self.none_expires_before <= now
    }

    /// No batch expires before this instant; one may well expire later only.
    pub(super) fn none_expires_before(&self) -> Nanos {
        self.none_expires_before
    }

    /// When the next batch expires.
    pub(super) fn next_expiry(&self, now: Nanos) -> Nanos {
        self.partitions
            .iter()
            .flat_map(|p| [p.deque.front(), p.in_flight.first()])
            .flatten()
            .map(|id| {
                self.batches
                    .get(*id)
                    .created
                    .saturating_add(self.delivery_timeout)
            })
            .filter(|at| *at > now)
            .min()
            .unwrap_or(Nanos::MAX)
    }

    /// `RecordAccumulator.hasUndrained`.
    pub(super) fn has_undrained(&self) -> bool {
        self.partitions.iter().any(|p| !p.deque.is_empty())
    }

    /// Whether [`Self::ready`] would find no batch, and learn nothing of the load.
    pub(super) fn has_nothing_to_look_at(&self) -> bool {
        !self.has_undrained() && !self.uses_partitioner
    }

    /// Every batch in a deque, taken out: `abortUndrainedBatches`.
    pub(super) fn take_undrained(&mut self) -> Vec<BatchId> {
        self.partitions
            .iter_mut()
            .flat_map(|p| p.deque.drain(..))
            .collect()
    }
}

/// `RecordAccumulator.shouldStopDrainBatchesForPartition`.
fn should_stop_drain(
    first: BatchId,
    batches: &Batches,
    transactions: &mut TransactionManager,
) -> bool {
    let batch = batches.get(first);
    let partition = batch.partition;
    if !transactions.producer.is_valid() {
        return true;
    }
    if !batch.has_sequence() {
        // A batch of the new epoch must not overtake those of the old one, and none may follow
        // batches of which nobody knows whether the broker has them.
        return (transactions.has_in_flight(partition)
            && transactions.has_stale_producer(partition))
            || transactions.has_unresolved_sequence(partition);
    }
    // It is a retry: only the first in line may go, which makes it one request in flight.
    let first_in_flight = transactions.first_in_flight_sequence(partition, batches);
    first_in_flight != NO_SEQUENCE && batch.base_sequence != first_in_flight
}
