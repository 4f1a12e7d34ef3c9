//! The tree of an open database.
//!
//! Keeps what its parts share: the layers as they are now, names, who reads up to which record, and
//! what is being written. Reads wait for nobody. One thread at a time brings records into it, in
//! order (`commit`); tables are made of memtables and of each other beside that (`work`).

use super::handle::Table;
use super::keyspaces::Keyspaces;
use super::layers::Layers;
use super::levels::Levels;
use super::snapshots::Snapshots;
use crate::config::Config;
use crate::damage::Lsn;
use crate::memtable::Memtable;
use crate::sync::{AtomicBool, Mutex, Swap};
use crate::table::{BlockCache, TableFiles, TableSettings};
use gannet_storage::{SealedFile, Storage};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// See the module's documentation.
pub(crate) struct Tree<F: SealedFile> {
    layers: Swap<Layers<F>>,
    /// Held by whoever replaces them.
    changing: Mutex<()>,
    keyspaces: Swap<Keyspaces>,
    pub(crate) snapshots: Snapshots,
    blocks: Arc<BlockCache>,
    database: [u8; 16],
    pub(crate) settings: TreeSettings,
    /// Held by whoever makes tables of memtables, the oldest first.
    pub(crate) flushing: Mutex<Flushing>,
    /// Held by whoever merges tables.
    pub(crate) merging: Mutex<Merging>,
    /// A thread makes tables of memtables, or is about to.
    pub(crate) is_flushed: AtomicBool,
    /// A thread merges tables, or is about to.
    pub(crate) is_merged: AtomicBool,
    files: Mutex<FilesInUse<F>>,
    pub(super) failures: Mutex<TreeFailures>,
    /// A memtable could not be made a table, and none was since.
    pub(super) flush_fails: AtomicBool,
    /// Many tables in level 0 are to be borne with.
    pub(super) bears_many: AtomicBool,
}

/// Why tables were not written, until they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct TreeFailures {
    pub(crate) flush: Option<String>,
    pub(crate) merge: Option<String>,
}

/// Of the configuration, what the tree looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeSettings {
    pub(crate) tables: TableSettings,
    pub(crate) memtable_bytes: u64,
    pub(crate) merge_threads: usize,
    /// Memtables stay what they are.
    is_in_memory: bool,
}

impl TreeSettings {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            tables: TableSettings {
                block_bytes: config.block_bytes,
                compression: config.compression,
                bloom_bits: config.bloom_bits,
            },
            memtable_bytes: config.memtable_bytes,
            merge_threads: config.merge_threads,
            is_in_memory: config.durability == crate::Durability::InMemory,
        }
    }
}

/// How the making of tables went.
#[derive(Debug, Default)]
pub(crate) struct Flushing {
    pub(super) retry: Retry,
}

/// How merging went.
#[derive(Debug, Default)]
pub(crate) struct Merging {
    /// Of each level, the key that its next turn begins behind.
    pub(super) turns: Vec<Vec<u8>>,
    pub(super) retry: Retry,
}

/// What failed is tried again, each time later.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    not_before: Duration,
}

impl Retry {
    /// The first pause, and how often it doubles.
    const PAUSE: Duration = Duration::from_secs(1);
    const DOUBLINGS_MAX: u32 = 6;

    pub(super) fn note_failure(&mut self, now: Duration) {
        self.not_before = now + Self::PAUSE * (1 << self.failures.min(Self::DOUBLINGS_MAX));
        self.failures += 1;
    }

    pub(super) fn note_success(&mut self) {
        *self = Self::default();
    }

    pub(super) fn not_before(&self) -> Duration {
        self.not_before
    }
}

/// Files that no manifest names, or not for long any more.
struct FilesInUse<F: SealedFile> {
    /// Numbers of those that are being written.
    writing: BTreeSet<u64>,
    /// Tables that were merged into others; who reads them still may.
    leaving: Vec<(u64, Weak<Table<F>>)>,
}

impl<F: SealedFile> Tree<F> {
    /// A tree as it was found: every record up to `visible` is in it.
    pub(crate) fn new(
        (config, database): (&Config, [u8; 16]),
        keyspaces: Keyspaces,
        (memtable, levels, blocks): (Memtable, Levels<F>, Arc<BlockCache>),
        visible: Lsn,
    ) -> Self {
        let active = Arc::new(memtable);
        let layers = Layers { active, frozen: Vec::new(), levels: Arc::new(levels) };
        let tree = Self {
            layers: Swap::new(layers),
            changing: Mutex::new(()),
            keyspaces: Swap::new(keyspaces),
            snapshots: Snapshots::new(visible),
            blocks,
            database,
            settings: TreeSettings::new(config),
            flushing: Mutex::default(),
            merging: Mutex::default(),
            is_flushed: AtomicBool::new(false),
            is_merged: AtomicBool::new(false),
            files: Mutex::new(FilesInUse { writing: BTreeSet::new(), leaving: Vec::new() }),
            failures: Mutex::default(),
            flush_fails: AtomicBool::new(false),
            bears_many: AtomicBool::new(false),
        };
        tree.freeze_if_full();
        tree
    }

    /// The layers as they are now, for a short time.
    pub(crate) fn layers(&self) -> impl std::ops::Deref<Target = Arc<Layers<F>>> {
        self.layers.load()
    }

    /// The layers as they are now, for as long as they are wanted.
    pub(crate) fn layers_full(&self) -> Arc<Layers<F>> {
        self.layers.load_full()
    }

    pub(crate) fn keyspaces(&self) -> impl std::ops::Deref<Target = Arc<Keyspaces>> {
        self.keyspaces.load()
    }

    pub(crate) fn keyspaces_full(&self) -> Arc<Keyspaces> {
        self.keyspaces.load_full()
    }

    /// Replaces the keyspaces. Whoever brings records in is alone in doing so.
    pub(crate) fn set_keyspaces(&self, keyspaces: Keyspaces) {
        self.keyspaces.store(keyspaces);
    }

    pub(crate) fn database(&self) -> [u8; 16] {
        self.database
    }

    pub(crate) fn files<'s, S: Storage<Sealed = F>>(&'s self, storage: &'s S) -> TableFiles<'s, S> {
        TableFiles { storage, database: self.database, blocks: &self.blocks }
    }

    /// Replaces the layers by what `change` makes of them.
    pub(super) fn change(&self, change: impl FnOnce(&Layers<F>) -> Layers<F>) {
        let changing = self.changing.lock();
        let changed = change(&self.layers.load());
        let before = self.layers.load_full();
        self.layers.store(changed);
        drop(changing);
        // A memtable that goes takes its time.
        drop(before);
    }

    /// Has records go to a new memtable from here on, if there is one for what was. Nobody brings
    /// records in meanwhile.
    pub(crate) fn freeze(&self) {
        if self.settings.is_in_memory || self.layers().active.is_empty() {
            return;
        }
        self.change(|layers| {
            let mut frozen = Vec::with_capacity(1 + layers.frozen.len());
            frozen.push(Arc::clone(&layers.active));
            frozen.extend(layers.frozen.iter().cloned());
            Layers { active: Arc::default(), frozen, levels: Arc::clone(&layers.levels) }
        });
    }

    /// As [`freeze`](Self::freeze), where the memtable is as large as it may be. Whether it was.
    pub(crate) fn freeze_if_full(&self) -> bool {
        let is_full = !self.settings.is_in_memory
            && self.layers().active.bytes() >= self.settings.memtable_bytes;
        if is_full {
            self.freeze();
        }
        is_full
    }

    /// Why tables were not written.
    pub(crate) fn failures(&self) -> TreeFailures {
        self.failures.lock().clone()
    }

    /// The number of a file that is about to be written, until [`written`](Self::written).
    pub(super) fn writes(&self, number: u64) {
        self.files.lock().writing.insert(number);
    }

    /// Files that were written are part of the layers, or gone.
    pub(super) fn written(&self, numbers: &[u64]) {
        let mut files = self.files.lock();
        for number in numbers {
            files.writing.remove(number);
        }
    }

    /// Notes tables that are about to be part of the layers no more.
    pub(super) fn leave<'t>(&self, tables: impl Iterator<Item = &'t Arc<Table<F>>>)
    where
        F: 't,
    {
        let weak = |table: &Arc<Table<F>>| (table.entry().file.number, Arc::downgrade(table));
        self.files.lock().leaving.extend(tables.map(weak));
    }

    /// The numbers of tables that are not to be removed, whatever manifests say.
    pub(crate) fn files_in_use(&self) -> BTreeSet<u64> {
        // While this is locked nothing that is part of the layers ceases to be.
        let mut files = self.files.lock();
        files.leaving.retain(|(_, table)| table.strong_count() > 0);
        let leaving = files.leaving.iter().map(|(number, _)| *number);
        let mut numbers: BTreeSet<u64> = leaving.chain(files.writing.iter().copied()).collect();
        numbers.extend(self.layers().levels.tables().map(|table| table.entry().file.number));
        numbers
    }
}
