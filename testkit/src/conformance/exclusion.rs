//! Clause 9, exclusion: one writer or many readers, and nothing replaced or removed under them.

use super::pattern::{BLOCK, contents, create, filled, name, sealed};
use super::verdict::Clause;
use gannet_storage::{BLOCK_SIZE, ErrorKind, FileName, Op, SealedFile, Storage};

const CLAUSE: Clause = Clause { number: 9, title: "exclusion" };

pub(super) fn check<S: Storage>(open: &impl Fn() -> S) {
    a_writer_excludes_every_other_handle(&open());
    readers_exclude_writers(&open());
    a_view_alone_keeps_its_file_busy(&open());
    sealing_hands_the_file_over_without_a_gap(&open());
    a_refused_call_leaves_no_hold(&open());
    other_files_are_not_concerned(&open());
}

/// Every call that would change or write `busy` is refused and leaves `busy` and `other` alone.
fn refused<S: Storage>(storage: &S, busy: &FileName, other: &FileName, who: &str) {
    let kind = ErrorKind::Busy;
    let call = |what: &str| format!("{what} while {who} of {busy} lives");
    CLAUSE.refused_at(&call("open"), storage.open(busy), kind, Op::Open, busy);
    CLAUSE.refused_at(&call("remove"), storage.remove(busy), kind, Op::Remove, busy);
    let from = storage.replace(busy, other);
    CLAUSE.refused_at(&call("replace(from it)"), from, kind, Op::Replace, busy);
    let to = storage.replace(other, busy);
    CLAUSE.refused_at(&call("replace(onto it)"), to, kind, Op::Replace, busy);
    let itself = storage.replace(busy, busy);
    CLAUSE.refused_at(&call("replace(itself)"), itself, kind, Op::Replace, busy);
    let files = CLAUSE.ok("list", storage.list());
    let mut due = vec![busy.clone(), other.clone()];
    due.sort();
    let mut found: Vec<_> = files.into_iter().map(|meta| meta.name).collect();
    found.sort();
    CLAUSE.same(&call("names after refusals"), found, due);
}

fn a_writer_excludes_every_other_handle<S: Storage>(storage: &S) {
    let (a, b) = (name("a"), name("b"));
    drop(create(CLAUSE, storage, &b, 2, 1));
    let created = create(CLAUSE, storage, &a, 1, 1);
    refused(storage, &a, &b, "the writer by create");
    let sealed = storage.open_sealed(&a);
    CLAUSE.refused("open_sealed while a writer lives", sealed, ErrorKind::Busy);
    drop(created);
    let opened = CLAUSE.ok("open after the writer was dropped", storage.open(&a));
    refused(storage, &a, &b, "the writer by open");
    let sealed = storage.open_sealed(&a);
    CLAUSE.refused("open_sealed while a writer lives", sealed, ErrorKind::Busy);
    drop(opened);
    CLAUSE.ok("remove after the writer was dropped", storage.remove(&a));
}

fn readers_exclude_writers<S: Storage>(storage: &S) {
    let (a, b) = (name("a"), name("b"));
    drop(create(CLAUSE, storage, &b, 2, 1));
    let first = sealed(CLAUSE, storage, &a, 1, 1);
    refused(storage, &a, &b, "the sealed file");
    let second = CLAUSE.ok("open_sealed twice", storage.open_sealed(&a));
    let clone = second.clone();
    drop(first);
    refused(storage, &a, &b, "a second open");
    drop(second);
    refused(storage, &a, &b, "a clone");
    let due = filled(storage, 1, 0, BLOCK_SIZE);
    CLAUSE.same_bytes("clone", &contents(CLAUSE, storage, &clone), &due);
    drop(clone);
    CLAUSE.ok("replace after all readers were dropped", storage.replace(&b, &a));
    drop(CLAUSE.ok("open after all readers were dropped", storage.open(&a)));
}

fn a_view_alone_keeps_its_file_busy<S: Storage>(storage: &S) {
    let (a, b) = (name("a"), name("b"));
    drop(create(CLAUSE, storage, &b, 2, 1));
    let file = sealed(CLAUSE, storage, &a, 1, 2);
    let view = CLAUSE.ok("view", file.view(1..100));
    let copy = view.clone();
    drop(file);
    refused(storage, &a, &b, "a view");
    drop(view);
    refused(storage, &a, &b, "a clone of a view");
    let due = filled(storage, 1, 0, BLOCK_SIZE);
    CLAUSE.same_bytes("view of a file in use", &copy, &due[1..100]);
    drop(CLAUSE.ok("open_sealed beside a view", storage.open_sealed(&a)));
    drop(copy);
    CLAUSE.ok("remove after the last view", storage.remove(&a));
}

fn sealing_hands_the_file_over_without_a_gap<S: Storage>(storage: &S) {
    let (a, b) = (name("a"), name("b"));
    drop(create(CLAUSE, storage, &b, 2, 1));
    let file = create(CLAUSE, storage, &a, 1, 1);
    let sealed = CLAUSE.ok("seal", storage.seal(file));
    refused(storage, &a, &b, "the file sealed just now");
    drop(CLAUSE.ok("open_sealed after seal", storage.open_sealed(&a)));
    refused(storage, &a, &b, "the file sealed just now, one reader less");
    drop(sealed);
    drop(CLAUSE.ok("open after the sealed file was dropped", storage.open(&a)));
}

fn a_refused_call_leaves_no_hold<S: Storage>(storage: &S) {
    let (a, b) = (name("a"), name("b"));
    let file = create(CLAUSE, storage, &a, 1, 1);
    for _ in 0..3 {
        CLAUSE.refused("open", storage.open(&a), ErrorKind::Busy);
        CLAUSE.refused("open_sealed", storage.open_sealed(&a), ErrorKind::Busy);
        CLAUSE.refused("create", storage.create(&a, BLOCK), ErrorKind::AlreadyExists);
        CLAUSE.refused("open(missing)", storage.open(&b), ErrorKind::NotFound);
        CLAUSE.refused("open_sealed(missing)", storage.open_sealed(&b), ErrorKind::NotFound);
        CLAUSE.refused("create(odd)", storage.create(&b, 7), ErrorKind::Misaligned);
    }
    drop(file);
    CLAUSE.refused("create(exists)", storage.create(&a, BLOCK), ErrorKind::AlreadyExists);
    CLAUSE.ok("replace after refused calls", storage.replace(&a, &b));
    drop(CLAUSE.ok("create after refused calls", storage.create(&a, BLOCK)));
    CLAUSE.ok("remove after refused calls", storage.remove(&b));
}

fn other_files_are_not_concerned<S: Storage>(storage: &S) {
    let (a, b, c) = (name("a"), name("b"), name("c"));
    let _writer = create(CLAUSE, storage, &a, 1, 1);
    let _reader = sealed(CLAUSE, storage, &b, 2, 1);
    drop(create(CLAUSE, storage, &c, 3, 1));
    drop(CLAUSE.ok("open of a free file", storage.open(&c)));
    CLAUSE.ok("replace of a free file", storage.replace(&c, &name("d")));
    CLAUSE.ok("remove of a free file", storage.remove(&name("d")));
    CLAUSE.ok("sync_dir while files are in use", storage.sync_dir());
    CLAUSE.same("files in use", CLAUSE.ok("list", storage.list()).len(), 2);
}
