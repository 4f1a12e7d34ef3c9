//! The smallest keys of many, and the bound beyond which a key is not among them.

use crate::key::Key;

/// Keys are gathered to at least this many before the smallest `k` are told apart.
const GATHER_MIN: usize = 32;

/// The smallest `k` keys of many, for any `k`: gathers a multiple of `k`, then drops the rest, so a
/// key costs constant time on average.
pub(crate) struct Nearest {
    keys: Vec<Key>,
    k: usize,
    gather: usize,
    /// Keys at or beyond it are not among the smallest `k`.
    bound: Option<Key>,
    /// The distance of the bound.
    limit: f32,
}

impl Nearest {
    /// For the smallest `k` of at most `count` keys; `k` is from 1 to `count`.
    pub(crate) fn new(k: usize, count: usize) -> Self {
        Self::reuse(Vec::new(), k, count)
    }

    /// The same in memory that is there; what is in it is forgotten.
    pub(crate) fn reuse(mut keys: Vec<Key>, k: usize, count: usize) -> Self {
        let gather = k.saturating_mul(2).max(GATHER_MIN).min(count);
        keys.clear();
        keys.reserve_exact(gather);
        Self { keys, k, gather, bound: None, limit: f32::INFINITY }
    }

    /// For the smallest `k` of `known`, in order, and of others, `count` in all.
    pub(crate) fn beside(known: impl Iterator<Item = Key>, k: usize, count: usize) -> Self {
        let mut nearest = Self::new(k, count);
        nearest.keys.extend(known.take(k));
        if let Some(last) = nearest.keys.get(k - 1).copied() {
            nearest.bound = Some(last);
            nearest.limit = last.distance();
        }
        nearest
    }

    /// A key of a greater distance is not among the smallest. Never NaN.
    #[inline]
    pub(crate) fn limit(&self) -> f32 {
        self.limit
    }

    /// Inserts the key of a row, if its distance lets it.
    #[inline]
    pub(crate) fn offer(&mut self, distance: f32, row: u32) {
        // What is not a number is not above the limit: it counts, as infinitely far.
        let is_above = distance > self.limit;
        if !is_above {
            self.insert(Key::new(distance, row));
        }
    }

    /// Inserts a key, if it is near enough.
    #[inline]
    pub(crate) fn offer_key(&mut self, key: Key) {
        let is_far = self.bound.is_some_and(|bound| key >= bound);
        if !is_far {
            self.insert(key);
        }
    }

    fn insert(&mut self, key: Key) {
        if self.bound.is_some_and(|bound| key >= bound) {
            return;
        }
        if self.keys.len() == self.gather {
            let (_, &mut bound, _) = self.keys.select_nth_unstable(self.k - 1);
            self.keys.truncate(self.k);
            self.bound = Some(bound);
            self.limit = bound.distance();
            if key >= bound {
                return;
            }
        }
        self.keys.push(key);
    }

    pub(crate) fn into_sorted(mut self) -> Vec<Key> {
        self.keys.sort_unstable();
        self.keys.truncate(self.k);
        self.keys
    }
}
