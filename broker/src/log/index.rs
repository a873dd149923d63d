//! The two indexes of a segment: offsets to positions (`.index`, Kafka's `OffsetIndex`) and
//! timestamps to offsets (`.timeindex`, `TimeIndex`), and when they get an entry (`LogSegment`).
//!
//! An index is sparse: a batch gets an entry once more than `index.interval.bytes` lie between it
//! and the batch of the last entry. Offsets are kept relative to the segment's base offset, big
//! endian. The entries stay in memory; whoever owns the files appends the bytes given here.
//!
//! What differs from Kafka: files are not preallocated and mapped, so that they never have to be
//! trimmed; a preallocated file that a killed broker left is read. Every entry is checked when a
//! file is read, where Kafka looks at the last one only.

use crate::ids::Offset;
use crate::log::malformed::Malformed;

/// Bytes of an entry of the offset index.
pub const OFFSET_ENTRY_BYTES: usize = 8;
/// Bytes of an entry of the time index.
pub const TIME_ENTRY_BYTES: usize = 12;

/// `TimestampOffset` of an index without entries has this timestamp (`RecordBatch.NO_TIMESTAMP`).
const NO_TIMESTAMP: i64 = -1;

/// An entry of the offset index: the batch that ends at `offset` begins at byte `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetPosition {
    /// Last offset of the batch.
    pub offset: Offset,
    /// First byte of the batch in the segment file; below 2^31.
    pub position: u64,
}

/// An entry of the time index: no record up to `offset` is later than `timestamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Largest timestamp so far, milliseconds since 1970; -1 for none.
    pub timestamp: i64,
    /// Last offset of the batch that has it.
    pub offset: Offset,
}

/// The offset as an index holds it, where the segment can hold it (`AbstractIndex.toRelative`).
pub fn relative_offset(base_offset: Offset, offset: Offset) -> Option<i32> {
    let relative = offset.checked_sub(base_offset)?;
    i32::try_from(relative)
        .ok()
        .filter(|&relative| relative >= 0)
}

/// Whole entries of `bytes`, without the zeros at the end of a preallocated file.
fn entries_of<const SIZE: usize>(
    bytes: &[u8],
    preallocated: bool,
) -> Result<&[[u8; SIZE]], Malformed> {
    let (mut entries, rest) = bytes.as_chunks::<SIZE>();
    if preallocated {
        let used = entries.iter().rposition(|entry| *entry != [0; SIZE]);
        entries = &entries[..used.map_or(0, |last| last + 1)];
    } else if !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let what = format!("{} bytes are no whole entry of {SIZE} bytes", rest.len());
        return Err(Malformed::new(at as u64, what));
    }
    Ok(entries)
}

fn i32_at(entry: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(entry[at..at + 4].try_into().expect("four bytes"))
}

/// `OffsetIndex`: the positions of some batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetIndex {
    base_offset: Offset,
    entries: Vec<OffsetPosition>,
}

impl OffsetIndex {
    /// Without entries, for the segment that starts at `base_offset`.
    pub fn new(base_offset: Offset) -> OffsetIndex {
        OffsetIndex {
            base_offset,
            entries: Vec::new(),
        }
    }

    /// Reads a file. `preallocated` lets zeros follow the last entry, as a killed Kafka leaves
    /// them; no entry is at position 0, so that zeros are none.
    ///
    /// # Errors
    /// Where bytes are left behind the last entry, an offset or position is negative, or does not
    /// grow (`OffsetIndex.sanityCheck`).
    pub fn parse(
        bytes: &[u8],
        base_offset: Offset,
        preallocated: bool,
    ) -> Result<OffsetIndex, Malformed> {
        let raw = entries_of::<OFFSET_ENTRY_BYTES>(bytes, preallocated)?;
        let mut index = OffsetIndex::new(base_offset);
        index.entries.reserve(raw.len());
        for (number, entry) in raw.iter().enumerate() {
            let wrong = |field: usize, what: String| {
                Malformed::new((number * OFFSET_ENTRY_BYTES + field) as u64, what)
            };
            let (relative, position) = (i32_at(entry, 0), i32_at(entry, 4));
            let offset = base_offset.wrapping_add(i64::from(relative));
            if relative < 0 || offset < base_offset {
                let what = format!("offset {offset} is below the base offset {base_offset}");
                return Err(wrong(0, what));
            }
            if position < 0 {
                return Err(wrong(4, format!("position {position} is negative")));
            }
            let position = position as u64;
            if let Some(before) = index.entries.last() {
                if offset <= before.offset {
                    let what = format!("offset {offset} follows {}", before.offset);
                    return Err(wrong(0, what));
                }
                if position <= before.position {
                    let what = format!("position {position} follows {}", before.position);
                    return Err(wrong(4, what));
                }
            }
            index.entries.push(OffsetPosition { offset, position });
        }
        Ok(index)
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[OffsetPosition] {
        &self.entries
    }

    /// Bytes of the file.
    pub fn size(&self) -> usize {
        self.entries.len() * OFFSET_ENTRY_BYTES
    }

    /// The last entry; base offset and position 0 without entries, as in `lastEntry`.
    pub fn last_entry(&self) -> OffsetPosition {
        self.entries.last().copied().unwrap_or(OffsetPosition {
            offset: self.base_offset,
            position: 0,
        })
    }

    /// Adds an entry and returns the bytes that the file gets.
    ///
    /// # Panics
    /// Where `offset` is not above the last entry's, or does not fit the segment (Kafka's
    /// `InvalidOffsetException` and `IndexOffsetOverflowException`), or the position takes 32 bits:
    /// the log has checked its batches.
    pub fn append(&mut self, offset: Offset, position: u64) -> [u8; OFFSET_ENTRY_BYTES] {
        let base = self.base_offset;
        assert!(
            self.entries.last().is_none_or(|last| offset > last.offset),
            "offset index {base}: {offset} follows {:?}",
            self.entries.last()
        );
        let entry = OffsetPosition { offset, position };
        self.entries.push(entry);
        self.encoded(entry)
    }

    fn encoded(&self, entry: OffsetPosition) -> [u8; OFFSET_ENTRY_BYTES] {
        let OffsetPosition { offset, position } = entry;
        let (Some(relative), Ok(position)) = (
            relative_offset(self.base_offset, offset),
            i32::try_from(position),
        ) else {
            panic!("offset index {}: {entry:?} does not fit", self.base_offset);
        };
        let mut bytes = [0; OFFSET_ENTRY_BYTES];
        bytes[..4].copy_from_slice(&relative.to_be_bytes());
        bytes[4..].copy_from_slice(&position.to_be_bytes());
        bytes
    }

    /// The whole file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let entries = self.entries.iter();
        entries.flat_map(|&entry| self.encoded(entry)).collect()
    }

    /// Where to look for `offset`: the entry with the largest offset not above it, base offset and
    /// position 0 where there is none.
    pub fn lookup(&self, offset: Offset) -> OffsetPosition {
        let behind = self.entries.partition_point(|entry| entry.offset <= offset);
        let found = behind.checked_sub(1).map(|at| self.entries[at]);
        found.unwrap_or(OffsetPosition {
            offset: self.base_offset,
            position: 0,
        })
    }

    /// Removes the entries from `offset` on and says whether there were any.
    pub fn truncate_to(&mut self, offset: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.offset < offset);
        let removed = kept < self.entries.len();
        self.entries.truncate(kept);
        removed
    }

    /// Whether `max_index_bytes` (`segment.index.bytes`) are used up: the segment is rolled then.
    pub fn is_full(&self, max_index_bytes: usize) -> bool {
        self.entries.len() >= max_index_bytes / OFFSET_ENTRY_BYTES
    }
}

/// `TimeIndex`: the largest timestamp up to some offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeIndex {
    base_offset: Offset,
    entries: Vec<TimestampOffset>,
}

impl TimeIndex {
    /// Without entries, for the segment that starts at `base_offset`.
    pub fn new(base_offset: Offset) -> TimeIndex {
        TimeIndex {
            base_offset,
            entries: Vec::new(),
        }
    }

    /// Reads a file; `preallocated` as in [`OffsetIndex::parse`].
    ///
    /// # Errors
    /// Where bytes are left behind the last entry, an offset is below the base offset, a timestamp
    /// does not grow or an offset goes back (`TimeIndex.sanityCheck`, `maybeAppend`).
    pub fn parse(
        bytes: &[u8],
        base_offset: Offset,
        preallocated: bool,
    ) -> Result<TimeIndex, Malformed> {
        let raw = entries_of::<TIME_ENTRY_BYTES>(bytes, preallocated)?;
        let mut index = TimeIndex::new(base_offset);
        index.entries.reserve(raw.len());
        for (number, entry) in raw.iter().enumerate() {
            let wrong = |field: usize, what: String| {
                Malformed::new((number * TIME_ENTRY_BYTES + field) as u64, what)
            };
            let timestamp = i64::from_be_bytes(entry[..8].try_into().expect("eight bytes"));
            let relative = i32_at(entry, 8);
            let offset = base_offset.wrapping_add(i64::from(relative));
            if relative < 0 || offset < base_offset {
                let what = format!("offset {offset} is below the base offset {base_offset}");
                return Err(wrong(8, what));
            }
            let before = index.last_entry();
            if timestamp <= before.timestamp {
                let what = format!("timestamp {timestamp} follows {}", before.timestamp);
                return Err(wrong(0, what));
            }
            if offset < before.offset {
                return Err(wrong(
                    8,
                    format!("offset {offset} follows {}", before.offset),
                ));
            }
            index.entries.push(TimestampOffset { timestamp, offset });
        }
        Ok(index)
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[TimestampOffset] {
        &self.entries
    }

    /// Bytes of the file.
    pub fn size(&self) -> usize {
        self.entries.len() * TIME_ENTRY_BYTES
    }

    /// The last entry; timestamp -1 and the base offset without entries, as in `lastEntry`.
    pub fn last_entry(&self) -> TimestampOffset {
        self.entries.last().copied().unwrap_or(TimestampOffset {
            timestamp: NO_TIMESTAMP,
            offset: self.base_offset,
        })
    }

    /// Adds an entry where the timestamp has grown since the last one, and returns the bytes that
    /// the file gets then (`maybeAppend`).
    ///
    /// # Panics
    /// Where timestamp or offset go back, which Kafka refuses too, or the offset does not fit.
    pub fn maybe_append(&mut self, entry: TimestampOffset) -> Option<[u8; TIME_ENTRY_BYTES]> {
        let last = self.last_entry();
        assert!(
            self.entries.is_empty()
                || (entry.offset >= last.offset && entry.timestamp >= last.timestamp),
            "time index {}: {entry:?} follows {last:?}",
            self.base_offset
        );
        if entry.timestamp <= last.timestamp {
            return None;
        }
        self.entries.push(entry);
        Some(self.encoded(entry))
    }

    fn encoded(&self, entry: TimestampOffset) -> [u8; TIME_ENTRY_BYTES] {
        let Some(relative) = relative_offset(self.base_offset, entry.offset) else {
            panic!("time index {}: {entry:?} does not fit", self.base_offset);
        };
        let mut bytes = [0; TIME_ENTRY_BYTES];
        bytes[..8].copy_from_slice(&entry.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&relative.to_be_bytes());
        bytes
    }

    /// The whole file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let entries = self.entries.iter();
        entries.flat_map(|&entry| self.encoded(entry)).collect()
    }

    /// The entry with the largest timestamp not above `timestamp`: records later than that lie
    /// behind its offset. Timestamp -1 and the base offset where there is none.
    pub fn lookup(&self, timestamp: i64) -> TimestampOffset {
        let behind = self
            .entries
            .partition_point(|entry| entry.timestamp <= timestamp);
        let found = behind.checked_sub(1).map(|at| self.entries[at]);
        found.unwrap_or(TimestampOffset {
            timestamp: NO_TIMESTAMP,
            offset: self.base_offset,
        })
    }

    /// Removes the entries from `offset` on and says whether there were any.
    pub fn truncate_to(&mut self, offset: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.offset < offset);
        let removed = kept < self.entries.len();
        self.entries.truncate(kept);
        removed
    }

    /// Whether `max_index_bytes` are used up but for the entry that a roll adds.
    pub fn is_full(&self, max_index_bytes: usize) -> bool {
        self.entries.len() + 1 >= max_index_bytes / TIME_ENTRY_BYTES
    }
}

/// What the indexes need of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedBatch {
    /// Its last offset.
    pub last_offset: Offset,
    /// Its largest timestamp.
    pub max_timestamp: i64,
    /// Its first byte in the segment file.
    pub position: u64,
    /// Its bytes.
    pub size: u32,
}

/// What one appended batch adds to the index files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewEntries {
    /// For the end of the offset index.
    pub offset: [u8; OFFSET_ENTRY_BYTES],
    /// For the end of the time index; `None` where no later timestamp came.
    pub time: Option<[u8; TIME_ENTRY_BYTES]>,
}

/// Both indexes of one segment, and what decides when they get an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentIndexes {
    offsets: OffsetIndex,
    times: TimeIndex,
    /// `bytesSinceLastIndexEntry`.
    bytes_since_last_entry: u64,
    /// `maxTimestampAndOffsetSoFar`.
    max_timestamp: TimestampOffset,
}

impl SegmentIndexes {
    /// Of an empty segment.
    pub fn new(base_offset: Offset) -> SegmentIndexes {
        SegmentIndexes::loaded(OffsetIndex::new(base_offset), TimeIndex::new(base_offset))
    }

    /// Of a segment whose indexes were read. The bytes behind the last entry do not count, as in
    /// Kafka after a restart.
    pub fn loaded(offsets: OffsetIndex, times: TimeIndex) -> SegmentIndexes {
        SegmentIndexes {
            max_timestamp: times.last_entry(),
            offsets,
            times,
            bytes_since_last_entry: 0,
        }
    }

    /// Builds both anew from a segment's batches, as recovery does (`LogSegment.recover`), with the
    /// last timestamp at their end.
    pub fn rebuild(
        base_offset: Offset,
        batches: impl IntoIterator<Item = IndexedBatch>,
        interval_bytes: i32,
    ) -> SegmentIndexes {
        let mut indexes = SegmentIndexes::new(base_offset);
        for batch in batches {
            indexes.append(batch, interval_bytes);
        }
        indexes.become_inactive();
        indexes.bytes_since_last_entry = 0;
        indexes
    }

    /// The offset index.
    pub fn offsets(&self) -> &OffsetIndex {
        &self.offsets
    }

    /// The time index.
    pub fn times(&self) -> &TimeIndex {
        &self.times
    }

    /// The largest timestamp of the segment (`maxTimestampSoFar`), -1 for none, and the last offset
    /// of the batch that has it.
    pub fn max_timestamp(&self) -> TimestampOffset {
        self.max_timestamp
    }

    /// Takes note of a batch that was appended, and returns what the files get, if an entry is due:
    /// where more than `interval_bytes` (`index.interval.bytes`) lie before it since the last one.
    /// Kafka looks at each batch of an append since KAFKA-806 (4.1), before only at the append.
    ///
    /// # Panics
    /// Where the batch does not follow those before, see [`OffsetIndex::append`].
    pub fn append(&mut self, batch: IndexedBatch, interval_bytes: i32) -> Option<NewEntries> {
        if batch.max_timestamp > self.max_timestamp.timestamp {
            self.max_timestamp = TimestampOffset {
                timestamp: batch.max_timestamp,
                offset: batch.last_offset,
            };
        }
        let due = self.bytes_since_last_entry > interval_bytes.max(0) as u64;
        let new = due.then(|| {
            self.bytes_since_last_entry = 0;
            NewEntries {
                offset: self.offsets.append(batch.last_offset, batch.position),
                time: self.times.maybe_append(self.max_timestamp),
            }
        });
        self.bytes_since_last_entry += u64::from(batch.size);
        new
    }

    /// The entry that the time index gets when the segment is rolled or closed, if its last one is
    /// not the largest timestamp already (`onBecomeInactiveSegment`, `close`).
    pub fn become_inactive(&mut self) -> Option<[u8; TIME_ENTRY_BYTES]> {
        self.times.maybe_append(self.max_timestamp)
    }

    /// Removes what points to `offset` or behind; `left` are the segment's batches that stay, from
    /// any one not behind the last entry that stays on. Both files are to be cut to
    /// [`OffsetIndex::size`] and [`TimeIndex::size`] (`LogSegment.truncateTo`,
    /// `readLargestTimestamp`).
    pub fn truncate_to(&mut self, offset: Offset, left: impl IntoIterator<Item = IndexedBatch>) {
        self.offsets.truncate_to(offset);
        self.times.truncate_to(offset);
        self.bytes_since_last_entry = 0;
        self.max_timestamp = self.times.last_entry();
        let indexed = self.times.entries().last().map(|last| last.offset);
        for batch in left {
            // One that the last entry covers is no younger, unless its stored timestamp was damaged: Kafka
            // fails at its next entry then (`TimeIndex.maybeAppend`), here it is passed over.
            let covered = indexed.is_some_and(|offset| batch.last_offset <= offset);
            if !covered && batch.max_timestamp > self.max_timestamp.timestamp {
                self.max_timestamp = TimestampOffset {
                    timestamp: batch.max_timestamp,
                    offset: batch.last_offset,
                };
            }
        }
    }

    /// Whether either index is full, see [`OffsetIndex::is_full`].
    pub fn is_full(&self, max_index_bytes: usize) -> bool {
        self.offsets.is_full(max_index_bytes) || self.times.is_full(max_index_bytes)
    }
}

#[cfg(test)]
mod tests;
