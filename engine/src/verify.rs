//! Verification: every byte that has a checksum is read, and every fault is named.

use crate::damage::Corruption;
use crate::database::Database;
use crate::error::OpenError;
use crate::log::recover::recover;
use crate::manifest::Manifest;
use crate::open::manifest_of;
use crate::root;
use crate::sealed::{FileKind, FileRef, SealedReader};
use crate::state::State;
use gannet_hnsw::Executor;
use gannet_storage::{Error as StorageError, Storage};
use std::collections::BTreeSet;
use std::fmt;

/// What verification read and found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Bytes checked.
    pub bytes: u64,
    /// Everything that is not as it was written.
    pub faults: Vec<Fault>,
    /// What is not whole but needs not be: the traces of a crash.
    pub notes: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes are not what was written.
    Corrupt(Corruption),
    /// It could not be judged: not read, not known, or not a database.
    Unreadable(OpenError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::Unreadable(error) => {
                write!(f, "{error}")?;
                let mut cause = std::error::Error::source(error);
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        if let OpenError::Corrupt(corruption) = error {
            Self::Corrupt(corruption)
        } else {
            Self::Unreadable(error)
        }
    }
}

impl<S: Storage> Database<S> {
    /// Reads every byte on disk that has a checksum: both checkpoints and the log behind the older
    /// one. Commits wait meanwhile; the log goes on in a new segment.
    ///
    /// # Errors
    /// Only where nothing can be judged; faults are in the report.
    pub fn verify(&self) -> Result<VerifyReport, StorageError> {
        let mut writer = self.writer.lock();
        if let Err(error) = writer.log.rotate(&self.storage) {
            self.note_append(error);
        }
        verify_storage(&self.storage)
    }
}

/// As [`Database::verify`], for a storage that need not open: names every fault that keeps it from
/// it.
///
/// # Errors
/// The directory cannot be listed.
pub fn verify_storage<S: Storage>(storage: &S) -> Result<VerifyReport, StorageError> {
    let mut report = VerifyReport::default();
    let listed = storage.list()?;
    let root = match root::read(storage) {
        Ok(Some(root)) => root,
        Ok(None) => {
            let ours = |name| name != root::TEMP_FILE;
            if let Some(meta) = listed.iter().find(|meta| ours(meta.name.as_str())) {
                let file = meta.name.to_string();
                report.faults.push(Fault::Unreadable(OpenError::NotADatabase { file }));
            }
            return Ok(report);
        }
        Err(error) => {
            report.faults.push(error.into());
            return Ok(report);
        }
    };
    report.files += 1;
    report.bytes +=
        listed.iter().find(|m| m.name.as_str() == root::FILE).map_or(0, |m| m.len_bytes);
    for damage in root.damage() {
        report.notes.push(format!("{damage}; the other slot is in force"));
    }
    let mut seen = BTreeSet::new();
    for (_, slot) in root.newest_first() {
        let mut check = |kind: FileKind, file: &FileRef| {
            if seen.insert((kind, file.number)) {
                let verified = SealedReader::open(storage, kind, slot.database, file)
                    .and_then(|reader| reader.verify());
                report.files += 1;
                match verified {
                    Ok(bytes) => report.bytes += bytes,
                    Err(error) => report.faults.push(error.into()),
                }
            }
        };
        if let Some(file) = &slot.manifest {
            check(FileKind::Manifest, file);
        }
        // A manifest that does not verify names nothing.
        let Ok(manifest) = manifest_of(storage, &slot) else { continue };
        manifest.files().for_each(|(kind, file)| check(kind, &file));
        verify_log(storage, slot.database, &manifest, &mut report);
    }
    Ok(report)
}

/// The log from a checkpoint on, records decoded. The newer checkpoint's part is in the older's
/// too: faults found twice are reported once.
fn verify_log<S: Storage>(
    storage: &S,
    database: [u8; 16],
    manifest: &Manifest,
    report: &mut VerifyReport,
) {
    let decode = |_first, body: &[u8]| State::<Vec<u8>>::check_all(body);
    let executor = Executor::Serial;
    let (first, start) = (manifest.log_first, manifest.position);
    match recover(storage, database, first, start, &executor, decode) {
        Ok(end) => {
            report.bytes += end.bytes;
            report.files += end.next_number - first;
            if end.torn_bytes > 0 {
                let lsn = end.position.lsn;
                report.notes.push(format!("{} torn bytes behind record {lsn}", end.torn_bytes));
            }
        }
        Err(error) => {
            let fault = Fault::from(error);
            if !report.faults.iter().any(|known| known.to_string() == fault.to_string()) {
                report.faults.push(fault);
            }
        }
    }
}
