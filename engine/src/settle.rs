//! Settling: what a dead process left in the cache is made durable, or is forgotten, before anybody
//! decides by it.

use gannet_storage::{Durability, ErrorKind, FileName, ReadFile, Result, Storage, WriteFile};

/// Makes the names durable that a dead process gave and took away: what is built on a name that a
/// power cut can undo is lost with it. On a read-only storage there is nothing to settle.
///
/// # Errors
/// As the storage's calls.
pub(crate) fn settle_names<S: Storage>(storage: &S) -> Result<()> {
    mutant!("names-not-settled" => { return Ok(()); });
    match storage.sync_dir() {
        Err(error) if matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Denied) => Ok(()),
        synced => synced,
    }
}

/// Opens a file so that its reads tell what is on the media. A write of an earlier process may only
/// be in the cache: after a kill it is synced here; after a failed sync the cache shows what the
/// media does not have, so it is discarded. On a read-only storage there is nothing to settle, nor
/// is there where the file is being read: this process has settled it, or written it.
///
/// # Errors
/// As the storage's calls.
pub(crate) fn settle<S: Storage>(storage: &S, name: &FileName) -> Result<S::Sealed> {
    match storage.open(name) {
        Ok(file) => {
            mutant!("files-not-settled" => {
                drop(file);
                return storage.open_sealed(name);
            });
            file.sync(Durability::Full)?;
            if !mutant!("cache-believed") {
                file.discard_cache()?;
            }
            storage.seal(file)
        }
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ReadOnly | ErrorKind::Denied | ErrorKind::Busy
            ) =>
        {
            storage.open_sealed(name)
        }
        Err(error) => Err(error),
    }
}
