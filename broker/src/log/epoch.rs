//! Which leader epoch begins at which offset: Kafka's `LeaderEpochFileCache` (KIP-101, KIP-279).
//!
//! Entries grow in epoch and in start offset. A leader adds its epoch when it takes over, even if
//! it never writes (KAFKA-7415); every replica adds the epochs it finds in appended batches.

use crate::ids::{LeaderEpoch, NO_EPOCH, Offset};
use crate::log::checkpoint::{MalformedCheckpoint, checkpoint_lines, checkpoint_text};

/// One epoch and the offset of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Kafka's own names
pub struct EpochEntry {
    pub epoch: LeaderEpoch,
    pub start_offset: Offset,
}

/// The epochs of one replica's log, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochCache {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochCache {
    /// Name of the checkpoint in the partition's directory.
    pub const FILE: &'static str = "leader-epoch-checkpoint";

    /// Without entries.
    pub fn new() -> LeaderEpochCache {
        LeaderEpochCache::default()
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// Notes that `epoch` begins at `start_offset` and says whether that changed anything. Once
    /// assigned, the latest epoch keeps its start unless an earlier one is given. Entries that the new
    /// one contradicts (a higher epoch or a later start) are removed.
    ///
    /// # Panics
    /// On a negative epoch or offset, which Kafka refuses too.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        assert!(
            epoch >= 0 && start_offset >= 0,
            "leader epoch {epoch} assigned at offset {start_offset}"
        );
        if let Some(latest) = self.entries.last()
            && latest.epoch == epoch
            && latest.start_offset <= start_offset
        {
            return false;
        }
        while let Some(last) = self.entries.last()
            && (last.epoch >= epoch || last.start_offset >= start_offset)
        {
            self.entries.pop();
        }
        self.entries.push(EpochEntry {
            epoch,
            start_offset,
        });
        true
    }

    /// The latest epoch, if there is one.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// The epoch before the latest one.
    pub fn previous_epoch(&self) -> Option<LeaderEpoch> {
        let index = self.entries.len().checked_sub(2)?;
        Some(self.entries[index].epoch)
    }

    /// The largest epoch that is not above `epoch`, and the offset at which it ends: the start of the
    /// next epoch, or `log_end` where `epoch` is the latest.
    ///
    /// Undefined (`None`) where `epoch` is -1, or above every known epoch. Below every known epoch the
    /// answer is `epoch` itself, ending where the first known one starts.
    pub fn end_offset_for(
        &self,
        epoch: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        if epoch == NO_EPOCH {
            return None;
        }
        if self.latest_epoch() == Some(epoch) {
            return Some((epoch, log_end));
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(higher)?.start_offset;
        let found = match higher.checked_sub(1) {
            Some(floor) => self.entries[floor].epoch,
            None => epoch,
        };
        Some((found, end))
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= offset);
        Some(self.entries[after.checked_sub(1)?].epoch)
    }

    /// Removes the epochs that start at or behind `end_offset` and says whether there were any.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let before = self.entries.len();
        while let Some(last) = self.entries.last()
            && end_offset >= 0
            && last.start_offset >= end_offset
        {
            self.entries.pop();
        }
        self.entries.len() != before
    }

    /// Removes the epochs that end at or before `start_offset`; the one that covers it then starts
    /// there. Says whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let covered = self
            .entries
            .partition_point(|entry| entry.start_offset <= start_offset);
        if covered == 0 || (covered == 1 && self.entries[0].start_offset == start_offset) {
            return false;
        }
        self.entries.drain(..covered - 1);
        self.entries[0].start_offset = start_offset;
        true
    }

    /// Forgets everything (`clearAndFlush`).
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The checkpoint's text: version 0, then `epoch startOffset` a line.
    pub fn to_checkpoint(&self) -> String {
        checkpoint_text(self.entries.iter(), |entry, out| {
            use std::fmt::Write;
            write!(out, "{} {}", entry.epoch, entry.start_offset).expect("writes to a string");
        })
    }

    /// Reads a checkpoint; an empty text has no entries, as in Kafka. Entries pass through
    /// [`assign`](Self::assign), so contradicting ones fall out.
    ///
    /// # Errors
    /// Where the text is not a checkpoint of version 0. Kafka takes the log directory offline then.
    pub fn from_checkpoint(text: &str) -> Result<LeaderEpochCache, MalformedCheckpoint> {
        let mut cache = LeaderEpochCache::new();
        for (number, line) in checkpoint_lines(text)? {
            let malformed = || MalformedCheckpoint::line(number, line);
            let mut fields = line.split_whitespace();
            let (Some(epoch), Some(start), None) = (fields.next(), fields.next(), fields.next())
            else {
                return Err(malformed());
            };
            let epoch: LeaderEpoch = epoch.parse().map_err(|_| malformed())?;
            let start_offset: Offset = start.parse().map_err(|_| malformed())?;
            if epoch < 0 || start_offset < 0 {
                return Err(malformed());
            }
            cache.assign(epoch, start_offset);
        }
        Ok(cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn cache(entries: &[(LeaderEpoch, Offset)]) -> LeaderEpochCache {
        let mut cache = LeaderEpochCache::new();
        for &(epoch, start) in entries {
            cache.assign(epoch, start);
        }
        cache
    }

    #[test]
    fn end_offset_of_a_middle_epoch_is_the_start_of_the_next() {
        let cache = cache(&[(2, 10), (4, 20), (7, 30)]);
        assert_eq!(cache.end_offset_for(7, 35), Some((7, 35)));
        assert_eq!(cache.end_offset_for(4, 35), Some((4, 30)));
        assert_eq!(cache.end_offset_for(5, 35), Some((4, 30)));
        assert_eq!(cache.end_offset_for(3, 35), Some((2, 20)));
    }

    #[test]
    fn end_offset_is_undefined_above_every_epoch_and_starts_the_log_below() {
        let cache = cache(&[(2, 10), (4, 20)]);
        assert_eq!(cache.end_offset_for(5, 25), None);
        assert_eq!(cache.end_offset_for(NO_EPOCH, 25), None);
        assert_eq!(cache.end_offset_for(1, 25), Some((1, 10)));
        assert_eq!(LeaderEpochCache::new().end_offset_for(0, 0), None);
    }

    #[test]
    fn epoch_zero_is_an_epoch_like_any_other() {
        // KAFKA-10432
        let cache = cache(&[(0, 0)]);
        assert_eq!(cache.latest_epoch(), Some(0));
        assert_eq!(cache.end_offset_for(0, 3), Some((0, 3)));
    }

    #[test]
    fn a_leader_that_never_wrote_gives_way_to_the_next_at_the_same_offset() {
        let mut cache = cache(&[(1, 0), (2, 10)]);
        assert!(cache.assign(3, 10));
        assert_eq!(cache.previous_epoch(), Some(1));
        assert_eq!(cache.end_offset_for(1, 12), Some((1, 10)));
        assert!(!cache.assign(3, 11), "assigned once, the start stays");
    }

    #[test]
    fn truncating_to_the_log_end_drops_an_epoch_that_starts_there() {
        // KAFKA-10706
        let mut cache = cache(&[(1, 0), (2, 10)]);
        assert!(cache.truncate_from_end(10));
        assert_eq!(cache.latest_epoch(), Some(1));
        assert!(!cache.truncate_from_end(10));
    }

    #[test]
    fn checkpoint_text_is_kafkas() {
        let cache = cache(&[(1, 0), (2, 10)]);
        assert_eq!(cache.to_checkpoint(), "0\n2\n1 0\n2 10\n");
        for bad in [
            "1\n0\n",
            "0\n1\n",
            "0\n1\n1\n",
            "0\n1\n1 x\n",
            "0\n1\n1 2 3\n",
            "0\n1\n-1 0\n",
            "x",
        ] {
            assert!(LeaderEpochCache::from_checkpoint(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            LeaderEpochCache::from_checkpoint(""),
            Ok(LeaderEpochCache::new())
        );
    }

    /// The same cache, written down naively after the text of `LeaderEpochFileCache`.
    #[derive(Default)]
    struct Naive(BTreeMap<i32, i64>);

    impl Naive {
        fn assign(&mut self, epoch: i32, start: i64) {
            if let Some((&latest, &at)) = self.0.last_key_value()
                && latest == epoch
                && at <= start
            {
                return;
            }
            let kept: Vec<(i32, i64)> = self.0.iter().map(|(&e, &s)| (e, s)).collect();
            let conflict = |&(e, s): &(i32, i64)| e >= epoch || s >= start;
            let keep = kept.len()
                - kept
                    .iter()
                    .rev()
                    .take_while(|entry| conflict(entry))
                    .count();
            self.0 = kept[..keep].iter().copied().collect();
            self.0.insert(epoch, start);
        }

        fn end_offset_for(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
            let (&latest, _) = self.0.last_key_value()?;
            if latest == epoch {
                return Some((epoch, log_end));
            }
            let (_, &end) = self.0.range(epoch + 1..).next()?;
            let floor = self.0.range(..=epoch).next_back();
            Some((floor.map_or(epoch, |(&e, _)| e), end))
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_cache(steps in proptest::collection::vec((0..8i32, 0..30i64, 0..4u8), 1..40), asked in 0..10i32) {
            let mut cache = LeaderEpochCache::new();
            let mut naive = Naive::default();
            for (epoch, offset, what) in steps {
                match what {
                    0 => {
                        cache.truncate_from_end(offset);
                        naive.0.retain(|_, start| *start < offset);
                    }
                    1 => {
                        cache.truncate_from_start(offset);
                        let covering = naive.0.iter().filter(|(_, s)| **s <= offset).map(|(e, _)| *e).max();
                        naive.0.retain(|_, start| *start > offset);
                        naive.0.extend(covering.map(|epoch| (epoch, offset)));
                    }
                    _ => {
                        cache.assign(epoch, offset);
                        naive.assign(epoch, offset);
                    }
                }
                let entries: Vec<(i32, i64)> = cache.entries().iter().map(|e| (e.epoch, e.start_offset)).collect();
                prop_assert_eq!(&entries, &naive.0.iter().map(|(&e, &s)| (e, s)).collect::<Vec<_>>());
                prop_assert!(entries.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
                prop_assert_eq!(cache.end_offset_for(asked, 99), naive.end_offset_for(asked, 99));
                prop_assert_eq!(LeaderEpochCache::from_checkpoint(&cache.to_checkpoint()), Ok(cache.clone()));
            }
        }
    }
}
