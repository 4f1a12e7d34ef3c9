//! Random reads of 4 KiB of a sealed file: cold through queues and batches, warm through views.

use crate::pattern::{Offsets, buffers, check, make, name};
use crate::rate::repeated;
use crate::table::Table;
use crate::{Contender, MMAP, STD, Scale, URING, fio};
use gannet_storage::{BLOCK_SIZE, Read, ReadFile, ReadQueue, SealedFile, Storage};
use std::num::NonZeroU16;
use std::path::Path;

const DEPTHS: [u16; 4] = [1, 8, 32, 128];
const BATCH: usize = 32;
const BLOCK: u64 = BLOCK_SIZE as u64;

/// Reads a second from a file of which the page cache has nothing, before each measurement.
pub(crate) fn cold(dir: &Path, scale: &Scale, uring: bool) {
    make(&(STD.open)(dir).expect("it opened"), scale.file_bytes);
    let mut table =
        Table::new("Cold random 4 KiB reads of a sealed file, page cache dropped", "reads/s");
    for round in 0..scale.rounds as u64 {
        for depth in DEPTHS {
            if uring {
                table.add(
                    format!("uring, queue({depth})"),
                    queued(dir, &URING, scale, depth, round),
                );
            }
            table.add(format!("std, queue({depth})"), queued(dir, &STD, scale, depth, round));
            let file = dir.join(name().as_str());
            let found = fio::random_reads(&file, scale.file_bytes, depth, scale.window);
            if let Some(found) = found {
                table.add(format!("fio, depth {depth}"), found);
            }
        }
        if uring {
            table.add(format!("uring, batches of {BATCH}"), batches(dir, &URING, scale, round));
        }
        table.add(format!("std, batches of {BATCH}"), batches(dir, &STD, scale, round));
        table.add("mmap, views", viewed(dir, &MMAP, scale, round, true));
    }
    table.print("fio, depth 32");
}

/// Reads a second from a file that has been read whole, on one thread.
pub(crate) fn warm(dir: &Path, scale: &Scale, uring: bool) {
    let mut table = Table::new("Warm random 4 KiB reads of a sealed file", "reads/s");
    for round in 0..scale.rounds as u64 {
        table.add("mmap, views", viewed(dir, &MMAP, scale, round, false));
        table.add("mmap, read_at", read_at(dir, &MMAP, scale, round));
        table.add("std, read_at", read_at(dir, &STD, scale, round));
        table.add("std, views", viewed(dir, &STD, scale, round, false));
        if uring {
            table.add("uring, read_at (direct)", read_at(dir, &URING, scale, round));
            let cached = &crate::URING_CACHED;
            table.add("uring, read_at (cached)", read_at(dir, cached, scale, round));
        }
    }
    table.print("std, read_at");
}

fn open<S: Storage>(dir: &Path, contender: &Contender<S>) -> (S, S::Sealed) {
    let storage = (contender.open)(dir).expect("it opened before");
    let sealed = storage.open_sealed(&name()).expect("the file was made");
    (storage, sealed)
}

fn queued<S: Storage>(
    dir: &Path,
    contender: &Contender<S>,
    scale: &Scale,
    depth: u16,
    seed: u64,
) -> f64 {
    let (storage, sealed) = open(dir, contender);
    sealed.discard_cache().expect("a cache to drop");
    let depth = NonZeroU16::new(depth).expect("a depth");
    let mut queue = sealed.queue(depth).expect("a queue");
    let mut offsets = Offsets::new(seed, scale.file_bytes);
    let mut free = buffers(&storage, usize::from(depth.get()));
    repeated(scale.window, || {
        while let Some(buf) = free.pop() {
            let offset = offsets.next();
            if let Err(buf) = queue.submit(offset, offset, buf) {
                free.push(buf);
                break;
            }
        }
        let done = queue.wait().expect("reads are in flight");
        done.result.expect("a read");
        check(&done.buf, done.tag);
        free.push(done.buf);
        1
    })
}

fn batches<S: Storage>(dir: &Path, contender: &Contender<S>, scale: &Scale, seed: u64) -> f64 {
    let (storage, sealed) = open(dir, contender);
    sealed.discard_cache().expect("a cache to drop");
    let mut offsets = Offsets::new(seed, scale.file_bytes);
    let mut bufs = buffers(&storage, BATCH);
    repeated(scale.window, || {
        let mut reads: Vec<_> =
            bufs.iter_mut().map(|buf| Read { offset: offsets.next(), buf }).collect();
        sealed.read_batch(&mut reads).expect("reads");
        for read in &reads {
            check(read.buf, read.offset);
        }
        BATCH as u64
    })
}

fn read_at<S: Storage>(dir: &Path, contender: &Contender<S>, scale: &Scale, seed: u64) -> f64 {
    let (storage, sealed) = open(dir, contender);
    read_whole(&sealed);
    let mut offsets = Offsets::new(seed, scale.file_bytes);
    let mut buf = storage.alloc(BLOCK_SIZE);
    repeated(scale.window, || {
        for _ in 0..16 {
            let offset = offsets.next();
            sealed.read_at(offset, &mut buf).expect("a read");
            check(&buf, offset);
        }
        16
    })
}

/// Blocks of one view of the whole file, as an index uses it; of views of a block each where that
/// would be read.
fn viewed<S: Storage>(
    dir: &Path,
    contender: &Contender<S>,
    scale: &Scale,
    seed: u64,
    is_cold: bool,
) -> f64 {
    let (storage, sealed) = open(dir, contender);
    if is_cold {
        sealed.discard_cache().expect("a cache to drop");
    } else {
        read_whole(&sealed);
    }
    let whole = storage.caps().zero_copy_views.then(|| {
        let whole = sealed.view(0..scale.file_bytes).expect("a view");
        if !is_cold {
            for (block, at) in whole.chunks(BLOCK_SIZE).zip((0..).step_by(BLOCK_SIZE)) {
                check(block, at);
            }
        }
        whole
    });
    let mut offsets = Offsets::new(seed, scale.file_bytes);
    let mut block = [0; BLOCK_SIZE];
    repeated(scale.window, || {
        let reads = if is_cold { 1 } else { 16 };
        for _ in 0..reads {
            let offset = offsets.next();
            if let Some(whole) = &whole {
                // Copied out, so that as many bytes are read as by the others.
                let at = usize::try_from(offset).expect("it is mapped");
                block.copy_from_slice(&whole[at..at + BLOCK_SIZE]);
                check(&block, offset);
            } else {
                let view = sealed.view(offset..offset + BLOCK).expect("a read");
                check(&view, offset);
            }
        }
        reads
    })
}

/// Brings the file into the page cache, where the backend uses it.
fn read_whole<F: SealedFile>(sealed: &F) {
    let mut buf = gannet_storage::AlignedBuf::zeroed(1 << 20);
    for offset in (0..sealed.len_bytes()).step_by(buf.len()) {
        sealed.read_at(offset, &mut buf).expect("a read");
    }
}
