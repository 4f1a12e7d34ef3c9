//! What a test asks for: which call, what happens to it, once or for ever.

use gannet_storage::Op;
use std::time::Duration;

/// A set of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Those of one kind. A write that is to be durable is two, one after the other: a `Write`,
    /// then a `Sync`.
    Op(Op),
    /// Those that change the storage or make changes durable: `create` (both), `write_batch`,
    /// `sync`, `set_len`, `seal`, `replace`, `remove`, `sync_dir`.
    Writes,
    /// All others: opening, listing, reading, viewing, queues, `discard_cache`.
    Reads,
    /// Every call.
    All,
}

impl Calls {
    pub(super) fn cover(self, op: Op) -> bool {
        match self {
            Self::Op(one) => one == op,
            Self::Writes => changes(op),
            Self::Reads => !changes(op),
            Self::All => true,
        }
    }
}

fn changes(op: Op) -> bool {
    matches!(
        op,
        Op::Create
            | Op::Write
            | Op::Sync
            | Op::SetLen
            | Op::Seal
            | Op::Replace
            | Op::Remove
            | Op::SyncDir
    )
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It does nothing and fails with `Io`. A sync that is part of a durable write fails after the
    /// writing was done.
    Eio,
    /// As `Eio`, with `NoSpace`.
    Enospc,
    /// It fails with `Io` after a part was done. Of a batch of writes that is the first half of its
    /// bytes, in sectors of 512: the block in the middle is torn, new sectors before old ones. Of a
    /// batch of reads, the first half of its members. A file that should be created is left empty.
    /// Any other call is done whole, and its caller told that it failed.
    Partial,
    /// It is done, but later.
    Delay(Duration),
    /// It panics without doing anything. A sync that is part of a durable write panics after the
    /// writing was done, a read of a queue in the `wait` that should have returned it.
    Panic,
}

/// Lets one call, or all from one on, come to grief.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) calls: Calls,
    pub(super) action: Action,
    pub(super) countdown: Countdown,
}

impl Rule {
    /// The `nth` of `calls`, from 1, counted from when the rule is added.
    ///
    /// # Panics
    /// If `nth` is 0.
    #[must_use]
    pub fn once(calls: Calls, nth: u64, action: Action) -> Self {
        Self { calls, action, countdown: Countdown::new(nth, false) }
    }

    /// As [`once`](Self::once), and all of `calls` after it.
    ///
    /// # Panics
    /// If `nth` is 0.
    #[must_use]
    pub fn forever(calls: Calls, nth: u64, action: Action) -> Self {
        Self { calls, action, countdown: Countdown::new(nth, true) }
    }
}

/// Counts calls down to the one that matters.
#[derive(Clone, Debug)]
pub(crate) struct Countdown {
    calls_left: u64,
    sticky: bool,
}

impl Countdown {
    /// To the `nth` call, from 1; `sticky` to all after it as well.
    pub(crate) fn new(nth: u64, sticky: bool) -> Self {
        assert!(nth > 0, "calls are counted from 1");
        Self { calls_left: nth, sticky }
    }

    /// Counts a call, and says whether it is one that matters.
    pub(crate) fn is_due(&mut self) -> bool {
        let was_over = self.calls_left == 0;
        self.calls_left = self.calls_left.saturating_sub(1);
        self.calls_left == 0 && (self.sticky || !was_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_is_due_once_or_for_ever() {
        for (sticky, due) in
            [(false, [false, false, true, false, false]), (true, [false, false, true, true, true])]
        {
            let mut countdown = Countdown::new(3, sticky);
            assert_eq!([(); 5].map(|()| countdown.is_due()), due, "sticky: {sticky}");
        }
    }

    #[test]
    fn every_call_is_a_write_or_a_read() {
        for op in [Op::Create, Op::Sync, Op::SyncDir, Op::Open, Op::Read, Op::DiscardCache] {
            assert_ne!(Calls::Writes.cover(op), Calls::Reads.cover(op), "{op:?}");
            assert!(Calls::All.cover(op) && Calls::Op(op).cover(op), "{op:?}");
        }
        assert!(!Calls::Op(Op::Read).cover(Op::View));
    }
}
