//! Copies of a database: taken while it is written to, and brought back.
//!
//! Keeps the order that makes a half of a copy no database: sealed files and the log first, their
//! names durable, the root last. A copy is the newest checkpoint and the log behind it, ended by a
//! segment without frames that says where the log ends: of all files of a copy none can be missing
//! unnoticed. What is pinned meanwhile is in `pin`, how files are copied in `files` and `log`, and
//! how a copy is brought up to date in `incremental`.

mod error;
mod export;
mod files;
mod incremental;
mod log;
mod pin;

pub use error::{BackupError, RestoreError};
pub(crate) use pin::Pins;

use crate::damage::{Corruption, Damage, Lsn};
use crate::database::Database;
use crate::error::OpenError;
use crate::limits::is_name;
use crate::log::recover::recover;
use crate::log::{LogPosition, segment};
use crate::manifest::Manifest;
use crate::open::manifest_of;
use crate::root;
use crate::sealed::{FileKind, FileRef, SealedReader};
use crate::state::decode_all;
use error::CopyError;
use files::copy_sealed;
use gannet_hnsw::Executor;
use gannet_storage::{FileName, Storage};
use incremental::publish;
use log::{ClosingSegment, copy_log};
use pin::Pin;
use std::collections::BTreeSet;
use std::ops::Range;

/// What a backup copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The last record in it: every commit acknowledged before the backup began.
    pub lsn: Lsn,
    /// Its checkpoint; 0 for none, then all of it is log.
    pub checkpoint_lsn: Lsn,
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Files that were there already, by [`Database::backup_incremental`].
    pub kept: u64,
}

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The last record in it.
    pub lsn: Lsn,
    /// Its checkpoint; 0 for none, then all of it is log.
    pub checkpoint_lsn: Lsn,
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Which bytes are to be copied.
struct Extent<'m> {
    database: [u8; 16],
    /// With the number of its file; without a number it names nothing.
    checkpoint: (&'m Manifest, Option<u64>),
    /// Segments behind the checkpoint.
    segments: Range<u64>,
    /// Where the last of them ends.
    end: LogPosition,
    /// What no checksum covers must be as it was written, too.
    is_strict: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    files: u64,
    bytes: u64,
    /// Files that were there.
    kept: u64,
}

impl<S: Storage> Database<S> {
    /// Copies the database to the empty storage `to` while reads and writes go on: everything that
    /// was acknowledged before the call is in the copy, nothing of a commit that began after it.
    /// Commits wait only while the log changes to a new segment. The newest checkpoint and the log
    /// behind it are copied, each byte verified against its checksum, in buffers of 1 MiB and, of
    /// the log, one segment at a time; make a checkpoint before for a copy that opens fast.
    ///
    /// The copy is published last: a crash before leaves files that open as no database. It has
    /// the *same id*: it is this database at that instant. It opens as it is, or is the source of a
    /// [`restore`] as long as nothing was written to it. Copies that are written to are different
    /// databases from then on, whose files must not be mixed.
    ///
    /// Of a database in memory all of it is written, as a checkpoint, in the same way.
    ///
    /// # Errors
    /// [`BackupError`]. What was written is removed again, as far as that is possible.
    pub fn backup<T: Storage>(&self, to: &T) -> Result<BackupReport, BackupError> {
        if self.core.is_in_memory() {
            return self.core.export(to);
        }
        check_empty(to)?;
        let pin = self.pin()?;
        let written = copy(&self.core.storage, to, &pin.extent())?;
        Ok(pin.report(written))
    }

    /// Ends the active segment, and keeps what there is then from being removed.
    fn pin(&self) -> Result<std::sync::Arc<Pin>, BackupError> {
        let mut writer = self.core.exclusive();
        self.core.check_poison().map_err(|()| BackupError::Poisoned)?;
        if let Err(error) = writer.log.rotate(&self.core.storage) {
            return Err(BackupError::Source(writer.fail(error).into()));
        }
        Ok(Pin::new(&mut writer))
    }
}

/// Brings the backup in `from` back, in the empty storage `to`. `from` is taken for hostile: names
/// come from its root and manifest alone, every byte is verified, and only then is the root written
/// that makes a database of the copy. Memory is that of a [`Database::backup`].
///
/// # Errors
/// [`RestoreError`]: `to` holds no database, and what was written is removed again, as far as that
/// is possible.
pub fn restore<S: Storage, T: Storage>(from: &S, to: &T) -> Result<RestoreReport, RestoreError> {
    check_empty(to)?;
    let slot = root::read_first(from)?;
    let slot = slot.ok_or_else(|| RestoreError::Changed { file: root::FILE.to_owned() })?;
    let manifest = manifest_of(from, &slot)?;
    if let Some(file) = &slot.manifest {
        SealedReader::open(from, FileKind::Manifest, slot.database, file)?.check_padding()?;
    }
    check_names(&manifest, slot.manifest)?;
    let closing = ClosingSegment::find(from, slot.database, manifest.log_first)?;
    check_listed(from, &manifest, slot.manifest, closing.number)?;
    // What the records say; the copy looks at checksums alone.
    let decode = |count: u32, body: &[u8]| decode_all(count, body, |_| Ok(()));
    let (first, start) = (manifest.log_first, manifest.position);
    recover(from, slot.database, first, start, &Executor::Serial, decode)?;
    let extent = Extent {
        database: slot.database,
        checkpoint: (&manifest, slot.manifest.map(|file| file.number)),
        segments: manifest.log_first..closing.number,
        end: closing.end,
        is_strict: true,
    };
    let Written { files, bytes, .. } = copy(from, to, &extent)?;
    let checkpoint_lsn = manifest.position.lsn;
    Ok(RestoreReport { lsn: closing.end.lsn, checkpoint_lsn, files, bytes })
}

fn check_empty<T: Storage>(to: &T) -> Result<(), CopyError> {
    match to.list().map_err(CopyError::Target)?.first() {
        Some(meta) => Err(CopyError::NotEmpty(meta.name.to_string())),
        None => Ok(()),
    }
}

/// Names of collections and keyspaces, as opening would check them.
fn check_names(manifest: &Manifest, file: Option<FileRef>) -> Result<(), OpenError> {
    fn is_good<'n>(names: impl Iterator<Item = &'n String>) -> bool {
        let mut seen = BTreeSet::new();
        names.into_iter().all(|name| is_name(name) && seen.insert(name))
    }
    let collections = manifest.collections.iter().map(|collection| &collection.name);
    let keyspaces = manifest.keyspaces.iter().map(|keyspace| &keyspace.name);
    if is_good(collections) && is_good(keyspaces) {
        return Ok(());
    }
    let number = file.map_or(0, |file| file.number);
    Err(Corruption::new(FileKind::Manifest.file_name(number), 0, Damage::Field("name")).into())
}

/// A backup has the files that it names, and no other.
fn check_listed<S: Storage>(
    from: &S,
    manifest: &Manifest,
    manifest_file: Option<FileRef>,
    closing: u64,
) -> Result<(), RestoreError> {
    let sealed = manifest.files().chain(manifest_file.map(|file| (FileKind::Manifest, file)));
    let named: BTreeSet<_> = sealed.map(|(kind, file)| (kind, file.number)).collect();
    let segments = manifest.log_first..=closing;
    let belongs = |name: &FileName| {
        name.as_str() == root::FILE
            || FileKind::of_name(name).is_some_and(|file| named.contains(&file))
            || segment::number_of(name).is_some_and(|number| segments.contains(&number))
    };
    let listed = from.list().map_err(OpenError::from)?;
    match listed.into_iter().find(|meta| !belongs(&meta.name)) {
        Some(meta) => Err(RestoreError::Changed { file: meta.name.to_string() }),
        None => Ok(()),
    }
}

/// Copies and publishes; removes what it wrote if that fails.
fn copy<S: Storage, T: Storage>(
    from: &S,
    to: &T,
    extent: &Extent<'_>,
) -> Result<Written, CopyError> {
    let written = copy_all(from, to, extent);
    if written.is_err() {
        remove_all(to);
    }
    written
}

fn copy_all<S: Storage, T: Storage>(
    from: &S,
    to: &T,
    extent: &Extent<'_>,
) -> Result<Written, CopyError> {
    let &Extent { database, checkpoint: (manifest, manifest_number), is_strict, .. } = extent;
    let mut written = Written::default();
    for (kind, file) in manifest.files().collect::<BTreeSet<_>>() {
        copy_sealed(from, to, database, (kind, &file), is_strict)?;
        written.add(file.len_bytes);
    }
    copy_log(from, to, extent, &mut written)?;
    publish(to, database, manifest, manifest_number, &mut written)?;
    Ok(written)
}

/// Everything in a storage that was empty: the root first, so that what a crash leaves of it is no
/// database.
fn remove_all<T: Storage>(to: &T) {
    let (root, others): (Vec<_>, Vec<_>) =
        to.list().unwrap_or_default().into_iter().partition(|m| m.name.as_str() == root::FILE);
    for metas in [root, others] {
        for meta in metas {
            // What stays has no root, or one whose directory is out of order: the error that is
            // reported says so.
            let _ = to.remove(&meta.name);
        }
        let _ = to.sync_dir();
    }
}

impl Written {
    fn add(&mut self, len_bytes: u64) {
        self.files += 1;
        self.bytes += len_bytes;
    }
}
