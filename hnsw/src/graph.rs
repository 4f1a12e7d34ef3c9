//! The graph as memory: who links to whom, in flat arrays of row numbers, and the code of each row.
//!
//! Keeps the shape: a row number below `len` is a row of the graph, which stands on layers 0 to its
//! top layer, or a hole, which has the same room and nothing in it. The top layer is drawn when
//! there is first room for the number, and stored: it moves with the row where numbers change. A
//! list never links to itself, twice to one row, to a hole, or to a row that does not stand on its
//! layer. Which links are good ones is decided in `build`; walking them is `walk`'s; new numbers
//! are `renumber`'s; bytes are `image`'s.

use std::fmt;
use std::sync::Arc;

use crate::calibration::Calibration;
use crate::changed::Changed;
use crate::code::Code;
use crate::kernel::{Isa, Kernel};
use crate::layer::layer_of;
use crate::params::{Params, ROWS_MAX};
use crate::rowset::RowSet;
use crate::table::{Table, View};

/// Fills the rest of a list that is not full.
pub(crate) const NO_ROW: u32 = u32::MAX;

const _: () = assert!(ROWS_MAX <= 1 << 31, "a row number, a flag, and the filler is neither");

/// A navigable small-world graph over rows whose vectors it does not hold: every call that computes
/// distances takes the rows beside it. Rows join and leave in batches, in any order of their
/// numbers.
///
/// A clone is cheap: it shares memory with the graph until one of the two changes, and then all but
/// what changes. Neither sees what happens to the other.
#[derive(Clone)]
pub struct Graph {
    pub(crate) params: Params,
    pub(crate) kernel: Kernel,
    /// Which rows are in it.
    pub(crate) members: Arc<RowSet>,
    /// Where a search begins: the lowest row on the highest layer that any row stands on.
    pub(crate) entry: Option<Entry>,
    /// Lists of layer 0: `2 * m` row numbers a row, filled up with `NO_ROW`.
    pub(crate) base: Table<u32>,
    /// Lists of the layers above: `m` row numbers a list, first the lists of the lowest row.
    pub(crate) upper: Table<u32>,
    /// Per row number, holes included, the number of upper lists before its own, and at the end the
    /// number of all: so neighbours in this array also tell a row's top layer.
    pub(crate) upper_starts: Table<u32>,
    /// What walks compare: what `params` says, or what was chosen.
    pub(crate) code: Code,
    /// Whether that was chosen by measuring.
    pub(crate) is_code_measured: bool,
    /// The code of each row, zeros for a hole; empty where rows have none.
    pub(crate) codes: Table<i8>,
    /// Codes that links are chosen by where walks compare coarser ones: of none of the rows in a
    /// graph that was read, of all from its first change on. Not in an image.
    pub(crate) build_codes: Table<i8>,
    /// The recall of its searches, as it was when last measured.
    pub(crate) calibration: Option<Calibration>,
    /// Whatever writes a list, or has a row join or leave, notes it here. Not in an image.
    pub(crate) changed: Changed,
}

/// What memory a graph takes, in bytes, room for growth included, and what it shares with its
/// clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphMemory {
    /// Links of layer 0, which rows there are, and which have changed.
    pub links: usize,
    /// Links of the layers above, and where they begin.
    pub upper_links: usize,
    /// Codes.
    pub codes: usize,
    /// Codes that links are chosen by where walks compare coarser ones, once rows were taken in.
    pub build_codes: usize,
    /// Links of layer 0 that are read where the image lies ([`Graph::view`]), not counted above.
    pub viewed_links: usize,
    /// The same of the layers above.
    pub viewed_upper_links: usize,
    /// The same of codes.
    pub viewed_codes: usize,
}

/// Where a search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) row: u32,
    pub(crate) layer: u8,
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shape = f.debug_struct("Graph");
        shape
            .field("params", &self.params)
            .field("count", &self.count())
            .field("entry", &self.entry);
        shape.finish_non_exhaustive()
    }
}

impl Graph {
    /// A graph without rows, on the fastest instruction set of this CPU.
    ///
    /// # Panics
    /// If a parameter is out of its limits: see [`Params::validate`].
    #[must_use]
    pub fn new(params: Params) -> Self {
        if let Err(error) = params.validate() {
            panic!("a graph of invalid parameters: {error}");
        }
        let kernel = Kernel::new(Isa::detect(), params.metric);
        let code = params.code.first(params.metric);
        let mut upper_starts = Table::new(1);
        upper_starts.grow(1, 0);
        Self {
            kernel,
            members: Arc::default(),
            entry: None,
            base: Table::new(params.links_max(0)),
            upper: Table::new(params.links_max(1)),
            upper_starts,
            code,
            is_code_measured: false,
            codes: code_table(code, params.dims),
            build_codes: Table::new(1),
            calibration: None,
            changed: Changed::all(),
            params,
        }
    }

    /// The same graph, computing on `isa`. Results do not change, only their speed.
    #[must_use]
    pub fn with_isa(mut self, isa: Isa) -> Self {
        self.kernel = Kernel::new(isa, self.params.metric);
        self
    }

    /// What it is built with.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What walks compare: what [`Params::code`] says, or what was chosen.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// What links are chosen by.
    pub(crate) fn build_code(&self) -> Code {
        self.code.of_builds(self.params.metric)
    }

    /// Whether links are chosen by codes that walks do not compare.
    pub(crate) fn has_build_codes(&self) -> bool {
        self.build_code() != self.code
    }

    /// What it computes distances with.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// One more than the highest row in the graph; 0 if there is none. Some numbers below it may be
    /// of no row.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "batches and decode stop at ROWS_MAX")]
    pub fn len(&self) -> u32 {
        (self.upper_starts.len() - 1) as u32
    }

    /// How many rows are in the graph.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.members.count()
    }

    /// Whether no row is in the graph.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a row is in the graph.
    #[must_use]
    pub fn contains(&self, row: u32) -> bool {
        self.members.contains(row)
    }

    /// The rows in the graph.
    #[must_use]
    pub fn members(&self) -> &RowSet {
        &self.members
    }

    /// What has changed since this was last called, or since the graph was made or read; a graph
    /// that was made has changed in all. A clone goes on with what its original would have said.
    pub fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    /// Whether a number below [`Graph::len`] is of no row.
    pub(crate) fn has_holes(&self) -> bool {
        self.count() < self.len()
    }

    /// What memory it takes.
    #[must_use]
    pub fn memory(&self) -> GraphMemory {
        GraphMemory {
            links: self.base.memory_bytes()
                + self.members.memory_bytes()
                + self.changed.memory_bytes(),
            upper_links: self.upper.memory_bytes() + self.upper_starts.memory_bytes(),
            codes: self.codes.memory_bytes(),
            build_codes: self.build_codes.memory_bytes(),
            viewed_links: self.base.viewed_bytes(),
            viewed_upper_links: self.upper.viewed_bytes() + self.upper_starts.viewed_bytes(),
            viewed_codes: self.codes.viewed_bytes(),
        }
    }

    /// Reads nothing of its image any more ([`Graph::view`]): what it saw there is memory of its
    /// own. Any change does this first. Cost: a copy.
    pub fn detach(&mut self) {
        self.settle();
    }

    /// How many rows no search can reach: those no path of links leads to, layer 0 from the entry
    /// point. Cost: one pass over the graph.
    #[must_use]
    pub fn unreachable_count(&self) -> u32 {
        self.count() - self.reached().count()
    }

    /// The rows that paths of links lead to, on layer 0 from the entry point.
    pub(crate) fn reached(&self) -> RowSet {
        let lists = self.lists();
        let mut words = vec![0_u64; self.len().div_ceil(64) as usize];
        let mut open: Vec<u32> = self.entry.map(|entry| entry.row).into_iter().collect();
        while let Some(row) = open.pop() {
            let (word, bit) = (&mut words[row as usize / 64], 1 << (row % 64));
            if *word & bit == 0 {
                *word |= bit;
                open.extend_from_slice(lists.links(row, 0));
            }
        }
        RowSet::from_words(words)
    }

    /// The highest layer `row` stands on.
    ///
    /// # Panics
    /// If the row is not below the graph's length.
    pub(crate) fn top_layer(&self, row: u32) -> u8 {
        self.lists().top_layer(row)
    }

    /// The rows that `row` links to on `layer`, in the order they were chosen.
    ///
    /// # Panics
    /// If the row is not in the graph or does not stand on the layer.
    pub(crate) fn links(&self, row: u32, layer: u8) -> &[u32] {
        self.lists().links(row, layer)
    }

    /// Its lists, for who reads many.
    pub(crate) fn lists(&self) -> Lists<'_> {
        Lists {
            base: self.base.view(),
            upper: self.upper.view(),
            upper_starts: self.upper_starts.view(),
        }
    }

    /// Replaces a list; no list is written to by any other way.
    ///
    /// # Panics
    /// If the row does not stand on the layer or the links are more than a list holds.
    pub(crate) fn set_links(&mut self, row: u32, layer: u8, links: &[u32]) {
        self.changed.note(row);
        let list = if layer == 0 {
            self.base.row_mut(row as usize)
        } else {
            let index = self.lists().upper_index(row, layer);
            self.upper.row_mut(index)
        };
        let (used, unused) = list.split_at_mut(links.len());
        used.copy_from_slice(links);
        unused.fill(NO_ROW);
    }

    /// To be called before changes: see [`Table::settle`].
    pub(crate) fn settle(&mut self) {
        let Self { base, upper, upper_starts, codes, build_codes, .. } = self;
        base.settle();
        upper.settle();
        upper_starts.settle();
        codes.settle();
        build_codes.settle();
    }

    /// Makes room for row numbers up to `len`: holes, so far, on layers that are drawn here.
    pub(crate) fn grow(&mut self, len: u32) {
        assert!(len <= ROWS_MAX, "a graph holds {ROWS_MAX} rows");
        let old = self.len();
        if len <= old {
            return;
        }
        let more = (len - old) as usize;
        let mut end = self.upper_starts.row(old as usize)[0];
        self.upper_starts.grow(more, 0);
        for row in old..len {
            let layer = layer_of(self.params.seed, row, self.params.m);
            end = end.checked_add(u32::from(layer)).expect("fewer upper lists than 2^32");
            self.upper_starts.row_mut(row as usize + 1)[0] = end;
            self.changed.note(row);
        }
        self.base.grow(more, NO_ROW);
        self.upper.grow(end as usize - self.upper.len(), NO_ROW);
        if self.code != Code::None {
            self.codes.grow(more, 0);
        }
        if self.build_codes.len() > 0 {
            self.build_codes.grow(more, 0);
        }
    }

    /// Rows `joins`, for which there is room, are in the graph from now on.
    pub(crate) fn join(&mut self, joins: &[u32]) {
        for &row in joins {
            self.changed.note_joined(row);
            let layer = self.top_layer(row);
            let is_above = |entry: Entry| (layer, entry.row) > (entry.layer, row);
            if self.entry.is_none_or(is_above) {
                self.entry = Some(Entry { row, layer });
            }
        }
        let members = Arc::make_mut(&mut self.members);
        for &row in joins {
            members.insert(row);
        }
    }

    /// Rows `leaves`, to which nobody links any more, are not in the graph from now on.
    pub(crate) fn leave(&mut self, leaves: &[u32]) {
        for &row in leaves {
            for layer in 0..=self.top_layer(row) {
                self.set_links(row, layer, &[]);
            }
            for codes in [&mut self.codes, &mut self.build_codes] {
                if codes.len() > 0 {
                    codes.row_mut(row as usize).fill(0);
                }
            }
        }
        let members = Arc::make_mut(&mut self.members);
        for &row in leaves {
            members.remove(row);
        }
        let len = members.last().map_or(0, |last| last + 1) as usize;
        self.upper_starts.truncate(len + 1);
        self.upper.truncate(self.upper_starts.row(len)[0] as usize);
        for codes in [&mut self.codes, &mut self.build_codes] {
            codes.truncate(len);
        }
        self.base.truncate(len);
        if self.entry.is_some_and(|entry| !self.members.contains(entry.row)) {
            self.entry = self.find_entry();
        }
    }

    /// The lowest row on the highest layer that any row stands on. Cost: a step a row.
    pub(crate) fn find_entry(&self) -> Option<Entry> {
        let lists = self.lists();
        let rows = self.members.iter().map(|row| Entry { row, layer: lists.top_layer(row) });
        rows.reduce(|best, entry| if entry.layer > best.layer { entry } else { best })
    }
}

/// A table of the codes of rows.
pub(crate) fn code_table(code: Code, dims: u32) -> Table<i8> {
    // A table of no codes stays empty.
    Table::new(code.len_bytes(dims).max(1))
}

/// The lists of a graph.
#[derive(Clone, Copy)]
pub(crate) struct Lists<'a> {
    base: View<'a, u32>,
    upper: View<'a, u32>,
    upper_starts: View<'a, u32>,
}

impl<'a> Lists<'a> {
    /// As [`Graph::links`].
    #[inline(always)]
    pub(crate) fn links(&self, row: u32, layer: u8) -> &'a [u32] {
        let list = self.list(row, layer);
        &list[..list.partition_point(|&link| link != NO_ROW)]
    }

    /// The whole room of a list: links, then filler.
    #[inline(always)]
    pub(crate) fn list(&self, row: u32, layer: u8) -> &'a [u32] {
        if layer == 0 {
            self.base.row(row as usize)
        } else {
            self.upper.row(self.upper_index(row, layer))
        }
    }

    /// As [`Graph::top_layer`].
    pub(crate) fn top_layer(&self, row: u32) -> u8 {
        u8::try_from(self.start(row + 1) - self.start(row)).expect("layers are capped")
    }

    fn upper_index(&self, row: u32, layer: u8) -> usize {
        let start = self.start(row);
        let top = self.start(row + 1) - start;
        assert!((1..=top).contains(&layer.into()), "row {row} of top layer {top}: layer {layer}");
        start as usize + usize::from(layer) - 1
    }

    /// The number of upper lists before those of a row.
    #[inline(always)]
    fn start(&self, row: u32) -> u32 {
        self.upper_starts.row(row as usize)[0]
    }
}
