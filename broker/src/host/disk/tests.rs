//! What is the real disk's own. What it has in common with the simulated one stands in the parity suite
//! of `everyack-sim`.

use super::*;
use crate::disk::DiskError;
use tempfile::TempDir;

const TOKEN: SyncToken = SyncToken(7);

fn disk() -> (TempDir, RealDisk) {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(&folder.path().join("data")).unwrap();
    (folder, disk)
}

fn write(disk: &mut RealDisk, path: &str, bytes: &[u8]) -> FileId {
    let file = disk.open(path).unwrap();
    disk.append(file, bytes).unwrap();
    file
}

fn run_started(disk: &mut RealDisk) -> Vec<(SyncToken, Result<(), DiskError>)> {
    disk.take_started().into_iter().map(SyncJob::run).collect()
}

#[test]
fn what_is_written_is_in_the_folder_and_found_by_the_next_disk() {
    let (folder, mut disk) = disk();
    write(&mut disk, "t-0/log", b"first");
    let file = write(&mut disk, "t-0/log", b" second");
    disk.truncate(file, 8).unwrap();
    drop(disk);
    let path = folder.path().join("data/t-0/log");
    assert_eq!(path.metadata().unwrap().len(), 8);
    let mut next = RealDisk::new(&folder.path().join("data")).unwrap();
    let file = next.open("t-0/log").unwrap();
    assert_eq!(next.read(file, 0, 8).unwrap(), "first se");
    assert_eq!(next.take_failures(), [""; 0]);
}

#[test]
fn no_name_leads_out_of_the_root() {
    let (folder, mut disk) = disk();
    let outside = folder.path().join("outside");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&outside)
        .unwrap();
    write(&mut disk, "inside", b"x");
    let absolute = outside.to_str().unwrap();
    for name in [
        "../outside",
        "a/../../outside",
        "./inside",
        "a//b",
        "",
        "/",
        "x\0y",
        absolute,
    ] {
        assert_eq!(disk.open(name), Err(DiskError::Io), "{name:?}");
        assert_eq!(disk.delete(name), Err(DiskError::Io), "{name:?}");
        assert_eq!(disk.rename("inside", name), Err(DiskError::Io), "{name:?}");
        assert_eq!(disk.rename(name, "inside"), Err(DiskError::Io), "{name:?}");
        assert!(!disk.exists(name), "{name:?}");
    }
    disk.sync_dir("..", TOKEN);
    assert_eq!(run_started(&mut disk), [(TOKEN, Err(DiskError::Io))]);
    assert_eq!(disk.list("../"), [""; 0]);
    assert_eq!(disk.list(""), ["inside"]);
    assert!(outside.is_file());
}

#[test]
fn symbolic_links_are_neither_listed_nor_followed() {
    let (folder, mut disk) = disk();
    let data = folder.path().join("data");
    let outside = folder.path().join("outside");
    DirBuilder::new().create(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, data.join("folder")).unwrap();
    std::os::unix::fs::symlink("/dev/full", data.join("device")).unwrap();
    assert_eq!(disk.list(""), [""; 0]);
    assert!(!disk.exists("device"));
    for name in ["device", "folder/file"] {
        assert_eq!(disk.open(name), Err(DiskError::Io), "{name}");
    }
    let failures = disk.take_failures();
    assert_eq!(failures.len(), 2);
    assert!(
        failures[0].contains(r#"open "device": leads over a symbolic link"#),
        "{failures:?}"
    );
    assert_eq!(outside.read_dir().unwrap().count(), 0);
}

#[test]
fn a_folder_goes_with_its_last_file() {
    let (folder, mut disk) = disk();
    let deep = folder.path().join("data/a/b");
    write(&mut disk, "a/b/1", b"1");
    write(&mut disk, "a/b/2", b"2");
    disk.delete("a/b/1").unwrap();
    assert!(deep.is_dir());
    disk.rename("a/b/2", "c/2").unwrap();
    assert!(!folder.path().join("data/a").exists());
    assert_eq!(disk.list(""), ["c/2"]);
    // Of the folder that is gone there is still something to sync: that it is gone.
    disk.sync_dir("a/b", TOKEN);
    assert_eq!(run_started(&mut disk), [(TOKEN, Ok(()))]);
    assert_eq!(disk.take_failures(), [""; 0]);
}

#[test]
fn the_first_sync_of_a_folder_syncs_those_above_it_once() {
    let (_folder, mut disk) = disk();
    write(&mut disk, "a/b/1", b"1");
    let mut folders_of = |name: &str| {
        disk.sync_dir(name, TOKEN);
        let job = disk.take_started().pop().unwrap();
        let Target::Folders(folders) = &job.target else {
            panic!("{job:?}");
        };
        let count = folders.len();
        (job, count)
    };
    let (first, count) = folders_of("a/b");
    assert_eq!(count, 3, "the folder, the one above it, the root");
    let (second, count) = folders_of("a/b");
    assert_eq!(count, 3, "the first has not been run yet");
    assert_eq!(first.run(), (TOKEN, Ok(())));
    assert_eq!(folders_of("a/b").1, 1);
    assert_eq!(second.run(), (TOKEN, Ok(())));
    disk.delete("a/b/1").unwrap();
    write(&mut disk, "a/b/1", b"1");
    disk.sync_dir("a/b", TOKEN);
    let job = disk.take_started().pop().unwrap();
    assert!(
        matches!(&job.target, Target::Folders(folders) if folders.len() == 3),
        "it is another folder of that name: {job:?}"
    );
}

#[test]
fn a_full_device_is_told_as_such_and_why_is_kept_for_a_line() {
    let (_folder, mut disk) = disk();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let id = disk.open("log").unwrap();
    disk.files.get_mut(&id).unwrap().file = Arc::new(full);
    assert_eq!(disk.append(id, b"bytes"), Err(DiskError::NoSpace));
    assert_eq!(disk.len(id), 0);
    let failures = disk.take_failures();
    assert_eq!(failures.len(), 1);
    assert!(
        failures[0].starts_with(r#"append to "log": No space left"#),
        "{failures:?}"
    );
    assert_eq!(disk.take_failures(), [""; 0]);
}

#[test]
fn errors_of_the_system_are_told_apart_as_far_as_kafka_does() {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    const ENOENT: i32 = 2;
    const EACCES: i32 = 13;
    for (errno, told) in [
        (EIO, DiskError::Io),
        (ENOSPC, DiskError::NoSpace),
        (ENOENT, DiskError::NotFound),
        (EACCES, DiskError::Io),
    ] {
        assert_eq!(classify(&io::Error::from_raw_os_error(errno)), told);
    }
}

#[test]
fn a_sync_that_fails_says_so_and_why() {
    let (_folder, mut disk) = disk();
    let id = disk.open("log").unwrap();
    // A pipe has nothing that could be synced: EINVAL.
    let (pipe, _write) = io::pipe().unwrap();
    disk.files.get_mut(&id).unwrap().file = Arc::new(File::from(std::os::fd::OwnedFd::from(pipe)));
    disk.sync(id, TOKEN);
    assert_eq!(run_started(&mut disk), [(TOKEN, Err(DiskError::Io))]);
    let failures = disk.take_failures();
    assert!(
        failures[0].starts_with(r#"sync "log": Invalid argument"#),
        "{failures:?}"
    );
}

#[test]
fn of_many_failures_the_last_are_kept() {
    let (_folder, mut disk) = disk();
    for n in 0..FAILURES_KEPT + 10 {
        assert_eq!(disk.delete(&format!("gone-{n}")), Err(DiskError::NotFound));
    }
    let failures = disk.take_failures();
    assert_eq!(failures.len(), FAILURES_KEPT);
    assert!(
        failures[0].starts_with(r#"delete "gone-10""#),
        "{:?}",
        failures[0]
    );
}

#[test]
fn a_length_from_a_damaged_file_allocates_nothing() {
    let (_folder, mut disk) = disk();
    let file = write(&mut disk, "log", b"bytes");
    for (at, len) in [(0, u64::MAX), (u64::MAX, 2), (1, 5), (6, 0)] {
        assert_eq!(disk.read(file, at, len), Err(DiskError::Io));
    }
    assert_eq!(disk.read(file, 5, 0).unwrap(), "");
}

#[test]
fn a_file_that_another_program_cut_is_an_error_not_a_panic() {
    let (folder, mut disk) = disk();
    let file = write(&mut disk, "log", b"bytes");
    let other = OpenOptions::new()
        .write(true)
        .open(folder.path().join("data/log"));
    other.unwrap().set_len(2).unwrap();
    assert_eq!(disk.read(file, 0, 5), Err(DiskError::Io));
    assert!(disk.take_failures()[0].starts_with(r#"read "log""#));
}

#[test]
#[should_panic(expected = "was closed, or never opened")]
fn a_handle_that_was_given_back_is_void() {
    let (_folder, mut disk) = disk();
    let file = write(&mut disk, "log", b"bytes");
    disk.close(file);
    disk.len(file);
}

#[test]
fn a_sync_job_can_be_run_on_another_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<SyncJob>();
    assert_send::<RealDisk>();
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    assert!(RealDisk::new(&path).is_err());
}
