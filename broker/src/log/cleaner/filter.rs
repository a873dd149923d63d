//! What a cleaning leaves of one batch (`MemoryRecords.filterTo`).
//!
//! The records that stay keep their offsets, and the batch its base offset, last offset and sequence:
//! a producer that goes on must find its last sequence. A tombstone, or the marker of a transaction
//! without records, is given a time from which it may go (`delete horizon`, KIP-534) by the first
//! cleaning that sees it; it stands in the place of the batch's base timestamp.

use crate::log::batch::{BatchHeader, NO_TIMESTAMP};
use crate::log::codec::{Codec, CodecError, compress_batch, plain};
use crate::log::record::{Record, RecordWriter, Records};
use bytes::Bytes;

/// Largest decompressed batch that is cleaned: bytes.
pub(super) const DECOMPRESSED_MAX: usize = 512 << 20;

/// What becomes of a batch of which no record stays (`BatchRetention`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// It goes without being looked into.
    Delete,
    /// It goes.
    DeleteEmpty,
    /// Its header stays.
    RetainEmpty,
}

/// How a batch is to be filtered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter {
    pub(super) retention: Retention,
    /// A marker without records of its transaction: the batch is given a delete horizon.
    pub(super) empty_transaction: bool,
    /// Wall clock, milliseconds.
    pub(super) now_ms: i64,
    /// `delete.retention.ms`.
    pub(super) delete_retention_ms: i64,
}

impl Filter {
    /// The batch with the records that `retain` keeps, `None` where it goes. What is kept whole stays
    /// the same bytes.
    ///
    /// # Errors
    /// Where its records cannot be read.
    pub(super) fn apply(
        &self,
        batch: &Bytes,
        mut retain: impl FnMut(&Record) -> bool,
    ) -> Result<Option<Bytes>, CodecError> {
        if self.retention == Retention::Delete {
            return Ok(None);
        }
        let (header, whole) = plain(batch, DECOMPRESSED_MAX)?;
        let mut retained = Vec::new();
        let (mut all, mut tombstones) = (true, false);
        for record in Records::new(whole, &header) {
            let record = record?;
            if retain(&record) {
                tombstones |= record.value.is_none();
                retained.push(record);
            } else {
                all = false;
            }
        }
        if retained.is_empty() {
            let empty = || empty_batch(&header);
            return Ok((self.retention == Retention::RetainEmpty).then(empty));
        }
        let known = header.delete_horizon_ms();
        let horizon = match known {
            None if tombstones || self.empty_transaction => {
                Some(self.now_ms.saturating_add(self.delete_retention_ms))
            }
            known => known,
        };
        if all && horizon == known {
            return Ok(Some(batch.clone()));
        }
        let codec = Codec::of(BatchHeader::read(batch)?.compression())?;
        let rebuilt = rebuild(&header, &retained, horizon);
        Ok(Some(match codec {
            Some(codec) => compress_batch(&rebuilt, codec),
            None => rebuilt,
        }))
    }
}

/// `MemoryRecords.buildRetainedRecordsInto`, uncompressed.
fn rebuild(original: &BatchHeader, retained: &[Record], horizon: Option<i64>) -> Bytes {
    let mut header = *original;
    header.base_timestamp = horizon.unwrap_or(retained[0].timestamp);
    header.set_delete_horizon(horizon.is_some());
    header.record_count = retained.len() as i32;
    if !header.is_log_append_time() {
        let latest = retained.iter().map(|record| record.timestamp).max();
        header.max_timestamp = latest.unwrap_or(NO_TIMESTAMP);
    }
    let mut writer = RecordWriter::new();
    for record in retained {
        let offset_delta = record.offset - header.base_offset;
        writer.put(
            record,
            record.timestamp - header.base_timestamp,
            offset_delta,
        );
    }
    writer.finish(header)
}

/// `DefaultRecordBatch.writeEmptyHeader`
fn empty_batch(original: &BatchHeader) -> Bytes {
    let mut header = *original;
    header.set_delete_horizon(false);
    header.base_timestamp = NO_TIMESTAMP;
    header.record_count = 0;
    RecordWriter::new().finish(header)
}
