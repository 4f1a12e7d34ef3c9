//! Clause 1, blocks: lengths, offsets and addresses are multiples of the block, or nothing is done.

use super::pattern::{BLOCK, contents, create, filled, name};
use super::verdict::Clause;
use gannet_storage::{
    BLOCK_SIZE, Durability, ErrorKind, Op, Read, ReadFile, Storage, Write, WriteFile,
};

const CLAUSE: Clause = Clause { number: 1, title: "blocks" };
const BLOCKS: usize = 4;

/// Offset, length, and distance of the address from a block; one of them is off each time.
const ODD: [(u64, usize, usize); 7] = [
    (1, BLOCK_SIZE, 0),
    (512, BLOCK_SIZE, 0),
    (BLOCK - 1, BLOCK_SIZE, 0),
    (0, 1, 0),
    (0, BLOCK_SIZE + 512, 0),
    (0, BLOCK_SIZE, 512),
    (BLOCK, BLOCK_SIZE, 8),
];

pub(super) fn check<S: Storage>(open: &impl Fn() -> S) {
    memory_is_aligned_zeroed_and_rounded_up(&open());
    misaligned_reads_are_refused(&open());
    misaligned_writes_change_nothing(&open());
    misaligned_lengths_change_nothing(&open());
}

fn memory_is_aligned_zeroed_and_rounded_up<S: Storage>(storage: &S) {
    for (asked, due) in [(0, 0), (1, 4096), (4096, 4096), (4097, 8192), (65536, 65536)] {
        let mut buf = storage.alloc(asked);
        let call = format!("alloc({asked})");
        CLAUSE.same(&format!("{call}: length"), buf.len(), due);
        CLAUSE.same(&format!("{call}: bytes that are not zero"), nonzero(&buf), 0);
        if due > 0 {
            CLAUSE.same(&format!("{call}: address"), buf.as_ptr().addr() % BLOCK_SIZE, 0);
            buf.fill(0xff);
            drop(buf);
            CLAUSE.same(&format!("{call} again: not zero"), nonzero(&storage.alloc(asked)), 0);
        }
    }
}

fn nonzero(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte != 0).count()
}

fn misaligned_reads_are_refused<S: Storage>(storage: &S) {
    let a = name("a");
    let file = create(CLAUSE, storage, &a, 1, BLOCKS);
    let refuse = |file: &dyn Fn(u64, &mut [u8]) -> gannet_storage::Result<()>, what: &str| {
        let mut buf = storage.alloc(4 * BLOCK_SIZE);
        for (offset, len, shift) in ODD {
            let call = format!("{what} at {offset}, {len} bytes, address off by {shift}");
            let result = file(offset, &mut buf[shift..shift + len]);
            CLAUSE.refused_at(&call, result, ErrorKind::Misaligned, Op::Read, &a);
        }
    };
    refuse(&|offset, buf| file.read_at(offset, buf), "read_at of a writer");
    // One odd member refuses the whole batch.
    let (mut good, mut odd) = (storage.alloc(BLOCK_SIZE), storage.alloc(BLOCK_SIZE));
    let mut batch = [Read { offset: 0, buf: &mut good }, Read { offset: 9, buf: &mut odd }];
    CLAUSE.refused("read_batch, 1 of 2 odd", file.read_batch(&mut batch), ErrorKind::Misaligned);
    let sealed = CLAUSE.ok("seal", storage.seal(file));
    refuse(&|offset, buf| sealed.read_at(offset, buf), "read_at of a sealed file");
}

fn misaligned_writes_change_nothing<S: Storage>(storage: &S) {
    let a = name("a");
    let file = create(CLAUSE, storage, &a, 1, BLOCKS);
    let due = filled(storage, 1, 0, BLOCKS * BLOCK_SIZE);
    let other = filled(storage, 2, 0, BLOCKS * BLOCK_SIZE);
    for durability in [Durability::Deferred, Durability::Data, Durability::Full] {
        for (offset, len, shift) in ODD {
            let call = format!("write_batch at {offset}, {len} bytes, address off by {shift}");
            let good = Write { offset: 2 * BLOCK, bytes: &other[..BLOCK_SIZE] };
            let odd = Write { offset, bytes: &other[shift..shift + len] };
            let result = file.write_batch(&[good, odd], durability);
            CLAUSE.refused_at(&call, result, ErrorKind::Misaligned, Op::Write, &a);
            CLAUSE.same_bytes(&call, &contents(CLAUSE, storage, &file), &due);
        }
    }
}

fn misaligned_lengths_change_nothing<S: Storage>(storage: &S) {
    let a = name("a");
    let file = create(CLAUSE, storage, &a, 1, BLOCKS);
    for len in [1, 512, BLOCK - 1, BLOCK + 1, u64::MAX] {
        let call = format!("set_len({len})");
        let result = file.set_len(len);
        CLAUSE.refused_at(&call, result, ErrorKind::Misaligned, Op::SetLen, &a);
        CLAUSE.same(&call, file.len_bytes(), BLOCKS as u64 * BLOCK);
    }
    let due = filled(storage, 1, 0, BLOCKS * BLOCK_SIZE);
    CLAUSE.same_bytes("refused set_len", &contents(CLAUSE, storage, &file), &due);
}
