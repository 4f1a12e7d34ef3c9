//! The tables of a checkpoint, as far as their blocks are whole.
//!
//! Keeps which ranges of keys nobody can vouch for: those of blocks that are damaged, and of tables
//! that cannot be opened. What older tables say of such a key may have been overwritten since, so
//! it is not taken.

use crate::damage::Lsn;
use crate::error::{OpenError, with_causes};
use crate::manifest::Manifest;
use crate::table::{BlockCache, Direction, Entry, TableFiles, TableReader, Version, Which};
use crate::tree::{Cursor, Merged, TableEntry, split, tree_key};
use crate::verify::missing;
use gannet_storage::{SealedFile, Storage};
use std::collections::VecDeque;
use std::sync::Arc;

/// See the module's documentation.
pub(super) struct Tables<F: SealedFile> {
    readers: Vec<(Arc<TableReader<F>>, Vec<usize>)>,
    lost: Vec<LostKeys>,
}

/// Keys behind one, up to another, and why they are lost.
#[derive(Clone, Debug)]
pub(super) struct LostKeys {
    /// `None` for all from the keyspace's first on.
    pub(super) behind: Option<Vec<u8>>,
    /// `None` for all up to the keyspace's last.
    pub(super) upto: Option<Vec<u8>>,
    pub(super) reason: String,
    /// The newest record that may be among them.
    last_lsn: Lsn,
}

impl LostKeys {
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.behind.as_deref().is_none_or(|behind| behind < key)
            && self.upto.as_deref().is_none_or(|upto| key <= upto)
    }
}

impl<F: SealedFile> Tables<F> {
    /// Reads every block of every table of a checkpoint.
    pub(super) fn find<S: Storage<Sealed = F>>(
        from: &S,
        database: [u8; 16],
        manifest: &Manifest,
    ) -> Self {
        let blocks = Arc::new(BlockCache::new(0));
        let files = TableFiles { storage: from, database, blocks: &blocks };
        let mut tables = Self { readers: Vec::new(), lost: Vec::new() };
        for entry in manifest.tables.iter().flatten() {
            match TableReader::open(files, &entry.file).map_err(missing) {
                Ok(reader) => tables.read(Arc::new(reader), entry),
                Err(error) => tables.lose(entry, None, None, &error),
            }
        }
        tables
    }

    fn read(&mut self, reader: Arc<TableReader<F>>, entry: &TableEntry) {
        let mut whole = Vec::new();
        let mut last_key: Option<Vec<u8>> = None;
        let mut fault: Option<OpenError> = None;
        for block in 0..reader.blocks() {
            match reader.entries_of(block) {
                Ok(entries) => {
                    let first = entries.first().map(|(key, _)| key.clone());
                    if let Some(fault) = fault.take() {
                        self.lose(entry, last_key.take(), first, &fault);
                    }
                    last_key = entries.last().map(|(key, _)| key.clone()).or(last_key);
                    whole.push(block);
                }
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        if let Some(fault) = fault {
            self.lose(entry, last_key, None, &fault);
        }
        self.readers.push((reader, whole));
    }

    /// Keys of a table are lost: those behind one that is not, up to another that may be newer than
    /// what is found of it.
    fn lose(
        &mut self,
        entry: &TableEntry,
        behind: Option<Vec<u8>>,
        upto: Option<Vec<u8>>,
        error: &OpenError,
    ) {
        let upto = Some(upto.unwrap_or_else(|| entry.last_key.clone()));
        let behind = behind.or_else(|| before(&entry.first_key));
        let reason = with_causes(error);
        self.lost.push(LostKeys { behind, upto, reason, last_lsn: entry.last_lsn });
    }

    /// What is lost of a keyspace, as its keys.
    pub(super) fn lost(&self, keyspace: u32) -> Vec<LostKeys> {
        let (first, end) = (tree_key(keyspace, &[]), tree_key(keyspace + 1, &[]));
        let is_in = |lost: &&LostKeys| {
            lost.behind.as_deref().is_none_or(|behind| behind < &end[..])
                && lost.upto.as_deref().is_none_or(|upto| upto >= &first[..])
        };
        let key_of = |key: &Vec<u8>| match split(key) {
            Some((number, key)) if number == keyspace => Some(key.to_vec()),
            _ => None,
        };
        let of_keyspace = |lost: &LostKeys| LostKeys {
            behind: lost.behind.as_ref().and_then(key_of),
            upto: lost.upto.as_ref().and_then(key_of),
            ..lost.clone()
        };
        self.lost.iter().filter(is_in).map(of_keyspace).collect()
    }

    /// Gives each key of a keyspace that can be vouched for to `each`, in order, with its value or
    /// that it was deleted.
    pub(super) fn each<E>(
        &self,
        keyspace: u32,
        mut each: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
    ) -> Result<Result<(), E>, OpenError> {
        let mut sources = Vec::new();
        for (reader, whole) in &self.readers {
            let (first, end) = (tree_key(keyspace, &[]), tree_key(keyspace + 1, &[]));
            let footer = reader.footer();
            if footer.first_key[..] < end[..] && footer.last_key[..] >= first[..] {
                sources.push(Blocks::new(Arc::clone(reader), whole.clone())?);
            }
        }
        let lost = self.lost(keyspace);
        let mut merged = Merged::new(sources, Which::UpTo(Lsn::MAX), Direction::Forward)?;
        while let Some(Entry { key, lsn, value }) = merged.entry() {
            if let Some((number, key)) = split(key)
                && number == keyspace
                && !lost.iter().any(|lost| lost.last_lsn > lsn && lost.contains(key))
                && let Err(error) = each(key, value)
            {
                return Ok(Err(error));
            }
            merged.advance()?;
        }
        Ok(Ok(()))
    }
}

/// The newest versions in some blocks of a table, in order.
struct Blocks<F: SealedFile> {
    reader: Arc<TableReader<F>>,
    /// Those that were not read yet.
    rest: VecDeque<usize>,
    entries: VecDeque<(Vec<u8>, Version)>,
}

impl<F: SealedFile> Blocks<F> {
    fn new(reader: Arc<TableReader<F>>, blocks: Vec<usize>) -> Result<Self, OpenError> {
        let mut found = Self { reader, rest: blocks.into(), entries: VecDeque::new() };
        found.fill()?;
        Ok(found)
    }

    fn fill(&mut self) -> Result<(), OpenError> {
        while self.entries.is_empty()
            && let Some(block) = self.rest.pop_front()
        {
            self.entries = self.reader.entries_of(block)?.into();
        }
        Ok(())
    }
}

impl<F: SealedFile> Cursor for Blocks<F> {
    fn entry(&self) -> Option<Entry<'_>> {
        let (key, Version { lsn, value }) = self.entries.front()?;
        Some(Entry { key, lsn: *lsn, value: value.as_deref() })
    }

    /// Passes over older versions of the key.
    fn advance(&mut self) -> Result<(), OpenError> {
        let Some((last, _)) = self.entries.pop_front() else { return Ok(()) };
        loop {
            self.fill()?;
            if self.entries.front().is_none_or(|(key, _)| *key != last) {
                return Ok(());
            }
            self.entries.pop_front();
        }
    }
}

/// A key that is a little before `key`; `None` where there is none.
fn before(key: &[u8]) -> Option<Vec<u8>> {
    let mut before = key.to_vec();
    match before.pop() {
        None => None,
        Some(0) => Some(before),
        Some(last) => {
            before.extend([last - 1, u8::MAX]);
            Some(before)
        }
    }
}
