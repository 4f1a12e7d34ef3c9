//! All rows that pass, compared one after the other: by codes, or by vectors.
//!
//! Few rows are soon compared, and their order in memory is known ahead: rows are asked for a block
//! before they are scored. Finds what no walk can miss.

use std::mem::{swap, take};

use crate::allowed::{Passing, PassingRows};
use crate::context::Beam;
use crate::exact::Nearest;
use crate::kernel::Kernel;
use crate::kernel::prefetch::prefetch;
use crate::key::Key;
use crate::rows::Rows;
use crate::space::{Aim, Space};

/// Rows asked for before the first of them is scored.
const BLOCK: usize = 32;

/// Leaves in `keys` the nearest `most` of the rows that pass, by distances of `space`, in order.
#[inline(always)]
pub(crate) fn by_space<P: Space>(
    space: P,
    aim: &Aim,
    passing: Passing<'_>,
    most: usize,
    beam: &mut Beam,
    keys: &mut Vec<Key>,
) {
    let mut nearest = Nearest::reuse(take(keys), most, passing.count() as usize);
    let mut blocks = Blocks::new(passing, beam);
    while blocks.advance() {
        for &row in &*blocks.next {
            space.prefetch(row);
        }
        space.each(aim, blocks.block, |key| nearest.offer_key(key));
    }
    *keys = nearest.into_sorted();
    #[cfg(feature = "counters")]
    {
        beam.effort.bytes += u64::from(passing.count()) * space.row_len_bytes() as u64;
    }
}

/// The same by the distances of vectors; `query` is a stride long.
pub(crate) fn by_vectors(
    rows: &Rows<'_>,
    query: &[f32],
    kernel: Kernel,
    passing: Passing<'_>,
    most: usize,
    beam: &mut Beam,
    (keys, distances): (&mut Vec<Key>, &mut Vec<f32>),
) {
    let mut nearest = Nearest::reuse(take(keys), most, passing.count() as usize);
    let mut blocks = Blocks::new(passing, beam);
    while blocks.advance() {
        for &row in &*blocks.next {
            prefetch(rows.unread(row));
        }
        kernel.distances(query, rows, blocks.block, distances);
        for (&row, &distance) in blocks.block.iter().zip(&*distances) {
            nearest.offer(distance, row);
        }
    }
    *keys = nearest.into_sorted();
    #[cfg(feature = "counters")]
    {
        beam.effort.bytes += u64::from(passing.count()) * size_of_val(query) as u64;
    }
}

/// The rows that pass, a block at a time. What is done with them is left to the sweep: code takes
/// on the instruction set of the function it stands in, and a closure is a function of its own.
struct Blocks<'a> {
    left: PassingRows<'a>,
    /// To be scored; none at first.
    block: &'a mut Vec<u32>,
    /// To be asked for; none at last.
    next: &'a mut Vec<u32>,
    is_last: bool,
}

impl<'a> Blocks<'a> {
    /// Before the first of them. Every row that passes counts as a distance.
    fn new(passing: Passing<'a>, beam: &'a mut Beam) -> Self {
        let Beam { via: block, fresh: next, effort, .. } = beam;
        effort.distances = effort.distances.saturating_add(passing.count());
        next.clear();
        Self { left: passing.rows(), block, next, is_last: false }
    }

    /// Goes on by a block; false at the end.
    #[inline(always)]
    fn advance(&mut self) -> bool {
        if self.is_last {
            return false;
        }
        swap(self.block, self.next);
        self.left.take(BLOCK, self.next);
        self.is_last = self.next.is_empty();
        true
    }
}
