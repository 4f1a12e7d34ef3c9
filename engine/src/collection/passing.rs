//! Which live rows of a collection a filter lets pass.

use super::live::LiveCollection;
use super::{Collection, IdIndex};
use crate::filter::{Filter, Kind};
use crate::id::Id;
use gannet_hnsw::RowSet;
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
