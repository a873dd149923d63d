//! A crash at each write of a cleaning.

use super::*;
use std::cell::Cell;

/// A disk that fails for good after a number of changes.
struct Crashing {
    inner: MemoryDisk,
    left: Cell<u32>,
}

impl Crashing {
    fn change(&self) -> Result<(), DiskError> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(DiskError::Io),
        }
    }
}

impl Disk for Crashing {
    fn open(&mut self, path: &str) -> Result<FileId, DiskError> {
        if !self.inner.exists(path) {
            self.change()?;
        }
        self.inner.open(path)
    }

    fn close(&mut self, file: FileId) {
        self.inner.close(file);
    }

    fn exists(&self, path: &str) -> bool {
        self.inner.exists(path)
    }

    fn list(&self, prefix: &str) -> Vec<String> {
        self.inner.list(prefix)
    }

    fn len(&self, file: FileId) -> u64 {
        self.inner.len(file)
    }

    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError> {
        self.change()?;
        self.inner.append(file, bytes)
    }

    fn read(&self, file: FileId, at: u64, len: u64) -> Result<Bytes, DiskError> {
        self.inner.read(file, at, len)
    }

    fn truncate(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        self.change()?;
        self.inner.truncate(file, len)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.change()?;
        self.inner.rename(from, to)
    }

    fn delete(&mut self, path: &str) -> Result<(), DiskError> {
        self.change()?;
        self.inner.delete(path)
    }

    fn sync(&mut self, file: FileId, token: SyncToken) {
        self.inner.sync(file, token);
    }

    fn sync_dir(&mut self, dir: &str, token: SyncToken) {
        self.inner.sync_dir(dir, token);
    }
}

#[test]
fn whichever_write_of_a_cleaning_is_the_last_the_log_loads_with_all_that_counts() {
    let mut disk = MemoryDisk::default();
    let batches: Vec<Vec<Plain>> = (0..12)
        .map(|n| vec![(n % 3, Some(n)), (n % 2 + 10, Some(n))])
        .collect();
    let batches: Vec<&[Plain]> = batches.iter().map(Vec::as_slice).collect();
    let (log, config) = log_of(&batches, &mut disk);
    let config = TopicConfig {
        segment_bytes: 500,
        ..config
    };
    let before = contents(&log, &disk);
    let last_of = |key: u8| before.iter().rfind(|record| record.1 == key).copied();
    let must_stay: Vec<_> = [0, 1, 2, 10, 11].into_iter().filter_map(last_of).collect();
    let mut points = 0;
    loop {
        let mut crashing = Crashing {
            inner: disk.clone(),
            left: Cell::new(points),
        };
        let done = clean(&mut log.clone(), &config, NOW, &mut crashing);
        let mut after = crashing.inner;
        let again = open(&mut after, false);
        let left = contents(&again, &after);
        assert!(
            must_stay.iter().all(|record| left.contains(record)),
            "{points}: {left:?}"
        );
        assert!(
            left.iter().all(|record| before.contains(record)),
            "{points}: {left:?}"
        );
        assert!(left.is_sorted(), "{points}: {left:?}");
        assert_eq!(again.log_end_offset(), log.log_end_offset(), "{points}");
        assert_sound(&after);
        let rest = after.list(&format!("{DIR}/"));
        let temporary = |path: &String| path.ends_with(".cleaned") || path.ends_with(".swap");
        assert!(!rest.iter().any(temporary), "{points}: {rest:?}");
        if done.is_ok() {
            assert!(points > 40, "{points} writes");
            return;
        }
        points += 1;
    }
}
