//! Keys of the tree: those of all keyspaces in one order.

use smallvec::SmallVec;
use std::ops::Bound;

/// Bytes of the number of a keyspace.
const NUMBER_LEN_BYTES: usize = 4;

/// The number of a keyspace, its highest byte first, and a key of it.
pub(crate) type TreeKey = SmallVec<[u8; 64]>;

/// A key as the tree has it.
pub(crate) fn tree_key(keyspace: u32, key: &[u8]) -> TreeKey {
    let mut out = TreeKey::with_capacity(NUMBER_LEN_BYTES + key.len());
    out.extend_from_slice(&keyspace.swap_bytes().to_le_bytes());
    out.extend_from_slice(key);
    out
}

/// The number of the keyspace, and the key in it; `None` for bytes that are no key of the tree.
pub(crate) fn split(tree_key: &[u8]) -> Option<(u32, &[u8])> {
    let (number, key) = tree_key.split_first_chunk()?;
    Some((u32::from_le_bytes(*number).swap_bytes(), key))
}

/// A range of a keyspace as the tree has it. Numbers of keyspaces are below the highest.
pub(crate) fn tree_range(
    keyspace: u32,
    (from, to): (Bound<&[u8]>, Bound<&[u8]>),
) -> (Bound<TreeKey>, Bound<TreeKey>) {
    let (first, end) = (tree_key(keyspace, &[]), tree_key(keyspace + 1, &[]));
    let or = |bound: Bound<&[u8]>, unbounded| match bound {
        Bound::Included(key) => Bound::Included(tree_key(keyspace, key)),
        Bound::Excluded(key) => Bound::Excluded(tree_key(keyspace, key)),
        Bound::Unbounded => unbounded,
    };
    (or(from, Bound::Included(first)), or(to, Bound::Excluded(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_order_of_keyspaces_and_then_of_themselves() {
        let keys = [(1, &b"b"[..]), (1, b"ba"), (2, b""), (2, b"a"), (256, b""), (1 << 24, b"")];
        let keys = keys.map(|(number, key)| ((number, key), tree_key(number, key)));
        assert!(keys.is_sorted_by(|(_, a), (_, b)| a < b));
        for ((number, key), found) in &keys {
            assert_eq!(split(found), Some((*number, *key)));
        }
        assert_eq!(split(b"abc"), None);
    }

    #[test]
    fn all_of_a_keyspace_is_a_range_of_its_own() {
        let all = tree_range(7, (Bound::Unbounded, Bound::Unbounded));
        let from = Bound::Included(tree_key(7, &[]));
        assert_eq!(all, (from, Bound::Excluded(tree_key(8, &[]))));
        let some = tree_range(7, (Bound::Excluded(b"a"), Bound::Included(b"b")));
        let from = Bound::Excluded(tree_key(7, b"a"));
        assert_eq!(some, (from, Bound::Included(tree_key(7, b"b"))));
    }
}
