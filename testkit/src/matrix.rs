//! Every call of a storage fails, in every way, once or from then on: nothing acknowledged is lost.
//!
//! One workload that touches all that is durable: strict and buffered commits, batches in flight,
//! a new segment and one made ahead, checkpoints, a backup and its restore, closing, killing,
//! cutting the power behind a flush, opening in both modes of recovery. It is run for each number
//! N, each way to fail and both ways to go on, with that call failing; until N is more than the
//! calls there are. Afterwards, without faults, the database must open with what was acknowledged,
//! take writes and verify. Copies that were not finished must be no database, or all of one.
//!
//! ```
//! use gannet_testkit::matrix::{Matrix, run};
//! use gannet_testkit::sim::SimDisk;
//!
//! let report = run(&SimDisk::new(), &Matrix { first: 3, step: 50 });
//! assert!(report.unwrap().injected > 20);
//! ```

use crate::fault::{Action, Calls, FaultStorage, Faults, Rule};
use crate::sim::{SimDisk, SimStorage};
use gannet::{
    CheckpointError, Clock, CloseError, CommitError, Config, Damage, Database, Durability, Id,
    Metric, OpenError, Params, RecoveryMode, SeededChance, WriteBatch, restore,
};
use gannet_storage::Storage;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where databases are kept from one opening to the next.
pub trait Place: Sized {
    /// Its storage.
    type Storage: Storage;

    /// Another one, empty.
    #[must_use]
    fn fresh(&self) -> Self;

    /// Opens the storage.
    fn open(&self) -> Arc<Self::Storage>;

    /// Nobody has the storage open: the power goes, where that can be had, and with it whatever
    /// no sync has covered.
    fn cut(&mut self) {}
}

impl Place for SimDisk {
    type Storage = SimStorage;

    fn fresh(&self) -> Self {
        Self::new()
    }

    fn open(&self) -> Arc<SimStorage> {
        Arc::new(Self::open(self).expect("free"))
    }

    fn cut(&mut self) {
        let pending = self.pending();
        *self = pending.crash(&pending.nothing());
    }
}

/// Which calls fail: the `first`, counted from 1, and every `step`th behind it.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// The first call.
    pub first: u64,
    /// 1 for every call.
    pub step: u64,
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Times the workload was run.
    pub runs: u64,
    /// Calls that failed.
    pub injected: u64,
    /// Errors that the database told of.
    pub errors: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, injected, errors } = self;
        write!(f, "{runs} runs, {injected} calls failed, {errors} errors told")
    }
}

/// Runs the workload with each call failing, in places like `place`.
///
/// # Errors
/// The call, how it failed, and the promise that was broken.
pub fn run<P: Place>(place: &P, matrix: &Matrix) -> Result<Report, String> {
    let mut report = Report::default();
    let ways = [(Action::Eio, Calls::All), (Action::Partial, Calls::All)];
    for (action, calls) in ways.into_iter().chain([(Action::Enospc, Calls::Writes)]) {
        for is_sticky in [false, true] {
            let mut nth = matrix.first;
            loop {
                let once = if is_sticky { Rule::forever } else { Rule::once };
                let told = |what| format!("{action:?} at call {nth}, sticky {is_sticky}: {what}");
                let faults = Faults::default();
                faults.add(once(calls, nth, action));
                let errors = one(place, &faults).map_err(told)?;
                report.runs += 1;
                report.injected += faults.injected();
                report.errors += errors;
                if faults.injected() == 0 {
                    break;
                }
                nth += matrix.step;
            }
        }
    }
    Ok(report)
}

type Db<P> = Database<FaultStorage<<P as Place>::Storage>>;

/// What a database shows: keys, and the number in each row.
type Contents = (BTreeMap<Vec<u8>, Vec<u8>>, BTreeMap<u64, u16>);

const KEYSPACE: &str = "k";
const COLLECTION: &str = "c";
const ROWS: u64 = 8;

/// A database whose storage fails, and what its user was told.
struct Life<'m, P: Place> {
    place: P,
    faults: &'m Faults,
    clock: Arc<Steps>,
    db: Option<Db<P>>,
    /// Contents after every batch.
    states: Vec<Contents>,
    /// Index of the last one that was acknowledged, and of the last one that is durable.
    acked: usize,
    sure: usize,
    has_failed: bool,
    errors: u64,
    opens: u64,
}

/// An hour passes when it is told to.
#[derive(Debug, Default)]
struct Steps(AtomicU64);

impl Clock for Steps {
    fn now(&self) -> Duration {
        Duration::from_secs(3600 * self.0.load(Ordering::Relaxed))
    }
}

/// One run; how many errors the database told of.
fn one<P: Place>(place: &P, faults: &Faults) -> Result<u64, String> {
    let mut life = Life {
        place: place.fresh(),
        faults,
        clock: Arc::default(),
        db: None,
        states: vec![Contents::default()],
        acked: 0,
        sure: 0,
        has_failed: false,
        errors: 0,
        opens: 0,
    };
    life.open(RecoveryMode::Strict)?;
    life.commit(Durability::Strict, 100)?;
    for len in [10, 10, 3000, 6000, 6000] {
        life.commit(Durability::Buffered, len)?;
    }
    life.tend()?;
    life.commit(Durability::Buffered, 6000)?;
    life.checkpoint()?;
    life.commit(Durability::Strict, 9000)?;
    life.copies()?;
    life.submit()?;
    life.flush()?;
    life.checkpoint()?;
    life.commit(Durability::Buffered, 50)?;
    life.close()?;
    life.open(RecoveryMode::Strict)?;
    life.commit(Durability::Strict, 50)?;
    life.commit(Durability::Buffered, 50)?;
    life.db = None;
    life.open(RecoveryMode::PointInTime)?;
    life.commit(Durability::Strict, 17_000)?;
    life.checkpoint()?;
    life.commit(Durability::Buffered, 10)?;
    life.flush()?;
    life.cut();
    life.open(RecoveryMode::Strict)?;
    life.commit(Durability::Strict, 10)?;
    life.close()?;
    faults.clear();
    for _ in 0..2 {
        life.open(RecoveryMode::Strict)?;
        let Some(db) = &life.db else { return Err("it does not open any more".to_owned()) };
        let verified = db.verify().map_err(|error| told(&error))?;
        if let Some(fault) = verified.faults.first() {
            return Err(format!("verification finds {fault}"));
        }
        let errors = life.errors;
        life.commit(Durability::Strict, 20)?;
        life.checkpoint()?;
        life.commit(Durability::Strict, 30)?;
        life.close()?;
        if life.errors != errors {
            return Err("it takes no writes although nothing fails any more".to_owned());
        }
    }
    life.open(RecoveryMode::Strict)?;
    Ok(life.errors)
}

impl<P: Place> Life<'_, P> {
    /// Opens it, at the second try if need be; it stays closed where both fail.
    fn open(&mut self, recovery: RecoveryMode) -> Result<(), String> {
        self.db = None;
        for _ in 0..2 {
            self.opens += 1;
            let mut config = config(self.opens);
            config.recovery = recovery;
            config.clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
            let storage = FaultStorage::over(self.place.open(), self.faults.clone());
            match Database::open(storage, config) {
                Ok(db) => return self.opened(db),
                Err(OpenError::Storage(_)) if self.may_fail() => self.errors += 1,
                Err(OpenError::Corrupt(found))
                    if self.may_fail() && found.damage == Damage::Unreadable =>
                {
                    self.errors += 1;
                }
                Err(error) => return Err(format!("it does not open: {}", told(&error))),
            }
        }
        Ok(())
    }

    fn may_fail(&self) -> bool {
        self.faults.injected() > 0
    }

    fn opened(&mut self, db: Db<P>) -> Result<(), String> {
        let shown = match shown(&db) {
            Err(_) if self.may_fail() => {
                // What is in tables is read from them; it is looked at again without faults.
                self.errors += 1;
                self.faults.clear();
                shown(&db)?
            }
            shown => shown?,
        };
        let least = if self.has_failed { self.sure } else { self.acked };
        let found = self.states[least..].iter().rposition(|state| *state == shown);
        let found = found.ok_or_else(|| {
            let newest = self.states.len() - 1;
            format!("opening {}: it shows none of states {least} to {newest}", self.opens)
        })?;
        self.states.truncate(least + found + 1);
        (self.acked, self.sure, self.has_failed) = (least + found, least + found, false);
        self.db = Some(db);
        Ok(())
    }

    /// The power goes, and with it what was not durable.
    fn cut(&mut self) {
        self.db = None;
        self.place.cut();
        self.acked = self.sure;
    }

    /// The next batch, and the contents after it.
    fn draft(&self) -> (WriteBatch, Contents, u16) {
        let (mut keys, mut rows) = self.states.last().expect("there is one").clone();
        let number = u16::try_from(self.states.len() + 100).expect("few batches");
        let mut batch = WriteBatch::new();
        let params = Params { m: 4, ef_construction: 16, ..Params::new(2, Metric::L2) };
        batch.create_collection(COLLECTION, params);
        batch.put(KEYSPACE, b"number", &number.to_le_bytes());
        keys.insert(b"number".to_vec(), number.to_le_bytes().to_vec());
        let id = u64::from(number) % ROWS;
        batch.upsert(COLLECTION, id, &[f32::from(number), 1.0]);
        rows.insert(id, number);
        if number.is_multiple_of(3) {
            batch.delete_row(COLLECTION, (id + 1) % ROWS);
            rows.remove(&((id + 1) % ROWS));
        }
        (batch, (keys, rows), number)
    }

    fn commit(&mut self, durability: Durability, len: usize) -> Result<(), String> {
        let Some(db) = &self.db else { return Ok(()) };
        let (mut batch, mut after, number) = self.draft();
        let (key, value) = (format!("key-{}", number % 5), vec![number.to_le_bytes()[0]; len]);
        batch.put(KEYSPACE, key.as_bytes(), &value);
        after.0.insert(key.into_bytes(), value);
        let done = db.commit_with(batch, durability).map(drop);
        self.told(done, after, durability == Durability::Strict)?;
        let Some(db) = &self.db else { return Ok(()) };
        match shown(db) {
            Ok(shown) if shown == self.states[self.acked] => Ok(()),
            Ok(_) => Err("readers see other things than what is acknowledged".to_owned()),
            Err(_) if self.may_fail() => {
                self.errors += 1;
                Ok(())
            }
            Err(what) => Err(what),
        }
    }

    /// How a batch ended.
    fn told(
        &mut self,
        done: Result<(), CommitError>,
        after: Contents,
        is_strict: bool,
    ) -> Result<(), String> {
        match done {
            Ok(()) => {
                if self.acked + 1 != self.states.len() {
                    return Err("a commit succeeds behind one of unknown end".to_owned());
                }
                self.states.push(after);
                self.acked += 1;
                self.sure = if is_strict { self.acked } else { self.sure };
                return Ok(());
            }
            Err(CommitError::Unknown(_)) if self.may_fail() => {
                self.states.push(after);
                self.has_failed = true;
            }
            Err(CommitError::NoSpace(_) | CommitError::MemtableFull { .. }) if self.may_fail() => {}
            Err(CommitError::Refused(_) | CommitError::Poisoned) if self.may_fail() => {
                self.has_failed = true;
            }
            Err(error) => return Err(format!("a commit failed: {}", told(&error))),
        }
        self.errors += 1;
        Ok(())
    }

    /// Three batches in flight.
    fn submit(&mut self) -> Result<(), String> {
        let Some(db) = self.db.take() else { return Ok(()) };
        let (states, mut tickets) = (self.states.len(), Vec::new());
        for _ in 0..3 {
            let (batch, after, _) = self.draft();
            match db.submit(batch) {
                Ok(ticket) => {
                    self.states.push(after.clone());
                    tickets.push((ticket, after));
                }
                Err(error) => {
                    tickets.clear();
                    self.states.truncate(states);
                    self.told(Err(error), after, true)?;
                    break;
                }
            }
        }
        self.states.truncate(states);
        for (ticket, after) in tickets {
            self.told(ticket.wait().map(drop), after, true)?;
        }
        self.db = Some(db);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), String> {
        let Some(db) = &self.db else { return Ok(()) };
        let done = db.flush();
        self.barrier(done)
    }

    fn tend(&mut self) -> Result<(), String> {
        let Some(db) = &self.db else { return Ok(()) };
        self.clock.0.fetch_add(1, Ordering::Relaxed);
        let done = db.tend();
        self.barrier(done)
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        let Some(db) = &self.db else { return Ok(()) };
        let done = db.checkpoint(&mut |_| ControlFlow::Continue(()));
        let done: Result<(), CheckpointError> = done.map(drop);
        self.barrier(done)
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(db) = self.db.take() else { return Ok(()) };
        let done: Result<(), CloseError> = db.close();
        self.barrier(done)
    }

    /// A call behind which, if it succeeds, all that was acknowledged is durable.
    fn barrier<E: Error>(&mut self, done: Result<(), E>) -> Result<(), String> {
        match done {
            Ok(()) => {
                self.sure = self.acked;
                Ok(())
            }
            Err(_) if self.may_fail() => {
                (self.errors, self.has_failed) = (self.errors + 1, true);
                Ok(())
            }
            Err(error) => Err(told(&error)),
        }
    }

    /// A backup, and what a restore makes of it; both may fail, neither may be wrong.
    fn copies(&mut self) -> Result<(), String> {
        let Some(db) = &self.db else { return Ok(()) };
        let [copy, restored] = [self.place.fresh(), self.place.fresh()];
        let over = |place: &P| FaultStorage::over(place.open(), self.faults.clone());
        let made = db.backup(&over(&copy));
        let mut done = made.map(drop).map_err(|error| told(&error));
        let is_made = done.is_ok();
        if is_made {
            let made = restore(&over(&copy), &over(&restored));
            done = made.map(drop).map_err(|error| told(&error));
            self.check_copy(&restored, done.is_ok())?;
        }
        self.check_copy(&copy, is_made)?;
        match done {
            Err(what) if !self.may_fail() => Err(what),
            Err(_) => {
                self.errors += 1;
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// A copy that was made is right; another one is right, empty, or no database.
    fn check_copy(&self, place: &P, is_made: bool) -> Result<(), String> {
        let storage = FaultStorage::over(place.open(), Faults::default());
        match Database::open(storage, config(99)) {
            Ok(db) => {
                let shown = shown(&db)?;
                let is_right = shown == self.states[self.acked];
                if is_right || !is_made && shown == Contents::default() {
                    return Ok(());
                }
                Err(format!("a copy shows other things; finished: {is_made}"))
            }
            Err(error) if is_made => Err(format!("a copy does not open: {}", told(&error))),
            Err(_) => Ok(()),
        }
    }
}

fn config(seed: u64) -> Config {
    let mut config = Config::balanced();
    config.threads = 1;
    config.segment_bytes = gannet::limits::SEGMENT_BYTES_MIN;
    config.chance = Arc::new(SeededChance::new(seed));
    config
}

fn shown<S: Storage>(db: &Database<FaultStorage<S>>) -> Result<Contents, String> {
    let mut contents = Contents::default();
    db.scan(KEYSPACE, Bound::Unbounded, Bound::Unbounded, |key, value| {
        contents.0.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })
    .map_err(|error| told(&error))?;
    if let Some(stats) = db.collection(COLLECTION) {
        for id in 0..ROWS {
            let vector = db.get_vector(COLLECTION, &Id::Int(id)).map_err(|error| told(&error))?;
            let Some(vector) = vector else { continue };
            let number =
                (100..1000).find(|&number| f32::from(number).to_bits() == vector[0].to_bits());
            contents.1.insert(id, number.ok_or_else(|| format!("vector {vector:?}"))?);
        }
        if stats.rows != contents.1.len() as u64 {
            return Err(format!("{} rows, {} found", stats.rows, contents.1.len()));
        }
    }
    Ok(contents)
}

fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
