//! A batch on its way to the broker: Kafka's `ProducerBatch`.
//!
//! The records are encoded as they are appended. A batch that is numbered anew after its first
//! drain (`MemoryRecordsBuilder.reopenAndRewriteProducerState`) gets a patched copy of its bytes.
//!
//! A batch that the broker finds too large is split ([`ProducerBatch::split`]): its parts keep its age
//! and share its sequence numbers out among them.
//!
//! NOT modelled: compression, record headers, log append time.

use crate::env::Stream;
use crate::ids::*;
use crate::log::batch::{
    HEADER_BYTES, NO_SEQUENCE, increment_sequence, records, set_producer_state,
};
use crate::log::record::BatchBuilder;
use crate::time::Nanos;
use bytes::Bytes;
use smallvec::SmallVec;

use super::super::backoff::ExponentialBackoff;
use super::super::{CallId, ProducerRecord};

/// `DefaultRecord.MAX_RECORD_OVERHEAD`.
const MAX_RECORD_OVERHEAD: usize = 21;
/// Where a batch's buffer begins; it grows with the records.
const INITIAL_BUFFER_BYTES: usize = 512;

/// Producer id and epoch, `ProducerIdAndEpoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProducerIdAndEpoch {
    pub id: ProducerId,
    pub epoch: i16,
}

impl ProducerIdAndEpoch {
    /// `ProducerIdAndEpoch.NONE`.
    pub(super) const NONE: ProducerIdAndEpoch = ProducerIdAndEpoch {
        id: NO_PRODUCER_ID,
        epoch: -1,
    };

    pub(super) fn is_valid(self) -> bool {
        self.id != NO_PRODUCER_ID
    }
}

/// See the module head.
#[derive(Debug)]
pub(super) struct ProducerBatch {
    /// Index of the partition in the accumulator.
    pub partition: usize,
    /// Order of creation, for flush.
    pub serial: u64,
    pub created: Nanos,
    pub last_attempt: Nanos,
    pub attempts: u32,
    /// Drawn once per attempt; Kafka draws the jitter again at each look at the batch.
    pub backoff: Nanos,
    pub retry: bool,
    /// Who waits for the fate of each record, in order.
    pub calls: SmallVec<[CallId; 4]>,
    /// No more records.
    closed: bool,
    /// `None` once the batch was drained.
    builder: Option<BatchBuilder>,
    /// What is sent; `None` until the batch is drained.
    encoded: Option<Bytes>,
    /// Memory allocated for the batch; no record is added past it, but for the first.
    pub capacity: usize,
    /// `isSplitBatch`: its memory is not of `buffer.memory`.
    pub is_split: bool,
    /// `maxRecordSize`, as [`size_upper_bound`] estimates it.
    max_record_size: usize,
    pub producer: ProducerIdAndEpoch,
    pub base_sequence: i32,
    /// `ProducerBatch.sequenceHasBeenReset`: from a rewrite until the next drain.
    pub reopened: bool,
    current_leader_epoch: Option<LeaderEpoch>,
    attempts_when_leader_last_changed: u32,
    /// Its fate was told.
    pub done: bool,
    /// Part of a request that has not ended.
    pub in_request: bool,
}

impl ProducerBatch {
    pub(super) fn new(partition: usize, serial: u64, capacity: usize, now: Nanos) -> Self {
        ProducerBatch {
            partition,
            serial,
            created: now,
            last_attempt: now,
            attempts: 0,
            backoff: 0,
            retry: false,
            calls: SmallVec::new(),
            closed: false,
            builder: Some(BatchBuilder::with_capacity(
                capacity.min(INITIAL_BUFFER_BYTES),
            )),
            encoded: None,
            capacity,
            is_split: false,
            max_record_size: 0,
            producer: ProducerIdAndEpoch::NONE,
            base_sequence: NO_SEQUENCE,
            reopened: false,
            current_leader_epoch: None,
            attempts_when_leader_last_changed: 0,
            done: false,
            in_request: false,
        }
    }

    /// `ProducerBatch.tryAppend` and `MemoryRecordsBuilder.hasRoomFor`. False where there is no room.
    pub(super) fn try_append(
        &mut self,
        call: CallId,
        record: &ProducerRecord,
        timestamp: i64,
    ) -> bool {
        let (key, value) = (record.key.as_deref(), Some(&record.value[..]));
        self.try_append_parts(call, key, value, timestamp)
    }

    fn try_append_parts(
        &mut self,
        call: CallId,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> bool {
        let Some(builder) = self.builder.as_mut().filter(|_| !self.closed) else {
            return false;
        };
        // The first record always fits: the buffer was allocated for it.
        if !self.calls.is_empty() {
            let size = builder.record_size(timestamp, key, value, &[]);
            if self.capacity < builder.size() + size {
                return false;
            }
        }
        builder.append(timestamp, key, value, &[]);
        self.calls.push(call);
        self.max_record_size = self.max_record_size.max(parts_upper_bound(key, value));
        true
    }

    /// `ProducerBatch.split`: batches of at most so many bytes, or of one record. They count as never
    /// sent, as old as this one. The first split of a batch is by `batch.size`; a part that is still
    /// too large is halved (KAFKA-8350: before 4.2 it was split by `batch.size` again, for ever where
    /// the topic takes less than that, until `delivery.timeout.ms`).
    pub(super) fn split(&self, batch_size: usize) -> Vec<ProducerBatch> {
        let encoded = self.encoded.as_ref().expect("only what was sent is split");
        let target = match self.is_split {
            true => self.max_record_size.max(encoded.len() / 2),
            false => batch_size,
        };
        let mut parts: Vec<ProducerBatch> = Vec::new();
        let records = records(encoded).expect("encoded here");
        for (record, call) in records.zip(&self.calls) {
            let record = record.expect("encoded here");
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            if let Some(last) = parts.last_mut() {
                if last.try_append_parts(*call, key, value, record.timestamp) {
                    continue;
                }
                last.close_for_appends();
            }
            let capacity = parts_upper_bound(key, value).max(target);
            let mut part = ProducerBatch::new(self.partition, self.serial, capacity, self.created);
            part.is_split = true;
            let fits = part.try_append_parts(*call, key, value, record.timestamp);
            assert!(fits, "the first record always fits");
            parts.push(part);
        }
        let mut sequence = self.base_sequence;
        for part in &mut parts {
            part.close_for_appends();
            if self.has_sequence() {
                part.set_producer_state(self.producer, sequence);
                sequence = increment_sequence(sequence, part.record_count());
            }
        }
        parts
    }

    /// `MemoryRecordsBuilder.isFull`.
    pub(super) fn is_full(&self) -> bool {
        match &self.builder {
            None => true,
            Some(builder) => {
                self.closed || (!self.calls.is_empty() && self.capacity <= builder.size())
            }
        }
    }

    /// `ProducerBatch.estimatedSizeInBytes`, exact without compression.
    pub(super) fn size(&self) -> usize {
        match (&self.builder, &self.encoded) {
            (Some(builder), _) => builder.size(),
            (None, Some(encoded)) => encoded.len(),
            (None, None) => unreachable!("a batch is being built or is encoded"),
        }
    }

    /// `ProducerBatch.closeForRecordAppends`.
    pub(super) fn close_for_appends(&mut self) {
        self.closed = true;
    }

    pub(super) fn record_count(&self) -> i32 {
        self.calls.len() as i32
    }

    pub(super) fn has_sequence(&self) -> bool {
        self.base_sequence != NO_SEQUENCE
    }

    pub(super) fn last_sequence(&self) -> i32 {
        self.base_sequence + self.record_count() - 1
    }

    /// `ProducerBatch.setProducerState`.
    pub(super) fn set_producer_state(&mut self, producer: ProducerIdAndEpoch, sequence: i32) {
        self.producer = producer;
        self.base_sequence = sequence;
        if let Some(encoded) = self.encoded.take() {
            // An earlier request may still hold the old bytes, so they are not changed in place.
            let mut bytes = Vec::from(encoded);
            set_producer_state(&mut bytes, producer.id, producer.epoch, sequence);
            self.encoded = Some(Bytes::from(bytes));
        }
    }

    /// `ProducerBatch.resetProducerState`.
    pub(super) fn reset_producer_state(&mut self, producer: ProducerIdAndEpoch, sequence: i32) {
        self.reopened = true;
        self.set_producer_state(producer, sequence);
    }

    /// `ProducerBatch.close`: encodes it.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.reopened = false;
        if let Some(mut builder) = self.builder.take() {
            if self.has_sequence() {
                let producer = self.producer;
                builder.set_producer_state(producer.id, producer.epoch, self.base_sequence);
            }
            self.encoded = Some(builder.build());
        }
    }

    /// The bytes that are sent.
    pub(super) fn encoded(&self) -> Bytes {
        self.encoded
            .clone()
            .expect("built when it was first drained")
    }

    /// `ProducerBatch.reenqueued`.
    pub(super) fn reenqueued(
        &mut self,
        now: Nanos,
        backoff: &ExponentialBackoff,
        rng: &mut Stream,
    ) {
        self.backoff = backoff.after(self.attempts, rng);
        self.attempts += 1;
        self.last_attempt = self.last_attempt.max(now);
        self.retry = true;
    }

    /// `ProducerBatch.waitedTimeMs`.
    pub(super) fn waited(&self, now: Nanos) -> Nanos {
        now.saturating_sub(self.last_attempt)
    }

    /// `ProducerBatch.maybeUpdateLeaderEpoch`.
    pub(super) fn maybe_update_leader_epoch(&mut self, latest: Option<LeaderEpoch>) {
        if let Some(latest) = latest
            && self.current_leader_epoch.is_none_or(|known| known < latest)
        {
            self.attempts_when_leader_last_changed = self.attempts;
            self.current_leader_epoch = Some(latest);
        }
    }

    /// `RecordAccumulator.shouldBackoff`: not where a newer leader was found for this retry
    /// (KAFKA-15415).
    pub(super) fn should_back_off(&self, now: Nanos) -> bool {
        let leader_changed =
            self.attempts >= 1 && self.attempts == self.attempts_when_leader_last_changed;
        self.attempts > 0 && self.waited(now) < self.backoff && !leader_changed
    }
}

/// `AbstractRecords.estimateSizeInBytesUpperBound` for one record in a batch of its own.
pub(super) fn size_upper_bound(record: &ProducerRecord) -> usize {
    parts_upper_bound(record.key.as_deref(), Some(&record.value))
}

fn parts_upper_bound(key: Option<&[u8]>, value: Option<&[u8]>) -> usize {
    let size = |bytes: Option<&[u8]>| bytes.map_or(1, |b| varint_size(b.len()) + b.len());
    let headers = 1;
    HEADER_BYTES + MAX_RECORD_OVERHEAD + size(key) + size(value) + headers
}

/// `ByteUtils.sizeOfVarint` of a length: zigzag doubles it.
fn varint_size(length: usize) -> usize {
    let bits = 64 - ((length as u64) << 1 | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Names a batch of a [`Batches`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchId(u32);

/// All batches of the producer. A slot is used again once its batch is removed.
#[derive(Debug, Default)]
pub(super) struct Batches {
    slots: Vec<Option<ProducerBatch>>,
    free: Vec<u32>,
}

impl Batches {
    pub(super) fn insert(&mut self, batch: ProducerBatch) -> BatchId {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(batch);
                BatchId(slot)
            }
            None => {
                self.slots.push(Some(batch));
                BatchId(self.slots.len() as u32 - 1)
            }
        }
    }

    /// Forgets a batch whose fate was told and whose request has ended.
    pub(super) fn remove(&mut self, id: BatchId) -> ProducerBatch {
        let batch = self.slots[id.0 as usize]
            .take()
            .expect("batch removed twice");
        assert!(batch.done && !batch.in_request, "batch removed too early");
        self.free.push(id.0);
        batch
    }

    pub(super) fn get(&self, id: BatchId) -> &ProducerBatch {
        self.slots[id.0 as usize].as_ref().expect("batch is gone")
    }

    pub(super) fn get_mut(&mut self, id: BatchId) -> &mut ProducerBatch {
        self.slots[id.0 as usize].as_mut().expect("batch is gone")
    }
}
