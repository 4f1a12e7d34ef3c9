//! Long seeded runs: hundreds of operations of every kind, crashes, and a device that fails and
//! lies, against a model that knows every key and row.
//!
//! Where [`campaign`](crate::campaign) tries every way to crash in a short history, this tries one
//! way in a long one, with trouble of many kinds at once. Which kinds a seed has is drawn (each is
//! on or off), and runs have stretches without trouble, so that databases grow. At the end the
//! trouble is over, and the database must open, take writes and verify.
//!
//! Without lies of the device: what was acknowledged as durable is there, what was acknowledged but
//! buffered is lost as a suffix, batches are whole, nothing is there without all before it, what
//! was cut does not come back; a batch of unknown end is there or not, and stays so. With lies
//! (bits rot, writes are dropped or land elsewhere) the database is refused by name, or shows what
//! was there, or, where nothing later survived, what was there earlier; never anything else. Lies
//! are told to copies of the disk, so that the run itself goes on with all that is known of it.
//!
//! The engine runs on one thread with seeded chance and a clock of the run's own: a seed gives the
//! same run every time. (Openings with other numbers of threads are tried on copies.)
//!
//! ```
//! use gannet_testkit::seeded::{Seeded, run};
//!
//! let report = run(&Seeded { seeds: 2, ops: 60, ..Seeded::default() });
//! assert_eq!(report.violations, []);
//! ```

mod classes;
mod history;
mod lies;
mod life;
mod model;
mod report;
mod work;

pub use report::Report;

use crate::sim::{SimDisk, SimRng};
use life::Life;
use report::Counts;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Which runs, and how long they are.
#[derive(Clone, Debug)]
pub struct Seeded {
    /// Seed of the first run; the others follow.
    pub first_seed: u64,
    /// Number of runs.
    pub seeds: u64,
    /// Operations of a run, at the least.
    pub ops: u64,
    /// Threads that share the runs.
    pub threads: usize,
    /// Lets the disk of each run itself lie about syncs of this kind, as [`SimDisk::lie_about`]
    /// says: runs that find nothing then are worth nothing.
    pub lie_about: Option<gannet_storage::Op>,
}

impl Default for Seeded {
    fn default() -> Self {
        Self { first_seed: 1, seeds: 1, ops: 500, threads: 1, lie_about: None }
    }
}

/// Does all runs. The report is the same every time, on any number of threads.
///
/// # Panics
/// If the system has no room for a thread. Panics of the engine are violations.
#[must_use]
pub fn run(seeded: &Seeded) -> Report {
    let next = AtomicU64::new(0);
    let part = || {
        let mut report = Report::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= seeded.seeds {
                return report;
            }
            report.add(one(seeded.first_seed + index, seeded));
        }
    };
    let mut report = Report::default();
    thread::scope(|scope| {
        let spawn = |index| {
            let thread = thread::Builder::new().name(format!("seeded-{index}"));
            thread.spawn_scoped(scope, part).expect("the system has room for a thread")
        };
        let threads: Vec<_> = (0..seeded.threads.max(1)).map(spawn).collect();
        for thread in threads {
            report.add(thread.join().expect("panics of the engine are caught"));
        }
    });
    report
}

/// One run.
fn one(seed: u64, seeded: &Seeded) -> Report {
    let disk = SimDisk::new();
    if let Some(op) = seeded.lie_about {
        disk.lie_about(op);
    }
    let mut life = Life::new(disk, SimRng::new(seed));
    let lived = catch_unwind(AssertUnwindSafe(|| life.run(seeded.ops)));
    let lived = lived.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("of an unknown kind")))
    });
    let lived = lived.map_err(|what| format!("{}: {what}", life.place()));
    let (counts, digest): (Counts, u128) = life.end();
    Report::run(seed, counts, digest, lived)
}
