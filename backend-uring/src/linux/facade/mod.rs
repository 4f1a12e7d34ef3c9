//! Sealed files for programs that run on `tokio-uring`.
//!
//! Keeps the rules of reads (checked first, whole or an error) and the file while a read is in
//! flight. Rings, wakers and completions are the runtime's.

mod buf;

use crate::linux::sealed::UringSealed;
use crate::linux::transfer::{CUT_BYTES, Direction, Next, Progress};
use buf::Lent;
use gannet_storage::{AlignedBuf, BLOCK_SIZE, Error, ErrorKind, Op, ReadFile, Result, check_span};
use std::io;
use std::ops::{Deref, Range};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::File;

/// Asynchronous reads of a [`UringSealed`], on the runtime of the crate `tokio-uring`.
///
/// For programs that run on `tokio-uring` already. Others are served better by
/// [`UringSealed::queue`](gannet_storage::SealedFile::queue), which needs no runtime. The engine
/// uses this nowhere, least of all under its log.
///
/// **Maintenance.** `tokio-uring` 0.5.0 is of May 2024, its last commit of July 2025, and its
/// repository says that it has no maintainer. It brings a second, older version of `io-uring`.
/// This type is therefore a feature that is off by default, and would be dropped with it.
///
/// **Runtime.** Single-threaded: this type and its futures stay on the thread of the runtime (they
/// are not `Send`), and its ring is the runtime's own. That ring does not hold the lock of the
/// directory, which reads need not. The file is read as it was opened: past the page cache, if
/// [`Caps::direct_io`](gannet_storage::Caps::direct_io) says so.
///
/// **Dropping a future.** A read is a task of its own. Dropping (or leaking) its future lets the
/// read end in the background; its buffer is freed, and the file no longer in use by it, when it
/// has ended. Where the *runtime* ends first, buffers of reads that are in flight are leaked on
/// purpose: `tokio-uring` 0.5 would free them while the kernel may still write. Its registered
/// ("fixed") buffers, whose soundness is doubted too, are not used.
///
/// ```no_run
/// use gannet_backend_uring::{AsyncReader, UringStorage};
/// use gannet_storage::{AlignedBuf, DirOptions, FileName, Storage};
///
/// # fn main() -> gannet_storage::Result<()> {
/// let storage = UringStorage::open("db".as_ref(), &DirOptions::existing())?;
/// let sealed = storage.open_sealed(&FileName::new("example")?)?;
/// tokio_uring::start(async {
///     let reader = AsyncReader::new(sealed)?;
///     let (read, block) = reader.read(8192, AlignedBuf::zeroed(4096)).await;
///     read?;
///     assert_eq!(block.len(), 4096);
///     assert_eq!(reader.view(100..200).await?.len(), 100);
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncReader(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    /// A descriptor of its own of the same open file.
    file: File,
    sealed: UringSealed,
}

impl AsyncReader {
    /// A reader of `sealed`, which stays in use (`Busy`) while the reader, a view of it, or a read
    /// of it lives.
    ///
    /// # Errors
    /// `Io` where no descriptor is left.
    pub fn new(sealed: UringSealed) -> Result<Self> {
        let file = sealed.as_fd().try_clone_to_owned();
        let file = file.map_err(|source| Error::io(Op::OpenSealed, sealed.name(), source))?;
        Ok(Self(Rc::new(Inner { file: File::from_std(file.into()), sealed })))
    }

    /// The file that is read.
    #[must_use]
    pub fn sealed(&self) -> &UringSealed {
        &self.0.sealed
    }

    /// Fills `buf` from `offset`, or fails; the buffer comes back either way. Nothing happens
    /// before the future is polled. Any number may be in flight.
    ///
    /// # Errors
    /// As [`ReadFile::read_at`]: `Misaligned`, `OutOfBounds` (both before anything is read), `Io`;
    /// then the contents of the buffer are unspecified. If the runtime ends while the future is
    /// waited for elsewhere: `Io`, and the buffer is another one.
    ///
    /// # Panics
    /// Polled outside a `tokio-uring` runtime.
    pub async fn read(&self, offset: u64, buf: AlignedBuf) -> (Result<()>, AlignedBuf) {
        let name = self.0.sealed.name();
        let checked = check_span(Op::Read, name, offset, &buf, self.0.sealed.len_bytes());
        if checked.is_err() || buf.is_empty() {
            return (checked, buf);
        }
        let len = buf.len();
        let told = |source| {
            let range = offset..offset + len as u64;
            Error::io(Op::Read, name, source).at(range)
        };
        let task = tokio_uring::spawn(read_whole(Rc::clone(&self.0), offset, buf));
        match task.await {
            Ok((done, buf)) => (done.map_err(told), buf),
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => (Err(told(io::Error::other(cancelled))), AlignedBuf::zeroed(len)),
            },
        }
    }

    /// Any byte range inside the file, in a buffer that its clones share. Its address is congruent
    /// to `range.start` modulo `BLOCK_SIZE`.
    ///
    /// # Errors
    /// `OutOfBounds` (also for a range that ends before it starts), checked before anything is
    /// allocated; `Io`.
    ///
    /// # Panics
    /// Polled outside a `tokio-uring` runtime.
    pub async fn view(&self, range: Range<u64>) -> Result<AsyncView> {
        let sealed = &self.0.sealed;
        let out = || Error::new(ErrorKind::OutOfBounds, Op::View, sealed.name()).at(range.clone());
        if range.start > range.end || range.end > sealed.len_bytes() {
            return Err(out());
        }
        let block = BLOCK_SIZE as u64;
        let first = range.start - range.start % block;
        let within = |offset: u64| usize::try_from(offset - first).map_err(|_| out());
        let len = within(range.end.next_multiple_of(block))?;
        let within = within(range.start)?..within(range.end)?;
        let (done, buf) = self.read(first, AlignedBuf::zeroed(len)).await;
        done?;
        Ok(AsyncView { buf: Arc::new(buf), within, _keep: sealed.clone() })
    }
}

/// Reads until all is there. Owns what the read needs, so that nobody has to wait for it.
async fn read_whole(
    inner: Rc<Inner>,
    offset: u64,
    buf: AlignedBuf,
) -> (io::Result<()>, AlignedBuf) {
    let len = buf.len();
    let mut progress = Progress::new(Direction::Read, len, inner.sealed.access().align());
    let mut lent = Lent::new(buf);
    loop {
        let done = progress.done();
        let part = lent.slice(done..len.min(done + CUT_BYTES));
        let (answer, part) = inner.file.read_at(part, offset + done as u64).await;
        lent = part.into_inner();
        let next = match answer.map_err(|error| (error.raw_os_error(), error)) {
            Ok(count) => progress.completed(i32::try_from(count).unwrap_or(i32::MAX)),
            Err((Some(errno), _)) => progress.completed(-errno),
            Err((None, error)) => Next::Failed(error),
        };
        match next {
            Next::Again => {}
            Next::Done => return (Ok(()), lent.into_inner()),
            Next::Failed(error) => return (Err(error), lent.into_inner()),
        }
    }
}

/// Bytes of a sealed file, read into a buffer. Keeps the file in use.
#[derive(Clone, Debug)]
pub struct AsyncView {
    buf: Arc<AlignedBuf>,
    within: Range<usize>,
    _keep: UringSealed,
}

impl Deref for AsyncView {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buf[self.within.clone()]
    }
}
