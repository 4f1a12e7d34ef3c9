//! The way back: every row that was chosen as a link learns of the rows that chose it.

use std::ops::Range;

use super::PlannedList;
use super::sight::Sight;
use crate::executor::Executor;
use crate::graph::Graph;
use crate::key::Key;
use crate::rows::Rows;
use crate::select::Selector;
use crate::space::{Aim, Measured, Space};

/// Lists a thread takes at a time.
const LISTS_A_TASK: usize = 64;

/// `source` chose `target` on `layer`. Sorts by target, layer, distance, source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct BackLink {
    target: u32,
    layer: u8,
    source: Key,
}

/// Every list that a batch with these `sights` (by row, then from the top layer down) adds or
/// changes.
pub(super) fn plan(
    graph: &Graph,
    rows: &Rows<'_>,
    sights: &[Sight],
    exec: &Executor,
) -> Vec<PlannedList> {
    let mut back_links = Vec::new();
    for sight in sights {
        for link in &sight.links {
            let source = Key::new(link.distance(), sight.row);
            back_links.push(BackLink { target: link.row(), layer: sight.layer, source });
        }
    }
    // No two are equal, so an unstable sort has one result.
    back_links.sort_unstable();

    let groups: Vec<&[BackLink]> =
        back_links.chunk_by(|a, b| (a.target, a.layer) == (b.target, b.layer)).collect();
    let changed = exec.map(groups.len().div_ceil(LISTS_A_TASK), |task| {
        let groups = &groups[task_range(task, groups.len())];
        let planner = Planner { graph, sights, groups, memory: Memory::default() };
        graph.measure_links(rows, planner)
    });
    let own = sights.iter().map(|sight| PlannedList {
        row: sight.row,
        layer: sight.layer,
        links: sight.links.iter().map(|link| link.row()).collect(),
    });
    // A new row that was itself chosen comes twice: first with its own links, then with all.
    own.chain(changed.into_iter().flat_map(|lists: Vec<_>| lists)).collect()
}

fn task_range(task: usize, count: usize) -> Range<usize> {
    task * LISTS_A_TASK..count.min((task + 1) * LISTS_A_TASK)
}

struct Planner<'a> {
    graph: &'a Graph,
    sights: &'a [Sight],
    groups: &'a [&'a [BackLink]],
    memory: Memory,
}

#[derive(Default)]
struct Memory {
    links: Vec<u32>,
    /// Rows that chose the one at hand and that it does not link to.
    sources: Vec<Key>,
    candidates: Vec<Key>,
    selector: Selector,
    aim: Aim,
}

impl Measured for Planner<'_> {
    type Output = Vec<PlannedList>;

    #[inline(always)]
    fn run<P: Space>(mut self, space: P) -> Vec<PlannedList> {
        self.groups.iter().map(|group| self.plan(space, group)).collect()
    }
}

impl Planner<'_> {
    /// The list of one target with its new links: appended while there is room, else chosen anew.
    #[inline(always)]
    fn plan<P: Space>(&mut self, space: P, group: &[BackLink]) -> PlannedList {
        let BackLink { target: row, layer, .. } = group[0];
        let links_max = self.graph.params.links_max(layer);
        self.load_links(row, layer);
        // Of two rows that are linked anew, either may have chosen the other.
        let Memory { links, sources, .. } = &mut self.memory;
        sources.clear();
        let new = group.iter().map(|back_link| back_link.source);
        sources.extend(new.filter(|source| !links.contains(&source.row())));
        if links.len() + sources.len() > links_max {
            self.choose_anew(space, row, links_max);
        } else {
            links.extend(sources.iter().map(|source| source.row()));
        }
        PlannedList { row, layer, links: self.memory.links.as_slice().into() }
    }

    /// The links that `row` has so far, or has just chosen, into memory.
    fn load_links(&mut self, row: u32, layer: u8) {
        self.memory.links.clear();
        let order = |sight: &Sight| sight.row.cmp(&row).then(layer.cmp(&sight.layer));
        if let Ok(at) = self.sights.binary_search_by(order) {
            self.memory.links.extend(self.sights[at].links.iter().map(|link| link.row()));
        } else {
            self.memory.links.extend_from_slice(self.graph.links(row, layer));
        }
    }

    #[inline(always)]
    fn choose_anew<P: Space>(&mut self, space: P, row: u32, links_max: usize) {
        let Memory { links, sources, candidates, selector, aim } = &mut self.memory;
        for &link in &*links {
            space.prefetch(link);
        }
        space.aim(row, aim);
        candidates.clear();
        space.each(aim, links, |link| candidates.push(link));
        candidates.extend_from_slice(sources);
        candidates.sort_unstable();
        let chosen = selector.select(space, row, candidates, links_max);
        links.clear();
        links.extend(chosen.iter().map(|link| link.row()));
    }
}
