//! Snapshots: keys and rows as they were at one record.
//!
//! Keeps what is read together at one record, and holds it until it is dropped. How keys are read
//! is `read`'s business, how rows are searched `search`'s.

use crate::collection::Collection;
use crate::damage::Lsn;
use crate::database::{Database, ViewOf};
use crate::error::{ReadError, SearchError};
use crate::id::Id;
use crate::read::{KeysAt, Versioned, versioned};
use crate::search::{Answer, SearchOptions};
use crate::table::Direction;
use gannet_hnsw::Executor;
use gannet_storage::Storage;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// A database as it was at one record: all of every batch up to it, and nothing of any behind it.
///
/// Taking one costs a step for each collection and keeps nobody waiting. While there is one, the
/// versions of keys that it reads stay in memory and tables, and a collection that is written to
/// keeps what it was: drop it when it is not needed any more.
pub struct Snapshot<'d, S: Storage> {
    keys: KeysAt<'d, S>,
    collections: BTreeMap<String, Arc<Collection<ViewOf<S>>>>,
}

impl<S: Storage> Database<S> {
    /// The database as it is now, to be read later.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_, S> {
        // No batch that changes rows takes effect meanwhile.
        let state = self.core.state.read();
        let collections = state.collections().map(|live| {
            let now = Arc::clone(live.now());
            (now.name.clone(), now)
        });
        let collections = collections.collect();
        Snapshot { keys: self.core.keys_in(&state), collections }
    }
}

impl<S: Storage> Snapshot<'_, S> {
    /// The last record that it sees.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.keys.lsn()
    }

    /// The names of all keyspaces, in order of creation.
    #[must_use]
    pub fn keyspaces(&self) -> Vec<String> {
        self.keys.keyspaces().iter().map(|(_, name)| name.to_owned()).collect()
    }

    pub(crate) fn keyspace_number(&self, name: &str) -> Option<u32> {
        self.keys.keyspaces().number_of(name)
    }

    /// As [`Database::get`].
    ///
    /// # Errors
    /// As [`Database::get`].
    pub fn get(&self, keyspace: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.keys.get(keyspace, key)?.and_then(|found| found.value))
    }

    /// As [`Database::get_versioned`].
    ///
    /// # Errors
    /// As [`Database::get`].
    pub fn get_versioned(
        &self,
        keyspace: &str,
        key: &[u8],
    ) -> Result<Option<Versioned>, ReadError> {
        Ok(self.keys.get(keyspace, key)?.and_then(versioned))
    }

    /// As [`Database::get_many`].
    ///
    /// # Errors
    /// As [`Database::get`].
    pub fn get_many(
        &self,
        keyspace: &str,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        self.keys.get_many(keyspace, keys)
    }

    /// As [`Database::scan`].
    ///
    /// # Errors
    /// As [`Database::get`].
    pub fn scan(
        &self,
        keyspace: &str,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.keys.scan(keyspace, (from, to), Direction::Forward, each)
    }

    /// As [`Database::scan_back`].
    ///
    /// # Errors
    /// As [`Database::get`].
    pub fn scan_back(
        &self,
        keyspace: &str,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.keys.scan(keyspace, (from, to), Direction::Backward, each)
    }

    /// As [`Database::search`]. A filter of ids looks at the id of every row, the first time.
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
        let unknown = || SearchError::UnknownCollection { name: collection.to_owned() };
        let now = self.collections.get(collection).ok_or_else(unknown)?;
        let find = |filter: Option<&crate::Filter>| {
            Ok((Arc::clone(now), filter.and_then(|filter| now.passing_then(filter))))
        };
        let mut answers = self.keys.core().search(find, &[query], options, &Executor::Serial)?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// As [`Database::get_vector`]. Where the id has been given to another row since, or taken
    /// away, every row is looked at.
    ///
    /// # Errors
    /// As [`Database::get_vector`].
    pub fn get_vector(&self, collection: &str, id: &Id) -> Result<Option<Vec<f32>>, ReadError> {
        let unknown = || ReadError::UnknownCollection { name: collection.to_owned() };
        let then = self.collections.get(collection).ok_or_else(unknown)?;
        let guess = {
            let state = self.keys.core().state.read();
            state.collection(collection).and_then(|live| live.row_of(id))
        };
        let Some(row) = then.row_of_id(id, guess) else { return Ok(None) };
        Ok(Some(then.vector(row)?))
    }
}

impl<S: Storage> std::fmt::Debug for Snapshot<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("lsn", &self.lsn()).finish_non_exhaustive()
    }
}
