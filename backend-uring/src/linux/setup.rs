//! How rings are configured: what this kernel takes, found by trying, the best first.
//!
//! Every ring holds the descriptor of the directory's lock, so that the writes of a killed process
//! have ended when the lock is free again. A ring is restricted to the three operations used, where
//! the kernel takes that. Rings go from thread to thread (leased for a batch, or moved with a
//! queue), so the flags for rings that one thread owns for life (`SINGLE_ISSUER`, `DEFER_TASKRUN`)
//! are never set.

use crate::linux::refusal::Refusal;
use crate::linux::ring::{Memory, Ring, Sync, Transfer};
use gannet_storage::{AlignedBuf, BLOCK_SIZE};
use io_uring::register::Restriction;
use io_uring::squeue::Flags;
use io_uring::{IoUring, Probe, opcode};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The operations used, with their names for people.
const OPERATIONS: [(u8, &str); 3] = [
    (opcode::Read::CODE, "IORING_OP_READ"),
    (opcode::Write::CODE, "IORING_OP_WRITE"),
    (opcode::Fsync::CODE, "IORING_OP_FSYNC"),
];

/// What rings are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    /// Completions do not interrupt the thread that waits for them. Linux 5.19.
    pub(crate) coop_taskrun: bool,
    /// Nothing but [`OPERATIONS`] is taken. Linux 5.10.
    pub(crate) restricted: bool,
}

impl Setup {
    /// The best that works here, seen to read and to sync a block of memory. Needs no directory, so
    /// that none is made where there is no ring.
    ///
    /// # Errors
    /// Why there is no ring, with the remedy.
    pub(crate) fn probe() -> Result<Self, Refusal> {
        let file = memory_file().map_err(Refusal::of_request)?;
        let mut last = None;
        for (coop_taskrun, restricted) in
            [(true, true), (true, false), (false, true), (false, false)]
        {
            let setup = Self { coop_taskrun, restricted };
            match setup.try_out(file.as_fd()) {
                Ok(()) => return Ok(setup),
                // A kernel that does not know a flag, or a filter that does not know a call.
                Err(refusal) if refusal.may_be_a_flag() => last = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        }
        Err(last.expect("four were tried"))
    }

    /// A ring for up to `entries` requests in flight.
    ///
    /// # Errors
    /// What the kernel says, with the remedy.
    pub(crate) fn ring(self, entries: u32, lock: BorrowedFd<'_>) -> Result<Ring, Refusal> {
        let mut builder = IoUring::builder();
        // A child that another thread forks must not share the queues.
        builder.dontfork();
        if self.coop_taskrun {
            builder.setup_coop_taskrun();
        }
        if self.restricted {
            builder.setup_r_disabled();
        }
        let io = builder.build(entries).map_err(Refusal::of_setup)?;
        self.register(&io, lock).map_err(Refusal::of_register)?;
        Ok(Ring::new(io))
    }

    fn register(self, io: &IoUring, lock: BorrowedFd<'_>) -> io::Result<()> {
        let submitter = io.submitter();
        submitter.register_files(&[lock.as_raw_fd()])?;
        if self.restricted {
            let flags = Restriction::sqe_flags_allowed(Flags::IO_DRAIN.bits());
            let mut restrictions = Vec::from(OPERATIONS.map(|(code, _)| Restriction::sqe_op(code)));
            restrictions.push(flags);
            submitter.register_restrictions(&mut restrictions)?;
            submitter.register_enable_rings()?;
        }
        Ok(())
    }

    fn try_out(self, file: BorrowedFd<'_>) -> Result<(), Refusal> {
        // The kernel's list of operations is asked of a ring of its own: a restricted one is not
        // allowed to ask.
        let io: IoUring = IoUring::builder().dontfork().build(1).map_err(Refusal::of_setup)?;
        let mut probe = Probe::new();
        io.submitter().register_probe(&mut probe).map_err(Refusal::of_register)?;
        drop(io);
        for (code, name) in OPERATIONS {
            if !probe.is_supported(code) {
                return Err(Refusal::MissingOperation(name));
            }
        }
        let mut ring = self.ring(2, file)?;
        let mut block = AlignedBuf::zeroed(BLOCK_SIZE);
        let mut read = [Transfer::new(Memory::Into(&mut block), 0, 1)];
        ring.run(file, &mut read, Sync::None)
            .and_then(|()| ring.run(file, &mut [], Sync::Data))
            .map_err(|error| Refusal::of_request(error.into()))
    }

    /// The flags, as the kernel's manual spells them.
    pub(crate) fn flags(self) -> String {
        let flags =
            [("COOP_TASKRUN", self.coop_taskrun), ("R_DISABLED until restricted", self.restricted)];
        let set: Vec<_> = flags.into_iter().filter_map(|(name, set)| set.then_some(name)).collect();
        if set.is_empty() { "none".to_owned() } else { set.join(", ") }
    }
}

/// A block in memory, as a file.
fn memory_file() -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("gannet-probe", MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&file, BLOCK_SIZE as u64)?;
    Ok(file)
}

/// Whether the kernel or a filter may refuse only what was asked beside the ring itself.
pub(crate) fn is_about_arguments(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::ACCESS | Errno::OPNOTSUPP))
}
