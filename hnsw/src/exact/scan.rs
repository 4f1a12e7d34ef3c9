//! One query past every live row, in the order of memory: the time is that of reading the rows.
//!
//! A CPU fetches rows that follow one another by itself, and best one after another. Where dead
//! rows lie between, it cannot guess: rows are asked for first, and then scored four at a time.

use std::ops::Range;

use super::nearest::Nearest;
use crate::kernel::Kernel;
use crate::kernel::prefetch::prefetch;
use crate::rows::Rows;

/// Rows scored at a time where none is dead.
const RUN: usize = 64;
/// Live rows scored at a time where some may be dead.
const GATHER: usize = 16;

/// Offers every live row of `range` to `nearest`. `query` is a stride long.
pub(super) fn scan(
    rows: &Rows<'_>,
    range: Range<u32>,
    query: &[f32],
    live: Option<&dyn Fn(u32) -> bool>,
    kernel: Kernel,
    nearest: &mut Nearest,
) {
    let mut scan = Scan { rows, query, kernel, nearest };
    let Some(live) = live else {
        let mut left = range;
        while !left.is_empty() {
            scan.run(&mut left);
        }
        return;
    };
    let mut ids = Vec::with_capacity(GATHER);
    let mut distances = Vec::with_capacity(GATHER);
    for row in range {
        if live(row) {
            ids.push(row);
            if ids.len() == GATHER {
                scan.group(&ids, &mut distances);
                ids.clear();
            }
        }
    }
    scan.group(&ids, &mut distances);
}

struct Scan<'a, 'b> {
    rows: &'a Rows<'b>,
    query: &'a [f32],
    kernel: Kernel,
    nearest: &'a mut Nearest,
}

impl Scan<'_, '_> {
    /// Scores the first rows of `left` and takes them from it: at most `RUN`, of one chunk.
    fn run(&mut self, left: &mut Range<u32>) {
        let floats = self.rows.run(left.clone());
        let count = (floats.len() / self.query.len()).min(RUN);
        let mut distances = [0.0; RUN];
        let distances = &mut distances[..count];
        self.kernel.run(self.query, &floats[..count * self.query.len()], distances);
        let limit = self.nearest.limit();
        // Counted, not searched: the common answer, that all are too far, comes without branches.
        let above = distances.iter().filter(|&&distance| distance > limit).count();
        if above == count {
            left.start += u32::try_from(count).expect("at most RUN");
            return;
        }
        // Distances first: when they end, no row has been taken for nothing.
        for (&distance, row) in distances.iter().zip(left) {
            self.nearest.offer(distance, row);
        }
    }

    /// Scores the rows `ids`, in ascending order.
    fn group(&mut self, ids: &[u32], distances: &mut Vec<f32>) {
        let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else { return };
        if (last - first) as usize + 1 == ids.len() {
            let mut left = first..last + 1;
            while !left.is_empty() {
                self.run(&mut left);
            }
            return;
        }
        for &row in ids {
            prefetch(self.rows.unread(row));
        }
        self.kernel.distances(self.query, self.rows, ids, distances);
        for (&distance, &row) in distances.iter().zip(ids) {
            self.nearest.offer(distance, row);
        }
    }
}
