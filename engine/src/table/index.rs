//! The index of a table: which block has a key.
//!
//! Keeps, for each block, the first bytes in which the blocks' last keys differ, as a number, where
//! the block ends, and a key at or behind all of its own and before those of the next. It is used
//! as it stands in the file: numbers are found by halves in an array of nothing else.
//!
//! ```text
//! prefix u64 x blocks, block end u64 x blocks, key end u32 x blocks, keys
//! ```

use crate::codec::Put;
use crate::keys::{common_len, prefix};
use std::ops::Range;

/// Bytes of an index for each block, its key left out.
pub(super) const BLOCK_LEN_BYTES: usize = 8 + 8 + 4;

/// An index to be.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    ends: Vec<u64>,
    key_ends: Vec<u32>,
    keys: Vec<u8>,
}

impl IndexBuilder {
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Notes a block that ends at byte `end`, with its last key, and the first of the next one.
    ///
    /// # Panics
    /// If the keys are 4 GiB long together: tables are much shorter.
    pub(super) fn push(&mut self, end: u64, last: &[u8], next: Option<&[u8]>) {
        self.keys.extend_from_slice(separator(last, next));
        self.ends.push(end);
        self.key_ends.push(u32::try_from(self.keys.len()).expect("below 4 GiB"));
    }

    /// The bytes of the index, and how many bytes all of its keys begin with alike.
    pub(super) fn finish(&self) -> (Vec<u8>, usize) {
        let skip = match self.count() {
            0 => 0,
            count => common_len(self.key(0), self.key(count - 1)),
        };
        let mut out = Vec::with_capacity(BLOCK_LEN_BYTES * self.count() + self.keys.len());
        for block in 0..self.count() {
            out.put_u64(prefix(&self.key(block)[skip..]));
        }
        self.ends.iter().for_each(|end| out.put_u64(*end));
        self.key_ends.iter().for_each(|end| out.put_u32(*end));
        out.put(&self.keys);
        (out, skip)
    }

    fn key(&self, block: usize) -> &[u8] {
        let start = block.checked_sub(1).map_or(0, |before| self.key_ends[before] as usize);
        &self.keys[start..self.key_ends[block] as usize]
    }
}

/// A key at or behind `last` and before `next`, as short as it can be: the beginning of `next` up
/// to where it differs. `last` itself where that is not before `next`: a key's versions may go on
/// there.
fn separator<'k>(last: &'k [u8], next: Option<&'k [u8]>) -> &'k [u8] {
    let Some(next) = next else { return last };
    let short = &next[..next.len().min(common_len(last, next) + 1)];
    // It has to differ from the next key, and be behind the last one.
    if short.len() < next.len() && short.len() < last.len() { short } else { last }
}

/// An index as it stands in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index<'i> {
    prefixes: &'i [[u8; 8]],
    ends: &'i [[u8; 8]],
    key_ends: &'i [[u8; 4]],
    keys: &'i [u8],
    skip: usize,
}

impl<'i> Index<'i> {
    /// `None` if the bytes are not an index of so many blocks. What they say of each is checked
    /// when it is looked at.
    pub(super) fn new(bytes: &'i [u8], count: usize, skip: usize) -> Option<Self> {
        let (prefixes, rest) = bytes.split_at_checked(count.checked_mul(8)?)?;
        let (ends, rest) = rest.split_at_checked(count.checked_mul(8)?)?;
        let (key_ends, keys) = rest.split_at_checked(count.checked_mul(4)?)?;
        let (prefixes, ends) = (prefixes.as_chunks().0, ends.as_chunks().0);
        Some(Self { prefixes, ends, key_ends: key_ends.as_chunks().0, keys, skip })
    }

    /// The first block that may have `key`; the number of blocks if none may. `None` where the
    /// index is damaged.
    pub(super) fn block_of(&self, key: &[u8]) -> Option<usize> {
        self.count_where(key, |separator| separator < key)
    }

    /// One more than the last block that may have `key`. `None` where the index is damaged.
    pub(super) fn block_behind(&self, key: &[u8]) -> Option<usize> {
        // A block begins behind the separator of the one before, or with it.
        let count = self.count_where(key, |separator| separator <= key)?;
        Some((count + 1).min(self.prefixes.len()))
    }

    /// How many of the first separators are before `key` as `is_before` says, which differs from
    /// other ways to say it for `key` itself alone.
    fn count_where(&self, key: &[u8], is_before: impl Fn(&[u8]) -> bool) -> Option<usize> {
        let count = self.prefixes.len();
        let Some(first) = count.checked_sub(1).map(|_| self.key(0)) else { return Some(0) };
        let common = first?.get(..self.skip)?;
        let (head, rest) = key.split_at(key.len().min(self.skip));
        match head.cmp(common) {
            std::cmp::Ordering::Less => return Some(0),
            std::cmp::Ordering::Greater => return Some(count),
            std::cmp::Ordering::Equal => {}
        }
        let wanted = prefix(rest);
        let mut block = self.prefixes.partition_point(|bytes| u64::from_le_bytes(*bytes) < wanted);
        let mut high = block
            + self.prefixes[block..].partition_point(|bytes| u64::from_le_bytes(*bytes) == wanted);
        while block < high {
            let middle = block.midpoint(high);
            if is_before(self.key(middle)?) {
                block = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(block)
    }

    /// The bytes of a block. `None` where the index is damaged.
    pub(super) fn place(&self, block: usize) -> Option<Range<u64>> {
        let end = |block: usize| self.ends.get(block).map(|bytes| u64::from_le_bytes(*bytes));
        let start = block.checked_sub(1).map_or(Some(0), end)?;
        let end = end(block)?;
        (start < end).then_some(start..end)
    }

    fn key(&self, block: usize) -> Option<&'i [u8]> {
        let end = |block: usize| Some(u32::from_le_bytes(*self.key_ends.get(block)?) as usize);
        let start = block.checked_sub(1).map_or(Some(0), end)?;
        self.keys.get(start..end(block)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(blocks: &[(&[u8], &[u8])]) -> (Vec<u8>, usize) {
        let mut builder = IndexBuilder::default();
        for (index, (_, last)) in blocks.iter().enumerate() {
            let next = blocks.get(index + 1).map(|(first, _)| *first);
            builder.push(10 * (index as u64 + 1), last, next);
        }
        builder.finish()
    }

    #[test]
    fn the_block_that_has_a_key_is_found() {
        let sets: [&[(&[u8], &[u8])]; 4] = [
            &[(b"aa", b"ab"), (b"ac", b"b"), (b"ba", b"bbbbbbbbbbbbbbbbb")],
            &[(b"key 0001", b"key 0100"), (b"key 0101", b"key 0101"), (b"key 0101", b"key 9")],
            &[(b"x", b"x")],
            // Alike for longer than a prefix.
            &[(b"0123456789a", b"0123456789b"), (b"0123456789c", b"0123456789cc"), (b"9", b"9")],
        ];
        for blocks in sets {
            let (bytes, skip) = index_of(blocks);
            let index = Index::new(&bytes, blocks.len(), skip).unwrap();
            let keys = blocks.iter().flat_map(|(first, last)| [*first, *last]);
            let others =
                [&b""[..], b"a", b"key", b"key 01001", b"0123456789", b"0123456789bb", b"zz"];
            for key in keys.chain(others) {
                let found = index.block_of(key).unwrap();
                let first = blocks.iter().position(|(_, last)| *last >= key);
                let first = first.unwrap_or(blocks.len());
                // One that ends before it is passed over; a later one begins behind it.
                let is_between = blocks.get(found).is_none_or(|(begin, _)| *begin > key);
                assert!(
                    found == first || found > first && is_between || found + 1 == first,
                    "{key:?}"
                );
                if blocks.iter().any(|(first, last)| *first == key || *last == key) {
                    assert_eq!(found, first, "{key:?}");
                }
            }
        }
    }

    #[test]
    fn places_follow_each_other_and_damage_is_none() {
        let (bytes, skip) = index_of(&[(b"a", b"b"), (b"c", b"d")]);
        let index = Index::new(&bytes, 2, skip).unwrap();
        assert_eq!(
            [index.place(0), index.place(1), index.place(2)],
            [Some(0..10), Some(10..20), None]
        );
        assert!(Index::new(&bytes, 10, skip).is_none());
        assert_eq!(Index::new(&[], 0, 0).unwrap().block_of(b"a"), Some(0));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0xff;
            let index = Index::new(&bad, 2, skip).unwrap();
            let _ = (index.block_of(b"b"), index.block_of(b"c"), index.place(0), index.place(1));
            let _ = Index::new(&bad, 2, 7).unwrap().block_of(b"b");
        }
    }

    #[test]
    fn separators_are_short_and_between() {
        for (last, next, expected) in [
            ("abcd", "abxyz", "abx"),
            ("abcd", "abx", "abcd"),
            ("abc", "abcdef", "abc"),
            ("abc", "abc", "abc"),
            ("a", "b", "a"),
        ] {
            let found = separator(last.as_bytes(), Some(next.as_bytes()));
            assert_eq!(found, expected.as_bytes());
        }
    }
}
