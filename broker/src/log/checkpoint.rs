//! Kafka's checkpoint files (`CheckpointFile`, version 0) and their atomic replacement.
//!
//! A text is a version line, a line with the number of entries, then one entry a line. A file is
//! replaced by writing `X.tmp`, syncing it, renaming it to `X` and syncing the directory
//! (`Utils.atomicMoveWithFallback`; leaving out the first sync was KAFKA-16541). In Kafka the writing
//! thread waits for both syncs; here they complete later, so [`CheckpointWrite`] is a state machine,
//! and a write that comes meanwhile replaces the one that waits.

use crate::disk::{Disk, DiskError};
use crate::env::SyncToken;
use crate::ids::Offset;

/// File of the high watermarks of all partitions, in the log directory.
pub const REPLICATION_OFFSET_CHECKPOINT: &str = "replication-offset-checkpoint";
/// File of the recovery points of all partitions, in the log directory.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// File of the log starts that no segment begins with, in the log directory.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";

const VERSION: &str = "0";

/// A checkpoint file is not what Kafka writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("checkpoint line {line} is malformed: {text:?}")]
pub struct MalformedCheckpoint {
    /// Counted from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

impl MalformedCheckpoint {
    pub(super) fn line(line: usize, text: &str) -> MalformedCheckpoint {
        MalformedCheckpoint {
            line,
            text: text.to_owned(),
        }
    }
}

/// Writes a checkpoint's text from its entries.
pub(super) fn checkpoint_text<T>(
    entries: impl ExactSizeIterator<Item = T>,
    mut put: impl FnMut(T, &mut String),
) -> String {
    let mut text = format!("{VERSION}\n{}\n", entries.len());
    for entry in entries {
        put(entry, &mut text);
        text.push('\n');
    }
    text
}

/// The entry lines of a checkpoint with their numbers. A text without version or without count is
/// empty, as in `CheckpointReadBuffer.read`.
pub(super) fn checkpoint_lines(
    text: &str,
) -> Result<impl Iterator<Item = (usize, &str)>, MalformedCheckpoint> {
    let mut lines = text.lines();
    if let Some(version) = lines.next()
        && version != VERSION
    {
        return Err(MalformedCheckpoint::line(1, version));
    }
    if let Some(count) = lines.next() {
        let expected: Option<usize> = count.parse().ok();
        if expected != Some(lines.clone().count()) {
            return Err(MalformedCheckpoint::line(2, count));
        }
    }
    Ok(lines.enumerate().map(|(index, line)| (index + 3, line)))
}

/// Whether the text is a whole checkpoint with its last line ended, and not only a beginning that
/// Kafka's reader would take for an empty one.
pub(super) fn is_whole(text: &str) -> bool {
    text.ends_with('\n') && text.lines().count() >= 2 && checkpoint_lines(text).is_ok()
}

/// One line of an offset checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the three fields of Kafka's file
pub struct OffsetEntry {
    pub topic: String,
    pub partition: i32,
    pub offset: Offset,
}

/// Text of [`REPLICATION_OFFSET_CHECKPOINT`], [`RECOVERY_POINT_CHECKPOINT`] or [`LOG_START_CHECKPOINT`]
/// (`OffsetCheckpointFile`): `topic partition offset` a line.
pub fn offset_checkpoint_text<'a>(
    entries: impl ExactSizeIterator<Item = (&'a str, i32, Offset)>,
) -> String {
    use std::fmt::Write;
    checkpoint_text(entries, |(topic, partition, offset), out| {
        write!(out, "{topic} {partition} {offset}").expect("writes to a string");
    })
}

/// Reads such a text.
///
/// # Errors
/// Where it is not a checkpoint of version 0. Kafka then takes the log directory offline
/// (`CheckpointFileWithFailureHandler`).
pub fn parse_offset_checkpoint(text: &str) -> Result<Vec<OffsetEntry>, MalformedCheckpoint> {
    let mut entries = Vec::new();
    for (number, line) in checkpoint_lines(text)? {
        let malformed = || MalformedCheckpoint::line(number, line);
        let mut fields = line.split_whitespace();
        let (Some(topic), Some(partition), Some(offset), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(malformed());
        };
        entries.push(OffsetEntry {
            topic: topic.to_owned(),
            partition: partition.parse().map_err(|_| malformed())?,
            offset: offset.parse().map_err(|_| malformed())?,
        });
    }
    Ok(entries)
}

/// A whole small file as text, `None` where no such file is. Bytes that are no text are replaced,
/// so that reading them as a checkpoint fails.
///
/// # Errors
/// The disk's.
pub fn read_text(disk: &mut dyn Disk, path: &str) -> Result<Option<String>, DiskError> {
    if !disk.exists(path) {
        return Ok(None);
    }
    let file = disk.open(path)?;
    let bytes = disk.read(file, 0, disk.len(file))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What a completed sync led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointProgress {
    /// Another sync was started with the same token: it will come back once more.
    Again,
    /// The file is replaced, durably, and nothing waits.
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Idle,
    SyncingFile(SyncToken),
    SyncingDirectory(SyncToken),
}

/// Replaces one checkpoint file, again and again.
#[derive(Debug, Clone)]
pub struct CheckpointWrite {
    path: String,
    stage: Stage,
    /// The newest text that came while another was being written.
    waiting: Option<String>,
    /// The bytes are synced before the file takes its name; a planted bug forgets that.
    syncs_bytes: bool,
}

impl CheckpointWrite {
    /// For the file at `path`. Nothing is touched yet.
    pub fn new(path: impl Into<String>) -> CheckpointWrite {
        CheckpointWrite {
            path: path.into(),
            stage: Stage::Idle,
            waiting: None,
            syncs_bytes: true,
        }
    }

    /// From now on the file takes its name without its bytes being synced
    /// ([`Bug::EpochCheckpointWithoutSync`](crate::bug::Bug::EpochCheckpointWithoutSync)).
    pub(super) fn forget_first_sync(&mut self) {
        self.syncs_bytes = false;
    }

    /// The file that is replaced.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the text goes first.
    pub fn temporary_path(path: &str) -> String {
        [path, ".tmp"].concat()
    }

    /// Whether a write is under way.
    pub fn is_busy(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// Writes `text` to the temporary file and starts its sync with `token`; true then. While another
    /// write is under way the text waits for it instead, in place of any that waited before: false,
    /// and `token` stays unused, since the running write's token serves both.
    ///
    /// # Errors
    /// The disk's; no write is under way then, and the file itself is as it was.
    pub fn begin(
        &mut self,
        disk: &mut dyn Disk,
        text: String,
        token: SyncToken,
    ) -> Result<bool, DiskError> {
        if self.is_busy() {
            self.waiting = Some(text);
            return Ok(false);
        }
        self.start(disk, &text, token)?;
        Ok(true)
    }

    fn start(
        &mut self,
        disk: &mut dyn Disk,
        text: &str,
        token: SyncToken,
    ) -> Result<(), DiskError> {
        let file = disk.open(&CheckpointWrite::temporary_path(&self.path))?;
        disk.truncate(file, 0)?;
        disk.append(file, text.as_bytes())?;
        if !self.syncs_bytes {
            return self.replace(disk, token);
        }
        disk.sync(file, token);
        self.stage = Stage::SyncingFile(token);
        Ok(())
    }

    /// The temporary file takes the name.
    fn replace(&mut self, disk: &mut dyn Disk, token: SyncToken) -> Result<(), DiskError> {
        disk.rename(&CheckpointWrite::temporary_path(&self.path), &self.path)?;
        let dir = self.path.rsplit_once('/').map_or("", |(dir, _)| dir);
        disk.sync_dir(dir, token);
        self.stage = Stage::SyncingDirectory(token);
        Ok(())
    }

    /// Takes the completion of the sync that is under way: renames, syncs the directory, goes on with
    /// the text that waits.
    ///
    /// # Errors
    /// The sync's or the disk's. No write is under way then; Kafka takes the log directory offline.
    ///
    /// # Panics
    /// Where no sync is under way.
    pub fn synced(
        &mut self,
        disk: &mut dyn Disk,
        result: Result<(), DiskError>,
    ) -> Result<CheckpointProgress, DiskError> {
        let progress = result.and_then(|()| self.advance(disk));
        if progress.is_err() {
            self.stage = Stage::Idle;
            self.waiting = None;
        }
        progress
    }

    fn advance(&mut self, disk: &mut dyn Disk) -> Result<CheckpointProgress, DiskError> {
        match self.stage {
            Stage::Idle => panic!("{}: a sync completed that nobody started", self.path),
            Stage::SyncingFile(token) => {
                self.replace(disk, token)?;
                Ok(CheckpointProgress::Again)
            }
            Stage::SyncingDirectory(token) => {
                self.stage = Stage::Idle;
                let Some(text) = self.waiting.take() else {
                    return Ok(CheckpointProgress::Done);
                };
                self.start(disk, &text, token)?;
                Ok(CheckpointProgress::Again)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory_disk::MemoryDisk;

    const TOKEN: SyncToken = SyncToken(7);

    fn text_of(disk: &mut MemoryDisk, path: &str) -> Option<String> {
        read_text(disk, path).unwrap()
    }

    #[test]
    fn offset_checkpoint_round_trips_in_kafkas_format() {
        let entries = [("a", 0, 5), ("b-c", 12, 0)];
        let text = offset_checkpoint_text(entries.into_iter());
        assert_eq!(text, "0\n2\na 0 5\nb-c 12 0\n");
        let read = parse_offset_checkpoint(&text).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read[1].topic.as_str(), read[1].partition), ("b-c", 12));
        assert!(
            parse_offset_checkpoint("0\n2\na 0 5\n").is_err(),
            "a line is missing"
        );
        assert!(
            parse_offset_checkpoint("\0\0\0").is_err(),
            "a hole of zeros"
        );
        assert!(parse_offset_checkpoint("0\n1\na 0\n").is_err());
    }

    #[test]
    fn file_is_replaced_only_after_its_sync() {
        let mut disk = MemoryDisk::default();
        let mut write = CheckpointWrite::new("dir/x");
        assert!(write.begin(&mut disk, "one".into(), TOKEN).unwrap());
        assert_eq!(text_of(&mut disk, "dir/x"), None);
        assert_eq!(
            write.synced(&mut disk, Ok(())),
            Ok(CheckpointProgress::Again)
        );
        assert_eq!(text_of(&mut disk, "dir/x").as_deref(), Some("one"));
        assert!(write.is_busy(), "the name is not durable yet");
        assert_eq!(disk.synced_dirs, ["dir"]);
        assert_eq!(
            write.synced(&mut disk, Ok(())),
            Ok(CheckpointProgress::Done)
        );
        assert_eq!(disk.syncs, [TOKEN, TOKEN]);
    }

    #[test]
    fn a_newer_text_replaces_the_waiting_one() {
        let mut disk = MemoryDisk::default();
        let mut write = CheckpointWrite::new("x");
        write.begin(&mut disk, "one".into(), TOKEN).unwrap();
        assert!(!write.begin(&mut disk, "two".into(), SyncToken(8)).unwrap());
        assert!(
            !write
                .begin(&mut disk, "three".into(), SyncToken(9))
                .unwrap()
        );
        let mut steps = 0;
        while write.synced(&mut disk, Ok(())).unwrap() == CheckpointProgress::Again {
            steps += 1;
        }
        assert_eq!(steps, 3);
        assert_eq!(text_of(&mut disk, "x").as_deref(), Some("three"));
        assert_eq!(disk.syncs, [TOKEN; 4], "only the first token is ever used");
    }

    #[test]
    fn a_failed_sync_leaves_the_old_file() {
        let mut disk = MemoryDisk::default();
        let mut write = CheckpointWrite::new("x");
        write.begin(&mut disk, "one".into(), TOKEN).unwrap();
        while write.synced(&mut disk, Ok(())).unwrap() == CheckpointProgress::Again {}
        write.begin(&mut disk, "two".into(), TOKEN).unwrap();
        assert_eq!(
            write.synced(&mut disk, Err(DiskError::Io)),
            Err(DiskError::Io)
        );
        assert!(!write.is_busy());
        assert_eq!(text_of(&mut disk, "x").as_deref(), Some("one"));
    }
}
