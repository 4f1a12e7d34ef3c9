//! The filter of a table: says of most keys that are not in it that they are not.
//!
//! Keeps the bits. A Bloom filter whose bits for a key are all in one line of 64 bytes, so that a
//! question costs one miss of the processor's cache (Putze, Sanders and Singler, "Cache-, hash- and
//! space-efficient Bloom filters", 2007).

use xxhash_rust::xxh3::xxh3_64;

/// Bytes in which all bits of a key are.
const LINE_LEN_BYTES: usize = 64;
/// Bits that choose one of a line's.
const PLACE_BITS: u32 = (8 * LINE_LEN_BYTES).ilog2();
/// Where more are asked for, so many are used.
const BITS_A_KEY_MAX: u8 = 20;

/// What the filter knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    pub(crate) fn of(key: &[u8]) -> Self {
        Self(xxh3_64(key))
    }

    /// Of `count` places, the one for this key.
    pub(crate) fn of_many(self, count: usize) -> usize {
        let place = ((self.0 >> 32) * count as u64) >> 32;
        usize::try_from(place).expect("below the count")
    }

    /// The half of it that [`of_many`](Self::of_many) does not look at.
    pub(crate) fn lower(self) -> u32 {
        let [a, b, c, d, ..] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// The bits in its line, `probes` of them.
    fn bits(self, probes: u8) -> impl Iterator<Item = usize> {
        // The lower half: the upper one chose the line. The step is odd, so that all bits of a line
        // can be reached.
        let mut at = self.lower();
        let step = at.rotate_left(16) | 1;
        (0..probes).map(move |_| {
            at = at.wrapping_add(step);
            (at >> (u32::BITS - PLACE_BITS)) as usize
        })
    }
}

/// How many bits are set for a key, where there are so many for each: as many as are best where
/// they may be anywhere.
pub(super) fn probes(bits_a_key: u8) -> u8 {
    // That is the number of bits times the natural logarithm of 2, 0.69.
    (bits_a_key.min(BITS_A_KEY_MAX) * 7).div_ceil(10).max(1)
}

/// The filter of so many keys.
pub(super) fn build(keys: &[KeyHash], bits_a_key: u8) -> Vec<u8> {
    let bits = keys.len() * usize::from(bits_a_key.min(BITS_A_KEY_MAX));
    let mut bytes = vec![0; bits.div_ceil(8).next_multiple_of(LINE_LEN_BYTES)];
    let (lines, _) = bytes.as_chunks_mut::<LINE_LEN_BYTES>();
    let count = lines.len();
    for key in keys {
        let line = &mut lines[key.of_many(count)];
        for bit in key.bits(probes(bits_a_key)) {
            line[bit / 8] |= 1 << (bit % 8);
        }
    }
    bytes
}

/// Whether a key may be among those that the filter was built of. Where there is no filter it may.
pub(super) fn may_have(filter: &[u8], probes: u8, key: KeyHash) -> bool {
    let (lines, _) = filter.as_chunks::<LINE_LEN_BYTES>();
    if lines.is_empty() {
        return true;
    }
    let line = &lines[key.of_many(lines.len())];
    key.bits(probes).all(|bit| line[bit / 8] & 1 << (bit % 8) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(range: std::ops::Range<u32>) -> Vec<KeyHash> {
        range.map(|number| KeyHash::of(format!("key {number}").as_bytes())).collect()
    }

    #[test]
    fn all_that_are_there_pass_and_few_others() {
        for (bits, passing_max) in [(4, 8000), (10, 600), (16, 120)] {
            let filter = build(&hashes(0..20_000), bits);
            assert_eq!(filter.len(), (20_000 * usize::from(bits) / 8).next_multiple_of(64));
            let passing = |keys: &[KeyHash]| {
                keys.iter().filter(|key| may_have(&filter, probes(bits), **key)).count()
            };
            assert_eq!(passing(&hashes(0..20_000)), 20_000);
            let others = passing(&hashes(20_000..60_000));
            assert!(others < passing_max, "{bits} bits: {others} of 40,000");
        }
        assert!(may_have(&[], 7, KeyHash::of(b"any")));
    }

    #[test]
    fn the_hash_is_pinned() {
        // Filters in files depend on it.
        assert_eq!(KeyHash::of(b"key"), KeyHash(0xbbea_0d63_a051_65e3));
        assert_eq!((probes(10), probes(0), probes(255)), (7, 1, 14));
    }
}
