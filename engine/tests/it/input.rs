//! Bad input: a typed error, and nothing of the batch.

use crate::contents::{config, open, params, shown, vector};
use crate::disk::{Disk, on_each_disk};
use gannet::limits::{
    ID_LEN_BYTES_MAX, KEY_LEN_BYTES_MAX, NAME_LEN_BYTES_MAX, VALUE_LEN_BYTES_MAX,
};
use gannet::{
    CommitError, Database, Metric, OpenError, Params, SearchError, SearchOptions, WriteBatch,
};

/// Commits a good put and then `bad`: the error is `expected` and nothing is there.
#[track_caller]
fn check(expected: &str, bad: impl Fn(&mut WriteBatch)) {
    on_each_disk!(|disk| check_on(disk, expected, &bad));
}

#[track_caller]
fn check_on(disk: &impl Disk, expected: &str, bad: impl FnOnce(&mut WriteBatch)) {
    let db = open(disk, 1);
    db.create_collection("l2", params(Metric::L2)).unwrap();
    db.create_collection("cos", params(Metric::Cosine)).unwrap();
    let mut first = WriteBatch::new();
    first.insert("l2", 1, &vector(1));
    db.commit(first).unwrap();
    let before = (shown(&db, 5), db.stats().unwrap().last_lsn);
    let mut batch = WriteBatch::new();
    batch.put("kv", b"good", b"1");
    batch.insert("l2", 2, &vector(2));
    bad(&mut batch);
    let error = db.commit(batch).expect_err(expected);
    let text = format!("{error:?}");
    assert!(text.starts_with(expected), "{text}");
    assert!(!error.to_string().contains('\n'), "{error}");
    assert_eq!((shown(&db, 5), db.stats().unwrap().last_lsn), before);
    assert_eq!(db.collection("l2").unwrap().rows, 1);
    let mut good = WriteBatch::new();
    good.put("kv", b"good", b"1");
    db.commit(good).expect("the database goes on");
}

#[test]
fn bad_vectors_are_refused() {
    check("Dimension", |b| b.insert("l2", 3, &vector(1)[1..]));
    check("Dimension", |b| b.insert("l2", 3, &[]));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for name in ["l2", "cos"] {
            check("NotFinite", |b| b.insert(name, 3, &[0.0, 0.0, 0.0, 1.0, bad]));
        }
    }
    check("ZeroVector", |b| b.insert("cos", 3, &[0.0, -0.0, 0.0, 0.0, 0.0]));
}

#[test]
fn under_hamming_a_component_is_zero_or_one() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection("bits", Params::new(4, Metric::Hamming)).unwrap();
        let insert = |vector: &[f32]| {
            let mut batch = WriteBatch::new();
            batch.insert("bits", 1, vector);
            db.commit(batch)
        };
        let options = SearchOptions::new(1);
        for bad in [0.5, -1.0, 2.0, f32::MIN_POSITIVE] {
            let vector = [0.0, 1.0, bad, bad];
            let refused = insert(&vector);
            assert!(matches!(refused, Err(CommitError::NotBinary { component: 2, .. })), "{bad}");
            let refused = db.search("bits", &vector, &options);
            assert!(matches!(refused, Err(SearchError::NotBinary { component: 2 })), "{bad}");
        }
        insert(&[0.0, 1.0, -0.0, 1.0]).unwrap();
        let found = db.search("bits", &[1.0, 1.0, 0.0, 0.0], &options).unwrap();
        assert_eq!((found.len(), found[0].distance), (1, 2.0));
    }
    on_each_disk!(on);
}

#[test]
fn bad_ids_and_collections_are_refused() {
    check("UnknownCollection", |b| b.insert("none", 3, &vector(3)));
    check("UnknownCollection", |b| b.delete_row("none", 3));
    check("DuplicateId", |b| b.insert("l2", 1, &vector(3)));
    check("DuplicateId", |b| b.insert("l2", 2, &vector(3)));
    check("Empty", |b| b.insert("l2", "", &vector(3)));
    let long = "x".repeat(ID_LEN_BYTES_MAX + 1);
    check("TooLarge", |b| b.insert("l2", long.as_str(), &vector(3)));
    check("CollectionExists", |b| b.create_collection("l2", params(Metric::Dot)));
    check("CollectionExists", |b| {
        b.create_collection("new", params(Metric::Dot));
        b.create_collection("new", params(Metric::L2));
    });
    check("Params", |b| b.create_collection("new", Params::new(0, Metric::L2)));
}

#[test]
fn bad_names_keys_and_values_are_refused() {
    let long = "n".repeat(NAME_LEN_BYTES_MAX + 1);
    for name in ["", ".", "..", "a/b", "../x", "a..b", "a b", "a\0", ".hidden", long.as_str()] {
        check("Name", |b| b.create_collection(name, params(Metric::L2)));
        check("Name", |b| b.put(name, b"k", b"v"));
    }
    check("Empty", |b| b.put("kv", b"", b"v"));
    check("TooLarge", |b| b.put("kv", &vec![0; KEY_LEN_BYTES_MAX + 1], b"v"));
    check("TooLarge", |b| b.put("kv", b"k", &vec![0; VALUE_LEN_BYTES_MAX + 1]));
}

#[test]
fn the_largest_of_everything_passes() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        let name = "n".repeat(NAME_LEN_BYTES_MAX);
        let key = vec![255; KEY_LEN_BYTES_MAX];
        let mut batch = WriteBatch::new();
        batch.create_collection(&name, Params::new(gannet::limits::DIMS_MAX, Metric::L2));
        let vector = vec![1.0; gannet::limits::DIMS_MAX as usize];
        batch.insert(&name, "i".repeat(ID_LEN_BYTES_MAX).as_str(), &vector);
        batch.put(&name, &key, &vec![7; 1 << 20]);
        batch.put(&name, b"empty", b"");
        db.commit(batch).unwrap();
        drop(db);
        let db = open(disk, 2);
        assert_eq!(db.get(&name, &key).unwrap().map(|v| v.len()), Some(1 << 20));
        assert_eq!(db.get(&name, b"empty").unwrap().as_deref(), Some(&[][..]));
        assert_eq!(db.collection(&name).map(|c| c.rows), Some(1));
    }
    on_each_disk!(on);
}

#[test]
fn an_empty_batch_and_a_bad_setting_are_refused() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        assert!(matches!(db.commit(WriteBatch::new()), Err(CommitError::EmptyBatch)));
        drop(db);
        let mut bad = config(1);
        bad.segment_bytes = 5000;
        let refused = Database::open(disk.open().unwrap(), bad);
        assert!(matches!(refused, Err(OpenError::Config(_))));
    }
    on_each_disk!(on);
}
