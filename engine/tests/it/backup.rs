//! Backups taken while the database is written to, and what becomes of them: restored as they are,
//! damaged, cut short by a crash.

use crate::checkpoints::change;
use crate::contents::{Contents, checkpoint, config, example, open, params, shown, vector};
use crate::disk::{Disk, Folder, on_each_disk};
use gannet::storage::{
    BLOCK_SIZE, Durability, FileMeta, FileName, MemStorage, ReadFile, SealedFile, Storage, Write,
    WriteFile,
};
use gannet::{
    BackupError, CommitError, Corruption, Damage, Database, Metric, OpenError, RestoreError,
    WriteBatch, restore, verify_storage,
};
use gannet_testkit::fault::{Action, Calls, FaultStorage, Faults, Rule};
use gannet_testkit::sim::{CrashPlan, SimDisk};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Files = BTreeMap<FileName, Vec<u8>>;

fn files(storage: &impl Storage) -> Files {
    let bytes = |FileMeta { name, .. }| {
        let file = storage.open_sealed(&name).unwrap();
        let bytes = file.view(0..file.len_bytes()).unwrap().to_vec();
        (name, bytes)
    };
    storage.list().unwrap().into_iter().map(bytes).collect()
}

fn storage_of(files: &Files) -> MemStorage {
    let storage = MemStorage::new();
    for (name, bytes) in files {
        let file = storage.create(name, bytes.len() as u64).unwrap();
        let mut buffer = storage.alloc(bytes.len());
        buffer.copy_from_slice(bytes);
        file.write_batch(&[Write { offset: 0, bytes: &buffer }], Durability::Full).unwrap();
    }
    storage
}

/// A backup of what `make` leaves on a disk, with the contents.
fn backup_of(make: impl Fn(&SimDisk) -> Contents) -> (Files, Contents) {
    let disk = SimDisk::new();
    let contents = make(&disk);
    let to = MemStorage::new();
    open(&disk, 9).backup(&to).unwrap();
    (files(&to), contents)
}

/// One key, in the log and in a table.
fn one_key(disk: &SimDisk) -> Contents {
    let mut contents = Contents::default();
    let db = open(disk, 1);
    put(&db, &mut contents, "k", "in a table").unwrap();
    checkpoint(&db);
    put(&db, &mut contents, "l", "in the log").unwrap();
    contents
}

fn put<S: Storage>(
    db: &Database<S>,
    contents: &mut Contents,
    key: &str,
    value: &str,
) -> Result<(), CommitError> {
    let mut batch = WriteBatch::new();
    contents.put(&mut batch, key, value);
    db.commit(batch).map(drop)
}

fn check_opens(storage: impl Storage, contents: &Contents) {
    assert_eq!(verify_storage(&storage).unwrap().faults.len(), 0);
    let db = Database::open(storage, config(5)).unwrap();
    assert_eq!(shown(&db, 200), *contents);
    let report = db.recovery_report();
    assert!(report.root_damage.is_none() && report.fallbacks.is_empty(), "{report:?}");
    assert_eq!((report.torn_bytes, report.index_actions.len()), (0, 0));
}

#[test]
fn a_backup_holds_what_was_acknowledged_and_goes_on_as_a_database() {
    fn on(disk: &impl Disk) {
        let mut contents = example(disk);
        let db = open(disk, 3);
        put(&db, &mut contents, "before", "the backup").unwrap();
        let (copy, again) = (disk.fresh(), disk.fresh());
        let report = db.backup(&copy.open().unwrap()).unwrap();
        assert_eq!(report.lsn, db.stats().unwrap().last_lsn);
        let listed = files(&copy.open().unwrap());
        assert_eq!(report.files, listed.len() as u64);
        assert_eq!(report.bytes, listed.values().map(|bytes| bytes.len() as u64).sum::<u64>());
        // The database goes on, the copy is as it was.
        let mut later = contents.clone();
        put(&db, &mut later, "after", "the backup").unwrap();
        drop(db);
        check_opens(copy.open().unwrap(), &contents);
        check_opens(disk.open().unwrap(), &later);
        // Opened and closed, it is still a backup, and so is what was restored from it.
        let restored = restore(&copy.open().unwrap(), &again.open().unwrap()).unwrap();
        assert_eq!((restored.lsn, restored.checkpoint_lsn), (report.lsn, report.checkpoint_lsn));
        assert_eq!((restored.files, restored.bytes), (report.files, report.bytes));
        assert_eq!(files(&again.open().unwrap()), listed);
        // Written to, it is a database of its own, and no backup.
        let db = open(&copy, 4);
        put(&db, &mut contents, "in", "the copy").unwrap();
        checkpoint(&db);
        put(&db, &mut contents, "again", "x").unwrap();
        drop(db);
        check_opens(copy.open().unwrap(), &contents);
        let refused = restore(&copy.open().unwrap(), &MemStorage::new());
        assert!(matches!(refused, Err(RestoreError::Changed { .. })), "{refused:?}");
    }
    on_each_disk!(on);
}

#[test]
fn a_backup_is_the_same_whatever_it_is_written_with() {
    let disk = SimDisk::new();
    example(&disk);
    let db = open(&disk, 3);
    let memory = MemStorage::new();
    db.backup(&memory).unwrap();
    for folder in Folder::each() {
        let storage = folder.open().unwrap();
        db.backup(&storage).unwrap();
        assert_eq!(files(&storage), files(&memory), "{folder:?}");
    }
}

#[test]
fn new_empty_and_just_saved_databases_are_backed_up() {
    let check = |make: &dyn Fn(&SimDisk) -> Contents| {
        let (backup, contents) = backup_of(make);
        check_opens(storage_of(&backup), &contents);
        let to = MemStorage::new();
        restore(&storage_of(&backup), &to).unwrap();
        assert_eq!(files(&to), backup);
        check_opens(to, &contents);
    };
    check(&|_| Contents::default());
    check(&one_key);
    check(&|disk| {
        let mut contents = Contents::default();
        put(&open(disk, 1), &mut contents, "no", "checkpoint").unwrap();
        contents
    });
    check(&|disk| {
        let contents = example(disk);
        checkpoint(&open(disk, 2));
        contents
    });
    check(&|disk| {
        // Several segments behind the checkpoint, one of them longer than the buffer of a copy.
        let mut contents = example(disk);
        let db = open(disk, 2);
        for number in 0..9 {
            put(&db, &mut contents, &format!("key {number}"), &"x".repeat(9000)).unwrap();
        }
        put(&db, &mut contents, "long", &"y".repeat(3 << 20)).unwrap();
        contents
    });
    check(&|disk| {
        // A torn tail, cut by a recovery, between segments.
        let mut contents = example(disk);
        let db = open(disk, 2);
        put(&db, &mut contents, "kept", "x").unwrap();
        disk.fail_nth(1, gannet::storage::ErrorKind::Io, true);
        put(&db, &mut contents.clone(), "unknown", "x").unwrap_err();
        disk.fail_nth(u64::MAX, gannet::storage::ErrorKind::Io, false);
        drop(db);
        let db = open(disk, 3);
        contents = shown(&db, 200);
        put(&db, &mut contents, "after", "x").unwrap();
        contents
    });
}

#[test]
fn backups_while_commits_and_checkpoints_go_on_hold_a_prefix_of_them() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection("c", params(Metric::L2)).unwrap();
        let acked = AtomicU64::new(0);
        let done = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0;
                while done.load(Ordering::Acquire) < 6 {
                    let mut batch = WriteBatch::new();
                    batch.put("kv", &number_key(number), b"x");
                    batch.insert("c", number, &vector(number % 200));
                    db.commit(batch).unwrap();
                    number += 1;
                    acked.store(number, Ordering::Release);
                    if number.is_multiple_of(4) {
                        checkpoint(&db);
                    }
                }
            });
            for _ in 0..6 {
                let before = acked.load(Ordering::Acquire);
                let to = MemStorage::new();
                db.backup(&to).unwrap();
                let copy = Database::open(to, config(2)).unwrap();
                let rows = copy.collection("c").unwrap().rows;
                assert!(rows >= before, "{rows} rows, {before} acknowledged");
                for number in 0..rows + 5 {
                    let key = copy.get("kv", &number_key(number)).unwrap();
                    assert_eq!(key.is_some(), number < rows, "{number} of {rows}");
                }
                done.fetch_add(1, Ordering::Release);
            }
        });
        assert_eq!(db.verify().unwrap().faults.len(), 0);
    }
    on_each_disk!(on);
}

fn number_key(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

#[test]
fn a_place_that_is_not_empty_is_refused_and_left_as_it_is() {
    let (backup, _) = backup_of(example);
    let disk = SimDisk::new();
    example(&disk);
    let db = open(&disk, 3);
    for name in ["root", "notes.txt", "log-0000000001"] {
        let to = MemStorage::new();
        drop(to.create(&FileName::new(name).unwrap(), 4096).unwrap());
        let before = files(&to);
        let refused = db.backup(&to);
        assert!(matches!(refused, Err(BackupError::NotEmpty { .. })), "{refused:?}");
        let refused = restore(&storage_of(&backup), &to);
        assert!(matches!(refused, Err(RestoreError::NotEmpty { .. })), "{refused:?}");
        assert_eq!(files(&to), before);
    }
}

#[test]
fn a_poisoned_database_makes_no_backup() {
    let disk = SimDisk::new();
    let mut contents = example(&disk);
    let db = open(&disk, 3);
    put(&db, &mut contents, "a", "b").unwrap();
    disk.fail_nth(1, gannet::storage::ErrorKind::Io, false);
    put(&db, &mut contents, "c", "d").unwrap_err();
    let to = MemStorage::new();
    assert!(matches!(db.backup(&to), Err(BackupError::Poisoned)));
    assert!(to.list().unwrap().is_empty());
}

/// Restores a backup that is not right: refused, with nothing in the target.
fn check_refused(backup: &Files, what: &str) -> RestoreError {
    let to = MemStorage::new();
    let refused = restore(&storage_of(backup), &to).expect_err(what);
    assert!(to.list().unwrap().is_empty(), "{what}: {refused:?}");
    refused
}

fn is_damage(error: &RestoreError) -> bool {
    matches!(
        error,
        RestoreError::Changed { .. }
            | RestoreError::Backup(
                OpenError::Corrupt(_)
                    | OpenError::NotADatabase { .. }
                    | OpenError::NewerVersion { .. }
            )
    )
}

/// Flips one byte in `one_in`, each in a copy.
fn flip(backup: &Files, one_in: usize) {
    let places: Vec<_> = backup
        .iter()
        .flat_map(|(name, bytes)| (0..bytes.len()).map(move |at| (name, at)))
        .step_by(one_in)
        .collect();
    assert!(places.len() > 1000);
    places.par_iter().for_each(|&(name, at)| {
        let mut damaged = backup.clone();
        damaged.get_mut(name).unwrap()[at] ^= 0xff;
        let what = format!("{name} byte {at}");
        let error = check_refused(&damaged, &what);
        assert!(is_damage(&error), "{what}: {error:?}");
    });
}

#[test]
fn every_flipped_byte_of_a_backup_is_refused() {
    flip(&backup_of(one_key).0, 1);
    // Rows, graphs and deleted rows too; a prime, so that no period hides from it.
    flip(&backup_of(example).0, 41);
}

#[test]
fn a_backup_with_missing_further_cut_or_grown_files_is_refused() {
    let (backup, _) = backup_of(example);
    for (name, bytes) in &backup {
        let mut damaged = backup.clone();
        damaged.remove(name);
        let error = check_refused(&damaged, &format!("without {name}"));
        assert!(is_damage(&error), "without {name}: {error:?}");
        for len in [0, BLOCK_SIZE, bytes.len() - BLOCK_SIZE, bytes.len() + BLOCK_SIZE] {
            if len != bytes.len() {
                let mut damaged = backup.clone();
                damaged.get_mut(name).unwrap().resize(len, 0);
                let error = check_refused(&damaged, &format!("{name} of {len} bytes"));
                assert!(is_damage(&error), "{name} of {len} bytes: {error:?}");
            }
        }
    }
    for name in ["a", "root.tmp", "rows-0000000099", "log-0000000001", "log-0000000099"] {
        let mut damaged = backup.clone();
        damaged.insert(FileName::new(name).unwrap(), vec![0; BLOCK_SIZE]);
        let error = check_refused(&damaged, &format!("with {name}"));
        assert!(is_damage(&error), "with {name}: {error:?}");
    }
    let nothing = check_refused(&Files::new(), "nothing");
    let root_is_missing = |c: &Corruption| (c.file.as_str(), c.damage) == ("root", Damage::Missing);
    let expected =
        matches!(&nothing, RestoreError::Backup(OpenError::Corrupt(c)) if root_is_missing(c));
    assert!(expected, "{nothing:?}");
}

#[test]
fn a_damaged_database_makes_no_backup() {
    let disk = SimDisk::new();
    let mut contents = example(&disk);
    let db = open(&disk, 3);
    put(&db, &mut contents, "a", "b").unwrap();
    drop(db);
    let storage = disk.open().unwrap();
    let names: Vec<_> = storage.list().unwrap().into_iter().map(|meta| meta.name).collect();
    drop(storage);
    let mut refusals = 0;
    for name in names {
        let copy = disk.copy();
        let storage = Arc::new(copy.open().unwrap());
        let shared = FaultStorage::over(Arc::clone(&storage), Faults::default());
        let Ok(db) = Database::open(shared, config(4)) else { continue };
        // Behind its back: its own handles and views are of the storage, so some are in use.
        let Ok(file) = storage.open(&name) else { continue };
        let mut block = storage.alloc(BLOCK_SIZE);
        let last = file.len_bytes() - BLOCK_SIZE as u64;
        file.read_at(last, &mut block).unwrap();
        block[0] ^= 1;
        file.write_batch(&[Write { offset: last, bytes: &block }], Durability::Full).unwrap();
        drop(file);
        let to = MemStorage::new();
        match db.backup(&to) {
            Ok(_) => check_opens(to, &contents),
            Err(error) => {
                let is_damage = matches!(error, BackupError::Source(OpenError::Corrupt(_)));
                assert!(is_damage, "{name}: {error:?}");
                assert!(to.list().unwrap().is_empty(), "{name}");
                refusals += 1;
            }
        }
    }
    assert!(refusals >= 2, "{refusals} refusals");
}

#[test]
fn a_target_that_fails_is_told_and_holds_no_database() {
    let disk = SimDisk::new();
    let contents = example(&disk);
    let db = open(&disk, 3);
    let backup = MemStorage::new();
    db.backup(&backup).unwrap();
    for action in [Action::Eio, Action::Enospc, Action::Partial] {
        for nth in 1.. {
            let memory = Arc::new(MemStorage::new());
            let faults = Faults::default();
            faults.add(Rule::once(Calls::Writes, nth, action));
            let to = FaultStorage::over(Arc::clone(&memory), faults.clone());
            let made = db.backup(&to);
            let hit = faults.injected() > 0;
            match made {
                Ok(_) if !hit => {
                    assert!(nth > 30, "{nth} calls");
                    break;
                }
                // A left-over that is not there need not be removed.
                Ok(_) => assert_eq!(shown(&Database::open(to, config(4)).unwrap(), 200), contents),
                Err(BackupError::Target(_)) => {
                    assert!(hit && memory.list().unwrap().is_empty(), "{action:?} {nth}");
                }
                Err(error) => panic!("{action:?} {nth}: {error:?}"),
            }
            let memory = Arc::new(MemStorage::new());
            let faults = Faults::default();
            faults.add(Rule::once(Calls::Writes, nth, action));
            let refused = restore(&backup, &FaultStorage::over(Arc::clone(&memory), faults));
            match refused {
                Ok(_) => {}
                Err(RestoreError::Target(_)) => {
                    assert!(memory.list().unwrap().is_empty(), "{action:?} {nth}");
                }
                Err(error) => panic!("{action:?} {nth}: {error:?}"),
            }
        }
    }
}

#[test]
fn a_crash_while_a_backup_is_made_leaves_all_of_it_or_no_database() {
    let disk = SimDisk::new();
    let contents = example(&disk);
    let db = open(&disk, 3);
    let target = SimDisk::new();
    target.record();
    db.backup(&target.open().unwrap()).unwrap();
    let points = target.take_recorded();
    let plan = CrashPlan { exhaustive_max: 8, pairs_max: 8, samples: 4, seed: 1 };
    let (mut whole, mut none) = (0, 0);
    let mut check = |left: SimDisk, at: usize| {
        let storage = left.open().unwrap();
        let is_empty = storage.list().unwrap().iter().all(|meta| meta.name.as_str() == "root.tmp");
        match Database::open(storage, config(4)) {
            Ok(db) if is_empty => assert!(db.recovery_report().is_new),
            Ok(db) => {
                assert_eq!(shown(&db, 200), contents, "instant {at}");
                whole += 1;
            }
            Err(OpenError::Corrupt(corruption)) => {
                assert_eq!(
                    (corruption.file.as_str(), corruption.damage),
                    ("root", Damage::Missing)
                );
                none += 1;
            }
            Err(error) => panic!("instant {at}: {error:?}"),
        }
    };
    for (at, point) in points.iter().enumerate() {
        check(point.disk().kill(), at);
        for (left, _) in point.disk().crash_states(&plan) {
            check(left, at);
        }
    }
    check(target.kill(), points.len());
    assert!(whole > 0 && none > 50, "{whole} whole, {none} none");
}

#[test]
fn an_incremental_backup_copies_what_is_missing_and_no_more() {
    fn on(disk: &impl Disk) {
        let mut contents = example(disk);
        let db = open(disk, 3);
        checkpoint(&db);
        let to = MemStorage::new();
        let first = db.backup_incremental(&to).unwrap();
        assert_eq!(first.kept, 0);
        let same = db.backup_incremental(&to).unwrap();
        assert!(same.kept > 2 && same.bytes < first.bytes / 2, "{first:?}, then {same:?}");
        for round in 0..4 {
            db.commit(change(&mut contents, 70 + round)).unwrap();
            checkpoint(&db);
            let next = db.backup_incremental(&to).unwrap();
            assert!(next.kept > 0 && next.lsn > same.lsn, "{next:?}");
            let restored = MemStorage::new();
            restore(&to, &restored).unwrap();
            let restored = Database::open(restored, config(9)).unwrap();
            assert_eq!(shown(&restored, 200), contents);
        }
        // A file of it that has rotted is copied again.
        let table = to.list().unwrap().into_iter().map(|meta| meta.name);
        let table = table.filter(|name| name.as_str().starts_with("rows-")).max().unwrap();
        crate::scrub::flip(&to, &table, 5000);
        let kept = db.backup_incremental(&to).unwrap().kept;
        assert_eq!(db.backup_incremental(&to).unwrap().kept, kept + 1);
        restore(&to, &MemStorage::new()).unwrap();
        // Nothing of another database is touched.
        let other = Database::open(MemStorage::new(), config(8)).unwrap();
        put(&other, &mut Contents::default(), "k", "v").unwrap();
        let before = to.list().unwrap();
        assert!(matches!(other.backup_incremental(&to), Err(BackupError::OtherDatabase)));
        assert_eq!(to.list().unwrap(), before);
    }
    on_each_disk!(on);
}

#[test]
fn an_incremental_backup_that_ends_anywhere_is_none_or_whole_and_can_be_ended() {
    let disk = SimDisk::new();
    let mut contents = example(&disk);
    let db = open(&disk, 3);
    for nth in 1.. {
        let to = FaultStorage::new(MemStorage::new());
        let first = db.backup_incremental(&to).unwrap();
        db.commit(change(&mut contents, 70)).unwrap();
        checkpoint(&db);
        to.faults().add(Rule::forever(Calls::Writes, nth, Action::Eio));
        let done = db.backup_incremental(&to);
        to.faults().clear();
        let restored = restore(&to, &MemStorage::new());
        let due = done.as_ref().map_or(first.lsn, |report| report.lsn);
        assert!(done.is_err() || restored.is_ok(), "{nth}: {restored:?}");
        assert!(restored.is_err() || restored.is_ok_and(|found| found.lsn == due), "{nth}");
        if done.is_ok() {
            assert!(nth > 8, "{nth}");
            return;
        }
        db.backup_incremental(&to).unwrap();
        let restored = MemStorage::new();
        restore(&to, &restored).unwrap();
        assert_eq!(shown(&Database::open(restored, config(9)).unwrap(), 200), contents);
    }
}

/// The target's process is killed at every step of a first backup; the second one goes on with what
/// is there, says that it is done, and then the power goes.
#[test]
fn what_an_incremental_backup_finds_of_one_that_was_killed_is_durable_when_it_is_done() {
    let disk = SimDisk::new();
    let contents = example(&disk);
    let db = open(&disk, 3);
    checkpoint(&db);
    let mut kept = 0;
    for steps in 1.. {
        let target = SimDisk::new();
        let storage = target.open().unwrap();
        target.cut_after(target.steps() + steps);
        let done = db.backup_incremental(&storage);
        drop(storage);
        let target = target.kill();
        if done.is_err() {
            kept += db.backup_incremental(&target.open().unwrap()).unwrap().kept;
        }
        let pending = target.pending();
        let (left, restored) = (pending.crash(&pending.nothing()), MemStorage::new());
        restore(&left.open().unwrap(), &restored).unwrap_or_else(|e| panic!("{steps}: {e:?}"));
        assert_eq!(shown(&Database::open(restored, config(9)).unwrap(), 200), contents, "{steps}");
        if done.is_ok() {
            break;
        }
    }
    assert!(kept > 0, "nothing was left to go on with");
}
