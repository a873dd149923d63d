//! Logs that Apache Kafka 4.3.1 wrote are opened, read and continued.

use super::*;
use crate::log::checkpoint::parse_offset_checkpoint;
use crate::log::codec;
use crate::log::producer_state::ProducerStateEntry;
use std::path::Path;

const CLEAN: &str = "clean-shutdown";
const KILLED: &str = "killed";

#[allow(clippy::disallowed_methods)] // a test of files
fn load(name: &str) -> (MemoryDisk, Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/kafka-4.3.1");
    let (mut disk, mut dirs) = (MemoryDisk::default(), Vec::new());
    let mut folders = vec![(root.join(name), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the fixtures are there") {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = format!("{prefix}{}", name.expect("a name in ASCII"));
            if path.is_dir() {
                folders.push((path, format!("{name}/")));
                dirs.push(name);
            } else if !name.ends_with(".txt") {
                let file = disk.open(&name).unwrap();
                let bytes = std::fs::read(path).expect("it can be read");
                disk.append(file, &bytes).unwrap();
            }
        }
    }
    dirs.sort();
    (disk, dirs)
}

fn recovery_points(disk: &mut MemoryDisk) -> Vec<(String, Offset)> {
    let path = "recovery-point-offset-checkpoint";
    let text = crate::log::checkpoint::read_text(disk, path)
        .unwrap()
        .unwrap();
    let entries = parse_offset_checkpoint(&text).unwrap();
    let named =
        |e: crate::log::checkpoint::OffsetEntry| (format!("{}-{}", e.topic, e.partition), e.offset);
    entries.into_iter().map(named).collect()
}

/// Opens every partition with what the checkpoints say.
fn open_all(name: &str) -> (MemoryDisk, Vec<(String, PartitionLog)>) {
    let (mut disk, dirs) = load(name);
    let points = recovery_points(&mut disk);
    let mut logs = Vec::new();
    for dir in dirs {
        let recorded = points.iter().find(|(of, _)| *of == dir);
        let from = load_from(name == CLEAN, recorded.map_or(0, |(_, offset)| *offset));
        let (log, recovery) = PartitionLog::open(&dir, &mut disk, from).unwrap();
        assert_eq!(recovery.truncated_bytes, 0, "{name}/{dir}");
        logs.push((dir, log));
    }
    (disk, logs)
}

fn log_of(name: &str, dir: &str) -> (MemoryDisk, PartitionLog) {
    let (disk, logs) = open_all(name);
    let (_, log) = logs.into_iter().find(|(of, _)| of == dir).expect(dir);
    (disk, log)
}

/// Epoch, last sequence and last offset of each.
fn producers_of(log: &PartitionLog) -> Vec<(ProducerId, i16, i32, Option<Offset>)> {
    let all = log.producers().producers().iter();
    let known = |(&id, entry): (&ProducerId, &ProducerStateEntry)| {
        let last = entry.batches().last().map(|batch| batch.last_offset);
        (id, entry.producer_epoch, entry.last_sequence(), last)
    };
    all.map(known).collect()
}

#[test]
fn every_log_opens_whole_and_its_files_stay_as_they_are() {
    let (fresh, _) = load(CLEAN);
    let (disk, logs) = open_all(CLEAN);
    let ends: Vec<_> = logs
        .iter()
        .map(|(dir, log)| (dir.as_str(), log.log_end_offset()))
        .collect();
    let expected = [
        ("__consumer_offsets-0", 4),
        ("__transaction_state-0", 19),
        ("gzip-0", 40),
        ("idempotent-0", 30),
        ("leader-change-0", 30),
        ("lz4-0", 40),
        ("plain-0", 20),
        ("segments-0", 30),
        ("snappy-0", 40),
        ("transactional-0", 66),
        ("zstd-0", 40),
    ];
    assert_eq!(ends, expected);
    for (_, log) in &logs {
        assert_eq!(log.recovery_point(), log.log_end_offset());
    }
    // Indexes and snapshots were sound: none is written anew, none is deleted. But a snapshot behind a
    // transaction is: here a marker counts as its producer's last batch, in Kafka it takes the batches.
    let paths = fresh.list("");
    assert_eq!(disk.list(""), paths);
    let behind_a_marker = "transactional-0/00000000000000000066.snapshot";
    for path in paths.iter().filter(|path| *path != behind_a_marker) {
        assert_eq!(disk.bytes(path), fresh.bytes(path), "{path}");
    }
}

#[test]
fn a_killed_brokers_logs_are_recovered_and_their_indexes_built_anew() {
    let (disk, logs) = open_all(KILLED);
    let ends: Vec<_> = logs
        .iter()
        .map(|(dir, log)| (dir.as_str(), log.log_end_offset()))
        .collect();
    assert_eq!(
        ends,
        [
            ("idempotent-0", 30),
            ("leader-change-0", 30),
            ("plain-0", 20)
        ]
    );
    let (clean, _) = load(CLEAN);
    for (dir, log) in logs {
        // The same records on another replica: with index files that Kafka has closed in order.
        for kind in ["log", "index", "timeindex"] {
            let path = format!("{dir}/00000000000000000000.{kind}");
            assert_eq!(disk.bytes(&path), clean.bytes(&path), "{path}");
        }
        let (_, other) = log_of(CLEAN, &dir);
        assert_eq!(log.epochs(), other.epochs(), "{dir}");
        assert_eq!(producers_of(&log), producers_of(&other), "{dir}");
        assert_eq!(log.prefix(), other.prefix(), "{dir}");
    }
}

#[test]
fn records_are_read_from_anywhere() {
    let (disk, logs) = open_all(CLEAN);
    for (dir, log) in logs.iter().filter(|(dir, _)| !dir.starts_with("__")) {
        for from in 0..log.log_end_offset() {
            let bytes = log
                .read(from, 1, log.log_end_offset(), &disk, true)
                .unwrap();
            let header = BatchHeader::read(&bytes).unwrap();
            assert!(
                (header.base_offset..=header.last_offset()).contains(&from),
                "{dir}: {from}"
            );
            let mut records = codec::records(&bytes, 1 << 20).unwrap();
            let found = records.find(|record| record.as_ref().unwrap().offset == from);
            let record = found.expect("the batch holds it").unwrap();
            if dir != "transactional-0" {
                let value = record.value.expect("a value");
                assert_eq!(value, from.to_string().as_bytes(), "{dir}");
            }
        }
    }
}

#[test]
fn epochs_and_producers_are_known_and_a_producer_goes_on() {
    let (mut disk, mut log) = log_of(CLEAN, "leader-change-0");
    let starts: Vec<_> = log
        .epochs()
        .entries()
        .iter()
        .map(|e| (e.epoch, e.start_offset))
        .collect();
    assert_eq!(starts, [(0, 0), (1, 10), (2, 20)]);
    assert_eq!(log.end_offset_for_epoch(1), Some((1, 20)));
    let producers = log.producers().producers().clone();
    assert_eq!(producers.len(), 3);
    let (&id, entry) = producers.last_key_value().expect("three");
    let sequence = entry.last_sequence();
    let next = |sequence: i32| {
        let mut builder = BatchBuilder::new();
        builder.append(NOW, Some(b"k"), Some(b"next"), &[]);
        builder.set_producer_state(id, entry.producer_epoch, sequence);
        builder.build()
    };
    let retried = log
        .append_as_leader(&next(sequence), 3, &config(), NOW, &mut disk)
        .unwrap();
    assert!(retried.duplicate, "the snapshot knows its last batch");
    let gap = log.append_as_leader(&next(sequence + 2), 3, &config(), NOW, &mut disk);
    assert_eq!(gap.unwrap_err().code(), 45);
    let appended = log
        .append_as_leader(&next(sequence + 1), 3, &config(), NOW, &mut disk)
        .unwrap();
    assert_eq!((appended.duplicate, appended.base_offset), (false, 30));
}
