//! Counts of numbers by size: eight steps to each power of two.

use std::array;

const STEP_BITS: u32 = 3;
const STEPS: u64 = 1 << STEP_BITS;
/// Numbers below `STEPS` have a step each; every power of two from there on has `STEPS`.
const LEN: usize = (64 - STEP_BITS as usize + 1) << STEP_BITS;

/// How often numbers of each size were seen. What is read from it is at most an eighth too high.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Box<[u64; LEN]>,
    count: u64,
    sum: u64,
    max: u64,
}

/// What a histogram says of the numbers it has seen. All are 0 where there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// All of them together.
    pub sum: u64,
    /// At least half are this or less; at most an eighth too high.
    pub p50: u64,
    /// At least 99 of 100 are this or less; at most an eighth too high.
    pub p99: u64,
    /// The highest, as it was.
    pub max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new(array::from_fn(|_| 0)), count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, value: u64) {
        self.counts[step_of(value)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    pub(crate) fn distribution(&self) -> Distribution {
        let Self { count, sum, max, .. } = *self;
        Distribution { count, sum, p50: self.quantile(50), p99: self.quantile(99), max }
    }

    /// The highest number of the step in which `percent` of all are reached.
    fn quantile(&self, percent: u64) -> u64 {
        let least = (self.count.saturating_mul(percent)).div_ceil(100);
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= least && seen > 0 {
                return highest_of(step).min(self.max);
            }
        }
        0
    }
}

fn step_of(value: u64) -> usize {
    let power = u64::from(value.checked_ilog2().unwrap_or(0).saturating_sub(STEP_BITS));
    let step = if value < STEPS { value } else { power * STEPS + (value >> power) };
    usize::try_from(step).expect("below LEN")
}

fn highest_of(step: usize) -> u64 {
    let step = step as u64;
    if step < 2 * STEPS {
        return step;
    }
    let power = step / STEPS - 1;
    // Of the last step of all, the shift makes exactly 2^64.
    ((u128::from(step % STEPS + STEPS + 1) << power) - 1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_each_other_and_hold_what_they_say() {
        let mut lowest = 0_u64;
        for step in 0..LEN {
            let highest = highest_of(step);
            assert!(highest >= lowest && highest - lowest <= lowest / STEPS, "{step}");
            assert_eq!((step_of(lowest), step_of(highest)), (step, step));
            lowest = highest.wrapping_add(1);
        }
        assert_eq!(lowest, 0, "the last step ends with the last number");
    }

    #[test]
    fn what_is_read_is_at_most_an_eighth_too_high() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.distribution(), Distribution::default());
        histogram.record(0);
        let zero = Distribution { count: 1, ..Distribution::default() };
        assert_eq!(histogram.distribution(), zero);
        let mut histogram = Histogram::default();
        for value in 1..=1000 {
            histogram.record(value);
        }
        let Distribution { count, sum, p50, p99, max } = histogram.distribution();
        assert_eq!((count, sum, max), (1000, 500_500, 1000));
        assert!((500..=562).contains(&p50) && (990..=1000).contains(&p99), "{p50} {p99}");
    }
}
