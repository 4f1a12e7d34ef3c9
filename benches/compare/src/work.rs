//! Workloads that run for a time: gets, puts, batches, read-compare-write, and a mix of them.
//!
//! A round of a workload opens a new store, puts the records into it, reads all of them once, and
//! then runs with each number of threads in turn. What is committed is checked after each run, what
//! is read while it runs. Making keys and values is part of what is measured, the same for all.

use crate::data::{self, Random, Record, Value};
use crate::report::{Sample, Unit};
use crate::store::{Error, Kind, Mode, Open, Result, Session, Store};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Records of a batch.
pub(crate) const BATCH: u64 = 1000;

/// Gets for each put of the mix.
const GETS_A_PUT: u64 = 10;

/// How many of the keys that a thread has put are looked at afterwards.
const CHECKS: u64 = 10_000;

/// What a thread does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Gets a random key that is there.
    Get,
    /// Puts a new key, in a commit of its own.
    Put,
    /// Puts new keys, in a commit of [`BATCH`].
    PutAll,
    /// Reads a random key that is there, and puts the next generation if it has not changed.
    Cas,
    /// Gets random keys, and now and then puts one of them.
    Mix,
}

/// What is measured under one name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// Its name on the command line and in tables.
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    pub(crate) action: Action,
    /// The numbers of threads, each measured for itself.
    pub(crate) threads: &'static [u64],
}

/// All that run for a time.
pub(crate) const WORKLOADS: &[Workload] = &[
    workload("get", Mode::None, Action::Get, &[1, 2]),
    workload("put-none", Mode::None, Action::Put, &[1]),
    workload("put-buffered", Mode::Buffered, Action::Put, &[1]),
    workload("put-strict", Mode::Strict, Action::Put, &[1, 4, 16]),
    workload("cas-none", Mode::None, Action::Cas, &[1]),
    workload("cas-buffered", Mode::Buffered, Action::Cas, &[1]),
    workload("cas-strict", Mode::Strict, Action::Cas, &[1]),
    workload("batch-strict", Mode::Strict, Action::PutAll, &[1]),
    workload("mixed", Mode::Buffered, Action::Mix, &[2]),
];

const fn workload(
    name: &'static str,
    mode: Mode,
    action: Action,
    threads: &'static [u64],
) -> Workload {
    Workload { name, mode, action, threads }
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Records that are there when it begins.
    pub(crate) records: u64,
    /// How long each run takes.
    pub(crate) time: Duration,
}

/// One round of a workload in one store, in an empty directory.
pub(crate) fn round(
    workload: &Workload,
    kind: Kind,
    dir: &Path,
    size: Size,
    each: &mut dyn FnMut(Sample),
) -> Result<()> {
    let store = kind.open(&Open::new(dir, workload.mode))?;
    load(&*store, size.records)?;
    store.sync()?;
    read_all(&*store, size.records)?;
    let mut changed = 0;
    for (phase, &threads) in (0..).zip(workload.threads) {
        let of = Of { action: workload.action, records: size.records, phase };
        let (done, rate) = run(&*store, of, threads, size.time)?;
        changed += done;
        each(Sample {
            workload: workload.name,
            kind,
            settings: store.settings(),
            mode: workload.mode,
            threads,
            unit: Unit::PerSecond,
            value: rate,
        });
    }
    if workload.action == Action::Cas && generations(&*store, size.records)? != changed {
        return Err("a read-compare-write was lost or done twice".into());
    }
    Ok(())
}

/// Puts the first `records` numbers into the store, in batches.
pub(crate) fn load(store: &dyn Store, records: u64) -> Result<()> {
    let mut session = store.session()?;
    let mut batch = Vec::new();
    for begin in (0..records).step_by(usize::try_from(BATCH)?) {
        batch.clear();
        batch.extend((begin..records.min(begin + BATCH)).map(data::record));
        session.put_all(&batch)?;
    }
    Ok(())
}

/// Reads all records once, in an order of their own, and checks them.
pub(crate) fn read_all(store: &dyn Store, records: u64) -> Result<()> {
    generations(store, records).map(drop)
}

fn generations(store: &dyn Store, records: u64) -> Result<u64> {
    let mut session = store.session()?;
    (0..records).map(|number| get(&mut *session, number)).sum()
}

/// Runs threads that work for so long, on a store that holds so many records.
pub(crate) fn run(store: &dyn Store, of: Of, threads: u64, time: Duration) -> Result<(u64, f64)> {
    let (stop, barrier) = (AtomicBool::new(false), Barrier::new(usize::try_from(threads)? + 1));
    let work = |thread: u64| -> Result<Done> {
        let session = store.session();
        barrier.wait();
        let mut worker = Worker::new(session?, of, thread);
        let begin = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            worker.step()?;
        }
        Ok(Done { begin, end: Instant::now(), puts: worker.puts, operations: worker.operations })
    };
    let done: Vec<Done> = std::thread::scope(|scope| {
        let work = &work;
        let spawn = |thread| scope.spawn(move || work(thread));
        let workers: Vec<_> = (0..threads).map(spawn).collect();
        barrier.wait();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let panicked = |_| Error::from("a thread has panicked");
        workers.into_iter().map(|worker| worker.join().map_err(panicked)?).collect::<Result<_>>()
    })?;
    if matches!(of.action, Action::Put | Action::PutAll) {
        let mut session = store.session()?;
        for (thread, done) in (0..).zip(&done) {
            check_puts(&mut *session, of.first_new(thread), done.puts)?;
        }
    }
    let begin = done.iter().map(|done| done.begin).min().ok_or("no threads")?;
    let end = done.iter().map(|done| done.end).max().ok_or("no threads")?;
    let operations = done.iter().map(|done| done.operations).sum();
    Ok((operations, as_f64(operations) / (end - begin).as_secs_f64()))
}

/// What a run is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of {
    pub(crate) action: Action,
    /// Records that were there from the beginning.
    pub(crate) records: u64,
    /// Number of the run in its store, so that its new keys are new.
    pub(crate) phase: u64,
}

impl Of {
    /// The number of the first new key of a thread.
    fn first_new(self, thread: u64) -> u64 {
        ((self.phase + 1) << 40) | (thread << 32)
    }
}

struct Done {
    begin: Instant,
    end: Instant,
    puts: u64,
    operations: u64,
}

struct Worker<'s> {
    session: Box<dyn Session + 's>,
    of: Of,
    first_new: u64,
    random: Random,
    batch: Vec<Record>,
    /// New keys that were put.
    puts: u64,
    operations: u64,
}

impl<'s> Worker<'s> {
    fn new(session: Box<dyn Session + 's>, of: Of, thread: u64) -> Self {
        let first_new = of.first_new(thread);
        let random = Random::new(first_new);
        Self { session, of, first_new, random, batch: Vec::new(), puts: 0, operations: 0 }
    }

    fn step(&mut self) -> Result<()> {
        let next = self.first_new + self.puts;
        match self.of.action {
            Action::Get => drop(self.get()?),
            Action::Put => {
                let (key, value) = data::record(next);
                self.session.put(&key, &value)?;
                self.puts += 1;
            }
            Action::PutAll => {
                self.batch.clear();
                self.batch.extend((next..next + BATCH).map(data::record));
                self.session.put_all(&self.batch)?;
                self.puts += BATCH;
                self.operations += BATCH - 1;
            }
            Action::Cas => {
                let number = self.random.below(self.of.records);
                while !cas(&mut *self.session, number)? {}
            }
            Action::Mix => {
                for _ in 0..GETS_A_PUT {
                    self.get()?;
                }
                let number = self.random.below(self.of.records);
                let value = data::value(number, self.operations);
                self.session.put(&data::key(number), &value)?;
                self.operations += GETS_A_PUT;
            }
        }
        self.operations += 1;
        Ok(())
    }

    fn get(&mut self) -> Result<u64> {
        get(&mut *self.session, self.random.below(self.of.records))
    }
}

/// The generation of a number, which has to be there.
pub(crate) fn get(session: &mut dyn Session, number: u64) -> Result<u64> {
    let mut found = None;
    session.get(&data::key(number), &mut |value| found = data::generation(number, value))?;
    found.ok_or_else(|| format!("record {number} is missing or wrong").into())
}

fn cas(session: &mut dyn Session, number: u64) -> Result<bool> {
    let mut change = |value: &[u8]| -> Result<Value> {
        let found = data::generation(number, value).ok_or("a wrong value was read")?;
        Ok(data::value(number, found + 1))
    };
    session.cas(&data::key(number), &mut change)
}

/// Looks for some of the keys that a thread has put, the last one included, and for the next one,
/// which it has not.
fn check_puts(session: &mut dyn Session, first: u64, puts: u64) -> Result<()> {
    let step = usize::try_from(puts.div_ceil(CHECKS).max(1))?;
    for number in (0..puts).rev().step_by(step) {
        get(session, first + number)?;
    }
    if session.get(&data::key(first + puts), &mut |_| {})? {
        return Err("there is a key that nobody has put".into());
    }
    Ok(())
}

/// Counts here are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "what is counted is far below 2^52")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}
