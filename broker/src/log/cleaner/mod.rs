//! Compaction: of each key only the last record stays (`LogCleaner`, `Cleaner`, `LogCleanerManager`).
//!
//! A cleaning of one log is a job in pieces ([`Cleaning::step`]), between which its broker does other
//! work. It walks the segments below a bound to find aborted transactions, then the dirty part of them
//! to learn the last offset of each key, and then writes them anew, some small ones into one: records
//! that a later one of their key replaces go, and tombstones and markers once their time has come. A
//! new segment is synced and then takes the place of the old ones ([`swap`]).
//!
//! The bound is never beyond the last stable offset, hence never beyond the high watermark, nor in the
//! active segment. The last batch of each producer stays, emptied if need be, so that its sequence is
//! known after a restart; so does the last batch before the bound, for its offset.
//!
//! What differs from Kafka: keys are compared, not their MD5 hashes. Groups of segments are bounded by
//! `segment.bytes`, not by the size of their indexes as well. A cleaning that finds its log changed
//! (truncated, its segments deleted) ends as aborted, where Kafka pauses it beforehand. Nothing is
//! throttled (`log.cleaner.io.max.bytes.per.second`), and no segment is split.
//!
//! As in Kafka, checksums are not checked: a rewritten batch has a valid one whatever its records were.

mod filter;
mod plan;
pub mod swap;
mod transactions;

use crate::config::TopicConfig;
use crate::disk::{Disk, DiskError, FileId};
use crate::env::SyncToken;
use crate::ids::{Offset, ProducerId};
use crate::log::batch::BatchHeader;
use crate::log::codec::{CodecError, records};
use crate::log::index::{IndexedBatch, SegmentIndexes};
use crate::log::partition_log::{BatchMetadata, PartitionLog};
use crate::log::record::Record;
use bytes::Bytes;
use filter::{DECOMPRESSED_MAX, Filter, Retention};
pub use plan::Cleanable;
use std::collections::{BTreeMap, VecDeque};
use swap::CLEANED_SUFFIX;
use transactions::{AbortedScan, CleanedTransactions};

/// File of the offsets up to which all logs are clean, in the log directory; an offset checkpoint.
pub const CLEANER_OFFSET_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// Keys that one cleaning knows: `log.cleaner.dedupe.buffer.size` of 128 MiB, filled to
/// `log.cleaner.io.buffer.load.factor` of 0.9 with hashes and offsets of 24 bytes.
const MAP_ENTRIES_MAX: usize = 5_033_164;

/// How much of a segment a step reads at most, but for a larger batch: bytes.
const CHUNK_BYTES: u64 = 1 << 20;

/// Why a cleaning came to no end. The log is as it was, but for groups of segments that are done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CleaningError {
    /// The segments are not those with which it began.
    #[error("the log changed while it was cleaned")]
    Aborted,
    /// A batch cannot be read: Kafka then cleans the partition no more
    /// (`markPartitionUncleanable`).
    #[error("batch cannot be cleaned: {0}")]
    Corrupt(CodecError),
    /// The disk failed.
    #[error("cleaning failed: {0}")]
    Disk(#[from] DiskError),
}

impl From<CodecError> for CleaningError {
    fn from(error: CodecError) -> Self {
        CleaningError::Corrupt(error)
    }
}

/// What a step led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleaningProgress {
    /// There is more to do: the next step.
    More,
    /// Syncs with the step's token are under way: [`Cleaning::synced`] is next.
    Syncing,
    /// The log is clean up to here, which is what the checkpoint gets.
    Done {
        /// First offset that is dirty now.
        end_offset: Offset,
    },
}

/// A segment that was there when a cleaning began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    base_offset: Offset,
    file: FileId,
    size: u64,
}

/// The last offset of each key (`OffsetMap`).
#[derive(Debug, Clone, Default)]
struct OffsetMap {
    offsets: BTreeMap<Box<[u8]>, Offset>,
    /// Nothing behind it is known.
    latest: Offset,
}

/// A segment that is being written.
#[derive(Debug, Clone)]
struct Output {
    base_offset: Offset,
    log: FileId,
    offsets: FileId,
    times: FileId,
    indexes: SegmentIndexes,
    batches: Vec<BatchMetadata>,
    bytes: u64,
}

#[derive(Debug, Clone)]
enum Stage {
    /// Looks for aborted transactions from this offset on.
    Scan(Offset),
    /// Learns the keys from this offset on.
    Map(Offset),
    /// Writes the group in front anew, from this offset on.
    Clean(Offset, Output),
    /// The new segment's files are being synced.
    SyncingFiles(usize, Output),
    /// The directory is being synced.
    SyncingDirectory,
    Done,
}

/// A cleaning of one log that is under way.
#[derive(Debug, Clone)]
pub struct Cleaning {
    cleanable: Cleanable,
    /// Last offset and fingerprint of the last batch below the bound.
    seal: Option<(Offset, u64)>,
    now_ms: i64,
    delete_retention_ms: i64,
    segment_bytes: u64,
    interval_bytes: i32,
    map_entries_max: usize,
    scan: AbortedScan,
    transactions: CleanedTransactions,
    map: OffsetMap,
    /// Last data offset and epoch of each producer (`lastRecordsOfActiveProducers`).
    producers: BTreeMap<ProducerId, (Option<Offset>, i16)>,
    /// What is still to be written, in groups that become one segment each.
    groups: VecDeque<Vec<Known>>,
    stage: Stage,
}

impl Cleaning {
    /// Begins to clean a log as far as `cleanable` says; `now_ms` is the wall clock.
    pub fn begin(
        log: &PartitionLog,
        cleanable: Cleanable,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Cleaning {
        let producers = log.producers().producers().iter();
        let last = producers.map(|(&id, entry)| {
            let last = entry.batches().last().map(|batch| batch.last_offset);
            (id, (last, entry.producer_epoch))
        });
        Cleaning {
            cleanable,
            seal: seal_of(log, cleanable.first_uncleanable),
            now_ms,
            delete_retention_ms: config.delete_retention_ms,
            segment_bytes: u64::from(config.segment_bytes.unsigned_abs()),
            interval_bytes: config.index_interval_bytes,
            map_entries_max: MAP_ENTRIES_MAX,
            scan: AbortedScan::default(),
            transactions: CleanedTransactions::default(),
            map: OffsetMap {
                offsets: BTreeMap::new(),
                latest: -1,
            },
            producers: last.collect(),
            groups: VecDeque::new(),
            stage: Stage::Scan(0),
        }
    }

    /// The next piece of work. `token` is for syncs that it starts.
    ///
    /// # Errors
    /// See [`CleaningError`]; the cleaning is over then.
    ///
    /// # Panics
    /// While syncs are under way.
    pub fn step(
        &mut self,
        log: &mut PartitionLog,
        disk: &mut dyn Disk,
        token: SyncToken,
    ) -> Result<CleaningProgress, CleaningError> {
        let done = self.work(log, disk, token);
        if done.is_err() {
            self.stage = Stage::Done;
            swap::remove_cleaned(&log.dir, disk)?;
        }
        done
    }

    fn work(
        &mut self,
        log: &mut PartitionLog,
        disk: &mut dyn Disk,
        token: SyncToken,
    ) -> Result<CleaningProgress, CleaningError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        if !self.is_sealed(log) {
            if let Stage::Clean(_, output) = stage {
                output.close(disk);
            }
            return Err(CleaningError::Aborted);
        }
        match stage {
            Stage::Scan(from) => self.scan(from, log, disk)?,
            Stage::Map(from) => self.map(from, log, disk)?,
            Stage::Clean(from, output) => return self.clean(from, output, log, disk, token),
            Stage::SyncingFiles(..) | Stage::SyncingDirectory => {
                panic!("{}: a cleaning's syncs are under way", log.dir)
            }
            Stage::Done => {
                let end_offset = self.end_offset();
                return Ok(CleaningProgress::Done { end_offset });
            }
        }
        Ok(CleaningProgress::More)
    }

    /// Takes the completion of one of the syncs under way.
    ///
    /// # Errors
    /// The sync's or the disk's, or the log has changed; the cleaning is over then.
    ///
    /// # Panics
    /// Where none is under way.
    pub fn synced(
        &mut self,
        log: &mut PartitionLog,
        result: Result<(), DiskError>,
        token: SyncToken,
        disk: &mut dyn Disk,
    ) -> Result<CleaningProgress, CleaningError> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::SyncingFiles(outstanding, output) => {
                if let Err(error) = result {
                    output.close(disk);
                    return Err(error.into());
                }
                if outstanding > 1 {
                    self.stage = Stage::SyncingFiles(outstanding - 1, output);
                    return Ok(CleaningProgress::Syncing);
                }
                self.swap(output, log, disk)?;
                disk.sync_dir(&log.dir, token);
                self.stage = Stage::SyncingDirectory;
                Ok(CleaningProgress::Syncing)
            }
            Stage::SyncingDirectory => {
                result?;
                self.next_group(log, disk)?;
                Ok(CleaningProgress::More)
            }
            stage => panic!(
                "{}: no sync of its cleaning is under way: {stage:?}",
                log.dir
            ),
        }
    }

    /// Whether the log still holds what lay below the bound when the cleaning began: keys of records that
    /// were cut off replace nothing.
    fn is_sealed(&self, log: &PartitionLog) -> bool {
        self.seal == seal_of(log, self.cleanable.first_uncleanable)
    }

    /// First offset that is not cleaned, as far as it has come; at least where it began.
    pub fn end_offset(&self) -> Offset {
        (self.map.latest + 1).max(self.cleanable.first_dirty)
    }

    /// Aborted transactions of everything below the bound.
    fn scan(
        &mut self,
        from: Offset,
        log: &PartitionLog,
        disk: &dyn Disk,
    ) -> Result<(), CleaningError> {
        let bound = self.cleanable.first_uncleanable;
        let chunk = read_chunk(log, from, bound, disk)?;
        for (batch, bytes) in &chunk {
            let header = BatchHeader::read(bytes)?;
            debug_assert_eq!(header.base_offset, batch.base_offset);
            self.scan.see(&header, bytes)?;
        }
        self.stage = match chunk.last() {
            Some((last, _)) => Stage::Scan(last.last_offset + 1),
            None => {
                self.transactions = self.scan.begin();
                Stage::Map(self.cleanable.first_dirty)
            }
        };
        Ok(())
    }

    /// `buildOffsetMap`
    fn map(
        &mut self,
        from: Offset,
        log: &PartitionLog,
        disk: &mut dyn Disk,
    ) -> Result<(), CleaningError> {
        let bound = self.cleanable.first_uncleanable;
        let chunk = read_chunk(log, from, bound, disk)?;
        for (batch, bytes) in &chunk {
            if !self.learn(bytes)? {
                return self.begin_writing(log, disk);
            }
            self.map.latest = self.map.latest.max(batch.last_offset);
        }
        match chunk.last() {
            Some((last, _)) => self.stage = Stage::Map(last.last_offset + 1),
            None => {
                // Offsets may be missing before the bound.
                self.map.latest = self.map.latest.max(bound - 1);
                self.begin_writing(log, disk)?;
            }
        }
        Ok(())
    }

    /// Learns a batch's keys; false where the map is full.
    fn learn(&mut self, bytes: &Bytes) -> Result<bool, CleaningError> {
        let header = BatchHeader::read(bytes)?;
        if self.transactions.may_discard(&header, bytes)? || header.is_control() {
            return Ok(true);
        }
        for record in records(bytes, DECOMPRESSED_MAX)? {
            let record = record?;
            if let Some(key) = &record.key
                && record.offset >= self.cleanable.first_dirty
            {
                let offsets = &mut self.map.offsets;
                if offsets.len() >= self.map_entries_max {
                    return Ok(false);
                }
                offsets.insert(key.to_vec().into_boxed_slice(), record.offset);
            }
        }
        Ok(true)
    }

    fn begin_writing(
        &mut self,
        log: &PartitionLog,
        disk: &mut dyn Disk,
    ) -> Result<(), CleaningError> {
        self.transactions = self.scan.begin();
        let end_offset = self.end_offset();
        let segments = log.segments.iter().map(|segment| Known {
            base_offset: segment.base_offset,
            file: segment.file,
            size: segment.size,
        });
        let below = segments.take_while(|segment| segment.base_offset < end_offset);
        let below: Vec<Known> = below.collect();
        let bound = self.cleanable.first_uncleanable;
        self.groups = plan::group(&below, self.segment_bytes, bound).into();
        self.next_group(log, disk)
    }

    /// Creates the segment for the next group.
    fn next_group(&mut self, log: &PartitionLog, disk: &mut dyn Disk) -> Result<(), CleaningError> {
        let Some(group) = self.groups.front() else {
            self.stage = Stage::Done;
            return Ok(());
        };
        let base_offset = group[0].base_offset;
        let [log, offsets, times] = swap::FILES.map(|suffix| {
            let path = swap::path(&log.dir, base_offset, suffix, CLEANED_SUFFIX);
            let file = disk.open(&path)?;
            disk.truncate(file, 0)?;
            Ok::<FileId, DiskError>(file)
        });
        let output = Output {
            base_offset,
            log: log?,
            offsets: offsets?,
            times: times?,
            indexes: SegmentIndexes::new(base_offset),
            batches: Vec::new(),
            bytes: 0,
        };
        self.stage = Stage::Clean(base_offset, output);
        Ok(())
    }

    /// `cleanInto`: one chunk of the group in front; behind the last one the new segment is synced.
    fn clean(
        &mut self,
        from: Offset,
        mut output: Output,
        log: &PartitionLog,
        disk: &mut dyn Disk,
        token: SyncToken,
    ) -> Result<CleaningProgress, CleaningError> {
        match self.clean_chunk(from, &mut output, log, disk) {
            Err(error) => {
                output.close(disk);
                Err(error)
            }
            Ok(Some(next)) => {
                self.stage = Stage::Clean(next, output);
                Ok(CleaningProgress::More)
            }
            Ok(None) => {
                let files = output.files();
                files.iter().for_each(|&file| disk.sync(file, token));
                self.stage = Stage::SyncingFiles(files.len(), output);
                Ok(CleaningProgress::Syncing)
            }
        }
    }

    /// Writes a chunk of what stays; where the next one begins, `None` behind the last.
    fn clean_chunk(
        &mut self,
        from: Offset,
        output: &mut Output,
        log: &PartitionLog,
        disk: &mut dyn Disk,
    ) -> Result<Option<Offset>, CleaningError> {
        let group = &self.groups[0];
        if !unchanged(group, log) {
            return Err(CleaningError::Aborted);
        }
        let last = group[group.len() - 1].base_offset;
        let behind = log.segments.partition_point(|s| s.base_offset <= last);
        let end = log.segments[behind].base_offset;
        let chunk = read_chunk(log, from, end, disk)?;
        let mut written = Vec::new();
        for (batch, bytes) in &chunk {
            if let Some(kept) = self.filter(bytes)? {
                output.add(batch, &kept, self.interval_bytes, disk)?;
                written.extend_from_slice(&kept);
            }
        }
        disk.append(output.log, &written)?;
        if let Some((last, _)) = chunk.last() {
            return Ok(Some(last.last_offset + 1));
        }
        if let Some(entry) = output.indexes.become_inactive() {
            disk.append(output.times, &entry)?;
        }
        Ok(None)
    }

    /// What is left of a batch (`checkBatchRetention`, `shouldRetainRecord`).
    fn filter(&mut self, bytes: &Bytes) -> Result<Option<Bytes>, CleaningError> {
        let header = BatchHeader::read(bytes)?;
        let may_discard = self.transactions.may_discard(&header, bytes)?;
        let horizon = header.delete_horizon_ms();
        let due = horizon.is_some_and(|horizon| horizon <= self.now_ms);
        let discard = may_discard && (due || !header.is_control());
        let is_last_before_bound = header.last_offset() + 1 == self.cleanable.first_uncleanable;
        let retention = if self.is_last_of_producer(&header) || is_last_before_bound {
            Retention::RetainEmpty
        } else if discard {
            Retention::Delete
        } else {
            Retention::DeleteEmpty
        };
        let filter = Filter {
            retention,
            empty_transaction: may_discard && header.is_control(),
            now_ms: self.now_ms,
            delete_retention_ms: self.delete_retention_ms,
        };
        let keeps_tombstones = !due;
        let map = &self.map;
        let retain = |record: &Record| {
            if discard {
                return false;
            }
            header.is_control() || map.retains(record, keeps_tombstones)
        };
        Ok(filter.apply(bytes, retain)?)
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        match self.producers.get(&header.producer_id) {
            Some((Some(last), _)) => header.last_offset() == *last,
            Some((None, epoch)) => header.is_control() && header.producer_epoch == *epoch,
            None => false,
        }
    }

    /// Puts the new segment in the place of the group in front.
    fn swap(
        &mut self,
        output: Output,
        log: &mut PartitionLog,
        disk: &mut dyn Disk,
    ) -> Result<(), CleaningError> {
        let group = self.groups.pop_front().expect("it was written");
        if !self.is_sealed(log) || !unchanged(&group, log) {
            output.close(disk);
            swap::remove_cleaned(&log.dir, disk)?;
            return Err(CleaningError::Aborted);
        }
        let Output {
            base_offset,
            log: file,
            offsets,
            times,
            batches,
            ..
        } = output;
        disk.close(offsets);
        disk.close(times);
        let bases: Vec<Offset> = group.iter().map(|known| known.base_offset).collect();
        log.replace_segments(&bases, base_offset, file, batches, self.now_ms, disk)?;
        Ok(())
    }
}

impl OffsetMap {
    /// A record without key goes: a compacted topic accepts none, so that it is older than the policy.
    fn retains(&self, record: &Record, keeps_tombstones: bool) -> bool {
        if record.offset > self.latest {
            return true;
        }
        let Some(key) = &record.key else {
            return false;
        };
        let latest = self.offsets.get(&key[..]);
        latest.is_none_or(|&latest| record.offset >= latest)
            && (record.value.is_some() || keeps_tombstones)
    }
}

impl Output {
    fn files(&self) -> [FileId; 3] {
        [self.log, self.offsets, self.times]
    }

    /// Gives the handles back; nothing comes of it.
    fn close(self, disk: &mut dyn Disk) {
        self.files().into_iter().for_each(|file| disk.close(file));
    }

    /// Takes note of a batch that is about to be written, and writes the index entries that are due.
    fn add(
        &mut self,
        original: &BatchMetadata,
        kept: &Bytes,
        interval_bytes: i32,
        disk: &mut dyn Disk,
    ) -> Result<(), CleaningError> {
        let header = BatchHeader::read(kept)?;
        let size = header.size() as u32;
        let batch = BatchMetadata {
            position: self.bytes,
            size,
            max_timestamp: header.max_timestamp,
            ..*original
        };
        let new = self.indexes.append(
            IndexedBatch {
                last_offset: batch.last_offset,
                max_timestamp: batch.max_timestamp,
                position: batch.position,
                size,
            },
            interval_bytes,
        );
        if let Some(new) = new {
            disk.append(self.offsets, &new.offset)?;
            if let Some(time) = new.time {
                disk.append(self.times, &time)?;
            }
        }
        self.bytes += u64::from(size);
        self.batches.push(batch);
        Ok(())
    }
}

/// Last offset and fingerprint of the last batch that begins below `bound`. A cleaning changes neither.
fn seal_of(log: &PartitionLog, bound: Offset) -> Option<(Offset, u64)> {
    let below = log.batches.partition_point(|b| b.base_offset < bound);
    let last = log.batches[..below].last()?;
    Some((last.last_offset, last.prefix))
}

/// Whether the segments are those that the cleaning has seen, none of them active.
fn unchanged(group: &[Known], log: &PartitionLog) -> bool {
    let active = log.active().base_offset;
    group.iter().all(|known| {
        let segment = log.segment_of(known.base_offset);
        let now = Known {
            base_offset: segment.base_offset,
            file: segment.file,
            size: segment.size,
        };
        now == *known && now.base_offset < active
    })
}

/// Whole batches of one segment from the one that holds `from` on, below `bound`; none where there are
/// no more.
fn read_chunk(
    log: &PartitionLog,
    from: Offset,
    bound: Offset,
    disk: &dyn Disk,
) -> Result<Vec<(BatchMetadata, Bytes)>, CleaningError> {
    let batches = log.batches_metadata_from(from);
    let Some(first) = batches.first().filter(|first| first.base_offset < bound) else {
        return Ok(Vec::new());
    };
    let segment = log.segment_of(first.base_offset);
    let mut count = 0;
    let mut len = 0;
    for batch in batches {
        let size = u64::from(batch.size);
        let in_segment = batch.position == first.position + len
            && log.segment_of(batch.base_offset).base_offset == segment.base_offset;
        if batch.base_offset >= bound || !in_segment || (count > 0 && len + size > CHUNK_BYTES) {
            break;
        }
        count += 1;
        len += size;
    }
    let mut bytes = disk.read(segment.file, first.position, len)?;
    let split = |batch: &BatchMetadata| (*batch, bytes.split_to(batch.size as usize));
    Ok(batches[..count].iter().map(split).collect())
}

#[cfg(test)]
mod tests;
