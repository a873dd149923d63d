//! The disk against scenarios, and against a naive model that keeps whole snapshots.

mod failing;
mod lying;

use super::*;
use crate::fault::{DiskOperation, Unsynced};
use everyack_broker::disk::Disk;
use proptest::prelude::*;

const OWNER: Owner = Owner {
    node: 0,
    incarnation: 1,
};

struct Fixture {
    disk: SimDisk,
    handles: Handles,
    now: Nanos,
}

impl Fixture {
    fn new(seed: u64) -> Fixture {
        Fixture {
            disk: SimDisk::new(Stream::new(seed, 7)),
            handles: Handles::default(),
            now: 0,
        }
    }

    fn handle(&mut self) -> DiskHandle<'_> {
        DiskHandle {
            disk: &mut self.disk,
            handles: &mut self.handles,
            owner: OWNER,
        }
    }

    fn append(&mut self, path: &str, bytes: &[u8]) {
        let mut disk = self.handle();
        let file = disk.open(path).unwrap();
        disk.append(file, bytes).unwrap();
    }

    fn truncate(&mut self, path: &str, len: u64) {
        let mut disk = self.handle();
        let file = disk.open(path).unwrap();
        disk.truncate(file, len).unwrap();
    }

    /// Starts a sync; answers its number.
    fn begin_sync(&mut self, path: &str) -> u64 {
        let mut disk = self.handle();
        let file = disk.open(path).unwrap();
        disk.sync(file, SyncToken(9));
        self.disk.schedule_started(self.now)[0].0
    }

    fn begin_sync_dir(&mut self, dir: &str) -> u64 {
        self.handle().sync_dir(dir, SyncToken(9));
        self.disk.schedule_started(self.now)[0].0
    }

    fn sync(&mut self, path: &str) {
        let id = self.begin_sync(path);
        assert!(self.disk.complete(id).is_some());
    }

    fn sync_dir(&mut self, dir: &str) {
        let id = self.begin_sync_dir(dir);
        assert!(self.disk.complete(id).is_some());
    }

    fn power_loss(&mut self, unsynced: Unsynced) -> (u64, u64) {
        self.handles.close_all(&mut self.disk);
        self.disk.power_loss(unsynced)
    }

    fn content(&self, path: &str) -> Option<&[u8]> {
        self.disk.content(path)
    }
}

#[test]
fn a_closed_and_deleted_file_gives_its_room_back() {
    let mut fixture = Fixture::new(1);
    for n in 0..200 {
        let path = format!("dir/{n}");
        let mut disk = fixture.handle();
        let file = disk.open(&path).unwrap();
        disk.append(file, b"bytes").unwrap();
        disk.delete(&path).unwrap();
        assert_eq!(disk.len(file), 5, "an open file outlives its name");
        disk.close(file);
        let id = fixture.begin_sync_dir("dir");
        fixture.disk.complete(id);
    }
    let kept = fixture.disk.inodes.iter().flatten().count();
    assert!(kept <= 65, "{kept} of 200 files are still there");
}

#[test]
#[should_panic(expected = "was closed")]
fn a_closed_handle_is_refused() {
    let mut fixture = Fixture::new(1);
    let mut disk = fixture.handle();
    let file = disk.open("x").unwrap();
    disk.close(file);
    disk.append(file, b"late").unwrap();
}

/// The next one of these operations, and all that follow where it lasts.
fn fails(operation: DiskOperation, error: DiskError, lasting: bool) -> Rule {
    Rule {
        operation,
        files: None,
        error,
        nth: 1,
        lasting,
    }
}

#[test]
fn a_failed_sync_leaves_zeros_before_what_was_written_meanwhile() {
    let mut f = Fixture::new(1);
    f.append("log", b"kept");
    f.sync("log");
    f.append("log", b"lost");
    let id = f.begin_sync("log");
    f.append("log", b"later");
    f.disk
        .fail(fails(DiskOperation::Sync, DiskError::Io, false));
    let (_, _, outcome) = f.disk.complete(id).unwrap();
    assert_eq!(outcome, Err(DiskError::Io));
    assert_eq!(f.content("log"), Some(&b"kept\0\0\0\0later"[..]));
    assert_eq!(
        f.disk.durable_content("log"),
        None,
        "its name was never synced"
    );
    f.sync("log");
    f.sync_dir("");
    f.power_loss(Unsynced::Gone);
    assert_eq!(f.content("log"), Some(&b"kept\0\0\0\0later"[..]));
}

#[test]
fn a_sync_that_has_nothing_to_write_does_not_fail() {
    let mut f = Fixture::new(1);
    f.append("log", b"kept");
    f.sync("log");
    f.sync_dir("");
    f.disk.fail(fails(DiskOperation::Sync, DiskError::Io, true));
    let id = f.begin_sync("log");
    assert_eq!(f.disk.complete(id).unwrap().2, Ok(()));
    let id = f.begin_sync_dir("");
    assert_eq!(f.disk.complete(id).unwrap().2, Ok(()));
    assert!(!f.disk.has_failed());
    f.append("log", b"lost");
    let id = f.begin_sync("log");
    assert_eq!(f.disk.complete(id).unwrap().2, Err(DiskError::Io));
    assert_eq!(f.content("log"), Some(&b"kept"[..]));
}

#[test]
fn power_loss_keeps_exactly_what_was_synced() {
    let mut f = Fixture::new(1);
    f.append("t-0/log", b"durable");
    f.sync("t-0/log");
    f.sync_dir("t-0");
    f.append("t-0/log", b" and not");
    assert_eq!(f.disk.unsynced_bytes(), 8);
    assert_eq!(f.power_loss(Unsynced::Gone), (8, 0));
    assert_eq!(f.content("t-0/log"), Some(&b"durable"[..]));
}

#[test]
fn a_name_that_no_directory_sync_covered_is_gone() {
    let mut f = Fixture::new(1);
    f.append("t-0/log", b"durable");
    f.sync("t-0/log");
    f.sync_dir("");
    f.power_loss(Unsynced::Gone);
    assert_eq!(f.content("t-0/log"), None);
}

#[test]
fn writes_during_a_sync_stay_dirty() {
    let mut f = Fixture::new(1);
    f.append("log", b"0123456789");
    f.sync_dir("");
    let sync = f.begin_sync("log");
    f.append("log", b"xx");
    assert_eq!(f.disk.durable_content("log"), Some(Vec::new()));
    f.disk.complete(sync);
    assert_eq!(f.disk.durable_content("log"), Some(b"0123456789".to_vec()));
    f.power_loss(Unsynced::Gone);
    assert_eq!(f.content("log"), Some(&b"0123456789"[..]));
}

#[test]
fn a_truncation_holds_whatever_happens_to_what_is_written_behind_it() {
    for sync_under_way in [false, true] {
        let mut f = Fixture::new(1);
        f.append("log", b"0123456789");
        f.sync("log");
        f.sync_dir("");
        f.append("log", b"unsynced");
        let sync = sync_under_way.then(|| f.begin_sync("log"));
        f.truncate("log", 2);
        f.append("log", b"AB");
        if let Some(sync) = sync {
            f.disk.complete(sync);
        }
        f.power_loss(Unsynced::Gone);
        assert_eq!(f.content("log"), Some(&b"01"[..]));
    }
}

#[test]
fn rename_and_delete_are_durable_only_after_sync_dir() {
    let mut f = Fixture::new(1);
    for (path, bytes) in [("checkpoint", b"old"), ("other", b"oth")] {
        f.append(path, bytes);
        f.sync(path);
    }
    f.sync_dir("");
    f.append("checkpoint.tmp", b"new");
    f.sync("checkpoint.tmp");
    f.handle().rename("checkpoint.tmp", "checkpoint").unwrap();
    f.handle().delete("other").unwrap();
    assert_eq!(f.content("checkpoint"), Some(&b"new"[..]));
    assert_eq!(f.content("other"), None);
    f.power_loss(Unsynced::Gone);
    assert_eq!(f.content("checkpoint"), Some(&b"old"[..]));
    assert_eq!(f.content("other"), Some(&b"oth"[..]));
    assert_eq!(f.content("checkpoint.tmp"), None);

    f.append("checkpoint.tmp", b"new");
    f.sync("checkpoint.tmp");
    f.handle().rename("checkpoint.tmp", "checkpoint").unwrap();
    f.sync_dir("");
    f.power_loss(Unsynced::Gone);
    assert_eq!(f.content("checkpoint"), Some(&b"new"[..]));
}

#[test]
fn a_process_crash_keeps_the_page_cache() {
    let mut f = Fixture::new(1);
    f.append("log", b"cached");
    f.disk.process_died(OWNER.node);
    f.handles.close_all(&mut f.disk);
    assert_eq!(f.content("log"), Some(&b"cached"[..]));
}

#[test]
fn a_sync_of_a_dead_process_completes_unheard_or_never() {
    let mut outcomes = [0, 0];
    for seed in 0..64 {
        let mut f = Fixture::new(seed);
        f.append("log", b"bytes");
        f.sync_dir("");
        let sync = f.begin_sync("log");
        f.disk.process_died(OWNER.node);
        assert!(f.disk.complete(sync).is_none(), "nobody is told");
        f.power_loss(Unsynced::Gone);
        outcomes[usize::from(f.content("log") == Some(b"bytes"))] += 1;
    }
    assert!(outcomes[0] > 8 && outcomes[1] > 8, "{outcomes:?}");
}

#[test]
#[should_panic(expected = "earlier incarnation")]
fn a_handle_does_not_outlive_its_process() {
    let mut f = Fixture::new(1);
    let file = f.handle().open("log").unwrap();
    f.handles.close_all(&mut f.disk);
    f.handle().len(file);
}

#[test]
fn syncs_queue_behind_one_another_and_a_clean_one_is_short() {
    let mut f = Fixture::new(1);
    f.append("a", &[0; 1000]);
    f.append("b", &[0; 1000]);
    let mut disk = f.handle();
    let files = ["a", "b"].map(|path| disk.open(path).unwrap());
    for file in files {
        disk.sync(file, SyncToken(1));
    }
    let due = f.disk.schedule_started(0);
    assert!(due[0].1 >= SYNC_BASE + 1000 * SYNC_PER_BYTE);
    assert!(due[1].1 >= due[0].1 + SYNC_BASE);
    for (id, _) in &due {
        f.disk.complete(*id);
    }
    f.handle().sync(files[0], SyncToken(2));
    assert_eq!(
        f.disk.schedule_started(due[1].1)[0].1,
        due[1].1 + SYNC_CLEAN
    );
}

#[test]
fn drawn_survival_reaches_every_kind_of_outcome() {
    let synced = PAGE_BYTES + 100;
    let (mut none, mut all, mut holes, mut torn, mut shorter) = (0, 0, 0, 0, 0);
    for seed in 0..400 {
        let mut f = Fixture::new(seed);
        f.append("log", &vec![1; synced]);
        f.sync("log");
        f.sync_dir("");
        f.append("log", &vec![2; 5 * PAGE_BYTES]);
        let (unsynced, kept) = f.power_loss(Unsynced::Drawn);
        assert_eq!(unsynced, 5 * PAGE_BYTES as u64);
        let content = f.content("log").expect("its name is durable");
        assert_eq!(content[..synced], vec![1; synced], "synced bytes stay");
        let twos = content.iter().filter(|byte| **byte == 2).count();
        assert_eq!(twos as u64, kept);
        let zeros = content.iter().filter(|byte| **byte == 0).count();
        none += u32::from(kept == 0);
        all += u32::from(kept == unsynced);
        holes += u32::from(zeros > 0);
        torn += u32::from(
            content.len() % PAGE_BYTES != synced % PAGE_BYTES
                && !content.len().is_multiple_of(PAGE_BYTES),
        );
        shorter += u32::from(kept > 0 && zeros == 0 && kept < unsynced);
    }
    let seen = [none, all, holes, torn, shorter];
    assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
}

/// The naive model: every version is a whole copy.
#[derive(Default)]
struct Model {
    files: Vec<(Vec<u8>, Vec<u8>)>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    changes: Vec<ModelChange>,
    syncs: Vec<(u64, ModelSync)>,
}

/// Directories in which it is pending, names that it removes, the name that it adds.
type ModelChange = (Vec<String>, Vec<ModelName>, Option<ModelName>);
type ModelName = (String, usize);

enum ModelSync {
    File(usize, Vec<u8>),
    Dir(String, usize),
}

impl Model {
    fn dir(path: &str) -> String {
        path.split_once('/').map_or("", |(dir, _)| dir).to_string()
    }

    fn open(&mut self, path: &str) -> usize {
        if let Some(file) = self.names.get(path) {
            return *file;
        }
        self.files.push((Vec::new(), Vec::new()));
        let file = self.files.len() - 1;
        self.names.insert(path.to_string(), file);
        let add = Some((path.to_string(), file));
        self.changes.push((vec![Self::dir(path)], vec![], add));
        file
    }

    /// Those of the first changes become durable that lie in such directories.
    fn commit(&mut self, upto: usize, covers: impl Fn(&[String]) -> bool) {
        for (dirs, removes, add) in &mut self.changes[..upto] {
            if covers(dirs) {
                dirs.clear();
                for (path, file) in removes.drain(..) {
                    if self.durable.get(&path) == Some(&file) {
                        self.durable.remove(&path);
                    }
                }
                if let Some((path, file)) = add.take() {
                    self.durable.insert(path, file);
                }
            }
        }
    }

    fn complete(&mut self, id: u64) {
        let at = self.syncs.iter().position(|(sync, _)| *sync == id).unwrap();
        match self.syncs.remove(at).1 {
            ModelSync::File(file, snapshot) => self.files[file].1 = snapshot,
            ModelSync::Dir(dir, upto) => {
                self.commit(upto, |dirs| dirs.contains(&dir));
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Append(usize, u16),
    Truncate(usize, u16),
    Rename(usize, usize),
    Delete(usize),
    Sync(usize),
    SyncDir(usize),
    Complete,
    PowerLoss,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..4usize, 1..9000u16).prop_map(|(p, n)| Op::Append(p, n)),
        3 => (0..4usize, 0..12000u16).prop_map(|(p, n)| Op::Truncate(p, n)),
        1 => (0..4usize, 0..4usize).prop_map(|(a, b)| Op::Rename(a, b)),
        1 => (0..4usize).prop_map(Op::Delete),
        3 => (0..4usize).prop_map(Op::Sync),
        2 => (0..3usize).prop_map(Op::SyncDir),
        4 => Just(Op::Complete),
        1 => Just(Op::PowerLoss),
    ]
}

const PATHS: [&str; 4] = ["a/1", "a/2", "b/1", "c"];
const DIRS: [&str; 3] = ["a", "b", ""];

fn apply(f: &mut Fixture, model: &mut Model, op: Op, fill: u8) {
    match op {
        Op::Append(p, n) => {
            let bytes = vec![fill; usize::from(n)];
            f.append(PATHS[p], &bytes);
            let file = model.open(PATHS[p]);
            model.files[file].0.extend_from_slice(&bytes);
        }
        Op::Truncate(p, n) => {
            f.truncate(PATHS[p], u64::from(n));
            let file = model.open(PATHS[p]);
            if usize::from(n) < model.files[file].0.len() {
                model.commit(model.changes.len(), |_| true);
            }
            model.files[file].0.truncate(usize::from(n));
            model.files[file].1.truncate(usize::from(n));
            for (_, sync) in &mut model.syncs {
                if let ModelSync::File(synced, snapshot) = sync
                    && *synced == file
                {
                    snapshot.truncate(usize::from(n));
                }
            }
        }
        Op::Rename(from, to) => {
            let (from, to) = (PATHS[from], PATHS[to]);
            let done = f.handle().rename(from, to).is_ok();
            assert_eq!(done, model.names.contains_key(from));
            if done && from != to {
                let file = model.names.remove(from).unwrap();
                model.names.insert(to.to_string(), file);
                let dirs = vec![Model::dir(from), Model::dir(to)];
                let removes = vec![(from.to_string(), file)];
                model
                    .changes
                    .push((dirs, removes, Some((to.to_string(), file))));
            }
        }
        Op::Delete(p) => {
            let done = f.handle().delete(PATHS[p]).is_ok();
            let file = model.names.remove(PATHS[p]);
            assert_eq!(done, file.is_some());
            if let Some(file) = file {
                let removes = vec![(PATHS[p].to_string(), file)];
                model
                    .changes
                    .push((vec![Model::dir(PATHS[p])], removes, None));
            }
        }
        Op::Sync(p) => {
            let id = f.begin_sync(PATHS[p]);
            let file = model.open(PATHS[p]);
            let snapshot = model.files[file].0.clone();
            model.syncs.push((id, ModelSync::File(file, snapshot)));
        }
        Op::SyncDir(d) => {
            let id = f.begin_sync_dir(DIRS[d]);
            let sync = ModelSync::Dir(DIRS[d].to_string(), model.changes.len());
            model.syncs.push((id, sync));
        }
        Op::Complete => {
            if let Some(id) = model.syncs.first().map(|(id, _)| *id) {
                assert!(f.disk.complete(id).is_some());
                model.complete(id);
            }
        }
        Op::PowerLoss => {
            f.power_loss(Unsynced::Gone);
            for (content, durable) in &mut model.files {
                content.clone_from(durable);
            }
            model.names = model.durable.clone();
            model.changes.clear();
            model.syncs.clear();
        }
    }
}

proptest! {
    #[test]
    fn the_disk_equals_the_model_of_whole_snapshots(
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut f = Fixture::new(3);
        let mut model = Model::default();
        let last = std::iter::once(Op::PowerLoss);
        for (number, op) in ops.into_iter().chain(last).enumerate() {
            apply(&mut f, &mut model, op, (number % 250) as u8 + 1);
            let paths: Vec<&str> = f.disk.paths().collect();
            prop_assert_eq!(&paths, &model.names.keys().collect::<Vec<_>>());
            for (path, file) in &model.names {
                prop_assert_eq!(f.content(path), Some(&model.files[*file].0[..]));
            }
            for (path, file) in &model.durable {
                let durable = f.disk.durable_content(path);
                prop_assert_eq!(durable.as_ref(), Some(&model.files[*file].1));
            }
            prop_assert_eq!(f.disk.durable_names.len(), model.durable.len());
        }
    }

    #[test]
    fn what_survives_is_made_of_cached_and_durable_sectors_and_zeros(
        ops in prop::collection::vec(op(), 1..60),
        seed in any::<u64>(),
    ) {
        let mut f = Fixture::new(seed);
        let mut model = Model::default();
        for (number, op) in ops.into_iter().enumerate() {
            apply(&mut f, &mut model, op, (number % 250) as u8 + 1);
        }
        let (unsynced, kept) = f.power_loss(Unsynced::Drawn);
        prop_assert!(kept <= unsynced);
        for path in f.disk.paths() {
            let content = f.content(path).unwrap();
            let versions: Vec<_> = model.files.iter().filter(|(cached, durable)| {
                let longest = cached.len().max(durable.len());
                content.len() <= longest && content.iter().enumerate().all(|(at, byte)| {
                    *byte == 0
                        || cached.get(at) == Some(byte)
                        || durable.get(at) == Some(byte)
                })
            }).collect();
            prop_assert!(!versions.is_empty(), "{path} holds bytes from nowhere");
        }
        // The same again loses nothing: everything that survived is durable.
        let before: Vec<_> = f.disk.paths().map(|p| (p.to_string(), f.content(p).unwrap().to_vec())).collect();
        f.power_loss(Unsynced::Gone);
        let after: Vec<_> = f.disk.paths().map(|p| (p.to_string(), f.content(p).unwrap().to_vec())).collect();
        prop_assert_eq!(before, after);
    }
}
