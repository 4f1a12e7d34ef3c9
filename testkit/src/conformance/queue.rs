//! Clause 4, borrow or own, for queues: depth, tags, errors, and ends with reads in flight.

use super::pattern::{BLOCK, filled, name, sealed};
use super::verdict::Clause;
use gannet_storage::{BLOCK_SIZE, ErrorKind, ReadQueue, SealedFile, Storage};
use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::thread;

const CLAUSE: Clause = Clause { number: 4, title: "borrow or own" };
/// Blocks of every file here, and reads in flight at the most.
const DEPTH: u16 = 32;
const BLOCKS: usize = DEPTH as usize;
const END: u64 = DEPTH as u64 * BLOCK;

pub(super) fn check<S: Storage>(open: &impl Fn() -> S) {
    every_read_completes_once_with_its_tag(&open());
    a_full_queue_gives_the_buffer_back(&open());
    bad_reads_complete_with_their_error(&open());
    a_queue_owns_its_file(&open());
    a_queue_moves_between_threads(&open());
    a_queue_may_be_dropped_with_reads_in_flight(&open());
    a_queue_may_be_leaked_with_reads_in_flight(&open());
}

fn depth(of: u16) -> NonZeroU16 {
    NonZeroU16::new(of).expect("the suite asks for at least one")
}

fn every_read_completes_once_with_its_tag<S: Storage>(storage: &S) {
    let file = sealed(CLAUSE, storage, &name("a"), 1, BLOCKS);
    for asked in [1, 2, 8, 64] {
        let call = format!("queue({asked})");
        let mut queue = CLAUSE.ok(&call, file.queue(depth(asked)));
        let mut in_flight = BTreeSet::new();
        for tag in 0..100_u64 {
            let mut buf = storage.alloc(BLOCK_SIZE * (1 + usize::from(tag % 3 == 0)));
            let offset = (tag * 5 % (BLOCKS as u64 - 1)) * BLOCK;
            while let Err(back) = queue.submit(tag, offset, buf) {
                buf = back;
                take(&call, storage, &mut queue, &mut in_flight);
            }
            in_flight.insert(tag);
            let most = usize::from(asked);
            if in_flight.len() > most {
                CLAUSE.broken(&call, &format!("{} reads are in flight", in_flight.len()));
            }
        }
        while !in_flight.is_empty() {
            take(&call, storage, &mut queue, &mut in_flight);
        }
        CLAUSE.same(&format!("{call}: wait at the end"), queue.wait().is_none(), true);
        CLAUSE.same(&format!("{call}: wait again"), queue.wait().is_none(), true);
    }
}

/// Waits for one read and checks it against the tags in flight.
fn take<S: Storage>(
    call: &str,
    storage: &S,
    queue: &mut impl ReadQueue,
    in_flight: &mut BTreeSet<u64>,
) {
    let Some(done) = queue.wait() else {
        CLAUSE.broken(call, &format!("wait gave None with {in_flight:?} in flight"))
    };
    let tag = done.tag;
    if !in_flight.remove(&tag) {
        CLAUSE.broken(call, &format!("tag {tag} came back, which is not in flight"));
    }
    CLAUSE.ok(call, done.result);
    let offset = (tag * 5 % (BLOCKS as u64 - 1)) * BLOCK;
    CLAUSE.same_bytes(call, &done.buf, &filled(storage, 1, offset, done.buf.len()));
}

fn a_full_queue_gives_the_buffer_back<S: Storage>(storage: &S) {
    let file = sealed(CLAUSE, storage, &name("a"), 1, BLOCKS);
    for asked in [1, 3, 16] {
        let call = format!("submit to a full queue({asked})");
        let mut queue = CLAUSE.ok("queue", file.queue(depth(asked)));
        let mut accepted = 0;
        let back = loop {
            let mut buf = storage.alloc(2 * BLOCK_SIZE);
            buf[0] = 7;
            let address = buf.as_ptr().addr();
            match queue.submit(accepted, 0, buf) {
                Ok(()) => accepted += 1,
                Err(back) => break (address, back),
            }
            if accepted > u64::from(asked) {
                CLAUSE.broken(&call, &format!("{accepted} reads were accepted"));
            }
        };
        let (address, buf) = back;
        CLAUSE.same(&format!("{call}: accepted none"), accepted == 0, false);
        CLAUSE.same(&format!("{call}: address"), buf.as_ptr().addr(), address);
        CLAUSE.same(&format!("{call}: length and contents"), (buf.len(), buf[0]), (8192, 7));
        CLAUSE.same(&format!("{call}: wait"), queue.wait().is_some(), true);
        CLAUSE.same("submit after wait", queue.submit(99, 0, buf).is_ok(), true);
        for _ in 0..accepted {
            CLAUSE.same(&format!("{call}: wait for the rest"), queue.wait().is_some(), true);
        }
        CLAUSE.same(&format!("{call}: wait at the end"), queue.wait().is_none(), true);
    }
}

fn bad_reads_complete_with_their_error<S: Storage>(storage: &S) {
    let file = sealed(CLAUSE, storage, &name("a"), 1, BLOCKS);
    let mut queue = CLAUSE.ok("queue", file.queue(depth(4)));
    let due: [(u64, Option<ErrorKind>); 6] = [
        (1, Some(ErrorKind::Misaligned)),
        (END, Some(ErrorKind::OutOfBounds)),
        (END - BLOCK, Some(ErrorKind::OutOfBounds)),
        (u64::MAX - (BLOCK - 1), Some(ErrorKind::OutOfBounds)),
        (0, None),
        (END - 2 * BLOCK, None),
    ];
    for (offset, kind) in due {
        let call = format!("queue.submit(offset {offset}, 2 blocks of {BLOCKS})");
        let accepted = queue.submit(offset, offset, storage.alloc(2 * BLOCK_SIZE)).is_ok();
        CLAUSE.same(&format!("{call}: accepted"), accepted, true);
        let Some(done) = queue.wait() else { CLAUSE.broken(&call, "wait gave None") };
        CLAUSE.same(&format!("{call}: tag"), done.tag, offset);
        CLAUSE.same(&format!("{call}: buffer"), done.buf.len(), 2 * BLOCK_SIZE);
        if let Some(kind) = kind {
            CLAUSE.refused(&call, done.result, kind);
            continue;
        }
        CLAUSE.ok(&call, done.result);
        CLAUSE.same_bytes(&call, &done.buf, &filled(storage, 1, offset, 2 * BLOCK_SIZE));
    }
}

fn a_queue_owns_its_file<S: Storage>(storage: &S) {
    let a = name("a");
    let file = sealed(CLAUSE, storage, &a, 1, BLOCKS);
    let mut queue = CLAUSE.ok("queue", file.queue(depth(2)));
    drop(file);
    CLAUSE.refused("remove while a queue lives", storage.remove(&a), ErrorKind::Busy);
    let accepted = queue.submit(0, 0, storage.alloc(BLOCK_SIZE)).is_ok();
    CLAUSE.same("submit without the file: accepted", accepted, true);
    let Some(done) = queue.wait() else { CLAUSE.broken("queue", "wait gave None") };
    CLAUSE.ok("read without the file", done.result);
    let due = filled(storage, 1, 0, BLOCK_SIZE);
    CLAUSE.same_bytes("read without the file", &done.buf, &due);
}

fn a_queue_moves_between_threads<S: Storage>(storage: &S) {
    let file = sealed(CLAUSE, storage, &name("a"), 1, BLOCKS);
    let mut queue = CLAUSE.ok("queue", file.queue(depth(4)));
    let accepted = queue.submit(0, 0, storage.alloc(BLOCK_SIZE)).is_ok();
    CLAUSE.same("submit: accepted", accepted, true);
    let waiter = thread::Builder::new().name("waiter".to_owned());
    let waiter = waiter.spawn(move || queue.wait()).expect("the system has room for a thread");
    let done = waiter.join().expect("wait does not panic in another thread");
    let Some(done) = done else { CLAUSE.broken("wait in another thread", "got None") };
    CLAUSE.ok("wait in another thread", done.result);
    let due = filled(storage, 1, 0, BLOCK_SIZE);
    CLAUSE.same_bytes("wait in another thread", &done.buf, &due);
}

fn start_reads<S: Storage>(storage: &S, file: &S::Sealed) -> <S::Sealed as SealedFile>::Queue {
    let mut queue = CLAUSE.ok("queue", file.queue(depth(DEPTH)));
    for block in 0..u64::from(DEPTH) {
        if queue.submit(block, block * BLOCK, storage.alloc(BLOCK_SIZE)).is_err() {
            break;
        }
    }
    queue
}

/// Memory that a dropped read still filled would show here, and under a sanitizer.
fn memory_stays_untouched<S: Storage>(call: &str, storage: &S) {
    let bufs: Vec<_> = (0..BLOCKS).map(|_| storage.alloc(BLOCK_SIZE)).collect();
    let touched = bufs.iter().filter(|buf| buf.iter().any(|&byte| byte != 0)).count();
    CLAUSE.same(&format!("{call}: buffers written after the end"), touched, 0);
}

fn a_queue_may_be_dropped_with_reads_in_flight<S: Storage>(storage: &S) {
    let file = sealed(CLAUSE, storage, &name("a"), 1, BLOCKS);
    for _ in 0..20 {
        drop(start_reads(storage, &file));
        memory_stays_untouched("drop of a queue", storage);
    }
    let mut queue = start_reads(storage, &file);
    CLAUSE.same("wait after drops", queue.wait().is_some(), true);
}

fn a_queue_may_be_leaked_with_reads_in_flight<S: Storage>(storage: &S) {
    let file = sealed(CLAUSE, storage, &name("a"), 1, BLOCKS);
    std::mem::forget(start_reads(storage, &file));
    memory_stays_untouched("leak of a queue", storage);
    let mut queue = start_reads(storage, &file);
    CLAUSE.same("wait after a leak", queue.wait().is_some(), true);
}
