//! Locks, condition variables, atomics and threads of the commit path and of what works beside it.
//!
//! Keeps one place where they come from, so that a scheduler which tries orders of execution can
//! take their place (`--cfg shuttle`, `tests/interleavings`). Loops that only share work among
//! threads do not need to be tried and take theirs from where everybody does.

#[cfg(shuttle)]
mod shuttled;
mod swap;

pub(crate) use swap::Swap;

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard};
#[cfg(not(shuttle))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(not(shuttle))]
pub(crate) use std::thread::{Builder, JoinHandle};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::RwLockReadGuard;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(shuttle)]
pub(crate) use shuttle::thread::{Builder, JoinHandle};
#[cfg(shuttle)]
pub(crate) use shuttled::{Condvar, Mutex, MutexGuard, RwLock};
