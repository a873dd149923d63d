use super::*;
use crate::log::memory_disk::MemoryDisk;
use crate::log::record::BatchBuilder;
use crate::log::txn_index::AbortedTxn;

/// A partition of five batches of one record.
fn disk() -> MemoryDisk {
    let mut bytes = Vec::new();
    for n in 0..5 {
        let mut builder = BatchBuilder::new();
        builder.append(1_000 + n, None, Some(b"value"), &[]);
        builder.set_base(n, 3);
        bytes.extend(builder.build());
    }
    let mut disk = MemoryDisk::default();
    put(&mut disk, LOG, &bytes);
    disk
}

const LOG: &str = "t-0/00000000000000000000.log";

fn put(disk: &mut MemoryDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(path).unwrap();
    disk.truncate(file, 0).unwrap();
    disk.append(file, bytes).unwrap();
}

fn told(disk: &mut MemoryDisk) -> Vec<String> {
    let report = inspect(&mut DiskFolder(disk)).unwrap();
    report.corrupt.iter().map(CorruptFile::to_string).collect()
}

#[test]
fn a_log_that_was_written_here_is_sound() {
    let mut disk = disk();
    put(&mut disk, "t-0/leader-epoch-checkpoint", b"0\n1\n3 0\n");
    put(
        &mut disk,
        "recovery-point-offset-checkpoint",
        b"0\n1\nt 0 5\n",
    );
    put(
        &mut disk,
        CLEAN_SHUTDOWN_FILE,
        b"{\"version\":0,\"brokerEpoch\":1}",
    );
    let report = inspect(&mut DiskFolder(&mut disk)).unwrap();
    assert_eq!(report.corrupt, []);
    assert!(report.clean_shutdown);
    let [partition] = &report.partitions[..] else {
        panic!("{report:?}");
    };
    assert_eq!(
        (partition.dir.as_str(), partition.log_end),
        ("t-0", Some(5))
    );
    assert_eq!(partition.segments[0].records, 5);
    assert_eq!(partition.segments[0].max_timestamp, 1_004);
}

#[test]
fn a_flipped_bit_is_found_in_its_batch() {
    let mut disk = disk();
    let size = disk.bytes(LOG).len() / 5;
    disk.bytes_mut(LOG)[3 * size + 40] ^= 1;
    let [told] = &told(&mut disk)[..] else {
        panic!("one error");
    };
    let start = format!("{LOG}: byte {}: batch crc is 0x", 3 * size + 17);
    assert!(told.starts_with(&start), "{told}");
    let report = inspect(&mut DiskFolder(&mut disk)).unwrap();
    let segment = &report.partitions[0].segments[0];
    assert_eq!(segment.valid_bytes as usize, 3 * size);
    assert_eq!(report.partitions[0].log_end, None);
}

#[test]
fn each_file_is_held_against_the_batches() {
    let size = disk().bytes(LOG).len() / 5;
    let entry = |offset: u8, position: usize| [0, 0, 0, offset, 0, 0, 0, position as u8];
    let time =
        |timestamp: i64, offset: u8| [&timestamp.to_be_bytes()[..], &[0, 0, 0, offset]].concat();
    let stem = LOG.strip_suffix("log").unwrap();
    for (path, bytes, expected) in [
        (
            format!("{stem}index"),
            entry(2, size).to_vec(),
            "byte 0: 2 is not the last offset 1 of its batch",
        ),
        (
            format!("{stem}index"),
            entry(1, size + 1).to_vec(),
            &format!("byte 4: no batch begins at position {}", size + 1),
        ),
        (
            format!("{stem}timeindex"),
            time(1_003, 4),
            "byte 0: 1003 is not the largest timestamp 1004",
        ),
        (
            format!("{stem}timeindex"),
            time(1_003, 9),
            "byte 8: no batch ends at offset 9",
        ),
        (
            format!("{stem}txnindex"),
            AbortedTxn::encode(&ABORTED).to_vec(),
            "byte 0: no marker at 4 aborts this",
        ),
        (
            "t-0/leader-epoch-checkpoint".to_owned(),
            b"0\n2\n3 0\n4 6\n".to_vec(),
            "byte 8: epoch 4 begins at 6, the log ends at 5",
        ),
        (
            "t-0/leader-epoch-checkpoint".to_owned(),
            b"0\n1\n3 x\n".to_vec(),
            "byte 4: checkpoint line 3 is malformed: \"3 x\"",
        ),
        (
            "recovery-point-offset-checkpoint".to_owned(),
            b"0\n1\nt 0 -7\n".to_vec(),
            "byte 4: t-0 is at -7, its log ends at 5",
        ),
    ] {
        let mut disk = disk();
        put(&mut disk, &path, &bytes);
        assert_eq!(told(&mut disk), [format!("{path}: {expected}")]);
    }
    let mut disk = disk();
    put(
        &mut disk,
        "t-0/leader-epoch-checkpoint",
        b"0\n2\n3 0\n4 2\n",
    );
    let expected = format!(
        "{LOG}: byte {}: leader epoch is 3, that of its offset 4",
        2 * size + 12
    );
    assert_eq!(told(&mut disk), [expected]);
}

const ABORTED: AbortedTxn = AbortedTxn {
    producer_id: 5,
    first_offset: 1,
    last_offset: 4,
    last_stable_offset: 5,
};

#[test]
fn a_batch_that_is_cut_off_is_found_at_its_beginning() {
    let mut disk = disk();
    let length = disk.bytes(LOG).len();
    disk.bytes_mut(LOG).truncate(length - 1);
    let size = length / 5;
    let expected = format!(
        "{LOG}: byte {}: {} bytes are no whole batch",
        4 * size,
        size - 1
    );
    assert_eq!(told(&mut disk), [expected]);
}
