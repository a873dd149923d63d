//! Properties of the log under arbitrary steps and arbitrary damage.

use super::*;
use proptest::prelude::*;

/// What happens to a log, and what it must then hold: one entry a batch.
#[derive(Debug, Clone)]
enum Step {
    Append { records: u8, epoch_up: bool },
    TruncateTo(u8),
    Reopen { clean: bool },
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4u8, any::<bool>()).prop_map(|(records, epoch_up)| Step::Append { records, epoch_up }),
        1 => (0..40u8).prop_map(Step::TruncateTo),
        1 => any::<bool>().prop_map(|clean| Step::Reopen { clean }),
        1 => Just(Step::Flush),
    ]
}

/// (offset, value, epoch, base offset of its batch)
type Model = Vec<(Offset, String, i32, Offset)>;

fn flush_all(log: &mut PartitionLog, disk: &mut MemoryDisk) {
    if log.begin_flush(disk, TOKEN) {
        while log.flush_completed(TOKEN, Ok(()), NOW, disk) == Ok(FlushProgress::Again) {}
    }
}

fn write_epochs(log: &mut PartitionLog, disk: &mut MemoryDisk) {
    log.begin_epoch_checkpoint(disk, TOKEN).unwrap();
    while log.epoch_checkpoint_synced(disk, Ok(())).unwrap() == CheckpointProgress::Again {}
}

proptest! {
    #[test]
    fn log_holds_what_was_appended_and_not_truncated(
        steps in proptest::collection::vec(step(), 1..40), segment_bytes in prop_oneof![200..600i32, Just(1 << 30)],
    ) {
        let config = TopicConfig { segment_bytes, ..config() };
        let mut disk = MemoryDisk::default();
        let mut log = open(&mut disk);
        let mut model: Model = Vec::new();
        let mut epoch = 0;
        let mut written = 0;
        for step in steps {
            match step {
                Step::Append { records, epoch_up } => {
                    epoch += i32::from(epoch_up);
                    let values: Vec<String> = (0..records).map(|n| format!("{}.", written + i32::from(n))).collect();
                    written += i32::from(records);
                    let end = log.log_end_offset();
                    let batch = produced(&values.iter().map(String::as_str).collect::<Vec<_>>());
                    let base = log.append_as_leader(&batch, epoch, &config, NOW, &mut disk).unwrap().base_offset;
                    prop_assert_eq!(base, end);
                    model.extend(values.into_iter().enumerate().map(|(n, value)| (base + n as i64, value, epoch, base)));
                }
                Step::TruncateTo(offset) => {
                    let offset = i64::from(offset);
                    let below_end = offset < log.log_end_offset();
                    prop_assert_eq!(log.truncate_to(offset, &mut disk), Ok(below_end));
                    if below_end {
                        let cut = model.iter().find(|r| r.0 >= offset).map_or(offset, |r| r.3);
                        model.retain(|r| r.0 < cut);
                        prop_assert_eq!(log.log_end_offset(), offset);
                    }
                    // The epochs of a replica never go back.
                    epoch += 1;
                }
                Step::Reopen { clean } => {
                    let recovery_point = log.recovery_point();
                    if clean {
                        write_epochs(&mut log, &mut disk);
                    }
                    let (reopened, recovery) = PartitionLog::open(DIR, &mut disk, load_from(clean, recovery_point)).unwrap();
                    prop_assert_eq!(recovery.truncated_bytes, 0);
                    // A segment that was rolled behind a cut in the middle of a batch begins there.
                    let active = log.segment_base_offsets().last().unwrap();
                    let end = model.last().map_or(0, |r| r.0 + 1).max(active);
                    prop_assert_eq!(recovery.log_end, end);
                    prop_assert_eq!(reopened.batches(), log.batches());
                    log = reopened;
                }
                Step::Flush => {
                    // Epochs are on the disk before a flush is; a crash relies on the batches behind it.
                    write_epochs(&mut log, &mut disk);
                    flush_all(&mut log, &mut disk);
                    prop_assert_eq!(log.unflushed_messages(), 0);
                }
            }
            let held: Vec<_> = content(&log, &disk);
            let expected: Vec<_> = model.iter().map(|r| (r.0, r.1.clone(), r.2)).collect();
            prop_assert_eq!(held, expected);
            let files = log.segment_base_offsets().map(|base| PartitionLog::file_name(DIR, base));
            let on_disk: usize = files.map(|file| disk.bytes(&file).len()).sum();
            prop_assert_eq!(log.size(), on_disk as u64);
            prop_assert!(log.recovery_point() <= log.log_end_offset());
            prop_assert!(log.high_watermark <= log.log_end_offset());
            for r in &model {
                prop_assert_eq!(log.epochs().epoch_for_offset(r.0), Some(r.2));
            }
        }
    }

    #[test]
    fn a_follower_becomes_byte_for_byte_the_same(
        sizes in proptest::collection::vec((1..4usize, any::<bool>()), 1..20), max_bytes in 1..600i32,
    ) {
        let (mut leader_disk, mut follower_disk) = (MemoryDisk::default(), MemoryDisk::default());
        let (mut leader, mut follower) = (open(&mut leader_disk), open(&mut follower_disk));
        let (mut epoch, mut sequence) = (0, 0);
        for (records, epoch_up) in sizes {
            epoch += i32::from(epoch_up);
            let batch = idempotent(0, sequence, &vec!["value"; records]);
            sequence += records as i32;
            leader.append_as_leader(&batch, epoch, &config(), NOW, &mut leader_disk).unwrap();
        }
        let mut rounds = 0;
        while follower.log_end_offset() < leader.log_end_offset() {
            let from = follower.log_end_offset();
            let fetched = leader.read(from, max_bytes, leader.log_end_offset(), &leader_disk, true).unwrap();
            let done = follower.append_as_follower(&fetched, &config(), NOW, &mut follower_disk).unwrap().unwrap();
            prop_assert_eq!(done.base_offset, from);
            rounds += 1;
        }
        prop_assert!(rounds <= leader.batches().len());
        prop_assert_eq!(follower_disk.bytes(FILE), leader_disk.bytes(FILE));
        prop_assert_eq!(follower.epochs(), leader.epochs());
        prop_assert_eq!(follower.producers().producers(), leader.producers().producers());
        prop_assert_eq!(follower.batches(), leader.batches());
    }

    /// Whatever a power loss makes of the file's end, loading keeps the whole batches before the
    /// damage, and a second loading finds nothing more to cut.
    #[test]
    fn recovery_from_any_tail_keeps_the_valid_prefix(
        sizes in proptest::collection::vec(1..4usize, 1..12),
        from in any::<proptest::sample::Index>(),
        kind in 0..4u8,
        garbage in proptest::collection::vec(any::<u8>(), 1..200),
        clean in any::<bool>(),
    ) {
        let mut disk = MemoryDisk::default();
        let mut log = open(&mut disk);
        for records in sizes {
            append(&mut log, &mut disk, 1, &vec!["value"; records]);
        }
        let file = disk.bytes_mut(FILE);
        let from = from.index(file.len());
        match kind {
            0 => file.truncate(from),
            1 => file[from..].fill(0),
            2 => { file.truncate(from); file.extend_from_slice(&garbage); }
            _ => file[from..].iter_mut().zip(garbage.iter().cycle()).for_each(|(byte, g)| *byte ^= g),
        }
        let undamaged: Vec<BatchMetadata> =
            log.batches().iter().filter(|b| b.end_position() <= from as u64).copied().collect();
        // A clean marker on a damaged file must not panic either.
        if let Err(error) = PartitionLog::open(DIR, &mut disk.clone(), load_from(clean, 0)) {
            prop_assert_eq!((clean, error), (true, DiskError::Io));
        }
        let (recovered, recovery) = PartitionLog::open(DIR, &mut disk, load_from(false, 0)).unwrap();
        prop_assert!(recovered.batches().starts_with(&undamaged));
        prop_assert_eq!(recovery.log_end, recovered.batches().last().map_or(0, |b| b.last_offset + 1));
        for bytes in recovered.batches_from(0, &disk).unwrap() {
            BatchHeader::read(&bytes).unwrap().check_crc(&bytes).unwrap();
        }
        let (again, second) = PartitionLog::open(DIR, &mut disk, load_from(false, 0)).unwrap();
        prop_assert_eq!(second.truncated_bytes, 0);
        prop_assert_eq!(again.batches(), recovered.batches());
    }

    #[test]
    fn arbitrary_bytes_from_a_leader_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), length in 0..200i32, fix_crc in any::<bool>()) {
        let mut bytes = bytes;
        if bytes.len() > 61 {
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            let end = (12 + length as usize).clamp(21, bytes.len());
            if fix_crc {
                let crc = crc32c::crc32c(&bytes[21..end]);
                bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            }
        }
        let mut disk = MemoryDisk::default();
        let mut log = open(&mut disk);
        let _ = log.append_as_leader(&bytes, 0, &config(), NOW, &mut disk);
        let _ = log.append_as_follower(&bytes, &config(), NOW, &mut disk);
        let files = log.segment_base_offsets().map(|base| PartitionLog::file_name(DIR, base));
        let on_disk: usize = files.map(|file| disk.bytes(&file).len()).sum();
        prop_assert_eq!(log.size(), on_disk as u64);
    }
}
