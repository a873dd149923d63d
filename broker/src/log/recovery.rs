//! Loading a log: Kafka's `LogLoader` and `LogSegment.recover`.
//!
//! After an unclean end every batch from the segment on that holds the recovery point is checked, and
//! the log ends at the first one that is not valid: a hole of zeros, a torn batch, garbage. Older
//! segments, and all of them after a clean end, are taken as they are.
//!
//! Zeros in an active segment despite the clean marker end the start, as they end Kafka's.
//!
//! What differs from Kafka: another end of an active segment that is no whole batch is recovered despite
//! the clean marker as after an unclean end, where Kafka would append behind it. In an older segment Kafka
//! notices garbage when somebody reads there; here too ([`ReadError::Corrupt`](crate::log::ReadError)),
//! but for a batch with sound lengths and offsets. Valid batches whose offsets go back are cut off as
//! invalid (Kafka notices only some of them, through its index, and then empties the segment).
//! `leader-epoch-checkpoint.tmp` is taken instead of the checkpoint where it is whole: in Kafka an append
//! waits until the checkpoint with its epoch is in place, here it does not, so the newer of the two is
//! what Kafka would have.

use crate::bug::Bug;
use crate::disk::{Disk, DiskError, FileId};
use crate::ids::Offset;
use crate::log::batch::{BatchHeader, HEADER_BYTES};
use crate::log::checkpoint::{CheckpointWrite, is_whole, read_text};
use crate::log::epoch::LeaderEpochCache;
use crate::log::partition_log::{BatchMetadata, PartitionLog};
use crate::log::segment::{DELETED_SUFFIX, Segment};
use bytes::Bytes;

/// What is known of a log before it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadFrom {
    /// The broker was shut down in order.
    pub clean: bool,
    /// What `recovery-point-offset-checkpoint` says, 0 where it says nothing.
    pub recovery_point: Offset,
    /// What `log-start-offset-checkpoint` says, 0 where it says nothing.
    pub log_start: Offset,
    /// The wall clock in milliseconds, where the interval of `flush.ms` starts.
    pub now_ms: i64,
    /// A planted bug.
    pub bug: Option<Bug>,
}

/// What loading found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Offset of the next record.
    pub log_end: Offset,
    /// Bytes cut off behind the last valid batch, those of whole segments included.
    pub truncated_bytes: u64,
}

/// Where a batch of any format has its size, and where its magic ends (`Records`).
const SIZE_AT: usize = 8;
const UP_TO_MAGIC_BYTES: u64 = 17;
/// `LegacyRecord.RECORD_OVERHEAD_V0`
const SMALLEST_RECORD_BYTES: i32 = 14;

/// How much of a file is read at once while it is scanned.
const WINDOW_BYTES: u64 = 1 << 20;

/// A file, read from the front in windows.
struct Window<'a> {
    disk: &'a dyn Disk,
    file: FileId,
    file_bytes: u64,
    at: u64,
    bytes: Bytes,
}

impl Window<'_> {
    /// At least `len` bytes at `at`, or what is there of them.
    fn get(&mut self, at: u64, len: u64) -> Result<&[u8], DiskError> {
        let wanted = len.min(self.file_bytes.saturating_sub(at));
        let known = self.at..=self.at + self.bytes.len() as u64;
        if !(known.contains(&at) && known.contains(&(at + wanted))) {
            let len = wanted.max(WINDOW_BYTES).min(self.file_bytes - at);
            // Its memory is what the next window is read into.
            self.bytes = Bytes::new();
            self.bytes = self.disk.read(self.file, at, len)?;
            self.at = at;
        }
        Ok(&self.bytes[(at - self.at) as usize..])
    }
}

/// What a scan of a segment found.
struct Scanned {
    /// Bytes of whole valid batches.
    valid_bytes: u64,
    /// Bytes of the file.
    file_bytes: u64,
}

/// Adds the batches at the start of a segment to `found`, up to the first that is not valid. Without
/// `check_crc` only lengths, format and offsets are looked at. Offsets lie from the segment's own, behind
/// those found before, to below the next segment's.
fn scan(
    segment: &Segment,
    next_base: Option<Offset>,
    check_crc: bool,
    disk: &dyn Disk,
    found: &mut Vec<BatchMetadata>,
) -> Result<Scanned, DiskError> {
    let file_bytes = disk.len(segment.file);
    let mut window = Window {
        disk,
        file: segment.file,
        file_bytes,
        at: 0,
        bytes: Bytes::new(),
    };
    let mut at = 0;
    let before = found.last().map_or(0, |last| last.last_offset + 1);
    let mut next_offset = segment.base_offset.max(before);
    while let Ok(header) = BatchHeader::read(window.get(at, HEADER_BYTES as u64)?) {
        let size = header.size() as u64;
        if at + size > file_bytes
            || header.last_offset_delta < 0
            || header.base_offset < next_offset
            || next_base.is_some_and(|next| header.last_offset() >= next)
            || !segment.can_hold_offset(header.last_offset())
            || (check_crc && header.check_crc(window.get(at, size)?).is_err())
        {
            break;
        }
        let (epoch, prefix) = (
            header.partition_leader_epoch,
            found.last().map_or(0, |last| last.prefix),
        );
        let batch = BatchMetadata::new(&header, header.base_offset, epoch, at, prefix);
        next_offset = batch.last_offset + 1;
        at += size;
        found.push(batch);
    }
    Ok(Scanned {
        valid_bytes: at,
        file_bytes,
    })
}

/// Where the log end is read off an active segment that is not recovered, a size below that of any batch is
/// an error that ends the start of a broker (`LogSegment.readNextOffset`, `FileLogInputStream.nextBatch`:
/// `CorruptRecordException`).
fn refuse_no_batch(segment: &Segment, at: u64, disk: &dyn Disk) -> Result<(), DiskError> {
    if disk.len(segment.file) - at < UP_TO_MAGIC_BYTES {
        return Ok(());
    }
    let start = disk.read(segment.file, at, UP_TO_MAGIC_BYTES)?;
    let mut size = [0; 4];
    size.copy_from_slice(&start[SIZE_AT..SIZE_AT + 4]);
    match i32::from_be_bytes(size) < SMALLEST_RECORD_BYTES {
        true => Err(DiskError::Io),
        false => Ok(()),
    }
}

/// Opens the segments of a partition, oldest first, and clears away what a crash left of deleted ones and
/// indexes without a log.
/// A log without segments begins with an empty one at `log_start`.
fn open_segments(
    dir: &str,
    log_start: Offset,
    now_ms: i64,
    disk: &mut dyn Disk,
) -> Result<Vec<Segment>, DiskError> {
    crate::log::cleaner::swap::complete(dir, disk)?;
    let prefix = format!("{dir}/");
    let (mut base_offsets, mut indexes) = (Vec::new(), Vec::new());
    for path in disk.list(&prefix) {
        let Some((stem, suffix)) = path[prefix.len()..].split_once('.') else {
            continue;
        };
        let base_offset = stem.parse::<Offset>().ok().filter(|&offset| offset >= 0);
        match (base_offset, suffix) {
            (Some(base_offset), "log") => base_offsets.push(base_offset),
            (Some(base_offset), "index" | "timeindex") => indexes.push((base_offset, path)),
            _ if path.ends_with(DELETED_SUFFIX) => disk.delete(&path)?,
            _ => {}
        }
    }
    for (base_offset, path) in indexes {
        if !base_offsets.contains(&base_offset) {
            disk.delete(&path)?;
        }
    }
    base_offsets.sort();
    if base_offsets.is_empty() {
        return Ok(vec![Segment::create(dir, log_start, now_ms, disk)?]);
    }
    base_offsets
        .into_iter()
        .map(|base_offset| {
            let file = disk.open(&PartitionLog::file_name(dir, base_offset))?;
            Ok(Segment::new(base_offset, file, now_ms))
        })
        .collect()
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
    /// Loads the log in `dir` (`topic-partition`), or creates it. The high watermark is the log start
    /// until the caller sets it from its checkpoint.
    ///
    /// # Errors
    /// The disk's; `Io` also for a malformed leader-epoch checkpoint, at which Kafka takes the log
    /// directory offline, and after a clean end for an active segment that holds zeros.
    pub fn open(
        dir: &str,
        disk: &mut dyn Disk,
        from: LoadFrom,
    ) -> Result<(PartitionLog, Recovery), DiskError> {
        let recovery_point = from.recovery_point.max(0);
        let segments = open_segments(dir, from.log_start.max(0), from.now_ms, disk)?;
        let mut log = PartitionLog::of_segments(dir, segments);
        log.last_flush_ms = from.now_ms;
        log.bug = from.bug;
        if from.bug == Some(Bug::EpochCheckpointWithoutSync) {
            log.epoch_checkpoint.forget_first_sync();
        }
        let (epochs, unfinished) = read_epochs(dir, disk)?;
        log.epochs = epochs;
        log.epochs_changed = unfinished;

        let (truncated_bytes, recovered_from) =
            log.load_segments(from.clean, recovery_point, disk)?;
        log.log_start = log.segments[0].base_offset.max(from.log_start);
        log.log_end = match log.batches.last() {
            Some(last) => log.active().base_offset.max(last.last_offset + 1),
            None => log.active().base_offset,
        };
        if log.log_end < log.log_start {
            // `deleteSegmentsIfLogStartGreaterThanLogEnd`
            log.truncate_fully_and_start_at(log.log_start, disk)?;
        }
        log.high_watermark = log.log_start;
        log.recovery_point = match recovered_from {
            None => log.log_end,
            Some(_) => recovery_point.min(log.log_end),
        };
        log.epochs_changed |= log.epochs.truncate_from_end(log.log_end);
        log.epochs_changed |= log.epochs.truncate_from_start(log.log_start);
        log.load_producers(from.clean, recovered_from, disk)?;
        let log_end = log.log_end;
        let recovery = Recovery {
            log_end,
            truncated_bytes,
        };
        Ok((log, recovery))
    }

    /// Finds the batches of all segments, and recovers those from the recovery point on after an
    /// unclean end: each is cut at its first batch that is not valid, and what follows such a cut is
    /// removed (`LogLoader.recoverLog`). Answers how many bytes went, and from where on the log was
    /// recovered, if it was.
    fn load_segments(
        &mut self,
        clean: bool,
        recovery_point: Offset,
        disk: &mut dyn Disk,
    ) -> Result<(u64, Option<Offset>), DiskError> {
        let unflushed = self.segment_of(recovery_point).base_offset;
        let mut recovered_from = (!clean).then_some(unflushed);
        let mut truncated_bytes = 0;
        let check_crc = self.bug != Some(Bug::RecoveryTrustsTail);
        let mut index = 0;
        while let Some(segment) = self.segments.get(index) {
            let next_base = self.segments.get(index + 1).map(|next| next.base_offset);
            let mut recover = !clean && segment.base_offset >= unflushed;
            let known = self.batches.len();
            let mut scanned = scan(
                segment,
                next_base,
                recover && check_crc,
                disk,
                &mut self.batches,
            )?;
            if next_base.is_none() && !recover && scanned.valid_bytes < scanned.file_bytes {
                refuse_no_batch(segment, scanned.valid_bytes, disk)?;
                recover = true;
                recovered_from.get_or_insert(segment.base_offset);
                self.batches.truncate(known);
                scanned = scan(segment, next_base, check_crc, disk, &mut self.batches)?;
            }
            let invalid_bytes = scanned.file_bytes - scanned.valid_bytes;
            let segment = &mut self.segments[index];
            if recover && invalid_bytes > 0 {
                disk.truncate(segment.file, scanned.valid_bytes)?;
                truncated_bytes += invalid_bytes;
            } else if invalid_bytes > 0 {
                segment.corrupt_at = Some(scanned.valid_bytes);
            }
            segment.load(&self.dir, &self.batches[known..], recover, disk)?;
            if recover {
                self.assign_epochs_of_batches(known);
            }
            if recover && invalid_bytes > 0 {
                truncated_bytes += self.remove_segments_behind(index, disk)?;
            }
            index += 1;
        }
        Ok((truncated_bytes, recovered_from))
    }

    /// Removes the segments behind the one at `index`; answers how many bytes they held.
    fn remove_segments_behind(
        &mut self,
        index: usize,
        disk: &mut dyn Disk,
    ) -> Result<u64, DiskError> {
        let mut bytes = 0;
        while self.segments.len() > index + 1 {
            bytes += disk.len(self.active().file);
            let removed = self.active().rename_to_deleted(&self.dir, disk)?;
            self.deleted.push(removed);
            self.segments.pop();
        }
        Ok(bytes)
    }

    /// Adds the epochs that the checkpoint lacks: only those above its latest (`LogSegment.recover`).
    fn assign_epochs_of_batches(&mut self, from: usize) {
        for batch in &self.batches[from..] {
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
