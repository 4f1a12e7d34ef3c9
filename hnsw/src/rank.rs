//! Putting in order by the distances of vectors what was found by those of codes.

use crate::context::Effort;
use crate::graph::Graph;
use crate::kernel::prefetch::prefetch;
use crate::key::Key;
use crate::rows::Rows;

/// Of the rows that a sweep finds by their codes so many times as many as of a beam's are kept, to
/// be ranked if need be.
pub(crate) const SPARE: usize = 8;

/// What rows are ranked with. The memory is used again.
pub(crate) struct Ranking<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) rows: &'a Rows<'a>,
    /// A stride long.
    pub(crate) query: &'a [f32],
    pub(crate) ids: &'a mut Vec<u32>,
    pub(crate) distances: &'a mut Vec<f32>,
    pub(crate) effort: &'a mut Effort,
}

impl Ranking<'_> {
    /// Gives keys the distances of their vectors, in order.
    pub(crate) fn all(&mut self, keys: &mut [Key]) {
        self.measure(keys);
        keys.sort_unstable();
    }

    /// Leaves in `keys`, which are in the order of their codes, the first `count` and whichever
    /// after them may be among the nearest `k` by their vectors, in the order of these.
    ///
    /// Where one of the last third is, codes tell these rows apart badly, as they do rows that are
    /// all far from the query: then twice as many are looked at.
    pub(crate) fn while_it_changes(&mut self, keys: &mut Vec<Key>, k: usize, count: usize) {
        let mut end = count.min(keys.len());
        let mut sure = (end - end / 3).max(k).min(end);
        self.measure(&mut keys[..end]);
        while end < keys.len() {
            keys[..sure].sort_unstable();
            let last = keys[k - 1];
            if keys[sure..end].iter().all(|key| *key > last) {
                break;
            }
            sure = end;
            end = (2 * end).min(keys.len());
            self.measure(&mut keys[sure..end]);
        }
        keys.truncate(end);
        keys.sort_unstable();
    }

    fn measure(&mut self, keys: &mut [Key]) {
        let Self { graph, rows, query, ids, distances, effort } = self;
        ids.clear();
        ids.extend(keys.iter().map(|key| key.row()));
        for &row in &**ids {
            prefetch(rows.unread(row));
        }
        graph.kernel.distances(query, rows, ids, distances);
        for ((key, &row), &distance) in keys.iter_mut().zip(&**ids).zip(&**distances) {
            *key = Key::new(distance, row);
        }
        effort.ranked = effort.ranked.saturating_add(u32::try_from(keys.len()).unwrap_or(u32::MAX));
        #[cfg(feature = "counters")]
        {
            effort.bytes += (keys.len() * size_of_val(*query)) as u64;
        }
    }
}
