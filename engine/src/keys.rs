//! Keys and ranges of them, compared.

use std::ops::Bound;

/// How many bytes both begin with alike.
pub(crate) fn common_len(a: &[u8], b: &[u8]) -> usize {
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks();
    let mut len = 0;
    for (a, b) in a_words.iter().zip(b_words) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return len + (differ.trailing_zeros() / u8::BITS) as usize;
        }
        len += 8;
    }
    len + a[len..].iter().zip(&b[len..]).take_while(|(a, b)| a == b).count()
}

/// The first bytes of a key, as a number that orders like them as far as it goes.
pub(crate) fn prefix(key: &[u8]) -> u64 {
    if let Some(bytes) = key.first_chunk() {
        return u64::from_le_bytes(*bytes).swap_bytes();
    }
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    u64::from_le_bytes(bytes).swap_bytes()
}

/// `BTreeMap::range` panics on these.
pub(crate) fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Excluded(a), Bound::Excluded(b)) => a >= b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a > b,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_alike_up_to_the_first_byte_in_which_they_differ() {
        let key = [7; 40];
        for len in 0..40 {
            for differs_at in 0..=len {
                let mut other = key[..len].to_vec();
                if let Some(byte) = other.get_mut(differs_at) {
                    *byte = 8;
                }
                for (a, b) in [(&key[..], &other[..]), (&other, &key)] {
                    assert_eq!(common_len(a, b), differs_at, "{len} bytes");
                }
            }
        }
    }
}
