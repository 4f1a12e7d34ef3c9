//! The versions that are kept where versions are written anew.

use super::keyspaces::Keyspaces;
use super::{Cursor, split};
use crate::damage::Lsn;
use crate::error::OpenError;
use crate::memtable::Horizons;
use crate::table::Entry;
use std::sync::Arc;

/// Of all versions of a source, forward, those that somebody may still ask for.
pub(crate) struct Retained<C> {
    source: C,
    horizons: Horizons,
    /// Nothing older is anywhere else: a key that was deleted before anybody looks can be
    /// forgotten.
    is_last: bool,
    /// `None` where keys are not of keyspaces.
    keyspaces: Option<Arc<Keyspaces>>,
    /// The keyspace that was asked for last, and whether nobody can see what is in it.
    gone: Option<(u32, bool)>,
    /// The key of the last version that was looked at, and the number of that version.
    newer: Option<(Vec<u8>, Lsn)>,
}

impl<C: Cursor> Retained<C> {
    /// Of keys in `keyspaces`, which are those of the horizons or of later.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn new(
        source: C,
        horizons: Horizons,
        is_last: bool,
        keyspaces: Option<Arc<Keyspaces>>,
    ) -> Result<Self, OpenError> {
        let (gone, newer) = (None, None);
        let mut retained = Self { source, horizons, is_last, keyspaces, gone, newer };
        retained.pass_unneeded()?;
        Ok(retained)
    }

    /// Whether the key that comes next is of a keyspace that nobody can see.
    fn is_gone(&mut self) -> bool {
        let (Some(keyspaces), Some(entry)) = (&self.keyspaces, self.source.entry()) else {
            return false;
        };
        let Some((number, _)) = split(entry.key) else { return false };
        match self.gone {
            Some((last, is_gone)) if last == number => is_gone,
            _ => {
                let is_gone = keyspaces.is_gone(number, self.horizons.first());
                self.gone = Some((number, is_gone));
                is_gone
            }
        }
    }

    /// Goes on to a version that is kept, if the source is not at one.
    fn pass_unneeded(&mut self) -> Result<(), OpenError> {
        loop {
            let is_gone = self.is_gone();
            let Some(Entry { key, lsn, value }) = self.source.entry() else { return Ok(()) };
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
            if is_needed && !is_forgotten && !is_gone {
                return Ok(());
            }
            self.take_note();
            self.source.advance()?;
        }
    }

    fn take_note(&mut self) {
        let Some(Entry { key, lsn, .. }) = self.source.entry() else { return };
        match &mut self.newer {
            Some((newer, next)) if newer == key => *next = lsn,
            Some((newer, next)) => {
                newer.clear();
                newer.extend_from_slice(key);
                *next = lsn;
            }
            none => *none = Some((key.to_vec(), lsn)),
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
