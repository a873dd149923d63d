//! Log folders that Apache Kafka 4.3.1 wrote are read as Kafka's own tools read them: batches,
//! records, indexes, snapshots, checkpoints. A damaged copy is refused with file and byte.

mod dump;

use bytes::Bytes;
use everyack_broker::log::batch::batches;
use everyack_broker::log::checkpoint::{offset_checkpoint_text, parse_offset_checkpoint};
use everyack_broker::log::index::{IndexedBatch, SegmentIndexes};
use everyack_broker::log::inspect::{FolderReport, PartitionReport, inspect};
use everyack_broker::log::partition_metadata::{partition_metadata_text, uuid_text};
use everyack_broker::log::snapshot::{SnapshotEntry, encode_snapshot};
use everyack_broker::log::txn_index::AbortedTxn;
use everyack_broker::log::{LeaderEpochCache, MalformedCheckpoint};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

type Files = BTreeMap<String, Bytes>;

/// Default of `log.index.interval.bytes`, with which the folders were written.
const INDEX_INTERVAL_BYTES: i32 = 4096;

const CLEAN: &str = "clean-shutdown";
const KILLED: &str = "killed";

/// The files of one of the folders, and what Kafka printed of each segment.
fn folder(name: &str) -> (Files, BTreeMap<String, String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/kafka-4.3.1");
    let (mut files, mut dumps) = (Files::new(), BTreeMap::new());
    collect(&root.join(name), "", &mut files);
    let printed: Vec<String> = files
        .keys()
        .filter(|path| path.ends_with(".txt"))
        .cloned()
        .collect();
    for path in printed {
        let bytes = files.remove(&path).expect("it is there");
        if let Some(stem) = path.strip_suffix(".dump.txt") {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            dumps.insert(format!("{stem}.log"), text);
        }
    }
    (files, dumps)
}

#[allow(clippy::disallowed_methods)] // a test of files
fn collect(dir: &Path, prefix: &str, files: &mut Files) {
    for entry in std::fs::read_dir(dir).expect("the fixtures are there") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = format!("{prefix}{}", name.expect("a name in ASCII"));
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else {
            let bytes = std::fs::read(&path).expect("it can be read");
            files.insert(name, bytes.into());
        }
    }
}

#[test]
fn every_batch_and_every_record_is_what_kafka_printed_of_it() {
    let (mut batch_count, mut record_count, mut codecs) = (0, 0, Vec::new());
    for name in [CLEAN, KILLED] {
        let (files, dumps) = folder(name);
        assert_eq!(
            dumps.keys().collect::<Vec<_>>(),
            files
                .keys()
                .filter(|path| path.ends_with(".log"))
                .collect::<Vec<_>>()
        );
        for (path, dump) in &dumps {
            let seen = dump::assert_says(dump, path, &files[path]);
            batch_count += seen.batches;
            record_count += seen.records;
            assert_eq!(
                (seen.empty, seen.horizons),
                (0, 0),
                "{path}: nothing was cleaned"
            );
            codecs.extend(seen.codecs);
        }
    }
    codecs.sort_unstable();
    codecs.dedup();
    assert_eq!(codecs, ["gzip", "lz4", "none", "snappy", "zstd"]);
    assert_eq!((batch_count, record_count), (283, 439));
}

fn partition<'a>(report: &'a FolderReport, dir: &str) -> &'a PartitionReport {
    let mut partitions = report.partitions.iter();
    partitions
        .find(|partition| partition.dir == dir)
        .expect(dir)
}

#[test]
fn inspection_finds_every_file_sound() {
    let report = inspect(&mut folder(CLEAN).0).unwrap();
    assert_eq!(report.corrupt, []);
    assert!(report.clean_shutdown);
    let meta = report.meta.as_ref().expect("meta.properties");
    assert_eq!(
        (meta.node_id, meta.cluster_id.as_str()),
        (1, "AqB6eKA9SSyCq3qJs37z6Q")
    );
    assert_eq!(
        meta.directory_id.map(uuid_text).as_deref(),
        Some("OAtErhTb4MDu3Nxq6wPKkQ")
    );
    let ends: Vec<_> = report
        .partitions
        .iter()
        .map(|partition| (partition.dir.as_str(), partition.log_end))
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
    assert_eq!(ends, expected.map(|(dir, end)| (dir, Some(end))));
    assert!(
        report
            .partitions
            .iter()
            .all(|partition| partition.topic_id.is_some())
    );

    let epochs = &partition(&report, "leader-change-0").epochs;
    let starts: Vec<_> = epochs
        .iter()
        .map(|epoch| (epoch.epoch, epoch.start_offset))
        .collect();
    assert_eq!(starts, [(0, 0), (1, 10), (2, 20)]);
    let segments = &partition(&report, "segments-0").segments;
    let bounds: Vec<_> = segments
        .iter()
        .map(|segment| (segment.base_offset, segment.next_offset, segment.batches))
        .collect();
    assert_eq!(bounds, [(0, 10, 10), (10, 20, 10), (20, 30, 10)]);

    let transactional = partition(&report, "transactional-0");
    let aborted = |first_offset, last_offset| AbortedTxn {
        producer_id: 5,
        first_offset,
        last_offset,
        last_stable_offset: last_offset + 1,
    };
    let segment = &transactional.segments[0];
    assert_eq!(segment.aborted, [aborted(22, 32), aborted(55, 65)]);
    assert_eq!((segment.offset_entries, segment.time_entries), (1, 2));
    let [snapshot] = &transactional.snapshots[..] else {
        panic!("one snapshot");
    };
    let producer = SnapshotEntry {
        producer_id: 5,
        producer_epoch: 6,
        last_sequence: -1,
        last_offset: -1,
        offset_delta: 0,
        timestamp: 1_795_382_347_354,
        coordinator_epoch: 0,
        current_txn_first_offset: -1,
    };
    assert_eq!(
        (snapshot.offset, &snapshot.entries[..]),
        (66, &[producer][..])
    );

    let report = inspect(&mut folder(KILLED).0).unwrap();
    assert_eq!(report.corrupt, []);
    assert!(!report.clean_shutdown);
    assert_eq!(report.partitions.len(), 3);
}

#[test]
fn what_is_written_here_of_the_same_batches_is_byte_for_byte_kafkas() {
    let (files, _) = folder(CLEAN);
    let report = inspect(&mut files.clone()).unwrap();
    let mut compared = BTreeMap::new();
    let mut same = |path: String, bytes: &[u8]| {
        assert_eq!(files[&path], bytes, "{path}");
        let kind = path.rsplit(['.', '/']).next().expect("a name").to_owned();
        *compared.entry(kind).or_insert(0) += 1;
    };
    for partition in &report.partitions {
        let dir = &partition.dir;
        for segment in &partition.segments {
            let stem = format!("{dir}/{:020}", segment.base_offset);
            let mut position = 0;
            let indexed = batches(&files[&format!("{stem}.log")]).map(|batch| {
                let header = batch.unwrap().header;
                let size = header.size() as u32;
                position += u64::from(size);
                IndexedBatch {
                    last_offset: header.last_offset(),
                    max_timestamp: header.max_timestamp,
                    position: position - u64::from(size),
                    size,
                }
            });
            let indexes =
                SegmentIndexes::rebuild(segment.base_offset, indexed, INDEX_INTERVAL_BYTES);
            same(format!("{stem}.index"), &indexes.offsets().to_bytes());
            same(format!("{stem}.timeindex"), &indexes.times().to_bytes());
            if !segment.aborted.is_empty() {
                let bytes: Vec<u8> = segment
                    .aborted
                    .iter()
                    .flat_map(AbortedTxn::encode)
                    .collect();
                same(format!("{stem}.txnindex"), &bytes);
            }
        }
        for snapshot in &partition.snapshots {
            let bytes = encode_snapshot(snapshot.entries.iter().copied());
            same(format!("{dir}/{:020}.snapshot", snapshot.offset), &bytes);
        }
        let id = partition.topic_id.expect("a topic id");
        let metadata = partition_metadata_text(id);
        same(format!("{dir}/partition.metadata"), metadata.as_bytes());
        let path = format!("{dir}/leader-epoch-checkpoint");
        let text = str::from_utf8(&files[&path]).unwrap();
        let epochs = LeaderEpochCache::from_checkpoint(text).unwrap();
        same(path, epochs.to_checkpoint().as_bytes());
    }
    for name in ["recovery-point", "replication", "log-start"] {
        let path = match name {
            "replication" => "replication-offset-checkpoint".to_owned(),
            name => format!("{name}-offset-checkpoint"),
        };
        let written = rewritten(&files[&path]).unwrap();
        same(path, written.as_bytes());
    }
    let counts: Vec<_> = compared.values().copied().collect();
    assert_eq!(counts, [13, 11, 1, 11, 1, 1, 13, 13, 1], "{compared:?}");
}

fn rewritten(bytes: &[u8]) -> Result<String, MalformedCheckpoint> {
    let entries = parse_offset_checkpoint(str::from_utf8(bytes).expect("ASCII"))?;
    let entries = entries
        .iter()
        .map(|entry| (entry.topic.as_str(), entry.partition, entry.offset));
    Ok(offset_checkpoint_text(entries))
}

/// Files of which every byte is held against another: what their format or the batches say.
fn is_binary(path: &str) -> bool {
    [".log", "index", ".snapshot"]
        .iter()
        .any(|suffix| path.ends_with(suffix))
}

/// First byte of the batch that holds byte `at` of a segment, and the byte behind it.
fn batch_around(segment: &Bytes, at: usize) -> (u64, u64) {
    let mut start = 0;
    for batch in batches(segment) {
        let end = start + batch.unwrap().header.size();
        if at < end {
            return (start as u64, end as u64);
        }
        start = end;
    }
    panic!("byte {at} is behind the last batch");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_damaged_byte_is_found_where_it_is(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8u32,
    ) {
        let (files, _) = folder(CLEAN);
        let binary: Vec<&String> = files
            .iter()
            .filter(|(path, bytes)| is_binary(path) && !bytes.is_empty())
            .map(|(path, _)| path)
            .collect();
        let path = which.get(&binary).as_str();
        let at = at.index(files[path].len());
        let mut damaged = files.clone();
        let mut bytes = files[path].to_vec();
        bytes[at] ^= 1u8 << bit;
        damaged.insert(path.to_owned(), bytes.into());
        let found = inspect(&mut damaged).unwrap().corrupt;
        let told = || found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        prop_assert!(!found.is_empty(), "{}: byte {}, bit {}: nothing found", path, at, bit);
        let here = found.iter().find(|error| error.file == path);
        if path.ends_with(".log") {
            let (start, end) = batch_around(&files[path], at);
            // The base offset is in no checksum: it may be the next batch or the checkpoint that
            // shows that it is wrong.
            let in_checksum = at as u64 - start >= 16;
            let there = here.is_some_and(|error| (start..end).contains(&error.at));
            prop_assert!(there || !in_checksum, "{}: byte {}: {}", path, at, told());
        } else {
            prop_assert!(here.is_some(), "{}: byte {}: {}", path, at, told());
        }
    }

    #[test]
    fn a_cut_file_is_found_where_it_ends(which in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let (files, _) = folder(CLEAN);
        let binary: Vec<&String> = files
            .iter()
            .filter(|(path, bytes)| is_binary(path) && !bytes.is_empty())
            .map(|(path, _)| path)
            .collect();
        let path = which.get(&binary).as_str();
        let cut = cut.index(files[path].len());
        let mut damaged = files.clone();
        damaged.insert(path.to_owned(), files[path].slice(..cut));
        let found = inspect(&mut damaged).unwrap().corrupt;
        let whole_batches = path.ends_with(".log") && batches_end_at(&files[path], cut);
        let whole_entries = path.ends_with("index") && inspect_entries_end_at(path, cut);
        if whole_batches {
            // What is left is a log; the recovery point and the indexes know of more.
            prop_assert!(!found.is_empty());
        } else if !whole_entries {
            let here = found.iter().find(|error| error.file == path).map(|error| error.at);
            prop_assert!(here.is_some_and(|at| at <= cut as u64), "{} cut at {}: {:?}", path, cut, found);
        }
    }

    /// Text too, in both folders, and any number of bytes: an error or none, never a panic, and the
    /// byte it names is one of the file or its end.
    #[test]
    fn whatever_is_damaged_the_inspection_comes_to_an_end(
        killed in any::<bool>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (mut files, _) = folder(if killed { KILLED } else { CLEAN });
        for (which, at, byte) in damage {
            let paths: Vec<String> = files.keys().cloned().collect();
            let path = which.get(&paths);
            let mut bytes = files[path].to_vec();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
                files.insert(path.clone(), bytes.into());
            }
        }
        for error in inspect(&mut files).unwrap().corrupt {
            prop_assert!(error.at <= files[&error.file].len() as u64, "{}", error);
        }
    }
}

fn batches_end_at(segment: &Bytes, cut: usize) -> bool {
    cut == 0 || batch_around(segment, cut - 1).1 == cut as u64
}

fn inspect_entries_end_at(path: &str, cut: usize) -> bool {
    let size = match path.rsplit('.').next() {
        Some("index") => 8,
        Some("timeindex") => 12,
        _ => 34,
    };
    cut.is_multiple_of(size)
}
