//! Clauses 2, 3 and 5 for writes: bounds, lengths, batches, and writers side by side.

use super::pattern::{BLOCK, contents, create, filled, name, put};
use super::verdict::Clause;
use gannet_storage::{BLOCK_SIZE, Durability, ErrorKind, Op, ReadFile, Storage, Write, WriteFile};
use std::thread;

const BOUNDS: Clause = Clause { number: 2, title: "bounds" };
const ALL: Clause = Clause { number: 3, title: "all or error" };
const ORDER: Clause = Clause { number: 5, title: "order" };

pub(super) fn check<S: Storage>(open: &impl Fn() -> S) {
    a_new_file_is_zero(&open());
    a_batch_writes_every_member(&open());
    a_later_call_wins(&open());
    writes_past_the_end_change_nothing(&open());
    set_len_grows_with_zeroes_and_cuts(&open());
    a_set_len_that_fails_changes_nothing(&open());
    disjoint_writes_run_side_by_side(&open());
}

fn a_new_file_is_zero<S: Storage>(storage: &S) {
    for (text, blocks) in [("empty", 0), ("one", 1), ("many", 100)] {
        let file = BOUNDS.ok("create", storage.create(&name(text), blocks * BLOCK));
        BOUNDS.same("len_bytes of a new file", file.len_bytes(), blocks * BLOCK);
        BOUNDS.same("name of a new file", file.name().as_str(), text);
        let due = storage.alloc(contents(BOUNDS, storage, &file).len());
        BOUNDS.same_bytes("new file", &contents(BOUNDS, storage, &file), &due);
    }
}

fn a_batch_writes_every_member<S: Storage>(storage: &S) {
    const BLOCKS: usize = 200;
    let file = ALL.ok("create", storage.create(&name("a"), BLOCKS as u64 * BLOCK));
    let bytes = filled(storage, 1, 0, BLOCKS * BLOCK_SIZE);
    // Even blocks, backwards, more members than a submission ring is wide; then the odd ones.
    for (parity, durability) in [(0, Durability::Deferred), (1, Durability::Data)] {
        let member = |block: usize| {
            let at = block * BLOCK_SIZE;
            Write { offset: at as u64, bytes: &bytes[at..at + BLOCK_SIZE] }
        };
        let writes: Vec<_> = (0..BLOCKS).rev().filter(|b| b % 2 == parity).map(member).collect();
        ALL.ok("write_batch of a hundred", file.write_batch(&writes, durability));
    }
    ALL.same_bytes("file after two batches", &contents(ALL, storage, &file), &bytes);
    let whole = filled(storage, 2, 0, BLOCKS * BLOCK_SIZE);
    let one = [Write { offset: 0, bytes: &whole }];
    ALL.ok("write_batch of 800 KiB", file.write_batch(&one, Durability::Deferred));
    ALL.same_bytes("file after one large write", &contents(ALL, storage, &file), &whole);
    let end = BLOCKS as u64 * BLOCK;
    let nothing = [Write { offset: end, bytes: &[] }];
    ALL.ok("write_batch(end, nothing)", file.write_batch(&nothing, Durability::Data));
}

fn a_later_call_wins<S: Storage>(storage: &S) {
    let file = create(ORDER, storage, &name("a"), 1, 3);
    for seed in 2..=9 {
        ORDER.ok("write_batch", put(storage, &file, seed, 1, 1, Durability::Deferred));
    }
    let mut due = filled(storage, 1, 0, 3 * BLOCK_SIZE);
    due[BLOCK_SIZE..2 * BLOCK_SIZE].copy_from_slice(&filled(storage, 9, BLOCK, BLOCK_SIZE));
    ORDER.same_bytes("block written eight times", &contents(ORDER, storage, &file), &due);
}

fn writes_past_the_end_change_nothing<S: Storage>(storage: &S) {
    let a = name("a");
    let file = create(BOUNDS, storage, &a, 1, 4);
    let due = filled(storage, 1, 0, 4 * BLOCK_SIZE);
    let other = filled(storage, 2, 0, 2 * BLOCK_SIZE);
    for durability in [Durability::Deferred, Durability::Data, Durability::Full] {
        for offset in [3 * BLOCK, 4 * BLOCK, 1 << 40, u64::MAX - (BLOCK - 1)] {
            let call = format!("write_batch at {offset} of a file of 16384 bytes");
            let good = Write { offset: 0, bytes: &other[..BLOCK_SIZE] };
            let past = Write { offset, bytes: &other };
            let result = file.write_batch(&[good, past], durability);
            BOUNDS.refused_at(&call, result, ErrorKind::OutOfBounds, Op::Write, &a);
            BOUNDS.same(&call, file.len_bytes(), 4 * BLOCK);
            BOUNDS.same_bytes(&call, &contents(BOUNDS, storage, &file), &due);
        }
    }
}

fn set_len_grows_with_zeroes_and_cuts<S: Storage>(storage: &S) {
    let file = create(BOUNDS, storage, &name("a"), 1, 4);
    let whole = filled(storage, 1, 0, 4 * BLOCK_SIZE);
    // Cut and grow again: what was cut off must not come back.
    let mut due = storage.alloc(8 * BLOCK_SIZE);
    due[..2 * BLOCK_SIZE].copy_from_slice(&whole[..2 * BLOCK_SIZE]);
    for blocks in [2_usize, 2, 8, 3, 0, 5] {
        let len = blocks as u64 * BLOCK;
        let call = format!("set_len({len})");
        BOUNDS.ok(&call, file.set_len(len));
        BOUNDS.same(&call, file.len_bytes(), len);
        if blocks == 0 {
            due.fill(0);
        }
        let found = contents(BOUNDS, storage, &file);
        BOUNDS.same_bytes(&call, &found, &due[..blocks * BLOCK_SIZE]);
    }
    BOUNDS.ok("write to a grown block", put(storage, &file, 2, 4, 1, Durability::Data));
    let past = put(storage, &file, 2, 5, 1, Durability::Data);
    BOUNDS.refused("write past the new length", past, ErrorKind::OutOfBounds);
    due[4 * BLOCK_SIZE..5 * BLOCK_SIZE].copy_from_slice(&filled(storage, 2, 4 * BLOCK, BLOCK_SIZE));
    let sealed = BOUNDS.ok("seal", storage.seal(file));
    BOUNDS.same("len_bytes after seal", sealed.len_bytes(), 5 * BLOCK);
    let found = contents(BOUNDS, storage, &sealed);
    BOUNDS.same_bytes("grown file, sealed", &found, &due[..5 * BLOCK_SIZE]);
}

fn a_set_len_that_fails_changes_nothing<S: Storage>(storage: &S) {
    let file = create(BOUNDS, storage, &name("a"), 1, 2);
    BOUNDS.fails("set_len(2^64 - 4096)", &file.set_len(u64::MAX - (BLOCK - 1)));
    BOUNDS.same("len_bytes after a failed set_len", file.len_bytes(), 2 * BLOCK);
    let due = filled(storage, 1, 0, 2 * BLOCK_SIZE);
    BOUNDS.same_bytes("after a failed set_len", &contents(BOUNDS, storage, &file), &due);
}

fn disjoint_writes_run_side_by_side<S: Storage>(storage: &S) {
    const THREADS: usize = 4;
    const ROUNDS: usize = 25;
    let blocks = THREADS * ROUNDS;
    let file = ORDER.ok("create", storage.create(&name("a"), blocks as u64 * BLOCK));
    thread::scope(|scope| {
        for writer in 0..THREADS {
            let file = &file;
            let run = move || {
                for round in 0..ROUNDS {
                    // Neighbouring blocks belong to different threads.
                    let block = (round * THREADS + writer) as u64;
                    let durability = match round % 12 {
                        11 => Durability::Data,
                        _ => Durability::Deferred,
                    };
                    let call = format!("concurrent write_batch of block {block}");
                    ORDER.ok(&call, put(storage, file, 1, block, 1, durability));
                    let mut back = storage.alloc(BLOCK_SIZE);
                    ORDER.ok(&call, file.read_at(block * BLOCK, &mut back));
                    ORDER.same_bytes(&call, &back, &filled(storage, 1, block * BLOCK, BLOCK_SIZE));
                }
            };
            let thread = thread::Builder::new().name(format!("writer-{writer}"));
            thread.spawn_scoped(scope, run).expect("the system has room for a thread");
        }
    });
    let due = filled(storage, 1, 0, blocks * BLOCK_SIZE);
    ORDER.same_bytes("file of four writers", &contents(ORDER, storage, &file), &due);
}
