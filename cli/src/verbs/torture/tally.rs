//! What a backend went through, and what was found.

use serde::Serialize;

use super::ledger::Findings;
use super::round::Round;

/// Most violations that are told one by one.
const TOLD_MAX: usize = 20;

#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    /// Child processes killed.
    pub(super) kills: u64,
    /// Calls of the storage that failed.
    pub(super) faults: u64,
    /// Bytes flipped.
    pub(super) flips: u64,
    /// Different states that a power cut or a kill left in the simulator.
    pub(super) states: u64,
    /// Acknowledged, and not there.
    pub(super) lost: u64,
    /// Not there, but something later is.
    pub(super) holes: u64,
    /// A part of a batch is there.
    pub(super) partial: u64,
    /// Deleted or cut, and there again.
    pub(super) revived: u64,
    /// Of these kinds and any other.
    pub(super) violations: u64,
    pub(super) seed: u64,
    /// The first violations.
    pub(super) found: Vec<String>,
    /// The round of the first.
    #[serde(skip)]
    pub(super) first: Option<Round>,
}

impl Tally {
    /// Takes in what a check found.
    pub(super) fn add(&mut self, findings: &Findings, round: &Round) {
        let Findings { lost, holes, partial, revived, other, damaged } = findings;
        self.lost += lost;
        self.holes += holes;
        self.partial += partial;
        self.revived += revived;
        let counts = [(lost, "lost"), (holes, "holes"), (partial, "partial"), (revived, "revived")];
        for (&count, what) in counts {
            if count > 0 {
                self.tell(count, &format!("{count} {what}"), round);
            }
        }
        for what in other.iter().chain(damaged) {
            self.tell(1, what, round);
        }
    }

    /// Something that no check can put in numbers.
    pub(super) fn tell(&mut self, count: u64, what: &str, round: &Round) {
        self.violations += count;
        self.first.get_or_insert_with(|| round.clone());
        if self.found.len() < TOLD_MAX {
            self.found.push(format!("{round}: {what}"));
        }
    }
}
