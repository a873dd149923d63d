//! What the log costs on the disk of this machine, beside plain system calls on the same bytes in the
//! same run: append with a flush each MiB, sequential read, and recovery after an unclean end.
//!
//! `cargo bench -p everyack-broker --features host --bench storage`. Both sides take turns, and medians
//! are compared. Batches are 16 KiB of sixteen records of an idempotent producer; the leader checks them
//! in full, gives them their offsets, and writes an index entry for each into two more files, which a
//! flush syncs side by side with the log, as a hosted broker does. The page cache holds all that is read.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a benchmark has clock, files, threads

use everyack_broker::config::{BrokerConfig, TopicConfig};
use everyack_broker::env::SyncToken;
use everyack_broker::host::disk::RealDisk;
use everyack_broker::log::batch::set_producer_state;
use everyack_broker::log::{BatchBuilder, FlushProgress, LoadFrom, PartitionLog};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: usize = 1 << 20;
const BATCH_BYTES: usize = 16 << 10;
const RECORDS: i32 = 16;
/// Of a log that is recovered and read.
const LOG_MIB: usize = 100;
/// Flushes that are measured.
const FLUSHES: usize = 256;
/// Passes over a whole log that are measured.
const PASSES: usize = 25;
/// Bytes of a read, `max.partition.fetch.bytes` by default, and of a plain `read`.
const READ_BYTES: usize = MIB;
/// The wall clock in milliseconds, as far as the log knows.
const NOW_MS: i64 = 1_700_000_000_000;
/// What append and recovery have to reach of the plain rate, in percent.
const BAR: f64 = 80.0;

/// Makes the batches of one MiB after another, as the producer sends them.
struct Producer {
    batch: Vec<u8>,
    next_sequence: i32,
}

impl Producer {
    fn new() -> Producer {
        let value: Vec<u8> = (0..1020u32).map(|n| ((n * n) >> 3) as u8).collect();
        let mut builder = BatchBuilder::new();
        for number in 0..RECORDS {
            // The last record fills the batch up.
            let bytes = if number + 1 < RECORDS { 1011 } else { 1014 };
            builder.append(NOW_MS, None, Some(&value[..bytes]), &[]);
        }
        let batch = builder.build().to_vec();
        assert_eq!(batch.len(), BATCH_BYTES);
        Producer {
            batch,
            next_sequence: 0,
        }
    }

    fn next_mib(&mut self) -> Vec<Vec<u8>> {
        let batches = (0..MIB / BATCH_BYTES).map(|_| {
            let mut batch = self.batch.clone();
            set_producer_state(&mut batch, 7, 0, self.next_sequence);
            self.next_sequence += RECORDS;
            batch
        });
        batches.collect()
    }
}

/// A partition's log on the real disk.
struct Partition {
    disk: RealDisk,
    log: PartitionLog,
    config: TopicConfig,
}

impl Partition {
    /// Loads the log below a folder as after an unclean end of its broker, or creates it.
    fn recover(root: &Path) -> Partition {
        let mut disk = RealDisk::new(root).expect("a folder");
        let from = LoadFrom {
            clean: false,
            recovery_point: 0,
            log_start: 0,
            now_ms: NOW_MS,
            bug: None,
        };
        let (log, recovery) = PartitionLog::open("t-0", &mut disk, from).expect("a healthy disk");
        assert_eq!(recovery.truncated_bytes, 0);
        let config = BrokerConfig::from_properties(&BTreeMap::new()).expect("the defaults");
        Partition {
            disk,
            log,
            config: config.topic_defaults,
        }
    }

    fn append(&mut self, batches: &[Vec<u8>]) {
        for batch in batches {
            let (log, config) = (&mut self.log, &self.config);
            let appended = log.append_as_leader(batch, 0, config, NOW_MS, &mut self.disk);
            assert!(!appended.expect("a valid batch").duplicate);
        }
    }

    fn flush(&mut self, blocking: &tokio::runtime::Runtime) {
        let (done, inbox) = mpsc::channel();
        assert!(self.log.begin_flush(&mut self.disk, SyncToken(1)));
        loop {
            for job in self.disk.take_started() {
                let done = done.clone();
                blocking.spawn_blocking(move || done.send(job.run()));
            }
            let (token, result) = inbox.recv().expect("a sync is under way");
            let (log, disk) = (&mut self.log, &mut self.disk);
            let progress = log.flush_completed(token, result, NOW_MS, disk);
            if progress.expect("a healthy disk") != FlushProgress::Again {
                return;
            }
        }
    }

    /// Reads it as a consumer does; bytes.
    fn read(&self) -> usize {
        let (mut bytes, mut offset, end) = (0, 0, self.log.log_end_offset());
        while offset < end {
            let read = self
                .log
                .read(offset, READ_BYTES as i32, end, &self.disk, true);
            let read = black_box(read.expect("a healthy disk"));
            bytes += read.len();
            offset += i64::from(RECORDS) * (read.len() / BATCH_BYTES) as i64;
        }
        bytes
    }
}

/// Reads a file in pieces, each of which is handed on; bytes.
fn read_plain(path: &Path, buffer: &mut [u8], mut see: impl FnMut(&[u8])) -> usize {
    let mut file = File::open(path).expect("the log's file");
    let mut bytes = 0;
    loop {
        let read = file.read(buffer).expect("a healthy disk");
        if read == 0 {
            return bytes;
        }
        see(&buffer[..read]);
        bytes += read;
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Medians of both sides, which take turns at going first.
fn medians(
    rounds: usize,
    mut round: impl FnMut(bool) -> (Duration, Duration),
) -> (Duration, Duration) {
    let (mut ours, mut plain): (Vec<_>, Vec<_>) =
        (0..rounds).map(|number| round(number % 2 == 0)).unzip();
    ours.sort_unstable();
    plain.sort_unstable();
    (ours[rounds / 2], plain[rounds / 2])
}

/// Does both, in that order or the other.
fn both(
    ours_first: bool,
    ours: impl FnOnce() -> Duration,
    plain: impl FnOnce() -> Duration,
) -> (Duration, Duration) {
    if ours_first {
        let ours = ours();
        return (ours, plain());
    }
    let plain = plain();
    (ours(), plain)
}

fn print_row(what: &str, mib: usize, bar: Option<f64>, (ours, plain): (Duration, Duration)) {
    let rate = |time: Duration| mib as f64 / time.as_secs_f64();
    let share = 100.0 * rate(ours) / rate(plain);
    let verdict = match bar {
        None => "",
        Some(bar) if share >= bar => "ok",
        Some(_) => "below",
    };
    println!(
        "{what:<46}{:>9.0}{:>9.0}{share:>9.0} %{:>8}  {verdict}",
        rate(ours),
        rate(plain),
        bar.map(|bar| format!("{bar:.0} %")).unwrap_or_default(),
    );
}

/// Appends of one MiB, each with a flush behind it if that is asked for.
fn appends(folder: &Path, flush: bool) -> (Duration, Duration) {
    let blocking = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("threads");
    let root = folder.join("append");
    let mut partition = Partition::recover(&root);
    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .open(folder.join("plain"))
        .expect("a new file");
    let mut producer = Producer::new();
    let medians = medians(FLUSHES, |ours_first| {
        let batches = producer.next_mib();
        let ours = || {
            time(|| {
                partition.append(&batches);
                if flush {
                    partition.flush(&blocking);
                }
            })
        };
        let plain = || {
            time(|| {
                for batch in &batches {
                    file.write_all(batch).expect("a healthy disk");
                }
                if flush {
                    file.sync_all().expect("a healthy disk");
                }
            })
        };
        both(ours_first, ours, plain)
    });
    std::fs::remove_dir_all(&root).expect("it is there");
    std::fs::remove_file(folder.join("plain")).expect("it is there");
    medians
}

fn main() {
    // `cargo test --benches` only wants to know that it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    // Beside the build, which is on a disk where a folder for temporary files may not be.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a new folder");
    let folder = folder.path();
    println!(
        "{:<46}{:>9}{:>9}{:>11}{:>8}",
        "MiB/s, medians", "log", "plain", "share", "bar"
    );
    let what = "append, flush each MiB | write, fsync";
    print_row(what, 1, Some(BAR), appends(folder, true));
    print_row("append | write", 1, None, appends(folder, false));

    let root = folder.join("log");
    let mut partition = Partition::recover(&root);
    let mut producer = Producer::new();
    (0..LOG_MIB).for_each(|_| partition.append(&producer.next_mib()));
    let file = root.join(PartitionLog::file_name("t-0", 0));
    let mut buffer = vec![0; READ_BYTES];
    let bytes = LOG_MIB * MIB;

    let reads = medians(PASSES, |ours_first| {
        let ours = || time(|| assert_eq!(partition.read(), bytes));
        let plain = || {
            time(|| {
                let read = read_plain(&file, &mut buffer, |piece| {
                    black_box(piece);
                });
                assert_eq!(read, bytes);
            })
        };
        both(ours_first, ours, plain)
    });
    print_row("read in pieces of a MiB | read", LOG_MIB, None, reads);

    let end = partition.log.log_end_offset();
    let recoveries = medians(PASSES, |ours_first| {
        let ours = || time(|| assert_eq!(Partition::recover(&root).log.log_end_offset(), end));
        let plain = || {
            time(|| {
                let mut crc = 0;
                let read = read_plain(&file, &mut buffer, |piece| {
                    crc = crc32c::crc32c_append(crc, piece);
                });
                black_box(crc);
                assert_eq!(read, bytes);
            })
        };
        both(ours_first, ours, plain)
    });
    let what = format!("recovery of {LOG_MIB} MiB | read, CRC-32C");
    print_row(&what, LOG_MIB, Some(BAR), recoveries);
}
