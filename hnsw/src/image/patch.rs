//! What has changed in a graph as bytes: a patch, to be put upon its image and the patches before.
//!
//! Keeps the layout of a patch, writing it and putting it upon a graph that is being read. Whether
//! the lists of all rows fit together is looked at in the end, by `decode`.
//!
//! A patch begins with a header as an image does (`header`): magic `GANNETGP`, the length of the
//! patch, at 106 the number of its rows (u32), and all else as in an image of the whole graph after
//! it. Its rows follow in ascending order, without gaps between them:
//!
//! | size | field |
//! |---|---|
//! | 4 | row number, below `n` |
//! | 1 | 0 a hole, 1 a row with the code that it had, 2 a row with its code |
//! | 1 | layers above layer 0 that there is room for, at most 15 |
//! | 2 | not of a hole: number of links on layer 0 |
//! | 4 each | not of a hole: those links |
//! | ... | not of a hole: the same of each layer above, the lowest first |
//! | code length | of a 2: the code |
//!
//! Rows below `n` that it does not have stay as they were: each number that was none before it must
//! be there. Numbers from `n` on are gone.

use std::ops::Range;
use std::sync::Arc;

use super::PIECE_LEN;
use super::decode::{GraphReader, check_holes, check_members};
use super::fault::{GraphFault, PatchFault};
use super::header::{HEADER_LEN, Header, Kind, check_params};
use crate::changed::Changed;
use crate::graph::{Graph, NO_ROW};
use crate::layer::LAYER_MAX;
use crate::params::Params;

/// What the second field of a row says.
const HOLE: u8 = 0;
const CODE_STAYS: u8 = 1;
const HAS_CODE: u8 = 2;

/// A part of a graph as bytes ([`Graph::patch`]).
#[derive(Clone, Copy, Debug)]
pub struct Patch<'a> {
    graph: &'a Graph,
    changed: &'a Changed,
    rows: u32,
    len: u64,
}

impl Graph {
    /// The patch that makes this graph of what it was before it `changed`; `None` where all of it
    /// has. Cost: a step for each row of it.
    ///
    /// Where `changed` does not say all that has changed since, the patch makes another graph, or
    /// none.
    #[must_use]
    pub fn patch<'a>(&'a self, changed: &'a Changed) -> Option<Patch<'a>> {
        if changed.is_all() {
            return None;
        }
        let mut patch = Patch { graph: self, changed, rows: 0, len: HEADER_LEN as u64 };
        for row in patch.each_row() {
            patch.rows += 1;
            patch.len += patch.row_len(row);
        }
        Some(patch)
    }
}

impl<'a> Patch<'a> {
    /// Bytes that [`encode_to`](Self::encode_to) gives.
    #[must_use]
    pub fn encoded_len(&self) -> u64 {
        self.len
    }

    /// Gives the patch to `write` in pieces of at most 64 KiB. Equal graphs that changed alike give
    /// equal bytes. Cost: two passes over the rows of the patch.
    ///
    /// # Errors
    /// What `write` says; it is not called again then.
    pub fn encode_to<E>(&self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut crc = crc32fast::Hasher::new();
        let hashed = self.for_rows(&mut |piece| {
            crc.update(piece);
            Ok::<(), std::convert::Infallible>(())
        });
        match hashed {
            Ok(()) => {}
            Err(never) => match never {},
        }
        write(&self.graph.header(Kind::Patch, self.len, self.rows, crc.finalize()))?;
        self.for_rows(write)
    }

    /// The rows that it has: some may be gone.
    fn each_row(&self) -> impl Iterator<Item = u32> + use<'a> {
        let len = self.graph.len();
        self.changed.rows().take_while(move |row| *row < len)
    }

    fn kind(&self, row: u32) -> u8 {
        match (self.graph.contains(row), self.changed.has_joined(row)) {
            (false, _) => HOLE,
            (true, false) => CODE_STAYS,
            (true, true) => HAS_CODE,
        }
    }

    fn row_len(&self, row: u32) -> u64 {
        let kind = self.kind(row);
        let graph = self.graph;
        let mut len = 6;
        if kind != HOLE {
            let lists = 0..=graph.top_layer(row);
            len += lists.map(|layer| 2 + 4 * graph.links(row, layer).len()).sum::<usize>();
        }
        if kind == HAS_CODE {
            len += graph.code.len_bytes(graph.params.dims);
        }
        len as u64
    }

    fn for_rows<E>(&self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let graph = self.graph;
        let mut out = Vec::new();
        for row in self.each_row() {
            let (kind, top) = (self.kind(row), graph.top_layer(row));
            out.extend_from_slice(&row.to_le_bytes());
            out.extend_from_slice(&[kind, top]);
            for layer in (0..=top).filter(|_| kind != HOLE) {
                let links = graph.links(row, layer);
                let count = u16::try_from(links.len()).expect("a list of at most 256 links");
                out.extend_from_slice(&count.to_le_bytes());
                out.extend(links.iter().flat_map(|link| link.to_le_bytes()));
            }
            if kind == HAS_CODE && graph.codes.len() > 0 {
                out.extend_from_slice(bytemuck::cast_slice(graph.codes.row(row as usize)));
            }
            if out.len() >= PIECE_LEN {
                out.chunks(PIECE_LEN).try_for_each(&mut *write)?;
                out.clear();
            }
        }
        out.chunks(PIECE_LEN).try_for_each(write)
    }
}

/// A row of a patch, of which lengths and numbers are in their limits.
struct PatchedRow<'a> {
    row: u32,
    kind: u8,
    layers: u8,
    offset: u64,
    /// From layer 0 up, each behind how many links it has.
    lists: &'a [u8],
    code: &'a [u8],
}

impl GraphReader {
    /// Puts the next patch upon the graph, which reads nothing of its image from then on
    /// ([`Graph::detach`]).
    ///
    /// Any bytes give a reader or a fault. Allocates what the patch adds to the graph, and some
    /// bytes for each row of the patch. Cost: a pass over the patch; the first one, a copy of the
    /// graph.
    ///
    /// # Errors
    /// The first fault found, from the outside inward: length, magic, version, checksums,
    /// parameters, rows, layers and members.
    pub fn patch(mut self, bytes: &[u8]) -> Result<Self, GraphFault> {
        let graph = &mut self.graph;
        let header = Header::read(bytes, Kind::Patch)?;
        check_params(&header.params, &graph.params)?;
        if header.code != graph.code {
            return Err(GraphFault::PatchCode { found: header.code, expected: graph.code });
        }
        header.check_rows(self.rows_len_max)?;
        header.check_len(bytes)?;
        header.check_body(bytes)?;
        if let Some(codes_at) = self.codes_at.take() {
            check_holes(graph, codes_at)?;
            graph.detach();
        }
        let rows = read_rows(bytes, &header)?;
        check_rows(graph, &header, &rows)?;
        set_layers(graph, &header, &rows)?;
        set_rows(graph, &header, &rows);
        check_members(&header, &graph.members)?;
        graph.is_code_measured = header.is_code_measured;
        graph.calibration = header.calibration;
        self.entry = header.entry;
        Ok(self)
    }
}

fn read_rows<'a>(bytes: &'a [u8], header: &Header) -> Result<Vec<PatchedRow<'a>>, GraphFault> {
    let mut rows: Vec<PatchedRow<'a>> = Vec::new();
    let mut rest = &bytes[HEADER_LEN..];
    for _ in 0..header.patch_rows {
        let offset = (bytes.len() - rest.len()) as u64;
        let Some((number, after)) = rest.split_first_chunk() else {
            return Err(GraphFault::Patch { row: NO_ROW, offset, why: PatchFault::CutOff });
        };
        let row = u32::from_le_bytes(*number);
        let fault = |why| GraphFault::Patch { row, offset, why };
        if rows.last().is_some_and(|last| last.row >= row) {
            return Err(fault(PatchFault::OutOfOrder));
        }
        if row >= header.rows {
            return Err(fault(PatchFault::OutOfRange));
        }
        rest = after;
        let read = read_row(&mut rest, &header.params, header.code.len_bytes(header.params.dims));
        let (kind, layers, lists, code) = read.map_err(fault)?;
        rows.push(PatchedRow { row, kind, layers, offset, lists, code });
    }
    if !rest.is_empty() {
        let expected = (bytes.len() - rest.len()) as u64;
        return Err(GraphFault::Length { found: header.len, expected });
    }
    Ok(rows)
}

/// Kind, layers, lists and code.
type RowParts<'a> = (u8, u8, &'a [u8], &'a [u8]);

/// What follows a row's number, from the front of `rest`.
fn read_row<'a>(
    rest: &mut &'a [u8],
    params: &Params,
    code_len: usize,
) -> Result<RowParts<'a>, PatchFault> {
    let &[kind, layers] = take(rest, 2)? else { unreachable!("two bytes were taken") };
    if kind > HAS_CODE {
        return Err(PatchFault::Kind);
    }
    if layers > LAYER_MAX {
        return Err(PatchFault::Layers);
    }
    let lists = *rest;
    for layer in (0..=layers).filter(|_| kind != HOLE) {
        let count = take(rest, 2)?;
        let count = usize::from(u16::from_le_bytes([count[0], count[1]]));
        if count > params.links_max(layer) {
            return Err(PatchFault::Links);
        }
        take(rest, 4 * count)?;
    }
    let lists = &lists[..lists.len() - rest.len()];
    let code = if kind == HAS_CODE { take(rest, code_len)? } else { &[] };
    Ok((kind, layers, lists, code))
}

/// The first bytes of `rest`, which begins behind them then.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], PatchFault> {
    let (taken, after) = rest.split_at_checked(len).ok_or(PatchFault::CutOff)?;
    *rest = after;
    Ok(taken)
}

/// Every number that is new is there, and only rows that were there keep their codes.
fn check_rows(graph: &Graph, header: &Header, rows: &[PatchedRow<'_>]) -> Result<(), GraphFault> {
    let news = &rows[rows.partition_point(|found| found.row < graph.len())..];
    let expected = graph.len()..header.rows;
    if news.len() < expected.len() {
        let lacks = |(row, found): &(u32, Option<&PatchedRow<'_>>)| {
            found.is_none_or(|found| found.row != *row)
        };
        let found = news.iter().map(Some).chain(std::iter::repeat(None));
        let lacking = expected.zip(found).find(lacks);
        let (row, _) = lacking.expect("fewer rows than numbers");
        return Err(GraphFault::PatchLacks { row });
    }
    let without = rows.iter().find(|row| row.kind == CODE_STAYS && !graph.contains(row.row));
    without.map_or(Ok(()), |&PatchedRow { row, offset, .. }| {
        Err(GraphFault::Patch { row, offset, why: PatchFault::NoCode })
    })
}

/// Makes room for the numbers that there are from now on. Upper lists keep their places up to the
/// first row on other layers than before: mostly, up to the new ones.
fn set_layers(
    graph: &mut Graph,
    header: &Header,
    rows: &[PatchedRow<'_>],
) -> Result<(), GraphFault> {
    let both = graph.len().min(header.rows);
    let is_moved =
        |found: &&PatchedRow<'_>| found.row < both && found.layers != graph.top_layer(found.row);
    let from = rows.iter().find(is_moved).map_or(both, |found| found.row);
    let tail: Vec<(u8, Vec<u32>)> = (from..both)
        .map(|row| {
            let lists = graph.lists();
            let top = lists.top_layer(row);
            (top, (1..=top).flat_map(|layer| lists.list(row, layer)).copied().collect())
        })
        .collect();
    let mut patched = rows[rows.partition_point(|found| found.row < from)..].iter().peekable();
    let mut end = u64::from(graph.upper_starts.row(from as usize)[0]);
    let mut starts = Vec::with_capacity((header.rows - from) as usize);
    for row in from..header.rows {
        let layers = match patched.next_if(|found| found.row == row) {
            Some(found) => found.layers,
            None => tail[(row - from) as usize].0,
        };
        end += u64::from(layers);
        starts.push(u32::try_from(end).unwrap_or(u32::MAX));
    }
    let found = u32::try_from(end).unwrap_or(u32::MAX);
    if end != u64::from(header.upper_lists) {
        let expected = header.upper_lists;
        return Err(GraphFault::Layers {
            row: header.rows,
            found,
            least: expected,
            most: expected,
        });
    }

    let first = graph.upper_starts.row(from as usize)[0] as usize;
    graph.upper_starts.truncate(from as usize + 1);
    graph.upper_starts.grow(starts.len(), 0);
    for (row, start) in (from as usize + 1..).zip(&starts) {
        graph.upper_starts.row_mut(row)[0] = *start;
    }
    graph.upper.truncate(first);
    graph.upper.grow(found as usize - first, NO_ROW);
    for (row, (top, lists)) in (from..).zip(&tail) {
        // Those of other layers now are in the patch.
        if graph.top_layer(row) == *top {
            let links_max = graph.params.links_max(1);
            for (layer, list) in (1..=*top).zip(lists.chunks(links_max)) {
                let degree = list.iter().position(|&link| link == NO_ROW).unwrap_or(list.len());
                graph.set_links(row, layer, &list[..degree]);
            }
        }
    }
    let len = header.rows as usize;
    let added = (header.rows - both) as usize;
    graph.base.truncate(len);
    graph.base.grow(added, NO_ROW);
    if graph.code.len_bytes(graph.params.dims) > 0 {
        graph.codes.truncate(len);
        graph.codes.grow(added, 0);
    }
    Ok(())
}

/// Lists, codes and members as the patch has them.
fn set_rows(graph: &mut Graph, header: &Header, rows: &[PatchedRow<'_>]) {
    let members = Arc::make_mut(&mut graph.members);
    while let Some(last) = members.last().filter(|last| *last >= header.rows) {
        members.remove(last);
    }
    let mut links = Vec::new();
    for &PatchedRow { row, kind, layers, lists, code, .. } in rows {
        let mut rest = lists;
        for layer in 0..=layers {
            links.clear();
            if kind != HOLE {
                let count = u16::from_le_bytes(*rest.first_chunk().expect("it was read before"));
                let range = list_range(count);
                let words = rest[range.clone()].as_chunks().0.iter();
                links.extend(words.map(|word| u32::from_le_bytes(*word)));
                rest = &rest[range.end..];
            }
            graph.set_links(row, layer, &links);
        }
        let members = Arc::make_mut(&mut graph.members);
        if kind == HOLE {
            members.remove(row);
        } else {
            members.insert(row);
        }
        if graph.codes.len() > 0 && kind != CODE_STAYS {
            let place = graph.codes.row_mut(row as usize);
            if kind == HOLE {
                place.fill(0);
            } else {
                place.copy_from_slice(bytemuck::cast_slice(code));
            }
        }
    }
}

/// Where so many links stand behind their number.
fn list_range(count: u16) -> Range<usize> {
    2..2 + 4 * usize::from(count)
}
