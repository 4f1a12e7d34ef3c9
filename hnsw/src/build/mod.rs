//! Rows join a graph, leave it and are linked anew, in batches that many threads plan.
//!
//! A batch is planned against the graph as it was, and then stored: nobody links to the rows of a
//! batch yet, so no walk meets them, but each sees the batch's earlier rows, as if they had been
//! taken in one by one. What is planned depends on the graph and the rows alone, so any number of
//! threads gives the same bytes. Storing a plan computes nothing. The idea is that of `ParlayANN`
//! (Manohar et al., 2024). Who reads a graph while it changes reads a clone of it.

mod again;
mod back_links;
mod chooser;
pub(crate) mod codes;
mod leave;
mod scratch;
mod sight;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::changed::Changed;
use crate::executor::Executor;
use crate::graph::Graph;
use crate::params::ROWS_MAX;
use crate::rows::Rows;
use sight::Sight;

pub use scratch::BuildScratch;

/// Most rows of one batch.
pub const BATCH_ROWS_MAX: u32 = 1024;

/// How many rows should join a graph of `count` rows, or leave it, at once: `clamp(count / 50, 1,
/// 1024)`.
///
/// `ParlayANN` caps a batch at 2 % of the rows, so that what its rows do not see of each other
/// stays small; the absolute cap bounds the memory of a plan and the time a batch takes.
#[must_use]
pub fn batch_changes(count: u32) -> u32 {
    (count / 50).clamp(1, BATCH_ROWS_MAX)
}

/// Where the batch that begins at row `len` ends, where none is missing below: `len +
/// batch_changes(len)`.
#[must_use]
pub fn next_batch_end(len: u32) -> u32 {
    len + batch_changes(len)
}

/// The links of a row on a layer, as they are to be.
struct PlannedList {
    row: u32,
    layer: u8,
    links: Box<[u32]>,
}

/// # Panics
/// If the rows are too many for a batch, or not in ascending order.
fn check_batch(batch: &[u32]) {
    assert!(batch.len() <= BATCH_ROWS_MAX as usize, "a batch of {} rows", batch.len());
    assert!(batch.is_sorted_by(|a, b| a < b), "rows of a batch out of order: {batch:?}");
}

impl Graph {
    /// Takes in rows `joins`, which may fill holes and leave gaps. Each sees the earlier ones.
    ///
    /// The rows must be finite, of unit length for cosine, and stay as they are while they are in
    /// the graph. No rows are no change.
    ///
    /// Equal graphs and rows give equal graphs, on any number of threads and any instruction set.
    /// Cost: a walk with a beam of `ef_construction` for each row, and a choice of links for it and
    /// for each row it links to. With clones about, also copies of what changes.
    ///
    /// # Panics
    /// If `joins` are more than [`BATCH_ROWS_MAX`], not strictly ascending, or one of them is in
    /// the graph or none of `rows`; or if `rows` has other dimensions than the graph or lacks a row
    /// of it.
    pub fn insert_batch(
        &mut self,
        rows: &Rows<'_>,
        joins: &[u32],
        exec: &Executor,
        scratch: &mut BuildScratch,
    ) {
        self.check_rows(rows);
        check_batch(joins);
        let Some(&last) = joins.last() else { return };
        assert!(last < rows.len(), "row {last} of {}", rows.len());
        if let Some(row) = joins.iter().find(|&&row| self.contains(row)) {
            panic!("row {row} is in the graph already");
        }
        self.choose_code_if_due(rows, exec);
        self.settle();
        self.grow(self.len().max(last + 1));
        self.encode_rows(rows, joins, exec);
        let sights = sight::plan(self, rows, joins, exec, scratch);
        self.link(rows, &sights, exec);
        self.join(joins);
    }

    /// Gives rows the links that they see, and those they link to the links back.
    fn link(&mut self, rows: &Rows<'_>, sights: &[Sight], exec: &Executor) {
        for list in back_links::plan(self, rows, sights, exec) {
            self.set_links(list.row, list.layer, &list.links);
        }
    }

    /// Links rows `anew`, which are in the graph: each to the best of what it links to and what a
    /// beam of `ef_construction` finds now in the whole graph.
    fn relink_batch(
        &mut self,
        rows: &Rows<'_>,
        anew: &[u32],
        exec: &Executor,
        scratch: &mut BuildScratch,
    ) {
        let sights = again::plan(self, rows, anew, exec, scratch);
        self.link(rows, &sights, exec);
    }

    /// Takes in rows `self.len()..end`, batch by batch, each of [`batch_changes`] rows, the last
    /// one of what is left. Calls `progress` with the length of the graph after each batch; where
    /// it breaks, the work ends early. The graph is whole at every such point. Returns `Break` if
    /// `progress` broke before `end` was reached.
    ///
    /// Needs [`BuildScratch`] anew for every call: who takes in few rows at a time inserts batches
    /// instead.
    ///
    /// # Panics
    /// As [`Graph::insert_batch`]; not if there is nothing to do.
    pub fn insert_until(
        &mut self,
        rows: &Rows<'_>,
        end: u32,
        exec: &Executor,
        progress: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        assert!(end <= ROWS_MAX, "a graph holds {ROWS_MAX} rows");
        let mut scratch = BuildScratch::new();
        while self.len() < end {
            let batch_end = end.min(self.len() + batch_changes(self.count()));
            let joins: Vec<u32> = (self.len()..batch_end).collect();
            self.insert_batch(rows, &joins, exec, &mut scratch);
            if progress(self.len()).is_break() && self.len() < end {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Links every row anew, in order of their numbers, [`BATCH_ROWS_MAX`] at a time: each to the
    /// best of what it links to and what a beam of `ef_construction` finds now in the whole graph.
    /// A row that came early gets links to what came after it; searches find more with the same
    /// beam. Which rows there are and on which layers they stand stays; any calibration is dropped.
    /// Calls `progress` with the number of rows that are done after each batch; where it breaks,
    /// the work ends early. The graph is whole at every such point.
    ///
    /// Equal graphs and rows give equal graphs, on any number of threads and any instruction set.
    /// Cost: a little more than building the graph took.
    ///
    /// # Panics
    /// If `rows` has other dimensions than the graph or lacks a row of it.
    pub fn relink(
        &mut self,
        rows: &Rows<'_>,
        exec: &Executor,
        progress: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.check_rows(rows);
        self.calibration = None;
        self.changed = Changed::all();
        self.settle();
        self.need_build_codes(rows, exec);
        let mut scratch = BuildScratch::new();
        let mut done = 0;
        // No row joins or leaves: the iterator keeps the rows that there are.
        let members = Arc::clone(&self.members);
        let mut left = members.iter();
        while done < self.count() {
            let anew: Vec<u32> = left.by_ref().take(BATCH_ROWS_MAX as usize).collect();
            self.relink_batch(rows, &anew, exec, &mut scratch);
            done = self.count().min(done + BATCH_ROWS_MAX);
            if progress(done).is_break() && done < self.count() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}
