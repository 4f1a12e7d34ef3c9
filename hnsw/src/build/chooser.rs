//! Links chosen of what a walk found, by distances that may be finer than the walk's.

use crate::key::Key;
use crate::select::Selector;
use crate::space::{Aim, Space};

/// Chooses links, reusing its memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chooser {
    aim: Aim,
    rows: Vec<u32>,
    /// What is chosen of, nearest first.
    candidates: Vec<Key>,
    selector: Selector,
}

impl Chooser {
    /// At most `count` of what a walk from `row` found, nearest first, and of rows that it is
    /// linked to. What was found counts as it was measured where the walk was in this space,
    /// `SAME`; else it is measured again.
    #[inline(always)]
    pub(crate) fn choose<L: Space, const SAME: bool>(
        &mut self,
        link: L,
        row: u32,
        found: &[Key],
        linked: &[u32],
        count: usize,
    ) -> &[Key] {
        // Of a row that is in the graph already, the walk finds the row itself as well.
        let has_itself = || found.iter().any(|key| key.row() == row);
        if SAME && linked.is_empty() && !has_itself() {
            return self.selector.select(link, row, found, count);
        }
        let Self { aim, rows, candidates, selector } = self;
        let is_new = |key: &&Key| key.row() != row && !linked.contains(&key.row());
        rows.clear();
        rows.extend_from_slice(linked);
        candidates.clear();
        if SAME {
            candidates.extend(found.iter().filter(is_new));
        } else {
            rows.extend(found.iter().filter(is_new).map(|key| key.row()));
        }
        for &row in &*rows {
            link.prefetch(row);
        }
        link.aim(row, aim);
        link.each(aim, rows, |key| candidates.push(key));
        candidates.sort_unstable();
        selector.select(link, row, candidates, count)
    }

    /// The links of `row` that `stay`; then of `more` those that would be chosen of all; and the
    /// nearest of the others, until they are `count`. Lists that are chosen anew are shorter than
    /// those that grew link by link, and searches would find less.
    #[inline(always)]
    pub(crate) fn refill<L: Space>(
        &mut self,
        link: L,
        row: u32,
        stay: &[u32],
        more: &[u32],
        count: usize,
    ) -> Box<[u32]> {
        let Self { aim, rows, candidates, selector } = self;
        for &row in more.iter().chain(stay) {
            link.prefetch(row);
        }
        rows.clear();
        rows.extend_from_slice(stay);
        candidates.clear();
        link.aim(row, aim);
        link.each(aim, more, |key| candidates.push(key));
        link.each(aim, stay, |key| candidates.push(key));
        candidates.sort_unstable();
        let chosen = selector.select(link, row, candidates, count);
        // The chosen come first: of the others, those that are hidden come by their distance.
        for key in chosen {
            if rows.len() < count && !stay.contains(&key.row()) {
                rows.push(key.row());
            }
        }
        for key in candidates {
            if rows.len() >= count {
                break;
            }
            if !rows.contains(&key.row()) {
                rows.push(key.row());
            }
        }
        rows.as_slice().into()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let Self { aim, rows, candidates, selector } = self;
        let lists = size_of::<u32>() * rows.capacity() + size_of::<Key>() * candidates.capacity();
        aim.memory_bytes() + lists + selector.memory_bytes()
    }
}
