//! What is in a database, and how large it is.

use crate::collection::{CollectionMemory, LiveCollection};
use crate::damage::Lsn;
use crate::database::{Core, Database};
use crate::log::segment;
use crate::metrics::Distribution;
use crate::open::RecoveryReport;
use crate::probe::{Probes, RecallEstimate};
use crate::tree::{TableEntry, TreeFailures};
use gannet_hnsw::{Code, Params};
use gannet_storage::{Caps, Error, FileMeta, Storage};
use std::ops::Deref;
use std::time::Duration;

/// A database at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Collections in order of creation.
    pub collections: Vec<CollectionStats>,
    /// Names of keyspaces in order of creation.
    pub keyspaces: Vec<String>,
    /// Where the keys of all keyspaces are.
    pub keys: KeyStats,
    /// Memory in bytes that searches left for those that follow: one for each that ran at a time.
    pub search_bytes: u64,
    /// The last record; it is durable and visible.
    pub last_lsn: Lsn,
    /// The checkpoint in force; 0 for none.
    pub checkpoint_lsn: Lsn,
    /// Number of log segments.
    pub log_segments: u64,
    /// Their length in bytes.
    pub log_bytes: u64,
    /// Length of all files in bytes, the log included.
    pub file_bytes: u64,
    /// Every file with its length in bytes, sorted by name.
    pub files: Vec<FileMeta>,
    /// What opening found and did.
    pub recovery: RecoveryReport,
    /// How long opening took.
    pub opening: OpeningStats,
    /// Commits since it was opened.
    pub commits: CommitStats,
    /// Checkpoints since it was opened.
    pub checkpoints: CheckpointStats,
    /// Why the last checkpoint that was due by itself was not made; none was made since.
    pub checkpoint_failure: Option<String>,
    /// What the storage is.
    pub backend: Caps,
}

/// One collection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CollectionStats {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: Params,
    /// What its walks compare: where [`Params::code`] leaves that open, what was chosen so far.
    pub code: Code,
    /// Vectors in it.
    pub rows: u64,
    /// Of these, how many the graph holds; the others are scanned.
    pub in_graph: u64,
    /// Rows of the graph that were deleted or replaced: walks pass through them until they are out.
    pub leaving: u64,
    /// Rows that were deleted or replaced and still take space.
    pub dead: u64,
    /// One more than the highest integer there ever was among ids.
    pub next_id: u64,
    /// What the latest probes found, at most 256 of them since the graph was optimized; `None`
    /// where there were none: see [`Config::probes_per_minute`](crate::Config::probes_per_minute).
    pub recall: Option<RecallEstimate>,
    /// Memory, line by line.
    pub memory: CollectionMemory,
}

/// Where keys are, of all keyspaces. How many there are is not kept: a key may be in several
/// places, and only whoever reads it finds out which of them counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStats {
    /// Memory of keys that are in no table yet, in bytes.
    pub memtable_bytes: u64,
    /// Memtables that are being made tables.
    pub frozen_memtables: u64,
    /// Tables by level, those that were memtables first.
    pub levels: Vec<LevelStats>,
    /// Memory of blocks that were read, in bytes.
    pub block_cache_bytes: u64,
    /// Why the last memtable could not be made a table; none was since.
    pub flush_failure: Option<String>,
    /// Why tables could not be merged; none were since.
    pub merge_failure: Option<String>,
}

/// The tables of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelStats {
    /// Number of tables.
    pub tables: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Versions of keys in them.
    pub versions: u64,
    /// How many of these delete a key.
    pub deletes: u64,
}

/// Commits since the database was opened. Groups and records are counted when they are
/// acknowledged, writes and syncs when they have ended well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitStats {
    /// Batches, those that changed nothing too.
    pub commits: u64,
    /// Groups, each one frame of the log.
    pub groups: u64,
    /// Records.
    pub records: u64,
    /// Bytes of records, before any compression.
    pub record_bytes: u64,
    /// Records of a group.
    pub group_records: Distribution,
    /// Bytes of the records of a group, before any compression.
    pub group_bytes: Distribution,
    /// Nanoseconds of a write of a buffered group; the first and every fourth after it are timed.
    pub write_nanos: Distribution,
    /// Nanoseconds of a write and sync of a strict group, or of a sync of buffered ones.
    pub sync_nanos: Distribution,
    /// Bytes of records that are in flight now.
    pub queue_bytes: u64,
}

/// Checkpoints since the database was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointStats {
    /// Nanoseconds of a checkpoint that wrote something, from its beginning until it was in force.
    pub nanos: Distribution,
    /// Nanoseconds for which a checkpoint kept commits waiting at one stretch.
    pub pause_nanos: Distribution,
}

/// How long opening took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpeningStats {
    /// Reading the log and applying its records.
    pub replay_time: Duration,
    /// All of it, until the database was ready.
    pub ready_time: Duration,
    /// Bytes of records, as they stand in the log, for each second of `replay_time`.
    pub replay_bytes_per_second: u64,
    /// Records for each second of `replay_time`.
    pub replay_records_per_second: u64,
}

fn collection_stats<V: Deref<Target = [u8]> + Send + Sync>(
    collection: &LiveCollection<V>,
    probes: &Probes,
    views_copy_nothing: bool,
) -> CollectionStats {
    let now = collection.now();
    CollectionStats {
        name: now.name.clone(),
        params: now.params.clone(),
        code: now.graph().code(),
        rows: now.live().count().into(),
        next_id: now.next_id(),
        in_graph: u64::from(now.live().count() - now.joining().count()),
        leaving: now.leaving().count().into(),
        dead: now.dead_count().into(),
        recall: probes.estimate(now.id),
        memory: collection.memory(views_copy_nothing),
    }
}

impl<S: Storage> Core<S> {
    fn key_stats(&self) -> KeyStats {
        let layers = self.tree.layers_full();
        let memtables = std::iter::once(&layers.active).chain(&layers.frozen);
        let level = |tables: Vec<TableEntry>| LevelStats {
            tables: tables.len() as u64,
            bytes: tables.iter().map(|table| table.file.len_bytes).sum(),
            versions: tables.iter().map(|table| table.entries).sum(),
            deletes: tables.iter().map(|table| table.deletes).sum(),
        };
        let TreeFailures { flush, merge } = self.tree.failures();
        KeyStats {
            memtable_bytes: memtables.map(|memtable| memtable.bytes()).sum(),
            frozen_memtables: layers.frozen.len() as u64,
            levels: layers.levels.entries().into_iter().map(level).collect(),
            block_cache_bytes: self.tree.files(&self.storage).blocks.bytes(),
            flush_failure: flush,
            merge_failure: merge,
        }
    }
}

impl<S: Storage> Database<S> {
    /// One collection; `None` where there is none of that name.
    #[must_use]
    pub fn collection(&self, name: &str) -> Option<CollectionStats> {
        let views_copy_nothing = self.core.storage.caps().zero_copy_views;
        let state = self.core.state.read();
        let probes = self.core.probes.lock();
        state.collection(name).map(|found| collection_stats(found, &probes, views_copy_nothing))
    }

    /// Everything there is to say. Cost: a listing of the directory, and a step a row for ids made
    /// of bytes.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn stats(&self) -> Result<Stats, Error> {
        // The writer's lock keeps log, files and state at one moment.
        let core = &self.core;
        let writer = core.exclusive();
        let (last_lsn, checkpoint_lsn) = (writer.log.end().lsn, writer.manifest.position.lsn);
        let files = core.storage.list()?;
        let is_log = |meta: &&FileMeta| segment::number_of(&meta.name).is_some();
        let state = core.state.read();
        let backend = core.storage.caps();
        let probes = core.probes.lock();
        let collection = |found| collection_stats(found, &probes, backend.zero_copy_views);
        let contexts = core.contexts.lock();
        Ok(Stats {
            collections: state.collections().map(collection).collect(),
            search_bytes: contexts.iter().map(|context| context.memory_bytes() as u64).sum(),
            keyspaces: self.keyspaces(),
            keys: core.key_stats(),
            last_lsn,
            checkpoint_lsn,
            log_segments: files.iter().filter(is_log).count() as u64,
            log_bytes: files.iter().filter(is_log).map(|meta| meta.len_bytes).sum(),
            file_bytes: files.iter().map(|meta| meta.len_bytes).sum(),
            files,
            recovery: core.report.clone(),
            opening: core.metrics.opening(),
            commits: writer.commit_stats(),
            checkpoints: core.metrics.checkpoints(),
            checkpoint_failure: writer.checkpoint_failure(),
            backend,
        })
    }
}
