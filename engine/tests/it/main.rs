//! What the engine promises, tried from outside.

#![expect(clippy::unwrap_used, reason = "where a test unwraps what is not there it should fail")]

mod backup;
mod checkpoints;
mod committing;
mod compression;
mod conformance;
mod contents;
mod damage;
mod disk;
mod faults;
mod faulty;
mod filters;
mod gathering;
mod history;
mod input;
#[cfg(target_os = "linux")]
mod keys;
mod leaks;
mod lies;
mod live;
#[cfg(target_os = "linux")]
mod lying;
mod matrix;
mod merging;
mod metrics;
mod patches;
mod reading_keys;
mod recall;
mod recovery;
#[cfg(all(feature = "uring", target_os = "linux"))]
mod refused;
mod reopen;
mod salvage;
mod salvage_history;
mod salvage_places;
mod same_bytes;
mod scanning;
mod scrub;
mod searching;
mod touch;
mod transactions;
mod typed;
mod unreadable;
mod workloads;
