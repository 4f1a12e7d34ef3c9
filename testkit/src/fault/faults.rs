//! The rules of one storage, the counts of its calls, and what becomes of each.

use super::rule::{Action, Calls, Rule};
use gannet_storage::{Error, ErrorKind, Op, Result};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A handle to the rules and counts of a [`FaultStorage`](super::FaultStorage), to be used while it
/// runs. Clones are handles to the same ones.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    rules: Vec<Rule>,
    seen: HashMap<Op, u64>,
    injected: u64,
}

/// The cause of an injected error: says that a test asked for it, and which call it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected {
    /// The call.
    pub op: Op,
    /// Its number among the calls of its kind, from 1.
    pub number: u64,
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a test asked for this failure of call {} of {:?}", self.number, self.op)
    }
}

impl std::error::Error for Injected {}

impl Faults {
    /// Adds a rule; it counts calls from now on. Where several rules meet in one call, delays add
    /// up, and of the rest the one that was added first decides.
    pub fn add(&self, rule: Rule) {
        self.table().rules.push(rule);
    }

    /// Drops all rules. Counts stay.
    pub fn clear(&self) {
        self.table().rules.clear();
    }

    /// How many of `calls` there have been, failed or not, refused or not.
    #[must_use]
    pub fn seen(&self, calls: Calls) -> u64 {
        let table = self.table();
        table.seen.iter().filter(|(op, _)| calls.cover(**op)).map(|(_, count)| count).sum()
    }

    /// How many calls met a rule.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.table().injected
    }

    /// Counts a call, and says what becomes of it.
    pub(super) fn count(&self, op: Op) -> Fate {
        let mut table = self.table();
        let seen = table.seen.entry(op).or_default();
        *seen += 1;
        let mut fate = Fate { call: Injected { op, number: *seen }, delay: None, end: None };
        for rule in table.rules.iter_mut().filter(|rule| rule.calls.cover(op)) {
            if !rule.countdown.is_due() {
                continue;
            }
            let failing = |kind, is_partial| End::Failure { kind, is_partial };
            let end = match rule.action {
                Action::Delay(more) => {
                    *fate.delay.get_or_insert_default() += more;
                    continue;
                }
                Action::Eio => failing(ErrorKind::Io, false),
                Action::Enospc => failing(ErrorKind::NoSpace, false),
                Action::Partial => failing(ErrorKind::Io, true),
                Action::Panic => End::Panic,
            };
            fate.end.get_or_insert(end);
        }
        table.injected += u64::from(fate.delay.is_some() || fate.end.is_some());
        fate
    }

    /// A call of which nothing can be done in part.
    pub(super) fn call<T>(
        &self,
        op: Op,
        place: &str,
        range: Option<Range<u64>>,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        match self.count(op).meet(place, range) {
            None => act(),
            Some(Failure { error, is_partial: true }) => act().and(Err(error)),
            Some(Failure { error, is_partial: false }) => Err(error),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a call.
#[derive(Debug)]
pub(super) struct Fate {
    call: Injected,
    delay: Option<Duration>,
    /// `None` for a call that goes its way.
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Failure { kind: ErrorKind, is_partial: bool },
    Panic,
}

/// How a call fails.
pub(super) struct Failure {
    pub(super) error: Error,
    /// A part of the call is to be done first.
    pub(super) is_partial: bool,
}

impl Fate {
    /// Whether the call succeeds, if late.
    pub(super) fn is_good(&self) -> bool {
        self.end.is_none()
    }

    /// Lets the fate of the call, on the file or storage `place`, take its course.
    ///
    /// # Panics
    /// If a rule says so.
    pub(super) fn meet(self, place: &str, range: Option<Range<u64>>) -> Option<Failure> {
        if let Some(delay) = self.delay {
            thread::sleep(delay);
        }
        let Injected { op, number } = self.call;
        let (kind, is_partial) = match self.end? {
            End::Failure { kind, is_partial } => (kind, is_partial),
            End::Panic => {
                panic!("a test asked for this panic in call {number} of {op:?} on {place}")
            }
        };
        let error = Error::new(kind, op, place).because(self.call);
        let error = range.into_iter().fold(error, Error::at);
        Some(Failure { error, is_partial })
    }
}
