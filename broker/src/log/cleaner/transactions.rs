//! Which batches of transactions a cleaning may discard (`CleanedTransactionMetadata`).
//!
//! Records of an aborted transaction go; its marker goes once none of its batches is left. The marker
//! of a committed one goes once none of its records is left, since it is then the marker of nothing.
//!
//! What differs from Kafka: which transactions were aborted is found by a walk over the batches
//! before the cleaning, not in the transaction index, which this log does not have.

use crate::ids::{Offset, ProducerId};
use crate::log::batch::{BatchError, BatchHeader};
use crate::log::codec::{CodecError, records};
use crate::log::control::ControlRecord;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

use super::filter::DECOMPRESSED_MAX;

/// The end of a transaction that a control batch says, `None` for other control records; an empty
/// control batch was cleaned before.
fn marker(batch: &Bytes) -> Result<Option<ControlRecord>, CodecError> {
    match records(batch, DECOMPRESSED_MAX)?.next() {
        None => Ok(None),
        Some(record) => Ok(Some(ControlRecord::of(&record?)?)),
    }
}

/// Aborted transactions: first offset, and whose.
#[derive(Debug, Clone, Default)]
pub(super) struct AbortedScan {
    open: BTreeMap<ProducerId, Offset>,
    aborted: BTreeSet<(Offset, ProducerId)>,
}

impl AbortedScan {
    /// Takes note of the log's next batch.
    pub(super) fn see(&mut self, header: &BatchHeader, batch: &Bytes) -> Result<(), CodecError> {
        if header.is_control() {
            let first_offset = self.open.remove(&header.producer_id);
            let aborts = matches!(
                marker(batch)?,
                Some(ControlRecord::EndTxn {
                    committed: false,
                    ..
                })
            );
            if aborts && let Some(first_offset) = first_offset {
                self.aborted.insert((first_offset, header.producer_id));
            }
        } else if header.is_transactional() {
            let first_offset = header.base_offset;
            self.open.entry(header.producer_id).or_insert(first_offset);
        }
        Ok(())
    }

    /// For a pass over the same batches.
    pub(super) fn begin(&self) -> CleanedTransactions {
        CleanedTransactions {
            ahead: self.aborted.clone(),
            aborted: BTreeMap::new(),
            committed: BTreeSet::new(),
        }
    }
}

/// The transactions that are open at this point of a pass.
#[derive(Debug, Clone, Default)]
pub(super) struct CleanedTransactions {
    /// Aborted ones that begin behind this point.
    ahead: BTreeSet<(Offset, ProducerId)>,
    /// Aborted ones, and whether a batch of theirs was seen.
    aborted: BTreeMap<ProducerId, bool>,
    /// Others of which a batch was seen.
    committed: BTreeSet<ProducerId>,
}

impl CleanedTransactions {
    /// Whether the pass may discard its next batch: one of an aborted transaction, or a marker without
    /// batches.
    pub(super) fn may_discard(
        &mut self,
        header: &BatchHeader,
        batch: &Bytes,
    ) -> Result<bool, CodecError> {
        let last_offset = header.last_offset();
        while let Some(&(first, producer)) = self.ahead.first()
            && first <= last_offset
        {
            self.ahead.pop_first();
            self.aborted.entry(producer).or_insert(false);
        }
        let producer = header.producer_id;
        if !header.is_control() {
            if !header.is_transactional() {
                return Ok(false);
            }
            if let Some(seen) = self.aborted.get_mut(&producer) {
                *seen = true;
                return Ok(true);
            }
            self.committed.insert(producer);
            return Ok(false);
        }
        Ok(match marker(batch)? {
            None => true,
            Some(ControlRecord::EndTxn {
                committed: false, ..
            }) => self.aborted.remove(&producer) != Some(true),
            Some(ControlRecord::EndTxn { .. }) => !self.committed.remove(&producer),
            Some(ControlRecord::Other(_)) => false,
        })
    }
}

impl From<BatchError> for super::CleaningError {
    fn from(error: BatchError) -> Self {
        super::CleaningError::Corrupt(error.into())
    }
}
