//! 128-bit digests of sectors, names and whole disks, so that equal crash states are met once.
//!
//! Fast and well mixed, not cryptographic: the bytes are the test's own. Digests of parts are added
//! up, so that a change of one sector costs one subtraction and one addition.

/// Odd numbers without a pattern: the fractional digits of square roots of small primes.
const KEYS: [u64; 4] =
    [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    high(product) ^ low(product)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
fn low(wide: u128) -> u64 {
    wide as u64
}

fn high(wide: u128) -> u64 {
    low(wide >> 64)
}

fn join(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

/// Digest of `bytes`, of any length.
pub(crate) fn bytes(bytes: &[u8]) -> u128 {
    let (mut a, mut b) = (KEYS[0] ^ bytes.len() as u64, KEYS[1]);
    let mut step = |x: u64, y: u64| {
        a = fold(a ^ x, KEYS[2] ^ y);
        b = fold(b ^ y, KEYS[3] ^ x).rotate_left(23) ^ x;
    };
    let mut chunks = bytes.chunks_exact(16);
    for chunk in &mut chunks {
        let (x, y) = chunk.split_at(8);
        let word = |half: &[u8]| u64::from_le_bytes(half.try_into().expect("half of 16 bytes"));
        step(word(x), word(y));
    }
    let mut rest = [0_u8; 16];
    rest[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    let rest = u128::from_le_bytes(rest);
    step(low(rest), high(rest));
    join(fold(a ^ KEYS[1], b | 1), fold(b ^ KEYS[0], a | 1))
}

/// Digest of `part` at `place`: the same part elsewhere, or another part here, differ.
pub(crate) fn placed(part: u128, place: u128) -> u128 {
    let a = fold(low(part) ^ KEYS[0], low(place) ^ KEYS[1]);
    let b = fold(high(part) ^ KEYS[2], high(place) ^ KEYS[3]);
    let crossed = fold(low(part) ^ b, high(part) ^ KEYS[1] ^ low(place));
    join(fold(a ^ KEYS[3], crossed | 1) ^ b, fold(b ^ KEYS[1], a | 1) ^ crossed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn one_bit_or_one_place_makes_another_digest() {
        let mut sector = [0_u8; 512];
        let mut seen = HashSet::from([bytes(&sector)]);
        for bit in 0..512 * 8 {
            sector[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(bytes(&sector)), "bit {bit}");
            sector[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(seen.insert(bytes(&sector[..511])), "one byte less");
        let parts: Vec<_> = seen.iter().copied().take(100).collect();
        for (part, place) in parts.iter().flat_map(|part| (0..100).map(move |at| (part, at))) {
            assert!(seen.insert(placed(*part, place)), "{part:x} at {place}");
        }
    }
}
