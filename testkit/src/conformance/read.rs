//! Clauses 2 and 3 for reads: inside the file all bytes come, outside nothing is done.

use super::pattern::{BLOCK, byte, contents, create, filled, name};
use super::verdict::Clause;
use gannet_storage::{BLOCK_SIZE, ErrorKind, Op, Read, ReadFile, Storage};
use std::thread;

const BOUNDS: Clause = Clause { number: 2, title: "bounds" };
const ALL: Clause = Clause { number: 3, title: "all or error" };
const BLOCKS: usize = 64;

pub(super) fn check<S: Storage>(open: &impl Fn() -> S) {
    every_span_inside_reads_back(&open());
    a_batch_fills_every_buffer(&open());
    reads_past_the_end_are_refused(&open());
    an_empty_file_reads_empty(&open());
    many_threads_read_at_once(&open());
}

fn every_span_inside_reads_back<S: Storage>(storage: &S) {
    let writer = create(ALL, storage, &name("a"), 1, BLOCKS);
    let check = |read: &dyn Fn(u64, &mut [u8]) -> gannet_storage::Result<()>, what: &str| {
        for (first, blocks) in [(0, 1), (1, 1), (0, BLOCKS), (BLOCKS - 1, 1), (7, 33), (64, 0)] {
            let offset = first as u64 * BLOCK;
            let mut buf = storage.alloc(blocks * BLOCK_SIZE);
            let call = format!("{what}.read_at(block {first}, {blocks} blocks)");
            ALL.ok(&call, read(offset, &mut buf));
            ALL.same_bytes(&call, &buf, &filled(storage, 1, offset, blocks * BLOCK_SIZE));
        }
    };
    check(&|offset, buf| writer.read_at(offset, buf), "writer");
    let sealed = ALL.ok("seal", storage.seal(writer));
    check(&|offset, buf| sealed.read_at(offset, buf), "sealed");
}

fn a_batch_fills_every_buffer<S: Storage>(storage: &S) {
    let writer = create(ALL, storage, &name("a"), 1, BLOCKS);
    let sealed = ALL.ok("seal", storage.seal(writer));
    ALL.ok("read_batch(nothing)", sealed.read_batch(&mut []));
    // Backwards, of many sizes, one block twice, more members than a submission ring is wide.
    let spans: Vec<_> = (0..300_usize)
        .map(|i| (BLOCKS - 1 - i % BLOCKS, 1 + i % 3))
        .filter(|(first, blocks)| first + blocks <= BLOCKS)
        .collect();
    let mut bufs: Vec<_> =
        spans.iter().map(|(_, blocks)| storage.alloc(blocks * BLOCK_SIZE)).collect();
    let mut reads: Vec<_> = spans
        .iter()
        .zip(&mut bufs)
        .map(|((first, _), buf)| Read { offset: *first as u64 * BLOCK, buf })
        .collect();
    ALL.ok("read_batch of hundreds", sealed.read_batch(&mut reads));
    for ((first, _), buf) in spans.iter().zip(&bufs) {
        let offset = *first as u64 * BLOCK;
        ALL.same_bytes("read_batch of hundreds", buf, &filled(storage, 1, offset, buf.len()));
    }
}

fn reads_past_the_end_are_refused<S: Storage>(storage: &S) {
    let a = name("a");
    let end = BLOCKS as u64 * BLOCK;
    let writer = create(BOUNDS, storage, &a, 1, BLOCKS);
    let mut buf = storage.alloc(2 * BLOCK_SIZE);
    for offset in [end - BLOCK, end, end + BLOCK, 1 << 40, u64::MAX - (BLOCK - 1)] {
        let call = format!("read_at({offset}, 2 blocks)");
        let result = writer.read_at(offset, &mut buf);
        BOUNDS.refused_at(&call, result, ErrorKind::OutOfBounds, Op::Read, &a);
    }
    let (mut inside, mut past) = (storage.alloc(BLOCK_SIZE), storage.alloc(BLOCK_SIZE));
    let mut batch = [Read { offset: 0, buf: &mut inside }, Read { offset: end, buf: &mut past }];
    let result = writer.read_batch(&mut batch);
    BOUNDS.refused("read_batch, 1 of 2 past the end", result, ErrorKind::OutOfBounds);
    let sealed = BOUNDS.ok("seal", storage.seal(writer));
    let result = sealed.read_at(end, &mut past);
    BOUNDS.refused_at("read_at(end)", result, ErrorKind::OutOfBounds, Op::Read, &a);
    BOUNDS.ok("read_at(end, nothing)", sealed.read_at(end, &mut []));
}

fn an_empty_file_reads_empty<S: Storage>(storage: &S) {
    let file = BOUNDS.ok("create(length 0)", storage.create(&name("a"), 0));
    BOUNDS.same("len_bytes", file.len_bytes(), 0);
    BOUNDS.ok("read_at(0, nothing)", file.read_at(0, &mut []));
    let mut buf = storage.alloc(BLOCK_SIZE);
    let result = file.read_at(0, &mut buf);
    BOUNDS.refused("read_at of an empty file", result, ErrorKind::OutOfBounds);
    let sealed = BOUNDS.ok("seal(empty)", storage.seal(file));
    BOUNDS.same("sealed len_bytes", sealed.len_bytes(), 0);
    BOUNDS.same("contents", contents(BOUNDS, storage, &sealed).len(), 0);
}

fn many_threads_read_at_once<S: Storage>(storage: &S) {
    let writer = create(ALL, storage, &name("a"), 1, BLOCKS);
    let sealed = ALL.ok("seal", storage.seal(writer));
    thread::scope(|scope| {
        for reader in 0..4_usize {
            let (sealed, clone) = (&sealed, sealed.clone());
            let run = move || {
                let mut buf = storage.alloc(BLOCK_SIZE);
                for i in 0..200 {
                    let offset = ((i * 7 + reader * 13) % BLOCKS) as u64 * BLOCK;
                    let file = if i % 2 == 0 { sealed } else { &clone };
                    ALL.ok("concurrent read_at", file.read_at(offset, &mut buf));
                    let right = buf.iter().zip(offset..).all(|(&found, at)| found == byte(1, at));
                    ALL.same(&format!("concurrent read_at({offset}): right"), right, true);
                }
            };
            let thread = thread::Builder::new().name(format!("reader-{reader}"));
            thread.spawn_scoped(scope, run).expect("the system has room for a thread");
        }
    });
}
