//! Reading back what is on disk, beside raw loops of the same kind on the same files: the log
//! scanned with every checksum, and applied; a checkpoint verified.
//!
//! Contenders run one after the other, round after round, so that a disturbance of the machine
//! falls on all; figures are medians with the least and the most. `GANNET_BENCH_DIR` names the
//! directory (default: temporary), `GANNET_BENCH_ROUNDS` the rounds; `GANNET_BENCH_ONLY` one part
//! (scan, replay or checkpoint); `--test` runs all of it once, small.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the tables are the product")]

use gannet::storage::{AlignedBuf, DirOptions, FileName, ReadFile, SealedFile, Storage};
use gannet::{Config, Database, Durability, SeededChance, WriteBatch, verify_storage};
use gannet_backend_mmap::MmapStorage;
use gannet_backend_std::StdStorage;
use gannet_benches::Random;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const STEP_BYTES: usize = 1 << 20;
const RECORDS_A_BATCH: u64 = 1000;
const VALUE_BYTES: usize = 100;
/// Of a batch of the log that is scanned.
const SCAN_VALUE_BYTES: usize = 16 << 10;
const SCAN_VALUES: u64 = 8;

struct Scale {
    scan_bytes: u64,
    puts: u64,
    rounds: usize,
}

/// What was measured, and a time a round.
type Row = (String, Vec<Duration>);

fn main() {
    let is_test = std::env::args().any(|arg| arg == "--test");
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    let rounds = number("GANNET_BENCH_ROUNDS").unwrap_or(5);
    let scale = if is_test {
        Scale { scan_bytes: 8 << 20, puts: 5_000, rounds: 1 }
    } else {
        Scale { scan_bytes: 1 << 30, puts: 1_000_000, rounds }
    };
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = std::env::var_os("GANNET_BENCH_DIR")
        .map_or_else(|| temporary.path().to_owned(), |dir| PathBuf::from(dir).join("gannet-bench"));
    let only = std::env::var("GANNET_BENCH_ONLY").ok();
    let is_asked = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if is_asked("scan") {
        scans(&dir.join("scan"), &scale);
    }
    if is_asked("replay") {
        replays(&dir.join("replay"), &scale);
    }
    if is_asked("checkpoint") {
        checkpoints(&dir.join("checkpoint"), scale.scan_bytes / 2, scale.rounds);
    }
    std::fs::remove_dir_all(&dir).expect("the directory is ours");
}

fn config(threads: usize) -> Config {
    let mut config = Config::balanced();
    config.threads = threads;
    config.chance = Arc::new(SeededChance::new(1));
    config
}

fn std_storage(dir: &Path) -> StdStorage {
    std::fs::create_dir_all(dir).expect("a directory");
    StdStorage::open(dir, &DirOptions::create()).expect("the directory opens")
}

fn mmap_storage(dir: &Path) -> MmapStorage {
    MmapStorage::open(dir, &DirOptions::create()).expect("the directory opens")
}

/// The files whose names begin so, and their length.
fn files(dir: &Path, prefix: &str) -> (Vec<PathBuf>, u64) {
    let storage = std_storage(dir);
    let listed = storage.list().expect("a listing");
    let logs: Vec<_> =
        listed.into_iter().filter(|meta| meta.name.as_str().starts_with(prefix)).collect();
    let bytes = logs.iter().map(|meta| meta.len_bytes).sum();
    (logs.iter().map(|meta| dir.join(meta.name.as_str())).collect(), bytes)
}

/// A log of large values, so that what is measured is bytes. Its keys come again and again: what
/// replay keeps of it is next to nothing.
fn scans(dir: &Path, scale: &Scale) {
    let value = Random::new(1).bytes(SCAN_VALUE_BYTES);
    let database = Database::open(std_storage(dir), config(1)).expect("a database");
    let batch_bytes = SCAN_VALUES * SCAN_VALUE_BYTES as u64;
    for _ in 0..scale.scan_bytes / batch_bytes {
        let mut batch = WriteBatch::new();
        for key in 0..SCAN_VALUES {
            batch.put("kv", &key.to_le_bytes(), &value);
        }
        database.commit(batch).expect("room on the disk");
    }
    database.close().expect("a witness");
    let (files, bytes) = files(dir, "log-");
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..scale.rounds {
        for threads in [1, 2] {
            let title = |what: &str| format!("{what}, {threads} threads");
            add(&mut rows, &title("raw: read 1 MiB and CRC"), || raw_read(&files, threads));
            let std = open(std_storage(dir), threads);
            add(&mut rows, &title("std: verify"), || verify(&std));
            drop(std);
            add(&mut rows, &title("raw: map and CRC"), || raw_map(dir, &files, threads));
            let mmap = open(mmap_storage(dir), threads);
            add(&mut rows, &title("mmap: verify"), || verify(&mmap));
            drop(mmap);
            add(&mut rows, &title("std: open"), || open(std_storage(dir), threads));
            add(&mut rows, &title("mmap: open"), || open(mmap_storage(dir), threads));
        }
        forget(dir, &files);
        add(&mut rows, "raw: bare read, cold", || bare_read(&files));
        forget(dir, &files);
        add(&mut rows, "std: open, cold, 2 threads", || open(std_storage(dir), 2));
        forget(dir, &files);
        add(&mut rows, "mmap: open, cold, 2 threads", || open(mmap_storage(dir), 2));
    }
    println!("\n### A log of {bytes} bytes, scanned with every checksum\n");
    print(&rows, bytes, "GB/s", 1e9);
}

/// A checkpoint of one large keyspace, every byte of it checked, with next to no log behind it.
fn checkpoints(dir: &Path, bytes: u64, rounds: usize) {
    let value = Random::new(3).bytes(SCAN_VALUE_BYTES);
    let mut settings = config(1);
    settings.checkpoint_bytes = 1 << 40;
    // The one that is left is read, too.
    settings.segment_bytes = 1 << 20;
    let database = Database::open(std_storage(dir), settings).expect("a database");
    for key in 0..bytes / SCAN_VALUE_BYTES as u64 {
        let mut batch = WriteBatch::new();
        batch.put("kv", &key.to_le_bytes(), &value);
        database.commit_with(batch, Durability::Buffered).expect("room on the disk");
    }
    // The second lets go of the log before the first.
    for key in [b"a", b"b"] {
        let mut batch = WriteBatch::new();
        batch.put("other", key, b"");
        database.commit(batch).expect("room on the disk");
        database.checkpoint(&mut |_| ControlFlow::Continue(())).expect("room on the disk");
    }
    database.close().expect("a witness");
    let (files, bytes) = files(dir, "table-");
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..rounds {
        add(&mut rows, "raw: read 1 MiB and CRC", || raw_read(&files, 1));
        add(&mut rows, "std: verify", || verify_files(&std_storage(dir)));
        add(&mut rows, "raw: map and CRC", || raw_map(dir, &files, 1));
        add(&mut rows, "mmap: verify", || verify_files(&mmap_storage(dir)));
        forget(dir, &files);
        add(&mut rows, "raw: bare read, cold", || bare_read(&files));
        forget(dir, &files);
        add(&mut rows, "std: verify, cold", || verify_files(&std_storage(dir)));
    }
    println!("\n### A checkpoint of {bytes} bytes, verified\n");
    print(&rows, bytes, "GB/s", 1e9);
}

/// A log of small puts, in batches.
fn replays(dir: &Path, scale: &Scale) {
    for (order, is_random) in [("in order", false), ("in random order", true)] {
        let dir = dir.join(order.replace(' ', "-"));
        let mut random = Random::new(2);
        let value = random.bytes(VALUE_BYTES);
        let database = Database::open(std_storage(&dir), config(1)).expect("a database");
        for first in (0..scale.puts).step_by(1000) {
            let mut batch = WriteBatch::new();
            for key in first..first + RECORDS_A_BATCH {
                let key = if is_random { random.next_u64() } else { key };
                batch.put("kv", format!("key-{key:020}").as_bytes(), &value);
            }
            database.commit(batch).expect("room on the disk");
        }
        database.close().expect("a witness");
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..scale.rounds {
            add(&mut rows, "raw: insert into one map", || raw_inserts(scale.puts, is_random));
            for threads in [1, 2] {
                let title = |what: &str| format!("{what}: open, {threads} threads");
                add(&mut rows, &title("std"), || open(std_storage(&dir), threads));
                add(&mut rows, &title("mmap"), || open(mmap_storage(&dir), threads));
            }
        }
        println!("\n### {} puts of {VALUE_BYTES} bytes, keys {order}, applied\n", scale.puts);
        print(&rows, scale.puts, "M records/s", 1e6);
    }
}

/// What `act` gives is dropped when the time has been taken.
fn add<T>(rows: &mut Vec<Row>, title: &str, act: impl FnOnce() -> T) {
    let begin = Instant::now();
    let result = black_box(act());
    let elapsed = begin.elapsed();
    drop(result);
    match rows.iter_mut().find(|(name, _)| name == title) {
        Some((_, times)) => times.push(elapsed),
        None => rows.push((title.to_owned(), vec![elapsed])),
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52, and for reading")]
fn print(rows: &[Row], much: u64, unit: &str, scale: f64) {
    println!("| what | ms | least..most | {unit} |");
    println!("| --- | ---: | ---: | ---: |");
    for (name, times) in rows {
        let mut times = times.clone();
        times.sort_unstable();
        let median = times[times.len() / 2];
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (least, most) = (ms(times[0]), ms(times[times.len() - 1]));
        let rate = much as f64 / median.as_secs_f64() / scale;
        println!("| {name} | {:.1} | {least:.1}..{most:.1} | {rate:.2} |", ms(median));
    }
}

/// Every checksum, every record decoded, nothing kept.
fn verify<S: Storage>(database: &Database<S>) {
    let report = database.verify().expect("a listing");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

/// As [`verify`], of a database that is not open.
fn verify_files<S: Storage>(storage: &S) {
    let report = verify_storage(storage).expect("a listing");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

fn open<S: Storage>(storage: S, threads: usize) -> Database<S> {
    let database = Database::open(storage, config(threads)).expect("it opens");
    assert!(database.recovery_report().records > 0);
    database
}

/// Runs `work` on each file, on so many threads that take turns.
fn on_threads<T: Sync>(items: &[T], threads: usize, work: impl Fn(&T) -> u32 + Sync) -> u32 {
    std::thread::scope(|scope| {
        let work = &work;
        let part = |thread: usize| {
            move || items.iter().skip(thread).step_by(threads).map(work).fold(0, |a, b| a ^ b)
        };
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(part(thread))).collect();
        let own = part(0)();
        others.into_iter().fold(own, |all, other| all ^ other.join().expect("it ends"))
    })
}

fn raw_read(files: &[PathBuf], threads: usize) -> u32 {
    on_threads(files, threads, |path| {
        let mut file = File::open(path).expect("a segment");
        let mut buf = AlignedBuf::zeroed(STEP_BYTES);
        let mut hasher = crc32fast::Hasher::new();
        loop {
            match file.read(&mut buf).expect("a read") {
                0 => return hasher.finalize(),
                len => hasher.update(&buf[..len]),
            }
        }
    })
}

fn raw_map(dir: &Path, files: &[PathBuf], threads: usize) -> u32 {
    let storage = mmap_storage(dir);
    on_threads(files, threads, |path| {
        let view = view_of(&storage, path);
        crc32fast::hash(&view)
    })
}

fn view_of<S: Storage>(storage: &S, path: &Path) -> <S::Sealed as SealedFile>::View {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let file = storage.open_sealed(&FileName::new(name).expect("a name")).expect("a segment");
    file.view(0..file.len_bytes()).expect("a view")
}

fn bare_read(files: &[PathBuf]) -> u32 {
    let mut buf = AlignedBuf::zeroed(STEP_BYTES);
    for path in files {
        let mut file = File::open(path).expect("a segment");
        while file.read(&mut buf).expect("a read") > 0 {}
    }
    u32::from(buf[0])
}

/// Drops what the page cache has of the files.
fn forget(dir: &Path, files: &[PathBuf]) {
    let storage = std_storage(dir);
    for path in files {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let file = storage.open_sealed(&FileName::new(name).expect("a name")).expect("a segment");
        file.discard_cache().expect("a cache to drop");
    }
}

fn raw_inserts(puts: u64, is_random: bool) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    let mut random = Random::new(2);
    let value = random.bytes(VALUE_BYTES);
    let mut map = std::collections::BTreeMap::new();
    for key in 0..puts {
        let key = if is_random { random.next_u64() } else { key };
        map.insert(format!("key-{key:020}").into_bytes(), value.clone());
    }
    map
}
