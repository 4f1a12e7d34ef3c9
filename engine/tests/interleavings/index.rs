//! Searches, commits, learning, publication of graphs and merges.
//!
//! Who takes hold of what, and when, is tried here. That a state which is held does not change is
//! not: its pages and chunks are shared by std's `Arc`, and safe code cannot write to them.
//!
//! The keeper and the indexer are threads of the scheduler too. They look again after a while for
//! ever, so that nobody else goes on is a run that is too long.

use crate::{iterations, run};
use gannet::storage::{Op, Storage};
use gannet::{
    Answer, CheckpointReport, CommitError, Config, Database, Durability, Filter, Id, Lsn, Metric,
    Params, SearchOptions, WriteBatch,
};
use gannet_testkit::fault::{Action, Calls, FaultStorage, Rule};
use gannet_testkit::sim::{SimDisk, SimStorage};
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler};
use shuttle::thread;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn config(threads: usize) -> Config {
    crate::config(Durability::Buffered, threads)
}

/// Tries random orders, and such as make a few changes of thread where it matters: one of `share`
/// that are asked for.
fn try_orders(share: usize, test: impl Fn() + Send + Sync + Clone + 'static) {
    let iterations = iterations().div_ceil(share);
    run(RandomScheduler::new(iterations), test.clone());
    run(PctScheduler::new(4, iterations), test);
}

const QUERY: [f32; 2] = [0.0, 0.0];
const VERSIONS: Range<u16> = 0..10;

fn vector(id: u16, version: u16) -> [f32; 2] {
    [f32::from(id), 1024.0 * f32::from(version)]
}

/// How far it is from the query: whole, and another for each version.
fn distance(id: u16, version: u16) -> f32 {
    vector(id, version).iter().map(|x| x * x).sum()
}

/// Rows that no commit changes, of version 0.
const STANDING: Range<u16> = 32..40;
/// Rows that filters let pass: all pairs, and some of those that stand.
const PASSING: Range<u16> = 0..34;

fn insert(batch: &mut WriteBatch, ids: Range<u16>, version: u16) {
    for id in ids {
        batch.upsert("c", u64::from(id), &vector(id, version));
    }
}

/// Few links and short searches: most of a run is changes of thread.
fn params(dims: u32) -> Params {
    Params { m: 4, ef_construction: 16, ..Params::new(dims, Metric::L2) }
}

/// Commits rows that nobody waits for.
fn commit_bulk<S: Storage>(db: &Database<S>, ids: Range<u16>) {
    let mut batch = WriteBatch::new();
    batch.set_bulk(true);
    insert(&mut batch, ids, 0);
    db.commit(batch).unwrap();
}

/// A collection of rows that stand.
fn stock<S: Storage>(db: &Database<S>) {
    db.create_collection("c", params(2)).unwrap();
    commit_bulk(db, STANDING);
}

fn checkpoint<S: Storage>(db: &Database<S>) -> CheckpointReport {
    db.checkpoint(&mut |_| ControlFlow::Continue(())).unwrap()
}

fn compact<S: Storage>(db: &Database<S>) {
    db.compact(&mut |_| ControlFlow::Continue(())).unwrap();
}

/// A disk with a database that `fill` filled, in the first run of a test.
fn filled(fill: impl Fn(&Database<SimStorage>) + Send + Sync + 'static) -> SimDisk {
    let disk = SimDisk::new();
    let kept = disk.clone();
    let fill = move || {
        let db = Database::open(disk.open().unwrap(), config(1)).unwrap();
        fill(&db);
        db.close().unwrap();
    };
    run(DfsScheduler::new(Some(1), false), fill);
    kept
}

/// Of rows that stand, and places of others that have gone.
fn worn() -> SimDisk {
    filled(|db| {
        stock(db);
        commit_bulk(db, 40..60);
        let mut batch = WriteBatch::new();
        (40..60_u64).for_each(|id| batch.delete_row("c", id));
        db.commit(batch).unwrap();
        checkpoint(db);
    })
}

/// What becomes of the rows of a pair, commit by commit: the version of their vectors, or no row.
const LIFE: [Option<u16>; 5] = [None, Some(1), Some(2), None, Some(3)];

/// Two rows that are inserted, replaced and deleted together.
struct Pair {
    ids: Range<u16>,
    /// Commits that were begun, and that were acknowledged.
    begun: AtomicUsize,
    acknowledged: AtomicUsize,
}

impl Pair {
    fn two() -> Arc<[Self; 2]> {
        let pair = |ids| Self { ids, begun: 0.into(), acknowledged: 0.into() };
        Arc::new([pair(0..2), pair(2..4)])
    }

    /// Commits what is next in its life; the number of that commit.
    fn go_on<S: Storage>(&self, db: &Database<S>) -> Lsn {
        let step = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let mut batch = WriteBatch::new();
        match LIFE[step] {
            Some(version) => insert(&mut batch, self.ids.clone(), version),
            None => self.ids.clone().for_each(|id| batch.delete_row("c", u64::from(id))),
        }
        let made = db.commit(batch).unwrap();
        self.acknowledged.store(step, Ordering::SeqCst);
        made.last_lsn
    }

    /// All of its life; the numbers of the commits.
    fn live<S: Storage>(&self, db: &Database<S>) -> Vec<Lsn> {
        (1..LIFE.len()).map(|_| self.go_on(db)).collect()
    }
}

/// What there was of both pairs at one moment.
type Seen = [Option<u16>; 2];

/// The version of each row that was found; its distance is that of a vector it once had.
fn versions(answer: &Answer) -> BTreeMap<u16, u16> {
    let version = |hit: &gannet::Hit| {
        let Id::Int(id) = hit.id else { panic!("{hit:?}") };
        let id = u16::try_from(id).unwrap();
        let is = |version: &u16| distance(id, *version).to_bits() == hit.distance.to_bits();
        (id, VERSIONS.clone().find(is).unwrap_or_else(|| panic!("never so far: {hit:?}")))
    };
    let versions: BTreeMap<_, _> = answer.iter().map(version).collect();
    assert_eq!(versions.len(), answer.len(), "a row twice: {answer:?}");
    versions
}

/// Searches for everything. Each pair is seen whole, not as it was before what was acknowledged,
/// nor as it never was; the rows that stand are all there, and no other is.
fn look<S: Storage>(db: &Database<S>, pairs: &[Pair; 2], options: &SearchOptions) -> Seen {
    let at_least = pairs.each_ref().map(|pair| pair.acknowledged.load(Ordering::SeqCst));
    // More than are answered without looking up: others go on between the first and the last.
    let answers = db.search_batch("c", &[&QUERY[..]; 17], options).unwrap();
    assert!(answers.iter().all(|answer| answer[..] == answers[0][..]), "one call, two states");
    let mut found = versions(&answers[0]);
    let mut seen = [None; 2];
    for ((pair, at_least), seen) in pairs.iter().zip(at_least).zip(&mut seen) {
        let both = pair.ids.clone().map(|id| found.remove(&id));
        let both: Vec<_> = both.collect();
        assert_eq!(both[0], both[1], "half of a commit");
        *seen = both[0];
        let may_be = &LIFE[at_least..=pair.begun.load(Ordering::SeqCst)];
        assert!(may_be.contains(seen), "{seen:?}, which is none of {may_be:?}");
        // What is got later is of the same state or a later one.
        let got = db.get_vector("c", &Id::Int(pair.ids.start.into())).unwrap();
        let bits = |vector: &[f32]| -> Vec<u32> { vector.iter().map(|x| x.to_bits()).collect() };
        let is = |v: u16, got: &[f32]| bits(&vector(pair.ids.start, v)) == bits(got);
        let got = got.map(|got| VERSIONS.clone().find(|&v| is(v, &got)));
        let may_be = &LIFE[at_least..=pair.begun.load(Ordering::SeqCst)];
        assert!(may_be.contains(&got.map(Option::unwrap)), "{got:?}, none of {may_be:?}");
    }
    let is_filtered = options.filter.is_some();
    let standing = STANDING.filter(|id| !is_filtered || PASSING.contains(id));
    assert!(found.into_iter().eq(standing.map(|id| (id, 0))), "of those that stand");
    seen
}

/// The ways to search. The predicate lets others go on: the search has its state by then.
fn ways() -> [SearchOptions; 4] {
    let mut ways = [(); 4].map(|()| SearchOptions::new(64));
    ways[1].exact = true;
    ways[2].filter = Some(Filter::ids(PASSING.map(|id| Id::Int(id.into()))));
    ways[3].filter = Some(Filter::predicate(|id| {
        thread::yield_now();
        matches!(id, Id::Int(id) if *id < u64::from(PASSING.end))
    }));
    ways
}

/// What is seen in all these ways, one after the other, and again: filters are kept.
fn read<S: Storage>(db: &Database<S>, pairs: &[Pair; 2]) -> Vec<Seen> {
    let ways = ways();
    [&ways, &ways].into_iter().flatten().map(|way| look(db, pairs, way)).collect()
}

type Writers = [thread::JoinHandle<Vec<Lsn>>; 2];

/// Has each pair live its life, and somebody look.
fn write_and_read<S: Storage>(
    db: &Arc<Database<S>>,
    pairs: &Arc<[Pair; 2]>,
) -> (Writers, thread::JoinHandle<Vec<Seen>>) {
    let writers = [0, 1].map(|writer| {
        let (db, pairs) = (Arc::clone(db), Arc::clone(pairs));
        thread::spawn(move || pairs[writer].live(&db))
    });
    let (db, pairs) = (Arc::clone(db), Arc::clone(pairs));
    (writers, thread::spawn(move || read(&db, &pairs)))
}

/// Everything is seen at one moment, and no moment before one that was seen.
fn check_order(commits: &[Vec<Lsn>], seen: Vec<Seen>) {
    let mut order: Vec<(Lsn, usize)> = Vec::new();
    for (pair, lsns) in commits.iter().enumerate() {
        order.extend(lsns.iter().map(|lsn| (*lsn, pair)));
    }
    order.sort_unstable();
    let mut steps = [0; 2];
    let mut states = vec![[None; 2]];
    for (_, pair) in order {
        steps[pair] += 1;
        states.push(steps.map(|step| LIFE[step]));
    }
    let mut at = 0;
    for seen in seen {
        let later = states[at..].iter().position(|state| *state == seen);
        at += later.unwrap_or_else(|| panic!("{seen:?} after state {at} of {states:?}"));
    }
}

/// Waits until the graph holds what is live, and nothing else, which nobody asks for.
fn wait_until_learnt<S: Storage>(db: &Database<S>) {
    loop {
        let found = db.collection("c").unwrap();
        if (found.in_graph, found.leaving) == (found.rows, 0) {
            break;
        }
        thread::yield_now();
    }
}

#[test]
fn a_search_sees_one_state_while_graphs_learn() {
    try_orders(1, || {
        let disk = SimDisk::new();
        let db = Arc::new(Database::open(disk.open().unwrap(), config(2)).unwrap());
        stock(&db);
        let pairs = Pair::two();
        let (writers, reader) = write_and_read(&db, &pairs);
        let commits = writers.map(|writer| writer.join().unwrap());
        check_order(&commits, reader.join().unwrap());
        wait_until_learnt(&db);
        let found = db.collection("c").unwrap();
        assert_eq!(found.rows, 4 + STANDING.len() as u64);
        for way in ways() {
            assert_eq!(look(&db, &pairs, &way), [Some(3); 2]);
        }
    });
}

/// Places of rows that left are given to others while searches are in the middle of a state with
/// the old ones, and while rows come, go and are learnt.
#[test]
fn a_merge_beside_searches_commits_and_learning_loses_nothing_and_revives_nothing() {
    let worn = worn();
    try_orders(1, move || {
        let disk = worn.snapshot();
        let db = Arc::new(Database::open(disk.open().unwrap(), config(2)).unwrap());
        let pairs = Pair::two();
        let (writers, reader) = write_and_read(&db, &pairs);
        let merger = {
            let db = Arc::clone(&db);
            thread::spawn(move || {
                compact(&db);
                checkpoint(&db);
            })
        };
        let commits = writers.map(|writer| writer.join().unwrap());
        check_order(&commits, reader.join().unwrap());
        merger.join().unwrap();
        let check = |db: &Database<SimStorage>| {
            for way in ways() {
                assert_eq!(look(db, &pairs, &way), [Some(3); 2]);
            }
        };
        wait_until_learnt(&db);
        check(&db);
        let killed = disk.snapshot();
        let check_merged = |db: &Database<SimStorage>| {
            compact(db);
            check(db);
            let found = db.collection("c").unwrap();
            let rows = 4 + STANDING.len() as u64;
            assert_eq!((found.rows, found.in_graph, found.leaving, found.dead), (rows, rows, 0, 0));
            assert!(db.verify().unwrap().faults.is_empty());
        };
        check_merged(&db);
        drop(db);
        for disk in [disk, killed] {
            let db = Database::open(disk.open().unwrap(), config(1)).unwrap();
            assert!(db.recovery_report().index_actions.is_empty());
            check(&db);
            check_merged(&db);
        }
    });
}

/// A storage refuses to remove a file while a view of it is held, and a state holds views of whole
/// 4 MiB of its rows: so files tell whether a state has gone.
#[test]
fn a_state_goes_with_the_last_search_that_holds_it() {
    const DIMS: u16 = 4096;
    const ROWS: u16 = 258;
    let wide = |id: u16| {
        let mut vector = [0.0; DIMS as usize];
        vector[0] = f32::from(id);
        vector.to_vec()
    };
    let disk = filled(move |db| {
        db.create_collection("c", params(DIMS.into())).unwrap();
        let mut batch = WriteBatch::new();
        batch.set_bulk(true);
        (0..ROWS).for_each(|id| batch.insert("c", u64::from(id), &wide(id)));
        db.commit(batch).unwrap();
        checkpoint(db);
    });
    try_orders(8, move || {
        let db = Arc::new(Database::open(disk.snapshot().open().unwrap(), config(1)).unwrap());
        let row_files = |db: &Database<SimStorage>| -> Vec<String> {
            let files = db.storage().list().unwrap();
            let names = files.iter().map(|file| file.name.to_string());
            names.filter(|name| name.starts_with("rows")).collect()
        };
        let before = row_files(&db);
        assert_eq!(before.len(), 1);
        let readers = [false, true].map(|exact| {
            let db = Arc::clone(&db);
            thread::spawn(move || {
                let mut options = SearchOptions::new(1);
                options.exact = exact;
                options.filter = Some(Filter::predicate(|id| {
                    let is_low = matches!(id, Id::Int(id) if *id < 2);
                    if is_low {
                        thread::yield_now();
                    }
                    is_low
                }));
                let found = db.search("c", &wide(0), &options).unwrap();
                let Id::Int(id) = found[0].id else { panic!("{found:?}") };
                assert_eq!(found[0].distance.to_bits(), f32::from(u16::from(id == 1)).to_bits());
            })
        });
        let mut batch = WriteBatch::new();
        batch.delete_row("c", 0_u64);
        db.commit(batch).unwrap();
        compact(&db);
        for reader in readers {
            reader.join().unwrap();
        }
        let mut batch = WriteBatch::new();
        batch.put("k", b"key", b"value");
        db.commit(batch).unwrap();
        assert_eq!(checkpoint(&db).files_left, Some(0), "somebody holds a state");
        assert!(row_files(&db).iter().all(|name| !before.contains(name)));
    });
}

const PENDING_MAX: u32 = 1;

/// Of rows so many that four make a batch, of which fewer wait: who inserts waits for a cut.
fn waiting() -> SimDisk {
    filled(|db| {
        stock(db);
        commit_bulk(db, 100..300);
        checkpoint(db);
        commit_bulk(db, 300..303);
        assert_eq!(db.collection("c").unwrap().in_graph, 208);
    })
}

fn few_may_wait<S: Storage>(storage: S) -> Arc<Database<S>> {
    let mut config = config(2);
    config.max_pending_rows = PENDING_MAX;
    Arc::new(Database::open(storage, config).unwrap())
}

fn one(id: u16) -> WriteBatch {
    let mut batch = WriteBatch::new();
    insert(&mut batch, id..id + 1, 1);
    batch
}

#[test]
fn those_who_insert_are_woken_when_graphs_have_learnt_or_are_held() {
    let disk = waiting();
    for holds_graphs in [false, true] {
        let disk = disk.clone();
        try_orders(1, move || {
            let db = few_may_wait(disk.snapshot().open().unwrap());
            let writers = [1000, 2000, 3000].map(|first| {
                let db = Arc::clone(&db);
                thread::spawn(move || {
                    for id in first..first + 4 {
                        db.commit(one(id)).unwrap();
                        let found = db.collection("c").unwrap();
                        // Each of the others may have looked before it.
                        let most = u64::from(PENDING_MAX) + 3;
                        assert!(holds_graphs || found.rows - found.in_graph <= most, "{found:?}");
                    }
                })
            });
            if holds_graphs {
                db.optimize("c", &mut |_| ControlFlow::Continue(())).unwrap();
                compact(&db);
            }
            for writer in writers {
                writer.join().unwrap();
            }
            wait_until_learnt(&db);
            assert_eq!(db.collection("c").unwrap().rows, 211 + 12);
        });
    }
}

/// By whoever meets the failure: the indexer, another who inserts, or one who waits for no graph.
#[test]
fn those_who_insert_are_woken_when_the_storage_fails_or_is_full() {
    let disk = waiting();
    let full = Rule::forever(Calls::Op(Op::Create), 1, Action::Enospc);
    let fails = [1, 3, 5, 8, 12].map(|nth| Rule::forever(Calls::Writes, nth, Action::Eio));
    for rule in fails.into_iter().chain([full]) {
        let disk = disk.clone();
        try_orders(2, move || {
            let db = few_may_wait(FaultStorage::new(disk.snapshot().open().unwrap()));
            db.storage().faults().add(rule.clone());
            let writers = [1000, 2000, 3000].map(|first| {
                let db = Arc::clone(&db);
                thread::spawn(move || {
                    for id in first..first + 4 {
                        let made = db.commit(one(id));
                        let is_there = db.get_vector("c", &Id::Int(id.into())).unwrap().is_some();
                        // Of a write that failed nobody knows; one that was refused is not there.
                        let is_unknown = matches!(made, Err(CommitError::Unknown(_)));
                        assert!(is_unknown || made.is_ok() == is_there, "{made:?}");
                    }
                })
            });
            let mut batch = WriteBatch::new();
            batch.put("k", b"key", b"value");
            let _ = db.commit(batch);
            for writer in writers {
                writer.join().unwrap();
            }
        });
    }
}
