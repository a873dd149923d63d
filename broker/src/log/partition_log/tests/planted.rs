//! Planted bugs of the log: what each switch changes, against the same play without it.

use super::segments::small_segments;
use super::*;
use crate::bug::Bug;
use crate::log::cleaner::Cleanable;

/// What a play shows without and with a bug. The play gets a way to load the log after an unclean end.
fn both<T>(bug: Bug, play: impl Fn(&dyn Fn(&mut MemoryDisk) -> PartitionLog) -> T) -> (T, T) {
    let with = |bug: Option<Bug>| {
        play(&move |disk| {
            let from = LoadFrom {
                bug,
                ..load_from(false, 0)
            };
            PartitionLog::open(DIR, disk, from).unwrap().0
        })
    };
    (with(None), with(Some(bug)))
}

/// a to e, two a segment.
fn fill(log: &mut PartitionLog, disk: &mut MemoryDisk) {
    for value in ["a", "b", "c", "d", "e"] {
        let batch = produced(&[value]);
        log.append_as_leader(&batch, 1, &small_segments(), NOW, disk)
            .unwrap();
    }
}

#[test]
fn recovery_trusts_tail_keeps_a_torn_batch_and_what_is_behind_it() {
    let seen = both(Bug::RecoveryTrustsTail, |open| {
        let mut disk = MemoryDisk::default();
        let mut log = open(&mut disk);
        append(&mut log, &mut disk, 1, &["a"]);
        append(&mut log, &mut disk, 1, &["b"]);
        append(&mut log, &mut disk, 1, &["c"]);
        let second = log.batches()[1];
        let torn = (second.position + u64::from(second.size)) as usize;
        disk.bytes_mut(FILE)[torn - 4..torn].fill(0);
        let torn = open(&mut disk).log_end_offset();
        // Where no header is, both see the end.
        disk.bytes_mut(FILE)[second.position as usize..].fill(0);
        (torn, open(&mut disk).log_end_offset())
    });
    assert_eq!(seen, ((1, 1), (3, 1)));
}

#[test]
fn no_directory_sync_leaves_a_new_segment_without_a_durable_name() {
    let seen = both(Bug::NoDirectorySync, |open| {
        let mut disk = MemoryDisk::default();
        let mut log = open(&mut disk);
        fill(&mut log, &mut disk);
        assert!(log.begin_flush(&mut disk, TOKEN));
        while log.flush_completed(TOKEN, Ok(()), NOW, &mut disk) == Ok(FlushProgress::Again) {}
        (log.recovery_point(), disk.synced_dirs.len())
    });
    assert_eq!(seen, ((5, 1), (5, 0)));
}

#[test]
fn epoch_checkpoint_without_sync_takes_its_name_before_its_bytes_are_synced() {
    let seen = both(Bug::EpochCheckpointWithoutSync, |open| {
        let mut disk = MemoryDisk::default();
        let mut log = open(&mut disk);
        append(&mut log, &mut disk, 4, &["a"]);
        assert!(log.begin_epoch_checkpoint(&mut disk, TOKEN).unwrap());
        let named = disk.exists(EPOCHS);
        while log.epoch_checkpoint_synced(&mut disk, Ok(())) == Ok(CheckpointProgress::Again) {}
        (named, disk.exists(EPOCHS), disk.syncs.len())
    });
    assert_eq!(seen, ((false, true, 2), (true, true, 1)));
}

#[test]
fn retention_past_high_watermark_deletes_what_is_not_committed() {
    let seen = both(Bug::RetentionPastHighWatermark, |open| {
        let mut disk = MemoryDisk::default();
        let mut log = open(&mut disk);
        fill(&mut log, &mut disk);
        log.update_high_watermark(3);
        let config = TopicConfig {
            retention_bytes: 0,
            ..small_segments()
        };
        log.delete_old_segments(&config, 3, NOW, &mut disk).unwrap();
        (log.log_start_offset(), log.high_watermark)
    });
    assert_eq!(seen, ((2, 3), (5, 5)));
}

#[test]
fn cleaner_past_lso_hw_takes_segments_that_are_not_committed() {
    let seen = both(Bug::CleanerPastLsoHw, |open| {
        let mut disk = MemoryDisk::default();
        let mut log = open(&mut disk);
        fill(&mut log, &mut disk);
        let cleanable = Cleanable::of(&log, None, 3, &small_segments(), NOW);
        cleanable.first_uncleanable
    });
    assert_eq!(seen, (2, 4));
}
