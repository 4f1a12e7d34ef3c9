//! All versions of a memtable in order, once nobody writes to it any more.
//!
//! Keeps one order of all shards, made for whoever writes a table of it. The versions are looked at
//! where they are.

use super::shard::{Key, Shard};
use super::{Memtable, Slot};
use crate::keys::{common_len, prefix};
use crate::sync::RwLockReadGuard;
use crate::table::Entry;

/// Fewer keys that go on alike are compared whole,
const ALIKE_MIN: usize = 16;
/// and so are those that still go on alike after so many looks at eight bytes of each.
const LOOKS_MAX: usize = 4;

/// See the module's documentation. It is at one version, from the first to behind the last.
pub(crate) struct SortedMemtable<'m> {
    shards: Shards<'m>,
    /// Of the keys, in order.
    places: Vec<Place>,
    /// The key it is at, and which of its versions, from the newest on.
    at: usize,
    version: usize,
}

type Shards<'m> = Vec<RwLockReadGuard<'m, Shard>>;

/// Where a key is, and eight of its bytes, as a number that orders like them.
#[derive(Clone, Copy)]
struct Place {
    bytes: u64,
    shard: u32,
    index: u32,
}

impl<'m> SortedMemtable<'m> {
    /// Of a memtable to which nobody writes while this lives. Takes 16 bytes a key.
    pub(crate) fn new(memtable: &'m Memtable) -> Self {
        let shards: Shards<'m> = memtable.shards.iter().map(|shard| shard.read()).collect();
        let mut places = Vec::with_capacity(shards.iter().map(|shard| shard.len()).sum());
        for (shard, keys) in (0..).zip(&shards) {
            let indices = 0..u32::try_from(keys.len()).expect("indices of keys");
            places.extend(indices.map(|index| Place { bytes: 0, shard, index }));
        }
        sort(&shards, &mut places, 0, LOOKS_MAX);
        Self { shards, places, at: 0, version: 0 }
    }

    /// The version it is at; `None` at the end.
    pub(crate) fn entry(&self) -> Option<Entry<'_>> {
        let (key, slot) = self.slot()?;
        Some(Entry { key, lsn: slot.lsn, value: slot.value.as_deref() })
    }

    /// Goes to the next version.
    pub(crate) fn advance(&mut self) {
        let is_last = self.slot().is_none_or(|(_, slot)| slot.older.is_none());
        (self.at, self.version) =
            if is_last { (self.at + 1, 0) } else { (self.at, self.version + 1) };
    }

    fn slot(&self) -> Option<(&Key, &Slot)> {
        let place = self.places.get(self.at)?;
        let keyed = self.shards[place.shard as usize].at(place.index);
        let slot = (0..self.version).try_fold(&keyed.newest, |slot, _| slot.older.as_deref())?;
        Some((&keyed.key, slot))
    }
}

/// Sorts keys that are alike in their first `from` bytes. Looks at the keys only where the numbers
/// beside their places do not tell: each look is one far from the others.
fn sort(shards: &Shards<'_>, places: &mut [Place], from: usize, looks: usize) {
    let key = |place: &Place| &shards[place.shard as usize].at(place.index).key[from..];
    let Some(first) = places.first().map(key) else { return };
    let common = places.iter().map(|place| common_len(first, key(place))).min().unwrap_or(0);
    for place in &mut *places {
        place.bytes = prefix(&key(place)[common..]);
    }
    places.sort_unstable_by_key(|place| place.bytes);
    for alike in places.chunk_by_mut(|a, b| a.bytes == b.bytes) {
        if alike.len() < ALIKE_MIN || looks == 1 {
            alike.sort_unstable_by(|a, b| key(a)[common..].cmp(&key(b)[common..]));
        } else {
            // What follows is alike for all of them up to the end of the shortest.
            sort(shards, alike, from + common, looks - 1);
        }
    }
}
