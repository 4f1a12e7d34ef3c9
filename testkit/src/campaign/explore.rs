//! The search through crash states: every instant, every way, then again from what was left.

use super::report::{DEPTHS, Report, Violation};
use super::trail::Trail;
use super::visit::{History, Point, visit};
use super::workload::{Op, Workload};
use super::{Campaign, Stop};
use crate::sim::{CrashChoice, CrashPlan, SimDisk, digest};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// States met so far, by all threads.
#[derive(Default)]
pub(super) struct Seen {
    sets: Mutex<Sets>,
    /// Different disks among the states.
    distinct: AtomicU64,
}

#[derive(Default)]
struct Sets {
    disks: HashSet<u128>,
    /// Disk and history together.
    states: HashMap<u128, Continued>,
}

/// When a state was last crashed again: later rounds go on to other states from there, and one met
/// again after fewer crashes leads deeper.
#[derive(Clone, Copy, Default)]
struct Continued {
    /// From 1; 0 for never.
    round: u64,
    crashes: u8,
}

/// What is left to do with a state.
struct Due {
    check: bool,
    go_on: bool,
}

impl Seen {
    pub(super) fn distinct(&self) -> u64 {
        self.distinct.load(Ordering::Relaxed)
    }

    /// `round` is 0 where this is not the state's turn to be crashed again.
    fn meet(&self, disk: u128, history: u128, crashes: usize, round: u64) -> Due {
        let mut sets = self.sets();
        let known = sets.states.entry(digest::placed(disk, history));
        let check = matches!(known, Entry::Vacant(_));
        let last = known.or_default();
        let crashes = u8::try_from(crashes).unwrap_or(u8::MAX);
        let go_on =
            round > last.round || round > 0 && round == last.round && crashes < last.crashes;
        if go_on {
            *last = Continued { round, crashes };
        }
        if check && sets.disks.insert(disk) {
            self.distinct.fetch_add(1, Ordering::Relaxed);
        }
        Due { check, go_on }
    }

    fn sets(&self) -> MutexGuard<'_, Sets> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instant on its way.
struct Place<'p> {
    index: usize,
    point: &'p Point,
    /// Digest of its history.
    history: u128,
    trail: &'p Trail,
}

/// One thread's part of a campaign.
pub(super) struct Explorer<'c> {
    pub(super) campaign: &'c Campaign,
    /// Of this round: draws the samples and the states that are continued.
    pub(super) round: u64,
    pub(super) seen: &'c Seen,
    pub(super) stop: Stop<'c>,
    pub(super) report: Report,
}

impl Explorer<'_> {
    /// Runs a workload and crashes it everywhere; false if it was told to stop.
    pub(super) fn workload(&mut self, workload: &Workload) -> bool {
        let seed = self.campaign.seed;
        let trail = Trail { seed, workload: workload.clone(), crashes: Vec::new() };
        self.report.workloads += 1;
        match visit(&self.campaign.disk(), &History::new(), &workload.0, seed) {
            Ok(points) => self.crash_all(&points, &trail),
            Err(what) => {
                let point = "without a crash".to_owned();
                self.report.broke(Violation { trail, point, what });
                true
            }
        }
    }

    fn crash_all(&mut self, points: &[Point], trail: &Trail) -> bool {
        points.iter().enumerate().all(|(index, point)| self.crash(index, point, trail))
    }

    /// Tries what a crash at `point` may leave.
    fn crash(&mut self, index: usize, point: &Point, trail: &Trail) -> bool {
        let crashes = trail.crashes.len();
        let pending = point.disk.pending();
        let seed = self.campaign.seed ^ self.round << 32;
        let plan = CrashPlan { seed, ..self.campaign.plans[crashes.min(DEPTHS - 1)].clone() };
        self.report.crash_points += 1;
        if plan.is_exhaustive(&pending) {
            self.report.exhaustive += 1;
        } else {
            self.report.sampled += 1;
        }
        let place = Place { index, point, history: point.history.digest(), trail };
        if !pending.is_empty() {
            let disk = || point.disk.snapshot();
            if !self.state(&place, None, point.disk.digest(), disk) {
                return false;
            }
        }
        pending.choices(&plan).all(|choice| {
            let disk = || pending.crash(&choice);
            self.state(&place, Some(&choice), pending.digest(&choice), disk)
        })
    }

    /// Checks one state, if it is new, and goes on from it, if its turn has come.
    fn state(
        &mut self,
        place: &Place<'_>,
        choice: Option<&CrashChoice>,
        disk_digest: u128,
        disk: impl Fn() -> SimDisk,
    ) -> bool {
        if (self.stop)(self.seen.distinct()) {
            return false;
        }
        let crashes = place.trail.crashes.len() + 1;
        let go_on = crashes < self.campaign.depth && self.is_drawn(disk_digest, crashes);
        let round = if go_on { self.round + 1 } else { 0 };
        let due = self.seen.meet(disk_digest, place.history, crashes, round);
        if !due.check && !due.go_on {
            return true;
        }
        let trail = place.trail.then(place.index, choice.cloned());
        let ops = if due.go_on { next_ops(disk_digest) } else { &[] };
        if due.check {
            self.report.checked[(crashes - 1).min(DEPTHS - 1)] += 1;
            self.report.kills += u64::from(choice.is_none());
        }
        self.report.continued += u64::from(due.go_on);
        match visit(&disk(), &place.point.history, ops, self.campaign.seed) {
            Ok(points) => !due.go_on || self.crash_all(&points, &trail),
            Err(what) => {
                let point = format!("{:?}", place.point);
                self.report.broke(Violation { trail, point, what });
                self.report.broken < self.campaign.broken_max
            }
        }
    }

    /// Whether this round goes on from the state: one in `continue_one_in` of each depth.
    fn is_drawn(&self, disk_digest: u128, crashes: usize) -> bool {
        let one_in = self.campaign.continue_one_in[(crashes - 1).min(DEPTHS - 1)];
        let drawn = digest::placed(disk_digest, u128::from(self.campaign.seed ^ self.round << 32));
        drawn.is_multiple_of(one_in.max(1).into())
    }
}

/// What is done after recovery: mostly the first write, at times something else.
fn next_ops(disk_digest: u128) -> &'static [Op] {
    match disk_digest % 8 {
        0 => &[Op::Checkpoint],
        1 => &[Op::Insert],
        2 => &[Op::Delete],
        3 => &[Op::Close, Op::Put],
        _ => &[Op::Put],
    }
}

/// Goes the way of `trail` from a new disk and checks the state at its end.
///
/// # Errors
/// What is wrong there, or on the way.
pub(super) fn follow(new: &SimDisk, trail: &Trail) -> Result<(), String> {
    let (mut disk, mut history) = (new.clone(), History::new());
    let mut ops = trail.workload.0.as_slice();
    for crash in &trail.crashes {
        let points = visit(&disk, &history, ops, trail.seed)?;
        let point = points.get(crash.point).ok_or("the trail does not fit: no such instant")?;
        history = point.history.clone();
        disk = match &crash.choice {
            Some(choice) => {
                let pending = point.disk.pending();
                if !pending.has(choice) {
                    return Err("the trail does not fit: other units are pending".into());
                }
                pending.crash(choice)
            }
            None => point.disk.snapshot(),
        };
        ops = next_ops(disk.digest());
    }
    visit(&disk, &history, ops, trail.seed).map(drop)
}
