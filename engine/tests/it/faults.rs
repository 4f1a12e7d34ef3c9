//! Failures of the storage: what is acknowledged stays, what is unknown is said to be.

use crate::contents::{Contents, checkpoint, config, example, open, params, shown, vector};
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{ErrorKind, FileName, Op};
use gannet::{CheckpointError, CloseError, CommitError, Database, Metric, WriteBatch};
use gannet_testkit::sim::SimDisk;
use std::ops::ControlFlow;

fn one_put(contents: &mut Contents, key: &str) -> WriteBatch {
    let mut batch = WriteBatch::new();
    contents.put(&mut batch, key, "x");
    batch
}

#[test]
fn the_nth_call_fails_and_nothing_acknowledged_is_lost() {
    for kind in [ErrorKind::Io, ErrorKind::NoSpace] {
        for sticky in [false, true] {
            let mut failures = 0;
            for nth in 1..=50 {
                let disk = SimDisk::new();
                let mut contents = example(&disk);
                let db = open(&disk, 3);
                disk.fail_nth(nth, kind, sticky);
                let mut unknown = None;
                let mut failed = false;
                for key in ["k1", "k2"] {
                    let mut with = contents.clone();
                    match db.commit(one_put(&mut with, key)) {
                        Ok(_) => contents = with,
                        Err(CommitError::Unknown(_)) => {
                            failed = true;
                            unknown = Some(with);
                        }
                        Err(_) => failed = true,
                    }
                    failed |= db.checkpoint(&mut |_| ControlFlow::Continue(())).is_err();
                }
                assert_eq!(shown(&db, 200), contents, "reads go on: {kind:?} {sticky} {nth}");
                drop(db);
                let after = disk.kill();
                let seen = shown(&open(&after, 4), 200);
                let fits = seen == contents || unknown.is_some_and(|with| seen == with);
                assert!(fits, "{kind:?} sticky {sticky} nth {nth}: {seen:?}");
                failures += u32::from(failed);
            }
            assert!(failures > 10, "{kind:?} sticky {sticky}: {failures} failures");
        }
    }
}

#[test]
fn a_failed_log_write_poisons_and_only_a_reopen_clears_it() {
    let disk = SimDisk::new();
    let mut contents = Contents::default();
    let db = open(&disk, 1);
    db.commit(one_put(&mut contents, "a")).unwrap();
    disk.fail_nth(1, ErrorKind::Io, false);
    let mut with = contents.clone();
    let batch = one_put(&mut with, "b");
    assert!(matches!(db.commit(batch.clone()), Err(CommitError::Unknown(_))));
    assert!(matches!(db.commit(batch.clone()), Err(CommitError::Poisoned)));
    let refused = db.checkpoint(&mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(CheckpointError::Poisoned)));
    assert_eq!(shown(&db, 1), contents);
    assert!(matches!(db.close(), Err(CloseError::Poisoned)));
    let db = open(&disk.kill(), 2);
    db.commit(batch).unwrap();
    assert_eq!(shown(&db, 1), with);
}

#[test]
fn a_full_disk_is_met_before_anything_is_written_and_does_not_poison() {
    // The first commit makes root and segment: every call of that may meet a full disk.
    let mut refused = 0;
    for nth in 1.. {
        let disk = SimDisk::new();
        let db = open(&disk, 1);
        let mut contents = Contents::default();
        let batch = one_put(&mut contents, "a");
        disk.fail_nth(nth, ErrorKind::NoSpace, true);
        let made = db.commit(batch.clone());
        disk.fail_nth(u64::MAX, ErrorKind::NoSpace, false);
        match made {
            // From here on it is the frame itself.
            Err(CommitError::Unknown(_)) => break,
            Err(CommitError::NoSpace(error)) if error.op() == Op::SyncDir => {
                // Which names are durable is unknown now: no refusal, but the end of the log.
                assert!(matches!(db.commit(batch.clone()), Err(CommitError::Poisoned)));
                drop(db);
                open(&disk, 2).commit(batch).unwrap();
            }
            Err(CommitError::NoSpace(_)) => {
                assert_eq!(shown(&db, 1), Contents::default());
                db.commit(batch).expect("there is space again");
                drop(db);
            }
            other => panic!("call {nth}: {other:?}"),
        }
        refused += 1;
        assert_eq!(shown(&open(&disk.kill(), 2), 1), contents, "{nth}");
    }
    assert!(refused >= 5, "{refused}");
}

#[test]
fn a_checkpoint_that_meets_a_full_disk_gives_the_space_back_and_changes_nothing() {
    let mut refused = 0;
    let mut poisoned = 0;
    for nth in 1.. {
        let disk = SimDisk::new();
        let mut with = example(&disk);
        let db = open(&disk, 3);
        db.commit(one_put(&mut with, "more")).unwrap();
        let logs_apart = || {
            let files = db.stats().unwrap().files.into_iter().map(|file| file.name);
            // A table that was made of memory stays: the next checkpoint has need of it.
            let stays =
                |name: &FileName| ["log", "table"].iter().any(|p| name.as_str().starts_with(p));
            files.filter(|name| !stays(name)).collect::<Vec<_>>()
        };
        let before = logs_apart();
        disk.fail_nth(nth, ErrorKind::NoSpace, false);
        let made = db.checkpoint(&mut |_| ControlFlow::Continue(()));
        if made.is_ok() {
            break;
        }
        let is_refused =
            matches!(made, Err(CheckpointError::Storage(_) | CheckpointError::Poisoned));
        assert!(is_refused, "{nth}: {made:?}");
        let after = logs_apart();
        let mut and_more = with.clone();
        if db.commit(one_put(&mut and_more, "and more")).is_ok() {
            assert_eq!(after, before, "{nth}");
            with = and_more;
            refused += 1;
        } else {
            // A write to the log or the root that fails poisons, whatever it says.
            poisoned += 1;
        }
        drop(db);
        assert_eq!(shown(&open(&disk.kill(), 4), 200), with, "{nth}");
    }
    assert!(refused > 5 && poisoned > 1, "{refused} refused, {poisoned} poisoned");
}

#[test]
fn a_cancelled_checkpoint_writes_to_the_log_alone_and_the_next_one_goes_on() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection("c", params(Metric::L2)).unwrap();
        let mut batch = WriteBatch::new();
        for id in 0..200 {
            batch.insert("c", id, &vector(id));
        }
        db.commit(batch).unwrap();
        let files = || {
            let files = db.stats().unwrap().files.into_iter();
            files.filter(|file| !file.name.as_str().starts_with("log")).collect::<Vec<_>>()
        };
        let before = files();
        let cancelled = db.checkpoint(&mut |_| ControlFlow::Break(()));
        assert!(matches!(cancelled, Err(CheckpointError::Cancelled)));
        assert_eq!(files(), before);
        assert!(db.collection("c").unwrap().in_graph > 0);
        checkpoint(&db);
        assert_eq!(db.collection("c").unwrap().in_graph, 200);
    }
    on_each_disk!(on);
}

#[test]
fn a_second_opener_is_refused() {
    fn on(disk: &impl Disk) {
        let first = open(disk, 1);
        assert_eq!(disk.open().expect_err("locked").kind(), ErrorKind::Locked);
        drop(first);
        assert!(Database::open(disk.open().unwrap(), config(2)).is_ok());
    }
    on_each_disk!(on);
}
