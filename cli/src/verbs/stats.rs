//! `gannet stats`: what a database holds, and what opening it found.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use gannet::{
    BackendInfo, CollectionStats, Distribution, KeyStats, LevelStats, MemoryUse, ReadError, Stats,
};
use serde::Serialize;

use crate::args::StatsArgs;
use crate::database::{self, Db, Expect};
use crate::failure::{self, Failure};
use crate::output::Output;
use crate::units::mebibytes;

/// Keys are counted unasked where all of them are no more: what is read in a second.
const COUNTED_BYTES_MAX: u64 = 256 << 20;

#[derive(Serialize)]
struct Answer {
    backend: &'static str,
    /// What else there is to tell of it.
    backend_details: BTreeMap<&'static str, String>,
    /// Better ones, and why they do not run.
    backend_refused: BTreeMap<String, String>,
    collections: BTreeMap<String, Collection>,
    keyspaces: BTreeMap<String, Keyspace>,
    /// Where their keys are.
    keys: Keys,
    /// What searches left for those that follow.
    search_bytes: u64,
    last_lsn: u64,
    checkpoint_lsn: u64,
    log_bytes: u64,
    log_segments: u64,
    file_bytes: u64,
    files: BTreeMap<String, u64>,
    recovery: Recovery,
    opening: Opening,
    commits: CommitNumbers,
    checkpoints: Checkpoints,
    /// Why the last one that was due by itself was not made.
    checkpoint_failure: Option<String>,
}

#[derive(Serialize)]
struct Opening {
    replay_seconds: f64,
    ready_seconds: f64,
    replay_bytes_per_second: u64,
    replay_records_per_second: u64,
}

/// Of this opening of the database.
#[derive(Serialize)]
struct CommitNumbers {
    commits: u64,
    groups: u64,
    records: u64,
    record_bytes: u64,
    group_records: Numbers,
    group_bytes: Numbers,
    write_nanos: Numbers,
    sync_nanos: Numbers,
    queue_bytes: u64,
}

/// Of this opening of the database.
#[derive(Serialize)]
struct Checkpoints {
    nanos: Numbers,
    pause_nanos: Numbers,
}

#[derive(Serialize)]
struct Numbers {
    count: u64,
    sum: u64,
    p50: u64,
    p99: u64,
    max: u64,
}

impl From<Distribution> for Numbers {
    fn from(found: Distribution) -> Self {
        let Distribution { count, sum, p50, p99, max, .. } = found;
        Self { count, sum, p50, p99, max }
    }
}

#[derive(Serialize)]
struct Collection {
    rows: u64,
    dims: u32,
    metric: String,
    m: u16,
    ef_construction: u32,
    code: String,
    code_choice: String,
    next_id: u64,
    in_graph: u64,
    leaving: u64,
    dead: u64,
    bytes: u64,
    memory: BTreeMap<&'static str, Memory>,
}

/// In bytes.
#[derive(Serialize)]
struct Memory {
    heap: u64,
    mapped: u64,
}

#[derive(Default, Serialize)]
struct Keyspace {
    /// `None` where they were not counted.
    keys: Option<u64>,
    bytes: Option<u64>,
}

/// Where the keys of all keyspaces are.
#[derive(Serialize)]
struct Keys {
    memtable_bytes: u64,
    frozen_memtables: u64,
    levels: Vec<Level>,
    block_cache_bytes: u64,
    flush_failure: Option<String>,
    merge_failure: Option<String>,
}

/// Tables: those that were memtables in the first level.
#[derive(Serialize)]
struct Level {
    tables: u64,
    bytes: u64,
    versions: u64,
    deletes: u64,
}

impl From<KeyStats> for Keys {
    fn from(stats: KeyStats) -> Self {
        let level = |level: LevelStats| {
            let LevelStats { tables, bytes, versions, deletes, .. } = level;
            Level { tables, bytes, versions, deletes }
        };
        Self {
            memtable_bytes: stats.memtable_bytes,
            frozen_memtables: stats.frozen_memtables,
            levels: stats.levels.into_iter().map(level).collect(),
            block_cache_bytes: stats.block_cache_bytes,
            flush_failure: stats.flush_failure,
            merge_failure: stats.merge_failure,
        }
    }
}

#[derive(Serialize)]
struct Recovery {
    is_new: bool,
    checkpoint_lsn: u64,
    end_lsn: u64,
    frames: u64,
    records: u64,
    log_bytes: u64,
    torn_bytes: u64,
    index_actions: Vec<String>,
    fallbacks: Vec<String>,
    root_damage: Option<String>,
}

pub(super) fn run(args: &StatsArgs, out: &mut Output) -> Result<(), Failure> {
    let database = database::open(&args.database, Expect::Existing, None)?;
    let stats = database.stats()?;
    let tables = stats.keys.levels.iter().map(|level| level.bytes).sum::<u64>();
    let is_counted = args.count || tables + stats.keys.memtable_bytes <= COUNTED_BYTES_MAX;
    let keyspace = |name: &String| {
        let found = if is_counted { count(&database, name)? } else { Keyspace::default() };
        Ok((name.clone(), found))
    };
    let keyspaces = stats.keyspaces.iter().map(keyspace);
    let keyspaces = keyspaces.collect::<Result<_, ReadError>>()?;
    let answer = Answer::new(database.backend_info(), stats, keyspaces);
    database.close()?;
    out.answer(&answer, || text(&answer))
}

/// A keyspace, every key looked at.
fn count(database: &Db, name: &str) -> Result<Keyspace, ReadError> {
    let (mut keys, mut bytes) = (0, 0);
    database.scan(name, Bound::Unbounded, Bound::Unbounded, |key, value| {
        keys += 1;
        bytes += (key.len() + value.len()) as u64;
        ControlFlow::Continue(())
    })?;
    Ok(Keyspace { keys: Some(keys), bytes: Some(bytes) })
}

impl Answer {
    fn new(backend: &BackendInfo, stats: Stats, keyspaces: BTreeMap<String, Keyspace>) -> Self {
        let recovery = &stats.recovery;
        let refused = backend.refused.iter();
        Self {
            backend: backend.caps.name,
            backend_details: backend.caps.details.iter().cloned().collect(),
            backend_refused: refused.map(|(name, why)| (name.to_string(), why.clone())).collect(),
            recovery: Recovery {
                is_new: recovery.is_new,
                checkpoint_lsn: recovery.checkpoint_lsn,
                end_lsn: recovery.end_lsn,
                frames: recovery.frames,
                records: recovery.records,
                log_bytes: recovery.log_bytes,
                torn_bytes: recovery.torn_bytes,
                index_actions: recovery.index_actions.iter().map(ToString::to_string).collect(),
                fallbacks: recovery.fallbacks.iter().map(ToString::to_string).collect(),
                root_damage: recovery.root_damage.as_ref().map(ToString::to_string),
            },
            opening: Opening {
                replay_seconds: stats.opening.replay_time.as_secs_f64(),
                ready_seconds: stats.opening.ready_time.as_secs_f64(),
                replay_bytes_per_second: stats.opening.replay_bytes_per_second,
                replay_records_per_second: stats.opening.replay_records_per_second,
            },
            commits: CommitNumbers {
                commits: stats.commits.commits,
                groups: stats.commits.groups,
                records: stats.commits.records,
                record_bytes: stats.commits.record_bytes,
                group_records: stats.commits.group_records.into(),
                group_bytes: stats.commits.group_bytes.into(),
                write_nanos: stats.commits.write_nanos.into(),
                sync_nanos: stats.commits.sync_nanos.into(),
                queue_bytes: stats.commits.queue_bytes,
            },
            checkpoints: Checkpoints {
                nanos: stats.checkpoints.nanos.into(),
                pause_nanos: stats.checkpoints.pause_nanos.into(),
            },
            collections: stats.collections.into_iter().map(Collection::named).collect(),
            keyspaces,
            keys: stats.keys.into(),
            search_bytes: stats.search_bytes,
            last_lsn: stats.last_lsn,
            checkpoint_failure: stats.checkpoint_failure,
            checkpoint_lsn: stats.checkpoint_lsn,
            log_bytes: stats.log_bytes,
            log_segments: stats.log_segments,
            file_bytes: stats.file_bytes,
            files: stats
                .files
                .into_iter()
                .map(|file| (file.name.to_string(), file.len_bytes))
                .collect(),
        }
    }
}

impl Collection {
    fn named(found: CollectionStats) -> (String, Self) {
        let collection = Self {
            rows: found.rows,
            dims: found.params.dims,
            metric: found.params.metric.to_string(),
            m: found.params.m,
            ef_construction: found.params.ef_construction,
            code: found.code.to_string(),
            code_choice: found.params.code.to_string(),
            next_id: found.next_id,
            in_graph: found.in_graph,
            leaving: found.leaving,
            dead: found.dead,
            bytes: found.memory.total().total(),
            memory: found.memory.lines().into_iter().map(Memory::named).collect(),
        };
        (found.name, collection)
    }
}

impl Memory {
    fn named(
        (name, MemoryUse { heap, mapped }): (&'static str, MemoryUse),
    ) -> (&'static str, Self) {
        (name, Self { heap, mapped })
    }
}

fn text(answer: &Answer) -> String {
    let mut lines = Vec::new();
    let mut line = |head: &str, rest: String| lines.push(format!("{head:<11} {rest}"));
    for (name, found) in &answer.collections {
        let Collection {
            rows,
            dims,
            metric,
            m,
            ef_construction,
            code,
            code_choice,
            in_graph,
            dead,
            bytes,
            memory,
            ..
        } = found;
        let auto = if code == code_choice { "" } else { " (auto)" };
        line(
            "collection",
            format!(
                "{name}: {rows} rows of {dims} dimensions, {metric}, m {m}, ef_construction \
                 {ef_construction}, code {code}{auto}; {in_graph} in the graph, {dead} dead, \
                 {:.1} MiB in memory",
                mebibytes(*bytes)
            ),
        );
        for (part, Memory { heap, mapped }) in memory {
            let (heap, mapped) = (mebibytes(*heap), mebibytes(*mapped));
            line("", format!("{part}: {heap:.1} MiB on the heap, {mapped:.1} MiB mapped"));
        }
    }
    line("searching", format!("{:.1} MiB", mebibytes(answer.search_bytes)));
    for (name, Keyspace { keys, bytes }) in &answer.keyspaces {
        line(
            "keyspace",
            match (keys, bytes) {
                (Some(keys), Some(bytes)) => {
                    format!("{name}: {keys} keys, {:.1} MiB", mebibytes(*bytes))
                }
                _ => format!("{name}: its keys are not counted without --count"),
            },
        );
    }
    line("keys in memory", format!("{:.1} MiB", mebibytes(answer.keys.memtable_bytes)));
    for (number, Level { tables, bytes, versions, deletes }) in
        answer.keys.levels.iter().enumerate()
    {
        let text = format!(
            "{tables} tables, {:.1} MiB, {versions} versions, {deletes} of them deletions",
            mebibytes(*bytes)
        );
        line(&format!("level {number}"), text);
    }
    let Answer { last_lsn, checkpoint_lsn, log_segments, .. } = answer;
    line("LSN", format!("last {last_lsn}, checkpoint {checkpoint_lsn}"));
    line("log", format!("{log_segments} segments, {:.1} MiB", mebibytes(answer.log_bytes)));
    line(
        "files",
        format!("{} in all, {:.1} MiB", answer.files.len(), mebibytes(answer.file_bytes)),
    );
    for (name, bytes) in &answer.files {
        line("", format!("{name:<28} {bytes:>14} bytes"));
    }
    line("backend", answer.backend.to_string());
    for (name, value) in &answer.backend_details {
        line("", format!("{name}: {value}"));
    }
    for (name, reason) in &answer.backend_refused {
        line("", failure::printable(&format!("{name} refused: {reason}")));
    }
    let Opening { replay_seconds, ready_seconds, .. } = &answer.opening;
    line("opening", format!("{ready_seconds:.3} s, of which {replay_seconds:.3} s for the log"));
    let Recovery { frames, records, log_bytes, torn_bytes, .. } = &answer.recovery;
    line(
        "recovery",
        format!(
            "{records} records in {frames} frames, {log_bytes} bytes of log, {torn_bytes} torn"
        ),
    );
    let Recovery { index_actions, fallbacks, root_damage, .. } = &answer.recovery;
    for action in index_actions.iter().chain(fallbacks).chain(root_damage) {
        line("", action.clone());
    }
    lines.join("\n")
}
