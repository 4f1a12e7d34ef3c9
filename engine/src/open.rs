//! Opening: manifest, sealed files, log tail, ready. Reads only, unless a damaged log is to be cut.
//!
//! Keeps the order in which a state is looked for: the newest checkpoint, then the one before it,
//! each with the log behind it. Primary data that cannot be had is refused; a graph that cannot be
//! used is built again from its rows.

use crate::backup::Pins;
use crate::checkpoint::reserve;
use crate::collection::{LiveCollection, LoadedGraph};
use crate::config::{Config, Durability, RecoveryMode};
use crate::damage::{Corruption, Damage, Lsn};
use crate::database::{ViewOf, Writer};
use crate::error::OpenError;
use crate::log::LogPosition;
use crate::log::aside::end_log;
use crate::log::recover::{LogEnd, LogSource, recover_with};
use crate::log::segment;
use crate::log::writer::{LogSettings, LogWriter};
use crate::manifest::Manifest;
use crate::memtable::Memtable;
use crate::names::Names;
use crate::replay::{Decoded, Replayed};
use crate::root::{self, Slot};
use crate::sealed::{FileKind, FileRef};
use crate::settle::settle_names;
use crate::state::State;
use crate::table::{BlockCache, TableFiles};
use crate::tree::{Keyspaces, Levels};
use gannet_hnsw::Executor;
use gannet_storage::{ErrorKind, FileMeta, FileName, Storage};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// What opening a database found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// There was nothing: a new database.
    pub is_new: bool,
    /// The checkpoint it started from; 0 for none.
    pub checkpoint_lsn: Lsn,
    /// The last record.
    pub end_lsn: Lsn,
    /// Frames read from the log.
    pub frames: u64,
    /// Records applied from the log.
    pub records: u64,
    /// Bytes of records read from the log.
    pub log_bytes: u64,
    /// Bytes of an unfinished write at the end of the log, which were cut.
    pub torn_bytes: u64,
    /// Graphs that could not be used.
    pub index_actions: Vec<IndexAction>,
    /// Damage because of which an older checkpoint was used, with a longer replay; nothing is lost.
    pub fallbacks: Vec<Corruption>,
    /// A slot of the root that is torn or damaged: the other one is in force, and the next
    /// checkpoint takes the bad one's place.
    pub root_damage: Option<Corruption>,
    /// The damage before which the log was ended, under
    /// [`RecoveryMode::PointInTime`](crate::RecoveryMode::PointInTime).
    pub cut: Option<Corruption>,
    /// Records that were lost by that, as far as it is known: what else tells of them may itself be
    /// damaged. The last of them may not have been acknowledged.
    pub lost: Vec<RangeInclusive<Lsn>>,
    /// Copies of the segment with that damage and of those behind it.
    pub set_aside: Vec<String>,
}

/// A graph that was built again when the database was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexAction {
    /// The collection.
    pub collection: String,
    /// Why its graph was discarded.
    pub reason: String,
    /// Rows put into the new one.
    pub rows: u32,
}

impl fmt::Display for IndexAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { collection, reason, rows } = self;
        write!(f, "graph of `{collection}` built again from {rows} rows: {reason}")
    }
}

/// An opened state and what is needed to go on writing.
pub(crate) struct Recovered<S: Storage> {
    pub(crate) state: State<ViewOf<S>>,
    pub(crate) keyspaces: Keyspaces,
    /// What the log says of keys.
    pub(crate) memtable: Memtable,
    /// What the checkpoint does.
    pub(crate) levels: Levels<S::Sealed>,
    pub(crate) blocks: Arc<BlockCache>,
    /// Number for the next sealed file.
    pub(crate) next_file: u64,
    pub(crate) writer: Writer<S>,
    pub(crate) report: RecoveryReport,
    /// Length of the segments behind the checkpoint.
    pub(crate) segment_bytes: u64,
    /// Of reading the log and applying it.
    pub(crate) replay_time: Duration,
}

/// Finds the newest state that can be had.
///
/// # Errors
/// [`OpenError`]: of the newest checkpoint, if the older one is no way out either.
pub(crate) fn recover_database<S: Storage>(
    storage: &S,
    config: &Config,
    executor: &Executor,
    names: &Arc<Names>,
) -> Result<Recovered<S>, OpenError> {
    settle_names(storage)?;
    let files = storage.list()?;
    let Some(root) = root::read(storage)? else {
        return begin(&files, config, names);
    };
    if config.durability == Durability::InMemory {
        return Err(OpenError::InMemory);
    }
    let slots = root.newest_first();
    let generation = slots[0].1.generation;
    let finish = |mut recovered: Recovered<S>, index, fallbacks| {
        recovered.writer.slot = Some(index);
        recovered.writer.generation = generation;
        recovered.next_file = next_file(&files);
        let log_first = recovered.writer.manifest.log_first;
        let is_behind = |meta: &&FileMeta| {
            segment::number_of(&meta.name).is_some_and(|number| number >= log_first)
        };
        recovered.segment_bytes = files.iter().filter(is_behind).map(|m| m.len_bytes).sum();
        recovered.report.fallbacks = fallbacks;
        recovered.report.root_damage = root.damage().next();
        recovered
    };
    let mut first_error = None;
    let mut is_log_damaged = false;
    // Damage ends the log only where no checkpoint opens without.
    for cuts_damage in [false, true] {
        let mut fallbacks = Vec::new();
        for &(index, slot) in &slots {
            let error = match load(storage, (config, names), executor, &slot, cuts_damage) {
                Ok(recovered) => return Ok(finish(recovered, index, fallbacks)),
                Err(error) => error,
            };
            let Some(damage) = unusable(&error) else {
                return Err(first_error.unwrap_or(error));
            };
            if cuts_damage && damage.damage == Damage::Unreadable {
                // It may be read another time, and would miss what is cut.
                return Err(error);
            }
            is_log_damaged |= is_segment(&damage);
            fallbacks.push(damage);
            first_error.get_or_insert(error);
        }
        if config.recovery != RecoveryMode::PointInTime || !is_log_damaged {
            break;
        }
    }
    Err(first_error.expect("a root has a valid slot"))
}

fn is_segment(corruption: &Corruption) -> bool {
    FileName::new(&corruption.file).is_ok_and(|name| segment::number_of(&name).is_some())
}

/// What is wrong with a checkpoint that cannot be used, if another one may be tried: damage, or a
/// sealed file that the device does not give back.
fn unusable(error: &OpenError) -> Option<Corruption> {
    if let OpenError::Corrupt(corruption) = error {
        return Some(corruption.clone());
    }
    let OpenError::Storage(error) = error else { return None };
    let name = FileName::new(error.place()).ok().filter(|_| error.kind() == ErrorKind::Io)?;
    FileKind::of_name(&name)?;
    let offset = error.range().map_or(0, |range| range.start);
    Some(Corruption::new(name, offset, Damage::Unreadable))
}

/// Without a root there must not be anything that belongs to a database or to somebody else.
pub(crate) fn check_blank(files: &[FileMeta]) -> Result<(), OpenError> {
    if let Some(meta) = files.iter().find(|meta| meta.name.as_str() != root::TEMP_FILE) {
        let ours = segment::number_of(&meta.name).is_some()
            || FileKind::of_name(&meta.name).is_some()
            || meta.name.as_str() == reserve::FILE;
        if ours {
            return Err(Corruption::new(root::FILE, 0, Damage::Missing).into());
        }
        return Err(OpenError::NotADatabase { file: meta.name.to_string() });
    }
    Ok(())
}

fn begin<S: Storage>(
    files: &[FileMeta],
    config: &Config,
    names: &Arc<Names>,
) -> Result<Recovered<S>, OpenError> {
    check_blank(files)?;
    let mut database = [0; 16];
    database[..8].copy_from_slice(&config.chance.next_u64().to_le_bytes());
    database[8..].copy_from_slice(&config.chance.next_u64().to_le_bytes());
    let manifest = Manifest::empty();
    let state = State::new(manifest.next_collection);
    let keyspaces = Keyspaces::new(manifest.next_keyspace);
    let report = RecoveryReport { is_new: true, ..RecoveryReport::default() };
    let (number, position) = (manifest.log_first, manifest.position);
    let writer = writer_at((config, names), database, number, position, (manifest, None));
    Ok(Recovered {
        state,
        keyspaces,
        memtable: Memtable::default(),
        levels: Levels::default(),
        blocks: Arc::new(BlockCache::new(config.block_cache_bytes)),
        next_file: 1,
        writer,
        report,
        segment_bytes: 0,
        replay_time: Duration::ZERO,
    })
}

/// A writer that continues the log, over a checkpoint with the number of its file. Slot and
/// generation are those of a new database.
fn writer_at<S: Storage>(
    (config, names): (&Config, &Arc<Names>),
    database: [u8; 16],
    next_segment: u64,
    position: LogPosition,
    (manifest, manifest_number): (Manifest, Option<u64>),
) -> Writer<S> {
    let chance = (Arc::clone(&config.chance), Arc::clone(names));
    let settings = LogSettings {
        segment_bytes_max: config.segment_bytes_max(),
        is_cached: config.durability == Durability::Buffered,
        compresses: config.log_compression,
    };
    Writer {
        log: LogWriter::new(database, chance, settings, next_segment, position),
        database,
        slot: None,
        generation: 0,
        manifest,
        manifest_number,
        older: None,
        pins: Pins::default(),
    }
}

/// Files that a crash left behind keep their numbers until a checkpoint removes them.
fn next_file(files: &[FileMeta]) -> u64 {
    let number = |meta: &FileMeta| FileKind::of_name(&meta.name).map(|(_, number)| number);
    files.iter().filter_map(number).max().map_or(1, |max| max.saturating_add(1))
}

/// The manifest that a slot names.
pub(crate) fn manifest_of<S: Storage>(storage: &S, slot: &Slot) -> Result<Manifest, OpenError> {
    match &slot.manifest {
        None => Ok(Manifest::empty()),
        Some(file) => Manifest::read(storage, slot.database, file),
    }
}

fn load<S: Storage>(
    storage: &S,
    (config, names): (&Config, &Arc<Names>),
    executor: &Executor,
    slot: &Slot,
    cuts_damage: bool,
) -> Result<Recovered<S>, OpenError> {
    let database = slot.database;
    let manifest = manifest_of(storage, slot)?;
    let mut report =
        RecoveryReport { checkpoint_lsn: manifest.position.lsn, ..RecoveryReport::default() };
    let mut discarded = Vec::new();
    let (state, keyspaces) = load_state(storage, slot, &manifest, executor, &mut discarded)?;
    let blocks = Arc::new(BlockCache::new(config.block_cache_bytes));
    let files = TableFiles { storage, database, blocks: &blocks };
    let levels = load_levels(files, slot, &manifest)?;
    let mut replayed = Replayed { state, keyspaces, memtable: Memtable::default() };
    let (first_number, start) = (manifest.log_first, manifest.position);
    let source = LogSource { storage, database, first_number, start, cuts_damage };
    let began = config.clock.now();
    let end = {
        let take = |wave| replayed.take(wave, executor);
        recover_with(&source, executor, Decoded::take, take)?
    };
    let replay_time = config.clock.now().saturating_sub(began);
    let Replayed { mut state, keyspaces, memtable } = replayed;
    for (id, reason) in discarded {
        report.index_actions.extend(rebuild_graph(&mut state, id, reason, executor)?);
    }
    let LogEnd { position, mut next_number, frames, records, bytes, torn_bytes, cut } = end;
    report.end_lsn = position.lsn;
    report.frames = frames;
    report.records = records;
    report.log_bytes = bytes;
    report.torn_bytes = torn_bytes;
    if let Some(cut) = cut {
        // All that can refuse has had its say.
        let at = (next_number, position);
        report.set_aside = end_log(storage, database, &cut, at, config.chance.as_ref())?;
        report
            .lost
            .extend((cut.lost_upto > position.lsn).then(|| position.lsn + 1..=cut.lost_upto));
        report.cut = Some(cut.corruption);
        next_number += 1;
    }
    let manifest_number = slot.manifest.map(|file| file.number);
    let checkpoint = (manifest, manifest_number);
    let writer = writer_at((config, names), database, next_number, position, checkpoint);
    let (next_file, segment_bytes) = (1, 0);
    Ok(Recovered {
        state,
        keyspaces,
        memtable,
        levels,
        blocks,
        next_file,
        writer,
        report,
        segment_bytes,
        replay_time,
    })
}

/// Collections and keyspaces as the checkpoint's files have them; collections whose graph is not
/// usable are added to `discarded` with the reason.
fn load_state<S: Storage>(
    storage: &S,
    slot: &Slot,
    manifest: &Manifest,
    executor: &Executor,
    discarded: &mut Vec<(u32, String)>,
) -> Result<(State<ViewOf<S>>, Keyspaces), OpenError> {
    let database = slot.database;
    let mut state = State::new(manifest.next_collection);
    let damaged = |field| damaged_manifest(slot, field);
    for entry in &manifest.collections {
        let (collection, graph) = LiveCollection::load(storage, database, entry, executor)?;
        if let LoadedGraph::Discarded(reason) = graph {
            discarded.push((entry.id, reason));
        }
        state.add_collection(collection).map_err(damaged)?;
    }
    let mut keyspaces = Keyspaces::new(manifest.next_keyspace);
    for entry in &manifest.keyspaces {
        keyspaces.add(entry.id, &entry.name).map_err(damaged)?;
    }
    Ok((state, keyspaces))
}

fn damaged_manifest(slot: &Slot, field: &'static str) -> OpenError {
    let name = |file: FileRef| FileKind::Manifest.file_name(file.number).to_string();
    let name = slot.manifest.map_or_else(String::new, name);
    Corruption::new(name, 0, Damage::Field(field)).into()
}

/// The tables, opened: that they are there is known then, and what they say of themselves as a
/// whole. Blocks are verified when they are read.
fn load_levels<S: Storage>(
    files: TableFiles<'_, S>,
    slot: &Slot,
    manifest: &Manifest,
) -> Result<Levels<S::Sealed>, OpenError> {
    let levels = Levels::of(&manifest.tables);
    let levels = levels.ok_or_else(|| damaged_manifest(slot, "tables"))?;
    levels.open_all(files)?;
    Ok(levels)
}

fn rebuild_graph<V: std::ops::Deref<Target = [u8]> + Send + Sync>(
    state: &mut State<V>,
    id: u32,
    reason: String,
    executor: &Executor,
) -> Result<Option<IndexAction>, Corruption> {
    let Some(collection) = state.collection_mut(id) else { return Ok(None) };
    let rows = collection.rebuild_graph(executor)?;
    Ok(Some(IndexAction { collection: collection.now().name.clone(), reason, rows }))
}
