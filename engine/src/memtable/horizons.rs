//! Which versions somebody may still ask for.

use crate::damage::Lsn;
use smallvec::SmallVec;

/// The records up to which somebody reads, or will: those of snapshots, and the last one that is
/// visible. What is behind all of them will be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Horizons {
    /// In order.
    lsns: SmallVec<[Lsn; 8]>,
}

impl Horizons {
    pub(crate) fn new(lsns: impl IntoIterator<Item = Lsn>) -> Self {
        let mut lsns: SmallVec<[Lsn; 8]> = lsns.into_iter().collect();
        lsns.sort_unstable();
        lsns.dedup();
        Self { lsns }
    }

    /// Whether a version is the newest up to any horizon, where `next` is the one that follows it.
    pub(crate) fn needs(&self, lsn: Lsn, next: Lsn) -> bool {
        let from = self.lsns.partition_point(|&horizon| horizon < lsn);
        self.lsns.get(from).is_some_and(|&horizon| horizon < next)
    }

    /// The first of them: what is older than a version up to it nobody can see.
    pub(crate) fn first(&self) -> Lsn {
        self.lsns.first().copied().unwrap_or(0)
    }

    /// The last of them: what is behind it is not visible yet.
    pub(crate) fn last(&self) -> Lsn {
        self.lsns.last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_needed_if_it_is_the_newest_up_to_a_horizon() {
        let horizons = Horizons::new(vec![20, 10, 10]);
        let cases = [
            ((5, 11), true),
            ((5, 10), false),
            ((10, 11), true),
            ((11, 15), false),
            ((11, 20), false),
            ((11, 21), true),
            ((20, 30), true),
            ((21, 30), false),
        ];
        for ((lsn, next), expected) in cases {
            assert_eq!(horizons.needs(lsn, next), expected, "{lsn} before {next}");
        }
        assert_eq!((horizons.first(), horizons.last()), (10, 20));
        assert!(!Horizons::default().needs(1, 2));
    }
}
