//! Apache Kafka's `DumpLogSegments` reads what is written here. `tests/kafka_tools.sh` brings the
//! tool and runs this; it needs Java, so that plain `cargo test` leaves it out.

mod dump;

use bytes::Bytes;
use everyack_broker::ids::Offset;
use everyack_broker::log::batch::BatchHeader;
use everyack_broker::log::codec::{Codec, compress_batch};
use everyack_broker::log::control::end_txn_marker;
use everyack_broker::log::index::{IndexedBatch, SegmentIndexes};
use everyack_broker::log::record::BatchBuilder;
use everyack_broker::log::snapshot::{SnapshotEntry, encode_snapshot};
use everyack_broker::log::txn_index::AbortedTxn;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `index.interval.bytes`: small, so that there are many entries.
const INDEX_INTERVAL_BYTES: i32 = 300;
const BATCHES_PER_SEGMENT: usize = 40;
const NOW_MS: i64 = 1_700_000_000_000;

/// The bytes of a log's files by name, as they are written batch by batch.
#[derive(Default)]
struct Log {
    files: BTreeMap<String, Vec<u8>>,
    base_offset: Offset,
    indexes: Option<SegmentIndexes>,
    batches: usize,
    next_offset: Offset,
}

impl Log {
    fn name(&self, kind: &str) -> String {
        format!("{:020}.{kind}", self.base_offset)
    }

    fn file(&mut self, kind: &str) -> &mut Vec<u8> {
        let name = self.name(kind);
        self.files.entry(name).or_default()
    }

    fn roll(&mut self) {
        if let Some(mut indexes) = self.indexes.take() {
            let last = indexes.become_inactive();
            self.file("timeindex").extend(last.into_iter().flatten());
        }
    }

    /// Writes a batch at the log's end; returns the offset of its first record.
    fn append(
        &mut self,
        mut builder: BatchBuilder,
        leader_epoch: i32,
        codec: Option<Codec>,
    ) -> Offset {
        let base_offset = self.next_offset;
        builder.set_base(base_offset, leader_epoch);
        let mut batch: Bytes = builder.build();
        if let Some(codec) = codec {
            batch = compress_batch(&batch, codec);
        }
        if self.batches.is_multiple_of(BATCHES_PER_SEGMENT) {
            self.roll();
            self.base_offset = base_offset;
            self.indexes = Some(SegmentIndexes::new(base_offset));
        }
        self.batches += 1;
        let header = BatchHeader::read(&batch).unwrap();
        let position = self.file("log").len() as u64;
        let indexed = IndexedBatch {
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            position,
            size: header.size() as u32,
        };
        self.file("log").extend(&batch[..]);
        let indexes = self.indexes.as_mut().expect("a segment is open");
        let new = indexes.append(indexed, INDEX_INTERVAL_BYTES);
        let (offset, time) = match new {
            Some(new) => (Some(new.offset), new.time),
            None => (None, None),
        };
        self.file("index").extend(offset.into_iter().flatten());
        self.file("timeindex").extend(time.into_iter().flatten());
        self.next_offset = header.last_offset() + 1;
        base_offset
    }
}

/// Three producers, three leader epochs, all codecs, records without key or value, timestamps that go
/// back, and two transactions of which one is aborted.
fn written() -> Log {
    let mut log = Log::default();
    let codecs = [
        None,
        Some(Codec::Gzip),
        Some(Codec::Snappy),
        Some(Codec::Lz4),
        Some(Codec::Zstd),
    ];
    let mut sequences = [0; 3];
    for n in 0..150_usize {
        let (records, producer) = (1 + n % 4, n % 3);
        let mut builder = BatchBuilder::new();
        for record in 0..records {
            let timestamp = NOW_MS + (n * 10) as i64 - (record * 7) as i64;
            let (key, value) = (format!("key-{n}"), format!("value-{n}-{record}"));
            let key = (n % 7 != 0).then_some(key.as_bytes());
            let value = (n % 11 != 0).then_some(value.as_bytes());
            builder.append(timestamp, key, value, &[]);
        }
        let id = producer as i64 + 100;
        builder.set_producer_state(id, producer as i16, sequences[producer]);
        sequences[producer] += records as i32;
        log.append(builder, (n / 50) as i32, codecs[n % codecs.len()]);
    }
    for committed in [true, false] {
        let mut data = BatchBuilder::new();
        data.append(NOW_MS + 2_000, Some(b"k"), Some(b"v"), &[]);
        data.set_transactional(false);
        data.set_producer_state(200, 4, i32::from(!committed));
        let first_offset = log.append(data, 2, None);
        let (key, value) = end_txn_marker(committed, 9);
        let mut marker = BatchBuilder::new();
        marker.append(NOW_MS + 2_001, Some(&key), Some(&value), &[]);
        marker.set_transactional(true);
        marker.set_producer_state(200, 4, -1);
        let last_offset = log.append(marker, 2, None);
        if !committed {
            let txn = AbortedTxn {
                producer_id: 200,
                first_offset,
                last_offset,
                last_stable_offset: last_offset + 1,
            };
            log.file("txnindex").extend(txn.encode());
        }
    }
    log.roll();
    let producer = SnapshotEntry {
        producer_id: 200,
        producer_epoch: 4,
        last_sequence: 1,
        last_offset: log.next_offset - 2,
        offset_delta: 0,
        timestamp: NOW_MS + 2_001,
        coordinator_epoch: 9,
        current_txn_first_offset: -1,
    };
    let snapshot = encode_snapshot([producer].into_iter());
    log.files
        .insert(format!("{:020}.snapshot", log.next_offset), snapshot);
    log
}

#[allow(clippy::disallowed_methods)] // a test of files
fn write(log: &Log, dir: &Path) -> Vec<PathBuf> {
    std::fs::create_dir_all(dir).expect("the directory can be created");
    let mut paths = Vec::new();
    for (name, bytes) in &log.files {
        let path = dir.join(name);
        std::fs::write(&path, bytes).expect("the file can be written");
        paths.push(path);
    }
    paths
}

/// What the tool prints, errors too.
#[allow(clippy::disallowed_methods)] // the script says where the tool is
fn dump_log_segments(options: &[&str], paths: &[PathBuf], kinds: &[&str]) -> String {
    let classpath = std::env::var("KAFKA_TOOLS_CLASSPATH")
        .expect("KAFKA_TOOLS_CLASSPATH is set: run tests/kafka_tools.sh");
    let wanted = |path: &&PathBuf| {
        let extension = path.extension().and_then(|kind| kind.to_str());
        extension.is_some_and(|kind| kinds.contains(&kind))
    };
    let files: Vec<String> = paths
        .iter()
        .filter(wanted)
        .map(|path| path.display().to_string())
        .collect();
    assert!(!files.is_empty(), "no files of {kinds:?}");
    let output = Command::new("java")
        .args(["-cp", &classpath, "org.apache.kafka.tools.DumpLogSegments"])
        .args(options)
        .args(["--files", &files.join(",")])
        .output()
        .expect("java runs");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).expect("text");
    assert!(output.status.success(), "{printed}");
    printed
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// What the tool has to complain about. It expects every segment to begin at offset 0, and says so of
/// Kafka's own segments too: that is no complaint.
fn complaints(printed: &str) -> Vec<&str> {
    let signs = [
        "Mismatches",
        "out of order",
        "Non-consecutive",
        "Non-secutive",
        "Exception",
        "isvalid: false",
        "unnecessary",
    ];
    let lines: Vec<&str> = printed.lines().collect();
    let expected = |index: usize| {
        let next = lines.get(index + 1).unwrap_or(&"");
        lines[index].starts_with("Non-consecutive") && next.trim().starts_with("-1 is followed by")
    };
    let complains = |index: usize| signs.iter().any(|sign| lines[index].contains(sign));
    (0..lines.len())
        .filter(|&index| complains(index) && !expected(index))
        .map(|index| lines[index])
        .collect()
}

#[test]
fn kafka_prints_each_segment_as_it_was_written() {
    let log = written();
    let paths = write(&log, &directory("segments"));
    let mut seen = dump::Seen::default();
    for path in paths
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
    {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let options = ["--deep-iteration", "--print-data-log"];
        let printed = dump_log_segments(&options, std::slice::from_ref(path), &["log"]);
        assert_eq!(complaints(&printed), [""; 0], "{printed}");
        let found = dump::assert_says(&printed, name, &log.files[name].clone().into());
        seen.batches += found.batches;
        seen.records += found.records;
        seen.codecs.extend(found.codecs);
    }
    seen.codecs.sort_unstable();
    seen.codecs.dedup();
    assert_eq!(seen.codecs, ["gzip", "lz4", "none", "snappy", "zstd"]);
    assert_eq!((seen.batches, seen.records as i64), (154, log.next_offset));
}

#[test]
fn kafka_finds_no_mismatch_in_an_index_and_finds_one_that_is_planted() {
    let mut log = written();
    let paths = write(&log, &directory("indexes"));
    let indexes = ["index", "timeindex"];
    let printed = dump_log_segments(&["--verify-index-only"], &paths, &indexes);
    assert_eq!(complaints(&printed), [""; 0], "{printed}");
    let printed = dump_log_segments(&["--index-sanity-check"], &paths, &indexes);
    assert_eq!(complaints(&printed), [""; 0], "{printed}");
    let passed = printed.matches("passed sanity check.").count();
    assert_eq!(passed, 8, "two of each of four segments: {printed}");
    let printed = dump_log_segments(&[], &paths, &indexes);
    let entries = printed.lines().filter(|line| line.starts_with("offset: "));
    let written = log
        .files
        .iter()
        .filter(|(name, _)| name.ends_with(".index"));
    assert_eq!(
        entries.count() * 8,
        written.map(|(_, bytes)| bytes.len()).sum::<usize>()
    );

    let index = log
        .files
        .get_mut("00000000000000000000.index")
        .expect("it is there");
    index[3] += 1;
    let paths = write(&log, &directory("planted"));
    let printed = dump_log_segments(&["--verify-index-only"], &paths, &indexes);
    let complaints = complaints(&printed);
    assert_eq!(complaints.len(), 1, "{printed}");
    assert!(complaints[0].starts_with("Mismatches in"), "{printed}");
}

#[test]
fn kafka_reads_snapshots_and_transaction_indexes() {
    let log = written();
    let paths = write(&log, &directory("others"));
    let printed = dump_log_segments(&[], &paths, &["snapshot", "txnindex"]);
    let (data, marker) = (log.next_offset - 2, log.next_offset - 1);
    let aborted = format!(
        "version: 0 producerId: 200 firstOffset: {data} lastOffset: {marker} lastStableOffset: {}",
        log.next_offset
    );
    assert!(printed.contains(&aborted), "{printed}");
    let producer = "producerId: 200 producerEpoch: 4 coordinatorEpoch: 9";
    assert!(printed.contains(producer), "{printed}");
    let sequences = format!("firstSequence: 1 lastSequence: 1 lastOffset: {data}");
    assert!(printed.contains(&sequences), "{printed}");
}
