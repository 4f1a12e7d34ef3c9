//! The storage: the directory of the std backend, and the maps of its sealed files.

use crate::sealed::{MmapSealed, WeakSealed};
use gannet_backend_std::{StdFile, StdSealed, StdStorage};
use gannet_storage::{AlignedBuf, Caps, DirOptions, FileMeta, FileName, ReadFile, Result, Storage};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A storage in a directory whose sealed files are viewed through memory maps.
///
/// Everything but views is that of [`StdStorage`]. The directory stays locked until this value and
/// every file, queue and view that came out of it are dropped.
#[derive(Debug)]
pub struct MmapStorage {
    std: StdStorage,
    /// The sealed files in use: one map each, so that what `discard_cache` of one handle gives back
    /// is not held by another.
    sealed: Mutex<HashMap<FileName, WeakSealed>>,
}

impl MmapStorage {
    /// Opens the directory `dir` as [`StdStorage::open`] does, and locks it.
    ///
    /// The caller promises that the locked directory is this storage's alone: no other program
    /// writes, cuts or replaces files in it while this storage, or anything that came out of it,
    /// lives. The lock keeps storages out, but a lock is advice to all others. If the promise is
    /// broken, bytes of a view may change under their reader, and a read beyond a file's new end
    /// kills the process: see the [crate's docs](crate#sigbus).
    ///
    /// # Errors
    /// As [`StdStorage::open`].
    pub fn open(dir: &Path, options: &DirOptions) -> Result<Self> {
        Ok(Self { std: StdStorage::open(dir, options)?, sealed: Mutex::default() })
    }

    fn sealed(&self) -> MutexGuard<'_, HashMap<FileName, WeakSealed>> {
        // The table is whole between any two statements that hold the lock.
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one sealed file that all handles of this name share: `file`, if there is none yet.
    fn share(&self, file: StdSealed) -> MmapSealed {
        let mut sealed = self.sealed();
        if let Some(other) = sealed.get(file.name()).and_then(WeakSealed::upgrade) {
            return other;
        }
        if sealed.len() == sealed.capacity() {
            // Before the table grows, it forgets what nobody has any more.
            sealed.retain(|_, file| file.is_in_use());
        }
        let name = file.name().clone();
        let file = MmapSealed::new(file);
        sealed.insert(name, file.downgrade());
        file
    }
}

impl Storage for MmapStorage {
    type File = StdFile;
    type Sealed = MmapSealed;

    fn create(&self, name: &FileName, len_bytes: u64) -> Result<StdFile> {
        self.std.create(name, len_bytes)
    }

    fn create_cached(&self, name: &FileName, len_bytes: u64) -> Result<StdFile> {
        self.std.create_cached(name, len_bytes)
    }

    fn open(&self, name: &FileName) -> Result<StdFile> {
        self.std.open(name)
    }

    fn seal(&self, file: StdFile) -> Result<MmapSealed> {
        self.std.seal(file).map(|file| self.share(file))
    }

    fn open_sealed(&self, name: &FileName) -> Result<MmapSealed> {
        let open = self.sealed().get(name).and_then(WeakSealed::upgrade);
        match open {
            Some(file) => Ok(file),
            None => self.std.open_sealed(name).map(|file| self.share(file)),
        }
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

    fn alloc(&self, len_bytes: usize) -> AlignedBuf {
        self.std.alloc(len_bytes)
    }

    fn caps(&self) -> Caps {
        let mut caps = Caps { name: "mmap", zero_copy_views: true, ..self.std.caps() };
        caps.details.push(("advice", "none".to_owned()));
        caps
    }
}
