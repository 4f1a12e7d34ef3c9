//! Checkpoints that leave out dead rows: space comes back, and nothing else changes, whatever is
//! committed meanwhile and whichever checkpoint a database is opened from.

use crate::contents::{Contents, apart_from_log, checkpoint, compact, open, params, shown, vector};
use crate::damage::edit;
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{ErrorKind, FileName, Storage};
use gannet::{CheckpointError, Database, Id, Metric, Phase, WriteBatch};
use gannet_testkit::sim::SimDisk;
use std::ops::ControlFlow;

const IDS: u64 = 2000;

/// 1,200 rows with a checkpoint, of which a tenth is left, and some are of other vectors.
fn mostly_dead<D: Disk>(disk: &D) -> (Database<D::Storage>, Contents) {
    let db = open(disk, 1);
    db.create_collection("c", params(Metric::L2)).unwrap();
    let mut contents = Contents::default();
    let mut batch = WriteBatch::new();
    batch.set_bulk(true);
    (0..1200).for_each(|id| contents.upsert(&mut batch, id, vector(id)));
    db.commit(batch).unwrap();
    checkpoint(&db);
    let mut batch = WriteBatch::new();
    batch.set_bulk(true);
    (0..1200).filter(|id| id % 10 > 0).for_each(|id| contents.delete_row(&mut batch, id));
    (0..1200).step_by(40).for_each(|id| contents.upsert(&mut batch, id, vector(id + 7)));
    db.commit(batch).unwrap();
    (db, contents)
}

/// The files of rows, of dead ones and of graphs.
fn files<S: Storage>(db: &Database<S>) -> Vec<(FileName, u64)> {
    let files = db.storage().list().unwrap().into_iter().map(|meta| (meta.name, meta.len_bytes));
    let is_one = |name: &str| ["rows", "dead", "graph"].iter().any(|kind| name.starts_with(kind));
    files.filter(|(name, _)| is_one(name.as_str())).collect()
}

/// Length of the newest file of rows.
fn rows_len<S: Storage>(db: &Database<S>) -> u64 {
    let files = files(db);
    files.iter().rfind(|(name, _)| name.as_str().starts_with("rows")).map_or(0, |(_, len)| *len)
}

fn dead<S: Storage>(db: &Database<S>) -> (u64, u64) {
    let found = db.collection("c").unwrap();
    (found.rows, found.dead)
}

#[test]
fn rows_that_are_dead_give_back_their_space() {
    fn on(disk: &impl Disk) {
        let (db, mut contents) = mostly_dead(disk);
        let memory = || db.collection("c").unwrap().memory.total();
        let (before, memory_before) = (rows_len(&db), memory());
        assert_eq!(dead(&db), (120, 1110));
        checkpoint(&db);
        assert_eq!(dead(&db), (120, 0));
        assert!(memory().heap + memory().mapped < memory_before.heap / 3, "{:?}", memory());
        assert_eq!(shown(&db, IDS), contents);
        // The log calls rows what it always did.
        let mut batch = WriteBatch::new();
        contents.delete_row(&mut batch, 40);
        contents.delete_row(&mut batch, 1190);
        contents.upsert(&mut batch, 30, vector(31));
        contents.upsert(&mut batch, 1500, vector(1500));
        db.commit(batch).unwrap();
        assert_eq!(shown(&db, IDS), contents);
        assert!(rows_len(&db) < before / 3);
        drop(db);
        let db = open(disk, 2);
        assert!(db.recovery_report().index_actions.is_empty());
        assert_eq!(dead(&db), (119, 3));
        assert_eq!(shown(&db, IDS), contents);
        assert_eq!(db.collection("c").unwrap().next_id, 1501);
        compact(&db).unwrap();
        assert_eq!(dead(&db), (119, 0));
        assert!(db.verify().unwrap().faults.is_empty());
        drop(db);
        assert_eq!(shown(&open(disk, 3), IDS), contents);
    }
    on_each_disk!(on);
}

/// Little is dead: it is not worth writing all else anew, until somebody asks.
#[test]
fn few_dead_rows_wait_until_all_are_asked_for() {
    let disk = SimDisk::new();
    let (db, mut contents) = mostly_dead(&disk);
    checkpoint(&db);
    let mut batch = WriteBatch::new();
    (0..500).step_by(10).for_each(|id| contents.delete_row(&mut batch, id));
    db.commit(batch).unwrap();
    checkpoint(&db);
    assert_eq!(dead(&db), (70, 50));
    let report = compact(&db).unwrap();
    assert_eq!(dead(&db), (70, 0));
    assert!(report.bytes_after < report.bytes_before);
    let again = compact(&db).unwrap();
    assert_eq!((again.files_removed, again.bytes_after), (0, again.bytes_before));
    assert_eq!(shown(&db, IDS), contents);
}

/// Commits of all kinds between the moment that a checkpoint is of and its end.
#[test]
fn what_is_committed_while_rows_are_merged_is_there() {
    fn on(disk: &impl Disk) {
        let (db, mut contents) = mostly_dead(disk);
        let mut times = 0;
        db.checkpoint(&mut |progress| {
            if progress.phase == Phase::Write && times == 0 {
                times += 1;
                let mut batch = WriteBatch::new();
                // Kept rows go, or are replaced; a dead id comes again; new ones come, and go.
                contents.delete_row(&mut batch, 50);
                contents.upsert(&mut batch, 60, vector(61));
                contents.upsert(&mut batch, 61, vector(62));
                contents.upsert(&mut batch, 1700, vector(1700));
                contents.upsert(&mut batch, 1701, vector(1701));
                contents.delete_row(&mut batch, 1700);
                db.commit(batch).unwrap();
                let mut batch = WriteBatch::new();
                contents.upsert(&mut batch, 50, vector(51));
                contents.delete_row(&mut batch, 70);
                db.commit(batch).unwrap();
                assert_eq!(shown(&db, IDS), contents);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(times, 1);
        assert_eq!(dead(&db), (121, 4));
        assert_eq!(shown(&db, IDS), contents);
        drop(db);
        let db = open(disk, 2);
        assert_eq!(dead(&db), (121, 4));
        assert_eq!(shown(&db, IDS), contents);
        checkpoint(&db);
        assert_eq!(shown(&db, IDS), contents);
    }
    on_each_disk!(on);
}

/// A checkpoint that finds no room for all rows a second time is made without that, if it can be.
#[test]
fn a_full_disk_has_dead_rows_wait() {
    let (mut merged, mut waiting, mut refused) = (0, 0, 0);
    for nth in 1.. {
        let disk = SimDisk::new();
        let (db, contents) = mostly_dead(&disk);
        db.tend().unwrap();
        disk.fail_nth(nth, ErrorKind::NoSpace, false);
        let made = db.checkpoint(&mut |_| ControlFlow::Continue(()));
        match (made, dead(&db).1) {
            (Ok(_), 0) => merged += 1,
            (Ok(_), 1110) => waiting += 1,
            // The log itself could not be written.
            (Err(CheckpointError::Storage(_) | CheckpointError::Poisoned), 1110) => refused += 1,
            other => panic!("call {nth}: {other:?}"),
        }
        assert_eq!(shown(&db, IDS), contents, "call {nth}");
        drop(db);
        let db = open(&disk, 2);
        assert_eq!(shown(&db, IDS), contents, "call {nth}");
        checkpoint(&db);
        assert_eq!(dead(&db).1, 0, "call {nth}");
        assert!(db.verify().unwrap().faults.is_empty(), "call {nth}");
        // Those of two checkpoints, and no more.
        assert!(files(&db).len() <= 6, "call {nth}: {:?}", files(&db));
        if merged == 3 {
            break;
        }
    }
    assert!(waiting > 2, "{merged} {waiting} {refused}");
}

/// All rows may go, and ids and numbers go on behind them.
#[test]
fn a_collection_of_which_nothing_is_left_goes_on() {
    let disk = SimDisk::new();
    let (db, mut contents) = mostly_dead(&disk);
    let mut batch = WriteBatch::new();
    (0..1200).step_by(10).for_each(|id| contents.delete_row(&mut batch, id));
    db.commit(batch).unwrap();
    compact(&db).unwrap();
    assert_eq!(files(&db), []);
    drop(db);
    for seed in 2..5 {
        let db = open(&disk, seed);
        assert_eq!(shown(&db, IDS), contents);
        let mut batch = WriteBatch::new();
        contents.upsert(&mut batch, 3, vector(seed));
        contents.upsert(&mut batch, 1200 + seed, vector(seed));
        db.commit(batch).unwrap();
        assert_eq!(shown(&db, IDS), contents);
        if seed == 3 {
            compact(&db).unwrap();
        }
    }
}

/// The checkpoint before the merge leads to the same contents, by way of the log.
#[test]
fn a_merged_checkpoint_that_is_damaged_gives_way_to_the_one_before() {
    let disk = SimDisk::new();
    let (db, mut contents) = mostly_dead(&disk);
    checkpoint(&db);
    let mut batch = WriteBatch::new();
    contents.delete_row(&mut batch, 100);
    contents.upsert(&mut batch, 110, vector(9));
    contents.upsert(&mut batch, 1300, vector(1300));
    db.commit(batch).unwrap();
    drop(db);
    let files = apart_from_log(&disk);
    let newest = files.keys().rfind(|name| name.starts_with("manifest")).unwrap();
    let newest = FileName::new(newest).unwrap();
    edit(&disk.open().unwrap(), &newest, 20, |block| block[20] ^= 1);
    let db = open(&disk, 2);
    assert_eq!(db.recovery_report().fallbacks.len(), 1);
    assert_eq!(shown(&db, IDS), contents);
    checkpoint(&db);
    assert_eq!(dead(&db), (120, 0));
    assert_eq!(shown(&db, IDS), contents);
    assert_eq!(db.get_vector("c", &Id::Int(100)).unwrap(), None);
}
