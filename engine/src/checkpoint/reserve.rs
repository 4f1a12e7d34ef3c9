//! Space kept back on the disk, so that a checkpoint, which gives space back, fits a full one.
//!
//! Keeps one file of zeroes, as long as the log since the last checkpoint, at most as a segment.
//! Nothing depends on it: it is left out of backups, and made again when it is not there.

use crate::database::Core;
use crate::log::writer::zero_fill;
use crate::sync::{AtomicU64, Mutex, Ordering};
use gannet_storage::{Durability, Error, ErrorKind, FileName, ReadFile, Storage, WriteFile};

/// Its name.
pub(crate) const FILE: &str = "reserve";

/// What is known of the file.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    /// How much of it is known to take space; one that a process before left is not believed.
    len_bytes: AtomicU64,
    /// Held while the file changes.
    change: Mutex<()>,
}

impl Reserve {
    pub(crate) fn len_bytes(&self) -> u64 {
        self.len_bytes.load(Ordering::Relaxed)
    }
}

fn name() -> FileName {
    FileName::new(FILE).expect("a valid name")
}

impl<S: Storage> Core<S> {
    /// Makes it at least so long, or leaves it as it was.
    ///
    /// # Errors
    /// As the storage's calls.
    pub(crate) fn grow_reserve(&self, len_bytes: u64) -> Result<(), Error> {
        let _change = self.reserve.change.lock();
        let len = self.reserve.len_bytes();
        if len >= len_bytes {
            return Ok(());
        }
        let file = match self.storage.open(&name()) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.storage.create(&name(), 0)?,
            opened => opened?,
        };
        let grown = file
            .set_len(len_bytes.max(file.len_bytes()))
            .and_then(|()| zero_fill(&self.storage, &file, len..len_bytes))
            .and_then(|()| file.sync(Durability::Full));
        match grown {
            Ok(()) => self.reserve.len_bytes.store(len_bytes, Ordering::Relaxed),
            // What it took is given back, or it would be what makes the disk full.
            Err(_) => drop(file.set_len(len)),
        }
        grown
    }

    /// Gives the space to whoever needs it now. Whether there was any.
    pub(crate) fn release_reserve(&self) -> bool {
        let _change = self.reserve.change.lock();
        self.reserve.len_bytes.store(0, Ordering::Relaxed);
        self.storage.remove(&name()).is_ok()
    }
}
