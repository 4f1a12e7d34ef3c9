//! The storage: a locked directory, and who uses which file of it.

use crate::file::StdFile;
use crate::open::{self, Access};
use crate::queue;
use crate::root::Root;
use crate::sealed::StdSealed;
use gannet_storage::{
    Caps, DirOptions, Error, ErrorKind, FileMeta, FileName, Op, OpenTable, Result, Storage,
    check_len,
};
use std::fs;
use std::io;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// A storage in a directory, on positional file I/O.
///
/// The directory stays locked until this value and every file, queue and view that came out of it
/// are dropped.
#[derive(Debug)]
pub struct StdStorage {
    root: Arc<Root>,
    table: Arc<OpenTable>,
}

impl StdStorage {
    /// Opens the directory `dir`, makes it where `options` say so, and locks it, also against this
    /// process. A made directory is durable when this returns. Cost: a few system calls; up to
    /// `options.lock_wait` while another storage holds the lock.
    ///
    /// # Errors
    /// - `NotFound`: `dir` is missing and not to be made, or its parent is missing.
    /// - `Locked`: another storage has it; the source says who, as far as the lock file tells.
    /// - `Foreign`: it has contents but no lock file. Nothing was made in it.
    /// - `ReadOnly`, `Denied`: it, or a lock file in it, is missing and cannot be made, or may not
    ///   be read.
    /// - `Unsupported`: the file system has no locks.
    /// - `Io`: `dir` is not a directory; any other failure.
    pub fn open(dir: &Path, options: &DirOptions) -> Result<Self> {
        let root = Arc::new(Root::open(dir, options)?);
        Ok(Self { root, table: Arc::default() })
    }

    /// The descriptor that holds the directory's lock. Whatever keeps it open, a ring of the kernel
    /// above all, keeps the directory locked after this process is dead.
    #[cfg(unix)]
    #[must_use]
    pub fn lock_fd(&self) -> BorrowedFd<'_> {
        self.root.lock_fd()
    }
}

impl Storage for StdStorage {
    type File = StdFile;
    type Sealed = StdSealed;

    fn create(&self, name: &FileName, len_bytes: u64) -> Result<StdFile> {
        check_len(Op::Create, name, len_bytes)?;
        let path = self.root.path_of(name);
        let hold =
            self.table.hold_writer(Op::Create, name).map_err(|busy| match fs::symlink_metadata(
                &path,
            ) {
                Ok(_) => Error::new(ErrorKind::AlreadyExists, Op::Create, name),
                Err(_) => busy,
            })?;
        let file = open::create(&path, name, len_bytes)?;
        Ok(StdFile::new(file, len_bytes, hold, Arc::clone(&self.root)))
    }

    fn open(&self, name: &FileName) -> Result<StdFile> {
        let hold = self.table.hold_writer(Op::Open, name)?;
        let path = self.root.path_of(name);
        let (file, len_bytes) = open::open(Op::Open, &path, name, Access::Write)?;
        Ok(StdFile::new(file, len_bytes, hold, Arc::clone(&self.root)))
    }

    fn seal(&self, file: StdFile) -> Result<StdSealed> {
        file.seal()
    }

    fn open_sealed(&self, name: &FileName) -> Result<StdSealed> {
        let hold = self.table.hold_reader(Op::OpenSealed, name)?;
        let path = self.root.path_of(name);
        let (file, len_bytes) = open::open(Op::OpenSealed, &path, name, Access::Read)?;
        Ok(StdSealed::new(file, len_bytes, hold, Arc::clone(&self.root)))
    }

    fn replace(&self, from: &FileName, to: &FileName) -> Result<()> {
        self.table.while_free(Op::Replace, &[from, to], || {
            let source = self.root.path_of(from);
            // A rename takes directories and links as well, and these are no files of ours.
            open::check_regular(Op::Replace, &source, from)?;
            fs::rename(&source, self.root.path_of(to))
                .map_err(|error| Error::io(Op::Replace, from, error))
        })
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.table.while_free(Op::Remove, &[name], || {
            fs::remove_file(self.root.path_of(name))
                .map_err(|error| Error::io(Op::Remove, name, error))
        })
    }

    fn list(&self) -> Result<Vec<FileMeta>> {
        let failed = |error| self.root.error(Op::List, error);
        let mut files = Vec::new();
        for entry in fs::read_dir(self.root.path()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(name) = entry.file_name().to_str().and_then(|text| FileName::new(text).ok())
            else {
                continue;
            };
            // Asked of the file: what a directory says about open files may be old on Windows.
            match fs::symlink_metadata(entry.path()) {
                Ok(meta) if meta.is_file() => files.push(FileMeta { name, len_bytes: meta.len() }),
                Ok(_) => {}
                // Removed by another thread since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// Syncs the directory, except on Windows, which cannot: see the crate's docs.
    fn sync_dir(&self) -> Result<()> {
        self.root.sync()
    }

    fn caps(&self) -> Caps {
        Caps { queue_depth_max: queue::THREADS_MAX, ..Caps::new("std") }
    }
}
