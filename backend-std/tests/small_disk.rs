//! File systems that are full, or refuse writes.
//!
//! A program of their own, and one test at a time: a process that is being started has the files of
//! its parent open until it becomes another program. So long a removed file keeps its room, and a
//! file system cannot be made read-only.

#![cfg(target_os = "linux")]

mod fixture;

use fixture::{at_once, block, mark, mounted, name, open, refusal};
use gannet_backend_std::StdStorage;
use gannet_storage::{
    DirOptions, Durability, Error, ErrorKind, LOCK_NAME, Op, ReadFile, SealedFile, Storage, Write,
    WriteFile,
};
use gannet_testkit::mount::Mount;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by a test from before its mount until after it.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_full_disk_is_no_space_and_what_was_written_before_stays() {
    let _alone = alone();
    // Room for six entries, the root being one.
    let Some(mount) = mounted(Mount::tmpfs_with(64 << 10, "nr_inodes=6")) else { return };
    let dir = mount.path().join("db");
    let storage = open(&dir);
    let file = storage.create(&name("sparse"), 1 << 20).expect("sparse files take no room");
    let writes = |offset| file.write_batch(&[Write { offset, bytes: &block(3) }], Durability::Data);
    let written = (0..256).take_while(|i| writes(i * 4096).is_ok()).count() as u64;
    assert!((1..16).contains(&written), "{written} blocks of 16, one of them the lock's");
    let error = writes(written * 4096).expect_err("full");
    assert_eq!((error.kind(), error.op()), (ErrorKind::NoSpace, Op::Write));
    assert_eq!(error.range(), Some(written * 4096..written * 4096 + 4096));
    let mut back = storage.alloc(4096);
    for i in 0..written {
        file.read_at(i * 4096, &mut back).expect("read");
        assert_eq!(back[..], block(3)[..], "block {i}");
    }

    // Entries: the root, `db`, `lock`, `sparse`; two are left.
    drop(storage.create(&name("e4"), 0).expect("made"));
    drop(storage.create(&name("e5"), 0).expect("made"));
    let error = storage.create(&name("e6"), 0).expect_err("no more entries");
    assert_eq!((error.kind(), error.op()), (ErrorKind::NoSpace, Op::Create));
    assert_eq!(storage.list().expect("listed").len(), 3);

    // On the full disk the storage opens again, and removing makes room.
    drop((file, storage));
    let storage = open(&dir);
    storage.remove(&name("sparse")).expect("removed");
    mark(&storage.create(&name("new"), 4096).expect("made"), 1, Durability::Data);
}

#[test]
fn a_new_directory_on_a_disk_without_a_free_block_opens() {
    let _alone = alone();
    let Some(mount) = mounted(Mount::tmpfs(64 << 10)) else { return };
    let dir = mount.path().join("db");
    fs::create_dir(&dir).expect("made");
    fs::write(mount.path().join("filler"), vec![1; 65_536]).expect("filled");
    let storage = open(&dir);
    assert_eq!(fs::metadata(dir.join(LOCK_NAME)).expect("there").len(), 0);
    let error = refusal(&dir, &DirOptions::existing());
    assert_eq!(error.kind(), ErrorKind::Locked, "the lock holds without its text");
    drop(storage);
}

#[test]
fn a_read_only_file_system_opens_where_a_lock_is_and_refuses_what_writes() {
    let _alone = alone();
    let Some(mount) = mounted(Mount::tmpfs(256 << 10)) else { return };
    let (full, empty) = (mount.path().join("full"), mount.path().join("empty"));
    let bare = mount.path().join("bare");
    {
        let storage = open(&full);
        mark(&storage.create(&name("a"), 4096).expect("made"), 6, Durability::Data);
    }
    fs::create_dir(&empty).expect("made");
    drop(open(&bare));
    mount.remount("ro").expect("no file is open for writing");

    for options in [DirOptions::create(), DirOptions::existing()] {
        let storage = StdStorage::open(&full, &at_once(options)).expect("opens");
        assert_eq!(refusal(&full, &DirOptions::existing()).kind(), ErrorKind::Locked);
        let (a, b) = (name("a"), name("b"));
        let sealed = storage.open_sealed(&a).expect("readable");
        assert_eq!(sealed.view(0..1).expect("view")[0], 6);
        sealed.discard_cache().expect("nothing to write");
        drop(sealed);
        let check = |call: &str, error: Option<Error>| {
            assert_eq!(error.map(|e| e.kind()), Some(ErrorKind::ReadOnly), "{call}");
        };
        check("open", storage.open(&a).err());
        check("create", storage.create(&b, 4096).err());
        check("replace", storage.replace(&a, &b).err());
        check("remove", storage.remove(&a).err());
    }
    assert_eq!(open(&bare).list().expect("listed"), []);
    let error = refusal(&empty, &DirOptions::create());
    assert_eq!((error.kind(), error.op()), (ErrorKind::ReadOnly, Op::Lock));
    let error = refusal(&mount.path().join("missing"), &DirOptions::create());
    assert_eq!((error.kind(), error.op()), (ErrorKind::ReadOnly, Op::OpenStorage));
}
