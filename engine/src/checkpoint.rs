//! Checkpoints: the state in sealed files, published at one instant, and the log before it retired.
//!
//! Keeps the order that makes a crash at any point harmless: files written, the log's segment
//! ended, manifest written, all of them named, slot written, and only then anything removed. Files
//! that did not change since the checkpoint before are shared with it.

use crate::damage::Lsn;
use crate::database::{Core, Database, Writer};
use crate::error::CheckpointError;
use crate::log::segment;
use crate::manifest::Manifest;
use crate::root::{self, Slot};
use crate::sealed::{FileKind, Ident};
use gannet_hnsw::{BuildScratch, next_batch_end};
use gannet_storage::{FileName, Storage};
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

/// A part of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Rows are put into the graph.
    Index,
    /// Files are written.
    Write,
}

/// How far a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Rows or files done.
    pub done: u64,
    /// Rows or files in all.
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
    /// Files that nothing names any more and that could not be removed; the next checkpoint that
    /// writes tries again. `None` if the directory could not be listed.
    pub files_left: Option<u64>,
}

impl<S: Storage> Database<S> {
    /// Puts all rows that wait into the graphs, writes what has changed to sealed files, publishes
    /// that state, and removes what it and the checkpoint before it do not need. Commits wait;
    /// reads go on, but for the moment in which a batch of rows is linked. Does nothing where
    /// nothing has changed.
    ///
    /// `progress` is called now and then, must not commit, and may break while rows are being
    /// indexed: those done stay searchable through the graph, and no checkpoint is made.
    ///
    /// # Errors
    /// [`CheckpointError`]; the checkpoint before stays in force.
    pub fn checkpoint(
        &self,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<CheckpointReport, CheckpointError> {
        self.core.checkpoint(progress)
    }
}

impl<S: Storage> Core<S> {
    fn checkpoint(
        &self,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<CheckpointReport, CheckpointError> {
        let began = self.clock.now();
        let mut writer = self.exclusive();
        self.check_poison().map_err(|()| CheckpointError::Poisoned)?;
        let indexed_rows = self.index(progress)?;
        let lsn = writer.log.end().lsn;
        if !self.has_unsaved(&writer) {
            return Ok(CheckpointReport {
                lsn,
                indexed_rows,
                files_written: 0,
                files_left: Some(0),
            });
        }
        let first_number = writer.next_file;
        let written = self.write_files(&mut writer, progress);
        if written.is_err() && self.check_poison().is_ok() {
            // Nothing names them: a full disk should get its space back.
            remove_sealed(&self.storage, first_number..writer.next_file);
        }
        written?;
        self.metrics.checkpoint_ended(self.clock.now().saturating_sub(began));
        let files_written = writer.next_file - first_number;
        let files_left = writer.retire(&self.storage);
        self.metrics.checkpoint_pause(self.clock.now().saturating_sub(began));
        Ok(CheckpointReport { lsn, indexed_rows, files_written, files_left })
    }

    /// Inserts waiting rows into the graphs. Searches go on while a batch is planned.
    fn index(
        &self,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<u64, CheckpointError> {
        let waiting: Vec<_> = {
            let state = self.state.read();
            let waiting =
                |c: &crate::collection::Collection<_>| (c.id, c.row_count(), c.graph.len());
            state.collections().map(waiting).filter(|(_, rows, len)| len < rows).collect()
        };
        let total: u64 = waiting.iter().map(|(_, rows, len)| u64::from(rows - len)).sum();
        if total == 0 {
            return Ok(0);
        }
        let executor = self.workers.executor();
        let executor = executor.map_err(|error| CheckpointError::Threads(error.into()))?;
        let mut scratch = BuildScratch::new();
        let mut done = 0;
        for (id, rows, mut len) in waiting {
            while len < rows {
                let end = next_batch_end(len).min(rows);
                let plan = {
                    let state = self.state.read();
                    let collection = state.collection_by_id(id).expect("collections stay");
                    let graph = &collection.graph;
                    collection.with_rows(|all| graph.plan_batch(all, end, executor, &mut scratch))
                };
                let mut state = self.state.write();
                state.collection_mut(id).expect("collections stay").graph.apply_batch(plan);
                drop(state);
                done += u64::from(end - len);
                len = end;
                if progress(Progress { phase: Phase::Index, done, total }).is_break() {
                    return Err(CheckpointError::Cancelled);
                }
            }
        }
        Ok(total)
    }

    fn has_unsaved(&self, writer: &Writer<S>) -> bool {
        let state = self.state.read();
        writer.manifest.position.lsn != writer.log.end().lsn
            || state.collections().any(crate::collection::Collection::has_unsaved)
            || state.keyspaces().any(crate::keyspace::Keyspace::has_unsaved)
    }

    /// Writes changed files and the manifest, and publishes it.
    fn write_files(
        &self,
        writer: &mut Writer<S>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), CheckpointError> {
        let storage = &self.storage;
        let position = writer.log.end();
        let (database, lsn) = (writer.database, position.lsn);
        let ident = |kind, number| Ident { kind, database, number, lsn };
        let next_file = &mut writer.next_file;
        let mut next_number = || {
            *next_file += 1;
            *next_file - 1
        };
        let state = self.state.read();
        let total = (state.collections().count() + state.keyspaces().count()) as u64;
        let mut done = 0;
        let mut step = || {
            done += 1;
            // Breaking is for indexing; files are written to the end.
            let _ = progress(Progress { phase: Phase::Write, done, total });
        };
        let mut collections = Vec::new();
        for collection in state.collections() {
            collections.push(collection.save(storage, ident, &mut next_number)?);
            step();
        }
        let mut tables = Vec::new();
        for keyspace in state.keyspaces() {
            tables.push(keyspace.save(storage, ident, &mut next_number)?);
            step();
        }
        // From here on a new segment is written to: what the manifest says of the log stays true
        // whether or not it is published.
        writer.log.rotate(storage).inspect_err(|_| self.poison())?;
        let position = writer.log.end();
        let manifest = Manifest {
            position,
            log_first: writer.log.next_number(),
            next_collection: state.next_collection,
            next_keyspace: state.next_keyspace,
            collections: state.collections().zip(&collections).map(|(c, s)| c.entry(s)).collect(),
            keyspaces: state.keyspaces().zip(&tables).map(|(k, table)| k.entry(*table)).collect(),
        };
        drop(state);
        let file = manifest.write(storage, database, next_number())?;
        // After a failed sync of the directory nobody knows which names are durable.
        storage.sync_dir().inspect_err(|_| self.poison())?;
        let root = root::open(storage)?;
        let slot = Slot { database, generation: writer.generation + 1, manifest: Some(file) };
        let index = 1 - writer.slot.expect("the first commit made the root");
        root::write(storage, &root, index, &slot).inspect_err(|_| {
            // The slot may be old, new or torn: only a reopen can tell which checkpoint is in
            // force.
            self.poison();
        })?;
        drop(root);
        writer.published(index, slot, manifest);
        let mut state = self.state.write();
        for (collection, saved) in state.collections_mut().zip(collections) {
            collection.saved = saved;
        }
        for (keyspace, table) in state.keyspaces_mut().zip(tables) {
            keyspace.set_saved(table);
        }
        Ok(())
    }
}

/// Removes files that were written and never named, as far as that is possible.
fn remove_sealed<S: Storage>(storage: &S, numbers: Range<u64>) {
    for meta in storage.list().unwrap_or_default() {
        let unnamed = FileKind::of_name(&meta.name).filter(|(_, number)| numbers.contains(number));
        if unnamed.is_some() {
            // What stays is removed by the next checkpoint.
            let _ = storage.remove(&meta.name);
        }
    }
}

impl<S: Storage> Writer<S> {
    /// The slot is durable: this checkpoint is in force.
    fn published(&mut self, index: usize, slot: Slot, manifest: Manifest) {
        self.slot = Some(index);
        self.generation = slot.generation;
        let number = slot.manifest.map(|file| file.number);
        self.older = Some((std::mem::replace(&mut self.manifest, manifest), self.manifest_number));
        self.manifest_number = number;
    }

    /// Removes what neither this checkpoint nor the one before it names, nor a backup copies. What
    /// is in use or cannot be removed is left for the next time: the checkpoint stands without it.
    /// Returns how many, if the directory can be listed.
    fn retire(&mut self, storage: &S) -> Option<u64> {
        let Some((older, older_number)) = &self.older else { return Some(0) };
        let manifests = [older_number, &self.manifest_number].into_iter().flatten();
        let mut keep: BTreeSet<(FileKind, u64)> =
            manifests.map(|&number| (FileKind::Manifest, number)).collect();
        for manifest in [older, &self.manifest] {
            keep.extend(manifest.files().map(|(kind, file)| (kind, file.number)));
        }
        let log_first = self.pins.keep(&mut keep).unwrap_or(u64::MAX).min(older.log_first);
        let is_needed = |name: &FileName| match (FileKind::of_name(name), segment::number_of(name))
        {
            (Some(file), _) => keep.contains(&file),
            (None, Some(number)) => number >= log_first,
            // Not ours to remove, but for what a crash left of the root.
            (None, None) => name.as_str() != root::TEMP_FILE,
        };
        let listed = storage.list().ok()?;
        let unneeded = listed.iter().filter(|meta| !is_needed(&meta.name));
        let left = unneeded.filter(|meta| storage.remove(&meta.name).is_err()).count();
        Some(left as u64)
    }
}
