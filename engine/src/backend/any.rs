//! A storage whose backend was chosen at run time: one arm a backend, and matching.

#[cfg(feature = "mmap")]
use super::MmapStorage;
#[cfg(feature = "std")]
use super::StdStorage;
#[cfg(all(feature = "uring", target_os = "linux"))]
use super::UringStorage;
use super::{Backend, BackendInfo, choose};
use crate::database::{Database, ViewOf};
use crate::error::OpenError;
use gannet_storage::{
    AlignedBuf, Caps, Completion, DirOptions, Durability, FileMeta, FileName, MemStorage, Read,
    ReadFile, ReadQueue, Result, SealedFile, Storage, Write, WriteFile,
};
#[cfg(any(feature = "std", all(feature = "uring", target_os = "linux"), feature = "mmap"))]
use gannet_storage::{Error, ErrorKind, Op};
use std::num::NonZeroU16;
use std::ops::{Deref, Range};
use std::path::Path;

/// A storage whose backend was chosen at run time: by name with [`AnyStorage::open`], or from one
/// that was opened with options of its own.
#[derive(Debug)]
pub struct AnyStorage {
    inner: AnyInner,
    info: BackendInfo,
}

type StorageOf<S> = S;
type FileOf<S> = <S as Storage>::File;
type SealedOf<S> = <S as Storage>::Sealed;
type QueueOf<S> = <SealedOf<S> as SealedFile>::Queue;

/// One part of every backend.
macro_rules! family {
    ($(#[$doc:meta])* $vis:vis $name:ident: $part:ident) => {
        $(#[$doc])*
        $vis enum $name {
            /// Of the std backend.
            #[cfg(feature = "std")]
            Std($part<StdStorage>),
            /// Of the uring backend.
            #[cfg(all(feature = "uring", target_os = "linux"))]
            Uring($part<UringStorage>),
            /// Of the mmap backend.
            #[cfg(feature = "mmap")]
            Mmap($part<MmapStorage>),
            /// Of storage in memory.
            Memory($part<MemStorage>),
        }
    };
}

/// Matches on the backend that runs; every arm does the same.
macro_rules! each {
    ($any:expr, $family:ident, $inner:ident => $call:expr) => {
        match $any {
            #[cfg(feature = "std")]
            $family::Std($inner) => $call,
            #[cfg(all(feature = "uring", target_os = "linux"))]
            $family::Uring($inner) => $call,
            #[cfg(feature = "mmap")]
            $family::Mmap($inner) => $call,
            $family::Memory($inner) => $call,
        }
    };
}

/// As `each`, with the result wrapped in the same arm of another family.
macro_rules! wrap {
    ($any:expr, $family:ident => $out:ident, $inner:ident => $call:expr) => {
        match $any {
            #[cfg(feature = "std")]
            $family::Std($inner) => $call.map($out::Std),
            #[cfg(all(feature = "uring", target_os = "linux"))]
            $family::Uring($inner) => $call.map($out::Uring),
            #[cfg(feature = "mmap")]
            $family::Mmap($inner) => $call.map($out::Mmap),
            $family::Memory($inner) => $call.map($out::Memory),
        }
    };
}

family!(
    #[derive(Debug)]
    AnyInner: StorageOf
);
family!(
    /// A file of an [`AnyStorage`] being written.
    #[derive(Debug)]
    #[non_exhaustive]
    pub AnyFile: FileOf
);
family!(
    /// A sealed file of an [`AnyStorage`].
    #[derive(Clone, Debug)]
    #[non_exhaustive]
    pub AnySealed: SealedOf
);
family!(
    /// Bytes of a sealed file of an [`AnyStorage`].
    #[derive(Clone, Debug)]
    #[non_exhaustive]
    pub AnyView: ViewOf
);
family!(
    /// Reads in flight of an [`AnyStorage`].
    #[allow(clippy::large_enum_variant, reason = "there are few, and each is made in its place")]
    #[derive(Debug)]
    #[non_exhaustive]
    pub AnyQueue: QueueOf
);

impl AnyStorage {
    /// Opens `dir` with `backend`. `Memory` does not look at `dir`.
    ///
    /// # Errors
    /// `NotCompiled` where the feature is off; `Storage` where the backend refuses the directory or
    /// cannot run here, which is `Unsupported` with the cause and what can be done. A backend that
    /// is named never falls back to another one; for what does see [`Backend::Auto`].
    pub fn open(
        backend: Backend,
        dir: &Path,
        options: &DirOptions,
    ) -> std::result::Result<Self, OpenError> {
        choose::open(backend, dir, options)
    }

    /// What runs, and why a better backend does not.
    #[must_use]
    pub fn backend_info(&self) -> &BackendInfo {
        &self.info
    }

    /// The same storage, which is not the best one.
    pub(super) fn refusing(mut self, refused: Vec<(Backend, String)>) -> Self {
        self.info.refused = refused;
        self
    }

    fn of(inner: AnyInner) -> Self {
        let caps = each!(&inner, AnyInner, storage => storage.caps());
        Self { inner, info: BackendInfo { caps, refused: Vec::new() } }
    }
}

impl Database<AnyStorage> {
    /// What runs, and why a better backend does not.
    #[must_use]
    pub fn backend_info(&self) -> &BackendInfo {
        self.storage().backend_info()
    }
}

#[cfg(feature = "std")]
impl From<StdStorage> for AnyStorage {
    fn from(storage: StdStorage) -> Self {
        Self::of(AnyInner::Std(storage))
    }
}

#[cfg(all(feature = "uring", target_os = "linux"))]
impl From<UringStorage> for AnyStorage {
    fn from(storage: UringStorage) -> Self {
        Self::of(AnyInner::Uring(storage))
    }
}

#[cfg(feature = "mmap")]
impl From<MmapStorage> for AnyStorage {
    fn from(storage: MmapStorage) -> Self {
        Self::of(AnyInner::Mmap(storage))
    }
}

impl From<MemStorage> for AnyStorage {
    fn from(storage: MemStorage) -> Self {
        Self::of(AnyInner::Memory(storage))
    }
}

impl Storage for AnyStorage {
    type File = AnyFile;
    type Sealed = AnySealed;

    fn create(&self, name: &FileName, len_bytes: u64) -> Result<AnyFile> {
        wrap!(&self.inner, AnyInner => AnyFile, s => s.create(name, len_bytes))
    }

    fn create_cached(&self, name: &FileName, len_bytes: u64) -> Result<AnyFile> {
        wrap!(&self.inner, AnyInner => AnyFile, s => s.create_cached(name, len_bytes))
    }

    fn open(&self, name: &FileName) -> Result<AnyFile> {
        wrap!(&self.inner, AnyInner => AnyFile, s => s.open(name))
    }

    fn seal(&self, file: AnyFile) -> Result<AnySealed> {
        match (&self.inner, file) {
            #[cfg(feature = "std")]
            (AnyInner::Std(s), AnyFile::Std(file)) => s.seal(file).map(AnySealed::Std),
            #[cfg(all(feature = "uring", target_os = "linux"))]
            (AnyInner::Uring(s), AnyFile::Uring(file)) => s.seal(file).map(AnySealed::Uring),
            #[cfg(feature = "mmap")]
            (AnyInner::Mmap(s), AnyFile::Mmap(file)) => s.seal(file).map(AnySealed::Mmap),
            (AnyInner::Memory(s), AnyFile::Memory(file)) => s.seal(file).map(AnySealed::Memory),
            #[cfg(any(
                feature = "std",
                all(feature = "uring", target_os = "linux"),
                feature = "mmap"
            ))]
            (_, file) => Err(Error::new(ErrorKind::Unsupported, Op::Seal, file.name())
                .because("it is a file of another storage")),
        }
    }

    fn open_sealed(&self, name: &FileName) -> Result<AnySealed> {
        wrap!(&self.inner, AnyInner => AnySealed, s => s.open_sealed(name))
    }

    fn replace(&self, from: &FileName, to: &FileName) -> Result<()> {
        each!(&self.inner, AnyInner, s => s.replace(from, to))
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        each!(&self.inner, AnyInner, s => s.remove(name))
    }

    fn list(&self) -> Result<Vec<FileMeta>> {
        each!(&self.inner, AnyInner, s => s.list())
    }

    fn sync_dir(&self) -> Result<()> {
        each!(&self.inner, AnyInner, s => s.sync_dir())
    }

    fn alloc(&self, len_bytes: usize) -> AlignedBuf {
        each!(&self.inner, AnyInner, s => s.alloc(len_bytes))
    }

    fn caps(&self) -> Caps {
        self.info.caps.clone()
    }
}

macro_rules! read_file {
    ($name:ident) => {
        impl ReadFile for $name {
            fn name(&self) -> &FileName {
                each!(self, $name, f => f.name())
            }

            fn len_bytes(&self) -> u64 {
                each!(self, $name, f => f.len_bytes())
            }

            fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
                each!(self, $name, f => f.read_batch(reads))
            }

            fn discard_cache(&self) -> Result<()> {
                each!(self, $name, f => f.discard_cache())
            }
        }
    };
}

read_file!(AnyFile);
read_file!(AnySealed);

impl WriteFile for AnyFile {
    fn write_batch(&self, writes: &[Write<'_>], durability: Durability) -> Result<()> {
        each!(self, AnyFile, f => f.write_batch(writes, durability))
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        each!(self, AnyFile, f => f.set_len(len_bytes))
    }
}

impl SealedFile for AnySealed {
    type View = AnyView;
    type Queue = AnyQueue;

    fn view(&self, range: Range<u64>) -> Result<AnyView> {
        wrap!(self, AnySealed => AnyView, f => f.view(range))
    }

    fn queue(&self, depth: NonZeroU16) -> Result<AnyQueue> {
        wrap!(self, AnySealed => AnyQueue, f => f.queue(depth))
    }

    fn prefetch(&self, range: Range<u64>) {
        each!(self, AnySealed, f => f.prefetch(range));
    }

    fn advise_random(&self) {
        each!(self, AnySealed, f => f.advise_random());
    }
}

impl Deref for AnyView {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        each!(self, AnyView, view => view)
    }
}

impl ReadQueue for AnyQueue {
    fn submit(
        &mut self,
        tag: u64,
        offset: u64,
        buf: AlignedBuf,
    ) -> std::result::Result<(), AlignedBuf> {
        each!(self, AnyQueue, queue => queue.submit(tag, offset, buf))
    }

    fn wait(&mut self) -> Option<Completion> {
        each!(self, AnyQueue, queue => queue.wait())
    }
}
