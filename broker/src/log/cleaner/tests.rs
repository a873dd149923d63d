use super::*;
use crate::config::BrokerConfig;
use crate::log::codec::{Codec, compress_batch};
use crate::log::control::end_txn_marker;
use crate::log::inspect::{DiskFolder, inspect};
use crate::log::memory_disk::MemoryDisk;
use crate::log::record::BatchBuilder;
use crate::log::recovery::LoadFrom;
use proptest::prelude::*;

mod crash;

const DIR: &str = "t-0";
const NOW: i64 = 1_000_000;
const TOKEN: SyncToken = SyncToken(1);

fn config(segment_bytes: i32) -> TopicConfig {
    TopicConfig {
        segment_bytes,
        index_interval_bytes: 100,
        delete_retention_ms: 1_000,
        ..BrokerConfig::from_properties(&BTreeMap::new())
            .expect("the defaults are legal")
            .topic_defaults
    }
}

fn open(disk: &mut dyn Disk, clean: bool) -> PartitionLog {
    let from = LoadFrom {
        clean,
        recovery_point: 0,
        log_start: 0,
        now_ms: NOW,
        bug: None,
    };
    let (mut log, _) = PartitionLog::open(DIR, disk, from).unwrap();
    log.update_high_watermark(Offset::MAX);
    log
}

/// Key and value of a record; no value is a tombstone.
type Plain = (u8, Option<u8>);

fn data(records: &[Plain]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for (key, value) in records {
        let value = value.map(|value| [value; 20]);
        builder.append(NOW, Some(&[*key]), value.as_ref().map(|v| &v[..]), &[]);
    }
    builder
}

fn append(
    log: &mut PartitionLog,
    mut builder: BatchBuilder,
    config: &TopicConfig,
    disk: &mut dyn Disk,
) {
    builder.set_base(log.log_end_offset(), 0);
    let batch = builder.build();
    log.append_as_follower(&batch, config, NOW, disk).unwrap();
}

fn marker(
    log: &mut PartitionLog,
    id: ProducerId,
    committed: bool,
    config: &TopicConfig,
    disk: &mut dyn Disk,
) {
    let (key, value) = end_txn_marker(committed, 0);
    let mut builder = BatchBuilder::new();
    builder.append(NOW, Some(&key), Some(&value), &[]);
    builder.set_transactional(true);
    builder.set_producer_state(id, 0, -1);
    append(log, builder, config, disk);
}

/// Cleans all that can be cleaned, as if it were all dirty.
fn clean(
    log: &mut PartitionLog,
    config: &TopicConfig,
    now_ms: i64,
    disk: &mut dyn Disk,
) -> Result<Offset, CleaningError> {
    let cleanable = Cleanable::of(log, None, log.high_watermark, config, now_ms);
    clean_as(log, cleanable, config, now_ms, disk)
}

fn clean_as(
    log: &mut PartitionLog,
    cleanable: Cleanable,
    config: &TopicConfig,
    now_ms: i64,
    disk: &mut dyn Disk,
) -> Result<Offset, CleaningError> {
    let mut cleaning = Cleaning::begin(log, cleanable, config, now_ms);
    let mut progress = CleaningProgress::More;
    loop {
        progress = match progress {
            CleaningProgress::More => cleaning.step(log, disk, TOKEN)?,
            CleaningProgress::Syncing => cleaning.synced(log, Ok(()), TOKEN, disk)?,
            CleaningProgress::Done { end_offset } => return Ok(end_offset),
        }
    }
}

/// Every data record: offset, key, first byte of its value.
fn contents(log: &PartitionLog, disk: &dyn Disk) -> Vec<(Offset, u8, Option<u8>)> {
    let mut found = Vec::new();
    for batch in log.batches_from(log.log_start_offset(), disk).unwrap() {
        let header = BatchHeader::read(&batch).unwrap();
        header.check_crc(&batch).unwrap();
        if header.is_control() {
            continue;
        }
        for record in records(&batch, 1 << 20).unwrap().map(Result::unwrap) {
            let value = record.value.as_ref().map(|value| value[0]);
            found.push((record.offset, record.key.unwrap()[0], value));
        }
    }
    found
}

fn headers(log: &PartitionLog, disk: &dyn Disk) -> Vec<BatchHeader> {
    let batches = log.batches_from(log.log_start_offset(), disk).unwrap();
    batches
        .map(|batch| BatchHeader::read(&batch).unwrap())
        .collect()
}

fn assert_sound(disk: &MemoryDisk) {
    // The handles of the log are its own.
    let report = inspect(&mut DiskFolder(&mut disk.clone())).unwrap();
    assert_eq!(report.corrupt, []);
}

/// One batch a segment.
fn log_of(batches: &[&[Plain]], disk: &mut MemoryDisk) -> (PartitionLog, TopicConfig) {
    let config = config(1_000);
    let mut log = open(disk, false);
    for records in batches {
        append(&mut log, data(records), &config, disk);
        log.roll(log.log_end_offset(), NOW, disk).unwrap();
    }
    log.update_high_watermark(Offset::MAX);
    (log, config)
}

#[test]
fn of_each_key_the_last_record_stays_at_its_offset() {
    let mut disk = MemoryDisk::default();
    let (mut log, config) = log_of(
        &[
            &[(1, Some(1)), (2, Some(2)), (1, Some(3))],
            &[(2, Some(4)), (3, Some(5))],
        ],
        &mut disk,
    );
    assert_eq!(clean(&mut log, &config, NOW, &mut disk), Ok(5));
    let expected = [(2, 1, Some(3)), (3, 2, Some(4)), (4, 3, Some(5))];
    assert_eq!(contents(&log, &disk), expected);
    assert_eq!(log.log_end_offset(), 5);
    assert_eq!(
        log.segment_base_offsets().collect::<Vec<_>>(),
        [0, 5],
        "two became one"
    );
    assert_sound(&disk);
    let again = open(&mut disk, true);
    assert_eq!(contents(&again, &disk), expected);
    let read = log.read(1, 1_000, 5, &disk, true).unwrap();
    assert_eq!(
        BatchHeader::read(&read).unwrap().base_offset,
        0,
        "the batch keeps its offsets"
    );
}

#[test]
fn nothing_at_or_behind_the_high_watermark_is_touched() {
    let mut disk = MemoryDisk::default();
    let (mut log, config) = log_of(
        &[
            &[(1, Some(1))],
            &[(1, Some(2))],
            &[(1, Some(3))],
            &[(1, Some(4))],
        ],
        &mut disk,
    );
    log.high_watermark = 2;
    assert_eq!(clean(&mut log, &config, NOW, &mut disk), Ok(2));
    assert_eq!(
        contents(&log, &disk),
        [(1, 1, Some(2)), (2, 1, Some(3)), (3, 1, Some(4))]
    );
    log.high_watermark = 0;
    let cleanable = Cleanable::of(&log, None, 0, &config, NOW);
    assert!(!cleanable.is_due(&config), "{cleanable:?}");
}

#[test]
fn the_active_segment_and_what_is_too_new_are_not_cleanable() {
    let mut disk = MemoryDisk::default();
    let (mut log, config) = log_of(&[&[(1, Some(1))], &[(1, Some(2))]], &mut disk);
    append(&mut log, data(&[(1, Some(3))]), &config, &mut disk);
    let of = |config: &TopicConfig, checkpoint, now_ms| {
        Cleanable::of(&log, checkpoint, log.log_end_offset(), config, now_ms)
    };
    let all = of(&config, None, NOW);
    assert_eq!((all.first_dirty, all.first_uncleanable), (0, 2));
    assert_eq!((all.clean_bytes, all.ratio_millionths()), (0, 1_000_000));
    assert!(all.is_due(&config) && !all.is_overdue);
    let half = of(&config, Some(1), NOW);
    assert_eq!((half.first_dirty, half.ratio_millionths()), (1, 500_000));
    assert!(!half.is_due(&config), "half is not more than half");
    assert_eq!(
        of(&config, Some(9), NOW).first_dirty,
        0,
        "a checkpoint beyond the log end"
    );
    let lag = TopicConfig {
        min_compaction_lag_ms: 50,
        ..config.clone()
    };
    assert_eq!(of(&lag, None, NOW + 49).first_uncleanable, 0);
    assert_eq!(of(&lag, None, NOW + 50).first_uncleanable, 2);
    let overdue = TopicConfig {
        max_compaction_lag_ms: 50,
        ..config.clone()
    };
    assert!(!of(&overdue, Some(1), NOW + 50).is_due(&overdue));
    assert!(
        of(&overdue, Some(1), NOW + 51).is_due(&overdue),
        "of its age"
    );
}

#[test]
fn a_tombstone_goes_its_retention_after_the_first_cleaning_that_saw_it() {
    let mut disk = MemoryDisk::default();
    let (mut log, config) = log_of(&[&[(1, Some(1)), (1, None)], &[(2, Some(2))]], &mut disk);
    clean(&mut log, &config, NOW, &mut disk).unwrap();
    assert_eq!(contents(&log, &disk), [(1, 1, None), (2, 2, Some(2))]);
    let horizon = headers(&log, &disk)[0].delete_horizon_ms();
    assert_eq!(horizon, Some(NOW + 1_000));
    clean(&mut log, &config, NOW + 999, &mut disk).unwrap();
    assert_eq!(contents(&log, &disk).len(), 2, "not yet");
    assert_eq!(
        headers(&log, &disk)[0].delete_horizon_ms(),
        horizon,
        "it stays the first one"
    );
    clean(&mut log, &config, NOW + 1_000, &mut disk).unwrap();
    assert_eq!(contents(&log, &disk), [(2, 2, Some(2))]);
    assert_sound(&disk);
}

#[test]
fn timestamps_are_read_as_before_behind_a_delete_horizon() {
    let mut disk = MemoryDisk::default();
    let (mut log, config) = log_of(&[&[(1, None), (2, Some(2))]], &mut disk);
    clean(&mut log, &config, NOW, &mut disk).unwrap();
    let batch = log.batches_from(0, &disk).unwrap().next().unwrap();
    let timestamps = records(&batch, 1 << 20)
        .unwrap()
        .map(|record| record.unwrap().timestamp);
    assert_eq!(timestamps.collect::<Vec<_>>(), [NOW, NOW]);
    assert_eq!(BatchHeader::read(&batch).unwrap().max_timestamp, NOW);
}

#[test]
fn the_last_batch_of_a_producer_stays_empty_for_its_sequence() {
    let mut disk = MemoryDisk::default();
    let config = config(200);
    let mut log = open(&mut disk, false);
    for (id, sequence) in [(7, 0), (7, 1), (8, 0)] {
        let mut builder = data(&[(1, Some(1))]);
        builder.set_producer_state(id, 3, sequence);
        append(&mut log, builder, &config, &mut disk);
    }
    for _ in 0..2 {
        append(&mut log, data(&[(1, Some(2))]), &config, &mut disk);
        log.roll(log.log_end_offset(), NOW, &mut disk).unwrap();
    }
    log.update_high_watermark(Offset::MAX);
    clean(&mut log, &config, NOW, &mut disk).unwrap();
    assert_eq!(contents(&log, &disk), [(4, 1, Some(2))]);
    let left = headers(&log, &disk);
    let known: Vec<_> = left
        .iter()
        .map(|h| (h.producer_id, h.base_sequence, h.record_count))
        .collect();
    assert_eq!(known, [(7, 1, 0), (8, 0, 0), (-1, -1, 1)]);
    assert_sound(&disk);
    let again = open(&mut disk, false);
    assert_eq!(again.producers().producers()[&7].last_sequence(), 1);
    assert_eq!(again.producers().producers()[&8].last_sequence(), 0);
    assert_eq!(again.log_end_offset(), 5);
}

#[test]
fn the_last_batch_before_the_bound_stays_empty_for_its_offset() {
    let mut disk = MemoryDisk::default();
    let (mut log, config) = log_of(&[&[(1, Some(1))], &[(1, None)]], &mut disk);
    clean(&mut log, &config, NOW, &mut disk).unwrap();
    clean(&mut log, &config, NOW + 2_000, &mut disk).unwrap();
    assert_eq!(contents(&log, &disk), []);
    let left = headers(&log, &disk);
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].last_offset(), left[0].record_count), (1, 0));
    assert_eq!(open(&mut disk, false).log_end_offset(), 2);
}

#[test]
fn aborted_records_go_at_once_and_markers_when_nothing_is_left_of_their_transaction() {
    let mut disk = MemoryDisk::default();
    let config = config(10_000);
    let mut log = open(&mut disk, false);
    append(&mut log, data(&[(1, Some(1))]), &config, &mut disk);
    for (id, key) in [(7, 1), (8, 2)] {
        let mut builder = data(&[(key, Some(9))]);
        builder.set_transactional(false);
        builder.set_producer_state(id, 0, 0);
        append(&mut log, builder, &config, &mut disk);
    }
    marker(&mut log, 7, false, &config, &mut disk);
    marker(&mut log, 8, true, &config, &mut disk);
    // Other producers' batches, so that those above are nobody's last.
    log.remove_expired_producers(NOW + 100, 1);
    append(&mut log, data(&[(3, Some(3))]), &config, &mut disk);
    log.roll(log.log_end_offset(), NOW, &mut disk).unwrap();
    log.update_high_watermark(Offset::MAX);

    clean(&mut log, &config, NOW, &mut disk).unwrap();
    let expected = [(0, 1, Some(1)), (2, 2, Some(9)), (5, 3, Some(3))];
    assert_eq!(
        contents(&log, &disk),
        expected,
        "an aborted record replaces nothing"
    );
    let markers = |log: &PartitionLog, disk: &MemoryDisk| {
        let all = headers(log, disk).into_iter();
        let found = all.filter(BatchHeader::is_control);
        found
            .map(|h| (h.producer_id, h.delete_horizon_ms()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        markers(&log, &disk),
        [(7, None), (8, None)],
        "the batch was there until now"
    );
    clean(&mut log, &config, NOW, &mut disk).unwrap();
    let horizon = Some(NOW + 1_000);
    assert_eq!(markers(&log, &disk), [(7, horizon), (8, None)]);
    clean(&mut log, &config, NOW + 1_000, &mut disk).unwrap();
    assert_eq!(
        markers(&log, &disk),
        [(8, None)],
        "its transaction has a record"
    );
    assert_eq!(contents(&log, &disk), expected);
    assert_sound(&disk);
}

#[test]
fn compressed_batches_stay_compressed() {
    let mut disk = MemoryDisk::default();
    let config = config(200);
    let mut log = open(&mut disk, false);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = data(&[(1, Some(1)), (codec.number() as u8 + 1, Some(2))]);
        builder.set_base(log.log_end_offset(), 0);
        let batch = compress_batch(&builder.build(), codec);
        log.append_as_follower(&batch, &config, NOW, &mut disk)
            .unwrap();
    }
    log.roll(log.log_end_offset(), NOW, &mut disk).unwrap();
    log.update_high_watermark(Offset::MAX);
    clean(&mut log, &config, NOW, &mut disk).unwrap();
    let keys: Vec<u8> = contents(&log, &disk)
        .iter()
        .map(|(_, key, _)| *key)
        .collect();
    assert_eq!(keys, [2, 3, 4, 1, 5]);
    let codecs: Vec<i16> = headers(&log, &disk)
        .iter()
        .map(BatchHeader::compression)
        .collect();
    assert_eq!(codecs, [1, 2, 3, 4]);
    assert_sound(&disk);
}

#[test]
fn a_full_map_cleans_as_far_as_it_reaches() {
    let mut disk = MemoryDisk::default();
    let (mut log, config) = log_of(
        &[
            &[(1, Some(1))],
            &[(1, Some(2))],
            &[(2, Some(3))],
            &[(1, Some(4))],
        ],
        &mut disk,
    );
    let cleanable = Cleanable::of(&log, None, log.high_watermark, &config, NOW);
    let mut cleaning = Cleaning::begin(&log, cleanable, &config, NOW);
    cleaning.map_entries_max = 2;
    let mut progress = CleaningProgress::More;
    while !matches!(progress, CleaningProgress::Done { .. }) {
        progress = match progress {
            CleaningProgress::Syncing => cleaning.synced(&mut log, Ok(()), TOKEN, &mut disk),
            _ => cleaning.step(&mut log, &mut disk, TOKEN),
        }
        .unwrap();
    }
    assert_eq!(progress, CleaningProgress::Done { end_offset: 3 });
    assert_eq!(
        contents(&log, &disk),
        [(1, 1, Some(2)), (2, 2, Some(3)), (3, 1, Some(4))]
    );
}

#[test]
fn a_log_that_was_cut_meanwhile_is_left_alone() {
    let mut disk = MemoryDisk::default();
    let (log, config) = log_of(
        &[&[(1, Some(1))], &[(1, Some(2))], &[(1, Some(3))]],
        &mut disk,
    );
    // Each segment is a group of its own.
    let config = TopicConfig {
        segment_bytes: 100,
        ..config
    };
    let cleanable = Cleanable::of(&log, None, log.high_watermark, &config, NOW);
    for (cut, steps) in [(1, 0..40), (2, 0..40)]
        .into_iter()
        .flat_map(|(cut, steps)| steps.map(move |steps| (cut, steps)))
    {
        let (mut log, mut disk) = (log.clone(), disk.clone());
        let mut cleaning = Cleaning::begin(&log, cleanable, &config, NOW);
        let mut progress = Ok(CleaningProgress::More);
        let mut run = |log: &mut PartitionLog, disk: &mut MemoryDisk, limit: usize| {
            for _ in 0..limit {
                progress = match progress.clone() {
                    Ok(CleaningProgress::More) => cleaning.step(log, disk, TOKEN),
                    Ok(CleaningProgress::Syncing) => cleaning.synced(log, Ok(()), TOKEN, disk),
                    _ => break,
                };
            }
            progress.clone()
        };
        let before = run(&mut log, &mut disk, steps);
        if matches!(before, Ok(CleaningProgress::Done { .. })) {
            assert!(steps > 10, "{steps}");
            continue;
        }
        log.truncate_to(cut, &mut disk).unwrap();
        let left = contents(&log, &disk);
        let after = run(&mut log, &mut disk, 100);
        assert_eq!(
            contents(&log, &disk),
            left,
            "cut to {cut} after {steps} steps: {after:?}"
        );
        assert_sound(&disk);
        assert_eq!(contents(&open(&mut disk, false), &disk), left);
    }
}

fn batches() -> impl Strategy<Value = Vec<Vec<Plain>>> {
    let record = (0..6u8, proptest::option::weighted(0.8, any::<u8>()));
    proptest::collection::vec(proptest::collection::vec(record, 1..5), 1..40)
}

proptest! {
    /// What is left are the records that no later one below the reached offset replaces; what lies
    /// behind the bound are the same bytes.
    #[test]
    fn exactly_what_is_replaced_goes(
        batches in batches(), segment_bytes in 250..900i32, high_watermark in 0..100i64, producers in any::<bool>(),
        dirty in proptest::option::of(0..60i64),
    ) {
        let config = config(segment_bytes);
        let mut disk = MemoryDisk::default();
        let mut log = open(&mut disk, false);
        let mut sequence = 0;
        for records in &batches {
            let mut builder = data(records);
            if producers {
                builder.set_producer_state(5, 0, sequence);
                sequence += records.len() as i32;
            }
            append(&mut log, builder, &config, &mut disk);
        }
        log.update_high_watermark(high_watermark);
        let before = contents(&log, &disk);
        let last_sequence = log.producers().producers().get(&5).map(|p| p.last_sequence());
        let log_end = log.log_end_offset();
        let cleanable = Cleanable::of(&log, dirty, log.high_watermark, &config, NOW);
        prop_assert!(cleanable.first_uncleanable <= log.high_watermark.max(cleanable.first_dirty));
        let bytes = |log: &PartitionLog, disk: &MemoryDisk| {
            let behind = log.batches_from(cleanable.first_uncleanable, disk).unwrap();
            behind.map(|batch| batch.to_vec()).collect::<Vec<_>>()
        };
        let behind = bytes(&log, &disk);
        if cleanable.cleanable_bytes == 0 {
            return Ok(());
        }
        let end = clean_as(&mut log, cleanable, &config, NOW, &mut disk).unwrap();
        prop_assert_eq!(end, cleanable.first_uncleanable);
        let replaced = |record: &(Offset, u8, Option<u8>)| {
            before.iter().any(|other| {
                other.1 == record.1 && other.0 > record.0 && other.0 < end && other.0 >= cleanable.first_dirty
            })
        };
        let expected: Vec<_> = before.iter().filter(|record| !replaced(record)).copied().collect();
        prop_assert_eq!(contents(&log, &disk), expected.clone());
        prop_assert_eq!(bytes(&log, &disk), behind);
        prop_assert_eq!(log.log_end_offset(), log_end);
        assert_sound(&disk);
        for clean in [true, false] {
            let again = open(&mut disk.clone(), clean);
            prop_assert_eq!(contents(&again, &disk), expected.clone());
            prop_assert_eq!(again.log_end_offset(), log_end);
            prop_assert_eq!(again.producers().producers().get(&5).map(|p| p.last_sequence()), last_sequence);
        }
        // A second cleaning behind the delete horizon: no tombstone that could be cleaned is left.
        log.update_high_watermark(high_watermark);
        let again = Cleanable::of(&log, None, log.high_watermark, &config, NOW);
        if again.cleanable_bytes > 0 {
            clean_as(&mut log, again, &config, NOW + 10_000, &mut disk).unwrap();
            let left = contents(&log, &disk);
            let gone = |record: &(Offset, u8, Option<u8>)| record.2.is_none() && record.0 < again.first_uncleanable && record.0 < cleanable.first_uncleanable;
            prop_assert!(!left.iter().any(gone), "{:?}", left);
        }
    }
}
