//! What many timings of one operation come to: percentiles.

use std::time::Duration;

/// Timings of one operation, sorted.
#[derive(Clone, Debug)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Takes timings in any order.
    #[must_use]
    pub fn new(mut timings: Vec<Duration>) -> Self {
        timings.sort_unstable();
        Self(timings)
    }

    /// The mean in microseconds; 0 if there are none.
    #[must_use]
    pub fn mean_us(&self) -> f64 {
        let all: Duration = self.0.iter().sum();
        all.as_secs_f64() * 1e6 / u32::try_from(self.0.len()).map_or(f64::MAX, f64::from).max(1.0)
    }

    /// The smallest timing that at least `percent` percent of all do not exceed (nearest rank),
    /// in microseconds; 0 if there are none.
    ///
    /// # Panics
    /// If `percent` is over 100.
    #[must_use]
    pub fn percentile_us(&self, percent: usize) -> f64 {
        assert!(percent <= 100, "{percent} percent");
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.max(1) - 1).map_or(0.0, |timing| timing.as_secs_f64() * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let check = |micros: &[u64], percent, expect: f64| {
            let timings = micros.iter().copied().map(Duration::from_micros).collect();
            let found = Latencies::new(timings).percentile_us(percent);
            assert!((found - expect).abs() < 1e-6, "{micros:?} at {percent}: {found}");
        };
        let mean = Latencies::new([1, 5].map(Duration::from_micros).to_vec()).mean_us();
        assert!((mean - 3.0).abs() < 1e-9 && Latencies::new(Vec::new()).mean_us() == 0.0);
        check(&[], 50, 0.0);
        check(&[7], 0, 7.0);
        check(&[7], 99, 7.0);
        check(&[3, 1, 2, 4], 50, 2.0);
        check(&[3, 1, 2, 4], 51, 3.0);
        check(&[3, 1, 2, 4], 99, 4.0);
        let hundred: Vec<u64> = (1..=100).rev().collect();
        check(&hundred, 99, 99.0);
        check(&hundred, 100, 100.0);
    }
}
