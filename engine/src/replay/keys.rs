//! Puts and deletes as shards of a memtable: of each key the last word.
//!
//! Keeps the way from the order of the log to the order of keys: each shard takes its keys from all
//! segments and sorts them, by the first bytes in which keys differ. How many threads do that does
//! not show in what comes out.

use crate::damage::Lsn;
use crate::keys::{common_len, prefix};
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
    /// The first key, and how many bytes all begin with like it.
    first: Option<(usize, usize)>,
}

/// A segment is shorter than 4 GiB.
#[derive(Clone, Copy, Debug)]
struct KeyOp {
    lsn: Lsn,
    start: u32,
    key_len: u32,
    /// Or `DELETED`.
    value_len: u32,
}

/// An operation as it is sorted: the first bytes in which its key differs from others, then the
/// record, then where it stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    prefix: u64,
    segment: u32,
    op: u32,
}

impl SegmentKeys {
    /// `None` for the value deletes the key.
    pub(crate) fn push(&mut self, keyspace: u32, key: &[u8], value: Option<&[u8]>, lsn: Lsn) {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a segment is below 4 GiB");
        let key = tree_key(keyspace, key);
        self.first = match self.first {
            None => Some((key.len(), key.len())),
            Some((first_len, common)) => {
                Some((first_len, common.min(common_len(&self.bytes[..first_len], &key))))
            }
        };
        let start = u32::try_from(self.bytes.len()).expect("a segment is below 4 GiB");
        let value_len = value.map_or(DELETED, len);
        let op = KeyOp { lsn, start, key_len: len(&key), value_len };
        self.ops[KeyHash::of(&key).of_many(SHARDS)].push(op);
        self.bytes.extend_from_slice(&key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }

    /// The first key, as far as all begin like it; `None` without keys.
    fn common(&self) -> Option<&[u8]> {
        self.first.map(|(_, common)| &self.bytes[..common])
    }

    fn key(&self, op: &KeyOp) -> &[u8] {
        &self.bytes[op.start as usize..][..op.key_len as usize]
    }

    fn value(&self, op: &KeyOp) -> Option<&[u8]> {
        let start = op.start as usize + op.key_len as usize;
        (op.value_len != DELETED).then(|| &self.bytes[start..][..op.value_len as usize])
    }
}

/// Brings what segments, in order, do to keys into a memtable of what was before.
pub(crate) fn fill(memtable: &Memtable, segments: &[SegmentKeys], executor: &Executor) {
    let mut commons = segments.iter().filter_map(SegmentKeys::common);
    let Some(first) = commons.next() else { return };
    let skip = commons.fold(first.len(), |skip, key| skip.min(common_len(first, key)));
    executor.map(SHARDS, |shard| {
        let entry = |segment: u32, op: u32| {
            let keys = &segments[segment as usize];
            let key = keys.key(&keys.ops[shard][op as usize]);
            Entry { prefix: prefix(key.get(skip..).unwrap_or_default()), segment, op }
        };
        let mut entries = Vec::new();
        for (segment, keys) in (0..).zip(segments) {
            let ops = u32::try_from(keys.ops[shard].len()).expect("a segment is below 4 GiB");
            entries.extend((0..ops).map(|op| entry(segment, op)));
        }
        memtable.fill(shard, versions(segments, shard, entries));
    });
}

/// The last version of each key, in order.
fn versions(
    segments: &[SegmentKeys],
    shard: usize,
    mut entries: Vec<Entry>,
) -> impl Iterator<Item = NewVersion<'_>> {
    let op_of = move |entry: &Entry| {
        let keys = &segments[entry.segment as usize];
        (keys, &keys.ops[shard][entry.op as usize])
    };
    let key_of = move |entry: &Entry| {
        let (keys, op) = op_of(entry);
        keys.key(op)
    };
    let by_key = move |a: &Entry, b: &Entry| {
        // Keys are only looked up where the numbers do not tell.
        a.prefix.cmp(&b.prefix).then_with(|| key_of(a).cmp(key_of(b)))
    };
    let place = |entry: &Entry| (entry.segment, entry.op);
    entries.sort_unstable_by(|a, b| by_key(a, b).then_with(|| place(a).cmp(&place(b))));
    let mut entries = entries.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut entry = entries.next()?;
        while let Some(later) = entries.next_if(|later| by_key(&entry, later).is_eq()) {
            entry = later;
        }
        let (keys, op) = op_of(&entry);
        Some(NewVersion { key: keys.key(op), lsn: op.lsn, value: keys.value(op) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memtable::MemtableCursor;
    use crate::table::{Direction, Entry, Which};
    use std::collections::BTreeMap;
    use std::ops::Bound;
    use std::sync::Arc;

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

    fn read(memtable: &Arc<Memtable>) -> Versions {
        let all = (Bound::Unbounded, Bound::Unbounded);
        let mut cursor =
            MemtableCursor::new(Arc::clone(memtable), all, Which::All, Direction::Forward);
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
                    let memtable = Arc::new(Memtable::default());
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
