//! A collection at one moment, and how it is written while it goes on changing (`docs/FORMAT.md`,
//! chapters Rows file, Dead file, Graph file).
//!
//! Keeps what can change: which rows there are and which of them are dead, and the graph. What can
//! not, ids and norms of rows that are there, is read from the collection, a little at a time.

use super::files::{DEAD, GRAPH, IDS, NORMS, ROWS, SavedCollection};
use super::rows::RowStore;
use crate::checkpoint::NewFiles;
use crate::collection::Collection;
use crate::error::CheckpointError;
use crate::manifest::{CollectionEntry, RowsEntry};
use crate::record::encode_id;
use crate::sealed::{FileKind, FileRef};
use crate::state::State;
use crate::sync::RwLock;
use gannet_hnsw::{Graph, Params};
use gannet_storage::Storage;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Norms and ids are encoded for so many rows at a time.
const STEP_ROWS: usize = 4 << 10;
/// Rows are written so many bytes at a time.
const STEP_LEN_BYTES: usize = 1 << 20;

/// See the module's documentation.
pub(crate) struct FrozenCollection<V> {
    id: u32,
    name: String,
    params: Params,
    rows: RowStore<V>,
    /// The set as its file has it, and how many rows; `None` if the file of before is up to date.
    dead: Option<(Vec<u8>, u64)>,
    /// `None` if the file of before is up to date.
    graph: Option<(Arc<Graph>, u64)>,
    /// The files: those of before, then those that were written.
    saved: SavedCollection,
}

impl<V: Deref<Target = [u8]>> Collection<V> {
    /// What a checkpoint over the files `saved` is to write: over [`saved`](Self::saved), or over
    /// none for all of it.
    pub(crate) fn freeze(&self, saved: SavedCollection) -> FrozenCollection<V> {
        let is_dead_saved = self.is_dead_in(&saved) || mutant!("dead-rows-not-saved");
        let dead = (!is_dead_saved).then(|| (self.dead.to_bytes(), self.dead_count()));
        let graph = (Arc::clone(&self.graph), self.graph_version);
        let graph = (!self.is_graph_in(&saved)).then_some(graph);
        let (name, params, rows) = (self.name.clone(), self.params.clone(), self.rows.clone());
        FrozenCollection { id: self.id, name, params, rows, dead, graph, saved }
    }

    /// Whether a checkpoint would write anything.
    pub(crate) fn has_unsaved(&self) -> bool {
        let saved = &self.saved;
        saved.row_count() < self.row_count() || !self.is_dead_in(saved) || !self.is_graph_in(saved)
    }

    fn is_dead_in(&self, saved: &SavedCollection) -> bool {
        saved.dead.map_or(0, |(_, count)| count) == self.dead_count()
    }

    fn is_graph_in(&self, saved: &SavedCollection) -> bool {
        saved.graph.map_or(0, |(_, version)| version) == self.graph_version
    }
}

impl<V: Deref<Target = [u8]>> FrozenCollection<V> {
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Its files, as far as they are written.
    pub(crate) fn into_saved(self) -> SavedCollection {
        self.saved
    }

    /// The manifest's entry.
    pub(crate) fn entry(&self) -> CollectionEntry {
        CollectionEntry {
            id: self.id,
            name: self.name.clone(),
            params: self.params.clone(),
            rows: self.saved.rows.clone(),
            dead: self.saved.dead.map(|(file, _)| file),
            graph: self.saved.graph.map(|(file, _)| file),
        }
    }

    /// Writes what has no file yet. `state` is where the collection goes on changing. After a
    /// failure it can be called again, and goes on with the file that could not be written.
    ///
    /// # Errors
    /// As [`NewFiles`].
    pub(crate) fn write<S: Storage>(
        &mut self,
        files: &mut NewFiles<'_, S>,
        state: &RwLock<State<V>>,
    ) -> Result<(), CheckpointError> {
        let first_row = self.saved.row_count();
        let count = self.rows.len() - first_row;
        if count > 0 {
            let file = self.write_rows(files, state)?;
            self.saved.rows.push(RowsEntry { file, first_row, count });
        }
        if let Some((bytes, count)) = &self.dead {
            let mut writer = files.create(FileKind::Dead, &[(DEAD, bytes.len() as u64)])?;
            writer.write(bytes)?;
            self.saved.dead = Some((files.finish(writer)?, *count));
            self.dead = None;
        }
        if let Some((graph, version)) = &self.graph {
            let mut writer = files.create(FileKind::Graph, &[(GRAPH, graph.encoded_len())])?;
            graph.encode_to(&mut |piece| {
                files.go_on()?;
                writer.write(piece).map_err(CheckpointError::from)
            })?;
            self.saved.graph = Some((files.finish(writer)?, *version));
            self.graph = None;
        }
        Ok(())
    }

    fn write_rows<S: Storage>(
        &self,
        files: &mut NewFiles<'_, S>,
        state: &RwLock<State<V>>,
    ) -> Result<FileRef, CheckpointError> {
        let (first, end) = (self.saved.row_count(), self.rows.len());
        let norms: Encode<V> = |collection, rows, out| {
            let norms = collection.norms.get(rows).unwrap_or_default();
            out.extend(norms.iter().flat_map(|norm| norm.to_le_bytes()));
        };
        let ids: Encode<V> = |collection, rows, out| {
            for row in rows {
                let row = u32::try_from(row).expect("rows are counted in 32 bits");
                encode_id(out, &collection.id_of(row));
            }
        };
        let len_of = |encode| {
            let mut len = 0;
            self.encode_steps(state, encode, &mut |bytes| {
                len += bytes.len() as u64;
                files.go_on()
            })?;
            Ok::<_, CheckpointError>(len)
        };
        let rows_len = u64::from(end - first) * self.rows.row_len_bytes() as u64;
        let sections = [(ROWS, rows_len), (NORMS, len_of(norms)?), (IDS, len_of(ids)?)];
        let mut writer = files.create(FileKind::Rows, &sections)?;
        let mut row = first;
        while row < end {
            let bytes = self.rows.bytes(row, end - row);
            for piece in bytes.chunks(STEP_LEN_BYTES) {
                files.go_on()?;
                writer.write(piece)?;
            }
            let rows = bytes.len() / self.rows.row_len_bytes();
            row += u32::try_from(rows).expect("rows of a chunk");
        }
        for encode in [norms, ids] {
            self.encode_steps(state, encode, &mut |bytes| {
                files.go_on()?;
                writer.write(bytes).map_err(CheckpointError::from)
            })?;
        }
        files.finish(writer)
    }

    /// Gives `take` what `encode` says of the rows without a file, some rows at a time.
    fn encode_steps(
        &self,
        state: &RwLock<State<V>>,
        encode: Encode<V>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let end = self.rows.len() as usize;
        let mut row = self.saved.row_count() as usize;
        let mut out = Vec::new();
        while row < end {
            let step_end = (row + STEP_ROWS).min(end);
            let read = state.read();
            let collection = read.collection_by_id(self.id).expect("collections stay");
            encode(collection, row..step_end, &mut out);
            drop(read);
            take(&out)?;
            out.clear();
            row = step_end;
        }
        Ok(())
    }
}

/// Appends what a file says of some rows.
type Encode<V> = fn(&Collection<V>, Range<usize>, &mut Vec<u8>);
