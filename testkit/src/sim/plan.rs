//! Which crashes are tried: all of them, or a fixed selection and seeded samples.

use super::crash::{CrashChoice, Pending};
use super::rng::SimRng;

/// How many of the ways to crash are tried.
///
/// Where there are at most `exhaustive_max` combinations, all of them. Else a selection: all units
/// old, or newest, or at their last end; every prefix in order of arrival; every unit alone lost
/// (in each of its ways) and alone kept; pairs of units lost, nearest pairs first, up to
/// `pairs_max`; and `samples` drawn from `seed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashPlan {
    /// Most combinations that are tried exhaustively.
    pub exhaustive_max: usize,
    /// Most pairs of lost units.
    pub pairs_max: usize,
    /// Drawn choices: mostly lost, mixed, and mostly kept ones.
    pub samples: usize,
    /// Of the samples.
    pub seed: u64,
}

impl Default for CrashPlan {
    /// Twelve binary units exhaustively; above them up to 4,096 pairs and 4,096 samples.
    fn default() -> Self {
        Self { exhaustive_max: 4096, pairs_max: 4096, samples: 4096, seed: 1 }
    }
}

impl CrashPlan {
    /// Whether [`Pending::choices`] gives every way in which a crash may end.
    #[must_use]
    pub fn is_exhaustive(&self, pending: &Pending) -> bool {
        pending.combinations() <= self.exhaustive_max as u128
    }
}

impl Pending {
    /// The choices of `plan`. Different choices may leave equal disks, and a selection may have a
    /// choice twice: [`digest`](Self::digest) tells.
    #[must_use]
    pub fn choices(&self, plan: &CrashPlan) -> Box<dyn Iterator<Item = CrashChoice>> {
        let options = self.options();
        if plan.is_exhaustive(self) {
            return Box::new(all(options));
        }
        let picked = selection(&options, plan.pairs_max);
        Box::new(picked.chain(drawn(options, plan.samples, plan.seed)))
    }

    /// The choice in which everything pending is done.
    #[must_use]
    pub fn newest(&self) -> CrashChoice {
        CrashChoice(vec![1; self.len()].into())
    }

    /// One choice, drawn: mostly lost, mixed, mostly kept, or one of these with nothing lost.
    ///
    /// # Panics
    /// Never: as many are drawn as are chosen from.
    #[must_use]
    pub fn draw(&self, rng: &mut SimRng) -> CrashChoice {
        let mut choices = drawn(self.options(), 4, rng.next_u64());
        choices.nth(rng.below(4)).expect("four are drawn")
    }
}

/// Every combination, counted up from all old; the first unit turns fastest.
fn all(options: Vec<u8>) -> impl Iterator<Item = CrashChoice> {
    let mut next = Some(vec![0; options.len()]);
    std::iter::from_fn(move || {
        let ends = next.take()?;
        let mut following = ends.clone();
        for (end, &of) in following.iter_mut().zip(&options) {
            *end += 1;
            if *end < of {
                next = Some(following);
                break;
            }
            *end = 0;
        }
        Some(CrashChoice(ends.into()))
    })
}

fn selection(options: &[u8], pairs_max: usize) -> impl Iterator<Item = CrashChoice> + use<> {
    let units = options.len();
    let last: Vec<u8> = options.iter().map(|of| of - 1).collect();
    let prefixes = (0..=units).map(move |kept| {
        let mut ends = vec![0; units];
        ends[..kept].fill(1);
        ends
    });
    let every = last.clone();
    let dropped = (0..units).flat_map(move |at| {
        let ways = std::iter::once(0).chain(2..=every[at]);
        ways.map(move |end| with(units, 1, &[(at, end)]))
    });
    let kept = (0..units).map(move |at| with(units, 0, &[(at, 1)]));
    let pairs = (1..units)
        .flat_map(move |apart| (0..units - apart).map(move |at| (at, at + apart)))
        .take(pairs_max)
        .map(move |(a, b)| with(units, 1, &[(a, 0), (b, 0)]));
    let ends = prefixes.chain(std::iter::once(last)).chain(dropped).chain(kept).chain(pairs);
    ends.map(|ends| CrashChoice(ends.into()))
}

fn with(units: usize, rest: u8, some: &[(usize, u8)]) -> Vec<u8> {
    let mut ends = vec![rest; units];
    for &(at, end) in some {
        ends[at] = end;
    }
    ends
}

fn drawn(options: Vec<u8>, samples: usize, seed: u64) -> impl Iterator<Item = CrashChoice> {
    let mut rng = SimRng::new(seed);
    (0..samples).map(move |sample| {
        // Of 16, how many units end newest whatever else is drawn.
        let newest = [0, 4, 8, 14][sample % 4];
        let end = |&of: &u8| {
            let drawn = rng.below(16);
            if drawn < newest { 1 } else { u8::try_from(rng.below(of.into())).expect("below a u8") }
        };
        CrashChoice(options.iter().map(end).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_combination_comes_once() {
        let choices: Vec<_> = all(vec![2, 3, 4]).collect();
        assert_eq!(choices.len(), 24);
        assert_eq!(choices.iter().collect::<HashSet<_>>().len(), 24);
        assert_eq!(all(vec![]).count(), 1, "nothing pending: one state");
    }

    #[test]
    fn a_selection_has_prefixes_single_losses_pairs_and_samples_that_replay() {
        let options = vec![3, 2, 2, 2, 2, 2];
        let picked: HashSet<_> = selection(&options, 100).map(|c| c.to_string()).collect();
        for due in ["000000", "111000", "111111", "211111", "011111", "110111", "001000", "101110"]
        {
            assert!(picked.contains(due), "{due} of {picked:?}");
        }
        let samples = || drawn(options.clone(), 50, 7).collect::<Vec<_>>();
        assert_eq!(samples(), samples());
        assert_ne!(samples(), drawn(options.clone(), 50, 8).collect::<Vec<_>>());
    }
}
