//! The same operations through every backend: the same answers, the same files byte for byte, and
//! every directory opens under every other backend.

use crate::contents::{config, params, vector, without_times};
use crate::disk::{Disk, Folder, Opener};
use gannet::storage::{Caps, MemStorage, ReadFile, Result, SealedFile, Storage};
use gannet::{Database, Id, Metric, SearchOptions, WriteBatch, verify_storage};
use gannet_testkit::fault::{FaultStorage, Faults};
use gannet_testkit::sim::{SimDisk, SimRng};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

const SEED: u64 = 0x5a3e_b17e;
const OPS: usize = 500;
const IDS: usize = 60;
const KEYS: usize = 40;
const QUERIES: usize = 1 << 20;

/// A part of a commit.
#[derive(Clone, Debug)]
enum Change {
    Put { key: usize, len: usize },
    Delete { key: usize },
    Upsert { id: u64, seed: u64 },
    DeleteRow { id: u64 },
}

/// What a user does.
#[derive(Clone, Debug)]
enum Op {
    Commit(Vec<Change>),
    Checkpoint,
    /// Dropped, or closed in order, and opened again.
    Reopen {
        close: bool,
    },
    Search {
        seed: u64,
        k: usize,
        exact: bool,
    },
    Get {
        key: usize,
    },
    GetVector {
        id: u64,
    },
    Scan {
        from: usize,
    },
    Stats,
}

fn change(rng: &mut SimRng) -> Change {
    match rng.below(10) {
        0..4 => {
            // Mostly small; now and then one that spans blocks.
            let len = if rng.below(12) == 0 { 9_000 } else { 300 };
            Change::Put { key: rng.below(KEYS), len: rng.below(len) }
        }
        4 => Change::Delete { key: rng.below(KEYS) },
        5..9 => Change::Upsert { id: rng.below(IDS) as u64, seed: rng.below(QUERIES) as u64 },
        _ => Change::DeleteRow { id: rng.below(IDS) as u64 },
    }
}

fn operations() -> Vec<Op> {
    let mut rng = SimRng::new(SEED);
    let op = |rng: &mut SimRng| match rng.below(100) {
        0..45 => Op::Commit(vec![change(rng)]),
        45..55 => {
            let len = 1 + rng.below(12);
            Op::Commit((0..len).map(|_| change(rng)).collect())
        }
        55..59 => Op::Checkpoint,
        59..63 => Op::Reopen { close: rng.below(2) == 0 },
        63..75 => Op::Search {
            seed: rng.below(QUERIES) as u64,
            k: 1 + rng.below(20),
            exact: rng.below(2) == 0,
        },
        75..84 => Op::Get { key: rng.below(KEYS) },
        84..92 => Op::GetVector { id: rng.below(IDS) as u64 },
        92..98 => Op::Scan { from: rng.below(KEYS) },
        _ => Op::Stats,
    };
    (0..OPS).map(|_| op(&mut rng)).collect()
}

fn name_of(key: usize) -> Vec<u8> {
    format!("key-{key:03}").into_bytes()
}

fn add(batch: &mut WriteBatch, change: &Change) {
    match change {
        Change::Put { key, len } => {
            let fill = u8::try_from(*key).unwrap();
            batch.put("kv", &name_of(*key), &vec![fill; *len]);
        }
        Change::Delete { key } => {
            batch.delete("kv", &name_of(*key));
        }
        Change::Upsert { id, seed } => {
            batch.upsert("c", *id, &vector(*seed));
        }
        Change::DeleteRow { id } => {
            batch.delete_row("c", *id);
        }
    }
}

/// What the database answers; of errors there should be none, but they would have to be the same.
fn answer<S: Storage>(db: &Database<S>, op: &Op) -> String {
    match op {
        Op::Checkpoint => {
            let made = db.checkpoint(&mut |_| ControlFlow::Continue(()));
            // How long it took is nobody's answer.
            format!("{:?}", made.map(|made| (made.lsn, made.files_written, made.bytes_written)))
        }
        Op::Search { seed, k, exact } => {
            let mut options = SearchOptions::new(*k);
            options.exact = *exact;
            format!("{:?}", db.search("c", &vector(*seed), &options))
        }
        Op::Get { key } => format!("{:?}", db.get("kv", &name_of(*key))),
        Op::GetVector { id } => format!("{:?}", db.get_vector("c", &Id::Int(*id))),
        Op::Scan { from } => {
            let mut found = Vec::new();
            let each = |key: &[u8], value: &[u8]| {
                found.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            };
            let from = name_of(*from);
            let scanned = db.scan("kv", Bound::Included(&from), Bound::Unbounded, each);
            format!("{scanned:?} {found:?}")
        }
        Op::Stats => {
            let mut stats = db.stats().unwrap();
            without_times(&mut stats);
            // What differs by design: which backend it is, and room in a randomly keyed table.
            stats.backend = Caps::new("any");
            stats
                .collections
                .iter_mut()
                .for_each(|collection| collection.memory = gannet::CollectionMemory::default());
            format!("{stats:?}")
        }
        Op::Commit(changes) => {
            let mut batch = WriteBatch::new();
            for change in changes {
                add(&mut batch, change);
            }
            format!("{:?}", db.commit(batch))
        }
        Op::Reopen { .. } => panic!("nobody answers that"),
    }
}

/// Runs the operations on a new database and gives every answer; each opening has its own salts.
fn run<S: Storage>(ops: &[Op], open: impl Fn() -> Result<S>) -> Vec<String> {
    let mut opens = 0;
    let mut next = || {
        opens += 1;
        Database::open(open().unwrap(), config(SEED + opens)).unwrap()
    };
    let mut db = next();
    db.create_collection("c", params(Metric::L2)).unwrap();
    let mut answers = Vec::new();
    for op in ops {
        if let Op::Reopen { close } = op {
            if *close {
                db.close().unwrap();
            } else {
                drop(db);
            }
            db = next();
            answers.push(format!("{:?}", db.recovery_report()));
        } else {
            answers.push(answer(&db, op));
        }
    }
    db.close().unwrap();
    answers
}

/// Everything that a database shows, in words.
fn shown<S: Storage>(storage: S) -> Vec<String> {
    let db = Database::open(storage, config(1)).unwrap();
    let queries = (0..20).map(|seed| Op::Search { seed, k: 30, exact: seed % 2 == 0 });
    let rows = (0..IDS).map(|id| Op::GetVector { id: id as u64 });
    let asked = queries.chain(rows).chain([Op::Scan { from: 0 }, Op::Stats]);
    let mut shown: Vec<_> = asked.map(|op| answer(&db, &op)).collect();
    shown.push(format!("{:?}", db.recovery_report()));
    shown
}

/// The files as the storage gives them.
fn files<S: Storage>(storage: &S) -> BTreeMap<String, Vec<u8>> {
    let read = |name: gannet::storage::FileName| {
        let file = storage.open_sealed(&name).unwrap();
        let viewed = file.view(0..file.len_bytes()).unwrap().to_vec();
        let mut read = storage.alloc(viewed.len());
        file.read_at(0, &mut read).unwrap();
        assert!(read[..] == viewed[..], "{name}: read and viewed");
        (name.to_string(), viewed)
    };
    storage.list().unwrap().into_iter().map(|meta| read(meta.name)).collect()
}

#[track_caller]
fn check_same_answers(ops: &[Op], of: &str, answers: &[String], expected: &[String]) {
    assert_eq!(answers.len(), expected.len());
    for (at, (answer, expected)) in answers.iter().zip(expected).enumerate() {
        assert_eq!(answer, expected, "{of}, seed {SEED:#x}, operation {at}: {:?}", ops[at]);
    }
}

#[track_caller]
fn check_same_files(
    of: &str,
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
) {
    let names: Vec<_> = found.keys().collect();
    assert_eq!(names, expected.keys().collect::<Vec<_>>(), "{of}, seed {SEED:#x}");
    for (name, bytes) in found {
        let other = &expected[name];
        assert_eq!(bytes.len(), other.len(), "{of}, seed {SEED:#x}: length of {name}");
        let differs = bytes.iter().zip(other).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{of}, seed {SEED:#x}: first byte of {name} that differs");
    }
}

#[test]
fn the_same_operations_give_the_same_answers_and_the_same_bytes_under_every_backend() {
    let ops = operations();
    let sim = SimDisk::new();
    let expected = run(&ops, || sim.open());
    let bytes = files(&sim.open().unwrap());
    let last = shown(sim.open().unwrap());
    // It is worth something: nothing failed, and every kind of file is there.
    let failed = expected.iter().find(|answer| answer.starts_with("Err"));
    assert_eq!(failed, None);
    for kind in ["root", "log", "manifest", "rows", "graph", "table"] {
        assert!(bytes.keys().any(|name| name.starts_with(kind)), "{kind}: {:?}", bytes.keys());
    }

    let memory = Arc::new(MemStorage::new());
    let reopened = || FaultStorage::over(Arc::clone(&memory), Faults::default());
    check_same_answers(&ops, "memory", &run(&ops, || Ok(reopened())), &expected);
    check_same_files("memory", &files(&reopened()), &bytes);
    assert_eq!(shown(reopened()), last, "memory");

    let folders: Vec<_> = Folder::each().collect();
    for folder in &folders {
        let of = format!("{folder:?}");
        check_same_answers(&ops, &of, &run(&ops, || folder.open()), &expected);
        check_same_files(&of, &folder.bytes(), &bytes);
    }
    for mut folder in folders {
        let written = format!("{folder:?}");
        for opener in Opener::all() {
            folder = folder.under(opener);
            let of = format!("{written}, opened as {folder:?}");
            check_same_files(&of, &files(&folder.open().unwrap()), &bytes);
            let report = verify_storage(&folder.open().unwrap()).unwrap();
            assert!(report.faults.is_empty(), "{of}: {:?}", report.faults);
            assert_eq!(shown(folder.open().unwrap()), last, "{of}");
        }
        check_same_files(&written, &folder.bytes(), &bytes);
    }
}

#[test]
fn what_one_backend_wrote_another_goes_on_with() {
    let openers = Opener::all();
    let ops = operations();
    let sim = SimDisk::new();
    let expected = run(&ops, || sim.open());
    // The same operations, but every reopening is under the next backend.
    let Some(first) = openers.first() else { return };
    let folder = Folder::new(*first);
    let turn = std::cell::Cell::new(0);
    let answers = run(&ops, || {
        turn.set(turn.get() + 1);
        openers[turn.get() % openers.len()].open(folder.path())
    });
    assert!(turn.get() > 2 * openers.len(), "{} openings", turn.get());
    check_same_answers(&ops, "all in turn", &answers, &expected);
    check_same_files("all in turn", &folder.bytes(), &files(&sim.open().unwrap()));
}
