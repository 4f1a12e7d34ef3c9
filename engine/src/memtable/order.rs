//! The keys of a shard in order, as far as somebody asked for that.
//!
//! Who writes does not pay for it: keys that came since are taken in when somebody wants to read in
//! order, some at a time, so that a writer waits for no more than these.

use super::shard::Shard;

/// Keys taken in at a time.
const STEP_KEYS: usize = 2048;
/// Keys that stand together at most: what a key that comes between them moves.
const RUN_KEYS_MAX: usize = 512;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct KeyOrder {
    /// Indices of keys, all in order; no run is empty.
    runs: Vec<Vec<u32>>,
    /// As many of the shard's first keys are in it.
    count: usize,
}

/// A place in the order: the run, and where in it.
type At = (usize, usize);

impl KeyOrder {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Takes in the next keys.
    pub(super) fn take_in(&mut self, shard: &Shard) {
        let end = shard.len().min(self.count + STEP_KEYS);
        let range = u32::try_from(self.count).and_then(|from| Ok(from..u32::try_from(end)?));
        let mut new: Vec<u32> = range.expect("indices of keys").collect();
        new.sort_unstable_by(|a, b| shard.at(*a).key.cmp(&shard.at(*b).key));
        self.count = end;
        if self.runs.is_empty() {
            self.runs = new.chunks(RUN_KEYS_MAX / 2).map(<[u32]>::to_vec).collect();
        } else {
            for index in new {
                self.insert(shard, index);
            }
        }
    }

    fn insert(&mut self, shard: &Shard, index: u32) {
        let key = &shard.at(index).key[..];
        let is_before = |other: &u32| shard.at(*other).key[..] < *key;
        let run = self.runs.partition_point(|run| is_before(&run[0])).saturating_sub(1);
        let keys = &mut self.runs[run];
        keys.insert(keys.partition_point(is_before), index);
        if keys.len() > RUN_KEYS_MAX {
            let half = keys.split_off(RUN_KEYS_MAX / 2);
            self.runs.insert(run + 1, half);
        }
    }

    /// The place of the first key that is not before, as `is_before` says, which is true of keys up
    /// to one.
    fn first_not(&self, is_before: impl Fn(u32) -> bool) -> At {
        let run = self.runs.partition_point(|run| run.last().is_some_and(|last| is_before(*last)));
        let at = |keys: &Vec<u32>| keys.partition_point(|index| is_before(*index));
        (run, self.runs.get(run).map_or(0, at))
    }

    /// The keys from the first one that is not before `from` says to the last one that is before
    /// `to` says, either way.
    pub(super) fn range(
        &self,
        is_before_from: impl Fn(u32) -> bool,
        is_before_to: impl Fn(u32) -> bool,
    ) -> Range<'_> {
        let (front, back) = (self.first_not(is_before_from), self.first_not(is_before_to));
        Range { runs: &self.runs, front, back: back.max(front) }
    }
}

/// Keys of an order, one after the other.
#[derive(Debug)]
pub(super) struct Range<'o> {
    runs: &'o [Vec<u32>],
    front: At,
    back: At,
}

impl Iterator for Range<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.front == self.back {
            return None;
        }
        let (run, at) = self.front;
        self.front = if at + 1 < self.runs[run].len() { (run, at + 1) } else { (run + 1, 0) };
        Some(self.runs[run][at])
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<u32> {
        if self.front == self.back {
            return None;
        }
        let (run, at) = self.back;
        self.back = match at.checked_sub(1) {
            Some(before) => (run, before),
            None => (run - 1, self.runs[run - 1].len() - 1),
        };
        Some(self.runs[self.back.0][self.back.1])
    }
}
