//! One suite of test bodies on the simulated disk and on the real file system: what a process can see of
//! its disk is the same on both.
//!
//! Not compared, since no program can bring it about on a real machine: what a power loss leaves, and
//! what a failed sync drops.

use everyack_broker::disk::{Disk, DiskError, FileId};
use everyack_broker::env::{Stream, SyncToken};
use everyack_broker::host::disk::{RealDisk, SyncJob};
use everyack_sim::kernel::disk::{DiskHandle, Handles, Owner, SimDisk};
use proptest::prelude::*;
use tempfile::TempDir;

type Completion = (SyncToken, Result<(), DiskError>);

/// A machine with one process on it.
trait Machine {
    /// With an empty disk.
    fn new() -> Self;
    /// The disk as the process sees it.
    fn with<R>(&mut self, what: impl FnOnce(&mut dyn Disk) -> R) -> R;
    /// Lets the device finish what was asked of it; what the process is told, in order.
    fn complete_syncs(&mut self) -> Vec<Completion>;
    /// The process dies and another starts: its handles are void, the page cache stays.
    fn restart(&mut self);
}

struct Simulated {
    disk: SimDisk,
    handles: Handles,
}

impl Machine for Simulated {
    fn new() -> Simulated {
        Simulated {
            disk: SimDisk::new(Stream::new(1, 7)),
            handles: Handles::default(),
        }
    }

    fn with<R>(&mut self, what: impl FnOnce(&mut dyn Disk) -> R) -> R {
        what(&mut DiskHandle {
            disk: &mut self.disk,
            handles: &mut self.handles,
            owner: Owner {
                node: 0,
                incarnation: 1,
            },
        })
    }

    fn complete_syncs(&mut self) -> Vec<Completion> {
        let mut due = self.disk.schedule_started(0);
        due.sort_by_key(|(_, at)| *at);
        let complete = |(id, _)| self.disk.complete(id).expect("the process lives");
        let told = due.into_iter().map(complete);
        told.map(|(_, token, outcome)| (token, outcome)).collect()
    }

    fn restart(&mut self) {
        self.handles.close_all(&mut self.disk);
    }
}

struct Real {
    folder: TempDir,
    disk: RealDisk,
}

impl Machine for Real {
    fn new() -> Real {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(folder.path()).unwrap();
        Real { folder, disk }
    }

    fn with<R>(&mut self, what: impl FnOnce(&mut dyn Disk) -> R) -> R {
        what(&mut self.disk)
    }

    fn complete_syncs(&mut self) -> Vec<Completion> {
        let started = self.disk.take_started();
        started.into_iter().map(SyncJob::run).collect()
    }

    fn restart(&mut self) {
        self.disk = RealDisk::new(self.folder.path()).unwrap();
    }
}

/// Both have to pass each of these.
macro_rules! on_both {
    ($($(#[$attribute:meta])* $body:ident)*) => {
        mod simulated {
            $(#[test] $(#[$attribute])* fn $body() { super::$body::<super::Simulated>(); })*
        }
        mod real {
            $(#[test] $(#[$attribute])* fn $body() { super::$body::<super::Real>(); })*
        }
    };
}

on_both! {
    what_is_written_is_read_back_before_any_sync
    a_read_past_the_end_is_an_error_and_an_empty_one_at_the_end_is_not
    a_truncation_cuts_and_never_extends
    a_file_opened_twice_is_one_handle
    a_handle_follows_its_file_through_rename_and_delete
    a_rename_replaces_what_the_name_was
    what_is_not_there_is_not_found
    names_are_listed_in_order_by_prefix
    syncs_complete_in_the_order_in_which_they_were_started
    a_sync_completes_though_its_handle_was_given_back_or_its_file_deleted
    the_next_process_finds_what_the_last_one_wrote
    #[should_panic(expected = "was closed")]
    a_handle_that_was_given_back_is_void
    #[should_panic(expected = "was closed")]
    a_handle_is_given_back_once
}

fn write(disk: &mut dyn Disk, path: &str, bytes: &[u8]) -> FileId {
    let file = disk.open(path).unwrap();
    disk.append(file, bytes).unwrap();
    file
}

fn content(disk: &dyn Disk, file: FileId) -> Vec<u8> {
    disk.read(file, 0, disk.len(file)).unwrap().to_vec()
}

fn what_is_written_is_read_back_before_any_sync<M: Machine>() {
    M::new().with(|disk| {
        let file = write(disk, "t-0/log", b"one");
        disk.append(file, b"").unwrap();
        disk.append(file, b" two").unwrap();
        assert_eq!(disk.len(file), 7);
        assert_eq!(content(disk, file), b"one two");
        assert_eq!(disk.read(file, 2, 3).unwrap(), "e t");
        assert!(disk.exists("t-0/log"));
        let empty = disk.open("empty").unwrap();
        assert_eq!((disk.len(empty), disk.exists("empty")), (0, true));
    });
}

fn a_read_past_the_end_is_an_error_and_an_empty_one_at_the_end_is_not<M: Machine>() {
    M::new().with(|disk| {
        let file = write(disk, "log", b"bytes");
        assert_eq!(disk.read(file, 5, 0).unwrap(), "");
        for (at, len) in [(0, 6), (5, 1), (6, 0), (1, u64::MAX), (u64::MAX, 1)] {
            assert_eq!(disk.read(file, at, len), Err(DiskError::Io), "{at} {len}");
        }
    });
}

fn a_truncation_cuts_and_never_extends<M: Machine>() {
    M::new().with(|disk| {
        let file = write(disk, "log", b"0123456789");
        for (len, left) in [(20, 10), (10, 10), (4, 4), (u64::MAX, 4)] {
            disk.truncate(file, len).unwrap();
            assert_eq!(disk.len(file), left);
        }
        disk.append(file, b"AB").unwrap();
        assert_eq!(content(disk, file), b"0123AB");
        disk.truncate(file, 0).unwrap();
        assert_eq!(content(disk, file), b"");
    });
}

fn a_file_opened_twice_is_one_handle<M: Machine>() {
    M::new().with(|disk| {
        let file = write(disk, "a/log", b"bytes");
        assert_eq!(disk.open("a/log"), Ok(file));
        disk.rename("a/log", "b/log").unwrap();
        assert_eq!(disk.open("b/log"), Ok(file), "it is the same file");
        let other = disk.open("a/log").unwrap();
        assert_ne!(other, file);
        assert_eq!(disk.len(other), 0);
        disk.close(file);
        let again = disk.open("b/log").unwrap();
        assert_ne!(again, file, "a number is used once");
        assert_eq!(content(disk, again), b"bytes");
    });
}

fn a_handle_follows_its_file_through_rename_and_delete<M: Machine>() {
    M::new().with(|disk| {
        let file = write(disk, "t-0/1.log", b"old");
        disk.rename("t-0/1.log", "t-0/1.log.deleted").unwrap();
        disk.append(file, b" and more").unwrap();
        disk.delete("t-0/1.log.deleted").unwrap();
        assert_eq!(disk.list(""), [""; 0]);
        disk.append(file, b"!").unwrap();
        assert_eq!(content(disk, file), b"old and more!");
        let new = write(disk, "t-0/1.log", b"new");
        assert_ne!(new, file);
        disk.truncate(file, 3).unwrap();
        assert_eq!(content(disk, file), b"old");
        assert_eq!(content(disk, new), b"new");
    });
}

fn a_rename_replaces_what_the_name_was<M: Machine>() {
    M::new().with(|disk| {
        let replaced = write(disk, "checkpoint", b"before");
        let file = write(disk, "checkpoint.tmp", b"after");
        disk.rename("checkpoint.tmp", "checkpoint").unwrap();
        assert!(!disk.exists("checkpoint.tmp"));
        assert_eq!(disk.open("checkpoint"), Ok(file));
        assert_eq!(content(disk, file), b"after");
        assert_eq!(content(disk, replaced), b"before", "whoever has it open");
        disk.rename("checkpoint", "checkpoint").unwrap();
        assert_eq!(disk.list(""), ["checkpoint"]);
    });
}

fn what_is_not_there_is_not_found<M: Machine>() {
    M::new().with(|disk| {
        write(disk, "there", b"");
        assert_eq!(disk.delete("gone"), Err(DiskError::NotFound));
        assert_eq!(disk.delete("no/such/folder"), Err(DiskError::NotFound));
        assert_eq!(disk.rename("gone", "there"), Err(DiskError::NotFound));
        assert_eq!(disk.rename("gone", "gone"), Err(DiskError::NotFound));
        assert!(!disk.exists("gone") && !disk.exists("no/such/folder"));
        disk.delete("there").unwrap();
        assert_eq!(disk.delete("there"), Err(DiskError::NotFound));
    });
}

fn names_are_listed_in_order_by_prefix<M: Machine>() {
    M::new().with(|disk| {
        for path in [
            "t-10/log",
            "meta",
            "t-1/2.log",
            "t-1/1.log",
            "t-1/10",
            "a/b/c",
        ] {
            write(disk, path, b"");
        }
        let all = [
            "a/b/c",
            "meta",
            "t-1/1.log",
            "t-1/10",
            "t-1/2.log",
            "t-10/log",
        ];
        assert_eq!(disk.list(""), all);
        assert_eq!(disk.list("t-1"), all[2..]);
        assert_eq!(disk.list("t-1/"), all[2..5]);
        assert_eq!(disk.list("t-1/1"), all[2..4]);
        assert_eq!(disk.list("a/"), all[..1]);
        assert_eq!(disk.list("a/b/c"), all[..1]);
        assert_eq!(disk.list("a/b/c/d"), [""; 0]);
        assert_eq!(disk.list("gone/"), [""; 0]);
    });
}

fn syncs_complete_in_the_order_in_which_they_were_started<M: Machine>() {
    let mut machine = M::new();
    machine.with(|disk| {
        let a = write(disk, "t-0/a", b"bytes");
        let b = disk.open("t-0/b").unwrap();
        disk.sync(a, SyncToken(3));
        disk.sync_dir("t-0", SyncToken(1));
        disk.append(b, b"more").unwrap();
        disk.sync(b, SyncToken(2));
        disk.sync_dir("", SyncToken(5));
        disk.sync_dir("never-there", SyncToken(4));
    });
    let expected = [3, 1, 2, 5, 4].map(|token| (SyncToken(token), Ok(())));
    assert_eq!(machine.complete_syncs(), expected);
    assert_eq!(machine.complete_syncs(), []);
}

fn a_sync_completes_though_its_handle_was_given_back_or_its_file_deleted<M: Machine>() {
    let mut machine = M::new();
    machine.with(|disk| {
        let closed = write(disk, "t-0/closed", b"bytes");
        disk.sync(closed, SyncToken(1));
        disk.close(closed);
        let deleted = write(disk, "t-1/deleted", b"bytes");
        disk.sync(deleted, SyncToken(2));
        disk.sync_dir("t-1", SyncToken(3));
        disk.delete("t-1/deleted").unwrap();
        disk.sync_dir("t-1", SyncToken(4));
        disk.sync(deleted, SyncToken(5));
        disk.close(deleted);
    });
    let expected = [1, 2, 3, 4, 5].map(|token| (SyncToken(token), Ok(())));
    assert_eq!(machine.complete_syncs(), expected);
    machine.with(|disk| assert_eq!(disk.list(""), ["t-0/closed"]));
}

fn the_next_process_finds_what_the_last_one_wrote<M: Machine>() {
    let mut machine = M::new();
    machine.with(|disk| {
        let log = write(disk, "t-0/log", b"never synced");
        disk.truncate(log, 5).unwrap();
        write(disk, "t-1/log", b"");
        disk.delete("t-1/log").unwrap();
        write(disk, "x", b"renamed");
        disk.rename("x", "y").unwrap();
    });
    machine.restart();
    machine.with(|disk| {
        assert_eq!(disk.list(""), ["t-0/log", "y"]);
        let log = disk.open("t-0/log").unwrap();
        assert_eq!(content(disk, log), b"never");
        disk.append(log, b" again").unwrap();
        assert_eq!(content(disk, log), b"never again");
    });
}

fn a_handle_that_was_given_back_is_void<M: Machine>() {
    M::new().with(|disk| {
        let file = write(disk, "log", b"bytes");
        disk.close(file);
        disk.len(file);
    });
}

fn a_handle_is_given_back_once<M: Machine>() {
    M::new().with(|disk| {
        let file = disk.open("log").unwrap();
        disk.close(file);
        disk.close(file);
    });
}

const PATHS: [&str; 5] = ["a/1", "a/2", "b/1", "b/c/1", "x"];
const PREFIXES: [&str; 5] = ["", "a", "a/", "b/", "b/c"];

#[derive(Debug, Clone)]
enum Op {
    Open(usize),
    Close(usize),
    Append(usize, u16),
    Read(usize, u16, u16),
    Truncate(usize, u16),
    Rename(usize, usize),
    Delete(usize),
    List(usize),
    Sync(usize),
    SyncDir(usize),
    Complete,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let path = || 0..PATHS.len();
    let handle = || 0..8usize;
    prop_oneof![
        6 => path().prop_map(Op::Open),
        2 => handle().prop_map(Op::Close),
        8 => (handle(), 0..9000u16).prop_map(|(h, n)| Op::Append(h, n)),
        6 => (handle(), 0..12000u16, 0..9000u16).prop_map(|(h, at, n)| Op::Read(h, at, n)),
        3 => (handle(), 0..12000u16).prop_map(|(h, n)| Op::Truncate(h, n)),
        2 => (path(), path()).prop_map(|(a, b)| Op::Rename(a, b)),
        2 => path().prop_map(Op::Delete),
        1 => (0..PREFIXES.len()).prop_map(Op::List),
        2 => handle().prop_map(Op::Sync),
        1 => (0..3usize).prop_map(Op::SyncDir),
        2 => Just(Op::Complete),
        1 => Just(Op::Restart),
    ]
}

/// A machine under random operations: handles by the order in which the process got them.
struct Driven<M> {
    machine: M,
    handles: Vec<FileId>,
    next_token: u64,
}

/// What an operation answered, the same for both machines.
#[derive(Debug, PartialEq)]
enum Answer {
    Handle(usize),
    Error(DiskError),
    Bytes(Vec<u8>),
    Names(Vec<String>),
    Told(Vec<Completion>),
    Nothing,
}

impl<M: Machine> Driven<M> {
    fn new() -> Driven<M> {
        Driven {
            machine: M::new(),
            handles: Vec::new(),
            next_token: 0,
        }
    }

    fn handle(&self, n: usize) -> Option<FileId> {
        let n = n.checked_rem(self.handles.len())?;
        Some(self.handles[n])
    }

    fn token(&mut self) -> SyncToken {
        self.next_token += 1;
        SyncToken(self.next_token)
    }

    fn open(&mut self, path: &str) -> Answer {
        match self.machine.with(|disk| disk.open(path)) {
            Err(error) => Answer::Error(error),
            Ok(file) => {
                let known = self.handles.iter().position(|known| *known == file);
                Answer::Handle(known.unwrap_or_else(|| {
                    self.handles.push(file);
                    self.handles.len() - 1
                }))
            }
        }
    }

    fn apply(&mut self, op: &Op, fill: u8) -> Answer {
        let done =
            |result: Result<(), DiskError>| result.map_or_else(Answer::Error, |()| Answer::Nothing);
        match *op {
            Op::Open(p) => self.open(PATHS[p]),
            Op::Rename(from, to) => done(
                self.machine
                    .with(|disk| disk.rename(PATHS[from], PATHS[to])),
            ),
            Op::Delete(p) => done(self.machine.with(|disk| disk.delete(PATHS[p]))),
            Op::List(p) => Answer::Names(self.machine.with(|disk| disk.list(PREFIXES[p]))),
            Op::SyncDir(d) => {
                let token = self.token();
                self.machine
                    .with(|disk| disk.sync_dir(["", "a", "b/c"][d], token));
                Answer::Nothing
            }
            Op::Complete => Answer::Told(self.machine.complete_syncs()),
            Op::Restart => {
                // A process that has died is told of nothing: whether its syncs reach the device is drawn.
                self.machine.complete_syncs();
                self.machine.restart();
                self.handles.clear();
                Answer::Nothing
            }
            Op::Close(h)
            | Op::Append(h, _)
            | Op::Read(h, ..)
            | Op::Truncate(h, _)
            | Op::Sync(h) => match self.handle(h) {
                None => Answer::Nothing,
                Some(file) => self.apply_to(file, op, fill),
            },
        }
    }

    fn apply_to(&mut self, file: FileId, op: &Op, fill: u8) -> Answer {
        let token = self.token();
        let closed = matches!(op, Op::Close(_));
        let answer = self.machine.with(|disk| {
            let done = match *op {
                Op::Append(_, n) => disk.append(file, &vec![fill; usize::from(n)]),
                Op::Truncate(_, n) => disk.truncate(file, u64::from(n)),
                Op::Read(_, at, n) => {
                    let read = disk.read(file, u64::from(at), u64::from(n));
                    return read.map_or_else(Answer::Error, |bytes| Answer::Bytes(bytes.to_vec()));
                }
                Op::Sync(_) => {
                    disk.sync(file, token);
                    Ok(())
                }
                _ => {
                    disk.close(file);
                    Ok(())
                }
            };
            done.map_or_else(Answer::Error, |()| Answer::Nothing)
        });
        if closed {
            self.handles.retain(|open| *open != file);
        }
        answer
    }

    /// Every name, and what each file holds.
    fn snapshot(&mut self) -> Vec<(String, Vec<u8>)> {
        self.machine.with(|disk| {
            let names = disk.list("");
            let mut contents = Vec::new();
            for name in names {
                assert!(disk.exists(&name));
                let file = disk.open(&name).unwrap();
                contents.push((name, content(disk, file)));
            }
            contents
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_operations_answer_the_same_on_both(ops in prop::collection::vec(op(), 1..60)) {
        let mut simulated = Driven::<Simulated>::new();
        let mut real = Driven::<Real>::new();
        for (number, op) in ops.iter().enumerate() {
            let fill = (number % 250) as u8 + 1;
            prop_assert_eq!(simulated.apply(op, fill), real.apply(op, fill), "{}: {:?}", number, op);
        }
        prop_assert_eq!(simulated.snapshot(), real.snapshot());
    }
}
