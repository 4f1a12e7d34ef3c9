//! Scrubbing and verification beside everything else.

use crate::contents::{checkpoint, config, example, open, params};
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{
    BLOCK_SIZE, Durability, FileName, MemStorage, Op, ReadFile, Storage, Write, WriteFile,
};
use gannet::{
    Clock, Compression, Database, Fault, Metric, ScrubOptions, ScrubProgress, WriteBatch,
};
use gannet_testkit::fault::{Action, Calls, FaultStorage, Faults, Rule};
use gannet_testkit::sim::{SimDisk, Tampered};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn go_on(_: ScrubProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn put<S: Storage>(db: &Database<S>, key: u64) {
    let mut batch = WriteBatch::new();
    batch.put("kv", &key.to_le_bytes(), &[7; 500]);
    db.commit(batch).unwrap();
}

fn at_full_speed() -> ScrubOptions {
    ScrubOptions::default()
}

#[test]
fn a_healthy_database_is_read_whole_and_has_no_fault_on_every_backend() {
    fn on(disk: &impl Disk) {
        example(disk);
        for is_just_opened in [true, false] {
            let db = open(disk, 3);
            if !is_just_opened {
                put(&db, 1);
                checkpoint(&db);
                put(&db, 2);
            }
            let mut last = ScrubProgress::default();
            let each = &mut |progress| {
                last = progress;
                ControlFlow::Continue(())
            };
            let report = db.scrub(&at_full_speed(), each).unwrap();
            assert!(report.faults.is_empty() && report.is_complete, "{report:?}");
            // Both manifests, tables, two rows files and what else both checkpoints name.
            assert!(report.files >= 9, "{report:?}");
            assert!(last.bytes <= last.total_bytes && report.bytes == last.bytes, "{last:?}");
            put(&db, 9);
            db.close().unwrap();
        }
    }
    on_each_disk!(on);
}

#[test]
fn a_new_database_has_nothing_to_read() {
    let db = Database::open(MemStorage::new(), config(1)).unwrap();
    let report = db.scrub(&at_full_speed(), &mut go_on).unwrap();
    assert!(report.is_complete && report.faults.is_empty() && report.bytes == 0, "{report:?}");
}

/// Flips a byte behind the back of an open database.
pub(crate) fn flip(storage: &impl Storage, name: &FileName, at: u64) {
    let file = storage.open(name).unwrap();
    let mut block = storage.alloc(BLOCK_SIZE);
    let start = at / BLOCK_SIZE as u64 * BLOCK_SIZE as u64;
    file.read_at(start, &mut block).unwrap();
    block[usize::try_from(at - start).unwrap()] ^= 4;
    file.write_batch(&[Write { offset: start, bytes: &block }], Durability::Data).unwrap();
}

#[test]
fn every_file_that_was_damaged_since_it_was_opened_is_named() {
    let kinds = ["manifest-", "rows-", "dead-", "graph-", "table-", "log-"];
    for kind in kinds {
        for at in [20, 4096] {
            let disk = SimDisk::new();
            example(&disk);
            let db = open(&disk, 3);
            put(&db, 1);
            let listed = db.storage().list().unwrap();
            let name = &listed.iter().find(|m| m.name.as_str().starts_with(kind)).unwrap().name;
            // Bytes that are there in every example.
            disk.flip(&Tampered { file: name.clone(), offset: at });
            let report = db.scrub(&at_full_speed(), &mut go_on).unwrap();
            let [Fault::Corrupt(fault)] = &report.faults[..] else {
                panic!("{name} byte {at}: {report:?}");
            };
            assert_eq!(fault.file, name.as_str());
            assert!(report.is_complete);
            put(&db, 2);
        }
    }
}

#[test]
fn a_lost_file_is_a_fault_and_one_that_cannot_be_read_too() {
    let disk = SimDisk::new();
    example(&disk);
    let db = open(&disk, 3);
    put(&db, 1);
    // A table could not be removed: it is open.
    let rows = db.storage().list().unwrap().into_iter().map(|meta| meta.name);
    let rows = rows.filter(|name| name.as_str().starts_with("rows-")).max().unwrap();
    db.storage().remove(&rows).unwrap();
    let report = db.scrub(&at_full_speed(), &mut go_on).unwrap();
    assert_eq!(report.faults.len(), 1, "{report:?}");
    assert!(report.faults[0].to_string().contains(rows.as_str()), "{report:?}");

    let disk = SimDisk::new();
    example(&disk);
    let faults = Faults::default();
    let storage = FaultStorage::over(Arc::new(disk.open().unwrap()), faults.clone());
    let db = Database::open(storage, config(3)).unwrap();
    put(&db, 1);
    faults.add(Rule::once(Calls::Op(Op::View), 9, Action::Eio));
    let report = db.scrub(&at_full_speed(), &mut go_on).unwrap();
    assert!(matches!(report.faults[..], [Fault::Unreadable(_)]), "{report:?}");
    // Nothing is poisoned by it, and nothing is left of it.
    put(&db, 2);
    assert!(db.scrub(&at_full_speed(), &mut go_on).unwrap().faults.is_empty());
}

#[test]
fn commits_and_checkpoints_go_on_beside_a_scrub() {
    fn on(disk: &impl Disk) {
        example(disk);
        let db = open(disk, 3);
        // With and without checkpoints that take files away while they are read.
        for checkpoints in [0, 2, 6] {
            let mut calls = 0;
            let each = &mut |_| {
                calls += 1;
                put(&db, calls);
                if calls <= checkpoints {
                    checkpoint(&db);
                }
                ControlFlow::Continue(())
            };
            let report = db.scrub(&at_full_speed(), each).unwrap();
            assert!(report.faults.is_empty() && report.is_complete, "{report:?}");
            assert!(calls > 6, "{calls}");
            assert!(db.get("kv", &calls.to_le_bytes()).unwrap().is_some());
        }
        db.close().unwrap();
        let db = open(disk, 4);
        assert!(db.verify().unwrap().faults.is_empty());
    }
    on_each_disk!(on);
}

/// Time goes by when somebody waits, and is counted.
#[derive(Debug, Default)]
struct WaitingClock {
    nanos: AtomicU64,
    waits: AtomicU64,
}

impl Clock for WaitingClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn wait(&self, time: Duration) {
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::Relaxed);
        self.waits.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_scrub_is_as_slow_as_it_was_asked_to_be() {
    for (bytes_per_s, is_slow) in [(0, false), (1 << 40, false), (100_000, true), (7_000, true)] {
        let clock = Arc::new(WaitingClock::default());
        let mut config = config(1);
        config.clock = clock.clone();
        config.compression = Compression::None;
        let db = Database::open(MemStorage::new(), config).unwrap();
        db.create_collection("c", params(Metric::L2)).unwrap();
        for round in 0..3 {
            (0..200).for_each(|key| put(&db, 1000 * round + key));
            if round < 2 {
                checkpoint(&db);
            }
        }
        let mut options = ScrubOptions::default();
        options.bytes_per_s = bytes_per_s;
        let begun = clock.now();
        let report = db.scrub(&options, &mut go_on).unwrap();
        let took = clock.now().saturating_sub(begun).as_secs_f64();
        assert!(report.bytes > 300_000, "{report:?}");
        if is_slow {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let expected = report.bytes as f64 / bytes_per_s as f64;
            assert!((took - expected).abs() < 0.001, "{took} s, not {expected}");
            // It can be ended while it waits.
            assert!(clock.waits.load(Ordering::Relaxed) > 10);
        } else {
            assert!(took < 0.001, "{took}");
        }
    }
}

#[test]
fn a_scrub_ends_when_it_is_told_to() {
    let disk = SimDisk::new();
    example(&disk);
    let db = open(&disk, 3);
    put(&db, 1);
    let mut all = 0;
    let count = &mut |_| {
        all += 1;
        ControlFlow::Continue(())
    };
    db.scrub(&at_full_speed(), count).unwrap();
    for last in 1..=all {
        let mut calls = 0;
        let each = &mut |_| {
            calls += 1;
            if calls == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let report = db.scrub(&at_full_speed(), each).unwrap();
        assert_eq!((calls, report.is_complete, report.faults.len()), (last, false, 0));
    }
}

#[test]
fn a_poisoned_database_is_scrubbed_but_for_its_log() {
    let faults = Faults::default();
    let storage = FaultStorage::over(Arc::new(MemStorage::new()), faults.clone());
    let db = Database::open(storage, config(1)).unwrap();
    put(&db, 1);
    checkpoint(&db);
    faults.add(Rule::once(Calls::Op(Op::Sync), 1, Action::Eio));
    let mut batch = WriteBatch::new();
    batch.put("kv", b"lost", b"");
    assert!(db.commit(batch).is_err());
    let report = db.scrub(&at_full_speed(), &mut go_on).unwrap();
    assert!(report.faults.is_empty() && report.files == 2, "{report:?}");
}

#[test]
fn files_that_somebody_reads_are_no_fault_for_verification() {
    fn on(disk: &impl Disk) {
        example(disk);
        let db = open(disk, 3);
        put(&db, 1);
        checkpoint(&db);
        put(&db, 2);
        // What a backup holds while it copies: any closed file.
        assert!(db.verify().unwrap().faults.is_empty());
        let listed = db.storage().list().unwrap();
        let held: Vec<_> = listed.iter().map(|m| db.storage().open_sealed(&m.name)).collect();
        let report = db.verify().unwrap();
        assert!(report.faults.is_empty() && report.notes.is_empty(), "{report:?}");
        assert!(held.iter().filter(|held| held.is_ok()).count() > 5);
        drop(held);
        put(&db, 3);
        db.close().unwrap();
    }
    on_each_disk!(on);
}
