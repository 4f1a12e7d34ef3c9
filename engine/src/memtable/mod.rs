//! The memtable: the newest versions of keys, in memory, until a table has them.
//!
//! Keeps the versions of a key that somebody may still ask for. One thread writes at a time, many
//! read beside it: keys are spread over shards by their hash, each with its lock. Within a shard a
//! key is found by its hash (`shard`); its order (`order`) is made for whoever reads in order, who
//! merges those of the shards (`cursor`); who makes a table of it has one of all (`sorted`). Which
//! versions may be seen, and what is older, is left to `tree`.

mod cursor;
mod horizons;
mod order;
mod shard;
mod sorted;

pub(crate) use cursor::MemtableCursor;
pub(crate) use horizons::Horizons;
pub(crate) use sorted::SortedMemtable;

use crate::damage::Lsn;
use crate::sync::{AtomicU64, Ordering, RwLock};
use crate::table::{KeyHash, Version};
use order::KeyOrder;
use shard::Shard;
use smallvec::SmallVec;

/// More make writers and readers meet less often, and whoever reads in order look at more.
pub(crate) const SHARDS: usize = 16;
/// About what a version takes beside its key and value: its places, and the allocator's own.
const VERSION_OVERHEAD: usize = 96;

/// See the module's documentation.
pub(crate) struct Memtable {
    shards: [RwLock<Shard>; SHARDS],
    /// Of each shard; locked before it.
    orders: [RwLock<KeyOrder>; SHARDS],
    /// About what it takes.
    bytes: AtomicU64,
    /// The records that it has versions of; 0 for none.
    first_lsn: AtomicU64,
    last_lsn: AtomicU64,
}

/// A version that is brought in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewVersion<'v> {
    pub(crate) key: &'v [u8],
    pub(crate) lsn: Lsn,
    /// `None` where it deletes the key.
    pub(crate) value: Option<&'v [u8]>,
}

/// A version, and those before it, newest first.
#[derive(Debug)]
struct Slot {
    lsn: Lsn,
    /// `None` where the key was deleted.
    value: Option<Box<[u8]>>,
    older: Option<Box<Slot>>,
}

impl Default for Memtable {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            orders: std::array::from_fn(|_| RwLock::default()),
            bytes: AtomicU64::new(0),
            first_lsn: AtomicU64::new(0),
            last_lsn: AtomicU64::new(0),
        }
    }
}

impl Memtable {
    /// Adds a version, of a record behind all that it has, and drops those of its key that are
    /// between two of the horizons, which are asked for where there are any. Nobody else writes
    /// meanwhile.
    pub(crate) fn insert(
        &self,
        NewVersion { key, lsn, value }: NewVersion<'_>,
        horizons: impl FnOnce() -> Horizons,
    ) {
        let slot = Slot { lsn, value: value.map(Into::into), older: None };
        let mut bytes = version_len(key.len(), value.map(<[u8]>::len));
        let hash = KeyHash::of(key);
        {
            let mut shard = self.shard(hash).write();
            if let Some((before, newest)) = shard.insert(key, hash, slot) {
                let dropped = newest.add_older(before, &horizons());
                let gone = dropped.into_iter().map(|value| version_len(key.len(), value));
                bytes = bytes.wrapping_sub(gone.sum());
            }
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.first_lsn.load(Ordering::Relaxed) == 0 {
            self.first_lsn.store(lsn, Ordering::Relaxed);
        }
        self.last_lsn.store(lsn, Ordering::Release);
    }

    /// Adds versions of keys of a shard, with their hashes, each of a record behind all that the
    /// shard has of its key. What they are newer than is dropped, and counts as if it were not.
    pub(crate) fn fill<'v>(
        &self,
        shard: usize,
        versions: impl Iterator<Item = (NewVersion<'v>, KeyHash)>,
    ) {
        let (mut bytes, mut first_lsn, mut last_lsn) = (0, Lsn::MAX, 0);
        let mut shard = self.shards[shard].write();
        for (NewVersion { key, lsn, value }, hash) in versions {
            bytes += version_len(key.len(), value.map(<[u8]>::len));
            (first_lsn, last_lsn) = (first_lsn.min(lsn), last_lsn.max(lsn));
            shard.insert(key, hash, Slot { lsn, value: value.map(Into::into), older: None });
        }
        drop(shard);
        if last_lsn == 0 {
            return;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let lower = |first: u64| Some(if first == 0 { first_lsn } else { first.min(first_lsn) });
        let _ = self.first_lsn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
        self.last_lsn.fetch_max(last_lsn, Ordering::Release);
    }

    /// The newest version of a key up to what `upto` says, which is asked while no version of that
    /// key can be dropped.
    pub(crate) fn get(
        &self,
        key: &[u8],
        hash: KeyHash,
        upto: impl FnOnce() -> Lsn,
    ) -> Option<Version> {
        let shard = self.shard(hash).read();
        let newest = shard.get(key, hash)?;
        let found = newest.upto(upto())?;
        let value = found.value.as_deref().map(<[u8]>::to_vec);
        Some(Version { lsn: found.lsn, value })
    }

    /// About what memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last_lsn.load(Ordering::Acquire) == 0
    }

    /// The first and the last record that it has versions of.
    pub(crate) fn lsns(&self) -> Option<(Lsn, Lsn)> {
        let last = self.last_lsn.load(Ordering::Acquire);
        (last > 0).then(|| (self.first_lsn.load(Ordering::Relaxed), last))
    }

    /// Has the order of a shard be that of all keys that it has now.
    fn bring_in_order(&self, shard: usize) {
        let (order, shard) = (&self.orders[shard], &self.shards[shard]);
        let wanted = shard.read().len();
        while order.read().count() < wanted {
            order.write().take_in(&shard.read());
        }
    }

    fn shard(&self, hash: KeyHash) -> &RwLock<Shard> {
        &self.shards[hash.of_many(SHARDS)]
    }
}

/// About what a version takes, in bytes.
fn version_len(key_len: usize, value_len: Option<usize>) -> u64 {
    (VERSION_OVERHEAD + key_len + value_len.unwrap_or(0)) as u64
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memtable").field("lsns", &self.lsns()).finish_non_exhaustive()
    }
}

impl Slot {
    /// The newest version up to `upto`.
    fn upto(&self, upto: Lsn) -> Option<&Self> {
        let mut slot = self;
        while slot.lsn > upto {
            slot = slot.older.as_deref()?;
        }
        Some(slot)
    }

    /// Takes in the version before it, with those before that, as far as somebody can see them: as
    /// the newest up to a horizon. The lengths of the values that went.
    fn add_older(&mut self, before: Self, horizons: &Horizons) -> SmallVec<[Option<usize>; 1]> {
        let mut dropped = SmallVec::new();
        let mut slot = self;
        let mut next = Some(before);
        while let Some(mut older) = next {
            next = older.older.take().map(|older| *older);
            if horizons.needs(older.lsn, slot.lsn) {
                slot = slot.older.insert(Box::new(older));
            } else {
                dropped.push(older.value.as_ref().map(|value| value.len()));
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests;
