//! One segment of a log: Kafka's `LogSegment`, its files, and what is needed to decide when to roll it.

use crate::config::TopicConfig;
use crate::disk::{Disk, DiskError, FileId};
use crate::ids::Offset;
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
    /// Largest timestamp of its first batch (`rollingBasedTimestamp`).
    first_timestamp: Option<i64>,
    /// Largest timestamp of its batches, -1 where none has one.
    pub max_timestamp: i64,
    /// Wall clock in milliseconds when this process opened it.
    created_ms: i64,
    /// Where its bytes stop being batches, although nothing was to be recovered there.
    pub corrupt_at: Option<u64>,
}

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
        format!("{dir}/{base_offset:020}{suffix}")
    }

    /// A segment whose file is open and empty.
    pub fn new(base_offset: Offset, file: FileId, now_ms: i64) -> Segment {
        Segment {
            base_offset,
            file,
            size: 0,
            first_timestamp: None,
            max_timestamp: -1,
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
        let file = disk.open(&Segment::path(dir, base_offset, ".log"))?;
        if disk.len(file) > 0 {
            disk.truncate(file, 0)?;
        }
        Ok(Segment::new(base_offset, file, now_ms))
    }

    /// Takes an appended batch into account.
    pub fn appended(&mut self, batch: &BatchMetadata) {
        self.size += u64::from(batch.size);
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp);
        self.first_timestamp.get_or_insert(batch.max_timestamp);
    }

    /// The same for all of its batches anew, after loading or a truncation.
    pub fn set_batches(&mut self, batches: &[BatchMetadata]) {
        self.size = 0;
        self.max_timestamp = -1;
        self.first_timestamp = None;
        for batch in batches {
            self.appended(batch);
        }
    }

    /// `LogSegment.shouldRoll`: whether `arriving` belongs into a new segment. Index files count by what
    /// they would hold, an entry each `index.interval.bytes`.
    pub fn should_roll(&self, config: &TopicConfig, arriving: Arriving, now_ms: i64) -> bool {
        let max_bytes = u64::from(config.segment_bytes.unsigned_abs());
        self.size + arriving.bytes > max_bytes
            || !self.can_hold_offset(arriving.last_offset)
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
