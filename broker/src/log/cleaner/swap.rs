//! A cleaned segment takes the place of others, and what a crash left of that is completed or undone
//! (`LocalLog.replaceSegments`, `LogLoader.load`).
//!
//! The new files are written as `.cleaned` and synced, then renamed to `.swap`; from then on the swap
//! is completed by whoever loads the log. The old files are renamed to `.deleted`, then the new ones
//! lose their suffix, and the directory is synced.

use crate::disk::{Disk, DiskError, FileId};
use crate::ids::Offset;
use crate::log::batch::{BatchHeader, HEADER_BYTES};
use crate::log::partition_log::{BatchMetadata, PartitionLog};
use crate::log::segment::Segment;

/// Suffix of files that are being written by a cleaning (`LogFileUtils.CLEANED_FILE_SUFFIX`).
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// Suffix of files that are about to replace others (`LogFileUtils.SWAP_FILE_SUFFIX`).
pub const SWAP_SUFFIX: &str = ".swap";

/// The files of a segment.
pub(super) const FILES: [&str; 3] = [".log", ".index", ".timeindex"];

pub(super) fn path(dir: &str, base_offset: Offset, file: &str, suffix: &str) -> String {
    format!("{}{suffix}", Segment::path(dir, base_offset, file))
}

/// Deletes what a cleaning has written so far.
pub(super) fn remove_cleaned(dir: &str, disk: &mut dyn Disk) -> Result<(), DiskError> {
    for path in disk.list(&format!("{dir}/")) {
        if path.ends_with(CLEANED_SUFFIX) {
            disk.delete(&path)?;
        }
    }
    Ok(())
}

impl PartitionLog {
    /// Puts a segment that was written as `.cleaned` in the place of those at `bases`.
    ///
    /// # Errors
    /// The disk's; the log directory is to be taken offline then, since half of it may have happened.
    pub(super) fn replace_segments(
        &mut self,
        bases: &[Offset],
        base_offset: Offset,
        file: FileId,
        batches: Vec<BatchMetadata>,
        now_ms: i64,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        let at = self
            .segments
            .partition_point(|segment| segment.base_offset < bases[0]);
        let behind = at + bases.len();
        let replaced = self.batches_of_segment(at).start..self.batches_of_segment(behind - 1).end;
        for kind in FILES {
            let cleaned = path(&self.dir, base_offset, kind, CLEANED_SUFFIX);
            disk.rename(&cleaned, &path(&self.dir, base_offset, kind, SWAP_SUFFIX))?;
        }
        for segment in &self.segments[at..behind] {
            let removed = segment.rename_to_deleted(&self.dir, disk)?;
            self.deleted.push(removed);
        }
        for kind in FILES {
            let swap = path(&self.dir, base_offset, kind, SWAP_SUFFIX);
            disk.rename(&swap, &Segment::path(&self.dir, base_offset, kind))?;
        }
        let mut segment = Segment::new(base_offset, file, now_ms);
        segment.load(&self.dir, &batches, false, disk)?;
        self.segments.splice(at..behind, [segment]);
        self.batches.splice(replaced, batches);
        // `deleteProducerSnapshots`
        let gone = |offset| offset != base_offset && bases.contains(&offset);
        self.remove_snapshots(gone, disk)
    }
}

/// Before a log is loaded: deletes what was being written, and completes a swap that was begun.
///
/// # Errors
/// The disk's.
pub fn complete(dir: &str, disk: &mut dyn Disk) -> Result<(), DiskError> {
    let prefix = format!("{dir}/");
    let offset_of = |path: &str| path[prefix.len()..].get(..20)?.parse::<Offset>().ok();
    let paths = disk.list(&prefix);
    let with = |suffix: &'static str| paths.iter().filter(move |path| path.ends_with(suffix));
    let first_cleaned = with(CLEANED_SUFFIX)
        .filter_map(|path| offset_of(path))
        .min();
    let mut swapped = Vec::new();
    for path in with(SWAP_SUFFIX) {
        // Of a segment not all files were renamed.
        let unfinished = first_cleaned.is_some_and(|first| offset_of(path) >= Some(first));
        if unfinished {
            disk.delete(path)?;
        } else {
            swapped.push(path);
        }
    }
    for path in with(CLEANED_SUFFIX) {
        disk.delete(path)?;
    }
    if swapped.is_empty() {
        return Ok(());
    }
    let mut range: Option<(Offset, Offset)> = None;
    let logs = swapped
        .iter()
        .filter(|path| path.ends_with(&format!("{}{SWAP_SUFFIX}", FILES[0])));
    for path in logs {
        if let Some(base_offset) = offset_of(path) {
            let next = next_offset(path, base_offset, disk)?;
            let (from, to) = range.unwrap_or((base_offset, next));
            range = Some((from.min(base_offset), to.max(next)));
        }
    }
    for path in &paths {
        let replaced = range.is_some_and(|(from, to)| {
            offset_of(path).is_some_and(|offset| (from..to).contains(&offset))
        });
        if replaced && !path.ends_with(SWAP_SUFFIX) && !path.ends_with(CLEANED_SUFFIX) {
            disk.delete(path)?;
        }
    }
    for path in swapped {
        let name = path.strip_suffix(SWAP_SUFFIX).expect("it ends with it");
        disk.rename(path, name)?;
    }
    Ok(())
}

/// Offset behind the last batch of a segment file.
fn next_offset(path: &str, base_offset: Offset, disk: &mut dyn Disk) -> Result<Offset, DiskError> {
    let file = disk.open(path)?;
    let (length, mut at, mut next) = (disk.len(file), 0, base_offset);
    while length - at >= HEADER_BYTES as u64 {
        let Ok(header) = BatchHeader::read(&disk.read(file, at, HEADER_BYTES as u64)?) else {
            break;
        };
        if at + header.size() as u64 > length {
            break;
        }
        next = header.last_offset() + 1;
        at += header.size() as u64;
    }
    disk.close(file);
    Ok(next)
}
