//! Which kinds of trouble a seed has, and a clock that cannot be relied on.

use crate::fault::{Action, Calls, Rule};
use crate::sim::SimRng;
use gannet::Clock;
use gannet_storage::Op;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Kinds of trouble: each is on or off for a seed, so that each is met alone and in company.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a set of eight")]
pub(super) struct Classes {
    /// Calls that write answer EIO or ENOSPC, or are done in part.
    pub(super) write_errors: bool,
    /// Syncs fail, and what they should have covered is gone: as kernels do it.
    pub(super) lost_pages: bool,
    /// Calls that read answer EIO, or are done in part.
    pub(super) read_errors: bool,
    /// Durable sectors rot.
    pub(super) rot: bool,
    /// Writes are acknowledged and dropped.
    pub(super) lost_writes: bool,
    /// Writes land elsewhere.
    pub(super) misdirected: bool,
    /// The clock jumps by years, or stands still.
    pub(super) clock: bool,
    /// The power goes again while the database is opened after a crash.
    pub(super) nested: bool,
}

impl Classes {
    /// Each with a chance of one half; one seed in sixteen has crashes alone.
    pub(super) fn draw(rng: &mut SimRng) -> Self {
        if rng.below(16) == 0 {
            return Self::default();
        }
        let mut coin = || rng.below(2) == 0;
        Self {
            write_errors: coin(),
            lost_pages: coin(),
            read_errors: coin(),
            rot: coin(),
            lost_writes: coin(),
            misdirected: coin(),
            clock: coin(),
            nested: coin(),
        }
    }
}

/// A call that writes and fails, soon.
pub(super) fn write_rule(rng: &mut SimRng) -> Rule {
    const OPS: [Op; 8] = [
        Op::Create,
        Op::Write,
        Op::Write,
        Op::Sync,
        Op::Seal,
        Op::Replace,
        Op::Remove,
        Op::SyncDir,
    ];
    let action = [Action::Eio, Action::Enospc, Action::Partial][rng.below(3)];
    let (calls, nth) = match rng.below(3) {
        0 => (Calls::Op(OPS[rng.below(OPS.len())]), 1 + rng.below(4) as u64),
        _ => (Calls::Writes, 1 + rng.below(40) as u64),
    };
    match rng.below(2) {
        0 => Rule::once(calls, nth, action),
        _ => Rule::forever(calls, nth, action),
    }
}

/// A call that reads and fails, while a database is opened.
pub(super) fn read_rule(rng: &mut SimRng) -> Rule {
    let action = [Action::Eio, Action::Partial][rng.below(2)];
    let nth = 1 + rng.below(30) as u64;
    match rng.below(2) {
        0 => Rule::once(Calls::Reads, nth, action),
        _ => Rule::forever(Calls::Reads, nth, action),
    }
}

/// Milliseconds that somebody else decides about.
#[derive(Debug, Default)]
pub(super) struct HostileClock(AtomicU64);

impl HostileClock {
    /// A step of a clock: a millisecond or so; a hostile one stands still or jumps.
    pub(super) fn step(&self, is_hostile: bool, rng: &mut SimRng) {
        const YEAR: u64 = 365 * 24 * 3600 * 1000;
        let step = match rng.below(16) {
            0 if is_hostile => 10 * YEAR,
            1..8 if is_hostile => 0,
            _ => rng.below(5) as u64,
        };
        self.jump(step);
    }

    /// So many milliseconds have passed.
    pub(super) fn jump(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for HostileClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
