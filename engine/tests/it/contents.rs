//! A small database whose contents are known, on any disk, and how to compare it.

use crate::disk::Disk;
use gannet::storage::{FileName, ReadFile, SealedFile, Storage};
use gannet::{
    CheckpointError, CheckpointStats, CompactReport, Config, Database, Distribution, Id, Metric,
    OpeningStats, Params, SearchOptions, SeededChance, Stats, WriteBatch,
};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

pub(crate) const DIMS: u32 = 5;

/// One thread, small segments, salts from `seed`.
pub(crate) fn config(seed: u64) -> Config {
    let mut config = Config::balanced();
    config.threads = 1;
    config.segment_bytes = 16 << 10;
    config.chance = Arc::new(SeededChance::new(seed));
    config
}

pub(crate) fn open<D: Disk>(disk: &D, seed: u64) -> Database<D::Storage> {
    Database::open(disk.open().expect("free"), config(seed)).expect("opens")
}

/// Components that differ in every row and are exact in f32.
pub(crate) fn vector(id: u64) -> Vec<f32> {
    let component = |d: u32| {
        let mixed = (id * 2_654_435_761 + u64::from(d) * 40_503) % 997;
        f32::from(u16::try_from(mixed).expect("below 997")) - 498.0
    };
    (0..DIMS).map(component).collect()
}

pub(crate) fn params(metric: Metric) -> Params {
    Params { m: 4, ef_construction: 20, ..Params::new(DIMS, metric) }
}

/// What a database must show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Contents {
    pub(crate) keys: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) vectors: BTreeMap<Id, Vec<f32>>,
}

impl Contents {
    pub(crate) fn put(&mut self, batch: &mut WriteBatch, key: &str, value: &str) {
        batch.put("kv", key.as_bytes(), value.as_bytes());
        self.keys.insert(key.into(), value.into());
    }

    pub(crate) fn delete(&mut self, batch: &mut WriteBatch, key: &str) {
        batch.delete("kv", key.as_bytes());
        self.keys.remove(key.as_bytes());
    }

    pub(crate) fn upsert(&mut self, batch: &mut WriteBatch, id: u64, vector: Vec<f32>) {
        batch.upsert("c", id, &vector);
        self.vectors.insert(Id::Int(id), vector);
    }

    pub(crate) fn delete_row(&mut self, batch: &mut WriteBatch, id: u64) {
        batch.delete_row("c", id);
        self.vectors.remove(&Id::Int(id));
    }
}

/// Everything that `db` shows, by way of every kind of read; searches must agree with the vectors.
pub(crate) fn shown<S: Storage>(db: &Database<S>, ids: u64) -> Contents {
    let mut contents = Contents::default();
    db.scan("kv", Bound::Unbounded, Bound::Unbounded, |key, value| {
        contents.keys.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })
    .expect("scans");
    for (key, value) in &contents.keys {
        assert_eq!(db.get("kv", key).expect("reads").as_ref(), Some(value));
    }
    if db.collection("c").is_none() {
        return contents;
    }
    for id in (0..ids).map(Id::Int) {
        if let Some(vector) = db.get_vector("c", &id).expect("reads") {
            contents.vectors.insert(id, vector);
        }
    }
    assert_eq!(db.collection("c").map(|c| c.rows), Some(contents.vectors.len() as u64));
    let query = vector(3);
    let mut by_hand: Vec<(f32, &Id)> = contents
        .vectors
        .iter()
        .map(|(id, v)| (v.iter().zip(&query).map(|(a, b)| (a - b) * (a - b)).sum(), id))
        .collect();
    by_hand.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
    for exact in [true, false] {
        let mut options = SearchOptions::new(1000);
        options.exact = exact;
        let hits = db.search("c", &query, &options).expect("searches");
        let mut found: Vec<(f32, &Id)> = hits.iter().map(|hit| (hit.distance, &hit.id)).collect();
        found.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
        assert_eq!(found, by_hand, "exact: {exact}");
        assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
    }
    contents
}

/// Leaves out what is not the same in two runs.
pub(crate) fn without_times(stats: &mut Stats) {
    stats.opening = OpeningStats::default();
    stats.checkpoints = CheckpointStats::default();
    stats.commits.write_nanos = Distribution::default();
    stats.commits.sync_nanos = Distribution::default();
}

pub(crate) fn checkpoint<S: Storage>(db: &Database<S>) -> gannet::CheckpointReport {
    db.checkpoint(&mut |_| ControlFlow::Continue(())).expect("checkpoint")
}

pub(crate) fn compact<S: Storage>(db: &Database<S>) -> Result<CompactReport, CheckpointError> {
    db.compact(&mut |_| ControlFlow::Continue(()))
}

/// The newest segment of the log, by its number.
pub(crate) fn last_segment(storage: &impl Storage) -> u32 {
    let files = storage.list().expect("lists");
    let names = files.iter().filter_map(|file| file.name.as_str().strip_prefix("log-"));
    names.map(|digits| digits.parse().expect("a number")).max().expect("a log")
}

/// Whether a file is part of the log, or kept for it: threads of a database make these ahead of
/// need.
pub(crate) fn is_of_log(name: &str) -> bool {
    name.starts_with("log-") || name == "reserve"
}

/// Every file but those, by name.
pub(crate) fn apart_from_log(disk: &impl Disk) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(&disk.open().expect("free"));
    files.retain(|name, _| !is_of_log(name));
    files
}

/// Every file, by name.
pub(crate) fn files(storage: &impl Storage) -> BTreeMap<String, Vec<u8>> {
    let read = |name: FileName| {
        let file = storage.open_sealed(&name).expect("opens");
        (name.to_string(), file.view(0..file.len_bytes()).expect("reads").to_vec())
    };
    storage.list().expect("lists").into_iter().map(|meta| read(meta.name)).collect()
}

/// Name of a segment of the log.
pub(crate) fn segment(number: u32) -> FileName {
    FileName::new(&format!("log-{number:010}")).expect("a valid name")
}

/// Two checkpoints, the second sharing rows with the first, records of every kind before, between
/// and behind them, and an orderly end.
pub(crate) fn example(disk: &impl Disk) -> Contents {
    let mut contents = Contents::default();
    let db = open(disk, 1);
    db.create_collection("c", params(Metric::L2)).expect("new");
    let commit = |contents: &mut Contents, change: &dyn Fn(&mut Contents, &mut WriteBatch)| {
        let mut batch = WriteBatch::new();
        change(contents, &mut batch);
        db.commit(batch).expect("commits");
    };
    commit(&mut contents, &|c, b| {
        for id in 0..12 {
            c.upsert(b, id, vector(id));
        }
        c.put(b, "a", "1");
        c.put(b, "b", "2");
    });
    checkpoint(&db);
    commit(&mut contents, &|c, b| {
        c.upsert(b, 3, vector(100));
        c.delete_row(b, 4);
        c.delete(b, "a");
    });
    commit(&mut contents, &|c, b| c.upsert(b, 20, vector(20)));
    checkpoint(&db);
    commit(&mut contents, &|c, b| {
        c.put(b, "c", "3");
        c.upsert(b, 21, vector(21));
    });
    commit(&mut contents, &|c, b| c.delete_row(b, 0));
    assert_eq!(shown(&db, 200), contents);
    db.close().expect("closes");
    contents
}
