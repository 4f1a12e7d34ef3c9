//! What is asked of every store: one small trait, and who can be asked.

use crate::data::{Key, Record, Value};
use crate::stores;
use gannet::{MmapStorage, StdStorage, UringStorage};
use std::path::{Path, PathBuf};

/// What may go wrong in any of the stores.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A result of any of the stores.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// What the `Ok` of a commit is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As little as the store offers.
    None,
    /// The operating system has it, or as near to that as the store has a setting for.
    Buffered,
    /// It was flushed to the disk.
    Strict,
}

impl Mode {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Buffered => "buffered",
            Self::Strict => "strict",
        }
    }
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    /// A directory of its own, which exists.
    pub(crate) dir: PathBuf,
    /// What commits are worth.
    pub(crate) mode: Mode,
    /// Cache for what was read, of the stores that have one of their own.
    pub(crate) cache_bytes: u32,
    /// Nothing is to be written to anything but the log, by those who have one.
    pub(crate) is_log_kept: bool,
    /// It does not fit into memory.
    pub(crate) is_larger_than_memory: bool,
}

impl Open {
    /// A store in `dir`, with room for all that is measured here.
    pub(crate) fn new(dir: &Path, mode: Mode) -> Self {
        Self {
            dir: dir.to_owned(),
            mode,
            cache_bytes: 256 << 20,
            is_log_kept: false,
            is_larger_than_memory: false,
        }
    }
}

/// A store that is open. Dropping it closes it.
pub(crate) trait Store: Send + Sync {
    /// The settings that matter, in a few words.
    fn settings(&self) -> String;

    /// What one thread works with.
    fn session(&self) -> Result<Box<dyn Session + '_>>;

    /// Has what was committed flushed to the disk.
    fn sync(&self) -> Result<()>;

    /// Makes the store as small as it gets, and closes it.
    fn compact(self: Box<Self>) -> Result<()>;
}

/// A store as one thread uses it. Each call is a read or a commit of its own.
pub(crate) trait Session {
    /// Shows the value of a key, and says whether it is there.
    fn get(&mut self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Shows the values of those keys that are there, each with its index.
    fn get_many(&mut self, keys: &[Key], see: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (index, key) in keys.iter().enumerate() {
            self.get(key, &mut |value| see(index, value))?;
        }
        Ok(())
    }

    /// Shows all keys, in order, with their values.
    fn scan(&mut self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()>;

    /// Sets the value of a key.
    fn put(&mut self, key: &Key, value: &Value) -> Result<()>;

    /// Deletes a key.
    fn delete(&mut self, key: &Key) -> Result<()>;

    /// Sets values of many keys in one commit.
    fn put_all(&mut self, records: &[Record]) -> Result<()>;

    /// Reads a key, has `change` say what it is to be, and writes that unless somebody else has
    /// written the key meanwhile: then, and where the key is not there, it says `false`.
    fn cas(&mut self, key: &Key, change: Change<'_>) -> Result<bool>;
}

/// What follows on a value.
pub(crate) type Change<'c> = &'c mut dyn FnMut(&[u8]) -> Result<Value>;

/// What workloads have stores of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Cas,
    Cold,
    Overwrite,
    Others,
}

/// The stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This project's, on plain file I/O.
    Gannet,
    /// On `io_uring` with direct I/O. Only for what does not fit into memory, as the next one.
    GannetUring,
    /// On maps of its tables.
    GannetMmap,
    /// LMDB, by way of heed.
    Lmdb,
    /// fjall; read-compare-write by optimistic transactions.
    Fjall,
    /// fjall; read-compare-write by its single writer. Only for that.
    FjallSingle,
    /// redb.
    Redb,
    /// RocksDB.
    #[cfg(feature = "rocksdb")]
    Rocksdb,
    /// SQLite, by way of rusqlite.
    Sqlite,
    /// sled.
    Sled,
}

impl Kind {
    /// All of them; the first is the one that the others are compared with.
    pub(crate) const ALL: &[Self] = &[
        Self::Gannet,
        Self::GannetUring,
        Self::GannetMmap,
        Self::Lmdb,
        Self::Fjall,
        Self::FjallSingle,
        Self::Redb,
        #[cfg(feature = "rocksdb")]
        Self::Rocksdb,
        Self::Sqlite,
        Self::Sled,
    ];

    /// Its name in tables and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gannet => "gannet",
            Self::GannetUring => "gannet-uring",
            Self::GannetMmap => "gannet-mmap",
            Self::Lmdb => "heed",
            Self::Fjall => "fjall",
            Self::FjallSingle => "fjall-single",
            Self::Redb => "redb",
            #[cfg(feature = "rocksdb")]
            Self::Rocksdb => "rocksdb",
            Self::Sqlite => "rusqlite",
            Self::Sled => "sled",
        }
    }

    /// Whether a workload is measured of it.
    pub(crate) fn takes_part(self, of: Part) -> bool {
        match self {
            Self::FjallSingle => of == Part::Cas,
            Self::GannetUring | Self::GannetMmap => of == Part::Cold,
            Self::Redb | Self::Sqlite | Self::Sled => !matches!(of, Part::Cold | Part::Overwrite),
            #[cfg(feature = "rocksdb")]
            Self::Rocksdb => true,
            Self::Gannet | Self::Lmdb | Self::Fjall => true,
        }
    }

    /// The one of that name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|kind| kind.name() == name);
        found.copied().ok_or_else(|| format!("no store {name} in this build").into())
    }

    /// Opens one.
    pub(crate) fn open(self, open: &Open) -> Result<Box<dyn Store>> {
        Ok(match self {
            Self::Gannet => stores::gannet::open::<StdStorage>(open, StdStorage::open)?,
            Self::GannetUring => stores::gannet::open::<UringStorage>(open, UringStorage::open)?,
            Self::GannetMmap => stores::gannet::open::<MmapStorage>(open, MmapStorage::open)?,
            Self::Lmdb => Box::new(stores::lmdb::Lmdb::open(open)?),
            Self::Fjall => Box::new(stores::fjall::Fjall::open(open, false)?),
            Self::FjallSingle => Box::new(stores::fjall::Fjall::open(open, true)?),
            Self::Redb => Box::new(stores::redb::Redb::open(open)?),
            #[cfg(feature = "rocksdb")]
            Self::Rocksdb => stores::rocksdb::Rocks::open(open)?,
            Self::Sqlite => Box::new(stores::sqlite::Sqlite::open(open)?),
            Self::Sled => Box::new(stores::sled::Sled::open(open)?),
        })
    }
}
