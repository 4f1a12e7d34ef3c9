//! The storage contract of Gannet: how an engine's bytes reach a disk, and what each call promises.
//!
//! A [`Storage`] is one locked directory with a flat set of files. A file has two lives. First it
//! is *written*: one [`WriteFile`] owns it, any part may change. Then it is *sealed*: the writer is
//! consumed, a [`SealedFile`] takes its place, and its bytes never change again, so that a view of
//! them may be a slice of mapped memory. This page is enough to write a backend; the suite
//! `gannet_testkit::conformance` says whether it is right; [`MemStorage`] is the shortest one.
//!
//! # The contract
//!
//! 1. **Blocks.** File lengths, offsets, transfer lengths and buffer addresses are multiples of
//!    [`BLOCK_SIZE`], or the call fails with [`ErrorKind::Misaligned`] and does nothing. There is
//!    never a hidden copy. [`SealedFile::view`] alone takes any range.
//! 2. **Bounds.** Inside the file, or [`ErrorKind::OutOfBounds`] and nothing is done. A write never
//!    grows a file; [`WriteFile::set_len`] does, with zeroes.
//! 3. **All or error.** Short transfers, interruptions and cancelled links are the backend's
//!    business. After an error each block of the batch is old, new or torn.
//! 4. **Borrow or own.** A call that borrows memory neither returns nor unwinds before the kernel
//!    is done with it, error or not. A read in flight in a [`ReadQueue`] owns its buffer, so the
//!    queue may be dropped or leaked at any time.
//! 5. **Order.** Members of one batch are unordered and must not overlap; "A before B" means two
//!    calls. `&self` writes may run at the same time on different blocks of one file.
//! 6. **Durability.** `Ok` from a write with [`Durability::Data`] covers that batch and every write
//!    of that file whose call had returned before this call began. `Full` covers the metadata too.
//! 7. **Failure.** After a failed durable write or sync, what is on disk is unknown, and a second
//!    sync that succeeds proves nothing. [`FailStop`] turns that rule into a type.
//! 8. **Names.** A created, replaced or removed name is durable only after [`Storage::sync_dir`]; a
//!    file's contents and its name are separate promises. [`publish`] keeps both in order.
//! 9. **Exclusion.** A writer excludes every other handle of its file, in this process. A file with
//!    a live handle or view cannot be opened for writing, replaced or removed: [`ErrorKind::Busy`],
//!    on every platform. [`OpenTable`] keeps count.
//! 10. **Sealed means immutable.** Bytes seen through a view never change while the view lives. A
//!     view's address is congruent to its offset modulo `BLOCK_SIZE`, so that rows aligned in the
//!     file are aligned in memory.
//! 11. **Sorted.** [`Storage::list`] is sorted by name, so that recovery is deterministic.
//! 12. **Same bytes.** A directory written through one backend opens under every other.
//!
//! # What a crash leaves
//!
//! A *kill* of the process loses nothing that a call has returned `Ok` for, but the lock of a dead
//! process is free only when its last in-flight write has ended. A *power cut* keeps what `Data`,
//! `Full`, `seal` and `sync_dir` made durable; of the rest any subset: each 512-byte sector of
//! each pending write old, new or zero, each pending length or name change done or not, in any
//! combination.
//!
//! ```
//! use gannet_storage::*;
//!
//! # fn main() -> Result<()> {
//! let storage = MemStorage::new();
//! let name = FileName::new("example")?;
//! let file = storage.create(&name, 4096)?;
//! let mut block = storage.alloc(BLOCK_SIZE);
//! block[..5].copy_from_slice(b"hello");
//! file.write_batch(&[Write { offset: 0, bytes: &block }], Durability::Data)?;
//! let sealed = storage.seal(file)?; // contents durable
//! storage.sync_dir()?; // name durable
//! assert_eq!(&sealed.view(1..4)?[..], b"ell");
//! # Ok(())
//! # }
//! ```
//!
//! The one file with `unsafe` code is `buf.rs` (aligned memory).

#![deny(unsafe_code)]

mod buf;
mod caps;
mod dir;
mod error;
mod fail_stop;
mod file;
mod mem;
mod name;
mod open_table;
mod publish;
mod queue;
mod request;
mod storage;
mod view;

pub use buf::AlignedBuf;
pub use caps::Caps;
pub use dir::{DirOptions, LOCK_NAME, LockMode};
pub use error::{Error, ErrorKind, Op, Result};
pub use fail_stop::FailStop;
pub use file::{ReadFile, SealedFile, WriteFile};
pub use mem::{MemFile, MemSealed, MemStorage};
pub use name::{FILE_NAME_LEN_MAX, FileName};
pub use open_table::{Hold, OpenTable};
pub use publish::publish;
pub use queue::{Completion, ImmediateQueue, ReadQueue};
pub use request::{Durability, Read, Write, check_len, check_reads, check_span, check_writes};
pub use storage::{FileMeta, Storage};
pub use view::BufView;

/// Offsets, lengths, file lengths and buffer addresses are multiples of this, in every backend.
pub const BLOCK_SIZE: usize = 4096;
