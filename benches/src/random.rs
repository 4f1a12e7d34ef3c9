//! Chance from a seed: SplitMix64 (Steele et al. 2014), and what the data makers draw from it.

/// A sequence of numbers that a seed decides.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, every bit of it used.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, every one about as likely: the bias is below `bound / 2^64`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "there is no number below 0");
        u32::try_from(self.next_u64() % u64::from(bound)).expect("less than a u32 is one")
    }

    /// About normal, mean 0 and variance 1: the sum of twelve uniform numbers, less 6. Between -6
    /// and 6, in steps of `2^-16`.
    pub fn normal(&mut self) -> f32 {
        let sum: f32 = (0..12).map(|_| self.uniform()).sum();
        sum - 6.0
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = (0..len.div_ceil(8)).flat_map(|_| self.next_u64().to_le_bytes());
        words.take(len).collect()
    }

    /// From 0 up to, not including, 1, in steps of `2^-16`.
    fn uniform(&mut self) -> f32 {
        let step = u16::try_from(self.next_u64() >> 48).expect("16 bits are left");
        f32::from(step) / 65_536.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_of_seed_0_is_the_published_one() {
        assert_eq!(Random::new(0).next_u64(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut random = Random::new(1);
        let drawn: Vec<f64> = (0..20_000).map(|_| f64::from(random.normal())).collect();
        let mean = drawn.iter().sum::<f64>() / 20_000.0;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
    }

    #[test]
    fn numbers_stay_below_their_bound_and_bytes_have_their_length() {
        let mut random = Random::new(2);
        assert!((0..1000).all(|_| random.below(7) < 7));
        assert_eq!(random.below(1), 0);
        for len in [0, 1, 8, 13] {
            assert_eq!(random.bytes(len).len(), len);
        }
    }
}
