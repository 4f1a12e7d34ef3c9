//! Taking rows into the graph, in batches that many threads plan and one applies.
//!
//! A batch is planned against the graph as it stands, which readers may search meanwhile; every row
//! of the batch also sees the batch's earlier rows, as if they had been taken in one by one. What
//! is planned depends on the graph and the rows alone, so any number of threads gives the same
//! bytes. Storing a plan computes nothing. The idea is that of `ParlayANN` (Manohar et al., 2024).

mod again;
mod back_links;
mod chooser;
pub(crate) mod codes;
mod scratch;
mod sight;

use std::fmt;
use std::ops::{ControlFlow, Range};

use crate::code::Code;
use crate::executor::Executor;
use crate::graph::Graph;
use crate::memory::Table;
use crate::params::ROWS_MAX;
use crate::rows::Rows;
use codes::NewCodes;

pub use scratch::BuildScratch;

/// Most rows of one batch.
pub const BATCH_ROWS_MAX: u32 = 1024;

/// Where the batch that begins at row `len` ends: `len + clamp(len / 50, 1, 1024)`.
///
/// `ParlayANN` caps a batch at 2 % of the rows, so that what its rows do not see of each other
/// stays small; the absolute cap bounds the memory of a plan and the time a batch takes.
#[must_use]
pub fn next_batch_end(len: u32) -> u32 {
    len + (len / 50).clamp(1, BATCH_ROWS_MAX)
}

/// The lists that a batch of rows adds and changes. Made by [`Graph::plan_batch`], stored by
/// [`Graph::apply_batch`]. A few megabytes at most: bounded by the batch, not by the graph.
#[derive(Clone)]
pub struct BatchPlan {
    start: u32,
    end: u32,
    /// Where a code was chosen, what the graph turns to before it takes them in: that, and the
    /// codes of the rows that are there.
    chosen: Option<(Code, Table<i8>)>,
    codes: NewCodes,
    /// Lists to replace, in this order.
    lists: Vec<PlannedList>,
}

impl BatchPlan {
    /// The number of rows in the graph once the plan is applied.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Bytes it holds on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let links = self.lists.iter().map(|list| size_of_val(&*list.links)).sum::<usize>();
        let chosen = self.chosen.as_ref().map_or(0, |(_, codes)| codes.memory_bytes());
        let lists = self.lists.capacity() * size_of::<PlannedList>();
        links + lists + self.codes.memory_bytes() + chosen
    }
}

impl fmt::Debug for BatchPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end, lists, .. } = self;
        write!(f, "BatchPlan {{ rows: {start}..{end}, lists: {} }}", lists.len())
    }
}

#[derive(Clone)]
struct PlannedList {
    row: u32,
    layer: u8,
    links: Box<[u32]>,
}

impl Graph {
    /// Plans to take in rows `self.len()..end`. Reads the graph only.
    ///
    /// The rows must be finite, of unit length for cosine, and stay as they are from now on.
    ///
    /// # Panics
    /// If `end` is not after the graph's last row, more than [`BATCH_ROWS_MAX`] rows after it, or
    /// after the last of `rows`, or if `rows` has other dimensions.
    #[must_use]
    pub fn plan_batch(
        &self,
        rows: &Rows<'_>,
        end: u32,
        exec: &Executor,
        scratch: &mut BuildScratch,
    ) -> BatchPlan {
        self.check_rows(rows);
        let start = self.len();
        assert!(start < end && end <= rows.len(), "a batch {start}..{end} of {}", rows.len());
        assert!(end - start <= BATCH_ROWS_MAX, "a batch of {} rows", end - start);
        let chosen = self.with_code_if_due(rows, exec);
        let graph = chosen.as_ref().unwrap_or(self);
        let codes = codes::plan(graph, rows, end, exec);
        let sights = sight::plan(graph, rows, &codes, end, exec, scratch);
        let lists = back_links::plan(graph, rows, &codes, &sights, exec);
        let chosen = chosen.map(|graph| (graph.code, graph.codes));
        BatchPlan { start, end, chosen, codes, lists }
    }

    /// Plans to link rows `range`, which are in the graph, anew: each to the best of what it links
    /// to and what a beam of `ef_construction` finds now in the whole graph. Reads the graph only.
    ///
    /// # Panics
    /// If the range is empty, has more than [`BATCH_ROWS_MAX`] rows, or ends after the graph's
    /// last; or if `rows` has other dimensions than the graph or lacks a row of it.
    #[must_use]
    pub fn plan_relink(
        &self,
        rows: &Rows<'_>,
        range: Range<u32>,
        exec: &Executor,
        scratch: &mut BuildScratch,
    ) -> BatchPlan {
        self.check_rows(rows);
        let (count, len) = (range.len(), self.len());
        assert!(count > 0 && range.end <= len, "rows {range:?} of a graph of {len}");
        assert!(count <= BATCH_ROWS_MAX as usize, "a batch of {count} rows");
        let codes = codes::plan(self, rows, len, exec);
        let sights = again::plan(self, rows, &codes, range, exec, scratch);
        let lists = back_links::plan(self, rows, &codes, &sights, exec);
        BatchPlan { start: len, end: len, chosen: None, codes, lists }
    }

    /// Takes in the rows of `plan`, or their new links. Copies lists and codes, computes no
    /// distances: short.
    ///
    /// # Panics
    /// If the plan was made for another number of rows than the graph has.
    pub fn apply_batch(&mut self, plan: BatchPlan) {
        assert_eq!(self.len(), plan.start, "a plan for a graph of another length");
        for _ in plan.start..plan.end {
            self.push_row();
        }
        if let Some((code, codes)) = plan.chosen {
            self.turn_to(code, codes);
        }
        self.codes.extend_from_slice(&plan.codes.walk);
        self.build_codes.extend_from_slice(&plan.codes.build);
        for list in plan.lists {
            self.set_links(list.row, list.layer, &list.links);
        }
    }

    /// Takes in rows `self.len()..end`, batch by batch, each ending where [`next_batch_end`] says,
    /// the last at `end`. Calls `progress` with the number of rows in the graph after each batch;
    /// where it breaks, the work ends early. The graph is whole at every such point. Returns
    /// `Break` if `progress` broke before `end` was reached.
    ///
    /// Needs [`BuildScratch`] anew for every call: who takes in few rows at a time plans and
    /// applies batches instead.
    ///
    /// # Panics
    /// As [`Graph::plan_batch`]; not if there is nothing to do.
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
            let batch_end = next_batch_end(self.len()).min(end);
            let plan = self.plan_batch(rows, batch_end, exec, &mut scratch);
            self.apply_batch(plan);
            if progress(self.len()).is_break() && self.len() < end {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Links every row anew, in order of their numbers, [`BATCH_ROWS_MAX`] at a time: see
    /// [`Graph::plan_relink`]. A row that came early gets links to what came after it; searches
    /// find more with the same beam. Which rows there are and on which layers they stand stays; any
    /// calibration is dropped. Calls `progress` with the number of rows that are done after each
    /// batch; where it breaks, the work ends early. The graph is whole at every such point.
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
        self.calibration = None;
        let mut scratch = BuildScratch::new();
        let mut done = 0;
        while done < self.len() {
            let end = (done + BATCH_ROWS_MAX).min(self.len());
            let plan = self.plan_relink(rows, done..end, exec, &mut scratch);
            self.apply_batch(plan);
            done = end;
            if progress(done).is_break() && done < self.len() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}
