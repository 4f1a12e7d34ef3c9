//! A database in memory as a backup: a checkpoint of all of it, and a log that is at its end.

use super::error::{BackupError, CopyError};
use super::log::copy_log;
use super::{BackupReport, Extent, Written, check_empty, remove_all};
use crate::checkpoint::Frozen;
use crate::database::Core;
use crate::error::CheckpointError;
use crate::root;
use gannet_storage::Storage;

impl<S: Storage> Core<S> {
    /// Writes the whole state to an empty storage. Called where nothing of it is on a storage.
    pub(super) fn export<T: Storage>(&self, to: &T) -> Result<BackupReport, BackupError> {
        check_empty(to)?;
        let _one = self.upkeep.lock();
        let mut frozen = Frozen::of_all(self);
        let written = write(self, &mut frozen, to);
        if written.is_err() {
            remove_all(to);
        }
        let Written { files, bytes, kept } = written?;
        Ok(BackupReport { lsn: frozen.lsn(), checkpoint_lsn: frozen.lsn(), files, bytes, kept })
    }
}

fn write<S: Storage, T: Storage>(
    core: &Core<S>,
    frozen: &mut Frozen<'_, S>,
    to: &T,
) -> Result<Written, CopyError> {
    let (manifest, file, files) = frozen.write_to(to).map_err(|error| match error {
        CheckpointError::Storage(error) => CopyError::Target(error),
        CheckpointError::ReadBack(_)
        | CheckpointError::Corrupt(_)
        | CheckpointError::UnknownCollection { .. }
        | CheckpointError::Cancelled
        | CheckpointError::Threads(_)
        | CheckpointError::Poisoned => unreachable!("it reads nothing, and nobody cancels it"),
    })?;
    let mut written = Written { files: files.0, bytes: files.1, kept: 0 };
    let extent = Extent {
        database: frozen.database(),
        checkpoint: (&manifest, Some(file.number)),
        segments: manifest.log_first..manifest.log_first,
        end: manifest.position,
        is_strict: false,
    };
    copy_log(&core.storage, to, &extent, &mut written)?;
    to.sync_dir().map_err(CopyError::Target)?;
    root::create_naming(to, frozen.database(), Some(file)).map_err(CopyError::Target)?;
    written.add(root::LEN_BYTES);
    Ok(written)
}
