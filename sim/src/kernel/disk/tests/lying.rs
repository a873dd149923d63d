//! Lies about syncs, bits that flip, writes that land elsewhere.

use super::*;

#[test]
fn a_lie_is_told_at_once_and_seen_by_nobody_until_the_power_goes() {
    let mut f = Fixture::new(1);
    f.append("log", b"kept");
    f.sync("log");
    f.sync_dir("");
    f.disk.lie();
    f.append("log", b" and not");
    let mut disk = f.handle();
    let file = disk.open("log").unwrap();
    disk.sync(file, SyncToken(9));
    let free_at = f.disk.busy_until;
    let (id, at) = f.disk.schedule_started(0)[0];
    assert_eq!(at, free_at + SYNC_CLEAN);
    assert_eq!(f.disk.complete(id).unwrap().2, Ok(()));
    assert_eq!(f.content("log"), Some(&b"kept and not"[..]));
    f.handles.close_all(&mut f.disk);
    f.disk.process_died(OWNER.node);
    assert_eq!(f.content("log"), Some(&b"kept and not"[..]), "a crash");
    assert_eq!(f.power_loss(Unsynced::Gone), (8, 0));
    assert_eq!(f.content("log"), Some(&b"kept"[..]));
}

#[test]
fn a_lie_about_a_directory_costs_the_names() {
    let mut f = Fixture::new(1);
    f.append("checkpoint", b"old");
    f.sync("checkpoint");
    f.sync_dir("");
    f.disk.lie();
    f.append("checkpoint.tmp", b"new");
    f.sync("checkpoint.tmp");
    f.handle().rename("checkpoint.tmp", "checkpoint").unwrap();
    f.append("roll", b"");
    f.sync_dir("");
    assert_eq!(f.content("checkpoint"), Some(&b"new"[..]));
    f.power_loss(Unsynced::Gone);
    assert_eq!(f.content("checkpoint"), Some(&b"old"[..]));
    assert_eq!(f.content("roll"), None);
}

#[test]
fn an_honest_sync_later_keeps_what_a_lie_had_not() {
    let mut f = Fixture::new(1);
    f.sync_dir("");
    f.disk.lie();
    f.append("log", b"lied about");
    f.sync("log");
    let under_way = f.begin_sync("log");
    f.disk.mend(0);
    f.disk.complete(under_way);
    assert_eq!(f.disk.unsynced_bytes(), 10, "it was asked for when it lied");
    f.sync("log");
    f.sync_dir("");
    f.power_loss(Unsynced::Gone);
    assert_eq!(f.content("log"), Some(&b"lied about"[..]));
}

#[test]
fn a_flipped_bit_is_in_the_cache_and_on_the_device() {
    let mut f = Fixture::new(1);
    f.append("log", b"stored");
    f.sync("log");
    f.sync_dir("");
    f.append("log", b" cached");
    for (at, is_there) in [(0, true), (8, true), (13, false), (u64::MAX, false)] {
        assert_eq!(f.disk.flip_bits("log", at, 0b10_0000), is_there, "{at}");
    }
    assert!(!f.disk.flip_bits("gone", 0, 1));
    assert_eq!(f.content("log"), Some(&b"Stored cAched"[..]));
    assert_eq!(f.disk.durable_content("log"), Some(b"Stored".to_vec()));
    f.power_loss(Unsynced::Gone);
    assert_eq!(f.content("log"), Some(&b"Stored"[..]));
}

fn sectors(letters: &str) -> Vec<u8> {
    let sector = |letter: u8| vec![letter; SECTOR_BYTES];
    letters.bytes().flat_map(sector).collect()
}

#[test]
fn a_misdirected_write_is_missing_where_it_belongs_and_found_elsewhere_in_the_file() {
    let mut f = Fixture::new(1);
    f.append("log", &sectors("abcd"));
    f.append("log", b"e");
    let damage = f.disk.misdirect("log", 3, 2, Some(("log", 1))).unwrap();
    assert_eq!(damage.lost, 3 * SECTOR_BYTES..4 * SECTOR_BYTES + 1);
    let hit = SECTOR_BYTES..2 * SECTOR_BYTES + 1;
    assert_eq!(damage.overwritten, Some(hit));
    let mut expected = sectors("adc\0");
    expected[2 * SECTOR_BYTES] = b'e';
    expected.push(0);
    assert_eq!(f.content("log"), Some(&expected[..]));
}

#[test]
fn a_misdirected_write_overwrites_another_file_as_far_as_that_reaches() {
    let mut f = Fixture::new(1);
    f.append("log", &sectors("ab"));
    f.append("other", &sectors("x"));
    f.append("other", b"yy");
    for path in ["log", "other"] {
        f.sync(path);
    }
    f.sync_dir("");
    let damage = f.disk.misdirect("log", 0, 1, Some(("other", 1))).unwrap();
    assert_eq!(damage.lost, 0..SECTOR_BYTES);
    assert_eq!(damage.overwritten, Some(SECTOR_BYTES..SECTOR_BYTES + 2));
    f.power_loss(Unsynced::Gone);
    assert_eq!(f.content("log"), Some(&sectors("\0b")[..]));
    let mut other = sectors("x");
    other.extend(b"aa");
    assert_eq!(f.content("other"), Some(&other[..]));
}

#[test]
fn a_write_that_lands_nowhere_is_missing_all_the_same() {
    let mut f = Fixture::new(1);
    f.append("log", &sectors("ab"));
    for to in [None, Some(("log", 9)), Some(("gone", 0))] {
        let damage = f.disk.misdirect("log", 1, 1, to).unwrap();
        assert_eq!(damage.overwritten, None, "{to:?}");
    }
    assert_eq!(f.content("log"), Some(&sectors("a\0")[..]));
    for (path, sector, count) in [("log", 2, 1), ("log", 0, 0), ("gone", 0, 1)] {
        assert_eq!(f.disk.misdirect(path, sector, count, None), None, "{path}");
    }
    assert_eq!(f.disk.misdirect("log", u64::MAX, 2, None), None);
}
