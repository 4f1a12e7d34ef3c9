//! The collection that commits change: the state that searches take hold of, and what only writers
//! look at.
//!
//! Keeps what a committed record does to a collection. A state that somebody holds is copied before
//! it is changed, which copies no rows; one that nobody holds is changed in place.

use super::changes::{Changes, Step};
use super::files::SavedCollection;
use super::ids::IdIndex;
use super::memory::CollectionMemory;
use super::numbers::Numbers;
use super::{Collection, next_stamp};
use crate::damage::Corruption;
use crate::id::Id;
use gannet_hnsw::{
    BuildScratch, Changed, Executor, Graph, Metric, Params, RowSet, batch_changes, check_binary,
    check_finite, normalise,
};
use std::ops::Deref;
use std::sync::Arc;

/// See the module's documentation.
pub(crate) struct LiveCollection<V> {
    pub(super) now: Arc<Collection<V>>,
    pub(super) index: IdIndex,
    pub(super) numbers: Numbers,
    /// What its graph is still to learn.
    pub(super) changes: Changes,
    /// Counts the changes of the graph.
    pub(super) graph_version: u64,
    /// What has changed in the graph since it was as it is in files.
    pub(super) unsaved: Changed,
    /// What has changed in it since it was last frozen.
    pub(super) since_freeze: Changed,
    pub(crate) saved: SavedCollection,
}

impl<V: Deref<Target = [u8]> + Send + Sync> LiveCollection<V> {
    pub(crate) fn new(id: u32, name: String, params: Params) -> Self {
        Self {
            now: Arc::new(Collection::new(id, name, params)),
            index: IdIndex::default(),
            numbers: Numbers::default(),
            changes: Changes::default(),
            graph_version: 0,
            unsaved: Changed::none(),
            since_freeze: Changed::none(),
            saved: SavedCollection::default(),
        }
    }

    /// The collection as it is now, for whoever reads it.
    pub(crate) fn now(&self) -> &Arc<Collection<V>> {
        &self.now
    }

    /// The row of a live id.
    pub(crate) fn row_of(&self, id: &Id) -> Option<u32> {
        self.index.row_of(id, &self.now.ids, &self.now.live)
    }

    /// What the log calls the row of a live id.
    pub(crate) fn number_of(&self, id: &Id) -> Option<u32> {
        self.row_of(id).map(|row| self.numbers.of(row))
    }

    /// What the log will call the next row.
    pub(crate) fn next_number(&self) -> u32 {
        self.numbers.next()
    }

    /// What its graph is still to learn.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Whether there is anything to do for its graph: rows wait, or it is to be measured.
    pub(crate) fn wants_to_learn(&self) -> bool {
        self.changes.has_entries() || self.now.graph.wants_calibration()
    }

    /// What `graph`, which has learnt the first `done` entries of the changes, learns next, and how
    /// many entries that takes.
    pub(crate) fn next_step(&self, graph: &Graph, done: usize) -> Option<(Step, usize)> {
        self.changes.next(done, batch_changes(graph.count()))
    }

    /// Searches walk `graph` from now on, which has learnt the first `done` entries of the changes.
    /// It has what it says to have changed in it noted for the next checkpoint, and goes on saying
    /// what changes from here on. Gives back the state before, for the caller to drop where nobody
    /// waits.
    pub(crate) fn set_graph(&mut self, graph: &mut Graph, done: usize) -> Arc<Collection<V>> {
        self.changes.take(done);
        self.graph_version += 1;
        let changed = graph.take_changed();
        if !mutant!("patch-misses-a-batch") {
            self.unsaved.add(&changed);
        }
        self.since_freeze.add(&changed);
        let mut next = (*self.now).clone();
        next.joining = difference(&next.live, graph.members());
        next.leaving = difference(graph.members(), &next.live);
        next.sketches.keep(&next.joining);
        next.graph = Arc::new(graph.clone());
        std::mem::replace(&mut self.now, Arc::new(next))
    }

    /// Makes the graph anew of the rows that are live; how many.
    ///
    /// # Errors
    /// Damage, of any row: the graph is as it was.
    pub(crate) fn rebuild_graph(&mut self, executor: &Executor) -> Result<u32, Corruption> {
        let now = &*self.now;
        let mut graph = Graph::new(now.params.clone());
        let rows: Vec<u32> = now.live.iter().collect();
        let mut scratch = BuildScratch::new();
        now.make_of_rows(executor, |all| {
            let mut rest = &rows[..];
            while !rest.is_empty() {
                let count = rest.len().min(batch_changes(graph.count()) as usize);
                let (joins, after) = rest.split_at(count);
                graph.insert_batch(all, joins, executor, &mut scratch);
                rest = after;
            }
        })?;
        self.changes.clear();
        drop(self.set_graph(&mut graph, 0));
        Ok(self.now.live.count())
    }

    /// Applies an insert as the log has it, which calls the row `number`.
    ///
    /// # Errors
    /// The field that does not fit this collection: damage, as `sequence` never writes it.
    pub(crate) fn insert(
        &mut self,
        number: u32,
        replaces: Option<u32>,
        id: Id,
        vector: &[u8],
    ) -> Result<(), &'static str> {
        if number != self.numbers.next() {
            return Err("row");
        }
        let (row, before) = (self.now.rows.len(), self.row_of(&id));
        if vector.len() != 4 * self.now.params.dims as usize {
            return Err("vector");
        }
        if before.map(|row| self.numbers.of(row)) != replaces {
            return Err("replaces");
        }
        let metric = self.now.params.metric;
        let mut norm = 1.0;
        let now = Arc::make_mut(&mut self.now);
        now.rows.push(|bytes| {
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
            now.norms.push(norm);
        }
        self.numbers.push();
        if let Some(before) = before {
            self.bury(before);
        }
        let now = Arc::make_mut(&mut self.now);
        now.stamp = next_stamp();
        now.live.insert(row);
        if !mutant!("waiting-rows-not-found") {
            now.joining.insert(row);
        }
        if !now.push_id(id.clone()) {
            self.index.insert(id, row);
        }
        self.changes.join(row);
        Ok(())
    }

    /// Applies a delete as the log has it, which calls the row `number`.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub(crate) fn delete(&mut self, number: u32) -> Result<(), &'static str> {
        let row = self.numbers.row_of(number).filter(|row| self.now.live.contains(*row));
        let row = row.ok_or("row")?;
        self.index.remove(&self.now.ids.of(row));
        self.bury(row);
        Ok(())
    }

    /// Applies the end of a batch of changes of the graph as the log has it.
    pub(crate) fn cut(&mut self) {
        self.changes.cut();
    }

    /// A live row is dead.
    fn bury(&mut self, row: u32) {
        let now = Arc::make_mut(&mut self.now);
        now.stamp = next_stamp();
        now.live.remove(row);
        if now.graph.contains(row) {
            now.leaving.insert(row);
        } else {
            now.joining.remove(row);
        }
        if !mutant!("deleted-rows-stay-linked") {
            self.changes.leave(row);
        }
    }

    /// What memory it takes, where views copy nothing or are copies on the heap. Cost: a step for
    /// each id that is kept.
    pub(crate) fn memory(&self, views_copy_nothing: bool) -> CollectionMemory {
        let changed = self.unsaved.memory_bytes() + self.since_freeze.memory_bytes();
        self.now.memory(&self.index, changed, views_copy_nothing)
    }

    /// The state, while files are read into it.
    pub(super) fn now_mut(&mut self) -> &mut Collection<V> {
        Arc::get_mut(&mut self.now).expect("a collection that is being loaded has no readers")
    }
}

/// The rows of `all` that are not in `without`.
fn difference(all: &RowSet, without: &RowSet) -> RowSet {
    let others = without.words().iter().copied().chain(std::iter::repeat(0));
    RowSet::from_words(all.words().iter().zip(others).map(|(word, other)| word & !other).collect())
}
