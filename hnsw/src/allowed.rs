//! Which rows a search may return.
//!
//! Says it for callers as sets, and for walks as bits of the rows of one graph. How a search makes
//! use of it is chosen in `plan`.

use crate::graph::Graph;
use crate::rowset::RowSet;

/// Which rows a search may return. A row that is not in the graph is never returned.
#[derive(Clone, Copy, Debug, Default)]
pub enum Allowed<'a> {
    /// Every row.
    #[default]
    All,
    /// The rows of a set, and no other.
    Only(&'a RowSet),
    /// Every row but those of a set.
    AllBut(&'a RowSet),
}

impl Allowed<'_> {
    /// Whether it allows a row.
    #[must_use]
    pub fn contains(self, row: u32) -> bool {
        match self {
            Self::All => true,
            Self::Only(rows) => rows.contains(row),
            Self::AllBut(rows) => !rows.contains(row),
        }
    }

    /// How many of the rows `0..len` it allows. Cost: that of [`RowSet::count_below`].
    #[must_use]
    pub fn count(self, len: u32) -> u32 {
        match self {
            Self::All => len,
            Self::Only(rows) => rows.count_below(len),
            Self::AllBut(rows) => len - rows.count_below(len),
        }
    }

    /// Which of the 64 rows from 64 times `word` on it allows, as a word of a [`RowSet`] has them.
    #[must_use]
    pub fn bits(self, word: u32) -> u64 {
        let (words, flip) = self.words();
        words.get(word as usize).copied().unwrap_or(0) ^ flip
    }
}

impl<'a> Allowed<'a> {
    /// Words, of which the last is followed by zeros, and all ones where they say which rows are
    /// not allowed.
    fn words(self) -> (&'a [u64], u64) {
        match self {
            Self::All => (&[], !0),
            Self::Only(rows) => (rows.words(), 0),
            Self::AllBut(rows) => (rows.words(), !0),
        }
    }
}

/// The rows of a graph that pass, as bits.
#[derive(Clone, Copy)]
pub(crate) struct Passing<'a> {
    words: &'a [u64],
    /// All ones where the words say which rows do not pass.
    flip: u64,
    /// The rows of the graph, where they are not all of `0..len`.
    members: Option<&'a [u64]>,
    len: u32,
    /// Rows of the graph that pass, and all of them.
    count: u32,
    total: u32,
}

impl<'a> Passing<'a> {
    pub(crate) fn new(allowed: Allowed<'a>, graph: &'a Graph) -> Self {
        let (words, flip) = allowed.words();
        let (len, total) = (graph.len(), graph.count());
        let members = graph.has_holes().then(|| graph.members().words());
        let mut passing = Self { words, flip, members, len, count: allowed.count(len), total };
        if let Some(members) = members {
            let passing_word =
                |(word, bits): (usize, &u64)| (bits & passing.bits(word)).count_ones();
            passing.count = members.iter().enumerate().map(passing_word).sum();
        }
        passing
    }

    /// How many they are.
    pub(crate) fn count(self) -> u32 {
        self.count
    }

    /// Whether every row passes.
    pub(crate) fn is_all(self) -> bool {
        self.count == self.total
    }

    /// Whether a row of the graph passes.
    #[inline(always)]
    pub(crate) fn contains(self, row: u32) -> bool {
        self.bits(row as usize / 64) >> (row % 64) & 1 == 1
    }

    #[inline(always)]
    fn bits(self, word: usize) -> u64 {
        self.words.get(word).copied().unwrap_or(0) ^ self.flip
    }

    /// The rows, to be taken in order.
    pub(crate) fn rows(self) -> PassingRows<'a> {
        PassingRows { passing: self, start: 0, bits: self.bits_of_graph(0) }
    }

    /// Of the 64 rows from `start` on those that are in the graph and pass.
    #[inline(always)]
    fn bits_of_graph(self, start: u32) -> u64 {
        let left = self.len.saturating_sub(start);
        let word = start as usize / 64;
        let members = self.members.map_or(!0, |members| members.get(word).copied().unwrap_or(0));
        let bits = self.bits(word) & members;
        if left < 64 { bits & ((1 << left) - 1) } else { bits }
    }
}

/// The rows of a graph that pass, as far as they were not taken yet.
pub(crate) struct PassingRows<'a> {
    passing: Passing<'a>,
    /// The first row of the word at hand.
    start: u32,
    /// What is left of it.
    bits: u64,
}

impl PassingRows<'_> {
    /// Puts the next rows in place of what is in `block`, at most `most`; none at the end. Cost: a
    /// step a row, and one for every 64 rows of the graph.
    #[inline(never)]
    pub(crate) fn take(&mut self, most: usize, block: &mut Vec<u32>) {
        block.clear();
        while block.len() < most {
            if self.bits == 0 {
                if self.passing.len - self.start <= 64 {
                    return;
                }
                self.start += 64;
                self.bits = self.passing.bits_of_graph(self.start);
                continue;
            }
            block.push(self.start + self.bits.trailing_zeros());
            self.bits &= self.bits - 1;
        }
    }
}
