//! Clause 6, durability, as far as a living process sees it: every level succeeds, shows its
//! writes, and the media has what was synced.

use super::pattern::{BLOCK, contents, create, filled, name, put};
use super::verdict::Clause;
use gannet_storage::{BLOCK_SIZE, Durability, ReadFile, Storage, WriteFile};

const CLAUSE: Clause = Clause { number: 6, title: "durability" };
const LEVELS: [Durability; 3] = [Durability::Deferred, Durability::Data, Durability::Full];

pub(super) fn check<S: Storage>(open: &impl Fn() -> S) {
    every_level_shows_its_writes(&open());
    an_empty_batch_is_a_sync(&open());
    a_discarded_cache_keeps_what_was_synced(&open());
}

fn every_level_shows_its_writes<S: Storage>(storage: &S) {
    let file = CLAUSE.ok("create", storage.create(&name("a"), 9 * BLOCK));
    let mut due = storage.alloc(9 * BLOCK_SIZE);
    for (block, (seed, level)) in (1..).zip(LEVELS.into_iter().cycle()).take(9).enumerate() {
        let call = format!("write_batch({level:?})");
        CLAUSE.ok(&call, put(storage, &file, seed, block as u64, 1, level));
        let at = block * BLOCK_SIZE;
        let bytes = filled(storage, seed, at as u64, BLOCK_SIZE);
        due[at..at + BLOCK_SIZE].copy_from_slice(&bytes);
        CLAUSE.same_bytes(&call, &contents(CLAUSE, storage, &file), &due);
    }
}

fn an_empty_batch_is_a_sync<S: Storage>(storage: &S) {
    let a = name("a");
    let file = create(CLAUSE, storage, &a, 1, 2);
    for level in LEVELS {
        CLAUSE.ok(&format!("sync({level:?})"), file.sync(level));
        CLAUSE.ok(&format!("write_batch(nothing, {level:?})"), file.write_batch(&[], level));
    }
    CLAUSE.ok("set_len", file.set_len(4 * BLOCK));
    CLAUSE.ok("sync(Data) after set_len", file.sync(Durability::Data));
    let mut due = storage.alloc(4 * BLOCK_SIZE);
    due[..2 * BLOCK_SIZE].copy_from_slice(&filled(storage, 1, 0, 2 * BLOCK_SIZE));
    CLAUSE.same_bytes("file after syncs", &contents(CLAUSE, storage, &file), &due);
    drop(file);
    let empty = CLAUSE.ok("create(length 0)", storage.create(&name("b"), 0));
    CLAUSE.ok("sync of an empty file", empty.sync(Durability::Full));
}

fn a_discarded_cache_keeps_what_was_synced<S: Storage>(storage: &S) {
    let a = name("a");
    let file = create(CLAUSE, storage, &a, 1, 16);
    CLAUSE.ok("sync(Data)", file.sync(Durability::Data));
    CLAUSE.ok("discard_cache of a writer", file.discard_cache());
    let due = filled(storage, 1, 0, 16 * BLOCK_SIZE);
    CLAUSE.same_bytes("after discard_cache", &contents(CLAUSE, storage, &file), &due);
    let sealed = CLAUSE.ok("seal", storage.seal(file));
    CLAUSE.ok("discard_cache of a sealed file", sealed.discard_cache());
    CLAUSE.ok("discard_cache twice", sealed.discard_cache());
    CLAUSE.same_bytes("after discard_cache", &contents(CLAUSE, storage, &sealed), &due);
}
