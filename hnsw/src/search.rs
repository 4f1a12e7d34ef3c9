//! The nearest rows of a query, by way of the graph.

use std::mem::take;

use crate::context::{Effort, SearchContext};
use crate::graph::{Entry, Graph};
use crate::kernel::prefetch::prefetch;
use crate::key::{Key, Neighbor};
use crate::rows::Rows;
use crate::space::{Measured, Space};
use crate::walk::{POOL_BEAM_MAX, Walk};

impl Graph {
    /// Appends to `out` the nearest `k` rows that a beam of `ef` rows finds, nearest first, ties by
    /// row number.
    ///
    /// `query` is `dims` floats, or a stride with zeros at its end; of unit length for cosine. `ef`
    /// is raised to [`beam_width`](Self::beam_width); the wider, the better the answer and the
    /// slower. Rows for which `live` is false lead the walk on but are not returned and do not
    /// count for `ef`. The answer may be shorter than `k`: when fewer rows are in the graph or
    /// live, and when some cannot be reached; who needs exactly `k` turns to [`crate::exact`]. Rows
    /// after the graph's last are not looked at.
    ///
    /// Cost: about `20 * ef` distances on a graph of `m` 16; with most rows dead, up to one a row.
    /// Allocates only while `context` is not yet as large as this search needs.
    ///
    /// # Panics
    /// If `rows` has other dimensions than the graph or lacks a row of it, or `query` another
    /// length.
    #[expect(clippy::too_many_arguments, reason = "a question, its limits, and where things live")]
    pub fn search(
        &self,
        rows: &Rows<'_>,
        query: &[f32],
        k: usize,
        ef: usize,
        live: Option<&dyn Fn(u32) -> bool>,
        context: &mut SearchContext,
        out: &mut Vec<Neighbor>,
    ) {
        self.check_rows(rows);
        assert!(
            query.len() == self.params.dims as usize || query.len() == rows.stride(),
            "a query of {} floats for {} dimensions",
            query.len(),
            self.params.dims,
        );
        context.beam.effort = Effort::default();
        let width = self.beam_width(k, ef);
        if let Some(search) = Search::new(self, rows, query, (k, width), live, context, out) {
            self.measure(rows, search);
        }
    }

    /// How many rows the beam of a search for `k` rows holds where it is to hold `ef`, in a graph
    /// that has as many: at least `k`, and over codes of half a byte or a bit a quarter more.
    #[must_use]
    pub fn beam_width(&self, k: usize, ef: usize) -> usize {
        ef.max(self.code.width_min(k, self.params.metric))
    }

    pub(crate) fn check_rows(&self, rows: &Rows<'_>) {
        let (dims, len) = (self.params.dims, self.len());
        assert_eq!(rows.dims(), dims, "rows of other dimensions than the graph");
        assert!(rows.len() >= len, "{} rows for a graph of {len}", rows.len());
    }
}

/// A search, to be run in the space of its rows.
pub(crate) struct Search<'a, 'o> {
    graph: &'a Graph,
    rows: &'a Rows<'a>,
    query: &'a [f32],
    entry: Entry,
    k: usize,
    width: usize,
    live: Option<&'a dyn Fn(u32) -> bool>,
    context: &'o mut SearchContext,
    out: &'o mut Vec<Neighbor>,
}

impl<'a, 'o> Search<'a, 'o> {
    /// For the nearest `k` by a beam of `width` rows, at least `k`; `None` where there is nothing
    /// to find. `rows` and `query` fit the graph.
    pub(crate) fn new(
        graph: &'a Graph,
        rows: &'a Rows<'a>,
        query: &'a [f32],
        (k, width): (usize, usize),
        live: Option<&'a dyn Fn(u32) -> bool>,
        context: &'o mut SearchContext,
        out: &'o mut Vec<Neighbor>,
    ) -> Option<Self> {
        let entry = graph.entry.filter(|_| k > 0)?;
        let width = width.max(k).min(graph.len() as usize);
        Some(Self { graph, rows, query, entry, k, width, live, context, out })
    }
}

impl Measured for Search<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Space>(self, space: P) {
        let Self { graph, rows, query, entry, k, width, live, context, out } = self;
        let SearchContext { beam, aim, exact, ranked, distances } = context;
        exact.floats.clear();
        exact.floats.extend_from_slice(query);
        exact.floats.resize(rows.stride(), 0.0);
        space.aim_at(&exact.floats, aim);
        let walk = Walk::new(graph, space);
        let start = walk.descend(aim, entry, 0, beam);
        ranked.clear();
        let most = if P::IS_EXACT { k } else { graph.code.ranked_count(k, width) };
        if live.is_none() && width <= POOL_BEAM_MAX {
            walk.beam(aim, start, 0, width, beam);
            ranked.extend(beam.pool.keys().iter().take(most));
        } else {
            walk.beam_of_live(aim, start, width, live.unwrap_or(&|_| true), beam);
            // The heap's array, sorted in place, so that its memory stays with the context.
            let mut found = take(&mut beam.found).into_vec();
            found.sort_unstable();
            ranked.extend(found.iter().take(most));
            found.clear();
            beam.found = found.into();
        }
        if !P::IS_EXACT {
            let ids = &mut beam.fresh;
            ids.clear();
            ids.extend(ranked.iter().map(|key| key.row()));
            for &row in &*ids {
                prefetch(rows.row(row));
            }
            graph.kernel.distances(&exact.floats, rows, ids, distances);
            ranked.clear();
            ranked.extend(ids.iter().zip(&*distances).map(|(&row, &d)| Key::new(d, row)));
            ranked.sort_unstable();
            beam.effort.ranked = u32::try_from(ranked.len()).unwrap_or(u32::MAX);
            #[cfg(feature = "counters")]
            {
                beam.effort.bytes += (ranked.len() * size_of::<f32>() * rows.stride()) as u64;
            }
        }
        out.extend(ranked.iter().take(k).map(|key| key.neighbor()));
    }
}
