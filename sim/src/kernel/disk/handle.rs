//! The disk as a process sees it: its open files, and what it asks of them.

use super::failing::Subject;
use super::{CLOSED, GROWS_FAST, Image, Ino, NameChange, Owner, SimDisk, SyncTarget};
use crate::fault::DiskOperation;
use crate::parts::{Part, enter};
use everyack_broker::disk::{Disk, DiskError, FileId};
use everyack_broker::env::SyncToken;

use bytes::Bytes;

/// The files that one process has open. Handle numbers are never reused on a node, so that a handle
/// of an earlier incarnation is recognised.
#[derive(Debug, Default)]
pub struct Handles {
    base: u32,
    /// [`CLOSED`] for a handle that was given back.
    inodes: Vec<Ino>,
}

impl Handles {
    /// The process is gone; its handles are void.
    pub fn close_all(&mut self, disk: &mut SimDisk) {
        self.base += self.inodes.len() as u32;
        for ino in self.inodes.drain(..) {
            if ino != CLOSED {
                disk.inode_mut(ino).opens -= 1;
            }
        }
    }

    fn ino(&self, file: FileId) -> Ino {
        let index = file
            .0
            .checked_sub(self.base)
            .unwrap_or_else(|| panic!("{file:?} was opened by an earlier incarnation"));
        let ino = self.inodes[index as usize];
        assert!(ino != CLOSED, "{file:?} was closed");
        ino
    }

    fn open(&mut self, disk: &mut SimDisk, ino: Ino) -> FileId {
        let index = self
            .inodes
            .iter()
            .position(|open| *open == ino)
            .unwrap_or_else(|| {
                disk.inode_mut(ino).opens += 1;
                self.inodes.push(ino);
                self.inodes.len() - 1
            });
        FileId(self.base + index as u32)
    }

    fn close(&mut self, disk: &mut SimDisk, file: FileId) {
        let ino = self.ino(file);
        disk.inode_mut(ino).opens -= 1;
        self.inodes[(file.0 - self.base) as usize] = CLOSED;
    }
}

/// A machine's disk as one process sees it during one step.
pub struct DiskHandle<'a> {
    /// The machine's disk.
    pub disk: &'a mut SimDisk,
    /// The process's open files.
    pub handles: &'a mut Handles,
    /// The process.
    pub owner: Owner,
}

impl Disk for DiskHandle<'_> {
    fn open(&mut self, path: &str) -> Result<FileId, DiskError> {
        let _part = enter(Part::Disk);
        let ino = match self.disk.names.get(path) {
            Some(ino) => *ino,
            None => {
                self.disk
                    .admit(DiskOperation::Create, Subject::Path(path))?;
                self.disk.create(path)
            }
        };
        Ok(self.handles.open(self.disk, ino))
    }

    fn close(&mut self, file: FileId) {
        let _part = enter(Part::Disk);
        self.handles.close(self.disk, file);
    }

    fn exists(&self, path: &str) -> bool {
        let _part = enter(Part::Disk);
        self.disk.names.contains_key(path)
    }

    fn list(&self, prefix: &str) -> Vec<String> {
        let _part = enter(Part::Disk);
        self.disk
            .names
            .range(prefix.to_string()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(prefix))
            .cloned()
            .collect()
    }

    fn len(&self, file: FileId) -> u64 {
        let _part = enter(Part::Disk);
        self.disk.inode(self.handles.ino(file)).content.len() as u64
    }

    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError> {
        let _part = enter(Part::Disk);
        let ino = self.handles.ino(file);
        self.disk.admit(DiskOperation::Append, Subject::File(ino))?;
        let content = &mut self.disk.inode_mut(ino).content;
        if content.len() >= GROWS_FAST && content.len() + bytes.len() > content.capacity() {
            content.reserve(3 * content.len());
        }
        content.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&self, file: FileId, at: u64, len: u64) -> Result<Bytes, DiskError> {
        let _part = enter(Part::Disk);
        let content = &self.disk.inode(self.handles.ino(file)).content;
        let end = at.checked_add(len).ok_or(DiskError::Io)?;
        if end > content.len() as u64 {
            return Err(DiskError::Io);
        }
        Ok(Bytes::copy_from_slice(&content[at as usize..end as usize]))
    }

    fn truncate(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        let _part = enter(Part::Disk);
        let ino = self.handles.ino(file);
        self.disk
            .admit(DiskOperation::Truncate, Subject::File(ino))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.disk.truncate(ino, len);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let _part = enter(Part::Disk);
        if !self.disk.names.contains_key(from) {
            return Err(DiskError::NotFound);
        }
        self.disk.admit(DiskOperation::Rename, Subject::Path(to))?;
        if from == to {
            return Ok(());
        }
        let ino = self.disk.names.remove(from).expect("it was there");
        self.disk.names.insert(to.to_string(), ino);
        self.disk.change(NameChange::Rename {
            from: from.to_string(),
            to: to.to_string(),
            ino,
        });
        Ok(())
    }

    fn delete(&mut self, path: &str) -> Result<(), DiskError> {
        let _part = enter(Part::Disk);
        if !self.disk.names.contains_key(path) {
            return Err(DiskError::NotFound);
        }
        self.disk
            .admit(DiskOperation::Delete, Subject::Path(path))?;
        let ino = self.disk.names.remove(path).expect("it was there");
        self.disk.change(NameChange::Delete {
            path: path.to_string(),
            ino,
        });
        Ok(())
    }

    fn sync(&mut self, file: FileId, token: SyncToken) {
        let _part = enter(Part::Disk);
        let ino = self.handles.ino(file);
        let inode = self.disk.inode(ino);
        let image = Image::of(&inode.content);
        let dirty = (!inode.durable.equals(&inode.content))
            .then(|| inode.content.len() - inode.durable.same);
        let target = SyncTarget::File { ino, image };
        self.disk.begin_sync(self.owner, token, target, dirty);
    }

    fn sync_dir(&mut self, dir: &str, token: SyncToken) {
        let _part = enter(Part::Disk);
        let changes_below = self.disk.next_change;
        let dirty = self
            .disk
            .journal
            .iter()
            .any(|(_, change)| change.is_in(dir))
            .then_some(0);
        let target = SyncTarget::Directory {
            dir: dir.to_string(),
            changes_below,
        };
        self.disk.begin_sync(self.owner, token, target, dirty);
        if self.disk.inodes.len() > 64 {
            self.disk.sweep();
        }
    }
}
