//! Transactions, compare-and-swap and snapshots, also of many threads at a time.

use crate::contents::{config, open};
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{MemStorage, Storage};
use gannet::{
    Commit, CommitError, Config, Database, Durability, Id, Lsn, Metric, Params, ReadError,
    SearchOptions, TransactOptions, Transaction, WriteBatch,
};
use gannet_testkit::sim::SimRng;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn memory() -> Database<MemStorage> {
    Database::open(MemStorage::new(), config(1)).unwrap()
}

fn put<S: Storage>(db: &Database<S>, key: &[u8], value: &[u8]) -> Commit {
    let mut batch = WriteBatch::new();
    batch.put("kv", key, value);
    db.commit(batch).unwrap()
}

/// Takes in what a scan gives.
fn into(pairs: &mut Pairs) -> impl FnMut(&[u8], &[u8]) -> ControlFlow<()> + '_ {
    |key, value| {
        pairs.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    }
}

fn checkpoint<S: Storage>(db: &Database<S>) {
    db.checkpoint(&mut |_| ControlFlow::Continue(())).unwrap();
    db.tend().unwrap();
}

#[test]
fn a_key_is_swapped_only_from_the_version_that_it_has() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        let made = db.cas("kv", b"k", 0, Some(b"1")).unwrap().last_lsn;
        let found = db.get_versioned("kv", b"k").unwrap().unwrap();
        assert_eq!((&found.value[..], found.version), (&b"1"[..], made));
        let conflict = |found: Result<Commit, CommitError>| match found {
            Err(CommitError::Conflict { keyspace, key, version }) => {
                assert_eq!((&keyspace[..], &key[..]), ("kv", &b"k"[..]));
                version
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(conflict(db.cas("kv", b"k", 0, Some(b"2"))), made);
        assert_eq!(conflict(db.cas("kv", b"k", made + 1, None)), made);
        // In a table, and after a reopen, it is the same version.
        checkpoint(&db);
        let swapped = db.cas("kv", b"k", made, Some(b"2")).unwrap().last_lsn;
        db.close().unwrap();
        let db = open(disk, 2);
        assert_eq!(conflict(db.cas("kv", b"k", made, Some(b"3"))), swapped);
        db.cas("kv", b"k", swapped, None).unwrap();
        assert!(!db.exists("kv", b"k").unwrap() && db.get_versioned("kv", b"k").unwrap().is_none());
        assert_eq!(conflict(db.cas("kv", b"k", swapped, Some(b"3"))), 0);
        db.cas("kv", b"k", 0, Some(b"4")).unwrap();
        // A condition of a batch with other changes: all of it or nothing.
        let mut batch = WriteBatch::new();
        batch.expect_version("kv", b"not there", 0);
        batch.expect_version("kv", b"k", 1);
        batch.put("other", b"x", b"y");
        conflict(db.commit(batch));
        assert_eq!(db.keyspaces(), ["kv"]);
    }
    on_each_disk!(on);
}

#[test]
fn what_threads_add_by_swapping_is_all_there() {
    fn on(disk: &impl Disk) {
        const ADDED: u64 = 40;
        let mut config = config(3);
        config.threads = 2;
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        let add = |durability| {
            for _ in 0..ADDED {
                loop {
                    let found = db.get_versioned("kv", b"sum").unwrap();
                    let (sum, version) = found.map_or((0, 0), |found| {
                        let sum = u64::from_le_bytes(found.value[..].try_into().unwrap());
                        (sum, found.version)
                    });
                    let mut batch = WriteBatch::new();
                    batch.expect_version("kv", b"sum", version);
                    batch.put("kv", b"sum", &(sum + 1).to_le_bytes());
                    match db.commit_with(batch, durability) {
                        Ok(_) => break,
                        Err(CommitError::Conflict { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| add(Durability::Strict));
            scope.spawn(|| add(Durability::Buffered));
            scope.spawn(|| add(Durability::Strict));
            // Others write beside them, and nobody waits for some of it.
            for number in 0..200_u32 {
                let mut batch = WriteBatch::new();
                batch.put("kv", &number.to_le_bytes(), b"beside");
                db.submit(batch).unwrap();
            }
        });
        let sum = db.get("kv", b"sum").unwrap().unwrap();
        assert_eq!(sum, (3 * ADDED).to_le_bytes());
    }
    on_each_disk!(on);
}

#[test]
fn a_transaction_reads_what_it_has_written_over_what_was_there() {
    let db = memory();
    for key in [b"a", b"c", b"e", b"g"] {
        put(&db, key, b"old");
    }
    let mut tx = db.transaction();
    tx.put("kv", b"b", b"new");
    tx.put("kv", b"c", b"new");
    tx.delete("kv", b"e");
    tx.put("kv", b"h", b"new");
    assert_eq!(tx.get("kv", b"c").unwrap().as_deref(), Some(&b"new"[..]));
    assert!(!tx.exists("kv", b"e").unwrap() && tx.exists("kv", b"g").unwrap());
    let text = |pairs: &Pairs| {
        let pair =
            |(key, value): &(Vec<u8>, Vec<u8>)| format!("{}{}", key[0] as char, value[0] as char);
        pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
    };
    let mut found = Pairs::new();
    tx.scan("kv", ALL.0, ALL.1, into(&mut found)).unwrap();
    assert_eq!(text(&found), "ao bn cn go hn");
    found.clear();
    tx.scan_back("kv", Bound::Excluded(b"a"), Bound::Included(b"g"), into(&mut found)).unwrap();
    assert_eq!(text(&found), "go cn bn");
    found.clear();
    let mut first = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Break(())
    };
    tx.scan("kv", Bound::Excluded(b"g"), Bound::Unbounded, &mut first).unwrap();
    tx.scan_back("kv", Bound::Unbounded, Bound::Excluded(b"c"), &mut first).unwrap();
    tx.scan("kv", Bound::Included(b"x"), Bound::Excluded(b"b"), &mut first).unwrap();
    assert_eq!(text(&found), "hn bn");
    // Nobody else sees it before it is committed.
    assert!(!db.exists("kv", b"b").unwrap());
    tx.commit().unwrap();
    assert!(db.exists("kv", b"b").unwrap() && !db.exists("kv", b"e").unwrap());
}

/// What two transactions do that begin at the same time, and whether the second one is a conflict.
#[test]
fn a_transaction_fails_if_what_it_read_was_written_and_only_then() {
    type Act = fn(&mut Transaction<'_, MemStorage>);
    let get: Act = |tx| drop(tx.get("kv", b"e").unwrap());
    let get_nothing: Act = |tx| drop(tx.get("kv", b"f").unwrap());
    let get_elsewhere: Act = |tx| drop(tx.get("elsewhere", b"e").unwrap());
    let scan: Act = |tx| {
        tx.scan("kv", Bound::Included(b"b"), Bound::Excluded(b"f"), |_, _| {
            ControlFlow::Continue(())
        })
        .unwrap();
    };
    let first: Act = |tx| {
        tx.scan("kv", Bound::Unbounded, Bound::Unbounded, |_, _| ControlFlow::Break(())).unwrap();
    };
    let last: Act = |tx| {
        let (from, to) = ALL;
        tx.scan_back("kv", from, to, |_, _| ControlFlow::Break(())).unwrap();
    };
    let put_e: Act = |tx| tx.put("kv", b"e", b"1");
    let put_f: Act = |tx| tx.put("kv", b"f", b"1");
    let put_d: Act = |tx| tx.put("kv", b"d", b"1");
    let delete_c: Act = |tx| tx.delete("kv", b"c");
    let put_0: Act = |tx| tx.put("kv", b"0", b"1");
    let put_z: Act = |tx| tx.put("kv", b"z", b"1");
    let elsewhere: Act = |tx| tx.put("elsewhere", b"e", b"1");
    let nothing: Act = |_| {};
    let cases: [(Act, Act, bool); 19] = [
        (put_e, get, true),
        (put_f, get, false),
        (put_f, get_nothing, true),
        (put_e, get_nothing, false),
        (put_e, nothing, false),
        (put_e, scan, true),
        (put_d, scan, true),
        (delete_c, scan, true),
        (put_f, scan, false),
        (put_0, scan, false),
        (put_0, first, true),
        (put_d, first, false),
        (put_z, last, true),
        (put_d, last, false),
        (elsewhere, get_elsewhere, true),
        (put_e, get_elsewhere, false),
        (elsewhere, get, false),
        (put_0, last, false),
        (put_z, first, false),
    ];
    for (number, (one, two, is_conflict)) in cases.into_iter().enumerate() {
        for flushes in [false, true] {
            let db = memory();
            for key in [b"a", b"c", b"e", b"g"] {
                put(&db, key, b"old");
            }
            let (mut a, mut b) = (db.transaction(), db.transaction());
            one(&mut a);
            two(&mut b);
            a.commit().unwrap();
            if flushes {
                checkpoint(&db);
            }
            b.put("results", b"r", b"1");
            let done = b.commit();
            match &done {
                Ok(_) => assert!(!is_conflict, "case {number}"),
                Err(CommitError::Conflict { .. }) => {
                    assert!(is_conflict, "case {number}: {done:?}");
                }
                Err(error) => panic!("case {number}: {error:?}"),
            }
            assert_eq!(db.exists("results", b"r").unwrap(), !is_conflict);
        }
    }
}

#[test]
fn a_keyspace_that_was_read_and_is_dropped_or_made_anew_is_a_conflict() {
    let db = memory();
    put(&db, b"k", b"v");
    for makes_anew in [false, true] {
        put(&db, b"k", b"v");
        let mut tx = db.transaction();
        assert!(tx.exists("kv", b"k").unwrap());
        let mut batch = WriteBatch::new();
        batch.drop_keyspace("kv");
        if makes_anew {
            batch.put("kv", b"k", b"v");
        }
        db.commit(batch).unwrap();
        tx.put("other", b"o", b"v");
        let Err(CommitError::Conflict { keyspace, key, .. }) = tx.commit() else { panic!() };
        assert_eq!((&keyspace[..], key.is_empty()), ("kv", true));
    }
}

#[test]
fn a_transaction_is_tried_again_as_often_as_it_may_be() {
    let db = memory();
    let mut options = TransactOptions::default();
    options.attempts_max = 3;
    let mut attempts = 0;
    let mut body = |tx: &mut Transaction<'_, MemStorage>| -> Result<u32, CommitError> {
        attempts += 1;
        tx.get("kv", b"k").unwrap();
        // Somebody is always sooner.
        put(&db, b"k", b"other");
        tx.put("kv", b"k", b"mine");
        Ok(attempts)
    };
    let failed = db.transact_with(&options, &mut body);
    assert!(matches!(failed, Err(CommitError::Conflict { .. })));
    assert_eq!(attempts, 3);
    let (given, commit) = db
        .transact(|tx| -> Result<_, CommitError> {
            let old = tx.get("kv", b"k")?;
            tx.put("kv", b"k", b"mine");
            Ok(old)
        })
        .unwrap();
    assert_eq!(given.as_deref(), Some(&b"other"[..]));
    assert_eq!(db.get_versioned("kv", b"k").unwrap().unwrap().version, commit.last_lsn);
    let mine = db.transact(|tx| {
        tx.put("kv", b"k", b"never");
        Err::<(), _>(Mine::Stop)
    });
    assert!(matches!(mine, Err(Mine::Stop)));
    assert_eq!(db.get("kv", b"k").unwrap().as_deref(), Some(&b"mine"[..]));
    // One that only reads has nothing to commit, and no conflict.
    let mut tx = db.transaction();
    tx.get("kv", b"k").unwrap();
    let seen = tx.lsn();
    put(&db, b"k", b"later");
    assert_eq!(tx.commit().unwrap().last_lsn, seen);
}

#[derive(Debug)]
enum Mine {
    Stop,
    Commit,
}

impl From<CommitError> for Mine {
    fn from(_: CommitError) -> Self {
        Self::Commit
    }
}

/// What a transaction did, as its thread saw it.
#[derive(Debug, Default)]
struct Done {
    commit: Option<Commit>,
    lsn: Lsn,
    reads: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    scans: Vec<(Vec<u8>, Vec<u8>, Pairs)>,
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn one_transaction<S: Storage>(
    db: &Database<S>,
    rng: &mut SimRng,
    tag: u64,
) -> Result<Option<Done>, ReadError> {
    let mut key = || vec![b'a' + u8::try_from(rng.below(10)).unwrap()];
    let keys = [key(), key(), key(), key()];
    let kind = rng.below(4);
    let mut done = Done::default();
    let mut tx = db.transaction();
    done.lsn = tx.lsn();
    for key in &keys[..2] {
        done.reads.push((key.clone(), tx.get("kv", key)?));
    }
    if kind > 1 {
        let (from, to) =
            (keys[2].clone().min(keys[3].clone()), keys[2].clone().max(keys[3].clone()));
        let mut pairs = Pairs::new();
        tx.scan("kv", Bound::Included(&from), Bound::Included(&to), into(&mut pairs))?;
        done.scans.push((from, to, pairs));
    }
    if kind > 0 {
        let value = (!tag.is_multiple_of(5)).then(|| tag.to_le_bytes().to_vec());
        match &value {
            Some(value) => tx.put("kv", &keys[3], value),
            None => tx.delete("kv", &keys[3]),
        }
        done.writes.push((keys[3].clone(), value));
    }
    match tx.commit() {
        Ok(commit) => {
            done.commit = (kind > 0).then_some(commit);
            Ok(Some(done))
        }
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(error) => panic!("{error:?}"),
    }
}

/// The transactions of several threads are as if done one after the other, in the order of their
/// records: each has read what those before it have left.
#[test]
fn transactions_of_many_threads_are_serializable() {
    fn on(disk: &impl Disk) {
        const THREADS: u64 = 3;
        const EACH: u64 = 150;
        let mut config = config(5);
        config.threads = 2;
        config.memtable_bytes = 16 << 10;
        config.durability = Durability::Buffered;
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        let all = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (db, all) = (&db, &all);
                scope.spawn(move || {
                    let mut rng = SimRng::new(thread);
                    for number in 0..EACH {
                        let tag = thread * EACH + number;
                        if let Some(done) = one_transaction(db, &mut rng, tag).unwrap() {
                            all.lock().unwrap().push(done);
                        }
                    }
                });
            }
            for round in 0..3 {
                db.checkpoint(&mut |_| ControlFlow::Continue(())).unwrap();
                put(&db, b"zz", &[round]);
            }
        });
        let mut all = all.into_inner().unwrap();
        assert!(all.len() as u64 > THREADS * EACH / 4, "{}", all.len());
        // One that only reads is at the record that it saw.
        all.sort_by_key(|done| done.commit.map_or((done.lsn, 1), |commit| (commit.last_lsn, 0)));
        let mut model = BTreeMap::new();
        for done in &all {
            for (key, value) in &done.reads {
                assert_eq!(model.get(key), value.as_ref(), "{done:?}");
            }
            for (from, to, pairs) in &done.scans {
                let due = model.range(from.clone()..=to.clone());
                let due: Pairs =
                    due.map(|(k, v): (&Vec<u8>, &Vec<u8>)| (k.clone(), v.clone())).collect();
                assert_eq!(&due, pairs, "{done:?}");
            }
            for (key, value) in &done.writes {
                match value {
                    Some(value) => drop(model.insert(key.clone(), value.clone())),
                    None => drop(model.remove(key)),
                }
            }
        }
        let shown = |db: &Database<_>| {
            let mut pairs = Pairs::new();
            db.scan("kv", ALL.0, Bound::Excluded(b"zz"), into(&mut pairs)).unwrap();
            db.scan("kv", Bound::Excluded(b"zz"), ALL.1, into(&mut pairs)).unwrap();
            pairs
        };
        assert_eq!(shown(&db), model.into_iter().collect::<Pairs>());
        let before = shown(&db);
        db.close().unwrap();
        assert_eq!(shown(&open(disk, 7)), before);
    }
    on_each_disk!(on);
}

#[test]
fn a_snapshot_stays_what_it_was_through_everything() {
    fn on(disk: &impl Disk) {
        let mut config = config(1);
        config.memtable_bytes = 16 << 10;
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        db.create_collection("c", Params::new(2, Metric::L2)).unwrap();
        let round = |round: u8| {
            let mut batch = WriteBatch::new();
            for key in 0..40_u8 {
                if (key + round).is_multiple_of(5) {
                    batch.delete("kv", &[key]);
                } else {
                    batch.put("kv", &[key], &[round; 200]);
                }
                batch.upsert("c", u64::from(key), &[f32::from(key), f32::from(round)]);
            }
            batch.delete_row("c", u64::from(round % 40));
            db.commit(batch).unwrap();
        };
        let shown = |snapshot: &gannet::Snapshot<'_, _>| {
            let mut pairs = Pairs::new();
            snapshot.scan("kv", ALL.0, ALL.1, into(&mut pairs)).unwrap();
            let mut back = Pairs::new();
            snapshot.scan_back("kv", ALL.0, ALL.1, into(&mut back)).unwrap();
            back.reverse();
            assert_eq!(pairs, back);
            let keys: Vec<Vec<u8>> = (0..40).map(|key| vec![key]).collect();
            let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            let values = snapshot.get_many("kv", &keys).unwrap();
            for (key, value) in keys.iter().zip(&values) {
                assert_eq!(&snapshot.get("kv", key).unwrap(), value);
            }
            assert_eq!(values.into_iter().flatten().count(), pairs.len());
            let hits = snapshot.search("c", &[0.0, 0.0], &SearchOptions::new(100)).unwrap();
            let vectors: Vec<_> =
                (0..40).map(|id| snapshot.get_vector("c", &Id::Int(id)).unwrap()).collect();
            assert_eq!(vectors.iter().flatten().count(), hits.len());
            (snapshot.lsn(), pairs, hits.into_hits(), vectors)
        };
        let mut taken = Vec::new();
        for number in 0..24 {
            round(number);
            if number % 5 == 0 {
                let snapshot = db.snapshot();
                let first = shown(&snapshot);
                taken.push((snapshot, first));
            }
            if number % 4 == 0 {
                checkpoint(&db);
            }
            if number == 17 {
                db.compact(&mut |_| ControlFlow::Continue(())).unwrap();
            }
            if number == 12 {
                taken.remove(1);
            }
        }
        let mut batch = WriteBatch::new();
        batch.drop_keyspace("kv");
        db.commit(batch).unwrap();
        db.compact(&mut |_| ControlFlow::Continue(())).unwrap();
        for (snapshot, first) in &taken {
            assert_eq!(shown(snapshot), *first, "at {}", first.0);
        }
        assert!(db.keyspaces().is_empty());
        drop(taken);
        let before =
            db.stats().unwrap().keys.levels.iter().map(|level| level.versions).sum::<u64>();
        put(&db, b"k", b"v");
        db.compact(&mut |_| ControlFlow::Continue(())).unwrap();
        let after = db.stats().unwrap().keys.levels.iter().map(|level| level.versions).sum::<u64>();
        assert!(before > 40 && after == 1, "{before} versions, {after} when nobody looks");
    }
    on_each_disk!(on);
}

/// Whoever takes a snapshot sees all of a batch, in keys and in rows.
#[test]
fn a_snapshot_sees_all_of_a_batch_or_nothing_beside_those_who_write() {
    let mut config = Config::balanced();
    config.durability = Durability::InMemory;
    config.threads = 2;
    let db = Database::open(MemStorage::new(), config).unwrap();
    db.create_collection("c", Params::new(2, Metric::L2)).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..400_u16 {
                let mut batch = WriteBatch::new();
                batch.drop_keyspace(if number % 2 == 0 { "even" } else { "odd" });
                batch.put("kv", b"number", &number.to_le_bytes());
                batch.put("even", b"number", &number.to_le_bytes());
                batch.put("odd", &number.to_le_bytes(), b"");
                batch.upsert("c", 1, &[f32::from(number), 0.0]);
                db.commit(batch).unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) {
            let snapshot = db.snapshot();
            let Some(number) = snapshot.get("kv", b"number").unwrap() else { continue };
            let number = u16::from_le_bytes(number[..].try_into().unwrap());
            assert_eq!(snapshot.get("even", b"number").unwrap().unwrap(), number.to_le_bytes());
            assert!(snapshot.get("odd", &number.to_le_bytes()).unwrap().is_some());
            let vector = snapshot.get_vector("c", &Id::Int(1)).unwrap().unwrap();
            assert_eq!(vector[0].to_bits(), f32::from(number).to_bits());
            let hits = snapshot.search("c", &[0.0, 0.0], &SearchOptions::new(2)).unwrap();
            assert_eq!(hits.len(), 1);
        }
    });
}
