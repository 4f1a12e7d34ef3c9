//! The nearest rows of a query, by way of the graph.

use std::mem::take;

use crate::context::SearchContext;
use crate::graph::Graph;
use crate::key::{Key, Neighbor};
use crate::rows::Rows;
use crate::walk::{POOL_BEAM_MAX, Walk};

impl Graph {
    /// Appends to `out` the nearest `k` rows that a beam of `ef` rows finds, nearest first, ties by
    /// row number.
    ///
    /// `query` is `dims` floats, or a stride with zeros at its end; of unit length for cosine. `ef`
    /// is raised to `k`; the wider, the better the answer and the slower. Rows for which `live` is
    /// false lead the walk on but are not returned and do not count for `ef`. The answer may be
    /// shorter than `k`: when fewer rows are in the graph or live, and when some cannot be reached;
    /// who needs exactly `k` turns to [`crate::exact`]. Rows after the graph's last are not looked
    /// at.
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
        let Some(entry) = self.entry else { return };
        if k == 0 {
            return;
        }
        let mut padded = take(&mut context.query);
        padded.clear();
        padded.extend_from_slice(query);
        padded.resize(rows.stride(), 0.0);

        let walk = Walk { graph: self, rows, query: &padded };
        let width = ef.max(k).min(self.len() as usize);
        let start = walk.descend(entry, 0, context);
        if live.is_none() && width <= POOL_BEAM_MAX {
            walk.beam(start, 0, width, context);
            out.extend(context.pool.keys().iter().take(k).map(|key| key.neighbor()));
        } else {
            walk.beam_of_live(start, 0, width, live.unwrap_or(&|_| true), context);
            // The heap's array, sorted in place, so that its memory stays with the context.
            let mut found = take(&mut context.found).into_vec();
            found.sort_unstable();
            out.extend(found.iter().take(k).map(|key: &Key| key.neighbor()));
            found.clear();
            context.found = found.into();
        }
        context.query = padded;
    }

    pub(crate) fn check_rows(&self, rows: &Rows<'_>) {
        let (dims, len) = (self.params.dims, self.len());
        assert_eq!(rows.dims(), dims, "rows of other dimensions than the graph");
        assert!(rows.len() >= len, "{} rows for a graph of {len}", rows.len());
    }
}
