//! Checkpoints beside commits, by themselves, on a full disk, read back, and in memory.

use crate::committing::HandClock;
use crate::contents::{
    Contents, checkpoint, compact, config, example, open, params, shown, vector,
};
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{ErrorKind, FileMeta, MemStorage, Op, Storage};
use gannet::{
    CheckpointError, Clock, CommitError, Compression, Config, Database, Durability, Metric,
    OpenError, Phase, WriteBatch, restore,
};
use gannet_testkit::fault::{Action, Calls, FaultStorage, Rule};
use gannet_testkit::sim::{CrashPlan, SimDisk};
use rayon::prelude::*;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

pub(crate) fn put(key: &str, value: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put("kv", key.as_bytes(), value);
    batch
}

/// Of every kind of change one, to old keys and rows and to new ones.
pub(crate) fn change(contents: &mut Contents, round: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    contents.put(&mut batch, "a", &format!("{round}"));
    contents.put(&mut batch, &format!("new {round}"), "x");
    contents.delete(&mut batch, &format!("new {}", round / 2));
    contents.upsert(&mut batch, 1, vector(100 + round));
    contents.upsert(&mut batch, 30 + round, vector(30 + round));
    contents.delete_row(&mut batch, 30 + round / 2);
    batch
}

#[test]
fn commits_go_on_while_a_checkpoint_is_made() {
    fn on(disk: &impl Disk) {
        let mut contents = example(disk);
        let db = open(disk, 2);
        db.commit(change(&mut contents, 0)).unwrap();
        let mut states = vec![contents.clone()];
        let mut round = 0;
        let report = db
            .checkpoint(&mut |progress| {
                round += 1;
                db.commit(change(&mut contents, round)).unwrap();
                assert_eq!(shown(&db, 200), contents, "{progress:?}");
                states.push(contents.clone());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(round >= 3, "{round} steps");
        let made_at = db.stats().unwrap();
        assert!(report.lsn < made_at.last_lsn, "commits came after it");
        assert_eq!(made_at.checkpoint_lsn, report.lsn);
        assert_eq!(shown(&db, 200), contents);
        // What is in files and what is replayed together are all of it, also another time.
        checkpoint(&db);
        assert_eq!(shown(&db, 200), contents);
        db.commit(change(&mut contents, 99)).unwrap();
        drop(db);
        assert_eq!(shown(&open(disk, 4), 200), contents);
    }
    on_each_disk!(on);
}

#[test]
fn a_power_cut_beside_a_checkpoint_leaves_every_commit() {
    let disk = SimDisk::new();
    let mut contents = example(&disk);
    let db = open(&disk, 2);
    db.commit(change(&mut contents, 0)).unwrap();
    // What was acknowledged when so many calls had been made.
    let mut acknowledged = vec![(disk.steps(), contents.clone())];
    disk.record();
    let mut round = 0;
    let mut commit = |acknowledged: &mut Vec<_>| {
        round += 1;
        db.commit(change(&mut contents, round)).unwrap();
        acknowledged.push((disk.steps(), contents.clone()));
    };
    for _ in 0..2 {
        db.checkpoint(&mut |_| {
            commit(&mut acknowledged);
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    commit(&mut acknowledged);
    let plan = CrashPlan { exhaustive_max: 6, pairs_max: 0, samples: 4, seed: 3 };
    let points = disk.take_recorded();
    let checked: usize = points
        .par_iter()
        .map(|point| {
            let before = acknowledged.partition_point(|(steps, _)| *steps <= point.step);
            let may_be = &acknowledged[before - 1..(before + 1).min(acknowledged.len())];
            let crashed: Vec<_> = point.disk().crash_states(&plan).collect();
            for (after, choice) in &crashed {
                let seen = shown(&open(after, 5), 200);
                let is_good = may_be.iter().any(|(_, contents)| *contents == seen);
                assert!(is_good, "{point:?}, {choice:?}: {seen:?}, not one of {may_be:?}");
            }
            crashed.len()
        })
        .sum();
    assert!(checked > 100, "{checked}");
}

#[test]
fn a_checkpoint_that_fails_while_commits_go_on_changes_nothing() {
    let mut refused = 0;
    for nth in 1..60 {
        let disk = SimDisk::new();
        let mut contents = example(&disk);
        let db = open(&disk, 2);
        db.commit(change(&mut contents, 0)).unwrap();
        let mut round = 0;
        let mut is_poisoned = false;
        let made = db.checkpoint(&mut |_| {
            if round == 0 {
                disk.fail_nth(nth, ErrorKind::NoSpace, false);
            }
            round += 1;
            let mut with = contents.clone();
            match db.commit(change(&mut with, round)) {
                Ok(_) => contents = with,
                Err(CommitError::NoSpace(_)) => {}
                Err(_) => is_poisoned = true,
            }
            ControlFlow::Continue(())
        });
        // The last call that fails, if it did not.
        disk.fail_nth(u64::MAX, ErrorKind::NoSpace, false);
        let mut with = contents.clone();
        if db.commit(change(&mut with, 77)).is_ok() {
            contents = with;
        } else {
            is_poisoned = true;
        }
        refused += u32::from(made.is_err() && !is_poisoned);
        if !is_poisoned {
            assert_eq!(shown(&db, 200), contents, "call {nth}");
            let again = db.checkpoint(&mut |_| ControlFlow::Continue(()));
            assert!(again.is_ok(), "call {nth}: {again:?} after {made:?}");
            assert_eq!(shown(&db, 200), contents, "call {nth}");
        }
        drop(db);
        let after = shown(&open(&disk.kill(), 3), 200);
        assert!(is_poisoned || after == contents, "call {nth}: {after:?} not {contents:?}");
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn a_panic_in_a_checkpoint_poisons_and_a_reopen_shows_every_commit() {
    let disk = SimDisk::new();
    let mut contents = example(&disk);
    let db = open(&disk, 2);
    db.commit(change(&mut contents, 0)).unwrap();
    let made = catch_unwind(AssertUnwindSafe(|| {
        db.checkpoint(&mut |progress| {
            assert!(progress.phase != Phase::Write, "a test asked for this panic");
            ControlFlow::Continue(())
        })
    }));
    assert!(made.is_err());
    assert!(matches!(db.commit(put("k", b"v")), Err(CommitError::Poisoned)));
    assert_eq!(shown(&db, 200), contents, "reads go on");
    drop(db);
    assert_eq!(shown(&open(&disk, 3), 200), contents);
}

#[test]
fn each_limit_has_a_checkpoint_made_when_the_database_is_tended() {
    type Limit = fn(&mut Config);
    let limits: [(&str, Limit, bool); 4] = [
        ("none", |_| {}, false),
        ("bytes of records", |c| c.checkpoint_bytes = 64 << 10, true),
        ("length of the log", |c| c.log_bytes_max = 1 << 20, true),
        ("age", |c| c.checkpoint_age = Duration::from_secs(30), true),
    ];
    for (name, limit, makes_one) in limits {
        let disk = SimDisk::new();
        let clock = Arc::new(HandClock::default());
        let mut config = config(1);
        config.clock = Arc::<HandClock>::clone(&clock);
        config.segment_bytes = 256 << 10;
        limit(&mut config);
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        for at in 0..60 {
            clock.set(at * 1000);
            db.commit(put(&format!("{at}"), &[7; 9000])).unwrap();
            let records = db.stats().unwrap();
            db.tend().unwrap();
            if name == "age" && at == 29 {
                assert_eq!(records.checkpoint_lsn, 0, "not before it is due");
                assert_eq!(db.stats().unwrap().checkpoint_lsn, 0, "not before it is due");
            }
        }
        let stats = db.stats().unwrap();
        assert_eq!(stats.checkpoint_lsn > 0, makes_one, "{name}");
        assert!(stats.checkpoint_lsn < stats.last_lsn, "{name}: not one for each commit");
    }
}

#[test]
fn threads_of_the_database_make_the_checkpoint_that_is_due() {
    fn on(disk: &impl Disk) {
        let mut config = config(1);
        config.threads = 2;
        config.checkpoint_bytes = 64 << 10;
        config.log_bytes_max = 1 << 20;
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        let mut keys = 0_u32;
        let is_first = |file: &FileMeta| file.name.as_str() == "log-0000000001";
        // Until two were made and the log before them retired.
        while keys == 0 || db.stats().unwrap().files.iter().any(is_first) {
            db.commit(put(&format!("{:02}", keys % 50), &[7; 3000])).unwrap();
            keys += 1;
        }
        let last = db.stats().unwrap().last_lsn;
        drop(db);
        let db = open(disk, 2);
        assert_eq!(db.recovery_report().end_lsn, last);
        assert!(db.recovery_report().checkpoint_lsn > 0);
    }
    on_each_disk!(on);
}

#[test]
fn commits_wait_while_the_log_is_at_its_longest_and_a_checkpoint_is_made() {
    const LOG_MAX: u64 = 1 << 20;
    let mut config = config(1);
    config.threads = 2;
    config.segment_bytes = 64 << 10;
    config.log_bytes_max = LOG_MAX;
    // None but the one that is asked for.
    config.checkpoint_bytes = 1 << 40;
    let storage = FaultStorage::new(MemStorage::new());
    let db = Database::open(storage, config).unwrap();
    db.commit(put("first", b"x")).unwrap();
    let log_bytes = || db.stats().unwrap().log_bytes;
    let (go_on, wait) = channel();
    std::thread::scope(|scope| {
        let (begun, is_begun) = channel();
        let made = scope.spawn({
            let db = &db;
            move || {
                db.checkpoint(&mut |_| {
                    begun.send(()).unwrap();
                    wait.recv().unwrap();
                    ControlFlow::Continue(())
                })
            }
        });
        is_begun.recv().unwrap();
        let before = log_bytes();
        let writer = scope.spawn({
            let db = &db;
            move || {
                (0..100).for_each(|key| drop(db.commit(put(&format!("{key}"), &vec![1; 60_000]))));
            }
        });
        while log_bytes() < before + LOG_MAX {
            std::thread::yield_now();
        }
        // As many as may be in flight have begun; 100 would take six times as much.
        let longest = log_bytes();
        assert!(longest <= before + LOG_MAX + (128 << 10), "{longest} after {before}");
        go_on.send(()).unwrap();
        assert!(made.join().unwrap().unwrap().files_written > 0);
        writer.join().unwrap();
    });
    assert!(db.get("kv", b"99").unwrap().is_some());
}

#[test]
fn closing_makes_a_checkpoint_where_that_is_asked_for() {
    for on_close in [false, true] {
        let disk = SimDisk::new();
        let mut config = config(1);
        config.checkpoint_on_close = on_close;
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        let last = db.commit(put("k", b"v")).unwrap().last_lsn;
        db.close().unwrap();
        let db = open(&disk, 2);
        let checkpoint = if on_close { last } else { 0 };
        assert_eq!(db.recovery_report().checkpoint_lsn, checkpoint);
        assert_eq!(db.get("kv", b"k").unwrap().as_deref(), Some(&b"v"[..]));
    }
}

#[test]
fn what_a_checkpoint_wrote_is_read_back_before_it_is_published() {
    for reads_back in [false, true] {
        let mut config = config(1);
        config.checkpoint_readback = reads_back;
        let db = Database::open(FaultStorage::new(MemStorage::new()), config).unwrap();
        db.commit(put("k", b"v")).unwrap();
        let faults = db.storage().faults();
        faults.add(Rule::forever(Calls::Op(Op::View), 1, Action::Eio));
        let made = db.checkpoint(&mut |_| ControlFlow::Continue(()));
        assert_eq!(made.is_err(), reads_back, "{made:?}");
        if reads_back {
            assert!(matches!(made, Err(CheckpointError::ReadBack(OpenError::Storage(_)))));
        }
        faults.clear();
        let published = u64::from(!reads_back) * 2;
        assert_eq!(db.stats().unwrap().checkpoint_lsn, published);
        checkpoint(&db);
        assert_eq!(db.stats().unwrap().checkpoint_lsn, 2);
    }
}

#[test]
fn a_compacted_database_holds_one_checkpoint_and_nothing_else() {
    fn on(disk: &impl Disk) {
        let contents = example(disk);
        let db = open(disk, 2);
        let report = compact(&db).unwrap();
        assert!(report.bytes_after < report.bytes_before && report.files_removed > 2, "{report:?}");
        assert_eq!(shown(&db, 200), contents);
        assert!(db.verify().unwrap().faults.is_empty());
        let again = compact(&db).unwrap();
        assert_eq!((again.files_removed, again.bytes_after), (0, again.bytes_before));
        let mut more = contents.clone();
        db.commit(change(&mut more, 1)).unwrap();
        drop(db);
        assert_eq!(shown(&open(disk, 3), 200), more);
    }
    on_each_disk!(on);
}

#[test]
fn compacting_a_damaged_checkpoint_removes_nothing() {
    let db = Database::open(FaultStorage::new(MemStorage::new()), config(1)).unwrap();
    db.commit(put("k", b"v")).unwrap();
    checkpoint(&db);
    db.commit(put("k", b"w")).unwrap();
    checkpoint(&db);
    let before = db.storage().list().unwrap();
    // The tables are to be one.
    db.storage().faults().add(Rule::forever(Calls::Op(Op::View), 1, Action::Eio));
    assert!(matches!(compact(&db), Err(CheckpointError::Storage(_))));
    db.storage().faults().clear();
    // But for the log, which goes on in a new segment.
    let is_log = |meta: &FileMeta| meta.name.as_str().starts_with("log-");
    let mut after = db.storage().list().unwrap();
    after.retain(|meta| !is_log(meta) || before.contains(meta));
    assert_eq!(after, before);
    assert_eq!(db.get("kv", b"k").unwrap().as_deref(), Some(&b"w"[..]));

    compact(&db).unwrap();
    for _ in 0..2 {
        let mut batch = WriteBatch::new();
        batch.put("another", b"k", b"x");
        batch.drop_keyspace("another");
        db.commit(batch).unwrap();
        checkpoint(&db);
    }
    let before = db.storage().list().unwrap();
    // Nothing is to be merged: the first view is of the root.
    db.storage().faults().add(Rule::forever(Calls::Op(Op::View), 2, Action::Eio));
    assert!(matches!(compact(&db), Err(CheckpointError::ReadBack(_))));
    db.storage().faults().clear();
    assert_eq!(db.storage().list().unwrap(), before);
}

#[test]
fn what_did_not_change_is_not_written_again() {
    let mut config = config(1);
    config.compression = Compression::None;
    let db = Database::open(MemStorage::new(), config).unwrap();
    db.create_collection("c", params(Metric::L2)).unwrap();
    let mut large = WriteBatch::new();
    for id in 0..2000 {
        large.insert("c", id, &vector(id));
        large.put("large", format!("{id}").as_bytes(), &[1; 1000]);
    }
    db.commit(large).unwrap();
    let all = checkpoint(&db).bytes_written;
    let nothing = checkpoint(&db);
    assert_eq!((nothing.files_written, nothing.bytes_written), (0, 0));
    db.commit(put("small", b"x")).unwrap();
    let little = checkpoint(&db).bytes_written;
    // A table of six blocks, the manifest.
    assert!(little < 40 << 10 && little * 40 < all, "{little} of {all}");
}

#[test]
fn a_database_in_memory_touches_no_file_until_it_is_exported() {
    let mut config = config(1);
    config.durability = Durability::InMemory;
    let db = Database::open(FaultStorage::new(MemStorage::new()), config.clone()).unwrap();
    db.storage().faults().add(Rule::forever(Calls::Writes, 1, Action::Eio));
    db.create_collection("c", params(Metric::L2)).unwrap();
    let mut contents = Contents::default();
    for round in 0..10 {
        db.commit(change(&mut contents, round)).unwrap();
        let indexed = checkpoint(&db);
        assert_eq!((indexed.files_written, indexed.lsn), (0, db.stats().unwrap().last_lsn));
        assert_eq!(shown(&db, 200), contents);
    }
    assert!(matches!(db.flush(), Err(CommitError::InMemory)));
    for durability in [Durability::Strict, Durability::Buffered] {
        let refused = db.commit_with(put("k", b"v"), durability);
        assert!(matches!(refused, Err(CommitError::InMemory)));
    }
    assert!(db.storage().list().unwrap().is_empty());
    let copy = MemStorage::new();
    let report = db.backup(&copy).unwrap();
    assert_eq!(report.lsn, db.stats().unwrap().last_lsn);
    db.commit(change(&mut contents.clone(), 50)).unwrap();
    db.close().unwrap();
    let restored = MemStorage::new();
    restore(&copy, &restored).unwrap();
    let refused = Database::open(copy, config).expect_err("is a database");
    assert!(matches!(refused, OpenError::InMemory));
    let db = Database::open(restored, crate::contents::config(2)).unwrap();
    assert_eq!(shown(&db, 200), contents);
    db.commit(change(&mut contents, 60)).unwrap();
    assert_eq!(shown(&db, 200), contents);
    let refused = db.commit_with(put("k", b"v"), Durability::InMemory);
    assert!(matches!(refused, Err(CommitError::InMemory)));
}

#[test]
fn a_checkpoint_that_was_due_and_failed_is_told_and_tried_again() {
    let clock = Arc::new(HandClock::default());
    let mut config = config(1);
    config.clock = Arc::<HandClock>::clone(&clock);
    config.checkpoint_bytes = 64 << 10;
    let db = Database::open(FaultStorage::new(MemStorage::new()), config).unwrap();
    for key in 0..9 {
        db.commit(put(&format!("{key}"), &[1; 9000])).unwrap();
    }
    let seal = Calls::Op(Op::Seal);
    db.storage().faults().add(Rule::once(seal, 1, Action::Eio));
    db.tend().unwrap();
    let failure = db.stats().unwrap().checkpoint_failure;
    assert!(failure.is_some_and(|failure| failure.contains("cannot")), "it is told");
    db.tend().unwrap();
    assert_eq!(db.stats().unwrap().checkpoint_lsn, 0, "not at once");
    clock.set(10_000);
    db.tend().unwrap();
    let stats = db.stats().unwrap();
    assert!(stats.checkpoint_lsn > 0 && stats.checkpoint_failure.is_none());
}

/// A clock that stands still and counts who looks at it.
#[derive(Debug, Default)]
struct CountingClock(HandClock, AtomicU64);

impl Clock for CountingClock {
    fn now(&self) -> Duration {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.now()
    }
}

#[test]
fn an_idle_database_has_nothing_to_do() {
    type Work = fn(&Database<MemStorage>);
    let works: [(&str, Work); 4] = [
        ("a buffered commit", |db| {
            db.commit_with(put("k", b"v"), Durability::Buffered).map(drop).unwrap();
        }),
        ("a buffered commit and a strict one", |db| {
            db.commit_with(put("k", b"v"), Durability::Buffered).unwrap();
            db.commit(put("k", b"w")).map(drop).unwrap();
        }),
        ("a buffered commit and a checkpoint", |db| {
            db.commit_with(put("k", b"v"), Durability::Buffered).unwrap();
            checkpoint(db);
        }),
        ("a batch that changes nothing", |db| {
            let mut nothing = WriteBatch::new();
            nothing.delete("kv", b"not there");
            db.commit(nothing).map(drop).unwrap();
        }),
    ];
    for (name, work) in works {
        let clock = Arc::new(CountingClock::default());
        let mut config = config(1);
        config.threads = 2;
        config.clock = Arc::<CountingClock>::clone(&clock);
        let db = Database::open(MemStorage::new(), config).unwrap();
        work(&db);
        let looks = || clock.1.load(Ordering::Relaxed);
        // One thing after the other becomes due, a year passes, and all of it is done.
        for at in [60, 200, 60_000, 31_536_000_000] {
            clock.0.set(at);
            for _ in 0..50 {
                db.tend().unwrap();
            }
        }
        let before = looks();
        for _ in 0..1000 {
            std::thread::yield_now();
            db.get("kv", b"k").unwrap();
        }
        let busy = looks() - before;
        assert!(busy < 200, "{name}: {busy} looks at the clock while nothing is due");
    }
}

#[test]
fn a_log_that_must_stay_short_has_short_segments() {
    let mut config = config(1);
    config.segment_bytes = 1 << 30;
    config.log_bytes_max = 8 << 20;
    let db = Database::open(MemStorage::new(), config).unwrap();
    for key in 0..200 {
        db.commit(put(&format!("{key}"), &vec![1; 20_000])).unwrap();
        db.tend().unwrap();
    }
    let stats = db.stats().unwrap();
    let longest = stats.files.iter().filter(|file| file.name.as_str().starts_with("log-"));
    assert_eq!(longest.map(|file| file.len_bytes).max(), Some(1 << 20));
    assert!(stats.checkpoints.nanos.count <= 3, "{:?}", stats.checkpoints);
}
