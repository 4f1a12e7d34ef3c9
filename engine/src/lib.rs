//! An embedded, crash-safe engine for vectors and the records around them: one directory, one log,
//! one commit.
//!
//! A [`Database`] holds *collections* (vectors with ids and an HNSW graph) and *keyspaces* (ordered
//! bytes to bytes). Everything changes through one [`WriteBatch`], so that a vector and its
//! document are there together or not at all. `Ok` from [`Database::commit`] means that the batch
//! is on stable media, unless [`Config::durability`] says otherwise; `docs/DURABILITY.md` says what
//! that is worth, fault by fault.
//!
//! ```
//! use gannet::{Backend, Config, Database, Metric, Params, SearchOptions, WriteBatch};
//! use gannet::storage::DirOptions;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::path::Path::new("unused");
//! // `Backend::Auto` for a directory; memory needs none.
//! let storage = gannet::AnyStorage::open(Backend::Memory, dir, &DirOptions::create())?;
//! let db = Database::open(storage, Config::balanced())?;
//! db.create_collection("notes", Params::new(3, Metric::Cosine))?;
//!
//! let mut batch = WriteBatch::new();
//! batch.insert("notes", 7, &[0.0, 1.0, 0.5]);
//! batch.insert("notes", "a-name", &[1.0, 0.0, 0.0]);
//! batch.put("texts", b"7", b"what the vector stands for");
//! db.commit(batch)?; // all three, durably
//!
//! let hits = db.search("notes", &[0.1, 0.9, 0.4], &SearchOptions::new(1))?;
//! assert_eq!(hits[0].id, gannet::Id::Int(7));
//! assert_eq!(db.get("texts", b"7")?.as_deref(), Some(&b"what the vector stands for"[..]));
//! db.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! The storage is a type parameter down to the bottom. There are three ways to choose it, and a
//! directory written by one opens by every other:
//!
//! - by type: `Database::<UringStorage>::open(UringStorage::open(dir, &options)?, config)`;
//! - at run time: [`AnyStorage`] with a [`Backend`], of which [`Backend::Auto`] takes the best that
//!   works here; [`BackendInfo`] says what runs and why a better one does not;
//! - one's own: any implementation of [`storage::Storage`].
//!
//! The cargo features `std` (default), `uring` and `mmap` each compile a backend in, with its
//! storage type; none decides which one runs. They add up: a program that works with some of them
//! works with more.

#![forbid(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!(
    "the file formats are little-endian and vectors are used from the files as they are: \
     big-endian platforms are not supported"
);

// First: its macro is for all that follow.
#[macro_use]
mod mutants;

mod backend;
mod backup;
mod batch;
mod chance;
mod checkpoint;
mod clock;
mod codec;
mod collection;
mod commit;
mod config;
mod damage;
mod database;
mod error;
mod filter;
mod id;
mod indexer;
mod keeper;
mod keys;
pub mod limits;
mod log;
mod manifest;
mod memtable;
mod metrics;
mod names;
mod open;
mod probe;
mod read;
mod record;
mod replay;
mod root;
mod salvage;
mod scrub;
mod sealed;
mod search;
mod sequence;
mod settle;
mod snapshot;
mod state;
mod stats;
mod sync;
mod table;
mod transaction;
mod tree;
mod typed;
mod value;
mod verify;
mod workers;

#[cfg(feature = "mmap")]
pub use backend::MmapStorage;
#[cfg(feature = "std")]
pub use backend::StdStorage;
pub use backend::{
    AnyFile, AnyQueue, AnySealed, AnyStorage, AnyView, Backend, BackendInfo, UnknownBackend,
};
#[cfg(all(feature = "uring", target_os = "linux"))]
pub use backend::{UringOptions, UringStorage};
pub use backup::{BackupError, BackupReport, RestoreError, RestoreReport, restore};
pub use batch::WriteBatch;
pub use chance::{Chance, SeededChance, SystemChance};
pub use checkpoint::{CheckpointReport, CompactReport, OptimizeReport, Phase, Progress};
pub use clock::{Clock, SystemClock};
pub use collection::{CollectionMemory, MemoryUse};
pub use commit::{Commit, Ticket};
pub use config::{Config, ConfigError, Durability, RecoveryMode};
pub use damage::{Corruption, Damage, Lsn};
pub use database::Database;
pub use error::{
    CheckpointError, CloseError, CommitError, OpenError, ReadError, SearchError, ShowParams,
};
pub use filter::Filter;
pub use gannet_hnsw::Plan as SearchPlan;
pub use gannet_hnsw::{
    CHOICE_ROWS_MIN, Code, CodeChoice, CodeUnknown, Metric, Params, ParamsError,
};
pub use gannet_storage as storage;
pub use id::Id;
pub use metrics::Distribution;
#[cfg(mutants)]
pub use mutants::{ALL as MUTANTS, VARIABLE as MUTANT_VARIABLE};
pub use open::{IndexAction, RecoveryReport};
pub use probe::RecallEstimate;
pub use read::{Versioned, prefix_end};
pub use roaring;
pub use salvage::{FileDamage, Loss, Lost, SalvageError, SalvageProgress, SalvageReport, salvage};
pub use scrub::{ScrubOptions, ScrubProgress, ScrubReport};
pub use search::{Answer, Ef, Hit, How, SearchOptions};
pub use snapshot::Snapshot;
pub use stats::{
    CheckpointStats, CollectionStats, CommitStats, KeyStats, LevelStats, OpeningStats, Stats,
};
pub use table::Compression;
pub use transaction::{TransactOptions, Transaction};
pub use value::{Value, ValueError};
pub use verify::{Fault, VerifyReport, verify_storage};

/// The keyspace that the command line uses where none is named.
pub const DEFAULT_KEYSPACE: &str = "default";
