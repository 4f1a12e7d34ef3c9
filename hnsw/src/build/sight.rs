//! What each new row sees: its best links among the graph and the earlier rows of its batch.

use super::scratch::{BuildScratch, Worker};
use crate::executor::Executor;
use crate::graph::Graph;
use crate::key::Key;
use crate::layer::layer_of;
use crate::rows::Rows;
use crate::walk::Walk;

/// Rows a thread takes at a time.
const ROWS_A_TASK: u32 = 8;

/// The links a new row chose on one of its layers, nearest first.
pub(super) struct Sight {
    pub(super) row: u32,
    pub(super) layer: u8,
    pub(super) links: Box<[Key]>,
}

/// The links of rows `graph.len()..end`, by row, then from the top layer down.
pub(super) fn plan(
    graph: &Graph,
    rows: &Rows<'_>,
    end: u32,
    exec: &Executor,
    scratch: &BuildScratch,
) -> Vec<Sight> {
    let start = graph.len();
    let tasks = (end - start).div_ceil(ROWS_A_TASK);
    let planned = exec.map(tasks as usize, |task| {
        let task = u32::try_from(task).expect("fewer tasks than rows");
        let first = start + task * ROWS_A_TASK;
        let mut sights = Vec::new();
        scratch.with_worker(|worker| {
            for row in first..end.min(first + ROWS_A_TASK) {
                plan_row(graph, rows, row, worker, &mut sights);
            }
        });
        sights
    });
    planned.into_iter().flatten().collect()
}

fn plan_row(
    graph: &Graph,
    rows: &Rows<'_>,
    row: u32,
    worker: &mut Worker,
    sights: &mut Vec<Sight>,
) {
    let params = &graph.params;
    let width = params.ef_construction as usize;
    let query = rows.row(row);
    let top = layer_of(params.seed, row, params.m);
    measure_mates(graph, rows, row, worker);

    let walk = Walk { graph, rows, query };
    let mut start = graph.entry.map(|entry| {
        let floor = top.min(entry.layer);
        (walk.descend(entry, floor, &mut worker.context), floor)
    });
    for layer in (0..=top).rev() {
        let context = &mut worker.context;
        match &mut start {
            Some((start, highest)) if layer <= *highest => {
                walk.beam(*start, layer, width, context);
                *start = context.pool.keys()[0];
            }
            _ => context.pool.begin(width),
        }
        for &mate in &worker.mates {
            if layer == 0 || layer_of(params.seed, mate.row(), params.m) >= layer {
                context.pool.insert(mate);
            }
        }
        let (candidates, count) = (context.pool.keys(), usize::from(params.m));
        let links = worker.selector.select(graph.kernel, rows, row, candidates, count).into();
        sights.push(Sight { row, layer, links });
    }
}

/// The distances from `row` to every earlier row of its batch.
fn measure_mates(graph: &Graph, rows: &Rows<'_>, row: u32, worker: &mut Worker) {
    let Worker { context, mates, mate_rows, .. } = worker;
    mate_rows.clear();
    mate_rows.extend(graph.len()..row);
    graph.kernel.distances(rows.row(row), rows, mate_rows, &mut context.distances);
    mates.clear();
    mates.extend(mate_rows.iter().zip(&context.distances).map(|(&row, &d)| Key::new(d, row)));
}
