//! Proof for storages and for what is built on them; for tests and tools, never for libraries.
//!
//! - [`conformance`]: the contract of `gannet_storage`, clause by clause, for any storage.
//! - [`sim`]: a disk in memory whose power can fail, and every state that this can leave.
//! - [`campaign`]: the engine on that disk, crashed at every instant in every way.
//! - [`copies`]: backups, beside checkpoints and cut off.
//! - [`history`]: what threads saw between crashes, and whether one order explains it.
//! - [`matrix`]: every call of a storage failing, in every way.
//! - [`seeded`]: the engine on that disk for long, with trouble of every kind.
//! - [`flips`]: a small database, each of its bytes inverted in turn.
//! - [`fuzz`]: hostile bytes with checksums that match, for graphs, codes, files and logs.
//! - `mount` (Linux only): small file systems of a test's own: tmpfs, ext4 and XFS.
//! - [`fault`]: any storage, with calls that fail, are done in part, wait or panic.

#![forbid(unsafe_code)]

// A fuzzer is built without the rest, which would take minutes to compile with coverage.
#[cfg(not(fuzz))]
pub mod campaign;
#[cfg(not(fuzz))]
pub mod conformance;
#[cfg(not(fuzz))]
pub mod copies;
pub mod fault;
#[cfg(not(fuzz))]
pub mod flips;
pub mod fuzz;
#[cfg(not(fuzz))]
pub mod history;
#[cfg(not(fuzz))]
pub mod matrix;
#[cfg(all(target_os = "linux", not(fuzz)))]
pub mod mount;
#[cfg(not(fuzz))]
pub mod seeded;
#[cfg(not(fuzz))]
pub mod sim;
