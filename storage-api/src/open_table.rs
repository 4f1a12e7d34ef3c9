//! Who holds which file of a storage, for writing or for reading.
//!
//! Keeps the exclusion rule of the contract (clause 9) in one place, so that it is the same on
//! every platform. Holds are counted per name; what a handle does is left to the backend.

use crate::{Error, ErrorKind, FileName, Op, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The holds of one storage.
#[derive(Debug, Default)]
pub struct OpenTable {
    held: Mutex<HashMap<FileName, Holders>>,
}

#[derive(Debug)]
enum Holders {
    Writer,
    Readers(usize),
}

/// The right to use one file, given back on drop.
#[derive(Debug)]
pub struct Hold {
    table: Arc<OpenTable>,
    name: FileName,
}

impl OpenTable {
    /// The only hold of `name`, for writing.
    ///
    /// # Errors
    /// `Busy` while there is any other.
    pub fn hold_writer(self: &Arc<Self>, op: Op, name: &FileName) -> Result<Hold> {
        let mut held = self.lock();
        if held.contains_key(name) {
            return Err(Error::new(ErrorKind::Busy, op, name));
        }
        held.insert(name.clone(), Holders::Writer);
        Ok(Hold { table: Arc::clone(self), name: name.clone() })
    }

    /// One of any number of holds of `name` for reading.
    ///
    /// # Errors
    /// `Busy` while a writer holds it.
    pub fn hold_reader(self: &Arc<Self>, op: Op, name: &FileName) -> Result<Hold> {
        match self.lock().entry(name.clone()).or_insert(Holders::Readers(0)) {
            Holders::Writer => return Err(Error::new(ErrorKind::Busy, op, name)),
            Holders::Readers(count) => *count += 1,
        }
        Ok(Hold { table: Arc::clone(self), name: name.clone() })
    }

    /// Runs `act` while nobody holds any of `names` and nobody can begin to.
    ///
    /// # Errors
    /// `Busy` while one is held; else what `act` says.
    pub fn while_free<T>(
        &self,
        op: Op,
        names: &[&FileName],
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let held = self.lock();
        match names.iter().find(|name| held.contains_key(**name)) {
            Some(name) => Err(Error::new(ErrorKind::Busy, op, name)),
            None => act(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileName, Holders>> {
        // The map is whole between any two statements that hold the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Turns a writer's hold into a reader's: the moment of sealing.
    ///
    /// # Panics
    /// If this is a reader's hold.
    #[must_use]
    pub fn into_reader(self) -> Self {
        let before = self.table.lock().insert(self.name.clone(), Holders::Readers(1));
        assert!(matches!(before, Some(Holders::Writer)), "{} was held by a reader", self.name);
        self
    }

    /// The file it is about.
    #[must_use]
    pub fn name(&self) -> &FileName {
        &self.name
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.table.lock();
        if let Some(Holders::Readers(count @ 2..)) = held.get_mut(&self.name) {
            *count -= 1;
        } else {
            held.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_excludes_all_and_readers_exclude_writers() {
        let table = Arc::new(OpenTable::default());
        let name = FileName::new("f").expect("valid");
        let busy = |r: Result<Hold>| r.err().map(|e| e.kind()) == Some(ErrorKind::Busy);
        let writer = table.hold_writer(Op::Open, &name).expect("free");
        assert!(busy(table.hold_writer(Op::Open, &name)));
        assert!(busy(table.hold_reader(Op::Open, &name)));
        let first = writer.into_reader();
        let second = table.hold_reader(Op::Open, &name).expect("readers share");
        assert!(busy(table.hold_writer(Op::Open, &name)));
        drop(first);
        assert!(table.while_free(Op::Remove, &[&name], || Ok(())).is_err());
        drop(second);
        assert!(table.while_free(Op::Remove, &[&name], || Ok(())).is_ok());
        assert!(table.hold_writer(Op::Open, &name).is_ok());
    }
}
