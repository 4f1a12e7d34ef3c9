//! The rings of a storage: leased for one batch, made as they are needed, kept for the next.

use crate::linux::ring::{BatchError, Ring, Sync, Transfer};
use crate::linux::setup::Setup;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Requests that one leased ring keeps in flight.
const ENTRIES: u32 = 256;
/// Idle rings that are kept: as many as threads commonly use at once. One takes about 50 KiB.
const IDLE_MAX: usize = 16;

/// A pool of rings. Each holds the descriptor of the directory's lock.
#[derive(Debug)]
pub(crate) struct Rings {
    setup: Setup,
    lock: OwnedFd,
    pool: Mutex<Pool>,
    /// Told when a lease ends while somebody waits.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Ring>,
    /// Rings that are in use or being made.
    leased: usize,
    /// Threads that wait for one of these.
    waiting: usize,
}

impl Rings {
    /// A pool without a ring yet, which holds a descriptor of its own of `lock`.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub(crate) fn new(setup: Setup, lock: BorrowedFd<'_>) -> io::Result<Self> {
        let lock = lock.try_clone_to_owned()?;
        Ok(Self { setup, lock, pool: Mutex::default(), ended: Condvar::new() })
    }

    /// Does a batch on a ring that nobody else uses meanwhile.
    ///
    /// # Errors
    /// As [`Ring::run`]; `BatchError::Ring` where there is no ring and none could be made.
    pub(crate) fn run(
        &self,
        fd: BorrowedFd<'_>,
        transfers: &mut [Transfer<'_>],
        sync: Sync,
    ) -> Result<(), BatchError> {
        let mut ring = self.lease(|| self.make(ENTRIES)).map_err(BatchError::Ring)?;
        let done = ring.run(fd, transfers, sync);
        let is_broken = matches!(done, Err(BatchError::Ring(_)));
        self.give_back((!is_broken).then_some(ring));
        done
    }

    /// A ring that is not of the pool.
    ///
    /// # Errors
    /// What the kernel says, with the remedy.
    pub(crate) fn make(&self, entries: u32) -> io::Result<Ring> {
        self.setup.ring(entries, self.lock.as_fd()).map_err(io::Error::from)
    }

    /// An idle ring, or a new one. Where none can be made (a limit of descriptors or memory), waits
    /// for one in use: a batch that fails stops a database, one that is late does not.
    fn lease(&self, make: impl FnOnce() -> io::Result<Ring>) -> io::Result<Ring> {
        let mut pool = self.pool();
        pool.leased += 1;
        if let Some(ring) = pool.idle.pop() {
            return Ok(ring);
        }
        drop(pool);
        make().or_else(|error| {
            let mut pool = self.end_lease();
            while pool.idle.is_empty() && pool.leased > 0 {
                pool.waiting += 1;
                pool = self.ended.wait(pool).unwrap_or_else(PoisonError::into_inner);
                pool.waiting -= 1;
            }
            let ring = pool.idle.pop().ok_or(error)?;
            pool.leased += 1;
            Ok(ring)
        })
    }

    /// Ends a lease; `None` if its ring must not be used again.
    fn give_back(&self, ring: Option<Ring>) {
        let mut pool = self.end_lease();
        if pool.idle.len() < IDLE_MAX {
            pool.idle.extend(ring);
        }
    }

    /// Counts one lease less. Who waits looks when the guard is dropped.
    fn end_lease(&self) -> MutexGuard<'_, Pool> {
        let mut pool = self.pool();
        pool.leased -= 1;
        if pool.waiting > 0 {
            self.ended.notify_all();
        }
        pool
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Whole between any two statements that hold it.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::hook;
    use crate::linux::ring::Memory;
    use gannet_storage::{AlignedBuf, BLOCK_SIZE};
    use rustix::io::Errno;
    use std::sync::mpsc;

    fn none_left() -> io::Result<Ring> {
        Err(io::Error::other("none left"))
    }

    fn rings() -> Rings {
        let setup = Setup::probe().expect("a ring");
        Rings::new(setup, tempfile::tempfile().expect("a file").as_fd()).expect("a descriptor")
    }

    #[test]
    fn who_finds_no_ring_waits_for_one_in_use_and_fails_when_there_is_none() {
        let rings = rings();
        assert_eq!(rings.lease(none_left).expect_err("none").to_string(), "none left");
        let (one, two) = (rings.lease(|| rings.make(2)), rings.lease(|| rings.make(2)));
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (tell, rings) = (tell.clone(), &rings);
                scope.spawn(move || {
                    let leased = rings.lease(none_left);
                    tell.send(leased.as_ref().err().map(ToString::to_string)).expect("heard");
                    leased
                });
            }
            while rings.pool().waiting < 3 {
                std::thread::yield_now();
            }
            rings.give_back(Some(one.expect("made")));
            assert_eq!(told.recv().expect("one goes on"), None);
            assert_eq!(rings.pool().leased, 2);
            // The second ring breaks, and the first is still in use: nobody fails yet.
            drop(two);
            rings.give_back(None);
            assert_eq!(rings.pool().leased, 1);
            assert!(told.try_recv().is_err());
            // The first breaks as well: nobody is left to wait for.
            rings.give_back(None);
            for _ in 0..2 {
                assert_eq!(told.recv().expect("ends").as_deref(), Some("none left"));
            }
        });
        let pool = rings.pool();
        assert_eq!((pool.leased, pool.waiting), (0, 0));
    }

    #[test]
    fn a_ring_with_requests_left_is_not_used_again_also_if_a_transfer_failed_before() {
        let rings = rings();
        let file = tempfile::tempfile().expect("a file");
        let bytes = vec![1; BLOCK_SIZE];
        let write = |count: usize| {
            let mut writes: Vec<_> =
                (0..count).map(|_| Transfer::new(Memory::From(&bytes), 0, 1)).collect();
            rings.run(file.as_fd(), &mut writes, Sync::None)
        };
        // The kernel takes the first requests and then no more, and one of them fails.
        let mut enters = 0;
        let enters = move || {
            enters += 1;
            if enters == 1 { Ok(()) } else { Err(Errno::AGAIN) }
        };
        let fail = |_, _| -Errno::IO.raw_os_error();
        let done = hook::with_enters(enters, || hook::with_answers(fail, || write(300)));
        assert!(matches!(done, Err(BatchError::Ring(_))), "{done:?}");
        assert_eq!(rings.pool().idle.len(), 0);
        write(300).expect("on another ring");
    }

    #[test]
    fn a_ring_is_used_again_and_not_more_than_sixteen_are_kept() {
        let rings = rings();
        let file = tempfile::tempfile().expect("a file");
        file.set_len(BLOCK_SIZE as u64).expect("resized");
        let mut block = AlignedBuf::zeroed(BLOCK_SIZE);
        for _ in 0..3 {
            let mut read = [Transfer::new(Memory::Into(&mut block), 0, 1)];
            rings.run(file.as_fd(), &mut read, Sync::None).expect("read");
            assert_eq!(rings.pool().idle.len(), 1);
        }
        let leased: Vec<_> = (0..20).map(|_| rings.lease(|| rings.make(1))).collect();
        for ring in leased {
            rings.give_back(Some(ring.expect("made")));
        }
        assert_eq!(rings.pool().idle.len(), IDLE_MAX);
        assert_eq!(rings.pool().leased, 0);
    }
}
