//! The open, locked directory that a storage and everything that came out of it share.
//!
//! Keeps its resolved path, a handle to sync it by, and its lock, for as long as any of them lives.

use crate::lock::DirLock;
use crate::platform::DirHandle;
use gannet_storage::{DirOptions, Error, FileName, LOCK_NAME, LockMode, Op, Result};
use std::fs;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// One open directory.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    handle: DirHandle,
    lock: DirLock,
}

impl Root {
    /// Finds or makes the directory, and locks it.
    pub(crate) fn open(dir: &Path, options: &DirOptions) -> Result<Self> {
        let failed = |source| Error::io(Op::OpenStorage, dir.display().to_string(), source);
        if options.lock != LockMode::Exclusive {
            return Err(failed(io::ErrorKind::Unsupported.into()));
        }
        let made = find_or_make(dir, options.create).map_err(failed)?;
        let path = fs::canonicalize(dir).map_err(failed)?;
        let lock = DirLock::take(&path, options.lock_wait)?;
        let handle = DirHandle::open(&path).map_err(failed)?;
        let root = Self { path, handle, lock };
        if made || root.is_bare().map_err(failed)? {
            root.sync_new(made).map_err(failed)?;
        }
        Ok(root)
    }

    /// Where the file `name` is.
    pub(crate) fn path_of(&self, name: &FileName) -> PathBuf {
        self.path.join(name.as_str())
    }

    /// The directory itself, for listing.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `Error` of a call that is about the directory.
    pub(crate) fn error(&self, op: Op, source: io::Error) -> Error {
        Error::io(op, self.path.display().to_string(), source)
    }

    #[cfg(unix)]
    pub(crate) fn lock_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Makes names durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.handle.sync().map_err(|source| self.error(Op::SyncDir, source))
    }

    fn is_bare(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.path)? {
            if entry?.file_name() != LOCK_NAME {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes a new directory durable: its lock, what is in it, its name. Whoever made it may have
    /// died before that; and if a power cut kept files but not the lock, it would be foreign for
    /// ever.
    fn sync_new(&self, made: bool) -> io::Result<()> {
        let parent = || self.path.parent().map_or(Ok(()), |path| DirHandle::open(path)?.sync());
        let steps: [&dyn Fn() -> io::Result<()>; 3] =
            [&|| self.lock.sync(), &|| self.handle.sync(), &parent];
        for step in steps {
            match step() {
                // What somebody else made in a place where we have no rights is theirs to sync.
                Err(error) if !made && error.kind() == io::ErrorKind::PermissionDenied => {}
                done => done?,
            }
        }
        Ok(())
    }
}

/// Whether the directory had to be made.
fn find_or_make(dir: &Path, create: bool) -> io::Result<bool> {
    let found = || match fs::metadata(dir) {
        Ok(meta) if !meta.is_dir() => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    };
    match found() {
        Err(error) if create && error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    match fs::create_dir(dir) {
        Ok(()) => Ok(true),
        // Another process was faster, or it is a symbolic link to nothing.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => found(),
        Err(error) => Err(error),
    }
}
