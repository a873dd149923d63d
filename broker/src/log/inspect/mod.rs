//! Checks a whole log directory: every file that Kafka writes there, each for itself and against the
//! batches.
//!
//! Reads only, and does not repair: what a broker would cut off or rebuild at its start is reported.
//! Of one file the first thing that is wrong is reported.
//!
//! What is NOT checked: files of tiered storage, KRaft snapshots, and what is on its way out or in
//! (`.deleted`, `.cleaned`, `.swap`, `.tmp`).

mod partition;
mod segment;

use crate::disk::{Disk, DiskError};
use crate::ids::Offset;
use crate::log::checkpoint::{
    MalformedCheckpoint, OffsetEntry, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT,
    parse_offset_checkpoint,
};
use crate::log::clean_shutdown::CLEAN_SHUTDOWN_FILE;
use crate::log::malformed::{CorruptFile, Malformed};
use crate::log::meta_properties::{META_PROPERTIES_FILE, MetaProperties};
use bytes::Bytes;
pub use partition::{PartitionReport, SnapshotReport};
pub use segment::SegmentReport;
use std::collections::BTreeMap;

/// File of the log start offsets of all partitions, in the log directory.
const LOG_START_OFFSET_CHECKPOINT: &str = "log-start-offset-checkpoint";

/// Largest batch, decompressed, that is looked into: bytes.
const DECOMPRESSED_MAX: usize = 512 << 20;

/// A log directory that can be read: paths relative to it, `/`-separated.
pub trait Folder {
    /// Every file, in order.
    fn paths(&mut self) -> Vec<String>;
    /// A whole file.
    ///
    /// # Errors
    /// The disk's.
    fn read(&mut self, path: &str) -> Result<Bytes, DiskError>;
}

impl Folder for BTreeMap<String, Bytes> {
    fn paths(&mut self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn read(&mut self, path: &str) -> Result<Bytes, DiskError> {
        self.get(path).cloned().ok_or(DiskError::NotFound)
    }
}

/// The log directory on a disk.
pub struct DiskFolder<'a>(pub &'a mut dyn Disk);

impl Folder for DiskFolder<'_> {
    fn paths(&mut self) -> Vec<String> {
        self.0.list("")
    }

    fn read(&mut self, path: &str) -> Result<Bytes, DiskError> {
        let file = self.0.open(path)?;
        let bytes = self.0.read(file, 0, self.0.len(file));
        self.0.close(file);
        bytes
    }
}

/// What a log directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderReport {
    /// To which node it belongs; `None` where the file is missing or corrupt.
    pub meta: Option<MetaProperties>,
    /// The marker of an orderly shutdown is there.
    pub clean_shutdown: bool,
    /// Its partitions, by folder name.
    pub partitions: Vec<PartitionReport>,
    /// Everything that is wrong, by path.
    pub corrupt: Vec<CorruptFile>,
}

/// Checks the directory.
///
/// # Errors
/// The disk's, with the path that could not be read; never because of what a file holds.
pub fn inspect(folder: &mut dyn Folder) -> Result<FolderReport, (String, DiskError)> {
    let paths = folder.paths();
    let mut inspection = Inspection {
        clean_shutdown: paths.iter().any(|path| path == CLEAN_SHUTDOWN_FILE),
        folder,
        corrupt: Vec::new(),
    };
    let mut partitions = Vec::new();
    let mut rest = &paths[..];
    while let Some(first) = rest.first() {
        let Some((dir, _)) = first.split_once('/') else {
            rest = &rest[1..];
            continue;
        };
        let inside = |path: &String| path.split_once('/').is_some_and(|(of, _)| of == dir);
        let count = rest.iter().take_while(|path| inside(path)).count();
        let (files, behind) = rest.split_at(count);
        if files.iter().any(|path| path.ends_with(".log")) {
            partitions.push(inspection.partition(dir, files)?);
        }
        rest = behind;
    }
    let meta = inspection.meta(&paths)?;
    for name in [
        LOG_START_OFFSET_CHECKPOINT,
        RECOVERY_POINT_CHECKPOINT,
        REPLICATION_OFFSET_CHECKPOINT,
    ] {
        if paths.iter().any(|path| path == name) {
            inspection.offset_checkpoint(name, &partitions)?;
        }
    }
    inspection.corrupt.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(FolderReport {
        meta,
        clean_shutdown: inspection.clean_shutdown,
        partitions,
        corrupt: inspection.corrupt,
    })
}

/// A check of a directory that is under way.
struct Inspection<'a> {
    folder: &'a mut dyn Folder,
    clean_shutdown: bool,
    corrupt: Vec<CorruptFile>,
}

impl Inspection<'_> {
    fn read(&mut self, path: &str) -> Result<Bytes, (String, DiskError)> {
        self.folder
            .read(path)
            .map_err(|error| (path.to_owned(), error))
    }

    /// Notes what is wrong with a file; the value where nothing is.
    fn note<T>(&mut self, path: &str, result: Result<T, Malformed>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.corrupt.push(error.in_file(path));
                None
            }
        }
    }

    fn meta(&mut self, paths: &[String]) -> Result<Option<MetaProperties>, (String, DiskError)> {
        let path = META_PROPERTIES_FILE;
        if !paths.iter().any(|other| other == path) {
            return Ok(None);
        }
        let parsed = MetaProperties::parse(&self.read(path)?);
        Ok(self.note(path, parsed))
    }

    /// After an orderly shutdown the recovery points are the log ends; no high watermark and no log
    /// start is ever behind its log end then.
    fn offset_checkpoint(
        &mut self,
        path: &str,
        partitions: &[PartitionReport],
    ) -> Result<(), (String, DiskError)> {
        let bytes = self.read(path)?;
        let parsed = checkpoint_entries(&bytes);
        let Some(entries) = self.note(path, parsed) else {
            return Ok(());
        };
        for (
            at,
            OffsetEntry {
                topic,
                partition,
                offset,
            },
        ) in entries
        {
            let dir = format!("{topic}-{partition}");
            let found = partitions.iter().find(|report| report.dir == dir);
            let Some(log_end) = found.and_then(|report| report.log_end) else {
                continue;
            };
            let at_end = path == RECOVERY_POINT_CHECKPOINT;
            let wrong = match self.clean_shutdown {
                true if at_end => offset != log_end,
                true => !(0..=log_end).contains(&offset),
                false => offset < 0,
            };
            if wrong {
                let what = format!("{dir} is at {offset}, its log ends at {log_end}");
                self.corrupt.push(Malformed::new(at, what).in_file(path));
                return Ok(());
            }
        }
        Ok(())
    }
}

fn checkpoint_entries(bytes: &[u8]) -> Result<Vec<(u64, OffsetEntry)>, Malformed> {
    let text = text_of(bytes)?;
    let entries = parse_offset_checkpoint(text).map_err(|error| at_line(text, &error))?;
    let lines = (3..).map(|line| byte_of_line(text, line));
    Ok(lines.zip(entries).collect())
}

fn text_of(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes)
        .map_err(|error| Malformed::new(error.valid_up_to() as u64, "not UTF-8"))
}

fn byte_of_line(text: &str, line: usize) -> u64 {
    let before = text.split_inclusive('\n').take(line - 1);
    before.map(|line| line.len() as u64).sum()
}

/// The same error with its byte.
fn at_line(text: &str, error: &MalformedCheckpoint) -> Malformed {
    Malformed::new(byte_of_line(text, error.line), error.to_string())
}

/// A base offset or snapshot offset from a file's name: twenty digits and that suffix.
fn offset_of_name(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    let whole = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
