//! What of a collection a checkpoint writes, while the collection goes on changing
//! (`docs/FORMAT.md`, chapters Rows file, Dead file, Graph file).

use super::files::{CHANGES, DEAD, GRAPH, IDS, NORMS, ROWS, SavedCollection};
use super::{Collection, LiveCollection};
use crate::checkpoint::NewFiles;
use crate::error::CheckpointError;
use crate::manifest::{CollectionEntry, RowsEntry};
use crate::record::encode_id;
use crate::sealed::{FileKind, FileRef};
use gannet_storage::Storage;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Norms and ids are encoded for so many rows at a time.
const STEP_ROWS: u32 = 4 << 10;
/// Rows are written so many bytes at a time.
const STEP_LEN_BYTES: usize = 1 << 20;

/// See the module's documentation.
pub(crate) struct FrozenCollection<V> {
    collection: Arc<Collection<V>>,
    /// What is to be written; `None` if the file of before is up to date.
    dead: Option<FrozenDead>,
    /// Version of the graph that is to be written; `None` if the file of before is up to date.
    graph: Option<u64>,
    /// The files: those of before, then those that were written.
    saved: SavedCollection,
}

/// What a dead file says.
struct FrozenDead {
    /// A bit for each row that is not live.
    rows: Vec<u8>,
    changes: Vec<u8>,
    version: (u64, u64),
}

impl<V: Deref<Target = [u8]>> LiveCollection<V> {
    /// What a checkpoint over the files `saved` is to write: over [`saved`](Self::saved), or over
    /// none for all of it.
    pub(crate) fn freeze(&self, saved: SavedCollection) -> FrozenCollection<V> {
        let is_dead_saved = self.is_dead_in(&saved) || mutant!("dead-rows-not-saved");
        let dead = (!is_dead_saved).then(|| FrozenDead {
            rows: self.now.dead_bytes(),
            changes: if mutant!("waiting-changes-not-saved") {
                Vec::new()
            } else {
                self.changes.to_bytes()
            },
            version: self.changes.version(),
        });
        let graph = (!self.is_graph_in(&saved)).then_some(self.graph_version);
        FrozenCollection { collection: Arc::clone(&self.now), dead, graph, saved }
    }

    /// Whether a checkpoint would write anything.
    pub(crate) fn has_unsaved(&self) -> bool {
        let saved = &self.saved;
        saved.row_count() < self.now.row_count()
            || !self.is_dead_in(saved)
            || !self.is_graph_in(saved)
    }

    fn is_dead_in(&self, saved: &SavedCollection) -> bool {
        saved.changes_version == self.changes.version()
    }

    fn is_graph_in(&self, saved: &SavedCollection) -> bool {
        saved.graph_version == self.graph_version
    }
}

impl<V: Deref<Target = [u8]>> Collection<V> {
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

impl<V: Deref<Target = [u8]>> FrozenCollection<V> {
    pub(crate) fn id(&self) -> u32 {
        self.collection.id
    }

    /// Its files, as far as they are written.
    pub(crate) fn into_saved(self) -> SavedCollection {
        self.saved
    }

    /// The manifest's entry.
    pub(crate) fn entry(&self) -> CollectionEntry {
        let Collection { id, name, params, .. } = &*self.collection;
        CollectionEntry {
            id: *id,
            name: name.clone(),
            params: params.clone(),
            rows: self.saved.rows.clone(),
            dead: self.saved.dead,
            graph: self.saved.graph,
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
        if let Some(FrozenDead { rows, changes, version }) = &self.dead {
            self.saved.dead = if rows.is_empty() && changes.is_empty() {
                None
            } else {
                let sections = [(DEAD, rows.len() as u64), (CHANGES, changes.len() as u64)];
                let mut writer = files.create(FileKind::Dead, &sections)?;
                writer.write(rows)?;
                writer.write(changes)?;
                Some(files.finish(writer)?)
            };
            self.saved.changes_version = *version;
            self.dead = None;
        }
        if let Some(version) = self.graph {
            let graph = &self.collection.graph;
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
            self.saved.graph_version = version;
            self.graph = None;
        }
        Ok(())
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
        let sections = [(ROWS, rows_len), (NORMS, len_of(norms)?), (IDS, len_of(ids)?)];
        let mut writer = files.create(FileKind::Rows, &sections)?;
        let mut row = first;
        while row < end {
            let bytes = rows.bytes(row, end - row);
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
