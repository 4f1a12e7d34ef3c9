//! Blocks of a table: entries in order, each without what its key begins with like the one before.
//!
//! Keeps the encoding of entries and how one is found. What a block is compressed with, its
//! checksum and its place are the table's business.
//!
//! A key's newest version comes first. Every [`RESTART_INTERVAL`]th entry has its whole key, so
//! that the block can be searched by halves.

use super::{Entry, Order};
use crate::codec::{Put, Reader};
use crate::damage::Lsn;
use crate::keys::common_len;
use std::cmp::Ordering;
use std::ops::Range;

/// Entries from one whole key to the next.
const RESTART_INTERVAL: usize = 16;

/// Entries of a block to be.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    last_key: Vec<u8>,
    count: usize,
}

impl BlockBuilder {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Length of the block with what it has.
    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len() + 4 * self.restarts.len() + 4
    }

    /// The key of the last entry.
    pub(super) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Appends an entry, whose number is said from `lsn_base` on.
    pub(super) fn push(&mut self, entry: &Entry<'_>, lsn_base: Lsn) {
        let is_restart = self.count.is_multiple_of(RESTART_INTERVAL);
        let shared = if is_restart {
            let at = u32::try_from(self.bytes.len()).expect("a block is below 4 GiB");
            self.restarts.push(at);
            0
        } else {
            common_len(&self.last_key, entry.key)
        };
        let rest = &entry.key[shared..];
        self.bytes.put_varint(shared as u64);
        self.bytes.put_varint(rest.len() as u64);
        self.bytes.put_varint(entry.lsn - lsn_base);
        self.bytes.put_varint(entry.value.map_or(0, |value| value.len() as u64 + 1));
        self.bytes.put(rest);
        self.bytes.put(entry.value.unwrap_or_default());
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(rest);
        self.count += 1;
    }

    /// The bytes of the block; it is then to be [cleared](Self::clear).
    pub(super) fn finish(&mut self) -> &[u8] {
        for at in &self.restarts {
            self.bytes.put_u32(*at);
        }
        self.bytes.put_u32(u32::try_from(self.restarts.len()).expect("fewer than bytes"));
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.restarts.clear();
        self.last_key.clear();
        self.count = 0;
    }
}

/// The bytes of a block, looked into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'b> {
    entries: &'b [u8],
    /// Where entries with whole keys begin.
    restarts: &'b [[u8; 4]],
    lsn_base: Lsn,
}

/// An entry as it stands in a block.
#[derive(Clone, Debug)]
pub(super) struct Encoded<'b> {
    /// How many bytes its key begins with like the one before.
    pub(super) shared: usize,
    /// The other bytes of the key.
    pub(super) rest: &'b [u8],
    pub(super) lsn: Lsn,
    /// Place of the value; `None` where the key is deleted.
    pub(super) value: Option<Range<usize>>,
    /// Where the next one begins.
    pub(super) end: usize,
}

/// What a block says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The version that was asked for: its number, and the place of its value in the block, `None`
    /// where the key is deleted.
    Version(Lsn, Option<Range<usize>>),
    /// No entry that is that old.
    Nothing,
    /// Neither that: the next block may have it.
    MaybeNext,
}

impl<'b> Block<'b> {
    /// `None` if the bytes are not a block; what they say of entries is checked when it is read.
    pub(super) fn new(bytes: &'b [u8], lsn_base: Lsn) -> Option<Self> {
        let (rest, count) = bytes.split_last_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let entries_len = rest.len().checked_sub(count.checked_mul(4)?)?;
        let (entries, restarts) = rest.split_at(entries_len);
        let (restarts, _) = restarts.as_chunks();
        (count > 0).then_some(Self { entries, restarts, lsn_base })
    }

    /// A block in which entries are asked for by their places alone.
    pub(super) fn of_entries(bytes: &'b [u8], lsn_base: Lsn) -> Self {
        Self { entries: bytes, restarts: &[], lsn_base }
    }

    pub(super) fn entries_len(&self) -> usize {
        self.entries.len()
    }

    /// The newest version of `key` up to `upto`. `None` if the bytes are damaged.
    pub(super) fn get(&self, key: &[u8], upto: Lsn) -> Option<Found> {
        let mut at = self.restart_before(key, upto)?;
        // How many bytes the entry before begins with like `key`, which it is not behind.
        let mut matched = 0;
        let mut is_same = false;
        while at < self.entries.len() {
            let entry = self.entry(at)?;
            at = entry.end;
            if entry.shared > matched && !is_same {
                // It differs from `key` where the one before did.
                continue;
            }
            if entry.shared < matched && entry.shared > 0 {
                // It differs from the one before where that was like `key`.
                return Some(Found::Nothing);
            }
            let rest = key.get(entry.shared..)?;
            let same = common_len(entry.rest, rest);
            matched = entry.shared + same;
            is_same = same == rest.len() && same == entry.rest.len();
            if is_same && entry.lsn <= upto {
                return Some(Found::Version(entry.lsn, entry.value));
            }
            if !is_same && entry.rest.get(same) > rest.get(same) {
                return Some(Found::Nothing);
            }
        }
        Some(if is_same { Found::MaybeNext } else { Found::Nothing })
    }

    /// The last place with a whole key that is not behind (`key`, `upto`); the first one if all
    /// are.
    fn restart_before(&self, key: &[u8], upto: Lsn) -> Option<usize> {
        let (mut low, mut high) = (0, self.restarts.len());
        while high - low > 1 {
            let middle = low.midpoint(high);
            let entry = self.entry(self.restart(middle))?;
            if (Order { key: entry.rest, lsn: entry.lsn }) <= (Order { key, lsn: upto }) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(self.restart(low))
    }

    fn restart(&self, index: usize) -> usize {
        u32::from_le_bytes(self.restarts[index]) as usize
    }

    /// The entry that begins at a byte; `None` if the bytes are damaged.
    pub(super) fn entry(&self, at: usize) -> Option<Encoded<'b>> {
        let mut r = Reader::new(self.entries.get(at..)?);
        let shared = usize::try_from(r.varint()?).ok()?;
        let rest_len = usize::try_from(r.varint()?).ok()?;
        let lsn = self.lsn_base.checked_add(r.varint()?)?;
        let value_len = usize::try_from(r.varint()?).ok()?;
        let rest = r.bytes(rest_len)?;
        let start = self.entries.len() - r.rest().len();
        let value = match value_len.checked_sub(1) {
            None => None,
            Some(len) => {
                r.bytes(len)?;
                Some(start..start + len)
            }
        };
        let end = self.entries.len() - r.rest().len();
        Some(Encoded { shared, rest, lsn, value, end })
    }
}

/// The entries of a block, side by side, for whoever reads one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Unpacked {
    keys: Vec<u8>,
    entries: Vec<UnpackedEntry>,
}

#[derive(Clone, Debug)]
struct UnpackedEntry {
    /// Where the key ends; it begins where the one before ends.
    key_end: usize,
    /// It has the key of the entry before.
    goes_on: bool,
    lsn: Lsn,
    value: Option<Range<usize>>,
}

impl Unpacked {
    /// Takes in the entries of a block; `None` if it is damaged.
    pub(super) fn take(&mut self, block: &Block<'_>) -> Option<()> {
        self.keys.clear();
        self.entries.clear();
        let (mut at, mut start) = (0, 0);
        while at < block.entries.len() {
            let Encoded { shared, rest, lsn, value, end } = block.entry(at)?;
            if shared > self.keys.len() - start {
                return None;
            }
            let key_start = self.keys.len();
            self.keys.extend_from_within(start..start + shared);
            self.keys.extend_from_slice(rest);
            let mut goes_on = false;
            if let Some(last) = self.entries.last() {
                let order = self.keys[start..key_start].cmp(&self.keys[key_start..]);
                goes_on = order == Ordering::Equal;
                if order == Ordering::Greater || goes_on && last.lsn <= lsn {
                    return None;
                }
            }
            self.entries.push(UnpackedEntry { key_end: self.keys.len(), goes_on, lsn, value });
            (at, start) = (end, key_start);
        }
        Some(())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn key(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.entries[before].key_end);
        &self.keys[start..self.entries[index].key_end]
    }

    pub(super) fn lsn(&self, index: usize) -> Lsn {
        self.entries[index].lsn
    }

    /// Whether an entry has the key of the one before, in this block.
    pub(super) fn goes_on(&self, index: usize) -> bool {
        self.entries[index].goes_on
    }

    /// Place of the value in the block; `None` where the key is deleted.
    pub(super) fn value(&self, index: usize) -> Option<Range<usize>> {
        self.entries[index].value.clone()
    }

    /// How many entries have a key before `key`, or that one too if `is_inclusive`.
    pub(super) fn count_before(&self, key: &[u8], is_inclusive: bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let order = self.key(middle).cmp(key);
            if order == Ordering::Less || is_inclusive && order == Ordering::Equal {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::KeptBlock;
    use super::*;
    use std::cmp::Reverse;
    use std::collections::{BTreeMap, BTreeSet};

    type Versions = BTreeMap<(Vec<u8>, Reverse<Lsn>), Option<Vec<u8>>>;

    /// Keys of few letters, so that many begin alike; some with many versions. Of every second seed
    /// each letter is there seven times.
    fn entries(seed: u32, count: usize) -> Versions {
        let times = if seed.is_multiple_of(2) { 1 } else { 7 };
        let mut random = seed;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random >> 16
        };
        let mut all = BTreeMap::new();
        while all.len() < count {
            let key: Vec<u8> = (0..times * (1 + next() % 6))
                .scan(b'a', |letter, index| {
                    if index.is_multiple_of(times) {
                        *letter = b"abc"[next() as usize % 3];
                    }
                    Some(*letter)
                })
                .collect();
            let lsn = 1000 + Lsn::from(next() % 300);
            let value = (!next().is_multiple_of(4)).then(|| vec![7; next() as usize % 5]);
            all.insert((key, Reverse(lsn)), value);
        }
        all
    }

    fn block_of(entries: &Versions) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        for ((key, lsn), value) in entries {
            builder.push(&Entry { key, lsn: lsn.0, value: value.as_deref() }, 900);
        }
        let len = builder.len_bytes();
        let bytes = builder.finish().to_vec();
        assert_eq!(bytes.len(), len);
        bytes
    }

    #[test]
    fn each_version_is_found_from_the_number_on_that_it_has() {
        for seed in 0..40 {
            let entries = entries(seed, 1 + seed as usize * 5);
            let bytes = block_of(&entries);
            let block = Block::new(&bytes, 900).unwrap();
            let kept = KeptBlock::new(&bytes, 900).unwrap();
            assert_eq!(kept[..], bytes);
            let keys: BTreeSet<_> = entries.keys().map(|(key, _)| key).collect();
            let others =
                [&b"a"[..], b"aab", b"bz", b"ccccccc", b"0", b"b", b"aaaaaaabbbbbbbbcccccc"];
            for key in keys.into_iter().map(|key| &key[..]).chain(others) {
                for upto in [0, 999, 1000, 1050, 1100, 1200, 1299, Lsn::MAX] {
                    assert_eq!(kept.get(key, upto, 900), block.get(key, upto), "{key:?}");
                    let from = (key.to_vec(), Reverse(upto));
                    let next = entries.range(from..).next().filter(|((found, _), _)| found == key);
                    let found = block.get(key, upto).unwrap();
                    match next {
                        Some(((_, lsn), value)) => {
                            let Found::Version(found_lsn, place) = found else {
                                panic!("seed {seed}: {key:?} up to {upto}: {found:?}");
                            };
                            assert_eq!(found_lsn, lsn.0);
                            assert_eq!(place.map(|place| bytes[place].to_vec()), *value);
                        }
                        None => assert!(matches!(found, Found::Nothing | Found::MaybeNext)),
                    }
                    let is_last = entries.keys().next_back().is_some_and(|(last, _)| last == key);
                    assert!(found_next_only_at_the_end(&block, key, upto, is_last));
                }
            }
        }
    }

    fn found_next_only_at_the_end(block: &Block<'_>, key: &[u8], upto: Lsn, is_last: bool) -> bool {
        block.get(key, upto) != Some(Found::MaybeNext) || is_last
    }

    #[test]
    fn unpacked_entries_are_those_that_were_packed() {
        let mut unpacked = Unpacked::default();
        for seed in 0..20 {
            let entries = entries(seed, 1 + seed as usize * 7);
            let bytes = block_of(&entries);
            unpacked.take(&Block::new(&bytes, 900).unwrap()).unwrap();
            assert_eq!(unpacked.len(), entries.len());
            for (index, ((key, lsn), value)) in entries.iter().enumerate() {
                assert_eq!((unpacked.key(index), unpacked.lsn(index)), (&key[..], lsn.0));
                let value_found = unpacked.value(index).map(|place| &bytes[place]);
                assert_eq!(value_found, value.as_deref());
                for is_inclusive in [false, true] {
                    let before =
                        |other: &[u8]| other < &key[..] || is_inclusive && other == &key[..];
                    let count = entries.keys().filter(|(other, _)| before(other)).count();
                    assert_eq!(unpacked.count_before(key, is_inclusive), count);
                }
            }
        }
    }

    #[test]
    fn an_entry_that_shares_more_than_there_is_is_damage() {
        for shared in [2, u64::MAX] {
            let mut bytes = Vec::new();
            for (shared, rest) in [(0, &b"a"[..]), (shared, b"b")] {
                for number in [shared, rest.len() as u64, 0, 0] {
                    bytes.put_varint(number);
                }
                bytes.put(rest);
            }
            bytes.put_u32(0);
            bytes.put_u32(1);
            let block = Block::new(&bytes, 900).unwrap();
            assert!(Unpacked::default().take(&block).is_none());
            // Not read so far, or not believed.
            assert!(!matches!(block.get(b"ab", 900), Some(Found::Version(..))));
        }
    }

    #[test]
    fn damaged_blocks_are_damaged_or_other_entries() {
        let entries = entries(3, 100);
        let bytes = block_of(&entries);
        let mut unpacked = Unpacked::default();
        let mut look = |bytes: &[u8]| {
            if let Some(block) = Block::new(bytes, 900) {
                let _ = unpacked.take(&block);
                for key in [&b""[..], b"a", b"abc", b"cccc"] {
                    let _ = block.get(key, 1100);
                }
            }
        };
        for cut in 0..bytes.len() {
            look(&bytes[..cut]);
            let mut bad = bytes.clone();
            for mask in [1, 0x80, 0xff] {
                bad[cut] ^= mask;
                look(&bad);
            }
        }
    }
}
