//! Which live rows of a collection a filter lets pass.

use super::live::LiveCollection;
use super::{Collection, IdIndex};
use crate::filter::{Filter, Kind};
use crate::id::Id;
use gannet_hnsw::RowSet;
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;

impl<V: Deref<Target = [u8]> + Send + Sync> LiveCollection<V> {
    /// The live rows of the ids of a filter, in the graph or not; `None` where it has a predicate
    /// in their place, which [`Collection::passing`] asks with no lock held.
    pub(crate) fn passing(&self, filter: &Filter) -> Option<Arc<RowSet>> {
        let find: &dyn Fn() -> RowSet = match &filter.kind {
            Kind::Ids(wanted) => &|| wanted.iter().filter_map(|id| self.row_of(id)).collect(),
            Kind::Bitmap(wanted) => &|| {
                let contains = |id| u32::try_from(id).is_ok_and(|id| wanted.contains(id));
                let ids = wanted.iter().map(u64::from);
                of_integers(&self.now, &self.index, wanted.len(), ids, contains)
            },
            Kind::Treemap(wanted) => &|| {
                let contains = |id| wanted.contains(id);
                of_integers(&self.now, &self.index, wanted.len(), wanted.iter(), contains)
            },
            Kind::Predicate(_) => return None,
        };
        Some(filter.rows(self.now.stamp, find))
    }
}

impl<V: Deref<Target = [u8]> + Send + Sync> Collection<V> {
    /// As [`LiveCollection::passing`], of a state that may be past: each live row is looked at.
    pub(crate) fn passing_then(&self, filter: &Filter) -> Option<Arc<RowSet>> {
        let is_in = |id: &Id, contains: &dyn Fn(u64) -> bool| match id {
            Id::Int(id) => contains(*id),
            Id::Bytes(_) => false,
        };
        let find: &dyn Fn() -> RowSet = match &filter.kind {
            Kind::Ids(wanted) => &|| {
                let wanted: HashSet<&Id> = wanted.iter().collect();
                self.passing(&|id| wanted.contains(id))
            },
            Kind::Bitmap(wanted) => &|| {
                let contains = |id| u32::try_from(id).is_ok_and(|id| wanted.contains(id));
                self.passing(&|id| is_in(id, &contains))
            },
            Kind::Treemap(wanted) => &|| self.passing(&|id| is_in(id, &|id| wanted.contains(id))),
            Kind::Predicate(_) => return None,
        };
        Some(filter.rows(self.stamp, find))
    }

    /// The live row of an id, where `guess` may be it; else each live row is looked at.
    pub(crate) fn row_of_id(&self, id: &Id, guess: Option<u32>) -> Option<u32> {
        let is_it = |row: &u32| self.live.contains(*row) && self.ids.of(*row) == *id;
        guess.filter(is_it).or_else(|| self.live.iter().find(|row| self.ids.of(*row) == *id))
    }

    /// The live rows that the predicate of a filter lets pass.
    pub(crate) fn passing(&self, passes: &dyn Fn(&Id) -> bool) -> RowSet {
        self.live.iter().filter(|&row| passes(&self.ids.of(row))).collect()
    }
}

/// The live rows of `count` integers in ascending order.
fn of_integers<V: Deref<Target = [u8]> + Send + Sync>(
    now: &Collection<V>,
    index: &IdIndex,
    count: u64,
    wanted: impl Iterator<Item = u64>,
    contains: impl Fn(u64) -> bool,
) -> RowSet {
    let Collection { ids, live, .. } = now;
    let numbered = ids.numbered();
    let row_of = |id| index.row_of(&Id::Int(id), ids, live);
    let mut words = vec![0_u64; (numbered as usize).div_ceil(64)];
    let (mut wanted, mut moved) = (wanted.peekable(), Vec::new());
    // Rows of their own numbers: no id is looked up, unless it has moved to a later row.
    while let Some(id) = wanted.next_if(|&id| id < u64::from(numbered)) {
        let row = u32::try_from(id).expect("below a row count");
        if live.contains(row) {
            words[row as usize / 64] |= 1 << (row % 64);
        } else {
            moved.extend(row_of(id));
        }
    }
    let mut rows = RowSet::from_words(words);
    for row in moved {
        rows.insert(row);
    }
    if count < u64::from(now.rows.len() - numbered) {
        for row in wanted.filter_map(row_of) {
            rows.insert(row);
        }
    } else {
        for (row, id) in ids.others() {
            if matches!(id, Id::Int(id) if contains(*id)) && live.contains(row) {
                rows.insert(row);
            }
        }
    }
    rows
}
