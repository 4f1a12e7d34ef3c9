//! How to meet one state again: a seed, a workload, and the crashes that lead to it.

use super::workload::Workload;
use crate::sim::CrashChoice;
use std::fmt;
use std::str::FromStr;

/// One crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crash {
    /// Index among the instants of the life before it.
    pub(super) point: usize,
    /// What the power cut took; `None` for a kill, which takes nothing.
    pub(super) choice: Option<CrashChoice>,
}

/// The way to a state; as text `seed 1: put,close; 14 cut 0110; 3 kill`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    pub(super) seed: u64,
    pub(super) workload: Workload,
    pub(super) crashes: Vec<Crash>,
}

impl Trail {
    /// The same way, one crash longer.
    pub(super) fn then(&self, point: usize, choice: Option<CrashChoice>) -> Self {
        let mut longer = self.clone();
        longer.crashes.push(Crash { point, choice });
        longer
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.workload)?;
        self.crashes.iter().try_for_each(|Crash { point, choice }| match choice {
            Some(choice) => write!(f, "; {point} cut {choice}"),
            None => write!(f, "; {point} kill"),
        })
    }
}

impl FromStr for Trail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            || format!("`{text}` is not of the form `seed 1: put,close; 14 cut 0110; 3 kill`");
        let (seed, rest) = text.trim().split_once(':').ok_or_else(form)?;
        let seed = seed.strip_prefix("seed ").and_then(|seed| seed.parse().ok());
        let seed = seed.ok_or_else(form)?;
        let mut parts = rest.split(';').map(str::trim);
        let workload = parts.next().ok_or_else(form)?.parse()?;
        let crash = |part: &str| {
            let (point, end) = part.split_once(' ').ok_or_else(form)?;
            let point = point.parse().map_err(|_| form())?;
            // A cut with nothing pending has an empty choice.
            let choice = match end.split_once(' ').unwrap_or((end, "")) {
                ("kill", "") => None,
                ("cut", choice) => Some(choice.parse()?),
                _ => return Err(form()),
            };
            Ok(Crash { point, choice })
        };
        let crashes = parts.map(crash).collect::<Result<_, String>>()?;
        Ok(Self { seed, workload, crashes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_can_be_read_back() {
        for text in ["seed 7: put", "seed 1: put,close; 14 cut 01a0; 3 kill", "seed 1: put; 0 cut"]
        {
            let trail: Trail = text.parse().expect(text);
            assert_eq!(trail.to_string().trim_end(), text);
        }
        for bad in ["put", "seed x: put", "seed 1: fly", "seed 1: put; cut", "seed 1: put; 1 burn"]
        {
            assert!(bad.parse::<Trail>().is_err(), "{bad}");
        }
    }
}
