//! Keys larger than memory: tables that are made, merged, dropped, and what settings do to them.

use crate::contents::{config, open};
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{MemStorage, Op, Storage};
use gannet::{
    CommitError, Compression, Config, Database, Durability, KeyStats, ReadError, WriteBatch,
    prefix_end,
};
use gannet_testkit::fault::{Action, Calls, FaultStorage, Rule};
use gannet_testkit::sim::{SimDisk, SimRng, Tampered};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn shown<S: Storage>(db: &Database<S>, keyspace: &str) -> Model {
    let mut found = Model::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    db.scan(keyspace, all.0, all.1, |key, value| {
        found.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn checkpoint<S: Storage>(db: &Database<S>) {
    db.checkpoint(&mut |_| ControlFlow::Continue(())).unwrap();
}

fn compact<S: Storage>(db: &Database<S>) {
    db.compact(&mut |_| ControlFlow::Continue(())).unwrap();
}

/// Puts and deletes among 2,000 keys, with values that do not compress.
fn change(rng: &mut SimRng, model: &mut Model) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for _ in 0..20 {
        let key = format!("key {}", rng.below(2000)).into_bytes();
        if rng.below(5) == 0 {
            batch.delete("kv", &key);
            model.remove(&key);
        } else {
            let value: Vec<u8> = (0..4).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
            batch.put("kv", &key, &value);
            model.insert(key, value);
        }
    }
    batch
}

fn levels(stats: &KeyStats) -> usize {
    stats.levels.iter().filter(|level| level.tables > 0).count()
}

/// With threads of its own, that flush and merge beside commits and reads.
#[test]
fn keys_are_what_they_were_told_to_be_through_flushes_and_merges() {
    fn on(disk: &impl Disk) {
        let mut rng = SimRng::new(1);
        let mut model = Model::new();
        let mut config = config(1);
        config.threads = 2;
        config.merge_threads = 2;
        config.memtable_bytes = 16 << 10;
        config.durability = Durability::Buffered;
        for round in 0..3 {
            let db = Database::open(disk.open().unwrap(), config.clone()).unwrap();
            assert_eq!(shown(&db, "kv"), model, "round {round}");
            for number in 0..250 {
                db.commit(change(&mut rng, &mut model)).unwrap();
                if number % 60 == 59 {
                    checkpoint(&db);
                }
                if number % 50 == 0 {
                    assert_eq!(shown(&db, "kv"), model, "round {round}, {number}");
                }
                let key = format!("key {}", rng.below(2000)).into_bytes();
                assert_eq!(db.get("kv", &key).unwrap().as_ref(), model.get(&key));
            }
            assert!(levels(&db.stats().unwrap().keys) > 1);
            drop(db);
        }
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        assert_eq!(shown(&db, "kv"), model);
        compact(&db);
        assert_eq!(shown(&db, "kv"), model);
        let keys = db.stats().unwrap().keys;
        let versions: u64 = keys.levels.iter().map(|level| level.versions).sum();
        assert_eq!((levels(&keys), versions), (1, model.len() as u64));
        assert!(db.verify().unwrap().faults.is_empty());
    }
    on_each_disk!(on);
}

#[test]
fn scans_go_both_ways_over_a_prefix_and_any_range() {
    let db = Database::open(MemStorage::new(), config(1)).unwrap();
    let mut model = Model::new();
    let mut rng = SimRng::new(5);
    for round in 0..6 {
        db.commit(change(&mut rng, &mut model)).unwrap();
        if round % 2 == 0 {
            checkpoint(&db);
        }
    }
    let end = prefix_end(b"key 1");
    let keys = |from: Bound<&[u8]>, to: Bound<&[u8]>, is_back: bool| {
        let mut found = Vec::new();
        let each = |key: &[u8], _: &[u8]| {
            found.push(key.to_vec());
            ControlFlow::Continue(())
        };
        if is_back { db.scan_back("kv", from, to, each) } else { db.scan("kv", from, to, each) }
            .unwrap();
        found
    };
    let ranges = [
        (Bound::Included(&b"key 1"[..]), end.as_ref().map(Vec::as_slice)),
        (Bound::Unbounded, Bound::Included(&b"key 5"[..])),
        (Bound::Excluded(b"key 3"), Bound::Unbounded),
        (Bound::Included(b"key 9"), Bound::Included(b"key 2")),
        (Bound::Excluded(b"key 3"), Bound::Excluded(b"key 3")),
    ];
    for (number, (from, to)) in ranges.into_iter().enumerate() {
        let due: Vec<_> = if number < 3 {
            model.range::<[u8], _>((from, to)).map(|(key, _)| key.clone()).collect()
        } else {
            Vec::new()
        };
        assert_eq!(keys(from, to, false), due, "range {number}");
        let mut back = keys(from, to, true);
        back.reverse();
        assert_eq!(back, due, "range {number}");
    }
}

#[test]
fn a_keyspace_that_is_dropped_is_gone_and_gives_back_its_space() {
    fn on(disk: &impl Disk) {
        let mut config = config(1);
        config.compression = Compression::None;
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        for keyspace in ["a", "b", "c"] {
            let mut batch = WriteBatch::new();
            for key in 0..200_u8 {
                batch.put(keyspace, &[key], &[key; 500]);
            }
            db.commit(batch).unwrap();
        }
        checkpoint(&db);
        let bytes = |db: &Database<_>| {
            db.stats().unwrap().keys.levels.iter().map(|level| level.bytes).sum::<u64>()
        };
        let before = bytes(&db);
        let mut batch = WriteBatch::new();
        batch.drop_keyspace("b");
        batch.drop_keyspace("never-there");
        batch.put("b", b"new", b"1");
        batch.drop_keyspace("c");
        db.commit(batch).unwrap();
        let check = |db: &Database<_>| {
            assert_eq!(db.keyspaces(), ["a", "b"]);
            assert_eq!(shown(db, "a").len(), 200);
            assert_eq!(shown(db, "b"), Model::from([(b"new".to_vec(), b"1".to_vec())]));
            assert!(shown(db, "c").is_empty() && db.get("c", &[7]).unwrap().is_none());
        };
        check(&db);
        drop(db);
        // From the log, then from a checkpoint, then from tables without it.
        let db = open(disk, 2);
        check(&db);
        checkpoint(&db);
        drop(db);
        let db = open(disk, 3);
        check(&db);
        compact(&db);
        check(&db);
        assert!(bytes(&db) * 2 < before, "{} of {before}", bytes(&db));
        let mut batch = WriteBatch::new();
        batch.put("c", &[7], b"again");
        db.commit(batch).unwrap();
        assert_eq!(db.keyspaces(), ["a", "b", "c"]);
        drop(db);
        assert_eq!(open(disk, 4).get("c", &[7]).unwrap().unwrap(), b"again");
    }
    on_each_disk!(on);
}

/// A thousand keyspaces cost no files.
#[test]
fn keyspaces_are_made_and_dropped_by_the_thousand() {
    let db = Database::open(MemStorage::new(), config(1)).unwrap();
    let name = |number: u32| format!("run-{number}");
    for number in 0..1000 {
        let mut batch = WriteBatch::new();
        batch.put(&name(number), b"k", &number.to_le_bytes());
        db.commit(batch).unwrap();
    }
    checkpoint(&db);
    let tables: u64 = db.stats().unwrap().keys.levels.iter().map(|level| level.tables).sum();
    assert_eq!((tables, db.keyspaces().len()), (1, 1000));
    let mut batch = WriteBatch::new();
    (0..1000).filter(|number| number % 7 > 0).for_each(|number| batch.drop_keyspace(&name(number)));
    db.commit(batch).unwrap();
    for number in 0..1000 {
        let found = db.get(&name(number), b"k").unwrap();
        assert_eq!(found, (number % 7 == 0).then(|| number.to_le_bytes().to_vec()));
    }
}

/// Memory with these settings, filled with so many keys in tables.
fn with(change: impl FnOnce(&mut Config), keys: u32) -> Database<FaultStorage<MemStorage>> {
    let mut config = config(1);
    config.compression = Compression::None;
    change(&mut config);
    let db = Database::open(FaultStorage::new(MemStorage::new()), config).unwrap();
    for first in (0..keys).step_by(100) {
        let mut batch = WriteBatch::new();
        for key in first..first + 100 {
            batch.put("kv", &(2 * key).swap_bytes().to_le_bytes(), &[7; 100]);
        }
        db.commit(batch).unwrap();
        db.tend().unwrap();
    }
    db
}

#[test]
fn every_setting_has_its_effect() {
    let tables = |db: &Database<FaultStorage<MemStorage>>| {
        let levels = db.stats().unwrap().keys.levels;
        let sum = |of: fn(&gannet::LevelStats) -> u64| levels.iter().map(of).sum::<u64>();
        (sum(|level| level.tables), sum(|level| level.bytes))
    };
    // Memtables are written when they are full, and no sooner.
    let small = with(|config| config.memtable_bytes = 64 << 10, 2000);
    let large = with(|_| {}, 2000);
    assert!(tables(&small).0 > 3 && tables(&large).0 == 0);
    assert!(small.stats().unwrap().keys.memtable_bytes < 80 << 10);
    assert!(large.stats().unwrap().keys.memtable_bytes > 200 << 10);
    checkpoint(&large);
    // Longer blocks need fewer places in the index; values that are alike are compressed.
    let written = |change: fn(&mut Config)| {
        let db = with(change, 2000);
        checkpoint(&db);
        tables(&db).1
    };
    let plain = written(|_| {});
    assert!(written(|config| config.block_bytes = 256) > plain + 8192);
    assert!(written(|config| config.compression = Compression::Lz4) * 3 < plain);
    // Keys that are not there are known without a look at a block, but not without a filter.
    let reads = |change: fn(&mut Config)| {
        let db = with(change, 2000);
        checkpoint(&db);
        db.get("kv", &1_u32.swap_bytes().to_le_bytes()).unwrap();
        let before = db.storage().faults().seen(Calls::Op(Op::View));
        for key in 100..200_u32 {
            let key = (2 * key + 1).swap_bytes().to_le_bytes();
            assert!(db.get("kv", &key).unwrap().is_none());
        }
        db.storage().faults().seen(Calls::Op(Op::View)) - before
    };
    assert!(reads(|_| {}) < 10);
    assert_eq!(reads(|config| config.bloom_bits = 0), 100);
}

#[test]
fn blocks_that_were_read_are_kept_as_far_as_there_is_room() {
    let db = |block_cache_bytes| {
        let disk = SimDisk::new();
        let mut config = config(1);
        config.block_cache_bytes = block_cache_bytes;
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        let mut batch = WriteBatch::new();
        for key in 0..1000_u32 {
            batch.put("kv", &key.to_le_bytes(), &[7; 100]);
        }
        db.commit(batch).unwrap();
        checkpoint(&db);
        for key in 0..1000_u32 {
            assert!(db.get("kv", &key.to_le_bytes()).unwrap().is_some());
        }
        db.stats().unwrap().keys.block_cache_bytes
    };
    assert_eq!(db(0), 0);
    assert!((1..=32 << 10).contains(&db(32 << 10)));
    assert!(db(64 << 20) > 100 << 10);
}

/// A table that cannot be written: keys stay, commits are refused before memory is full, and go on
/// when there is room again.
#[test]
fn keys_that_cannot_be_written_to_a_table_stay_in_memory_and_bounded() {
    let mut config = config(1);
    config.memtable_bytes = 16 << 10;
    let db = Database::open(FaultStorage::new(MemStorage::new()), config).unwrap();
    let put = |key: u32| {
        let mut batch = WriteBatch::new();
        batch.put("kv", &key.to_le_bytes(), &[7; 1000]);
        db.commit(batch)
    };
    put(0).unwrap();
    db.storage().faults().add(Rule::forever(Calls::Op(Op::Seal), 1, Action::Enospc));
    let mut put_in_all = 1;
    let refused = loop {
        match put(put_in_all) {
            Ok(_) => put_in_all += 1,
            Err(error) => break error,
        }
        assert!(put_in_all < 200, "memory has no bound");
    };
    assert!(matches!(refused, CommitError::MemtableFull { .. }), "{refused:?}");
    let stats = db.stats().unwrap().keys;
    assert!(stats.flush_failure.is_some() && stats.memtable_bytes < 64 << 10, "{stats:?}");
    assert_eq!(shown(&db, "kv").len(), put_in_all as usize);
    db.storage().faults().clear();
    put(put_in_all).unwrap();
    let stats = db.stats().unwrap().keys;
    assert!(stats.flush_failure.is_none() && !stats.levels.is_empty(), "{stats:?}");
    assert_eq!(shown(&db, "kv").len(), put_in_all as usize + 1);
}

#[test]
fn a_damaged_block_is_refused_by_name_and_others_are_read() {
    let disk = SimDisk::new();
    let db = open(&disk, 1);
    let mut batch = WriteBatch::new();
    for key in 0..300_u32 {
        batch.put("kv", &key.swap_bytes().to_le_bytes(), &key.to_le_bytes().repeat(30));
    }
    db.commit(batch).unwrap();
    checkpoint(&db);
    drop(db);
    let disk = disk.kill();
    let table = disk.open().unwrap().list().unwrap().into_iter().map(|meta| meta.name);
    let file = table.clone().find(|name| name.as_str().starts_with("table-")).unwrap();
    disk.flip(&Tampered { file: file.clone(), offset: 4096 });
    let db = open(&disk, 2);
    let found = db.get("kv", &[0; 4]);
    let Err(ReadError::Corrupt(damage)) = found else { panic!("{found:?}") };
    assert_eq!(damage.file, file.as_str());
    let last = db.get("kv", &299_u32.swap_bytes().to_le_bytes()).unwrap().unwrap();
    assert_eq!(last[..4], 299_u32.to_le_bytes());
    let all = (Bound::Unbounded, Bound::Unbounded);
    let scanned = db.scan("kv", all.0, all.1, |_, _| ControlFlow::Continue(()));
    assert!(matches!(scanned, Err(ReadError::Corrupt(_))));
    // It can be written to, and what cannot be read is not merged away.
    let mut batch = WriteBatch::new();
    batch.put("kv", &[0; 4], b"new");
    db.commit(batch).unwrap();
    assert!(db.compact(&mut |_| ControlFlow::Continue(())).is_err());
    assert_eq!(db.get("kv", &[0; 4]).unwrap().unwrap(), b"new");
    assert!(matches!(db.storage().list().map(|l| l.len()), Ok(2..)));
}

#[test]
fn compacting_leaves_little_but_what_is_live() {
    let disk = SimDisk::new();
    let mut config = config(1);
    config.segment_bytes = 1 << 20;
    config.memtable_bytes = 256 << 10;
    config.durability = Durability::Buffered;
    let db = Database::open(disk.open().unwrap(), config).unwrap();
    let mut rng = SimRng::new(3);
    let mut live = 0;
    for round in 0..10 {
        for first in (0..4000_u32).step_by(200) {
            let mut batch = WriteBatch::new();
            for key in first..first + 200 {
                let value: Vec<u8> = (0..12).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
                if round < 9 || key % 2 == 0 {
                    batch.put("kv", &key.to_le_bytes(), &value);
                    live += if round == 9 { 4 + value.len() as u64 } else { 0 };
                } else {
                    batch.delete("kv", &key.to_le_bytes());
                }
            }
            db.commit(batch).unwrap();
            db.tend().unwrap();
        }
    }
    compact(&db);
    let bytes: u64 = db.stats().unwrap().keys.levels.iter().map(|level| level.bytes).sum();
    assert!(bytes * 10 < live * 13, "{bytes} of tables for {live} of live keys and values");
    db.close().unwrap();
    let all: u64 = disk.open().unwrap().list().unwrap().iter().map(|meta| meta.len_bytes).sum();
    assert!(all - bytes < 8 << 20, "{all}");
}

#[test]
fn what_is_deleted_gives_back_its_space_by_itself() {
    let mut config = config(1);
    config.memtable_bytes = 64 << 10;
    config.durability = Durability::Buffered;
    let db = Database::open(SimDisk::new().open().unwrap(), config).unwrap();
    let mut rng = SimRng::new(4);
    let mut write = |is_there: bool| {
        for first in (0..6000_u32).step_by(50) {
            let mut batch = WriteBatch::new();
            for key in first..first + 50 {
                let value: Vec<u8> = (0..25).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
                if is_there {
                    batch.put("kv", &key.to_le_bytes(), &value);
                } else {
                    batch.delete("kv", &key.to_le_bytes());
                }
            }
            db.commit(batch).unwrap();
            db.tend().unwrap();
        }
        db.stats().unwrap().keys.levels.iter().map(|level| level.bytes).sum::<u64>()
    };
    let (full, deleted) = (write(true), write(false));
    assert!(full > 1 << 20, "{full}");
    assert!(deleted < full / 4, "{deleted} bytes of tables for nothing, of {full}");
}
