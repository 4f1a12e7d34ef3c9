//! Clauses 1, 2 and 10 for views: any range, the right bytes, a congruent address, no lifetime.

use super::pattern::{BLOCK, byte, filled, name, sealed};
use super::verdict::Clause;
use gannet_storage::{BLOCK_SIZE, ErrorKind, Op, SealedFile, Storage};
use std::ops::Range;
use std::thread;

const BOUNDS: Clause = Clause { number: 2, title: "bounds" };
const VIEWS: Clause = Clause { number: 10, title: "sealed means immutable" };
const BLOCKS: usize = 16;
const END: u64 = BLOCKS as u64 * BLOCK;

pub(super) fn check<S: Storage>(open: &impl Fn() -> S) {
    any_range_shows_its_bytes_at_a_congruent_address(&open());
    ranges_outside_are_refused(&open());
    a_view_outlives_its_file_and_its_storage(open());
    views_are_shared_by_threads(&open());
}

fn any_range_shows_its_bytes_at_a_congruent_address<S: Storage>(storage: &S) {
    let file = sealed(VIEWS, storage, &name("a"), 1, BLOCKS);
    let ranges: [Range<u64>; 12] = [
        0..END,
        0..1,
        END - 1..END,
        1..BLOCK,
        BLOCK - 1..BLOCK + 1,
        BLOCK..2 * BLOCK,
        64..128,
        BLOCK + 64..9 * BLOCK + 65,
        777..END - 777,
        0..0,
        5..5,
        END..END,
    ];
    for range in ranges {
        let call = format!("view({range:?})");
        file.prefetch(range.clone());
        let view = VIEWS.ok(&call, file.view(range.clone()));
        let due: Vec<u8> = range.clone().map(|at| byte(1, at)).collect();
        VIEWS.same_bytes(&call, &view, &due);
        if !due.is_empty() {
            let found = view.as_ptr().addr() % BLOCK_SIZE;
            let due = usize::try_from(range.start % BLOCK).expect("below a block");
            VIEWS.same(&format!("{call}: address modulo the block"), found, due);
        }
    }
    let empty = VIEWS.ok("create(length 0)", storage.create(&name("empty"), 0));
    let empty = VIEWS.ok("seal(empty)", storage.seal(empty));
    VIEWS.same("view of an empty file", VIEWS.ok("view(0..0)", empty.view(0..0)).len(), 0);
}

#[expect(clippy::reversed_empty_ranges, reason = "a range that ends before it starts is the test")]
fn ranges_outside_are_refused<S: Storage>(storage: &S) {
    let a = name("a");
    let file = sealed(BOUNDS, storage, &a, 1, BLOCKS);
    for range in [
        0..END + 1,
        END..END + 1,
        END + 1..END + 1,
        END + 1..END + 2,
        1 << 60..(1 << 60) + 1,
        0..u64::MAX,
        u64::MAX..u64::MAX,
        2..1,
        u64::MAX..0,
        END..0,
    ] {
        let call = format!("view({range:?}) of {END} bytes");
        // A hint is never an error, whatever it asks for.
        file.prefetch(range.clone());
        BOUNDS.refused_at(&call, file.view(range), ErrorKind::OutOfBounds, Op::View, &a);
    }
}

fn a_view_outlives_its_file_and_its_storage<S: Storage>(storage: S) {
    let file = sealed(VIEWS, &storage, &name("a"), 1, BLOCKS);
    let due = filled(&storage, 1, 0, BLOCKS * BLOCK_SIZE);
    let view = VIEWS.ok("view", file.view(0..END));
    let part = VIEWS.ok("view", file.view(100..BLOCK + 100));
    let copy = view.clone();
    drop(file);
    VIEWS.same_bytes("view without its file", &view, &due);
    drop(view);
    drop(storage);
    VIEWS.same_bytes("view without its storage", &copy, &due);
    VIEWS.same_bytes("view without its storage", &part, &due[100..BLOCK_SIZE + 100]);
}

fn views_are_shared_by_threads<S: Storage>(storage: &S) {
    let file = sealed(VIEWS, storage, &name("a"), 1, BLOCKS);
    let whole = VIEWS.ok("view", file.view(0..END));
    thread::scope(|scope| {
        for reader in 0..4_u64 {
            let (file, shared) = (&file, &whole);
            let run = move || {
                for i in 0..100 {
                    let start = (i * 611 + reader * 4099) % (END - 64);
                    let call = format!("concurrent view({start}..{})", start + 64);
                    let view = VIEWS.ok(&call, file.view(start..start + 64));
                    let at = usize::try_from(start).expect("below 64 KiB");
                    VIEWS.same_bytes(&call, &view, &shared[at..at + 64]);
                }
            };
            let thread = thread::Builder::new().name(format!("viewer-{reader}"));
            thread.spawn_scoped(scope, run).expect("the system has room for a thread");
        }
    });
}
