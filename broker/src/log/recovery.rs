//! Loading a log: Kafka's `LogLoader` and `LogSegment.recover`.
//!
//! After an unclean end every batch of the active segment is checked, and the file is cut at the
//! first one that is not valid: a hole of zeros, a torn batch, garbage. Kafka recovers whole
//! segments, from the one that holds the recovery point on; with one segment that is always the
//! whole file, so what is below the recovery point is checked too. After a clean end nothing is
//! checked.
//!
//! What differs from Kafka: a file that does not consist of whole batches despite the clean marker
//! is recovered as after an unclean end, where Kafka would fail to start or append behind the garbage.
//! Valid batches whose offsets go back are cut off as invalid (Kafka notices only some of them,
//! through its index, and then empties the segment). `leader-epoch-checkpoint.tmp` is taken
//! instead of the checkpoint where it is whole: in Kafka an append waits until the checkpoint with
//! its epoch is in place, here it does not, so the newer of the two is what Kafka would have.

use crate::disk::{Disk, DiskError, FileId};
use crate::ids::Offset;
use crate::log::batch::BatchHeader;
use crate::log::checkpoint::{CheckpointWrite, is_whole, read_text};
use crate::log::epoch::LeaderEpochCache;
use crate::log::partition_log::{BatchMetadata, PartitionLog};

/// What loading found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Offset of the next record.
    pub log_end: Offset,
    /// Bytes cut off behind the last valid batch.
    pub truncated_bytes: u64,
}

/// The batches at the start of `bytes`, up to the first that is not valid. Without `check_crc` only
/// lengths, format and offsets are looked at.
fn scan(bytes: &[u8], base_offset: Offset, check_crc: bool) -> Vec<BatchMetadata> {
    let mut found: Vec<BatchMetadata> = Vec::new();
    let mut at = 0;
    let mut next_offset = base_offset;
    while let Ok(Some(header)) = BatchHeader::next(&bytes[at..]) {
        if check_crc && header.check_crc(&bytes[at..]).is_err() {
            break;
        }
        let relative_last = header.last_offset().wrapping_sub(base_offset);
        if header.last_offset_delta < 0
            || header.base_offset < next_offset
            || !(0..=i64::from(i32::MAX)).contains(&relative_last)
        {
            break;
        }
        let epoch = header.partition_leader_epoch;
        let batch = BatchMetadata::new(
            &header,
            header.base_offset,
            epoch,
            at as u64,
            found.last().map_or(0, |last| last.prefix),
        );
        next_offset = batch.last_offset + 1;
        at += header.size();
        found.push(batch);
    }
    found
}

fn end_of(batches: &[BatchMetadata]) -> u64 {
    batches
        .last()
        .map_or(0, |last| last.position + u64::from(last.size))
}

/// Opens the partition's segment file. Where a crash left the files of two starts
/// (`truncate_fully_and_start_at`), the later one counts and the other goes.
fn open_segment(dir: &str, disk: &mut dyn Disk) -> Result<(FileId, Offset), DiskError> {
    let prefix = format!("{dir}/");
    let mut segments = Vec::new();
    for path in disk.list(&prefix) {
        let stem = path[prefix.len()..].strip_suffix(".log");
        if let Some(base_offset) = stem.and_then(|stem| stem.parse::<Offset>().ok())
            && base_offset >= 0
        {
            segments.push((base_offset, path));
        }
    }
    segments.sort();
    let latest = segments.pop();
    for (_, superseded) in segments {
        disk.delete(&superseded)?;
    }
    let (base_offset, path) = latest.unwrap_or_else(|| (0, PartitionLog::file_name(dir, 0)));
    Ok((disk.open(&path)?, base_offset))
}

/// The epochs on the disk, and whether they come from a write that was not finished.
fn read_epochs(dir: &str, disk: &mut dyn Disk) -> Result<(LeaderEpochCache, bool), DiskError> {
    let path = format!("{dir}/{}", LeaderEpochCache::FILE);
    let unfinished = read_text(disk, &CheckpointWrite::temporary_path(&path))?;
    if let Some(text) = unfinished.filter(|text| is_whole(text))
        && let Ok(cache) = LeaderEpochCache::from_checkpoint(&text)
    {
        return Ok((cache, true));
    }
    let text = read_text(disk, &path)?.unwrap_or_default();
    let cache = LeaderEpochCache::from_checkpoint(&text).map_err(|_| DiskError::Io)?;
    Ok((cache, false))
}

impl PartitionLog {
    /// Loads the log in `dir` (`topic-partition`), or creates it. `clean` says that the broker was
    /// shut down in order, `recovery_point` what it had flushed; `now_ms` starts the interval of
    /// `flush.ms`. The high watermark is the log start until the caller sets it from its checkpoint.
    ///
    /// # Errors
    /// The disk's; `Io` also for a malformed leader-epoch checkpoint, at which Kafka takes the log
    /// directory offline.
    pub fn open(
        dir: &str,
        disk: &mut dyn Disk,
        clean: bool,
        recovery_point: Offset,
        now_ms: i64,
    ) -> Result<(PartitionLog, Recovery), DiskError> {
        let (file, base_offset) = open_segment(dir, disk)?;
        let mut log = PartitionLog::empty(dir, file, base_offset);
        log.last_flush_ms = now_ms;
        let (epochs, unfinished) = read_epochs(dir, disk)?;
        log.epochs = epochs;
        log.epochs_changed = unfinished;

        let length = disk.len(file);
        let bytes = disk.read(file, 0, length)?;
        let mut clean = clean;
        if clean {
            log.batches = scan(&bytes, base_offset, false);
            clean = end_of(&log.batches) == length;
        }
        if !clean {
            log.batches = scan(&bytes, base_offset, true);
            log.assign_epochs_of_batches();
        }
        log.end_position = end_of(&log.batches);
        let truncated_bytes = length - log.end_position;
        if truncated_bytes > 0 {
            disk.truncate(file, log.end_position)?;
        }

        log.log_end = log
            .batches
            .last()
            .map_or(base_offset, |b| b.last_offset + 1);
        log.recovery_point = if clean {
            log.log_end
        } else {
            recovery_point.max(0).min(log.log_end)
        };
        log.epochs_changed |= log.epochs.truncate_from_end(log.log_end);
        log.epochs_changed |= log.epochs.truncate_from_start(log.log_start);
        log.producers.load(log.log_start, log.log_end, &log.batches);
        let log_end = log.log_end;
        let recovery = Recovery {
            log_end,
            truncated_bytes,
        };
        Ok((log, recovery))
    }

    /// Adds the epochs that the checkpoint lacks: only those above its latest (`LogSegment.recover`).
    fn assign_epochs_of_batches(&mut self) {
        for batch in &self.batches {
            let epoch = batch.leader_epoch;
            if epoch >= 0
                && self
                    .epochs
                    .latest_epoch()
                    .is_none_or(|latest| epoch > latest)
            {
                self.epochs_changed |= self.epochs.assign(epoch, batch.base_offset);
            }
        }
    }
}
