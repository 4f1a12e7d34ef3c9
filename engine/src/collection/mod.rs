//! A collection in memory: rows, their ids, which are deleted, and the graph over them.
//!
//! Keeps what a committed record changes and what a search reads. Rows are dense numbers in order
//! of insertion; a replaced or deleted row stays, marked dead. `frozen` writes it to sealed files,
//! `files` reads these; checks of input are `sequence`'s.

mod dead;
mod files;
mod frozen;
mod ids;
mod memory;
mod rows;

pub(crate) use files::{DEAD, IDS, LoadedGraph, NORMS, ROWS, SavedCollection};
pub(crate) use frozen::FrozenCollection;
pub use memory::{CollectionMemory, MemoryUse};

use crate::id::Id;
use dead::DeadRows;
use gannet_hnsw::{
    BatchPlan, BuildScratch, Calibration, Executor, Graph, Metric, Params, Rows, check_binary,
    check_finite, normalise,
};
use ids::Ids;
use rows::RowStore;
use std::ops::Deref;
use std::sync::Arc;

/// One collection. `V` is the storage's view of a sealed file.
pub(crate) struct Collection<V> {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) params: Params,
    rows: RowStore<V>,
    /// Length of each row before it was normalised; empty unless the metric is cosine.
    norms: Vec<f32>,
    ids: Ids,
    dead: DeadRows,
    /// Shared with a checkpoint; changed by the only one there is, when it shares it no more.
    graph: Arc<Graph>,
    /// Counts the changes of the graph; 0 for one that is empty.
    graph_version: u64,
    pub(crate) saved: SavedCollection,
}

impl<V: Deref<Target = [u8]>> Collection<V> {
    pub(crate) fn new(id: u32, name: String, params: Params) -> Self {
        Self {
            id,
            name,
            rows: RowStore::new(params.dims),
            norms: Vec::new(),
            ids: Ids::default(),
            dead: DeadRows::default(),
            graph: Arc::new(Graph::new(params.clone())),
            graph_version: 0,
            saved: SavedCollection::default(),
            params,
        }
    }

    /// Rows ever inserted, dead ones included: also the number of the next row.
    pub(crate) fn row_count(&self) -> u32 {
        self.rows.len()
    }

    pub(crate) fn live_count(&self) -> u64 {
        u64::from(self.ids.len()) - self.dead_count()
    }

    pub(crate) fn dead_count(&self) -> u64 {
        self.dead.count()
    }

    pub(crate) fn is_live(&self, row: u32) -> bool {
        !self.dead.contains(row)
    }

    pub(crate) fn row_of(&self, id: &Id) -> Option<u32> {
        self.ids.row_of(id, &self.dead)
    }

    pub(crate) fn id_of(&self, row: u32) -> Id {
        self.ids.of(row)
    }

    /// Rows in the graph that are live.
    pub(crate) fn live_in_graph(&self) -> u64 {
        let in_graph = self.graph.len();
        u64::from(in_graph) - self.dead.count_below(in_graph)
    }

    /// The vector as it was inserted; under cosine to within the rounding of one division and one
    /// multiplication.
    pub(crate) fn vector(&self, row: u32) -> Vec<f32> {
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

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn set_graph(&mut self, graph: Graph) {
        self.graph = Arc::new(graph);
        self.graph_version += 1;
    }

    /// Runs `read` with all rows.
    pub(crate) fn with_rows<T>(&self, read: impl FnOnce(&Rows<'_>) -> T) -> T {
        with_rows(&self.params, &self.rows, read)
    }

    /// Rows and graph as they are now, to plan what the graph takes in next.
    pub(crate) fn planner(&self) -> Planner<V> {
        let (params, rows) = (self.params.clone(), self.rows.clone());
        Planner { params, rows, graph: Arc::clone(&self.graph) }
    }

    /// Links a planned batch. The planner is gone.
    ///
    /// # Panics
    /// If it is not.
    pub(crate) fn link(&mut self, batch: BatchPlan) {
        self.change_graph().apply_batch(batch);
    }

    /// Keeps what was measured on the graph as it is. The planner is gone.
    ///
    /// # Panics
    /// If it is not.
    pub(crate) fn set_calibration(&mut self, calibration: Calibration) {
        self.change_graph().set_calibration(calibration);
    }

    fn change_graph(&mut self) -> &mut Graph {
        self.graph_version += 1;
        Arc::get_mut(&mut self.graph).expect("nobody else uses the graph any more")
    }

    /// Applies an insert as the log has it.
    ///
    /// # Errors
    /// The field that does not fit this collection: damage, as `sequence` never writes it.
    pub(crate) fn insert(
        &mut self,
        row: u32,
        replaces: Option<u32>,
        id: Id,
        vector: &[u8],
    ) -> Result<(), &'static str> {
        if row != self.rows.len() {
            return Err("row");
        }
        if vector.len() != 4 * self.params.dims as usize {
            return Err("vector");
        }
        if self.row_of(&id) != replaces {
            return Err("replaces");
        }
        let metric = self.params.metric;
        let mut norm = 1.0;
        self.rows.push(|bytes| {
            let floats: &mut [f32] = bytemuck::cast_slice_mut(bytes);
            for (float, bytes) in floats.iter_mut().zip(vector.chunks_exact(4)) {
                *float = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            if metric == Metric::Cosine {
                norm = normalise(floats).map_err(|_| "vector")?;
            } else {
                let check = if metric == Metric::Hamming { check_binary } else { check_finite };
                check(floats).map_err(|_| "vector")?;
            }
            Ok(())
        })?;
        if metric == Metric::Cosine {
            self.norms.push(norm);
        }
        if let Some(replaced) = replaces {
            self.dead.insert(replaced);
        }
        self.ids.push(id);
        Ok(())
    }

    /// Applies a delete as the log has it.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub(crate) fn delete(&mut self, row: u32) -> Result<(), &'static str> {
        if row >= self.ids.len() {
            return Err("row");
        }
        let id = self.ids.of(row);
        if self.row_of(&id) != Some(row) {
            return Err("row");
        }
        self.ids.remove(&id);
        self.dead.insert(row);
        Ok(())
    }
}

/// A collection at one moment, as a graph is built from it.
pub(crate) struct Planner<V> {
    params: Params,
    rows: RowStore<V>,
    graph: Arc<Graph>,
}

impl<V: Deref<Target = [u8]>> Planner<V> {
    /// Plans the links of all rows before `end` that are not in the graph.
    pub(crate) fn plan(
        &self,
        end: u32,
        executor: &Executor,
        scratch: &mut BuildScratch,
    ) -> BatchPlan {
        self.with_rows(|rows| self.graph.plan_batch(rows, end, executor, scratch))
    }

    /// The graph as it was.
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs `read` with the rows as they were.
    pub(crate) fn with_rows<T>(&self, read: impl FnOnce(&Rows<'_>) -> T) -> T {
        with_rows(&self.params, &self.rows, read)
    }
}

fn with_rows<V: Deref<Target = [u8]>, T>(
    params: &Params,
    rows: &RowStore<V>,
    read: impl FnOnce(&Rows<'_>) -> T,
) -> T {
    let chunks = rows.chunks();
    read(&Rows::new(params.dims, rows.rows_per_chunk_log2(), &chunks, rows.len()))
}
