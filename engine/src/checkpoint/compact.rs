//! Compacting: a checkpoint of everything, verified, and nothing kept but that.

use super::Progress;
use crate::collection::Merge;
use crate::database::{Core, Database};
use crate::error::{CheckpointError, OpenError};
use crate::root::{self, Slot};
use crate::sealed::{FileKind, FileRef, SealedReader};
use gannet_storage::{FileMeta, Storage};
use std::ops::ControlFlow;

/// What compacting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Length of all files before, in bytes.
    pub bytes_before: u64,
    /// Length of all files after, in bytes.
    pub bytes_after: u64,
    /// Files that are there no more.
    pub files_removed: u64,
}

impl<S: Storage> Database<S> {
    /// Makes a checkpoint, as [`checkpoint`](Self::checkpoint) does but of live rows alone, reads
    /// every byte of it, and only then removes the checkpoint before and the log that led from it:
    /// they are kept in case the newest is damaged, and there is no such way back until the next
    /// checkpoint. All tables of keys become one level, of one version of each key that no snapshot
    /// needs; log segments begin small again. Reads and commits go on. Dead rows stay where there
    /// is no room for the live ones a second time.
    ///
    /// `progress` is as that of [`checkpoint`](Self::checkpoint).
    ///
    /// # Errors
    /// [`CheckpointError`]; `ReadBack` if the checkpoint is damaged: then nothing was removed.
    pub fn compact(
        &self,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<CompactReport, CheckpointError> {
        let core = &self.core;
        core.index(progress)?;
        let graphs = core.indexing.one.lock();
        let _one = core.upkeep.lock();
        let files_before = core.storage.list()?;
        core.checkpoint_merging(Merge::All, progress, &|| Ok(()))?;
        drop(graphs);
        core.drop_older()?;
        core.exclusive().log.begin_small(&core.storage);
        core.release_reserve();
        let files_after = core.storage.list()?;
        let bytes = |files: &[FileMeta]| files.iter().map(|m| m.len_bytes).sum();
        let is_gone = |meta: &&FileMeta| files_after.iter().all(|after| after.name != meta.name);
        Ok(CompactReport {
            bytes_before: bytes(&files_before),
            bytes_after: bytes(&files_after),
            files_removed: files_before.iter().filter(is_gone).count() as u64,
        })
    }
}

impl<S: Storage> Core<S> {
    /// Verifies the checkpoint in force, lets both slots name it, and removes what only the other
    /// one named. Called with `upkeep` locked.
    fn drop_older(&self) -> Result<(), CheckpointError> {
        let Some(root) = root::read(&self.storage).map_err(CheckpointError::ReadBack)? else {
            return Ok(());
        };
        let (index, slot) = root.newest_first()[0];
        let Some(file) = slot.manifest else { return Ok(()) };
        let manifest = self.queue.lock().writer.manifest.clone();
        for (kind, file) in manifest.files().chain([(FileKind::Manifest, file)]) {
            self.read_all(kind, slot.database, &file).map_err(CheckpointError::ReadBack)?;
        }
        let other = Slot { generation: slot.generation + 1, ..slot };
        self.write_slot(1 - index, &other)?;
        self.queue.lock().writer.published(1 - index, other, manifest);
        self.retire();
        Ok(())
    }

    fn read_all(
        &self,
        kind: FileKind,
        database: [u8; 16],
        file: &FileRef,
    ) -> Result<(), OpenError> {
        let reader = SealedReader::open(&self.storage, kind, database, file)?;
        reader.verify()?;
        reader.check_padding()
    }
}
