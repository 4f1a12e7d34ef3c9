//! Versions written as tables.

use super::Cursor;
use super::handle::TableEntry;
use crate::damage::Lsn;
use crate::error::OpenError;
use crate::table::{TableSettings, TableWriter};
use gannet_storage::Storage;

/// Between two looks at whether somebody wants it ended.
const LOOK_VERSIONS: u32 = 1024;

/// Where tables are written, and how.
pub(crate) struct Writing<'w, S: Storage> {
    pub(crate) storage: &'w S,
    pub(crate) database: [u8; 16],
    pub(crate) settings: TableSettings,
    /// A table is ended when its blocks are so long; all versions of a key are in one.
    pub(crate) table_bytes: u64,
    /// No version is of a record before this one.
    pub(crate) first_lsn: Lsn,
    /// Gives the number of the next file.
    pub(crate) next_number: &'w dyn Fn() -> u64,
    /// Whether to go on.
    pub(crate) goes_on: &'w dyn Fn() -> bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Written {
    /// These tables, in order of keys; their names are durable after `sync_dir`.
    Tables(Vec<TableEntry>),
    /// It was to end. Files that were begun are left.
    Ended,
}

impl<S: Storage> Writing<'_, S> {
    /// Writes all versions of a source, forward. What fails leaves the files that were begun.
    ///
    /// # Errors
    /// Damage in the source; `Storage`.
    pub(crate) fn write(&self, mut source: impl Cursor) -> Result<Written, OpenError> {
        let mut tables = Vec::new();
        let mut current: Option<TableWriter<'_, S>> = None;
        let mut looked = 0;
        while let Some(entry) = source.entry() {
            if looked == 0 && !(self.goes_on)() {
                return Ok(Written::Ended);
            }
            looked = (looked + 1) % LOOK_VERSIONS;
            let is_full = |table: &mut TableWriter<'_, S>| {
                table.len_bytes() >= self.table_bytes && table.last_key() != entry.key
            };
            if let Some(full) = current.take_if(is_full) {
                tables.push(end(full)?);
            }
            let mut table = if let Some(table) = current.take() {
                table
            } else {
                let place = (self.database, (self.next_number)());
                TableWriter::create(self.storage, place, self.settings, self.first_lsn)?
            };
            table.push(&entry)?;
            current = Some(table);
            source.advance()?;
        }
        if let Some(last) = current {
            tables.push(end(last)?);
        }
        Ok(Written::Tables(tables))
    }
}

fn end<S: Storage>(table: TableWriter<'_, S>) -> Result<TableEntry, OpenError> {
    let (file, footer) = table.finish()?;
    Ok(TableEntry::new(file, &footer))
}
