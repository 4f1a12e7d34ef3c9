//! Reads of keys: as they are now, or as they were at one record.
//!
//! Keeps the way from names and keys to the tree and back. What is seen with rows at one record is
//! left to `snapshot`.

use crate::damage::Lsn;
use crate::database::{Core, Database, ViewOf};
use crate::error::ReadError;
use crate::keys::is_empty_range;
use crate::state::State;
use crate::table::{Direction, Version};
use crate::tree::{Cursor, Keyspaces, split, tree_key, tree_range};
use gannet_storage::Storage;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// A value, and which version of its key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versioned {
    /// The value.
    pub value: Vec<u8>,
    /// The record that wrote it: another one for each commit that a database keeps. What a power
    /// cut takes from buffered commits it takes with their numbers, and later ones get them again:
    /// a version is to be kept over such a crash only once it is
    /// [synced](crate::Database::synced_lsn).
    pub version: Lsn,
}

/// The keys as they were at one record, held until it is dropped.
pub(crate) struct KeysAt<'c, S: Storage> {
    core: &'c Core<S>,
    lsn: Lsn,
    keyspaces: Arc<Keyspaces>,
}

impl<S: Storage> Database<S> {
    /// The value of a key; `None` where key or keyspace is not there.
    ///
    /// Waits for nobody. Cost: a lookup in memory; where it is not there, in each table that may
    /// have it: at most those of level 0 and one of each level below, most of which a filter rules
    /// out, so about one block read and unpacked, unless the cache has it.
    ///
    /// # Errors
    /// `Corrupt`, `Storage`: what was asked for cannot be read.
    pub fn get(&self, keyspace: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.core.get(keyspace, key)?.and_then(|found| found.value))
    }

    /// As [`get`](Self::get), with the version of the key, which names one write of it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_versioned(
        &self,
        keyspace: &str,
        key: &[u8],
    ) -> Result<Option<Versioned>, ReadError> {
        Ok(self.core.get(keyspace, key)?.and_then(versioned))
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn exists(&self, keyspace: &str, key: &[u8]) -> Result<bool, ReadError> {
        Ok(self.core.get(keyspace, key)?.is_some_and(|found| found.value.is_some()))
    }

    /// The values of some keys, in their order, all of one state.
    ///
    /// Cost: as [`get`](Self::get) of each, but that the blocks of a table that have to be read are
    /// read in one batch, up to 4 MiB of them at a time.
    ///
    /// # Errors
    /// As [`get`](Self::get), of the first that cannot be read.
    pub fn get_many(
        &self,
        keyspace: &str,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        self.core.keys_now().get_many(keyspace, keys)
    }

    /// Gives each key of a range with its value to `each`, in order of the bytes of the keys, until
    /// it breaks: as they were when it was called. `each` may use the database.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn scan(
        &self,
        keyspace: &str,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.core.keys_now().scan(keyspace, (from, to), Direction::Forward, each)
    }

    /// As [`scan`](Self::scan), the last key first.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn scan_back(
        &self,
        keyspace: &str,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.core.keys_now().scan(keyspace, (from, to), Direction::Backward, each)
    }

    /// The names of all keyspaces, in order of creation.
    #[must_use]
    pub fn keyspaces(&self) -> Vec<String> {
        self.core.tree.keyspaces().iter().map(|(_, name)| name.to_owned()).collect()
    }
}

/// The end of a scan of all keys that begin with `prefix`: those from it up to this bound.
///
/// ```
/// use std::ops::Bound;
///
/// assert_eq!(gannet::prefix_end(b"ab"), Bound::Excluded(b"ac".to_vec()));
/// assert_eq!(gannet::prefix_end(b"\xff"), Bound::Unbounded);
/// ```
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

impl<S: Storage> Core<S> {
    /// The newest version of a key that is visible.
    pub(crate) fn get(&self, keyspace: &str, key: &[u8]) -> Result<Option<Version>, ReadError> {
        let Some(keyspace) = self.tree.keyspaces().number_of(keyspace) else { return Ok(None) };
        let key = tree_key(keyspace, key);
        let files = self.tree.files(&self.storage);
        let layers = self.tree.layers();
        Ok(layers.get(files, &key, || self.tree.snapshots.visible())?)
    }

    /// The keys as they are now.
    pub(crate) fn keys_now(&self) -> KeysAt<'_, S> {
        self.keys_in(&self.state.read())
    }

    /// As [`keys_now`](Self::keys_now), while no batch that changes rows, or makes or drops a
    /// keyspace, takes effect.
    pub(crate) fn keys_in(&self, _: &State<ViewOf<S>>) -> KeysAt<'_, S> {
        KeysAt {
            core: self,
            lsn: self.tree.snapshots.hold(),
            keyspaces: self.tree.keyspaces_full(),
        }
    }
}

impl<'c, S: Storage> KeysAt<'c, S> {
    pub(crate) fn core(&self) -> &'c Core<S> {
        self.core
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.lsn
    }

    pub(crate) fn keyspaces(&self) -> &Keyspaces {
        &self.keyspaces
    }

    pub(crate) fn get(&self, keyspace: &str, key: &[u8]) -> Result<Option<Version>, ReadError> {
        let Some(keyspace) = self.keyspaces.number_of(keyspace) else { return Ok(None) };
        let files = self.core.tree.files(&self.core.storage);
        let layers = self.core.tree.layers();
        Ok(layers.get(files, &tree_key(keyspace, key), || self.lsn)?)
    }

    pub(crate) fn get_many(
        &self,
        keyspace: &str,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        let Some(keyspace) = self.keyspaces.number_of(keyspace) else {
            return Ok(vec![None; keys.len()]);
        };
        let keys: Vec<_> = keys.iter().map(|key| tree_key(keyspace, key)).collect();
        let files = self.core.tree.files(&self.core.storage);
        let layers = self.core.tree.layers_full();
        let found = layers.get_many(files, &keys, self.lsn)?;
        Ok(found.into_iter().map(|found| found?.value).collect())
    }

    pub(crate) fn scan(
        &self,
        keyspace: &str,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let Some(keyspace) = self.keyspaces.number_of(keyspace) else { return Ok(()) };
        if is_empty_range(from, to) {
            return Ok(());
        }
        let (from, to) = tree_range(keyspace, (from, to));
        let bounds = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
        let files = self.core.tree.files(&self.core.storage);
        let layers = self.core.tree.layers_full();
        let mut cursor = layers.cursor(files, bounds, self.lsn, direction)?;
        drop(layers);
        while let Some(entry) = cursor.entry() {
            if let (Some((_, key)), Some(value)) = (split(entry.key), entry.value)
                && each(key, value).is_break()
            {
                return Ok(());
            }
            cursor.advance()?;
        }
        Ok(())
    }
}

impl<S: Storage> Drop for KeysAt<'_, S> {
    fn drop(&mut self) {
        self.core.tree.snapshots.release(self.lsn);
    }
}

pub(crate) fn versioned(found: Version) -> Option<Versioned> {
    let Version { lsn: version, value } = found;
    value.map(|value| Versioned { value, version })
}
