//! Threads that read and write one database, what they saw, and crashes between.

use super::{Call, History, REGISTERS, Registers, What};
use crate::fault::{Action, Calls, FaultStorage, Faults, Rule};
use crate::sim::{SimDisk, SimRng, SimStorage};
use gannet::{
    Commit, CommitError, Config, Database, Durability, Id, Lsn, Metric, OpenError, Params,
    ReadError, SearchOptions, SeededChance, WriteBatch, limits,
};
use gannet_storage::{Op, Storage};
use std::error::Error;
use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const KEYSPACE: &str = "k";
const COLLECTION: &str = "c";
/// Registers that are keys; the others are rows.
const KEYS: usize = 5;
const CALLS_MAX: usize = 120;

/// What a database is on, between one opening and the next.
pub trait Ground {
    /// Its storage.
    type Storage: Storage;

    /// Opens the storage.
    fn open(&self) -> Arc<Self::Storage>;

    /// The database is open: arranges for a crash while it works, if there is to be one in which
    /// calls fail.
    fn arm(&mut self, rng: &mut SimRng, faults: &Faults);

    /// The database is gone, and with it the process, or the power. Tells whether all that the
    /// kernel had been given is there still.
    fn crash(&mut self, rng: &mut SimRng) -> bool;
}

/// How the histories are made.
#[derive(Clone, Debug)]
pub struct Histories {
    /// Decides what threads do; when they do it, the system decides.
    pub seed: u64,
    /// Crashes, one history before each. All threads together make at most 65,535 calls.
    pub crashes: u64,
    /// Threads at work.
    pub threads: usize,
    /// Calls of each in a history.
    pub calls: usize,
}

impl Default for Histories {
    fn default() -> Self {
        Self { seed: 1, crashes: 20, threads: 4, calls: 12 }
    }
}

/// What the histories were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Histories, each with a crash behind it.
    pub histories: u64,
    /// Calls in them.
    pub calls: u64,
    /// Pairs of calls that overlapped.
    pub overlaps: u64,
    /// Writes of unknown end.
    pub unknown: u64,
}

/// Makes histories of one database on `ground` and checks each.
///
/// # Errors
/// What no order explains, or an answer that a crash does not excuse.
///
/// # Panics
/// If the system has no room for a thread, or there are more than 120 calls in a history.
pub fn run<G: Ground>(ground: &mut G, histories: &Histories) -> Result<Report, String> {
    let mut rng = SimRng::new(histories.seed);
    let (mut report, mut before) = (Report::default(), Registers::default());
    let numbers = AtomicU32::new(1);
    for round in 0..histories.crashes {
        let told = |what: String| format!("seed {}, history {round}: {what}", histories.seed);
        let faults = Faults::default();
        let db = open(ground, &faults, rng.next_u64()).map_err(told)?;
        if round == 0 {
            let params = Params { m: 4, ef_construction: 16, ..Params::new(2, Metric::Dot) };
            db.create_collection(COLLECTION, params).map_err(|error| told(error.to_string()))?;
        }
        // Waits in the device let others come in between.
        let wait = Duration::from_micros(rng.below(60) as u64);
        faults.add(Rule::forever(Calls::Op(Op::Sync), 1, Action::Delay(wait)));
        ground.arm(&mut rng, &faults);
        let mut calls = work(&db, histories, &mut rng, &numbers).map_err(told)?;
        let synced = db.synced_lsn();
        drop(db);
        let has_all = ground.crash(&mut rng);
        let has_failed = calls.iter().any(|(_, lsn)| *lsn == Some(Lsn::MAX));
        for (call, lsn) in &mut calls {
            let is_covered = lsn.is_some_and(|lsn| lsn <= synced) || has_all && !has_failed;
            let is_write = !matches!(call.what, What::Read(_));
            call.is_sure |= is_write && call.ended.is_some() && is_covered;
        }
        let db = open(ground, &Faults::default(), rng.next_u64()).map_err(told)?;
        let after = look(&db).map_err(told)?;
        drop(db);
        ground.crash(&mut rng);
        let calls = calls.into_iter().map(|(call, _)| call).collect();
        let history = History { before, calls, after };
        report.add(&history);
        history.check().map_err(|error| told(error.to_string()))?;
        before = after;
    }
    Ok(report)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, calls, overlaps, unknown } = self;
        write!(f, "{histories} histories, {calls} calls, {overlaps} overlaps, {unknown} unknown")
    }
}

impl Report {
    fn add(&mut self, history: &History) {
        self.histories += 1;
        self.calls += history.calls.len() as u64;
        for (at, call) in history.calls.iter().enumerate() {
            self.unknown += u64::from(call.ended.is_none());
            let overlap = |other: &&Call| {
                let ended = |call: &Call| call.ended.unwrap_or(u64::MAX);
                call.begun < ended(other) && other.begun < ended(call)
            };
            self.overlaps += history.calls[at + 1..].iter().filter(overlap).count() as u64;
        }
    }
}

type Db<S> = Database<FaultStorage<S>>;

fn open<G: Ground>(ground: &G, faults: &Faults, chance: u64) -> Result<Db<G::Storage>, String> {
    let mut config = Config::balanced();
    config.threads = 2;
    config.segment_bytes = limits::SEGMENT_BYTES_MIN;
    // Tables are written and merged meanwhile.
    config.memtable_bytes = 16 << 10;
    config.chance = Arc::new(SeededChance::new(chance));
    let storage = FaultStorage::over(ground.open(), faults.clone());
    Database::open(storage, config).map_err(|error: OpenError| told(&error))
}

/// Everything, one by one.
fn look<S: Storage>(db: &Db<S>) -> Result<Registers, String> {
    let mut registers = Registers::default();
    for (at, register) in registers.iter_mut().enumerate() {
        let (_, found) = get(db, at)?.ok_or("what is there after a crash cannot be read")?;
        *register = found;
    }
    Ok(registers)
}

/// A register with what is in it; `None` where the storage refused: that tells nothing.
fn get<S: Storage>(db: &Db<S>, at: usize) -> Result<Option<(usize, Option<u32>)>, String> {
    let found = if at < KEYS {
        answer(db.get(KEYSPACE, &key(at)))?.map(|value| number_in(value.as_deref()))
    } else {
        let found = answer(db.get_vector(COLLECTION, &Id::Int(at as u64)))?;
        found.map(|vector| vector.map(|vector| number_of_float(vector[0])).transpose())
    };
    Ok(found.transpose()?.map(|found| (at, found)))
}

/// `None` where the storage refused, as it does when the power is gone.
fn answer<T>(answer: Result<T, ReadError>) -> Result<Option<T>, String> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ReadError::Storage(_)) => Ok(None),
        Err(error) => Err(told(&error)),
    }
}

/// The number in the value of a key, if it has one.
fn number_in(value: Option<&[u8]>) -> Result<Option<u32>, String> {
    value.map(number_of).transpose()
}

fn key(at: usize) -> [u8; 1] {
    [u8::try_from(at).expect("few registers")]
}

fn number_of(value: &[u8]) -> Result<u32, String> {
    let number = value.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    number.ok_or_else(|| format!("value {value:?}"))
}

/// Numbers are exact in f32.
fn number_of_float(found: f32) -> Result<u32, String> {
    let number =
        (0..u32::from(u16::MAX)).find(|&number| float(number).to_bits() == found.to_bits());
    number.ok_or_else(|| format!("component {found}"))
}

fn float(number: u32) -> f32 {
    f32::from(u16::try_from(number).expect("few writes"))
}

/// A call, and of a write that was acknowledged its last record; `Lsn::MAX` for one that failed.
type Noted = (Call, Option<Lsn>);

/// What all threads did.
fn work<S: Storage>(
    db: &Db<S>,
    histories: &Histories,
    rng: &mut SimRng,
    numbers: &AtomicU32,
) -> Result<Vec<Noted>, String> {
    let events = AtomicU64::new(0);
    let all = Mutex::new(Vec::new());
    let start = Barrier::new(histories.threads);
    let seeds: Vec<u64> = (0..histories.threads).map(|_| rng.next_u64()).collect();
    let results: Vec<Result<(), String>> = thread::scope(|scope| {
        let spawn = |seed: &u64| {
            let mut worker = Worker { db, events: &events, numbers, rng: SimRng::new(*seed) };
            let (all, start) = (&all, &start);
            let thread = thread::Builder::new().name("history".to_owned());
            let body = move || {
                start.wait();
                for _ in 0..histories.calls {
                    let noted = worker.call()?;
                    // Nothing panics while it is held.
                    all.lock().unwrap_or_else(PoisonError::into_inner).extend(noted);
                }
                Ok(())
            };
            thread.spawn_scoped(scope, body).expect("the system has room for a thread")
        };
        let threads: Vec<_> = seeds.iter().map(spawn).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned()))
        };
        threads.into_iter().map(join).collect()
    });
    results.into_iter().collect::<Result<(), _>>()?;
    let mut calls = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    calls.sort_by_key(|(call, _): &Noted| call.begun);
    assert!(calls.len() <= CALLS_MAX, "{} calls", calls.len());
    Ok(calls)
}

/// Registers, and what is in them.
type Changes = Vec<(usize, Option<u32>)>;

/// Keys as a scan finds them.
#[derive(Default)]
struct Keys {
    numbers: [Option<u32>; KEYS],
    wrong: Option<String>,
}

impl Keys {
    fn see(&mut self, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        match (self.numbers.get_mut(usize::from(key[0])), number_of(value)) {
            (Some(found), Ok(number)) => *found = Some(number),
            _ => self.wrong = Some(format!("key {key:?}, value {value:?}")),
        }
        ControlFlow::Continue(())
    }

    /// Every key, there or not.
    fn found(self) -> Result<Changes, String> {
        match self.wrong {
            Some(wrong) => Err(wrong),
            None => Ok(self.numbers.into_iter().enumerate().collect()),
        }
    }
}

struct Worker<'w, S: Storage> {
    db: &'w Db<S>,
    events: &'w AtomicU64,
    numbers: &'w AtomicU32,
    rng: SimRng,
}

impl<S: Storage> Worker<'_, S> {
    fn event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::SeqCst)
    }

    fn call(&mut self) -> Result<Option<Noted>, String> {
        match self.rng.below(16) {
            0..5 => self.write(),
            5..8 => {
                let at = self.rng.below(REGISTERS);
                let begun = self.event();
                let found = get(self.db, at)?;
                Ok(found.map(|found| self.read(begun, vec![found])))
            }
            8 => self.scan(),
            9 => self.search(),
            10 => self.snapshot(),
            11 => self.cas(),
            _ => self.transact(),
        }
    }

    fn read(&self, begun: u64, found: Vec<(usize, Option<u32>)>) -> Noted {
        let ended = Some(self.event());
        (Call { begun, ended, what: What::Read(found), is_sure: false }, None)
    }

    /// What is to be of some registers: all have one number, or are deleted.
    fn changes(&mut self) -> Changes {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut changes = Vec::new();
        for at in 0..REGISTERS {
            if self.rng.below(3) == 0 {
                changes.push((at, (self.rng.below(4) > 0).then_some(number)));
            }
        }
        changes
    }

    /// The value of a key that says its number, of any length.
    fn value(&mut self, number: u32) -> Vec<u8> {
        let mut value = number.to_le_bytes().to_vec();
        value.resize(4 + self.rng.below(900), 7);
        value
    }

    fn durability(&mut self) -> Durability {
        if self.rng.below(2) == 0 { Durability::Strict } else { Durability::Buffered }
    }

    /// A batch of some registers.
    fn write(&mut self) -> Result<Option<Noted>, String> {
        let (mut batch, changes) = (WriteBatch::new(), self.changes());
        for &(at, to) in &changes {
            let id = at as u64;
            match to {
                Some(number) if at < KEYS => batch.put(KEYSPACE, &key(at), &self.value(number)),
                None if at < KEYS => batch.delete(KEYSPACE, &key(at)),
                Some(number) => batch.upsert(COLLECTION, id, &[float(number), 1.0]),
                None => batch.delete_row(COLLECTION, id),
            }
        }
        if changes.is_empty() {
            return Ok(None);
        }
        let durability = self.durability();
        let begun = self.event();
        let done = self.db.commit_with(batch, durability);
        self.committed(begun, done, What::Write(changes), durability)
    }

    /// Some keys are read, one by one or by a scan, and some registers written upon that.
    fn transact(&mut self) -> Result<Option<Noted>, String> {
        let changes = self.changes();
        let durability = self.durability();
        let begun = self.event();
        let mut transaction = self.db.transaction();
        let mut found = Vec::new();
        if self.rng.below(3) == 0 {
            let mut keys = Keys::default();
            let all = (Bound::Unbounded, Bound::Unbounded);
            let scanned =
                transaction.scan(KEYSPACE, all.0, all.1, |key, value| keys.see(key, value));
            if answer(scanned)?.is_none() {
                return Ok(None);
            }
            found = keys.found()?;
        } else {
            for at in 0..KEYS {
                if self.rng.below(2) == 0 {
                    continue;
                }
                let Some(value) = answer(transaction.get(KEYSPACE, &key(at)))? else {
                    return Ok(None);
                };
                found.push((at, number_in(value.as_deref())?));
            }
        }
        if self.rng.below(2) == 0 {
            thread::yield_now();
        }
        for &(at, to) in &changes {
            let id = at as u64;
            match to {
                Some(number) if at < KEYS => {
                    transaction.put(KEYSPACE, &key(at), &self.value(number));
                }
                None if at < KEYS => transaction.delete(KEYSPACE, &key(at)),
                Some(number) => transaction.upsert(COLLECTION, id, &[float(number), 1.0]),
                None => transaction.delete_row(COLLECTION, id),
            }
        }
        let done = transaction.commit_with(durability);
        if changes.is_empty() {
            // It had nothing to commit, and makes nothing durable.
            done.map_err(|error| told(&error))?;
            return Ok(Some(self.read(begun, found)));
        }
        self.committed(begun, done, What::Transact { found, changes }, durability)
    }

    /// A key is read, and written if nobody else did meanwhile.
    fn cas(&mut self) -> Result<Option<Noted>, String> {
        let at = self.rng.below(KEYS);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let begun = self.event();
        let Some(versioned) = answer(self.db.get_versioned(KEYSPACE, &key(at)))? else {
            return Ok(None);
        };
        let (value, version) = versioned.map_or((None, 0), |is| (Some(is.value), is.version));
        let found = vec![(at, number_in(value.as_deref())?)];
        let done = self.db.cas(KEYSPACE, &key(at), version, Some(&self.value(number)));
        let what = What::Transact { found, changes: vec![(at, Some(number))] };
        self.committed(begun, done, what, Durability::Strict)
    }

    /// How a commit ended that began at an event.
    fn committed(
        &self,
        begun: u64,
        done: Result<Commit, CommitError>,
        what: What,
        durability: Durability,
    ) -> Result<Option<Noted>, String> {
        let ended = self.event();
        match done {
            Ok(commit) => {
                let is_sure = durability == Durability::Strict;
                Ok(Some((Call { begun, ended: Some(ended), what, is_sure }, Some(commit.last_lsn))))
            }
            Err(CommitError::Unknown(_)) => {
                let call = Call { begun, ended: None, what, is_sure: false };
                Ok(Some((call, Some(Lsn::MAX))))
            }
            Err(
                CommitError::NoSpace(_)
                | CommitError::MemtableFull { .. }
                | CommitError::Refused(_)
                | CommitError::Conflict { .. }
                | CommitError::Unread(_)
                | CommitError::Poisoned,
            ) => {
                // What it found was there at one instant all the same.
                let What::Transact { found, .. } = what else { return Ok(None) };
                let what = What::Read(found);
                Ok(Some((Call { begun, ended: Some(ended), what, is_sure: false }, None)))
            }
            Err(error) => Err(told(&error)),
        }
    }

    /// A snapshot of all registers, or of some.
    fn snapshot(&mut self) -> Result<Option<Noted>, String> {
        let begun = self.event();
        let snapshot = self.db.snapshot();
        let mut found = Vec::new();
        for at in 0..REGISTERS {
            if self.rng.below(4) == 0 {
                thread::yield_now();
            }
            let number = if at < KEYS {
                let value = answer(snapshot.get(KEYSPACE, &key(at)))?;
                value.map(|value| number_in(value.as_deref()))
            } else {
                let vector = answer(snapshot.get_vector(COLLECTION, &Id::Int(at as u64)))?;
                vector.map(|vector| vector.map(|vector| number_of_float(vector[0])).transpose())
            };
            let Some(number) = number.transpose()? else { return Ok(None) };
            found.push((at, number));
        }
        Ok(Some(self.read(begun, found)))
    }

    /// All keys, as they were at one instant.
    fn scan(&mut self) -> Result<Option<Noted>, String> {
        let mut keys = Keys::default();
        let begun = self.event();
        let all = (Bound::Unbounded, Bound::Unbounded);
        let scanned = self.db.scan(KEYSPACE, all.0, all.1, |key, value| keys.see(key, value));
        if answer(scanned)?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.read(begun, keys.found()?)))
    }

    /// An exact search for all rows: what there is at one instant.
    fn search(&mut self) -> Result<Option<Noted>, String> {
        let mut options = SearchOptions::new(2 * REGISTERS);
        options.exact = true;
        let begun = self.event();
        let hits = self.db.search(COLLECTION, &[1.0, 0.0], &options);
        let hits = hits.map_err(|error| told(&error))?;
        let mut found: Vec<_> = (KEYS..REGISTERS).map(|at| (at, None)).collect();
        for hit in hits {
            let register = found.iter_mut().find(|(at, _)| Id::Int(*at as u64) == hit.id);
            let (_, number) = register.ok_or_else(|| format!("hit {hit:?}"))?;
            *number = Some(number_of_float(-hit.distance)?);
        }
        Ok(Some(self.read(begun, found)))
    }
}

/// A simulated disk, whose power goes at any instant.
impl Ground for SimDisk {
    type Storage = SimStorage;

    fn open(&self) -> Arc<SimStorage> {
        Arc::new(Self::open(self).expect("free"))
    }

    fn arm(&mut self, rng: &mut SimRng, _faults: &Faults) {
        if rng.below(3) > 0 {
            let steps = self.steps() + rng.below(40) as u64;
            self.cut_after(steps);
        }
    }

    fn crash(&mut self, rng: &mut SimRng) -> bool {
        let is_kill = rng.below(3) == 0;
        *self = if is_kill {
            self.kill()
        } else {
            let pending = self.pending();
            pending.crash(&pending.draw(rng))
        };
        is_kill
    }
}

fn told(error: &dyn Error) -> String {
    let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
    format!("{error}{cause}")
}
