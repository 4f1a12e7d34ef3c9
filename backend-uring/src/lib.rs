//! Gannet storage on Linux `io_uring`: many reads in flight, a batch in one go, a durable write as
//! one request, and no page cache in between where the file system lets it be bypassed.
//!
//! `UringStorage` keeps the contract of [`gannet_storage`]. Its directory is that of the backend
//! `std`: same names, same lock, same bytes, and each opens what the other wrote. Files are made,
//! opened, sealed, resized, renamed and removed by `std`; transfers and syncs of open files go
//! through rings. On other systems than Linux this crate is empty, but for
//! `unavailable()`, which says so.
//!
//! # When it wins
//!
//! With many reads in flight on data that is not cached (a queue of some depth, a batch of many
//! blocks), and with large sequential writes. It does not win at depth 1, on data that is warm in
//! memory (direct reads go to the device each time: use the backend `mmap`, or `std`), and hardly
//! on single durable appends, where the device takes the time. Figures, and how they were taken,
//! are in `docs/BENCHMARKS.md`.
//!
//! # What is asked of the kernel
//!
//! All of it is tried out when a storage is opened; `Caps::details` says what came of it.
//!
//! | what | since Linux | without it |
//! | --- | --- | --- |
//! | a ring that can read, write and sync | 5.6 | `Unsupported`, with the cause |
//! | a registered file: the directory's lock, in every ring | 5.1 | `Unsupported` |
//! | a ring restricted to these three operations | 5.10 | any operation is taken |
//! | `COOP_TASKRUN`: completions do not interrupt the thread | 5.19 | they do |
//! | `statx` tells the alignment for direct I/O | 6.1 | the device's block, else 4,096 |
//! | direct I/O | any; the file system decides | the page cache, and `Caps` says why |
//!
//! Container runtimes and administrators often forbid rings (seccomp, the sysctl
//! `kernel.io_uring_disabled`). `UringStorage::open` is then `Unsupported` before anything is made,
//! and its source names the cause and the remedy.
//!
//! # Lock
//!
//! The kernel works on after a process is killed. Every ring therefore holds the descriptor of the
//! directory's lock, so that the next owner is let in when the last write has ended. The kernel
//! takes a ring down a moment after it was dropped; until then the lock *file* is open, though not
//! locked: an unmount just after the drop of a storage may find the file system busy.
//!
//! # Memory and threads
//!
//! - A batch borrows its memory and returns, or fails, only when the kernel is done with it. Should
//!   the kernel neither complete requests nor let anybody wait for them, the process is aborted:
//!   it can neither return nor unwind. No way to that is known but a filter that forbids
//!   `io_uring_enter` while requests are in flight.
//! - A queue owns its buffers. Dropping it waits for its reads; leaking it leaks them. It may move
//!   between threads, and outlive the thread that filled it.
//! - A batch leases a ring; rings are made as threads need them and up to 16 are kept. Where none
//!   can be made (descriptors, memory) a batch waits for one in use. A queue has a ring of its own
//!   and then fails, with cause and remedy, or has less depth where memory is short: most kernels
//!   count rings, tens of KiB each, against the memlock limit (`ulimit -l`) of the user.
//! - Neither rings nor a storage survive a `fork` in the child: rings are not mapped there.
//! - Buffers and data files are not registered with the kernel: it measured no better.
//!
//! The feature `tokio` adds `AsyncReader`, for programs that run on `tokio-uring` already. The
//! files with `unsafe` code are `linux/ring.rs` and, of that feature, `linux/facade/buf.rs`.

#![deny(unsafe_code)]

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::*;

/// That there is no `io_uring` on this system: the error of whoever asks for this backend here.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn unavailable() -> gannet_storage::Error {
    use gannet_storage::{Error, ErrorKind, Op};
    Error::new(ErrorKind::Unsupported, Op::OpenStorage, "with io_uring")
        .because("io_uring is a part of Linux; choose another backend")
}
