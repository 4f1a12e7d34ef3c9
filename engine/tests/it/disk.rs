//! Where a database of a test lives: on the simulated disk, or in a directory under one of the real
//! backends. A test that takes a [`Disk`] runs on all of them with [`on_each_disk`].

#![expect(
    clippy::disallowed_methods,
    reason = "directories are looked at from outside of storages"
)]

use gannet::storage::{DirOptions, LOCK_NAME, Result, Storage};
use gannet::{AnyStorage, Backend, OpenError};
use gannet_testkit::sim::SimDisk;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::OnceLock;
use tempfile::TempDir;

/// What keeps a storage's files between one opening and the next.
pub(crate) trait Disk: fmt::Debug + Sync + Sized {
    type Storage: Storage + fmt::Debug;

    /// An empty one of the same kind.
    fn fresh(&self) -> Self;

    fn open(&self) -> Result<Self::Storage>;

    /// Another one with the same contents: what would be there if the process were killed now.
    fn copy(&self) -> Self;

    /// Equal for the same names with the same bytes.
    fn digest(&self) -> u128;
}

/// Runs a test, a function of an empty disk, on the simulated disk and on every backend.
macro_rules! on_each_disk {
    ($test:expr) => {{
        $test(&gannet_testkit::sim::SimDisk::new());
        for folder in crate::disk::Folder::each() {
            eprintln!("{folder:?}");
            $test(&folder);
        }
    }};
}
pub(crate) use on_each_disk;

impl Disk for SimDisk {
    type Storage = gannet_testkit::sim::SimStorage;

    fn fresh(&self) -> Self {
        Self::new()
    }

    fn open(&self) -> Result<Self::Storage> {
        self.open()
    }

    fn copy(&self) -> Self {
        self.kill()
    }

    fn digest(&self) -> u128 {
        self.digest()
    }
}

/// How a directory is opened.
#[derive(Clone, Copy)]
pub(crate) struct Opener {
    pub(crate) name: &'static str,
    open: fn(&Path) -> std::result::Result<AnyStorage, OpenError>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Opener {
    /// Every way that is compiled in and works here; says why another does not.
    pub(crate) fn all() -> Vec<Self> {
        static REFUSED: OnceLock<[Option<OpenError>; 4]> = OnceLock::new();
        let openers = [
            Self { name: "std", open: |dir| named(Backend::Std, dir) },
            Self { name: "uring, direct", open: |dir| named(Backend::Uring, dir) },
            Self { name: "uring, cached", open: uring_cached },
            Self { name: "mmap", open: |dir| named(Backend::Mmap, dir) },
        ];
        let refused = REFUSED.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            openers.map(|opener| (opener.open)(dir.path()).err())
        });
        let works = |(opener, refused): (Self, &Option<OpenError>)| {
            let Some(error) = refused else { return Some(opener) };
            eprintln!("skipped {opener:?}: {error:?}");
            None
        };
        openers.into_iter().zip(refused).filter_map(works).collect()
    }

    pub(crate) fn open(self, dir: &Path) -> Result<AnyStorage> {
        (self.open)(dir).map_err(|error| {
            let OpenError::Storage(error) = error else { panic!("{self:?} worked: {error:?}") };
            error
        })
    }
}

fn options() -> DirOptions {
    let mut options = DirOptions::create();
    // Nobody else uses the directories of a test.
    options.lock_wait = std::time::Duration::ZERO;
    options
}

fn named(backend: Backend, dir: &Path) -> std::result::Result<AnyStorage, OpenError> {
    AnyStorage::open(backend, dir, &options())
}

#[cfg(all(feature = "uring", target_os = "linux"))]
fn uring_cached(dir: &Path) -> std::result::Result<AnyStorage, OpenError> {
    let mut uring = gannet::UringOptions::default();
    uring.direct_io = false;
    Ok(gannet::UringStorage::open_with(dir, &options(), &uring)?.into())
}

#[cfg(not(all(feature = "uring", target_os = "linux")))]
fn uring_cached(_dir: &Path) -> std::result::Result<AnyStorage, OpenError> {
    Err(OpenError::NotCompiled(Backend::Uring))
}

/// A directory, and the backend that opens it.
pub(crate) struct Folder {
    dir: TempDir,
    opener: Opener,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a directory under {:?}", self.opener)
    }
}

impl Folder {
    /// An empty one for every backend.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        Opener::all().into_iter().map(Self::new)
    }

    pub(crate) fn new(opener: Opener) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), opener }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The same directory under another backend.
    pub(crate) fn under(self, opener: Opener) -> Self {
        Self { opener, ..self }
    }

    /// Every file but the lock, byte for byte.
    pub(crate) fn bytes(&self) -> BTreeMap<String, Vec<u8>> {
        let read = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            (name, bytes)
        };
        let files = fs::read_dir(self.path()).unwrap().map(|entry| read(entry.unwrap()));
        files.filter(|(name, _)| name != LOCK_NAME).collect()
    }
}

impl Disk for Folder {
    type Storage = AnyStorage;

    fn fresh(&self) -> Self {
        Self::new(self.opener)
    }

    fn open(&self) -> Result<AnyStorage> {
        self.opener.open(self.path())
    }

    fn copy(&self) -> Self {
        let copy = self.fresh();
        for entry in fs::read_dir(self.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    fn digest(&self) -> u128 {
        let mut hasher = DefaultHasher::new();
        self.bytes().hash(&mut hasher);
        hasher.finish().into()
    }
}
