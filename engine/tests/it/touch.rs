//! Vectors that are verified when they are first wanted, where files are mapped; elsewhere when the
//! database is opened. A damaged one is never part of an answer, nor of a graph.

use crate::contents::{checkpoint, compact, config};
use crate::damage::edit;
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{BLOCK_SIZE, FileName, MemStorage, Storage};
use gannet::{
    CheckpointError, CommitError, Corruption, Damage, Database, Filter, Hit, Id, Metric, OpenError,
    Params, ReadError, SearchError, SearchOptions, WriteBatch, verify_storage,
};
use gannet_testkit::fault::{FaultStorage, Faults};
use rayon::prelude::*;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// 64 rows are a view of 4 MB, of which two are verified as one; the rest is in memory.
const DIMS: u32 = 16_000;
const ROWS: u64 = 70;
const ROW_LEN_BYTES: u64 = 64_000;
/// Vectors are in it from its second block on.
const FILE: &str = "rows-0000000002";

/// Small numbers, so that distances are exact in f32, in whatever order they are summed up.
fn vector(id: u64) -> Vec<f32> {
    let component = |d: u32| {
        let mixed = (id * 2_654_435_761 + u64::from(d) * 40_503) % 31;
        f32::from(u16::try_from(if d == 0 { id % 701 } else { mixed }).unwrap())
    };
    (0..DIMS).map(component).collect()
}

fn insert<S: Storage>(db: &Database<S>, ids: Range<u64>) -> Result<(), CommitError> {
    let mut batch = WriteBatch::new();
    ids.for_each(|id| batch.insert("c", id, &vector(id)));
    db.commit(batch).map(drop)
}

/// Leaves two checkpoints that share a file of rows, so that none makes up for it, and no log.
fn make<S: Storage>(storage: S) {
    let db = Database::open(storage, config(1)).unwrap();
    let params = Params { m: 4, ef_construction: 20, ..Params::new(DIMS, Metric::L2) };
    db.create_collection("c", params).unwrap();
    for first in (0..ROWS).step_by(10) {
        insert(&db, first..first + 10).unwrap();
    }
    for value in [b"1", b"2"] {
        let mut batch = WriteBatch::new();
        batch.put("kv", b"checkpoint", value);
        db.commit(batch).unwrap();
        checkpoint(&db);
    }
    db.close().unwrap();
}

/// Flips a byte of a file.
fn flip(storage: &impl Storage, name: &str, at: u64) {
    let index = usize::try_from(at % BLOCK_SIZE as u64).unwrap();
    edit(storage, &FileName::new(name).unwrap(), at, |block| block[index] ^= 0xff);
}

/// Where a byte of a row is in the file.
fn place(row: u64, at: u64) -> u64 {
    BLOCK_SIZE as u64 + row * ROW_LEN_BYTES + at
}

fn options(ids: impl IntoIterator<Item = u64>) -> SearchOptions {
    let mut options = SearchOptions::new(5);
    options.filter = Some(Filter::ids(ids.into_iter().map(Id::Int)));
    options
}

fn by_hand(query: u64, ids: impl IntoIterator<Item = u64>) -> Vec<Hit> {
    let distance = |id| {
        let both = vector(query).into_iter().zip(vector(id));
        both.map(|(a, b)| (a - b) * (a - b)).sum()
    };
    let mut hits: Vec<Hit> =
        ids.into_iter().map(|id| Hit { id: Id::Int(id), distance: distance(id) }).collect();
    hits.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    hits.truncate(5);
    hits
}

fn check_found<S: Storage>(db: &Database<S>, ids: impl IntoIterator<Item = u64> + Clone) {
    let hits = db.search("c", &vector(7), &options(ids.clone())).unwrap().into_hits();
    assert_eq!(hits, by_hand(7, ids));
}

/// The damage that reading a row meets.
fn met<S: Storage>(db: &Database<S>, row: u64) -> Corruption {
    match db.get_vector("c", &Id::Int(row)) {
        Err(ReadError::Corrupt(damage)) => damage,
        other => panic!("row {row}: {:?}", other.map(|found| found.map(|vector| vector.len()))),
    }
}

fn exact() -> SearchOptions {
    let mut options = SearchOptions::new(5);
    options.exact = true;
    options
}

#[test]
fn a_damaged_vector_is_told_of_when_it_is_wanted_or_at_the_opening() {
    fn on(disk: &impl Disk) {
        make(disk.open().unwrap());
        flip(&disk.open().unwrap(), FILE, place(5, 17));
        let storage = disk.open().unwrap();
        let is_mapped = storage.caps().zero_copy_views;
        let opened = Database::open(storage, config(2));
        let faults = verify_storage(&disk.copy().open().unwrap()).unwrap().faults;
        assert!(faults.iter().any(|fault| fault.to_string().contains(FILE)), "{faults:?}");
        if !is_mapped {
            let Err(OpenError::Corrupt(damage)) = opened else { panic!("{disk:?}: it opened") };
            assert_eq!((&*damage.file, damage.damage), (FILE, Damage::Checksum));
            return;
        }
        let db = opened.unwrap();
        // The unit of 64 KiB that the byte is in.
        let expected = Corruption {
            file: FILE.to_owned(),
            offset: BLOCK_SIZE as u64 + 4 * (64 << 10),
            lsns: None,
            damage: Damage::Checksum,
        };
        for _ in 0..2 {
            for row in (0..ROWS).filter(|row| ![4, 5].contains(row)) {
                assert_eq!(db.get_vector("c", &Id::Int(row)).unwrap(), Some(vector(row)));
            }
            check_found(&db, 10..ROWS);
            for row in [4, 5] {
                assert_eq!(met(&db, row), expected, "it is verified with its neighbour");
            }
            for options in [exact(), options(0..20), options([5, 30])] {
                let found = db.search("c", &vector(5), &options);
                let Err(SearchError::Corrupt(damage)) = found else { panic!("{found:?}") };
                assert_eq!(damage, expected);
            }
            let batch = db.search_batch("c", &[&vector(5), &vector(6)], &exact());
            assert!(matches!(batch, Err(SearchError::Corrupt(_))), "{batch:?}");
            let probed = db.probe("c", 1);
            assert!(matches!(probed, Err(ReadError::Corrupt(_))), "{probed:?}");
        }
        check_goes_on(&db, &expected);
        let digest = disk.digest();
        drop(db);
        let db = Database::open(disk.open().unwrap(), config(3)).unwrap();
        assert_eq!(db.get_vector("c", &Id::Int(1000)).unwrap(), Some(vector(1000)));
        assert_eq!(met(&db, 5), expected);
        drop(db);
        assert_eq!(disk.digest(), digest, "opening changes nothing");
    }
    on_each_disk!(on);
}

/// Commits go on, and are found; no graph is made of damaged rows, and no file.
fn check_goes_on<S: Storage>(db: &Database<S>, expected: &Corruption) {
    insert(db, 1000..1002).unwrap();
    let mut batch = WriteBatch::new();
    batch.delete_row("c", 30);
    db.commit(batch).unwrap();
    for _ in 0..2 {
        let of_upkeep = [
            db.checkpoint(&mut |_| ControlFlow::Continue(())).map(drop),
            db.optimize("c", &mut |_| ControlFlow::Continue(())).map(drop),
            compact(db).map(drop),
        ];
        for made in of_upkeep {
            let Err(CheckpointError::Corrupt(damage)) = made else { panic!("{made:?}") };
            assert_eq!(damage, *expected);
        }
        db.tend().unwrap();
    }
    let stats = db.collection("c").unwrap();
    assert_eq!((stats.rows, stats.in_graph, stats.leaving), (ROWS + 1, ROWS - 1, 1));
    check_found(db, [10, 11, 12, 29, 31, 1000, 1001]);
    assert_eq!(db.get_vector("c", &Id::Int(30)).unwrap(), None);
}

/// Any of the bytes: all that is read is right, or is refused.
#[test]
fn whatever_is_flipped_in_a_mapped_file_no_answer_is_wrong() {
    let memory = Arc::new(MemStorage::new());
    let open = |memory: &Arc<MemStorage>| {
        Database::open(FaultStorage::over(Arc::clone(memory), Faults::default()), config(2))
    };
    make(FaultStorage::over(Arc::clone(&memory), Faults::default()));
    let file = memory.list().unwrap().into_iter().find(|meta| meta.name.as_str() == FILE).unwrap();
    let vectors = BLOCK_SIZE as u64..BLOCK_SIZE as u64 + ROWS * ROW_LEN_BYTES;
    let (mut refused, mut met) = (0, 0);
    // A prime: no period of the file hides from it.
    for at in (0..file.len_bytes).step_by(99_991) {
        flip(&*memory, FILE, at);
        match open(&memory) {
            Err(OpenError::Corrupt(damage)) => {
                assert_eq!(damage.file, FILE);
                refused += 1;
            }
            Err(error) => panic!("byte {at}: {error:?}"),
            Ok(db) => {
                let is_whole = (0..ROWS).filter(|row| match db.get_vector("c", &Id::Int(*row)) {
                    Ok(found) => {
                        assert!(found == Some(vector(*row)), "byte {at}: row {row} is wrong");
                        true
                    }
                    Err(_) => false,
                });
                let is_whole = is_whole.count() as u64 == ROWS;
                assert_eq!(is_whole, !vectors.contains(&at), "byte {at}");
                assert_eq!(db.search("c", &vector(3), &exact()).is_ok(), is_whole, "byte {at}");
                met += u64::from(!is_whole);
            }
        }
        flip(&*memory, FILE, at);
    }
    assert!(refused > 2 && met > 30, "{refused} refused, {met} met");
    let db = open(&memory).unwrap();
    db.search("c", &vector(3), &exact()).unwrap();
}

/// A graph that is to be built again at the opening is built of verified rows, or not at all.
#[test]
fn no_graph_is_built_again_of_damaged_rows() {
    let memory = Arc::new(MemStorage::new());
    let storage = || FaultStorage::over(Arc::clone(&memory), Faults::default());
    make(storage());
    let is_graph = |name: &FileName| name.as_str().starts_with("graph-");
    let names = memory.list().unwrap().into_iter().map(|meta| meta.name);
    let graph = names.filter(is_graph).max().unwrap();
    flip(&*memory, graph.as_str(), BLOCK_SIZE as u64 + 100);
    let db = Database::open(storage(), config(2)).unwrap();
    assert_eq!(db.recovery_report().index_actions.len(), 1);
    drop(db);
    flip(&*memory, FILE, place(63, 0));
    let Err(OpenError::Corrupt(damage)) = Database::open(storage(), config(2)) else {
        panic!("it opened")
    };
    assert_eq!(damage.file, FILE);
}

/// Rows are copied to another file when they are verified, or not at all.
#[test]
fn no_file_is_made_of_damaged_rows() {
    let memory = Arc::new(MemStorage::new());
    let storage = || FaultStorage::over(Arc::clone(&memory), Faults::default());
    let rows_files = || {
        let names = memory.list().unwrap().into_iter().map(|meta| meta.name.to_string());
        names.filter(|name| name.starts_with("rows-")).collect::<Vec<_>>()
    };
    make(storage());
    let db = Database::open(storage(), config(2)).unwrap();
    let mut batch = WriteBatch::new();
    batch.delete_row("c", 30);
    db.commit(batch).unwrap();
    checkpoint(&db);
    db.close().unwrap();
    flip(&*memory, FILE, place(5, 17));
    let db = Database::open(storage(), config(3)).unwrap();
    for _ in 0..2 {
        let made = compact(&db);
        assert!(matches!(&made, Err(CheckpointError::Corrupt(_))), "{made:?}");
        assert_eq!(rows_files(), [FILE]);
    }
    // What makes nothing of the rows goes on.
    let mut batch = WriteBatch::new();
    batch.put("kv", b"checkpoint", b"3");
    db.commit(batch).unwrap();
    assert!(checkpoint(&db).files_written > 0);
    check_found(&db, 10..20);
    db.close().unwrap();
    flip(&*memory, FILE, place(5, 17));
    let db = Database::open(storage(), config(4)).unwrap();
    compact(&db).unwrap();
    assert_eq!(rows_files().len(), 1);
    assert_ne!(rows_files(), [FILE], "whole rows are copied");
    check_found(&db, (0..ROWS).filter(|id| *id != 30).collect::<Vec<_>>());
}

/// Whoever inserts hears of the damage where it would wait for the graph, and nobody waits for
/// ever.
#[test]
fn those_who_wait_for_a_graph_that_cannot_learn_hear_why() {
    for threads in [1, 2, 3] {
        let memory = Arc::new(MemStorage::new());
        let storage = || FaultStorage::over(Arc::clone(&memory), Faults::default());
        make(storage());
        flip(&*memory, FILE, place(40, 1));
        let mut config = config(2);
        (config.threads, config.max_pending_rows) = (threads, 4);
        let db = Database::open(storage(), config).unwrap();
        db.create_collection("d", Params::new(2, Metric::L2)).unwrap();
        // Several at once: each of them comes back.
        let refused = (1..4_u64).into_par_iter().map(|writer| {
            let first = 1000 * writer;
            let ids = first..first + 20;
            ids.filter(|id| match insert(&db, *id..*id + 1) {
                Ok(()) => false,
                Err(CommitError::GraphStopped { collection, source }) => {
                    assert_eq!((&*collection, &*source.file), ("c", FILE));
                    true
                }
                Err(error) => panic!("{error:?}"),
            })
            .count()
        });
        assert!(refused.sum::<usize>() >= 50, "{threads} threads");
        let stats = db.collection("c").unwrap();
        assert_eq!(stats.in_graph, ROWS, "{threads} threads");
        assert!((ROWS + 5..=ROWS + 10).contains(&stats.rows), "{threads} threads: {}", stats.rows);
        let waiting =
            (1000..4000).filter(|id| db.get_vector("c", &Id::Int(*id)).unwrap().is_some());
        check_found(&db, waiting.collect::<Vec<_>>());
        let mut batch = WriteBatch::new();
        batch.delete_row("c", 3);
        (0..20).for_each(|id| batch.insert("d", id, &[1.0, 2.0]));
        db.commit(batch).unwrap();
        for id in 20..40 {
            let mut batch = WriteBatch::new();
            batch.insert("d", id, &[1.0, 3.0]);
            db.commit(batch).unwrap();
        }
        db.close().unwrap();
    }
}
