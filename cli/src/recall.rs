//! Recall by distance: how many of the true k nearest a search found, ties counting alike.
//!
//! A row that was found counts if it is at least as near as the true k-th nearest row, so that of
//! several rows at that distance any will do. Distances are computed here, in 64 bits, from the
//! vectors themselves; those that the search reported are not trusted.

use gannet::Metric;

/// How much farther than the true k-th nearest, relatively, still counts as a tie: the vectors
/// are 32-bit floats, and a search may have stored them normalised.
pub const TIE_TOLERANCE: f64 = 1e-6;

/// The distance of two vectors of equal length, smaller is nearer: squared Euclidean; 1 minus
/// the cosine; minus the dot product.
///
/// # Panics
/// If the lengths differ.
#[must_use]
pub fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of different dimensions have no distance");
    let pairs = || a.iter().zip(b).map(|(&x, &y)| (f64::from(x), f64::from(y)));
    let dot = || pairs().map(|(x, y)| x * y).sum::<f64>();
    match metric {
        Metric::L2 | Metric::Hamming => pairs().map(|(x, y)| (x - y) * (x - y)).sum(),
        Metric::Dot => -dot(),
        Metric::Cosine => {
            let (square_a, square_b) =
                pairs().fold((0.0, 0.0), |(sa, sb), (x, y)| (sa + x * x, sb + y * y));
            1.0 - dot() / (square_a.sqrt() * square_b.sqrt())
        }
    }
}

/// How many of `found`, the distances of distinct rows, are among the true k nearest, given the
/// distance of the true k-th. At most `k`.
#[must_use]
pub fn hits(found: &[f64], kth: f64, k: usize) -> usize {
    let limit = kth + kth.abs() * TIE_TOLERANCE;
    found.iter().filter(|&&distance| distance <= limit).count().min(k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_follow_their_definitions() {
        let (a, b) = ([3.0, 4.0], [4.0, 3.0]);
        let check = |metric, expect: f64| {
            let found = distance(metric, &a, &b);
            assert!((found - expect).abs() < 1e-12, "{metric}: {found}, not {expect}");
        };
        check(Metric::L2, 2.0);
        check(Metric::Dot, -24.0);
        check(Metric::Cosine, 0.04);
    }

    #[test]
    fn any_row_at_the_distance_of_the_kth_counts() {
        assert_eq!(hits(&[1.0, 2.0, 2.0], 2.0, 3), 3);
        assert_eq!(hits(&[1.0, 2.0, 2.1], 2.0, 3), 2);
        assert_eq!(hits(&[], 2.0, 3), 0);
    }

    #[test]
    fn more_ties_than_k_count_k_times() {
        assert_eq!(hits(&[2.0; 5], 2.0, 3), 3);
    }

    #[test]
    fn the_tolerance_is_relative_and_widens_below_zero_too() {
        assert_eq!(hits(&[2e9 + 1.0], 2e9, 1), 1);
        assert_eq!(hits(&[2.0 + 1e-5], 2.0, 1), 0);
        assert_eq!(hits(&[-2e9 + 1.0], -2e9, 1), 1);
        assert_eq!(hits(&[-1.0], -2.0, 1), 0);
        assert_eq!(hits(&[0.0], 0.0, 1), 1);
        assert_eq!(hits(&[1e-9], 0.0, 1), 0);
    }
}
