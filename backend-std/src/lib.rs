//! Gannet storage on portable positional file I/O: a directory, its lock, and plain files in it.
//!
//! [`StdStorage`] keeps the contract of [`gannet_storage`] with what every operating system offers:
//! reads and writes at an offset through the page cache, `fsync`, `rename`. It maps no memory and
//! has no unsafe code. Batches are done one transfer after the other; a view is one read into a
//! buffer; a queue, and nothing else, has threads: up to eight, each with one read at a time (see
//! [`StdQueue`]). Backends that do better are other crates.
//!
//! # The directory
//!
//! [`StdStorage::open`] takes an exclusive lock on the file `lock` in the directory. The lock is
//! advisory: it keeps other storages out, not other programs, and nobody else may change files
//! there. A directory that has contents but no `lock` is refused as foreign and nothing is made in
//! it; so a database wants a directory of its own, not the root of a mount (`lost+found`). The path
//! is resolved once, when opening: a later change of the working directory or of a symbolic link
//! on the way changes nothing. A file that is a symbolic link, or anything else but a regular file,
//! is never listed, read or written.
//!
//! A directory whose making was killed at any instant opens as an empty storage. On a read-only
//! file system a storage opens where its `lock` exists; what writes is then `ReadOnly` or `Denied`.
//!
//! # What the platforms promise
//!
//! | | Linux, FreeBSD | macOS | other Unix | Windows |
//! | --- | --- | --- | --- | --- |
//! | `Durability::Data` | `fdatasync` | `F_FULLFSYNC` | `fdatasync` | `FlushFileBuffers` |
//! | `Durability::Full`, `seal` | `fsync` | `F_FULLFSYNC` | `fsync` | `FlushFileBuffers` |
//! | `sync_dir` | `fsync` of the directory | `F_FULLFSYNC` of it | `fsync` of it | nothing |
//! | `discard_cache` | sync, `POSIX_FADV_DONTNEED` | sync, `F_NOCACHE` | sync | nothing |
//! | `prefetch` | `POSIX_FADV_WILLNEED` | nothing | nothing | nothing |
//! | lock | `flock` | `flock` | `flock` | `LockFileEx` |
//! | symbolic links | `O_NOFOLLOW` | `O_NOFOLLOW` | `O_NOFOLLOW` | not followed |
//!
//! - **Media.** A sync is as good as the device that answers it. Devices that lie about their
//!   write cache lose data at a power cut, and no program can notice.
//! - **Windows names.** Windows has no call that makes a directory durable. NTFS journals names, so
//!   a crash leaves each change whole or undone, but the last seconds of changes may be undone by a
//!   power cut although [`sync_dir`](gannet_storage::Storage::sync_dir) returned. A kill loses
//!   nothing.
//! - **Caches.** `POSIX_FADV_DONTNEED` is advice. Linux drops the pages that are clean and that
//!   nobody uses, which after the sync are all of them unless another program maps, locks or reads
//!   the file just then; a page that stays is served from memory. File systems that live in memory
//!   (tmpfs) have nothing to drop. `F_NOCACHE` keeps later reads from filling the cache, but pages
//!   that are in it already may be served. On Windows, reads go on coming from the cache.
//! - **Space.** [`create`](gannet_storage::Storage::create) and `set_len` make sparse files: they
//!   reserve nothing, and a later write may be `NoSpace`. Delayed allocation may put that off to
//!   the sync; only a durable write proves that there was room.
//! - **Locks.** The lock is free as soon as the storage and all that came out of it are dropped, or
//!   the process is dead. Of a killed process, a child keeps it until its `exec`: an instant for a
//!   program that was just being started, for ever for a plain fork. On NFS, Linux turns `flock`
//!   into byte-range locks, which need the server's help and a writable `lock`; other network file
//!   systems may not lock at all. Keep databases on local disks.
//!
//! ```
//! use gannet_backend_std::StdStorage;
//! use gannet_storage::{BLOCK_SIZE, DirOptions, Durability, FileName, Storage, Write, WriteFile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let parent = tempfile::tempdir()?;
//! # let dir = parent.path().join("db");
//! let storage = StdStorage::open(&dir, &DirOptions::create())?;
//! let file = storage.create(&FileName::new("example")?, 4096)?;
//! let mut block = storage.alloc(BLOCK_SIZE);
//! block[..5].copy_from_slice(b"hello");
//! file.write_batch(&[Write { offset: 0, bytes: &block }], Durability::Data)?; // contents
//! storage.sync_dir()?; // name
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod file;
mod holder;
mod lock;
mod open;
mod platform;
mod queue;
mod root;
mod sealed;
mod storage;
mod transfer;

pub use file::StdFile;
pub use queue::StdQueue;
pub use sealed::StdSealed;
pub use storage::StdStorage;
