//! The versions of a memtable in order, either way, while others are added.
//!
//! Keeps, of each shard, the next few versions, copied while its locks are held, and merges them.
//! A key that is added meanwhile is not seen; a version of another one may be.

use super::order::KeyOrder;
use super::shard::{Key, Keyed, Shard};
use super::{Memtable, SHARDS};
use crate::damage::Lsn;
use crate::table::{Direction, Entry};
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

/// Keys copied of a shard at a time, at first: half of them may not be asked for.
const STEP_KEYS_MIN: usize = 4;
/// And at most.
const STEP_KEYS_MAX: usize = 128;
/// And as many bytes.
const STEP_BYTES: usize = 64 << 10;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    /// Of each key the newest version up to this record is asked for.
    upto: Lsn,
    direction: Direction,
    shards: Vec<ShardCursor>,
    /// The shard that has the next version.
    next: Option<usize>,
}

#[derive(Debug)]
struct ShardCursor {
    /// What is left of it, behind what was copied.
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    copied: VecDeque<Copied>,
    step: usize,
    is_done: bool,
}

#[derive(Debug)]
struct Copied {
    key: Key,
    lsn: Lsn,
    value: Option<Box<[u8]>>,
}

impl MemtableCursor {
    /// At the first version in a range, in that direction. The bounds are in order, and not of one
    /// key that both leave out.
    pub(crate) fn new(
        memtable: Arc<Memtable>,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        upto: Lsn,
        direction: Direction,
    ) -> Self {
        let shard = |_| ShardCursor {
            from: from.map(<[u8]>::to_vec),
            to: to.map(<[u8]>::to_vec),
            copied: VecDeque::new(),
            step: STEP_KEYS_MIN,
            is_done: false,
        };
        (0..SHARDS).for_each(|shard| memtable.bring_in_order(shard));
        let shards = (0..SHARDS).map(shard).collect();
        let mut cursor = Self { memtable, upto, direction, shards, next: None };
        (0..SHARDS).for_each(|shard| cursor.fill(shard));
        cursor.choose();
        cursor
    }

    /// The version it is at; `None` at the end.
    pub(crate) fn entry(&self) -> Option<Entry<'_>> {
        let Copied { key, lsn, value } = self.shards[self.next?].copied.front()?;
        Some(Entry { key, lsn: *lsn, value: value.as_deref() })
    }

    /// Goes to the next version.
    pub(crate) fn advance(&mut self) {
        let Some(shard) = self.next else { return };
        self.shards[shard].copied.pop_front();
        self.fill(shard);
        self.choose();
    }

    /// Copies the next few of a shard, if all before were read.
    fn fill(&mut self, index: usize) {
        let cursor = &mut self.shards[index];
        while cursor.copied.is_empty() && !cursor.is_done {
            let order = self.memtable.orders[index].read();
            let shard = self.memtable.shards[index].read();
            cursor.step((&order, &shard), self.upto, self.direction);
        }
    }

    /// Finds the shard with the next version.
    fn choose(&mut self) {
        let keys = self.shards.iter().enumerate();
        let keys = keys.filter_map(|(shard, cursor)| Some((&cursor.copied.front()?.key, shard)));
        // Two shards have no key in common.
        let first = match self.direction {
            Direction::Forward => keys.min(),
            Direction::Backward => keys.max(),
        };
        self.next = first.map(|(_, shard)| shard);
    }
}

impl ShardCursor {
    fn step(&mut self, (order, shard): (&KeyOrder, &Shard), upto: Lsn, direction: Direction) {
        let key = |index: u32| &shard.at(index).key[..];
        let mut range = order.range(
            |index| match &self.from {
                Bound::Included(from) => key(index) < &from[..],
                Bound::Excluded(from) => key(index) <= &from[..],
                Bound::Unbounded => false,
            },
            |index| match &self.to {
                Bound::Included(to) => key(index) <= &to[..],
                Bound::Excluded(to) => key(index) < &to[..],
                Bound::Unbounded => true,
            },
        );
        let mut last = None;
        let mut bytes = 0;
        for _ in 0..self.step {
            let next = match direction {
                Direction::Forward => range.next(),
                Direction::Backward => range.next_back(),
            };
            let Some(Keyed { key, newest }) = next.map(|index| shard.at(index)) else {
                self.is_done = true;
                break;
            };
            last = Some(key);
            if let Some(found) = newest.upto(upto) {
                let value = found.value.clone();
                bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
                self.copied.push_back(Copied { key: key.clone(), lsn: found.lsn, value });
            }
            if bytes >= STEP_BYTES {
                break;
            }
        }
        self.step = (2 * self.step).min(STEP_KEYS_MAX);
        let Some(last) = last else { return };
        match direction {
            Direction::Forward => self.from = Bound::Excluded(last.to_vec()),
            Direction::Backward => self.to = Bound::Excluded(last.to_vec()),
        }
    }
}
