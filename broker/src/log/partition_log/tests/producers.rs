//! What a load knows of a log's producers.

use super::segments::small_segments;
use super::*;

/// Producer 7 has written a to e, in segments of two batches.
fn written(disk: &mut MemoryDisk) -> PartitionLog {
    let mut log = open(disk);
    for (sequence, value) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        let batch = idempotent(0, sequence as i32, &[value]);
        log.append_as_leader(&batch, 1, &small_segments(), NOW, disk)
            .unwrap();
    }
    log
}

fn snapshots(disk: &MemoryDisk) -> Vec<String> {
    let mut files = disk.list(DIR);
    files.retain(|path| path.ends_with(".snapshot"));
    files
}

fn delete_snapshots(disk: &mut MemoryDisk) {
    for path in snapshots(disk) {
        disk.delete(&path).unwrap();
    }
}

fn reopen(disk: &mut MemoryDisk, clean: bool) -> PartitionLog {
    PartitionLog::open(DIR, disk, load_from(clean, 0))
        .unwrap()
        .0
}

#[test]
fn a_clean_end_without_snapshots_forgets_all_producers_and_a_crash_reads_the_batches() {
    let mut disk = MemoryDisk::default();
    assert_eq!(written(&mut disk).segment_base_offsets().len(), 3);
    delete_snapshots(&mut disk);
    let after_a_crash = reopen(&mut disk, false);
    assert_eq!(after_a_crash.producers().producers()[&7].last_sequence(), 4);
    delete_snapshots(&mut disk);
    let mut log = reopen(&mut disk, true);
    assert!(log.producers().producers().is_empty());
    let expected = [2, 4, 5].map(|at| format!("topic-0/{at:020}.snapshot"));
    assert_eq!(snapshots(&disk), expected);
    // It stays so: what is behind the newest snapshot is all that is read from now on.
    log.truncate_to(4, &mut disk).unwrap();
    assert!(log.producers().producers().is_empty());
    assert!(reopen(&mut disk, true).producers().producers().is_empty());
}

#[test]
fn a_stray_snapshot_below_the_last_segment_does_not_count() {
    let mut disk = MemoryDisk::default();
    written(&mut disk);
    delete_snapshots(&mut disk);
    disk.open("topic-0/00000000000000000003.snapshot").unwrap();
    assert!(reopen(&mut disk, true).producers().producers().is_empty());
}
