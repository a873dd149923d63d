//! The storage boundary: what a broker may ask of its machine's disk.
//!
//! Everything but `sync` and `sync_dir` acts at once, on the page cache. Only a completed sync makes
//! bytes durable; it completes later, as [`Input::Synced`](crate::env::Input::Synced). Names are
//! durable only once their directory was synced.

use crate::env::SyncToken;
use bytes::Bytes;

/// An open file of one process. A handle does not outlive the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// What a disk operation can answer besides success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// ENOSPC.
    #[error("no space left on device")]
    NoSpace,
    /// EIO.
    #[error("input/output error")]
    Io,
    /// ENOENT.
    #[error("no such file")]
    NotFound,
}

/// A disk as one process sees it. Paths are relative to the machine's log directory, `/`-separated.
pub trait Disk {
    /// Opens `path` for reading and writing, creating an empty file where none is.
    fn open(&mut self, path: &str) -> Result<FileId, DiskError>;
    /// Gives a handle back: it may not be used any more, and the file lives on only under its name.
    /// A sync that is under way completes all the same.
    fn close(&mut self, file: FileId);
    /// Whether a file of that name is visible.
    fn exists(&self, path: &str) -> bool;
    /// Every visible file whose path starts with `prefix`, sorted.
    fn list(&self, prefix: &str) -> Vec<String>;
    /// Length in bytes.
    fn len(&self, file: FileId) -> u64;
    /// Appends to the end.
    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError>;
    /// Reads exactly `len` bytes at `at`; `Io` where the file is shorter.
    fn read(&self, file: FileId, at: u64, len: u64) -> Result<Bytes, DiskError>;
    /// Cuts the file to `len` bytes.
    fn truncate(&mut self, file: FileId, len: u64) -> Result<(), DiskError>;
    /// Renames, replacing what `to` named. Durable after `sync_dir` of its directory.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;
    /// Removes the name.
    fn delete(&mut self, path: &str) -> Result<(), DiskError>;
    /// Starts making the file's present bytes durable; answers with `Input::Synced { token, .. }`.
    fn sync(&mut self, file: FileId, token: SyncToken);
    /// Starts making the names in `dir` durable ("" is the root); answers likewise.
    fn sync_dir(&mut self, dir: &str, token: SyncToken);
}
