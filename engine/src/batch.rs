//! A batch: changes that happen together or not at all.
//!
//! Keeps what the caller asked for, in order, unchecked. Whether it can be done is `sequence`'s
//! business, when the batch is committed.

use crate::commit::condition::{Conditions, KeyVersion};
use crate::damage::Lsn;
use crate::id::Id;
use gannet_hnsw::Params;
use std::ops::Range;

/// Changes of collections and keyspaces to be committed as one.
///
/// Building one checks nothing; [`Database::commit`](crate::Database::commit) checks everything and
/// applies all or nothing. Later operations see earlier ones of the same batch.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    ops: Vec<Op>,
    names: Vec<Box<str>>,
    bytes: Vec<u8>,
    floats: Vec<f32>,
    is_bulk: bool,
    conditions: Option<Box<Conditions>>,
}

/// An operation, its name and data by place in the batch.
#[derive(Clone, Debug)]
enum Op {
    CreateCollection { name: usize, params: Params },
    Insert { name: usize, id: Id, vector: Range<usize>, replace: bool },
    DeleteRow { name: usize, id: Id },
    Cut { collection: u32 },
    DropKeyspace { name: usize },
    Put { name: usize, key: Range<usize>, value: Range<usize> },
    Delete { name: usize, key: Range<usize> },
}

/// An operation as `sequence` reads it.
#[derive(Clone, Debug)]
pub(crate) enum Change<'a> {
    CreateCollection { name: &'a str, params: &'a Params },
    Insert { collection: &'a str, id: &'a Id, vector: &'a [f32], replace: bool },
    DeleteRow { collection: &'a str, id: &'a Id },
    Cut { collection: u32 },
    DropKeyspace { keyspace: &'a str },
    Put { keyspace: &'a str, key: &'a [u8], value: &'a [u8] },
    Delete { keyspace: &'a str, key: &'a [u8] },
}

impl WriteBatch {
    /// A batch without operations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a collection. No change where it exists with the same parameters.
    pub fn create_collection(&mut self, name: &str, params: Params) {
        let name = self.name(name);
        self.ops.push(Op::CreateCollection { name, params });
    }

    /// Adds a vector under an id that is not there yet.
    pub fn insert(&mut self, collection: &str, id: impl Into<Id>, vector: &[f32]) {
        self.push_vector(collection, id.into(), vector, false);
    }

    /// Adds a vector, replacing the one with that id if it is there.
    pub fn upsert(&mut self, collection: &str, id: impl Into<Id>, vector: &[f32]) {
        self.push_vector(collection, id.into(), vector, true);
    }

    /// Removes the vector with that id. No change where it is not there.
    pub fn delete_row(&mut self, collection: &str, id: impl Into<Id>) {
        let name = self.name(collection);
        self.ops.push(Op::DeleteRow { name, id: id.into() });
    }

    /// Sets the value of a key. The keyspace is made if it is new.
    pub fn put(&mut self, keyspace: &str, key: &[u8], value: &[u8]) {
        let name = self.name(keyspace);
        self.bytes.reserve(key.len() + value.len());
        let (key, value) = (self.bytes(key), self.bytes(value));
        self.ops.push(Op::Put { name, key, value });
    }

    /// Removes a key. No change where it is not there.
    pub fn delete(&mut self, keyspace: &str, key: &[u8]) {
        let name = self.name(keyspace);
        let key = self.bytes(key);
        self.ops.push(Op::Delete { name, key });
    }

    /// Removes a keyspace with every key in it, at once. No change where it is not there. A later
    /// [`put`](Self::put) makes it anew, empty. The space is given back as tables are merged, at
    /// the latest by [`Database::compact`](crate::Database::compact).
    pub fn drop_keyspace(&mut self, keyspace: &str) {
        let name = self.name(keyspace);
        self.ops.push(Op::DropKeyspace { name });
    }

    /// Has the batch done only if the version of a key is this when it is committed: what
    /// [`Database::get_versioned`](crate::Database::get_versioned) said of it, or 0 for a key that
    /// is not there. Else the commit ends with [`Conflict`](crate::CommitError::Conflict). Not
    /// changed by what the batch itself does.
    pub fn expect_version(&mut self, keyspace: &str, key: &[u8], version: Lsn) {
        let (keyspace, key) = (keyspace.to_owned(), key.to_vec());
        let conditions = self.conditions.get_or_insert_default();
        conditions.versions.push(KeyVersion { keyspace, key, version });
    }

    /// What must hold for it to be done.
    pub(crate) fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = Some(Box::new(conditions));
    }

    pub(crate) fn conditions(&self) -> Option<&Conditions> {
        self.conditions.as_deref()
    }

    /// Says whether this is part of a bulk import: one that does not wait while more than
    /// [`Config::max_pending_rows`](crate::Config::max_pending_rows) rows are still to be put into
    /// a graph. Searches look at all of these rows one by one, until the graph holds them.
    pub fn set_bulk(&mut self, is_bulk: bool) {
        self.is_bulk = is_bulk;
    }

    /// Ends a batch of changes of a collection's graph here.
    pub(crate) fn cut(&mut self, collection: u32) {
        self.ops.push(Op::Cut { collection });
    }

    /// Collections with rows that it adds, unless it is one that does not wait for graphs.
    pub(crate) fn collections_to_learn(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<usize> = Vec::new();
        for op in &self.ops {
            if let Op::Insert { name, .. } = op
                && !self.is_bulk
                && !names.contains(name)
            {
                names.push(*name);
            }
        }
        names.into_iter().map(|name| &*self.names[name])
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// About as many bytes as its records will have.
    pub(crate) fn body_len_hint(&self) -> usize {
        const RECORD_OVERHEAD: usize = 32;
        self.bytes.len() + 4 * self.floats.len() + RECORD_OVERHEAD * self.ops.len()
    }

    pub(crate) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.ops.iter().map(|op| self.change(op))
    }

    fn change<'a>(&'a self, op: &'a Op) -> Change<'a> {
        match op {
            Op::CreateCollection { name, params } => {
                Change::CreateCollection { name: &self.names[*name], params }
            }
            Op::Insert { name, id, vector, replace } => Change::Insert {
                collection: &self.names[*name],
                id,
                vector: &self.floats[vector.clone()],
                replace: *replace,
            },
            Op::DeleteRow { name, id } => Change::DeleteRow { collection: &self.names[*name], id },
            Op::Cut { collection } => Change::Cut { collection: *collection },
            Op::DropKeyspace { name } => Change::DropKeyspace { keyspace: &self.names[*name] },
            Op::Put { name, key, value } => Change::Put {
                keyspace: &self.names[*name],
                key: &self.bytes[key.clone()],
                value: &self.bytes[value.clone()],
            },
            Op::Delete { name, key } => {
                Change::Delete { keyspace: &self.names[*name], key: &self.bytes[key.clone()] }
            }
        }
    }

    fn push_vector(&mut self, collection: &str, id: Id, vector: &[f32], replace: bool) {
        let name = self.name(collection);
        let start = self.floats.len();
        self.floats.extend_from_slice(vector);
        self.ops.push(Op::Insert { name, id, vector: start..self.floats.len(), replace });
    }

    /// Batches name few things, mostly the one they named last.
    fn name(&mut self, name: &str) -> usize {
        self.names.iter().rposition(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        })
    }

    fn bytes(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}
