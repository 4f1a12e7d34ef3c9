//! Walking the graph towards a query: down the upper layers, then a beam on one layer.
//!
//! Reads the graph and a space, and leaves what it found in the beam. Choosing where to begin and
//! what to do with the answer is for `search` and `build`. Everything is `#[inline(always)]`: it is
//! compiled as part of their tasks, once for each instruction set.

use std::cmp::Reverse;

use crate::allowed::Passing;
use crate::context::Beam;
use crate::graph::{Entry, Graph, Lists, NO_ROW};
use crate::kernel::prefetch::prefetch;
use crate::key::Key;
use crate::space::{Aim, Space};

/// The widest beam kept in a sorted array: beyond, moving its tail costs more than a heap.
pub(crate) const POOL_BEAM_MAX: usize = if cfg!(ablate = "pool") { 0 } else { 1024 };

/// Walks on one state of a graph.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a, P> {
    pub(crate) lists: Lists<'a>,
    /// Rows in the graph.
    pub(crate) len: u32,
    pub(crate) space: P,
}

impl<'a, P: Space> Walk<'a, P> {
    pub(crate) fn new(graph: &'a Graph, space: P) -> Self {
        Self { lists: graph.lists(), len: graph.len(), space }
    }

    /// From `entry`, always to the nearest linked row, down to the layer above `floor`: the nearest
    /// row found, which stands on layer `floor` too.
    #[inline(always)]
    pub(crate) fn descend(&self, aim: &Aim, entry: Entry, floor: u8, beam: &mut Beam) -> Key {
        let mut nearest = Key::new(self.space.distance(aim, entry.row), entry.row);
        for layer in (floor + 1..=entry.layer).rev() {
            loop {
                let links = self.lists.links(nearest.row(), layer);
                for &link in links {
                    self.space.prefetch(link);
                }
                beam.effort.upper_distances += count(links);
                #[cfg(feature = "counters")]
                {
                    let rows = links.len() * self.space.row_len_bytes();
                    beam.effort.bytes += (size_of_val(links) + rows) as u64;
                }
                let mut found = nearest;
                self.space.each(aim, links, |key| found = found.min(key));
                // Strictly nearer every time, so the loop ends.
                if found == nearest {
                    break;
                }
                nearest = found;
            }
        }
        nearest
    }

    /// Leaves in `beam.pool` the nearest `width` rows that a beam from `start` finds on `layer`.
    #[inline(always)]
    pub(crate) fn beam(&self, aim: &Aim, start: Key, layer: u8, width: usize, beam: &mut Beam) {
        beam.visited.begin(self.len);
        beam.pool.begin(width);
        beam.visited.insert(start.row());
        beam.pool.insert(start);
        while let Some(next) = beam.pool.follow_next() {
            if let Some(after) = beam.pool.peek().filter(|_| !cfg!(ablate = "next-list")) {
                prefetch(self.lists.list(after.row(), layer));
            }
            self.gather_fresh(next.row(), layer, beam);
            let Beam { fresh, pool, .. } = beam;
            self.space.each(aim, fresh, |key| {
                if pool.insert(key) && !cfg!(ablate = "next-list") {
                    prefetch(self.lists.list(key.row(), layer));
                }
            });
        }
    }

    /// Leaves in `beam.found` the nearest `width` rows that pass, among those a beam from `start`
    /// finds on layer 0. Rows that do not pass lead on but do not count. For beams that are too
    /// wide for [`Walk::beam`].
    ///
    /// With every row passing this finds what [`Walk::beam`] does. Cost: as that of a beam of
    /// `width` divided by the share that passes near the query, in the worst case all rows.
    #[inline(always)]
    pub(crate) fn beam_of_live(
        &self,
        aim: &Aim,
        start: Key,
        width: usize,
        passing: Passing<'_>,
        beam: &mut Beam,
    ) {
        beam.visited.begin(self.len);
        beam.open.clear();
        beam.found.clear();
        beam.visited.insert(start.row());
        beam.open.push(Reverse(start));
        if passing.contains(start.row()) {
            beam.found.push(start);
        }
        while let Some(Reverse(next)) = beam.open.pop() {
            if beam.found.len() == width && beam.found.peek().is_some_and(|far| next > *far) {
                break;
            }
            if let Some(Reverse(after)) = beam.open.peek() {
                prefetch(self.lists.list(after.row(), 0));
            }
            self.gather_fresh(next.row(), 0, beam);
            let Beam { fresh, open, found, .. } = beam;
            self.space.each(aim, fresh, |key| {
                let is_full = found.len() == width;
                if is_full && found.peek().is_some_and(|far| key >= *far) {
                    return;
                }
                open.push(Reverse(key));
                if passing.contains(key.row()) {
                    if is_full {
                        found.pop();
                    }
                    found.push(key);
                }
            });
        }
    }

    /// The links of `row` not seen before into `beam.fresh`, each asked for as soon as it is known,
    /// so that all of them are on their way from memory before the first is read.
    #[inline(always)]
    pub(crate) fn gather_fresh(&self, row: u32, layer: u8, beam: &mut Beam) {
        let Beam { visited, fresh, effort, .. } = beam;
        let list = self.lists.list(row, layer);
        // Whether a row is new cannot be foretold: every link is written down, and the next one
        // over it if it was not.
        fresh.clear();
        fresh.resize(list.len(), 0);
        let mut new = 0;
        for &link in list {
            if link == NO_ROW {
                break;
            }
            #[cfg(feature = "counters")]
            {
                effort.visited_tests += 1;
            }
            fresh[new] = link;
            if visited.insert(link) {
                self.space.prefetch(link);
                new += 1;
            }
        }
        fresh.truncate(new);
        effort.hops += 1;
        effort.distances += count(fresh);
        #[cfg(feature = "counters")]
        {
            effort.bytes += (size_of_val(list) + new * self.space.row_len_bytes()) as u64;
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "links of a row")]
pub(crate) fn count(rows: &[u32]) -> u32 {
    rows.len() as u32
}
