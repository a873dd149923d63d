//! Idempotent producers as a partition's log sees them: Kafka's `ProducerStateManager`,
//! `ProducerStateEntry` and `ProducerAppendInfo` (KIP-98, KAFKA-5494).
//!
//! The last five batches of a producer id are known by their sequences: a retry of one of them is
//! answered with its original offsets. Anything else must continue the sequence.
//!
//! Its files are in `producer_snapshots`.
//!
//! What is NOT modelled: transactions (markers, ongoing transactions, verification, the last stable
//! offset; a transactional batch counts as an idempotent one).

use crate::ids::{Offset, ProducerId};
use crate::log::batch::{
    BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, decrement_sequence, increment_sequence,
};
use crate::log::partition_log::BatchMetadata;
use crate::log::snapshot::SnapshotEntry;
use std::collections::BTreeMap;

/// `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`.
pub const NUM_BATCHES_TO_RETAIN: usize = 5;

/// Why a leader refuses a producer's batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerStateError {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error(
        "producer {producer_id} sent sequence {sequence} in epoch {epoch}, its last is {last_sequence} in epoch {last_epoch}"
    )]
    OutOfOrderSequence {
        /// Which producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        epoch: i16,
        /// The batch's first sequence.
        sequence: i32,
        /// The epoch known so far.
        last_epoch: i16,
        /// The last sequence known so far, -1 for none.
        last_sequence: i32,
    },
    /// INVALID_PRODUCER_EPOCH.
    #[error("producer {producer_id} sent epoch {epoch}, its last is {last_epoch}")]
    InvalidProducerEpoch {
        /// Which producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        epoch: i16,
        /// The epoch known so far, which is higher.
        last_epoch: i16,
    },
}

/// One appended batch of a producer (Kafka's `BatchMetadata`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // Kafka's own names
pub struct ProducerBatch {
    pub last_sequence: i32,
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub timestamp: i64,
}

impl ProducerBatch {
    /// Sequence of its first record.
    pub fn first_sequence(&self) -> i32 {
        decrement_sequence(
            self.last_sequence,
            (self.last_offset - self.first_offset) as i32,
        )
    }
}

/// What is known of one producer id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerStateEntry {
    /// Epoch of its last batch, -1 before the first.
    pub producer_epoch: i16,
    /// Max timestamp of its last batch.
    pub last_timestamp: i64,
    batches: [ProducerBatch; NUM_BATCHES_TO_RETAIN],
    known: usize,
}

impl ProducerStateEntry {
    const EMPTY: ProducerStateEntry = ProducerStateEntry {
        producer_epoch: NO_PRODUCER_EPOCH,
        last_timestamp: -1,
        batches: [ProducerBatch {
            last_sequence: NO_SEQUENCE,
            first_offset: -1,
            last_offset: -1,
            timestamp: -1,
        }; NUM_BATCHES_TO_RETAIN],
        known: 0,
    };

    /// The retained batches, oldest first.
    pub fn batches(&self) -> &[ProducerBatch] {
        &self.batches[..self.known]
    }

    /// Last sequence, -1 where no batch is known.
    pub fn last_sequence(&self) -> i32 {
        self.batches()
            .last()
            .map_or(NO_SEQUENCE, |b| b.last_sequence)
    }

    fn find_duplicate(&self, header: &BatchHeader) -> Option<ProducerBatch> {
        if header.producer_epoch != self.producer_epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        let same = |b: &&ProducerBatch| b.first_sequence() == first && b.last_sequence == last;
        self.batches().iter().find(same).copied()
    }

    fn add(&mut self, epoch: i16, batch: ProducerBatch) {
        if self.producer_epoch != epoch {
            self.producer_epoch = epoch;
            self.known = 0;
        }
        if self.known == NUM_BATCHES_TO_RETAIN {
            self.batches.rotate_left(1);
            self.known -= 1;
        }
        self.batches[self.known] = batch;
        self.known += 1;
        self.last_timestamp = batch.timestamp;
    }

    fn keep_last_batch(&mut self) {
        if self.known > 1 {
            self.batches[0] = self.batches[self.known - 1];
            self.known = 1;
        }
    }
}

/// All producers of one partition.
#[derive(Debug, Clone, Default)]
pub struct ProducerStateManager {
    producers: BTreeMap<ProducerId, ProducerStateEntry>,
}

impl ProducerStateManager {
    /// Without producers.
    pub fn new() -> ProducerStateManager {
        ProducerStateManager::default()
    }

    /// Every known producer.
    pub fn producers(&self) -> &BTreeMap<ProducerId, ProducerStateEntry> {
        &self.producers
    }

    /// What a leader does before appending: finds the retained batch with the same epoch and
    /// sequences, or checks epoch and sequence (`ProducerAppendInfo.checkProducerEpoch`,
    /// `checkSequence`). An unknown producer may begin with any sequence; a new epoch of a known one
    /// must begin with 0.
    ///
    /// # Errors
    /// Where the batch is neither a duplicate nor next.
    pub fn check(&self, header: &BatchHeader) -> Result<Option<ProducerBatch>, ProducerStateError> {
        let Some(entry) = self.producers.get(&header.producer_id) else {
            return Ok(None);
        };
        if let Some(duplicate) = entry.find_duplicate(header) {
            return Ok(Some(duplicate));
        }
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        let (last_epoch, last_sequence) = (entry.producer_epoch, entry.last_sequence());
        if epoch < last_epoch {
            return Err(ProducerStateError::InvalidProducerEpoch {
                producer_id,
                epoch,
                last_epoch,
            });
        }
        let sequence = header.base_sequence;
        let in_order = if epoch != last_epoch {
            sequence == 0 || last_epoch == NO_PRODUCER_EPOCH
        } else {
            last_epoch == NO_PRODUCER_EPOCH
                || i64::from(sequence) == i64::from(last_sequence) + 1
                || (sequence == 0 && last_sequence == i32::MAX)
        };
        if !in_order {
            return Err(ProducerStateError::OutOfOrderSequence {
                producer_id,
                epoch,
                sequence,
                last_epoch,
                last_sequence,
            });
        }
        Ok(None)
    }

    /// Takes over an appended batch. Nothing is validated: a follower trusts its leader (KAFKA-6003).
    pub fn update(&mut self, batch: &BatchMetadata) {
        if !batch.has_producer_id() {
            return;
        }
        let delta = (batch.last_offset - batch.base_offset) as i32;
        let entry = self
            .producers
            .entry(batch.producer_id)
            .or_insert(ProducerStateEntry::EMPTY);
        entry.add(
            batch.producer_epoch,
            ProducerBatch {
                last_sequence: increment_sequence(batch.base_sequence, delta),
                first_offset: batch.base_offset,
                last_offset: batch.last_offset,
                timestamp: batch.max_timestamp,
            },
        );
    }

    /// What a snapshot of it holds: the last batch of each producer.
    pub fn snapshot(&self) -> Vec<SnapshotEntry> {
        let entry = |(&producer_id, entry): (&ProducerId, &ProducerStateEntry)| {
            let last = entry.batches().last();
            SnapshotEntry {
                producer_id,
                producer_epoch: entry.producer_epoch,
                last_sequence: entry.last_sequence(),
                last_offset: last.map_or(-1, |b| b.last_offset),
                offset_delta: last.map_or(0, |b| (b.last_offset - b.first_offset) as i32),
                timestamp: entry.last_timestamp,
                coordinator_epoch: -1,
                current_txn_first_offset: -1,
            }
        };
        self.producers.iter().map(entry).collect()
    }

    /// Takes over what a snapshot holds, in place of what is known.
    pub fn restore(&mut self, snapshot: &[SnapshotEntry]) {
        self.producers.clear();
        for entry in snapshot {
            let mut producer = ProducerStateEntry::EMPTY;
            producer.producer_epoch = entry.producer_epoch;
            producer.last_timestamp = entry.timestamp;
            if entry.last_offset >= 0 {
                producer.add(
                    entry.producer_epoch,
                    ProducerBatch {
                        last_sequence: entry.last_sequence,
                        first_offset: entry.last_offset - i64::from(entry.offset_delta),
                        last_offset: entry.last_offset,
                        timestamp: entry.timestamp,
                    },
                );
            }
            self.producers.insert(entry.producer_id, producer);
        }
    }

    /// Forgets all batches but the last of each producer: what remains behind a snapshot.
    pub fn keep_last_batches(&mut self) {
        for entry in self.producers.values_mut() {
            entry.keep_last_batch();
        }
    }

    /// Forgets all producers.
    pub fn clear(&mut self) {
        self.producers.clear();
    }

    /// Forgets producers that have not written for `expiration_ms`
    /// (`producer.id.expiration.ms`; Kafka looks every 10 minutes).
    pub fn remove_expired(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers
            .retain(|_, entry| now_ms.saturating_sub(entry.last_timestamp) < expiration_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: ProducerId = 11;

    fn header(epoch: i16, base_sequence: i32, records: i32) -> BatchHeader {
        BatchHeader {
            producer_id: ID,
            producer_epoch: epoch,
            base_sequence,
            last_offset_delta: records - 1,
            record_count: records,
            max_timestamp: 5,
            ..BatchHeader::of_producer()
        }
    }

    /// Appends as a leader would; the offsets where the batch is, and whether it was there before.
    fn append(
        state: &mut ProducerStateManager,
        log: &mut Vec<BatchMetadata>,
        header: &BatchHeader,
    ) -> Result<(Offset, bool), ProducerStateError> {
        if let Some(duplicate) = state.check(header)? {
            return Ok((duplicate.first_offset, true));
        }
        let base = log.last().map_or(0, |batch| batch.last_offset + 1);
        let batch = BatchMetadata::new(header, base, 0, 0, 0);
        state.update(&batch);
        log.push(batch);
        Ok((base, false))
    }

    #[test]
    fn five_batches_are_known_and_the_sixth_last_is_out_of_order() {
        let (mut state, mut log) = (ProducerStateManager::new(), Vec::new());
        for n in 0..6 {
            assert_eq!(
                append(&mut state, &mut log, &header(0, n * 2, 2)),
                Ok((i64::from(n) * 2, false))
            );
        }
        for n in 1..6 {
            assert_eq!(
                append(&mut state, &mut log, &header(0, n * 2, 2)),
                Ok((i64::from(n) * 2, true))
            );
        }
        let oldest = append(&mut state, &mut log, &header(0, 0, 2));
        assert!(matches!(
            oldest,
            Err(ProducerStateError::OutOfOrderSequence {
                last_sequence: 11,
                ..
            })
        ));
        let other_end = append(&mut state, &mut log, &header(0, 10, 3));
        assert!(other_end.is_err(), "same start, other end: no duplicate");
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere_a_new_epoch_must_begin_at_zero() {
        let (mut state, mut log) = (ProducerStateManager::new(), Vec::new());
        assert_eq!(
            append(&mut state, &mut log, &header(3, 77, 1)),
            Ok((0, false))
        );
        assert!(append(&mut state, &mut log, &header(4, 78, 1)).is_err());
        assert_eq!(
            append(&mut state, &mut log, &header(4, 0, 1)),
            Ok((1, false))
        );
        let zombie = append(&mut state, &mut log, &header(3, 78, 1));
        assert!(matches!(
            zombie,
            Err(ProducerStateError::InvalidProducerEpoch { last_epoch: 4, .. })
        ));
        assert_eq!(
            state.producers()[&ID].batches().len(),
            1,
            "the epoch's batches only"
        );
    }

    #[test]
    fn sequences_wrap_within_a_batch_and_between_batches() {
        let (mut state, mut log) = (ProducerStateManager::new(), Vec::new());
        append(&mut state, &mut log, &header(0, i32::MAX - 1, 4)).unwrap();
        assert_eq!(state.producers()[&ID].last_sequence(), 1);
        assert_eq!(
            append(&mut state, &mut log, &header(0, i32::MAX - 1, 4)),
            Ok((0, true))
        );
        assert_eq!(
            append(&mut state, &mut log, &header(0, 2, 1)),
            Ok((4, false))
        );
        let (mut state, mut log) = (ProducerStateManager::new(), Vec::new());
        append(&mut state, &mut log, &header(0, i32::MAX, 1)).unwrap();
        assert_eq!(
            append(&mut state, &mut log, &header(0, 0, 1)),
            Ok((1, false))
        );
    }

    #[test]
    fn behind_a_snapshot_only_the_last_batch_is_a_duplicate() {
        let (mut state, mut log) = (ProducerStateManager::new(), Vec::new());
        for n in 0..4 {
            append(&mut state, &mut log, &header(0, n * 2, 2)).unwrap();
        }
        let mut restored = ProducerStateManager::new();
        restored.restore(&state.snapshot());
        state.keep_last_batches();
        let batches = |state: &ProducerStateManager| state.producers()[&ID].batches().to_vec();
        assert_eq!(batches(&restored), batches(&state));
        let last = restored.check(&header(0, 6, 2)).unwrap().unwrap();
        assert_eq!((last.first_offset, last.last_offset), (6, 7));
        assert!(restored.check(&header(0, 4, 2)).is_err());
        assert_eq!(restored.check(&header(0, 8, 1)), Ok(None));
    }

    #[test]
    fn idle_producers_expire() {
        let (mut state, mut log) = (ProducerStateManager::new(), Vec::new());
        append(&mut state, &mut log, &header(0, 0, 1)).unwrap();
        state.remove_expired(104, 100);
        assert_eq!(state.producers().len(), 1);
        state.remove_expired(105, 100);
        assert!(state.producers().is_empty());
    }

    proptest! {
        /// Whatever a producer retries among its last five batches, the log holds each batch once.
        #[test]
        fn retries_within_five_batches_never_duplicate(
            sizes in proptest::collection::vec(1..4i32, 1..20), retries in proptest::collection::vec(0..5usize, 0..60), start in prop_oneof![Just(0), Just(i32::MAX - 7)],
        ) {
            let (mut state, mut log) = (ProducerStateManager::new(), Vec::new());
            let mut retries = retries.into_iter();
            let mut sent: Vec<(BatchHeader, Offset)> = Vec::new();
            let mut sequence = start;
            for records in sizes {
                let next = header(0, sequence, records);
                let (offset, duplicate) = append(&mut state, &mut log, &next).unwrap();
                prop_assert!(!duplicate);
                sent.push((next, offset));
                sequence = increment_sequence(sequence, records);
                for back in retries.by_ref().take(3) {
                    let Some(index) = (sent.len() - 1).checked_sub(back) else { continue };
                    prop_assert_eq!(append(&mut state, &mut log, &sent[index].0), Ok((sent[index].1, true)));
                }
            }
            prop_assert_eq!(log.len(), sent.len());
        }
    }
}
