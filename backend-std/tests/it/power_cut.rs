//! What a journalling file system holds when the power goes: a copy of its disk, taken while it is
//! mounted, is what the machine would find after the cut.
//!
//! It shows one outcome of many, the one in which the disk kept just what it was given; it does
//! notice a sync that was left out.

use crate::{mark, mounted, name, open};
use gannet_storage::{Durability, SealedFile, Storage};
use gannet_testkit::mount::Mount;
use std::collections::BTreeMap;
use std::fs;

const DISK_BYTES: u64 = 16 << 20;

/// With a journal, which commits all names at once: on its own only after five minutes.
fn journalled() -> Option<Mount> {
    mounted(Mount::ext4_with(DISK_BYTES, &[], "commit=300"))
}

/// Without one each directory and file is on the disk only if it was synced itself.
fn plain() -> Option<Mount> {
    mounted(Mount::ext4_with(DISK_BYTES, &["-O", "^has_journal"], ""))
}

/// First byte of every file of the storage `db` after a cut of the power now; `None` if the
/// directory is not there.
fn after_cut(mount: &Mount) -> Option<BTreeMap<String, u8>> {
    let after = mount.after_power_cut().expect("what could be mounted once can be again");
    let dir = after.path().join("db");
    dir.exists().then(|| {
        assert!(dir.join("lock").exists(), "a directory without its lock would be foreign");
        let storage = open(&dir);
        let first = |meta: gannet_storage::FileMeta| {
            let sealed = storage.open_sealed(&meta.name).expect("opens");
            let byte = sealed.view(0..meta.len_bytes).expect("view").first().copied();
            (meta.name.as_str().to_owned(), byte.unwrap_or(0))
        };
        storage.list().expect("listed").into_iter().map(first).collect()
    })
}

#[track_caller]
fn check<const N: usize>(mount: &Mount, expected: [(&str, u8); N]) {
    let expected = expected.map(|(name, byte)| (name.to_owned(), byte));
    assert_eq!(after_cut(mount), Some(BTreeMap::from(expected)));
}

fn check_making(mount: &Mount) {
    let dir = mount.path().join("db");
    fs::create_dir(&dir).expect("made");
    fs::write(dir.join("lock"), "").expect("made");
    assert_eq!(after_cut(mount), None, "nothing has synced it: else this shows nothing");
    drop(open(&dir));
    check(mount, []);
    fs::remove_dir_all(&dir).expect("removed");
    fs::File::open(mount.path()).and_then(|d| d.sync_all()).expect("synced");
    assert_eq!(after_cut(mount), None);
    drop(open(&dir));
    check(mount, []);
}

#[test]
fn a_made_directory_is_there_after_a_cut_also_if_another_began_to_make_it() {
    let Some(mount) = journalled() else { return };
    check_making(&mount);
}

#[test]
fn a_made_directory_is_there_after_a_cut_without_a_journal() {
    let Some(mount) = plain() else { return };
    check_making(&mount);
}

#[test]
fn synced_contents_and_names_are_there_after_a_cut_and_others_need_not_be() {
    let Some(mount) = journalled() else { return };
    let storage = open(&mount.path().join("db"));
    let file = storage.create(&name("a"), 8192).expect("made");
    check(&mount, []);
    storage.sync_dir().expect("synced");
    check(&mount, [("a", 0)]);
    mark(&file, 1, Durability::Deferred);
    check(&mount, [("a", 0)]);
    mark(&file, 2, Durability::Data);
    check(&mount, [("a", 2)]);
    mark(&file, 3, Durability::Full);
    check(&mount, [("a", 3)]);
    mark(&file, 4, Durability::Deferred);
    drop(storage.seal(file).expect("sealed"));
    check(&mount, [("a", 4)]);

    let new = storage.create(&name("new"), 4096).expect("made");
    mark(&new, 5, Durability::Data);
    drop(new);
    storage.sync_dir().expect("synced");
    storage.replace(&name("new"), &name("a")).expect("replaced");
    check(&mount, [("a", 4), ("new", 5)]);
    storage.sync_dir().expect("synced");
    check(&mount, [("a", 5)]);
    storage.remove(&name("a")).expect("removed");
    check(&mount, [("a", 5)]);
    storage.sync_dir().expect("synced");
    check(&mount, []);
}
