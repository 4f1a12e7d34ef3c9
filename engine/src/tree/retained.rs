//! The versions that are kept where versions are written anew.

use super::Cursor;
use crate::damage::Lsn;
use crate::error::OpenError;
use crate::memtable::Horizons;
use crate::table::Entry;

/// Of all versions of a source, forward, those that somebody may still ask for.
pub(crate) struct Retained<C> {
    source: C,
    horizons: Horizons,
    /// Nothing older is anywhere else: a key that was deleted before anybody looks can be
    /// forgotten.
    is_last: bool,
    /// The key of the last version that was looked at, and the number of that version.
    newer: Option<(Vec<u8>, Lsn)>,
}

impl<C: Cursor> Retained<C> {
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn new(source: C, horizons: Horizons, is_last: bool) -> Result<Self, OpenError> {
        let mut retained = Self { source, horizons, is_last, newer: None };
        retained.pass_unneeded()?;
        Ok(retained)
    }

    /// Goes on to a version that is kept, if the source is not at one.
    fn pass_unneeded(&mut self) -> Result<(), OpenError> {
        while let Some(Entry { key, lsn, value }) = self.source.entry() {
            let newer = self.newer.as_ref().filter(|(newer, _)| newer == key);
            let is_needed = match newer {
                None => true,
                Some((_, next)) => {
                    // What is not visible yet may become so before the next one does.
                    lsn > self.horizons.last() || self.horizons.needs(lsn, *next)
                }
            };
            // Then no older version is needed either, and without both the key is as little there.
            let is_forgotten = value.is_none() && self.is_last && lsn <= self.horizons.first();
            if is_needed && !is_forgotten {
                return Ok(());
            }
            self.take_note();
            self.source.advance()?;
        }
        Ok(())
    }

    fn take_note(&mut self) {
        let Some(Entry { key, lsn, .. }) = self.source.entry() else { return };
        match &mut self.newer {
            Some((newer, next)) if newer == key => *next = lsn,
            newer => *newer = Some((key.to_vec(), lsn)),
        }
    }
}

impl<C: Cursor> Cursor for Retained<C> {
    fn entry(&self) -> Option<Entry<'_>> {
        self.source.entry()
    }

    fn advance(&mut self) -> Result<(), OpenError> {
        self.take_note();
        self.source.advance()?;
        self.pass_unneeded()
    }
}
