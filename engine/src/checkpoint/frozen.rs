//! The state at one moment, while it is written.
//!
//! Keeps what the state gave away to be written, and gives it back however the checkpoint ends: a
//! failure, also a panic, leaves the state and the schedule as if none had been begun, and removes
//! the files.

use super::files::{NewFiles, WrittenFiles};
use super::publish::remove_sealed;
use super::schedule::SinceCheckpoint;
use super::{CheckpointReport, OnProgress, Phase, Progress};
use crate::collection::{FrozenCollection, LiveCollection, Merge, SavedCollection};
use crate::commit::exclusive::Exclusive;
use crate::damage::Lsn;
use crate::database::{Core, ViewOf};
use crate::error::{CheckpointError, CommitError};
use crate::log::LogPosition;
use crate::manifest::{KeyspaceEntry, Manifest};
use crate::sealed::FileRef;
use crate::sync::MutexGuard;
use crate::tree::{Flushing, Keyspaces, Merging, TableEntry};
use gannet_storage::Storage;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// See the module's documentation.
pub(crate) struct Frozen<'c, S: Storage> {
    pub(super) core: &'c Core<S>,
    /// The end of the log, where the next segment begins.
    position: LogPosition,
    log_first: u64,
    next_collection: u32,
    collections: Vec<FrozenCollection<ViewOf<S>>>,
    keyspaces: Arc<Keyspaces>,
    keys: FrozenKeys<'c>,
    database: [u8; 16],
    /// Those of tables are the tree's.
    files: WrittenFiles,
    /// How many tables there are among them, and their length.
    tables: (u64, u64),
    pause: Duration,
    /// What the schedule said before.
    since: SinceCheckpoint,
    pub(super) is_published: bool,
    was_panicking: bool,
}

/// The keys of a checkpoint.
enum FrozenKeys<'c> {
    /// Those of memtables that are to be tables; no other is made one meanwhile. Where all tables
    /// are to be merged, nobody else merges any.
    Memtables(MutexGuard<'c, Flushing>, Option<MutexGuard<'c, Merging>>),
    /// They are in these tables, by level.
    Written(Vec<Vec<TableEntry>>),
    /// Of a database in memory they are held at the record, to be written elsewhere.
    Held,
}

/// The files of a checkpoint, all but published.
pub(super) struct Unpublished {
    pub(super) manifest: Manifest,
    pub(super) file: FileRef,
}

impl<S: Storage> Core<S> {
    /// Ends the log's segment and takes hold of the state there; `None` if a checkpoint would say
    /// what the one in force says, and there is nothing to merge.
    pub(super) fn freeze(&self, merge: Merge) -> Result<Option<Frozen<'_, S>>, CheckpointError> {
        if self.is_in_memory() {
            return Ok(None);
        }
        // What is buffered is made durable, and a segment made, while commits go on, so that little
        // is left for the pause.
        self.sync(&mut self.queue.lock()).map_err(of_log)?;
        if self.queue.lock().writer.log.next_is_long() {
            self.prepare_segment(true).map_err(of_log)?;
        }
        // In this order: neither waits for commits.
        let merging = (merge == Merge::All).then(|| self.tree.merging.lock());
        let keys = FrozenKeys::Memtables(self.tree.flushing.lock(), merging);
        let begin = self.clock.now();
        let mut writer = self.exclusive();
        self.check_poison().map_err(|()| CheckpointError::Poisoned)?;
        let is_unsaved = {
            let state = self.state.read();
            writer.manifest.position.lsn != writer.log.end().lsn
                || state.collections().any(LiveCollection::has_unsaved)
                || writer.manifest.tables != self.tree.layers().levels.entries()
                || merge == Merge::All
                    && self.tree.layers().levels.is_to_merge(&self.tree.keyspaces())
                || state.collections().any(|collection| collection.is_to_write_anew(merge))
        };
        if !is_unsaved {
            // Nor is one due before something is logged.
            writer.skip_checkpoint();
            return Ok(None);
        }
        // From here on a new segment is written to: what the manifest says of the log stays true
        // whether or not it is published.
        if let Err(error) = writer.log.rotate(&self.storage) {
            let error = writer.fail(error);
            return Err(CheckpointError::Storage(error));
        }
        Ok(Some(Frozen::take(self, &mut writer, keys, begin, Some(merge))))
    }
}

impl<'c, S: Storage> Frozen<'c, S> {
    /// All of a database in memory, to be written as if there had been no checkpoint.
    pub(crate) fn of_all(core: &'c Core<S>) -> Self {
        let begin = core.clock.now();
        Self::take(core, &mut core.exclusive(), FrozenKeys::Held, begin, None)
    }

    /// Takes hold of what no checkpoint has, or of what is to be merged; where nothing is said of
    /// that, of all. Commits wait since `begin`.
    fn take(
        core: &'c Core<S>,
        writer: &mut Exclusive<'_, S>,
        keys: FrozenKeys<'c>,
        begin: Duration,
        merge: Option<Merge>,
    ) -> Self {
        let since = writer.begin_checkpoint();
        if let FrozenKeys::Held = keys {
            let held = core.tree.snapshots.hold();
            debug_assert_eq!(held, writer.log.end().lsn);
        } else {
            core.tree.freeze();
        }
        let mut state = core.state.write();
        let freeze = |live: &mut LiveCollection<ViewOf<S>>| match merge {
            Some(merge) => live.freeze(live.saved.clone(), merge),
            None => live.freeze(SavedCollection::default(), Merge::None),
        };
        Self {
            core,
            position: LogPosition {
                lsn: writer.log.end().lsn + u64::from(mutant!("checkpoint-ahead-of-log")),
                ..writer.log.end()
            },
            log_first: writer.log.next_number(),
            next_collection: state.next_collection,
            collections: state.collections_mut().map(freeze).collect(),
            keyspaces: core.tree.keyspaces_full(),
            keys,
            database: writer.database,
            files: WrittenFiles::default(),
            tables: (0, 0),
            pause: core.clock.now().saturating_sub(begin),
            since,
            is_published: false,
            was_panicking: std::thread::panicking(),
        }
    }

    /// Leaves out rows that nobody needs, where that was to be done.
    ///
    /// # Errors
    /// `Corrupt`: there is no checkpoint then.
    pub(super) fn merge(&mut self) -> Result<(), CheckpointError> {
        let executor = self.core.executor();
        self.collections.iter_mut().try_for_each(|collection| Ok(collection.merge(executor)?))
    }

    /// Writes files and manifest to another storage; also how many files, and their length in
    /// bytes.
    ///
    /// # Errors
    /// As [`NewFiles`].
    pub(crate) fn write_to<T: Storage>(
        &mut self,
        to: &T,
    ) -> Result<(Manifest, FileRef, (u64, u64)), CheckpointError> {
        let Unpublished { manifest, file } =
            self.write(to, &mut |_| ControlFlow::Continue(()), &|| Ok(()))?;
        let report = self.report();
        Ok((manifest, file, (report.files_written, report.bytes_written)))
    }

    /// Writes changed files and the manifest. After a failure it can be called again.
    pub(super) fn write<T: Storage>(
        &mut self,
        to: &T,
        progress: OnProgress<'_>,
        go_on: &dyn Fn() -> Result<(), CheckpointError>,
    ) -> Result<Unpublished, CheckpointError> {
        let total = 1 + self.collections.len() as u64;
        let mut done = 0;
        let mut step = || {
            done += 1;
            // Breaking is for indexing; files are written to the end.
            let _ = progress(Progress { phase: Phase::Write, done, total });
        };
        let tables = self.write_keys(to, go_on)?;
        step();
        let mut files = NewFiles {
            storage: to,
            database: self.database,
            lsn: self.position.lsn,
            numbers: &self.core.file_numbers,
            written: &mut self.files,
            // A copy is read when it is restored.
            reads_back: self.core.reads_back && !self.core.is_in_memory(),
            go_on,
        };
        for collection in &mut self.collections {
            collection.write(&mut files)?;
            step();
        }
        let keyspace = |(id, name): (u32, &str)| KeyspaceEntry { id, name: name.to_owned() };
        let manifest = Manifest {
            position: self.position,
            log_first: self.log_first,
            next_collection: self.next_collection,
            next_keyspace: self.keyspaces.next,
            collections: self.collections.iter().map(FrozenCollection::entry).collect(),
            keyspaces: self.keyspaces.iter().map(keyspace).collect(),
            tables,
        };
        let file = files.write_manifest(&manifest)?;
        Ok(Unpublished { manifest, file })
    }

    /// Makes tables of keys that are in none. All tables, by level.
    fn write_keys<T: Storage>(
        &mut self,
        to: &T,
        go_on: &dyn Fn() -> Result<(), CheckpointError>,
    ) -> Result<Vec<Vec<TableEntry>>, CheckpointError> {
        let core = self.core;
        let (written, tables) = match &mut self.keys {
            FrozenKeys::Written(tables) => return Ok(tables.clone()),
            FrozenKeys::Held => {
                let tables = core.export_keys(to, self.position.lsn)?;
                (tables.clone(), vec![Vec::new(), tables])
            }
            FrozenKeys::Memtables(flushing, merging) => {
                let upto = self.position.lsn;
                let mut written = core.flush(flushing, upto, go_on)?.unwrap_or_default();
                let layers = core.tree.layers_full();
                let tables = match merging {
                    Some(merging) if layers.levels.is_to_merge(&self.keyspaces) => {
                        let (levels, merged) = core.merge_all(merging, &layers.levels)?;
                        written.extend(merged);
                        levels.entries()
                    }
                    _ => layers.levels.entries(),
                };
                (written, tables)
            }
        };
        self.tables.0 += written.len() as u64;
        self.tables.1 += written.iter().map(|table| table.file.len_bytes).sum::<u64>();
        // Memtables of later records may become tables from here on.
        self.keys = FrozenKeys::Written(tables.clone());
        Ok(tables)
    }

    /// What was done, before it is published.
    pub(super) fn report(&self) -> CheckpointReport {
        CheckpointReport {
            lsn: self.position.lsn,
            indexed_rows: 0,
            files_written: self.files.begun.len() as u64 + self.tables.0,
            bytes_written: self.files.len_bytes + self.tables.1,
            pause: self.pause,
            files_left: None,
        }
    }

    /// Makes ready for a second try on a full disk: what was begun and not finished is removed, and
    /// what was merged, and what is left of the space is the checkpoint's own.
    pub(super) fn begin_again(&mut self) {
        self.core.queue.lock().schedule.note_short_of_space();
        let unfinished = self.files.begun.split_off(self.files.finished);
        remove_sealed(&self.core.storage, &unfinished);
        let unmerged = self.collections.iter_mut().flat_map(FrozenCollection::unmerge);
        remove_sealed(&self.core.storage, &unmerged.collect::<Vec<_>>());
    }

    pub(crate) fn database(&self) -> [u8; 16] {
        self.database
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.position.lsn
    }
}

/// What work on the log says, with its cause.
fn of_log(error: CommitError) -> CheckpointError {
    if let CommitError::Unknown(error) = error {
        CheckpointError::Storage(error)
    } else {
        CheckpointError::Poisoned
    }
}

impl<S: Storage> Drop for Frozen<'_, S> {
    fn drop(&mut self) {
        let core = self.core;
        if core.is_in_memory() {
            core.tree.snapshots.release(self.position.lsn);
        }
        if std::thread::panicking() && !self.was_panicking {
            // The root may say this or that.
            core.end_by_panic(&mut core.queue.lock());
        }
        if !self.is_published && !core.is_in_memory() && core.check_poison().is_ok() {
            // Nothing names them: a full disk should get its space back.
            remove_sealed(&core.storage, &self.files.begun);
        }
        let mut queue = core.queue.lock();
        queue.schedule.end();
        if self.is_published {
            queue.checkpoint_failure = None;
        } else {
            queue.schedule.restore(self.since);
        }
        drop(queue);
        let mut state = core.state.write();
        let mut replaced = Vec::new();
        for frozen in self.collections.drain(..) {
            if self.is_published
                && let Some(collection) = state.collection_mut(frozen.id())
            {
                replaced.push(collection.take_saved(frozen));
            }
        }
        drop(state);
        drop(replaced);
        core.changed.notify_all();
    }
}
