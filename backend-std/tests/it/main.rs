//! The backend against real directories, processes, file systems and a cut of the power.
//!
//! Where a test needs what a machine may not give (mounts, another user, a file system on a disk),
//! it prints why and passes without it.

mod again;
mod cache;
mod conformance;
mod directory;
mod files;
#[path = "../fixture/mod.rs"]
mod fixture;
mod locking;
#[cfg(target_os = "linux")]
mod power_cut;

#[cfg(target_os = "linux")]
use fixture::mounted;
use fixture::{at_once, block, mark, name, open, refusal};
