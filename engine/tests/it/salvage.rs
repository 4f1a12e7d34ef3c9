//! Salvage: whatever is damaged, what is not reported lost is there, and nothing that never was.

use crate::contents::{checkpoint, config, open, params};
use crate::disk::{Disk, Folder};
use crate::salvage_history::{Truth, history, merged_history};
use gannet::storage::{BLOCK_SIZE, Durability, FileName, Op, ReadFile, Storage, Write, WriteFile};
use gannet::{
    Database, Id, Lost, Lsn, Metric, Params, SalvageError, SalvageReport, SeededChance, WriteBatch,
    salvage, verify_storage,
};
use gannet_testkit::fault::{Action, Calls, FaultStorage, Faults, Rule};
use gannet_testkit::sim::{SimDisk, SimStorage};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow, RangeInclusive};
use std::sync::Arc;

pub(crate) fn run<F: Storage, T: Storage>(from: &F, to: T) -> Result<SalvageReport, SalvageError> {
    salvage(from, to, config(9), &mut |_| {})
}

/// Salvages `from`, checks what came of it against the truth, and that `from` was not touched.
fn judge<D: Disk>(disk: &D, truth: &Truth, place: &str) -> SalvageReport {
    let before = disk.digest();
    let (report, made) = rescue(&disk.open().unwrap(), place);
    assert_eq!(disk.digest(), before, "{place}: the damaged database was changed");
    check(&made, &report, truth, place);
    report
}

/// As [`judge`], where the end of the log was taken away without a trace: what was there is gone.
fn judge_without_end(disk: &SimDisk, truth: &Truth, place: &str) {
    let (mut report, made) = rescue(&disk.open().unwrap(), place);
    report.holes.push(report.end_lsn + 1..=Lsn::MAX);
    check(&made, &report, truth, place);
}

fn rescue<F: Storage>(from: &F, place: &str) -> (SalvageReport, SimDisk) {
    let made = SimDisk::new();
    let report = run(from, made.open().unwrap());
    (report.unwrap_or_else(|error| panic!("{place}: {error:?}")), made)
}

/// The new database is healthy, has everything that is not reported lost as it was, and nothing
/// that never was.
fn check(made: &SimDisk, report: &SalvageReport, truth: &Truth, place: &str) {
    let verified = verify_storage(&made.open().unwrap()).unwrap();
    assert!(verified.faults.is_empty() && verified.notes.is_empty(), "{place}: {verified:?}");
    let db = Database::open(made.open().unwrap(), config(3)).unwrap();
    assert!(db.recovery_report().fallbacks.is_empty(), "{place}");
    let (mut keys, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let mut doubt = |lsns: &RangeInclusive<Lsn>| {
        keys.extend(truth.key_of.range(lsns.clone()).map(|(_, key)| key.clone()));
        ids.extend(truth.id_of.range(lsns.clone()).map(|(_, id)| *id));
    };
    report.holes.iter().for_each(&mut doubt);
    let mut is_all_in_doubt = false;
    for loss in &report.lost {
        match &loss.what {
            Lost::Records { lsns } => {
                keys.extend(truth.key_of.range(lsns.clone()).map(|(_, key)| key.clone()));
                ids.extend(truth.id_of.range(lsns.clone()).map(|(_, id)| *id));
            }
            Lost::Keys { behind, upto, .. } => {
                let from = behind.clone().map_or(Bound::Unbounded, Bound::Excluded);
                let to = upto.clone().map_or(Bound::Unbounded, Bound::Included);
                keys.extend(truth.keys.range((from, to)).map(|(key, _)| key.clone()));
            }
            Lost::Rows { rows, .. } | Lost::Deletions { rows, .. } => {
                ids.extend(rows.clone().filter_map(|row| truth.rows.get(row as usize)));
            }
            Lost::End { behind } => {
                keys.extend(truth.key_of.range(behind + 1..).map(|(_, key)| key.clone()));
                ids.extend(truth.id_of.range(behind + 1..).map(|(_, id)| *id));
            }
            Lost::File { .. } => is_all_in_doubt = true,
            other => panic!("{place}: {other:?} is not known to this test"),
        }
    }
    let no_vectors = db.collection("c").is_none();
    for (key, versions) in &truth.keys {
        let found = db.get("kv", key).unwrap();
        if !is_all_in_doubt && !keys.contains(key) {
            assert_eq!(&found, versions.last().unwrap(), "{place}: {key:?} {report:#?}");
        }
        assert!(found.is_none() || versions.contains(&found), "{place}: {key:?}");
    }
    let mut count = 0;
    for (id, versions) in &truth.ids {
        let found = if no_vectors { None } else { db.get_vector("c", &Id::Int(*id)).unwrap() };
        count += u64::from(found.is_some());
        if !is_all_in_doubt && !ids.contains(id) {
            assert_eq!(&found, versions.last().unwrap(), "{place}: {id} {report:#?}");
        }
        assert!(found.is_none() || versions.contains(&found), "{place}: {id}");
    }
    assert_eq!(count, report.rows, "{place}: ids that never were");
    let mut found_keys = 0;
    db.scan("kv", Bound::Unbounded, Bound::Unbounded, |key, _| {
        assert!(truth.keys.contains_key(key), "{place}: {key:?} never was");
        found_keys += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(found_keys, report.keys, "{place}");
}

fn edit(storage: &impl Storage, name: &FileName, start: u64, change: impl FnOnce(&mut [u8])) {
    let file = storage.open(name).unwrap();
    let mut block = storage.alloc(BLOCK_SIZE);
    file.read_at(start, &mut block).unwrap();
    change(&mut block);
    file.write_batch(&[Write { offset: start, bytes: &block }], Durability::Data).unwrap();
}

fn cut(storage: &impl Storage, name: &FileName, len_bytes: u64) {
    let file = storage.open(name).unwrap();
    file.set_len(len_bytes).unwrap();
    file.sync(Durability::Full).unwrap();
}

fn blocks(disk: &impl Disk) -> Vec<(FileName, u64)> {
    let listed = disk.open().unwrap().list().unwrap();
    let blocks = |meta: gannet::storage::FileMeta| {
        (0..meta.len_bytes).step_by(BLOCK_SIZE).map(move |at| (meta.name.clone(), at))
    };
    listed.into_iter().flat_map(blocks).collect()
}

fn remove(disk: &SimDisk, name: &str) {
    let storage = disk.open().unwrap();
    storage.remove(&FileName::new(name).unwrap()).unwrap();
    storage.sync_dir().unwrap();
}

fn names(disk: &SimDisk) -> Vec<String> {
    let listed = disk.open().unwrap().list().unwrap();
    listed.into_iter().map(|meta| meta.name.to_string()).collect()
}

#[test]
fn without_a_checkpoint_the_log_alone_is_enough() {
    let disk = SimDisk::new();
    let db = open(&disk, 1);
    let mut truth = Truth::default();
    db.create_collection("c", params(Metric::L2)).unwrap();
    for id in 0..10 {
        truth.upsert(&db, id, id);
        truth.put(&db, id, Some(vec![7; 9]));
    }
    truth.delete_row(&db, 3);
    drop(db);
    let report = judge(&disk, &truth, "no checkpoint");
    assert!(report.is_whole() && report.checkpoints.is_empty(), "{report:?}");
    // Nothing but the log, and nothing that names its database.
    remove(&disk, "root");
    let report = judge(&disk, &truth, "no root");
    assert!(report.is_whole() && !report.damage.is_empty(), "{report:?}");
}

#[test]
fn vectors_come_back_as_they_were_inserted_under_every_metric() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        let disk = SimDisk::new();
        let db = open(&disk, 1);
        let params = Params { m: 4, ef_construction: 20, ..Params::new(3, metric) };
        db.create_collection("c", params).unwrap();
        for id in 1..20_u8 {
            let mut batch = WriteBatch::new();
            let at = f32::from(id);
            batch.insert("c", u64::from(id), &[at, -2.0 * at, 0.5]);
            batch.insert("c", &[id][..], &[0.25, at, at * at]);
            db.commit(batch).unwrap();
            if id == 12 {
                checkpoint(&db);
            }
        }
        let target = SimDisk::new();
        let from = disk.kill();
        let report = run(&from.open().unwrap(), target.open().unwrap()).unwrap();
        assert!(report.is_whole(), "{report:?}");
        let made = open(&target, 4);
        for id in 1..20_u8 {
            for id in [Id::from(u64::from(id)), Id::from(&[id][..])] {
                let was = db.get_vector("c", &id).unwrap().unwrap();
                let is = made.get_vector("c", &id).unwrap().unwrap();
                for (was, is) in was.iter().zip(&is) {
                    assert!((was - is).abs() <= was.abs() * 1e-6, "{metric} {id}: {was} {is}");
                }
            }
        }
    }
}

type Change = fn(&mut [u8]);

#[test]
fn any_block_may_be_bad_and_what_is_not_reported_lost_is_there() {
    for make in [history, merged_history] {
        let disk = SimDisk::new();
        let truth = make(&disk);
        any_block_may_be_bad(&disk, &truth);
    }
}

fn any_block_may_be_bad(disk: &SimDisk, truth: &Truth) {
    assert!(judge(disk, truth, "healthy").is_whole());
    let changes: [(&str, Change); 3] = [
        ("zeroed", |block| block.fill(0)),
        ("one byte flipped", |block| block[77] ^= 0x40),
        ("inverted", |block| block.iter_mut().for_each(|byte| *byte = !*byte)),
    ];
    let blocks = blocks(disk);
    let whole: usize = blocks
        .par_iter()
        .map(|(name, at)| {
            let judged = changes.iter().map(|(what, change)| {
                let copy = disk.kill();
                edit(&copy.open().unwrap(), name, *at, change);
                let report = judge(&copy, truth, &format!("{name} block at {at} {what}"));
                usize::from(report.is_whole())
            });
            judged.sum::<usize>()
        })
        .sum();
    eprintln!("{} blocks, {whole} of {} damages cost nothing", blocks.len(), 3 * blocks.len());
    assert!(whole > blocks.len() && whole < 3 * blocks.len(), "{whole}");
}

#[test]
fn what_opening_makes_up_for_costs_nothing() {
    let disk = SimDisk::new();
    let truth = history(&disk);
    let last_lsn = open(&disk.snapshot(), 1).stats().unwrap().last_lsn;
    let mut opens = 0;
    for name in names(&disk) {
        let copy = disk.kill();
        remove(&copy, &name);
        let opened = Database::open(copy.snapshot().open().unwrap(), config(1));
        if opened.is_ok_and(|db| db.stats().unwrap().last_lsn == last_lsn) {
            let report = judge(&copy, &truth, &name);
            assert!(report.is_whole(), "{name}: {report:#?}");
            opens += 1;
        }
    }
    assert!(opens > 4, "{opens}");
    let copy = disk.kill();
    remove(&copy, "root");
    assert!(judge(&copy, &truth, "no root").is_whole());
}

#[test]
fn a_missing_segment_is_a_hole_and_what_is_behind_it_is_taken() {
    let disk = SimDisk::new();
    let truth = history(&disk);
    let logs: Vec<_> = names(&disk).into_iter().filter(|name| name.starts_with("log-")).collect();
    let mut with_hole = 0;
    for name in &logs[..logs.len() - 1] {
        let copy = disk.kill();
        remove(&copy, name);
        let report = judge(&copy, &truth, name);
        let Some(hole) = report.holes.first() else { continue };
        with_hole += 1;
        assert_eq!(report.holes.len(), 1, "{report:?}");
        let behind = report.behind_holes.last().expect("records behind the hole");
        assert!(behind.start() > hole.end() && *behind.end() == report.end_lsn, "{report:?}");
    }
    assert!(with_hole > 1, "{logs:?}");
}

#[test]
fn manifests_are_found_by_name_where_the_root_names_none() {
    let disk = SimDisk::new();
    let truth = history(&disk);
    let manifests: Vec<_> =
        names(&disk).into_iter().filter(|name| name.starts_with("manifest-")).collect();
    assert_eq!(manifests.len(), 2);
    for gone in &manifests {
        for with_root in [true, false] {
            let copy = disk.kill();
            remove(&copy, gone);
            if !with_root {
                remove(&copy, "root");
            }
            let report = judge(&copy, &truth, gone);
            assert!(report.is_whole() && report.checkpoints.len() == 1, "{report:#?}");
        }
    }
    let copy = disk.kill();
    for name in &manifests {
        remove(&copy, name);
    }
    let report = judge(&copy, &truth, "no manifest");
    let files = report.lost.iter().filter(|loss| matches!(loss.what, Lost::File { .. })).count();
    assert!(files > 2 && report.checkpoints.is_empty(), "{report:#?}");
}

#[test]
fn a_shorter_file_is_taken_as_far_as_it_goes() {
    let disk = SimDisk::new();
    let truth = history(&disk);
    let listed = disk.open().unwrap().list().unwrap();
    let segments = listed.iter().filter(|meta| meta.name.as_str().starts_with("log-"));
    let last_segment = segments.map(|meta| meta.name.to_string()).max().unwrap();
    for meta in listed {
        for len_bytes in (0..meta.len_bytes).step_by(BLOCK_SIZE) {
            let copy = disk.kill();
            cut(&copy.open().unwrap(), &meta.name, len_bytes);
            let place = format!("{} cut to {len_bytes}", meta.name);
            if meta.name.as_str() == last_segment {
                judge_without_end(&copy, &truth, &place);
            } else {
                judge(&copy, &truth, &place);
            }
        }
    }
}

#[test]
fn a_file_of_odd_length_is_named_and_left_out() {
    fn on(folder: &Folder) {
        let truth = history(folder);
        for meta in folder.open().unwrap().list().unwrap() {
            let copy = folder.copy();
            let path = copy.path().join(meta.name.as_str());
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(meta.len_bytes - 100).unwrap();
            drop(file);
            let report = judge(&copy, &truth, meta.name.as_str());
            let graph = meta.name.as_str().starts_with("graph-");
            let is_named = report.damage.iter().any(|d| d.file == meta.name.as_str());
            assert!(graph || is_named || report.is_whole(), "{}: {report:#?}", meta.name);
        }
    }
    Folder::each().take(1).for_each(|folder| on(&folder));
}

/// All bytes of a file, put into another storage under the same name.
fn copy_file(from: &SimStorage, to: &SimStorage, name: &FileName) {
    let source = from.open(name).unwrap();
    let mut bytes = to.alloc(usize::try_from(source.len_bytes()).unwrap());
    source.read_at(0, &mut bytes).unwrap();
    let _ = to.remove(name);
    let file = to.create(name, bytes.len() as u64).unwrap();
    file.write_batch(&[Write { offset: 0, bytes: &bytes }], Durability::Full).unwrap();
    to.sync_dir().unwrap();
}

#[test]
fn files_of_another_database_are_named_and_left_out() {
    let disk = SimDisk::new();
    let truth = history(&disk);
    let other = SimDisk::new();
    let db = Database::open(other.open().unwrap(), {
        let mut other = config(77);
        other.chance = Arc::new(SeededChance::new(78));
        other
    })
    .unwrap();
    for round in 0..30_u8 {
        let mut batch = WriteBatch::new();
        batch.put("kv", b"foreign", &[round; 3000]);
        db.commit(batch).unwrap();
        if round % 12 == 0 {
            checkpoint(&db);
        }
    }
    drop(db);
    let foreign = other.open().unwrap();
    for with_root in [true, false] {
        let mut reported = 0;
        for meta in foreign.list().unwrap() {
            if meta.name.as_str() == "root" {
                continue;
            }
            let copy = disk.kill();
            copy_file(&foreign, &copy.open().unwrap(), &meta.name);
            if !with_root {
                remove(&copy, "root");
            }
            let report = judge(&copy, &truth, meta.name.as_str());
            reported += u64::from(report.damage.iter().any(|d| d.file == meta.name.as_str()));
        }
        assert!(reported > 3, "{reported}");
    }
    // A damaged header of a segment does not make a foreign one ours.
    let first = foreign.list().unwrap().into_iter().map(|meta| meta.name);
    for name in first.filter(|name| name.as_str().starts_with("log-")) {
        let copy = disk.kill();
        let storage = copy.open().unwrap();
        copy_file(&foreign, &storage, &name);
        edit(&storage, &name, 0, |block| block[48] ^= 1);
        drop(storage);
        judge(&copy, &truth, &format!("{name} with a damaged header"));
    }
    // Both databases in one place, but for the names that both have.
    let copy = disk.kill();
    let storage = copy.open().unwrap();
    for meta in foreign.list().unwrap() {
        if storage.open_sealed(&meta.name).is_err() {
            copy_file(&foreign, &storage, &meta.name);
        }
    }
    drop(storage);
    judge(&copy, &truth, "mixed");
}

#[test]
fn what_the_device_does_not_give_back_is_left_out() {
    let disk = SimDisk::new();
    let truth = history(&disk);
    let faults = Faults::default();
    let storage = FaultStorage::over(Arc::new(disk.kill().open().unwrap()), faults.clone());
    rescue(&storage, "no fault");
    let calls = faults.seen(Calls::Op(Op::View)).max(faults.seen(Calls::Op(Op::OpenSealed)));
    assert!(calls > 100, "{calls}");
    let nths: Vec<u64> = (1..=calls).step_by(3).collect();
    nths.into_par_iter().for_each(|nth| {
        for op in [Op::View, Op::OpenSealed] {
            for forever in [false, true] {
                let faults = Faults::default();
                let from = Arc::new(disk.kill().open().unwrap());
                let storage = FaultStorage::over(from, faults.clone());
                let rule = if forever { Rule::forever } else { Rule::once };
                faults.add(rule(Calls::Op(op), nth, Action::Eio));
                let place = format!("{op:?} {nth}, for ever: {forever}");
                let (report, made) = rescue(&storage, &place);
                check(&made, &report, &truth, &place);
            }
        }
    });
}

#[test]
fn any_damage_in_any_number_is_borne() {
    let disk = SimDisk::new();
    let truth = history(&disk);
    let blocks = blocks(&disk);
    (0..300_u64).into_par_iter().for_each(|seed| {
        use gannet::Chance;
        let chance = SeededChance::new(seed);
        let below = |bound: usize| usize::try_from(chance.next_u64() % bound as u64).unwrap();
        let copy = disk.kill();
        for _ in 0..=below(12) {
            let (name, at) = &blocks[below(blocks.len())];
            let storage = copy.open().unwrap();
            if storage.open_sealed(name).is_err() {
                continue;
            }
            let len = storage.list().unwrap().iter().find(|m| m.name == *name).unwrap().len_bytes;
            match below(6) {
                0 if len > *at => cut(&storage, name, *at),
                1 => {
                    storage.remove(name).unwrap();
                    storage.sync_dir().unwrap();
                }
                2 if len > *at => edit(&storage, name, *at, |block| block.fill(0)),
                3 if len > *at => {
                    let (from, to) = (below(BLOCK_SIZE), below(BLOCK_SIZE));
                    edit(&storage, name, *at, |block| {
                        block[from.min(to)..from.max(to)].fill(0xa5);
                    });
                }
                _ if len > *at => {
                    let (byte, bit) = (below(BLOCK_SIZE), below(8));
                    edit(&storage, name, *at, |block| block[byte] ^= 1 << bit);
                }
                _ => {}
            }
        }
        judge_without_end(&copy, &truth, &format!("seed {seed}"));
    });
}

#[test]
fn a_frame_in_a_value_is_not_taken_for_one() {
    let disk = SimDisk::new();
    let mut one_segment = config(1);
    one_segment.segment_bytes = 64 << 10;
    let db = Database::open(disk.open().unwrap(), one_segment).unwrap();
    let put = |key: &[u8], value: &[u8]| {
        let mut batch = WriteBatch::new();
        batch.put("kv", key, value);
        db.commit(batch).unwrap().last_lsn
    };
    put(b"k", b"old");
    put(b"k", b"new");
    // The first frame, in a value, where a frame could begin; then its own frame is damaged.
    let name = FileName::new("log-0000000001").unwrap();
    let log = disk.snapshot().open().unwrap();
    let mut first = log.alloc(BLOCK_SIZE);
    log.open(&name).unwrap().read_at(BLOCK_SIZE as u64, &mut first).unwrap();
    assert_eq!(first[..4], *b"GFRM");
    let lost = put(b"copied", &first);
    put(b"after", b"it");
    drop(db);
    let storage = disk.open().unwrap();
    let mut third = storage.alloc(BLOCK_SIZE);
    let at = 3 * BLOCK_SIZE as u64;
    storage.open(&name).unwrap().read_at(at, &mut third).unwrap();
    assert_eq!((&third[..4], &third[88..92]), (&b"GFRM"[..], &b"GFRM"[..]));
    edit(&storage, &name, at, |block| block[20] ^= 1);
    let (report, made) = rescue(&storage, "a frame in a value");
    assert_eq!(report.holes, [lost..=lost]);
    let db = open(&made, 2);
    for (key, value) in [(&b"k"[..], Some(&b"new"[..])), (b"after", Some(b"it")), (b"copied", None)]
    {
        assert_eq!(db.get("kv", key).unwrap().as_deref(), value);
    }
}
