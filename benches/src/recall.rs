//! How much of the truth a search found.

use gannet_hnsw::Neighbor;

/// The part of the true nearest that was found, by distance: a row counts if it is no farther than
/// the true last one, so that ties count. `(found, truth)` a query; 1 for no queries.
///
/// # Panics
/// If a truth is empty or an answer is longer than its truth.
#[must_use]
pub fn recall(answers: &[(Vec<Neighbor>, Vec<Neighbor>)]) -> f64 {
    let (mut hits, mut all) = (0_u32, 0_u32);
    for (found, truth) in answers {
        let bound = truth.last().expect("a truth has rows").distance;
        assert!(found.len() <= truth.len(), "{} found of {}", found.len(), truth.len());
        hits += count(found.iter().filter(|neighbor| neighbor.distance <= bound));
        all += count(truth.iter());
    }
    if all == 0 { 1.0 } else { f64::from(hits) / f64::from(all) }
}

fn count<'a>(neighbors: impl Iterator<Item = &'a Neighbor>) -> u32 {
    u32::try_from(neighbors.count()).expect("few neighbours")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: &[f32], truth: &[f32], expect: f64) {
        let list = |distances: &[f32], first: u32| -> Vec<Neighbor> {
            let rows = (first..).zip(distances);
            rows.map(|(row, &distance)| Neighbor { distance, row }).collect()
        };
        let got = recall(&[(list(found, 100), list(truth, 0))]);
        assert!((got - expect).abs() < 1e-12, "{found:?} of {truth:?}: {got}");
    }

    #[test]
    fn rows_as_near_as_the_last_true_one_count() {
        check(&[1.0, 2.0], &[1.0, 2.0], 1.0);
        check(&[2.0, 2.0], &[1.0, 2.0], 1.0);
        check(&[1.0, 2.5], &[1.0, 2.0], 0.5);
        check(&[1.0], &[1.0, 2.0], 0.5);
        check(&[], &[1.0, 2.0], 0.0);
    }

    #[test]
    fn nothing_asked_is_nothing_missed() {
        assert!((recall(&[]) - 1.0).abs() < 1e-12);
    }
}
