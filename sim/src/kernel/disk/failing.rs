//! A disk that fails what it is asked to do, that stalls, or that is replaced.
//!
//! A failed sync drops the pages that it should have made durable: they count as clean although the
//! device never got them ("fsyncgate"; Linux marks a page clean once its write-back has failed). Where
//! nothing was written behind them the file ends before them, else they read as zeros.
//!
//! Not modelled: short writes, reads that fail, a file system that turns read-only, failed pages that
//! stay readable until they are evicted.

use super::*;
use crate::fault::DiskOperation;

/// What a disk is going to fail, and what it has failed.
#[derive(Debug, Default)]
pub(super) struct Failing {
    rule: Option<Rule>,
    /// Since the kernel last took them.
    failed: Vec<(DiskOperation, DiskError)>,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    operation: DiskOperation,
    error: DiskError,
    /// Operations that still succeed.
    spared: u32,
    lasting: bool,
}

impl Failing {
    /// The one place where a disk fault makes an operation fail.
    pub(super) fn admit(&mut self, operation: Operation) -> Result<(), DiskError> {
        let Some(rule) = &mut self.rule else {
            return Ok(());
        };
        let kind = match operation {
            Operation::Sync => DiskOperation::Sync,
            // Neither takes space.
            Operation::Truncate | Operation::Name if rule.error == DiskError::NoSpace => {
                return Ok(());
            }
            Operation::Create | Operation::Append | Operation::Truncate | Operation::Name => {
                DiskOperation::Write
            }
        };
        if kind != rule.operation {
            return Ok(());
        }
        if rule.spared > 0 {
            rule.spared -= 1;
            return Ok(());
        }
        let error = rule.error;
        if !rule.lasting {
            self.rule = None;
        }
        self.failed.push((kind, error));
        Err(error)
    }
}

impl SimDisk {
    /// From here on the n-th operation of a kind (from 1) fails with this error, and all that follow
    /// where it lasts.
    pub(in crate::kernel) fn fail(
        &mut self,
        operation: DiskOperation,
        error: DiskError,
        nth: u32,
        lasting: bool,
    ) {
        self.failing.rule = Some(Rule {
            operation,
            error,
            spared: nth.saturating_sub(1),
            lasting,
        });
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

    /// Nothing fails and nothing stalls any more. Syncs that a stall has put off are served now: each
    /// with its new completion.
    pub(in crate::kernel) fn mend(&mut self, now: Nanos) -> Vec<(u64, Nanos)> {
        self.failing.rule = None;
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
