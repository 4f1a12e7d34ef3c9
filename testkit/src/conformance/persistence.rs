//! What outlives a storage: bytes, lengths and names (clauses 6 and 8), and who may open it.

use super::pattern::{BLOCK, contents, create, filled, name, put, sealed};
use super::verdict::Clause;
use gannet_storage::{
    BLOCK_SIZE, Durability, ErrorKind, FileMeta, ReadFile, Result, SealedFile, Storage, WriteFile,
};

const DURABLE: Clause = Clause { number: 6, title: "durability" };
const NAMES: Clause = Clause { number: 8, title: "names" };
const LOCK: Clause = Clause { number: 9, title: "exclusion" };

pub(super) fn check<S: Storage>(open: &impl Fn() -> Result<S>) {
    bytes_come_back_at_every_durability(open);
    lengths_come_back(open);
    names_come_back(open);
    one_owner_at_a_time(open);
    a_file_or_a_view_alone_keeps_the_lock(open);
}

fn reopened<S: Storage>(clause: Clause, open: &impl Fn() -> Result<S>) -> S {
    clause.ok("opening the storage again", open())
}

fn clear<S: Storage>(storage: &S) {
    for meta in NAMES.ok("list", storage.list()) {
        NAMES.ok("remove", storage.remove(&meta.name));
    }
    NAMES.ok("sync_dir", storage.sync_dir());
}

/// Deferred too: the process ends, the power stays.
fn bytes_come_back_at_every_durability<S: Storage>(open: &impl Fn() -> Result<S>) {
    let storage = reopened(DURABLE, open);
    DURABLE.same("files of a new storage", DURABLE.ok("list", storage.list()), vec![]);
    let levels = [("a", Durability::Deferred), ("b", Durability::Data), ("c", Durability::Full)];
    for (text, level) in levels {
        let file = DURABLE.ok("create", storage.create(&name(text), 5 * BLOCK));
        DURABLE.ok("write_batch", put(&storage, &file, 1, 1, 3, level));
    }
    drop(sealed(DURABLE, &storage, &name("d"), 1, 5));
    drop(storage);
    let storage = reopened(DURABLE, open);
    let mut due = storage.alloc(5 * BLOCK_SIZE);
    let written = filled(&storage, 1, BLOCK, 3 * BLOCK_SIZE);
    due[BLOCK_SIZE..4 * BLOCK_SIZE].copy_from_slice(&written);
    for (text, level) in levels {
        let file = DURABLE.ok("open", storage.open(&name(text)));
        let call = format!("{level:?} bytes, reopened");
        DURABLE.same_bytes(&call, &contents(DURABLE, &storage, &file), &due);
    }
    let file = DURABLE.ok("open_sealed", storage.open_sealed(&name("d")));
    let due = filled(&storage, 1, 0, 5 * BLOCK_SIZE);
    DURABLE.same_bytes("sealed bytes, reopened", &contents(DURABLE, &storage, &file), &due);
    drop(file);
    clear(&storage);
}

fn lengths_come_back<S: Storage>(open: &impl Fn() -> Result<S>) {
    let storage = reopened(DURABLE, open);
    let file = create(DURABLE, &storage, &name("a"), 1, 2);
    DURABLE.ok("set_len", file.set_len(6 * BLOCK));
    DURABLE.ok("sync(Data)", file.sync(Durability::Data));
    drop((file, storage));
    let storage = reopened(DURABLE, open);
    let file = DURABLE.ok("open", storage.open(&name("a")));
    DURABLE.same("grown length, reopened", file.len_bytes(), 6 * BLOCK);
    DURABLE.ok("set_len", file.set_len(BLOCK));
    drop((file, storage));
    let storage = reopened(DURABLE, open);
    let file = DURABLE.ok("open_sealed", storage.open_sealed(&name("a")));
    DURABLE.same("cut length, reopened", file.len_bytes(), BLOCK);
    let due = filled(&storage, 1, 0, BLOCK_SIZE);
    DURABLE.same_bytes("cut file, reopened", &contents(DURABLE, &storage, &file), &due);
    drop(file);
    clear(&storage);
}

fn names_come_back<S: Storage>(open: &impl Fn() -> Result<S>) {
    let storage = reopened(NAMES, open);
    for (seed, text) in (1..).zip(["a", "b", "c", "d"]) {
        drop(sealed(NAMES, &storage, &name(text), seed, usize::from(seed)));
    }
    NAMES.ok("sync_dir", storage.sync_dir());
    NAMES.ok("remove", storage.remove(&name("a")));
    NAMES.ok("replace", storage.replace(&name("b"), &name("c")));
    NAMES.ok("replace", storage.replace(&name("d"), &name("e")));
    NAMES.ok("sync_dir", storage.sync_dir());
    drop(storage);
    let storage = reopened(NAMES, open);
    let due = [("c", 2), ("e", 4)];
    let meta = |(text, blocks)| FileMeta { name: name(text), len_bytes: blocks * BLOCK };
    let found = NAMES.ok("list", storage.list());
    NAMES.same("names, reopened", found, due.into_iter().map(meta).collect());
    let file = NAMES.ok("open_sealed", storage.open_sealed(&name("c")));
    let due = filled(&storage, 2, 0, 2 * BLOCK_SIZE);
    NAMES.same_bytes("replaced file, reopened", &contents(NAMES, &storage, &file), &due);
    drop(file);
    clear(&storage);
}

fn one_owner_at_a_time<S: Storage>(open: &impl Fn() -> Result<S>) {
    let storage = reopened(LOCK, open);
    drop(sealed(LOCK, &storage, &name("a"), 1, 1));
    LOCK.refused("opening a storage that is open", open(), ErrorKind::Locked);
    // The loser has changed nothing for the owner.
    let file = LOCK.ok("open after a refused opening", storage.open(&name("a")));
    LOCK.ok("write_batch", put(&storage, &file, 2, 0, 1, Durability::Data));
    drop((file, storage));
    let storage = reopened(LOCK, open);
    clear(&storage);
}

fn a_file_or_a_view_alone_keeps_the_lock<S: Storage>(open: &impl Fn() -> Result<S>) {
    let locked = |call: &str| LOCK.refused(call, open(), ErrorKind::Locked);
    let storage = reopened(LOCK, open);
    let writer = create(LOCK, &storage, &name("a"), 1, 1);
    drop(storage);
    locked("opening while a writer of the last storage lives");
    drop(writer);
    let storage = reopened(LOCK, open);
    let file = LOCK.ok("open_sealed", storage.open_sealed(&name("a")));
    drop(storage);
    locked("opening while a sealed file of the last storage lives");
    let view = LOCK.ok("view", file.view(0..BLOCK));
    drop(file);
    locked("opening while a view of the last storage lives");
    LOCK.same("view", view.len(), BLOCK_SIZE);
    drop(view);
    let storage = reopened(LOCK, open);
    clear(&storage);
}
