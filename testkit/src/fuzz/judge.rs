//! What a database may do with files that nobody wrote: refuse them by name, or take them for a
//! database like any other.

use super::forge::{Files, shared};
use gannet::{
    Config, Database, Id, Metric, OpenError, Params, ReadError, RecoveryMode, SearchOptions,
    SeededChance, WriteBatch, salvage, verify_storage,
};
use gannet_storage::{MemStorage, Storage};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// Collections of more dimensions than this are not searched.
const DIMS_SEARCHED_MAX: u32 = 1 << 12;
/// Ids that were given: integers below this, and the names of `NAMES`.
pub(super) const IDS: u64 = 24;
pub(super) const NAMES: [&str; 3] = ["a", "bee", "a longer name"];

/// Opens what is there, uses it, and opens it again; then salvages it.
///
/// # Panics
/// If the engine breaks a promise.
pub(super) fn judge(files: &Files, recovery: RecoveryMode) {
    let storage = Arc::new(files.storage());
    match Database::open(shared(&storage), config(recovery)) {
        Ok(db) => {
            let shown = use_it(&db);
            drop(db);
            // What it made of what was there is what it would have written itself.
            match Database::open(shared(&storage), config(RecoveryMode::Strict)) {
                Ok(db) => {
                    let again = Shown::of(&db);
                    assert!(shown.is_none() || shown == again, "another database than it was");
                }
                Err(error) => panic!("its own files are refused: {error:?}"),
            }
        }
        Err(
            OpenError::Corrupt(_) | OpenError::NewerVersion { .. } | OpenError::NotADatabase { .. },
        ) => {}
        Err(error) => panic!("not a refusal: {error:?}"),
    }
    let storage = files.storage();
    assert!(verify_storage(&storage).is_ok(), "faults are no error");
    // What it cannot take it may refuse, but no more.
    let _ = salvage(&storage, MemStorage::new(), config(RecoveryMode::Strict), &mut |_| {});
}

pub(super) fn config(recovery: RecoveryMode) -> Config {
    let mut config = Config::balanced();
    config.threads = 1;
    config.segment_bytes = gannet::limits::SEGMENT_BYTES_MIN;
    config.chance = Arc::new(SeededChance::new(1));
    config.block_bytes = 256;
    config.recovery = recovery;
    config
}

/// All that can be read of it by name.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    keys: BTreeMap<(String, Vec<u8>), Vec<u8>>,
    /// Bits, of which not a number has many.
    rows: BTreeMap<(String, Id), Vec<u32>>,
}

impl Shown {
    /// `None` where a table is damaged: its blocks are verified when they are read.
    fn of<S: Storage>(db: &Database<S>) -> Option<Self> {
        let mut shown = Self::default();
        let stats = db.stats().expect("in memory");
        for keyspace in &stats.keyspaces {
            let put = |key: &[u8], value: &[u8]| {
                shown.keys.insert((keyspace.clone(), key.to_vec()), value.to_vec());
                ControlFlow::Continue(())
            };
            match db.scan(keyspace, Bound::Unbounded, Bound::Unbounded, put) {
                Ok(()) => {}
                Err(ReadError::Corrupt(_)) => return None,
                Err(ReadError::Table(error)) if is_of_others(&error) => return None,
                Err(error) => panic!("not a refusal: {error:?}"),
            }
        }
        for collection in &stats.collections {
            let ids = (0..IDS).map(Id::Int).chain(NAMES.map(Id::from));
            for id in ids {
                let vector = db.get_vector(&collection.name, &id).expect("it is listed");
                if let Some(vector) = vector {
                    assert!(vector.iter().all(|component| component.is_finite()), "{vector:?}");
                    let bits = vector.into_iter().map(f32::to_bits).collect();
                    shown.rows.insert((collection.name.clone(), id), bits);
                }
            }
        }
        Some(shown)
    }

    /// Whether all of `other` is here.
    fn has(&self, other: &Self) -> bool {
        let has_key = |(key, value)| self.keys.get(key) == Some(value);
        let has_row = |(id, bits)| self.rows.get(id) == Some(bits);
        other.keys.iter().all(has_key) && other.rows.iter().all(has_row)
    }
}

/// What only another program has written, or a fuzzer.
fn is_of_others(error: &OpenError) -> bool {
    matches!(error, OpenError::NewerVersion { .. } | OpenError::CodecNotCompiled { .. })
}

/// Reads, searches, writes, makes a checkpoint; returns what is there then.
fn use_it<S: Storage>(db: &Database<S>) -> Option<Shown> {
    let shown = Shown::of(db);
    let stats = db.stats().expect("in memory");
    for collection in &stats.collections {
        search(db, &collection.name, &collection.params, collection.rows);
    }
    let mut batch = WriteBatch::new();
    batch.put("written after", b"key", b"value");
    if let Some(collection) = stats.collections.first() {
        let mut vector = vec![0.0; collection.params.dims as usize];
        vector[0] = 1.0;
        batch.upsert(&collection.name, "written after", &vector);
    }
    // Numbers may be at their limits, so either may fail; what was there is there.
    let _ = db.commit(batch);
    if let Some(shown) = shown {
        let after = Shown::of(db).expect("as before");
        assert!(after.has(&shown), "something is gone by a commit");
    }
    let _ = db.checkpoint(&mut |_| ControlFlow::Continue(()));
    let _ = db.verify();
    Shown::of(db)
}

fn search<S: Storage>(db: &Database<S>, name: &str, params: &Params, rows: u64) {
    if params.dims > DIMS_SEARCHED_MAX {
        return;
    }
    let mut query = vec![0.25; params.dims as usize];
    query[0] = -1.5;
    for exact in [false, true] {
        let mut options = SearchOptions::new(5);
        options.exact = exact;
        let hits = db.search(name, &query, &options).expect("a finite query");
        let least = if exact { rows.min(5) } else { 0 };
        assert!((least..=5).contains(&(hits.len() as u64)), "{} of {rows}", hits.len());
        assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance), "{hits:?}");
        let least = if params.metric == Metric::L2 { 0.0 } else { f32::NEG_INFINITY };
        assert!(hits.iter().all(|hit| hit.distance >= least), "{hits:?}");
    }
}
