//! The end of a checkpoint: its files are named, the root says so, and what is not needed goes.

use super::CheckpointReport;
use super::frozen::{Frozen, Unpublished};
use crate::database::{Core, Writer};
use crate::error::CheckpointError;
use crate::log::segment;
use crate::manifest::Manifest;
use crate::root::{self, Slot};
use crate::sealed::FileKind;
use gannet_storage::{FileName, Storage};
use std::collections::BTreeSet;

impl<S: Storage> Frozen<'_, S> {
    /// Publishes what was written, and retires what it replaces.
    pub(super) fn publish(
        mut self,
        written: Unpublished,
    ) -> Result<CheckpointReport, CheckpointError> {
        let core = self.core;
        let Unpublished { manifest, file } = written;
        // After a failed sync of the directory nobody knows which names are durable.
        if !mutant!("checkpoint-names-not-synced") {
            core.names.sync(&core.storage).map_err(|error| core.fail(error))?;
        }
        let (index, generation) = {
            let queue = core.queue.lock();
            let index = queue.writer.slot.expect("the first commit made the root");
            let other = if mutant!("slot-in-force-overwritten") { index } else { 1 - index };
            (other, queue.writer.generation + 1)
        };
        mutant!("log-removed-before-slot" => {
            crate::mutants::remove_log_before(&core.storage, manifest.log_first);
        });
        let slot = Slot { database: self.database(), generation, manifest: Some(file) };
        core.write_slot(index, &slot)?;
        self.is_published = true;
        core.queue.lock().writer.published(index, slot, manifest);
        let files_left = core.retire();
        Ok(CheckpointReport { files_left, ..self.report() })
    }
}

impl<S: Storage> Core<S> {
    /// Writes one slot of the root.
    ///
    /// # Errors
    /// `Storage`. If the slot may be old, new or torn the database is poisoned: only a reopen can
    /// tell which checkpoint is in force.
    pub(super) fn write_slot(&self, index: usize, slot: &Slot) -> Result<(), CheckpointError> {
        let root = root::open(&self.storage)?;
        root::write(&self.storage, &root, index, slot).map_err(|error| self.fail(error).into())
    }

    /// Removes what neither this checkpoint nor the one before it names, nor a backup copies. What
    /// is in use or cannot be removed is left for the next time: the checkpoint stands without it.
    /// Returns how many, if the directory can be listed.
    pub(super) fn retire(&self) -> Option<u64> {
        let listed = self.storage.list().ok()?;
        let unneeded: Vec<_> = {
            let tables = self.tree.files_in_use();
            let mut queue = self.queue.lock();
            let is_needed = queue.writer.needed(&tables);
            listed.into_iter().filter(|meta| !is_needed(&meta.name)).collect()
        };
        // What is not needed now is not needed later: pins are of the checkpoint in force.
        let left = unneeded.iter().filter(|meta| self.storage.remove(&meta.name).is_err()).count();
        Some(left as u64)
    }
}

/// Removes files that were written and never named, as far as that is possible.
pub(super) fn remove_sealed<S: Storage>(storage: &S, numbers: &[u64]) {
    if numbers.is_empty() {
        return;
    }
    for meta in storage.list().unwrap_or_default() {
        let unnamed = FileKind::of_name(&meta.name).filter(|(_, number)| numbers.contains(number));
        if unnamed.is_some() {
            // What stays is removed by the next checkpoint.
            let _ = storage.remove(&meta.name);
        }
    }
}

impl<S: Storage> Writer<S> {
    /// The slot is durable: this checkpoint is in force.
    pub(super) fn published(&mut self, index: usize, slot: Slot, manifest: Manifest) {
        self.slot = Some(index);
        self.generation = slot.generation;
        let number = slot.manifest.map(|file| file.number);
        self.older = Some((std::mem::replace(&mut self.manifest, manifest), self.manifest_number));
        self.manifest_number = number;
    }

    /// Whether a file is needed by what is published or pinned, is one of these tables, or is not
    /// ours to remove.
    fn needed(&mut self, tables: &BTreeSet<u64>) -> impl Fn(&FileName) -> bool + use<S> {
        let (older, older_number) = self.older.as_ref().expect("a checkpoint was published");
        let manifests = [older_number, &self.manifest_number].into_iter().flatten();
        let mut keep: BTreeSet<(FileKind, u64)> =
            manifests.map(|&number| (FileKind::Manifest, number)).collect();
        keep.extend(tables.iter().map(|&number| (FileKind::Table, number)));
        for manifest in [older, &self.manifest] {
            keep.extend(manifest.files().map(|(kind, file)| (kind, file.number)));
        }
        let pinned = if mutant!("pinned-files-removed") { None } else { self.pins.keep(&mut keep) };
        let log_first =
            if mutant!("log-removed-too-early") { &self.manifest } else { older }.log_first;
        let log_first = pinned.unwrap_or(u64::MAX).min(log_first);
        move |name| match (FileKind::of_name(name), segment::number_of(name)) {
            (Some(file), _) => keep.contains(&file),
            (None, Some(number)) => number >= log_first,
            // A crash may have left it.
            (None, None) => name.as_str() != root::TEMP_FILE,
        }
    }
}
