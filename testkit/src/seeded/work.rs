//! What is done with an open database: every kind of call, each answer held against the model.

use super::classes::write_rule;
use super::life::{Db, Life, told};
use super::model::{Draft, Model, Unlike};
use crate::sim::{SimDisk, SimRng};
use gannet::{Commit, CommitError, Config, Database, Durability, Phase, ReadError, restore};
use gannet_storage::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Operations after which a database with a fault in waiting is given up.
const PATIENCE: usize = 12;

impl Life {
    /// One operation, perhaps with a call that fails.
    pub(super) fn work(&mut self, in_trouble: bool) -> Result<(), String> {
        let hostile = self.classes.clock;
        self.clock.step(hostile, &mut self.rng);
        let wants = self.classes.write_errors || self.classes.lost_pages;
        if in_trouble && wants && !self.may_fail && self.rng.below(12) == 0 {
            self.fail_soon();
        }
        self.operation()?;
        if self.has_failed || self.may_fail && self.rng.below(PATIENCE) == 0 {
            self.doing("opening after a failure");
            self.counts.write_errors += self.faults.injected();
            let left = self.killed();
            self.reopen(left)?;
        }
        Ok(())
    }

    fn fail_soon(&mut self) {
        self.may_fail = true;
        let lost_pages = self.classes.lost_pages && self.rng.below(2) == 0;
        if lost_pages || !self.classes.write_errors {
            let kind = [ErrorKind::Io, ErrorKind::NoSpace][self.rng.below(2)];
            let (nth, sticky) = (1 + self.rng.below(30) as u64, self.rng.below(2) == 0);
            self.disk.fail_nth(nth, kind, sticky);
            self.has_lost_pages = true;
            self.counts.lost_pages += 1;
        } else {
            self.faults.add(write_rule(&mut self.rng));
        }
    }

    fn operation(&mut self) -> Result<(), String> {
        match self.rng.below(64) {
            0..30 => self.commit(),
            30..38 => self.submit(),
            38..48 => self.ask(),
            48..50 => self.flush(),
            50..54 => self.tend(),
            54..57 => self.checkpoint(),
            57 => self.backup(),
            58 => self.verify(),
            59 => self.compare_with_threads(),
            60 => self.compare_all(),
            _ => self.close_and_reopen(),
        }
    }

    /// Something that writes.
    pub(super) fn commit_or_more(&mut self) -> Result<(), String> {
        match self.rng.below(8) {
            0 => self.checkpoint(),
            1 => self.tend(),
            2 => self.submit(),
            _ => self.commit(),
        }
    }

    fn draft(&mut self) -> Draft {
        self.attempts += 1;
        self.counts.ops += 1;
        self.history.tip().draft(&mut self.rng, self.attempts)
    }

    fn commit(&mut self) -> Result<(), String> {
        self.doing("committing");
        let Some(db) = self.db.take() else { return Ok(()) };
        let done = self.commit_to(&db);
        self.db = Some(db);
        done?;
        self.note_synced();
        Ok(())
    }

    fn commit_to(&mut self, db: &Db) -> Result<(), String> {
        let durability = match self.rng.below(3) {
            0 => Durability::Buffered,
            _ => Durability::Strict,
        };
        if self.has_failed {
            return Ok(());
        }
        let Draft { batch, after, is_wrong } = self.draft();
        let synced = db.synced_lsn();
        let result = db.commit_with(batch, durability);
        self.take(result, after, is_wrong, durability == Durability::Strict, synced)
    }

    /// Some batches in flight at once.
    fn submit(&mut self) -> Result<(), String> {
        self.doing("submitting");
        if self.has_failed {
            return Ok(());
        }
        let Some(db) = self.db.take() else { return Ok(()) };
        let synced = db.synced_lsn();
        let (mut tickets, mut tip) = (Vec::new(), Arc::clone(self.history.tip()));
        for _ in 0..=self.rng.below(5) {
            self.attempts += 1;
            self.counts.ops += 1;
            let Draft { batch, after, is_wrong } = tip.draft(&mut self.rng, self.attempts);
            match db.submit(batch) {
                Ok(_) if is_wrong => return Err("a wrong batch was taken".to_owned()),
                Ok(ticket) => {
                    tip = Arc::new(after);
                    tickets.push((ticket, Arc::clone(&tip)));
                }
                Err(error) => self.take_error(error, None, is_wrong)?,
            }
        }
        let is_strict = self.durability == Durability::Strict;
        let mut has_failed = false;
        for (ticket, after) in tickets {
            let result = ticket.wait();
            if has_failed && result.is_ok() {
                return Err("a batch is acknowledged behind one that is not".to_owned());
            }
            has_failed |= result.is_err();
            match result {
                Ok(commit) => self.acked(after, commit, is_strict, synced),
                Err(error) => self.take_error(error, Some(after), false)?,
            }
        }
        self.db = Some(db);
        self.note_synced();
        Ok(())
    }

    /// Batches that nobody waits for before the end.
    pub(super) fn leave_in_flight(&mut self) {
        if self.has_failed || self.may_fail {
            return;
        }
        let Some(db) = self.db.take() else { return };
        for _ in 0..self.rng.below(4) {
            let Draft { batch, after, is_wrong } = self.draft();
            if db.submit(batch).is_ok() && !is_wrong {
                self.history.perhaps(Arc::new(after));
            }
        }
    }

    fn take(
        &mut self,
        result: Result<Commit, CommitError>,
        after: Model,
        is_wrong: bool,
        is_strict: bool,
        synced: gannet::Lsn,
    ) -> Result<(), String> {
        match result {
            Ok(_) if is_wrong => Err("a wrong batch was committed".to_owned()),
            Ok(commit) => {
                self.acked(Arc::new(after), commit, is_strict, synced);
                Ok(())
            }
            Err(error) => self.take_error(error, Some(Arc::new(after)), is_wrong),
        }
    }

    fn acked(&mut self, after: Arc<Model>, commit: Commit, is_strict: bool, synced: gannet::Lsn) {
        self.note(1);
        self.counts.commits += 1;
        self.history.ack(after, commit.last_lsn, is_strict);
        if is_strict {
            self.history.witness(synced);
        }
    }

    /// A batch that was not acknowledged; `after` are the contents with it.
    fn take_error(
        &mut self,
        error: CommitError,
        after: Option<Arc<Model>>,
        is_wrong: bool,
    ) -> Result<(), String> {
        self.note(2);
        #[expect(clippy::wildcard_enum_match_arm, reason = "no other error is excused")]
        match error {
            CommitError::DuplicateId { .. } | CommitError::UnknownCollection { .. } if is_wrong => {
                return Ok(());
            }
            CommitError::Unknown(_) if self.may_fail => {
                self.counts.unknown += 1;
                self.has_failed = true;
                if let Some(after) = after {
                    self.history.perhaps(after);
                }
            }
            CommitError::NoSpace(_) | CommitError::MemtableFull { .. } if self.may_fail => {}
            CommitError::Refused(_) | CommitError::Poisoned if self.may_fail => {
                self.has_failed = true;
            }
            error => return Err(format!("a commit failed: {}", told(&error))),
        }
        self.counts.errors += 1;
        Ok(())
    }

    fn note_synced(&mut self) {
        if let Some(db) = &self.db {
            let upto = db.synced_lsn();
            self.history.synced(upto);
        }
    }

    /// After a call without contents: all that was acknowledged is durable.
    fn take_barrier<E: std::error::Error>(
        &mut self,
        what: &str,
        result: Result<(), E>,
        is_witness: bool,
    ) -> Result<(), String> {
        self.counts.ops += 1;
        match result {
            Ok(()) => {
                self.note(4);
                self.note_synced();
                if let Some(db) = &self.db
                    && is_witness
                {
                    let upto = db.synced_lsn();
                    self.history.witness(upto);
                }
                Ok(())
            }
            Err(_) if self.may_fail => {
                self.note(5);
                self.counts.errors += 1;
                Ok(())
            }
            Err(error) => Err(format!("{what} failed: {}", told(&error))),
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        self.doing("flushing");
        let Some(db) = &self.db else { return Ok(()) };
        let result = db.flush();
        self.has_failed |= result.is_err();
        let is_good = result.is_ok();
        self.take_barrier("flush", result, false)?;
        if is_good {
            self.all_sure();
        }
        Ok(())
    }

    fn tend(&mut self) -> Result<(), String> {
        self.doing("tending");
        let mut due = None;
        if self.rng.below(2) == 0 {
            due = self.history.acked_lsn();
            self.clock.jump(1000);
            if self.rng.below(2) == 0 {
                // The log is not idle.
                self.commit()?;
                self.doing("tending");
            }
        }
        let Some(db) = &self.db else { return Ok(()) };
        let result = db.tend();
        let synced = db.synced_lsn();
        if result.is_ok() && due.is_some_and(|due| synced < due) {
            return Err(format!("{due:?} is not durable when its time has come: {synced} is"));
        }
        self.has_failed |= result.is_err();
        self.take_barrier("tend", result, false)
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), String> {
        self.doing("making a checkpoint");
        if self.has_failed {
            return Ok(());
        }
        let Some(db) = self.db.take() else { return Ok(()) };
        let is_cancelled = self.rng.below(6) == 0;
        let answer = if is_cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let (mut commits, mut committed) = (self.rng.below(3), Ok(()));
        let result = db.checkpoint(&mut |progress| {
            if progress.phase == Phase::Write && commits > 0 && committed.is_ok() {
                // Its files are being written.
                commits -= 1;
                committed = self.commit_to(&db);
            }
            answer
        });
        self.db = Some(db);
        committed?;
        let result = match result {
            Err(gannet::CheckpointError::Cancelled) if is_cancelled => return Ok(()),
            result => result,
        };
        // Of what was committed meanwhile it says nothing.
        let upto = result.as_ref().map_or(0, |made| made.lsn);
        // It may have failed without poisoning.
        self.take_barrier("checkpoint", result.map(drop), false)?;
        self.history.witness(upto);
        Ok(())
    }

    pub(super) fn verify(&mut self) -> Result<(), String> {
        self.doing("verifying");
        let Some(db) = &self.db else { return Ok(()) };
        match db.verify() {
            Ok(report) if report.faults.is_empty() || self.may_fail => Ok(()),
            Ok(report) => Err(format!("verification finds {}", report.faults[0])),
            Err(_) if self.may_fail => Ok(()),
            Err(error) => Err(told(&error)),
        }
    }

    /// All that was acknowledged is in a copy, and in a copy of that.
    pub(super) fn backup(&mut self) -> Result<(), String> {
        self.doing("making a backup");
        let Some(db) = &self.db else { return Ok(()) };
        let (copy, restored) = (SimDisk::new(), SimDisk::new());
        let to = copy.open().map_err(|error| told(&error))?;
        if let Err(error) = db.backup(&to) {
            return if self.may_fail { Ok(()) } else { Err(told(&error)) };
        }
        self.counts.backups += 1;
        let back = restored.open().map_err(|error| told(&error))?;
        restore(&to, &back).map_err(|error| format!("restore: {}", told(&error)))?;
        drop((to, back));
        for disk in [copy, restored] {
            // It is durable, whole.
            let pending = disk.pending();
            let choice = pending.draw(&mut self.other_rng());
            let disk = pending.crash(&choice);
            self.compare_copy(&disk, 1, "a backup")?;
        }
        Ok(())
    }

    /// The database as it is, opened by others that have more threads.
    pub(super) fn compare_with_threads(&mut self) -> Result<(), String> {
        self.doing("comparing with other threads");
        if self.may_fail || self.has_failed {
            return Ok(());
        }
        self.counts.others += 1;
        let threads = [2, 3, 8][self.rng.below(3)];
        let disk = self.disk.snapshot();
        self.compare_copy(&disk, threads, "with other threads")
    }

    fn compare_copy(&self, disk: &SimDisk, threads: usize, what: &str) -> Result<(), String> {
        let storage = disk.open().map_err(|error| told(&error))?;
        let mut config = Config::balanced();
        config.threads = threads;
        let db = Database::open(storage, config);
        let db = db.map_err(|error| format!("{what}: {}", told(&error)))?;
        let shown = Model::of(&db).map_err(|unlike| unlike.told())?;
        if shown != **self.history.seen() {
            return Err(format!("{what}: other contents"));
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<(), String> {
        self.doing("asking");
        self.counts.ops += 1;
        let Some(db) = &self.db else { return Ok(()) };
        let answered = self.history.seen().ask(db, &mut self.rng);
        answered.or_else(|unlike| self.bear(unlike))
    }

    /// What is not as it should be, if that is no trouble that was made.
    fn bear(&mut self, unlike: Unlike) -> Result<(), String> {
        match unlike {
            Unlike::Unread(ReadError::Corrupt(found))
                if self.is_damaged && !found.file.is_empty() =>
            {
                self.note(3);
                Ok(())
            }
            Unlike::Unread(ReadError::Storage(_)) if self.may_fail => {
                self.counts.errors += 1;
                Ok(())
            }
            Unlike::Wrong(_) | Unlike::Unread(_) => Err(unlike.told()),
        }
    }

    fn compare_all(&mut self) -> Result<(), String> {
        self.doing("comparing all");
        let Some(db) = &self.db else { return Ok(()) };
        match Model::of(db) {
            Ok(shown) if shown == **self.history.seen() => Ok(()),
            Ok(_) => Err("readers see other contents than were acknowledged".to_owned()),
            Err(unlike) => self.bear(unlike),
        }
    }

    pub(super) fn close(&mut self) -> Result<(), String> {
        self.doing("closing");
        let Some(db) = self.db.take() else { return Ok(()) };
        let result = Db::close(db);
        self.has_failed |= result.is_err();
        let is_good = result.is_ok();
        self.take_barrier("close", result, true)?;
        if is_good {
            self.history.closed();
        }
        Ok(())
    }

    fn all_sure(&mut self) {
        self.history.synced(gannet::Lsn::MAX);
    }

    fn close_and_reopen(&mut self) -> Result<(), String> {
        self.close()?;
        self.counts.write_errors += self.faults.injected();
        // The calls of this disk may fail for ever.
        let left = self.ended();
        self.reopen(left)
    }

    /// Numbers for somebody else.
    pub(super) fn other_rng(&mut self) -> SimRng {
        SimRng::new(self.rng.next_u64())
    }
}
