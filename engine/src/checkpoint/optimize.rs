//! Optimizing: a better graph over the rows that are there, built beside the one in use.
//!
//! Every row is linked anew against the whole graph, in a copy of it; readers and commits never see
//! a half of that. The copy takes its place at one instant, and a checkpoint writes it: a crash
//! leaves the old graph or the new one, each of them whole.

use super::{CheckpointReport, OnProgress, Phase, Progress};
use crate::database::{Core, Database};
use crate::error::CheckpointError;
use crate::indexer::measure;
use gannet_hnsw::{CALIBRATION_ROWS_MIN, Graph};
use gannet_storage::Storage;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// The beam by whose recall graphs are compared. At narrow ones, rows of the graph as queries say
/// less of other queries.
const REPORT_EF: usize = 64;

/// What optimizing did.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct OptimizeReport {
    /// Rows that were linked anew.
    pub rows: u64,
    /// The new graph has taken the place of the old one. It has not where it was measured to find
    /// less, as may be among rows in tight clusters with few links each.
    pub is_replaced: bool,
    /// How long that took, and measuring what it was worth.
    pub time: Duration,
    /// The share of the true nearest 10 that a beam of 64 found before, at least; `None` in a small
    /// graph, which is not measured.
    pub recall_before: Option<f32>,
    /// The same, of the new graph.
    pub recall_after: Option<f32>,
    /// The checkpoint that was made at the end.
    pub checkpoint: CheckpointReport,
}

impl<S: Storage> Database<S> {
    /// Rebuilds the graph of a collection so that searches find more with the same beam: puts the
    /// rows that wait into it, chooses a code again where [`Params::code`](crate::Params::code)
    /// leaves that open, links every row anew to the best of the whole graph, measures what that
    /// was worth, takes the new graph if it finds no less, and makes a checkpoint. Reads and
    /// commits go on, on the graph as it was; rows that are committed meanwhile wait, as always.
    ///
    /// Takes a little longer than building the graph took, and the memory of a second one.
    ///
    /// `progress` is called now and then, in phases [`Index`](Phase::Index),
    /// [`Relink`](Phase::Relink), [`Calibrate`](Phase::Calibrate) and [`Write`](Phase::Write), and
    /// may break in the first three: then the graph is as before. What it must not do is said at
    /// [`checkpoint`](Self::checkpoint).
    ///
    /// # Errors
    /// [`CheckpointError`]; `UnknownCollection`. The checkpoint before stays in force.
    pub fn optimize(
        &self,
        collection: &str,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<OptimizeReport, CheckpointError> {
        let found = self.core.state.read().collection(collection).map(|found| found.now().id);
        let unknown = || CheckpointError::UnknownCollection { name: collection.to_owned() };
        self.core.optimize(found.ok_or_else(unknown)?, progress)
    }
}

impl<S: Storage> Core<S> {
    /// See [`Database::optimize`].
    pub(crate) fn optimize(
        &self,
        id: u32,
        progress: OnProgress<'_>,
    ) -> Result<OptimizeReport, CheckpointError> {
        let one = self.indexing.one.lock();
        let indexed_rows = self.index_with_one(progress)?;
        let began = self.clock.now();
        let Relinked { rows, is_replaced, recall_before, recall_after } =
            self.relink(id, progress)?;
        let time = self.clock.now().saturating_sub(began);
        drop(one);
        let _one = self.upkeep.lock();
        let checkpoint = self.checkpoint(progress, &|| Ok(()))?;
        Ok(OptimizeReport {
            rows,
            is_replaced,
            time,
            recall_before,
            recall_after,
            checkpoint: CheckpointReport { indexed_rows, ..checkpoint },
        })
    }
}

/// See [`OptimizeReport`].
#[derive(Default)]
struct Relinked {
    rows: u64,
    is_replaced: bool,
    recall_before: Option<f32>,
    recall_after: Option<f32>,
}

impl<S: Storage> Core<S> {
    /// Puts a better graph in the place of a collection's, if there is one. Called with
    /// `indexing.one` locked, so that nobody else changes the graph.
    fn relink(&self, id: u32, progress: OnProgress<'_>) -> Result<Relinked, CheckpointError> {
        let executor = self.workers.executor();
        let executor = executor.map_err(|error| CheckpointError::Threads(error.into()))?;
        // Rows that come meanwhile wait until this is over.
        let _paused = self.indexing.pause();
        let collection = {
            let state = self.state.read();
            Arc::clone(state.collection_by_id(id).expect("collections stay").now())
        };
        let old = collection.graph();
        let rows = u64::from(old.count());
        if rows == 0 {
            return Ok(Relinked::default());
        }
        let mut new = Graph::clone(old);
        let relinked = collection.make_of_rows(executor, |all| {
            let mut proceed = |done| progress(Progress { phase: Phase::Relink, done, total: rows });
            new.choose_code(all, executor, &mut || proceed(0))?;
            new.relink(all, executor, &mut |done| proceed(done.into()))
        })?;
        if relinked.is_break() {
            return Err(CheckpointError::Cancelled);
        }
        let mut report = Relinked { rows, is_replaced: true, ..Relinked::default() };
        if old.count() >= CALIBRATION_ROWS_MIN {
            let before = match old.calibration() {
                Some(found) if found.rows() == old.count() => found.clone(),
                // It was measured with other rows, which may be easier to find.
                _ => measure(old, &collection, executor, progress)?,
            };
            let after = measure(&new, &collection, executor, progress)?;
            report.recall_before = before.recall(REPORT_EF);
            report.recall_after = after.recall(REPORT_EF);
            report.is_replaced = report.recall_after >= report.recall_before;
            new.set_calibration(after);
        }
        drop(collection);
        if report.is_replaced {
            self.install(id, &mut new, 0);
            self.probes.lock().forget(id);
        }
        Ok(report)
    }
}
