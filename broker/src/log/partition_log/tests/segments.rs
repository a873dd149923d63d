//! Rolling, reading and cutting across segments, retention, and recovery of several of them.

use super::*;
use crate::config::CleanupPolicy;

/// Segments of two batches of one record.
pub(super) fn small_segments() -> TopicConfig {
    let batch = produced(&["a"]).len() as i32;
    TopicConfig {
        segment_bytes: 2 * batch + 10,
        ..config()
    }
}

fn fill(log: &mut PartitionLog, disk: &mut MemoryDisk, values: &[&str]) {
    for value in values {
        let batch = produced(&[value]);
        log.append_as_leader(&batch, 1, &small_segments(), NOW, disk)
            .unwrap();
    }
}

/// a to g in segments that begin at 0, 2, 4 and 6.
fn seven(disk: &mut MemoryDisk) -> PartitionLog {
    let mut log = open(disk);
    fill(&mut log, disk, &["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(bases(&log), [0, 2, 4, 6]);
    log
}

fn bases(log: &PartitionLog) -> Vec<Offset> {
    log.segment_base_offsets().collect()
}

fn file(base: Offset) -> String {
    PartitionLog::file_name(DIR, base)
}

#[test]
fn a_segment_that_is_full_is_rolled_and_its_flush_left_to_the_background() {
    let mut disk = MemoryDisk::default();
    let mut log = seven(&mut disk);
    assert_eq!(values(&log, &disk), "abcdefg");
    assert!(disk.syncs.is_empty());
    assert_eq!(log.take_roll_flush(), Some(6));
    assert_eq!(log.take_roll_flush(), None);
    assert!(log.begin_flush_up_to(6, &mut disk, TOKEN));
    // Of three segments the log, two indexes and the snapshot behind each; not the active one.
    assert_eq!(disk.syncs.len(), 12);
    for _ in 1..12 {
        let progress = log.flush_completed(TOKEN, Ok(()), NOW, &mut disk);
        assert_eq!(progress, Ok(FlushProgress::Again));
    }
    let progress = log.flush_completed(TOKEN, Ok(()), NOW, &mut disk);
    assert_eq!(progress, Ok(FlushProgress::Again));
    assert_eq!(disk.synced_dirs, [DIR], "new segments need their names");
    let done = log.flush_completed(TOKEN, Ok(()), NOW, &mut disk);
    assert_eq!(done, Ok(FlushProgress::Done { recovery_point: 6 }));
    assert!(!log.begin_flush_up_to(6, &mut disk, TOKEN));
}

#[test]
fn one_failed_sync_of_several_fails_the_flush() {
    let mut disk = MemoryDisk::default();
    let mut log = seven(&mut disk);
    log.begin_flush(&mut disk, TOKEN);
    for n in 1..disk.syncs.len() {
        let result = if n == 2 { Err(DiskError::Io) } else { Ok(()) };
        let progress = log.flush_completed(TOKEN, result, NOW, &mut disk);
        assert_eq!(progress, Ok(FlushProgress::Again));
    }
    let last = log.flush_completed(TOKEN, Ok(()), NOW, &mut disk);
    assert_eq!(last, Err(DiskError::Io));
    assert_eq!(log.recovery_point(), 0);
}

#[test]
fn a_segment_is_rolled_by_the_age_of_its_first_record() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    let hourly = TopicConfig {
        segment_ms: 1000,
        ..config()
    };
    let mut at = |timestamp: i64, now_ms: i64| {
        let mut builder = BatchBuilder::new();
        builder.append(timestamp, None, Some(b"x"), &[]);
        let batch = builder.build();
        log.append_as_leader(&batch, 1, &hourly, now_ms, &mut disk)
            .unwrap();
        bases(&log)
    };
    assert_eq!(at(NOW, NOW), [0]);
    // The records' time decides, not the clock.
    assert_eq!(at(NOW + 1000, NOW + 5000), [0]);
    assert_eq!(at(NOW + 1001, NOW + 5000), [0, 2]);
}

#[test]
fn a_batch_above_segment_bytes_is_refused() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    let large = produced(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]);
    let refused = log.append_as_leader(&large, 1, &small_segments(), NOW, &mut disk);
    assert_eq!(refused.map_err(|e| e.code()), Err(18));
}

#[test]
fn a_follower_rolls_where_its_leader_did() {
    let (mut leader_disk, mut disk) = (MemoryDisk::default(), MemoryDisk::default());
    let leader = seven(&mut leader_disk);
    let mut log = open(&mut disk);
    while log.log_end_offset() < 7 {
        let fetched = leader
            .read(log.log_end_offset(), 1 << 20, 7, &leader_disk, true)
            .unwrap();
        log.append_as_follower(&fetched, &small_segments(), NOW, &mut disk)
            .unwrap();
    }
    assert_eq!(bases(&log), bases(&leader));
    assert_eq!(log.batches(), leader.batches());
    for base in bases(&log) {
        assert_eq!(disk.bytes(&file(base)), leader_disk.bytes(&file(base)));
    }
}

#[test]
fn a_read_stays_within_one_segment() {
    let mut disk = MemoryDisk::default();
    let log = seven(&mut disk);
    let offsets = |from| {
        let bytes = log.read(from, i32::MAX, 7, &disk, true).unwrap();
        let found: Vec<Offset> = batches(&bytes)
            .map(|batch| batch.unwrap().header.base_offset)
            .collect();
        found
    };
    assert_eq!(offsets(0), [0, 1]);
    assert_eq!(offsets(3), [3]);
    assert_eq!(offsets(6), [6]);
    let from_the_middle: Vec<_> = log.batches_from(3, &disk).unwrap().collect();
    assert_eq!(from_the_middle.len(), 4, "the log as a whole");
}

#[test]
fn truncation_renames_the_segments_behind_and_cuts_the_one_that_holds_the_offset() {
    let mut disk = MemoryDisk::default();
    let mut log = seven(&mut disk);
    assert_eq!(log.truncate_to(3, &mut disk), Ok(true));
    assert_eq!(bases(&log), [0, 2]);
    assert_eq!(values(&log, &disk), "abc");
    assert!(disk.exists(&format!("{}.deleted", file(4))));
    let gone = log.take_deleted_segments();
    assert_eq!(gone.len(), 2);
    for segment in gone {
        segment.delete(&mut disk).unwrap();
    }
    let mut files = disk.list(DIR);
    files.retain(|file| file.ends_with(".log") || file.ends_with(".deleted"));
    assert_eq!(files, [file(0), file(2)]);
    fill(&mut log, &mut disk, &["x", "y"]);
    assert_eq!(values(&log, &disk), "abcxy");
    assert_eq!(values(&open(&mut disk), &disk), "abcxy");
}

#[test]
fn truncation_to_the_start_of_a_segment_leaves_it_empty() {
    let mut disk = MemoryDisk::default();
    let mut log = seven(&mut disk);
    assert_eq!(log.truncate_to(4, &mut disk), Ok(true));
    assert_eq!(bases(&log), [0, 2, 4]);
    assert_eq!(values(&log, &disk), "abcd");
    let reopened = open(&mut disk);
    assert_eq!(
        (bases(&reopened), reopened.log_end_offset()),
        (vec![0, 2, 4], 4)
    );
}

#[test]
fn recovery_starts_with_the_segment_that_holds_the_recovery_point() {
    let mut disk = MemoryDisk::default();
    seven(&mut disk);
    // A bit of a record's value: the header is sound, the checksum is not.
    let flip = |disk: &mut MemoryDisk, base| *disk.bytes_mut(&file(base)).last_mut().unwrap() ^= 1;
    flip(&mut disk, 0);
    let opened = PartitionLog::open(DIR, &mut disk, load_from(false, 3)).unwrap();
    assert_eq!(opened.0.log_end_offset(), 7, "what is below it is trusted");
    flip(&mut disk, 2);
    let (log, recovery) = PartitionLog::open(DIR, &mut disk, load_from(false, 3)).unwrap();
    assert_eq!(log.log_end_offset(), 3);
    assert_eq!(bases(&log), [0, 2], "what follows a cut goes too");
    let batch = produced(&["a"]).len() as u64;
    assert_eq!(recovery.truncated_bytes, 4 * batch);
    assert!(disk.exists(&format!("{}.deleted", file(4))));
    let again = PartitionLog::open(DIR, &mut disk, load_from(false, 3)).unwrap();
    assert_eq!(again.1.truncated_bytes, 0);
    assert!(!disk.exists(&format!("{}.deleted", file(4))));
}

#[test]
fn garbage_below_the_recovery_point_is_found_by_whoever_reads_there() {
    let mut disk = MemoryDisk::default();
    seven(&mut disk);
    disk.bytes_mut(&file(2))
        .truncate(produced(&["a"]).len() + 3);
    let log = PartitionLog::open(DIR, &mut disk, load_from(true, 0))
        .unwrap()
        .0;
    assert_eq!(log.log_end_offset(), 7);
    assert!(log.read(2, 100, 7, &disk, true).is_ok());
    assert!(log.read(4, 100, 7, &disk, true).is_ok());
    let error = log.read(3, 100, 7, &disk, true).unwrap_err();
    let position = produced(&["a"]).len() as u64;
    assert_eq!(
        error,
        ReadError::Corrupt {
            file: file(2),
            position,
            offset: 3
        }
    );
    assert!(error.to_string().contains("00000000000000000002.log"));
}

fn retained(change: impl FnOnce(&mut TopicConfig)) -> TopicConfig {
    let mut config = TopicConfig {
        retention_ms: -1,
        ..small_segments()
    };
    change(&mut config);
    config
}

#[test]
fn retention_by_size_lets_whole_segments_go_below_the_high_watermark() {
    let mut disk = MemoryDisk::default();
    let mut log = seven(&mut disk);
    let three_batches = retained(|c| c.retention_bytes = 3 * produced(&["a"]).len() as i64);
    log.high_watermark = 3;
    let gone = log.delete_old_segments(&three_batches, 3, NOW, &mut disk);
    assert_eq!(gone, Ok(1), "the second one ends at 4");
    log.high_watermark = 7;
    let gone = log.delete_old_segments(&three_batches, 7, NOW, &mut disk);
    assert_eq!(gone, Ok(1), "less than the size is never kept");
    assert_eq!((bases(&log), log.log_start_offset()), (vec![4, 6], 4));
    assert_eq!(values(&log, &disk), "efg");
    let below = log.read(3, 100, 7, &disk, true);
    assert!(matches!(below, Err(ReadError::OffsetOutOfRange { .. })));
    assert_eq!(log.epochs().entries()[0].start_offset, 4);
    assert_eq!(log.take_deleted_segments().len(), 2);
    let reopened = open(&mut disk);
    assert_eq!(
        (reopened.log_start_offset(), values(&reopened, &disk)),
        (4, "efg".into())
    );
}

#[test]
fn retention_by_time_may_take_the_active_segment_and_then_begins_a_new_one() {
    let mut disk = MemoryDisk::default();
    let mut log = seven(&mut disk);
    let hour = retained(|c| c.retention_ms = 3_600_000);
    let later = NOW + 3_600_000;
    assert_eq!(log.delete_old_segments(&hour, 7, later, &mut disk), Ok(0));
    assert_eq!(
        log.delete_old_segments(&hour, 7, later + 1, &mut disk),
        Ok(4)
    );
    assert_eq!((bases(&log), log.log_start_offset()), (vec![7], 7));
    assert_eq!(
        log.delete_old_segments(&hour, 7, later + 1, &mut disk),
        Ok(0),
        "an empty one stays"
    );
    fill(&mut log, &mut disk, &["x"]);
    assert_eq!(values(&log, &disk), "x");
}

#[test]
fn what_is_only_compacted_has_no_retention_but_its_log_start() {
    let mut disk = MemoryDisk::default();
    let mut log = seven(&mut disk);
    let compacted = retained(|c| {
        c.retention_ms = 0;
        c.cleanup_policy = CleanupPolicy {
            delete: false,
            compact: true,
        };
    });
    assert_eq!(
        log.delete_old_segments(&compacted, 7, NOW + 1, &mut disk),
        Ok(0)
    );
    assert_eq!(log.maybe_increment_log_start(3), Some(0));
    assert_eq!(log.maybe_increment_log_start(2), None);
    assert!(log.log_start_needs_checkpoint());
    let below = log.read(2, 100, 7, &disk, true);
    assert!(matches!(below, Err(ReadError::OffsetOutOfRange { .. })));
    assert_eq!(
        log.delete_old_segments(&compacted, 7, NOW + 1, &mut disk),
        Ok(1)
    );
    assert_eq!((bases(&log), log.log_start_offset()), (vec![2, 4, 6], 3));
    let from = LoadFrom {
        log_start: 3,
        ..load_from(false, 0)
    };
    let reopened = PartitionLog::open(DIR, &mut disk, from).unwrap().0;
    assert_eq!(reopened.log_start_offset(), 3);
    assert_eq!(
        open(&mut disk).log_start_offset(),
        2,
        "without its checkpoint"
    );
}

#[test]
fn a_log_start_behind_what_is_left_empties_the_log() {
    let mut disk = MemoryDisk::default();
    seven(&mut disk);
    let from = LoadFrom {
        log_start: 9,
        ..load_from(false, 0)
    };
    let log = PartitionLog::open(DIR, &mut disk, from).unwrap().0;
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (9, 9));
    assert_eq!(bases(&log), [9]);
}

#[test]
fn a_compacted_topic_takes_no_record_without_key() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    let mut compacted = config();
    compacted.cleanup_policy.compact = true;
    let mut appended = |key: Option<&[u8]>| {
        let mut builder = BatchBuilder::new();
        builder.append(NOW, Some(b"k"), Some(b"v"), &[]);
        builder.append(NOW, key, Some(b"v"), &[]);
        let batch = builder.build();
        let appended = log.append_as_leader(&batch, 1, &compacted, NOW, &mut disk);
        appended
            .map(|a| a.last_offset)
            .map_err(|error| error.code())
    };
    assert_eq!(appended(Some(b"k")), Ok(1));
    assert_eq!(appended(None), Err(87));
}

#[test]
fn a_fingerprint_goes_on_whatever_retention_takes_and_begins_anew_with_the_log() {
    let (mut whole_disk, mut disk) = (MemoryDisk::default(), MemoryDisk::default());
    let (mut whole, mut log) = (seven(&mut whole_disk), seven(&mut disk));
    assert_eq!(log.prefix(), whole.prefix());
    let gone = log.delete_old_segments(&retained(|c| c.retention_ms = 0), 7, NOW + 1, &mut disk);
    assert_eq!((gone, log.batches().len()), (Ok(4), 0));
    fill(&mut whole, &mut whole_disk, &["h"]);
    let up_to_seven = log.prefix();
    fill(&mut log, &mut disk, &["h"]);
    assert_eq!(log.prefix(), whole.prefix());
    // Cut to where it starts: nothing is left, and what was counted stays.
    assert!(!log.begins_behind(7));
    assert_eq!(log.truncate_to(7, &mut disk), Ok(true));
    assert_eq!((log.prefix(), log.batches().len()), (up_to_seven, 0));
    assert!(log.begins_behind(6));
    assert_eq!(log.truncate_to(6, &mut disk), Ok(true));
    assert_eq!(log.prefix(), 0);
}
