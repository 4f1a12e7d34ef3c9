//! The oracle: which contents a database may show, and whether one shows them.

use super::model::{COLLECTION, KEYSPACE, Model};
use crate::sim::{SimStorage, digest};
use gannet::{Database, Id, SearchOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// What a crash may leave: every acknowledged batch, and at most the one in flight.
#[derive(Clone, Debug)]
pub(super) struct Expect {
    /// All that was acknowledged.
    pub(super) sure: Arc<Model>,
    /// That and the batch in flight, whole.
    pub(super) maybe: Option<Arc<Model>>,
}

impl Expect {
    pub(super) fn exactly(model: Arc<Model>) -> Self {
        Self { sure: model, maybe: None }
    }

    /// Equal for equal expectations.
    pub(super) fn digest(&self) -> u128 {
        let maybe = self.maybe.as_ref().map_or(0, |model| model.digest());
        digest::placed(self.sure.digest(), maybe)
    }

    /// Which of the contents `db` shows. From then on that is what was seen: a batch seen absent
    /// may not come back, and one seen present may not go.
    ///
    /// # Errors
    /// How it differs from both.
    pub(super) fn observe(&self, db: &Database<SimStorage>) -> Result<Arc<Model>, String> {
        let differs = match compare(db, &self.sure) {
            Ok(()) => return Ok(Arc::clone(&self.sure)),
            Err(differs) => differs,
        };
        let Some(maybe) = &self.maybe else { return Err(differs) };
        match compare(db, maybe) {
            Ok(()) => Ok(Arc::clone(maybe)),
            Err(other) => Err(format!("without the batch in flight: {differs}; with it: {other}")),
        }
    }
}

/// Whether `db` has exactly these contents, by every way of asking.
pub(super) fn compare(db: &Database<SimStorage>, model: &Model) -> Result<(), String> {
    compare_keys(db, model)?;
    compare_rows(db, model)
}

fn compare_keys(db: &Database<SimStorage>, model: &Model) -> Result<(), String> {
    let mut found = BTreeMap::new();
    let mut take = |key: &[u8], value: &[u8]| {
        found.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    };
    let scanned = db.scan(KEYSPACE, Bound::Unbounded, Bound::Unbounded, &mut take);
    scanned.map_err(|error| format!("scan failed: {error}"))?;
    if found == model.keys {
        return Ok(());
    }
    let names = |keys: &BTreeMap<Vec<u8>, Vec<u8>>| {
        let name = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            let start = String::from_utf8_lossy(&value[..value.len().min(24)]).into_owned();
            format!("{}={start:?}", String::from_utf8_lossy(key))
        };
        keys.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    Err(format!("keys are [{}], expected [{}]", names(&found), names(&model.keys)))
}

fn compare_rows(db: &Database<SimStorage>, model: &Model) -> Result<(), String> {
    let Some(stats) = db.collection(COLLECTION) else {
        let due = if model.has_collection { Err("the collection is gone".into()) } else { Ok(()) };
        return due;
    };
    if !model.has_collection {
        return Err("there is a collection that nobody made".into());
    }
    let due = model.rows.len();
    if stats.rows != due as u64 {
        return Err(format!("{} rows, expected {due}: {:?}", stats.rows, model.rows.keys()));
    }
    for (&id, vector) in &model.rows {
        let found = db.get_vector(COLLECTION, &Id::Int(id)).map_err(|error| error.to_string())?;
        if found.as_deref() != Some(vector) {
            return Err(format!("vector {id} is {found:?}, expected {vector:?}"));
        }
    }
    // The first and the last row, as queries: each finds itself first, and all others behind it.
    let queries = model.rows.iter().take(1).chain(model.rows.iter().next_back());
    for (&id, vector) in queries {
        let options = SearchOptions::new(due + 1);
        let hits = db.search(COLLECTION, vector, &options).map_err(|error| error.to_string())?;
        let ids: BTreeSet<_> = hits.iter().map(|hit| hit.id.clone()).collect();
        let all: BTreeSet<_> = model.rows.keys().copied().map(Id::Int).collect();
        let first = hits.first().map(|hit| hit.id.clone());
        if first != Some(Id::Int(id)) || ids != all || hits.len() != due {
            return Err(format!("search for vector {id} found {hits:?}, expected {all:?}"));
        }
    }
    Ok(())
}
