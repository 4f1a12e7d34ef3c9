//! Rows that nobody has checked yet: which, and how they are asked for before they are read.
//!
//! Keeps a bit for each block of rows, set until the block was found right. What a check is, and
//! what becomes of a block that fails it, is left to whoever keeps the rows.

use std::fmt;
use std::ops::Range;
use std::panic::RefUnwindSafe;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Blocks of a power of two of rows that are to be checked before they are read.
#[derive(Debug)]
pub struct Unchecked {
    /// A bit a block. Behind the last word nothing is to be checked.
    words: Vec<AtomicU64>,
    rows_log2: u32,
    /// Bits that are set.
    left: AtomicU32,
}

impl Unchecked {
    /// None yet, in blocks of `1 << rows_per_block_log2` rows.
    ///
    /// # Panics
    /// If `rows_per_block_log2` is over 31.
    #[must_use]
    pub fn new(rows_per_block_log2: u32) -> Self {
        assert!(rows_per_block_log2 < u32::BITS, "2^{rows_per_block_log2} rows a block");
        Self { words: Vec::new(), rows_log2: rows_per_block_log2, left: AtomicU32::new(0) }
    }

    /// These rows are to be checked, and none of them was to be before. Cost: a step a block.
    ///
    /// # Panics
    /// If they are not whole blocks.
    pub fn add(&mut self, rows: Range<u32>) {
        let blocks = rows.start >> self.rows_log2..rows.end >> self.rows_log2;
        let whole = blocks.start << self.rows_log2..blocks.end << self.rows_log2;
        assert_eq!(rows, whole, "rows in blocks of 2^{}", self.rows_log2);
        self.words.resize_with((blocks.end as usize).div_ceil(64), AtomicU64::default);
        *self.left.get_mut() += blocks.end - blocks.start;
        for block in blocks {
            *self.words[block as usize / 64].get_mut() |= 1 << (block % 64);
        }
    }

    /// The rows of a block.
    #[must_use]
    pub fn rows_per_block_log2(&self) -> u32 {
        self.rows_log2
    }

    /// Whether a row is in a block that is still to be checked.
    #[must_use]
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        let block = row >> self.rows_log2;
        // The rows were there before and do not change: nothing but the bit itself is handed over.
        let word = self.words.get(block as usize / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (block % 64)) != 0)
    }

    /// A block was found right. Several threads may say so of one.
    pub fn remove(&self, block: u32) {
        let Some(word) = self.words.get(block as usize / 64) else { return };
        let bit = 1 << (block % 64);
        if word.fetch_and(!bit, Ordering::Relaxed) & bit != 0 {
            self.left.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Blocks that are still to be checked.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left.load(Ordering::Relaxed)
    }
}

/// Stands before rows of which some are to be checked: see [`Rows::guarded`](crate::Rows::guarded).
pub struct Guard<'a> {
    unchecked: &'a Unchecked,
    check: &'a (dyn Fn(u32) -> bool + Sync),
    /// What is read in the place of rows that failed: a block of zeroes.
    zeroes: OnceLock<Vec<f32>>,
}

/// A check that panics leaves its block to be checked.
impl RefUnwindSafe for Guard<'_> {}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("left", &self.unchecked.left()).finish_non_exhaustive()
    }
}

impl<'a> Guard<'a> {
    /// `check` gets the number of a block when a row of it is wanted, and says whether it is right:
    /// it [removes](Unchecked::remove) it then, or is asked again. Several threads may ask at once.
    #[must_use]
    pub fn new(unchecked: &'a Unchecked, check: &'a (dyn Fn(u32) -> bool + Sync)) -> Self {
        Self { unchecked, check, zeroes: OnceLock::new() }
    }

    /// Whether a row needs no check.
    #[inline]
    pub(crate) fn is_checked(&self, row: u32) -> bool {
        !self.unchecked.contains(row)
    }

    pub(crate) fn check(&self, row: u32) -> bool {
        (self.check)(row >> self.unchecked.rows_log2)
    }

    pub(crate) fn rows_log2(&self) -> u32 {
        self.unchecked.rows_log2
    }

    /// `count` rows of zeroes, at most a block.
    #[cold]
    pub(crate) fn zeroes(&self, count: usize, stride: usize) -> &[f32] {
        let zeroes = self.zeroes.get_or_init(|| vec![0.0; stride << self.unchecked.rows_log2]);
        &zeroes[..count * stride]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_unchecked_from_when_they_are_added_until_they_are_removed() {
        let mut unchecked = Unchecked::new(2);
        assert!(!unchecked.contains(0) && unchecked.left() == 0);
        unchecked.add(8..16);
        unchecked.add(512..520);
        let found = |unchecked: &Unchecked| {
            (0..600).filter(|row| unchecked.contains(*row)).collect::<Vec<u32>>()
        };
        assert_eq!(found(&unchecked), (8..16).chain(512..520).collect::<Vec<_>>());
        assert_eq!((unchecked.left(), unchecked.rows_per_block_log2()), (4, 2));
        for _ in 0..2 {
            unchecked.remove(3);
            unchecked.remove(128);
            assert_eq!(unchecked.left(), 2, "each block counts once");
        }
        assert_eq!(found(&unchecked), (8..12).chain(516..520).collect::<Vec<_>>());
        unchecked.remove(0);
        unchecked.remove(9999);
        assert_eq!(unchecked.left(), 2, "others were not to be checked");
    }

    #[test]
    #[should_panic(expected = "rows in blocks of 2^2")]
    fn a_part_of_a_block_is_refused() {
        Unchecked::new(2).add(4..6);
    }
}
