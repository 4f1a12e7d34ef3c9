//! Histories of concurrent calls: is there an order in which they could have been one by one?
//!
//! Kept here: the check (after Wing and Gong, with the memory of Lowe). Running threads and writing
//! down what they did is in [`concurrent`].
//!
//! A history is what several threads asked of some registers between two crashes: atomic writes of
//! several registers (batches), atomic reads of one or several, both at once (transactions), and
//! what was found after the crash.
//! It is good if there is one order of all calls that keeps the order of calls that did not
//! overlap, in which every read finds what was written last, and at one place of which, behind all
//! writes that must survive, everything is as it was found after the crash. So it is linearizable
//! for each key, batches are whole, nothing acknowledged is lost, what a crash took is a suffix,
//! and a write of unknown end was done once or never.

pub mod concurrent;

use std::collections::HashSet;
use std::fmt;

/// Registers of a history.
pub const REGISTERS: usize = 8;

/// What the registers hold: the number of a write, or nothing.
pub type Registers = [Option<u32>; REGISTERS];

/// A call of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it began, counted in events of the history.
    pub begun: u64,
    /// When it returned; `None` for a write of which nobody knows whether it was done.
    pub ended: Option<u64>,
    /// What it did.
    pub what: What,
    /// A write that must have survived the crash.
    pub is_sure: bool,
}

/// What a call did, all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Gave registers other contents.
    Write(Vec<(usize, Option<u32>)>),
    /// Found these contents.
    Read(Vec<(usize, Option<u32>)>),
    /// Found contents, and gave registers others.
    Transact {
        /// What it found.
        found: Vec<(usize, Option<u32>)>,
        /// What it wrote.
        changes: Vec<(usize, Option<u32>)>,
    },
}

impl What {
    fn found(&self) -> &[(usize, Option<u32>)] {
        match self {
            Self::Write(_) => &[],
            Self::Read(found) | Self::Transact { found, .. } => found,
        }
    }

    fn changes(&self) -> &[(usize, Option<u32>)] {
        match self {
            Self::Read(_) => &[],
            Self::Write(changes) | Self::Transact { changes, .. } => changes,
        }
    }
}

/// What threads did between two crashes.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was there in the beginning.
    pub before: Registers,
    /// Every call of every thread; at most 120.
    pub calls: Vec<Call>,
    /// What was found after the crash.
    pub after: Registers,
}

/// A history that no order explains.
#[derive(Clone, Debug)]
pub struct NotLinearizable(Box<History>);

impl History {
    /// Looks for the order. Cost: a step for every set of calls that can be first, with every
    /// state that they can leave: little for few threads, whatever the length.
    ///
    /// # Errors
    /// There is none.
    ///
    /// # Panics
    /// If there are more than 120 calls.
    pub fn check(&self) -> Result<(), NotLinearizable> {
        assert!(self.calls.len() <= 120, "{} calls", self.calls.len());
        let mut seen = HashSet::new();
        let mut open = vec![Place { done: 0, registers: self.before }];
        while let Some(place) = open.pop() {
            if self.is_end(&place) {
                return Ok(());
            }
            for next in self.following(&place) {
                if seen.insert((next.done, next.registers)) {
                    open.push(next);
                }
            }
        }
        Err(NotLinearizable(Box::new(self.clone())))
    }

    /// The bit of the look at what the crash left.
    fn crash(&self) -> u128 {
        1 << self.calls.len()
    }

    fn is_end(&self, place: &Place) -> bool {
        let is_done = |at: usize| place.done & 1 << at != 0;
        let calls = (0..).zip(&self.calls);
        place.done & self.crash() != 0
            && calls.filter(|(_, call)| call.ended.is_some()).all(|(at, _)| is_done(at))
    }

    fn following<'h>(&'h self, place: &'h Place) -> impl Iterator<Item = Place> + 'h {
        let is_done = move |at: usize| place.done & 1 << at != 0;
        let waiting = || (0..).zip(&self.calls).filter(move |(at, _)| !is_done(*at));
        // A call may be next if no other had returned before it began.
        let first_end = waiting().filter_map(|(_, call)| call.ended).min().unwrap_or(u64::MAX);
        let next = waiting().filter(move |(_, call)| call.begun < first_end);
        let calls = next.filter_map(|(at, call)| {
            let mut registers = place.registers;
            let fits = |&(register, is): &(usize, _)| registers[register] == is;
            call.what.found().iter().all(fits).then_some(())?;
            for &(register, to) in call.what.changes() {
                registers[register] = to;
            }
            Some(Place { done: place.done | 1 << at, registers })
        });
        let may_crash = place.done & self.crash() == 0
            && place.registers == self.after
            && waiting().all(|(_, call)| !call.is_sure);
        let crash = Place { done: place.done | self.crash(), ..*place };
        calls.chain(may_crash.then_some(crash))
    }
}

/// Calls that are done, and what they left.
#[derive(Clone, Copy)]
struct Place {
    done: u128,
    registers: Registers,
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let History { before, calls, after } = &*self.0;
        write!(f, "no order explains: before {before:?}")?;
        for Call { begun, ended, what, is_sure } in calls {
            let sure = if *is_sure { ", sure" } else { "" };
            write!(f, "; {begun} to {ended:?}{sure}: {what:?}")?;
        }
        write!(f, "; after {after:?}")
    }
}

impl std::error::Error for NotLinearizable {}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(some: &[(usize, u32)]) -> Registers {
        let mut registers = Registers::default();
        for &(at, number) in some {
            registers[at] = Some(number);
        }
        registers
    }

    fn write(begun: u64, ended: u64, to: &[(usize, u32)]) -> Call {
        let changes = to.iter().map(|&(at, number)| (at, Some(number))).collect();
        Call { begun, ended: Some(ended), what: What::Write(changes), is_sure: true }
    }

    fn unknown(begun: u64, to: &[(usize, u32)]) -> Call {
        Call { ended: None, is_sure: false, ..write(begun, 0, to) }
    }

    fn buffered(begun: u64, ended: u64, to: &[(usize, u32)]) -> Call {
        Call { is_sure: false, ..write(begun, ended, to) }
    }

    fn read(begun: u64, ended: u64, found: &[(usize, Option<u32>)]) -> Call {
        let what = What::Read(found.to_vec());
        Call { begun, ended: Some(ended), what, is_sure: false }
    }

    #[track_caller]
    fn check(is_good: bool, calls: Vec<Call>, after: &[(usize, u32)]) {
        let history = History { calls, after: registers(after), ..History::default() };
        assert_eq!(history.check().is_ok(), is_good, "{history:?}");
    }

    #[test]
    fn calls_that_overlap_may_be_in_any_order_and_others_may_not() {
        let two = |second| vec![write(1, 4, &[(0, 1)]), write(second, 9, &[(0, 2)])];
        check(true, two(3), &[(0, 1)]);
        check(true, two(3), &[(0, 2)]);
        check(true, two(5), &[(0, 2)]);
        check(false, two(5), &[(0, 1)]);
        check(false, two(3), &[]);
    }

    #[test]
    fn a_read_finds_what_was_written_last_and_one_behind_it_nothing_older() {
        let with = |first, second| {
            vec![write(1, 10, &[(0, 1)]), read(2, 3, &[(0, first)]), read(4, 5, &[(0, second)])]
        };
        check(true, with(None, None), &[(0, 1)]);
        check(true, with(None, Some(1)), &[(0, 1)]);
        check(true, with(Some(1), Some(1)), &[(0, 1)]);
        check(false, with(Some(1), None), &[(0, 1)]);
        check(false, with(None, Some(7)), &[(0, 1)]);
        // Its own write, too.
        check(false, vec![write(1, 2, &[(0, 1)]), read(3, 4, &[(0, None)])], &[(0, 1)]);
    }

    #[test]
    fn a_batch_is_seen_whole() {
        let with = |reads: [Call; 2]| {
            let mut calls = vec![write(1, 10, &[(0, 1), (1, 1)])];
            calls.extend(reads);
            calls
        };
        let due = [(0, 1), (1, 1)];
        check(true, with([read(2, 3, &[(0, Some(1))]), read(4, 5, &[(1, Some(1))])]), &due);
        check(true, with([read(2, 3, &[(0, None)]), read(4, 5, &[(1, Some(1))])]), &due);
        check(false, with([read(2, 3, &[(0, Some(1))]), read(4, 5, &[(1, None)])]), &due);
        let both = |a, b| read(2, 3, &[(0, a), (1, b)]);
        check(true, with([both(Some(1), Some(1)), read(4, 5, &[])]), &due);
        check(false, with([both(Some(1), None), read(4, 5, &[])]), &due);
        check(false, with([read(2, 3, &[]), read(4, 5, &[])]), &[(0, 1)]);
    }

    #[test]
    fn a_transaction_wrote_upon_what_it_read() {
        let add = |begun, ended, found, to| {
            let what = What::Transact { found: vec![(0, found)], changes: vec![(0, Some(to))] };
            Call { begun, ended: Some(ended), what, is_sure: true }
        };
        check(true, vec![add(1, 5, None, 1), add(2, 6, Some(1), 2)], &[(0, 2)]);
        check(true, vec![add(1, 5, Some(2), 1), add(2, 6, None, 2)], &[(0, 1)]);
        // Both upon the same: one of them is lost.
        check(false, vec![add(1, 5, None, 1), add(2, 6, None, 2)], &[(0, 2)]);
        // Each upon what the other changed: neither is the first.
        let skewed = |begun, reads, writes| {
            let what =
                What::Transact { found: vec![(reads, None)], changes: vec![(writes, Some(1))] };
            Call { begun, ended: Some(9), what, is_sure: true }
        };
        check(false, vec![skewed(1, 0, 1), skewed(2, 1, 0)], &[(0, 1), (1, 1)]);
    }

    #[test]
    fn a_crash_takes_what_is_unknown_or_a_suffix_of_what_is_not_sure() {
        check(true, vec![unknown(1, &[(0, 1)])], &[]);
        check(true, vec![unknown(1, &[(0, 1)])], &[(0, 1)]);
        check(false, vec![write(1, 2, &[(0, 1)])], &[]);
        let three = || {
            vec![
                write(1, 2, &[(0, 1)]),
                buffered(3, 4, &[(1, 2)]),
                buffered(5, 6, &[(2, 3)]),
                read(7, 8, &[(2, Some(3))]),
            ]
        };
        check(true, three(), &[(0, 1), (1, 2), (2, 3)]);
        check(true, three(), &[(0, 1), (1, 2)]);
        check(true, three(), &[(0, 1)]);
        check(false, three(), &[(0, 1), (2, 3)]);
        check(false, three(), &[(1, 2)]);
        // Something sure behind it makes it sure.
        let mut calls = three();
        calls.push(write(9, 10, &[(3, 4)]));
        check(false, calls.clone(), &[(0, 1), (3, 4)]);
        check(true, calls, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    }

    #[test]
    fn what_is_unknown_is_done_at_one_place_or_never() {
        let with = |first, second| {
            vec![
                unknown(1, &[(0, 1)]),
                read(2, 3, &[(0, first)]),
                write(4, 5, &[(0, 2)]),
                read(6, 7, &[(0, second)]),
            ]
        };
        check(true, with(None, Some(1)), &[(0, 1)]);
        check(true, with(Some(1), Some(2)), &[(0, 2)]);
        check(false, with(Some(1), Some(1)), &[(0, 1)]);
    }
}
