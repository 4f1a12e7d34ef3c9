//! Orders of execution, tried by a scheduler:
//! `RUSTFLAGS='--cfg shuttle' cargo test -p gannet --test interleavings`.
//!
//! A thread that nobody wakes is a deadlock, which the scheduler reports. `SHUTTLE_ITERATIONS` says
//! how many orders are tried for each test; a failure prints the order, which `shuttle::replay`
//! runs again.

#![cfg(shuttle)]
#![expect(clippy::unwrap_used, reason = "where a test unwraps what is not there it should fail")]

mod commits;
mod index;

use gannet::{Clock, Config, Durability, SeededChance};
use shuttle::scheduler::Scheduler;
use shuttle::{MaxSteps, Runner};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock that moves whenever it is looked at.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(7, Ordering::Relaxed))
    }
}

fn config(durability: Durability, threads: usize) -> Config {
    let mut config = Config::balanced();
    config.durability = durability;
    config.threads = threads;
    // Two or three commits of `commits` fill a segment.
    config.segment_bytes = 16 << 10;
    config.chance = Arc::new(SeededChance::new(1));
    config.clock = Arc::new(Ticking::default());
    config
}

/// How many orders are to be tried.
fn iterations() -> usize {
    let asked = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or(1000)
}

fn run(scheduler: impl Scheduler + 'static, test: impl Fn() + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    // Databases are opened on it, and graphs built.
    config.stack_size = 512 << 10;
    // Many times what the longest takes.
    config.max_steps = MaxSteps::FailAfter(200_000);
    Runner::new(scheduler, config).run(test);
}
