//! Copies of a disk to which the device lies, while nobody looks or while the database works.

use super::history::{Left, Shown};
use super::life::{Life, Opened};
use crate::sim::{Lie, SimDisk};

/// Copies for each kind of lie after a crash.
const COPIES: usize = 3;

impl Life {
    /// Between a crash, after which `left` must be there, and the next opening.
    pub(super) fn try_lies(&mut self, left: Left) -> Result<(), String> {
        if self.classes.rot {
            for _ in 0..COPIES {
                self.rot_aside()?;
            }
        }
        let [lost, misdirected] = [self.classes.lost_writes, self.classes.misdirected];
        for (is_on, lie) in [(lost, Lie::Lost), (misdirected, Lie::Misdirected)] {
            for _ in 0..if is_on { COPIES } else { 0 } {
                self.lie_aside(left, lie)?;
            }
        }
        Ok(())
    }

    fn rot_aside(&mut self) -> Result<(), String> {
        let disk = self.settled();
        let mut rng = self.other_rng();
        let Some(place) = disk.rot(&mut rng) else { return Ok(()) };
        self.counts.rot += 1;
        let mut aside = self.aside(disk, rng);
        (aside.is_damaged, aside.may_fail) = (true, true);
        let opened = aside.try_open(Left::Witnessed).and_then(|opened| {
            self.count(opened, true);
            aside.go_on(opened)
        });
        opened.map_err(|what| format!("after {place} rotted: {what}"))?;
        self.joined(&aside);
        Ok(())
    }

    fn lie_aside(&mut self, left: Left, lie: Lie) -> Result<(), String> {
        let disk = self.settled();
        let rng = self.other_rng();
        let mut aside = self.aside(disk, rng);
        aside.reopen(left)?;
        (aside.is_damaged, aside.may_fail) = (true, true);
        let (nth, seed) = (1 + aside.rng.below(25) as u64, aside.rng.next_u64());
        aside.disk.lie_about_write(nth, lie, seed);
        for _ in 0..10 + aside.rng.below(20) {
            aside.commit_or_more()?;
        }
        if aside.disk.tampered() == self.disk.tampered() {
            return Ok(());
        }
        match lie {
            Lie::Lost => self.counts.lost_writes += 1,
            Lie::Misdirected => self.counts.misdirected += 1,
        }
        if aside.rng.below(4) == 0 {
            aside.killed()
        } else {
            aside.cut()
        };
        let opened = aside.try_open(Left::Any).and_then(|opened| {
            self.count(opened, false);
            aside.go_on(opened)
        });
        opened.map_err(|what| format!("after a write was {lie:?}: {what}"))?;
        self.joined(&aside);
        Ok(())
    }

    /// The disk without anything pending, as it would be if the kernel had time.
    fn settled(&mut self) -> SimDisk {
        let pending = self.disk.pending();
        let newest = pending.newest();
        pending.crash(&newest)
    }

    fn count(&mut self, opened: Option<Opened>, is_rot: bool) {
        match opened {
            Some(Opened::Shown(Shown::Right)) => self.counts.right += 1,
            Some(Opened::Shown(Shown::Earlier)) if is_rot => self.counts.unwitnessed += 1,
            Some(Opened::Shown(Shown::Earlier)) => self.counts.earlier += 1,
            Some(Opened::Refused) => self.counts.refused += 1,
            None => {}
        }
    }

    /// If it opened, it works: what it acknowledges then is there later, unless the damage that it
    /// has is met and refused.
    fn go_on(&mut self, opened: Option<Opened>) -> Result<(), String> {
        if !matches!(opened, Some(Opened::Shown(_))) {
            return Ok(());
        }
        for _ in 0..4 {
            self.commit_or_more()?;
        }
        let left = self.killed();
        self.try_open(left).map(drop)
    }
}
