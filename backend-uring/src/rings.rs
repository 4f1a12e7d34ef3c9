//! The rings of a storage: leased for one batch, made as they are needed, kept for the next.

use crate::ring::{BatchError, Ring, Sync, Transfer};
use crate::setup::Setup;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// Requests that one leased ring keeps in flight.
const ENTRIES: u32 = 256;
/// Idle rings that are kept: as many as threads commonly use at once. One takes about 50 KiB.
const IDLE_MAX: usize = 16;

/// A pool of rings. Each holds the descriptor of the directory's lock.
#[derive(Debug)]
pub(crate) struct Rings {
    setup: Setup,
    lock: OwnedFd,
    idle: Mutex<Vec<Ring>>,
}

impl Rings {
    /// A pool without a ring yet, which holds a descriptor of its own of `lock`.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub(crate) fn new(setup: Setup, lock: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { setup, lock: lock.try_clone_to_owned()?, idle: Mutex::default() })
    }

    /// Does a batch on a ring that nobody else uses meanwhile.
    ///
    /// # Errors
    /// As [`Ring::run`]; `BatchError::Ring` where a ring could not be made.
    pub(crate) fn run(
        &self,
        fd: BorrowedFd<'_>,
        transfers: &mut [Transfer<'_>],
        sync: Sync,
    ) -> Result<(), BatchError> {
        let idle = self.idle().pop();
        let mut ring = match idle {
            Some(ring) => ring,
            None => self.make(ENTRIES).map_err(BatchError::Ring)?,
        };
        let done = ring.run(fd, transfers, sync);
        if !matches!(done, Err(BatchError::Ring(_))) {
            let mut idle = self.idle();
            if idle.len() < IDLE_MAX {
                idle.push(ring);
            }
        }
        done
    }

    /// A ring that is not of the pool.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn make(&self, entries: u32) -> io::Result<Ring> {
        self.setup.ring(entries, self.lock.as_fd())
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Ring>> {
        // Whole between any two statements that hold it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
