//! A disk that fails what it is asked to do, that stalls, or that is replaced.
//!
//! A failed sync drops the pages that it should have made durable: they count as clean although the
//! device never got them ("fsyncgate"; Linux marks a page clean once its write-back has failed). Where
//! nothing was written behind them the file ends before them, else they read as zeros.
//!
//! Not modelled: short writes, reads that fail, a file system that turns read-only, failed pages that
//! stay readable until they are evicted.

use super::*;
use crate::fault::{DiskOperation, FileKind};

/// What a disk is going to fail, and what it has failed.
#[derive(Debug, Default)]
pub(super) struct Failing {
    rule: Option<Rule>,
    /// Since the kernel last took them.
    failed: Vec<(DiskOperation, DiskError)>,
}

/// Which operations a disk fails from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Which operations.
    pub operation: DiskOperation,
    /// On which files; `None` on all.
    pub files: Option<FileKind>,
    /// With which error.
    pub error: DiskError,
    /// Which of them fails first, from 1.
    pub nth: u32,
    /// Whether all that follow fail too.
    pub lasting: bool,
}

/// What an operation is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    Path(&'a str),
    /// An open file, by whatever name it has now.
    File(Ino),
    Directory,
}

impl Subject<'_> {
    fn kind(self, names: &BTreeMap<String, Ino>) -> Option<FileKind> {
        match self {
            Subject::Path(path) => FileKind::of(path),
            Subject::File(ino) => {
                let named = names.iter().find(|(_, named)| **named == ino);
                named.and_then(|(path, _)| FileKind::of(path))
            }
            Subject::Directory => Some(FileKind::Directory),
        }
    }
}

impl Rule {
    fn covers(
        &self,
        operation: DiskOperation,
        subject: Subject<'_>,
        names: &BTreeMap<String, Ino>,
    ) -> bool {
        use DiskOperation::{Delete, Rename, Truncate, Write};
        let takes_no_space = matches!(operation, Truncate | Rename | Delete);
        if self.operation == Write && self.error == DiskError::NoSpace && takes_no_space {
            return false;
        }
        operation.is_one_of(self.operation)
            && self
                .files
                .is_none_or(|kind| subject.kind(names) == Some(kind))
    }
}

impl Failing {
    /// The one place where a disk fault makes an operation fail.
    pub(super) fn admit(
        &mut self,
        operation: DiskOperation,
        subject: Subject<'_>,
        names: &BTreeMap<String, Ino>,
    ) -> Result<(), DiskError> {
        let Some(rule) = &mut self.rule else {
            return Ok(());
        };
        if !rule.covers(operation, subject, names) {
            return Ok(());
        }
        if rule.nth > 1 {
            rule.nth -= 1;
            return Ok(());
        }
        let error = rule.error;
        if !rule.lasting {
            self.rule = None;
        }
        self.failed.push((operation, error));
        Err(error)
    }
}

impl SimDisk {
    /// From here on it fails what the rule says. A later rule replaces an earlier one.
    pub(in crate::kernel) fn fail(&mut self, rule: Rule) {
        self.failing.rule = Some(rule);
    }

    pub(super) fn admit(
        &mut self,
        operation: DiskOperation,
        subject: Subject<'_>,
    ) -> Result<(), DiskError> {
        self.failing.admit(operation, subject, &self.names)
    }

    /// Whether an operation failed since [`Self::take_failed`].
    pub(in crate::kernel) fn has_failed(&self) -> bool {
        !self.failing.failed.is_empty()
    }

    /// What failed since this was last called.
    pub(in crate::kernel) fn take_failed(&mut self) -> Vec<(DiskOperation, DiskError)> {
        std::mem::take(&mut self.failing.failed)
    }

    /// From here on each sync takes that much longer; 0 is a healthy disk.
    pub(in crate::kernel) fn set_stall(&mut self, stall: Nanos) {
        self.stall = stall;
    }

    /// How long the disk stalls before it serves an operation.
    pub(in crate::kernel) fn stall(&self) -> Nanos {
        self.stall
    }

    /// Nothing fails, stalls or lies any more. Syncs that a stall has put off are served now: each
    /// with its new completion.
    pub(in crate::kernel) fn mend(&mut self, now: Nanos) -> Vec<(u64, Nanos)> {
        self.failing.rule = None;
        self.lies = false;
        if self.stall == 0 {
            return Vec::new();
        }
        self.stall = 0;
        self.busy_until = now;
        let pending = self.pending.iter().map(|sync| sync.id);
        let served = pending.zip(1..).map(|(id, n)| (id, now + n * SYNC_BASE));
        let served: Vec<(u64, Nanos)> = served.collect();
        self.busy_until = served.last().map_or(now, |(_, at)| *at);
        served
    }

    /// The disk is replaced by an empty, healthy one. No process may have a file of it open.
    pub(in crate::kernel) fn replace(&mut self) {
        let open = self.inodes.iter().flatten().any(|inode| inode.opens > 0);
        assert!(!open, "a disk is replaced under a running process");
        // Numbers of syncs and changes go on: completions of the old disk must not be taken for others.
        *self = SimDisk {
            next_change: self.next_change,
            next_sync: self.next_sync,
            ..SimDisk::new(self.rng.clone())
        };
    }

    /// A sync of `image` has failed: what it should have made durable is gone.
    pub(super) fn drop_pages(&mut self, ino: Ino, image: Image) {
        let inode = self.inode_mut(ino);
        let (from, to) = (inode.durable.same, image.same);
        if to == inode.content.len() {
            self.truncate(ino, from);
        } else {
            inode.content[from..to].fill(0);
        }
    }
}
