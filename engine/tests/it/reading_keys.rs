//! Keys in tables of many blocks: many at once, and scans that are read ahead.

use crate::contents::config;
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{Op, Storage};
use gannet::{Database, WriteBatch};
use gannet_testkit::fault::{Calls, FaultStorage};
use gannet_testkit::sim::{SimDisk, SimRng};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const KEYS: usize = 12_000;

fn key(number: usize) -> Vec<u8> {
    format!("key {number:06}").into_bytes()
}

/// Tables in several levels, a memtable above them, and what they have: about 4 MB, every third key
/// and some of the others.
fn filled<S: Storage>(storage: S, cache_bytes: u64) -> (Database<S>, Model) {
    let mut config = config(1);
    config.block_cache_bytes = cache_bytes;
    let db = Database::open(storage, config).unwrap();
    let (mut rng, mut model) = (SimRng::new(3), Model::new());
    for round in 0..4 {
        let mut batch = WriteBatch::new();
        for number in (0..KEYS).filter(|number| number % 3 == 0 || number % 7 == round) {
            if rng.below(1 + round) > 0 {
                continue;
            }
            if rng.below(9) == 0 {
                batch.delete("kv", &key(number));
                model.remove(&key(number));
            } else {
                let words = 1 + rng.below(80);
                let value: Vec<u8> =
                    (0..words).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
                batch.put("kv", &key(number), &value);
                model.insert(key(number), value);
            }
        }
        db.commit(batch).unwrap();
        match round {
            0 => drop(db.compact(&mut |_| ControlFlow::Continue(())).unwrap()),
            1 | 2 => drop(db.checkpoint(&mut |_| ControlFlow::Continue(())).unwrap()),
            _ => {}
        }
    }
    (db, model)
}

#[test]
fn many_keys_at_once_are_what_each_is_alone() {
    fn on(disk: &impl Disk) {
        for cache_bytes in [0, 1 << 20] {
            let fresh = disk.fresh();
            let (db, model) = filled(fresh.open().unwrap(), cache_bytes);
            let mut rng = SimRng::new(4);
            for count in [0, 1, 40, 3000] {
                // In no order, some twice, some that are not there.
                let keys: Vec<_> = (0..count).map(|_| key(rng.below(KEYS + 100))).collect();
                let asked: Vec<_> = keys.iter().map(Vec::as_slice).collect();
                let due: Vec<_> = keys.iter().map(|key| model.get(key).cloned()).collect();
                assert!(db.get_many("kv", &asked).unwrap() == due, "{count} keys");
                assert_eq!(db.get_many("none", &asked).unwrap(), vec![None; count]);
            }
        }
    }
    on_each_disk!(on);
}

#[test]
fn scans_that_are_read_ahead_are_whole_either_way() {
    fn on(disk: &impl Disk) {
        let (db, model) = filled(disk.open().unwrap(), 0);
        let mut rng = SimRng::new(5);
        for number in 0..12 {
            let mut ends = [rng.below(KEYS), if number == 0 { KEYS } else { rng.below(KEYS) }];
            ends.sort_unstable();
            let ends = if number < 2 { [0, KEYS] } else { ends };
            let [from, to] = ends.map(key);
            let (from, to) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
            // All of it, or a part.
            let most = if number % 2 == 0 { usize::MAX } else { rng.below(4000) };
            for is_back in [false, true] {
                let mut found = Vec::new();
                let each = |key: &[u8], value: &[u8]| {
                    if found.len() == most {
                        return ControlFlow::Break(());
                    }
                    found.push((key.to_vec(), value.to_vec()));
                    ControlFlow::Continue(())
                };
                if is_back {
                    db.scan_back("kv", from, to, each).unwrap();
                } else {
                    db.scan("kv", from, to, each).unwrap();
                }
                let range = model.range::<[u8], _>((from, to));
                let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
                let due: Vec<_> = if is_back {
                    range.rev().take(most).map(pair).collect()
                } else {
                    range.take(most).map(pair).collect()
                };
                assert!(found == due, "scan {number}, back: {is_back}");
            }
        }
    }
    on_each_disk!(on);
}

#[test]
fn blocks_of_a_table_are_read_in_one_batch_and_those_of_a_scan_many_at_a_time() {
    let storage = FaultStorage::new(SimDisk::new().open().unwrap());
    let (db, model) = filled(storage, 0);
    db.compact(&mut |_| ControlFlow::Continue(())).unwrap();
    let tables: u64 = db.stats().unwrap().keys.levels.iter().map(|level| level.tables).sum();
    // Its index and filter.
    db.get("kv", &key(3)).unwrap();
    let reads = |what: &dyn Fn()| {
        let seen = || {
            let of = |op| db.storage().faults().seen(Calls::Op(op));
            of(Op::View) + of(Op::Read) + of(Op::Queue)
        };
        let before = seen();
        what();
        seen() - before
    };
    let keys: Vec<_> = model.keys().step_by(20).map(Vec::as_slice).collect();
    let together = reads(&|| drop(db.get_many("kv", &keys).unwrap()));
    let alone = reads(&|| keys.iter().for_each(|key| drop(db.get("kv", key).unwrap())));
    assert!(keys.len() > 100 && alone == keys.len() as u64, "{alone} for {}", keys.len());
    assert_eq!((tables, together), (1, 1));
    let all = (Bound::Unbounded, Bound::Unbounded);
    let bytes: usize = model.values().map(Vec::len).sum();
    let scan = reads(&|| db.scan("kv", all.0, all.1, |_, _| ControlFlow::Continue(())).unwrap());
    assert!(bytes > 1 << 20 && scan < (bytes / (128 << 10)) as u64, "{scan} of {bytes} bytes");
}
