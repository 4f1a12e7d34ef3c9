//! Optimistic transactions: reads at one record, writes kept back, all of it as if done at once.
//!
//! Keeps what a transaction has read and what it will write. Nobody is kept waiting by one; whether
//! what it read has changed meanwhile is found out when it is committed (`commit/condition`).

use crate::batch::WriteBatch;
use crate::commit::Commit;
use crate::commit::condition::{Conditions, KeyspaceReads, Range, Reads};
use crate::config::Durability;
use crate::damage::Lsn;
use crate::database::Database;
use crate::error::{CommitError, ReadError, SearchError};
use crate::id::Id;
use crate::keys::is_empty_range;
use crate::search::{Answer, SearchOptions};
use crate::snapshot::Snapshot;
use crate::table::Direction;
use gannet_storage::Storage;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

/// A transaction: reads see the database as it was when it began, and what the transaction itself
/// has written; nobody sees that before it is committed.
///
/// [`commit`](Self::commit) does all of it, or nothing and says [`CommitError::Conflict`], where a
/// key that was read has been written by somebody else since, or a range of keys that was scanned
/// has got or lost one. So transactions are serializable, as far as keys go: searches and vectors
/// are read at the same record, but whether they have changed is not looked at.
///
/// Versions of keys are kept as long as there is a transaction that may read them: commit or drop
/// it soon.
pub struct Transaction<'d, S: Storage> {
    database: &'d Database<S>,
    snapshot: Snapshot<'d, S>,
    keyspaces: BTreeMap<String, OfKeyspace>,
    batch: WriteBatch,
}

/// What a transaction has read and will write, of one keyspace.
#[derive(Debug, Default)]
struct OfKeyspace {
    keys: BTreeSet<Vec<u8>>,
    ranges: Vec<Range<Vec<u8>>>,
    /// `None` deletes the key.
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// How often and how long a transaction is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactOptions {
    /// How often at the most, at least once. Default 64.
    pub attempts_max: u32,
    /// None is begun after so long, but the first. Default 5 s.
    pub time_limit: Duration,
}

impl Default for TransactOptions {
    fn default() -> Self {
        Self { attempts_max: 64, time_limit: Duration::from_secs(5) }
    }
}

impl<S: Storage> Database<S> {
    /// Begins a transaction.
    #[must_use]
    pub fn transaction(&self) -> Transaction<'_, S> {
        Transaction {
            database: self,
            snapshot: self.snapshot(),
            keyspaces: BTreeMap::new(),
            batch: WriteBatch::new(),
        }
    }

    /// Runs `body` in a transaction and commits it, again from the beginning where that is a
    /// conflict, as often as the [default options](TransactOptions) say. What `body` gives is given
    /// back with the commit.
    ///
    /// # Errors
    /// What `body` says, whatever it is: then nothing was done. `Conflict` of the last attempt;
    /// what else a [`commit`](Transaction::commit) says.
    pub fn transact<T, E: From<CommitError>>(
        &self,
        body: impl FnMut(&mut Transaction<'_, S>) -> Result<T, E>,
    ) -> Result<(T, Commit), E> {
        self.transact_with(&TransactOptions::default(), body)
    }

    /// As [`transact`](Self::transact), as often as `options` say.
    ///
    /// # Errors
    /// As [`transact`](Self::transact).
    pub fn transact_with<T, E: From<CommitError>>(
        &self,
        options: &TransactOptions,
        mut body: impl FnMut(&mut Transaction<'_, S>) -> Result<T, E>,
    ) -> Result<(T, Commit), E> {
        let clock = &self.core.clock;
        let began = clock.now();
        let mut attempts = 0;
        loop {
            let mut transaction = self.transaction();
            let given = body(&mut transaction)?;
            attempts += 1;
            let is_last = attempts >= options.attempts_max
                || clock.now().saturating_sub(began) >= options.time_limit;
            match transaction.commit() {
                Ok(commit) => return Ok((given, commit)),
                Err(CommitError::Conflict { .. }) if !is_last => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sets the value of a key, or deletes it for `None`, if its version is `version`: what
    /// [`get_versioned`](Self::get_versioned) said, or 0 for a key that is not there. Its new
    /// version, unless it is deleted, is [`Commit::last_lsn`].
    ///
    /// # Errors
    /// `Conflict` with the version that there is; as [`commit`](Self::commit).
    pub fn cas(
        &self,
        keyspace: &str,
        key: &[u8],
        version: Lsn,
        value: Option<&[u8]>,
    ) -> Result<Commit, CommitError> {
        let mut batch = WriteBatch::new();
        batch.expect_version(keyspace, key, version);
        match value {
            Some(value) => batch.put(keyspace, key, value),
            None => batch.delete(keyspace, key),
        }
        self.commit(batch)
    }
}

impl<S: Storage> Transaction<'_, S> {
    /// The last record that its reads see.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.snapshot.lsn()
    }

    /// The value of a key; `None` where key or keyspace is not there.
    ///
    /// # Errors
    /// As [`Database::get`].
    pub fn get(&mut self, keyspace: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let of = self.of(keyspace);
        if let Some(written) = of.writes.get(key) {
            return Ok(written.clone());
        }
        if !of.keys.contains(key) {
            of.keys.insert(key.to_vec());
        }
        self.snapshot.get(keyspace, key)
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// As [`Database::get`].
    pub fn exists(&mut self, keyspace: &str, key: &[u8]) -> Result<bool, ReadError> {
        Ok(self.get(keyspace, key)?.is_some())
    }

    /// Gives each key of a range with its value to `each`, in order, until it breaks. What is
    /// behind the key at which it broke counts as not read.
    ///
    /// # Errors
    /// As [`Database::get`].
    pub fn scan(
        &mut self,
        keyspace: &str,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.scan_in(keyspace, (from, to), Direction::Forward, each)
    }

    /// As [`scan`](Self::scan), the last key first.
    ///
    /// # Errors
    /// As [`Database::get`].
    pub fn scan_back(
        &mut self,
        keyspace: &str,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.scan_in(keyspace, (from, to), Direction::Backward, each)
    }

    fn scan_in(
        &mut self,
        keyspace: &str,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        if is_empty_range(from, to) {
            return Ok(());
        }
        let of = self.keyspaces.entry(keyspace.to_owned()).or_default();
        // Those that come next last.
        let writes = of.writes.range::<[u8], _>((from, to));
        let mut written: Vec<_> = match direction {
            Direction::Forward => writes.rev().collect(),
            Direction::Backward => writes.collect(),
        };
        let is_before = |a: &[u8], b: &[u8]| match direction {
            Direction::Forward => a < b,
            Direction::Backward => a > b,
        };
        let mut ended = None;
        let mut give = |key: &[u8], value: &[u8]| {
            let flow = each(key, value);
            if flow.is_break() {
                ended = Some(key.to_vec());
            }
            flow
        };
        let mut is_over = false;
        let read = |key: &[u8], value: &[u8]| {
            while let Some((next, value)) = written.pop_if(|(next, _)| is_before(next, key)) {
                if let Some(value) = value
                    && give(next, value).is_break()
                {
                    is_over = true;
                    return ControlFlow::Break(());
                }
            }
            let flow = match written.pop_if(|(next, _)| *next == key) {
                Some((_, Some(written))) => give(key, written),
                Some((_, None)) => ControlFlow::Continue(()),
                None => give(key, value),
            };
            is_over |= flow.is_break();
            flow
        };
        match direction {
            Direction::Forward => self.snapshot.scan(keyspace, from, to, read)?,
            Direction::Backward => self.snapshot.scan_back(keyspace, from, to, read)?,
        }
        if !is_over {
            while let Some((next, value)) = written.pop() {
                if let Some(value) = value
                    && give(next, value).is_break()
                {
                    break;
                }
            }
        }
        let (from, to) = (from.map(<[u8]>::to_vec), to.map(<[u8]>::to_vec));
        of.ranges.push(match (ended, direction) {
            (None, _) => (from, to),
            (Some(last), Direction::Forward) => (from, Bound::Included(last)),
            (Some(last), Direction::Backward) => (Bound::Included(last), to),
        });
        Ok(())
    }

    /// As [`Snapshot::search`]: what the transaction itself has written is not found.
    ///
    /// # Errors
    /// As [`Database::search`].
    ///
    /// # Panics
    /// As [`Database::search`].
    pub fn search(
        &self,
        collection: &str,
        query: &[f32],
        options: &SearchOptions,
    ) -> Result<Answer, SearchError> {
        self.snapshot.search(collection, query, options)
    }

    /// Sets the value of a key. The keyspace is made if it is new.
    pub fn put(&mut self, keyspace: &str, key: &[u8], value: &[u8]) {
        self.of(keyspace).writes.insert(key.to_vec(), Some(value.to_vec()));
    }

    /// Deletes a key. No change where it is not there.
    pub fn delete(&mut self, keyspace: &str, key: &[u8]) {
        self.of(keyspace).writes.insert(key.to_vec(), None);
    }

    /// As [`WriteBatch::insert`].
    pub fn insert(&mut self, collection: &str, id: impl Into<Id>, vector: &[f32]) {
        self.batch.insert(collection, id, vector);
    }

    /// As [`WriteBatch::upsert`].
    pub fn upsert(&mut self, collection: &str, id: impl Into<Id>, vector: &[f32]) {
        self.batch.upsert(collection, id, vector);
    }

    /// As [`WriteBatch::delete_row`].
    pub fn delete_row(&mut self, collection: &str, id: impl Into<Id>) {
        self.batch.delete_row(collection, id);
    }

    /// Commits what was written, if what was read is as it was. One that has written nothing has
    /// nothing to commit: what it read was true when it began.
    ///
    /// # Errors
    /// `Conflict`: nothing was done, begin again. As [`Database::commit`].
    pub fn commit(self) -> Result<Commit, CommitError> {
        let durability = self.database.core.durability;
        self.commit_with(durability)
    }

    /// As [`commit`](Self::commit), with the durability of this transaction.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_with(self, durability: Durability) -> Result<Commit, CommitError> {
        let Self { database, snapshot, keyspaces, mut batch } = self;
        let mut reads = Vec::new();
        for (name, OfKeyspace { keys, ranges, writes }) in keyspaces {
            for (key, value) in &writes {
                match value {
                    Some(value) => batch.put(&name, key, value),
                    None => batch.delete(&name, key),
                }
            }
            if !keys.is_empty() || !ranges.is_empty() {
                let number = snapshot.keyspace_number(&name);
                let keys = keys.into_iter().collect();
                reads.push(KeyspaceReads { name, number, keys, ranges });
            }
        }
        let lsn = snapshot.lsn();
        if batch.is_empty() {
            return Ok(Commit { first_lsn: lsn + 1, last_lsn: lsn });
        }
        if !reads.is_empty() {
            let reads = Some(Reads { lsn, keyspaces: reads });
            batch.set_conditions(Conditions { versions: Vec::new(), reads });
        }
        // The snapshot is held to the end: versions behind it are looked at.
        let committed = database.commit_with(batch, durability);
        drop(snapshot);
        committed
    }

    fn of(&mut self, keyspace: &str) -> &mut OfKeyspace {
        if !self.keyspaces.contains_key(keyspace) {
            self.keyspaces.insert(keyspace.to_owned(), OfKeyspace::default());
        }
        self.keyspaces.get_mut(keyspace).expect("it is there")
    }
}

impl<S: Storage> std::fmt::Debug for Transaction<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("lsn", &self.lsn()).finish_non_exhaustive()
    }
}
