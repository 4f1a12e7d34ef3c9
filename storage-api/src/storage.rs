//! The trait of storages: one locked directory of flat names.

use crate::{AlignedBuf, Caps, FileName, Result, SealedFile, WriteFile};

/// One file of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMeta {
    /// Its name.
    pub name: FileName,
    /// Its length in bytes as the directory tells it; after damage it need not be whole blocks.
    pub len_bytes: u64,
}

/// One exclusively locked directory holding a flat set of files. The lock is held from opening to
/// the drop of the storage and of every file and view of it.
pub trait Storage: Send + Sync + 'static {
    /// A file being written: one owner, no views.
    type File: WriteFile;
    /// A file that will never change again: shared, viewable.
    type Sealed: SealedFile;

    /// Creates a zero-filled file. Name and length are durable after a sync of the file *and*
    /// [`sync_dir`](Self::sync_dir); a crash before may leave no name, or the name of an empty
    /// file.
    ///
    /// A failed call leaves no file of that name, as far as the operating system lets it be
    /// removed.
    ///
    /// # Errors
    /// `AlreadyExists`, `Misaligned`, `NoSpace`, `ReadOnly`, `Denied`, `Io`.
    fn create(&self, name: &FileName, len_bytes: u64) -> Result<Self::File>;

    /// As [`create`](Self::create), for a file that takes many small [`Deferred`] writes and few
    /// syncs: a backend that bypasses the page cache leaves it in the way of this file. How a file
    /// is written is decided when it is made, and stays so until it is sealed.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    ///
    /// [`Deferred`]: crate::Durability::Deferred
    fn create_cached(&self, name: &FileName, len_bytes: u64) -> Result<Self::File> {
        self.create(name, len_bytes)
    }

    /// Opens a file for writing.
    ///
    /// # Errors
    /// `NotFound`; `Busy` while any handle or view of it lives; `BadLength`, `ReadOnly`, `Io`.
    fn open(&self, name: &FileName) -> Result<Self::File>;

    /// Makes the contents durable (`Full`) and gives up the right to write. The name is durable
    /// after `sync_dir`.
    ///
    /// # Errors
    /// As a failed sync: the file's contents are unknown, its handle is gone.
    fn seal(&self, file: Self::File) -> Result<Self::Sealed>;

    /// Opens a file for reading, as one that will not change.
    ///
    /// # Errors
    /// `NotFound`; `Busy` while a writer lives; `BadLength`, `Io`.
    fn open_sealed(&self, name: &FileName) -> Result<Self::Sealed>;

    /// Atomically gives the file `from` the name `to`; what had that name before is gone. Durable
    /// after `sync_dir`; until then a crash leaves either state.
    ///
    /// A file that replaces itself stays as it is.
    ///
    /// # Errors
    /// `NotFound` for `from`; `Busy` while a handle or view of either lives; `Io`.
    fn replace(&self, from: &FileName, to: &FileName) -> Result<()>;

    /// Removes a file. Durable after `sync_dir`.
    ///
    /// # Errors
    /// `NotFound`; `Busy` while a handle or view of it lives; `ReadOnly`, `Io`.
    fn remove(&self, name: &FileName) -> Result<()>;

    /// Every file, sorted by name. Entries that cannot be files of a storage (directories, names
    /// that are no [`FileName`]) are left out.
    ///
    /// # Errors
    /// `Io`.
    fn list(&self) -> Result<Vec<FileMeta>>;

    /// Makes every earlier create, replace and remove durable.
    ///
    /// # Errors
    /// `Io`: which of them are durable is then unknown.
    fn sync_dir(&self) -> Result<()>;

    /// Zeroed memory that this backend transfers fastest, rounded up to whole blocks.
    fn alloc(&self, len_bytes: usize) -> AlignedBuf {
        AlignedBuf::zeroed(len_bytes)
    }

    /// What this backend does natively. For logs and benchmarks; behaviour never depends on it.
    fn caps(&self) -> Caps;
}
