//! What each new row sees: its best links among the graph and the earlier rows of its batch.

use super::scratch::{BuildScratch, Worker};
use crate::executor::Executor;
use crate::graph::Graph;
use crate::key::Key;
use crate::rows::Rows;
use crate::space::{Linked, Space};
use crate::walk::Walk;

/// Rows a thread takes at a time.
const ROWS_A_TASK: usize = 8;

/// The links a new row chose on one of its layers, nearest first.
pub(super) struct Sight {
    pub(super) row: u32,
    pub(super) layer: u8,
    pub(super) links: Box<[Key]>,
}

/// The links of rows `joins`, for which there is room in the graph and which nobody links to yet:
/// by row, then from the top layer down.
pub(super) fn plan(
    graph: &Graph,
    rows: &Rows<'_>,
    joins: &[u32],
    exec: &Executor,
    scratch: &BuildScratch,
) -> Vec<Sight> {
    of_rows(joins, exec, scratch, |row, worker, sights| {
        graph.measure_build(rows, PlanRow { graph, joins, row, worker, sights });
    })
}

/// What `look` gives of each of some rows, in their order, on all threads.
pub(super) fn of_rows<T: Send>(
    of: &[u32],
    exec: &Executor,
    scratch: &BuildScratch,
    look: impl Fn(u32, &mut Worker, &mut Vec<T>) + Sync + Send,
) -> Vec<T> {
    let tasks: Vec<&[u32]> = of.chunks(ROWS_A_TASK).collect();
    let planned = exec.map(tasks.len(), |task| {
        let mut sights = Vec::new();
        scratch.with_worker(|worker| {
            for &row in tasks[task] {
                look(row, worker, &mut sights);
            }
        });
        sights
    });
    planned.into_iter().flatten().collect()
}

/// The links of one row.
struct PlanRow<'a, 'o> {
    graph: &'a Graph,
    /// The batch, in order.
    joins: &'a [u32],
    row: u32,
    worker: &'o mut Worker,
    sights: &'o mut Vec<Sight>,
}

impl Linked for PlanRow<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Space, L: Space, const SAME: bool>(self, space: W, link: L) {
        let Self { graph, joins, row, worker, sights } = self;
        let params = &graph.params;
        let width = params.ef_construction as usize;
        let (top, lists) = (graph.top_layer(row), graph.lists());
        let Worker { beam, aim, mates, chooser, .. } = worker;
        space.aim(row, aim);
        beam.fresh.clear();
        beam.fresh.extend(joins.iter().take_while(|&&join| join < row));
        mates.clear();
        space.each(aim, &beam.fresh, |mate| mates.push(mate));

        let walk = Walk::new(graph, space);
        let mut start = graph.entry.map(|entry| {
            let floor = top.min(entry.layer);
            (walk.descend(aim, entry, floor, beam), floor)
        });
        for layer in (0..=top).rev() {
            match &mut start {
                Some((start, highest)) if layer <= *highest => {
                    walk.beam(aim, *start, layer, width, beam);
                    *start = beam.pool.keys()[0];
                }
                _ => beam.pool.begin(width),
            }
            for &mate in &*mates {
                if layer == 0 || lists.top_layer(mate.row()) >= layer {
                    beam.pool.insert(mate);
                }
            }
            let (found, m) = (beam.pool.keys(), usize::from(params.m));
            let links = chooser.choose::<_, SAME>(link, row, found, &[], m);
            sights.push(Sight { row, layer, links: links.into() });
        }
    }
}
