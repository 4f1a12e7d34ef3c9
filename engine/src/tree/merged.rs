//! Many sources of versions as one.

use super::Cursor;
use crate::error::OpenError;
use crate::table::{Direction, Entry, Order, Which};
use std::cmp::Ordering;

/// The versions of all sources in order: of each key every one, or the newest alone, as the sources
/// were asked. No two sources have the same version.
pub(crate) struct Merged<C> {
    sources: Vec<C>,
    which: Which,
    direction: Direction,
    /// The source with the next version.
    first: Option<usize>,
}

impl<C: Cursor> Merged<C> {
    /// Of sources that were asked for the same, in the same direction.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn new(
        sources: Vec<C>,
        which: Which,
        direction: Direction,
    ) -> Result<Self, OpenError> {
        let mut merged = Self { sources, which, direction, first: None };
        merged.choose()?;
        Ok(merged)
    }

    /// Finds the source with the next version. Of a key only the newest is left where nothing else
    /// was asked for.
    fn choose(&mut self) -> Result<(), OpenError> {
        let mut first: Option<usize> = None;
        let mut at = 0;
        while at < self.sources.len() {
            let Some(entry) = self.sources[at].entry() else {
                drop(self.sources.swap_remove(at));
                continue;
            };
            let best = first.and_then(|first| Some((first, self.sources[first].entry()?)));
            let Some((best_at, best)) = best else {
                first = Some(at);
                at += 1;
                continue;
            };
            let is_one = matches!(self.which, Which::UpTo(_)) && entry.key == best.key;
            let is_newer = entry.lsn > best.lsn && !mutant!("older-version-read");
            if is_one {
                // The older one is passed over, and what its source has next may come first.
                let older = if is_newer { best_at } else { at };
                self.sources[older].advance()?;
                (first, at) = (None, 0);
                continue;
            }
            if self.is_before(&entry, &best) {
                first = Some(at);
            }
            at += 1;
        }
        self.first = first;
        Ok(())
    }

    fn is_before(&self, a: &Entry<'_>, b: &Entry<'_>) -> bool {
        let (a, b) = (Order { key: a.key, lsn: a.lsn }, Order { key: b.key, lsn: b.lsn });
        let wanted = match self.direction {
            Direction::Forward => Ordering::Less,
            Direction::Backward => Ordering::Greater,
        };
        a.cmp(&b) == wanted
    }
}

impl<C: Cursor> Cursor for Merged<C> {
    fn entry(&self) -> Option<Entry<'_>> {
        self.sources[self.first?].entry()
    }

    fn advance(&mut self) -> Result<(), OpenError> {
        if let Some(first) = self.first {
            self.sources[first].advance()?;
            self.choose()?;
        }
        Ok(())
    }
}
