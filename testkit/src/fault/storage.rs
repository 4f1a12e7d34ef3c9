//! The storage whose calls fail when a test asks for it.

use super::faults::{Failure, Faults};
use super::file::{FaultFile, FaultSealed};
use gannet_storage::{AlignedBuf, Caps, FileMeta, FileName, Op, ReadFile, Result, Storage};
use std::sync::Arc;

/// Any storage, until a rule of its [`Faults`] says otherwise. See the module's documentation.
#[derive(Debug)]
pub struct FaultStorage<S> {
    inner: Arc<S>,
    faults: Faults,
}

impl<S: Storage> FaultStorage<S> {
    /// A storage without rules.
    pub fn new(inner: S) -> Self {
        Self::over(Arc::new(inner), Faults::default())
    }

    /// A storage with the rules and counts of `faults`, over one that others may hold too: what is
    /// in memory so outlives its database, and can be opened again.
    pub fn over(inner: Arc<S>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// Its rules and counts.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    fn make(
        &self,
        name: &FileName,
        len_bytes: u64,
        make: impl Fn(u64) -> Result<S::File>,
    ) -> Result<FaultFile<S::File>> {
        match self.faults.count(Op::Create).meet(name.as_str(), Some(0..len_bytes)) {
            None => Ok(FaultFile::new(make(len_bytes)?, &self.faults)),
            Some(Failure { error, is_partial: true }) => make(0).and(Err(error)),
            Some(Failure { error, is_partial: false }) => Err(error),
        }
    }

    /// Stands for the directory where an error is about no file.
    fn place(&self) -> String {
        format!("the {} storage", self.inner.caps().name)
    }
}

impl<S: Storage> Storage for FaultStorage<S> {
    type File = FaultFile<S::File>;
    type Sealed = FaultSealed<S::Sealed>;

    fn create(&self, name: &FileName, len_bytes: u64) -> Result<Self::File> {
        self.make(name, len_bytes, |len_bytes| self.inner.create(name, len_bytes))
    }

    fn create_cached(&self, name: &FileName, len_bytes: u64) -> Result<Self::File> {
        self.make(name, len_bytes, |len_bytes| self.inner.create_cached(name, len_bytes))
    }

    fn open(&self, name: &FileName) -> Result<Self::File> {
        let file = self.faults.call(Op::Open, name.as_str(), None, || self.inner.open(name))?;
        Ok(FaultFile::new(file, &self.faults))
    }

    fn seal(&self, file: Self::File) -> Result<Self::Sealed> {
        let name = file.name().clone();
        let seal = || self.inner.seal(file.inner);
        let sealed = self.faults.call(Op::Seal, name.as_str(), None, seal)?;
        Ok(FaultSealed::new(sealed, &self.faults))
    }

    fn open_sealed(&self, name: &FileName) -> Result<Self::Sealed> {
        let open = || self.inner.open_sealed(name);
        let file = self.faults.call(Op::OpenSealed, name.as_str(), None, open)?;
        Ok(FaultSealed::new(file, &self.faults))
    }

    fn replace(&self, from: &FileName, to: &FileName) -> Result<()> {
        self.faults.call(Op::Replace, from.as_str(), None, || self.inner.replace(from, to))
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.faults.call(Op::Remove, name.as_str(), None, || self.inner.remove(name))
    }

    fn list(&self) -> Result<Vec<FileMeta>> {
        self.faults.call(Op::List, &self.place(), None, || self.inner.list())
    }

    fn sync_dir(&self) -> Result<()> {
        self.faults.call(Op::SyncDir, &self.place(), None, || self.inner.sync_dir())
    }

    fn alloc(&self, len_bytes: usize) -> AlignedBuf {
        self.inner.alloc(len_bytes)
    }

    fn caps(&self) -> Caps {
        self.inner.caps()
    }
}
