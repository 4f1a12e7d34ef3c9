//! What each family of calls can answer instead of `Ok`: where, what, why, with the cause kept.

use crate::backend::Backend;
use crate::config::ConfigError;
use crate::damage::{Corruption, Lsn, Newer};
use crate::id::Id;
use crate::value::ValueError;
use gannet_hnsw::{Params, ParamsError};
use gannet_storage::{Error as StorageError, ErrorKind};
use thiserror::Error;

/// Why a database did not open. Nothing on disk was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The storage refused: missing, locked, no permission, a device error.
    #[error("cannot open the database")]
    Storage(#[from] StorageError),
    /// Primary data is damaged, and no older checkpoint with its log makes up for it.
    #[error("the database is damaged")]
    Corrupt(#[from] Corruption),
    /// A database in memory begins with nothing.
    #[error("there is a database: one in memory begins with nothing")]
    InMemory,
    /// The directory has files, but no database.
    #[error("not a database: {file} is not a file of one")]
    NotADatabase {
        /// A file that does not belong.
        file: String,
    },
    /// A later version of the program wrote it.
    #[error(
        "{file} at byte {offset} has {what} {found}, newer than {supported}: use a newer program"
    )]
    NewerVersion {
        /// The file that says so.
        file: String,
        /// Byte in it where that begins which is newer; in a log segment, the frame or its body.
        offset: u64,
        /// What is newer: a version, a codec, flags, a kind of record.
        what: &'static str,
        /// The number found.
        found: u32,
        /// The newest that this program reads.
        supported: u32,
    },
    /// A setting is out of range.
    #[error("the configuration is not valid")]
    Config(#[from] ConfigError),
    /// The worker threads could not be started.
    #[error("cannot start worker threads")]
    Threads(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The backend was asked for by name, but its cargo feature is off.
    #[error("the {0} backend is not compiled in: turn on the cargo feature `{0}`")]
    NotCompiled(Backend),
    /// A table is compressed by a codec whose cargo feature is off.
    #[error("{file} is compressed with {feature}: turn on the cargo feature `{feature}`")]
    CodecNotCompiled {
        /// The table.
        file: String,
        /// The feature, called like the codec.
        feature: &'static str,
    },
}

impl OpenError {
    /// A file whose header has a version that is not known.
    pub(crate) fn newer_format(file: impl AsRef<str>, found: u32, supported: u32) -> Self {
        let (file, what) = (file.as_ref().to_owned(), "format version");
        Self::NewerVersion { file, offset: 0, what, found, supported }
    }

    /// A place in a file where there is something that a later program wrote.
    pub(crate) fn newer_at(file: impl AsRef<str>, offset: u64, newer: Newer) -> Self {
        let Newer { what, found, supported } = newer;
        let (file, found, supported) = (file.as_ref().to_owned(), found.into(), supported.into());
        Self::NewerVersion { file, offset, what, found, supported }
    }
}

/// Why a batch was not committed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The batch has no operation.
    #[error("the batch is empty")]
    EmptyBatch,
    /// No such collection.
    #[error("there is no collection `{name}`")]
    UnknownCollection {
        /// Its name.
        name: String,
    },
    /// A database in memory makes nothing durable, and one on a storage makes everything so.
    #[error(
        "not as durable as asked: whether a database is in memory is decided when it is opened"
    )]
    InMemory,
    /// There is one of that name with other parameters.
    #[error("collection `{name}` exists with {existing}, not {asked}")]
    CollectionExists {
        /// Its name.
        name: String,
        /// Its parameters.
        existing: ShowParams,
        /// The parameters asked for.
        asked: ShowParams,
    },
    /// Parameters of a new collection are out of range.
    #[error("parameters of collection `{name}` are not valid")]
    Params {
        /// Its name.
        name: String,
        /// What is wrong.
        source: ParamsError,
    },
    /// `insert` of an id that is there; use `upsert` to replace it.
    #[error("collection `{collection}` has a vector with id {id} already")]
    DuplicateId {
        /// The collection.
        collection: String,
        /// The id.
        id: Id,
    },
    /// A vector is not as long as the collection's.
    #[error("collection `{collection}` has {expected} dimensions, vector {id} has {found}")]
    Dimension {
        /// The collection.
        collection: String,
        /// The id.
        id: Id,
        /// Dimensions of the collection.
        expected: u32,
        /// Components of the vector.
        found: usize,
    },
    /// A component is NaN or infinite.
    #[error("component {component} of vector {id} for `{collection}` is not a finite number")]
    NotFinite {
        /// The collection.
        collection: String,
        /// The id.
        id: Id,
        /// Index of the first such component.
        component: usize,
    },
    /// A component is neither 0 nor 1, in a collection that counts components that differ.
    #[error("component {component} of vector {id} for `{collection}` is neither 0 nor 1")]
    NotBinary {
        /// The collection.
        collection: String,
        /// The id.
        id: Id,
        /// Index of the first such component.
        component: usize,
    },
    /// A vector without direction in a collection that compares directions.
    #[error("vector {id} for `{collection}` is zero: under cosine it has no direction")]
    ZeroVector {
        /// The collection.
        collection: String,
        /// The id.
        id: Id,
    },
    /// A name is empty, too long, or has a character that names do not have.
    #[error(
        "`{name}` is not a name: 1 to 255 bytes of letters, digits, `_`, `-`, `.`, no leading dot"
    )]
    Name {
        /// The name, shortened.
        name: String,
    },
    /// Something is longer than its limit.
    #[error("{what} of {found} is over the limit of {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The most it may be.
        limit: usize,
    },
    /// An empty key or id.
    #[error("{what} is empty")]
    Empty {
        /// What.
        what: &'static str,
    },
    /// The disk is full. Nothing of the batch was written; the database goes on, unless it was the
    /// directory that could not be synced.
    #[error("no space for the log")]
    NoSpace(#[source] StorageError),
    /// The storage refused or failed before anything of the batch was written. Where it failed the
    /// database takes no more writes.
    #[error("the log cannot be written")]
    Refused(#[source] StorageError),
    /// The batch may or may not be durable; a reopen will tell. The database takes no more writes.
    #[error("it is unknown whether the batch is durable: reopen the database")]
    Unknown(#[source] StorageError),
    /// An earlier write failed. Reads go on; only a reopen clears it.
    #[error("an earlier write failed: the database takes no more writes until it is reopened")]
    Poisoned,
    /// Memory for keys is full, and they cannot be written to tables: most likely the disk is full.
    /// Nothing of the batch was written. Writing them is tried again by itself, and commits go on
    /// when it succeeds.
    #[error("no room in memory for more keys, and tables cannot be written: {reason}")]
    MemtableFull {
        /// Why the last table could not be written.
        reason: String,
    },
    /// A key that the batch depends on is not as it was: its version is another one than was
    /// expected, or a transaction read it, or a range with it, before it was changed. Nothing of
    /// the batch was done.
    #[error("`{keyspace}` was changed meanwhile: {} has version {version}", Id::from(&key[..]))]
    Conflict {
        /// The keyspace.
        keyspace: String,
        /// The key; empty where the keyspace itself was dropped, or made anew.
        key: Vec<u8>,
        /// Its version now, or that of a commit in flight; 0 if it is not there.
        version: Lsn,
    },
    /// What the batch depends on cannot be read. Nothing of the batch was done.
    #[error("what the commit depends on cannot be read")]
    Unread(#[from] ReadError),
    /// More than [`max_pending_rows`](crate::Config::max_pending_rows) wait for the graph of a
    /// collection, and it learns none of them: a vector of the collection is damaged. Nothing of
    /// the batch was written; one that does not change the collection goes on.
    #[error("too many rows wait for the graph of `{collection}`, which learns no more")]
    GraphStopped {
        /// The collection.
        collection: String,
        /// What is damaged.
        source: Box<Corruption>,
    },
}

impl CommitError {
    /// What the reading of tables says.
    pub(crate) fn of_tables(error: OpenError) -> Self {
        Self::Unread(error.into())
    }

    /// What a storage error means before anything of a batch was written.
    pub(crate) fn refused(error: StorageError) -> Self {
        if error.kind() == ErrorKind::NoSpace { Self::NoSpace(error) } else { Self::Refused(error) }
    }
}

/// Why a database was not closed in order. Everything acknowledged is durable all the same.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The witness of the last commit was not written: damage to that commit, should it come before
    /// the next one, will be taken for a torn write.
    #[error("the witness of the last commit was not written")]
    Witness(#[source] StorageError),
    /// The checkpoint that closing makes was not made; there is no witness either.
    #[error("the checkpoint at closing was not made")]
    Checkpoint(#[source] CheckpointError),
    /// An earlier write had failed.
    #[error("an earlier write failed: reopen the database to see what is durable")]
    Poisoned,
}

/// Parameters as a person writes them.
#[derive(Clone, Debug, PartialEq)]
pub struct ShowParams(pub Params);

impl std::fmt::Display for ShowParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Params { dims, metric, m, ef_construction, seed, code } = &self.0;
        write!(
            f,
            "{dims} dimensions, {metric}, m {m}, ef_construction {ef_construction}, seed {seed}, \
             code {code}"
        )
    }
}

/// Why something was not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No such collection.
    #[error("there is no collection `{name}`")]
    UnknownCollection {
        /// Its name.
        name: String,
    },
    /// What was wanted is damaged. Of keys that is found when they are read; of vectors when they
    /// are first read where the storage maps files, and elsewhere the database is not opened.
    #[error("what was wanted is damaged")]
    Corrupt(#[from] Corruption),
    /// The storage refused.
    #[error("a table could not be read")]
    Storage(#[from] StorageError),
    /// A table is of another kind than this program reads.
    #[error("a table could not be read")]
    Table(#[source] Box<OpenError>),
    /// A typed value was asked for, of a key that was put as bytes.
    #[error("key {} of keyspace `{keyspace}` has no typed value", key.escape_ascii())]
    Untyped {
        /// The keyspace.
        keyspace: String,
        /// The key.
        key: Vec<u8>,
        /// What is wrong with its bytes.
        source: ValueError,
    },
}

impl From<OpenError> for ReadError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Corrupt(corruption) => Self::Corrupt(corruption),
            OpenError::Storage(error) => Self::Storage(error),
            error @ (OpenError::InMemory
            | OpenError::NotADatabase { .. }
            | OpenError::NewerVersion { .. }
            | OpenError::Config(_)
            | OpenError::Threads(_)
            | OpenError::NotCompiled(_)
            | OpenError::CodecNotCompiled { .. }) => Self::Table(Box::new(error)),
        }
    }
}

/// Why a search gave no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SearchError {
    /// No such collection.
    #[error("there is no collection `{name}`")]
    UnknownCollection {
        /// Its name.
        name: String,
    },
    /// `k` is 0.
    #[error("k is 0: ask for at least one neighbour")]
    ZeroK,
    /// `ef` is 0.
    #[error("ef is 0: it must be at least 1")]
    ZeroEf,
    /// A recall target is not above 0 and below 1.
    #[error("recall target {found} is not above 0 and below 1")]
    RecallTarget {
        /// The target.
        found: f32,
    },
    /// The query is not as long as the collection's vectors.
    #[error("collection `{collection}` has {expected} dimensions, the query has {found}")]
    Dimension {
        /// The collection.
        collection: String,
        /// Dimensions of the collection.
        expected: u32,
        /// Components of the query.
        found: usize,
    },
    /// A component is NaN or infinite.
    #[error("component {component} of the query is not a finite number")]
    NotFinite {
        /// Index of the first such component.
        component: usize,
    },
    /// A component is neither 0 nor 1, of a query that components that differ are counted from.
    #[error("component {component} of the query is neither 0 nor 1")]
    NotBinary {
        /// Index of the first such component.
        component: usize,
    },
    /// A query without direction in a collection that compares directions.
    #[error("the query is zero: under cosine it has no direction")]
    ZeroVector,
    /// A vector that the search had to look at is damaged, as in [`ReadError::Corrupt`]. Searches
    /// that look at others go on.
    #[error("a vector is damaged")]
    Corrupt(#[from] Corruption),
}

/// Why a checkpoint was not made. The one before stays in force, unless the database was poisoned
/// by it: then only a reopen can tell.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The storage refused.
    #[error("the checkpoint could not be written")]
    Storage(#[from] StorageError),
    /// A file does not hold what was written, or could not be read.
    #[error("a file of the checkpoint is not as it was written")]
    ReadBack(#[source] OpenError),
    /// There is no such collection to optimize.
    #[error("there is no collection `{name}`")]
    UnknownCollection {
        /// Its name.
        name: String,
    },
    /// A vector or a table is damaged: nothing is made of the rows of that collection, no graph and
    /// no file, and no table of keys that are in that one.
    #[error("what was to be written anew is damaged")]
    Corrupt(#[from] Corruption),
    /// The caller's progress function asked to stop.
    #[error("the checkpoint was cancelled")]
    Cancelled,
    /// The worker threads could not be started.
    #[error("cannot start worker threads")]
    Threads(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An earlier write failed; a poisoned database makes no checkpoint.
    #[error("an earlier write failed: the database takes no more writes until it is reopened")]
    Poisoned,
}

impl CheckpointError {
    /// What the writing of tables says, of which others are read.
    pub(crate) fn of_tables(error: OpenError) -> Self {
        match error {
            OpenError::Corrupt(corruption) => Self::Corrupt(corruption),
            OpenError::Storage(error) => Self::Storage(error),
            error @ (OpenError::InMemory
            | OpenError::NotADatabase { .. }
            | OpenError::NewerVersion { .. }
            | OpenError::Config(_)
            | OpenError::Threads(_)
            | OpenError::NotCompiled(_)
            | OpenError::CodecNotCompiled { .. }) => Self::ReadBack(error),
        }
    }
}

/// An error and its causes on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
