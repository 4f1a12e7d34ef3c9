//! What seeded runs have done and found.

use std::fmt;

/// Counts of seeded runs.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Runs, each with a seed of its own and from an empty disk.
    pub seeds: u64,
    /// Fewest crashes of a run, not counting those on the side.
    pub crashes_min: u64,
    pub(super) counts: Counts,
    /// The seeds in which a promise was broken, with what was wrong.
    pub violations: Vec<(u64, String)>,
    /// Equal for equal runs, in any order and on any number of threads.
    pub digest: u128,
}

macro_rules! counts {
    ($($name:ident: $text:literal,)*) => {
        /// What happened, by kind.
        #[derive(Clone, Copy, Debug, Default)]
        pub(super) struct Counts { $(pub(super) $name: u64,)* }

        impl Counts {
            fn add(&mut self, other: &Self) { $(self.$name += other.$name;)* }

            fn lines(&self) -> Vec<(&'static str, u64)> { vec![$(($text, self.$name),)*] }
        }
    };
}

counts! {
    ops: "operations",
    commits: "batches acknowledged",
    opens: "times opened",
    kills: "kills",
    cuts: "power cuts",
    nested: "power cuts while opening",
    write_errors: "write errors injected",
    read_errors: "read errors injected",
    lost_pages: "syncs that failed",
    errors: "errors reported",
    unknown: "batches of unknown end",
    rot: "sectors rotten",
    lost_writes: "writes dropped",
    misdirected: "writes misdirected",
    refused: "damaged: refused by name",
    right: "damaged: right answers",
    unwitnessed: "damaged: the un-witnessed last batch cut",
    earlier: "damaged: as after an earlier power cut",
    backups: "backups compared",
    others: "opened with other threads",
}

impl Report {
    /// Every count with its name.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, u64)> {
        let first = [("seeds", self.seeds), ("fewest crashes of a seed", self.crashes_min)];
        let mut lines = first.to_vec();
        lines.extend(self.counts.lines());
        lines.push(("violations", self.violations.len() as u64));
        lines
    }

    /// Takes in one run.
    pub(super) fn run(seed: u64, counts: Counts, digest: u128, lived: Result<(), String>) -> Self {
        let violations = lived.err().map(|what| (seed, what)).into_iter().collect();
        let crashes_min = counts.kills + counts.cuts + counts.nested;
        Self { seeds: 1, crashes_min, counts, violations, digest }
    }

    /// Takes in others.
    pub(super) fn add(&mut self, other: Self) {
        self.crashes_min = if self.seeds == 0 {
            other.crashes_min
        } else {
            self.crashes_min.min(other.crashes_min)
        };
        self.seeds += other.seeds;
        self.counts.add(&other.counts);
        self.violations.extend(other.violations);
        self.violations.sort();
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.lines() {
            writeln!(f, "{name:<42} {count:>12}")?;
        }
        write!(f, "{:<42} {:032x}", "digest", self.digest)
    }
}
