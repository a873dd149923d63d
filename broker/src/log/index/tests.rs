use super::*;
use proptest::prelude::*;

const BASE: Offset = 100;

fn batch(last_offset: Offset, max_timestamp: i64, position: u64, size: u32) -> IndexedBatch {
    IndexedBatch {
        last_offset,
        max_timestamp,
        position,
        size,
    }
}

fn position(offset: Offset, position: u64) -> OffsetPosition {
    OffsetPosition { offset, position }
}

fn time(timestamp: i64, offset: Offset) -> TimestampOffset {
    TimestampOffset { timestamp, offset }
}

#[test]
fn a_batch_gets_an_entry_once_more_than_the_interval_lies_before_it() {
    let mut indexes = SegmentIndexes::new(BASE);
    assert_eq!(indexes.append(batch(100, 7, 0, 40), 40), None);
    assert_eq!(
        indexes.append(batch(101, 6, 40, 1), 40),
        None,
        "exactly the interval is not more than it"
    );
    let new = indexes.append(batch(105, 5, 41, 30), 40).unwrap();
    assert_eq!(new.offset, [0, 0, 0, 5, 0, 0, 0, 41]);
    assert_eq!(
        new.time,
        Some([0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0]),
        "the largest timestamp and whose it was"
    );
    assert_eq!(indexes.append(batch(106, 5, 71, 30), 40), None);
    let new = indexes.append(batch(107, 7, 101, 30), 40).unwrap();
    assert_eq!(new.time, None, "no later timestamp came");
    assert_eq!(
        indexes.offsets().entries(),
        [position(105, 41), position(107, 101)]
    );
    assert_eq!(indexes.become_inactive(), None);
    indexes.append(batch(108, 9, 131, 1), 40);
    assert_eq!(
        indexes.become_inactive(),
        Some([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8])
    );
    assert_eq!(
        indexes.become_inactive(),
        None,
        "closing twice adds nothing"
    );
    assert_eq!(indexes.times().last_entry(), time(9, 108));
}

#[test]
fn a_segment_without_timestamps_has_an_empty_time_index() {
    let mut indexes = SegmentIndexes::new(BASE);
    for n in 0..9 {
        indexes.append(batch(BASE + n, -1, n as u64 * 10, 10), 5);
    }
    assert_eq!(indexes.become_inactive(), None);
    assert_eq!((indexes.offsets().size(), indexes.times().size()), (64, 0));
}

#[test]
fn lookup_finds_the_entry_at_or_before() {
    let mut offsets = OffsetIndex::new(BASE);
    offsets.append(110, 50);
    offsets.append(120, 90);
    assert_eq!(offsets.lookup(99), position(BASE, 0));
    assert_eq!(offsets.lookup(109), position(BASE, 0));
    assert_eq!(offsets.lookup(110), position(110, 50));
    assert_eq!(offsets.lookup(500), position(120, 90));
    let mut times = TimeIndex::new(BASE);
    times.maybe_append(time(10, 110));
    times.maybe_append(time(20, 110));
    assert_eq!(times.lookup(9), time(-1, BASE));
    assert_eq!(times.lookup(19), time(10, 110));
    assert_eq!(times.lookup(20), time(20, 110));
}

#[test]
fn a_damaged_timestamp_that_the_last_entry_covers_is_passed_over() {
    let batches = [batch(100, 5, 0, 20), batch(101, 9, 20, 20)];
    let mut indexes = SegmentIndexes::new(BASE);
    for batch in batches {
        indexes.append(batch, 10);
    }
    let damaged = batch(100, 1 << 60, 0, 20);
    indexes.truncate_to(102, [damaged, batches[1]]);
    assert_eq!(indexes.max_timestamp(), time(9, 101));
    assert!(indexes.become_inactive().is_none());
}

#[test]
fn truncation_keeps_what_lies_before_and_finds_the_largest_timestamp_again() {
    let batches = [
        batch(100, 5, 0, 20),
        batch(101, 9, 20, 20),
        batch(102, 6, 40, 20),
        batch(103, 30, 60, 20),
    ];
    let mut indexes = SegmentIndexes::new(BASE);
    for batch in batches {
        indexes.append(batch, 10);
    }
    indexes.truncate_to(102, batches[..2].iter().copied());
    assert_eq!(indexes.offsets().entries(), [position(101, 20)]);
    assert_eq!(indexes.times().entries(), [time(9, 101)]);
    assert_eq!(indexes.max_timestamp(), time(9, 101));
    assert_eq!(
        indexes.append(batch(102, 1, 40, 20), 10),
        None,
        "bytes before the truncation do not count"
    );
    assert!(indexes.append(batch(103, 1, 60, 20), 10).is_some());
    indexes.truncate_to(BASE, []);
    assert_eq!(indexes, SegmentIndexes::new(BASE));
}

#[test]
fn a_full_index_leaves_room_for_the_last_timestamp() {
    let mut indexes = SegmentIndexes::new(BASE);
    for n in 0..3 {
        assert!(!indexes.is_full(48), "{n} entries of four and six");
        indexes.append(batch(BASE + n, n, n as u64, 1), 0);
        indexes.append(batch(BASE + n, n, n as u64, 0), i32::MAX);
    }
    let (offsets, times) = (indexes.offsets(), indexes.times());
    assert_eq!((offsets.entries().len(), times.entries().len()), (2, 2));
    assert!(!times.is_full(48));
    indexes.append(batch(BASE + 3, 3, 3, 1), 0);
    assert!(indexes.times().is_full(48), "three of four");
    assert!(!indexes.offsets().is_full(48), "three of six");
}

#[test]
fn zeros_behind_the_last_entry_are_a_preallocated_file() {
    let mut indexes = SegmentIndexes::new(0);
    for n in 0..4 {
        indexes.append(batch(n, n, n as u64 * 10, 10), 0);
    }
    let (offsets, times) = (indexes.offsets().clone(), indexes.times().clone());
    for zeros in [0, 7, 800] {
        let with_zeros = |mut bytes: Vec<u8>| {
            bytes.resize(bytes.len() + zeros, 0);
            bytes
        };
        let bytes = with_zeros(offsets.to_bytes());
        assert_eq!(OffsetIndex::parse(&bytes, 0, true), Ok(offsets.clone()));
        assert_eq!(OffsetIndex::parse(&bytes, 0, false).is_ok(), zeros == 0);
        let bytes = with_zeros(times.to_bytes());
        assert_eq!(TimeIndex::parse(&bytes, 0, true), Ok(times.clone()));
        assert_eq!(TimeIndex::parse(&bytes, 0, false).is_ok(), zeros == 0);
    }
}

#[test]
fn errors_say_where_and_what() {
    let told = |bytes: &[u8]| {
        OffsetIndex::parse(bytes, BASE, false)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        told(&[0, 0, 0, 1, 0, 0]),
        "byte 0: 6 bytes are no whole entry of 8 bytes"
    );
    assert_eq!(
        told(&[255, 255, 255, 255, 0, 0, 0, 1]),
        "byte 0: offset 99 is below the base offset 100"
    );
    assert_eq!(
        told(&[0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 9]),
        "byte 12: position 9 follows 9"
    );
    assert_eq!(
        told(&[0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 10]),
        "byte 8: offset 101 follows 101"
    );
    let told = |bytes: &[u8]| {
        TimeIndex::parse(bytes, BASE, false)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        told(&[0, 0, 0, 0, 0, 0, 0, 5, 128, 0, 0, 0]),
        "byte 8: offset -2147483548 is below the base offset 100"
    );
    let twice = [[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1]; 2].concat();
    assert_eq!(told(&twice), "byte 12: timestamp 5 follows 5");
    let back = [
        [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0],
    ];
    assert_eq!(told(&back.concat()), "byte 20: offset 100 follows 101");
}

#[test]
fn offsets_that_do_not_fit_a_segment_are_none() {
    assert_eq!(relative_offset(BASE, BASE), Some(0));
    assert_eq!(relative_offset(0, i64::from(i32::MAX)), Some(i32::MAX));
    assert_eq!(relative_offset(0, 1 << 31), None);
    assert_eq!(relative_offset(BASE, BASE - 1), None);
    assert_eq!(relative_offset(-1, i64::MAX), None);
}

fn batches() -> impl Strategy<Value = Vec<IndexedBatch>> {
    let drawn = (1..5i64, -1..1000i64, 61..400u32);
    proptest::collection::vec(drawn, 0..60).prop_map(|drawn| {
        let (mut offset, mut at) = (BASE - 1, 0);
        let place = |(records, timestamp, size): (i64, i64, u32)| {
            offset += records;
            at += u64::from(size);
            batch(offset, timestamp, at - u64::from(size), size)
        };
        drawn.into_iter().map(place).collect()
    })
}

proptest! {
    #[test]
    fn the_files_are_the_entries_and_come_back(batches in batches(), interval in 0..1000i32) {
        let mut indexes = SegmentIndexes::new(BASE);
        let (mut offset_file, mut time_file) = (Vec::new(), Vec::new());
        for &batch in &batches {
            if let Some(new) = indexes.append(batch, interval) {
                offset_file.extend(new.offset);
                time_file.extend(new.time.into_iter().flatten());
            }
        }
        time_file.extend(indexes.become_inactive().into_iter().flatten());
        prop_assert_eq!(&offset_file, &indexes.offsets().to_bytes());
        prop_assert_eq!(&time_file, &indexes.times().to_bytes());
        let offsets = OffsetIndex::parse(&offset_file, BASE, false).unwrap();
        let times = TimeIndex::parse(&time_file, BASE, false).unwrap();
        prop_assert_eq!(&offsets, indexes.offsets());
        prop_assert_eq!(&times, indexes.times());
        let latest = batches.iter().map(|batch| batch.max_timestamp).max().unwrap_or(-1);
        prop_assert_eq!(times.last_entry().timestamp, latest);
        let rebuilt = SegmentIndexes::rebuild(BASE, batches, interval);
        prop_assert_eq!(rebuilt.offsets(), &offsets);
        prop_assert_eq!(rebuilt.times(), &times);
    }

    /// What the lookups are for: the batch that is asked for is never before the position found, and
    /// no record behind the offset found is needed for an earlier timestamp.
    #[test]
    fn lookups_never_skip_what_is_asked_for(batches in batches(), interval in 0..1000i32, offset in BASE..BASE + 200, timestamp in 0..1000i64) {
        let indexes = SegmentIndexes::rebuild(BASE, batches.iter().copied(), interval);
        let position = indexes.offsets().lookup(offset).position;
        if let Some(asked) = batches.iter().find(|batch| batch.last_offset >= offset) {
            prop_assert!(position <= asked.position);
        }
        let from = indexes.times().lookup(timestamp - 1).offset;
        if let Some(asked) = batches.iter().find(|batch| batch.max_timestamp >= timestamp) {
            prop_assert!(from <= asked.last_offset);
        }
    }

    #[test]
    fn a_truncated_index_goes_on_as_one_of_the_batches_left(batches in batches(), interval in 0..1000i32, kept in any::<prop::sample::Index>()) {
        let mut indexes = SegmentIndexes::new(BASE);
        for &batch in &batches {
            indexes.append(batch, interval);
        }
        let left = &batches[..kept.index(batches.len() + 1)];
        let end = left.last().map_or(BASE, |batch| batch.last_offset + 1);
        indexes.truncate_to(end, left.iter().copied());
        prop_assert!(indexes.offsets().entries().iter().all(|entry| entry.offset < end));
        let latest = left.iter().map(|batch| batch.max_timestamp).max().unwrap_or(-1);
        prop_assert_eq!(indexes.max_timestamp().timestamp, latest);
        indexes.become_inactive();
        prop_assert_eq!(indexes.times().last_entry().timestamp, latest);
    }

    #[test]
    fn damaged_files_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60), base in any::<i64>(), preallocated in any::<bool>()) {
        if let Ok(index) = OffsetIndex::parse(&bytes, base, preallocated) {
            let written = index.to_bytes();
            prop_assert_eq!(&written[..], &bytes[..written.len()]);
        }
        if let Ok(index) = TimeIndex::parse(&bytes, base, preallocated) {
            let written = index.to_bytes();
            prop_assert_eq!(&written[..], &bytes[..written.len()]);
        }
    }
}
