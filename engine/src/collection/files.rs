//! A collection from its sealed files: rows that are written once, which of them are dead and what
//! the graph is still to learn, the graph and what has changed in it (`docs/FORMAT.md`, chapters
//! Rows file, Dead file, Graph file, Patch file). `frozen` writes them.

use super::changes::Changes;
use super::ids::IdIndex;
use super::live::LiveCollection;
use super::numbers::Numbers;
use super::rows::RowStore;
use super::unverified::check_rows;
use super::{Collection, next_stamp};
use crate::codec::Reader;
use crate::damage::Damage;
use crate::database::ViewOf;
use crate::error::{OpenError, with_causes};
use crate::manifest::{CollectionEntry, RowsEntry, inconsistent};
use crate::record::decode_id;
use crate::sealed::{FileKind, FileRef, SealedReader, SectionView, Verified};
use gannet_hnsw::{Executor, Graph, GraphFault, GraphReader, Image, Metric, RowSet, check_finite};
use gannet_storage::{ErrorKind, SealedFile, Storage};
use std::ops::{Deref, Range};

pub(crate) const ROWS: u32 = 1;
pub(crate) const NORMS: u32 = 2;
pub(crate) const IDS: u32 = 3;
pub(crate) const NUMBERS: u32 = 4;
pub(crate) const DEAD: u32 = 1;
pub(crate) const CHANGES: u32 = 2;
pub(super) const GRAPH: u32 = 1;
pub(super) const PATCH: u32 = 1;

/// What of a collection is in sealed files.
#[derive(Clone, Debug, Default)]
pub(crate) struct SavedCollection {
    pub(crate) rows: Vec<RowsEntry>,
    /// With dead rows and changes as of `changes_version`; `None` if there were none.
    pub(super) dead: Option<FileRef>,
    /// `None` if no checkpoint was made.
    pub(super) changes_version: Option<(u64, u64)>,
    /// The image of the graph; `None` if it was empty.
    pub(super) graph: Option<FileRef>,
    /// What makes the graph of `graph_version` of it, in order.
    pub(super) patches: Vec<FileRef>,
    /// Length of what the patches say, in bytes.
    pub(super) patched_bytes: u64,
    /// `None` if no checkpoint was made.
    pub(super) graph_version: Option<u64>,
}

impl SavedCollection {
    /// Rows in files.
    pub(super) fn row_count(&self) -> u32 {
        self.rows.last().map_or(0, |rows| rows.first_row + rows.count)
    }
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

impl<V: Deref<Target = [u8]> + Send + Sync> LiveCollection<V> {
    /// Reads the files of `entry`, every byte of them verified, rows and graph at the same time.
    /// Where views copy nothing, vectors of whole views are not read: they are verified when they
    /// are wanted.
    ///
    /// # Errors
    /// Damage of rows, or of the set of dead ones. A graph that is damaged is no error.
    pub(crate) fn load<S>(
        storage: &S,
        database: [u8; 16],
        entry: &CollectionEntry,
        executor: &Executor,
    ) -> Result<(Self, LoadedGraph), OpenError>
    where
        S: Storage,
        S::Sealed: SealedFile<View = V>,
    {
        let mut live = Self::new(entry.id, entry.name.clone(), entry.params.clone());
        let open =
            |rows: &RowsEntry| SealedReader::open(storage, FileKind::Rows, database, &rows.file);
        let readers = entry.rows.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut pieces = row_pieces(&live.now.rows, &readers, entry)?;
        if storage.caps().zero_copy_views {
            let view_len = live.now.rows.view_len_bytes() as u64;
            for piece in &mut pieces {
                piece.is_put_off = piece.bytes.end - piece.bytes.start == view_len;
            }
        }
        // The graph first: it is the longest piece.
        let mut parts = executor.map(pieces.len() + 1, |index| match index.checked_sub(1) {
            None => Part::Graph(Box::new(load_graph(storage, database, entry, executor))),
            Some(piece) => Part::Rows(pieces[piece].read(&readers, entry.params.dims)),
        });
        let mut numbers = Numbers::default();
        let now = live.now_mut();
        for part in parts.drain(1..) {
            let Part::Rows(rows) = part else { unreachable!("one graph, at the front") };
            match rows? {
                Loaded::Verified(rows) => now.rows.append(rows),
                Loaded::Unverified(rows) => now.rows.append_unverified(rows),
            }
        }
        for (rows, reader) in entry.rows.iter().zip(&readers) {
            now.load_norms(reader, rows.count)?;
            now.load_ids(reader, rows.count)?;
            if !numbers.append(&reader.read(NUMBERS)?, rows.count) {
                return Err(reader.damage(NUMBERS, 0, Damage::Field("numbers")).into());
            }
        }
        let is_next = numbers.set_next(entry.next_row);
        if let Some(last) = entry.rows.last().filter(|_| !is_next) {
            return Err(inconsistent(FileKind::Rows, &last.file, "numbers"));
        }
        let row_count = now.row_count();
        let mut changes = Changes::default();
        let mut dead = RowSet::new();
        if let Some(file) = entry.dead {
            let reader = SealedReader::open(storage, FileKind::Dead, database, &file)?;
            dead = dead_rows(&reader.read(DEAD)?, row_count)
                .ok_or_else(|| inconsistent(FileKind::Dead, &file, "rows"))?;
            changes = Changes::from_bytes(&reader.read(CHANGES)?, row_count)
                .ok_or_else(|| inconsistent(FileKind::Dead, &file, "changes"))?;
        }
        now.live = (0..row_count).filter(|row| !dead.contains(*row)).collect();
        now.joining = now.live.clone();
        now.stamp = next_stamp();
        live.index = IdIndex::new(&now.ids, &now.live).map_err(|row| {
            let file = entry.rows.iter().rfind(|rows| rows.first_row <= row);
            let file = file.expect("every row came from a file");
            inconsistent(FileKind::Rows, &file.file, "ids")
        })?;
        (live.changes, live.numbers) = (changes, numbers);
        let Some(Part::Graph(graph)) = parts.pop() else { unreachable!("one graph, at the front") };
        let (graph, patched_bytes) = match (*graph)? {
            Ok(found) => found.map_or((Ok(None), 0), |(graph, len)| (Ok(Some(graph)), len)),
            Err(reason) => (Err(reason), 0),
        };
        let loaded = live.take_graph(graph);
        live.saved = SavedCollection {
            rows: entry.rows.clone(),
            dead: entry.dead,
            changes_version: Some(live.changes.version()),
            graph: entry.graph,
            patches: entry.patches.clone(),
            patched_bytes,
            graph_version: Some(live.graph_version),
        };
        Ok((live, loaded))
    }

    /// Searches walk the graph that was read, if the changes make it that of the live rows.
    fn take_graph(&mut self, graph: Result<Option<Graph>, String>) -> LoadedGraph {
        let (mut graph, loaded) = match graph {
            Ok(None) => (Graph::new(self.now.params.clone()), LoadedGraph::None),
            Ok(Some(graph)) => (graph, LoadedGraph::Loaded),
            Err(reason) => return LoadedGraph::Discarded(reason),
        };
        if !is_made_of(&graph, &self.changes, &self.now.live) {
            return LoadedGraph::Discarded("it is not of the rows that there are".to_owned());
        }
        drop(self.set_graph(&mut graph, 0));
        loaded
    }
}

/// Whether the changes, each of them possible, make `live` of the rows of a graph.
fn is_made_of(graph: &Graph, changes: &Changes, live: &RowSet) -> bool {
    let mut members = graph.members().clone();
    let all_possible =
        changes.each(|row, joins| if joins { members.insert(row) } else { members.remove(row) });
    all_possible && members == *live
}

/// `None` if the bytes are not words, or name a row at or behind `row_count`.
fn dead_rows(bytes: &[u8], row_count: u32) -> Option<RowSet> {
    let (words, rest) = bytes.as_chunks::<8>();
    let fits = rest.is_empty() && words.len() <= row_count.div_ceil(64) as usize;
    let words = fits.then(|| words.iter().map(|word| u64::from_le_bytes(*word)).collect());
    words.map(RowSet::from_words).filter(|dead| dead.last().is_none_or(|last| last < row_count))
}

impl<V: Deref<Target = [u8]> + Send + Sync> Collection<V> {
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
            self.push_id(decode_id(&mut reader).ok_or_else(|| damage(&reader))?);
        }
        if reader.is_empty() { Ok(()) } else { Err(damage(&reader)) }
    }
}

/// A part of a collection that is read on its own.
enum Part<V> {
    Graph(Box<Result<GraphOrReason, OpenError>>),
    Rows(Result<Loaded<V>, OpenError>),
}

/// Vectors that go into one view.
enum Loaded<V> {
    Verified(Verified<V>),
    /// All of the view.
    Unverified(SectionView<V>),
}

/// The graph and the length of what its patches say, `None` without a file, or why it is not
/// usable.
type GraphOrReason = Result<Option<(Graph, u64)>, String>;

/// Rows of one file that go into one view.
struct Piece {
    file: usize,
    bytes: Range<u64>,
    /// They are verified when they are wanted, and not now.
    is_put_off: bool,
}

impl Piece {
    fn read<F: SealedFile>(
        &self,
        files: &[SealedReader<F>],
        dims: u32,
    ) -> Result<Loaded<F::View>, OpenError> {
        let file = &files[self.file];
        let damaged = |damage| file.damage(ROWS, self.bytes.start, damage);
        let rows = file.view_range(ROWS, self.bytes.clone())?;
        if self.is_put_off {
            let is_aligned = bytemuck::try_cast_slice::<u8, f32>(rows.bytes()).is_ok();
            return if is_aligned {
                Ok(Loaded::Unverified(rows))
            } else {
                Err(damaged(Damage::Field("alignment")).into())
            };
        }
        let rows = rows.verified()?;
        check_rows(&rows, dims).map_err(damaged)?;
        Ok(Loaded::Verified(rows))
    }
}

/// The vectors of all files, cut where views of the (empty) store begin.
fn row_pieces<V: Deref<Target = [u8]> + Send + Sync, F: SealedFile>(
    store: &RowStore<V>,
    files: &[SealedReader<F>],
    entry: &CollectionEntry,
) -> Result<Vec<Piece>, OpenError> {
    let row_len = store.row_len_bytes() as u64;
    let per_view = u64::from(store.rows_per_view());
    let mut pieces = Vec::new();
    for (file, (reader, rows)) in files.iter().zip(&entry.rows).enumerate() {
        let (first, count) = (u64::from(rows.first_row), u64::from(rows.count));
        if reader.section(ROWS).map_or(0, |section| section.len_bytes) != count * row_len {
            return Err(reader.damage(ROWS, 0, Damage::Length).into());
        }
        let mut done = 0;
        while done < count {
            let take = (per_view - (first + done) % per_view).min(count - done);
            let bytes = done * row_len..(done + take) * row_len;
            pieces.push(Piece { file, bytes, is_put_off: false });
            done += take;
        }
    }
    Ok(pieces)
}

fn load_graph<S: Storage>(
    storage: &S,
    database: [u8; 16],
    entry: &CollectionEntry,
    executor: &Executor,
) -> Result<GraphOrReason, OpenError> {
    let Some(file) = entry.graph else { return Ok(Ok(None)) };
    let image = match read_of_graph(storage, database, (FileKind::Graph, &file), GRAPH)? {
        Ok(bytes) => Image::verified(bytes),
        Err(reason) => return Ok(Err(reason)),
    };
    let of_file = |kind: FileKind, file: &FileRef, fault: GraphFault| {
        Ok(Err(format!("{}: {fault}", kind.file_name(file.number))))
    };
    let rows = entry.rows.last().map_or(0, |rows| rows.first_row + rows.count);
    let mut reader = match GraphReader::new(&image, rows, &entry.params) {
        Ok(reader) => reader,
        Err(fault) => return of_file(FileKind::Graph, &file, fault),
    };
    let mut patched_bytes = 0;
    for patch in &entry.patches {
        let bytes = match read_of_graph(storage, database, (FileKind::Patch, patch), PATCH)? {
            Ok(bytes) => bytes,
            Err(reason) => return Ok(Err(reason)),
        };
        patched_bytes += bytes.len() as u64;
        reader = match reader.patch(&bytes) {
            Ok(reader) => reader,
            Err(fault) => return of_file(FileKind::Patch, patch, fault),
        };
    }
    let mut graph = match reader.finish(executor) {
        Ok(graph) => graph,
        Err(fault) => {
            // Of which of them a list is cannot be told.
            let image = FileKind::Graph.file_name(file.number);
            let upon = entry.patches.last().map(|file| FileKind::Patch.file_name(file.number));
            let upon = upon.map(|name| format!(" and the patches to {name}"));
            return Ok(Err(format!("{image}{}: {fault}", upon.unwrap_or_default())));
        }
    };
    if !storage.caps().zero_copy_views {
        // Memory it is in any case, and a walk reads it faster in huge pages.
        graph.detach();
    }
    Ok(Ok(Some((graph, patched_bytes))))
}

/// The section of a file of a graph, or why the graph is not usable.
fn read_of_graph<S: Storage>(
    storage: &S,
    database: [u8; 16],
    (kind, file): (FileKind, &FileRef),
    section: u32,
) -> Result<Result<Verified<ViewOf<S>>, String>, OpenError> {
    let bytes =
        SealedReader::open(storage, kind, database, file).and_then(|reader| reader.read(section));
    match bytes {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(OpenError::Storage(error)) if error.kind() != ErrorKind::Io => Err(error.into()),
        Err(OpenError::Storage(error)) => Ok(Err(with_causes(&error))),
        Err(OpenError::Corrupt(corruption)) => Ok(Err(corruption.to_string())),
        Err(error) => Ok(Err(with_causes(&error))),
    }
}
