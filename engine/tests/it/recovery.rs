//! Replay in parallel, and a log that is ended before damage because that was asked for.

use crate::contents::{
    Contents, apart_from_log, checkpoint, config, files, is_of_log, open, params, shown, vector,
    without_times,
};
use crate::disk::{Disk, Folder, on_each_disk};
use gannet::storage::{
    BLOCK_SIZE, Durability, ErrorKind, FileName, ReadFile, Storage, Write, WriteFile,
};
use gannet::{Config, Database, Id, Lsn, Metric, OpenError, RecoveryMode, WriteBatch};
use gannet_testkit::sim::{CrashPlan, SimDisk, SimRng};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

fn with_threads(threads: usize) -> Config {
    let mut config = config(99);
    config.threads = threads;
    config
}

fn point_in_time() -> Config {
    let mut config = config(11);
    config.recovery = RecoveryMode::PointInTime;
    config
}

/// Two collections and three keyspaces in a log of many segments: keys that come again, are
/// deleted, begin alike; rows replaced and deleted; and a checkpoint at a third, for the rest to be
/// merged into.
fn busy(disk: &impl Disk, seed: u64, commits: usize) -> (Keys, Vec<Option<Vec<f32>>>) {
    let db = open(disk, seed);
    let mut rng = SimRng::new(seed);
    db.create_collection("l2", params(Metric::L2)).unwrap();
    for commit in 0..commits {
        let mut batch = WriteBatch::new();
        for _ in 0..=rng.below(300) {
            let keyspace =
                ["plain", "alike", "late"][rng.below(if commit < commits / 2 { 2 } else { 3 })];
            let number = rng.below(9_000);
            let key = match keyspace {
                "alike" => format!("a-beginning-that-all-have/{number}").into_bytes(),
                _ => number.to_le_bytes()[..=rng.below(3)].to_vec(),
            };
            if rng.below(4) == 0 {
                batch.delete(keyspace, &key);
            } else {
                let len = rng.below(60);
                batch.put(keyspace, &key, &vec![u8::try_from(commit % 251).unwrap(); len]);
            }
        }
        if commit == commits / 2 {
            db.commit(std::mem::take(&mut batch)).unwrap();
            db.create_collection("cosine", params(Metric::Cosine)).unwrap();
            batch.put("late", b"k", b"v");
        }
        for collection in ["l2", "cosine"] {
            if db.collection(collection).is_some() {
                let id = rng.below(40) as u64;
                if rng.below(5) == 0 {
                    batch.delete_row(collection, id);
                } else {
                    batch.upsert(collection, id, &vector(1 + rng.below(500) as u64));
                }
            }
        }
        db.commit(batch).unwrap();
        if commit == commits / 3 {
            checkpoint(&db);
        }
    }
    let had = dump(&db);
    db.close().unwrap();
    had
}

/// What opening tells, without what differs from one storage or run to the next.
fn told<S: Storage>(db: &Database<S>) -> String {
    let mut stats = db.stats().unwrap();
    without_times(&mut stats);
    stats.backend = gannet::storage::Caps::new("any");
    // Room in a randomly keyed table.
    stats
        .collections
        .iter_mut()
        .for_each(|collection| collection.memory = gannet::CollectionMemory::default());
    // Where there are threads, graphs learn beside this, and segments are made. A checkpoint has
    // them learn all there is.
    for collection in &mut stats.collections {
        (collection.in_graph, collection.leaving) = (0, 0);
    }
    stats.files.retain(|file| !is_of_log(file.name.as_str()));
    (stats.log_segments, stats.log_bytes, stats.file_bytes) = (0, 0, 0);
    format!("{stats:?}")
}

fn same_for_every_number_of_threads(disk: &impl Disk, commits: usize) {
    busy(disk, 5, commits);
    let after = |threads: usize| {
        let copy = disk.copy();
        let db = Database::open(copy.open().unwrap(), with_threads(threads)).unwrap();
        assert!(db.recovery_report().records > 0);
        let before = told(&db);
        checkpoint(&db);
        let after = told(&db);
        for found in db.stats().unwrap().collections {
            assert_eq!((found.in_graph, found.leaving), (found.rows, 0), "{}", found.name);
        }
        drop(db);
        let bytes = apart_from_log(&copy);
        assert!(bytes.keys().any(|name| name.starts_with("table")));
        (before, after, bytes)
    };
    let serial = after(1);
    for threads in [2, 3, 8] {
        let parallel = after(threads);
        assert_eq!((&parallel.0, &parallel.1), (&serial.0, &serial.1), "{threads} threads");
        assert!(parallel.2 == serial.2, "{threads} threads: files differ");
    }
}

#[test]
fn replay_is_the_same_bit_for_bit_for_every_number_of_threads() {
    same_for_every_number_of_threads(&SimDisk::new(), 240);
    for folder in Folder::each() {
        same_for_every_number_of_threads(&folder, 60);
    }
}

type Keys = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

/// Every key, and every vector that is there.
fn dump<S: Storage>(db: &Database<S>) -> (Keys, Vec<Option<Vec<f32>>>) {
    let mut keys = Keys::new();
    for keyspace in ["plain", "alike", "late"] {
        db.scan(keyspace, Bound::Unbounded, Bound::Unbounded, |key, value| {
            keys.insert((keyspace, key.to_vec()), value.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    let ids = ["l2", "cosine"].into_iter().flat_map(|name| (0..40).map(move |id| (name, id)));
    let vector = |(name, id)| db.get_vector(name, &Id::Int(id)).unwrap();
    (keys, ids.map(vector).collect())
}

#[test]
fn replay_gives_what_the_writer_had_record_by_record() {
    fn on(disk: &impl Disk) {
        let had = busy(disk, 8, 90);
        for threads in [1, 3] {
            let db = Database::open(disk.open().unwrap(), with_threads(threads)).unwrap();
            assert!(dump(&db) == had, "{threads} threads");
        }
    }
    on_each_disk!(on);
}

/// A log of a few segments without a checkpoint, a commit a record, and what was there after each.
fn history(disk: &impl Disk, commits: usize, closes: bool) -> Vec<Contents> {
    let db = open(disk, 1);
    let mut contents = Contents::default();
    // Its first commit makes the keyspace too.
    let mut states = vec![Contents::default(); 2];
    for commit in 0..commits {
        let mut batch = WriteBatch::new();
        contents.put(&mut batch, &format!("key-{}", commit % 7), &format!("value {commit}"));
        db.commit(batch).unwrap();
        let lsn = usize::try_from(db.stats().unwrap().last_lsn).unwrap();
        states.resize(lsn, states.last().unwrap().clone());
        states.push(contents.clone());
    }
    if closes {
        db.close().unwrap();
    }
    states
}

fn edit(storage: &impl Storage, name: &FileName, at: u64, change: impl FnOnce(&mut [u8])) {
    let file = storage.open(name).unwrap();
    let start = at / BLOCK_SIZE as u64 * BLOCK_SIZE as u64;
    let mut block = storage.alloc(BLOCK_SIZE);
    file.read_at(start, &mut block).unwrap();
    change(&mut block);
    file.write_batch(&[Write { offset: start, bytes: &block }], Durability::Data).unwrap();
}

fn lsn_at(states: &[Contents]) -> Lsn {
    states.len() as Lsn - 1
}

/// Opens at a point in time what has damage in a file of the log: what is there and what is told to
/// be lost is all that was acknowledged, and it stays so. Returns whether anything was lost.
fn judge(disk: &impl Disk, states: &[Contents], name: &FileName, place: &str) -> bool {
    let strict = Database::open(disk.open().unwrap(), config(7)).map(drop);
    let damaged = files(&disk.open().unwrap());
    let db = Database::open(disk.open().unwrap(), point_in_time()).unwrap();
    let report = db.recovery_report().clone();
    let there = usize::try_from(report.end_lsn).unwrap();
    assert_eq!(shown(&db, 0), states[there], "{place}: a wrong answer");
    if strict.is_ok() {
        assert_eq!((&report.cut, &report.lost), (&None, &Vec::new()), "{place}");
        assert!(report.set_aside.is_empty(), "{place}");
        return false;
    }
    let cut = report.cut.clone().unwrap_or_else(|| panic!("{place}: a quiet loss"));
    assert_eq!(cut.file, name.as_str(), "{place}");
    // Only a salt that is gone leaves it open what there was.
    let is_salt = (40..48).any(|at| place.ends_with(&format!("byte {at}")));
    match &report.lost[..] {
        [lost] => {
            assert_eq!(*lost.start(), report.end_lsn + 1, "{place}");
            assert_eq!(*lost.end(), lsn_at(states), "{place}");
        }
        [] => assert!(is_salt || report.end_lsn == lsn_at(states), "{place}: lost and not told"),
        more => panic!("{place}: {more:?}"),
    }
    drop(db);
    let now = files(&disk.open().unwrap());
    for copy in &report.set_aside {
        let of = copy.trim_start_matches("bad-").rsplit_once('-').unwrap().0;
        assert!(now[copy] == damaged[&format!("log-{of}")], "{place}: {copy}");
    }
    assert!(
        now.iter().all(|(name, bytes)| damaged.get(name).is_none_or(|b| b == bytes)
            || name.starts_with("log-"))
    );
    // From here on it is a database like any other, and stays one: nothing comes back.
    let db = Database::open(disk.open().unwrap(), config(12)).unwrap();
    assert_eq!(db.recovery_report().end_lsn, report.end_lsn, "{place}");
    let mut expected = states[there].clone();
    let mut batch = WriteBatch::new();
    expected.put(&mut batch, "new", "life");
    db.commit(batch).unwrap();
    db.close().unwrap();
    let db = open(disk, 13);
    assert_eq!(shown(&db, 0), expected, "{place}: after a new commit");
    assert!(db.verify().unwrap().faults.is_empty(), "{place}");
    true
}

fn logs(disk: &impl Disk) -> Vec<(FileName, u64)> {
    let listed = disk.open().unwrap().list().unwrap();
    let is_log = |name: &FileName| name.as_str().starts_with("log-");
    listed.into_iter().filter(|m| is_log(&m.name)).map(|m| (m.name, m.len_bytes)).collect()
}

fn flip(disk: &impl Disk, commits: usize, one_in: usize) -> usize {
    let states = history(disk, commits, true);
    assert!(logs(disk).len() > 2);
    let places: Vec<(FileName, u64)> = logs(disk)
        .into_iter()
        .flat_map(|(name, len)| (0..len).map(move |at| (name.clone(), at)))
        .filter(|(_, at)| at % BLOCK_SIZE as u64 <= 140)
        .step_by(one_in)
        .collect();
    let lost = places.par_iter().filter(|(name, at)| {
        let copy = disk.copy();
        let index = usize::try_from(at % BLOCK_SIZE as u64).unwrap();
        edit(&copy.open().unwrap(), name, *at, |block| block[index] ^= 0xff);
        judge(&copy, &states, name, &format!("{name} byte {at}"))
    });
    lost.count()
}

#[test]
fn a_flipped_byte_of_the_log_costs_what_is_told_and_nothing_comes_back() {
    let lost = flip(&SimDisk::new(), 7, 1);
    assert!(lost > 500, "{lost}");
}

#[test]
fn a_flipped_byte_of_the_log_costs_what_is_told_under_every_backend() {
    for folder in Folder::each() {
        let lost = flip(&folder, 7, 97);
        assert!(lost > 5, "{folder:?}: {lost}");
    }
}

#[test]
fn a_missing_segment_ends_the_log_before_it() {
    fn on(disk: &impl Disk) {
        let states = history(disk, 12, true);
        let (name, _) = logs(disk)[1].clone();
        let storage = disk.open().unwrap();
        storage.remove(&name).unwrap();
        storage.sync_dir().unwrap();
        drop(storage);
        assert!(judge(disk, &states, &name, "missing"));
    }
    on_each_disk!(on);
}

#[test]
fn a_point_in_time_is_never_the_default_and_a_sealed_file_is_refused_in_it_too() {
    fn on(disk: &impl Disk) {
        assert_eq!(Config::default().recovery, RecoveryMode::Strict);
        crate::contents::example(disk);
        let rows = FileName::new("rows-0000000002").unwrap();
        edit(&disk.open().unwrap(), &rows, BLOCK_SIZE as u64, |block| block[3] ^= 1);
        let before = disk.digest();
        let refused = Database::open(disk.open().unwrap(), point_in_time()).map(drop);
        assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{refused:?}");
        assert_eq!(disk.digest(), before);
    }
    on_each_disk!(on);
}

/// A log with damage in its second segment, and what it had.
fn damaged_history(disk: &impl Disk) -> (Vec<Contents>, FileName) {
    let states = history(disk, 12, true);
    let (name, _) = logs(disk)[1].clone();
    edit(&disk.open().unwrap(), &name, BLOCK_SIZE as u64, |block| block[70] ^= 1);
    (states, name)
}

/// What a process finds that comes after one that was setting segments aside: it is refused, and
/// opens at the same point in time as before, or it is at that point.
fn check_interrupted(disk: &SimDisk, states: &[Contents], end: Lsn, place: &str) {
    match Database::open(disk.open().unwrap(), config(3)) {
        Ok(db) => assert_eq!(db.recovery_report().end_lsn, end, "{place}"),
        Err(OpenError::Corrupt(_)) => {}
        Err(error) => panic!("{place}: {error:?}"),
    }
    let db = Database::open(disk.open().unwrap(), point_in_time()).unwrap();
    assert_eq!(db.recovery_report().end_lsn, end, "{place}");
    assert_eq!(shown(&db, 0), states[usize::try_from(end).unwrap()], "{place}");
    let mut expected = states[usize::try_from(end).unwrap()].clone();
    let mut batch = WriteBatch::new();
    expected.put(&mut batch, "new", "life");
    db.commit(batch).unwrap();
    drop(db);
    assert_eq!(shown(&open(disk, 4), 0), expected, "{place}: after a new commit");
}

#[test]
fn every_power_cut_while_segments_are_set_aside_leaves_the_same_point_in_time() {
    let disk = SimDisk::new();
    let (states, _) = damaged_history(&disk);
    let disk = disk.copy();
    disk.record();
    let db = Database::open(disk.open().unwrap(), point_in_time()).unwrap();
    let end = db.recovery_report().end_lsn;
    let segments = db.recovery_report().set_aside.len();
    drop(db);
    assert!(segments > 1 && end > 0);
    let plan = CrashPlan { exhaustive_max: 6, pairs_max: 0, samples: 4, seed: 9 };
    let points = disk.take_recorded();
    let states_checked = points.par_iter().map(|point| {
        let crashed: Vec<_> = point.disk().crash_states(&plan).collect();
        for (after, choice) in &crashed {
            check_interrupted(after, &states, end, &format!("{point:?}, {choice:?}"));
        }
        crashed.len()
    });
    let checked: usize = states_checked.sum();
    assert!(checked > 50, "{checked}");
}

#[test]
fn every_failed_call_while_segments_are_set_aside_leaves_the_same_point_in_time() {
    let disk = SimDisk::new();
    let (states, _) = damaged_history(&disk);
    let undisturbed = disk.copy();
    let db = Database::open(undisturbed.open().unwrap(), point_in_time()).unwrap();
    let end = db.recovery_report().end_lsn;
    drop(db);
    for nth in 1.. {
        let copy = disk.copy();
        copy.fail_nth(nth, ErrorKind::Io, true);
        let opened = Database::open(copy.open().unwrap(), point_in_time());
        if opened.is_ok() {
            assert!(nth > 20, "{nth}");
            break;
        }
        // The process is gone, and the next one meets a device that works.
        check_interrupted(&copy.copy(), &states, end, &format!("call {nth}"));
    }
}
