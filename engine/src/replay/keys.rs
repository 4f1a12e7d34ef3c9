//! Puts and deletes of one keyspace as sorted runs: for each key the last word on it.
//!
//! Keeps the way from the order of the log to the order of keys: by the first bytes in which keys
//! differ, cut into ranges of about equal length, each sorted on its own. What a range is does not
//! show in what comes out.

use crate::keys::{common_len, prefix};
use gannet_hnsw::Executor;

/// The value of each key, or that it is deleted; in order of keys, each once.
pub(crate) type KeyRun = Vec<(Vec<u8>, Option<Vec<u8>>)>;

const DELETED: u32 = u32::MAX;
/// Fewer operations are sorted where they are.
const RANGE_LEN_MIN: usize = 4096;
const SAMPLES: usize = 1024;

/// What a segment does to one keyspace, in order.
#[derive(Debug, Default)]
pub(crate) struct SegmentKeys {
    /// Keys and values, one after the other.
    bytes: Vec<u8>,
    ops: Vec<KeyOp>,
    /// How many bytes all keys begin with alike.
    common_len: usize,
}

/// A segment is shorter than 4 GiB.
#[derive(Clone, Copy, Debug)]
struct KeyOp {
    start: u32,
    key_len: u32,
    /// Or `DELETED`.
    value_len: u32,
}

/// An operation as it is sorted: the first bytes in which its key differs from others, then where
/// it stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    prefix: u64,
    segment: u32,
    op: u32,
}

impl SegmentKeys {
    /// `None` for the value deletes the key.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a segment is below 4 GiB");
        self.common_len = match self.ops.first() {
            None => key.len(),
            Some(first) => self.common_len.min(common_len(self.key(first), key)),
        };
        let start = u32::try_from(self.bytes.len()).expect("a segment is below 4 GiB");
        let value_len = value.map_or(DELETED, len);
        self.ops.push(KeyOp { start, key_len: len(key), value_len });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }

    pub(crate) fn has_put(&self) -> bool {
        self.ops.iter().any(|op| op.value_len != DELETED)
    }

    fn key(&self, op: &KeyOp) -> &[u8] {
        &self.bytes[op.start as usize..][..op.key_len as usize]
    }

    fn value(&self, op: &KeyOp) -> Option<&[u8]> {
        let start = op.start as usize + op.key_len as usize;
        (op.value_len != DELETED).then(|| &self.bytes[start..][..op.value_len as usize])
    }
}

/// The last word on each key, from segments in order: runs whose keys follow each other.
pub(crate) fn runs_of(segments: &[SegmentKeys], executor: &Executor) -> Vec<KeyRun> {
    let firsts = segments.iter().filter_map(|keys| Some((keys, keys.key(keys.ops.first()?))));
    let mut skip = None;
    let mut first_key: &[u8] = &[];
    for (keys, key) in firsts {
        if skip.is_none() {
            first_key = key;
        }
        let len = keys.common_len.min(common_len(first_key, key));
        skip = Some(skip.unwrap_or(len).min(len));
    }
    let skip = skip.unwrap_or_default();
    let prefixes = executor.map(segments.len(), |index| {
        let keys = &segments[index];
        keys.ops
            .iter()
            .map(|op| prefix(keys.key(op).get(skip..).unwrap_or_default()))
            .collect::<Vec<_>>()
    });
    let bounds = bounds(&prefixes, 2 * executor.thread_count());
    executor.map(bounds.len(), |index| {
        let (from, to) = (bounds[index], bounds.get(index + 1).copied());
        let is_in = |prefix: u64| prefix >= from && to.is_none_or(|to| prefix < to);
        let mut entries = Vec::new();
        for (segment, prefixes) in (0_u32..).zip(&prefixes) {
            let found = (0_u32..).zip(prefixes).filter(|(_, prefix)| is_in(**prefix));
            entries.extend(found.map(|(op, &prefix)| Entry { prefix, segment, op }));
        }
        run_of(segments, entries)
    })
}

/// Where ranges of prefixes of about equal count begin; the first begins at 0.
fn bounds(prefixes: &[Vec<u64>], most: usize) -> Vec<u64> {
    let count: usize = prefixes.iter().map(Vec::len).sum();
    let ranges = most.min(count / RANGE_LEN_MIN).max(1);
    let mut bounds = vec![0];
    if ranges > 1 {
        let step = count.div_ceil(SAMPLES);
        let mut samples: Vec<_> = prefixes.iter().flatten().step_by(step).copied().collect();
        samples.sort_unstable();
        bounds.extend((1..ranges).map(|range| samples[range * samples.len() / ranges]));
        bounds.dedup();
    }
    bounds
}

fn run_of(segments: &[SegmentKeys], mut entries: Vec<Entry>) -> KeyRun {
    let op_of = |entry: &Entry| {
        let keys = &segments[entry.segment as usize];
        (keys, &keys.ops[entry.op as usize])
    };
    let key_of = |entry: &Entry| {
        let (keys, op) = op_of(entry);
        keys.key(op)
    };
    let by_key = |a: &Entry, b: &Entry| {
        // Keys are only looked up where the numbers do not tell.
        a.prefix.cmp(&b.prefix).then_with(|| key_of(a).cmp(key_of(b)))
    };
    entries.sort_unstable_by(|a, b| {
        by_key(a, b).then_with(|| (a.segment, a.op).cmp(&(b.segment, b.op)))
    });
    let is_last = |pair: &[Entry]| by_key(&pair[0], &pair[1]).is_ne();
    let mut run = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        if entries.get(index..index + 2).is_none_or(is_last) {
            let (keys, op) = op_of(entry);
            run.push((keys.key(op).to_vec(), keys.value(op).map(<[u8]>::to_vec)));
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn runs_are_the_last_word_on_every_key_in_order_for_every_number_of_threads() {
        let keys: [fn(u64) -> Vec<u8>; 4] = [
            |n| n.swap_bytes().to_le_bytes().to_vec(),
            |n| format!("a-long-common-beginning-{n}").into_bytes(),
            |n| vec![0; usize::try_from(n % 20).expect("small")],
            |n| n.to_le_bytes()[..usize::try_from(1 + n % 7).expect("small")].to_vec(),
        ];
        for (kind, key) in keys.iter().enumerate() {
            let mut next = numbers(kind as u64 + 1);
            let mut expected = BTreeMap::new();
            let mut segments = Vec::new();
            for len in [0, 1, 9_000, 17_000, 3] {
                let mut keys = SegmentKeys::default();
                for _ in 0..len {
                    let key = key(next(12_000));
                    let value =
                        (next(5) > 0).then(|| vec![7; usize::try_from(next(9)).expect("9")]);
                    keys.push(&key, value.as_deref());
                    expected.insert(key, value);
                }
                segments.push(keys);
            }
            let expected: KeyRun = expected.into_iter().collect();
            for threads in [1, 2, 3, 8] {
                let executor = Executor::threads(threads).expect("threads");
                let runs = runs_of(&segments, &executor);
                assert!(threads == 1 || kind == 2 || runs.len() > 1, "kind {kind}: {}", runs.len());
                assert!(runs.concat() == expected, "kind {kind}, {threads} threads");
            }
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(runs_of(&[], &Executor::Serial).concat().is_empty());
        assert!(!SegmentKeys::default().has_put());
    }
}
