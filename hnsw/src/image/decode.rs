//! Reading an image of which nothing is believed, and what patches have made of it.
//!
//! Whatever passes is a graph that `build` could have shaped: every list in bounds, every search on
//! it ends. Whether links are good ones, layers those that were drawn and codes those of their rows
//! cannot be told from here: each can mislead a walk, and none changes a distance that a caller
//! sees. The header is `header`'s to read, a patch `patch`'s; the links are checked once, when the
//! last patch has been read.

use std::fmt;

use bytemuck::Pod;

use super::Layout;
use super::fault::{GraphFault, LinkFault};
use super::header::{HEADER_LEN, Header, Kind, check_params, check_zero};
use crate::changed::Changed;
use crate::executor::Executor;
use crate::graph::{Entry, Graph, NO_ROW, code_table};
use crate::layer::LAYER_MAX;
use crate::memory::{Image, Place};
use crate::params::{Params, ROWS_MAX};
use crate::rowset::RowSet;
use crate::table::Table;

impl Graph {
    /// The graph of an image that [`Graph::encode`] wrote, computing on this CPU's fastest
    /// instruction set. `rows_len_max` is the length of the rows there are: the graph may be
    /// shorter.
    ///
    /// Any bytes give a graph or a fault. Allocates what lists and codes take, which is less than
    /// `bytes`, and only after lengths and checksums are right. Cost: a pass over the bytes for
    /// each checksum, copy and check; a list's check is quadratic in its links.
    ///
    /// # Errors
    /// The first fault found, from the outside inward: length, magic, version, checksums,
    /// parameters, members, layers, links and codes.
    pub fn decode(bytes: &[u8], rows_len_max: u32, expect: &Params) -> Result<Self, GraphFault> {
        GraphReader::read(&Source::Copied(bytes), rows_len_max, expect)?.finish(&Executor::Serial)
    }

    /// As [`decode`](Self::decode), but links and codes are read where the image lies, as long as
    /// the graph does not change ([`Graph::detach`]), and checked on the threads of `executor`.
    /// They are copied where the image does not begin at a multiple of 8 bytes, or this machine has
    /// another order of bytes. The bytes must stay what they are: where they do not, searches find
    /// wrong rows, or panic.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn view(
        image: &Image,
        rows_len_max: u32,
        expect: &Params,
        executor: &Executor,
    ) -> Result<Self, GraphFault> {
        GraphReader::new(image, rows_len_max, expect)?.finish(executor)
    }
}

/// A graph that is being read: its image, then the patches upon that, in the order in which they
/// were made, then whether all of it together is a graph. Where anything of this fails there is
/// none.
pub struct GraphReader {
    pub(super) graph: Graph,
    pub(super) rows_len_max: u32,
    /// The entry point, as the last header has it.
    pub(super) entry: (u32, u8),
    /// Where the codes of the image stand, until a patch is put upon it.
    pub(super) codes_at: Option<u64>,
}

impl fmt::Debug for GraphReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphReader").field("graph", &self.graph).finish_non_exhaustive()
    }
}

impl GraphReader {
    /// Begins with an image, as [`Graph::view`] does. Its lists are looked at in the end.
    ///
    /// # Errors
    /// As [`Graph::decode`], but for entry point, links and codes.
    pub fn new(image: &Image, rows_len_max: u32, expect: &Params) -> Result<Self, GraphFault> {
        Self::read(&Source::Viewed(image), rows_len_max, expect)
    }

    fn read(source: &Source<'_>, rows_len_max: u32, expect: &Params) -> Result<Self, GraphFault> {
        let bytes = source.bytes();
        let header = Header::read(bytes, Kind::Image)?;
        check_params(&header.params, expect)?;
        let rows_len_max = rows_len_max.min(ROWS_MAX);
        header.check_rows(rows_len_max)?;
        let layout = Layout::new(
            &header.params,
            header.code,
            header.rows,
            header.upper_lists,
            header.holes > 0,
        );
        if header.len != layout.len {
            return Err(GraphFault::Length { found: header.len, expected: layout.len });
        }
        header.check_len(bytes)?;
        if !source.is_verified() {
            header.check_body(bytes)?;
        }
        for (from, to) in [
            (layout.starts_end, layout.base_at),
            (layout.base_end, layout.upper_at),
            (layout.upper_end, layout.codes_at),
            (layout.codes_end, layout.members_at),
            (layout.members_end, layout.len),
        ] {
            check_zero(section(bytes, from, to), from)?;
        }

        let members = section(bytes, layout.members_at, layout.members_end);
        let members = read_members(&header, members)?;
        let word = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().expect("a word"));
        let upper_starts = source.table(1, (HEADER_LEN as u64, layout.starts_end), word);
        check_layers(&header, &upper_starts)?;
        let mut graph = Graph::new(header.params);
        (graph.code, graph.is_code_measured) = (header.code, header.is_code_measured);
        graph.members = members.into();
        graph.calibration = header.calibration;
        graph.upper_starts = upper_starts;
        let links_max = |layer| graph.params.links_max(layer);
        graph.base = source.table(links_max(0), (layout.base_at, layout.base_end), word);
        graph.upper = source.table(links_max(1), (layout.upper_at, layout.upper_end), word);
        graph.codes = code_table(graph.code, graph.params.dims);
        if layout.codes_at < layout.codes_end {
            let len = graph.code.len_bytes(graph.params.dims);
            let code = |bytes: &[u8]| bytes[0].cast_signed();
            graph.codes = source.table(len, (layout.codes_at, layout.codes_end), code);
        }
        Ok(Self { graph, rows_len_max, entry: header.entry, codes_at: Some(layout.codes_at) })
    }

    /// The graph, if it is one; links are checked on the threads of `executor`. Cost: a pass over
    /// the links; a list's check is quadratic in them.
    ///
    /// # Errors
    /// The first fault found of entry point, links and codes.
    pub fn finish(self, executor: &Executor) -> Result<Graph, GraphFault> {
        let Self { mut graph, entry, codes_at, .. } = self;
        graph.entry = graph.find_entry();
        check_entry(entry, graph.entry)?;
        check_lists(&graph, executor)?;
        if let Some(codes_at) = codes_at {
            check_holes(&graph, codes_at)?;
        }
        graph.changed = Changed::none();
        Ok(graph)
    }
}

/// Where an image is, and what becomes of it.
enum Source<'a> {
    Copied(&'a [u8]),
    Viewed(&'a Image),
}

impl Source<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Viewed(image) => image.bytes(),
        }
    }

    fn is_verified(&self) -> bool {
        matches!(self, Self::Viewed(image) if image.is_verified())
    }

    /// A section of whole rows of so many numbers each.
    fn table<T: Pod>(
        &self,
        row_items: usize,
        (from, to): (u64, u64),
        number: impl Fn(&[u8]) -> T,
    ) -> Table<T> {
        const STEP_LEN: usize = 64 << 10;
        let (from, to) = (in_memory(from), in_memory(to));
        if let Self::Viewed(image) = self
            && let Some(place) = Place::viewed(image, from..to)
        {
            return Table::from_place(row_items, place);
        }
        let bytes = &self.bytes()[from..to];
        let mut place = Place::with_capacity(bytes.len() / size_of::<T>());
        for step in bytes.chunks(STEP_LEN) {
            let numbers: Vec<T> = step.chunks_exact(size_of::<T>()).map(&number).collect();
            place.extend_from_slice(&numbers);
        }
        Table::from_place(row_items, place)
    }
}

/// Part of an image that is known to be all there.
fn section(bytes: &[u8], from: u64, to: u64) -> &[u8] {
    &bytes[in_memory(from)..in_memory(to)]
}

fn in_memory(offset: u64) -> usize {
    usize::try_from(offset).expect("not after the end of bytes in memory")
}

/// The rows that the graph has: of a section that is empty, all.
fn read_members(header: &Header, section: &[u8]) -> Result<RowSet, GraphFault> {
    if header.holes == 0 {
        return Ok((0..header.rows).collect());
    }
    let words = section.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    let members = RowSet::from_words(words.collect());
    check_members(header, &members)?;
    Ok(members)
}

/// The highest row and the number of holes are those of the header.
pub(super) fn check_members(header: &Header, members: &RowSet) -> Result<(), GraphFault> {
    let (rows, last) = (header.rows, members.last());
    if last != rows.checked_sub(1) {
        return Err(GraphFault::LastMember { found: last, rows });
    }
    let (found, expected) = (rows - members.count(), header.holes);
    if found != expected {
        return Err(GraphFault::Holes { found, expected });
    }
    Ok(())
}

/// The upper lists of the first row are the first, those of each follow those of the row before it,
/// on layers that there are, and the last row has the last.
fn check_layers(header: &Header, starts: &Table<u32>) -> Result<(), GraphFault> {
    let starts = starts.view();
    let (mut least, mut most) = (0, 0);
    for row in 0..=header.rows {
        let found = starts.row(row as usize)[0];
        check_start(row, found, least, most)?;
        (least, most) = (found, found.saturating_add(LAYER_MAX.into()));
    }
    check_start(header.rows, least, header.upper_lists, header.upper_lists)
}

/// The codes of holes are zeros. Codes stand at `offset` of the image.
pub(super) fn check_holes(graph: &Graph, offset: u64) -> Result<(), GraphFault> {
    if !graph.has_holes() || graph.codes.len() == 0 {
        return Ok(());
    }
    let codes = graph.codes.view();
    for row in (0..graph.len()).filter(|row| !graph.contains(*row)) {
        let code = codes.row(row as usize);
        if let Some(at) = code.iter().position(|&byte| byte != 0) {
            let offset = offset + code.len() as u64 * u64::from(row) + at as u64;
            return Err(GraphFault::HoleCode { row, offset, found: code[at].cast_unsigned() });
        }
    }
    Ok(())
}

fn check_start(row: u32, found: u32, least: u32, most: u32) -> Result<(), GraphFault> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(GraphFault::Layers { row, found, least, most })
}

fn check_entry(found: (u32, u8), expected: Option<Entry>) -> Result<(), GraphFault> {
    let (found_row, found_layer) = found;
    let (expected_row, expected_layer) =
        expected.map_or((NO_ROW, 0), |entry| (entry.row, entry.layer));
    if found == (expected_row, expected_layer) {
        return Ok(());
    }
    Err(GraphFault::Entry { found_row, found_layer, expected_row, expected_layer })
}

/// All lists; the fault of the first row that has one.
fn check_lists(graph: &Graph, executor: &Executor) -> Result<(), GraphFault> {
    const STEP_ROWS: u32 = 16 << 10;
    const SEEN_LEN: usize = 4 << 10;
    let steps = graph.len().div_ceil(STEP_ROWS);
    let checked = executor.map(steps as usize, |step| {
        let first = u32::try_from(step).expect("fewer than rows") * STEP_ROWS;
        let (lists, mut seen) = (graph.lists(), vec![NO_ROW; SEEN_LEN]);
        for row in first..graph.len().min(first + STEP_ROWS) {
            if !is_sound(graph, lists.list(row, 0), row, &mut seen) {
                check_list(graph, row, 0)?;
            }
            for layer in 1..=lists.top_layer(row) {
                check_list(graph, row, layer)?;
            }
        }
        Ok(())
    });
    checked.into_iter().collect()
}

/// Whether nothing is wrong with a list of layer 0, on which all rows stand: a quick look, for most
/// lists are of this kind, and all are looked at. `seen` tells by links, of which some share a
/// place, which row had one there last.
fn is_sound(graph: &Graph, list: &[u32], row: u32, seen: &mut [u32]) -> bool {
    let len = graph.len();
    let degree = list.partition_point(|&link| link != NO_ROW);
    let (links, rest) = list.split_at(degree);
    let mut is_sound = rest.iter().all(|&link| link == NO_ROW);
    for (slot, &link) in links.iter().enumerate() {
        let place = link as usize % seen.len();
        let is_new = seen[place] != row || !links[..slot].contains(&link);
        is_sound &= is_new && link != row && link < len;
        seen[place] = row;
    }
    let is_member = |row: &u32| graph.contains(*row);
    is_sound
        && (!graph.has_holes() || links.is_empty() || links.iter().chain([&row]).all(is_member))
}

fn check_list(graph: &Graph, row: u32, layer: u8) -> Result<(), GraphFault> {
    let list = graph.lists().list(row, layer);
    let degree = list.iter().position(|&link| link == NO_ROW).unwrap_or(list.len());
    for (slot, &link) in list.iter().enumerate() {
        let why = if slot >= degree {
            if link == NO_ROW {
                continue;
            }
            LinkFault::AfterEnd
        } else if link >= graph.len() {
            LinkFault::OutOfRange
        } else if !graph.contains(row) {
            LinkFault::FromHole
        } else if !graph.contains(link) {
            LinkFault::ToHole
        } else if link == row {
            LinkFault::ToItself
        } else if list[..slot].contains(&link) {
            LinkFault::Duplicate
        } else if graph.top_layer(link) < layer {
            LinkFault::OffLayer
        } else {
            continue;
        };
        return Err(GraphFault::Link { row, layer, slot, link, why });
    }
    Ok(())
}
