//! The crash campaign: short workloads of the engine, crashed at every instant in every way,
//! opened, checked, and crashed again.
//!
//! After a crash, and however often it crashed before, a database must open and show exactly what
//! its user was told: every acknowledged batch whole, the one in flight whole or not at all,
//! nothing else; what one opening has shown, no later one may take back, and what it has not shown
//! may not come back. Kills and power cuts are tried, in workloads, in recovery, and in the writes
//! after it.
//!
//! The engine runs on one thread with seeded chance, so that a [`Trail`] leads to the same state
//! every time. The campaign looks at no clock: whoever runs it says when to stop.
//!
//! ```
//! use gannet_testkit::campaign::{Campaign, Workload, run};
//!
//! let campaign = Campaign { depth: 2, ..Campaign::default() };
//! let workloads = ["put".parse::<Workload>().unwrap()];
//! let report = run(&campaign, &workloads, &|states| states >= 100);
//! assert!(report.violations.is_empty(), "{}", report.violations[0]);
//! ```

mod expect;
mod explore;
mod model;
mod report;
mod trail;
mod visit;
mod workload;

pub use report::{Report, Violation};
pub use trail::Trail;
pub use workload::{Op, Workload};

use crate::sim::{CrashPlan, SimDisk};
use explore::{Explorer, Seen};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Told the number of distinct states so far, says whether to stop.
pub type Stop<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// How a campaign goes about.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Decides salts, samples, and which states are crashed again. Part of every [`Trail`].
    pub seed: u64,
    /// Most crashes one after another.
    pub depth: usize,
    /// Ways to crash that are tried after none, one, and two or more crashes. Their seeds are not
    /// used: each round has its own.
    pub plans: [CrashPlan; 3],
    /// From one in how many states, after one, two, and more crashes, a round goes on to the next
    /// crash.
    pub continue_one_in: [u32; 3],
    /// Rounds: each has other samples and goes on from other states.
    pub rounds: u64,
    /// Threads that share the workloads.
    pub threads: usize,
    /// Lets the disk lie about syncs of this kind, as [`SimDisk::lie_about`] says: a campaign that
    /// finds nothing then is worth nothing.
    pub lie_about: Option<gannet_storage::Op>,
    /// Ends the campaign early after so many states in which a promise is broken.
    pub broken_max: u64,
}

impl Default for Campaign {
    fn default() -> Self {
        let plan = |exhaustive_max, pairs_max, samples| CrashPlan {
            exhaustive_max,
            pairs_max,
            samples,
            seed: 0,
        };
        Self {
            seed: 1,
            depth: 3,
            plans: [plan(4096, 256, 256), plan(256, 32, 32), plan(64, 16, 16)],
            continue_one_in: [1, 16, 16],
            rounds: 1,
            threads: 1,
            lie_about: None,
            broken_max: 100,
        }
    }
}

/// Runs `workloads` until `stop` says so, which is asked before every state with the number of
/// distinct states so far, or until all rounds are done. With one thread the report is the same
/// every time.
///
/// # Panics
/// If the system has no room for a thread. Panics of the engine are violations.
#[must_use]
pub fn run(campaign: &Campaign, workloads: &[Workload], stop: Stop<'_>) -> Report {
    let (seen, next) = (Seen::default(), AtomicUsize::new(0));
    let total = workloads.len() * usize::try_from(campaign.rounds).expect("few rounds");
    let part = || {
        let report = Report::default();
        let mut explorer = Explorer { campaign, round: 0, seen: &seen, stop, report };
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= total {
                break;
            }
            explorer.round = (index / workloads.len()) as u64;
            if !explorer.workload(&workloads[index % workloads.len()]) {
                next.store(total, Ordering::Relaxed);
            }
        }
        explorer.report
    };
    let mut report = Report::default();
    thread::scope(|scope| {
        let spawn = |index| {
            let thread = thread::Builder::new().name(format!("campaign-{index}"));
            thread.spawn_scoped(scope, part).expect("the system has room for a thread")
        };
        let threads: Vec<_> = (0..campaign.threads.max(1)).map(spawn).collect();
        for thread in threads {
            report.add(thread.join().expect("panics of the engine are caught"));
        }
    });
    report.distinct = seen.distinct();
    report
}

impl Campaign {
    /// The empty disk with which every workload begins.
    fn disk(&self) -> SimDisk {
        let disk = SimDisk::new();
        if let Some(op) = self.lie_about {
            disk.lie_about(op);
        }
        disk
    }
}

/// Checks the state at the end of `trail` again. Of the campaign only `lie_about` matters.
///
/// # Errors
/// What is wrong there.
pub fn replay(campaign: &Campaign, trail: &Trail) -> Result<(), String> {
    explore::follow(&campaign.disk(), trail)
}
