//! Rows that leave: whoever linked to them is linked to what is near them.
//!
//! Nobody knows who links to a row, so all lists are looked through, once a batch. A list that
//! loses links keeps the others and gains one, or more until it has as many as a new row chooses,
//! of what a short walk finds around the rows that leave. Who is gained links back, if it has room.
//! Where there is too little to choose of, and where no list leads to any more, rows are linked
//! anew by walks, as `again` does. Walks around rows that leave are the idea of IP-DiskANN (Xu et
//! al., 2025).

use std::ops::Range;

use super::scratch::{BuildScratch, Worker};
use super::sight::of_rows;
use super::{PlannedList, check_batch};
use crate::context::Beam;
use crate::executor::Executor;
use crate::graph::Graph;
use crate::key::Key;
use crate::rows::Rows;
use crate::rowset::RowSet;
use crate::space::{Linked, Measured, Space};
use crate::walk::Walk;

/// Row numbers whose lists a thread looks through at a time.
const ROWS_A_TASK: u32 = 1024;
/// Candidates for a list, for each of its slots: no more leaving rows are looked at.
const CANDIDATES_SHARE: usize = 2;
/// Leaving rows whose links are looked at in place of theirs, for one list.
const GONE_MAX: usize = 256;

impl Graph {
    /// Takes rows `leaves` out, and mends the lists of all that linked to them. Their vectors are
    /// not needed afterwards, and their numbers are free. When all rows leave, the graph is as a
    /// new one.
    ///
    /// Searches find as much as in a graph that was built of the rows that stay, and every row that
    /// was reachable is, as far as there is room for a link to it. Calibration and code stay as
    /// they are. No rows are no change.
    ///
    /// Equal graphs and rows give equal graphs, on any number of threads and any instruction set.
    /// Cost: two passes over all links, and for each row that leaves about what it takes to insert
    /// it. With clones about, also copies of what changes.
    ///
    /// # Panics
    /// If `leaves` are more than [`BATCH_ROWS_MAX`](crate::BATCH_ROWS_MAX), not strictly ascending,
    /// or one of them is not in the graph; or if `rows` has other dimensions than the graph or
    /// lacks a row of it.
    pub fn remove_batch(
        &mut self,
        rows: &Rows<'_>,
        leaves: &[u32],
        exec: &Executor,
        scratch: &mut BuildScratch,
    ) {
        self.check_rows(rows);
        check_batch(leaves);
        if let Some(row) = leaves.iter().find(|&&row| !self.contains(row)) {
            panic!("row {row} is not in the graph");
        }
        if leaves.is_empty() {
            return;
        }
        if leaves.len() == self.count() as usize {
            *self = Self::new(self.params.clone()).with_isa(self.kernel.isa());
            return;
        }
        self.settle();
        self.need_build_codes(rows, exec);
        let leaving = leaves.iter().copied().collect();
        let mut poor = Vec::new();
        let near = near(self, rows, leaves, &leaving, exec, scratch);
        let mended = plan(self, rows, &leaving, &near, exec, scratch);
        for Mended { list, is_poor, .. } in &mended {
            self.set_links(list.row, list.layer, &list.links);
            if *is_poor && poor.last() != Some(&list.row) {
                poor.push(list.row);
            }
        }
        for Mended { list, stay, .. } in &mended {
            for &gained in &list.links[*stay..] {
                self.link_back(gained, list.layer, list.row);
            }
        }
        self.leave(leaves);
        for some in poor.chunks(super::BATCH_ROWS_MAX as usize) {
            self.relink_batch(rows, some, exec, scratch);
        }
        // At most as many as left: under some metrics there are always more.
        let lost = self.lost(leaves.len());
        if !lost.is_empty() {
            self.relink_batch(rows, &lost, exec, scratch);
            let lost = self.lost(leaves.len());
            self.lead_to(rows, &lost, exec, scratch);
        }
    }

    /// A link from `row` to `to` at the end of its list, if there is room. Whether there was.
    fn link_back(&mut self, row: u32, layer: u8, to: u32) -> bool {
        let links = self.links(row, layer);
        let has_room = links.len() < self.params.links_max(layer) && !links.contains(&to);
        if has_room {
            let links = [links, &[to]].concat();
            self.set_links(row, layer, &links);
        }
        has_room
    }

    /// Rows that no search can reach, at most so many.
    fn lost(&self, most: usize) -> Vec<u32> {
        let reached = self.reached();
        let all = self.members.iter().filter(|row| !reached.contains(*row));
        all.take(most).collect()
    }

    /// Has each of `lost` linked to by the nearest row that is found and has room for a link. Their
    /// own links stay.
    fn lead_to(&mut self, rows: &Rows<'_>, lost: &[u32], exec: &Executor, scratch: &BuildScratch) {
        let graph = &*self;
        let found = of_rows(lost, exec, scratch, |row, worker, found| {
            let (width, is_inside) = (graph.params.ef_construction as usize, false);
            let walk = FindNear { graph, row, layer: 0, width, is_inside, worker };
            found.push((row, graph.measure_build(rows, walk)));
        });
        for (row, hosts) in found {
            for host in hosts {
                // With the links of those before it.
                if self.link_back(host, 0, row) {
                    break;
                }
            }
        }
    }
}

/// What a walk finds around a row, nearest first.
struct FindNear<'a, 'o> {
    graph: &'a Graph,
    row: u32,
    layer: u8,
    width: usize,
    /// It begins at the row itself.
    is_inside: bool,
    worker: &'o mut Worker,
}

impl Linked for FindNear<'_, '_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<W: Space, L: Space, const SAME: bool>(self, space: W, _link: L) -> Vec<u32> {
        let Self { graph, row, layer, width, is_inside, worker: Worker { beam, aim, .. } } = self;
        space.aim(row, aim);
        let walk = Walk::new(graph, space);
        let start = if is_inside {
            Key::new(space.distance(aim, row), row)
        } else {
            walk.descend(aim, graph.entry.expect("a graph with rows"), layer, beam)
        };
        walk.beam(aim, start, layer, width, beam);
        beam.pool.keys().iter().map(|key| key.row()).filter(|&found| found != row).collect()
    }
}

/// Rows that stay, near one that leaves, on one of its layers.
struct Near {
    row: u32,
    layer: u8,
    rows: Vec<u32>,
}

/// What is near each of `leaves`, by row, then layer: of as many as a list has slots, those that
/// stay.
fn near(
    graph: &Graph,
    rows: &Rows<'_>,
    leaves: &[u32],
    leaving: &RowSet,
    exec: &Executor,
    scratch: &BuildScratch,
) -> Vec<Near> {
    of_rows(leaves, exec, scratch, |row, worker, near| {
        for layer in 0..=graph.top_layer(row) {
            let width = graph.params.links_max(layer);
            let walk = FindNear { graph, row, layer, width, is_inside: true, worker };
            let mut rows = graph.measure_build(rows, walk);
            rows.retain(|&found| !leaving.contains(found));
            near.push(Near { row, layer, rows });
        }
    })
}

/// A list without links to rows that leave.
struct Mended {
    list: PlannedList,
    /// How many of the links, the first, were there before; the others are gained.
    stay: usize,
    /// There was too little to choose of.
    is_poor: bool,
}

/// Every list that links to a row of `leaves`, mended: by row, then layer.
fn plan(
    graph: &Graph,
    rows: &Rows<'_>,
    leaves: &RowSet,
    near: &[Near],
    exec: &Executor,
    scratch: &BuildScratch,
) -> Vec<Mended> {
    let len = graph.len();
    let mended = exec.map(len.div_ceil(ROWS_A_TASK) as usize, |task| {
        let first = u32::try_from(task).expect("fewer tasks than rows") * ROWS_A_TASK;
        let range = first..len.min(first + ROWS_A_TASK);
        scratch.with_worker(|worker| {
            graph.measure_links(rows, Mender { graph, leaves, near, range, worker })
        })
    });
    mended.into_iter().flatten().collect()
}

/// The lists of some rows.
struct Mender<'a, 'o> {
    graph: &'a Graph,
    leaves: &'a RowSet,
    near: &'a [Near],
    range: Range<u32>,
    worker: &'o mut Worker,
}

impl Measured for Mender<'_, '_> {
    type Output = Vec<Mended>;

    #[inline(always)]
    fn run<P: Space>(mut self, space: P) -> Vec<Mended> {
        let (graph, leaves, lists) = (self.graph, self.leaves, self.graph.lists());
        let mut mended = Vec::new();
        for row in self.range.clone().filter(|&row| graph.contains(row) && !leaves.contains(row)) {
            for layer in 0..=lists.top_layer(row) {
                if lists.links(row, layer).iter().any(|&link| leaves.contains(link)) {
                    mended.push(self.mend(space, row, layer));
                }
            }
        }
        mended
    }
}

impl Mender<'_, '_> {
    #[inline(always)]
    fn mend<P: Space>(&mut self, space: P, row: u32, layer: u8) -> Mended {
        let stay = self.gather(row, layer);
        let params = &self.graph.params;
        let Worker { beam, chooser, .. } = &mut *self.worker;
        let (degree, m) = (self.graph.links(row, layer).len(), usize::from(params.m));
        let is_poor = beam.fresh.len() < m.div_ceil(2);
        let count = degree.min(m).max(stay + 1);
        let (old, more) = beam.fresh.split_at(stay);
        let links = chooser.refill(space, row, old, more, count);
        Mended { list: PlannedList { row, layer, links }, stay, is_poor }
    }

    /// What a list can be chosen of into `beam.fresh`: first its links that stay, of which it says
    /// how many they are, then what is near the links that leave and what they link to, and so on
    /// through more that leave.
    #[inline(always)]
    fn gather(&mut self, row: u32, layer: u8) -> usize {
        let (lists, leaves) = (self.graph.lists(), self.leaves);
        let enough = CANDIDATES_SHARE * self.graph.params.links_max(layer);
        let mut stay = 0;
        let Worker { beam: Beam { visited, fresh, .. }, gone, .. } = &mut *self.worker;
        visited.begin(self.graph.len());
        visited.insert(row);
        fresh.clear();
        gone.clear();
        let mut source = row;
        for at in 0.. {
            for &link in lists.links(source, layer) {
                if visited.insert(link) {
                    (if leaves.contains(link) { &mut *gone } else { &mut *fresh }).push(link);
                }
            }
            if at == 0 {
                stay = fresh.len();
            } else {
                let order = |near: &Near| near.row.cmp(&source).then(near.layer.cmp(&layer));
                let found = self.near.binary_search_by(order).expect("of all that leave");
                fresh.extend(self.near[found].rows.iter().filter(|&&row| visited.insert(row)));
            }
            if fresh.len() >= enough || at >= GONE_MAX {
                break;
            }
            let Some(&next) = gone.get(at) else { break };
            source = next;
        }
        stay
    }
}
