//! Clause 8, names: create, replace and remove; a failed call leaves all names as they were.

use super::pattern::{BLOCK, contents, create, filled, name, sealed};
use super::verdict::Clause;
use gannet_storage::{
    BLOCK_SIZE, Durability, ErrorKind, FILE_NAME_LEN_MAX, FileName, Op, ReadFile, Storage, Write,
    WriteFile, publish,
};

const CLAUSE: Clause = Clause { number: 8, title: "names" };

pub(super) fn check<S: Storage>(open: &impl Fn() -> S) {
    every_valid_name_works(&open());
    create_refuses_a_name_that_exists(&open());
    a_missing_name_is_not_found(&open());
    a_create_that_fails_leaves_no_file(&open());
    replace_moves_contents_and_drops_what_was_there(&open());
    remove_frees_the_name(&open());
    a_published_file_is_there_whole_or_not_at_all(&open());
}

fn listed<S: Storage>(storage: &S) -> Vec<FileName> {
    let files = CLAUSE.ok("list", storage.list());
    files.into_iter().map(|meta| meta.name).collect()
}

fn every_valid_name_works<S: Storage>(storage: &S) {
    let long = "z".repeat(FILE_NAME_LEN_MAX);
    // Names that some platform or shell treats as special must be plain files everywhere.
    let texts = ["0", "a", "a..b", "a.tmp", "a-_.9", "c.d", "lock.1", "lock-1", &long];
    for (seed, text) in (1..).zip(texts) {
        drop(sealed(CLAUSE, storage, &name(text), seed, 1));
    }
    CLAUSE.ok("sync_dir", storage.sync_dir());
    for (seed, text) in (1..).zip(texts) {
        let file = CLAUSE.ok(&format!("open_sealed({text})"), storage.open_sealed(&name(text)));
        CLAUSE.same("name", file.name().as_str(), text);
        let due = filled(storage, seed, 0, BLOCK_SIZE);
        CLAUSE.same_bytes(&format!("read of {text}"), &contents(CLAUSE, storage, &file), &due);
    }
    CLAUSE.same("list: number of files", listed(storage).len(), texts.len());
}

fn create_refuses_a_name_that_exists<S: Storage>(storage: &S) {
    let a = name("a");
    let file = create(CLAUSE, storage, &a, 1, 2);
    let again = |call: &str| {
        let kind = ErrorKind::AlreadyExists;
        CLAUSE.refused_at(call, storage.create(&a, BLOCK), kind, Op::Create, &a);
    };
    again("create(a) while a is written");
    let sealed = CLAUSE.ok("seal", storage.seal(file));
    again("create(a) while a is sealed and open");
    let due = filled(storage, 1, 0, 2 * BLOCK_SIZE);
    CLAUSE.same_bytes("refused create(a)", &contents(CLAUSE, storage, &sealed), &due);
    drop(sealed);
    again("create(a) while a is closed");
    let sealed = CLAUSE.ok("open_sealed", storage.open_sealed(&a));
    CLAUSE.same_bytes("refused create(a)", &contents(CLAUSE, storage, &sealed), &due);
}

fn a_missing_name_is_not_found<S: Storage>(storage: &S) {
    let (a, b) = (name("a"), name("b"));
    let missing = ErrorKind::NotFound;
    CLAUSE.refused_at("open(missing)", storage.open(&a), missing, Op::Open, &a);
    let sealed = storage.open_sealed(&a);
    CLAUSE.refused_at("open_sealed(missing)", sealed, missing, Op::OpenSealed, &a);
    CLAUSE.refused_at("remove(missing)", storage.remove(&a), missing, Op::Remove, &a);
    CLAUSE.refused("replace(missing, missing)", storage.replace(&a, &b), missing);
    drop(create(CLAUSE, storage, &b, 1, 1));
    CLAUSE.refused_at("replace(missing, b)", storage.replace(&a, &b), missing, Op::Replace, &a);
    CLAUSE.same("names after refused calls", listed(storage), vec![b.clone()]);
    // A refused call holds nothing back.
    drop(CLAUSE.ok("create after NotFound", storage.create(&a, BLOCK)));
    drop(CLAUSE.ok("open after refused replace", storage.open(&b)));
}

fn a_create_that_fails_leaves_no_file<S: Storage>(storage: &S) {
    let a = name("a");
    let odd = storage.create(&a, BLOCK + 1);
    CLAUSE.refused_at("create(length 4097)", odd, ErrorKind::Misaligned, Op::Create, &a);
    CLAUSE.fails("create(length 2^64 - 4096)", &storage.create(&a, u64::MAX - (BLOCK - 1)));
    CLAUSE.same("names after failed creates", listed(storage), vec![]);
    drop(CLAUSE.ok("create after failed creates", storage.create(&a, BLOCK)));
}

fn replace_moves_contents_and_drops_what_was_there<S: Storage>(storage: &S) {
    let (a, b, c) = (name("a"), name("b"), name("c"));
    drop(sealed(CLAUSE, storage, &a, 1, 1));
    drop(sealed(CLAUSE, storage, &b, 2, 3));
    CLAUSE.ok("replace(a, b)", storage.replace(&a, &b));
    CLAUSE.same("names after replace(a, b)", listed(storage), vec![b.clone()]);
    let file = CLAUSE.ok("open_sealed(b)", storage.open_sealed(&b));
    CLAUSE.same("name of b after replace", file.name(), &b);
    let due = filled(storage, 1, 0, BLOCK_SIZE);
    CLAUSE.same_bytes("b after replace(a, b)", &contents(CLAUSE, storage, &file), &due);
    drop(file);
    CLAUSE.ok("replace(b, c) to a free name", storage.replace(&b, &c));
    CLAUSE.ok("replace(c, c)", storage.replace(&c, &c));
    CLAUSE.same("names after replace(c, c)", listed(storage), vec![c.clone()]);
    let file = CLAUSE.ok("open(c)", storage.open(&c));
    CLAUSE.same_bytes("c after replace(b, c)", &contents(CLAUSE, storage, &file), &due);
    drop(file);
    // The name given up is free, and what is made under it is another file.
    drop(create(CLAUSE, storage, &a, 3, 1));
    let file = CLAUSE.ok("open_sealed(c)", storage.open_sealed(&c));
    CLAUSE.same_bytes("c after create(a)", &contents(CLAUSE, storage, &file), &due);
    CLAUSE.ok("sync_dir", storage.sync_dir());
}

fn remove_frees_the_name<S: Storage>(storage: &S) {
    let a = name("a");
    drop(sealed(CLAUSE, storage, &a, 1, 2));
    CLAUSE.ok("remove(a)", storage.remove(&a));
    CLAUSE.same("names after remove(a)", listed(storage), vec![]);
    CLAUSE.refused("open_sealed(removed)", storage.open_sealed(&a), ErrorKind::NotFound);
    let file = CLAUSE.ok("create(a) after remove(a)", storage.create(&a, BLOCK));
    let zero = storage.alloc(BLOCK_SIZE);
    CLAUSE.same_bytes("the new a", &contents(CLAUSE, storage, &file), &zero);
    CLAUSE.ok("sync_dir", storage.sync_dir());
    CLAUSE.ok("sync_dir twice", storage.sync_dir());
}

fn a_published_file_is_there_whole_or_not_at_all<S: Storage>(storage: &S) {
    let (temp, a) = (name("a.tmp"), name("a"));
    let publish_seed = |seed: u8| {
        let bytes = filled(storage, seed, 0, 2 * BLOCK_SIZE);
        publish(storage, &temp, &a, 2 * BLOCK, |file| {
            file.write_batch(&[Write { offset: 0, bytes: &bytes }], Durability::Deferred)
        })
    };
    for seed in [1, 2] {
        // A left-over from a crash is no obstacle.
        drop(create(CLAUSE, storage, &temp, 9, 1));
        let file = CLAUSE.ok("publish", publish_seed(seed));
        let due = filled(storage, seed, 0, 2 * BLOCK_SIZE);
        CLAUSE.same_bytes("published file", &contents(CLAUSE, storage, &file), &due);
        CLAUSE.same("names after publish", listed(storage), vec![a.clone()]);
    }
    let in_use = CLAUSE.ok("open_sealed", storage.open_sealed(&a));
    CLAUSE.refused("publish over a file in use", publish_seed(3), ErrorKind::Busy);
    let due = filled(storage, 2, 0, 2 * BLOCK_SIZE);
    let found = contents(CLAUSE, storage, &in_use);
    CLAUSE.same_bytes("file after a refused publish", &found, &due);
}
