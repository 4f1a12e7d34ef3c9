//! A disk in memory whose power can fail: for proofs, not for probabilities.
//!
//! A [`SimDisk`] knows, for every file, what a sync has covered (the media), and a list of what it
//! has not: sectors of 512 bytes and lengths; and for the directory, names that no `sync_dir` has
//! covered. [`SimDisk::open`] gives a [`SimStorage`] that keeps the contract of `gannet_storage`;
//! [`SimDisk::crash_states`] gives the disks that a power cut may leave: each pending sector old,
//! new or zero, each pending length and name done or not, in any combination.
//!
//! Nothing here looks at a clock, starts a thread or draws unseeded numbers: the same calls give
//! the same disk, and the same [`CrashChoice`] the same crash.
//!
//! ```
//! use gannet_storage::*;
//! use gannet_testkit::sim::{CrashPlan, SimDisk};
//!
//! # fn main() -> Result<()> {
//! let disk = SimDisk::new();
//! let storage = disk.open()?;
//! let file = storage.create(&FileName::new("a")?, 4096)?;
//! file.sync(Durability::Full)?;
//! // The contents are durable, the name is not: one crash keeps it, one does not.
//! let plan = CrashPlan::default();
//! assert_eq!(disk.crash_states(&plan).count(), 2);
//! storage.sync_dir()?;
//! for (after, _) in disk.crash_states(&plan) {
//!     assert_eq!(after.open()?.list()?[0].len_bytes, 4096);
//! }
//! # Ok(())
//! # }
//! ```

mod crash;
pub(crate) mod digest;
mod disk;
mod faults;
mod file;
mod image;
mod inode;
mod plan;
mod rng;
mod state;
mod storage;
mod tamper;

pub use crash::{CrashChoice, Pending};
pub use disk::{CrashPoint, FILE_LEN_MAX, SimDisk};
pub use file::{Keep, SimFile, SimSealed};
pub use plan::CrashPlan;
pub use rng::SimRng;
pub use storage::SimStorage;
pub use tamper::{Lie, Tampered};
