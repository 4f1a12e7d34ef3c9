//! Where salts and ids come from.
//!
//! Chance is an argument of the engine, so that a seed replays a run exactly. Salts need to be
//! fresh, not secret: they keep stale bytes of one log segment from passing for another's.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of unpredictable, or for tests predictable, numbers.
pub trait Chance: fmt::Debug + Send + Sync {
    /// The next number, every bit of it used.
    fn next_u64(&self) -> u64;
}

/// Numbers that differ between processes and calls, from the operating system's entropy by way of
/// the standard library's randomly keyed hash.
#[derive(Debug, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn next_u64(&self) -> u64 {
        // Two differently keyed hashes of nothing: 64 bits that no earlier call returned.
        RandomState::new().hash_one(0_u64) ^ RandomState::new().hash_one(1_u64).rotate_left(32)
    }
}

/// The same numbers for the same seed (SplitMix64, Steele et al. 2014).
#[derive(Debug)]
pub struct SeededChance(AtomicU64);

impl SeededChance {
    /// Starts at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Chance for SeededChance {
    fn next_u64(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        let draw = |c: &dyn Chance| [c.next_u64(), c.next_u64(), c.next_u64()];
        assert_eq!(draw(&SeededChance::new(7)), draw(&SeededChance::new(7)));
        assert_ne!(draw(&SeededChance::new(7)), draw(&SeededChance::new(8)));
        // The first output of SplitMix64 seeded with 0, as published.
        assert_eq!(SeededChance::new(0).next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_ne!(draw(&SystemChance), draw(&SystemChance));
    }
}
