//! Every operation of a disk that fails, on every kind of file, with either error: the broker takes its
//! log directory offline and ends, nothing that acks=all acknowledged is lost, and it comes back.

mod small_cluster;

use everyack_sim::fault::{
    DiskOperation, Errno, Family, Fault, FaultPlan, FileKind, Trigger, What, When, Whom,
};
use everyack_sim::result::RunResult;
use everyack_sim::spec::*;
use small_cluster::{finished, map};

/// Three brokers whose segments are as small as may be, so that logs roll; what is flushed, checkpointed and
/// synced is so all the time.
fn spec(seed: u64, what: What) -> RunSpec {
    let mut properties = small_cluster::properties();
    properties.broker.extend(map(&[
        ("log.segment.bytes", "1048576"),
        ("log.flush.interval.messages", "7"),
        ("log.flush.offset.checkpoint.interval.ms", "1000"),
        ("replica.high.watermark.checkpoint.interval.ms", "500"),
    ]));
    properties.topic = map(&[("segment.bytes", "1048576")]);
    let when = When::After {
        event: Trigger::Acked,
        nth: 10,
        delay_us: 0,
    };
    let plan = FaultPlan {
        faults: vec![Fault::new(when, what, Whom::LeaderOf(0), 9_000)],
        canonical: None,
    };
    let mut spec = small_cluster::spec(Family::DiskError, properties, 200, 1_000, seed);
    spec.topology.partitions = 1;
    spec.applications.consumers = 1;
    spec.workload.message_bytes = 20_000;
    small_cluster::with_plan(spec, Family::DiskError, plan)
}

const OPERATIONS: [DiskOperation; 7] = [
    DiskOperation::Write,
    DiskOperation::Create,
    DiskOperation::Append,
    DiskOperation::Truncate,
    DiskOperation::Rename,
    DiskOperation::Delete,
    DiskOperation::Sync,
];

const KINDS: [Option<FileKind>; 8] = [
    None,
    Some(FileKind::Log),
    Some(FileKind::Index),
    Some(FileKind::TimeIndex),
    Some(FileKind::TransactionIndex),
    Some(FileKind::Snapshot),
    Some(FileKind::Checkpoint),
    Some(FileKind::Directory),
];

fn reached(result: &RunResult, mark: &str) -> bool {
    result.marks.iter().any(|reached| reached == mark)
}

#[test]
fn a_broker_survives_every_way_in_which_its_disk_can_fail_it_and_acks_all_does() {
    let mut failed = Vec::new();
    let (mut runs, mut offline) = (0, 0);
    for operation in OPERATIONS {
        for files in KINDS {
            for errno in [Errno::Io, Errno::NoSpace] {
                for (seed, lasting) in [(1, true), (2, false)] {
                    let what = What::FailDisk {
                        operation,
                        files,
                        nth: 1,
                        lasting,
                        errno,
                    };
                    let result = finished(&spec(seed, what));
                    let at = format!("{what:?}");
                    assert_eq!(result.anomalies, [], "{at}");
                    assert_eq!(result.losses, [], "{at}");
                    runs += 1;
                    if result.fired {
                        failed.push((operation, files));
                    }
                    offline += u32::from(reached(&result, "log-directory-failed"));
                }
            }
        }
    }
    failed.dedup();
    println!("{runs} runs, {offline} with a log directory offline; failed: {failed:?}");
    // Appends, a roll, its flush, the checkpoints, and the names of both.
    for must in [
        (DiskOperation::Append, Some(FileKind::Log)),
        (DiskOperation::Create, Some(FileKind::Log)),
        (DiskOperation::Sync, Some(FileKind::Log)),
        (DiskOperation::Create, Some(FileKind::Checkpoint)),
        (DiskOperation::Append, Some(FileKind::Checkpoint)),
        (DiskOperation::Rename, Some(FileKind::Checkpoint)),
        (DiskOperation::Sync, Some(FileKind::Checkpoint)),
        (DiskOperation::Sync, Some(FileKind::Directory)),
    ] {
        assert!(failed.contains(&must), "{must:?} never failed");
    }
}
