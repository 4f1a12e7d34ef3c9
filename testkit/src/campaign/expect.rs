//! The oracle: which contents a database may show, and whether one shows them.

use super::model::{COLLECTION, KEYSPACE, Model};
use crate::sim::{SimStorage, digest};
use gannet::{Database, Id, SearchOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// What a crash may leave: every batch that was acknowledged as durable, and of the later ones, the
/// one in flight included, the first so many.
#[derive(Clone, Debug)]
pub(super) struct Expect {
    /// All that was acknowledged as durable.
    pub(super) sure: Arc<Model>,
    /// The contents after each later batch, in order.
    pub(super) maybe: Vec<Arc<Model>>,
}

impl Expect {
    pub(super) fn exactly(model: Arc<Model>) -> Self {
        Self { sure: model, maybe: Vec::new() }
    }

    /// The contents after the last batch.
    pub(super) fn latest(&self) -> &Arc<Model> {
        self.maybe.last().unwrap_or(&self.sure)
    }

    /// Equal for equal expectations.
    pub(super) fn digest(&self) -> u128 {
        let models = self.maybe.iter().map(|model| model.digest());
        models.fold(self.sure.digest(), digest::placed)
    }

    /// Which of the contents `db` shows. From then on that is what was seen: a batch seen absent
    /// may not come back, and one seen present may not go.
    ///
    /// # Errors
    /// How it differs from the first and the last of them.
    pub(super) fn observe(&self, db: &Database<SimStorage>) -> Result<Arc<Model>, String> {
        let differs = match compare(db, &self.sure) {
            Ok(()) => return Ok(Arc::clone(&self.sure)),
            Err(differs) => differs,
        };
        if let Some(model) = self.maybe.iter().find(|model| compare(db, model).is_ok()) {
            return Ok(Arc::clone(model));
        }
        Err(match self.maybe.last().map(|last| compare(db, last)) {
            Some(Err(other)) => format!("without later batches: {differs}; with all: {other}"),
            Some(Ok(())) | None => differs,
        })
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
