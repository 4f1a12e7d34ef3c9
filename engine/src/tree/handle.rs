//! A table as the manifest knows it, opened when it is first used.

use crate::codec::{Put, Reader};
use crate::damage::Lsn;
use crate::error::OpenError;
use crate::limits::NUMBER_MAX;
use crate::sealed::FileRef;
use crate::table::{Footer, TableFiles, TableReader};
use gannet_storage::{SealedFile, Storage};
use std::sync::{Arc, OnceLock};

/// What is known of a table without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub(crate) file: FileRef,
    /// The records that its versions are of, lowest and highest.
    pub(crate) first_lsn: Lsn,
    pub(crate) last_lsn: Lsn,
    /// Versions in it, and how many of them delete a key.
    pub(crate) entries: u64,
    pub(crate) deletes: u64,
    pub(crate) first_key: Vec<u8>,
    pub(crate) last_key: Vec<u8>,
}

impl TableEntry {
    pub(crate) fn new(file: FileRef, footer: &Footer) -> Self {
        Self {
            file,
            first_lsn: footer.first_lsn,
            last_lsn: footer.last_lsn,
            entries: footer.entries,
            deletes: footer.deletes,
            first_key: footer.first_key.clone(),
            last_key: footer.last_key.clone(),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.file.encode(out);
        for number in [self.first_lsn, self.last_lsn, self.entries, self.deletes] {
            out.put_u64(number);
        }
        out.put_bytes_u32(&self.first_key);
        out.put_bytes_u32(&self.last_key);
    }

    /// `None` where the bytes end early or say what is never written.
    pub(crate) fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let file = FileRef::decode(r).filter(|file| file.number != 0)?;
        let (first_lsn, last_lsn) = (r.u64()?, r.u64()?);
        let (entries, deletes) = (r.u64()?, r.u64()?);
        let (first_key, last_key) = (r.bytes_u32()?.to_vec(), r.bytes_u32()?.to_vec());
        let is_sound = first_lsn <= last_lsn
            && last_lsn <= NUMBER_MAX
            && deletes <= entries
            && first_key <= last_key;
        let entry = Self { file, first_lsn, last_lsn, entries, deletes, first_key, last_key };
        is_sound.then_some(entry)
    }
}

/// A table of a tree.
pub(crate) struct Table<F: SealedFile> {
    entry: TableEntry,
    reader: OnceLock<Arc<TableReader<F>>>,
}

impl<F: SealedFile> Table<F> {
    pub(crate) fn new(entry: TableEntry) -> Self {
        Self { entry, reader: OnceLock::new() }
    }

    pub(crate) fn entry(&self) -> &TableEntry {
        &self.entry
    }

    pub(crate) fn first_lsn(&self) -> Lsn {
        self.entry.first_lsn
    }

    pub(crate) fn first_key(&self) -> &[u8] {
        &self.entry.first_key
    }

    pub(crate) fn last_key(&self) -> &[u8] {
        &self.entry.last_key
    }

    /// Whether a key is between its first and its last.
    pub(super) fn may_have(&self, key: &[u8]) -> bool {
        self.first_key() <= key && key <= self.last_key()
    }

    /// The open table.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn reader<S: Storage<Sealed = F>>(
        &self,
        files: TableFiles<'_, S>,
    ) -> Result<&Arc<TableReader<F>>, OpenError> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let opened = TableReader::open(files, &self.entry.file)?;
        if TableEntry::new(self.entry.file, opened.footer()) != self.entry {
            return Err(opened.inconsistent());
        }
        Ok(self.reader.get_or_init(|| Arc::new(opened)))
    }
}
