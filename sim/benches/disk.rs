//! What the simulated disk costs: a sync beyond its bytes, whatever the file holds already.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use everyack_broker::disk::Disk;
use everyack_broker::env::{Stream, SyncToken};
use everyack_sim::kernel::disk::{DiskHandle, Handles, Owner, SimDisk};

/// Syncs of one iteration.
const SYNCS: u64 = 1000;

const OWNER: Owner = Owner {
    node: 0,
    incarnation: 1,
};

/// A disk with some other files, as a broker has them, and a log of that many bytes, all durable.
fn machine(log_bytes: usize) -> (SimDisk, Handles) {
    let mut machine = (SimDisk::new(Stream::new(1, 7)), Handles::default());
    for number in 0..20 {
        append_and_sync(&mut machine, &format!("other-{number}/log"), &[1; 100]);
    }
    append_and_sync(&mut machine, "t-0/log", &vec![1; log_bytes]);
    // The log has been moved to where it has room: that is a cost of bytes.
    append_and_sync(&mut machine, "t-0/log", b"x");
    machine
}

fn append_and_sync((disk, handles): &mut (SimDisk, Handles), path: &str, bytes: &[u8]) {
    let mut handle = DiskHandle {
        disk,
        handles,
        owner: OWNER,
    };
    let file = handle.open(path).expect("a healthy disk");
    handle.append(file, bytes).expect("a healthy disk");
    handle.sync(file, SyncToken(1));
    for (id, _) in disk.schedule_started(0) {
        let told = disk.complete(id).expect("somebody waits");
        assert_eq!(told.2, Ok(()));
    }
}

fn syncs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sync");
    group.throughput(Throughput::Elements(SYNCS));
    for (name, log_bytes) in [("of a new file", 0), ("behind 16 MiB", 16 << 20)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || machine(log_bytes),
                |machine| {
                    for _ in 0..SYNCS {
                        append_and_sync(machine, "t-0/log", b"x");
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, syncs);
criterion_main!(benches);
