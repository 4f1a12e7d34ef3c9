//! Checkpoints and commits on a disk that is full.
//!
//! A program of their own, and one test at a time: a process that is being started has the files of
//! its parent open until it becomes another program, and so long a removed file keeps its room.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "where a test unwraps what is not there it should fail")]

use gannet::storage::{DirOptions, Storage};
use gannet::{
    CheckpointReport, CommitError, Compression, Config, Database, StdStorage, WriteBatch,
};
use gannet_testkit::mount::Mount;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by a test from before its mount until after it.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(key: &str, value: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put("kv", key.as_bytes(), value);
    batch
}

fn checkpoint(db: &Database<StdStorage>) -> CheckpointReport {
    db.checkpoint(&mut |_| ControlFlow::Continue(())).unwrap()
}

/// A disk of so many bytes, if one can be had, and how a database on it is tried.
fn small_disk(len_bytes: u64) -> Option<(Mount, StdStorage, Config)> {
    let mount = Mount::tmpfs(len_bytes).inspect_err(|why| eprintln!("skipped: {why}")).ok()?;
    let storage = StdStorage::open(&mount.path(), &DirOptions::create()).unwrap();
    let mut config = Config::balanced();
    config.threads = 1;
    Some((mount, storage, config))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "somebody else writes to the disk")]
fn a_checkpoint_fits_a_full_disk() {
    let _alone = alone();
    let Some((mount, storage, mut config)) = small_disk(12 << 20) else { return };
    // Those of its own would be in the way here.
    config.log_bytes_max = 1 << 40;
    let db = Database::open(storage, config).unwrap();
    let mut last = None;
    for round in 0.. {
        match db.commit(put(&format!("{}", round % 8), &vec![round; 60_000])) {
            Ok(_) => last = Some(round),
            Err(CommitError::NoSpace(_)) => break,
            Err(error) => panic!("{error:?}"),
        }
        // Makes the reserve; and no checkpoint, for none is due before the disk is full.
        if round % 8 == 0 {
            db.tend().unwrap();
        }
    }
    let names = || db.storage().list().unwrap();
    assert!(names().iter().any(|meta| meta.name.as_str() == "reserve"), "{:?}", names());
    // Whatever is left is taken by somebody else.
    let others = mount.path().join("others");
    std::fs::write(&others, vec![1; 32 << 20]).unwrap_err();
    assert!(matches!(db.commit(put("no", &vec![0; 60_000])), Err(CommitError::NoSpace(_))));
    // A checkpoint is due now, as the disk is full; the second lets go of the log of the first.
    db.tend().unwrap();
    assert!(db.stats().unwrap().checkpoint_lsn > 0);
    db.commit(put("more", b"small")).unwrap();
    checkpoint(&db);
    db.commit(put("and more", &vec![0; 60_000])).unwrap();
    let last = last.expect("commits");
    assert_eq!(db.get("kv", format!("{}", last % 8).as_bytes()).unwrap(), Some(vec![last; 60_000]));
    assert!(db.verify().unwrap().faults.is_empty());
}

#[test]
fn a_checkpoint_on_a_full_disk_writes_each_table_once() {
    let _alone = alone();
    let Some((mount, storage, mut config)) = small_disk(32 << 20) else { return };
    config.checkpoint_bytes = 1 << 40;
    config.compression = Compression::None;
    let db = Database::open(storage, config).unwrap();
    // 4.5 MiB in one table.
    for name in ["a", "b", "c"] {
        let mut batch = WriteBatch::new();
        for key in 0..24 {
            batch.put(name, &[key], &vec![key; 64 << 10]);
        }
        db.commit(batch).unwrap();
        db.tend().unwrap();
    }
    let len = |name: &str| {
        let files = db.storage().list().unwrap();
        files.iter().find(|meta| meta.name.as_str() == name).map_or(0, |meta| meta.len_bytes)
    };
    let reserve = len("reserve");
    assert!(reserve >= 4 << 20, "{reserve}");
    fill(&mount.path().join("others"), 1 << 20);
    let report = checkpoint(&db);
    assert_eq!(report.bytes_written >> 20, 4, "{report:?}");
    assert!(db.verify().unwrap().faults.is_empty());
}

#[test]
fn the_reserve_gives_way_to_commits_where_no_checkpoint_would_help() {
    let _alone = alone();
    let Some((mount, storage, config)) = small_disk(16 << 20) else { return };
    let db = Database::open(storage, config).unwrap();
    db.commit(put("k", b"v")).unwrap();
    db.tend().unwrap();
    checkpoint(&db);
    fill(&mount.path().join("others"), 4096);
    db.commit(put("k", b"w")).unwrap();
    assert_eq!(db.get("kv", b"k").unwrap().as_deref(), Some(&b"w"[..]));
}

/// Takes all space but so much.
#[expect(clippy::disallowed_methods, reason = "somebody else writes to the disk")]
fn fill(path: &Path, leave: usize) {
    let mut file = std::fs::File::create(path).unwrap();
    let mut len = 0;
    while file.write_all(&vec![1; 64 << 10]).is_ok() {
        len += 64 << 10;
    }
    file.set_len(len - leave as u64).unwrap();
}
