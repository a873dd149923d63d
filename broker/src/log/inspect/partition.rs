//! One partition's folder.

use super::segment::{BatchAt, SegmentReport, Walk};
use super::{Inspection, at_line, byte_of_line, offset_of_name, text_of};
use crate::disk::DiskError;
use crate::ids::Offset;
use crate::log::epoch::{EpochEntry, LeaderEpochCache};
use crate::log::index::{OFFSET_ENTRY_BYTES, OffsetIndex, TIME_ENTRY_BYTES, TimeIndex};
use crate::log::malformed::Malformed;
use crate::log::partition_metadata::{PARTITION_METADATA_FILE, parse_partition_metadata};
use crate::log::snapshot::{SnapshotEntry, decode_snapshot, entry_position};
use crate::log::txn_index::{ABORTED_TXN_BYTES, AbortedTxn, parse_txn_index};
use uuid::Uuid;

/// A snapshot of a partition's producers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotReport {
    /// What it covers lies below.
    pub offset: Offset,
    /// The producers, in the file's order.
    pub entries: Vec<SnapshotEntry>,
}

/// What a partition's folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReport {
    /// The folder: `topic-partition`.
    pub dir: String,
    /// From `partition.metadata`; `None` where that is missing or corrupt.
    pub topic_id: Option<Uuid>,
    /// From `leader-epoch-checkpoint`; empty where that is missing or corrupt.
    pub epochs: Vec<EpochEntry>,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Its snapshots that can be read, oldest first.
    pub snapshots: Vec<SnapshotReport>,
    /// Offset of the next record; `None` where a segment is corrupt.
    pub log_end: Option<Offset>,
}

impl Inspection<'_> {
    /// Checks the files of the folder `dir`.
    pub(super) fn partition(
        &mut self,
        dir: &str,
        paths: &[String],
    ) -> Result<PartitionReport, (String, DiskError)> {
        let there = |name: &str| {
            let path = format!("{dir}/{name}");
            paths.contains(&path).then_some(path)
        };
        let mut topic_id = None;
        if let Some(path) = there(PARTITION_METADATA_FILE) {
            let parsed = parse_partition_metadata(&self.read(&path)?);
            topic_id = self.note(&path, parsed);
        }
        let mut epochs = None;
        if let Some(path) = there(LeaderEpochCache::FILE) {
            let parsed = epochs_of(&self.read(&path)?);
            epochs = self.note(&path, parsed);
        }
        let of_kind = |suffix: &'static str| {
            let offset = move |path: &String| offset_of_name(&path[dir.len() + 1..], suffix);
            paths
                .iter()
                .filter_map(move |path| Some((offset(path)?, path)))
        };
        let mut walk = Walk::new(epochs.as_ref());
        let bases: Vec<Offset> = of_kind(".log").map(|(offset, _)| offset).collect();
        let mut segments = Vec::with_capacity(bases.len());
        for (base_offset, path) in of_kind(".log") {
            let bytes = self.read(path)?;
            let active = bases.last() == Some(&base_offset);
            let (mut report, checked) = walk.segment(base_offset, &bytes);
            self.note(path, checked);
            // The files of an active segment are preallocated while the broker runs.
            let preallocated = active && !self.clean_shutdown;
            self.indexes(path, preallocated, &walk, paths, &mut report)?;
            segments.push(report);
        }
        let mut snapshots = Vec::new();
        for (offset, path) in of_kind(".snapshot") {
            let parsed = decode_snapshot(&self.read(path)?)
                .and_then(|entries| check_snapshot(offset, entries, &walk));
            if let Some(entries) = self.note(path, parsed) {
                snapshots.push(SnapshotReport { offset, entries });
            }
        }
        if let Some(path) = there(LeaderEpochCache::FILE)
            && let Some(epochs) = &epochs
        {
            let bytes = self.read(&path)?;
            let checked = check_epochs(&bytes, epochs, &walk);
            self.note(&path, checked);
        }
        let log_end = walk.log_end();
        Ok(PartitionReport {
            dir: dir.to_owned(),
            topic_id,
            epochs: epochs.map_or_else(Vec::new, |epochs| epochs.entries().to_vec()),
            segments,
            snapshots,
            log_end,
        })
    }

    /// Checks the indexes of the segment file `log` against its batches, as far as those are valid.
    fn indexes(
        &mut self,
        log: &str,
        preallocated: bool,
        walk: &Walk<'_>,
        paths: &[String],
        report: &mut SegmentReport,
    ) -> Result<(), (String, DiskError)> {
        let base_offset = report.base_offset;
        let stem = log.strip_suffix("log").expect("a segment's file");
        let [index, time_index, txn_index] =
            ["index", "timeindex", "txnindex"].map(|kind| format!("{stem}{kind}"));
        if paths.contains(&index) {
            let parsed = OffsetIndex::parse(&self.read(&index)?, base_offset, preallocated)
                .and_then(|read| check_offset_index(&read, walk).map(|()| read.entries().len()));
            report.offset_entries = self.note(&index, parsed).unwrap_or(0);
        }
        if paths.contains(&time_index) {
            let parsed = TimeIndex::parse(&self.read(&time_index)?, base_offset, preallocated)
                .and_then(|read| check_time_index(&read, walk).map(|()| read.entries().len()));
            report.time_entries = self.note(&time_index, parsed).unwrap_or(0);
        }
        if paths.contains(&txn_index) {
            let parsed = parse_txn_index(&self.read(&txn_index)?, base_offset)
                .and_then(|read| check_txn_index(&read, walk).map(|()| read));
            report.aborted = self.note(&txn_index, parsed).unwrap_or_default();
        }
        Ok(())
    }
}

fn epochs_of(bytes: &[u8]) -> Result<LeaderEpochCache, Malformed> {
    let text = text_of(bytes)?;
    LeaderEpochCache::from_checkpoint(text).map_err(|error| at_line(text, &error))
}

/// No epoch begins behind the log end.
fn check_epochs(bytes: &[u8], epochs: &LeaderEpochCache, walk: &Walk<'_>) -> Result<(), Malformed> {
    let (Some(log_end), Ok(text)) = (walk.log_end(), text_of(bytes)) else {
        return Ok(());
    };
    for (number, entry) in epochs.entries().iter().enumerate() {
        if entry.start_offset > log_end {
            let EpochEntry {
                epoch,
                start_offset,
            } = *entry;
            let what = format!("epoch {epoch} begins at {start_offset}, the log ends at {log_end}");
            return Err(Malformed::new(byte_of_line(text, number + 3), what));
        }
    }
    Ok(())
}

/// Each entry names the first byte of the batch that ends at its offset; Kafka before 4.1
/// (KAFKA-806) named the end of an append of several batches.
fn check_offset_index(index: &OffsetIndex, walk: &Walk<'_>) -> Result<(), Malformed> {
    for (number, entry) in index.entries().iter().enumerate() {
        let at = (number * OFFSET_ENTRY_BYTES) as u64;
        let position = entry.position;
        let found = walk.batch_at(position);
        match found {
            Some(batch) if batch.last_offset == entry.offset => {}
            Some(BatchAt { last_offset, .. }) => {
                let offset = entry.offset;
                let what = format!("{offset} is not the last offset {last_offset} of its batch");
                return Err(Malformed::new(at, what));
            }
            None if walk.is_corrupt() && position >= walk.valid_bytes() => return Ok(()),
            None => {
                let what = format!("no batch begins at position {position}");
                return Err(Malformed::new(at + 4, what));
            }
        }
    }
    Ok(())
}

/// Each entry names a batch, and no batch up to it is later.
fn check_time_index(index: &TimeIndex, walk: &Walk<'_>) -> Result<(), Malformed> {
    for (number, entry) in index.entries().iter().enumerate() {
        let at = (number * TIME_ENTRY_BYTES) as u64;
        let offset = entry.offset;
        match walk.batch_ending_at(offset) {
            Some(batch) if batch.max_timestamp == entry.timestamp => {}
            Some(BatchAt { max_timestamp, .. }) => {
                let timestamp = entry.timestamp;
                let what = format!("{timestamp} is not the largest timestamp {max_timestamp}");
                return Err(Malformed::new(at, what));
            }
            None if walk.is_corrupt() && offset >= walk.next_offset() => return Ok(()),
            None => {
                let what = format!("no batch ends at offset {offset}");
                return Err(Malformed::new(at + 8, what));
            }
        }
    }
    Ok(())
}

/// The entries are the aborted transactions whose markers the segment holds.
fn check_txn_index(entries: &[AbortedTxn], walk: &Walk<'_>) -> Result<(), Malformed> {
    let mut expected = walk.aborted().iter();
    for (number, entry) in entries.iter().enumerate() {
        let at = (number * ABORTED_TXN_BYTES) as u64;
        match expected.next() {
            None if walk.is_corrupt() => return Ok(()),
            None => {
                let what = format!("no marker at {} aborts this", entry.last_offset);
                return Err(Malformed::new(at, what));
            }
            Some(found) if found.differs(entry) => {
                let what = format!("{entry:?} is not what the batches say: {found:?}");
                return Err(Malformed::new(at, what));
            }
            Some(_) => {}
        }
    }
    match expected.next() {
        None => Ok(()),
        Some(missing) => {
            let what = format!(
                "the transaction that ends at {} is missing",
                missing.last_offset
            );
            Err(Malformed::new(
                (entries.len() * ABORTED_TXN_BYTES) as u64,
                what,
            ))
        }
    }
}

/// What a snapshot says of a producer's last batch is what that batch says, where it is still there.
fn check_snapshot(
    offset: Offset,
    entries: Vec<SnapshotEntry>,
    walk: &Walk<'_>,
) -> Result<Vec<SnapshotEntry>, Malformed> {
    for (number, entry) in entries.iter().enumerate() {
        let (at, last_offset) = (entry_position(number), entry.last_offset);
        if last_offset >= offset {
            let what = format!("offset {last_offset} is not below {offset}");
            return Err(Malformed::new(at, what));
        }
        if let Some(batch) = walk.any_batch_ending_at(last_offset)
            && (batch.producer_id, batch.last_sequence) != (entry.producer_id, entry.last_sequence)
        {
            let what = format!("{entry:?} is not what the batch at {last_offset} says");
            return Err(Malformed::new(at, what));
        }
    }
    Ok(entries)
}
