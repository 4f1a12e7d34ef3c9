//! What a campaign has done and found.

use super::trail::Trail;
use std::fmt;

/// Deepest nesting that is counted apart; deeper crashes count here.
pub(super) const DEPTHS: usize = 3;

/// Counts of a campaign.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Workloads run, each from an empty disk.
    pub workloads: u64,
    /// Instants at which a crash was tried, in workloads and in what came after earlier crashes.
    pub crash_points: u64,
    /// Of them, those where every way to crash was tried.
    pub exhaustive: u64,
    /// Of them, those where a selection of the ways was tried.
    pub sampled: u64,
    /// Crash states opened and checked; by number of crashes, 1, 2, 3 and more.
    pub checked: [u64; DEPTHS],
    /// Of them, those left by a kill.
    pub kills: u64,
    /// Checked states from which later crashes were tried.
    pub continued: u64,
    /// Different disks among the states checked. (A disk is checked once for every history that
    /// expects something else of it.)
    pub distinct: u64,
    /// States in which a promise is broken.
    pub broken: u64,
    /// The first of each kind of them: those that read alike but for numbers are one kind.
    pub violations: Vec<Violation>,
}

/// A promise that was broken, and how to see it again.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The way to the state, for [`replay`](super::replay).
    pub trail: Trail,
    /// Where in the last life the crash came.
    pub point: String,
    /// What was wrong.
    pub what: String,
}

impl Report {
    /// Crash states opened and checked.
    #[must_use]
    pub fn states(&self) -> u64 {
        self.checked.iter().sum()
    }

    /// Takes in what another thread did; `distinct` is counted by all together.
    pub(super) fn add(&mut self, other: Self) {
        self.workloads += other.workloads;
        self.crash_points += other.crash_points;
        self.exhaustive += other.exhaustive;
        self.sampled += other.sampled;
        for (sum, more) in self.checked.iter_mut().zip(other.checked) {
            *sum += more;
        }
        self.kills += other.kills;
        self.continued += other.continued;
        self.broken += other.broken;
        other.violations.into_iter().for_each(|violation| self.keep(violation));
    }

    /// Counts a broken promise.
    pub(super) fn broke(&mut self, violation: Violation) {
        self.broken += 1;
        self.keep(violation);
    }

    fn keep(&mut self, violation: Violation) {
        let kind = |violation: &Violation| {
            violation.what.chars().filter(|c| !c.is_ascii_digit()).collect::<String>()
        };
        if self.violations.iter().all(|known| kind(known) != kind(&violation)) {
            self.violations.push(violation);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [once, twice, thrice] = self.checked;
        writeln!(f, "workloads               {:>12}", self.workloads)?;
        writeln!(f, "crash points            {:>12}", self.crash_points)?;
        writeln!(f, "  every way tried       {:>12}", self.exhaustive)?;
        writeln!(f, "  sampled               {:>12}", self.sampled)?;
        writeln!(f, "states checked          {:>12}", self.states())?;
        writeln!(f, "  after one crash       {once:>12}")?;
        writeln!(f, "  after two             {twice:>12}")?;
        writeln!(f, "  after three           {thrice:>12}")?;
        writeln!(f, "  left by a kill        {:>12}", self.kills)?;
        writeln!(f, "  crashed again         {:>12}", self.continued)?;
        writeln!(f, "distinct states         {:>12}", self.distinct)?;
        write!(f, "promises broken         {:>12}", self.broken)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}; {})", self.what, self.point, self.trail)
    }
}
