//! Walking the graph towards a query: down the upper layers, then a beam on one layer.
//!
//! Reads the graph and the rows, and leaves what it found in the context. Choosing where to begin
//! and what to do with the answer is for `search` and `build`.

use std::cmp::Reverse;

use crate::context::SearchContext;
use crate::graph::{Entry, Graph};
use crate::kernel::prefetch::prefetch;
use crate::key::Key;
use crate::rows::Rows;

/// The widest beam kept in a sorted array: beyond, moving its tail costs more than a heap.
pub(crate) const POOL_BEAM_MAX: usize = 1024;

/// One query on one state of a graph. `query` is a stride long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) rows: &'a Rows<'a>,
    pub(crate) query: &'a [f32],
}

impl Walk<'_> {
    /// From `entry`, always to the nearest linked row, down to the layer above `floor`: the nearest
    /// row found, which stands on layer `floor` too.
    pub(crate) fn descend(&self, entry: Entry, floor: u8, context: &mut SearchContext) -> Key {
        let kernel = self.graph.kernel;
        let distances = &mut context.distances;
        let start = kernel.distance(self.query, self.rows.row(entry.row));
        let mut nearest = Key::new(start, entry.row);
        for layer in (floor + 1..=entry.layer).rev() {
            loop {
                let links = self.graph.links(nearest.row(), layer);
                for &link in links {
                    prefetch(self.rows.row(link));
                }
                kernel.distances(self.query, self.rows, links, distances);
                let found = links.iter().zip(&*distances).map(|(&row, &d)| Key::new(d, row)).min();
                match found {
                    // Strictly nearer every time, so the loop ends.
                    Some(found) if found < nearest => nearest = found,
                    _ => break,
                }
            }
        }
        nearest
    }

    /// Leaves in `context.pool` the nearest `width` rows that a beam from `start` finds on `layer`.
    pub(crate) fn beam(&self, start: Key, layer: u8, width: usize, context: &mut SearchContext) {
        context.visited.begin(self.graph.len());
        context.pool.begin(width);
        context.visited.insert(start.row());
        context.pool.insert(start);
        while let Some(next) = context.pool.follow_next() {
            if let Some(after) = context.pool.peek() {
                prefetch(self.graph.list(after.row(), layer));
            }
            self.score_fresh_links(next.row(), layer, context);
            for (&row, &distance) in context.fresh.iter().zip(&context.distances) {
                context.pool.insert(Key::new(distance, row));
            }
        }
    }

    /// Leaves in `context.found` the nearest `width` rows that are live, among those a beam from
    /// `start` finds on `layer`. Rows that are not live lead on but do not count.
    ///
    /// With every row live this finds what [`Walk::beam`] does. Cost: as that of a beam of `width`
    /// divided by the share of live rows near the query, in the worst case all rows.
    pub(crate) fn beam_of_live(
        &self,
        start: Key,
        layer: u8,
        width: usize,
        live: &dyn Fn(u32) -> bool,
        context: &mut SearchContext,
    ) {
        context.visited.begin(self.graph.len());
        context.open.clear();
        context.found.clear();
        context.visited.insert(start.row());
        context.open.push(Reverse(start));
        if live(start.row()) {
            context.found.push(start);
        }
        while let Some(Reverse(next)) = context.open.pop() {
            if context.found.len() == width && context.found.peek().is_some_and(|far| next > *far) {
                break;
            }
            if let Some(Reverse(after)) = context.open.peek() {
                prefetch(self.graph.list(after.row(), layer));
            }
            self.score_fresh_links(next.row(), layer, context);
            for (&row, &distance) in context.fresh.iter().zip(&context.distances) {
                let key = Key::new(distance, row);
                let is_full = context.found.len() == width;
                if is_full && context.found.peek().is_some_and(|far| key >= *far) {
                    continue;
                }
                context.open.push(Reverse(key));
                if live(row) {
                    if is_full {
                        context.found.pop();
                    }
                    context.found.push(key);
                }
            }
        }
    }

    /// The links of `row` not seen before into `context.fresh`, their distances beside them. In two
    /// passes, so that all rows are on their way from memory before the first is read.
    #[inline]
    fn score_fresh_links(&self, row: u32, layer: u8, context: &mut SearchContext) {
        context.fresh.clear();
        for &link in self.graph.links(row, layer) {
            if context.visited.insert(link) {
                prefetch(self.rows.row(link));
                context.fresh.push(link);
            }
        }
        let SearchContext { fresh, distances, .. } = context;
        self.graph.kernel.distances(self.query, self.rows, fresh, distances);
    }
}
