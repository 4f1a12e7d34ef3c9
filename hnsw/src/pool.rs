//! The beam of a search: the best rows found, nearest first, and which of them to follow next.
//!
//! A sorted array beats two heaps while it is short; `walk` uses heaps for very wide beams.

use crate::key::Key;

/// At most `capacity` keys, ascending. Those before `cursor` have been followed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    keys: Vec<Key>,
    capacity: usize,
    cursor: usize,
}

impl Pool {
    /// Empties the pool for a beam of `capacity` keys, at least 1.
    pub(crate) fn begin(&mut self, capacity: usize) {
        assert!(capacity > 0, "a beam of no rows");
        self.keys.clear();
        self.keys.reserve(capacity);
        self.capacity = capacity;
        self.cursor = 0;
    }

    /// Takes `key` in unless `capacity` nearer ones are here, and says whether it is the one to
    /// follow next. No key may come twice.
    #[inline]
    pub(crate) fn insert(&mut self, key: Key) -> bool {
        if self.keys.len() == self.capacity {
            if self.keys.last().is_some_and(|last| key >= *last) {
                return false;
            }
            self.keys.pop();
        }
        let at = self.keys.partition_point(|other| *other < key);
        self.keys.insert(at, key);
        let is_next = at <= self.cursor;
        if is_next {
            self.cursor = at;
        }
        is_next
    }

    /// The nearest key not yet followed, now marked as followed.
    #[inline]
    pub(crate) fn follow_next(&mut self) -> Option<Key> {
        let next = self.peek()?;
        self.keys[self.cursor] = next.followed();
        self.cursor += 1;
        while self.keys.get(self.cursor).is_some_and(|key| key.is_followed()) {
            self.cursor += 1;
        }
        Some(next)
    }

    /// The key that [`Pool::follow_next`] would give.
    #[inline]
    pub(crate) fn peek(&self) -> Option<Key> {
        self.keys.get(self.cursor).copied()
    }

    /// Every key, nearest first.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<Key>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(pool: &Pool) -> Vec<u32> {
        pool.keys().iter().map(|key| key.row()).collect()
    }

    #[test]
    fn the_nearest_stay_and_ties_go_to_the_lower_row() {
        let mut pool = Pool::default();
        pool.begin(3);
        for (distance, row) in [(4.0, 0), (2.0, 9), (2.0, 3), (5.0, 1), (2.0, 5), (1.0, 8)] {
            pool.insert(Key::new(distance, row));
        }
        assert_eq!(rows(&pool), [8, 3, 5]);
    }

    #[test]
    fn following_goes_back_to_a_nearer_row_found_later() {
        let mut pool = Pool::default();
        pool.begin(4);
        let mut follow = |add: &[(f32, u32)]| {
            for &(distance, row) in add {
                pool.insert(Key::new(distance, row));
            }
            pool.follow_next().map(Key::row)
        };
        assert_eq!(follow(&[(3.0, 3), (1.0, 1), (4.0, 4)]), Some(1));
        assert_eq!(follow(&[(2.0, 2)]), Some(2));
        assert_eq!(follow(&[(0.0, 0)]), Some(0));
        assert_eq!(follow(&[]), Some(3));
        assert_eq!(follow(&[(9.0, 9)]), None);
    }
}
