//! Backups: what is copied stays while checkpoints are made, and a copy that was cut off is no
//! database, or all of one.

use crate::fault::{Action, Calls, FaultStorage, Faults, Rule};
use crate::sim::{CrashPlan, SimDisk, SimStorage};
use gannet::{Config, Database, Id, Metric, OpenError, Params, SeededChance, WriteBatch};
use gannet_storage::Op;
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

type Db = Database<SimStorage>;

const KEYSPACE: &str = "k";
const COLLECTION: &str = "c";
/// What is committed before the backup begins.
const KEYS: u64 = 4;
/// Each file of the copy takes so long.
const WAIT: Duration = Duration::from_millis(4);

/// Makes a backup while another thread commits and makes checkpoints, cuts the power of the copy,
/// and opens it.
///
/// # Errors
/// The backup fails, or its copy is not what it should be.
///
/// # Panics
/// If the system has no room for a thread.
pub fn beside(seed: u64) -> Result<(), String> {
    let (disk, copy) = (SimDisk::new(), SimDisk::new());
    let db = filled(&disk, seed)?;
    let faults = Faults::default();
    faults.add(Rule::forever(Calls::Op(Op::Create), 1, Action::Delay(WAIT)));
    let to = Arc::new(copy.open().map_err(|error| told(&error))?);
    let to = FaultStorage::over(to, faults);
    let is_done = AtomicBool::new(false);
    let (made, beside) = thread::scope(|scope| {
        let work = || {
            let mut numbers = KEYS..64;
            while !is_done.load(Ordering::Relaxed) {
                let Some(number) = numbers.next() else { break };
                commit(&db, number)?;
                checkpoint(&db)?;
            }
            Ok(())
        };
        let thread = thread::Builder::new().name("checkpoints".to_owned());
        let thread = thread.spawn_scoped(scope, work).expect("the system has room for a thread");
        let made = db.backup(&to).map(drop).map_err(|error| told(&error));
        is_done.store(true, Ordering::Relaxed);
        (made, thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    });
    beside?;
    made.map_err(|what| format!("a backup beside checkpoints: {what}"))?;
    drop(to);
    let pending = copy.pending();
    // All is lost that was not durable.
    let choice = pending.choices(&CrashPlan::default()).next();
    let durable = pending.crash(&choice.expect("there is one at least"));
    if !check(&durable, seed)? {
        return Err("a backup that was made is no database".to_owned());
    }
    Ok(())
}

/// Makes a backup, and opens what it leaves when the power goes at any instant of it.
///
/// # Errors
/// What opens is not all of the database.
pub fn cut_off(seed: u64) -> Result<(), String> {
    let (disk, copy) = (SimDisk::new(), SimDisk::new());
    let db = filled(&disk, seed)?;
    copy.record();
    let to = copy.open().map_err(|error| told(&error))?;
    db.backup(&to).map_err(|error| told(&error))?;
    let plan = CrashPlan { exhaustive_max: 64, pairs_max: 8, samples: 8, seed };
    for point in copy.take_recorded() {
        for (left, choice) in point.disk().crash_states(&plan) {
            let told = |what| format!("a backup, cut at step {}, {choice}: {what}", point.step);
            check(&left, seed).map_err(told)?;
        }
    }
    Ok(())
}

fn open(disk: &SimDisk, seed: u64) -> Result<Db, OpenError> {
    let mut config = Config::balanced();
    config.threads = 1;
    config.segment_bytes = gannet::limits::SEGMENT_BYTES_MIN;
    config.chance = Arc::new(SeededChance::new(seed));
    Database::open(disk.open()?, config)
}

/// A database with checkpoints and something behind them.
fn filled(disk: &SimDisk, seed: u64) -> Result<Db, String> {
    let db = open(disk, seed).map_err(|error| told(&error))?;
    for number in 0..KEYS {
        commit(&db, number)?;
        if number + 1 < KEYS {
            checkpoint(&db)?;
        }
    }
    Ok(db)
}

fn commit(db: &Db, number: u64) -> Result<(), String> {
    let mut batch = WriteBatch::new();
    let params = Params { m: 4, ef_construction: 16, ..Params::new(2, Metric::L2) };
    batch.create_collection(COLLECTION, params);
    batch.put(KEYSPACE, &number.to_le_bytes(), &[1; 3000]);
    batch.upsert(COLLECTION, Id::Int(number), &[1.0, 2.0]);
    db.commit(batch).map(drop).map_err(|error| told(&error))
}

fn checkpoint(db: &Db) -> Result<(), String> {
    let made = db.checkpoint(&mut |_| ControlFlow::Continue(()));
    made.map(drop).map_err(|error| told(&error))
}

/// Whether there is a database: all of one.
fn check(disk: &SimDisk, seed: u64) -> Result<bool, String> {
    let db = match open(disk, seed) {
        Ok(db) if db.recovery_report().is_new => return Ok(false),
        Ok(db) => db,
        // Files, and no root that makes a database of them.
        Err(OpenError::Corrupt(found)) if found.file == "root" => return Ok(false),
        Err(OpenError::NotADatabase { .. }) => return Ok(false),
        Err(error) => return Err(told(&error)),
    };
    for number in 0..KEYS {
        let value = db.get(KEYSPACE, &number.to_le_bytes()).map_err(|error| told(&error))?;
        let row = db.get_vector(COLLECTION, &Id::Int(number)).map_err(|error| told(&error))?;
        if value.is_none() || row.is_none() {
            return Err(format!("commit {number} is not in the copy"));
        }
    }
    Ok(true)
}

fn told(error: &dyn Error) -> String {
    let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
    format!("{error}{cause}")
}
