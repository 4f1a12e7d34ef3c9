//! Durable writes: one block at a time, and a whole file from end to end.

use crate::pattern::{CHUNK_BYTES, fill};
use crate::rate::once;
use crate::table::Table;
use crate::{Contender, MMAP, STD, Scale, URING, URING_CACHED, fio};
use gannet_storage::{BLOCK_SIZE, Durability, FileName, Storage, Write, WriteFile};
use std::path::Path;

const BLOCK: u64 = BLOCK_SIZE as u64;

fn name() -> FileName {
    FileName::new("written").expect("a valid name")
}

/// Appends of 4 KiB a second, each durable before the next, to a file filled with zeroes.
pub(crate) fn appends(dir: &Path, scale: &Scale, uring: bool) {
    let mut table = Table::new(
        "Durable appends of 4 KiB to a zero-filled file, one at a time, one thread",
        "appends/s",
    );
    for _ in 0..scale.rounds {
        table.add("std", append(dir, &STD, scale));
        if uring {
            table.add("uring", append(dir, &URING, scale));
            table.add("uring, cached", append(dir, &URING_CACHED, scale));
        }
        table.add("mmap", append(dir, &MMAP, scale));
    }
    table.print("std");
}

fn append<S: Storage>(dir: &Path, contender: &Contender<S>, scale: &Scale) -> f64 {
    let storage = (contender.open)(dir).expect("it opened before");
    let file_bytes = scale.appends as u64 * BLOCK;
    let file = storage.create(&name(), file_bytes).expect("a file");
    let zeroes = storage.alloc(scale.appends * BLOCK_SIZE);
    let whole = Write { offset: 0, bytes: &zeroes };
    file.write_batch(&[whole], Durability::Full).expect("room on the disk");
    let mut block = storage.alloc(BLOCK_SIZE);
    let (found, ()) = once(scale.appends as u64, || {
        for offset in (0..file_bytes).step_by(BLOCK_SIZE) {
            fill(&mut block, offset);
            let write = Write { offset, bytes: &block };
            file.write_batch(&[write], Durability::Data).expect("an append");
        }
    });
    drop(file);
    storage.remove(&name()).expect("the file is not in use");
    found
}

/// Bytes a second of a new file, written from end to end and made durable, which counts.
pub(crate) fn stream(dir: &Path, scale: &Scale, uring: bool) {
    let title = format!("Sequential durable write of {} MiB", scale.stream_bytes >> 20);
    let mut table = Table::new(title, "GB/s");
    for _ in 0..scale.rounds {
        table.add("std", written(dir, &STD, scale));
        if uring {
            table.add("uring", written(dir, &URING, scale));
            table.add("uring, cached", written(dir, &URING_CACHED, scale));
        }
        if let Some(found) = fio::stream(&dir.join("fio"), scale.stream_bytes) {
            table.add("fio, direct", found / 1e9);
        }
    }
    table.print("fio, direct");
}

fn written<S: Storage>(dir: &Path, contender: &Contender<S>, scale: &Scale) -> f64 {
    let storage = (contender.open)(dir).expect("it opened before");
    let mut chunk = storage.alloc(CHUNK_BYTES);
    fill(&mut chunk, 0);
    let (found, sealed) = once(scale.stream_bytes, || {
        let file = storage.create(&name(), scale.stream_bytes).expect("a file");
        for offset in (0..scale.stream_bytes).step_by(CHUNK_BYTES) {
            let write = Write { offset, bytes: &chunk };
            file.write_batch(&[write], Durability::Deferred).expect("room on the disk");
        }
        let sealed = storage.seal(file).expect("a sync");
        storage.sync_dir().expect("a sync");
        sealed
    });
    drop(sealed);
    storage.remove(&name()).expect("the file is not in use");
    found / 1e9
}
