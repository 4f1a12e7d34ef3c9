//! Checkpoints: the state in sealed files, published at one instant, and the log before it retired.
//!
//! Keeps the order that makes a crash at any point harmless: the log's segment ended and the state
//! frozen, files written while commits go on, manifest written, all of them named, slot written,
//! and only then anything removed. Files that did not change since the checkpoint before are shared
//! with it. `frozen` is the state that is written, `files` what it is written to, `publish` the end
//! of it, `reserve` the space for it, `schedule` when one is made that nobody asked for.

mod compact;
mod files;
mod frozen;
mod optimize;
mod publish;
pub(crate) mod reserve;
pub(crate) mod schedule;

pub use compact::CompactReport;
pub(crate) use files::NewFiles;
pub(crate) use frozen::Frozen;
pub use optimize::OptimizeReport;

use crate::collection::Planner;
use crate::damage::Lsn;
use crate::database::{Core, Database, ViewOf};
use crate::error::CheckpointError;
use gannet_hnsw::{BuildScratch, Calibration, Executor, Graph, next_batch_end};
use gannet_storage::{ErrorKind, Storage};
use std::ops::ControlFlow;
use std::time::Duration;

/// A part of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Rows are put into the graph.
    Index,
    /// Rows are linked anew, by [`Database::optimize`].
    Relink,
    /// It is measured how wide beams must be for what recall: a step a beam.
    Calibrate,
    /// Files are written.
    Write,
}

/// How far a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Rows, beams or files done.
    pub done: u64,
    /// Rows, beams or files in all; of beams 0, as how many it takes shows at the end.
    pub total: u64,
}

/// What a checkpoint did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// Everything up to this record is in sealed files.
    pub lsn: Lsn,
    /// Rows put into graphs.
    pub indexed_rows: u64,
    /// Files written, the manifest included; 0 if there was nothing to write.
    pub files_written: u64,
    /// Length of the files written, in bytes.
    pub bytes_written: u64,
    /// How long no commit could begin.
    pub pause: Duration,
    /// Files that nothing names any more and that could not be removed; the next checkpoint that
    /// writes tries again. `None` if the directory could not be listed.
    pub files_left: Option<u64>,
}

/// Whom a checkpoint asks how to go on.
pub(crate) type OnProgress<'p> = &'p mut dyn FnMut(Progress) -> ControlFlow<()>;

impl<S: Storage> Database<S> {
    /// Puts all rows that wait into the graphs, measures for [`Ef::Auto`](crate::Ef::Auto) those
    /// that never were or have grown by a quarter since, writes what has changed to sealed files,
    /// publishes that state, and removes what it and the checkpoint before it do not need. Reads
    /// and commits go on; commits wait while the log changes to a new segment
    /// ([`pause`](CheckpointReport::pause)), and for a moment whenever a batch of rows is linked.
    /// Does nothing where nothing has changed.
    ///
    /// What is committed meanwhile may or may not be in the checkpoint. One is made at a time:
    /// others wait. Memory beyond that of the state: 1 MiB, the rows that are being linked, and the
    /// changes of keys that are made meanwhile, a second time.
    ///
    /// `progress` is called now and then and may break while rows are being indexed and graphs
    /// measured: those done stay searchable through the graph, and this checkpoint is not made. It
    /// must not wait for commits, or call what works on files: that may wait for the checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`]; the checkpoint before stays in force.
    pub fn checkpoint(
        &self,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<CheckpointReport, CheckpointError> {
        let _one = self.core.upkeep.lock();
        let indexed_rows = self.core.index(progress)?;
        let report = self.core.checkpoint(progress, &|| Ok(()))?;
        Ok(CheckpointReport { indexed_rows, ..report })
    }
}

impl<S: Storage> Core<S> {
    /// A checkpoint without indexing. Called with `upkeep` locked; `go_on` may end it.
    pub(crate) fn checkpoint(
        &self,
        progress: OnProgress<'_>,
        go_on: &dyn Fn() -> Result<(), CheckpointError>,
    ) -> Result<CheckpointReport, CheckpointError> {
        self.check_poison().map_err(|()| CheckpointError::Poisoned)?;
        let began = self.clock.now();
        let Some(mut frozen) = self.freeze()? else {
            let lsn = self.queue.lock().writer.log.end().lsn;
            return Ok(CheckpointReport {
                lsn,
                indexed_rows: 0,
                files_written: 0,
                bytes_written: 0,
                pause: Duration::ZERO,
                files_left: Some(0),
            });
        };
        let mut written = frozen.write(&self.storage, progress, go_on);
        if let Err(CheckpointError::Storage(error)) = &written
            && error.kind() == ErrorKind::NoSpace
            && self.reserve_for(&mut frozen)
        {
            // Commits may wait for this one now, so nobody is called who might make one.
            let in_silence: OnProgress<'_> = &mut |_| ControlFlow::Continue(());
            written = frozen.write(&self.storage, in_silence, go_on);
        }
        let manifest = written?;
        let report = frozen.publish(manifest)?;
        self.metrics.checkpoint_pause(report.pause);
        self.metrics.checkpoint_ended(self.clock.now().saturating_sub(began));
        Ok(report)
    }

    /// Gives a checkpoint that met a full disk the reserve; whether there was any.
    fn reserve_for(&self, frozen: &mut Frozen<'_, S>) -> bool {
        frozen.begin_again();
        self.release_reserve()
    }

    /// Inserts waiting rows into the graphs. Searches and commits go on while a batch is planned.
    /// Called with `upkeep` locked.
    pub(crate) fn index(&self, progress: OnProgress<'_>) -> Result<u64, CheckpointError> {
        self.check_poison().map_err(|()| CheckpointError::Poisoned)?;
        let waiting: Vec<_> = {
            let state = self.state.read();
            let waiting =
                |c: &crate::collection::Collection<_>| (c.id, c.row_count(), c.graph().len());
            state.collections().map(waiting).filter(|(_, rows, len)| len < rows).collect()
        };
        let total: u64 = waiting.iter().map(|(_, rows, len)| u64::from(rows - len)).sum();
        if total == 0 {
            self.calibrate(progress)?;
            return Ok(0);
        }
        let executor = self.workers.executor();
        let executor = executor.map_err(|error| CheckpointError::Threads(error.into()))?;
        let mut scratch = BuildScratch::new();
        let mut done = 0;
        for (id, rows, mut len) in waiting {
            while len < rows {
                let end = next_batch_end(len).min(rows);
                let planner = {
                    let state = self.state.read();
                    state.collection_by_id(id).expect("collections stay").planner()
                };
                let plan = planner.plan(end, executor, &mut scratch);
                drop(planner);
                let mut state = self.state.write();
                state.collection_mut(id).expect("collections stay").link(plan);
                drop(state);
                done += u64::from(end - len);
                len = end;
                if progress(Progress { phase: Phase::Index, done, total }).is_break() {
                    return Err(CheckpointError::Cancelled);
                }
                self.checkpoint_if_due();
            }
        }
        self.calibrate(progress)?;
        Ok(total)
    }

    /// Measures graphs that never were, or have grown by a quarter since. Searches and commits go
    /// on. Called with `upkeep` locked.
    fn calibrate(&self, progress: OnProgress<'_>) -> Result<(), CheckpointError> {
        let wanting: Vec<u32> = {
            let state = self.state.read();
            state.collections().filter(|c| c.graph().wants_calibration()).map(|c| c.id).collect()
        };
        if wanting.is_empty() {
            return Ok(());
        }
        let executor = self.workers.executor();
        let executor = executor.map_err(|error| CheckpointError::Threads(error.into()))?;
        for id in wanting {
            let planner = {
                let state = self.state.read();
                state.collection_by_id(id).expect("collections stay").planner()
            };
            let measured = self.measure(planner.graph(), &planner, executor, progress)?;
            drop(planner);
            let mut state = self.state.write();
            state.collection_mut(id).expect("collections stay").set_calibration(measured);
        }
        Ok(())
    }

    /// Measures a graph over the rows of `planner`. Called with `upkeep` locked.
    fn measure(
        &self,
        graph: &Graph,
        planner: &Planner<ViewOf<S>>,
        executor: &Executor,
        progress: OnProgress<'_>,
    ) -> Result<Calibration, CheckpointError> {
        let mut done = 0;
        let mut proceed = || {
            done += 1;
            self.checkpoint_if_due();
            progress(Progress { phase: Phase::Calibrate, done, total: 0 })
        };
        let measured = planner.with_rows(|rows| graph.calibrate(rows, executor, &mut proceed));
        measured.continue_value().ok_or(CheckpointError::Cancelled)
    }
}
