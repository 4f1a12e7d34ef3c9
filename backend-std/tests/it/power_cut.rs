//! What a journalling file system holds when the power goes: a copy of its disk, taken while it is
//! mounted, is what the machine would find after the cut.
//!
//! It shows one outcome of many, the one in which the disk kept just what it was given; it does
//! notice a sync that was left out.

use crate::again::{run, with_own_mounts};
use crate::{mark, name, open};
use gannet_storage::{Durability, SealedFile, Storage};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// With a journal, which commits all names at once: on its own only after five minutes.
const MOUNT: &[&str] = &["-t", "ext4", "-o", "loop,commit=300", "disk", "mounted"];
/// Without one: each directory and file is on the disk only if it was synced itself.
const PLAIN_MOUNT: &[&str] = &["-t", "ext4", "-o", "loop", "disk", "mounted"];

fn make_disk(place: &Path, options: &[&str]) -> Result<(), String> {
    let disk = place.join("disk");
    fs::File::create(&disk).and_then(|file| file.set_len(16 << 20)).map_err(|e| e.to_string())?;
    match Command::new("mkfs.ext4").args(["-q", "-F"]).args(options).arg(&disk).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("mkfs.ext4 failed: {output:?}")),
        Err(error) => Err(format!("no mkfs.ext4: {error}")),
    }
}

/// First byte of every file of the storage `db` after a cut of the power now; `None` if the
/// directory is not there.
fn after_cut(place: &Path) -> Option<BTreeMap<String, u8>> {
    let target = place.join("after");
    fs::create_dir_all(&target).expect("mount point");
    fs::copy(place.join("disk"), place.join("copy")).expect("copied");
    run(place, "mount", &["-t", "ext4", "-o", "loop", "copy", "after"]);
    let dir = target.join("db");
    let found = dir.exists().then(|| {
        assert!(dir.join("lock").exists(), "a directory without its lock would be foreign");
        let storage = open(&dir);
        let first = |meta: gannet_storage::FileMeta| {
            let sealed = storage.open_sealed(&meta.name).expect("opens");
            let byte = sealed.view(0..meta.len_bytes).expect("view").first().copied();
            (meta.name.as_str().to_owned(), byte.unwrap_or(0))
        };
        storage.list().expect("listed").into_iter().map(first).collect()
    });
    run(place, "umount", &["after"]);
    found
}

#[track_caller]
fn check<const N: usize>(place: &Path, expected: [(&str, u8); N]) {
    let expected = expected.map(|(name, byte)| (name.to_owned(), byte));
    assert_eq!(after_cut(place), Some(BTreeMap::from(expected)));
}

fn check_making(place: &Path) {
    let dir = place.join("mounted/db");
    fs::create_dir(&dir).expect("made");
    fs::write(dir.join("lock"), "").expect("made");
    assert_eq!(after_cut(place), None, "nothing has synced it: else this shows nothing");
    drop(open(&dir));
    check(place, []);
    fs::remove_dir_all(&dir).expect("removed");
    fs::File::open(place.join("mounted")).and_then(|d| d.sync_all()).expect("synced");
    assert_eq!(after_cut(place), None);
    drop(open(&dir));
    check(place, []);
}

#[test]
fn a_made_directory_is_there_after_a_cut_also_if_another_began_to_make_it() {
    const TEST: &str =
        "power_cut::a_made_directory_is_there_after_a_cut_also_if_another_began_to_make_it";
    with_own_mounts(TEST, |place| make_disk(place, &[]), MOUNT, check_making);
}

#[test]
fn a_made_directory_is_there_after_a_cut_without_a_journal() {
    const TEST: &str = "power_cut::a_made_directory_is_there_after_a_cut_without_a_journal";
    let prepare = |place: &Path| make_disk(place, &["-O", "^has_journal"]);
    with_own_mounts(TEST, prepare, PLAIN_MOUNT, check_making);
}

#[test]
fn synced_contents_and_names_are_there_after_a_cut_and_others_need_not_be() {
    const TEST: &str =
        "power_cut::synced_contents_and_names_are_there_after_a_cut_and_others_need_not_be";
    with_own_mounts(
        TEST,
        |place| make_disk(place, &[]),
        MOUNT,
        |place| {
            let storage = open(&place.join("mounted/db"));
            let file = storage.create(&name("a"), 8192).expect("made");
            check(place, []);
            storage.sync_dir().expect("synced");
            check(place, [("a", 0)]);
            mark(&file, 1, Durability::Deferred);
            check(place, [("a", 0)]);
            mark(&file, 2, Durability::Data);
            check(place, [("a", 2)]);
            mark(&file, 3, Durability::Full);
            check(place, [("a", 3)]);
            mark(&file, 4, Durability::Deferred);
            drop(storage.seal(file).expect("sealed"));
            check(place, [("a", 4)]);

            let new = storage.create(&name("new"), 4096).expect("made");
            mark(&new, 5, Durability::Data);
            drop(new);
            storage.sync_dir().expect("synced");
            storage.replace(&name("new"), &name("a")).expect("replaced");
            check(place, [("a", 4), ("new", 5)]);
            storage.sync_dir().expect("synced");
            check(place, [("a", 5)]);
            storage.remove(&name("a")).expect("removed");
            check(place, [("a", 5)]);
            storage.sync_dir().expect("synced");
            check(place, []);
        },
    );
}
