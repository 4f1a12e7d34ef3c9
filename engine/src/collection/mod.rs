//! A collection in memory: rows, their ids, which are deleted, and the graph over them.
//!
//! Keeps what a committed record changes and what a search reads. Rows are dense numbers in order
//! of insertion; a replaced or deleted row stays, marked dead. `frozen` writes it to sealed files,
//! `files` reads these; checks of input are `sequence`'s.

mod dead;
mod files;
mod frozen;
mod rows;

pub(crate) use files::{DEAD, IDS, LoadedGraph, NORMS, ROWS, SavedCollection};
pub(crate) use frozen::FrozenCollection;

use crate::id::Id;
use dead::DeadRows;
use gannet_hnsw::{
    BatchPlan, BuildScratch, Executor, Graph, Metric, Params, Rows, check_binary, check_finite,
    normalise,
};
use rows::RowStore;
use std::collections::HashMap;
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
    ids: Vec<Id>,
    /// Row of each live id.
    index: HashMap<Id, u32>,
    dead: DeadRows,
    /// Shared with a checkpoint; changed by the only one there is, when it shares it no more.
    graph: Arc<Graph>,
    pub(crate) saved: SavedCollection,
}

impl<V: Deref<Target = [u8]>> Collection<V> {
    pub(crate) fn new(id: u32, name: String, params: Params) -> Self {
        Self {
            id,
            name,
            rows: RowStore::new(params.dims),
            norms: Vec::new(),
            ids: Vec::new(),
            index: HashMap::new(),
            dead: DeadRows::default(),
            graph: Arc::new(Graph::new(params.clone())),
            saved: SavedCollection::default(),
            params,
        }
    }

    /// Rows ever inserted, dead ones included: also the number of the next row.
    pub(crate) fn row_count(&self) -> u32 {
        self.rows.len()
    }

    pub(crate) fn live_count(&self) -> u64 {
        self.index.len() as u64
    }

    pub(crate) fn dead_count(&self) -> u64 {
        self.dead.count()
    }

    pub(crate) fn is_live(&self, row: u32) -> bool {
        !self.dead.contains(row)
    }

    pub(crate) fn row_of(&self, id: &Id) -> Option<u32> {
        self.index.get(id).copied()
    }

    pub(crate) fn id_of(&self, row: u32) -> &Id {
        &self.ids[row as usize]
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
                    *component *= norm;
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
        let graph = Arc::get_mut(&mut self.graph).expect("nobody else uses the graph any more");
        graph.apply_batch(batch);
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
        if self.index.get(&id).copied() != replaces {
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
        self.index.insert(id.clone(), row);
        self.ids.push(id);
        Ok(())
    }

    /// Applies a delete as the log has it.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub(crate) fn delete(&mut self, row: u32) -> Result<(), &'static str> {
        let id = self.ids.get(row as usize).ok_or("row")?;
        if self.index.get(id) != Some(&row) {
            return Err("row");
        }
        self.index.remove(id);
        self.dead.insert(row);
        Ok(())
    }

    /// Bytes of memory: rows, norms, ids and graph.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let id_bytes = |id: &Id| if let Id::Bytes(bytes) = id { 2 * bytes.len() } else { 0 };
        let ids = self.ids.len() * size_of::<Id>()
            + self.index.capacity() * (size_of::<Id>() + size_of::<u32>() + 1)
            + self.ids.iter().map(id_bytes).sum::<usize>();
        let norms = self.norms.capacity() * size_of::<f32>();
        let graph = self.graph.links_bytes() + self.graph.codes_bytes();
        (self.rows.memory_bytes() + norms + ids + graph) as u64
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
        let plan = |rows: &Rows<'_>| self.graph.plan_batch(rows, end, executor, scratch);
        with_rows(&self.params, &self.rows, plan)
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
