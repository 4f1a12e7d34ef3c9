//! What of a collection a checkpoint writes, while the collection goes on changing
//! (`docs/FORMAT.md`, chapters Rows file, Dead file, Graph file, Patch file).

use super::changes::Changes;
use super::files::{CHANGES, DEAD, GRAPH, IDS, NORMS, NUMBERS, PATCH, ROWS, SavedCollection};
use super::merge::Merged;
use super::numbers::Numbers;
use super::{Collection, LiveCollection, Merge};
use crate::checkpoint::NewFiles;
use crate::error::CheckpointError;
use crate::manifest::{CollectionEntry, RowsEntry};
use crate::record::encode_id;
use crate::sealed::{FileKind, FileRef};
use gannet_hnsw::{Changed, Patch};
use gannet_storage::Storage;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Norms and ids are encoded for so many rows at a time.
const STEP_ROWS: u32 = 4 << 10;
/// Rows are written so many bytes at a time.
const STEP_LEN_BYTES: usize = 1 << 20;

/// The patches of a graph are no longer, together, than its image divided by this: what they save
/// in writing is not lost again in space and at the opening.
const PATCH_SHARE: u64 = 4;
/// Nor are they more files than this.
const PATCHES_MAX: usize = 64;

/// See the module's documentation.
pub(crate) struct FrozenCollection<V> {
    pub(super) collection: Arc<Collection<V>>,
    pub(super) numbers: Numbers,
    pub(super) changes: Changes,
    pub(super) graph_version: u64,
    /// What has changed in the graph since it was as it is in files.
    pub(super) unsaved: Changed,
    /// No patch is to be left.
    pub(super) is_to_fold: bool,
    pub(super) is_to_merge: bool,
    /// Of a collection that was merged.
    pub(super) merged: Option<Merged<V>>,
    /// The files: those of before, then those that were written.
    pub(super) saved: SavedCollection,
}

impl<V: Deref<Target = [u8]> + Send + Sync> LiveCollection<V> {
    /// What a checkpoint over the files `saved` is to write: over [`saved`](Self::saved), or over
    /// none for all of it.
    pub(crate) fn freeze(&mut self, saved: SavedCollection, merge: Merge) -> FrozenCollection<V> {
        self.since_freeze = Changed::none();
        let unsaved = self.unsaved.clone();
        mutant!("failed-patch-forgets" => {
            self.unsaved = Changed::none();
        });
        FrozenCollection {
            collection: Arc::clone(&self.now),
            numbers: self.numbers.clone(),
            changes: self.changes.clone(),
            graph_version: self.graph_version,
            unsaved,
            is_to_fold: merge == Merge::All,
            is_to_merge: self.is_to_merge(merge),
            merged: None,
            saved,
        }
    }

    /// Whether a checkpoint would write anew what is in files: without dead rows, or without
    /// patches.
    pub(crate) fn is_to_write_anew(&self, merge: Merge) -> bool {
        self.is_to_merge(merge) || merge == Merge::All && !self.saved.patches.is_empty()
    }

    /// Whether a checkpoint would write anything.
    pub(crate) fn has_unsaved(&self) -> bool {
        let SavedCollection { changes_version, graph_version, .. } = self.saved;
        self.saved.row_count() < self.now.row_count()
            || changes_version != Some(self.changes.version())
            || graph_version != Some(self.graph_version)
    }
}

impl<V: Deref<Target = [u8]> + Send + Sync> Collection<V> {
    /// The rows that are not live, a bit a row, in little-endian words of 64.
    fn dead_bytes(&self) -> Vec<u8> {
        if self.dead_count() == 0 {
            return Vec::new();
        }
        let row_count = self.row_count();
        let mut dead: Vec<u64> = vec![u64::MAX; row_count.div_ceil(64) as usize];
        if let (Some(last), rest @ 1..) = (dead.last_mut(), row_count % 64) {
            *last = (1 << rest) - 1;
        }
        for (dead, live) in dead.iter_mut().zip(self.live.words()) {
            *dead &= !live;
        }
        dead.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

impl<V: Deref<Target = [u8]> + Send + Sync> FrozenCollection<V> {
    pub(crate) fn id(&self) -> u32 {
        self.collection.id
    }

    /// The manifest's entry.
    pub(crate) fn entry(&self) -> CollectionEntry {
        let Collection { id, name, params, .. } = &*self.collection;
        CollectionEntry {
            id: *id,
            name: name.clone(),
            params: params.clone(),
            next_row: self.numbers.next(),
            rows: self.saved.rows.clone(),
            dead: self.saved.dead,
            graph: self.saved.graph,
            patches: self.saved.patches.clone(),
        }
    }

    /// Writes what has no file yet. After a failure it can be called again, and goes on with the
    /// file that could not be written.
    ///
    /// # Errors
    /// As [`NewFiles`].
    pub(crate) fn write<S: Storage>(
        &mut self,
        files: &mut NewFiles<'_, S>,
    ) -> Result<(), CheckpointError> {
        let first_row = self.saved.row_count();
        let count = self.collection.row_count() - first_row;
        if count > 0 {
            let file = self.write_rows(files)?;
            self.saved.rows.push(RowsEntry { file, first_row, count });
        }
        let version = Some(self.changes.version());
        if self.saved.changes_version != version && !mutant!("dead-rows-not-saved") {
            let rows = self.collection.dead_bytes();
            let is_left_out = mutant!("waiting-changes-not-saved");
            let changes = if is_left_out { Vec::new() } else { self.changes.to_bytes() };
            self.saved.dead = if rows.is_empty() && changes.is_empty() {
                None
            } else {
                let sections = [(DEAD, rows.len() as u64), (CHANGES, changes.len() as u64)];
                let mut writer = files.create(FileKind::Dead, &sections)?;
                writer.write(&rows)?;
                writer.write(&changes)?;
                Some(files.finish(writer)?)
            };
            self.saved.changes_version = version;
        }
        let version = Some(self.graph_version);
        let is_to_fold = self.is_to_fold && !self.saved.patches.is_empty();
        if self.saved.graph_version != version || is_to_fold {
            self.write_graph(files)?;
            self.saved.graph_version = version;
        }
        Ok(())
    }

    /// Writes what has changed in the graph, or all of it where that is little less.
    fn write_graph<S: Storage>(
        &mut self,
        files: &mut NewFiles<'_, S>,
    ) -> Result<(), CheckpointError> {
        let graph = &self.collection.graph;
        if let Some(patch) = self.patch() {
            let len = patch.encoded_len();
            let mut writer = files.create(FileKind::Patch, &[(PATCH, len)])?;
            patch.encode_to(&mut |piece| {
                files.go_on()?;
                writer.write(piece).map_err(CheckpointError::from)
            })?;
            self.saved.patches.push(files.finish(writer)?);
            self.saved.patched_bytes += len;
            return Ok(());
        }
        self.saved.graph = if graph.is_empty() {
            None
        } else {
            let mut writer = files.create(FileKind::Graph, &[(GRAPH, graph.encoded_len())])?;
            graph.encode_to(&mut |piece| {
                files.go_on()?;
                writer.write(piece).map_err(CheckpointError::from)
            })?;
            Some(files.finish(writer)?)
        };
        self.saved.patches.clear();
        self.saved.patched_bytes = 0;
        Ok(())
    }

    /// What has changed in the graph, where that is worth a file of its own.
    fn patch(&self) -> Option<Patch<'_>> {
        let (graph, saved) = (&self.collection.graph, &self.saved);
        let has_room = saved.graph.is_some() && saved.patches.len() < PATCHES_MAX;
        let patch = graph.patch(&self.unsaved).filter(|_| has_room && !self.is_to_fold)?;
        let len = saved.patched_bytes + patch.encoded_len();
        (!graph.is_empty() && PATCH_SHARE * len <= graph.encoded_len()).then_some(patch)
    }

    fn write_rows<S: Storage>(
        &self,
        files: &mut NewFiles<'_, S>,
    ) -> Result<FileRef, CheckpointError> {
        let rows = &self.collection.rows;
        let (first, end) = (self.saved.row_count(), rows.len());
        let norms: Encode<V> = |collection, rows, out| {
            let norms = rows.filter_map(|row| collection.norms.get(row as usize));
            out.extend(norms.flat_map(|norm| norm.to_le_bytes()));
        };
        let ids: Encode<V> = |collection, rows, out| {
            for row in rows {
                encode_id(out, &collection.id_of(row));
            }
        };
        let len_of = |encode| {
            let mut len = 0;
            self.encode_steps(encode, &mut |bytes| {
                len += bytes.len() as u64;
                files.go_on()
            })?;
            Ok::<_, CheckpointError>(len)
        };
        let rows_len = u64::from(end - first) * rows.row_len_bytes() as u64;
        let numbers = self.numbers.to_bytes(first..end);
        let sections = [
            (ROWS, rows_len),
            (NORMS, len_of(norms)?),
            (IDS, len_of(ids)?),
            (NUMBERS, numbers.len() as u64),
        ];
        let mut writer = files.create(FileKind::Rows, &sections)?;
        let mut row = first;
        while row < end {
            let bytes = rows.bytes(row, end - row)?;
            for piece in bytes.chunks(STEP_LEN_BYTES) {
                files.go_on()?;
                writer.write(piece)?;
            }
            let count = bytes.len() / rows.row_len_bytes();
            row += u32::try_from(count).expect("rows of a chunk");
        }
        for encode in [norms, ids] {
            self.encode_steps(encode, &mut |bytes| {
                files.go_on()?;
                writer.write(bytes).map_err(CheckpointError::from)
            })?;
        }
        for piece in numbers.chunks(STEP_LEN_BYTES) {
            files.go_on()?;
            writer.write(piece)?;
        }
        files.finish(writer)
    }

    /// Gives `take` what `encode` says of the rows without a file, some rows at a time.
    fn encode_steps(
        &self,
        encode: Encode<V>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let end = self.collection.row_count();
        let mut row = self.saved.row_count();
        let mut out = Vec::new();
        while row < end {
            let step_end = end.min(row.saturating_add(STEP_ROWS));
            encode(&self.collection, row..step_end, &mut out);
            take(&out)?;
            out.clear();
            row = step_end;
        }
        Ok(())
    }
}

/// Appends what a file says of some rows.
type Encode<V> = fn(&Collection<V>, Range<u32>, &mut Vec<u8>);
