//! Every byte of a small database, flipped; files cut, lost, foreign or of a newer version.

use crate::contents::{Contents, config, example, last_segment, open, segment, shown};
use crate::disk::{Disk, Folder, on_each_disk};
use gannet::storage::{
    BLOCK_SIZE, Durability, ErrorKind, FileName, ReadFile, Storage, Write, WriteFile,
};
use gannet::{CheckpointError, Database, OpenError, ReadError, WriteBatch, verify_storage};
use gannet_testkit::sim::SimDisk;
use rayon::prelude::*;
use std::ops::{Bound, ControlFlow};

fn files(disk: &impl Disk) -> Vec<(FileName, u64)> {
    let storage = disk.open().unwrap();
    storage.list().unwrap().into_iter().map(|meta| (meta.name, meta.len_bytes)).collect()
}

/// Changes one block of a file in place, durably.
pub(crate) fn edit(
    storage: &impl Storage,
    name: &FileName,
    at: u64,
    change: impl FnOnce(&mut [u8]),
) {
    let file = storage.open(name).unwrap();
    let start = at / BLOCK_SIZE as u64 * BLOCK_SIZE as u64;
    let mut block = storage.alloc(BLOCK_SIZE);
    file.read_at(start, &mut block).unwrap();
    change(&mut block);
    file.write_batch(&[Write { offset: start, bytes: &block }], Durability::Data).unwrap();
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) refused: u64,
    pub(crate) repaired: u64,
    pub(crate) harmless: u64,
}

/// Opens a damaged copy: it is refused, or it shows exactly the contents.
pub(crate) fn judge(disk: &impl Disk, contents: &Contents, place: &str) -> Outcome {
    let before = disk.digest();
    let storage = disk.open().unwrap();
    match Database::open(storage, config(7)) {
        Ok(db) => {
            let scanned = db.scan("kv", Bound::Unbounded, Bound::Unbounded, |_, _| CONTINUE);
            let mut keys = contents.keys.keys();
            let read = scanned.and_then(|()| keys.try_for_each(|key| db.get("kv", key).map(drop)));
            if let Err(error) = read {
                // Blocks of tables are verified when they are read: what can be is right.
                assert!(matches!(error, ReadError::Corrupt(_)), "{place}: {error:?}");
                check_keys(&db, contents, place);
                assert!(!db.verify().unwrap().faults.is_empty(), "{place}");
                return Outcome { refused: 1, ..Outcome::default() };
            }
            assert_eq!(shown(&db, 200), *contents, "{place}: a wrong answer");
            let report = db.recovery_report();
            let clean = report.fallbacks.is_empty() && report.index_actions.is_empty();
            drop(db);
            assert_eq!(disk.digest(), before, "{place}: opening changed a file");
            Outcome { harmless: u64::from(clean), repaired: u64::from(!clean), refused: 0 }
        }
        Err(error) => {
            assert_eq!(disk.digest(), before, "{place}: refusing changed a file");
            let damage = matches!(
                error,
                OpenError::Corrupt(_)
                    | OpenError::NewerVersion { .. }
                    | OpenError::NotADatabase { .. }
            );
            assert!(damage, "{place}: {error:?}");
            let faults = verify_storage(&disk.open().unwrap()).unwrap().faults;
            assert!(!faults.is_empty(), "{place}: refused, but verification finds nothing");
            Outcome { refused: 1, ..Outcome::default() }
        }
    }
}

const CONTINUE: ControlFlow<()> = ControlFlow::Continue(());

/// Every key on its own has its value, or is damaged.
fn check_keys<S: Storage>(db: &Database<S>, contents: &Contents, place: &str) {
    for (key, value) in &contents.keys {
        match db.get("kv", key) {
            Ok(found) => assert_eq!(found.as_ref(), Some(value), "{place}: {key:?}"),
            Err(error) => assert!(matches!(error, ReadError::Corrupt(_)), "{place}: {error:?}"),
        }
    }
}

/// Flips one byte in `one_in` of an example, in a copy each time.
fn flip(disk: &impl Disk, one_in: usize) -> Outcome {
    let contents = example(disk);
    let places: Vec<(FileName, u64)> = files(disk)
        .into_iter()
        .flat_map(|(name, len)| (0..len).map(move |at| (name.clone(), at)))
        .step_by(one_in)
        .collect();
    let outcomes = places.par_iter().map(|(name, at)| {
        let copy = disk.copy();
        let index = usize::try_from(at % BLOCK_SIZE as u64).unwrap();
        edit(&copy.open().unwrap(), name, *at, |block| block[index] ^= 0xff);
        judge(&copy, &contents, &format!("{name} byte {at}"))
    });
    let sum = |a: Outcome, b: Outcome| Outcome {
        refused: a.refused + b.refused,
        repaired: a.repaired + b.repaired,
        harmless: a.harmless + b.harmless,
    };
    let total = outcomes.reduce(Outcome::default, sum);
    eprintln!("{} bytes flipped: {total:?}", places.len());
    total
}

#[test]
fn every_flipped_byte_of_every_file_is_refused_repaired_or_harmless() {
    let total = flip(&SimDisk::new(), 1);
    assert!(total.refused > 300 && total.repaired > 1000 && total.harmless > 1000, "{total:?}");
}

#[test]
fn a_flipped_byte_is_refused_repaired_or_harmless_under_every_backend() {
    for folder in Folder::each() {
        // A prime: no period of the files hides from it.
        let total = flip(&folder, 997);
        assert!(total.refused > 0 && total.repaired > 0 && total.harmless > 0, "{total:?}");
    }
}

#[test]
fn a_lost_file_is_refused_or_made_up_for_and_never_a_wrong_answer() {
    fn on(disk: &impl Disk) {
        let contents = example(disk);
        let names: Vec<_> = files(disk).into_iter().map(|(name, _)| name).collect();
        let last = segment(last_segment(&disk.open().unwrap()));
        let mut refused = Vec::new();
        for name in &names {
            let copy = disk.copy();
            let storage = copy.open().unwrap();
            storage.remove(name).unwrap();
            storage.sync_dir().unwrap();
            drop(storage);
            // The last segment alone cannot be missed: nothing else names it.
            if *name != last && judge(&copy, &contents, name.as_str()).refused > 0 {
                refused.push(name.as_str());
            }
        }
        // Rows and what the log before the older checkpoint held are in no other place.
        assert!(refused.contains(&"root"), "{refused:?}");
        assert!(refused.contains(&"rows-0000000002"), "{refused:?}");
    }
    on_each_disk!(on);
}

#[test]
fn a_cut_or_grown_file_is_refused_or_made_up_for() {
    fn on(disk: &impl Disk) {
        let contents = example(disk);
        let last = segment(last_segment(&disk.open().unwrap()));
        for (name, len) in files(disk) {
            for new_len in
                (0..=len + BLOCK_SIZE as u64).step_by(BLOCK_SIZE).filter(|&new| new != len)
            {
                if name == last && new_len < len {
                    continue; // Cut frames of the last segment look like frames never written.
                }
                let copy = disk.copy();
                let storage = copy.open().unwrap();
                let file = storage.open(&name).unwrap();
                file.set_len(new_len).unwrap();
                file.sync(Durability::Full).unwrap();
                drop((file, storage));
                judge(&copy, &contents, &format!("{name} of {len} cut to {new_len}"));
            }
        }
    }
    on_each_disk!(on);
}

/// Commits a put to the example, does `then`, and damages that last commit after a kill.
fn damage_last_commit<D: Disk>(
    disk: &D,
    then: impl FnOnce(&D, &Database<D::Storage>),
) -> Result<(), OpenError> {
    example(disk);
    let db = open(disk, 3);
    let mut batch = WriteBatch::new();
    batch.put("kv", b"last", b"commit");
    db.commit(batch).unwrap();
    let log = segment(last_segment(db.storage()));
    then(disk, &db);
    drop(db);
    let killed = disk.copy();
    edit(&killed.open().unwrap(), &log, BLOCK_SIZE as u64, |block| block[70] ^= 1);
    Database::open(killed.open().unwrap(), config(4)).map(drop)
}

#[test]
fn the_last_commit_has_a_witness_after_verification() {
    fn on(disk: &impl Disk) {
        let verify = |db: &Database<_>| assert!(db.verify().unwrap().faults.is_empty());
        let refused = damage_last_commit(disk, |_, db| verify(db));
        assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{refused:?}");
    }
    on_each_disk!(on);
}

#[test]
fn the_last_commit_has_a_witness_after_a_checkpoint_that_was_not_published() {
    for nth in 1.. {
        let mut place = String::new();
        let opened = damage_last_commit(&SimDisk::new(), |disk, db| {
            disk.fail_nth(nth, ErrorKind::Io, false);
            match db.checkpoint(&mut |_| ControlFlow::Continue(())) {
                Err(CheckpointError::Storage(error)) => error.place().clone_into(&mut place),
                // The log: its last commit may be as bad as torn.
                Err(CheckpointError::Poisoned) => {}
                other => panic!("call {nth}: {other:?}"),
            }
        });
        // What failed was the slot, so the witness is there.
        if place == "root" {
            assert!(matches!(opened, Err(OpenError::Corrupt(_))), "{opened:?}");
            break;
        }
    }
}

#[test]
fn a_bad_graph_is_built_again_and_reported() {
    fn on(disk: &impl Disk) {
        let contents = example(disk);
        let graphs: Vec<_> = files(disk)
            .into_iter()
            .filter(|(name, _)| name.as_str().starts_with("graph"))
            .collect();
        assert!(!graphs.is_empty());
        let storage = disk.open().unwrap();
        for (name, _) in &graphs {
            edit(&storage, name, BLOCK_SIZE as u64, |block| block[100] ^= 1);
        }
        assert!(!verify_storage(&storage).unwrap().faults.is_empty());
        drop(storage);
        let db = open(disk, 5);
        let action = &db.recovery_report().index_actions[0];
        assert_eq!((action.collection.as_str(), action.rows), ("c", 12));
        assert!(action.to_string().contains("checksum"), "{action}");
        assert_eq!(shown(&db, 200), contents);
        assert_eq!(db.collection("c").unwrap().in_graph, db.collection("c").unwrap().rows);
        crate::contents::checkpoint(&db);
        crate::contents::checkpoint(&db);
        drop(db);
        let db = open(disk, 6);
        assert!(db.recovery_report().index_actions.is_empty());
    }
    on_each_disk!(on);
}

#[test]
fn a_bad_newest_checkpoint_falls_back_to_the_older_one_and_a_longer_replay() {
    fn on(disk: &impl Disk) {
        let contents = example(disk);
        let newest = files(disk)
            .into_iter()
            .filter(|(name, _)| name.as_str().starts_with("manifest"))
            .max()
            .unwrap();
        edit(&disk.open().unwrap(), &newest.0, 20, |block| block[20] ^= 1);
        let db = open(disk, 5);
        assert_eq!(db.recovery_report().fallbacks.len(), 1);
        assert!(db.recovery_report().checkpoint_lsn > 0);
        assert_eq!(shown(&db, 200), contents);
        // The next checkpoint takes the place of the bad one, not of the one in force.
        crate::contents::checkpoint(&db);
        drop(db);
        let db = open(disk, 6);
        assert!(db.recovery_report().fallbacks.is_empty());
        assert_eq!(shown(&db, 200), contents);
    }
    on_each_disk!(on);
}

#[test]
fn a_directory_of_somebody_else_is_refused_and_left_as_it_is() {
    fn on(new: &impl Disk) {
        for name in ["notes.txt", "data.mdb", "root.old"] {
            let disk = new.fresh();
            let storage = disk.open().unwrap();
            drop(storage.create(&FileName::new(name).unwrap(), 4096).unwrap());
            storage.sync_dir().unwrap();
            let before = disk.digest();
            let refused = Database::open(storage, config(1)).expect_err("not ours");
            assert!(matches!(refused, OpenError::NotADatabase { .. }), "{refused:?}");
            assert_eq!(disk.digest(), before);
        }
    }
    on_each_disk!(on);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    fn on(disk: &impl Disk) {
        example(disk);
        let storage = disk.open().unwrap();
        for slot in 0..2 {
            let at = slot * BLOCK_SIZE as u64;
            edit(&storage, &FileName::new("root").unwrap(), at, |block| {
                block[12] = 9;
                let crc = crc32(&block[12..512]);
                block[8..12].copy_from_slice(&crc.to_le_bytes());
            });
        }
        let error = Database::open(storage, config(1)).expect_err("newer");
        assert!(
            matches!(error, OpenError::NewerVersion { found: 9, supported: 1, .. }),
            "{error:?}"
        );
    }
    on_each_disk!(on);
}

/// CRC32 (IEEE), bit by bit: a second opinion on the library that the engine uses.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}
