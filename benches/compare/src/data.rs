//! Keys and values: made from a number, so that every answer can be checked.
//!
//! A key is 16 bytes: the number mixed, so that the order of numbers is no order of keys, and the
//! number. A value is 100 bytes that no codec makes shorter: the number, a generation, and what
//! follows from both.

/// A key.
pub(crate) type Key = [u8; 16];

/// A value.
pub(crate) type Value = [u8; 100];

/// A key with its value.
pub(crate) type Record = (Key, Value);

/// Words of a value; the last one is cut short.
const WORDS: u64 = 13;

/// The finalizer of SplitMix64: each number has one image, which looks random.
pub(crate) fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The key of a number.
pub(crate) fn key(number: u64) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The value of a number in one of its generations.
pub(crate) fn value(number: u64, generation: u64) -> Value {
    let mut value = [0; 100];
    for (word, bytes) in (0..WORDS).zip(value.chunks_mut(8)) {
        let word = match word {
            0 => number,
            1 => generation,
            word => filler(number, generation, word),
        };
        bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
    }
    value
}

/// The record of a number, of the first generation.
pub(crate) fn record(number: u64) -> Record {
    (key(number), value(number, 0))
}

/// The generation of what was read for a number; `None` if it is not a value of that number. Looks
/// at the first and at the last whole word, so that all of a value has to be there.
pub(crate) fn generation(number: u64, value: &[u8]) -> Option<u64> {
    let word = |at: usize| Some(u64::from_le_bytes(value.get(at..at + 8)?.try_into().ok()?));
    let generation = word(8)?;
    let is_whole =
        value.len() == 100 && word(0)? == number && word(88)? == filler(number, generation, 11);
    is_whole.then_some(generation)
}

fn filler(number: u64, generation: u64, word: u64) -> u64 {
    mix(number ^ generation.rotate_left(24) ^ word.rotate_left(56))
}

/// A stream of random numbers.
pub(crate) struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let high = (u128::from(mix(self.0)) * u128::from(end)) >> 64;
        u64::try_from(high).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart() {
        assert_eq!(generation(7, &value(7, 3)), Some(3));
        assert_eq!(generation(8, &value(7, 3)), None);
        assert_eq!(generation(7, &value(7, 3)[..99]), None);
        let mut damaged = value(7, 3);
        damaged[90] ^= 1;
        assert_eq!(generation(7, &damaged), None);
    }

    #[test]
    fn random_stays_below() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| random.below(7) < 7));
    }
}
