//! The engine end to end: a commit, a search, a reopen, in memory and on a file system.
//!
//! Commits on the file system wait for its sync, so they measure the disk under the temporary
//! directory; those in memory measure the engine. A database is replaced before its log grows out
//! of the cache, outside the measured time. Memory cannot be reopened.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hint::black_box;
use std::ops::{Bound, ControlFlow};

use criterion::{BatchSize, Criterion, Throughput};
use gannet::storage::{DirOptions, MemStorage, Storage};
use gannet::{Answer, Config, Database, Metric, Params, SearchOptions, WriteBatch};
use gannet_backend_std::StdStorage;
use gannet_benches::{Random, Vectors};
use tempfile::TempDir;

const ROWS_NAME: &str = "rows";
const KEYS_NAME: &str = "keys";
const DIMS: u32 = 64;
const VALUE_BYTES: usize = 100;
const BATCH_ROWS: u32 = 100;
const ROWS: u32 = 2_000;
const QUERIES: u32 = 100;
const K: usize = 10;
/// Puts behind the checkpoint of a database that is reopened with a log.
const TAIL_PUTS: u64 = 500;
/// Most commits of one database.
const COMMITS_MAX: u64 = 500;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let data = Vectors::clustered(3, ROWS + QUERIES, DIMS, 20, Metric::L2);
    bench_commits(&mut criterion, "memory", &data, &mut || (MemStorage::new(), ()));
    bench_commits(&mut criterion, "std", &data, &mut directory);
    bench_search(&mut criterion, "memory", &data, MemStorage::new());
    let (storage, _dir) = directory();
    bench_search(&mut criterion, "std", &data, storage);
    bench_reopen(&mut criterion, "checkpoint", &data, 0);
    bench_reopen(&mut criterion, "checkpoint_and_log", &data, TAIL_PUTS);
    criterion.final_summary();
}

/// A storage in a fresh directory, which goes when the second is dropped.
fn directory() -> (StdStorage, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    (std_storage(&dir), dir)
}

fn std_storage(dir: &TempDir) -> StdStorage {
    StdStorage::open(dir.path(), &DirOptions::existing()).expect("the directory opens")
}

fn open<S: Storage>(storage: S) -> Database<S> {
    Database::open(storage, Config::balanced()).expect("the database opens")
}

fn create_collection<S: Storage>(database: &Database<S>) {
    let params = Params { ef_construction: 100, ..Params::new(DIMS, Metric::L2) };
    database.create_collection(ROWS_NAME, params).expect("a collection is made");
}

/// A database, what keeps its storage, and how many commits it took.
struct Bed<S: Storage, G> {
    database: Database<S>,
    commits: u64,
    _guard: G,
}

impl<S: Storage, G> Bed<S, G> {
    fn new((storage, guard): (S, G)) -> Self {
        let database = open(storage);
        create_collection(&database);
        Self { database, commits: 0, _guard: guard }
    }

    /// # Panics
    /// If the commit is refused.
    fn commit(&mut self, batch: WriteBatch) {
        self.database.commit(batch).expect("the commit is done");
        self.commits += 1;
    }

    /// Holds the database to `keys` keys and `rows` rows a commit.
    fn check(&self, keys: u64, rows: u64) {
        let stats = self.database.stats().expect("statistics");
        let mut found = 0;
        let count = |_: &[u8], _: &[u8]| {
            found += 1;
            ControlFlow::Continue(())
        };
        let all = (Bound::Unbounded, Bound::Unbounded);
        self.database.scan(KEYS_NAME, all.0, all.1, count).expect("keys");
        assert_eq!(found, keys * self.commits, "keys after {} commits", self.commits);
        assert_eq!(stats.collections[0].rows, rows * self.commits, "rows");
    }
}

fn bench_commits<S: Storage, G>(
    criterion: &mut Criterion,
    backend: &str,
    data: &Vectors,
    storage: &mut dyn FnMut() -> (S, G),
) {
    let value = Random::new(4).bytes(VALUE_BYTES);
    let put = |commit: u64| {
        let mut batch = WriteBatch::new();
        batch.put(KEYS_NAME, &commit.to_le_bytes(), &value);
        batch
    };
    let rows = |commit: u64| {
        let mut batch = WriteBatch::new();
        for row in 0..BATCH_ROWS {
            let id = commit * u64::from(BATCH_ROWS) + u64::from(row);
            batch.insert(ROWS_NAME, id, data.vector(row));
        }
        batch
    };
    let mut group = criterion.benchmark_group(format!("engine/commit/{backend}"));
    let mut bench = |name: &str, batch: &dyn Fn(u64) -> WriteBatch, keys: u64, rows: u64| {
        group.throughput(Throughput::Elements(keys + rows));
        group.bench_function(name, |bencher| {
            let bed = RefCell::new(Bed::new(storage()));
            let next = || {
                let mut bed = bed.borrow_mut();
                if bed.commits == COMMITS_MAX {
                    bed.check(keys, rows);
                    *bed = Bed::new(storage());
                }
                batch(bed.commits)
            };
            bencher.iter_batched(
                next,
                |batch| bed.borrow_mut().commit(batch),
                BatchSize::PerIteration,
            );
            bed.borrow().check(keys, rows);
        });
    };
    bench("put", &put, 1, 0);
    bench("rows_100", &rows, 0, BATCH_ROWS.into());
    group.finish();
}

/// Puts the rows in, in batches, and a checkpoint behind them.
fn fill<S: Storage>(database: &Database<S>, data: &Vectors) {
    create_collection(database);
    let ids: Vec<u32> = (0..ROWS).collect();
    for ids in ids.chunks(500) {
        let mut batch = WriteBatch::new();
        for &id in ids {
            batch.insert(ROWS_NAME, u64::from(id), data.vector(id));
        }
        database.commit(batch).expect("the commit is done");
    }
    database.checkpoint(&mut |_| ControlFlow::Continue(())).expect("the checkpoint is done");
    let rows = database.collection(ROWS_NAME).expect("the collection is there");
    assert_eq!((rows.rows, rows.in_graph), (u64::from(ROWS), u64::from(ROWS)));
}

fn search<S: Storage>(database: &Database<S>, query: &[f32], exact: bool) -> Answer {
    let mut options = SearchOptions::new(K);
    options.exact = exact;
    database.search(ROWS_NAME, query, &options).expect("the search is done")
}

/// The part of the exact answers that the graph finds.
fn recall<S: Storage>(database: &Database<S>, queries: &[&[f32]]) -> f64 {
    let ids = |query: &[f32], exact: bool| -> BTreeSet<_> {
        search(database, query, exact).into_iter().map(|hit| hit.id).collect()
    };
    let (mut hits, mut all) = (0_u32, 0_u32);
    for query in queries {
        let (found, truth) = (ids(query, false), ids(query, true));
        assert_eq!((found.len(), truth.len()), (K, K), "rows found");
        hits += u32::try_from(found.intersection(&truth).count()).expect("at most k");
        all += u32::try_from(K).expect("few");
    }
    f64::from(hits) / f64::from(all)
}

fn queries(data: &Vectors) -> Vec<&[f32]> {
    (ROWS..ROWS + QUERIES).map(|row| data.vector(row)).collect()
}

fn bench_search<S: Storage>(criterion: &mut Criterion, backend: &str, data: &Vectors, storage: S) {
    let database = open(storage);
    fill(&database, data);
    let queries = queries(data);
    let recall = recall(&database, &queries);
    eprintln!("engine/search/{backend}: recall@{K} {recall:.4} of {ROWS} rows");
    assert!(recall >= 0.97, "recall {recall}");
    let mut group = criterion.benchmark_group(format!("engine/search/{backend}"));
    group.throughput(Throughput::Elements(QUERIES.into()));
    for (name, exact) in [("graph", false), ("exact", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for query in &queries {
                    black_box(search(&database, black_box(query), exact));
                }
            });
        });
    }
    group.finish();
}

/// From the directory to the first answer, the page cache warm.
fn bench_reopen(criterion: &mut Criterion, name: &str, data: &Vectors, tail_puts: u64) {
    let (storage, dir) = directory();
    let database = open(storage);
    fill(&database, data);
    let query = queries(data)[0];
    let expect = search(&database, query, false);
    for key in 0..tail_puts {
        let mut batch = WriteBatch::new();
        batch.put(KEYS_NAME, &key.to_le_bytes(), &[7; VALUE_BYTES]);
        database.commit(batch).expect("the commit is done");
    }
    database.close().expect("the database closes");
    let mut group = criterion.benchmark_group("engine/reopen");
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                let database = open(std_storage(&dir));
                let found = search(&database, query, false);
                (database, found)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    let database = open(std_storage(&dir));
    let report = database.recovery_report();
    assert!(report.records >= tail_puts, "{} records of {tail_puts}", report.records);
    assert!(report.index_actions.is_empty(), "a graph was built again: {report:?}");
    assert_eq!(search(&database, query, false), expect, "the answer before it was closed");
    let last = tail_puts.checked_sub(1).map(|key| database.get(KEYS_NAME, &key.to_le_bytes()));
    let value = last.map(|found| found.expect("the key is read"));
    assert!(
        value.is_none_or(|value| value.as_deref() == Some(&[7; VALUE_BYTES])),
        "the last value"
    );
}
