//! Names are made durable one call at a time, and after the first failure not at all.
//!
//! Keeps what a kernel may tell only once: after a failed sync of the directory a second one that
//! succeeds proves nothing, whoever makes it. Which names there are is everybody's own business.

use crate::sync::Mutex;
use gannet_storage::{Error, ErrorKind, Op, Storage};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Names {
    has_failed: Mutex<bool>,
}

impl Names {
    /// Makes every name durable that was given or taken away before.
    ///
    /// # Errors
    /// As [`Storage::sync_dir`]; `Failed` if it failed before.
    pub(crate) fn sync<S: Storage>(&self, storage: &S) -> Result<(), Error> {
        let mut has_failed = self.has_failed.lock();
        if *has_failed {
            return Err(Error::new(ErrorKind::Failed, Op::SyncDir, "directory"));
        }
        storage.sync_dir().inspect_err(|_| *has_failed = true)
    }
}
