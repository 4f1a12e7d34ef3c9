//! A part of a memtable's keys: found by their hash, in the order in which they came.

use super::Slot;
use crate::table::KeyHash;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

/// A key, where it is short in its place.
pub(super) type Key = SmallVec<[u8; 24]>;

/// See the module's documentation. A key stays for good, under the index at which it came.
#[derive(Default)]
pub(super) struct Shard {
    keys: Vec<Keyed>,
    /// Of all keys.
    places: HashTable<Place>,
}

/// A key with its versions.
pub(super) struct Keyed {
    pub(super) key: Key,
    pub(super) newest: Slot,
}

/// Where a key is. Its hash spares a look at most others, and at all of them when the table grows.
#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    index: u32,
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn at(&self, index: u32) -> &Keyed {
        &self.keys[index as usize]
    }

    /// The newest version of a key.
    pub(super) fn get(&self, key: &[u8], hash: KeyHash) -> Option<&Slot> {
        let hash = hash.lower();
        let is_it = |place: &Place| place.hash == hash && self.at(place.index).key[..] == *key;
        let place = self.places.find(spread(hash), is_it)?;
        Some(&self.at(place.index).newest)
    }

    /// Makes `slot` the newest version of a key. Where the key was there, gives the version before
    /// and the place of the new one.
    ///
    /// # Panics
    /// With 2^32 keys, which take more memory than there is.
    pub(super) fn insert(
        &mut self,
        key: &[u8],
        hash: KeyHash,
        slot: Slot,
    ) -> Option<(Slot, &mut Slot)> {
        let Self { keys, places } = self;
        let hash = hash.lower();
        let is_it =
            |place: &Place| place.hash == hash && keys[place.index as usize].key[..] == *key;
        match places.entry(spread(hash), is_it, |place| spread(place.hash)) {
            Entry::Occupied(place) => {
                let newest = &mut keys[place.get().index as usize].newest;
                Some((std::mem::replace(newest, slot), newest))
            }
            Entry::Vacant(place) => {
                let index = u32::try_from(keys.len()).expect("memory ends before");
                place.insert(Place { hash, index });
                keys.push(Keyed { key: Key::from_slice(key), newest: slot });
                None
            }
        }
    }
}

/// The table chooses a place by the lower bits of a hash, and looks at the upper ones first.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}
