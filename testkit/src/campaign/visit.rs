//! One life of a database: open it after a crash, check it, go on writing, note where it may crash.

use super::expect::{Expect, compare};
use super::model::COLLECTION;
use super::workload::Op;
use crate::sim::{SimDisk, SimStorage, digest};
use gannet::{CheckpointError, Clock, Config, Database, Durability, Phase, Progress, SeededChance};
use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What has happened on a disk so far.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) expect: Expect,
    /// Batches tried, acknowledged or not.
    pub(super) attempts: u64,
    /// Times the database was opened.
    pub(super) opens: u64,
}

impl History {
    pub(super) fn new() -> Self {
        Self { expect: Expect::exactly(Arc::default()), attempts: 0, opens: 0 }
    }

    /// Equal where the same disk would be checked and continued in the same way.
    pub(super) fn digest(&self) -> u128 {
        digest::placed(
            self.expect.digest(),
            u128::from(self.attempts) << 64 | u128::from(self.opens),
        )
    }
}

/// An instant at which the power may fail or the process be killed.
pub(super) struct Point {
    pub(super) disk: SimDisk,
    pub(super) history: History,
    during: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Open,
    Op(usize, Op),
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.during {
            Step::Open => write!(f, "during the open"),
            Step::Op(index, op) => write!(f, "during operation {index}, {op}"),
        }
    }
}

/// Opens the database on `disk`, checks that it shows what `history` allows, does `ops`, and checks
/// again, every checksum included. Gives every instant of it.
///
/// # Errors
/// What is wrong: contents, an error that a crash does not excuse, or a panic.
pub(super) fn visit(
    disk: &SimDisk,
    history: &History,
    ops: &[Op],
    seed: u64,
) -> Result<Vec<Point>, String> {
    let history = history.clone();
    let mut life = Life { disk, clock: Arc::default(), history, seed, points: Vec::new() };
    let lived = catch_unwind(AssertUnwindSafe(|| life.live(ops)));
    let lived = lived.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("of an unknown kind")))
    });
    lived.map(|()| life.points)
}

/// A clock that stands still, except when it jumps.
#[derive(Debug, Default)]
struct JumpingClock(AtomicU64);

impl JumpingClock {
    fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Duration {
        Duration::from_secs(3600 * self.0.load(Ordering::Relaxed))
    }
}

struct Life<'d> {
    disk: &'d SimDisk,
    clock: Arc<JumpingClock>,
    history: History,
    seed: u64,
    points: Vec<Point>,
}

impl Life<'_> {
    fn live(&mut self, ops: &[Op]) -> Result<(), String> {
        self.disk.record();
        let mut db = self.open()?;
        for (index, &op) in ops.iter().enumerate() {
            let step = Step::Op(index, op);
            match op {
                Op::Checkpoint => {
                    let done = db.checkpoint(&mut |_| ControlFlow::Continue(()));
                    done.map_err(|error| failed("checkpoint", &error))?;
                    self.note(step, Some(self.all_sure()));
                }
                Op::Optimize => {
                    let done = db.optimize(COLLECTION, &mut |_| ControlFlow::Continue(()));
                    match done {
                        Ok(_) => self.note(step, Some(self.all_sure())),
                        Err(CheckpointError::UnknownCollection { .. }) => self.note(step, None),
                        Err(error) => return Err(failed("optimize", &error)),
                    }
                }
                Op::Close => {
                    db.close().map_err(|error| failed("close", &error))?;
                    self.note(step, Some(self.all_sure()));
                    db = self.open()?;
                }
                Op::Tend => {
                    // Later than any interval: buffered batches are synced, the log gets a witness
                    // and a spare.
                    self.clock.advance();
                    db.tend().map_err(|error| failed("tend", &error))?;
                    self.note(step, Some(self.all_sure()));
                }
                Op::Beside | Op::Compact => self.beside(&db, op, step)?,
                Op::Insert | Op::Import | Op::Put | Op::Delete | Op::Buffered => {
                    self.commit(&db, op, step)?;
                }
            }
        }
        if !ops.is_empty() {
            compare(&db, self.history.expect.latest())
                .map_err(|differs| format!("at the end: {differs}"))?;
        }
        let verified = db.verify().map_err(|error| failed("verify", &error))?;
        match verified.faults.first() {
            Some(fault) => Err(format!("verify found: {fault}")),
            None => Ok(()),
        }
    }

    /// Each opening draws other salts, as a real one does.
    fn open(&mut self) -> Result<Database<SimStorage>, String> {
        self.history.opens += 1;
        let mut config = Config::balanced();
        config.threads = 1;
        config.segment_bytes = gannet::limits::SEGMENT_BYTES_MIN;
        let chance = digest::placed(self.seed.into(), self.history.opens.into()).to_le_bytes();
        let chance = u64::from_le_bytes(chance[..8].try_into().expect("8 of 16 bytes"));
        config.chance = Arc::new(SeededChance::new(chance));
        config.clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let storage = self.disk.open().map_err(|error| failed("opening the disk", &error))?;
        let db = Database::open(storage, config).map_err(|error| failed("open", &error))?;
        if let Some(action) = db.recovery_report().index_actions.first() {
            // A crash damages no file that a checkpoint names.
            return Err(action.to_string());
        }
        let seen = self.history.expect.observe(&db)?;
        self.note(Step::Open, Some(Expect::exactly(seen)));
        Ok(db)
    }

    fn commit(&mut self, db: &Database<SimStorage>, op: Op, step: Step) -> Result<(), String> {
        let attempt = self.history.attempts;
        let latest = Arc::clone(self.history.expect.latest());
        let (batch, after) = latest.batch(op, attempt).expect("the operation is a batch");
        self.history.attempts += 1;
        self.history.expect.maybe.push(Arc::new(after));
        let is_buffered = op == Op::Buffered;
        let durability = if is_buffered { Durability::Buffered } else { Durability::Strict };
        let done = db.commit_with(batch, durability);
        done.map_err(|error| failed(&op.to_string(), &error))?;
        self.note(step, (!is_buffered).then(|| self.all_sure()));
        Ok(())
    }

    /// A checkpoint, and a commit while its files are written.
    fn beside(&mut self, db: &Database<SimStorage>, op: Op, step: Step) -> Result<(), String> {
        let mut committed = None;
        let mut on_progress = |progress: Progress| {
            if progress.phase == Phase::Write && committed.is_none() {
                // Until here nothing of the batch could be there.
                self.note(step, None);
                committed = Some(self.commit(db, op, step));
            }
            ControlFlow::Continue(())
        };
        let made = if op == Op::Compact {
            db.compact(&mut on_progress).map(drop)
        } else {
            db.checkpoint(&mut on_progress).map(drop)
        };
        made.map_err(|error| failed("checkpoint", &error))?;
        committed.unwrap_or(Ok(()))?;
        self.note(step, Some(self.all_sure()));
        compare(db, self.history.expect.latest())
            .map_err(|differs| format!("after a commit beside a checkpoint: {differs}"))
    }

    /// Everything is durable.
    fn all_sure(&self) -> Expect {
        Expect::exactly(Arc::clone(self.history.expect.latest()))
    }

    /// The instants since the last note. The last of them is that of the return, at which `settled`
    /// holds; before it, what was expected until then.
    fn note(&mut self, during: Step, settled: Option<Expect>) {
        let recorded = self.disk.take_recorded();
        let before = self.history.clone();
        if let Some(settled) = settled {
            self.history.expect = settled;
        }
        let last = recorded.len().saturating_sub(1);
        let steps = recorded.iter().take(last).map(crate::sim::CrashPoint::disk);
        let steps = steps.map(|disk| (disk, before.clone()));
        let end = std::iter::once((self.disk.snapshot(), self.history.clone()));
        let points = steps.chain(end).map(|(disk, history)| Point { disk, history, during });
        self.points.extend(points);
    }
}

fn failed(what: &str, error: &dyn Error) -> String {
    let mut text = format!("{what} failed: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
