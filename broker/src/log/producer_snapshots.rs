//! The snapshots of a log's producers: when one is written, and what is rebuilt from them.
//!
//! Kafka writes one when a segment is rolled, at an orderly shutdown, and behind each loading and
//! truncation, at the log end. The newest sound one at or below the log end is what is known; the
//! batches behind it are read again (`UnifiedLog.rebuildProducerState`). A snapshot holds only the
//! *last* batch of each producer, so that after a restart an older batch is no known duplicate. After a clean
//! end without any snapshot all producers are forgotten.
//!
//! What differs from Kafka: a snapshot of a loading or a truncation is synced by the next flush, not at
//! once; and one that contradicts the log's batches counts as broken. Such a one comes back with the power
//! where it was deleted behind a truncation, and the log has since grown past its offset again.

use crate::disk::{Disk, DiskError, FileId};
use crate::ids::Offset;
use crate::log::partition_log::PartitionLog;
use crate::log::snapshot::{SnapshotEntry, decode_snapshot, encode_snapshot, snapshot_file_name};

/// The snapshot files of one log.
#[derive(Debug, Clone, Default)]
pub(super) struct ProducerSnapshots {
    /// Offsets of those on the disk, ascending.
    offsets: Vec<Offset>,
    /// Those that were written and not synced, still open.
    unsynced: Vec<(Offset, FileId)>,
}

impl PartitionLog {
    /// Writes the producers at the log end, unless the newest snapshot is that
    /// (`ProducerStateManager.takeSnapshot`).
    pub(super) fn take_snapshot(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let newest = self.snapshots.offsets.last();
        if self.log_end <= newest.copied().unwrap_or(self.log_start) {
            return Ok(());
        }
        self.write_snapshot(self.log_end, disk)
    }

    /// Writes what is known of the producers as the newest snapshot.
    fn write_snapshot(&mut self, offset: Offset, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let file = disk.open(&snapshot_file_name(&self.dir, offset))?;
        disk.truncate(file, 0)?;
        disk.append(
            file,
            &encode_snapshot(self.producers.snapshot().into_iter()),
        )?;
        self.snapshots.offsets.push(offset);
        self.snapshots.unsynced.push((offset, file));
        Ok(())
    }

    /// Snapshots that the next flush has to sync.
    pub(super) fn take_unsynced_snapshots(&mut self) -> Vec<(Offset, FileId)> {
        std::mem::take(&mut self.snapshots.unsynced)
    }

    /// Rebuilds the producers of a log that was loaded, after a `clean` end or another. What was recovered
    /// from `recovered_from` on was recovered segment by segment, each with a snapshot behind it, which leaves
    /// the last batches only.
    pub(super) fn load_producers(
        &mut self,
        clean: bool,
        recovered_from: Option<Offset>,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        let prefix = format!("{}/", self.dir);
        for path in disk.list(&prefix) {
            let stem = path[prefix.len()..].strip_suffix(".snapshot");
            if let Some(offset) = stem.and_then(|stem| stem.parse::<Offset>().ok()) {
                self.snapshots.offsets.push(offset);
            }
        }
        self.snapshots.offsets.sort();
        self.remove_stray_snapshots(disk)?;
        if clean && self.snapshots.offsets.is_empty() {
            return self.begin_without_producers(disk);
        }
        let bound = recovered_from.unwrap_or(self.log_end).min(self.log_end);
        self.rebuild_producers(bound, disk)?;
        if recovered_from.is_some() {
            self.producers.keep_last_batches();
        }
        self.take_snapshot(disk)
    }

    /// No batch is read: empty snapshots are taken where the last two segments begin and at the log end
    /// (`UnifiedLog.rebuildProducerState` with `reloadFromCleanShutdown`, meant for the upgrade of a broker
    /// that knew no producers).
    fn begin_without_producers(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.producers.clear();
        let bases: Vec<Offset> = self.segment_base_offsets().collect();
        let last_two = bases.len().saturating_sub(2);
        for &offset in bases[last_two..].iter().chain(&[self.log_end]) {
            if offset > self.snapshots.offsets.last().copied().unwrap_or(0) {
                self.write_snapshot(offset, disk)?;
            }
        }
        Ok(())
    }

    /// Rebuilds the producers after the log was cut.
    pub(super) fn reload_producers(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.rebuild_producers(self.log_end, disk)?;
        self.take_snapshot(disk)
    }

    /// Forgets all producers, and deletes what was written of them.
    pub(super) fn forget_producers(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.producers.clear();
        self.remove_snapshots(|_| true, disk)
    }

    /// Takes the newest sound snapshot that is at most at `bound` and behind the log start, deletes those
    /// that are out of range or broken, and reads the batches behind it.
    fn rebuild_producers(&mut self, bound: Offset, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let log_start = self.log_start;
        self.remove_snapshots(|offset| offset > bound || offset <= log_start, disk)?;
        let mut from = log_start;
        self.producers.clear();
        while let Some(&newest) = self.snapshots.offsets.last() {
            if let Some(entries) = self.read_snapshot(newest, disk)? {
                self.producers.restore(&entries);
                from = newest;
                break;
            }
            self.remove_snapshots(|offset| offset == newest, disk)?;
        }
        let behind = self.batches.partition_point(|b| b.last_offset < from);
        for batch in &self.batches[behind..] {
            self.producers.update(batch);
        }
        Ok(())
    }

    /// Those that no segment begins with, but for the newest behind them all (`removeStraySnapshots`).
    fn remove_stray_snapshots(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let bases: Vec<Offset> = self.segment_base_offsets().collect();
        let newest = self.snapshots.offsets.last().copied();
        let behind = newest.filter(|newest| bases.iter().all(|base| base < newest));
        let stray = |offset: Offset| Some(offset) != behind && !bases.contains(&offset);
        self.remove_snapshots(stray, disk)
    }

    pub(super) fn remove_snapshots(
        &mut self,
        goes: impl Fn(Offset) -> bool,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        let gone = self
            .snapshots
            .offsets
            .extract_if(.., |offset| goes(*offset));
        for offset in gone {
            match disk.delete(&snapshot_file_name(&self.dir, offset)) {
                Ok(()) | Err(DiskError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let unsynced = &mut self.snapshots.unsynced;
        for (_, file) in unsynced.extract_if(.., |(offset, _)| goes(*offset)) {
            disk.close(file);
        }
        Ok(())
    }

    /// A snapshot's entries, `None` where the file is broken: Kafka takes the one before then
    /// (`CorruptSnapshotException`).
    fn read_snapshot(
        &self,
        offset: Offset,
        disk: &mut dyn Disk,
    ) -> Result<Option<Vec<SnapshotEntry>>, DiskError> {
        let file = disk.open(&snapshot_file_name(&self.dir, offset))?;
        let bytes = disk.read(file, 0, disk.len(file))?;
        if !self.snapshots.unsynced.contains(&(offset, file)) {
            disk.close(file);
        }
        let entries = decode_snapshot(&bytes).ok();
        Ok(entries.filter(|entries| self.agrees(offset, entries)))
    }

    /// Whether the last batch of each producer is the one that the log has below that offset; the batches
    /// of some may be gone from its front.
    fn agrees(&self, offset: Offset, entries: &[SnapshotEntry]) -> bool {
        let below = self.batches.partition_point(|b| b.last_offset < offset);
        let batches = &self.batches[..below];
        let front = batches.first().map_or(offset, |first| first.base_offset);
        entries.iter().all(|entry| {
            let last = batches
                .iter()
                .rev()
                .find(|b| b.producer_id == entry.producer_id);
            match last {
                Some(batch) => batch.last_offset == entry.last_offset,
                None => entry.last_offset < front,
            }
        })
    }
}
