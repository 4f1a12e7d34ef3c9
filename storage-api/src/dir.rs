//! How a backend that lives in a directory is asked to open it.

use std::time::Duration;

/// Name of the lock file in a storage's directory. Not a [`FileName`](crate::FileName) of any file:
/// it is never listed, and its presence marks the directory as a storage.
pub const LOCK_NAME: &str = "lock";

/// What the lock of an opened directory allows beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockMode {
    /// One writer, nobody else. (A mode shared by readers is reserved for later.)
    Exclusive,
}

/// Options of opening a directory, the same for every backend that lives in one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirOptions {
    /// Make the directory (not its parents) where it is missing; else missing is `NotFound`.
    pub create: bool,
    /// What others may do while this storage lives.
    pub lock: LockMode,
    /// How long to wait for a holder of the lock to go away, in steps of 50 ms.
    pub lock_wait: Duration,
}

impl DirOptions {
    /// Opens what is there, makes what is not.
    #[must_use]
    pub const fn create() -> Self {
        Self { create: true, ..Self::existing() }
    }

    /// Opens what is there; a missing directory is `NotFound` and nothing is made.
    #[must_use]
    pub const fn existing() -> Self {
        Self { create: false, lock: LockMode::Exclusive, lock_wait: Duration::from_secs(1) }
    }
}
