//! Apache Kafka's `DumpLogSegments` reads what is written here. `tests/kafka_tools.sh` brings the
//! tool and runs this; it needs Java, so that plain `cargo test` leaves it out.

mod dump;

use everyack_broker::config::{BrokerConfig, TopicConfig};
use everyack_broker::env::SyncToken;
use everyack_broker::host::disk::RealDisk;
use everyack_broker::ids::{LeaderEpoch, ProducerId};
use everyack_broker::log::cleaner::{Cleanable, Cleaning, CleaningProgress};
use everyack_broker::log::codec::{Codec, compress_batch};
use everyack_broker::log::control::end_txn_marker;
use everyack_broker::log::record::BatchBuilder;
use everyack_broker::log::txn_index::AbortedTxn;
use everyack_broker::log::{FlushProgress, LoadFrom, PartitionLog};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const NOW_MS: i64 = 1_700_000_000_000;
const TOKEN: SyncToken = SyncToken(1);
const CODECS: [Option<Codec>; 5] = [
    None,
    Some(Codec::Gzip),
    Some(Codec::Snappy),
    Some(Codec::Lz4),
    Some(Codec::Zstd),
];

/// Small segments, and many index entries.
fn config() -> TopicConfig {
    TopicConfig {
        segment_bytes: 5_000,
        index_interval_bytes: 300,
        ..BrokerConfig::from_properties(&BTreeMap::new())
            .expect("the defaults are legal")
            .topic_defaults
    }
}

/// A log on the file system, in a folder of its own.
struct Written {
    dir: PathBuf,
    disk: RealDisk,
    log: PartitionLog,
}

impl Written {
    fn new(name: &str) -> Written {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if root.exists() {
            std::fs::remove_dir_all(&root).expect("an earlier run's folder can be removed");
        }
        std::fs::create_dir_all(&root).expect("the folder can be created");
        let mut disk = RealDisk::new(&root).expect("the folder can be used");
        let from = LoadFrom {
            clean: false,
            recovery_point: 0,
            log_start: 0,
            now_ms: NOW_MS,
            bug: None,
        };
        let (log, _) = PartitionLog::open("t-0", &mut disk, from).expect("a new log");
        let dir = root.join("t-0");
        Written { dir, disk, log }
    }

    /// As the leader appends what a producer sent.
    fn lead(&mut self, builder: BatchBuilder, epoch: LeaderEpoch, codec: Option<Codec>) {
        let mut batch = builder.build();
        if let Some(codec) = codec {
            batch = compress_batch(&batch, codec);
        }
        self.log
            .append_as_leader(&batch, epoch, &config(), NOW_MS, &mut self.disk)
            .expect("it is accepted");
    }

    /// As a follower appends what its leader has: transactions too.
    fn follow(&mut self, mut builder: BatchBuilder, epoch: LeaderEpoch) {
        builder.set_base(self.log.log_end_offset(), epoch);
        self.log
            .append_as_follower(&builder.build(), &config(), NOW_MS, &mut self.disk)
            .expect("it is accepted");
    }

    /// Ends the log in order.
    fn close(&mut self) {
        self.log
            .begin_close(&mut self.disk, TOKEN)
            .expect("the disk works");
        loop {
            for job in self.disk.take_started() {
                let (token, result) = job.run();
                let progress = self
                    .log
                    .flush_completed(token, result, NOW_MS, &mut self.disk);
                if let FlushProgress::Done { .. } = progress.expect("the disk works") {
                    return;
                }
            }
        }
    }

    /// Cleans all that can be cleaned.
    fn clean(&mut self, now_ms: i64) {
        let (log, disk) = (&mut self.log, &mut self.disk);
        log.update_high_watermark(log.log_end_offset());
        let cleanable = Cleanable::of(log, None, log.high_watermark, &config(), now_ms);
        let mut cleaning = Cleaning::begin(log, cleanable, &config(), now_ms);
        loop {
            match cleaning.step(log, disk, TOKEN).expect("it can be cleaned") {
                CleaningProgress::More => {}
                CleaningProgress::Done { .. } => break,
                CleaningProgress::Syncing => loop {
                    let jobs = disk.take_started();
                    if jobs.is_empty() {
                        break;
                    }
                    for job in jobs {
                        let (token, result) = job.run();
                        cleaning
                            .synced(log, result, token, disk)
                            .expect("the disk works");
                    }
                },
            }
        }
        for segment in log.take_deleted_segments() {
            segment.delete(disk).expect("the disk works");
        }
    }

    /// Its files of that kind, in order.
    fn paths(&self, kind: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.dir).expect("the folder can be listed");
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.expect("it can be listed").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == kind))
            .collect();
        paths.sort();
        paths
    }

    fn indexes(&self) -> Vec<PathBuf> {
        [self.paths("index"), self.paths("timeindex")].concat()
    }
}

fn data(n: usize, records: usize, keys: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for record in 0..records {
        let timestamp = NOW_MS + (n * 10) as i64 - (record * 7) as i64;
        let (key, value) = (format!("key-{}", n % keys), format!("value-{n}-{record}"));
        let key = (!n.is_multiple_of(7)).then_some(key.as_bytes());
        let value = (!n.is_multiple_of(11)).then_some(value.as_bytes());
        builder.append(timestamp, key, value, &[]);
    }
    builder
}

fn transaction(written: &mut Written, id: ProducerId, committed: bool) {
    let mut records = data(2_000, 1, 1_000);
    records.set_transactional(false);
    records.set_producer_state(id, 4, 0);
    written.follow(records, 2);
    let (key, value) = end_txn_marker(committed, 9);
    let mut marker = BatchBuilder::new();
    marker.append(NOW_MS + 20_001, Some(&key), Some(&value), &[]);
    marker.set_transactional(true);
    marker.set_producer_state(id, 4, -1);
    written.follow(marker, 2);
}

/// Four producers, three leader epochs, all codecs, records without key or value, timestamps that go
/// back, and two transactions of which one is aborted.
fn written(name: &str, keys: usize) -> Written {
    let mut written = Written::new(name);
    let mut first = data(8, 1, keys);
    first.set_producer_state(99, 0, 0);
    written.lead(first, 0, None);
    let mut sequences = [0; 3];
    for n in 0..150_usize {
        let (records, producer) = (1 + n % 4, n % 3);
        let mut builder = data(n, records, keys);
        let id = producer as ProducerId + 100;
        builder.set_producer_state(id, producer as i16, sequences[producer]);
        sequences[producer] += records as i32;
        written.lead(builder, (n / 50) as LeaderEpoch, CODECS[n % CODECS.len()]);
    }
    transaction(&mut written, 200, true);
    transaction(&mut written, 201, false);
    written
}

/// What the tool prints of these files, errors too.
#[allow(clippy::disallowed_methods)] // the script says where the tool is
fn dump_log_segments(options: &[&str], paths: &[PathBuf]) -> String {
    let classpath = std::env::var("KAFKA_TOOLS_CLASSPATH")
        .expect("KAFKA_TOOLS_CLASSPATH is set: run tests/kafka_tools.sh");
    assert!(!paths.is_empty(), "there is something to read");
    let files: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
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

/// Asserts that the tool sees each segment as it is, and finds nothing to complain about.
#[allow(clippy::disallowed_methods)] // a test of files
fn assert_printed(written: &Written) -> dump::Seen {
    let mut seen = dump::Seen::default();
    for path in written.paths("log") {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let options = ["--deep-iteration", "--print-data-log"];
        let printed = dump_log_segments(&options, std::slice::from_ref(&path));
        assert_eq!(complaints(&printed), [""; 0], "{printed}");
        let bytes = std::fs::read(&path).expect("it can be read");
        let found = dump::assert_says(&printed, name, &bytes.into());
        seen.batches += found.batches;
        seen.records += found.records;
        seen.empty += found.empty;
        seen.horizons += found.horizons;
        seen.codecs.extend(found.codecs);
    }
    seen.codecs.sort_unstable();
    seen.codecs.dedup();
    seen
}

/// Asserts that the tool finds nothing wrong with the indexes, and that there are entries.
fn assert_indexes_agree(written: &Written) {
    let indexes = written.indexes();
    let printed = dump_log_segments(&["--verify-index-only"], &indexes);
    assert_eq!(complaints(&printed), [""; 0], "{printed}");
    let printed = dump_log_segments(&["--index-sanity-check"], &indexes);
    assert_eq!(complaints(&printed), [""; 0], "{printed}");
    let passed = printed.matches("passed sanity check.").count();
    assert_eq!(passed, indexes.len(), "{printed}");
    let printed = dump_log_segments(&[], &indexes);
    let entries = printed
        .lines()
        .filter(|line| line.starts_with("offset: "))
        .count();
    let bytes = |path: &PathBuf| path.metadata().expect("it is there").len() as usize;
    let written_bytes: usize = written.paths("index").iter().map(bytes).sum();
    assert_eq!(entries * 8, written_bytes);
    assert!(entries > 10, "{entries}");
}

#[test]
fn kafka_prints_each_segment_as_it_was_written() {
    let mut written = written("segments", 1_000);
    written.close();
    assert!(written.paths("log").len() > 2);
    let seen = assert_printed(&written);
    assert_eq!(seen.codecs, ["gzip", "lz4", "none", "snappy", "zstd"]);
    let log_end = written.log.log_end_offset();
    assert_eq!((seen.batches, seen.records as i64), (155, log_end));
}

#[test]
#[allow(clippy::disallowed_methods)] // a test of files
fn kafka_finds_no_mismatch_in_an_index_and_finds_one_that_is_planted() {
    let mut written = written("indexes", 1_000);
    written.close();
    assert_indexes_agree(&written);

    let first = &written.paths("index")[0];
    let mut bytes = std::fs::read(first).expect("it can be read");
    bytes[3] += 1;
    std::fs::write(first, bytes).expect("it can be written");
    let printed = dump_log_segments(&["--verify-index-only"], &written.indexes());
    let complaints = complaints(&printed);
    assert_eq!(complaints.len(), 1, "{printed}");
    assert!(complaints[0].starts_with("Mismatches in"), "{printed}");
}

/// Batches without records and delete horizons among them.
#[test]
fn kafka_reads_what_a_cleaning_has_left() {
    let mut written = written("cleaned", 40);
    let before = written.paths("log").len();
    // The second makes one segment of what has become small.
    written.clean(NOW_MS);
    written.clean(NOW_MS);
    written.close();
    assert!(written.paths("log").len() < before);
    let seen = assert_printed(&written);
    assert!(seen.records < 200, "{seen:?}");
    assert!(seen.horizons > 0 && seen.empty > 0, "{seen:?}");
    assert_indexes_agree(&written);
}

#[test]
#[allow(clippy::disallowed_methods)] // a test of files
fn kafka_reads_snapshots_and_transaction_indexes() {
    let mut written = written("others", 1_000);
    written.close();
    let snapshots = written.paths("snapshot");
    let last = snapshots.last().expect("one is written at the end");
    let printed = dump_log_segments(&[], std::slice::from_ref(last));
    assert_eq!(complaints(&printed), [""; 0], "{printed}");
    let producers = written.log.producers().producers();
    assert_eq!(producers.len(), 6);
    for (id, entry) in producers {
        let epoch = entry.producer_epoch;
        let said = format!("producerId: {id} producerEpoch: {epoch} ");
        assert!(printed.contains(&said), "{said}: {printed}");
        let batch = entry.batches().last().expect("it wrote one");
        let said = format!("lastOffset: {}", batch.last_offset);
        assert!(printed.contains(&said), "{said}: {printed}");
    }

    let path = written.dir.join("00000000000000000000.txnindex");
    let txn = AbortedTxn {
        producer_id: 201,
        first_offset: 7,
        last_offset: 9,
        last_stable_offset: 10,
    };
    std::fs::write(&path, txn.encode()).expect("it can be written");
    let printed = dump_log_segments(&[], &[path]);
    let said = "version: 0 producerId: 201 firstOffset: 7 lastOffset: 9 lastStableOffset: 10";
    assert!(printed.contains(said), "{printed}");
}
