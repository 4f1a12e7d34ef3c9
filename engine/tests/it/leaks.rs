//! Nothing grows that should not: files, descriptors, threads and memory over many openings.

use crate::disk::Opener;
use gannet::{Config, Database, Metric, Params, WriteBatch};
use std::fs::DirEntry;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

/// In the process that is measured: the directory, and the number of the backend.
const DIR: &str = "GANNET_LEAKS_DIR";
const OPENER: &str = "GANNET_LEAKS_BACKEND";
/// How often the database is opened; 10,000 in `.ci/long`.
const CYCLES: &str = "GANNET_LEAKS_CYCLES";
const CYCLES_SHORT: u64 = 300;
/// A checkpoint each so many openings.
const CHECKPOINT: u64 = 10;
/// A segment may be made ahead, or not yet.
const FILES_MAX: usize = 2;
const FILE_BYTES_MAX: u64 = 2 * gannet::limits::SEGMENT_BYTES_MIN;
/// Allocators keep some of what they are given back.
const MEMORY_MAX: u64 = 8 << 20;

/// Tables are merged while a database is open, or not yet: so many are made before commits wait for
/// that, and two checkpoints may name others.
const TABLES_MAX: usize = 2 * 16;

/// What a process and a directory have.
#[derive(Clone, Copy, Debug)]
struct Used {
    /// Tables left out.
    files: usize,
    file_bytes: u64,
    tables: usize,
    descriptors: usize,
    threads: usize,
    memory: u64,
}

fn entries(dir: &Path) -> usize {
    dir.read_dir().unwrap().count()
}

/// How many files there are whose names begin so, or do not, and their length.
fn files(dir: &Path, are_tables: bool) -> (usize, u64) {
    let files = dir.read_dir().unwrap().map(Result::unwrap);
    let is_one = |entry: &DirEntry| entry.file_name().to_string_lossy().starts_with("table-");
    let lens = files.filter(|entry| is_one(entry) == are_tables);
    lens.fold((0, 0), |(count, len), entry| (count + 1, len + entry.metadata().unwrap().len()))
}

impl Used {
    fn now(dir: &Path) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let memory = memory.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10;
        let (files, file_bytes) = files(dir, false);
        Self {
            files,
            file_bytes,
            tables: self::files(dir, true).0,
            descriptors: entries(Path::new("/proc/self/fd")),
            threads: entries(Path::new("/proc/self/task")),
            memory,
        }
    }

    /// Once the threads of the last database have ended: those of a pool do so in their own time.
    /// There remain those of the test.
    fn alone(dir: &Path) -> Self {
        const TESTS: usize = 2;
        const LOOKS: u32 = 1_000_000;
        let mut used = Self::now(dir);
        for _ in 0..LOOKS {
            if used.threads <= TESTS {
                break;
            }
            std::thread::yield_now();
            used = Self::now(dir);
        }
        used
    }

    fn check(self, before: Self) {
        assert_eq!(before.threads, 2, "{before:?}");
        let same = |used: Self| (used.descriptors, used.threads);
        assert_eq!(same(self), same(before), "{before:?} grew to {self:?}");
        let is_flat = self.files <= before.files + FILES_MAX
            && self.tables <= TABLES_MAX
            && self.file_bytes <= before.file_bytes + FILE_BYTES_MAX
            && self.memory <= before.memory + MEMORY_MAX;
        assert!(is_flat, "{before:?} grew to {self:?}");
    }
}

/// Opens, writes, closes, so many times; measures after a tenth and at the end.
fn cycle(dir: &Path, opener: Opener, cycles: u64) {
    let mut before = None;
    for cycle in 1..=cycles {
        let mut config = Config::balanced();
        config.threads = 2;
        config.segment_bytes = gannet::limits::SEGMENT_BYTES_MIN;
        let db = Database::open(opener.open(dir).unwrap(), config).unwrap();
        if cycle == 1 {
            db.create_collection("c", Params::new(4, Metric::L2)).unwrap();
            let mut batch = WriteBatch::new();
            for id in 0..100_u8 {
                batch.insert("c", u64::from(id), &[f32::from(id); 4]);
            }
            db.commit(batch).unwrap();
        }
        let mut batch = WriteBatch::new();
        batch.put("k", &[u8::try_from(cycle % 16).unwrap()], &[7; 300]);
        db.commit(batch).unwrap();
        if cycle % CHECKPOINT == 0 {
            db.checkpoint(&mut |_| ControlFlow::Continue(())).unwrap();
        }
        // Half of them are dropped.
        if cycle % 2 == 0 {
            db.close().unwrap();
        }
        if cycle % CHECKPOINT == 0 && cycle * 10 >= cycles {
            let used = Used::alone(dir);
            used.check(*before.get_or_insert(used));
        }
    }
    assert!(before.is_some());
}

#[test]
fn many_openings_leave_files_descriptors_threads_and_memory_as_they_were() {
    if let Some(dir) = std::env::var_os(DIR) {
        let number: usize = std::env::var(OPENER).unwrap().parse().unwrap();
        let cycles = std::env::var(CYCLES).map_or(CYCLES_SHORT, |text| text.parse().unwrap());
        return cycle(Path::new(&dir), Opener::all()[number], cycles);
    }
    for (number, opener) in Opener::all().into_iter().enumerate() {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        // A process of its own: others here open and close as they like.
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["leaks::many_openings_leave_files_descriptors_threads_and_memory_as_they_were"])
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            // Or each new thread may get memory of its own to share out, which it leaves behind.
            .env("MALLOC_ARENA_MAX", "1")
            .env(OPENER, number.to_string())
            .output()
            .unwrap();
        let (out, err) = (output.stdout, output.stderr);
        let [out, err] = [out, err].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success() && out.contains("1 passed"), "{opener:?}:\n{out}\n{err}");
    }
}

#[test]
fn an_empty_database_takes_little_room() {
    for opener in Opener::all() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::open(opener.open(dir.path()).unwrap(), Config::balanced()).unwrap();
        let mut batch = WriteBatch::new();
        batch.create_collection("c", Params::new(768, Metric::Cosine));
        batch.put("k", b"key", b"value");
        db.commit(batch).unwrap();
        // What is made ahead, too.
        db.tend().unwrap();
        db.checkpoint(&mut |_| ControlFlow::Continue(())).unwrap();
        db.tend().unwrap();
        db.close().unwrap();
        let bytes = files(dir.path(), false).1 + files(dir.path(), true).1;
        assert!(bytes < 4 << 20, "{opener:?}: {bytes} bytes");
    }
}
