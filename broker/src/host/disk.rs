//! The disk of a real machine: the files below one folder.
//!
//! Everything but a sync acts at once, in the caller's thread, on the operating system's page cache. A
//! sync is put aside as a [`SyncJob`], which the host runs where it may block, and whose outcome it
//! hands to the process as [`Input::Synced`](crate::env::Input::Synced).
//!
//! A broker knows files by path and no folders: a folder comes with the first file in it and goes with
//! the last. Syncing a folder makes its own name durable too, up to the root.
//!
//! A name cannot lead out of the root: it has no empty, `.` or `..` part, and symbolic links below the
//! root are refused.
//!
//! Not modelled: what a failed sync does to the pages that it should have written. The operating
//! system decides (Linux counts them as clean), and a broker halts over it.

#![allow(clippy::disallowed_types)] // the host's disk is where files are opened

use crate::disk::{Disk, DiskError, FileId};
use crate::env::SyncToken;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many lines on failures are kept for [`RealDisk::take_failures`]; older ones are dropped.
const FAILURES_KEPT: usize = 64;

/// Lines that say which operation failed, on what, and the operating system's own words.
#[derive(Debug, Clone, Default)]
struct Failures(Arc<Mutex<VecDeque<String>>>);

impl Failures {
    /// Keeps the cause of a failure, and answers what the process is told.
    fn keep(&self, operation: &str, path: &str, error: &io::Error) -> DiskError {
        // A line is pushed or not: there is no state that a panic could leave half done.
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == FAILURES_KEPT {
            lines.pop_front();
        }
        lines.push_back(format!("{operation} {path:?}: {error}"));
        classify(error)
    }
}

/// What a process is told of an error of the operating system.
fn classify(error: &io::Error) -> DiskError {
    match error.kind() {
        ErrorKind::StorageFull => DiskError::NoSpace,
        ErrorKind::NotFound => DiskError::NotFound,
        _ => DiskError::Io,
    }
}

/// Device and number of a file.
type Inode = (u64, u64);

#[derive(Debug)]
struct OpenFile {
    file: Arc<File>,
    inode: Inode,
    /// The name that it was opened by.
    path: String,
    end: u64,
}

/// A disk on real files. One process at a time may use a folder; nothing here sees to that.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    files: BTreeMap<FileId, OpenFile>,
    by_inode: BTreeMap<Inode, FileId>,
    next: u32,
    started: Vec<SyncJob>,
    /// Folders below the root, and whether their own names are known to be durable.
    folders: BTreeMap<String, Arc<AtomicBool>>,
    failures: Failures,
}

impl RealDisk {
    /// A disk whose root is this folder, which is created where it is missing.
    pub fn new(root: &Path) -> io::Result<RealDisk> {
        DirBuilder::new().recursive(true).create(root)?;
        let root = root.canonicalize()?;
        if !root.metadata()?.is_dir() {
            return Err(io::Error::from(ErrorKind::NotADirectory));
        }
        Ok(RealDisk {
            root,
            files: BTreeMap::new(),
            by_inode: BTreeMap::new(),
            next: 0,
            started: Vec::new(),
            folders: BTreeMap::new(),
            failures: Failures::default(),
        })
    }

    /// The syncs that were started since this was last called, in the order in which they were. They
    /// may run side by side.
    pub fn take_started(&mut self) -> Vec<SyncJob> {
        std::mem::take(&mut self.started)
    }

    /// A line for each operation that failed since this was last called, the oldest first; the last
    /// 64 of them.
    pub fn take_failures(&mut self) -> Vec<String> {
        let mut lines = self.failures.0.lock();
        let lines = lines.as_deref_mut();
        std::mem::take(lines.unwrap_or_else(|poisoned| &mut **poisoned.get_mut())).into()
    }

    fn file(&self, file: FileId) -> &OpenFile {
        let open = self.files.get(&file);
        open.unwrap_or_else(|| panic!("{file:?} was closed, or never opened"))
    }

    /// The path of a folder below the root, or of the root, "".
    fn resolve_folder(&self, name: &str) -> io::Result<PathBuf> {
        match name {
            "" => Ok(self.root.clone()),
            name => self.resolve(name),
        }
    }

    /// The path of a name, unless that could lead out of the root.
    fn resolve(&self, name: &str) -> io::Result<PathBuf> {
        let refused = |why: &str| Err(io::Error::new(ErrorKind::InvalidInput, why.to_string()));
        let mut path = self.root.clone();
        for part in name.split('/') {
            if matches!(part, "" | "." | "..") || part.contains('\0') {
                return refused("not a name below the root");
            }
            path.push(part);
            match path.symlink_metadata() {
                Ok(found) if found.is_symlink() => return refused("leads over a symbolic link"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(path)
    }

    fn open_file(&self, name: &str) -> io::Result<(File, Metadata)> {
        let path = self.resolve(name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = match options.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create_folder_of(&path)?;
                options.open(&path)
            }
            opened => opened,
        }?;
        let metadata = file.metadata()?;
        match metadata.is_file() {
            true => Ok((file, metadata)),
            false => Err(io::Error::new(
                ErrorKind::InvalidInput,
                "not a regular file",
            )),
        }
    }

    /// Removes the folders that a name leaves empty.
    fn sweep_folders_of(&mut self, name: &str) {
        let mut folder = folder_of(name);
        // A folder that still holds something is an error here, and the end of the walk.
        while !folder.is_empty() && std::fs::remove_dir(self.root.join(folder)).is_ok() {
            self.folders.remove(folder);
            folder = folder_of(folder);
        }
    }

    fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        let (source, target) = (self.resolve(from)?, self.resolve(to)?);
        if !source.symlink_metadata()?.is_file() {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        create_folder_of(&target)?;
        std::fs::rename(source, target)
    }

    /// The regular files below a folder (by its name, "" for the root) whose names start so.
    fn walk(&self, folder: &str, prefix: &str, found: &mut Vec<String>) -> io::Result<()> {
        for entry in self.resolve_folder(folder)?.read_dir()? {
            let entry = entry?;
            // The broker's own names are ASCII: another one is nobody's.
            let Ok(last) = entry.file_name().into_string() else {
                continue;
            };
            let name = match folder {
                "" => last,
                folder => format!("{folder}/{last}"),
            };
            let kind = entry.file_type()?;
            if kind.is_file() && name.starts_with(prefix) {
                found.push(name);
            } else if kind.is_dir() && (name.starts_with(prefix) || prefix.starts_with(&name)) {
                self.walk(&name, prefix, found)?;
            }
        }
        Ok(())
    }

    /// Opens what a sync of a folder has to sync: the folder, and each one above it whose entry for the
    /// next is not known to be durable.
    fn open_folders(&mut self, name: &str) -> io::Result<Vec<FolderSync>> {
        let mut folder = name;
        let mut syncs = Vec::new();
        let mut names: Option<Arc<AtomicBool>> = None;
        loop {
            let path = self.resolve_folder(folder)?;
            // Read access is what a sync of a folder needs.
            match OpenOptions::new().read(true).open(&path) {
                Ok(file) => syncs.push(FolderSync { file, names }),
                // It went with its last file: the entry that is gone is the folder's above.
                Err(error) if error.kind() == ErrorKind::NotFound && !folder.is_empty() => {
                    folder = folder_of(folder);
                    names = None;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if folder.is_empty() {
                return Ok(syncs);
            }
            let durable = self.folders.entry(folder.to_string()).or_default();
            if durable.load(Ordering::Acquire) {
                return Ok(syncs);
            }
            names = Some(durable.clone());
            folder = folder_of(folder);
        }
    }
}

fn folder_of(name: &str) -> &str {
    name.rfind('/').map_or("", |slash| &name[..slash])
}

fn create_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().expect("a file is in a folder");
    DirBuilder::new().recursive(true).create(folder)
}

/// Writes all of it at the end, which moves with what has been written.
fn write_at_end(file: &File, end: &mut u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, *end) {
            Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero)),
            Ok(written) => {
                *end += written as u64;
                bytes = &bytes[written..];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads that many bytes, into memory that is not filled with zeros first.
fn read_exact_at(file: &File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = at + bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // There may be room for more than was asked for.
    bytes.truncate(len);
    Ok(bytes)
}

impl Disk for RealDisk {
    fn open(&mut self, path: &str) -> Result<FileId, DiskError> {
        let (file, metadata) = self
            .open_file(path)
            .map_err(|error| self.failures.keep("open", path, &error))?;
        let inode = (metadata.dev(), metadata.ino());
        if let Some(open) = self.by_inode.get(&inode) {
            return Ok(*open);
        }
        let id = FileId(self.next);
        self.next = self.next.checked_add(1).expect("2^32 files were opened");
        self.by_inode.insert(inode, id);
        let open = OpenFile {
            file: Arc::new(file),
            inode,
            path: path.to_string(),
            end: metadata.len(),
        };
        self.files.insert(id, open);
        Ok(id)
    }

    fn close(&mut self, file: FileId) {
        let closed = self.files.remove(&file);
        let closed = closed.unwrap_or_else(|| panic!("{file:?} was closed, or never opened"));
        self.by_inode.remove(&closed.inode);
    }

    fn exists(&self, path: &str) -> bool {
        let found = self.resolve(path).and_then(|path| path.symlink_metadata());
        found.is_ok_and(|found| found.is_file())
    }

    fn list(&self, prefix: &str) -> Vec<String> {
        let mut found = Vec::new();
        match self.walk(folder_of(prefix), prefix, &mut found) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                self.failures.keep("list", prefix, &error);
            }
            _ => {}
        }
        found.sort_unstable();
        found
    }

    fn len(&self, file: FileId) -> u64 {
        self.file(file).end
    }

    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError> {
        let open = self.files.get_mut(&file);
        let open = open.unwrap_or_else(|| panic!("{file:?} was closed, or never opened"));
        write_at_end(&open.file, &mut open.end, bytes)
            .map_err(|error| self.failures.keep("append to", &open.path, &error))
    }

    fn read(&self, file: FileId, at: u64, len: u64) -> Result<Bytes, DiskError> {
        let open = self.file(file);
        // Checked before anything is allocated: the length may come from a damaged file.
        if at.checked_add(len).is_none_or(|end| end > open.end) {
            return Err(DiskError::Io);
        }
        let len = usize::try_from(len).map_err(|_| DiskError::Io)?;
        match read_exact_at(&open.file, at, len) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => {
                self.failures.keep("read", &open.path, &error);
                Err(DiskError::Io)
            }
        }
    }

    fn truncate(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        let open = self.files.get_mut(&file);
        let open = open.unwrap_or_else(|| panic!("{file:?} was closed, or never opened"));
        if len >= open.end {
            return Ok(());
        }
        match open.file.set_len(len) {
            Ok(()) => {
                open.end = len;
                Ok(())
            }
            Err(error) => Err(self.failures.keep("truncate", &open.path, &error)),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        match self.rename_file(from, to) {
            Ok(()) => {
                self.sweep_folders_of(from);
                Ok(())
            }
            Err(error) => Err(self.failures.keep("rename", from, &error)),
        }
    }

    fn delete(&mut self, path: &str) -> Result<(), DiskError> {
        match self.resolve(path).and_then(std::fs::remove_file) {
            Ok(()) => {
                self.sweep_folders_of(path);
                Ok(())
            }
            Err(error) => Err(self.failures.keep("delete", path, &error)),
        }
    }

    fn sync(&mut self, file: FileId, token: SyncToken) {
        let open = self.file(file);
        let job = SyncJob {
            token,
            path: open.path.clone(),
            target: Target::File(open.file.clone()),
            failures: self.failures.clone(),
        };
        self.started.push(job);
    }

    fn sync_dir(&mut self, dir: &str, token: SyncToken) {
        let target = self.open_folders(dir);
        self.started.push(SyncJob {
            token,
            path: dir.to_string(),
            target: target.map_or_else(Target::Unopened, Target::Folders),
            failures: self.failures.clone(),
        });
    }
}

/// A folder to be synced.
#[derive(Debug)]
struct FolderSync {
    file: File,
    /// What is durable then besides the names of files: the name of a folder in it.
    names: Option<Arc<AtomicBool>>,
}

#[derive(Debug)]
enum Target {
    File(Arc<File>),
    /// A folder, then those above it.
    Folders(Vec<FolderSync>),
    /// A folder that could not be opened.
    Unopened(io::Error),
}

/// A sync that was started and waits to be run.
#[derive(Debug)]
pub struct SyncJob {
    token: SyncToken,
    path: String,
    target: Target,
    failures: Failures,
}

impl SyncJob {
    /// The token that the process gave.
    pub fn token(&self) -> SyncToken {
        self.token
    }

    /// Syncs, and blocks meanwhile. What the file or folder held when the sync was started is durable
    /// afterwards; what was written since may be.
    pub fn run(self) -> (SyncToken, Result<(), DiskError>) {
        let done = match self.target {
            Target::File(file) => file.sync_all(),
            Target::Folders(folders) => folders.iter().try_for_each(|folder| {
                folder.file.sync_all()?;
                if let Some(names) = &folder.names {
                    names.store(true, Ordering::Release);
                }
                Ok(())
            }),
            Target::Unopened(error) => Err(error),
        };
        let failed = |error| self.failures.keep("sync", &self.path, &error);
        (self.token, done.map_err(failed))
    }
}

#[cfg(test)]
mod tests;
