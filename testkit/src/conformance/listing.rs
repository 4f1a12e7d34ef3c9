//! Clause 11, sorted: the listing has every file once, by name, with its length.

use super::pattern::{BLOCK, name, sealed};
use super::verdict::Clause;
use gannet_storage::{FileMeta, Storage, WriteFile};

const CLAUSE: Clause = Clause { number: 11, title: "sorted" };

pub(super) fn check<S: Storage>(open: &impl Fn() -> S) {
    the_listing_is_sorted_by_name_and_has_lengths(&open());
    the_listing_follows_every_change(&open());
}

fn expect<S: Storage>(storage: &S, call: &str, due: &[(&str, u64)]) {
    let found = CLAUSE.ok("list", storage.list());
    let meta =
        |(text, blocks): &(&str, u64)| FileMeta { name: name(text), len_bytes: blocks * BLOCK };
    CLAUSE.same(&format!("list after {call}"), found, due.iter().map(meta).collect());
}

fn the_listing_is_sorted_by_name_and_has_lengths<S: Storage>(storage: &S) {
    expect(storage, "open of an empty storage", &[]);
    // Bytes order: '-' < '.' < digits < '_' < letters; numbers are not read as numbers.
    let sorted = ["1", "10", "9", "a", "a-b", "a.b", "a0", "a1", "a10", "a2", "a_b", "aa", "b"];
    for i in 0..sorted.len() {
        // 5 and 13 have no common factor, so this meets every name once, out of order.
        let at = (i * 5 + 3) % sorted.len();
        drop(sealed(CLAUSE, storage, &name(sorted[at]), 1, at));
    }
    let due: Vec<_> = sorted.into_iter().zip(0..).collect();
    expect(storage, "thirteen creates", &due);
    expect(storage, "a listing", &due);
}

fn the_listing_follows_every_change<S: Storage>(storage: &S) {
    let file = CLAUSE.ok("create", storage.create(&name("b"), BLOCK));
    expect(storage, "create(b), while it is written", &[("b", 1)]);
    CLAUSE.ok("set_len", file.set_len(3 * BLOCK));
    expect(storage, "set_len", &[("b", 3)]);
    let sealed = CLAUSE.ok("seal", storage.seal(file));
    drop(CLAUSE.ok("create", storage.create(&name("a"), 0)));
    expect(storage, "seal(b) and create(a)", &[("a", 0), ("b", 3)]);
    drop(sealed);
    CLAUSE.ok("replace", storage.replace(&name("b"), &name("c")));
    expect(storage, "replace(b, c)", &[("a", 0), ("c", 3)]);
    CLAUSE.ok("replace", storage.replace(&name("c"), &name("a")));
    expect(storage, "replace(c, a)", &[("a", 3)]);
    CLAUSE.ok("remove", storage.remove(&name("a")));
    expect(storage, "remove(a)", &[]);
}
