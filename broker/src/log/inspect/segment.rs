//! One segment file: its batches, one after the other.

use super::DECOMPRESSED_MAX;
use crate::ids::{LeaderEpoch, Offset, ProducerId};
use crate::log::batch::{BatchError, BatchHeader, HEADER_BYTES, check_records};
use crate::log::codec::{CodecError, plain};
use crate::log::control::ControlRecord;
use crate::log::epoch::LeaderEpochCache;
use crate::log::index::relative_offset;
use crate::log::malformed::Malformed;
use crate::log::record::Records;
use crate::log::txn_index::AbortedTxn;
use bytes::Bytes;
use std::collections::BTreeMap;

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentReport {
    /// First offset of the segment, and its name.
    pub base_offset: Offset,
    /// Bytes of whole and valid batches.
    pub valid_bytes: u64,
    /// Their number.
    pub batches: usize,
    /// Records in them, control records too.
    pub records: u64,
    /// Offset behind the last record.
    pub next_offset: Offset,
    /// Largest timestamp, milliseconds since 1970; -1 for none.
    pub max_timestamp: i64,
    /// Entries of its offset index, 0 where that is missing or corrupt.
    pub offset_entries: usize,
    /// Entries of its time index, likewise.
    pub time_entries: usize,
    /// Its aborted transactions, likewise.
    pub aborted: Vec<AbortedTxn>,
}

/// What later checks need of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchAt {
    pub(super) position: u64,
    pub(super) last_offset: Offset,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: ProducerId,
    pub(super) last_sequence: i32,
}

/// An aborted transaction, as the batches show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aborted {
    pub(super) last_offset: Offset,
    producer_id: ProducerId,
    last_stable_offset: Offset,
    /// `None` where its first record is not in the log any more.
    first_offset: Option<Offset>,
}

impl Aborted {
    pub(super) fn differs(&self, entry: &AbortedTxn) -> bool {
        (self.last_offset, self.producer_id) != (entry.last_offset, entry.producer_id)
            || self.first_offset.is_some_and(|first| {
                (first, self.last_stable_offset) != (entry.first_offset, entry.last_stable_offset)
            })
    }
}

/// A walk through a partition's batches.
pub(super) struct Walk<'a> {
    epochs: Option<&'a LeaderEpochCache>,
    /// No later offset may lie below.
    next_offset: Offset,
    /// A segment so far, or this one, is not whole.
    corrupt_log: bool,
    corrupt_segment: bool,
    valid_bytes: u64,
    batches: Vec<BatchAt>,
    /// Those of this segment begin here.
    segment_from: usize,
    /// First offsets of the open transactions.
    open: BTreeMap<ProducerId, Offset>,
    /// Those whose markers are in this segment.
    aborted: Vec<Aborted>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(epochs: Option<&'a LeaderEpochCache>) -> Walk<'a> {
        Walk {
            epochs,
            next_offset: 0,
            corrupt_log: false,
            corrupt_segment: false,
            valid_bytes: 0,
            batches: Vec::new(),
            segment_from: 0,
            open: BTreeMap::new(),
            aborted: Vec::new(),
        }
    }

    /// Offset behind the last record, where all segments so far are whole.
    pub(super) fn log_end(&self) -> Option<Offset> {
        (!self.corrupt_log).then_some(self.next_offset)
    }

    pub(super) fn next_offset(&self) -> Offset {
        self.next_offset
    }

    pub(super) fn is_corrupt(&self) -> bool {
        self.corrupt_segment
    }

    pub(super) fn valid_bytes(&self) -> u64 {
        self.valid_bytes
    }

    pub(super) fn aborted(&self) -> &[Aborted] {
        &self.aborted
    }

    /// The batch of this segment that begins at that byte.
    pub(super) fn batch_at(&self, position: u64) -> Option<BatchAt> {
        let batches = &self.batches[self.segment_from..];
        let found = batches.binary_search_by_key(&position, |batch| batch.position);
        found.ok().map(|index| batches[index])
    }

    /// The batch of this segment that ends at that offset.
    pub(super) fn batch_ending_at(&self, offset: Offset) -> Option<BatchAt> {
        ending_at(&self.batches[self.segment_from..], offset)
    }

    /// The same in any segment.
    pub(super) fn any_batch_ending_at(&self, offset: Offset) -> Option<BatchAt> {
        ending_at(&self.batches, offset)
    }

    /// Reads a segment's batches up to the first that is not valid.
    pub(super) fn segment(
        &mut self,
        base_offset: Offset,
        bytes: &Bytes,
    ) -> (SegmentReport, Result<(), Malformed>) {
        let mut report = SegmentReport {
            base_offset,
            next_offset: base_offset,
            max_timestamp: -1,
            ..SegmentReport::default()
        };
        self.valid_bytes = 0;
        self.corrupt_segment = false;
        self.segment_from = self.batches.len();
        self.aborted.clear();
        let checked = self.batches(base_offset, bytes, &mut report);
        self.corrupt_segment = checked.is_err();
        self.corrupt_log |= checked.is_err();
        report.valid_bytes = self.valid_bytes;
        (report, checked)
    }

    fn batches(
        &mut self,
        base_offset: Offset,
        bytes: &Bytes,
        report: &mut SegmentReport,
    ) -> Result<(), Malformed> {
        if base_offset < self.next_offset {
            let what = format!(
                "segment begins at {base_offset}, below {}",
                self.next_offset
            );
            return Err(Malformed::new(0, what));
        }
        self.next_offset = base_offset;
        let mut at = 0;
        while at < bytes.len() {
            let start = at as u64;
            let header = match BatchHeader::next(&bytes[at..]) {
                Ok(Some(header)) => header,
                Ok(None) => {
                    let what = format!("{} bytes are no whole batch", bytes.len() - at);
                    return Err(Malformed::new(start, what));
                }
                Err(error) => return Err(in_batch(start, &error)),
            };
            let batch = bytes.slice(at..at + header.size());
            self.batch(base_offset, start, &header, &batch)?;
            at += header.size();
            self.valid_bytes = at as u64;
            report.batches += 1;
            report.records += header.record_count as u64;
            report.next_offset = self.next_offset;
            report.max_timestamp = report.max_timestamp.max(header.max_timestamp);
        }
        Ok(())
    }

    fn batch(
        &mut self,
        segment: Offset,
        start: u64,
        header: &BatchHeader,
        batch: &Bytes,
    ) -> Result<(), Malformed> {
        let wrong = |at: u64, what: String| Err(Malformed::new(start + at, what));
        header
            .check_crc(batch)
            .map_err(|error| in_batch(start, &error))?;
        let (base_offset, last_offset) = (header.base_offset, header.last_offset());
        if base_offset < self.next_offset || header.last_offset_delta < 0 {
            let expected = self.next_offset;
            return wrong(
                0,
                format!("batch begins at {base_offset}, below {expected}"),
            );
        }
        if relative_offset(segment, last_offset).is_none() {
            return wrong(0, format!("offset {last_offset} does not fit the segment"));
        }
        let epoch: LeaderEpoch = header.partition_leader_epoch;
        let known = self
            .epochs
            .map(|epochs| epochs.epoch_for_offset(base_offset));
        if let Some(Some(known)) = known
            && known != epoch
        {
            return wrong(
                12,
                format!("leader epoch is {epoch}, that of its offset {known}"),
            );
        }
        let (plain_header, plain) =
            plain(batch, DECOMPRESSED_MAX).map_err(|error| in_records(start, header, &error))?;
        let whole = check_records(&plain, &plain_header, |_, _| ());
        whole.map_err(|error| in_records(start, header, &error.into()))?;
        let mut next = base_offset;
        for record in Records::new(plain, &plain_header) {
            let record = record.map_err(|error| in_records(start, header, &error.into()))?;
            if record.offset < next || record.offset > last_offset {
                let offset = record.offset;
                let what = format!("record {offset} is not in {next} to {last_offset}");
                return wrong(HEADER_BYTES as u64, what);
            }
            next = record.offset + 1;
            if header.is_control() {
                let control = ControlRecord::of(&record)
                    .map_err(|error| Malformed::new(start + 61, error.to_string()))?;
                self.marker(header, &control);
            }
        }
        if header.is_transactional() && !header.is_control() {
            self.open.entry(header.producer_id).or_insert(base_offset);
        }
        self.batches.push(BatchAt {
            position: start,
            last_offset,
            max_timestamp: header.max_timestamp,
            producer_id: header.producer_id,
            last_sequence: header.last_sequence(),
        });
        self.next_offset = last_offset + 1;
        Ok(())
    }

    fn marker(&mut self, header: &BatchHeader, control: &ControlRecord) {
        let ControlRecord::EndTxn { committed, .. } = *control else {
            return;
        };
        let first_offset = self.open.remove(&header.producer_id);
        if committed {
            return;
        }
        let last_offset = header.last_offset();
        let others = self.open.values().copied().min();
        self.aborted.push(Aborted {
            last_offset,
            producer_id: header.producer_id,
            last_stable_offset: others.unwrap_or(last_offset + 1),
            first_offset,
        });
    }
}

fn ending_at(batches: &[BatchAt], offset: Offset) -> Option<BatchAt> {
    let found = batches.binary_search_by_key(&offset, |batch| batch.last_offset);
    found.ok().map(|index| batches[index])
}

/// Where in the file of a batch that begins at `start` an error of it is.
fn in_batch(start: u64, error: &BatchError) -> Malformed {
    let at = match error {
        BatchError::ShortHeader(length) => *length,
        BatchError::Length(_) => 8,
        BatchError::Magic(_) => 16,
        BatchError::Crc { .. } => 17,
        BatchError::Compressed(_) => 21,
        BatchError::Record { at, .. } => *at,
    };
    Malformed::new(start + at as u64, error.to_string())
}

/// The same for its records; in what is decompressed there are no positions of the file.
fn in_records(start: u64, header: &BatchHeader, error: &CodecError) -> Malformed {
    match error {
        CodecError::Batch(error) if header.compression() == 0 => in_batch(start, error),
        error => Malformed::new(start + HEADER_BYTES as u64, error.to_string()),
    }
}
