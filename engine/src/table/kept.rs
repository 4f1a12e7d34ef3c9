//! A block as the cache keeps it: before its bytes, how each key begins and where its entry is.
//!
//! Keeps what a key is found by without looking at entries of others: numbers side by side, of the
//! first bytes in which the block's keys differ. Where that does not tell, and where a key goes on
//! longer than that like the one before, it is looked for in the block itself.
//!
//! ```text
//! count u32, skip u32, common bytes x skip, (beginning u64, entry u32) x count, block
//! ```

use super::block::{Block, Found};
use crate::codec::Put;
use crate::damage::Lsn;
use crate::keys::{common_len, prefix};
use std::ops::Deref;
use std::sync::Arc;

const HEADER_LEN_BYTES: usize = 4 + 4;
/// Bytes for each entry.
const ENTRY_LEN_BYTES: usize = 8 + 4;
/// Bytes of a key that its beginning is made of.
const BEGINNING_LEN_BYTES: usize = 8;
/// Beginnings that are looked at one by one.
const COUNTED_MAX: usize = 64;

/// See the module's documentation. Dereferences to the bytes of the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptBlock(Arc<[u8]>);

impl KeptBlock {
    /// `None` if the bytes are not a block.
    pub(super) fn new(bytes: &[u8], lsn_base: Lsn) -> Option<Self> {
        let block = Block::new(bytes, lsn_base)?;
        let (mut places, mut ends, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let (mut at, mut start) = (0, 0);
        while at < block.entries_len() {
            let entry = block.entry(at)?;
            places.push(u32::try_from(at).ok()?);
            let key_start = keys.len();
            if entry.shared > key_start - start {
                return None;
            }
            keys.extend_from_within(start..start + entry.shared);
            keys.extend_from_slice(entry.rest);
            ends.push(keys.len());
            (at, start) = (entry.end, key_start);
        }
        let key = |index: usize| {
            let start = index.checked_sub(1).map_or(0, |before| ends[before]);
            &keys[start..ends[index]]
        };
        let last = ends.len().checked_sub(1)?;
        let common = &key(0)[..common_len(key(0), key(last))];
        let mut out = Vec::with_capacity(
            HEADER_LEN_BYTES + ENTRY_LEN_BYTES * ends.len() + common.len() + bytes.len(),
        );
        out.put_u32(u32::try_from(ends.len()).ok()?);
        out.put_u32(u32::try_from(common.len()).ok()?);
        out.put(common);
        for (index, place) in places.into_iter().enumerate() {
            // Keys between the first and the last begin like both.
            out.put_u64(prefix(key(index).get(common.len()..)?));
            out.put_u32(place);
        }
        out.put(bytes);
        Some(Self(out.into()))
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.0.len()
    }

    /// The newest version of `key` up to `upto`. `None` if the bytes are damaged.
    pub(super) fn get(&self, key: &[u8], upto: Lsn, lsn_base: Lsn) -> Option<Found> {
        let Parts { common, entries, block: bytes } = self.parts();
        let Some((begins, tail)) = key.split_at_checked(common.len()) else {
            return Some(Found::Nothing);
        };
        if begins != common {
            return Some(Found::Nothing);
        }
        let wanted = prefix(tail);
        let first = first_not_before(entries, wanted);
        let block = Block::of_entries(bytes, lsn_base);
        let mut is_same = false;
        for index in first.. {
            let like = entries.get(index).filter(|entry| beginning(entry) == wanted);
            let Some(like) = like else {
                // What is behind has other keys; where nothing is, the next block may go on.
                let goes_on = is_same && index == entries.len();
                return Some(if goes_on { Found::MaybeNext } else { Found::Nothing });
            };
            let place = u32::from_le_bytes(*like.last_chunk().expect("it is longer"));
            let entry = block.entry(place as usize)?;
            // As far as the beginning tells.
            let told = common.len() + BEGINNING_LEN_BYTES;
            is_same = if entry.shared + entry.rest.len() != key.len() {
                false
            } else if key.len() <= told {
                true
            } else if entry.shared <= told {
                entry.rest[told - entry.shared..] == key[told..]
            } else {
                return Block::new(bytes, lsn_base)?.get(key, upto);
            };
            if is_same && entry.lsn <= upto {
                return Some(Found::Version(entry.lsn, entry.value));
            }
        }
        Some(Found::Nothing)
    }

    fn parts(&self) -> Parts<'_> {
        let (header, rest) = self.0.split_at(HEADER_LEN_BYTES);
        let number = |at: usize| {
            let bytes = header[at..].first_chunk().expect("two numbers");
            u32::from_le_bytes(*bytes) as usize
        };
        let (count, skip) = (number(0), number(4));
        let (common, rest) = rest.split_at(skip);
        let (entries, block) = rest.split_at(ENTRY_LEN_BYTES * count);
        Parts { common, entries: entries.as_chunks().0, block }
    }
}

struct Parts<'k> {
    common: &'k [u8],
    entries: &'k [[u8; ENTRY_LEN_BYTES]],
    block: &'k [u8],
}

/// The first entry, of those in order, that does not begin before `wanted`.
fn first_not_before(entries: &[[u8; ENTRY_LEN_BYTES]], wanted: u64) -> usize {
    let (mut from, mut to) = (0, entries.len());
    while to - from > COUNTED_MAX {
        let middle = from.midpoint(to);
        if beginning(&entries[middle]) < wanted {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    // Halving on would wait for memory at each step; these are fetched at once.
    from + entries[from..to].iter().filter(|entry| beginning(entry) < wanted).count()
}

fn beginning(entry: &[u8; ENTRY_LEN_BYTES]) -> u64 {
    u64::from_le_bytes(*entry.first_chunk().expect("it is longer"))
}

impl Deref for KeptBlock {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.parts().block
    }
}
