//! Checkpoints that write what has changed in a graph: little, and the same graph when it is
//! opened again.

use crate::contents::{checkpoint, compact, open, vector};
use crate::damage::edit;
use crate::disk::{Disk, on_each_disk};
use crate::live::image_in;
use crate::scrub::flip;
use gannet::storage::{ErrorKind, FileName, Storage};
use gannet::{CheckpointReport, Database, Fault, Metric, Params, ScrubOptions, WriteBatch};
use gannet_testkit::sim::{SimDisk, SimStorage};
use std::ops::{ControlFlow, Range};

const ROWS: u64 = 3000;

fn many<D: Disk>(disk: &D) -> Database<D::Storage> {
    let db = open(disk, 1);
    let params = Params { m: 4, ef_construction: 16, ..Params::new(5, Metric::L2) };
    db.create_collection("c", params).unwrap();
    insert(&db, 0..ROWS);
    checkpoint(&db);
    db
}

fn insert<S: Storage>(db: &Database<S>, ids: Range<u64>) {
    let mut batch = WriteBatch::new();
    batch.set_bulk(true);
    for id in ids {
        batch.insert("c", id, &vector(id));
    }
    db.commit(batch).unwrap();
}

fn delete<S: Storage>(db: &Database<S>, ids: Range<u64>) {
    let mut batch = WriteBatch::new();
    for id in ids {
        batch.delete_row("c", id);
    }
    db.commit(batch).unwrap();
}

/// Names and lengths of the files of one kind.
fn files<S: Storage>(db: &Database<S>, kind: &str) -> Vec<(FileName, u64)> {
    let files = db.storage().list().unwrap().into_iter().map(|meta| (meta.name, meta.len_bytes));
    files.filter(|(name, _)| name.as_str().starts_with(kind)).collect()
}

/// The image of the graph that a database comes to: written whole, on a copy of its disk.
fn graph_of(disk: &SimDisk) -> Vec<u8> {
    let copy = disk.snapshot();
    let db = open(&copy, 9);
    assert_eq!(db.recovery_report().index_actions, []);
    image_of(&db)
}

/// The image of the graph of a database, which is written whole for it.
fn image_of(db: &Database<SimStorage>) -> Vec<u8> {
    compact(db).unwrap();
    let (graphs, patches) = (files(db, "graph"), files(db, "patch"));
    assert_eq!((graphs.len(), patches.len()), (1, 0));
    image_in(&db.storage().open_sealed(&graphs[0].0).unwrap())
}

#[test]
fn a_checkpoint_after_few_changes_writes_little_and_the_graph_is_there_again() {
    fn on(disk: &impl Disk) {
        let db = many(disk);
        let (_, whole) = files(&db, "graph")[0];
        insert(&db, ROWS..ROWS + 3);
        delete(&db, 10..12);
        let CheckpointReport { bytes_written, .. } = checkpoint(&db);
        let (graphs, patches) = (files(&db, "graph"), files(&db, "patch"));
        assert_eq!((graphs.len(), patches.len()), (1, 1));
        assert!(patches[0].1 * 8 < whole, "{patches:?} {whole}");
        assert!(bytes_written * 3 < whole, "{bytes_written} {whole}");
        drop(db);
        let db = open(disk, 2);
        assert_eq!(db.recovery_report().index_actions, []);
        let found = db.collection("c").unwrap();
        assert_eq!((found.rows, found.in_graph), (ROWS + 1, ROWS + 1));
        assert!(db.verify().unwrap().faults.is_empty());
        compact(&db).unwrap();
        assert_eq!((files(&db, "graph").len(), files(&db, "patch").len()), (1, 0));
        let again = compact(&db).unwrap();
        assert_eq!(again.files_removed, 0);
    }
    on_each_disk!(on);
}

/// Patches one upon another, in the end the whole again; each state is opened beside it.
#[test]
fn patches_add_up_to_the_graph_until_they_are_a_quarter_of_it() {
    let mut disk = SimDisk::new();
    let mut db = many(&disk);
    let (mut most, mut folds, mut next) = (0, 0, ROWS);
    for round in 0..40 {
        let before = files(&db, "patch").len();
        insert(&db, next..next + 5);
        delete(&db, round * 7..round * 7 + 2);
        next += 5;
        checkpoint(&db);
        let patches = files(&db, "patch");
        folds += u32::from(files(&db, "graph").len() == 2 && before > 0 && patches.len() == before);
        most = most.max(patches.len());
        if round % 8 == 7 {
            // One goes on in memory, the other is read.
            let read = disk.snapshot();
            let is = image_of(&db);
            assert!(graph_of(&read) == is, "round {round}");
            drop(db);
            disk = read;
            db = open(&disk, round);
        }
    }
    assert!(most > 3 && folds > 0, "{most} {folds}");
}

/// What a checkpoint that fails would have said of a graph is said by the next one.
#[test]
fn a_checkpoint_that_fails_leaves_what_has_changed_to_the_next() {
    let mut failed = 0;
    for nth in (1..30).step_by(2) {
        let disk = SimDisk::new();
        let db = many(&disk);
        insert(&db, ROWS..ROWS + 3);
        db.flush().unwrap();
        disk.fail_nth(nth, ErrorKind::NoSpace, true);
        let made = db.checkpoint(&mut |_| ControlFlow::Continue(()));
        disk.fail_nth(u64::MAX, ErrorKind::NoSpace, false);
        if made.is_err() {
            failed += 1;
        }
        drop(db);
        let db = open(&disk, 3);
        insert(&db, ROWS + 3..ROWS + 5);
        checkpoint(&db);
        let read = disk.snapshot();
        assert!(graph_of(&read) == image_of(&db), "call {nth}");
    }
    assert!(failed > 3, "{failed}");
}

#[test]
fn a_bad_patch_has_its_graph_built_again() {
    fn on(disk: &impl Disk) {
        let db = many(disk);
        insert(&db, ROWS..ROWS + 3);
        checkpoint(&db);
        let name = files(&db, "patch")[0].0.clone();
        drop(db);
        edit(&disk.open().unwrap(), &name, 4096, |block| block[200] ^= 1);
        let db = open(disk, 2);
        let action = &db.recovery_report().index_actions[0];
        assert!(action.to_string().contains(name.as_str()), "{action}");
        assert_eq!(db.collection("c").unwrap().in_graph, ROWS + 3);
        checkpoint(&db);
        checkpoint(&db);
        drop(db);
        assert_eq!(open(disk, 3).recovery_report().index_actions, []);
    }
    on_each_disk!(on);
}

#[test]
fn a_patch_that_was_damaged_since_it_was_opened_is_named() {
    let disk = SimDisk::new();
    let db = many(&disk);
    insert(&db, ROWS..ROWS + 3);
    checkpoint(&db);
    let (name, len) = files(&db, "patch")[0].clone();
    assert!(len > 2 * 4096, "{len}");
    let go_on = &mut |_| ControlFlow::Continue(());
    for at in [20, 4096] {
        flip(db.storage(), &name, at);
        let report = db.scrub(&ScrubOptions::default(), go_on).unwrap();
        let [Fault::Corrupt(fault)] = &report.faults[..] else {
            panic!("byte {at}: {report:?}");
        };
        assert_eq!(fault.file, name.as_str());
        flip(db.storage(), &name, at);
    }
}
