//! A disk in memory for this crate's tests. What it does not model: durability (syncs are only
//! counted, the test completes them) and service time.

use crate::disk::{Disk, DiskError, FileId};
use crate::env::SyncToken;
use bytes::Bytes;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// Files as byte vectors.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    names: BTreeMap<String, u32>,
    files: Vec<Vec<u8>>,
    /// Given back and not opened again.
    closed: BTreeSet<FileId>,
    /// Tokens of every sync that was started, in order.
    pub syncs: Vec<SyncToken>,
    /// Directories of every `sync_dir`, in order.
    pub synced_dirs: Vec<String>,
    /// Reads so far.
    pub reads: Cell<u64>,
    /// The next writing operation fails with this; an append then leaves half of its bytes.
    pub fail_next: Option<DiskError>,
    /// The truncation after a failed operation fails too.
    pub fail_truncate: bool,
}

impl MemoryDisk {
    /// The bytes of a file.
    ///
    /// # Panics
    /// Where no such file is.
    pub fn bytes(&self, path: &str) -> &Vec<u8> {
        &self.files[self.names[path] as usize]
    }

    /// The same, to damage them.
    ///
    /// # Panics
    /// Where no such file is.
    pub fn bytes_mut(&mut self, path: &str) -> &mut Vec<u8> {
        &mut self.files[self.names[path] as usize]
    }

    fn file(&self, file: FileId) -> usize {
        assert!(!self.closed.contains(&file), "{file:?} was closed");
        file.0 as usize
    }

    fn fails(&mut self) -> Result<(), DiskError> {
        self.fail_next.take().map_or(Ok(()), Err)
    }
}

impl Disk for MemoryDisk {
    fn open(&mut self, path: &str) -> Result<FileId, DiskError> {
        self.fails()?;
        if let Some(&file) = self.names.get(path) {
            self.closed.remove(&FileId(file));
            return Ok(FileId(file));
        }
        let file = self.files.len() as u32;
        self.files.push(Vec::new());
        self.names.insert(path.to_owned(), file);
        Ok(FileId(file))
    }

    fn close(&mut self, file: FileId) {
        assert!(self.closed.insert(file), "{file:?} is closed twice");
    }

    fn exists(&self, path: &str) -> bool {
        self.names.contains_key(path)
    }

    fn list(&self, prefix: &str) -> Vec<String> {
        let names = self.names.keys();
        names.filter(|n| n.starts_with(prefix)).cloned().collect()
    }

    fn len(&self, file: FileId) -> u64 {
        self.files[self.file(file)].len() as u64
    }

    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError> {
        let failed = self.fails();
        let written = if failed.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        let index = self.file(file);
        self.files[index].extend_from_slice(&bytes[..written]);
        failed
    }

    fn read(&self, file: FileId, at: u64, len: u64) -> Result<Bytes, DiskError> {
        self.reads.set(self.reads.get() + 1);
        let range = at as usize..(at + len) as usize;
        let bytes = self.files[self.file(file)].get(range);
        bytes.map(Bytes::copy_from_slice).ok_or(DiskError::Io)
    }

    fn truncate(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        if self.fail_truncate {
            return Err(DiskError::Io);
        }
        self.fails()?;
        let index = self.file(file);
        self.files[index].truncate(len as usize);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.fails()?;
        let file = self.names.remove(from).ok_or(DiskError::NotFound)?;
        self.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn delete(&mut self, path: &str) -> Result<(), DiskError> {
        self.fails()?;
        self.names
            .remove(path)
            .map(|_| ())
            .ok_or(DiskError::NotFound)
    }

    fn sync(&mut self, file: FileId, token: SyncToken) {
        self.file(file);
        self.syncs.push(token);
    }

    fn sync_dir(&mut self, dir: &str, token: SyncToken) {
        self.synced_dirs.push(dir.to_owned());
        self.syncs.push(token);
    }
}
