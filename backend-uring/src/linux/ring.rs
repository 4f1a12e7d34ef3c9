//! A ring of the kernel, and whose memory it may touch: all unsafe code of the backend's own path.
//!
//! Keeps the two sound shapes of asynchronous transfers. [`Ring::run`] borrows memory and comes
//! back when the kernel is done with it. [`Pipeline`] owns the memory of its reads, and gives a
//! buffer back, or frees it, only after the completion of its read was counted. How a ring is
//! configured is left to `setup`, what an answer means to `transfer`.
//!
//! A wait of the kernel may come back early (a signal), so nothing is believed but the number of
//! completions taken from the queue. If the kernel refuses to say whether memory is free although
//! it has requests, [`Ring::run`] aborts the process, for it can neither return nor wait, and a
//! [`Pipeline`] leaks its buffers.

#![expect(unsafe_code, reason = "the kernel writes into memory by address")]

#[cfg(test)]
use crate::linux::hook;
use crate::linux::transfer::{CUT_BYTES, Direction, Next, Passing, Progress};
use gannet_storage::AlignedBuf;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Tries to hand requests over before a kernel that is short of memory is given up.
const REFUSALS_MAX: u32 = 1000;

/// Requests that are handed over in one go. Devices begin with the first while the rest is
/// prepared: measured on a batch of 32 cold reads, in docs/BENCHMARKS.md.
const SLICE: usize = 8;

/// `user_data` of a sync; that of a transfer is its index.
const SYNC: u64 = u64::MAX;

/// One ring, used by one thread at a time.
pub(crate) struct Ring {
    io: IoUring,
    /// Requests in the submission queue that the kernel has not taken yet.
    queued: usize,
    /// Requests that the kernel has taken and not completed: their memory is the kernel's.
    taken: usize,
}

/// Memory of one transfer, lent for as long as the transfer takes.
pub(crate) enum Memory<'a> {
    /// Filled from the file.
    Into(&'a mut [u8]),
    /// Written to the file.
    From(&'a [u8]),
}

/// One transfer of a batch.
pub(crate) struct Transfer<'a> {
    memory: Memory<'a>,
    offset: u64,
    progress: Progress,
    error: Option<io::Error>,
}

/// What a batch does beside its transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Nothing.
    None,
    /// Each write reaches the media before it completes.
    EachWrite,
    /// After all writes, contents and what is needed to read them: for the whole file.
    Data,
    /// As `Data`, and all metadata.
    Full,
}

/// Why a batch failed.
#[derive(Debug)]
pub(crate) enum BatchError {
    /// The ring cannot be used any more; nothing of it is in the kernel.
    Ring(io::Error),
    /// The transfer of that index.
    Transfer(usize, io::Error),
    /// The sync at the end.
    Sync(io::Error),
}

impl From<BatchError> for io::Error {
    fn from(error: BatchError) -> Self {
        let (BatchError::Ring(error) | BatchError::Transfer(_, error) | BatchError::Sync(error)) =
            error;
        error
    }
}

impl<'a> Transfer<'a> {
    /// Not begun; a rest of it begins at multiples of `align` bytes.
    pub(crate) fn new(memory: Memory<'a>, offset: u64, align: usize) -> Self {
        let (direction, len) = match &memory {
            Memory::Into(buf) => (Direction::Read, buf.len()),
            Memory::From(bytes) => (Direction::Write, bytes.len()),
        };
        Self { memory, offset, progress: Progress::new(direction, len, align), error: None }
    }

    /// The request for what is left of it.
    fn entry(&mut self, fd: BorrowedFd<'_>, sync: Sync) -> Entry {
        let done = self.progress.done();
        let offset = self.offset + done as u64;
        match &mut self.memory {
            Memory::Into(buf) => read_entry(fd, &mut buf[done..], offset),
            Memory::From(bytes) => {
                let rest = &bytes[done..];
                let flags = if sync == Sync::EachWrite { RWF_DSYNC } else { 0 };
                opcode::Write::new(Fd(fd.as_raw_fd()), rest.as_ptr(), cut_len(rest))
                    .offset(offset)
                    .rw_flags(flags)
                    .build()
            }
        }
    }
}

/// The kernel's number for "this write reaches the media before it completes".
const RWF_DSYNC: i32 = rustix::io::ReadWriteFlags::DSYNC.bits().cast_signed();

fn read_entry(fd: BorrowedFd<'_>, rest: &mut [u8], offset: u64) -> Entry {
    let len = cut_len(rest);
    opcode::Read::new(Fd(fd.as_raw_fd()), rest.as_mut_ptr(), len).offset(offset).build()
}

fn cut_len(rest: &[u8]) -> u32 {
    u32::try_from(rest.len()).expect("a transfer is at most CUT_BYTES")
}

/// Ends the process if it is dropped: while the kernel has borrowed memory nothing may unwind.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

impl Ring {
    pub(crate) fn new(io: IoUring) -> Self {
        Self { io, queued: 0, taken: 0 }
    }

    /// Requests that may be in flight.
    fn capacity(&self) -> usize {
        self.io.params().sq_entries() as usize
    }

    fn in_flight(&self) -> usize {
        self.queued + self.taken
    }

    /// Does every transfer and then the sync, or says what failed first, and comes back when the
    /// kernel has no request of this ring any more. After a failure no further transfer is begun.
    ///
    /// # Errors
    /// [`BatchError`]; `Ring` before any other, for it says that this ring has to be dropped.
    ///
    /// # Panics
    /// If something of an earlier batch is left in this ring. Once it has begun, a panic or a
    /// kernel that stops answering aborts the process: the caller's memory may still be written.
    pub(crate) fn run(
        &mut self,
        fd: BorrowedFd<'_>,
        transfers: &mut [Transfer<'_>],
        sync: Sync,
    ) -> Result<(), BatchError> {
        assert_eq!(self.in_flight(), 0, "{self:?} has requests of an earlier batch");
        let guard = AbortOnUnwind;
        let done = self.run_all(fd, transfers, sync);
        if self.taken > 0 {
            drop(guard); // Aborts: see above.
        } else {
            std::mem::forget(guard);
        }
        if matches!(done, Err(BatchError::Ring(_))) {
            // Requests that were never handed over may be left, which name the caller's memory.
            return done;
        }
        let failed = transfers.iter_mut().enumerate().find_map(|(index, transfer)| {
            Some(BatchError::Transfer(index, transfer.error.take()?))
        });
        failed.map_or(done, Err)
    }

    fn run_all(
        &mut self,
        fd: BorrowedFd<'_>,
        transfers: &mut [Transfer<'_>],
        sync: Sync,
    ) -> Result<(), BatchError> {
        let mut sync_due = matches!(sync, Sync::Data | Sync::Full);
        let mut sync_passing = Passing::default();
        let mut sync_error = None;
        let mut begun = 0;
        let mut again: Vec<usize> = Vec::new();
        let mut failed = false;
        loop {
            while !failed && self.in_flight() < self.capacity() {
                let index = again.pop().unwrap_or_else(|| {
                    begun += 1;
                    begun - 1
                });
                let Some(transfer) = transfers.get_mut(index) else {
                    begun = transfers.len();
                    break;
                };
                let entry = transfer.entry(fd, sync).user_data(index as u64);
                // SAFETY: the transfer's memory is borrowed for longer than `run` takes, mutably
                // where the kernel writes; `run` returns only when `taken` is 0 and aborts the
                // process where that cannot be had or a panic would unwind past it. ASan and the
                // tests that shorten and repeat completions would notice a write that comes late.
                unsafe { self.push(&entry) };
                if self.queued == SLICE {
                    // What is refused here is told by the wait below.
                    let _ = self.enter(0);
                }
            }
            let all_begun = begun == transfers.len() && again.is_empty();
            if sync_due && !failed && all_begun && self.in_flight() < self.capacity() {
                let flags =
                    if sync == Sync::Data { FsyncFlags::DATASYNC } else { FsyncFlags::empty() };
                // Draining: it starts when everything before it has completed, well or not.
                let entry = opcode::Fsync::new(Fd(fd.as_raw_fd())).flags(flags).build();
                let entry = entry.flags(Flags::IO_DRAIN).user_data(SYNC);
                // SAFETY: a sync has no memory.
                unsafe { self.push(&entry) };
                sync_due = false;
            }
            if self.in_flight() == 0 {
                break;
            }
            let want = if all_begun || failed { self.in_flight() } else { 1 };
            let (user_data, answer) = self.wait(want).map_err(BatchError::Ring)?;
            if user_data == SYNC {
                if sync_passing.is_worth_another(answer) {
                    sync_due = true;
                } else if answer != 0 {
                    failed = true;
                    sync_error = Some(io::Error::from_raw_os_error(-answer));
                }
                continue;
            }
            let index = usize::try_from(user_data).expect("an index of this batch");
            let transfer = &mut transfers[index];
            match transfer.progress.completed(answer) {
                Next::Done => {}
                Next::Again => {
                    again.push(index);
                    // A sync that is in flight does not cover the rest.
                    sync_due = matches!(sync, Sync::Data | Sync::Full);
                }
                Next::Failed(error) => {
                    transfer.error = Some(error);
                    failed = true;
                }
            }
        }
        sync_error.map_or(Ok(()), |error| Err(BatchError::Sync(error)))
    }

    /// Puts a request into the submission queue.
    ///
    /// # Panics
    /// If more than `capacity` are in flight.
    ///
    /// # Safety
    /// The memory it names stays valid, and is touched by nobody but the kernel (for a write: is
    /// changed by nobody), until its completion has been taken by [`pop`](Self::pop), or until this
    /// ring is dropped while `taken` is 0.
    unsafe fn push(&mut self, entry: &Entry) {
        assert!(self.in_flight() < self.capacity(), "{self:?} is full");
        // SAFETY: passed on to the caller, word for word.
        let pushed = unsafe { self.io.submission().push(entry) };
        pushed.expect("the submission queue holds all that are in flight");
        self.queued += 1;
    }

    /// Takes one completion from the queue.
    fn pop(&mut self) -> Option<(u64, i32)> {
        let completion = self.io.completion().next()?;
        self.taken -= 1;
        let answer = completion.result();
        #[cfg(test)]
        let answer = hook::changed(completion.user_data(), answer);
        Some((completion.user_data(), answer))
    }

    /// Hands over what is queued and waits for `want` completions, or for a signal.
    fn enter(&mut self, want: usize) -> io::Result<()> {
        #[cfg(test)]
        hook::entering()?;
        let taken = self.io.submit_and_wait(want)?;
        self.queued -= taken;
        self.taken += taken;
        Ok(())
    }

    /// Waits for a completion; asks the kernel to wait for up to `want`, so that a batch needs one
    /// call. Something must be in flight.
    ///
    /// # Errors
    /// What the kernel says. If `taken` is then 0 the ring can be dropped.
    fn wait(&mut self, want: usize) -> io::Result<(u64, i32)> {
        let mut refusals = 0;
        loop {
            if (self.queued == 0 || want == 1)
                && let Some(completion) = self.pop()
            {
                return Ok(completion);
            }
            assert!(self.in_flight() > 0, "waiting for nothing on {self:?}");
            let Err(error) = self.enter(want) else {
                if let Some(completion) = self.pop() {
                    return Ok(completion);
                }
                continue;
            };
            let errno = Errno::from_io_error(&error);
            if errno == Some(Errno::INTR) {
                continue;
            }
            let is_short = matches!(errno, Some(Errno::AGAIN | Errno::BUSY | Errno::NOMEM));
            if !is_short {
                return Err(error);
            }
            if let Some(completion) = self.pop() {
                return Ok(completion);
            }
            if self.taken > 0 {
                self.wait_for_taken()?;
            } else {
                refusals += 1;
                if refusals > REFUSALS_MAX {
                    return Err(error);
                }
                std::thread::yield_now();
            }
        }
    }

    /// Waits for a completion of what the kernel has, without handing over more.
    fn wait_for_taken(&mut self) -> io::Result<()> {
        const GETEVENTS: u32 = 1;
        // SAFETY: no argument is a pointer; the flags ask for completions only, and no memory of a
        // request is touched by the call itself.
        let waited = unsafe { self.io.submitter().enter::<()>(0, 1, GETEVENTS, None) };
        match waited {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INTR) => Ok(()),
            waited => waited.map(drop),
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queued, taken, .. } = self;
        f.debug_struct("Ring")
            .field("queued", queued)
            .field("taken", taken)
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// A read in flight, with the memory that the kernel fills.
#[derive(Debug)]
struct InFlight {
    tag: u64,
    offset: u64,
    buf: AlignedBuf,
    progress: Progress,
}

/// Reads in flight, which own their buffers.
#[derive(Debug)]
pub(crate) struct Pipeline {
    ring: Ring,
    /// At the index that is the `user_data` of its request.
    slots: Vec<Option<InFlight>>,
    /// Indices of empty slots.
    free: Vec<usize>,
    align: usize,
    /// The ring's last words: what is in flight will not be told any more.
    broken: Option<io::Error>,
}

/// A read that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) tag: u64,
    pub(crate) offset: u64,
    pub(crate) buf: AlignedBuf,
    /// Whether `buf` is filled.
    pub(crate) result: io::Result<()>,
}

impl Pipeline {
    /// Of up to `depth` reads, or as many as the ring takes.
    pub(crate) fn new(ring: Ring, depth: usize, align: usize) -> Self {
        let depth = depth.min(ring.capacity());
        let slots = (0..depth).map(|_| None).collect();
        Self { ring, slots, free: (0..depth).rev().collect(), align, broken: None }
    }

    /// Begins to fill `buf` from `offset`; one longer than a request may be, piece after piece.
    ///
    /// # Errors
    /// The buffer, when as many as may be are in flight.
    pub(crate) fn start(
        &mut self,
        fd: BorrowedFd<'_>,
        tag: u64,
        offset: u64,
        buf: AlignedBuf,
    ) -> Result<(), AlignedBuf> {
        let Some(index) = self.free.pop() else { return Err(buf) };
        let progress = Progress::new(Direction::Read, buf.len(), self.align);
        self.slots[index] = Some(InFlight { tag, offset, buf, progress });
        self.ask(fd, index);
        Ok(())
    }

    /// Hands the rest of the read at `index` to the kernel.
    fn ask(&mut self, fd: BorrowedFd<'_>, index: usize) {
        if self.broken.is_some() {
            return;
        }
        let slot = self.slots[index].as_mut().expect("a read that has not ended");
        let done = slot.progress.done();
        let rest = &mut slot.buf[done..];
        let rest_len = rest.len().min(CUT_BYTES);
        let entry = read_entry(fd, &mut rest[..rest_len], slot.offset + done as u64);
        // SAFETY: the buffer is on the heap and owned by the slot, which gives it up only in
        // `finish`, after the completion of this request was popped. Dropping the pipeline waits
        // for all completions first, or leaks the buffers; leaking it leaks them. A buffer freed
        // early shows under ASan in the drop tests.
        unsafe { self.ring.push(&entry.user_data(index as u64)) };
        // At once: devices answer batches in one go and then wait for the next (measured, in
        // docs/BENCHMARKS.md). What is refused here is handed over, or told, by `finish`.
        let _ = self.ring.enter(0);
    }

    /// Waits for any read. `None` when none is in flight.
    pub(crate) fn finish(&mut self, fd: BorrowedFd<'_>) -> Option<Finished> {
        while self.free.len() < self.slots.len() {
            if self.broken.is_some() {
                return self.give_up();
            }
            match self.ring.wait(1) {
                Ok((index, answer)) => {
                    if let Some(ended) = self.completed(fd, index, answer) {
                        return Some(ended);
                    }
                }
                Err(error) => self.broken = Some(error),
            }
        }
        None
    }

    fn completed(&mut self, fd: BorrowedFd<'_>, index: u64, answer: i32) -> Option<Finished> {
        let index = usize::try_from(index).expect("an index of a slot");
        let slot = self.slots[index].as_mut().expect("a read that has not ended");
        let result = match slot.progress.completed(answer) {
            Next::Again => {
                self.ask(fd, index);
                return None;
            }
            Next::Done => Ok(()),
            Next::Failed(error) => Err(error),
        };
        let ended = self.slots[index].take().expect("it was just there");
        let InFlight { tag, offset, buf, .. } = ended;
        self.free.push(index);
        Some(Finished { tag, offset, buf, result })
    }

    /// Ends a read of a broken ring. Its buffer may be the kernel's for ever, so it is leaked, and
    /// another of the same length comes back.
    fn give_up(&mut self) -> Option<Finished> {
        let index = self.slots.iter().position(Option::is_some)?;
        let InFlight { tag, offset, buf: lost, .. } = self.slots[index].take()?;
        self.free.push(index);
        let buf = AlignedBuf::zeroed(lost.len());
        std::mem::forget(lost);
        let told = self.broken.as_ref().expect("given up because it is broken");
        let result = Err(io::Error::new(told.kind(), told.to_string()));
        Some(Finished { tag, offset, buf, result })
    }
}

impl Drop for Pipeline {
    /// Waits for what the kernel has. Reads that were never handed over are forgotten with the
    /// ring.
    fn drop(&mut self) {
        while self.broken.is_none() && self.ring.taken > 0 {
            if self.ring.pop().is_none()
                && let Err(error) = self.ring.wait_for_taken()
            {
                self.broken = Some(error);
            }
        }
        if self.ring.taken > 0 {
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

#[cfg(test)]
mod tests;
