//! All rows that pass, compared one after the other: by codes, or by vectors.
//!
//! Few rows are soon compared, and their order in memory is known ahead: rows are asked for a block
//! before they are scored. Finds what no walk can miss.

use std::mem::{swap, take};

use crate::allowed::Passing;
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
    let Beam { via: block, fresh: next, effort, .. } = beam;
    let mut nearest = Nearest::reuse(take(keys), most, passing.count() as usize);
    let mut rows = passing.rows();
    next.clear();
    loop {
        swap(block, next);
        rows.take(BLOCK, next);
        for &row in &*next {
            space.prefetch(row);
        }
        space.each(aim, block, |key| nearest.offer_key(key));
        if next.is_empty() {
            break;
        }
    }
    *keys = nearest.into_sorted();
    effort.distances = effort.distances.saturating_add(passing.count());
    #[cfg(feature = "counters")]
    {
        effort.bytes += u64::from(passing.count()) * space.row_len_bytes() as u64;
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
    let Beam { via: block, fresh: next, effort, .. } = beam;
    let mut nearest = Nearest::reuse(take(keys), most, passing.count() as usize);
    let mut left = passing.rows();
    next.clear();
    loop {
        swap(block, next);
        left.take(BLOCK, next);
        for &row in &*next {
            prefetch(rows.row(row));
        }
        kernel.distances(query, rows, block, distances);
        for (&row, &distance) in block.iter().zip(&*distances) {
            nearest.offer(distance, row);
        }
        if next.is_empty() {
            break;
        }
    }
    *keys = nearest.into_sorted();
    effort.distances = effort.distances.saturating_add(passing.count());
    #[cfg(feature = "counters")]
    {
        effort.bytes += u64::from(passing.count()) * size_of_val(query) as u64;
    }
}
