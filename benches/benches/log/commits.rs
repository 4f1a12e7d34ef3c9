//! Commits by writers and durability, beside the raw loops.

use crate::table::Table;
use crate::{Scale, raw};
use gannet::storage::{DirOptions, Storage};
use gannet::{Config, Database, WriteBatch};
use gannet_backend_std::StdStorage;
use gannet_backend_uring::UringStorage;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const VALUE_BYTES: usize = 100;
/// Of a group with one record: frame header, record, key, value.
const FRAMED_BYTES: u64 = 192;

pub(crate) fn run(dir: &Path, scale: &Scale) {
    for writers in [1, 4, 16] {
        let mut table = Table::new("commits/s");
        for _ in 0..scale.rounds {
            let count = scale.commits;
            table.add("raw: each writes 4 KiB and syncs", {
                raw::each_syncs(&fresh(dir), writers, count)
            });
            table.add("raw: one writes and syncs for all that wait", {
                raw::leader_syncs(&fresh(dir), writers, count, FRAMED_BYTES)
            });
            table.add("std", strict(std_storage(&fresh(dir)), writers, count));
            if let Some(storage) = uring_storage(&fresh(dir)) {
                table.add("uring", strict(storage, writers, count));
            }
        }
        table
            .print(&format!("Strict commits of one put of {VALUE_BYTES} bytes, {writers} writers"));
    }
    let mut table = Table::new("commits/s");
    for _ in 0..scale.rounds {
        table.add("raw: pwrite of 4 KiB", raw::pwrites(&fresh(dir), scale.buffered));
        table.add("std", buffered(std_storage(&fresh(dir)), scale.buffered));
        if let Some(storage) = uring_storage(&fresh(dir)) {
            table.add("uring", buffered(storage, scale.buffered));
        }
    }
    table.print(&format!("Buffered commits of one put of {VALUE_BYTES} bytes, one writer"));
    let mut table = Table::new("batches/s");
    for _ in 0..scale.rounds {
        let len = 1000 * (VALUE_BYTES as u64 + 24);
        table.add("raw: write and sync", raw::large_writes(&fresh(dir), scale.batches, len));
        table.add("std", batches(std_storage(&fresh(dir)), scale.batches));
        if let Some(storage) = uring_storage(&fresh(dir)) {
            table.add("uring", batches(storage, scale.batches));
        }
    }
    table.print(&format!("Strict commits of 1,000 puts of {VALUE_BYTES} bytes, one writer"));
}

/// An empty directory.
pub(crate) fn fresh(dir: &Path) -> PathBuf {
    let dir = dir.join("run");
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

pub(crate) fn std_storage(dir: &Path) -> StdStorage {
    StdStorage::open(dir, &DirOptions::create()).expect("the directory opens")
}

fn uring_storage(dir: &Path) -> Option<UringStorage> {
    UringStorage::open(dir, &DirOptions::create()).ok()
}

fn put(key: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put("kv", &key.to_be_bytes(), &[7; VALUE_BYTES]);
    batch
}

/// Opens, and makes the first segment.
fn open<S: Storage>(storage: S, config: Config) -> Database<S> {
    let database = Database::open(storage, config).expect("a new database");
    database.commit(put(u64::MAX)).expect("room on the disk");
    database
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52, and for reading")]
fn rate(count: u64, begin: Instant) -> f64 {
    count as f64 / begin.elapsed().as_secs_f64()
}

fn strict<S: Storage>(storage: S, writers: u64, count: u64) -> f64 {
    let database = open(storage, Config::balanced());
    let next = AtomicU64::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                loop {
                    let key = next.fetch_add(1, Ordering::Relaxed);
                    if key >= count {
                        break;
                    }
                    database.commit(put(key)).expect("room on the disk");
                }
            });
        }
    });
    rate(count, begin)
}

fn buffered<S: Storage>(storage: S, count: u64) -> f64 {
    let database = open(storage, Config::max_throughput());
    let begin = Instant::now();
    for key in 0..count {
        database.commit(put(key)).expect("room on the disk");
    }
    rate(count, begin)
}

fn batches<S: Storage>(storage: S, count: u64) -> f64 {
    let database = open(storage, Config::balanced());
    let begin = Instant::now();
    for first in 0..count {
        let mut batch = WriteBatch::new();
        for key in 0..1000 {
            batch.put("kv", &(first * 1000 + key).to_be_bytes(), &[7; VALUE_BYTES]);
        }
        database.commit(batch).expect("room on the disk");
    }
    rate(count, begin)
}
