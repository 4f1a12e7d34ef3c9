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
//! - `mount` (Linux only): small file systems of a test's own: tmpfs, ext4 and XFS.
//! - [`fault`]: any storage, with calls that fail, are done in part, wait or panic.

#![forbid(unsafe_code)]

pub mod campaign;
pub mod conformance;
pub mod copies;
pub mod fault;
pub mod flips;
pub mod history;
pub mod matrix;
#[cfg(target_os = "linux")]
pub mod mount;
pub mod seeded;
pub mod sim;
