//! Rows that leave: whoever linked to them is linked to what they led to.
//!
//! Nobody knows who links to a row, so all lists are looked through, once a batch. A list that
//! loses links keeps the others, and gets as many of the links of those that leave. Where there are
//! too few of these, and where no list leads to any more, rows are linked anew by walks, as `again`
//! does.

use std::ops::Range;

use super::scratch::{BuildScratch, Worker};
use super::sight::of_rows;
use super::{PlannedList, check_batch};
use crate::context::Beam;
use crate::executor::Executor;
use crate::graph::Graph;
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
        for Mended { list, is_poor } in plan(self, rows, &leaving, exec, scratch) {
            self.set_links(list.row, list.layer, &list.links);
            if is_poor && poor.last() != Some(&list.row) {
                poor.push(list.row);
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
            let hosts = graph.measure_build(rows, FindHosts { graph, row, worker });
            found.push((row, hosts));
        });
        let most = self.params.links_max(0);
        for (row, hosts) in found {
            // With the links of those before it.
            let has_room = |host: &&u32| {
                let links = self.links(**host, 0);
                links.len() < most && !links.contains(&row)
            };
            if let Some(&host) = hosts.iter().find(has_room) {
                let links = [self.links(host, 0), &[row]].concat();
                self.set_links(host, 0, &links);
            }
        }
    }
}

/// What a walk finds around a row, nearest first.
struct FindHosts<'a, 'o> {
    graph: &'a Graph,
    row: u32,
    worker: &'o mut Worker,
}

impl Linked for FindHosts<'_, '_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<W: Space, L: Space, const SAME: bool>(self, space: W, _link: L) -> Vec<u32> {
        let Self { graph, row, worker: Worker { beam, aim, .. } } = self;
        space.aim(row, aim);
        let walk = Walk::new(graph, space);
        let entry = graph.entry.expect("a graph with rows");
        let start = walk.descend(aim, entry, 0, beam);
        walk.beam(aim, start, 0, graph.params.ef_construction as usize, beam);
        beam.pool.keys().iter().map(|key| key.row()).filter(|&found| found != row).collect()
    }
}

/// A list without links to rows that leave.
struct Mended {
    list: PlannedList,
    /// There was too little to choose of.
    is_poor: bool,
}

/// Every list that links to a row of `leaves`, mended: by row, then layer.
fn plan(
    graph: &Graph,
    rows: &Rows<'_>,
    leaves: &RowSet,
    exec: &Executor,
    scratch: &BuildScratch,
) -> Vec<Mended> {
    let len = graph.len();
    let mended = exec.map(len.div_ceil(ROWS_A_TASK) as usize, |task| {
        let first = u32::try_from(task).expect("fewer tasks than rows") * ROWS_A_TASK;
        let range = first..len.min(first + ROWS_A_TASK);
        scratch.with_worker(|worker| {
            graph.measure_links(rows, Mender { graph, leaves, range, worker })
        })
    });
    mended.into_iter().flatten().collect()
}

/// The lists of some rows.
struct Mender<'a, 'o> {
    graph: &'a Graph,
    leaves: &'a RowSet,
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
        let degree = self.graph.links(row, layer).len();
        let is_poor = beam.fresh.len() < usize::from(params.m).div_ceil(2);
        let (stay, more) = beam.fresh.split_at(stay);
        let links = chooser.refill(space, row, stay, more, degree, params.links_max(layer));
        Mended { list: PlannedList { row, layer, links }, is_poor }
    }

    /// What a list can be chosen of into `beam.fresh`: first its links that stay, of which it says
    /// how many they are, then those of the links that leave, and so on through more that leave.
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
