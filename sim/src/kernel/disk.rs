//! The simulated disk of a machine: a page cache over a device that loses power.
//!
//! Appends, truncations and names act at once on the page cache. Beside the cache the disk knows
//! exactly what the device holds: for each file an [`Image`], its durable bytes told relative to the
//! cached ones, so that a sync costs the same however long the file is; for names the durable
//! directory and the journal of changes that no `sync_dir` has covered. A sync makes durable what
//! the file held when the sync was *called*; what is written meanwhile stays dirty. The device works
//! on one sync at a time.
//!
//! A truncation holds at once, on the device too. File systems with one ordered journal (ext4, XFS)
//! commit it with the next sync of any file, and Kafka syncs a checkpoint right behind each truncation;
//! cut bytes that came back under such a checkpoint would be a state that no disk of theirs shows. Names
//! that changed before the truncation are durable with it, for the same reason.
//!
//! A power loss keeps what was synced and, if asked to, a drawn part of the rest: nothing, all, a
//! prefix, any subset of 4 KiB pages, or pages torn at 512-byte sectors. A file then ends behind its
//! last surviving page; what is missing before it reads as zeros.
//!
//! Not modelled: write-back by the kernel's flusher threads before the power loss as an event of its
//! own (a drawn power loss covers its outcomes), older versions of a page surviving instead of the
//! newest, directories as entries of their parent, quotas, hard links, sparse writes.

mod failing;
mod handle;
mod lying;
mod power;

pub use failing::Rule;
pub use handle::{DiskHandle, Handles};
pub use lying::Misdirected;

use crate::fault::DiskOperation;
use failing::{Failing, Subject};

use everyack_broker::disk::DiskError;
use everyack_broker::env::{Stream, SyncToken};
use everyack_broker::time::{MICROS, MILLIS, Nanos};

use std::collections::BTreeMap;

/// Unit in which the page cache writes back.
pub const PAGE_BYTES: usize = 4096;
/// Unit that a device writes atomically.
pub const SECTOR_BYTES: usize = 512;
/// Shortest sync that has something to write: a flush of the device's own cache on an SSD.
pub const SYNC_BASE: Nanos = MILLIS;
/// What the seed adds to it at most.
pub const SYNC_JITTER: Nanos = MILLIS;
/// Write-back at 200 MB/s.
pub const SYNC_PER_BYTE: Nanos = 5;
/// A sync that finds nothing dirty.
pub const SYNC_CLEAN: Nanos = 10 * MICROS;
/// A file of this size is a log: it gets room for three times as much at once, to be moved less often.
const GROWS_FAST: usize = PAGE_BYTES;

/// Index into [`SimDisk::inodes`].
type Ino = u32;

/// No file, see [`Handles`].
const CLOSED: Ino = Ino::MAX;

/// An earlier version of a file, told relative to the cached content: it is the cached content's
/// first `same` bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Image {
    same: usize,
}

impl Image {
    fn of(content: &[u8]) -> Image {
        Image {
            same: content.len(),
        }
    }

    /// The file is cut to `len` bytes.
    fn truncate(&mut self, len: usize) {
        self.same = self.same.min(len);
    }

    fn bytes(&self, content: &[u8]) -> Vec<u8> {
        content[..self.same].to_vec()
    }

    fn equals(&self, content: &[u8]) -> bool {
        self.same == content.len()
    }
}

#[derive(Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Image,
    /// Processes that have it open.
    opens: u32,
}

/// A change of a name that is visible but not durable.
#[derive(Debug, Clone)]
enum NameChange {
    Create { path: String, ino: Ino },
    Rename { from: String, to: String, ino: Ino },
    Delete { path: String, ino: Ino },
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, Ino>) {
        fn remove(names: &mut BTreeMap<String, Ino>, path: &str, ino: Ino) {
            if names.get(path) == Some(&ino) {
                names.remove(path);
            }
        }
        match self {
            NameChange::Create { path, ino } => {
                names.insert(path.clone(), *ino);
            }
            NameChange::Rename { from, to, ino } => {
                remove(names, from, *ino);
                names.insert(to.clone(), *ino);
            }
            NameChange::Delete { path, ino } => remove(names, path, *ino),
        }
    }

    fn ino(&self) -> Ino {
        match self {
            NameChange::Create { ino, .. }
            | NameChange::Rename { ino, .. }
            | NameChange::Delete { ino, .. } => *ino,
        }
    }

    /// Whether a sync of `dir` covers it. One of the two directories of a rename is enough: a
    /// journalling file system commits both entries in one transaction.
    fn is_in(&self, dir: &str) -> bool {
        match self {
            NameChange::Create { path, .. } | NameChange::Delete { path, .. } => {
                directory_of(path) == dir
            }
            NameChange::Rename { from, to, .. } => {
                directory_of(from) == dir || directory_of(to) == dir
            }
        }
    }
}

fn directory_of(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..slash])
}

/// The process that opened a file or asked for a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Index of its node in the kernel.
    pub node: u32,
    /// Which start of it.
    pub incarnation: u32,
}

#[derive(Debug)]
enum SyncTarget {
    File { ino: Ino, image: Image },
    Directory { dir: String, changes_below: u64 },
}

#[derive(Debug)]
struct PendingSync {
    id: u64,
    /// `None` once the process is gone: the device finishes all the same, nobody hears of it.
    owner: Option<(Owner, SyncToken)>,
    target: SyncTarget,
    /// It is told to be done, and keeps nothing.
    is_lie: bool,
}

/// A machine's disk.
#[derive(Debug)]
pub struct SimDisk {
    inodes: Vec<Option<Inode>>,
    free: Vec<Ino>,
    names: BTreeMap<String, Ino>,
    durable_names: BTreeMap<String, Ino>,
    /// Numbered, in order.
    journal: Vec<(u64, NameChange)>,
    next_change: u64,
    pending: Vec<PendingSync>,
    next_sync: u64,
    /// Syncs that the step in progress asked for, with the bytes that each has to write.
    started: Vec<(u64, Option<usize>)>,
    busy_until: Nanos,
    failing: Failing,
    /// How long it stalls before it serves an operation.
    stall: Nanos,
    /// Whether it lies about syncs.
    lies: bool,
    rng: Stream,
}

impl SimDisk {
    /// An empty disk; `rng` draws its service times and what survives a power loss.
    pub fn new(rng: Stream) -> SimDisk {
        SimDisk {
            inodes: Vec::new(),
            free: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            journal: Vec::new(),
            next_change: 0,
            pending: Vec::new(),
            next_sync: 0,
            started: Vec::new(),
            busy_until: 0,
            failing: Failing::default(),
            stall: 0,
            lies: false,
            rng,
        }
    }

    /// Every visible path, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The visible content of a file, as a process that starts now would find it.
    pub fn content(&self, path: &str) -> Option<&[u8]> {
        let ino = *self.names.get(path)?;
        Some(&self.inode(ino).content)
    }

    /// What the device itself holds under a name: what survives a power loss in any case.
    pub fn durable_content(&self, path: &str) -> Option<Vec<u8>> {
        let inode = self.inode(*self.durable_names.get(path)?);
        Some(inode.durable.bytes(&inode.content))
    }

    /// Bytes of visible files that no completed sync has made durable: a lie covers nothing.
    pub fn unsynced_bytes(&self) -> u64 {
        self.names
            .values()
            .map(|ino| {
                let inode = self.inode(*ino);
                (inode.content.len() - inode.durable.same) as u64
            })
            .sum()
    }

    fn inode(&self, ino: Ino) -> &Inode {
        self.inodes[ino as usize]
            .as_ref()
            .expect("a referenced inode exists")
    }

    fn inode_mut(&mut self, ino: Ino) -> &mut Inode {
        self.inodes[ino as usize]
            .as_mut()
            .expect("a referenced inode exists")
    }

    fn create(&mut self, path: &str) -> Ino {
        let ino = match self.free.pop() {
            Some(ino) => {
                self.inodes[ino as usize] = Some(Inode::default());
                ino
            }
            None => {
                self.inodes.push(Some(Inode::default()));
                (self.inodes.len() - 1) as Ino
            }
        };
        self.names.insert(path.to_string(), ino);
        self.change(NameChange::Create {
            path: path.to_string(),
            ino,
        });
        ino
    }

    fn change(&mut self, change: NameChange) {
        self.journal.push((self.next_change, change));
        self.next_change += 1;
    }

    fn truncate(&mut self, ino: Ino, len: usize) {
        let inode = self.inodes[ino as usize]
            .as_mut()
            .expect("an open file's inode exists");
        if len >= inode.content.len() {
            return;
        }
        inode.durable.truncate(len);
        for sync in &mut self.pending {
            if let SyncTarget::File {
                ino: synced,
                ref mut image,
            } = sync.target
                && synced == ino
            {
                image.truncate(len);
            }
        }
        inode.content.truncate(len);
        // The journal is ordered: names that changed before are durable with it.
        for (_, change) in self.journal.drain(..) {
            change.apply(&mut self.durable_names);
        }
    }

    fn begin_sync(
        &mut self,
        owner: Owner,
        token: SyncToken,
        target: SyncTarget,
        dirty: Option<usize>,
    ) {
        let id = self.next_sync;
        self.next_sync += 1;
        self.pending.push(PendingSync {
            id,
            owner: Some((owner, token)),
            target,
            is_lie: self.lies,
        });
        // A lie costs the device what a sync costs that has nothing to write.
        self.started.push((id, dirty.filter(|_| !self.lies)));
    }

    /// Whether the step that has just ended asked for syncs.
    pub(super) fn has_started(&self) -> bool {
        !self.started.is_empty()
    }

    /// Puts the syncs that were asked for into the device's queue; each with its number and the instant of
    /// its completion.
    pub fn schedule_started(&mut self, now: Nanos) -> Vec<(u64, Nanos)> {
        let started = std::mem::take(&mut self.started);
        started
            .into_iter()
            .map(|(id, dirty)| {
                let service = match dirty {
                    None => SYNC_CLEAN,
                    Some(bytes) => {
                        SYNC_BASE + self.rng.below(SYNC_JITTER) + SYNC_PER_BYTE * bytes as Nanos
                    }
                };
                self.busy_until = self.busy_until.max(now) + service + self.stall;
                (id, self.busy_until)
            })
            .collect()
    }

    /// The device has finished a sync: its snapshot is durable. Answers whom to tell, if anybody.
    pub fn complete(&mut self, id: u64) -> Option<(Owner, SyncToken, Result<(), DiskError>)> {
        let at = self.pending.iter().position(|sync| sync.id == id)?;
        let sync = self.pending.remove(at);
        let outcome = self.outcome(&sync.target);
        match (sync.target, outcome) {
            (_, Ok(())) if sync.is_lie => {}
            (SyncTarget::File { ino, image }, Err(_)) => self.drop_pages(ino, image),
            (SyncTarget::Directory { .. }, Err(_)) => {}
            (target, Ok(())) => match target {
                SyncTarget::File { ino, image } => self.inode_mut(ino).durable = image,
                SyncTarget::Directory { dir, changes_below } => {
                    let durable = &mut self.durable_names;
                    self.journal.retain(|(number, change)| {
                        let covered = *number < changes_below && change.is_in(&dir);
                        if covered {
                            change.apply(durable);
                        }
                        !covered
                    });
                }
            },
        }
        sync.owner.map(|(owner, token)| (owner, token, outcome))
    }

    /// Whether a sync succeeds; one that has nothing to write always does.
    fn outcome(&mut self, target: &SyncTarget) -> Result<(), DiskError> {
        let (clean, subject) = match target {
            SyncTarget::File { ino, image } => (
                self.inode(*ino).durable.same >= image.same,
                Subject::File(*ino),
            ),
            SyncTarget::Directory { dir, changes_below } => {
                let mut pending = self.journal.iter();
                let clean =
                    !pending.any(|(number, change)| number < changes_below && change.is_in(dir));
                (clean, Subject::Directory)
            }
        };
        match clean {
            true => Ok(()),
            false => self.admit(DiskOperation::Sync, subject),
        }
    }

    /// A process is gone. Its cached bytes stay; of the syncs that it waited for, each may have
    /// reached the device (then it completes unheard) or not.
    pub fn process_died(&mut self, node: u32) {
        let rng = &mut self.rng;
        self.pending.retain_mut(|sync| {
            if sync.owner.is_some_and(|(owner, _)| owner.node == node) {
                sync.owner = None;
                return rng.chance(1, 2);
            }
            true
        });
    }

    /// Frees the inodes that no name, no pending change or sync and no handle refers to.
    fn sweep(&mut self) {
        let mut used: Vec<bool> = self
            .inodes
            .iter()
            .map(|inode| inode.as_ref().is_some_and(|inode| inode.opens > 0))
            .collect();
        let referenced = self
            .names
            .values()
            .chain(self.durable_names.values())
            .copied()
            .chain(self.journal.iter().map(|(_, change)| change.ino()))
            .chain(self.pending.iter().filter_map(|sync| match sync.target {
                SyncTarget::File { ino, .. } => Some(ino),
                SyncTarget::Directory { .. } => None,
            }));
        for ino in referenced {
            used[ino as usize] = true;
        }
        for (ino, used) in used.into_iter().enumerate() {
            if !used && self.inodes[ino].take().is_some() {
                self.free.push(ino as Ino);
            }
        }
    }
}

#[cfg(test)]
mod tests;
