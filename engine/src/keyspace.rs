//! A keyspace: ordered bytes to bytes, in memory, with one sealed table behind it
//! (`docs/FORMAT.md`, chapter Table file).

use crate::codec::{Put, Reader};
use crate::damage::Damage;
use crate::error::OpenError;
use crate::manifest::KeyspaceEntry;
use crate::replay::KeyRun;
use crate::sealed::{FileKind, FileRef, Ident, SealedReader, SealedWriter};
use gannet_storage::{Error, Storage};
use std::collections::BTreeMap;

const ENTRIES: u32 = 1;
/// Entries are encoded this much at a time.
const STEP_LEN_BYTES: usize = 1 << 20;
/// A keyspace is built anew from its entries and new ones unless it has this many times as many.
const REBUILD_FACTOR: usize = 8;

/// One keyspace.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Length of all keys and values.
    pub(crate) bytes: u64,
    /// The table of the last checkpoint; `None` if there was no entry.
    saved: Option<FileRef>,
    /// An entry has changed since.
    changed: bool,
}

impl Keyspace {
    pub(crate) fn new(id: u32, name: String) -> Self {
        Self { id, name, entries: BTreeMap::new(), bytes: 0, saved: None, changed: false }
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.bytes += (key.len() + value.len()) as u64;
        if let Some(old) = self.entries.insert(key.to_vec(), value.to_vec()) {
            self.bytes -= (key.len() + old.len()) as u64;
        }
        self.changed = true;
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(value) = self.entries.remove(key) {
            self.bytes -= (key.len() + value.len()) as u64;
            self.changed = true;
        }
    }

    /// Applies what was said last of each key; the runs, and the keys in each, are in order.
    /// `has_put` is whether any key was put meanwhile, be it removed since. Cost: as many steps as
    /// there are keys in the runs, or in the keyspace too where these are not many more.
    pub(crate) fn apply_runs(&mut self, runs: Vec<KeyRun>, has_put: bool) {
        let count: usize = runs.iter().map(Vec::len).sum();
        if count < self.entries.len() / REBUILD_FACTOR {
            for (key, value) in runs.into_iter().flatten() {
                match value {
                    Some(value) => self.put(&key, &value),
                    None => self.remove(&key),
                }
            }
            self.changed |= has_put;
            return;
        }
        let mut merged = Vec::with_capacity(self.entries.len() + count);
        let mut old = std::mem::take(&mut self.entries).into_iter().peekable();
        self.changed |= has_put;
        for (key, value) in runs.into_iter().flatten() {
            while let Some(before) = old.next_if(|(old, _)| *old < key) {
                merged.push(before);
            }
            if let Some((key, value)) = old.next_if(|(old, _)| *old == key) {
                self.bytes -= (key.len() + value.len()) as u64;
                self.changed = true;
            }
            if let Some(value) = value {
                self.bytes += (key.len() + value.len()) as u64;
                merged.push((key, value));
            }
        }
        merged.extend(old);
        self.entries = BTreeMap::from_iter(merged);
    }

    pub(crate) fn has_unsaved(&self) -> bool {
        self.changed
    }

    /// Writes the table if an entry has changed; `None` for no entries.
    pub(crate) fn save<S: Storage>(
        &self,
        storage: &S,
        ident: impl Fn(FileKind, u64) -> Ident,
        next_number: &mut dyn FnMut() -> u64,
    ) -> Result<Option<FileRef>, Error> {
        if !self.changed {
            return Ok(self.saved);
        }
        if self.entries.is_empty() {
            return Ok(None);
        }
        let overhead = 2 + 4;
        let len = self.bytes + overhead * self.entries.len() as u64;
        let ident = ident(FileKind::Table, next_number());
        let mut writer = SealedWriter::create(storage, ident, &[(ENTRIES, len)])?;
        let mut out = Vec::new();
        for (key, value) in &self.entries {
            out.put_bytes_u16(key);
            out.put_bytes_u32(value);
            if out.len() >= STEP_LEN_BYTES {
                writer.write(&out)?;
                out.clear();
            }
        }
        writer.write(&out)?;
        writer.finish().map(Some)
    }

    pub(crate) fn entry(&self, table: Option<FileRef>) -> KeyspaceEntry {
        KeyspaceEntry { id: self.id, name: self.name.clone(), table }
    }

    /// The table now holds exactly these entries.
    pub(crate) fn set_saved(&mut self, table: Option<FileRef>) {
        self.saved = table;
        self.changed = false;
    }

    /// Reads the table of `entry`, every byte of it verified.
    ///
    /// # Errors
    /// Damage.
    pub(crate) fn load<S: Storage>(
        storage: &S,
        database: [u8; 16],
        entry: &KeyspaceEntry,
    ) -> Result<Self, OpenError> {
        let mut keyspace = Self::new(entry.id, entry.name.clone());
        let Some(file) = entry.table else { return Ok(keyspace) };
        let reader = SealedReader::open(storage, FileKind::Table, database, &file)?;
        let bytes = reader.read(ENTRIES)?;
        let mut fields = Reader::new(&bytes);
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        while !fields.is_empty() {
            let at = (bytes.len() - fields.rest().len()) as u64;
            let pair = fields.bytes_u16().zip(fields.bytes_u32());
            let in_order = |key: &[u8]| entries.last().is_none_or(|(last, _)| **last < *key);
            let Some((key, value)) = pair.filter(|(key, _)| in_order(key)) else {
                return Err(reader.damage(ENTRIES, at, Damage::Field("entry")).into());
            };
            keyspace.bytes += (key.len() + value.len()) as u64;
            entries.push((key.to_vec(), value.to_vec()));
        }
        keyspace.entries = BTreeMap::from_iter(entries);
        keyspace.saved = Some(file);
        Ok(keyspace)
    }
}
