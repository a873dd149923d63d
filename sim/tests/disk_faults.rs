//! Every operation of a disk that fails, on every kind of file, with either error: the broker takes its
//! log directory offline and ends, nothing that acks=all acknowledged is lost, and it comes back.

use everyack_sim::fault::{
    DiskOperation, Errno, Fault, FaultPlan, FileKind, Timeouts, Trigger, What, When, Whom,
};
use everyack_sim::result::{Outcome, RunResult};
use everyack_sim::run::run;
use everyack_sim::spec::*;

fn map(pairs: &[(&str, &str)]) -> Properties {
    let owned = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    owned.collect()
}

/// Three brokers whose segments are as small as may be, so that logs roll; what is flushed, checkpointed and
/// synced is so all the time.
fn spec(seed: u64, what: What) -> RunSpec {
    let properties = PropertyFiles {
        broker: map(&[
            ("min.insync.replicas", "2"),
            ("log.segment.bytes", "1048576"),
            ("log.flush.interval.messages", "7"),
            ("log.flush.offset.checkpoint.interval.ms", "1000"),
            ("replica.high.watermark.checkpoint.interval.ms", "500"),
            ("broker.session.timeout.ms", "3000"),
            ("broker.heartbeat.interval.ms", "500"),
            ("replica.lag.time.max.ms", "3000"),
            ("replica.socket.timeout.ms", "3000"),
            ("replica.fetch.backoff.ms", "200"),
            ("log.initial.task.delay.ms", "1000"),
            ("offsets.topic.num.partitions", "1"),
        ]),
        topic: map(&[("segment.bytes", "1048576")]),
        producer: map(&[
            ("acks", "all"),
            ("request.timeout.ms", "2000"),
            ("delivery.timeout.ms", "20000"),
            ("socket.connection.setup.timeout.ms", "1000"),
            ("socket.connection.setup.timeout.max.ms", "3000"),
        ]),
        consumer: map(&[
            ("group.id", "group"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("request.timeout.ms", "2000"),
            ("default.api.timeout.ms", "6000"),
            ("socket.connection.setup.timeout.ms", "1000"),
            ("socket.connection.setup.timeout.max.ms", "3000"),
        ]),
    };
    let timeouts = Timeouts::from_properties(&properties).unwrap();
    let when = When::After {
        event: Trigger::Acked,
        nth: 10,
        delay_us: 0,
    };
    let plan = FaultPlan {
        faults: vec![Fault::new(when, what, Whom::LeaderOf(0), 9_000)],
        canonical: None,
    };
    let family = everyack_sim::fault::Family::DiskError;
    let spread_ms = timeouts.spread_ms(family);
    RunSpec {
        seed,
        topology: Topology {
            brokers: 3,
            controllers: 1,
            topic: "orders".into(),
            partitions: 1,
            replication_factor: 3,
        },
        properties,
        applications: Applications {
            producer: "checks-results".into(),
            producers: 2,
            consumer: "commit-after-processing".into(),
            consumers: 1,
        },
        workload: Workload {
            messages_per_producer: 200,
            message_bytes: 20_000,
            spread_ms,
            processing_us: 1_000,
        },
        family: family.name().into(),
        limits: Limits {
            simulated_ms: timeouts.run_limit_ms(family, spread_ms, 1, 1_000),
            events: 10_000_000,
        },
        plan,
        wire: WireMode::Typed,
        bug: None,
        record: Record::Summary,
    }
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
                    let result = run(&spec(seed, what));
                    let at = format!("{what:?}");
                    assert_eq!(result.outcome, Outcome::Finished, "{at}");
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
