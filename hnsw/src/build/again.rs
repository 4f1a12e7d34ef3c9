//! Links of rows that are in the graph already, chosen anew: the first time a row saw only the rows
//! that had come before it.

use super::scratch::{BuildScratch, Worker};
use super::sight::{Sight, of_rows};
use crate::executor::Executor;
use crate::graph::Graph;
use crate::rows::Rows;
use crate::space::{Linked, Space};
use crate::walk::Walk;

/// The links of `anew`, which are in the graph: by row, then from the top layer down.
pub(super) fn plan(
    graph: &Graph,
    rows: &Rows<'_>,
    anew: &[u32],
    exec: &Executor,
    scratch: &BuildScratch,
) -> Vec<Sight> {
    of_rows(anew, exec, scratch, |row, worker, sights| {
        graph.measure_build(rows, PlanRow { graph, row, worker, sights });
    })
}

/// The links of one row.
struct PlanRow<'a, 'o> {
    graph: &'a Graph,
    row: u32,
    worker: &'o mut Worker,
    sights: &'o mut Vec<Sight>,
}

impl Linked for PlanRow<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Space, L: Space, const SAME: bool>(self, space: W, link: L) {
        let Self { graph, row, worker, sights } = self;
        let params = &graph.params;
        let Worker { beam, aim, chooser, .. } = worker;
        space.aim(row, aim);
        let walk = Walk::new(graph, space);
        let entry = graph.entry.expect("a graph with rows");
        let top = graph.top_layer(row);
        let mut start = walk.descend(aim, entry, top, beam);
        for layer in (0..=top).rev() {
            walk.beam(aim, start, layer, params.ef_construction as usize, beam);
            start = beam.pool.keys()[0];
            let (found, linked) = (beam.pool.keys(), graph.links(row, layer));
            let most = params.links_max(layer);
            let links = chooser.choose::<_, SAME>(link, row, found, linked, most);
            sights.push(Sight { row, layer, links: links.into() });
        }
    }
}
