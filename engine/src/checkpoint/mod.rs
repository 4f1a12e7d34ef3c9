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
pub(crate) use files::{FileNumbers, NewFiles, read_back};
pub(crate) use frozen::Frozen;
pub use optimize::OptimizeReport;

use crate::collection::Merge;
use crate::damage::Lsn;
use crate::database::{Core, Database};
use crate::error::CheckpointError;
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
    /// Rows that were put into graphs, and rows that were taken out.
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
    /// Has the graphs learn of all rows that came and went, measures for
    /// [`Ef::Auto`](crate::Ef::Auto) those that never were or have grown by a quarter since, writes
    /// what has changed to sealed files, publishes that state, and removes what it and the
    /// checkpoint before it do not need. A collection of which a third is dead rows is written anew
    /// without them. Reads and commits go on; commits wait while the log changes to a new segment
    /// ([`pause`](CheckpointReport::pause)). Does nothing where nothing has changed.
    ///
    /// What is committed meanwhile may or may not be in the checkpoint. One is made at a time:
    /// others wait. Memory beyond that of the state: 1 MiB, what changes of the graphs while they
    /// learn, the changes of keys that are made meanwhile, a second time, and what is live of a
    /// collection that is written anew.
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
        let indexed_rows = self.core.index(progress)?;
        let _one = self.core.upkeep.lock();
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
        let is_due = self.state.read().collections().any(|found| found.is_to_merge(Merge::Much));
        // Where a graph is being changed for long, the next checkpoint merges.
        let one = if is_due { self.indexing.hold() } else { None };
        let merge = if one.is_some() { Merge::Much } else { Merge::None };
        self.checkpoint_merging(merge, progress, go_on)
    }

    /// As [`checkpoint`](Self::checkpoint). Where anything may be merged `indexing.one` is locked.
    fn checkpoint_merging(
        &self,
        merge: Merge,
        progress: OnProgress<'_>,
        go_on: &dyn Fn() -> Result<(), CheckpointError>,
    ) -> Result<CheckpointReport, CheckpointError> {
        self.check_poison().map_err(|()| CheckpointError::Poisoned)?;
        // Who inserts does not wait for a graph that has to stay as it is.
        let _paused = (merge != Merge::None).then(|| self.indexing.pause());
        let began = self.clock.now();
        let Some(mut frozen) = self.freeze(merge)? else {
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
        frozen.merge()?;
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
}
