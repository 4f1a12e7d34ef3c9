//! The backends by name, chosen at run time: the only file of the engine that names one.
//!
//! A cargo feature compiles a backend in; it never decides which one runs. The list of [`Backend`]
//! is complete whatever the features, so that a feature turns an error into a success.

use crate::error::{OpenError, with_causes};
use gannet_storage::{
    AlignedBuf, BufView, Caps, Completion, DirOptions, Durability, FileMeta, FileName, Hold,
    MemFile, MemSealed, MemStorage, Read, ReadFile, ReadQueue, Result, SealedFile, Storage, Write,
    WriteFile,
};
#[cfg(feature = "std")]
use gannet_storage::{Error, ErrorKind, Op};
use std::fmt;
use std::num::NonZeroU16;
use std::ops::{Deref, Range};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

#[cfg(feature = "std")]
use gannet_backend_std as backend_std;

/// How bytes reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The best one that is compiled in and works here; [`BackendInfo`] says which, and why not a
    /// better one.
    Auto,
    /// Portable positional I/O.
    Std,
    /// Linux `io_uring`.
    Uring,
    /// Memory maps for what is sealed.
    Mmap,
    /// Memory alone: gone with the process.
    Memory,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Std => "std",
            Self::Uring => "uring",
            Self::Mmap => "mmap",
            Self::Memory => "memory",
        })
    }
}

/// A text that names no backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a backend: auto, std, uring, mmap or memory")]
pub struct UnknownBackend(String);

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> std::result::Result<Self, UnknownBackend> {
        match text {
            "auto" => Ok(Self::Auto),
            "std" => Ok(Self::Std),
            "uring" => Ok(Self::Uring),
            "mmap" => Ok(Self::Mmap),
            "memory" => Ok(Self::Memory),
            _ => Err(UnknownBackend(text.chars().take(40).collect())),
        }
    }
}

/// What runs, and why a better backend does not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendInfo {
    /// What runs.
    pub caps: Caps,
    /// Backends that `Auto` would have preferred, each with the reason it was refused.
    pub refused: Vec<(Backend, String)>,
}

/// A storage whose backend was chosen at run time.
#[derive(Debug)]
pub struct AnyStorage {
    inner: AnyInner,
    info: BackendInfo,
}

/// Matches on the backend that runs; both sides of each arm have the same name.
macro_rules! each {
    ($any:expr, $family:ident, $inner:ident => $call:expr) => {
        match $any {
            #[cfg(feature = "std")]
            $family::Std($inner) => $call,
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
            $family::Memory($inner) => $call.map($out::Memory),
        }
    };
}

macro_rules! family {
    ($(#[$doc:meta])* $vis:vis $name:ident, $std:ty, $memory:ty $(, $derive:ident)?) => {
        $(#[$doc])*
        #[derive(Debug $(, $derive)?)]
        $vis enum $name {
            /// Of the std backend.
            #[cfg(feature = "std")]
            Std($std),
            /// Of storage in memory.
            Memory($memory),
        }
    };
}

family!(AnyInner, backend_std::StdStorage, MemStorage);
family!(
    /// A file of an [`AnyStorage`] being written.
    pub AnyFile, backend_std::StdFile, MemFile
);
family!(
    /// A sealed file of an [`AnyStorage`].
    pub AnySealed, backend_std::StdSealed, MemSealed, Clone
);
family!(
    /// Bytes of a sealed file of an [`AnyStorage`].
    pub AnyView, <backend_std::StdSealed as SealedFile>::View, BufView<Arc<Hold>>, Clone
);
family!(
    /// Reads in flight of an [`AnyStorage`].
    pub AnyQueue, <backend_std::StdSealed as SealedFile>::Queue, <MemSealed as SealedFile>::Queue
);

impl AnyStorage {
    /// Opens `dir` with `backend`. `Memory` does not look at `dir`.
    ///
    /// # Errors
    /// `NotCompiled` where the feature is off; `Storage` where the backend refuses the directory or
    /// cannot run here. An explicit choice never falls back to another one.
    pub fn open(
        backend: Backend,
        dir: &Path,
        options: &DirOptions,
    ) -> std::result::Result<Self, OpenError> {
        let of = |inner: AnyInner, refused| {
            let caps = each!(&inner, AnyInner, storage => storage.caps());
            Ok(Self { inner, info: BackendInfo { caps, refused } })
        };
        match backend {
            Backend::Auto => {
                let refused = [Backend::Uring, Backend::Mmap]
                    .into_iter()
                    .filter_map(|better| Some((better, with_causes(&other(better, dir).err()?))))
                    .collect();
                of(open_std(dir, options)?, refused)
            }
            Backend::Std => of(open_std(dir, options)?, Vec::new()),
            Backend::Uring | Backend::Mmap => of(other(backend, dir)?, Vec::new()),
            Backend::Memory => of(AnyInner::Memory(MemStorage::new()), Vec::new()),
        }
    }

    /// What runs, and why a better backend does not.
    #[must_use]
    pub fn backend_info(&self) -> &BackendInfo {
        &self.info
    }
}

#[cfg(feature = "std")]
fn open_std(dir: &Path, options: &DirOptions) -> std::result::Result<AnyInner, OpenError> {
    Ok(AnyInner::Std(backend_std::StdStorage::open(dir, options)?))
}

#[cfg(not(feature = "std"))]
fn open_std(_dir: &Path, _options: &DirOptions) -> std::result::Result<AnyInner, OpenError> {
    Err(OpenError::NotCompiled(Backend::Std))
}

/// A backend that is not built yet.
fn other(backend: Backend, _dir: &Path) -> std::result::Result<AnyInner, OpenError> {
    match backend {
        #[cfg(feature = "uring")]
        Backend::Uring => Err(gannet_backend_uring::unavailable().into()),
        #[cfg(feature = "mmap")]
        Backend::Mmap => Err(gannet_backend_mmap::unavailable().into()),
        other => Err(OpenError::NotCompiled(other)),
    }
}

impl Storage for AnyStorage {
    type File = AnyFile;
    type Sealed = AnySealed;

    fn create(&self, name: &FileName, len_bytes: u64) -> Result<AnyFile> {
        wrap!(&self.inner, AnyInner => AnyFile, s => s.create(name, len_bytes))
    }

    fn open(&self, name: &FileName) -> Result<AnyFile> {
        wrap!(&self.inner, AnyInner => AnyFile, s => s.open(name))
    }

    fn seal(&self, file: AnyFile) -> Result<AnySealed> {
        match (&self.inner, file) {
            #[cfg(feature = "std")]
            (AnyInner::Std(storage), AnyFile::Std(file)) => storage.seal(file).map(AnySealed::Std),
            (AnyInner::Memory(storage), AnyFile::Memory(file)) => {
                storage.seal(file).map(AnySealed::Memory)
            }
            #[cfg(feature = "std")]
            (_, file) => Err(Error::new(ErrorKind::Unsupported, Op::Seal, file.name())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_known_by_name() {
        for backend in [Backend::Auto, Backend::Std, Backend::Uring, Backend::Mmap, Backend::Memory]
        {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
        assert!("disk".parse::<Backend>().is_err());
    }

    #[test]
    fn an_explicit_backend_that_cannot_be_had_is_an_error_that_says_why() {
        for backend in [Backend::Uring, Backend::Mmap] {
            let error = AnyStorage::open(backend, Path::new("."), &DirOptions::existing());
            let error = with_causes(&error.expect_err("not built yet"));
            assert!(error.contains(&backend.to_string()), "{error}");
        }
    }
}
