//! The entries of a keyspace in memory, which a checkpoint can hold still while they change.
//!
//! Keeps two maps: what was there when the entries were frozen, and what has changed since. A
//! reader sees the second over the first. Not frozen, there is the first alone.

use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

/// Keys and their values.
pub(crate) type EntryMap = BTreeMap<Vec<u8>, Vec<u8>>;
/// Keys that were put, or deleted: then without a value.
type ChangeMap = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    base: Arc<EntryMap>,
    /// Laid over the base; empty unless the base is, or was, frozen.
    changes: ChangeMap,
    is_frozen: bool,
    count: u64,
    /// Length of all keys and values.
    bytes: u64,
}

impl Entries {
    /// Of a map whose keys and values have `bytes` bytes.
    pub(crate) fn new(map: EntryMap, bytes: u64) -> Self {
        let count = map.len() as u64;
        Self { base: Arc::new(map), count, bytes, ..Self::default() }
    }

    /// Number of keys.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Length of all keys and values.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
        match self.changes.get(key) {
            Some(change) => change.as_ref(),
            None => self.base.get(key),
        }
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        let before = self.set(key, Some(value.to_vec()));
        self.note(key, before, Some(value.len()));
    }

    /// Whether the key was there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let before = self.set(key, None);
        self.note(key, before, None);
        before.is_some()
    }

    /// In order of keys. The bounds are those that `BTreeMap::range` takes.
    pub(crate) fn range<'e>(
        &'e self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl Iterator<Item = (&'e Vec<u8>, &'e Vec<u8>)> + use<'e> {
        Range {
            base: self.base.range::<[u8], _>((from, to)).peekable(),
            changes: self.changes.range::<[u8], _>((from, to)).peekable(),
        }
    }

    /// The entries as they are now, which stay as they are until [`thaw`](Self::thaw) is called and
    /// the answer is dropped.
    pub(crate) fn freeze(&mut self) -> Arc<EntryMap> {
        debug_assert!(self.changes.is_empty(), "frozen while an earlier freeze is being undone");
        self.is_frozen = true;
        Arc::clone(&self.base)
    }

    /// Ends what [`freeze`](Self::freeze) began, at most `limit` changes at a time: each goes where
    /// it would have gone. Whether there is nothing more to do.
    ///
    /// # Panics
    /// If the frozen entries are still in use.
    pub(crate) fn thaw(&mut self, limit: usize) -> bool {
        self.is_frozen = false;
        mutant!("changes-lost-at-thaw" => { self.changes.clear(); });
        let base = Arc::get_mut(&mut self.base).expect("nobody uses the frozen entries any more");
        for _ in 0..limit {
            match self.changes.pop_first() {
                None => return true,
                Some((key, Some(value))) => drop(base.insert(key, value)),
                Some((key, None)) => drop(base.remove(&key)),
            }
        }
        self.changes.is_empty()
    }

    /// The map, which is then to be given back with [`new`](Self::new).
    ///
    /// # Panics
    /// If the entries are frozen.
    pub(crate) fn take(&mut self) -> EntryMap {
        assert!(self.changes.is_empty() && !self.is_frozen, "entries are frozen");
        std::mem::take(Arc::get_mut(&mut self.base).expect("nobody else uses them"))
    }

    /// Sets a key where it belongs; the length of the value that it had.
    fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Option<usize> {
        let len = |value: Vec<u8>| value.len();
        if self.is_frozen {
            let below = || self.base.get(key).map(Vec::len);
            return match self.changes.insert(key.to_vec(), value) {
                Some(change) => change.map(len),
                None => below(),
            };
        }
        let change = if self.changes.is_empty() { None } else { self.changes.remove(key) };
        let base = Arc::get_mut(&mut self.base).expect("only frozen entries are shared");
        let below = match value {
            // One search, also where the key is there.
            Some(value) => base.insert(key.to_vec(), value),
            None => base.remove(key),
        };
        change.unwrap_or(below).map(len)
    }

    fn note(&mut self, key: &[u8], before: Option<usize>, after: Option<usize>) {
        if let Some(len) = before {
            self.count -= 1;
            self.bytes -= (key.len() + len) as u64;
        }
        if let Some(len) = after {
            self.count += 1;
            self.bytes += (key.len() + len) as u64;
        }
    }
}

/// The changes over the base, in order of keys.
struct Range<'e> {
    base: Peekable<btree_map::Range<'e, Vec<u8>, Vec<u8>>>,
    changes: Peekable<btree_map::Range<'e, Vec<u8>, Option<Vec<u8>>>>,
}

impl<'e> Iterator for Range<'e> {
    type Item = (&'e Vec<u8>, &'e Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(&(changed, value)) = self.changes.peek() {
            if let Some(below) = self.base.next_if(|(key, _)| *key < changed) {
                return Some(below);
            }
            self.base.next_if(|(key, _)| *key == changed);
            self.changes.next();
            if let Some(value) = value {
                return Some((changed, value));
            }
        }
        self.base.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(entries: &Entries) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = entries.range(Bound::Unbounded, Bound::Unbounded);
        all.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The same operations on a plain map, in every state of being frozen.
    #[test]
    fn frozen_or_not_they_are_what_a_plain_map_is() {
        let mut entries = Entries::default();
        let mut plain = EntryMap::new();
        let mut frozen: Option<(Arc<EntryMap>, EntryMap)> = None;
        let mut is_thawing = false;
        let mut random = 1_u32;
        for step in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = [(random >> 24) as u8 & 63];
            let value = vec![7; (random >> 16) as usize & 3];
            match random >> 8 & 7 {
                0..3 => {
                    assert_eq!(entries.remove(&key), plain.remove(&key[..]).is_some());
                }
                7 if step % 64 == 0 => match frozen.take() {
                    None if !is_thawing => {
                        frozen = Some((entries.freeze(), plain.clone()));
                    }
                    None => is_thawing = !entries.thaw(3),
                    Some((map, then)) => {
                        assert_eq!(*map, then, "step {step}");
                        drop(map);
                        is_thawing = !entries.thaw(3);
                    }
                },
                _ => {
                    entries.put(&key, &value);
                    plain.insert(key.to_vec(), value);
                }
            }
            assert_eq!(entries.get(&key), plain.get(&key[..]), "step {step}");
            assert_eq!(entries.count(), plain.len() as u64, "step {step}");
            if step % 97 == 0 {
                assert_eq!(contents(&entries), plain.clone().into_iter().collect::<Vec<_>>());
                let bytes = plain.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
                assert_eq!(entries.bytes(), bytes as u64);
                let (from, to) = (Bound::Included(&[9][..]), Bound::Excluded(&[20][..]));
                let range = plain.range::<[u8], _>((from, to));
                assert!(entries.range(from, to).eq(range), "step {step}");
            }
        }
    }
}
