//! Producer id, epoch and sequences of an idempotent producer: the part of Kafka's
//! `TransactionManager`, `TxnPartitionMap` and `TxnPartitionEntry` that works without a
//! transactional id.
//!
//! Where the brokers lost batches of this producer (an unclean election, say), the next batch meets
//! OUT_OF_ORDER_SEQUENCE_NUMBER. The Java client then bumps its epoch by itself, numbers what is in
//! flight anew and goes on without telling the application (KIP-360, P21). librdkafka makes it a
//! fatal error instead; that is not modelled.
//!
//! NOT modelled: transactions.

use super::batch::{BatchId, Batches, ProducerBatch, ProducerIdAndEpoch};
use crate::ids::*;
use crate::log::batch::{NO_SEQUENCE, increment_sequence};
use crate::time::Nanos;
use crate::wire::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};

use super::super::network::Link;

/// `TxnPartitionEntry.NO_LAST_ACKED_SEQUENCE_NUMBER`.
const NO_LAST_ACKED_SEQUENCE: i32 = -1;

/// How far the producer is with its id: `TransactionManager.State` and the waits of
/// `Sender.maybeSendAndPollTransactionalRequest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Uninitialized,
    /// InitProducerId is to be sent, not before that instant.
    Pending(Nanos),
    /// `NetworkClientUtils.awaitReady`: waits for that connection until that instant.
    AwaitReady(Link, Nanos),
    InFlight,
    Ready,
    Fatal(ErrorCode),
}

/// `TxnPartitionEntry`.
#[derive(Debug)]
struct Entry {
    producer: ProducerIdAndEpoch,
    next_sequence: i32,
    last_acked_sequence: i32,
    /// Drained and not resolved, ordered by id, epoch and first sequence.
    in_flight: Vec<BatchId>,
}

impl Default for Entry {
    fn default() -> Self {
        Entry {
            producer: ProducerIdAndEpoch::NONE,
            next_sequence: 0,
            last_acked_sequence: NO_LAST_ACKED_SEQUENCE,
            in_flight: Vec::new(),
        }
    }
}

/// See the module head. Partitions are named by their index in the accumulator.
#[derive(Debug)]
pub(super) struct TransactionManager {
    pub state: State,
    pub producer: ProducerIdAndEpoch,
    epoch_bump_required: bool,
    partitions_to_rewrite_sequences: BTreeSet<usize>,
    /// The sequence that must come next where earlier batches expired with an unknown outcome.
    unresolved_sequences: BTreeMap<usize, i32>,
    entries: Vec<Entry>,
}

impl TransactionManager {
    pub(super) fn new() -> Self {
        TransactionManager {
            state: State::Uninitialized,
            producer: ProducerIdAndEpoch::NONE,
            epoch_bump_required: false,
            partitions_to_rewrite_sequences: BTreeSet::new(),
            unresolved_sequences: BTreeMap::new(),
            entries: Vec::new(),
        }
    }

    fn entry(&mut self, partition: usize) -> &mut Entry {
        if self.entries.len() <= partition {
            self.entries.resize_with(partition + 1, Entry::default);
        }
        &mut self.entries[partition]
    }

    /// `bumpIdempotentEpochAndResetIdIfNeeded`. True where the epoch was bumped here.
    pub(super) fn bump_epoch_and_reset_id_if_needed(
        &mut self,
        batches: &mut Batches,
        now: Nanos,
    ) -> bool {
        let mut bumped = false;
        if self.epoch_bump_required {
            bumped = self.bump_epoch(batches);
        }
        if self.state == State::Uninitialized {
            self.state = State::Pending(now);
        }
        bumped
    }

    /// `bumpIdempotentProducerEpoch`.
    fn bump_epoch(&mut self, batches: &mut Batches) -> bool {
        let exhausted = self.producer.epoch == i16::MAX;
        if exhausted {
            self.producer = ProducerIdAndEpoch::NONE;
            self.state = State::Uninitialized;
        } else {
            self.producer.epoch += 1;
        }
        for partition in std::mem::take(&mut self.partitions_to_rewrite_sequences) {
            self.start_sequences_at_beginning(partition, batches);
            self.unresolved_sequences.remove(&partition);
        }
        self.epoch_bump_required = false;
        !exhausted
    }

    /// InitProducerId was answered.
    pub(super) fn set_producer_id(&mut self, producer: ProducerIdAndEpoch) {
        assert!(producer.is_valid(), "InitProducerId gave no id");
        self.producer = producer;
        self.state = State::Ready;
    }

    /// `TxnPartitionEntry.startSequencesAtBeginning`.
    fn start_sequences_at_beginning(&mut self, partition: usize, batches: &mut Batches) {
        let producer = self.producer;
        let entry = self.entry(partition);
        let mut sequence = 0;
        for id in &entry.in_flight {
            let batch = batches.get_mut(*id);
            batch.reset_producer_state(producer, sequence);
            sequence += batch.record_count();
        }
        entry.producer = producer;
        entry.next_sequence = sequence;
        entry.last_acked_sequence = NO_LAST_ACKED_SEQUENCE;
    }

    /// `maybeUpdateProducerIdAndEpoch`, `sequenceNumber`, `incrementSequenceNumber` and
    /// `addInFlightBatch`: what `RecordAccumulator.drainBatchesForOneNode` does for a new batch.
    pub(super) fn assign_sequence(&mut self, id: BatchId, batches: &mut Batches) {
        let partition = batches.get(id).partition;
        if self.has_stale_producer(partition) && !self.has_in_flight(partition) {
            self.start_sequences_at_beginning(partition, batches);
        }
        let producer = self.producer;
        let batch = batches.get_mut(id);
        let entry = self.entry(partition);
        batch.set_producer_state(producer, entry.next_sequence);
        entry.next_sequence = increment_sequence(entry.next_sequence, batch.record_count());
        self.add_in_flight(id, batches);
    }

    /// `addInFlightBatch`.
    pub(super) fn add_in_flight(&mut self, id: BatchId, batches: &Batches) {
        let batch = batches.get(id);
        let entry = self.entry(batch.partition);
        let key = order(batch);
        let at = entry
            .in_flight
            .partition_point(|other| order(batches.get(*other)) < key);
        entry.in_flight.insert(at, id);
    }

    pub(super) fn has_in_flight(&mut self, partition: usize) -> bool {
        !self.entry(partition).in_flight.is_empty()
    }

    pub(super) fn has_stale_producer(&mut self, partition: usize) -> bool {
        let producer = self.producer;
        self.entry(partition).producer != producer
    }

    pub(super) fn has_unresolved_sequence(&self, partition: usize) -> bool {
        self.unresolved_sequences.contains_key(&partition)
    }

    /// `firstInFlightSequence`.
    pub(super) fn first_in_flight_sequence(&mut self, partition: usize, batches: &Batches) -> i32 {
        match self.entry(partition).in_flight.first() {
            Some(id) => batches.get(*id).base_sequence,
            None => NO_SEQUENCE,
        }
    }

    /// `removeInFlightBatch`.
    pub(super) fn remove_in_flight(&mut self, partition: usize, id: BatchId) {
        self.entry(partition).in_flight.retain(|other| *other != id);
    }

    /// `handleCompletedBatch`, also for a batch that expired before it succeeded.
    pub(super) fn handle_completed_batch(&mut self, id: BatchId, batches: &Batches) {
        let batch = batches.get(id);
        let entry = self.entry(batch.partition);
        entry.last_acked_sequence = entry.last_acked_sequence.max(batch.last_sequence());
        self.remove_in_flight(batch.partition, id);
    }

    /// `handleFailedBatch`. `error` is `None` where the batch expired in the client.
    pub(super) fn handle_failed_batch(
        &mut self,
        id: BatchId,
        error: Option<ErrorCode>,
        adjust_sequence_numbers: bool,
        batches: &Batches,
    ) {
        let partition = batches.get(id).partition;
        if let Some(code @ ErrorCode::UnsupportedVersion) = error {
            self.state = State::Fatal(code);
        }
        self.remove_in_flight(partition, id);
        if matches!(self.state, State::Fatal(_)) {
            return;
        }
        match error {
            Some(ErrorCode::OutOfOrderSequenceNumber) => self.request_epoch_bump(partition),
            Some(ErrorCode::UnknownProducerId) => {
                *self.entry(partition) = Entry::default();
                self.unresolved_sequences.remove(&partition);
            }
            _ if adjust_sequence_numbers => self.request_epoch_bump(partition),
            _ => {}
        }
    }

    /// `requestIdempotentEpochBumpForPartition`.
    fn request_epoch_bump(&mut self, partition: usize) {
        self.epoch_bump_required = true;
        self.partitions_to_rewrite_sequences.insert(partition);
    }

    /// `markSequenceUnresolved`: a batch that was sent before expired in the client, so that nobody
    /// knows whether the broker has it.
    pub(super) fn mark_sequence_unresolved(&mut self, batch: &ProducerBatch) {
        let next = batch.last_sequence() + 1;
        let entry = self
            .unresolved_sequences
            .entry(batch.partition)
            .or_insert(next);
        *entry = (*entry).max(next);
    }

    /// `maybeResolveSequences`: once nothing is in flight, either a later batch was acknowledged or
    /// the epoch is bumped.
    pub(super) fn maybe_resolve_sequences(&mut self) {
        if self.unresolved_sequences.is_empty() {
            return;
        }
        let partitions: Vec<usize> = self.unresolved_sequences.keys().copied().collect();
        for partition in partitions {
            if self.has_in_flight(partition) {
                continue;
            }
            let next = self.entry(partition).next_sequence;
            if !self.is_next_sequence(partition, next) {
                self.request_epoch_bump(partition);
            }
            self.unresolved_sequences.remove(&partition);
        }
    }

    fn is_next_sequence(&mut self, partition: usize, sequence: i32) -> bool {
        sequence - self.entry(partition).last_acked_sequence == 1
    }

    /// `canRetry` for an answer with an error.
    pub(super) fn can_retry(
        &mut self,
        error: ErrorCode,
        log_start_offset: Offset,
        batch: &ProducerBatch,
    ) -> bool {
        let partition = batch.partition;
        match error {
            ErrorCode::UnknownProducerId => {
                // Without a log start the broker lost the partition meanwhile: simply again. A batch
                // that was numbered anew after an earlier answer of this kind is simply sent again
                // too. In all other cases, whether the head of the log was deleted or records were
                // lost, the epoch is bumped.
                if log_start_offset != -1 && !batch.reopened {
                    self.request_epoch_bump(partition);
                }
                true
            }
            ErrorCode::OutOfOrderSequenceNumber => {
                let unresolved = self.unresolved_sequences.get(&partition).copied();
                let not_next =
                    batch.reopened || !self.is_next_sequence(partition, batch.base_sequence);
                if unresolved.is_none() && not_next {
                    // An earlier batch is the one that failed; this one waits its turn.
                    return true;
                }
                if unresolved.is_none_or(|next| next == batch.base_sequence) {
                    self.request_epoch_bump(partition);
                }
                true
            }
            _ => error.is_retriable(),
        }
    }
}

fn order(batch: &ProducerBatch) -> (ProducerIdAndEpoch, i32) {
    (batch.producer, batch.base_sequence)
}
