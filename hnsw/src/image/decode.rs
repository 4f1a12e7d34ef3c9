//! Reading an image of which nothing is believed.
//!
//! Whatever passes is a graph that `build` could have shaped: every list in bounds, every search on
//! it ends. Whether links are good ones, layers those that were drawn and codes those of their rows
//! cannot be told from here: each can mislead a walk, and none changes a distance that a caller
//! sees.

use bytemuck::Pod;

use super::fault::{GraphFault, LinkFault};
use super::{
    CALIBRATED_AT, HEADER_CRC_AT, HEADER_LEN, HOLES_AT, HUNDREDS_AT, Layout, MAGIC, TENS_AT,
    VERSION, ZEROS_AT,
};
use crate::Metric;
use crate::calibration::{CALIBRATION_ROWS_MIN, Calibration, HUNDREDS_ROWS_MIN};
use crate::code::{Code, CodeChoice};
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
        read(&Source::Copied(bytes), rows_len_max, expect, &Executor::Serial)
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
        read(&Source::Viewed(image), rows_len_max, expect, executor)
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

fn read(
    source: &Source<'_>,
    rows_len_max: u32,
    expect: &Params,
    executor: &Executor,
) -> Result<Graph, GraphFault> {
    let bytes = source.bytes();
    let header = Header::read(bytes)?;
    check_params(&header.params, expect)?;
    let max = rows_len_max.min(ROWS_MAX);
    if header.rows > max {
        return Err(GraphFault::Rows { found: header.rows, max });
    }
    let layout = header.layout(bytes)?;
    if !source.is_verified() {
        check_crc("body", header.body_crc, section(bytes, HEADER_LEN as u64, layout.len))?;
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
    let members = check_members(&header, members)?;
    let word = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().expect("a word"));
    let upper_starts = source.table(1, (HEADER_LEN as u64, layout.starts_end), word);
    check_layers(&header, &upper_starts)?;
    let mut graph = Graph::new(header.params);
    (graph.code, graph.is_code_measured) = (header.code, header.is_code_measured);
    graph.members = members.into();
    graph.calibration = header.calibration;
    graph.upper_starts = upper_starts;
    graph.entry = graph.find_entry();
    check_entry(header.entry, graph.entry)?;
    let links_max = |layer| graph.params.links_max(layer);
    graph.base = source.table(links_max(0), (layout.base_at, layout.base_end), word);
    graph.upper = source.table(links_max(1), (layout.upper_at, layout.upper_end), word);
    check_lists(&graph, executor)?;
    let codes = section(bytes, layout.codes_at, layout.codes_end);
    check_holes(&graph, codes, layout.codes_at)?;
    graph.codes = code_table(graph.code, graph.params.dims);
    if !codes.is_empty() {
        let len = graph.code.len_bytes(graph.params.dims);
        let code = |bytes: &[u8]| bytes[0].cast_signed();
        graph.codes = source.table(len, (layout.codes_at, layout.codes_end), code);
    }
    Ok(graph)
}

/// The header's fields, each within its own limits.
struct Header {
    params: Params,
    code: Code,
    is_code_measured: bool,
    entry: (u32, u8),
    rows: u32,
    holes: u32,
    upper_lists: u32,
    len: u64,
    body_crc: u32,
    calibration: Option<Calibration>,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, GraphFault> {
        let found = bytes.len() as u64;
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(GraphFault::Truncated { needed: HEADER_LEN as u64, found });
        };
        let magic = field(header, 0);
        if magic != MAGIC {
            return Err(GraphFault::Magic { found: magic });
        }
        let version = u32::from_le_bytes(field(header, 8));
        if version != VERSION {
            return Err(GraphFault::Version { found: version });
        }
        let stored = u32::from_le_bytes(field(header, HEADER_CRC_AT));
        check_crc("header", stored, &header[..HEADER_CRC_AT])?;
        check_zero(&header[47..48], 47)?;
        check_zero(&header[ZEROS_AT..HEADER_CRC_AT], ZEROS_AT as u64)?;

        let [metric, entry_layer] = field(header, 30);
        let Some(metric) = Metric::from_code(metric) else {
            return Err(GraphFault::Metric { found: metric });
        };
        let [choice, code, is_measured] = field(header, 44);
        let fault = |found| GraphFault::Code { found };
        let choice = CodeChoice::from_number(choice).ok_or(fault(choice))?;
        let code = Code::from_number(code).ok_or(fault(code))?;
        let params = Params {
            dims: u32::from_le_bytes(field(header, 12)),
            metric,
            m: u16::from_le_bytes(field(header, 28)),
            ef_construction: u32::from_le_bytes(field(header, 24)),
            seed: u64::from_le_bytes(field(header, 16)),
            code: choice,
        };
        params.validate()?;
        let rows = u32::from_le_bytes(field(header, 36));
        // Of how many rows it was chosen cannot be told: some may have left.
        let has_chosen = choice.is_open(metric) && is_measured == 1 && rows > 0;
        if !has_chosen && (code != choice.first(metric) || is_measured != 0) {
            return Err(GraphFault::Chosen { choice, code, is_measured });
        }
        Ok(Self {
            params,
            code,
            is_code_measured: has_chosen,
            entry: (u32::from_le_bytes(field(header, 32)), entry_layer),
            rows,
            holes: u32::from_le_bytes(field(header, HOLES_AT)),
            upper_lists: u32::from_le_bytes(field(header, 40)),
            len: u64::from_le_bytes(field(header, 48)),
            body_crc: u32::from_le_bytes(field(header, 56)),
            calibration: read_calibration(header)?,
        })
    }

    /// Where the sections are, once the bytes are known to hold them all.
    fn layout(&self, bytes: &[u8]) -> Result<Layout, GraphFault> {
        let layout =
            Layout::new(&self.params, self.code, self.rows, self.upper_lists, self.holes > 0);
        if self.len != layout.len {
            return Err(GraphFault::Length { found: self.len, expected: layout.len });
        }
        let found = bytes.len() as u64;
        if found < layout.len {
            return Err(GraphFault::Truncated { needed: layout.len, found });
        }
        if found > layout.len {
            return Err(GraphFault::Oversized { expected: layout.len, found });
        }
        Ok(layout)
    }
}

/// What was measured; `None` if nothing was.
fn read_calibration(header: &[u8; HEADER_LEN]) -> Result<Option<Calibration>, GraphFault> {
    let rows = u32::from_le_bytes(field(header, CALIBRATED_AT));
    let graph_rows = u32::from_le_bytes(field(header, 36));
    if rows > ROWS_MAX || (1..CALIBRATION_ROWS_MIN).contains(&rows) {
        return Err(GraphFault::CalibratedRows { found: rows, rows: graph_rows });
    }
    let tens = read_readings(header, TENS_AT, rows >= CALIBRATION_ROWS_MIN)?;
    let hundreds = read_readings(header, HUNDREDS_AT, rows >= HUNDREDS_ROWS_MIN)?;
    Ok((rows > 0).then_some(Calibration { rows, tens, hundreds }))
}

/// The readings at `at`, in order, all zero where none were taken.
fn read_readings<const N: usize>(
    header: &[u8; HEADER_LEN],
    at: usize,
    are_there: bool,
) -> Result<[u16; N], GraphFault> {
    if !are_there {
        check_zero(&header[at..at + 2 * N], at as u64)?;
    }
    let readings = std::array::from_fn(|index| u16::from_le_bytes(field(header, at + 2 * index)));
    let falls = readings.windows(2).position(|pair| pair[0] > pair[1]);
    falls.map_or(Ok(readings), |index| {
        let (found, next) = (readings[index], readings[index + 1]);
        Err(GraphFault::Readings { offset: (at + 2 * index) as u64, found, next })
    })
}

fn field<const N: usize>(header: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    *header[at..].first_chunk().expect("fields lie within the header")
}

/// Part of an image that is known to be all there.
fn section(bytes: &[u8], from: u64, to: u64) -> &[u8] {
    &bytes[in_memory(from)..in_memory(to)]
}

fn in_memory(offset: u64) -> usize {
    usize::try_from(offset).expect("not after the end of bytes in memory")
}

fn check_crc(part: &'static str, stored: u32, bytes: &[u8]) -> Result<(), GraphFault> {
    let computed = crc32fast::hash(bytes);
    if stored == computed {
        return Ok(());
    }
    Err(GraphFault::Checksum { part, stored, computed })
}

/// `bytes` begin at `offset` of the image.
fn check_zero(bytes: &[u8], offset: u64) -> Result<(), GraphFault> {
    match bytes.iter().position(|&byte| byte != 0) {
        Some(at) => Err(GraphFault::Padding { offset: offset + at as u64, found: bytes[at] }),
        None => Ok(()),
    }
}

fn check_params(found: &Params, expected: &Params) -> Result<(), GraphFault> {
    let fields = |params: &Params| {
        [
            ("dims", u64::from(params.dims)),
            ("metric", u64::from(params.metric.code())),
            ("m", u64::from(params.m)),
            ("ef_construction", u64::from(params.ef_construction)),
            ("seed", params.seed),
            ("code", u64::from(params.code.number())),
        ]
    };
    for ((field, found), (_, expected)) in fields(found).into_iter().zip(fields(expected)) {
        if found != expected {
            return Err(GraphFault::ParamsDiffer { field, found, expected });
        }
    }
    Ok(())
}

/// The rows that the graph has: of a section that is empty, all.
fn check_members(header: &Header, section: &[u8]) -> Result<RowSet, GraphFault> {
    let rows = header.rows;
    if header.holes == 0 {
        return Ok((0..rows).collect());
    }
    let words = section.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    let members = RowSet::from_words(words.collect());
    let last = members.last();
    if last != rows.checked_sub(1) {
        return Err(GraphFault::LastMember { found: last, rows });
    }
    let (found, expected) = (rows - members.count(), header.holes);
    if found != expected {
        return Err(GraphFault::Holes { found, expected });
    }
    Ok(members)
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

/// The codes of holes, in `codes` at `offset` of the image, are zeros.
fn check_holes(graph: &Graph, codes: &[u8], offset: u64) -> Result<(), GraphFault> {
    if !graph.has_holes() || codes.is_empty() {
        return Ok(());
    }
    let codes = codes.chunks(graph.code.len_bytes(graph.params.dims));
    for (row, code) in (0..).zip(codes).filter(|(row, _)| !graph.contains(*row)) {
        if let Some(at) = code.iter().position(|&byte| byte != 0) {
            let offset = offset + code.len() as u64 * u64::from(row) + at as u64;
            return Err(GraphFault::HoleCode { row, offset, found: code[at] });
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
