//! The nearest rows of a query, by way of the graph.

use std::mem::take;

use crate::allowed::{Allowed, Passing};
use crate::code::Code;
use crate::context::{Beam, Effort, SearchContext};
use crate::graph::{Entry, Graph};
use crate::key::Neighbor;
use crate::plan::{Plan, Question};
use crate::rank::{Ranking, SPARE};
use crate::rows::Rows;
use crate::space::{Measured, Space};
use crate::sweep;
use crate::walk::{POOL_BEAM_MAX, Walk};

impl Graph {
    /// Appends to `out` the nearest `k` rows that are allowed, nearest first, ties by row number,
    /// as a beam of `ef` rows finds them; and says how.
    ///
    /// `query` is `dims` floats, or a stride with zeros at its end; of unit length for cosine. `ef`
    /// is raised to [`beam_width`](Self::beam_width); the wider, the better the answer and the
    /// slower. With a filter a beam finds about the share of the nearest that it finds without one,
    /// whichever plan is the cheapest. Fewer than `k` come back only where fewer are allowed, or in
    /// the graph. Rows that are not in the graph are not looked at.
    ///
    /// Cost: about `20 * ef` distances on a graph of `m` 16; with a filter at most a few times
    /// that, or one of a code or vector for each row that is allowed, whichever is less, and then
    /// a step for 64 rows of the graph. What no walk reaches costs both. Allocates only while
    /// `context` is not yet as large as this search needs.
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
        allowed: Allowed<'_>,
        context: &mut SearchContext,
        out: &mut Vec<Neighbor>,
    ) -> Plan {
        self.check_rows(rows);
        assert!(
            query.len() == self.params.dims as usize || query.len() == rows.stride(),
            "a query of {} floats for {} dimensions",
            query.len(),
            self.params.dims,
        );
        context.beam.effort = Effort::default();
        let width = self.beam_width(k, ef);
        let passing = Passing::new(allowed, self);
        match Search::new(self, rows, query, (k, width), passing, context, out) {
            Some(search) => self.measure(rows, search),
            None => Plan::Exact,
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
    passing: Passing<'a>,
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
        passing: Passing<'a>,
        context: &'o mut SearchContext,
        out: &'o mut Vec<Neighbor>,
    ) -> Option<Self> {
        let k = k.min(passing.count() as usize);
        let entry = graph.entry.filter(|_| k > 0)?;
        let width = width.max(k).min(graph.count() as usize);
        Some(Self { graph, rows, query, entry, k, width, passing, context, out })
    }
}

impl Measured for Search<'_, '_> {
    type Output = Plan;

    #[inline(always)]
    fn run<P: Space>(self, space: P) -> Plan {
        let Self { graph, rows, query, entry, k, width, passing, context, out } = self;
        let SearchContext { beam, aim, exact, ranked, distances } = context;
        exact.floats.clear();
        exact.floats.extend_from_slice(query);
        exact.floats.resize(rows.stride(), 0.0);
        space.aim_at(&exact.floats, aim);
        let walk = Walk::new(graph, space);
        ranked.clear();
        let most = if P::IS_EXACT { k } else { graph.code.ranked_count(k, width) };
        let question = Question::new(graph, rows, (k, width, most), passing.count());
        let mut plan = if passing.is_all() { Plan::Walk } else { question.plan() };
        if plan == Plan::Walk {
            let start = walk.descend(aim, entry, 0, beam);
            let mut share = 1.0;
            if !passing.is_all() {
                share = walk.share_around(start.row(), passing);
                plan = question.plan_around(share);
            }
            if plan == Plan::Walk {
                let (wide, met) =
                    if passing.is_all() { (width, width) } else { question.walk_widths(share) };
                if wide <= POOL_BEAM_MAX {
                    walk.beam(aim, start, 0, wide, beam);
                    let found = beam.pool.keys().iter().filter(|key| passing.contains(key.row()));
                    ranked.extend(found.take(most));
                } else {
                    walk.beam_of_live(aim, start, met, passing, beam);
                    // The heap's array, sorted in place, so that its memory stays with the context.
                    let mut found = take(&mut beam.found).into_vec();
                    found.sort_unstable();
                    ranked.extend(found.iter().take(most));
                    found.clear();
                    beam.found = found.into();
                }
                if ranked.len() < question.met_min() && !passing.is_all() {
                    plan = Plan::Expand;
                }
            }
            if plan == Plan::Expand {
                ranked.clear();
                let least = graph.code.width_min(k, graph.params.metric);
                let least = least.min(passing.count() as usize);
                let width = question.expand_width(share, least);
                if walk.beam_of_passing(aim, start, width, (&question, passing), beam) {
                    ranked.extend(beam.pool.keys().iter().take(most));
                }
            }
            // A walk that ends short is no answer.
            if ranked.len() < k {
                plan = if graph.code == Code::None { Plan::Exact } else { Plan::Codes };
            }
        }
        match plan {
            Plan::Codes if P::IS_EXACT => {
                sweep::by_space(space, aim, passing, k, beam, ranked);
            }
            Plan::Codes => {
                let kept = most.saturating_mul(SPARE);
                sweep::by_space(space, aim, passing, kept, beam, ranked);
            }
            Plan::Exact => {
                let memory = (&mut *ranked, &mut *distances);
                sweep::by_vectors(rows, &exact.floats, graph.kernel, passing, k, beam, memory);
            }
            Plan::Walk | Plan::Expand => {}
        }
        if !P::IS_EXACT && plan != Plan::Exact {
            let Beam { fresh: ids, effort, .. } = beam;
            let query = &exact.floats;
            let mut ranking = Ranking { graph, rows, query, ids, distances, effort };
            if plan == Plan::Codes {
                ranking.while_it_changes(ranked, k, most);
            } else {
                ranking.all(ranked);
            }
        }
        out.extend(ranked.iter().take(k).map(|key| key.neighbor()));
        plan
    }
}
