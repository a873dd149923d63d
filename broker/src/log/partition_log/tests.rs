use super::*;
use crate::config::{BrokerConfig, TopicConfig};
use crate::env::SyncToken;
use crate::log::append::AppendError;
use crate::log::batch::{self, batches, patch, records};
use crate::log::checkpoint::CheckpointProgress;
use crate::log::flush::FlushProgress;
use crate::log::memory_disk::MemoryDisk;
use crate::log::producer_state::ProducerStateError;
use crate::log::record::BatchBuilder;
use crate::log::recovery::LoadFrom;
use std::collections::BTreeMap;

const DIR: &str = "topic-0";
const FILE: &str = "topic-0/00000000000000000000.log";
const EPOCHS: &str = "topic-0/leader-epoch-checkpoint";
const TOKEN: SyncToken = SyncToken(1);
const NOW: i64 = 1_700_000_000_000;

fn config() -> TopicConfig {
    BrokerConfig::from_properties(&BTreeMap::new())
        .expect("the defaults are legal")
        .topic_defaults
}

fn load_from(clean: bool, recovery_point: Offset) -> LoadFrom {
    LoadFrom {
        clean,
        recovery_point,
        log_start: 0,
        now_ms: NOW,
        bug: None,
    }
}

fn open(disk: &mut MemoryDisk) -> PartitionLog {
    PartitionLog::open(DIR, disk, load_from(false, 0))
        .unwrap()
        .0
}

fn builder(values: &[&str]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.append(NOW, None, Some(value.as_bytes()), &[]);
    }
    builder
}

fn produced(values: &[&str]) -> Bytes {
    builder(values).build()
}

fn idempotent(epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let mut builder = builder(values);
    builder.set_producer_state(7, epoch, sequence);
    builder.build()
}

fn append(log: &mut PartitionLog, disk: &mut MemoryDisk, epoch: i32, values: &[&str]) -> Offset {
    let batch = produced(values);
    log.append_as_leader(&batch, epoch, &config(), NOW, disk)
        .unwrap()
        .base_offset
}

/// Every record of the log as (offset, value, leader epoch), from its file.
fn content(log: &PartitionLog, disk: &MemoryDisk) -> Vec<(Offset, String, i32)> {
    let mut all = Vec::new();
    for bytes in log.batches_from(0, disk).unwrap() {
        let header = BatchHeader::read(&bytes).unwrap();
        header.check_crc(&bytes).unwrap();
        for record in records(&bytes).unwrap() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            all.push((record.offset, value, header.partition_leader_epoch));
        }
    }
    all
}

fn values(log: &PartitionLog, disk: &MemoryDisk) -> String {
    content(log, disk)
        .into_iter()
        .map(|(_, value, _)| value)
        .collect()
}

#[test]
fn leader_gives_offsets_and_its_epoch_and_leaves_the_rest_of_the_bytes() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 3, &["a", "b"]);
    let sent = produced(&["c"]);
    let done = log
        .append_as_leader(&sent, 4, &config(), NOW, &mut disk)
        .unwrap();
    assert_eq!(
        (done.base_offset, done.last_offset, done.duplicate),
        (2, 2, false)
    );
    assert_eq!(log.log_end_offset(), 3);
    let stored = log.read(2, 1, 3, &disk, true).unwrap();
    let mut patched = sent.to_vec();
    patch(&mut patched, 2, 4);
    assert_eq!(stored, patched);
    assert_eq!(log.end_offset_for_epoch(3), Some((3, 2)));
    assert_eq!(log.end_offset_for_epoch(4), Some((4, 3)));
    assert_eq!(content(&log, &disk)[1], (1, "b".into(), 3));
}

#[test]
fn what_the_leader_refuses_has_kafkas_error_code() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    let good = produced(&["a", "b"]);
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        edit(&mut bytes);
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    let corrupt = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let mut late = BatchBuilder::new();
    late.append(NOW + 3_600_001, None, Some(b"x"), &[]);
    let cases: Vec<(&str, Vec<u8>, i16)> = vec![
        ("bit flipped in a value", corrupt(good.len() - 2), 2),
        (
            "length below a batch's",
            edited(&|b| b[8..12].copy_from_slice(&3i32.to_be_bytes())),
            2,
        ),
        ("magic 3", edited(&|b| b[16] = 3), 2),
        ("magic 1", edited(&|b| b[16] = 1), 87),
        ("nothing", Vec::new(), 87),
        ("half a batch", good[..good.len() / 2].to_vec(), 87),
        ("two batches", [&good[..], &good[..]].concat(), 87),
        ("base offset 1", edited(&|b| b[7] = 1), 87),
        ("record count differs", edited(&|b| b[60] = 3), 87),
        ("last offset delta differs", edited(&|b| b[26] = 2), 87),
        ("control batch", edited(&|b| b[22] |= 0x20), 87),
        (
            "producer id without sequence",
            edited(&|b| b[43..51].fill(0)),
            87,
        ),
        ("log append time", edited(&|b| b[22] |= 0x08), 32),
        ("record size runs over", edited(&|b| b[61] = 0x7e), 87),
        ("too far in the future", late.build().to_vec(), 32),
    ];
    for (what, bytes, code) in cases {
        let error = log
            .append_as_leader(&bytes, 0, &config(), NOW, &mut disk)
            .unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
    }
    let small = TopicConfig {
        max_message_bytes: good.len() as i32 - 1,
        ..config()
    };
    let error = log
        .append_as_leader(&good, 0, &small, NOW, &mut disk)
        .unwrap_err();
    assert_eq!(error.code(), 10);
    assert_eq!((log.log_end_offset(), disk.bytes(FILE).len()), (0, 0));
    let trailing = [&good[..], &[0u8; 9]].concat();
    log.append_as_leader(&trailing, 0, &config(), NOW, &mut disk)
        .unwrap();
    assert_eq!(
        disk.bytes(FILE).len(),
        good.len(),
        "what is no batch is cut off"
    );
}

#[test]
fn leader_corrects_a_wrong_max_timestamp() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    let mut bytes = produced(&["a"]).to_vec();
    batch::set_max_timestamp(&mut bytes, NOW - 5, false);
    log.append_as_leader(&bytes, 0, &config(), NOW, &mut disk)
        .unwrap();
    assert_eq!(log.batches()[0].max_timestamp, NOW);
    assert_eq!(values(&log, &disk), "a", "and its checksum with it");
}

#[test]
fn a_retry_is_answered_with_the_original_offsets_and_not_written_again() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    let first = idempotent(0, 0, &["a", "b"]);
    log.append_as_leader(&first, 0, &config(), NOW, &mut disk)
        .unwrap();
    append(&mut log, &mut disk, 0, &["other"]);
    let retried = log
        .append_as_leader(&first, 0, &config(), NOW, &mut disk)
        .unwrap();
    assert_eq!(
        (retried.base_offset, retried.last_offset, retried.duplicate),
        (0, 1, true)
    );
    assert_eq!(values(&log, &disk), "abother");
    let skipped = idempotent(0, 3, &["c"]);
    let error = log
        .append_as_leader(&skipped, 0, &config(), NOW, &mut disk)
        .unwrap_err();
    assert!(matches!(
        error,
        AppendError::ProducerState(ProducerStateError::OutOfOrderSequence {
            last_sequence: 1,
            ..
        })
    ));
    log.truncate_to(0, &mut disk).unwrap();
    assert!(log.producers().producers().is_empty());
    log.append_as_leader(&skipped, 0, &config(), NOW, &mut disk)
        .unwrap();
}

#[test]
fn a_follower_does_not_validate_sequences() {
    // KAFKA-6003
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    let mut first = idempotent(5, 40, &["a"]).to_vec();
    patch(&mut first, 0, 0);
    let mut second = idempotent(4, 90, &["b"]).to_vec();
    patch(&mut second, 1, 0);
    let both = [first, second].concat();
    let done = log
        .append_as_follower(&both, &config(), NOW, &mut disk)
        .unwrap()
        .unwrap();
    assert_eq!(
        (done.base_offset, done.last_offset, done.batches),
        (0, 1, 2)
    );
    assert_eq!(log.producers().producers()[&7].last_sequence(), 90);
}

#[test]
fn a_follower_refuses_offsets_below_its_log_end_and_takes_gaps() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    let at = |offset: Offset, epoch: i32| {
        let mut bytes = produced(&["x", "y"]).to_vec();
        patch(&mut bytes, offset, epoch);
        bytes
    };
    log.append_as_follower(&at(0, 1), &config(), NOW, &mut disk)
        .unwrap();
    let below = log.append_as_follower(&at(1, 1), &config(), NOW, &mut disk);
    let expected = AppendError::UnexpectedAppendOffset {
        first_offset: 1,
        last_offset: 2,
        log_end: 2,
    };
    assert_eq!(below, Err(expected));
    let back = [at(4, 1), at(2, 1)].concat();
    let back = log.append_as_follower(&back, &config(), NOW, &mut disk);
    assert!(matches!(back, Err(AppendError::OffsetsOutOfOrder { .. })));
    let mut torn = at(2, 1);
    *torn.last_mut().unwrap() ^= 1;
    let torn = log.append_as_follower(&torn, &config(), NOW, &mut disk);
    assert!(matches!(torn, Err(AppendError::CorruptRecord(_))));
    assert!(
        log.append_as_follower(&at(2, -1), &config(), NOW, &mut disk)
            .is_err()
    );
    assert_eq!(
        (log.batches().len(), log.log_end_offset()),
        (1, 2),
        "nothing was added"
    );
    let cut = [at(6, 2), at(8, 2)[..30].to_vec()].concat();
    let done = log
        .append_as_follower(&cut, &config(), NOW, &mut disk)
        .unwrap()
        .unwrap();
    assert_eq!(
        (done.base_offset, done.last_offset, done.batches),
        (6, 7, 1)
    );
    assert_eq!(log.end_offset_for_epoch(1), Some((1, 6)));
    assert_eq!(
        log.append_as_follower(&[], &config(), NOW, &mut disk),
        Ok(None)
    );
    assert_eq!(log.batches_metadata_from(6).len(), 1);
}

#[test]
fn read_gives_whole_batches_from_the_one_that_holds_the_offset() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    for values in [["a", "b"], ["c", "d"], ["e", "f"]] {
        append(&mut log, &mut disk, 0, &values);
    }
    let size = log.batches()[0].size as i32;
    let offsets = |from, max, bound, one| -> Vec<Offset> {
        let bytes = log.read(from, max, bound, &disk, one).unwrap();
        batches(&bytes)
            .map(|b| b.unwrap().header.base_offset)
            .collect()
    };
    assert_eq!(offsets(3, i32::MAX, 6, false), [2, 4]);
    assert_eq!(offsets(0, 2 * size, 6, false), [0, 2]);
    assert_eq!(offsets(0, 2 * size - 1, 6, false), [0]);
    assert_eq!(offsets(0, 0, 6, false), [0; 0]);
    assert_eq!(offsets(0, -1, 6, true), [0], "one batch however large");
    assert_eq!(
        offsets(0, i32::MAX, 3, true),
        [0],
        "the batch that holds the bound is left out"
    );
    assert_eq!(offsets(2, i32::MAX, 2, true), [0; 0]);
    assert_eq!(
        offsets(5, i32::MAX, 3, true),
        [0; 0],
        "beyond the bound, within the log"
    );
    assert_eq!(offsets(6, i32::MAX, 6, true), [0; 0]);
    let reads = disk.reads.get();
    offsets(3, i32::MAX, 6, false);
    assert_eq!(disk.reads.get(), reads + 1, "no scan");
    for offset in [-1, 7] {
        let error = log.read(offset, 1, 6, &disk, true).unwrap_err();
        let (log_start, log_end) = (0, 6);
        assert_eq!(
            error,
            ReadError::OffsetOutOfRange {
                offset,
                log_start,
                log_end
            }
        );
    }
}

#[test]
fn truncation_removes_the_batch_that_holds_the_offset() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a", "b"]);
    append(&mut log, &mut disk, 2, &["c", "d"]);
    log.update_high_watermark(4);
    assert_eq!(log.truncate_to(3, &mut disk), Ok(true));
    assert_eq!(values(&log, &disk), "ab");
    assert_eq!(log.log_end_offset(), 3, "as LocalLog.truncateTo");
    assert_eq!(log.high_watermark, 3);
    assert_eq!(log.latest_epoch(), Some(2), "epoch 2 starts at 2");
    assert!(log.read(2, 1, 3, &disk, true).unwrap().is_empty());
    assert_eq!(log.truncate_to(2, &mut disk), Ok(true));
    assert_eq!((log.latest_epoch(), log.high_watermark), (Some(1), 2));
}

#[test]
fn truncation_at_the_log_end_still_drops_the_epoch_of_a_leader_that_never_wrote() {
    // KAFKA-10706
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    log.assign_epoch_start_offset(2, 1);
    assert_eq!(log.latest_epoch(), Some(2));
    assert_eq!(log.truncate_to(1, &mut disk), Ok(false));
    assert_eq!(log.latest_epoch(), Some(1));
}

#[test]
fn starting_elsewhere_empties_the_log_and_survives_a_reopening() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    log.truncate_fully_and_start_at(500, &mut disk).unwrap();
    let state = (
        log.log_start_offset(),
        log.log_end_offset(),
        log.high_watermark,
    );
    assert_eq!(state, (500, 500, 500));
    assert_eq!(log.latest_epoch(), None);
    assert_eq!(append(&mut log, &mut disk, 2, &["b"]), 500);
    let log = open(&mut disk);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (500, 501));
    assert_eq!(values(&log, &disk), "b");
    let files = disk.list("topic-0/");
    let expected = ["500.index", "500.log", "500.timeindex", "501.snapshot"];
    let expected = expected.map(|name| format!("topic-0/00000000000000000{name}"));
    assert_eq!(files, expected, "nothing of the old segment");
}

#[test]
fn a_crash_between_the_two_files_leaves_both_segments() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    disk.open("topic-0/00000000000000000009.log").unwrap();
    let log = open(&mut disk);
    // As in Kafka, which knows no more of it: the log has a gap.
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 9));
    assert_eq!(values(&log, &disk), "a");
}

#[test]
fn high_watermark_moves_as_kafkas() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a", "b", "c"]);
    assert_eq!(log.maybe_increment_high_watermark(2), Some(0));
    assert_eq!(log.maybe_increment_high_watermark(1), None);
    assert_eq!(log.maybe_update_high_watermark(9), Some(3));
    assert_eq!(log.maybe_update_high_watermark(3), None);
    assert_eq!(
        log.maybe_update_high_watermark(1),
        Some(1),
        "a follower's may go back"
    );
}

#[test]
fn a_failed_append_leaves_the_log_and_its_file_as_they_were() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    let before = disk.bytes(FILE).clone();
    disk.fail_next = Some(DiskError::NoSpace);
    let batch = idempotent(0, 0, &["b"]);
    let failed = log.append_as_leader(&batch, 1, &config(), NOW, &mut disk);
    assert_eq!(failed, Err(AppendError::Disk(DiskError::NoSpace)));
    assert_eq!((disk.bytes(FILE), log.log_end_offset()), (&before, 1));
    assert!(log.producers().producers().is_empty());
    disk.fail_next = Some(DiskError::Io);
    let mut replicated = batch.to_vec();
    patch(&mut replicated, 1, 1);
    assert!(
        log.append_as_follower(&replicated, &config(), NOW, &mut disk)
            .is_err()
    );
    assert_eq!((disk.bytes(FILE), log.batches().len()), (&before, 1));
    log.append_as_leader(&batch, 1, &config(), NOW, &mut disk)
        .unwrap();
    assert_eq!(values(&log, &disk), "ab");
}

#[test]
fn half_an_append_that_cannot_be_cut_off_ends_appending() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    disk.fail_next = Some(DiskError::Io);
    disk.fail_truncate = true;
    let batch = produced(&["b"]);
    assert!(
        log.append_as_leader(&batch, 1, &config(), NOW, &mut disk)
            .is_err()
    );
    let again = log.append_as_leader(&batch, 1, &config(), NOW, &mut disk);
    assert_eq!(again, Err(AppendError::Disk(DiskError::Io)));
    assert_eq!(values(&log, &disk), "a", "what was there is still read");
    disk.fail_truncate = false;
    let (log, recovery) = PartitionLog::open(DIR, &mut disk, load_from(false, 0)).unwrap();
    assert!(recovery.truncated_bytes > 0);
    assert_eq!(
        (values(&log, &disk).as_str(), log.log_end_offset()),
        ("a", 1)
    );
}

#[test]
fn a_failed_truncation_changes_nothing() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    append(&mut log, &mut disk, 2, &["b"]);
    disk.fail_next = Some(DiskError::Io);
    assert_eq!(log.truncate_to(1, &mut disk), Err(DiskError::Io));
    assert_eq!((log.log_end_offset(), log.latest_epoch()), (2, Some(2)));
    assert_eq!(values(&log, &disk), "ab");
}

#[test]
fn first_flush_syncs_the_directory_too_and_the_recovery_point_follows_the_last_sync() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    assert!(!log.begin_flush(&mut disk, TOKEN), "nothing to flush");
    append(&mut log, &mut disk, 1, &["a", "b"]);
    assert!(log.begin_flush(&mut disk, TOKEN));
    append(&mut log, &mut disk, 1, &["c"]);
    assert_eq!(
        log.flush_completed(TOKEN, Ok(()), NOW + 1, &mut disk),
        Ok(FlushProgress::Again)
    );
    assert_eq!((log.recovery_point(), log.last_flush_ms()), (0, NOW));
    let done = log.flush_completed(TOKEN, Ok(()), NOW + 2, &mut disk);
    assert_eq!(done, Ok(FlushProgress::Done { recovery_point: 2 }));
    assert_eq!(
        (log.unflushed_messages(), log.last_flush_ms()),
        (1, NOW + 2)
    );
    log.begin_flush(&mut disk, TOKEN);
    let done = log.flush_completed(TOKEN, Ok(()), NOW, &mut disk);
    assert_eq!(done, Ok(FlushProgress::Done { recovery_point: 3 }));
    assert_eq!(disk.synced_dirs, [DIR]);
    assert!(!log.is_flushing());
}

#[test]
fn a_failed_flush_leaves_the_recovery_point() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    log.begin_flush(&mut disk, TOKEN);
    let failed = log.flush_completed(TOKEN, Err(DiskError::Io), NOW, &mut disk);
    assert_eq!(failed, Err(DiskError::Io));
    assert_eq!((log.recovery_point(), log.is_flushing()), (0, false));
}

#[test]
fn a_flush_does_not_cover_what_was_truncated_and_written_anew_meanwhile() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    append(&mut log, &mut disk, 1, &["b"]);
    log.begin_flush(&mut disk, TOKEN);
    log.truncate_to(1, &mut disk).unwrap();
    append(&mut log, &mut disk, 2, &["c"]);
    log.flush_completed(TOKEN, Ok(()), NOW, &mut disk).unwrap();
    let done = log.flush_completed(TOKEN, Ok(()), NOW, &mut disk);
    assert_eq!(done, Ok(FlushProgress::Done { recovery_point: 1 }));
}

#[test]
fn flush_is_due_once_so_many_messages_are_unflushed() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    let every_three = TopicConfig {
        flush_messages: 3,
        ..config()
    };
    let mut due = |values: &[&str]| {
        let batch = produced(values);
        log.append_as_leader(&batch, 1, &every_three, NOW, &mut disk)
            .unwrap()
            .flush_due
    };
    assert!(!due(&["a", "b"]));
    assert!(due(&["c"]));
}

#[test]
fn epochs_of_a_leader_that_never_wrote_come_back_from_the_checkpoint() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a", "b"]);
    log.assign_epoch_start_offset(3, 1);
    assert!(log.epoch_checkpoint_due());
    assert!(log.begin_epoch_checkpoint(&mut disk, TOKEN).unwrap());
    assert!(!log.epoch_checkpoint_due());
    while log.epoch_checkpoint_synced(&mut disk, Ok(())).unwrap() == CheckpointProgress::Again {}
    let log = open(&mut disk);
    assert_eq!(log.epochs().to_checkpoint(), "0\n2\n1 0\n3 1\n");
    assert!(!log.epoch_checkpoint_due());
}

#[test]
fn epochs_at_the_log_end_go_at_loading() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    put(&mut disk, EPOCHS, "0\n2\n1 0\n4 1\n");
    let log = open(&mut disk);
    assert_eq!(log.epochs().to_checkpoint(), "0\n1\n1 0\n");
    assert!(log.epoch_checkpoint_due());
}

fn put(disk: &mut MemoryDisk, path: &str, text: &str) {
    let file = disk.open(path).unwrap();
    disk.truncate(file, 0).unwrap();
    disk.append(file, text.as_bytes()).unwrap();
}

#[test]
fn a_whole_unfinished_checkpoint_is_newer_than_the_finished_one_a_torn_one_is_not() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 5, &["a", "b"]);
    put(&mut disk, EPOCHS, "0\n1\n5 0\n");
    let temporary = format!("{EPOCHS}.tmp");
    for torn in ["", "0", "0\n", "0\n2\n5 0\n", "0\n2\n5 0\n7 1", "\0\0\0"] {
        put(&mut disk, &temporary, torn);
        assert_eq!(open(&mut disk).latest_epoch(), Some(5), "{torn:?}");
    }
    put(&mut disk, &temporary, "0\n2\n5 0\n7 1\n");
    let log = open(&mut disk);
    assert_eq!(log.latest_epoch(), Some(7));
    assert!(log.epoch_checkpoint_due());
}

#[test]
fn a_malformed_epoch_checkpoint_is_a_disk_error() {
    let mut disk = MemoryDisk::default();
    put(&mut disk, EPOCHS, "0\n1\n");
    let opened = PartitionLog::open(DIR, &mut disk, load_from(true, 0));
    assert_eq!(opened.unwrap_err(), DiskError::Io);
}

#[test]
fn recovery_adds_only_epochs_above_the_latest_of_the_checkpoint() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    append(&mut log, &mut disk, 2, &["b"]);
    append(&mut log, &mut disk, 4, &["c"]);
    put(&mut disk, EPOCHS, "0\n1\n3 0\n");
    assert_eq!(open(&mut disk).epochs().to_checkpoint(), "0\n2\n3 0\n4 2\n");
}

#[test]
fn a_clean_end_checks_no_checksums_and_an_unclean_one_cuts_there() {
    let mut disk = MemoryDisk::default();
    let mut log = open(&mut disk);
    append(&mut log, &mut disk, 1, &["a"]);
    append(&mut log, &mut disk, 1, &["b"]);
    append(&mut log, &mut disk, 1, &["c"]);
    let second = log.batches()[1];
    disk.bytes_mut(FILE)[(second.position + 62) as usize] ^= 1;
    let (log, recovery) = PartitionLog::open(DIR, &mut disk, load_from(true, 2)).unwrap();
    assert_eq!(
        (
            recovery.log_end,
            recovery.truncated_bytes,
            log.recovery_point()
        ),
        (3, 0, 3)
    );
    let (log, recovery) = PartitionLog::open(DIR, &mut disk, load_from(false, 2)).unwrap();
    assert_eq!((recovery.log_end, log.recovery_point()), (1, 1));
    assert_eq!(recovery.truncated_bytes, 2 * u64::from(second.size));
    assert_eq!(disk.bytes(FILE).len() as u64, second.position);
}

#[test]
fn a_clean_marker_before_a_torn_file_does_not_stop_recovery_but_before_zeros_nothing_starts() {
    let with_end = |end: &[u8]| {
        let mut disk = MemoryDisk::default();
        let mut log = open(&mut disk);
        append(&mut log, &mut disk, 1, &["a"]);
        disk.bytes_mut(FILE).extend_from_slice(end);
        let opened = PartitionLog::open(DIR, &mut disk, load_from(true, 0));
        opened.map(|(log, recovery)| (log.log_end_offset(), recovery.truncated_bytes))
    };
    let torn = &produced(&["b"])[..40];
    assert_eq!(with_end(torn), Ok((1, 40)));
    assert_eq!(with_end(&[0; 16]), Ok((1, 16)));
    assert_eq!(with_end(&[0; 17]), Err(DiskError::Io));
}

mod kafka_folders;
mod planted;
mod producers;
mod properties;
mod segments;
