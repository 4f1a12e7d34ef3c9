//! Walking over the rows that pass a filter alone: a row that does not pass is replaced by its
//! links that do.
//!
//! After ACORN-1 (Patel and others, 2024), with bridges. Only rows that pass are compared, so a
//! walk costs about as many distances as one without a filter, and a look at the filter for each
//! link of each link. What is done with the answer is for `search`.

use std::cmp::Reverse;

use crate::allowed::Passing;
use crate::context::Beam;
use crate::graph::NO_ROW;
use crate::kernel::prefetch::prefetch;
use crate::key::Key;
use crate::plan::Question;
use crate::space::{Aim, Space};
use crate::walk::{Walk, count};

/// Rows that do not pass which a walk follows to reach some that do. Rows that are farther away
/// than that pass on many sides of the query, and a walk that reached one side would miss the
/// others.
const BRIDGES_MAX: u32 = 16;

impl<P: Space> Walk<'_, P> {
    /// The share that passes of the links of links of `row`, 1 where there are none.
    #[inline(always)]
    pub(crate) fn share_around(&self, row: u32, passing: Passing<'_>) -> f64 {
        let links = self.lists.links(row, 0);
        for &link in links {
            prefetch(self.lists.list(link, 0));
        }
        let (mut met, mut passed) = (0, 0);
        for &link in links {
            for &next in self.lists.links(link, 0) {
                met += 1;
                passed += u32::from(passing.contains(next));
            }
        }
        if met == 0 { 1.0 } else { f64::from(passed) / f64::from(met) }
    }

    /// Leaves in `beam.pool` the nearest `width` rows that pass, as a beam from `start` finds them;
    /// whether they are as many as that. Where too few pass around it, rows that do not are
    /// compared and followed until enough do, some at most.
    #[inline(always)]
    pub(crate) fn beam_of_passing(
        &self,
        aim: &Aim,
        start: Key,
        width: usize,
        (question, passing): (&Question, Passing<'_>),
        beam: &mut Beam,
    ) -> bool {
        let leads_max = question.leads_max();
        beam.visited.begin(self.len);
        beam.pool.begin(width);
        beam.open.clear();
        beam.visited.insert(start.row());
        if passing.contains(start.row()) {
            beam.pool.insert(start);
        } else {
            beam.open.push(Reverse(start));
        }
        let mut bridges = 0;
        loop {
            if let Some(next) = beam.pool.follow_next() {
                self.gather_passing(next.row(), passing, leads_max, beam);
                if let Some(after) = beam.pool.peek() {
                    prefetch(self.lists.list(after.row(), 0));
                }
                let Beam { fresh, pool, .. } = beam;
                self.space.each(aim, fresh, |key| {
                    if pool.insert(key) {
                        prefetch(self.lists.list(key.row(), 0));
                    }
                });
                continue;
            }
            if beam.pool.keys().len() == width {
                return true;
            }
            bridges += 1;
            if bridges > BRIDGES_MAX {
                return false;
            }
            let Some(Reverse(next)) = beam.open.pop() else { return false };
            self.gather_fresh(next.row(), 0, beam);
            let Beam { fresh, pool, open, .. } = beam;
            self.space.each(aim, fresh, |key| {
                if passing.contains(key.row()) {
                    pool.insert(key);
                } else {
                    open.push(Reverse(key));
                }
            });
        }
    }

    /// The rows that pass, among the links of `row` and the links of those that do not, as far as
    /// they were not seen before, into `beam.fresh`. A row that does not pass is looked through
    /// once a walk, and none any more when `leads_max` links lead on.
    #[inline(always)]
    fn gather_passing(&self, row: u32, passing: Passing<'_>, leads_max: usize, beam: &mut Beam) {
        let Beam { visited, fresh, via, effort, .. } = beam;
        fresh.clear();
        via.clear();
        let mut leads = 0;
        for &link in self.lists.links(row, 0) {
            if !passing.contains(link) {
                prefetch(self.lists.list(link, 0));
                via.push(link);
                continue;
            }
            leads += 1;
            if visited.insert(link) {
                self.space.prefetch(link);
                fresh.push(link);
            }
        }
        effort.hops += 1;
        for &middle in &*via {
            if leads >= leads_max {
                break;
            }
            if !visited.insert(middle) {
                continue;
            }
            effort.hops += 1;
            // Whether a link passes cannot be foretold: each is written down, and the next one over
            // it if it did not.
            let (list, start) = (self.lists.list(middle, 0), fresh.len());
            fresh.resize(start + list.len(), 0);
            let mut end = start;
            for &link in list {
                if link == NO_ROW {
                    break;
                }
                fresh[end] = link;
                end += usize::from(passing.contains(link));
            }
            leads += end - start;
            let mut new = start;
            for at in start..end {
                let link = fresh[at];
                fresh[new] = link;
                if visited.insert(link) {
                    self.space.prefetch(link);
                    new += 1;
                }
            }
            fresh.truncate(new);
            #[cfg(feature = "counters")]
            {
                effort.visited_tests += count(list);
                effort.bytes += size_of_val(list) as u64;
            }
        }
        effort.distances += count(fresh);
        #[cfg(feature = "counters")]
        {
            effort.bytes += (fresh.len() * self.space.row_len_bytes()) as u64;
        }
    }
}
