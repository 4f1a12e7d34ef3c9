//! Ten times as many bytes of records as memory: gets, gets of many keys at once, a scan.
//!
//! Each store is loaded and made as small as it gets without a limit, and closed; then what the
//! system caches of it is dropped, and a process of its own opens it under a limit of memory which
//! counts the pages that the system caches for it. Stores with a cache of their own get a third
//! of the limit for it; the rest is for their indexes, and for what the system caches for them. Who
//! takes more than there is, is ended by the system, and fails.

use crate::data::{self, Random};
use crate::million::{load_mode, said, say, spawn};
use crate::report::{Sample, Unit};
use crate::store::{Kind, Open, Result, Store};
use crate::work::{self, Size, as_f64};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Its name on the command line.
pub(crate) const NAME: &str = "cold";

/// What processes of ours do for it.
pub(crate) const LOAD: &str = "cold-load";
pub(crate) const READ: &str = "cold-read";

/// Bytes of a record.
const RECORD_BYTES: u64 = 116;
/// Records are so many times as many bytes as memory.
const TIMES_MEMORY: u64 = 10;
/// The least memory that all stores open with.
const LIMIT_MIN: u64 = 32 << 20;
/// Keys that are asked for at once.
const MANY: u64 = 64;

/// Where limits of memory are made, in both versions of control groups: the folder of all groups, a
/// file that is there if it is that version, the file of the limit.
const GROUPS: [(&str, &str, &str); 2] = [
    ("/sys/fs/cgroup", "cgroup.controllers", "memory.max"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.limit_in_bytes"),
];

/// A group of processes that share a limit of memory. It is removed when it is dropped.
struct Group(PathBuf);

impl Group {
    fn new(limit: u64) -> Result<Self> {
        let mut refused = "there are no control groups".to_owned();
        for (root, mark, file) in GROUPS {
            if !Path::new(root).join(mark).exists() {
                continue;
            }
            let dir = Path::new(root).join(format!("gannet-compare-{}", std::process::id()));
            if let Err(error) = std::fs::create_dir(&dir) {
                refused = format!("{}: {error}", dir.display());
                continue;
            }
            let group = Self(dir);
            match std::fs::write(group.0.join(file), limit.to_string()) {
                Ok(()) => return Ok(group),
                Err(error) => refused = format!("{}: {error}", group.0.join(file).display()),
            }
        }
        Err(format!("no limit of memory can be set: {refused}").into())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not before its last process is gone, which the kernel may take a moment for.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A round: a load, and what is read of that under the limit.
pub(crate) fn round(
    kind: Kind,
    dir: &Path,
    size: Size,
    each: &mut dyn FnMut(Sample),
) -> Result<()> {
    let limit = (size.records * RECORD_BYTES / TIMES_MEMORY).max(LIMIT_MIN);
    let group = Group::new(limit)?;
    let mut loader = spawn(LOAD, kind, dir, size.records, &[])?;
    said(&mut loader)?;
    if !loader.wait()?.success() {
        return Err("the load failed".into());
    }
    let dropped = "sync; echo 3 > /proc/sys/vm/drop_caches";
    if !Command::new("sh").args(["-c", dropped]).status()?.success() {
        return Err("the caches of the system were not dropped".into());
    }
    let of_group = [group.0.to_string_lossy().into_owned(), size.time.as_secs_f64().to_string()];
    let mut reader = spawn(READ, kind, dir, size.records, &of_group)?;
    let told = said(&mut reader);
    let status = reader.wait()?;
    let told: serde_json::Value = serde_json::from_str(&told?)?;
    if !status.success() {
        return Err(format!("reading ended with {status}").into());
    }
    let settings = format!("{} MB of memory", limit / 1_000_000);
    for (workload, threads, unit) in [
        ("cold-get", 1, Unit::PerSecond),
        ("cold-get-p50", 1, Unit::Seconds),
        ("cold-get-p99", 1, Unit::Seconds),
        ("cold-get", 16, Unit::PerSecond),
        ("cold-get-p50", 16, Unit::Seconds),
        ("cold-get-p99", 16, Unit::Seconds),
        ("cold-get-many", 1, Unit::PerSecond),
        ("cold-scan", 1, Unit::PerSecond),
        ("cold-scan-megabytes-a-second", 1, Unit::PerSecond),
    ] {
        let name = format!("{workload}-{threads}");
        let value = told[&name].as_f64().ok_or_else(|| format!("no {name} was told"))?;
        let sample = Sample {
            workload,
            kind,
            settings: settings.clone(),
            mode: load_mode(kind),
            threads,
            unit,
            value,
        };
        each(sample);
    }
    Ok(())
}

/// Loads a store, and closes it.
pub(crate) fn load(kind: Kind, dir: &Path, records: u64) -> Result<()> {
    let store = kind.open(&Open::new(dir, load_mode(kind)))?;
    work::load(&*store, records)?;
    store.compact()?;
    say("loaded")
}

/// Reads a store as a process of a group that is limited.
pub(crate) fn read(kind: Kind, dir: &Path, records: u64, more: &[String]) -> Result<()> {
    let [group, seconds] = more else { return Err("two more arguments".into()) };
    std::fs::write(Path::new(group).join("cgroup.procs"), std::process::id().to_string())?;
    let time = Duration::try_from_secs_f64(seconds.parse()?)?;
    let limit = (records * RECORD_BYTES / TIMES_MEMORY).max(LIMIT_MIN);
    let cache_bytes = u32::try_from(limit / 3)?;
    let open = Open::new(dir, load_mode(kind));
    let store = kind.open(&Open { cache_bytes, is_larger_than_memory: true, ..open })?;
    let mut told = serde_json::Map::new();
    for threads in [1, 16] {
        let (rate, p50, p99) = gets(&*store, records, threads, time)?;
        told.insert(format!("cold-get-{threads}"), rate.into());
        told.insert(format!("cold-get-p50-{threads}"), p50.into());
        told.insert(format!("cold-get-p99-{threads}"), p99.into());
    }
    told.insert("cold-get-many-1".into(), many(&*store, records, time)?.into());
    let begin = Instant::now();
    let (mut found, mut bytes) = (0, 0);
    store.session()?.scan(&mut |key, value| {
        found += 1;
        bytes += (key.len() + value.len()) as u64;
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    if found != records {
        return Err(format!("a scan found {found} of {records} records").into());
    }
    told.insert("cold-scan-1".into(), (as_f64(found) / seconds).into());
    let megabytes = as_f64(bytes) / 1e6 / seconds;
    told.insert("cold-scan-megabytes-a-second-1".into(), megabytes.into());
    say(&serde_json::Value::Object(told).to_string())
}

/// Threads that get random keys: how many a second, and how long the median and the slowest of a
/// hundred took.
fn gets(store: &dyn Store, records: u64, threads: u64, time: Duration) -> Result<(f64, f64, f64)> {
    let barrier = Barrier::new(usize::try_from(threads)?);
    let work = |thread: u64| -> Result<Vec<Duration>> {
        let session = store.session();
        barrier.wait();
        let (mut session, mut random, mut took) = (session?, Random::new(thread), Vec::new());
        let begin = Instant::now();
        let mut last = begin;
        while last - begin < time {
            work::get(&mut *session, random.below(records))?;
            let now = Instant::now();
            took.push(now - last);
            last = now;
        }
        Ok(took)
    };
    let results: Vec<Result<Vec<Duration>>> = std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        let panicked = |_| Err("a thread has panicked".into());
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let mut took: Vec<Duration> = Vec::new();
    for result in results {
        took.extend(result?);
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64();
    Ok((as_f64(took.len() as u64) / time.as_secs_f64(), at(50), at(99)))
}

/// Gets of many random keys at once: how many keys a second.
fn many(store: &dyn Store, records: u64, time: Duration) -> Result<f64> {
    let (mut session, mut random) = (store.session()?, Random::new(99));
    let begin = Instant::now();
    let mut done = 0;
    while begin.elapsed() < time {
        let numbers: Vec<u64> = (0..MANY).map(|_| random.below(records)).collect();
        let keys: Vec<_> = numbers.iter().map(|number| data::key(*number)).collect();
        let mut right = 0;
        session.get_many(&keys, &mut |index, value| {
            right += u64::from(data::generation(numbers[index], value).is_some());
        })?;
        if right != MANY {
            return Err("of many keys some are missing or wrong".into());
        }
        done += MANY;
    }
    Ok(as_f64(done) / begin.elapsed().as_secs_f64())
}
