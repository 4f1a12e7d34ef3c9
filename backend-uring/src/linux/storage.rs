//! The storage: the std backend's directory, with rings for its transfers.

use crate::linux::direct::Access;
use crate::linux::file::UringFile;
use crate::linux::queue::UringQueue;
use crate::linux::ring::{Memory, Sync, Transfer};
use crate::linux::rings::Rings;
use crate::linux::sealed::UringSealed;
use crate::linux::setup::Setup;
use gannet_backend_std::StdStorage;
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Caps, DirOptions, Error, ErrorKind, FileMeta, FileName, Op, Result,
    Storage,
};
use rustix::fs::OFlags;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// Options of this backend alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UringOptions {
    /// Bypass the page cache where the file system lets it; else, and where it does not, go
    /// through it. Default true.
    pub direct_io: bool,
}

impl Default for UringOptions {
    fn default() -> Self {
        Self { direct_io: true }
    }
}

/// A storage in a directory, on `io_uring`.
///
/// The directory stays locked until this value and every file, queue and view that came out of it
/// are dropped, and, should the process be killed, until its last write has ended.
#[derive(Debug)]
pub struct UringStorage {
    // In this order: the lock, which the last of them holds, goes last.
    rings: Arc<Rings>,
    setup: Setup,
    access: Access,
    std: StdStorage,
}

impl UringStorage {
    /// Opens the directory `dir` as [`StdStorage::open`] does, after trying a ring out. Where there
    /// is no ring nothing is made.
    ///
    /// # Errors
    /// - `Unsupported`: there is no ring here. The source says why, and what can be done.
    /// - As [`StdStorage::open`].
    pub fn open(dir: &Path, options: &DirOptions) -> Result<Self> {
        Self::open_with(dir, options, &UringOptions::default())
    }

    /// As [`open`](Self::open), with options of this backend.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(dir: &Path, options: &DirOptions, uring: &UringOptions) -> Result<Self> {
        let unsupported =
            || Error::new(ErrorKind::Unsupported, Op::OpenStorage, dir.display().to_string());
        let setup = Setup::probe().map_err(|refusal| unsupported().because(refusal))?;
        let std = StdStorage::open(dir, options)?;
        let rings = Rings::new(setup, std.lock_fd())
            .map_err(|source| Error::io(Op::OpenStorage, dir.display().to_string(), source))?;
        read_and_sync(&rings, std.lock_fd(), 1).map_err(|source| unsupported().because(source))?;
        let access = if uring.direct_io {
            try_direct(&rings, std.lock_fd())
        } else {
            Access::Cached("switched off by option".to_owned())
        };
        Ok(Self { rings: Arc::new(rings), setup, access, std })
    }
}

/// Whether the file system of the open lock file does direct transfers, seen to read through a
/// ring.
fn try_direct(rings: &Rings, lock: BorrowedFd<'_>) -> Access {
    let access = Access::of(lock).apply(lock);
    if !access.is_direct() {
        return access;
    }
    let read = read_and_sync(rings, lock, access.align());
    let restored = rustix::fs::fcntl_getfl(lock)
        .and_then(|flags| rustix::fs::fcntl_setfl(lock, flags - OFlags::DIRECT));
    match read.and(restored.map_err(io::Error::from)) {
        Ok(()) => access,
        Err(error) => Access::Cached(format!("a first direct read failed ({error})")),
    }
}

/// A first read and sync of a file that may be shorter than a block.
fn read_and_sync(rings: &Rings, file: BorrowedFd<'_>, align: usize) -> io::Result<()> {
    let mut block = AlignedBuf::zeroed(BLOCK_SIZE);
    let mut read = [Transfer::new(Memory::Into(&mut block), 0, align)];
    match rings.run(file, &mut read, Sync::None).map_err(io::Error::from) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    rings.run(file, &mut [], Sync::Data).map_err(io::Error::from)
}

impl Storage for UringStorage {
    type File = UringFile;
    type Sealed = UringSealed;

    fn create(&self, name: &FileName, len_bytes: u64) -> Result<UringFile> {
        let file = self.std.create(name, len_bytes)?;
        Ok(UringFile::new(file, self.access.clone(), Arc::clone(&self.rings)))
    }

    fn create_cached(&self, name: &FileName, len_bytes: u64) -> Result<UringFile> {
        let file = self.std.create(name, len_bytes)?;
        let access = Access::Cached("made for the page cache".to_owned());
        Ok(UringFile::new(file, access, Arc::clone(&self.rings)))
    }

    fn open(&self, name: &FileName) -> Result<UringFile> {
        let file = self.std.open(name)?;
        Ok(UringFile::new(file, self.access.clone(), Arc::clone(&self.rings)))
    }

    fn seal(&self, file: UringFile) -> Result<UringSealed> {
        file.seal(&self.std)
    }

    fn open_sealed(&self, name: &FileName) -> Result<UringSealed> {
        let file = self.std.open_sealed(name)?;
        Ok(UringSealed::new(file, self.access.clone(), Arc::clone(&self.rings)))
    }

    fn replace(&self, from: &FileName, to: &FileName) -> Result<()> {
        self.std.replace(from, to)
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.std.remove(name)
    }

    fn list(&self) -> Result<Vec<FileMeta>> {
        self.std.list()
    }

    fn sync_dir(&self) -> Result<()> {
        self.std.sync_dir()
    }

    fn caps(&self) -> Caps {
        let restricted = if self.setup.restricted { "to read, write, fsync" } else { "no" };
        Caps {
            direct_io: self.access.is_direct(),
            fused_sync: true,
            queue_depth_max: UringQueue::DEPTH_MAX.get(),
            details: vec![
                ("direct I/O", self.access.to_string()),
                ("ring flags", self.setup.flags()),
                ("ring restricted", restricted.to_owned()),
                ("registered files", "the directory's lock, in every ring".to_owned()),
                ("registered buffers", "no".to_owned()),
            ],
            ..Caps::new("uring")
        }
    }
}
