//! A copy brought up to date: files that it has already stay.
//!
//! Keeps the order that makes a half of it no database: the root goes first, and comes back last.

use super::error::{BackupError, CopyError};
use super::files::copy_sealed;
use super::log::copy_log;
use super::{BackupReport, Extent, Written};
use crate::checkpoint::reserve;
use crate::database::Database;
use crate::error::OpenError;
use crate::log::segment;
use crate::manifest::Manifest;
use crate::root;
use crate::sealed::{FileKind, FileRef, SealedReader};
use crate::settle::settle;
use gannet_storage::{FileMeta, Storage};
use std::collections::BTreeSet;

impl<S: Storage> Database<S> {
    /// As [`backup`](Self::backup), to a storage that is empty or has an earlier backup of this
    /// database: sealed files that it has are read and verified, and not copied again; what the
    /// new backup does not need is removed. Make a checkpoint before: what is in the log is copied
    /// each time.
    ///
    /// While it runs, and where it fails, there is no backup in `to`: run it again, which goes on
    /// with the files that are there. Who wants one at every instant takes two places in turn.
    ///
    /// # Errors
    /// [`BackupError`]; `OtherDatabase`, `NotEmpty`: nothing in `to` was changed.
    pub fn backup_incremental<T: Storage>(&self, to: &T) -> Result<BackupReport, BackupError> {
        if self.core.is_in_memory() {
            return self.core.export(to);
        }
        let pin = self.pin()?;
        let listed = check_ours(to, pin.database)?;
        let written = bring_up_to_date(&self.core.storage, to, &pin.extent(), &listed)?;
        Ok(pin.report(written))
    }
}

/// The files of a target: those of a backup of this database, or of one that was not finished.
fn check_ours<T: Storage>(to: &T, database: [u8; 16]) -> Result<Vec<FileMeta>, BackupError> {
    let listed = to.list().map_err(BackupError::Target)?;
    let is_ours = |meta: &&FileMeta| {
        let name = meta.name.as_str();
        FileKind::of_name(&meta.name).is_some()
            || segment::number_of(&meta.name).is_some()
            || [root::FILE, root::TEMP_FILE, reserve::FILE].contains(&name)
    };
    if let Some(other) = listed.iter().find(|meta| !is_ours(meta)) {
        return Err(BackupError::NotEmpty { file: other.name.to_string() });
    }
    if listed.iter().any(|meta| meta.name.as_str() == root::FILE) {
        let slots = match root::read(to) {
            Ok(root) => root.map(|root| root.newest_first()).unwrap_or_default(),
            Err(OpenError::Storage(error)) => return Err(BackupError::Target(error)),
            Err(_) => return Err(BackupError::OtherDatabase),
        };
        if slots.iter().any(|(_, slot)| slot.database != database) {
            return Err(BackupError::OtherDatabase);
        }
    }
    Ok(listed)
}

fn bring_up_to_date<S: Storage, T: Storage>(
    from: &S,
    to: &T,
    extent: &Extent<'_>,
    listed: &[FileMeta],
) -> Result<Written, CopyError> {
    let &Extent { database, checkpoint: (manifest, manifest_number), .. } = extent;
    let files: BTreeSet<_> = manifest.files().collect();
    let kept: BTreeSet<_> = files.iter().filter(|file| has(to, database, file)).collect();
    // The root first: what is left is no database until there is another one.
    let (roots, others): (Vec<_>, Vec<_>) =
        listed.iter().partition(|meta| meta.name.as_str() == root::FILE);
    for metas in [roots, others] {
        for meta in metas {
            let is_kept = |(kind, file): &&&(FileKind, FileRef)| {
                FileKind::of_name(&meta.name) == Some((*kind, file.number))
            };
            if !kept.iter().any(|file| is_kept(&file)) {
                to.remove(&meta.name).map_err(CopyError::Target)?;
            }
        }
        to.sync_dir().map_err(CopyError::Target)?;
    }
    let mut written = Written { kept: kept.len() as u64, ..Written::default() };
    for file in files.difference(&kept.into_iter().copied().collect()) {
        copy_sealed(from, to, database, (file.0, &file.1), false)?;
        written.add(file.1.len_bytes);
    }
    copy_log(from, to, extent, &mut written)?;
    publish(to, database, manifest, manifest_number, &mut written)?;
    Ok(written)
}

/// Whether a target has a file, every byte as it was written: on the media, as who wrote it may
/// have died before it was.
fn has<T: Storage>(to: &T, database: [u8; 16], (kind, file): &(FileKind, FileRef)) -> bool {
    if settle(to, &kind.file_name(file.number)).is_err() {
        return false;
    }
    let reader = SealedReader::open(to, *kind, database, file);
    reader.is_ok_and(|reader| reader.verify().is_ok() && reader.check_padding().is_ok())
}

/// Names the files that were written, and makes a database of them.
pub(super) fn publish<T: Storage>(
    to: &T,
    database: [u8; 16],
    manifest: &Manifest,
    manifest_number: Option<u64>,
    written: &mut Written,
) -> Result<(), CopyError> {
    let manifest_file = match manifest_number {
        Some(number) => Some(manifest.write(to, database, number).map_err(CopyError::Target)?),
        None => None,
    };
    if let Some(file) = &manifest_file {
        written.add(file.len_bytes);
    }
    if !mutant!("backup-names-not-synced") {
        to.sync_dir().map_err(CopyError::Target)?;
    }
    root::create_naming(to, database, manifest_file).map_err(CopyError::Target)?;
    written.add(root::LEN_BYTES);
    Ok(())
}
