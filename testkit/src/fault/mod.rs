//! Any storage, with calls that fail when a test asks for it.
//!
//! A [`FaultStorage`] forwards every call to the storage that it wraps, until a [`Rule`] of its
//! [`Faults`] says that this is the one: the call then fails, is done in part, waits, or panics. So
//! what is built on a storage meets on real backends what disks do rarely: the Nth call answers
//! EIO, the disk is full from now on, half a batch is written. Without rules nothing changes: the
//! wrapped storage passes the whole of [`conformance`](crate::conformance).
//!
//! What a power cut leaves is [`sim`](crate::sim)'s business. What the operating system does below
//! a backend (interrupted, short and empty transfers) is injected below the trait, by the shim in
//! `testkit/shim`.
//!
//! ```
//! use gannet_storage::*;
//! use gannet_testkit::fault::{Action, Calls, FaultStorage, Injected, Rule};
//!
//! # fn main() -> Result<()> {
//! let storage = FaultStorage::new(MemStorage::new());
//! let faults = storage.faults().clone();
//! let file = storage.create(&FileName::new("a")?, 4096)?;
//!
//! faults.add(Rule::once(Calls::Op(Op::Sync), 2, Action::Eio));
//! file.sync(Durability::Data)?;
//! let error = file.sync(Durability::Data).expect_err("the second one fails");
//! assert_eq!((error.kind(), error.op(), error.place()), (ErrorKind::Io, Op::Sync, "a"));
//! assert!(std::error::Error::source(&error).is_some_and(|cause| cause.is::<Injected>()));
//! file.sync(Durability::Data)?;
//! assert_eq!((faults.seen(Calls::Op(Op::Sync)), faults.injected()), (3, 1));
//! # Ok(())
//! # }
//! ```

mod faults;
mod file;
mod part;
mod queue;
mod rule;
mod storage;

pub use faults::{Faults, Injected};
pub use file::{FaultFile, FaultSealed};
pub use queue::FaultQueue;
pub use rule::{Action, Calls, Rule};
pub use storage::FaultStorage;

#[cfg(not(fuzz))]
pub(crate) use rule::Countdown;
