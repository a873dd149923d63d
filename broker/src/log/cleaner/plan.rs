//! Whether a log is to be cleaned, and how far (`LogCleanerManager.cleanableOffsets`, `LogToClean`,
//! `Cleaner.groupSegmentsBySize`).

use super::Known;
use crate::bug::Bug;
use crate::config::TopicConfig;
use crate::ids::Offset;
use crate::log::partition_log::PartitionLog;

/// One part of a ratio that is told in millionths.
const MILLION: u128 = 1_000_000;

/// What of a log can be cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanable {
    /// Below it the log is clean.
    pub first_dirty: Offset,
    /// From there on it is not touched: the start of a segment.
    pub first_uncleanable: Offset,
    /// Bytes of segments that begin below [`first_dirty`](Self::first_dirty).
    pub clean_bytes: u64,
    /// Bytes of segments from there to [`first_uncleanable`](Self::first_uncleanable).
    pub cleanable_bytes: u64,
    /// `max.compaction.lag.ms` is over.
    pub is_overdue: bool,
}

impl Cleanable {
    /// Of a log that was clean up to `checkpoint`, as far as known. `last_stable_offset` is never
    /// above the high watermark; without transactions it is that. `now_ms` is the wall clock.
    pub fn of(
        log: &PartitionLog,
        checkpoint: Option<Offset>,
        last_stable_offset: Offset,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Cleanable {
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let last_stable_offset = match log.bug {
            Some(Bug::CleanerPastLsoHw) => end,
            _ => last_stable_offset,
        };
        let known = checkpoint.filter(|offset| (start..=end).contains(offset));
        let first_dirty = known.unwrap_or(start);
        let active = log.active().base_offset;
        let dirty = |offset: Offset| {
            let from = log.segment_of(offset).base_offset;
            let mut segments = log.segments.iter();
            let position = segments.position(move |segment| segment.base_offset >= from);
            log.segments[position.unwrap_or(log.segments.len())..]
                .iter()
                .take_while(move |segment| segment.base_offset < active)
        };
        let lag = config.min_compaction_lag_ms.max(0);
        let too_new = (lag > 0)
            .then(|| {
                let mut segments = dirty(first_dirty);
                segments.find(|segment| segment.max_timestamp() > now_ms.saturating_sub(lag))
            })
            .flatten();
        let bound = too_new
            .map_or(active, |segment| segment.base_offset)
            .min(last_stable_offset)
            .min(active)
            .max(first_dirty);
        // The segment that holds the bound is not cleaned.
        let first_uncleanable = log.segment_of(bound).base_offset.min(active);
        let from = first_dirty.min(first_uncleanable);
        let cleanable_bytes = dirty(from)
            .take_while(|segment| segment.base_offset < first_uncleanable)
            .map(|segment| segment.size)
            .sum();
        let clean = log.segments.iter();
        let clean_bytes = clean
            .take_while(|segment| segment.base_offset < first_dirty)
            .map(|segment| segment.size)
            .sum();
        let clean_until = now_ms.saturating_sub(config.max_compaction_lag_ms.max(0));
        let is_overdue = dirty(first_dirty)
            .filter_map(|segment| segment.first_timestamp())
            .any(|first| first > 0 && first < clean_until);
        Cleanable {
            first_dirty,
            first_uncleanable,
            clean_bytes,
            cleanable_bytes,
            is_overdue,
        }
    }

    /// Dirty bytes among all that could be cleaned, in millionths.
    pub fn ratio_millionths(&self) -> u32 {
        let total = u128::from(self.clean_bytes) + u128::from(self.cleanable_bytes);
        if total == 0 {
            return 0;
        }
        (u128::from(self.cleanable_bytes) * MILLION / total) as u32
    }

    /// Whether the log is to be cleaned now: above `min.cleanable.dirty.ratio`, or overdue. Of several
    /// the one with the highest ratio is first.
    pub fn is_due(&self, config: &TopicConfig) -> bool {
        self.cleanable_bytes > 0
            && (self.is_overdue || self.ratio_millionths() > config.min_cleanable_dirty_ratio)
    }
}

/// Segments that become one, in order: as many as `max_bytes` hold and offsets allow.
pub(super) fn group(segments: &[Known], max_bytes: u64, bound: Offset) -> Vec<Vec<Known>> {
    let mut groups: Vec<Vec<Known>> = Vec::new();
    let mut bytes = 0;
    for (index, segment) in segments.iter().enumerate() {
        let end = segments
            .get(index + 1)
            .map_or(bound, |next| next.base_offset);
        let fits = groups.last().is_some_and(|group| {
            let span = (end - 1).saturating_sub(group[0].base_offset);
            bytes + segment.size <= max_bytes && (segment.size == 0 || span <= i64::from(i32::MAX))
        });
        if fits {
            groups.last_mut().expect("it fits into one").push(*segment);
            bytes += segment.size;
        } else {
            groups.push(vec![*segment]);
            bytes = segment.size;
        }
    }
    groups
}
