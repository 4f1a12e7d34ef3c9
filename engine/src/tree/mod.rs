//! The tree: memtables over tables, read as one.
//!
//! Keeps which tables there are (`levels`) and where they are in the order of keys (`handle`), how
//! sources of versions, each in order, become one (`merged`), which versions are kept where they
//! are written anew (`retained`), who reads up to which record (`snapshots`), and the work beside
//! that (`work`). The tree of an open database is in `live`.

mod handle;
mod key;
mod keyspaces;
mod layers;
mod levels;
mod live;
mod merged;
mod plan;
mod retained;
mod snapshots;
mod work;
mod write;

pub(crate) use handle::TableEntry;
pub(crate) use key::{TreeKey, split, tree_key, tree_range};
pub(crate) use keyspaces::Keyspaces;
pub(crate) use layers::Layers;
pub(crate) use levels::Levels;
pub(crate) use live::{Flushing, Merging, Tree, TreeFailures};
pub(crate) use merged::Merged;
pub(crate) use retained::Retained;
pub(crate) use work::Pressure;

use crate::error::OpenError;
use crate::memtable::{MemtableCursor, SortedMemtable};
use crate::table::{Entry, TableCursor};
use gannet_storage::SealedFile;

/// Versions in order, one at a time.
pub(crate) trait Cursor {
    /// The version it is at; `None` at the end.
    fn entry(&self) -> Option<Entry<'_>>;

    /// Goes to the next version.
    ///
    /// # Errors
    /// Damage; `Storage`. Nothing more can be had then.
    fn advance(&mut self) -> Result<(), OpenError>;
}

impl Cursor for MemtableCursor {
    fn entry(&self) -> Option<Entry<'_>> {
        self.entry()
    }

    fn advance(&mut self) -> Result<(), OpenError> {
        self.advance();
        Ok(())
    }
}

impl Cursor for SortedMemtable<'_> {
    fn entry(&self) -> Option<Entry<'_>> {
        self.entry()
    }

    fn advance(&mut self) -> Result<(), OpenError> {
        self.advance();
        Ok(())
    }
}

impl<F: SealedFile> Cursor for TableCursor<F> {
    fn entry(&self) -> Option<Entry<'_>> {
        self.entry()
    }

    fn advance(&mut self) -> Result<(), OpenError> {
        self.advance()
    }
}

impl<C: Cursor + ?Sized> Cursor for Box<C> {
    fn entry(&self) -> Option<Entry<'_>> {
        (**self).entry()
    }

    fn advance(&mut self) -> Result<(), OpenError> {
        (**self).advance()
    }
}

#[cfg(test)]
mod tests;
