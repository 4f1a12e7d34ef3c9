//! The tables of a tree, by level.
//!
//! Keeps where a key is looked for. Level 0 has memtables as they were written, the newest first,
//! whose keys overlap; each level below has tables of keys that do not, in order of them. What is
//! above is newer.

use super::handle::{Table, TableEntry};
use super::keyspaces::Keyspaces;
use super::{Cursor, split};
use crate::damage::Lsn;
use crate::error::OpenError;
use crate::table::{Direction, Entry, KeyHash, TableCursor, TableFiles, Version, Which};
use gannet_storage::{SealedFile, Storage};
use std::ops::Bound;
use std::sync::Arc;

/// See the module's documentation.
pub(crate) struct Levels<F: SealedFile> {
    /// Level 0, the newest first.
    pub(super) newest: Vec<Arc<Table<F>>>,
    /// Level 1 and those below.
    pub(super) sorted: Vec<Vec<Arc<Table<F>>>>,
}

impl<F: SealedFile> Default for Levels<F> {
    fn default() -> Self {
        Self { newest: Vec::new(), sorted: Vec::new() }
    }
}

impl<F: SealedFile> Clone for Levels<F> {
    fn clone(&self) -> Self {
        Self { newest: self.newest.clone(), sorted: self.sorted.clone() }
    }
}

impl<F: SealedFile> Levels<F> {
    /// Of what [`entries`](Self::entries) says; `None` if that is not in order.
    pub(crate) fn of(entries: &[Vec<TableEntry>]) -> Option<Self> {
        let is_sorted =
            |level: &Vec<TableEntry>| level.is_sorted_by(|a, b| a.last_key < b.first_key);
        let (newest, sorted) = entries.split_first().unwrap_or((const { &Vec::new() }, &[]));
        let open = |level: &Vec<TableEntry>| {
            level.iter().map(|entry| Arc::new(Table::new(entry.clone()))).collect()
        };
        sorted
            .iter()
            .all(is_sorted)
            .then(|| Self { newest: open(newest), sorted: sorted.iter().map(open).collect() })
    }

    /// Its tables, level 0 first, as a manifest names them; without tables it has no level.
    pub(crate) fn entries(&self) -> Vec<Vec<TableEntry>> {
        if self.newest.is_empty() && self.sorted.is_empty() {
            return Vec::new();
        }
        let levels = std::iter::once(&self.newest).chain(&self.sorted);
        let of = |level: &Vec<Arc<Table<F>>>| level.iter().map(|t| t.entry().clone()).collect();
        let left_out = usize::from(mutant!("level-not-named"));
        levels.take(1 + self.sorted.len() - left_out).map(of).collect()
    }

    /// Whether there may be anything for a merging of all tables to do.
    pub(crate) fn is_to_merge(&self, keyspaces: &Keyspaces) -> bool {
        let levels = self.sorted.iter().filter(|level| !level.is_empty()).count();
        let has_deletes = || self.tables().any(|table| table.entry().deletes > 0);
        let has_dropped = || self.tables().any(|table| has_dropped(table.entry(), keyspaces));
        !self.newest.is_empty() || levels > 1 || has_deletes() || has_dropped()
    }

    /// Of these tables, those that have versions of records behind `lsn`.
    pub(super) fn changed_since(&self, lsn: Lsn) -> Self {
        let newer = |level: &Vec<Arc<Table<F>>>| {
            level.iter().filter(|table| table.entry().last_lsn > lsn).cloned().collect()
        };
        Self { newest: newer(&self.newest), sorted: self.sorted.iter().map(newer).collect() }
    }

    /// Opens all tables that are not open.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn open_all<S: Storage<Sealed = F>>(
        &self,
        files: TableFiles<'_, S>,
    ) -> Result<(), OpenError> {
        self.tables().try_for_each(|table| table.reader(files).map(drop))
    }

    /// All tables, level by level.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<Table<F>>> {
        self.newest.iter().chain(self.sorted.iter().flatten())
    }

    /// The newest version of a key up to `upto`.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn get<S: Storage<Sealed = F>>(
        &self,
        files: TableFiles<'_, S>,
        (key, hash): (&[u8], KeyHash),
        upto: Lsn,
    ) -> Result<Option<Version>, OpenError> {
        mutant!("newest-table-asked-last" => {
            for table in self.newest.iter().rev().filter(|table| table.may_have(key)) {
                let found = table.reader(files)?.get(key, hash, upto)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        });
        let above = self.newest.iter().filter(|table| table.may_have(key));
        let below = self.sorted.iter().filter_map(|level| table_of(level, key));
        for table in above.chain(below) {
            if table.first_lsn() > upto {
                continue;
            }
            let found = table.reader(files)?.get(key, hash, upto)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// As [`get`](Self::get), of each of the keys, in their order. Of each table, the blocks that
    /// have to be read are read together.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn get_many<S: Storage<Sealed = F>>(
        &self,
        files: TableFiles<'_, S>,
        keys: &[(&[u8], KeyHash)],
        upto: Lsn,
    ) -> Result<Vec<Option<Version>>, OpenError> {
        let mut found: Vec<Option<Version>> = vec![None; keys.len()];
        // Which of them were not found yet, in order of keys.
        let mut wanted: Vec<usize> = (0..keys.len()).collect();
        wanted.sort_unstable_by_key(|index| keys[*index].0);
        let above = self.newest.iter().map(std::slice::from_ref);
        let below = self.sorted.iter().map(Vec::as_slice);
        for level in above.chain(below) {
            let table = |index: &usize| table_of(level, keys[*index].0);
            let is_same = |a: &usize, b: &usize| match (table(a), table(b)) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            for of_one in wanted.chunk_by(is_same) {
                let Some(table) = table(&of_one[0]).filter(|table| table.first_lsn() <= upto)
                else {
                    continue;
                };
                let asked: Vec<_> = of_one.iter().map(|index| keys[*index]).collect();
                let answers = table.reader(files)?.get_many(&asked, upto)?;
                for (index, answer) in of_one.iter().zip(answers) {
                    found[*index] = answer;
                }
            }
            wanted.retain(|index| found[*index].is_none());
        }
        Ok(found)
    }

    /// A cursor for each table of level 0 and each level below that has keys in a range.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn cursors<'s, S: Storage<Sealed = F>>(
        &self,
        files: TableFiles<'s, S>,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        which: Which,
        direction: Direction,
    ) -> Result<Vec<LevelCursor<'s, S>>, OpenError> {
        let above = self.newest.iter().map(std::slice::from_ref);
        let below = self.sorted.iter().map(Vec::as_slice);
        let mut cursors = Vec::new();
        for level in above.chain(below) {
            let tables: Vec<_> = tables_in(level, bounds).cloned().collect();
            if !tables.is_empty() {
                cursors.push(LevelCursor::new(files, tables, bounds, which, direction)?);
            }
        }
        Ok(cursors)
    }
}

/// Whether a keyspace that is dropped may have keys in a table.
fn has_dropped(table: &TableEntry, keyspaces: &Keyspaces) -> bool {
    let number = |key| split(key).map_or(0, |(number, _)| number);
    let (first, last) = (number(&table.first_key), number(&table.last_key));
    let live = keyspaces.iter().filter(|(number, _)| (first..=last).contains(number)).count();
    live as u64 != u64::from(last - first) + 1
}

/// The table of a level that may have a key.
fn table_of<'l, F: SealedFile>(
    level: &'l [Arc<Table<F>>],
    key: &[u8],
) -> Option<&'l Arc<Table<F>>> {
    let index = level.partition_point(|table| table.last_key() < key);
    level.get(index).filter(|table| table.first_key() <= key)
}

/// The tables of a level that may have keys in a range.
pub(super) fn tables_in<'l, F: SealedFile>(
    level: &'l [Arc<Table<F>>],
    (from, to): (Bound<&'l [u8]>, Bound<&'l [u8]>),
) -> impl Iterator<Item = &'l Arc<Table<F>>> {
    level.iter().filter(move |table| {
        let begins_before = match to {
            Bound::Included(to) => table.first_key() <= to,
            Bound::Excluded(to) => table.first_key() < to,
            Bound::Unbounded => true,
        };
        let ends_behind = match from {
            Bound::Included(from) => table.last_key() >= from,
            Bound::Excluded(from) => table.last_key() > from,
            Bound::Unbounded => true,
        };
        begins_before && ends_behind
    })
}

/// Tables whose keys follow each other, as one.
pub(crate) struct LevelCursor<'s, S: Storage> {
    files: TableFiles<'s, S>,
    /// Those that were not begun, the next one last.
    tables: Vec<Arc<Table<S::Sealed>>>,
    bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    which: Which,
    direction: Direction,
    /// `None` at the end.
    table: Option<TableCursor<S::Sealed>>,
}

impl<'s, S: Storage> LevelCursor<'s, S> {
    /// Of tables in order of keys.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(super) fn new(
        files: TableFiles<'s, S>,
        mut tables: Vec<Arc<Table<S::Sealed>>>,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        which: Which,
        direction: Direction,
    ) -> Result<Self, OpenError> {
        if direction == Direction::Forward {
            tables.reverse();
        }
        let bounds = (from.map(<[u8]>::to_vec), to.map(<[u8]>::to_vec));
        let mut cursor = Self { files, tables, bounds, which, direction, table: None };
        cursor.pass_ended()?;
        Ok(cursor)
    }

    /// Goes on to the next table that has a version, where this one has none any more.
    fn pass_ended(&mut self) -> Result<(), OpenError> {
        while self.table.as_ref().is_none_or(|table| table.entry().is_none()) {
            let Some(next) = self.tables.pop() else {
                self.table = None;
                return Ok(());
            };
            let reader = Arc::clone(next.reader(self.files)?);
            let (from, to) = &self.bounds;
            let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
            self.table = Some(TableCursor::new(reader, bounds, self.which, self.direction)?);
        }
        Ok(())
    }
}

impl<S: Storage> Cursor for LevelCursor<'_, S> {
    fn entry(&self) -> Option<Entry<'_>> {
        self.table.as_ref()?.entry()
    }

    fn advance(&mut self) -> Result<(), OpenError> {
        if let Some(table) = &mut self.table {
            table.advance()?;
        }
        self.pass_ended()
    }
}
