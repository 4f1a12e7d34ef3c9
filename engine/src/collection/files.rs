//! A collection as sealed files: rows that are written once, deleted rows, the graph
//! (`docs/FORMAT.md`, chapters Rows file, Dead file, Graph file).

use crate::codec::Reader;
use crate::collection::Collection;
use crate::collection::dead::DeadRows;
use crate::collection::rows::RowStore;
use crate::damage::{Corruption, Damage};
use crate::error::OpenError;
use crate::manifest::{CollectionEntry, RowsEntry, inconsistent};
use crate::record::{decode_id, encode_id};
use crate::sealed::{FileKind, FileRef, Ident, SealedReader, SealedWriter};
use gannet_hnsw::{Graph, Metric, check_finite};
use gannet_storage::{Error, SealedFile, Storage};
use std::collections::HashMap;
use std::ops::Deref;

const ROWS: u32 = 1;
const NORMS: u32 = 2;
const IDS: u32 = 3;
const DEAD: u32 = 1;
const GRAPH: u32 = 1;

/// What of a collection is in sealed files.
#[derive(Clone, Debug, Default)]
pub(crate) struct SavedCollection {
    pub(crate) rows: Vec<RowsEntry>,
    /// With the number of dead rows it holds.
    dead: Option<(FileRef, u64)>,
    /// With the number of rows it holds.
    graph: Option<(FileRef, u32)>,
}

/// Whether the graph came from its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoadedGraph {
    Loaded,
    /// There is no file.
    None,
    /// The file is not usable; why.
    Discarded(String),
}

impl<V: Deref<Target = [u8]>> Collection<V> {
    fn saved_rows(&self) -> u32 {
        self.saved.rows.last().map_or(0, |rows| rows.first_row + rows.count)
    }

    /// Whether a checkpoint would write anything.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.saved_rows() < self.row_count()
            || self.saved.dead.map_or(0, |(_, count)| count) < self.dead_count()
            || self.saved.graph.map_or(0, |(_, len)| len) != self.graph.len()
    }

    /// Writes what has no file yet; `next_number` gives each file its number. The collection still
    /// believes in the old files: see [`saved`](Self::saved).
    pub(crate) fn save<S: Storage>(
        &self,
        storage: &S,
        ident: impl Fn(FileKind, u64) -> Ident,
        next_number: &mut dyn FnMut() -> u64,
    ) -> Result<SavedCollection, Error> {
        let mut saved = self.saved.clone();
        if self.saved_rows() < self.row_count() {
            let file = self.save_rows(storage, ident(FileKind::Rows, next_number()))?;
            let first_row = self.saved_rows();
            saved.rows.push(RowsEntry { file, first_row, count: self.row_count() - first_row });
        }
        if saved.dead.map_or(0, |(_, count)| count) < self.dead_count() {
            let bytes = self.dead.to_bytes();
            let file = save_one(storage, ident(FileKind::Dead, next_number()), DEAD, &bytes)?;
            saved.dead = Some((file, self.dead_count()));
        }
        if saved.graph.map_or(0, |(_, len)| len) != self.graph.len() {
            let mut bytes = Vec::new();
            self.graph.encode(&mut bytes);
            let file = save_one(storage, ident(FileKind::Graph, next_number()), GRAPH, &bytes)?;
            saved.graph = Some((file, self.graph.len()));
        }
        Ok(saved)
    }

    fn save_rows<S: Storage>(&self, storage: &S, ident: Ident) -> Result<FileRef, Error> {
        let (first, end) = (self.saved_rows(), self.row_count());
        let mut ids = Vec::new();
        self.ids[first as usize..].iter().for_each(|id| encode_id(&mut ids, id));
        let norms = self.norms.get(first as usize..).unwrap_or_default();
        let norms: Vec<u8> = norms.iter().flat_map(|norm| norm.to_le_bytes()).collect();
        let rows_len = u64::from(end - first) * self.rows.row_len_bytes() as u64;
        let sections = [(ROWS, rows_len), (NORMS, norms.len() as u64), (IDS, ids.len() as u64)];
        let mut writer = SealedWriter::create(storage, ident, &sections)?;
        let mut row = first;
        while row < end {
            let bytes = self.rows.bytes(row, end - row);
            writer.write(bytes)?;
            row += u32::try_from(bytes.len() / self.rows.row_len_bytes()).expect("rows of a chunk");
        }
        writer.write(&norms)?;
        writer.write(&ids)?;
        writer.finish()
    }

    /// The manifest's entry for what `saved` says.
    pub(crate) fn entry(&self, saved: &SavedCollection) -> CollectionEntry {
        CollectionEntry {
            id: self.id,
            name: self.name.clone(),
            params: self.params.clone(),
            rows: saved.rows.clone(),
            dead: saved.dead.map(|(file, _)| file),
            graph: saved.graph.map(|(file, _)| file),
        }
    }

    /// Reads the files of `entry`, every byte of them verified.
    ///
    /// # Errors
    /// Damage of rows or of the set of deleted ones. A graph that is damaged is no error.
    pub(crate) fn load<S>(
        storage: &S,
        database: [u8; 16],
        entry: &CollectionEntry,
    ) -> Result<(Self, LoadedGraph), OpenError>
    where
        S: Storage,
        S::Sealed: SealedFile<View = V>,
    {
        let mut collection = Self::new(entry.id, entry.name.clone(), entry.params.clone());
        for rows in &entry.rows {
            let reader = SealedReader::open(storage, FileKind::Rows, database, &rows.file)?;
            load_rows(&mut collection.rows, &reader, rows.count)?;
            collection.load_norms(&reader, rows.count)?;
            collection.load_ids(&reader, rows.count)?;
        }
        collection.saved.rows.clone_from(&entry.rows);
        if let Some(file) = entry.dead {
            let reader = SealedReader::open(storage, FileKind::Dead, database, &file)?;
            let dead = DeadRows::from_bytes(&reader.read(DEAD)?, collection.row_count());
            collection.dead = dead.ok_or_else(|| inconsistent(FileKind::Dead, &file, "rows"))?;
            collection.saved.dead = Some((file, collection.dead.count()));
        }
        collection.index_ids(entry)?;
        let loaded = collection.load_graph(storage, database, entry)?;
        Ok((collection, loaded))
    }

    fn load_norms<F: SealedFile>(
        &mut self,
        file: &SealedReader<F>,
        count: u32,
    ) -> Result<(), OpenError> {
        let bytes = file.read(NORMS)?;
        let (norms, rest) = bytes.as_chunks::<4>();
        let expected = if self.params.metric == Metric::Cosine { count as usize } else { 0 };
        let norms: Vec<f32> = norms.iter().map(|norm| f32::from_le_bytes(*norm)).collect();
        if norms.len() != expected || !rest.is_empty() || check_finite(&norms).is_err() {
            return Err(file.damage(NORMS, 0, Damage::Field("norms")).into());
        }
        self.norms.extend(norms);
        Ok(())
    }

    fn load_ids<F: SealedFile>(
        &mut self,
        file: &SealedReader<F>,
        count: u32,
    ) -> Result<(), OpenError> {
        let bytes = file.read(IDS)?;
        let mut reader = Reader::new(&bytes);
        let damage = |reader: &Reader<'_>| {
            let at = (bytes.len() - reader.rest().len()) as u64;
            OpenError::from(file.damage(IDS, at, Damage::Field("ids")))
        };
        for _ in 0..count {
            self.ids.push(decode_id(&mut reader).ok_or_else(|| damage(&reader))?);
        }
        if reader.is_empty() { Ok(()) } else { Err(damage(&reader)) }
    }

    /// Which row each live id has. Two live rows of one id are damage.
    fn index_ids(&mut self, entry: &CollectionEntry) -> Result<(), OpenError> {
        let live = self.ids.len().saturating_sub(usize::try_from(self.dead.count()).unwrap_or(0));
        self.index = HashMap::with_capacity(live);
        for (row, id) in (0_u32..).zip(&self.ids) {
            if !self.dead.contains(row) && self.index.insert(id.clone(), row).is_some() {
                let file = entry.rows.iter().rfind(|rows| rows.first_row <= row);
                let file = file.expect("every row came from a file");
                return Err(inconsistent(FileKind::Rows, &file.file, "ids"));
            }
        }
        Ok(())
    }

    fn load_graph<S>(
        &mut self,
        storage: &S,
        database: [u8; 16],
        entry: &CollectionEntry,
    ) -> Result<LoadedGraph, OpenError>
    where
        S: Storage,
        S::Sealed: SealedFile<View = V>,
    {
        let Some(file) = entry.graph else { return Ok(LoadedGraph::None) };
        let bytes = SealedReader::open(storage, FileKind::Graph, database, &file)
            .and_then(|reader| reader.read(GRAPH));
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(OpenError::Storage(error)) => return Err(error.into()),
            Err(OpenError::Corrupt(corruption)) => {
                return Ok(LoadedGraph::Discarded(corruption.to_string()));
            }
            Err(error) => return Ok(LoadedGraph::Discarded(error.to_string())),
        };
        match Graph::decode(&bytes, self.row_count(), &self.params) {
            Ok(graph) => {
                self.saved.graph = Some((file, graph.len()));
                self.graph = graph;
                Ok(LoadedGraph::Loaded)
            }
            Err(fault) => {
                let name = FileKind::Graph.file_name(file.number);
                Ok(LoadedGraph::Discarded(format!("{name}: {fault}")))
            }
        }
    }
}

/// Appends the rows of a file: whole chunks as views, the rest by copy.
fn load_rows<F: SealedFile>(
    store: &mut RowStore<F::View>,
    file: &SealedReader<F>,
    count: u32,
) -> Result<(), OpenError> {
    let row_len = store.row_len_bytes() as u64;
    let found = file.section(ROWS).map_or(0, |section| section.len_bytes);
    if found != u64::from(count) * row_len {
        return Err(file.damage(ROWS, 0, Damage::Length).into());
    }
    let mut done = 0;
    while done < count {
        let take = store.room_in_chunk().min(count - done);
        let start = u64::from(done) * row_len;
        let rows = file.read_range(ROWS, start..start + u64::from(take) * row_len)?;
        let floats: &[f32] = bytemuck::try_cast_slice(&rows)
            .map_err(|_| Corruption::new(file.name(), start, Damage::Field("alignment")))?;
        if !all_finite(floats) {
            return Err(file.damage(ROWS, start, Damage::Field("vector")).into());
        }
        if store.at_chunk_start() && take == store.room_in_chunk() {
            store.push_view(rows);
        } else {
            store.push_bytes(&rows);
        }
        done += take;
    }
    Ok(())
}

/// A finite number times zero is zero, NaN or infinity times zero is NaN: one pass without a branch.
fn all_finite(floats: &[f32]) -> bool {
    floats.chunks(1024).all(|chunk| chunk.iter().map(|f| f * 0.0).sum::<f32>() == 0.0)
}

fn save_one<S: Storage>(
    storage: &S,
    ident: Ident,
    section: u32,
    bytes: &[u8],
) -> Result<FileRef, Error> {
    let mut writer = SealedWriter::create(storage, ident, &[(section, bytes.len() as u64)])?;
    writer.write(bytes)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_float_is_found_anywhere() {
        let mut floats = vec![f32::MAX; 5000];
        assert!(all_finite(&floats));
        for at in [0, 1023, 1024, 4999] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                floats[at] = bad;
                assert!(!all_finite(&floats), "{at} {bad}");
                floats[at] = -0.0;
            }
        }
    }
}
