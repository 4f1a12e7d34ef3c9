//! Verification: every byte that has a checksum is read, and every fault is named.

use crate::damage::{Corruption, Damage};
use crate::database::Database;
use crate::error::{OpenError, with_causes};
use crate::log::recover::recover;
use crate::manifest::Manifest;
use crate::open::{check_blank, manifest_of};
use crate::root;
use crate::sealed::{FileKind, FileRef, SealedReader};
use crate::state::decode_all;
use gannet_hnsw::Executor;
use gannet_storage::{Error as StorageError, ErrorKind, Storage};
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
            Self::Unreadable(error) => f.write_str(&with_causes(error)),
        }
    }
}

impl VerifyReport {
    /// A fault, unless it is known.
    fn push_new(&mut self, error: OpenError) {
        let fault = Fault::from(error);
        if !self.faults.iter().any(|known| known.to_string() == fault.to_string()) {
            self.faults.push(fault);
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

/// A file that another names is damage where it is not there, or cannot be one of ours.
pub(crate) fn missing(error: OpenError) -> OpenError {
    let OpenError::Storage(error) = error else { return error };
    let damage = if error.kind() == ErrorKind::NotFound {
        Damage::Missing
    } else if error.kind() == ErrorKind::BadLength {
        Damage::Length
    } else {
        return error.into();
    };
    Corruption::new(error.place(), 0, damage).into()
}

impl<S: Storage> Database<S> {
    /// Reads every byte on disk that has a checksum: both checkpoints and the log behind the older
    /// one. Commits wait meanwhile; the log goes on in a new segment. A backup or a
    /// [`scrub`](Self::scrub) may go on beside it.
    ///
    /// # Errors
    /// Only where nothing can be judged; faults are in the report.
    pub fn verify(&self) -> Result<VerifyReport, StorageError> {
        let core = &self.core;
        // A checkpoint writes the root, which is read here.
        let _one = core.upkeep.lock();
        let mut writer = core.exclusive();
        if core.check_poison().is_ok() && writer.log.rotate(&core.storage).is_err() {
            core.poison();
        }
        // What is written to cannot be read; a spare is made again when it is needed.
        writer.log.abandon();
        verify_on(&core.storage, core.executor())
    }
}

/// As [`Database::verify`], for a storage that need not open: names every fault that keeps it from
/// it.
///
/// # Errors
/// The directory cannot be listed.
pub fn verify_storage<S: Storage>(storage: &S) -> Result<VerifyReport, StorageError> {
    verify_on(storage, &Executor::Serial)
}

fn verify_on<S: Storage>(storage: &S, executor: &Executor) -> Result<VerifyReport, StorageError> {
    let mut report = VerifyReport::default();
    let listed = storage.list()?;
    let root = match root::read(storage) {
        Ok(Some(root)) => root,
        Ok(None) => {
            report.faults.extend(check_blank(&listed).err().map(Fault::from));
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
    let mut manifests = Vec::new();
    let slots = root.newest_first();
    let database = slots[0].1.database;
    for (_, slot) in slots {
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
        match manifest_of(storage, &slot) {
            Ok(manifest) => {
                manifest.files().for_each(|(kind, file)| check(kind, &file));
                manifests.push(manifest);
            }
            // It names nothing then.
            Err(error) => report.push_new(error),
        }
    }
    // The log behind the older checkpoint holds that behind the newer one, and is the same where
    // there was none before.
    manifests.dedup_by_key(|manifest| (manifest.log_first, manifest.position));
    for (index, manifest) in manifests.iter().rev().enumerate() {
        verify_log(storage, (database, manifest), index == 0, executor, &mut report);
    }
    Ok(report)
}

/// The log from a checkpoint on, records decoded; counted only once.
fn verify_log<S: Storage>(
    storage: &S,
    (database, manifest): ([u8; 16], &Manifest),
    counts: bool,
    executor: &Executor,
    report: &mut VerifyReport,
) {
    let decode = |count: u32, body: &[u8]| decode_all(count, body, |_| Ok(()));
    let (first, start) = (manifest.log_first, manifest.position);
    match recover(storage, database, first, start, executor, decode) {
        Ok(end) if counts => {
            report.bytes += end.bytes;
            report.files += end.next_number - first;
            if end.torn_bytes > 0 {
                let lsn = end.position.lsn;
                report.notes.push(format!("{} torn bytes behind record {lsn}", end.torn_bytes));
            }
        }
        Ok(_) => {}
        Err(error) => report.push_new(error),
    }
}
