//! A collection in memory: rows, their ids, which are live, and the graph over them.
//!
//! Keeps what a search reads, as it was at one moment: a [`Collection`] does not change while
//! somebody holds it. `live` is the collection that commits change, `changes` what its graph is
//! still to learn. Rows are dense, in order of insertion; a replaced or deleted row leaves the
//! graph, and stays until `merge` writes the others anew. `numbers` is what the log calls rows.
//! `frozen` writes a collection to sealed files, `files` reads these; checks of input are
//! `sequence`'s.

mod changes;
mod files;
mod frozen;
mod ids;
mod live;
mod memory;
mod merge;
mod numbers;
mod paged;
mod passing;
mod rows;
mod unverified;
mod waiting;

pub(crate) use changes::Step;
pub(crate) use files::{DEAD, IDS, LoadedGraph, NORMS, NUMBERS, ROWS, SavedCollection};
pub(crate) use frozen::FrozenCollection;
pub(crate) use live::LiveCollection;
pub use memory::{CollectionMemory, MemoryUse};
pub(crate) use merge::Merge;
pub(crate) use numbers::Numbers;
pub(crate) use waiting::Waiting;

use crate::damage::Corruption;
use crate::id::Id;
use gannet_hnsw::{Executor, Graph, Params, RowSet, Rows};
use ids::{IdIndex, Ids};
use paged::Paged;
use rows::RowStore;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use waiting::Sketches;

/// One collection at one moment. `V` is the storage's view of a sealed file.
pub(crate) struct Collection<V> {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) params: Params,
    rows: RowStore<V>,
    /// Length of each row before it was normalised; empty unless the metric is cosine.
    norms: Paged<f32>,
    ids: Ids,
    /// One more than the highest integer there ever was among ids.
    next_id: u64,
    /// Rows that were neither deleted nor replaced.
    live: RowSet,
    /// Tells its rows, ids and live ones from those of any other state of any collection.
    stamp: u64,
    /// Live rows that the graph does not hold yet.
    joining: RowSet,
    /// Rows of the graph that are not live any more.
    leaving: RowSet,
    /// Of rows that join.
    sketches: Arc<Sketches>,
    graph: Arc<Graph>,
}

/// A number that no collection had before, in this process.
fn next_stamp() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Cheap beside its size: rows, ids and graph are shared, a page or a chunk that one of them writes
/// to is copied then.
impl<V> Clone for Collection<V> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            name: self.name.clone(),
            params: self.params.clone(),
            rows: self.rows.clone(),
            norms: self.norms.clone(),
            ids: self.ids.clone(),
            next_id: self.next_id,
            live: self.live.clone(),
            stamp: self.stamp,
            joining: self.joining.clone(),
            leaving: self.leaving.clone(),
            sketches: Arc::clone(&self.sketches),
            graph: Arc::clone(&self.graph),
        }
    }
}

impl<V: Deref<Target = [u8]> + Send + Sync> Collection<V> {
    fn new(id: u32, name: String, params: Params) -> Self {
        Self {
            id,
            name,
            rows: RowStore::new(params.dims),
            norms: Paged::default(),
            ids: Ids::default(),
            next_id: 0,
            live: RowSet::new(),
            stamp: next_stamp(),
            joining: RowSet::new(),
            leaving: RowSet::new(),
            sketches: Arc::default(),
            graph: Arc::new(Graph::new(params.clone())),
            params,
        }
    }

    /// Rows, dead ones included.
    pub(crate) fn row_count(&self) -> u32 {
        self.rows.len()
    }

    /// Rows that a search finds.
    pub(crate) fn live(&self) -> &RowSet {
        &self.live
    }

    pub(crate) fn dead_count(&self) -> u32 {
        self.row_count() - self.live.count()
    }

    /// Live rows that the graph does not hold yet.
    pub(crate) fn joining(&self) -> &RowSet {
        &self.joining
    }

    /// Rows of the graph that are dead.
    pub(crate) fn leaving(&self) -> &RowSet {
        &self.leaving
    }

    pub(crate) fn id_of(&self, row: u32) -> Id {
        self.ids.of(row)
    }

    /// One more than the highest integer there ever was among ids.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Gives the next row its id; whether it is the row's own number.
    fn push_id(&mut self, id: Id) -> bool {
        if let Id::Int(number) = id {
            self.next_id = self.next_id.max(number.saturating_add(1));
        }
        self.ids.push(id)
    }

    /// The vector as it was inserted; under cosine to within the rounding of one division and one
    /// multiplication.
    ///
    /// # Errors
    /// Damage of it.
    pub(crate) fn vector(&self, row: u32) -> Result<Vec<f32>, Corruption> {
        self.with_rows(|rows| {
            let mut vector = rows.row(row)[..self.params.dims as usize].to_vec();
            if let Some(norm) = self.norms.get(row as usize) {
                for component in &mut vector {
                    // Neither rounding nor a file's row beyond unit length makes it infinite.
                    *component = (*component * norm).clamp(f32::MIN, f32::MAX);
                }
            }
            vector
        })
    }

    pub(crate) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Runs `read` with all rows, each of which is verified before it is read.
    ///
    /// # Errors
    /// Damage of a row that was read: what was made of it is thrown away.
    pub(crate) fn with_rows<T>(&self, read: impl FnOnce(&Rows<'_>) -> T) -> Result<T, Corruption> {
        self.rows.with_rows(read)
    }

    /// Runs `make` with all rows, for what is kept: every one of them is verified before. Cost: the
    /// first time, reading them all.
    ///
    /// # Errors
    /// Damage, of any row; nothing was run then.
    pub(crate) fn make_of_rows<T>(
        &self,
        executor: &Executor,
        make: impl FnOnce(&Rows<'_>) -> T,
    ) -> Result<T, Corruption> {
        self.rows.with_verified(executor, make)
    }

    /// Whether somebody has met damage of a row: nothing is made of the rows any more.
    pub(crate) fn damage(&self) -> Option<&Corruption> {
        self.rows.damage()
    }
}
