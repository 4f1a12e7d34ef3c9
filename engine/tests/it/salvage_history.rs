//! Databases to salvage, with everything that was ever written to them.

use crate::contents::{checkpoint, open, params, vector};
use crate::disk::Disk;
use gannet::storage::Storage;
use gannet::{Database, Lsn, Metric, WriteBatch};
use std::collections::BTreeMap;
use std::ops::Range;

/// What was written under one key or id, in order; `None` for a deletion.
pub(crate) type Versions<V> = Vec<Option<V>>;

/// A database with everything that was ever written to it.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) keys: BTreeMap<Vec<u8>, Versions<Vec<u8>>>,
    pub(crate) ids: BTreeMap<u64, Versions<Vec<f32>>>,
    /// Id of each row, by what the log calls it.
    pub(crate) rows: Vec<u64>,
    /// What each record was about.
    pub(crate) key_of: BTreeMap<Lsn, Vec<u8>>,
    pub(crate) id_of: BTreeMap<Lsn, u64>,
}

impl Truth {
    pub(crate) fn put<S: Storage>(&mut self, db: &Database<S>, key: u64, value: Option<Vec<u8>>) {
        let key = format!("key-{key:03}").into_bytes();
        let mut batch = WriteBatch::new();
        match &value {
            Some(value) => batch.put("kv", &key, value),
            None => batch.delete("kv", &key),
        }
        let lsn = db.commit(batch).unwrap().last_lsn;
        self.key_of.insert(lsn, key.clone());
        self.keys.entry(key).or_default().push(value);
    }

    pub(crate) fn upsert<S: Storage>(&mut self, db: &Database<S>, id: u64, seed: u64) {
        let mut batch = WriteBatch::new();
        batch.upsert("c", id, &vector(seed));
        let lsn = db.commit(batch).unwrap().last_lsn;
        self.id_of.insert(lsn, id);
        self.rows.push(id);
        self.ids.entry(id).or_default().push(Some(vector(seed)));
    }

    /// Rows of new ids, in one commit.
    pub(crate) fn insert<S: Storage>(&mut self, db: &Database<S>, ids: Range<u64>) {
        let mut batch = WriteBatch::new();
        for id in ids.clone() {
            batch.insert("c", id, &vector(id));
        }
        let first = db.commit(batch).unwrap().first_lsn;
        for (lsn, id) in (first..).zip(ids) {
            self.id_of.insert(lsn, id);
            self.rows.push(id);
            self.ids.entry(id).or_default().push(Some(vector(id)));
        }
    }

    pub(crate) fn delete_row<S: Storage>(&mut self, db: &Database<S>, id: u64) {
        let mut batch = WriteBatch::new();
        batch.delete_row("c", id);
        let lsn = db.commit(batch).unwrap().last_lsn;
        self.id_of.insert(lsn, id);
        self.ids.entry(id).or_default().push(None);
    }
}

/// 201 rows and some keys: before, between and behind two checkpoints.
pub(crate) fn history(disk: &impl Disk) -> Truth {
    let mut truth = Truth::default();
    let db = open(disk, 1);
    db.create_collection("c", params(Metric::L2)).unwrap();
    for part in 0..3_u64 {
        for step in 0..20 {
            truth.insert(&db, part * 60 + 3 * step..part * 60 + 3 * step + 3);
            truth.put(&db, step, Some(format!("{part}-{step}").repeat(30).into_bytes()));
        }
        for step in 0..7 {
            truth.upsert(&db, part * 60 + step, 300 + step);
            truth.delete_row(&db, part * 60 + 20 + step);
            truth.put(&db, 10 + step, None);
        }
        if part < 2 {
            checkpoint(&db);
        }
    }
    db.close().unwrap();
    truth
}

/// Rows and some keys, most of which go again: three checkpoints left out rows, and the log behind
/// each of them names rows of all parts.
pub(crate) fn merged_history(disk: &impl Disk) -> Truth {
    let mut truth = Truth::default();
    let db = open(disk, 1);
    db.create_collection("c", params(Metric::L2)).unwrap();
    for part in 0..4_u64 {
        truth.insert(&db, part * 100..part * 100 + 100);
        truth.put(&db, part, Some(vec![7; 300]));
        for id in (0..part * 100 + 100).filter(|id| id % 7 != part) {
            match (id + part) % 8 {
                0 => truth.upsert(&db, id, 500 + id + part),
                1..6 if truth.ids[&id].last() != Some(&None) => truth.delete_row(&db, id),
                _ => {}
            }
        }
        if part < 3 {
            checkpoint(&db);
            assert_eq!(db.collection("c").unwrap().dead, 0, "part {part}");
        }
    }
    db.close().unwrap();
    truth
}
