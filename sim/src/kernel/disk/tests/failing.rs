//! EIO and ENOSPC at every operation, on every kind of file.

use super::*;
use crate::fault::FileKind;
use everyack_broker::disk::DiskError::{Io, NoSpace};

const LOG: &str = "t-0/00000000000000000000.log";
const INDEX: &str = "t-0/00000000000000000000.index";
const CHECKPOINT: &str = "t-0/leader-epoch-checkpoint";

/// A disk with a log, an index and a checkpoint on it, all synced, which from here on fails this.
fn failing(rule: Rule) -> Fixture {
    let mut f = Fixture::new(1);
    for path in [LOG, INDEX, CHECKPOINT] {
        f.append(path, b"bytes");
        f.sync(path);
    }
    f.sync_dir("t-0");
    f.disk.fail(rule);
    f
}

/// What each operation answers on a disk of its own.
fn outcomes(rule: Rule) -> Vec<(DiskOperation, Result<(), DiskError>)> {
    use DiskOperation::*;
    [Create, Append, Truncate, Rename, Delete, Sync]
        .into_iter()
        .map(|operation| {
            let mut f = failing(rule);
            let mut disk = f.handle();
            let log = disk.open(LOG).unwrap();
            let outcome = match operation {
                Create => disk.open("t-0/00000000000000000100.log").map(drop),
                Append => disk.append(log, b"more"),
                Truncate => disk.truncate(log, 1),
                Rename => disk.rename(LOG, &format!("{LOG}.deleted")),
                Delete => disk.delete(LOG),
                Write | Sync => {
                    f.disk.mend(0);
                    f.append(LOG, b"more");
                    f.disk.fail(rule);
                    let id = f.begin_sync(LOG);
                    f.disk.complete(id).unwrap().2
                }
            };
            let failed = outcome.err().map(|error| (operation, error));
            let failed: Vec<_> = failed.into_iter().collect();
            assert_eq!(f.disk.take_failed(), failed);
            (operation, outcome)
        })
        .collect()
}

fn failed(rule: Rule) -> Vec<DiskOperation> {
    let failed = outcomes(rule).into_iter().filter(|(_, outcome)| {
        assert!(outcome.is_ok() || *outcome == Err(rule.error));
        outcome.is_err()
    });
    failed.map(|(operation, _)| operation).collect()
}

#[test]
fn each_operation_can_be_made_to_fail_with_either_error_and_no_other_fails_then() {
    use DiskOperation::*;
    for operation in [Create, Append, Truncate, Rename, Delete, Sync] {
        for error in [Io, NoSpace] {
            assert_eq!(failed(fails(operation, error, true)), [operation]);
        }
    }
}

#[test]
fn a_write_is_everything_but_a_sync_and_without_space_what_takes_some() {
    use DiskOperation::*;
    let all = [Create, Append, Truncate, Rename, Delete];
    assert_eq!(failed(fails(Write, Io, true)), all);
    assert_eq!(failed(fails(Write, NoSpace, true)), [Create, Append]);
}

#[test]
fn what_fails_leaves_the_disk_as_it_was() {
    let mut f = failing(fails(DiskOperation::Write, Io, true));
    let before: Vec<String> = f.disk.paths().map(str::to_owned).collect();
    let mut disk = f.handle();
    let log = disk.open(LOG).unwrap();
    assert_eq!(disk.append(log, b"more"), Err(Io));
    assert_eq!(disk.truncate(log, 0), Err(Io));
    assert_eq!(disk.rename(LOG, "elsewhere"), Err(Io));
    assert_eq!(disk.delete(INDEX), Err(Io));
    assert_eq!(disk.open("new"), Err(Io));
    assert_eq!(disk.delete("gone"), Err(DiskError::NotFound));
    let after: Vec<String> = f.disk.paths().map(str::to_owned).collect();
    assert_eq!(after, before);
    assert_eq!(f.content(LOG), Some(&b"bytes"[..]));
}

#[test]
fn a_rule_for_a_kind_of_file_spares_the_others() {
    let on = |files, operation| Rule {
        files: Some(files),
        ..fails(operation, NoSpace, true)
    };
    let mut f = failing(on(FileKind::Index, DiskOperation::Append));
    let mut disk = f.handle();
    for (path, outcome) in [(LOG, Ok(())), (INDEX, Err(NoSpace)), (CHECKPOINT, Ok(()))] {
        let file = disk.open(path).unwrap();
        assert_eq!(disk.append(file, b"more"), outcome, "{path}");
    }
    // A roll, and nothing else that makes a file.
    let mut f = failing(on(FileKind::Log, DiskOperation::Create));
    let mut disk = f.handle();
    let temporary = format!("{CHECKPOINT}.tmp");
    assert!(disk.open(&temporary).is_ok());
    assert_eq!(disk.open("t-0/00000000000000000100.log"), Err(NoSpace));
    // A checkpoint that takes its place.
    f.disk.fail(on(FileKind::Checkpoint, DiskOperation::Rename));
    let mut disk = f.handle();
    assert_eq!(disk.rename(&temporary, CHECKPOINT), Err(NoSpace));
    assert!(disk.rename(LOG, "t-0/moved.log").is_ok());
}

#[test]
fn syncs_of_directories_fail_apart_from_those_of_files() {
    let mut f = failing(Rule {
        files: Some(FileKind::Directory),
        ..fails(DiskOperation::Sync, Io, false)
    });
    f.append(LOG, b"more");
    f.handle().rename(INDEX, "t-0/renamed").unwrap();
    f.sync(LOG);
    assert!(!f.disk.has_failed());
    let id = f.begin_sync_dir("t-0");
    assert_eq!(f.disk.complete(id).unwrap().2, Err(Io));
    f.power_loss(Unsynced::Gone);
    assert_eq!(f.content(LOG), Some(&b"bytesmore"[..]));
    assert!(f.content(INDEX).is_some(), "the name came back");
}

#[test]
fn the_nth_fails_and_one_that_does_not_last_fails_once() {
    for (nth, lasting, outcomes) in [
        (1, false, [false, true, true]),
        (2, false, [true, false, true]),
        (2, true, [true, false, false]),
    ] {
        let mut f = failing(Rule {
            nth,
            ..fails(DiskOperation::Append, Io, lasting)
        });
        let mut disk = f.handle();
        let log = disk.open(LOG).unwrap();
        let seen = [(); 3].map(|()| disk.append(log, b"x").is_ok());
        assert_eq!(seen, outcomes, "{nth} {lasting}");
    }
}

#[test]
fn files_are_told_apart_by_kafkas_names_for_them() {
    for (path, kind) in [
        (LOG, Some(FileKind::Log)),
        (INDEX, Some(FileKind::Index)),
        ("t-0/1.timeindex", Some(FileKind::TimeIndex)),
        ("t-0/1.txnindex", Some(FileKind::TransactionIndex)),
        ("t-0/1.snapshot", Some(FileKind::Snapshot)),
        ("t-0/1.log.deleted", Some(FileKind::Log)),
        ("t-0/1.index.swap", Some(FileKind::Index)),
        (CHECKPOINT, Some(FileKind::Checkpoint)),
        (
            "recovery-point-offset-checkpoint.tmp",
            Some(FileKind::Checkpoint),
        ),
        ("meta.properties", None),
        (".kafka_cleanshutdown", None),
        ("t.log-0/partition.metadata", None),
    ] {
        assert_eq!(FileKind::of(path), kind, "{path}");
    }
}
