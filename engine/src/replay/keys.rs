//! Puts and deletes as shards of a memtable: of each key the last word.
//!
//! Keeps the way from segments to shards: each takes its keys from all segments, in order. How many
//! threads do that does not show in what comes out.

use crate::damage::Lsn;
use crate::memtable::{Memtable, NewVersion, SHARDS};
use crate::table::KeyHash;
use crate::tree::tree_key;
use gannet_hnsw::Executor;

const DELETED: u32 = u32::MAX;

/// What a segment does to keys, in order.
#[derive(Debug, Default)]
pub(crate) struct SegmentKeys {
    /// Keys of the tree and values, one after the other.
    bytes: Vec<u8>,
    /// By the shard of the key.
    ops: [Vec<KeyOp>; SHARDS],
}

/// A segment is shorter than 4 GiB.
#[derive(Clone, Copy, Debug)]
struct KeyOp {
    lsn: Lsn,
    hash: KeyHash,
    start: u32,
    key_len: u32,
    /// Or `DELETED`.
    value_len: u32,
}

impl SegmentKeys {
    /// `None` for the value deletes the key.
    pub(crate) fn push(&mut self, keyspace: u32, key: &[u8], value: Option<&[u8]>, lsn: Lsn) {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a segment is below 4 GiB");
        let key = tree_key(keyspace, key);
        let start = u32::try_from(self.bytes.len()).expect("a segment is below 4 GiB");
        let value_len = value.map_or(DELETED, len);
        let hash = KeyHash::of(&key);
        let op = KeyOp { lsn, hash, start, key_len: len(&key), value_len };
        self.ops[hash.of_many(SHARDS)].push(op);
        self.bytes.extend_from_slice(&key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }

    /// What it does to the keys of a shard, in order, with their hashes.
    fn of_shard(&self, shard: usize) -> impl Iterator<Item = (NewVersion<'_>, KeyHash)> {
        self.ops[shard].iter().map(|op| {
            let (key, rest) = self.bytes[op.start as usize..].split_at(op.key_len as usize);
            let value = (op.value_len != DELETED).then(|| &rest[..op.value_len as usize]);
            (NewVersion { key, lsn: op.lsn, value }, op.hash)
        })
    }
}

/// Brings what segments, in order, do to keys into a memtable of what was before.
pub(crate) fn fill(memtable: &Memtable, segments: &[SegmentKeys], executor: &Executor) {
    executor.map(SHARDS, |shard| {
        memtable.fill(shard, segments.iter().flat_map(|keys| keys.of_shard(shard)));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memtable::SortedMemtable;
    use crate::table::Entry;
    use std::collections::BTreeMap;

    /// Numbers that a seed decides.
    fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
        move |below| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        }
    }

    type Versions = BTreeMap<Vec<u8>, (Lsn, Option<Vec<u8>>)>;

    fn read(memtable: &Memtable) -> Versions {
        let mut cursor = SortedMemtable::new(memtable);
        let mut versions = Versions::new();
        while let Some(Entry { key, lsn, value }) = cursor.entry() {
            let before = versions.insert(key.to_vec(), (lsn, value.map(<[u8]>::to_vec)));
            assert!(before.is_none(), "the last word alone");
            cursor.advance();
        }
        versions
    }

    #[test]
    fn a_memtable_has_the_last_word_on_every_key_for_every_number_of_threads() {
        let keys: [fn(u64) -> Vec<u8>; 4] = [
            |n| n.swap_bytes().to_le_bytes().to_vec(),
            |n| format!("a-long-common-beginning-{n}").into_bytes(),
            |n| vec![0; usize::try_from(n % 20).expect("small")],
            |n| n.to_le_bytes()[..usize::try_from(1 + n % 7).expect("small")].to_vec(),
        ];
        for (kind, key) in keys.iter().enumerate() {
            let mut next = numbers(kind as u64 + 1);
            let mut expected = Versions::new();
            let mut segments = Vec::new();
            let mut lsn = 10;
            for len in [0, 1, 9_000, 17_000, 3] {
                let mut keys = SegmentKeys::default();
                for _ in 0..len {
                    lsn += 1;
                    let (keyspace, key) = (1 + u32::from(next(9) == 0), key(next(12_000)));
                    let value =
                        (next(5) > 0).then(|| vec![7; usize::try_from(next(9)).expect("9")]);
                    keys.push(keyspace, &key, value.as_deref(), lsn);
                    expected.insert(tree_key(keyspace, &key).to_vec(), (lsn, value));
                }
                segments.push(keys);
            }
            for threads in [1, 2, 3, 8] {
                let executor = Executor::threads(threads).expect("threads");
                for waves in [1, 2, 5] {
                    let memtable = Memtable::default();
                    for wave in segments.chunks(segments.len().div_ceil(waves)) {
                        fill(&memtable, wave, &executor);
                    }
                    assert!(read(&memtable) == expected, "{kind}, {threads}, {waves} waves");
                    let first = expected.values().map(|(lsn, _)| *lsn).min().unwrap();
                    let (found, last) = memtable.lsns().unwrap();
                    assert!(found <= first && last == lsn, "{found}, {last}");
                }
            }
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        let memtable = Memtable::default();
        fill(&memtable, &[SegmentKeys::default()], &Executor::Serial);
        assert!(memtable.is_empty());
    }
}
