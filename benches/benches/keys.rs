//! Single operations on keys, and a million of them written, opened and replayed.
//!
//! The work that the second ancestor set itself as a goal and did not measure: keys `key_{i}` with
//! i64 values, one operation a commit, one thread. Percentiles are of single operations, each timed
//! by itself, the clock's own time (about 20 ns) included. `GANNET_BENCH_DIR` names the directory
//! (default: temporary), `GANNET_BENCH_ROUNDS` the rounds; `--test` runs all of it once, small.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the tables are the product")]

use gannet::storage::DirOptions;
use gannet::{Config, Database, Durability, StdStorage, WriteBatch};
use hdrhistogram::Histogram;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const KEYSPACE: &str = "kv";
/// Keys that are there when single operations are timed.
const KEYS: u64 = 10_000;
const MODES: [Durability; 3] = [Durability::InMemory, Durability::Buffered, Durability::Strict];

type Db = Database<StdStorage>;

fn main() {
    let is_test = std::env::args().any(|arg| arg == "--test");
    let rounds = std::env::var("GANNET_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = std::env::var_os("GANNET_BENCH_DIR")
        .map_or_else(|| temporary.path().to_owned(), |dir| PathBuf::from(dir).join("gannet-bench"));
    let (quick, strict, many) = if is_test { (500, 20, 2000) } else { (200_000, 3000, 1_000_000) };
    println!("\n### Single operations, nanoseconds\n");
    println!("| mode | operation | p50 | p95 | p99 | p99.9 | longest |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
    for mode in MODES {
        singles(&dir, mode, if mode == Durability::Strict { strict } else { quick });
    }
    println!("\n### {many} keys `key_{{i}}`, i64, milliseconds\n");
    println!("| what | median | least | most |");
    println!("| --- | ---: | ---: | ---: |");
    let rounds = if is_test { 1 } else { rounds.unwrap_or(5) };
    let taken: Vec<[Duration; 6]> = (0..rounds).map(|_| whole(&dir, many)).collect();
    let names = [
        "a checkpoint writes all",
        "a checkpoint, tables having been written of every 32 MiB",
        "opening from it, up to the first get",
        "a checkpoint of one key more, which lets the log go",
        "opening, all in the log, up to the first get",
        "opening, a tenth in the log, up to the first get",
    ];
    for (index, name) in names.into_iter().enumerate() {
        let mut times: Vec<_> =
            taken.iter().map(|round| round[index].as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let (least, most) = (times[0], times[times.len() - 1]);
        println!("| {name} | {:.1} | {least:.1} | {most:.1} |", times[(times.len() - 1) / 2]);
    }
    let _ = std::fs::remove_dir_all(&dir);
}

fn key(number: u64) -> String {
    format!("key_{number}")
}

/// A new database.
fn fresh(dir: &Path, config: Config) -> Db {
    let _ = std::fs::remove_dir_all(dir);
    open(dir, config)
}

fn open(dir: &Path, config: Config) -> Db {
    let storage = StdStorage::open(dir, &DirOptions::create()).expect("a directory");
    Database::open(storage, config).expect("a database")
}

/// Puts keys, many a commit.
fn load(db: &Db, keys: std::ops::Range<u64>) {
    for first in keys.clone().step_by(1000) {
        let mut batch = WriteBatch::new();
        for number in first..keys.end.min(first + 1000) {
            batch.put(KEYSPACE, key(number).as_bytes(), &number.to_le_bytes());
        }
        db.commit(batch).expect("it is committed");
    }
}

/// Times each of some operations by itself.
fn singles(dir: &Path, mode: Durability, count: u64) {
    let mut config = Config::balanced();
    config.durability = mode;
    let db = fresh(dir, config);
    load(&db, 0..KEYS);
    let tell = |operation: &str, each: &mut dyn FnMut(u64)| {
        let mut histogram = Histogram::<u64>::new(3).expect("three digits");
        for number in 0..count {
            let begin = Instant::now();
            each(number);
            let took = u64::try_from(begin.elapsed().as_nanos()).expect("below 500 years");
            histogram.record(took).expect("it grows");
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        println!(
            "| {mode:?} | {operation} | {} | {} | {} | {} | {} |",
            at(0.5),
            at(0.95),
            at(0.99),
            at(0.999),
            histogram.max()
        );
    };
    tell("get of one key", &mut |_| {
        let found = db.get(KEYSPACE, b"key_5000").expect("it is read");
        assert_eq!(found.as_deref(), Some(&5000_u64.to_le_bytes()[..]));
    });
    // Each key once in as many steps.
    let scattered = |number: u64| key(number * 7919 % KEYS);
    tell("get of a random key", &mut |number| {
        assert!(db.get(KEYSPACE, scattered(number).as_bytes()).expect("it is read").is_some());
    });
    tell("put of a new key", &mut |number| {
        let mut batch = WriteBatch::new();
        batch.put(KEYSPACE, key(KEYS + number).as_bytes(), &number.to_le_bytes());
        db.commit(batch).expect("it is committed");
    });
    let mut version =
        db.get_versioned(KEYSPACE, b"key_5000").expect("read").expect("there").version;
    tell("compare-and-swap of one key", &mut |number| {
        let swapped = db.cas(KEYSPACE, b"key_5000", version, Some(&number.to_le_bytes()));
        version = swapped.expect("nobody else writes it").last_lsn;
    });
    tell("delete", &mut |number| {
        let mut batch = WriteBatch::new();
        batch.delete(KEYSPACE, key(KEYS + number).as_bytes());
        db.commit(batch).expect("it is committed");
    });
}

/// Times what is done with many keys.
fn whole(dir: &Path, keys: u64) -> [Duration; 6] {
    let mut config = Config::max_throughput();
    config.checkpoint_bytes = 8 << 30;
    config.log_bytes_max = 64 << 30;
    let checkpoint = |db: &Db| {
        let begin = Instant::now();
        db.checkpoint(&mut |_| ControlFlow::Continue(())).expect("a checkpoint");
        begin.elapsed()
    };
    let db = fresh(dir, config.clone());
    load(&db, 0..keys);
    let rest_written = checkpoint(&db);
    drop(db);
    // Nothing is written to tables but by checkpoints that are asked for.
    config.memtable_bytes = 8 << 30;
    let reopen = || {
        let begin = Instant::now();
        let db = open(dir, config.clone());
        let found = db.get(KEYSPACE, key(keys / 2).as_bytes()).expect("it is read");
        let took = begin.elapsed();
        assert_eq!(found.as_deref(), Some(&(keys / 2).to_le_bytes()[..]));
        (db, took)
    };
    let db = fresh(dir, config.clone());
    load(&db, 0..keys);
    db.flush().expect("it is flushed");
    drop(db);
    let (db, replayed) = reopen();
    let written = checkpoint(&db);
    load(&db, keys..keys + 1);
    let truncated = checkpoint(&db);
    db.close().expect("it closes");
    let (db, loaded) = reopen();
    load(&db, keys..keys + keys / 10);
    db.flush().expect("it is flushed");
    drop(db);
    let (db, both) = reopen();
    drop(db);
    [written, rest_written, loaded, truncated, replayed, both]
}
