//! A disk on which the process dies at a chosen operation.

use bytes::Bytes;
use everyack_broker::disk::{Disk, DiskError, FileId};
use everyack_broker::env::SyncToken;

/// How many writes and syncs a process has before it dies.
#[derive(Debug)]
pub struct Budget {
    left: Option<u32>,
    spent: bool,
}

impl Budget {
    /// It lives on.
    pub fn unlimited() -> Budget {
        Budget {
            left: None,
            spent: false,
        }
    }

    /// It dies at the operation behind so many.
    pub fn of(operations: u32) -> Budget {
        Budget {
            left: Some(operations),
            spent: false,
        }
    }

    /// Whether it has died.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Whether one more operation takes place.
    fn spend(&mut self) -> bool {
        match &mut self.left {
            None => true,
            Some(0) => {
                self.spent = true;
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// From the operation on at which the process dies nothing reaches the disk any more. What the dying
/// process is told is an error; it does not live to act upon it.
pub struct Interrupted<'a> {
    pub disk: &'a mut dyn Disk,
    pub budget: &'a mut Budget,
}

impl Interrupted<'_> {
    fn spend(&mut self) -> Result<(), DiskError> {
        match self.budget.spend() {
            true => Ok(()),
            false => Err(DiskError::Io),
        }
    }
}

impl Disk for Interrupted<'_> {
    fn open(&mut self, path: &str) -> Result<FileId, DiskError> {
        if !self.disk.exists(path) {
            self.spend()?;
        }
        self.disk.open(path)
    }

    fn close(&mut self, file: FileId) {
        self.disk.close(file);
    }

    fn exists(&self, path: &str) -> bool {
        self.disk.exists(path)
    }

    fn list(&self, prefix: &str) -> Vec<String> {
        self.disk.list(prefix)
    }

    fn len(&self, file: FileId) -> u64 {
        self.disk.len(file)
    }

    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError> {
        self.spend()?;
        self.disk.append(file, bytes)
    }

    fn read(&self, file: FileId, at: u64, len: u64) -> Result<Bytes, DiskError> {
        self.disk.read(file, at, len)
    }

    fn truncate(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        self.spend()?;
        self.disk.truncate(file, len)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.spend()?;
        self.disk.rename(from, to)
    }

    fn delete(&mut self, path: &str) -> Result<(), DiskError> {
        self.spend()?;
        self.disk.delete(path)
    }

    fn sync(&mut self, file: FileId, token: SyncToken) {
        if self.spend().is_ok() {
            self.disk.sync(file, token);
        }
    }

    fn sync_dir(&mut self, dir: &str, token: SyncToken) {
        if self.spend().is_ok() {
            self.disk.sync_dir(dir, token);
        }
    }
}
