//! The nearest rows by looking at each: the truth that a graph approximates.
//!
//! For rows that no graph holds yet, for answers that must be exact, and as the oracle of tests.

use std::ops::Range;

use crate::kernel::Kernel;
use crate::kernel::prefetch::prefetch;
use crate::key::{Key, Neighbor};
use crate::rows::Rows;

/// Candidates are gathered to at least this many before the nearest `k` are told apart.
const GATHER_MIN: usize = 512;

/// Appends to `out` the nearest `k` live rows of `range`, nearest first, ties by row number; all of
/// them if they are fewer.
///
/// `query` is `dims` floats, or a stride with zeros at its end. Cost: a distance a live row, and
/// memory for two times `k` candidates (never more than the range has rows).
///
/// # Panics
/// If `range` ends after the last row or `query` has another length.
pub fn exact(
    rows: &Rows<'_>,
    range: Range<u32>,
    query: &[f32],
    k: usize,
    live: Option<&dyn Fn(u32) -> bool>,
    kernel: Kernel,
    out: &mut Vec<Neighbor>,
) {
    assert!(range.end <= rows.len(), "rows up to {} of {}", range.end, rows.len());
    assert!(
        query.len() == rows.dims() as usize || query.len() == rows.stride(),
        "a query of {} floats for {} dimensions",
        query.len(),
        rows.dims(),
    );
    let k = k.min(range.len());
    if k == 0 {
        return;
    }
    let mut padded = query.to_vec();
    padded.resize(rows.stride(), 0.0);

    let mut nearest = Nearest::new(k, range.len());
    let mut ids = Vec::with_capacity(GROUP);
    let mut distances = Vec::with_capacity(GROUP);
    let mut row = range.start;
    while row < range.end {
        ids.clear();
        while row < range.end && ids.len() < GROUP {
            if live.is_none_or(|live| live(row)) {
                prefetch(rows.row(row));
                ids.push(row);
            }
            row += 1;
        }
        kernel.distances(&padded, rows, &ids, &mut distances);
        for (&row, &distance) in ids.iter().zip(&distances) {
            nearest.insert(Key::new(distance, row));
        }
    }
    out.extend(nearest.into_sorted().iter().map(|key| key.neighbor()));
}

/// Rows scored at a time.
const GROUP: usize = 16;

/// Appends to `out` the nearest `k` of two lists that are each nearest first with ties by row (as
/// every search gives them), in the same order. A row in both is returned twice.
pub fn merge(a: &[Neighbor], b: &[Neighbor], k: usize, out: &mut Vec<Neighbor>) {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    for _ in 0..k {
        let takes_a = match (a.peek(), b.peek()) {
            (Some(a), Some(b)) => a.key() <= b.key(),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return,
        };
        out.extend(if takes_a { a.next() } else { b.next() });
    }
}

/// The smallest `k` keys of many, for any `k`: gathers a multiple of `k`, then drops the rest, so a
/// key costs constant time on average.
struct Nearest {
    keys: Vec<Key>,
    k: usize,
    gather: usize,
    /// Keys at or beyond it are not among the smallest `k`.
    bound: Option<Key>,
}

impl Nearest {
    fn new(k: usize, count: usize) -> Self {
        let gather = k.saturating_mul(2).max(GATHER_MIN).min(count);
        Self { keys: Vec::with_capacity(gather), k, gather, bound: None }
    }

    fn insert(&mut self, key: Key) {
        if self.bound.is_some_and(|bound| key >= bound) {
            return;
        }
        if self.keys.len() == self.gather {
            let (_, &mut bound, _) = self.keys.select_nth_unstable(self.k - 1);
            self.keys.truncate(self.k);
            self.bound = Some(bound);
            if key >= bound {
                return;
            }
        }
        self.keys.push(key);
    }

    fn into_sorted(mut self) -> Vec<Key> {
        self.keys.sort_unstable();
        self.keys.truncate(self.k);
        self.keys
    }
}
