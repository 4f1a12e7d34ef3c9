//! The graph as memory: who links to whom, in flat arrays of row numbers, and the code of each row.
//!
//! Keeps the shape: rows `0..len` are in the graph, each stands on layers 0 to `layer_of(row)`, a
//! list never links to itself, twice to one row, or to a row that does not stand on its layer.
//! Which links are good ones is decided in `build`; walking them is `walk`'s; bytes are `image`'s.

use std::fmt;

use crate::calibration::Calibration;
use crate::code::Code;
use crate::kernel::{Isa, Kernel};
use crate::layer::layer_of;
use crate::memory::Table;
use crate::params::{Params, ROWS_MAX};

/// Fills the rest of a list that is not full.
pub(crate) const NO_ROW: u32 = u32::MAX;

const _: () = assert!(ROWS_MAX <= 1 << 31, "a row number, a flag, and the filler is neither");

/// A navigable small-world graph over rows whose vectors it does not hold: every call that computes
/// distances takes the rows beside it. Rows join in order of their numbers and never leave.
#[derive(Clone)]
pub struct Graph {
    pub(crate) params: Params,
    pub(crate) kernel: Kernel,
    /// Where a search begins: the lowest row on the highest layer that any row stands on.
    pub(crate) entry: Option<Entry>,
    /// Lists of layer 0: `2 * m` row numbers a row, filled up with `NO_ROW`.
    pub(crate) base: Table<u32>,
    /// Lists of the layers above: `m` row numbers a list, first the lists of the lowest row.
    pub(crate) upper: Table<u32>,
    /// Per row the number of upper lists before its own, and at the end the number of all: so
    /// neighbours in this array also tell a row's top layer.
    pub(crate) upper_starts: Table<u32>,
    /// What walks compare: what `params` says, or what was chosen.
    pub(crate) code: Code,
    /// Whether that was chosen by measuring.
    pub(crate) is_code_measured: bool,
    /// The code of each row; empty where rows have none.
    pub(crate) codes: Table<i8>,
    /// Codes that links are chosen by where walks compare coarser ones: of none of the rows in a
    /// graph that was read, of all from the first batch on that it takes in. Not in an image.
    pub(crate) build_codes: Table<i8>,
    /// The recall of its searches, as it was when last measured.
    pub(crate) calibration: Option<Calibration>,
}

/// What memory a graph takes, in bytes, room for growth included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphMemory {
    /// Links of layer 0.
    pub links: usize,
    /// Links of the layers above, and where they begin.
    pub upper_links: usize,
    /// Codes.
    pub codes: usize,
    /// Codes that links are chosen by where walks compare coarser ones, once rows were taken in.
    pub build_codes: usize,
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
        shape.field("params", &self.params).field("len", &self.len()).field("entry", &self.entry);
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
        let mut upper_starts = Table::new();
        upper_starts.grow(1, 0);
        Self {
            params,
            kernel,
            entry: None,
            base: Table::new(),
            upper: Table::new(),
            upper_starts,
            code,
            is_code_measured: false,
            codes: Table::new(),
            build_codes: Table::new(),
            calibration: None,
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

    /// How many rows are in the graph: exactly rows `0..len`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "push_row and decode stop at ROWS_MAX")]
    pub fn len(&self) -> u32 {
        (self.upper_starts.items().len() - 1) as u32
    }

    /// Whether no row is in the graph.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What memory it takes.
    #[must_use]
    pub fn memory(&self) -> GraphMemory {
        GraphMemory {
            links: self.base.memory_bytes(),
            upper_links: self.upper.memory_bytes() + self.upper_starts.memory_bytes(),
            codes: self.codes.memory_bytes(),
            build_codes: self.build_codes.memory_bytes(),
        }
    }

    /// How many rows no search can reach: those no path of links leads to, layer 0 from the entry
    /// point. Cost: one pass over the graph.
    #[must_use]
    pub fn unreachable_count(&self) -> u32 {
        let mut reached = vec![false; self.len() as usize];
        let mut open: Vec<u32> = self.entry.map(|entry| entry.row).into_iter().collect();
        let mut count = self.len();
        while let Some(row) = open.pop() {
            if !std::mem::replace(&mut reached[row as usize], true) {
                count -= 1;
                open.extend_from_slice(self.links(row, 0));
            }
        }
        count
    }

    /// The highest layer `row` stands on.
    ///
    /// # Panics
    /// If the row is not in the graph.
    pub(crate) fn top_layer(&self, row: u32) -> u8 {
        let (row, starts) = (row as usize, self.upper_starts.items());
        u8::try_from(starts[row + 1] - starts[row]).expect("layers are capped")
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
            base: self.base.items(),
            upper: self.upper.items(),
            upper_starts: self.upper_starts.items(),
            m: usize::from(self.params.m),
        }
    }

    /// Replaces a list.
    ///
    /// # Panics
    /// If the row does not stand on the layer or the links are more than a list holds.
    pub(crate) fn set_links(&mut self, row: u32, layer: u8, links: &[u32]) {
        let stride = self.params.links_max(layer);
        let list = if layer == 0 {
            &mut self.base.items_mut()[row as usize * stride..][..stride]
        } else {
            let index = self.lists().upper_index(row, layer);
            &mut self.upper.items_mut()[index * stride..][..stride]
        };
        let (used, unused) = list.split_at_mut(links.len());
        used.copy_from_slice(links);
        unused.fill(NO_ROW);
    }

    /// Takes in the next row, without links.
    pub(crate) fn push_row(&mut self) {
        let row = self.len();
        assert!(row < ROWS_MAX, "a graph holds {ROWS_MAX} rows");
        let layer = layer_of(self.params.seed, row, self.params.m);
        self.base.grow(self.params.links_max(0), NO_ROW);
        self.upper.grow(usize::from(layer) * self.params.links_max(1), NO_ROW);
        let start = self.upper_starts.items()[row as usize];
        let end = start.checked_add(u32::from(layer)).expect("fewer upper lists than rows * 2");
        self.upper_starts.grow(1, end);
        if self.entry.is_none_or(|entry| layer > entry.layer) {
            self.entry = Some(Entry { row, layer });
        }
    }
}

/// The lists of a graph.
#[derive(Clone, Copy)]
pub(crate) struct Lists<'a> {
    base: &'a [u32],
    upper: &'a [u32],
    upper_starts: &'a [u32],
    m: usize,
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
            &self.base[row as usize * 2 * self.m..][..2 * self.m]
        } else {
            &self.upper[self.upper_index(row, layer) * self.m..][..self.m]
        }
    }

    fn upper_index(&self, row: u32, layer: u8) -> usize {
        let start = self.upper_starts[row as usize];
        let top = self.upper_starts[row as usize + 1] - start;
        assert!((1..=top).contains(&layer.into()), "row {row} of top layer {top}: layer {layer}");
        start as usize + usize::from(layer) - 1
    }
}
