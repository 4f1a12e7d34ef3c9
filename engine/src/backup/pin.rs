//! What a backup copies must not be removed meanwhile.
//!
//! Keeps the checkpoint in force and the end of the log as they were at one instant. Who removes
//! files asks first; a pin ends when it is dropped.

use super::{BackupReport, Extent, Written};
use crate::database::Writer;
use crate::log::LogPosition;
use crate::manifest::Manifest;
use crate::sealed::FileKind;
use gannet_storage::Storage;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

/// One instant of a database.
pub(super) struct Pin {
    pub(super) database: [u8; 16],
    pub(super) manifest: Manifest,
    /// `None` before the first checkpoint.
    pub(super) manifest_number: Option<u64>,
    /// Everything acknowledged ends here, in the segment before `log_end_number`.
    pub(super) log_end: LogPosition,
    pub(super) log_end_number: u64,
}

/// The pins of a database.
#[derive(Default)]
pub(crate) struct Pins(Vec<Weak<Pin>>);

impl Pin {
    /// Of a log whose active segment was ended just now.
    pub(super) fn new<S: Storage>(writer: &mut Writer<S>) -> Arc<Self> {
        let pin = Arc::new(Self {
            database: writer.database,
            manifest: writer.manifest.clone(),
            manifest_number: writer.manifest_number,
            log_end: writer.log.end(),
            log_end_number: writer.log.next_number(),
        });
        writer.pins.0.push(Arc::downgrade(&pin));
        pin
    }

    /// The bytes that it pins.
    pub(super) fn extent(&self) -> Extent<'_> {
        Extent {
            database: self.database,
            checkpoint: (&self.manifest, self.manifest_number),
            segments: self.manifest.log_first..self.log_end_number,
            end: self.log_end,
            is_strict: false,
        }
    }

    /// What there is to say when they were copied.
    pub(super) fn report(&self, Written { files, bytes, kept }: Written) -> BackupReport {
        let checkpoint_lsn = self.manifest.position.lsn;
        BackupReport { lsn: self.log_end.lsn, checkpoint_lsn, files, bytes, kept }
    }
}

impl Pins {
    /// Adds the sealed files that are pinned to `keep`; returns the first log segment that is.
    pub(crate) fn keep(&mut self, keep: &mut BTreeSet<(FileKind, u64)>) -> Option<u64> {
        self.0.retain(|pin| pin.strong_count() > 0);
        let mut log_first = None;
        for pin in self.0.iter().filter_map(Weak::upgrade) {
            keep.extend(pin.manifest.files().map(|(kind, file)| (kind, file.number)));
            let first = pin.manifest.log_first;
            log_first = Some(log_first.map_or(first, |least: u64| least.min(first)));
        }
        log_first
    }
}

#[cfg(test)]
mod tests {
    use crate::backup::copy;
    use crate::{Config, Database, WriteBatch};
    use gannet_storage::{MemStorage, Storage};
    use std::ops::ControlFlow;

    fn put_and_checkpoint(db: &Database<MemStorage>, key: u8) {
        let mut batch = WriteBatch::new();
        batch.put("kv", &[key], b"value");
        db.commit(batch).unwrap();
        db.checkpoint(&mut |_| ControlFlow::Continue(())).unwrap();
    }

    #[test]
    fn what_is_pinned_outlives_checkpoints_and_what_is_not_any_more_goes() {
        let mut config = Config::balanced();
        config.threads = 1;
        let db = Database::open(MemStorage::new(), config.clone()).unwrap();
        (0..3).for_each(|key| put_and_checkpoint(&db, key));
        let mut batch = WriteBatch::new();
        batch.put("kv", b"in the log", b"value");
        db.commit(batch).unwrap();
        let pin = db.pin().unwrap();
        (3..9).for_each(|key| put_and_checkpoint(&db, key));
        let to = MemStorage::new();
        copy(db.storage(), &to, &pin.extent()).unwrap();
        let copied = Database::open(to, config).unwrap();
        for key in [&[2][..], b"in the log"] {
            assert!(copied.get("kv", key).unwrap().is_some(), "{key:?}");
        }
        assert!(copied.get("kv", &[3]).unwrap().is_none());
        let pinned = db.storage().list().unwrap().len();
        drop(pin);
        put_and_checkpoint(&db, 9);
        assert!(db.storage().list().unwrap().len() < pinned, "{pinned} files");
    }
}
