//! One segment of a log: Kafka's `LogSegment`, its files, and what is needed to decide when to roll it.

use crate::config::TopicConfig;
use crate::disk::{Disk, DiskError, FileId};
use crate::env::SyncToken;
use crate::ids::Offset;
use crate::log::index::{
    IndexedBatch, OFFSET_ENTRY_BYTES, OffsetIndex, SegmentIndexes, TIME_ENTRY_BYTES, TimeIndex,
};
use crate::log::partition_log::BatchMetadata;

/// Suffix of the files of a segment that is no longer part of its log (`LogFileUtils.DELETED_FILE_SUFFIX`).
pub const DELETED_SUFFIX: &str = ".deleted";

/// A segment of a log. Its batches' positions are in the log.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Where its offsets begin, and its files' name.
    pub base_offset: Offset,
    /// The `.log` file.
    pub file: FileId,
    /// Bytes of whole batches in it.
    pub size: u64,
    /// What `.index` and `.timeindex` hold.
    indexes: SegmentIndexes,
    /// These two files, once there is something to write to them.
    index_files: Option<IndexFiles>,
    /// Largest timestamp of its first batch (`rollingBasedTimestamp`).
    first_timestamp: Option<i64>,
    /// Wall clock in milliseconds when this process opened it.
    created_ms: i64,
    /// Where its bytes stop being batches, although nothing was to be recovered there.
    pub corrupt_at: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct IndexFiles {
    offsets: FileId,
    times: FileId,
    /// Written to since a sync was last asked for.
    dirty: bool,
}

/// Suffixes of the two.
const INDEX_SUFFIXES: [&str; 2] = [".index", ".timeindex"];

/// The interval at which an index is rebuilt; a log is loaded before its topic's settings are known.
const DEFAULT_INTERVAL_BYTES: i32 = 4096;

/// What is about to be appended (`RollParams`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Arriving {
    pub bytes: u64,
    pub last_offset: Offset,
    pub max_timestamp: i64,
}

impl Segment {
    /// Path of a file of the segment that begins at `base_offset`: `suffix` is `.log`, `.index` ...
    pub fn path(dir: &str, base_offset: Offset, suffix: &str) -> String {
        let digits = twenty_digits(base_offset);
        let digits = str::from_utf8(&digits).expect("digits are ASCII");
        [dir, "/", digits, suffix].concat()
    }

    /// A segment whose file is open and empty.
    pub fn new(base_offset: Offset, file: FileId, now_ms: i64) -> Segment {
        Segment {
            base_offset,
            file,
            size: 0,
            indexes: SegmentIndexes::new(base_offset),
            index_files: None,
            first_timestamp: None,
            created_ms: now_ms,
            corrupt_at: None,
        }
    }

    /// Creates the segment's file, empty.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(
        dir: &str,
        base_offset: Offset,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<Segment, DiskError> {
        // What a crash left under these names goes first (`UnifiedLog.roll`).
        for suffix in [".log", INDEX_SUFFIXES[0], INDEX_SUFFIXES[1]] {
            let path = Segment::path(dir, base_offset, suffix);
            if disk.exists(&path) {
                disk.delete(&path)?;
            }
        }
        let file = disk.open(&Segment::path(dir, base_offset, ".log"))?;
        Ok(Segment::new(base_offset, file, now_ms))
    }

    /// Takes a batch that is in the file into account, and writes the index entries that are due.
    ///
    /// # Errors
    /// The disk's.
    #[inline]
    pub fn appended(
        &mut self,
        dir: &str,
        batch: &BatchMetadata,
        interval_bytes: i32,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        self.size += u64::from(batch.size);
        self.first_timestamp.get_or_insert(batch.max_timestamp);
        match self.indexes.append(indexed(batch), interval_bytes) {
            None => Ok(()),
            Some(new) => self.write_entries(dir, Some(&new.offset), new.time.as_ref(), disk),
        }
    }

    #[cold]
    fn write_entries(
        &mut self,
        dir: &str,
        offset: Option<&[u8; OFFSET_ENTRY_BYTES]>,
        time: Option<&[u8; TIME_ENTRY_BYTES]>,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        let files = self.index_files(dir, disk)?;
        if let Some(entry) = offset {
            disk.append(files.offsets, entry)?;
        }
        if let Some(entry) = time {
            disk.append(files.times, entry)?;
        }
        Ok(())
    }

    /// The index files, created where they are not there, about to be written to.
    fn index_files(&mut self, dir: &str, disk: &mut dyn Disk) -> Result<IndexFiles, DiskError> {
        let files = match self.index_files {
            Some(files) => files,
            None => {
                let [offsets, times] =
                    INDEX_SUFFIXES.map(|s| Segment::path(dir, self.base_offset, s));
                IndexFiles {
                    offsets: disk.open(&offsets)?,
                    times: disk.open(&times)?,
                    dirty: true,
                }
            }
        };
        self.index_files = Some(IndexFiles {
            dirty: true,
            ..files
        });
        Ok(files)
    }

    /// Completes the indexes: the segment is rolled, or its log closed (`onBecomeInactiveSegment`).
    ///
    /// # Errors
    /// The disk's.
    pub fn become_inactive(&mut self, dir: &str, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let last = self.indexes.become_inactive();
        if last.is_some() || self.index_files.is_none() {
            self.write_entries(dir, None, last.as_ref(), disk)?;
        }
        Ok(())
    }

    /// The log was cut to `offset`; `batches` are what is left of this segment.
    ///
    /// # Errors
    /// The disk's.
    pub fn cut(
        &mut self,
        dir: &str,
        offset: Offset,
        batches: &[BatchMetadata],
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        self.set_batches(batches);
        self.indexes
            .truncate_to(offset, batches.iter().map(indexed));
        if self.index_files.is_some() {
            let (offsets, times) = (self.indexes.offsets().size(), self.indexes.times().size());
            let files = self.index_files(dir, disk)?;
            disk.truncate(files.offsets, offsets as u64)?;
            disk.truncate(files.times, times as u64)?;
        }
        Ok(())
    }

    /// Takes over the batches that loading has found. Indexes that are missing, malformed or at odds with
    /// them are built anew, and in any case those of a segment that was `recovered` (`LogSegment.recover`).
    ///
    /// # Errors
    /// The disk's.
    pub fn load(
        &mut self,
        dir: &str,
        batches: &[BatchMetadata],
        recovered: bool,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        self.set_batches(batches);
        let paths = INDEX_SUFFIXES.map(|suffix| Segment::path(dir, self.base_offset, suffix));
        let there = paths.iter().filter(|path| disk.exists(path)).count();
        if there == 0 && batches.is_empty() {
            return Ok(());
        }
        let files = self.index_files(dir, disk)?;
        let read = |file| disk.read(file, 0, disk.len(file));
        let (offset_bytes, time_bytes) = (read(files.offsets)?, read(files.times)?);
        let usable = Some(())
            .filter(|()| there == paths.len() && !recovered)
            .and_then(|()| self.parse(&offset_bytes, &time_bytes, batches));
        self.indexes = usable.unwrap_or_else(|| {
            let batches = batches.iter().map(indexed);
            SegmentIndexes::rebuild(self.base_offset, batches, DEFAULT_INTERVAL_BYTES)
        });
        replace(
            files.offsets,
            &offset_bytes,
            &self.indexes.offsets().to_bytes(),
            disk,
        )?;
        replace(
            files.times,
            &time_bytes,
            &self.indexes.times().to_bytes(),
            disk,
        )?;
        Ok(())
    }

    /// The indexes that two files hold, where they are well-formed and agree with the batches.
    fn parse(
        &self,
        offset_bytes: &[u8],
        time_bytes: &[u8],
        batches: &[BatchMetadata],
    ) -> Option<SegmentIndexes> {
        let offsets = OffsetIndex::parse(offset_bytes, self.base_offset, true).ok()?;
        let times = TimeIndex::parse(time_bytes, self.base_offset, true).ok()?;
        let ends_at = |offset: Offset| {
            let at = batches.partition_point(|b| b.last_offset < offset);
            batches.get(at).filter(|b| b.last_offset == offset)
        };
        let sound = offsets
            .entries()
            .iter()
            .all(|entry| ends_at(entry.offset).is_some_and(|b| b.position == entry.position))
            && (times.entries().iter()).all(|entry| {
                ends_at(entry.offset).is_some_and(|b| b.max_timestamp == entry.timestamp)
            });
        let mut indexes = SegmentIndexes::loaded(offsets, times);
        indexes.truncate_to(Offset::MAX, batches.iter().map(indexed));
        sound.then_some(indexes)
    }

    fn set_batches(&mut self, batches: &[BatchMetadata]) {
        self.size = batches.iter().map(|batch| u64::from(batch.size)).sum();
        self.first_timestamp = batches.first().map(|batch| batch.max_timestamp);
    }

    /// Largest timestamp of its batches, -1 where none has one.
    pub fn max_timestamp(&self) -> i64 {
        self.indexes.max_timestamp().timestamp
    }

    /// Largest timestamp of its first batch (`getFirstBatchTimestamp`), `None` without batches.
    pub fn first_timestamp(&self) -> Option<i64> {
        self.first_timestamp
    }

    /// Starts the syncs of `LogSegment.flush`; answers how many.
    pub fn sync(&mut self, disk: &mut dyn Disk, token: SyncToken) -> usize {
        disk.sync(self.file, token);
        let Some(files) = self.index_files.as_mut().filter(|files| files.dirty) else {
            return 1;
        };
        files.dirty = false;
        disk.sync(files.offsets, token);
        disk.sync(files.times, token);
        3
    }

    /// Takes the segment's files out of the log (`changeFileSuffixes("", ".deleted")`).
    ///
    /// # Errors
    /// The disk's.
    pub fn rename_to_deleted(
        &self,
        dir: &str,
        disk: &mut dyn Disk,
    ) -> Result<DeletedSegment, DiskError> {
        let mut deleted = DeletedSegment {
            paths: Vec::new(),
            files: vec![self.file],
        };
        if let Some(files) = self.index_files {
            deleted.files.extend([files.offsets, files.times]);
        }
        let suffixes = [".log", INDEX_SUFFIXES[0], INDEX_SUFFIXES[1]];
        for suffix in &suffixes[..deleted.files.len()] {
            let path = Segment::path(dir, self.base_offset, suffix);
            let renamed = format!("{path}{DELETED_SUFFIX}");
            disk.rename(&path, &renamed)?;
            deleted.paths.push(renamed);
        }
        Ok(deleted)
    }

    /// `LogSegment.shouldRoll`: whether `arriving` belongs into a new segment.
    pub fn should_roll(&self, config: &TopicConfig, arriving: Arriving, now_ms: i64) -> bool {
        let max_bytes = u64::from(config.segment_bytes.unsigned_abs());
        self.size + arriving.bytes > max_bytes
            || !self.can_hold_offset(arriving.last_offset)
            || (self
                .indexes
                .is_full(config.segment_index_bytes.unsigned_abs() as usize))
            || (self.size > 0
                && self.waited_for_roll(arriving.max_timestamp, now_ms) > config.max_segment_ms())
    }

    /// `timeWaitedForRoll`: by timestamps where the first batch has one, else by the clock.
    fn waited_for_roll(&self, max_timestamp: i64, now_ms: i64) -> i64 {
        match self.first_timestamp {
            Some(first) if first >= 0 => max_timestamp.saturating_sub(first),
            _ => now_ms.saturating_sub(self.created_ms),
        }
    }

    /// A segment holds offsets up to 2^31 - 1 behind its own (`canConvertToRelativeOffset`).
    pub fn can_hold_offset(&self, offset: Offset) -> bool {
        (0..=i64::from(i32::MAX)).contains(&offset.wrapping_sub(self.base_offset))
    }
}

/// What `{offset:020}` gives (`LogFileUtils.filenamePrefixFromOffset`). Formatting writes each zero on its
/// own, and a broker that starts names many files.
fn twenty_digits(offset: Offset) -> [u8; 20] {
    let mut digits = [b'0'; 20];
    let mut rest = offset.unsigned_abs();
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if offset < 0 {
        digits[0] = b'-';
    }
    digits
}

fn indexed(batch: &BatchMetadata) -> IndexedBatch {
    IndexedBatch {
        last_offset: batch.last_offset,
        max_timestamp: batch.max_timestamp,
        position: batch.position,
        size: batch.size,
    }
}

/// Gives a file these bytes where it has others.
fn replace(file: FileId, old: &[u8], new: &[u8], disk: &mut dyn Disk) -> Result<(), DiskError> {
    if old == new {
        return Ok(());
    }
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    disk.truncate(file, same as u64)?;
    if new.len() > same {
        disk.append(file, &new[same..])?;
    }
    Ok(())
}

/// The files of a removed segment: renamed, still open, to be deleted after `file.delete.delay.ms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedSegment {
    /// Their paths.
    pub paths: Vec<String>,
    /// Their open handles.
    pub files: Vec<FileId>,
}

impl DeletedSegment {
    /// Deletes the files for good. Files that are gone already are passed over.
    ///
    /// # Errors
    /// The disk's.
    pub fn delete(self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        for path in &self.paths {
            match disk.delete(path) {
                Ok(()) | Err(DiskError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        for file in self.files {
            disk.close(file);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segments_files_are_named_by_twenty_digits() {
        for offset in [0, 7, 1_234_567, Offset::MAX, -1, Offset::MIN] {
            let expected = format!("t-0/{offset:020}.log");
            assert_eq!(Segment::path("t-0", offset, ".log"), expected);
        }
    }
}
