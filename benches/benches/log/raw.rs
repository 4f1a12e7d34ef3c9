//! Loops that write to the disk and do nothing else.

use gannet::storage::{
    AlignedBuf, BLOCK_SIZE, DirOptions, Durability, FileName, Storage, Write, WriteFile,
};
use gannet_backend_std::{StdFile, StdStorage};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

const BLOCK: u64 = BLOCK_SIZE as u64;

/// A file of so many blocks that were written, with zeroes and in pieces as the log does it, and
/// synced.
fn blank(dir: &Path, blocks: u64) -> StdFile {
    let storage = StdStorage::open(dir, &DirOptions::create()).expect("the directory opens");
    let name = FileName::new("raw").expect("a name");
    let file = storage.create(&name, blocks * BLOCK).expect("a file");
    let zeroes = AlignedBuf::zeroed(16 << 10);
    let mut offset = 0;
    while offset < blocks * BLOCK {
        let len = (blocks * BLOCK - offset).min(zeroes.len() as u64);
        let bytes = &zeroes[..usize::try_from(len).expect("16 KiB")];
        let write = Write { offset, bytes };
        file.write_batch(&[write], Durability::Deferred).expect("room on the disk");
        offset += len;
    }
    file.sync(Durability::Full).expect("a sync");
    file
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52, and for reading")]
fn rate(count: u64, begin: Instant) -> f64 {
    count as f64 / begin.elapsed().as_secs_f64()
}

/// Each thread writes a block of its own and syncs, again and again.
pub(crate) fn each_syncs(dir: &Path, threads: u64, count: u64) -> f64 {
    let file = blank(dir, count);
    let block = AlignedBuf::zeroed(BLOCK_SIZE);
    let next = AtomicU64::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    let write = Write { offset: at * BLOCK, bytes: &block };
                    file.write_batch(&[write], Durability::Data).expect("a durable write");
                }
            });
        }
    });
    rate(count, begin)
}

#[derive(Default)]
struct Line {
    arrived: u64,
    done: u64,
    is_writing: bool,
    offset: u64,
}

/// One thread at a time writes and syncs for all that wait; `record_bytes` each.
pub(crate) fn leader_syncs(dir: &Path, threads: u64, count: u64, record_bytes: u64) -> f64 {
    let file = blank(dir, count + threads);
    let buffer = AlignedBuf::zeroed(1 << 20);
    let line = Mutex::new(Line::default());
    let ended = Condvar::new();
    let taken = AtomicU64::new(0);
    let one = || {
        let mut guard = line.lock().expect("no panic");
        guard.arrived += 1;
        let number = guard.arrived;
        while guard.done < number {
            if guard.is_writing {
                guard = ended.wait(guard).expect("no panic");
                continue;
            }
            guard.is_writing = true;
            let (upto, offset) = (guard.arrived, guard.offset);
            let len = ((upto - guard.done) * record_bytes).next_multiple_of(BLOCK);
            guard.offset += len;
            drop(guard);
            let bytes = &buffer[..usize::try_from(len).expect("at most 1 MiB")];
            file.write_batch(&[Write { offset, bytes }], Durability::Data)
                .expect("a durable write");
            guard = line.lock().expect("no panic");
            guard.done = upto;
            guard.is_writing = false;
            ended.notify_all();
        }
    };
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while taken.fetch_add(1, Ordering::Relaxed) < count {
                    one();
                }
            });
        }
    });
    rate(count, begin)
}

/// Blocks written one after the other into the page cache.
pub(crate) fn pwrites(dir: &Path, count: u64) -> f64 {
    const BLOCKS: u64 = 16 << 10;
    let file = blank(dir, BLOCKS);
    let block = AlignedBuf::zeroed(BLOCK_SIZE);
    let begin = Instant::now();
    for at in 0..count {
        let write = Write { offset: at % BLOCKS * BLOCK, bytes: &block };
        file.write_batch(&[write], Durability::Deferred).expect("a write");
    }
    rate(count, begin)
}

/// Durable writes of `len` bytes, one after the other.
pub(crate) fn large_writes(dir: &Path, count: u64, len: u64) -> f64 {
    let len = len.next_multiple_of(BLOCK);
    let file = blank(dir, count * len / BLOCK);
    let buffer = AlignedBuf::zeroed(usize::try_from(len).expect("short"));
    let begin = Instant::now();
    for at in 0..count {
        let write = Write { offset: at * len, bytes: &buffer };
        file.write_batch(&[write], Durability::Data).expect("a durable write");
    }
    rate(count, begin)
}
