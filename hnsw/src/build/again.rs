//! Links of rows that are in the graph already, chosen anew: the first time a row saw only the rows
//! that had come before it.

use std::ops::Range;

use super::scratch::{BuildScratch, Worker};
use super::sight::{Sight, of_rows};
use crate::executor::Executor;
use crate::graph::Graph;
use crate::key::Key;
use crate::rows::Rows;
use crate::space::{Measured, Space};
use crate::walk::Walk;

/// The links of `range`, by row, then from the top layer down. `codes` are what the graph lacks.
pub(super) fn plan(
    graph: &Graph,
    rows: &Rows<'_>,
    codes: &[i8],
    range: Range<u32>,
    exec: &Executor,
    scratch: &BuildScratch,
) -> Vec<Sight> {
    of_rows(range, exec, scratch, |row, worker, sights| {
        graph.measure_batch(rows, codes, PlanRow { graph, row, worker, sights });
    })
}

/// The links of one row, chosen in the space of its rows.
struct PlanRow<'a, 'o> {
    graph: &'a Graph,
    row: u32,
    worker: &'o mut Worker,
    sights: &'o mut Vec<Sight>,
}

impl Measured for PlanRow<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Space>(self, space: P) {
        let Self { graph, row, worker, sights } = self;
        let params = &graph.params;
        let Worker { beam, aim, mates: candidates, selector } = worker;
        space.aim(row, aim);
        let walk = Walk::new(graph, space);
        let entry = graph.entry.expect("a graph with rows");
        let top = graph.top_layer(row);
        let mut start = walk.descend(aim, entry, top, beam);
        for layer in (0..=top).rev() {
            walk.beam(aim, start, layer, params.ef_construction as usize, beam);
            start = beam.pool.keys()[0];
            // What the row links to, and what the beam found beside it.
            let links = graph.links(row, layer);
            candidates.clear();
            space.each(aim, links, |link| candidates.push(link));
            let is_new = |key: &&Key| key.row() != row && !links.contains(&key.row());
            candidates.extend(beam.pool.keys().iter().filter(is_new));
            candidates.sort_unstable();
            let links = selector.select(space, row, candidates, params.links_max(layer));
            sights.push(Sight { row, layer, links: links.into() });
        }
    }
}
