//! Clause 10, sealed means immutable: sealing keeps bytes, length and name, and clones share.

use super::pattern::{BLOCK, contents, create, filled, name, put, sealed};
use super::verdict::Clause;
use gannet_storage::{BLOCK_SIZE, Durability, ErrorKind, ReadFile, SealedFile, Storage};

const CLAUSE: Clause = Clause { number: 10, title: "sealed means immutable" };

pub(super) fn check<S: Storage>(open: &impl Fn() -> S) {
    sealing_keeps_the_file(&open());
    clones_share_one_open_file(&open());
    a_sealed_file_may_be_written_again_after_it_was_let_go(&open());
}

fn sealing_keeps_the_file<S: Storage>(storage: &S) {
    for (seed, blocks) in [(1, 0), (2, 1), (3, 33)] {
        let a = name(&format!("file-{seed}"));
        let file = create(CLAUSE, storage, &a, seed, blocks);
        let sealed = CLAUSE.ok("seal", storage.seal(file));
        CLAUSE.same("name after seal", sealed.name(), &a);
        CLAUSE.same("len_bytes after seal", sealed.len_bytes(), blocks as u64 * BLOCK);
        let due = filled(storage, seed, 0, blocks * BLOCK_SIZE);
        CLAUSE.same_bytes("sealed file", &contents(CLAUSE, storage, &sealed), &due);
    }
    let meta = CLAUSE.ok("list", storage.list());
    CLAUSE.same("files after seal", meta.len(), 3);
}

fn clones_share_one_open_file<S: Storage>(storage: &S) {
    let a = name("a");
    let first = sealed(CLAUSE, storage, &a, 1, 4);
    let second = first.clone();
    let third = CLAUSE.ok("open_sealed beside a sealed file", storage.open_sealed(&a));
    drop(first);
    let due = filled(storage, 1, 0, 4 * BLOCK_SIZE);
    CLAUSE.same_bytes("clone", &contents(CLAUSE, storage, &second), &due);
    CLAUSE.same_bytes("second open", &contents(CLAUSE, storage, &third), &due);
    let view = CLAUSE.ok("view", second.view(0..4 * BLOCK));
    drop(second);
    CLAUSE.refused("remove while a second open lives", storage.remove(&a), ErrorKind::Busy);
    drop(third);
    CLAUSE.same_bytes("view after its file was dropped", &view, &due);
}

fn a_sealed_file_may_be_written_again_after_it_was_let_go<S: Storage>(storage: &S) {
    let a = name("a");
    drop(sealed(CLAUSE, storage, &a, 1, 2));
    let file = CLAUSE.ok("open of a file once sealed", storage.open(&a));
    CLAUSE.ok("write_batch", put(storage, &file, 2, 1, 1, Durability::Data));
    let mut due = filled(storage, 1, 0, 2 * BLOCK_SIZE);
    due[BLOCK_SIZE..].copy_from_slice(&filled(storage, 2, BLOCK, BLOCK_SIZE));
    let sealed = CLAUSE.ok("seal", storage.seal(file));
    CLAUSE.same_bytes("file sealed twice", &contents(CLAUSE, storage, &sealed), &due);
    let view = CLAUSE.ok("view", sealed.view(0..2 * BLOCK));
    CLAUSE.same_bytes("view of a file sealed twice", &view, &due);
}
