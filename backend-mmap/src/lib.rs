//! Gannet storage with views that copy nothing: sealed files are memory maps.
//!
//! [`MmapStorage`] is the directory of [`gannet_backend_std`], with its lock, names, writes, reads
//! and queues, and differs in one thing: [`view`](gannet_storage::SealedFile::view) of a sealed
//! file gives a slice of a read-only map, shared with every other user of the page cache, where the
//! std backend reads into a buffer. A database opens at once, however large it is, and pages of it
//! come into memory as they are looked at. The same directory opens under every other backend.
//!
//! # SIGBUS
//!
//! **An input or output error in a map is no error value: it is a signal, SIGBUS on Unix (an
//! exception on Windows), and the process dies.** Looking at a byte of a view can end the process
//! when
//!
//! - the device cannot read the page: a bad sector, a disk pulled out, a network file system that
//!   does not answer;
//! - another program has made the file shorter, against the promise of [`MmapStorage::open`].
//!
//! No library can turn that into an error without taking over the program's signals. It costs
//! availability, not data: the log and every write go through the descriptor, so that a database
//! whose process died so opens as after any kill; reading the damaged file through the descriptor
//! (`read_batch`, or another backend) then says which bytes cannot be read.
//!
//! What this crate does against it: the length of a file is compared with what it was at opening
//! when its map is made, and a difference is an error; an empty file is never mapped; nothing that
//! has a map, a view or a queue can be written, cut, replaced or removed through this storage
//! (`Busy`, clause 9 of the contract). Bytes are never written through a map and `msync` is never
//! called: what makes bytes durable is the result of a sync of the descriptor, for `msync` reports
//! success even over pages that are gone.
//!
//! # When to use it
//!
//! For data that is read mostly, fits into memory by and large, and lies on a local disk one
//! trusts. Choose another backend
//!
//! - for data much larger than memory, or read cold: each page that is not in memory stops the
//!   thread that looks at it, one page at a time; the queues of the std and `io_uring` backends
//!   keep many reads in flight (and this one's queue is that of std);
//! - under a limit of resident memory: mapped pages count as the process's own in most tools, and
//!   in some containers, though the kernel can drop them at any time;
//! - for media that may fail or files from strangers, where an error is better than a signal;
//! - on network file systems, where also another machine may change the file.
//!
//! # What the platforms do
//!
//! | | Linux | other Unix | Windows |
//! | --- | --- | --- | --- |
//! | map | shared, read-only | shared, read-only | read-only section |
//! | `prefetch` | `MADV_WILLNEED` | `MADV_WILLNEED` | nothing |
//! | `discard_cache` | `MADV_DONTNEED`, then as std | `MADV_DONTNEED`, then as std | as std |
//!
//! All else, the syncs above all, is in the table of [`gannet_backend_std`]. `discard_cache` drops
//! what the cache holds of a file for all handles of this storage; a page that another thread looks
//! at through a view at that very moment may come back with it.
//!
//! # Why there is no advice
//!
//! Nothing is advised about a map as a whole ([`Caps::details`](gannet_storage::Caps) says so),
//! because no advice measured better in all. Rates with a file of 1 GiB, as ratios to no advice:
//! medians of six rounds on ext4, Linux 6.18, with a read-ahead of 8 MiB. The last column differs
//! by less than the rounds did (0.7 to 1.4).
//!
//! | | sequential, cold | random 4 KiB, cold | same, cached, first look | same, mapped |
//! | --- | --- | --- | --- | --- |
//! | `MADV_RANDOM` | 0.03 | 0.9 | 0.25 | 0.9 |
//! | `MADV_HUGEPAGE` | 0.5 | 2.0, by reading 2 MiB each | 1.0 | 1.1 |
//! | `MADV_SEQUENTIAL` | 0.75 | 0.9 | 0.8 | 0.8 |
//! | `MADV_POPULATE_READ` | 1.4, but waits for the whole file | - | - | 0.9 |
//!
//! Without advice this kernel had mapped 96 % of the file by pages of 2 MiB after one sequential
//! look; after `MADV_RANDOM`, nothing. Random 4 KiB views of mapped data were read at 2.3 times the
//! rate of reads through the descriptor.
//!
//! ```
//! use gannet_backend_mmap::MmapStorage;
//! use gannet_storage::{BLOCK_SIZE, DirOptions, FileName, SealedFile, Storage};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let parent = tempfile::tempdir()?;
//! # let dir = parent.path().join("db");
//! let storage = MmapStorage::open(&dir, &DirOptions::create())?;
//! let file = storage.create(&FileName::new("example")?, 2 * BLOCK_SIZE as u64)?;
//! let sealed = storage.seal(file)?;
//! let whole = sealed.view(0..8192)?;
//! let part = sealed.view(100..200)?;
//! assert_eq!(part.as_ptr(), whole[100..].as_ptr()); // no copy
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

mod map;
mod sealed;
mod storage;

pub use sealed::{MapView, MmapSealed};
pub use storage::MmapStorage;
