//! What a tree is made of at one moment: memtables over tables.

use super::levels::Levels;
use super::{Cursor, Merged};
use crate::damage::Lsn;
use crate::error::OpenError;
use crate::memtable::{Memtable, MemtableCursor};
use crate::table::{Direction, KeyHash, TableFiles, Version, Which};
use gannet_storage::{SealedFile, Storage};
use std::ops::Bound;
use std::sync::Arc;

/// See the module's documentation. Whoever holds it reads what there was then.
pub(crate) struct Layers<F: SealedFile> {
    /// The one that is written to.
    pub(crate) active: Arc<Memtable>,
    /// Those that are being made tables, the newest first.
    pub(crate) frozen: Vec<Arc<Memtable>>,
    pub(crate) levels: Arc<Levels<F>>,
}

/// The versions of a tree as one.
pub(crate) type TreeCursor<'s> = Merged<Box<dyn Cursor + Send + 's>>;

impl<F: SealedFile> Layers<F> {
    /// The newest version of a key: up to `upto`, or up to what `visible` says while no version of
    /// the key can be dropped.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn get<S: Storage<Sealed = F>>(
        &self,
        files: TableFiles<'_, S>,
        key: &[u8],
        upto: impl Fn() -> Lsn,
    ) -> Result<Option<Version>, OpenError> {
        let hash = KeyHash::of(key);
        if let Some(found) = self.active.get(key, hash, &upto) {
            return Ok(Some(found));
        }
        // A record that became visible since may have changed the key: then it was not there yet
        // when the active memtable was asked, and what is found below was true.
        let upto = upto();
        let found = self.frozen.iter().find_map(|memtable| memtable.get(key, hash, || upto));
        if found.is_some() {
            return Ok(found);
        }
        self.levels.get(files, (key, hash), upto)
    }

    /// As [`get`](Self::get), of each of the keys, in their order; what is `upto` is held.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn get_many<S: Storage<Sealed = F>>(
        &self,
        files: TableFiles<'_, S>,
        keys: &[impl AsRef<[u8]>],
        upto: Lsn,
    ) -> Result<Vec<Option<Version>>, OpenError> {
        let memtables: Vec<_> = std::iter::once(&self.active).chain(&self.frozen).collect();
        let mut found = Vec::with_capacity(keys.len());
        let (mut others, mut places) = (Vec::new(), Vec::new());
        for (place, key) in keys.iter().enumerate() {
            let (key, hash) = (key.as_ref(), KeyHash::of(key.as_ref()));
            let answer = memtables.iter().find_map(|memtable| memtable.get(key, hash, || upto));
            if answer.is_none() {
                others.push((key, hash));
                places.push(place);
            }
            found.push(answer);
        }
        for (place, answer) in places.into_iter().zip(self.levels.get_many(files, &others, upto)?) {
            found[place] = answer;
        }
        Ok(found)
    }

    /// Of these layers, those that have versions of records behind `lsn`.
    pub(crate) fn changed_since(&self, lsn: Lsn) -> Self {
        let is_newer =
            |memtable: &&Arc<Memtable>| memtable.lsns().is_some_and(|(_, last)| last > lsn);
        Self {
            active: Arc::clone(&self.active),
            frozen: self.frozen.iter().filter(is_newer).cloned().collect(),
            levels: Arc::new(self.levels.changed_since(lsn)),
        }
    }

    /// The newest versions up to a record in a range: deleted keys too. The bounds are in order,
    /// and not of one key that both leave out; `upto` is held until the cursor is dropped.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn cursor<'s, S: Storage<Sealed = F>>(
        &self,
        files: TableFiles<'s, S>,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        upto: Lsn,
        direction: Direction,
    ) -> Result<TreeCursor<'s>, OpenError> {
        let memtables = std::iter::once(&self.active).chain(&self.frozen);
        let memtables = memtables.filter(|memtable| !memtable.is_empty());
        let mut sources: Vec<Box<dyn Cursor + Send + 's>> = Vec::new();
        for memtable in memtables {
            let cursor = MemtableCursor::new(Arc::clone(memtable), bounds, upto, direction);
            sources.push(Box::new(cursor));
        }
        let which = Which::UpTo(upto);
        for cursor in self.levels.cursors(files, bounds, which, direction)? {
            sources.push(Box::new(cursor));
        }
        Merged::new(sources, which, direction)
    }
}

impl<F: SealedFile> Clone for Layers<F> {
    fn clone(&self) -> Self {
        let (active, levels) = (Arc::clone(&self.active), Arc::clone(&self.levels));
        Self { active, frozen: self.frozen.clone(), levels }
    }
}
