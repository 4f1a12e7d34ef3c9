//! Opening the database that a verb works on.

use gannet::storage::DirOptions;
use gannet::{AnyStorage, CollectionStats, Config, Database, Durability};

use crate::args::DatabaseArgs;
use crate::failure::Failure;

/// A database on the backend that the command line names.
pub(crate) type Db = Database<AnyStorage>;

/// What a verb expects to find at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// A database, or nothing, in place of which one is made.
    Anything,
    /// A database; where nothing is, nothing is made.
    Existing,
}

/// Opens the directory alone, without looking at what it holds.
pub(crate) fn open_storage(args: &DatabaseArgs, expect: Expect) -> Result<AnyStorage, Failure> {
    let options = match expect {
        Expect::Anything => DirOptions::create(),
        Expect::Existing => DirOptions::existing(),
    };
    AnyStorage::open(args.backend, &args.db, &options)
        .map_err(|source| Failure::open(args.db.clone(), source))
}

/// Opens the database; `threads` are those of its parallel loops, by default one a core.
pub(crate) fn open(
    args: &DatabaseArgs,
    expect: Expect,
    threads: Option<u16>,
) -> Result<Db, Failure> {
    open_committing(args, expect, threads, Durability::Strict)
}

/// As [`open`], for commits that are worth `durability`.
pub(crate) fn open_committing(
    args: &DatabaseArgs,
    expect: Expect,
    threads: Option<u16>,
    durability: Durability,
) -> Result<Db, Failure> {
    let mut config = Config::balanced();
    config.threads = threads.map_or(0, usize::from);
    config.durability = durability;
    open_with(args, expect, config)
}

/// Opens the database for one commit. Each process that writes begins a log segment: this one's is
/// short, so that many such processes do not fill the disk with what they did not need.
pub(crate) fn open_for_one_commit(
    args: &DatabaseArgs,
    expect: Expect,
    durability: Durability,
) -> Result<Db, Failure> {
    let mut config = Config::balanced();
    config.durability = durability;
    config.segment_bytes = 64 << 10;
    open_with(args, expect, config)
}

fn open_with(args: &DatabaseArgs, expect: Expect, config: Config) -> Result<Db, Failure> {
    let storage = open_storage(args, expect)?;
    Database::open(storage, config).map_err(|source| Failure::open(args.db.clone(), source))
}

/// A durability as the command line names it.
pub(crate) fn durability_name(durability: Durability) -> &'static str {
    if durability == Durability::Buffered { "buffered" } else { "strict" }
}

/// Name of the backend that really runs.
pub(crate) fn backend_name(database: &Db) -> &'static str {
    database.backend_info().caps.name
}

/// The collection of that name, which must be there.
pub(crate) fn collection(
    database: &Db,
    args: &DatabaseArgs,
    name: &str,
) -> Result<CollectionStats, Failure> {
    database
        .collection(name)
        .ok_or_else(|| Failure::NoCollection { dir: args.db.clone(), name: name.to_string() })
}
