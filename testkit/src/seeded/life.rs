//! A database from its first opening to its last: opened, crashed, opened again, and each time held
//! against its history.
//!
//! What is done with it while it is open is in `work`, what a lying device does to it in `lies`.

use super::classes::{Classes, HostileClock, read_rule};
use super::history::{History, Left, Shown};
use super::model::{Model, Unlike};
use super::report::Counts;
use crate::fault::{FaultStorage, Faults};
use crate::sim::{SimDisk, SimRng, SimStorage, digest};
use gannet::{Clock, Config, Damage, Database, Durability, OpenError, ReadError, SeededChance};
use std::error::Error;
use std::sync::Arc;

pub(super) type Db = Database<FaultStorage<SimStorage>>;

/// Operations after which trouble is over for as many, and so on.
const STRETCH: u64 = 64;

/// A database and what is known of it.
#[expect(clippy::struct_excessive_bools, reason = "what may be wrong, each for itself")]
pub(super) struct Life {
    pub(super) rng: SimRng,
    pub(super) disk: SimDisk,
    pub(super) db: Option<Db>,
    pub(super) faults: Faults,
    pub(super) history: History,
    pub(super) clock: Arc<HostileClock>,
    pub(super) classes: Classes,
    /// Durability of batches that are submitted.
    pub(super) durability: Durability,
    pub(super) attempts: u64,
    pub(super) counts: Counts,
    /// Calls of the database may fail: because of a fault that was injected, or damage.
    pub(super) may_fail: bool,
    /// One did, and buffered batches may be lost.
    pub(super) has_failed: bool,
    /// A sync may have failed, after which the kernel has not all that it was given.
    pub(super) has_lost_pages: bool,
    /// The device has lied to this disk.
    pub(super) is_damaged: bool,
    digest: u128,
    index: u64,
    doing: &'static str,
}

/// How an opening ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    Shown(Shown),
    /// As damaged; only where the device has lied.
    Refused,
}

impl Life {
    /// On an empty disk.
    pub(super) fn new(disk: SimDisk, mut rng: SimRng) -> Self {
        let classes = Classes::draw(&mut rng);
        Self {
            rng,
            disk,
            db: None,
            faults: Faults::default(),
            history: History::new(),
            clock: Arc::default(),
            classes,
            durability: Durability::Strict,
            attempts: 0,
            counts: Counts::default(),
            may_fail: false,
            has_failed: false,
            has_lost_pages: false,
            is_damaged: false,
            digest: 0,
            index: 0,
            doing: "beginning",
        }
    }

    /// The same history on a copy of the disk, closed, for trouble that this one is to be spared.
    pub(super) fn aside(&self, disk: SimDisk, rng: SimRng) -> Self {
        Self {
            history: self.history.clone(),
            clock: Arc::new(HostileClock::default()),
            classes: Classes::default(),
            attempts: self.attempts,
            ..Self::new(disk, rng)
        }
    }

    /// At least `ops` operations with at least four crashes, then the end of all trouble.
    ///
    /// # Errors
    /// The promise that was broken.
    pub(super) fn run(&mut self, ops: u64) -> Result<(), String> {
        self.reopen(Left::Acked)?;
        let gap_max = usize::try_from(ops / 4).expect("few operations").max(2);
        let mut next_crash = ops / 8;
        for index in 0..ops {
            self.index = index;
            let in_trouble = index / STRETCH % 2 == 1;
            self.work(in_trouble)?;
            if index >= next_crash {
                next_crash = index + 1 + self.rng.below(gap_max - 1) as u64;
                self.crash(in_trouble)?;
            }
        }
        self.doing = "ending";
        self.crash(false)?;
        self.go_on_without_trouble()
    }

    /// Ends the process or cuts the power, perhaps in the middle of something, and opens again.
    fn crash(&mut self, in_trouble: bool) -> Result<(), String> {
        let kind = self.rng.below(4);
        self.doing =
            ["killed", "killed with batches in flight", "cut off", "cut off at work"][kind];
        match kind {
            0 => {}
            1 | 2 => self.leave_in_flight(),
            _ => {
                let steps = self.disk.steps() + self.rng.below(30) as u64;
                self.disk.cut_after(steps);
                self.may_fail = true;
                for _ in 0..4 {
                    self.commit_or_more()?;
                }
            }
        }
        self.db = None;
        let left = if kind < 2 { self.killed() } else { self.cut() };
        self.try_lies(left)?;
        if in_trouble && self.classes.nested {
            self.counts.nested += 1;
            self.disk.cut_after(self.rng.below(10) as u64);
            self.may_fail = true;
            let opened = self.try_open(left)?;
            if opened.is_some() {
                self.commit_or_more()?;
            }
            self.db = None;
            let left = self.cut();
            return self.reopen(left);
        }
        self.reopen(left)
    }

    /// The process ends; what the kernel has stays.
    pub(super) fn killed(&mut self) -> Left {
        self.counts.kills += 1;
        self.ended()
    }

    /// As [`killed`](Self::killed), in order or not.
    pub(super) fn ended(&mut self) -> Left {
        self.db = None;
        self.disk = self.disk.kill();
        let (has_failed, has_lost_pages) = (self.has_failed, self.has_lost_pages);
        (self.has_failed, self.has_lost_pages) = (false, false);
        if has_failed || has_lost_pages { Left::Sure } else { Left::Acked }
    }

    /// The power goes.
    pub(super) fn cut(&mut self) -> Left {
        self.db = None;
        let pending = self.disk.pending();
        let choice = pending.draw(&mut self.rng);
        self.disk = pending.crash(&choice);
        self.counts.cuts += 1;
        (self.has_failed, self.has_lost_pages) = (false, false);
        Left::Sure
    }

    /// Opens it, if need be a second time after trouble has ended.
    pub(super) fn reopen(&mut self, left: Left) -> Result<(), String> {
        let reads_fail = self.classes.read_errors && self.rng.below(3) == 0;
        self.may_fail = reads_fail;
        self.faults = Faults::default();
        if reads_fail {
            self.faults.add(read_rule(&mut self.rng));
        }
        let mut opened = self.try_open(left)?;
        self.counts.read_errors += self.faults.injected();
        self.faults.clear();
        self.may_fail = self.is_damaged;
        if opened.is_none() {
            opened = self.try_open(left)?;
        }
        match opened {
            Some(Opened::Shown(_)) => Ok(()),
            other => Err(format!("it does not open although nothing fails: {other:?}")),
        }
    }

    /// `None` where it does not open because of trouble that will end.
    pub(super) fn try_open(&mut self, left: Left) -> Result<Option<Opened>, String> {
        self.counts.opens += 1;
        let config = self.config();
        self.durability = config.durability;
        let storage = match self.disk.open() {
            Ok(storage) => Arc::new(storage),
            // The power is off already.
            Err(_) if self.may_fail => return Ok(None),
            Err(error) => return Err(told(&error)),
        };
        let storage = FaultStorage::over(storage, self.faults.clone());
        // Opening settles what is pending; but for that a refusal changes nothing.
        let before = self.disk.pending().is_empty().then(|| self.disk.digest());
        let db = match Database::open(storage, config) {
            Ok(db) => db,
            Err(OpenError::Storage(_)) if self.may_fail => {
                self.counts.errors += 1;
                return Ok(None);
            }
            Err(OpenError::Corrupt(found))
                if self.may_fail && found.damage == Damage::Unreadable && !self.is_damaged =>
            {
                self.counts.errors += 1;
                return Ok(None);
            }
            Err(
                error @ (OpenError::Corrupt(_)
                | OpenError::NewerVersion { .. }
                | OpenError::NotADatabase { .. }),
            ) if self.is_damaged => {
                self.note(3);
                // A refusal that names nothing helps nobody, and one that writes may harm.
                let names = told(&error);
                let is_named =
                    ["root", "log-", "manifest-", "rows-", "table-", "graph-", "patch-", "dead-"]
                        .iter()
                        .any(|kind| names.contains(kind));
                if !is_named {
                    return Err(format!("it is refused without a place: {names}"));
                }
                if before.is_some_and(|before| self.disk.digest() != before) {
                    return Err(format!("it is refused, but changed: {names}"));
                }
                return Ok(Some(Opened::Refused));
            }
            Err(error) => return Err(format!("it does not open: {}", told(&error))),
        };
        if let Some(action) = db.recovery_report().index_actions.first()
            && !self.may_fail
            && !self.is_damaged
        {
            return Err(format!("nothing is damaged, and yet: {action}"));
        }
        let model = match Model::of(&db) {
            Ok(model) => model,
            // Of tables, blocks are verified when they are read.
            Err(Unlike::Unread(ReadError::Corrupt(found)))
                if self.is_damaged && found.file.starts_with("table-") =>
            {
                self.note(3);
                return Ok(Some(Opened::Refused));
            }
            Err(Unlike::Unread(ReadError::Storage(_))) if self.may_fail => {
                self.counts.errors += 1;
                return Ok(None);
            }
            Err(unlike) => return Err(unlike.told()),
        };
        let shown = self.history.settle(&model, left)?;
        self.history.at(db.recovery_report().end_lsn)?;
        self.digest = digest::placed(self.digest, model.digest());
        self.db = Some(db);
        Ok(Some(Opened::Shown(shown)))
    }

    /// Settings differ from opening to opening.
    fn config(&mut self) -> Config {
        let mut config = match self.rng.below(3) {
            0 => Config::max_throughput(),
            _ => Config::balanced(),
        };
        config.threads = 1;
        config.segment_bytes = [16 << 10, 16 << 10, 32 << 10, 64 << 10, 1 << 20][self.rng.below(5)];
        config.memtable_bytes = [16 << 10, 32 << 20][self.rng.below(2)];
        config.block_bytes = [256, 4096][self.rng.below(2)];
        config.bloom_bits = [0, 10][self.rng.below(2)];
        config.sync_bytes = [4 << 10, 64 << 10, 16 << 20][self.rng.below(3)];
        config.chance = Arc::new(SeededChance::new(self.rng.next_u64()));
        config.clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        config
    }

    /// No trouble any more: it opens, takes writes, verifies, and shows the same under any number
    /// of threads.
    fn go_on_without_trouble(&mut self) -> Result<(), String> {
        self.classes = Classes::default();
        for _ in 0..8 {
            self.commit_or_more()?;
        }
        self.checkpoint()?;
        self.verify()?;
        self.backup()?;
        self.close()?;
        self.reopen(Left::Acked)?;
        self.compare_with_threads()?;
        self.db = None;
        let end = self.disk.digest();
        self.digest = digest::placed(self.digest, end);
        Ok(())
    }

    /// Puts an event that follows from the seed into the digest.
    pub(super) fn note(&mut self, event: u64) {
        self.digest = digest::placed(self.digest, event.into());
    }

    pub(super) fn doing(&mut self, what: &'static str) {
        self.doing = what;
    }

    /// Where it is.
    pub(super) fn place(&self) -> String {
        format!("operation {}, {}", self.index, self.doing)
    }

    /// Counts, and a digest of all that happened.
    pub(super) fn end(self) -> (Counts, u128) {
        (self.counts, self.digest)
    }

    /// Takes over what a life aside went through.
    pub(super) fn joined(&mut self, aside: &Self) {
        self.counts.opens += aside.counts.opens;
        self.digest = digest::placed(self.digest, aside.digest);
    }
}

/// An error with its causes.
pub(super) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
