//! A keyspace: ordered bytes to bytes, in memory, with one sealed table behind it
//! (`docs/FORMAT.md`, chapter Table file). `entries` is what it holds.

mod entries;

use crate::checkpoint::NewFiles;
use crate::codec::{Put, Reader};
use crate::damage::Damage;
use crate::error::{CheckpointError, OpenError};
use crate::manifest::KeyspaceEntry;
use crate::replay::KeyRun;
use crate::sealed::{FileKind, FileRef, SealedReader};
use entries::{Entries, EntryMap};
use gannet_storage::Storage;
use std::sync::Arc;

pub(crate) const ENTRIES: u32 = 1;
/// Entries are encoded this much at a time.
const STEP_LEN_BYTES: usize = 1 << 20;
/// A keyspace is built anew from its entries and new ones unless it has this many times as many.
const REBUILD_FACTOR: u64 = 8;

/// One keyspace.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) entries: Entries,
    /// The table of the last checkpoint; `None` if there was no entry.
    saved: Option<FileRef>,
    /// An entry has changed since.
    changed: bool,
}

impl Keyspace {
    pub(crate) fn new(id: u32, name: String) -> Self {
        Self { id, name, entries: Entries::default(), saved: None, changed: false }
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.entries.put(key, value);
        self.changed = true;
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.changed |= self.entries.remove(key);
    }

    /// Applies what was said last of each key; the runs, and the keys in each, are in order.
    /// `has_put` is whether any key was put meanwhile, be it removed since. Cost: as many steps as
    /// there are keys in the runs, or in the keyspace too where these are not many more.
    pub(crate) fn apply_runs(&mut self, runs: Vec<KeyRun>, has_put: bool) {
        let count: usize = runs.iter().map(Vec::len).sum();
        if count as u64 * REBUILD_FACTOR < self.entries.count() {
            for (key, value) in runs.into_iter().flatten() {
                match value {
                    Some(value) => self.put(&key, &value),
                    None => self.remove(&key),
                }
            }
            self.changed |= has_put;
            return;
        }
        let mut bytes = self.entries.bytes();
        let old = self.entries.take();
        self.changed |= has_put;
        if old.is_empty() {
            let put = runs.into_iter().flatten().filter_map(|(key, value)| Some((key, value?)));
            let put = put.inspect(|(key, value)| bytes += (key.len() + value.len()) as u64);
            self.entries = Entries::new(put.collect(), bytes);
            return;
        }
        let mut merged = Vec::with_capacity(old.len() + count);
        let mut old = old.into_iter().peekable();
        for (key, value) in runs.into_iter().flatten() {
            while let Some(before) = old.next_if(|(old, _)| *old < key) {
                merged.push(before);
            }
            if let Some((key, value)) = old.next_if(|(old, _)| *old == key) {
                bytes -= (key.len() + value.len()) as u64;
                self.changed = true;
            }
            if let Some(value) = value {
                bytes += (key.len() + value.len()) as u64;
                merged.push((key, value));
            }
        }
        merged.extend(old);
        self.entries = Entries::new(EntryMap::from_iter(merged), bytes);
    }

    pub(crate) fn has_unsaved(&self) -> bool {
        self.changed
    }

    /// What a checkpoint is to write, or `all` there is: until it is given back, and
    /// [thawed](Self::thaw), changes are kept apart.
    pub(crate) fn freeze(&mut self, all: bool) -> FrozenKeyspace {
        let changed = std::mem::take(&mut self.changed);
        let entries = (all || changed).then(|| self.entries.freeze());
        let (id, name, bytes) = (self.id, self.name.clone(), self.entries.bytes());
        FrozenKeyspace { id, name, entries, bytes, table: self.saved, is_written: false }
    }

    /// Takes back what was frozen; `is_published` if its table is part of a checkpoint.
    #[expect(clippy::needless_pass_by_value, reason = "the entries must not be in use any more")]
    pub(crate) fn give_back(&mut self, frozen: FrozenKeyspace, is_published: bool) {
        if is_published {
            self.saved = frozen.table;
        } else {
            self.changed |= frozen.entries.is_some() && !mutant!("failed-checkpoint-forgets");
        }
    }

    /// Brings changes that were kept apart, at most `limit`, where they belong. Whether that is all
    /// of them. What was frozen was given back before.
    pub(crate) fn thaw(&mut self, limit: usize) -> bool {
        self.entries.thaw(limit)
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
        let mut len_bytes = 0;
        while !fields.is_empty() {
            let at = (bytes.len() - fields.rest().len()) as u64;
            let pair = fields.bytes_u16().zip(fields.bytes_u32());
            let in_order = |key: &[u8]| entries.last().is_none_or(|(last, _)| **last < *key);
            let Some((key, value)) = pair.filter(|(key, _)| in_order(key)) else {
                return Err(reader.damage(ENTRIES, at, Damage::Field("entry")).into());
            };
            len_bytes += (key.len() + value.len()) as u64;
            entries.push((key.to_vec(), value.to_vec()));
        }
        keyspace.entries = Entries::new(EntryMap::from_iter(entries), len_bytes);
        keyspace.saved = Some(file);
        Ok(keyspace)
    }
}

/// A keyspace at one moment, to be written.
pub(crate) struct FrozenKeyspace {
    id: u32,
    name: String,
    /// `None` if the table holds them.
    entries: Option<Arc<EntryMap>>,
    /// Length of all keys and values.
    bytes: u64,
    /// The table of before, or the one that was written.
    table: Option<FileRef>,
    is_written: bool,
}

impl FrozenKeyspace {
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The table of the checkpoint before does not hold it.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.entries.is_some()
    }

    /// Writes the table, if there is anything to write that was not written before.
    ///
    /// # Errors
    /// As [`NewFiles`].
    pub(crate) fn write<S: Storage>(
        &mut self,
        files: &mut NewFiles<'_, S>,
    ) -> Result<(), CheckpointError> {
        let Some(entries) = self.entries.as_ref().filter(|_| !self.is_written) else {
            return Ok(());
        };
        if entries.is_empty() {
            self.table = None;
            self.is_written = true;
            return Ok(());
        }
        let overhead = 2 + 4;
        let len = self.bytes + overhead * entries.len() as u64;
        let mut writer = files.create(FileKind::Table, &[(ENTRIES, len)])?;
        let mut out = Vec::with_capacity(STEP_LEN_BYTES);
        for (key, value) in entries.iter() {
            out.put_bytes_u16(key);
            out.put_bytes_u32(value);
            if out.len() >= STEP_LEN_BYTES {
                files.go_on()?;
                writer.write(&out)?;
                out.clear();
            }
        }
        writer.write(&out)?;
        self.table = Some(files.finish(writer)?);
        self.is_written = true;
        Ok(())
    }

    /// The manifest's entry.
    pub(crate) fn entry(&self) -> KeyspaceEntry {
        KeyspaceEntry { id: self.id, name: self.name.clone(), table: self.table }
    }
}
