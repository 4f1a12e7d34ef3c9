//! The tree: memtables over tables, read as one.
//!
//! Keeps which tables there are (`levels`) and where they are in the order of keys (`handle`), how
//! sources of versions, each in order, become one (`merged`), and which versions are kept where
//! they are written anew (`retained`).

mod handle;
mod levels;
mod merged;
mod plan;
mod retained;
mod snapshots;
mod write;

pub(crate) use merged::Merged;
pub(crate) use retained::Retained;

use crate::error::OpenError;
use crate::memtable::MemtableCursor;
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
