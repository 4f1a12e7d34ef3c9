//! What is done to a tree beside reads and commits: memtables become tables, and tables are merged.
//!
//! Keeps the order in which files and layers change, so that a file that is read is never one that
//! nobody knows of, and what happens where that fails: it is tried again, later each time, and
//! nothing was lost, since the log goes only once a checkpoint names the tables. Who calls it is
//! the keeper's business, and a checkpoint's.

use super::handle::{Table, TableEntry};
use super::levels::{LevelCursor, Levels};
use super::live::{Flushing, Merging};
use super::plan::{Job, KeyRange};
use super::write::{Writing, Written};
use super::{Cursor, Layers, Merged, Retained};
use crate::checkpoint::read_back;
use crate::damage::Lsn;
use crate::database::Core;
use crate::error::{CheckpointError, OpenError, with_causes};
use crate::memtable::{Horizons, Memtable, SortedMemtable};
use crate::sealed::FileKind;
use crate::sync::Ordering;
use crate::table::{Direction, Which};
use gannet_storage::Storage;
use std::cell::RefCell;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// So many full memtables may wait to be tables, before commits wait for them.
const FROZEN_MAX: u64 = 2;
/// Tables of level 0 before commits wait until they are merged.
const LEVEL_0_TABLES_MAX: usize = 16;
/// So many memtables' worth of tables are in level 1 before they go further down.
const LEVEL_1_MEMTABLES: u64 = 4;

const ALL: KeyRange<'static> = (Bound::Unbounded, Bound::Unbounded);

/// Whether commits may go on.
pub(crate) enum Pressure {
    /// They may.
    None,
    /// They wait for tables that are being written.
    Waits,
    /// There is no room in memory, and no table can be written.
    Full(String),
}

/// Tables that were written, and the numbers of their files, as far as they are new.
type Tables<S> = (TableList<S>, Vec<u64>);
type TableList<S> = Vec<Arc<Table<<S as Storage>::Sealed>>>;

impl<S: Storage> Core<S> {
    /// Whether commits may go on.
    pub(crate) fn pressure(&self) -> Pressure {
        let layers = self.tree.layers();
        let frozen_bytes = layers.frozen.iter().map(|memtable| memtable.bytes()).sum::<u64>();
        if frozen_bytes >= FROZEN_MAX * self.tree.settings.memtable_bytes {
            if self.tree.flush_fails.load(Ordering::Relaxed) {
                let reason = self.tree.failures.lock().flush.clone();
                return reason.map_or(Pressure::Waits, Pressure::Full);
            }
            return Pressure::Waits;
        }
        let has_many = layers.levels.newest.len() >= LEVEL_0_TABLES_MAX;
        if has_many && !self.tree.bears_many.load(Ordering::Relaxed) {
            return Pressure::Waits;
        }
        Pressure::None
    }

    /// When a memtable is to be made a table; `None` where none waits, or it is being done.
    pub(crate) fn flush_due(&self) -> Option<Duration> {
        if self.tree.layers().frozen.is_empty() || self.tree.is_flushed.load(Ordering::Relaxed) {
            return None;
        }
        // A checkpoint makes it one, and tells when it has.
        Some(self.tree.flushing.try_lock()?.retry.not_before())
    }

    /// When tables are to be merged; `None` where none are, or it is being done.
    pub(crate) fn merge_due(&self) -> Option<Duration> {
        let layers = self.tree.layers();
        if self.is_in_memory() || self.tree.is_merged.load(Ordering::Relaxed) {
            return None;
        }
        layers.levels.next_job(self.level_1_bytes(), &[])?;
        Some(self.tree.merging.try_lock()?.retry.not_before())
    }

    /// Makes tables of all memtables that wait, until one fails or the database is to be closed.
    pub(crate) fn flush_what_waits(&self) {
        loop {
            let mut flushing = self.tree.flushing.lock();
            if self.check_poison().is_err() || self.is_closing.load(Ordering::Relaxed) {
                return;
            }
            let flushed = self.flush(&mut flushing, Lsn::MAX, &|| Ok(()));
            if !flushed.is_ok_and(|has_flushed| has_flushed.is_some()) {
                return;
            }
        }
    }

    /// Makes tables of the memtables that wait, as far as all of them is up to `upto`; `None` where
    /// none is.
    ///
    /// # Errors
    /// As [`CheckpointError`]. The memtables stay.
    pub(crate) fn flush(
        &self,
        flushing: &mut Flushing,
        upto: Lsn,
        go_on: &dyn Fn() -> Result<(), CheckpointError>,
    ) -> Result<Option<Vec<TableEntry>>, CheckpointError> {
        let layers = self.tree.layers_full();
        let is_due = |memtable: &&Arc<Memtable>| {
            memtable.lsns().is_some_and(|(_, last_lsn)| last_lsn <= upto)
        };
        let due: Vec<_> = layers.frozen.iter().filter(is_due).cloned().collect();
        let first_lsn = due.iter().filter_map(|memtable| Some(memtable.lsns()?.0)).min();
        let Some(first_lsn) = first_lsn else { return Ok(None) };
        let sources = due.iter().map(|memtable| SortedMemtable::new(memtable)).collect();
        let merged = Merged::new(sources, Which::All, Direction::Forward);
        let merged = merged.map_err(CheckpointError::of_tables)?;
        let ended = RefCell::new(None);
        let goes_on = || go_on().map_err(|error| *ended.borrow_mut() = Some(error)).is_ok();
        let is_last = layers.levels.tables().next().is_none();
        drop(layers);
        let (tables, numbers) = match self.retain_and_write(merged, is_last, first_lsn, &goes_on) {
            Ok(Some(written)) => written,
            Ok(None) => return Err(ended.take().unwrap_or(CheckpointError::Cancelled)),
            Err(error) => {
                flushing.retry.note_failure(self.clock.now());
                self.tree.failures.lock().flush = Some(with_causes(&error));
                self.tree.flush_fails.store(true, Ordering::Relaxed);
                mutant!("failed-flush-forgets" => {
                    self.tree.change(|layers| Layers { frozen: Vec::new(), ..layers.clone() });
                });
                self.tell_of_tables();
                return Err(error);
            }
        };
        flushing.retry.note_success();
        self.tree.failures.lock().flush = None;
        self.tree.flush_fails.store(false, Ordering::Relaxed);
        let entries = tables.iter().map(|table| table.entry().clone()).collect();
        self.tree.change(|layers| {
            let mut next = layers.clone();
            next.frozen.retain(|frozen| !due.iter().any(|memtable| Arc::ptr_eq(frozen, memtable)));
            let levels = tables.into_iter().rev();
            next.levels = Arc::new(
                levels.fold(Levels::clone(&next.levels), |levels, table| levels.with_newest(table)),
            );
            next
        });
        self.tree.written(&numbers);
        self.tell_of_tables();
        Ok(Some(entries))
    }

    /// Merges what is to be merged, until nothing is, something fails or the database is to be
    /// closed. Whether anything was.
    pub(crate) fn merge_what_is_due(&self) -> bool {
        let mut has_merged = false;
        loop {
            let mut merging = self.tree.merging.lock();
            let layers = self.tree.layers_full();
            let job = layers.levels.next_job(self.level_1_bytes(), &merging.turns);
            let is_over = self.check_poison().is_err() || self.is_closing.load(Ordering::Relaxed);
            let Some(job) = job.filter(|_| !is_over) else { return has_merged };
            drop(layers);
            let goes_on = || !self.is_closing.load(Ordering::Relaxed);
            match self.merge(&mut merging, &job, &goes_on) {
                Ok(Some(_)) => has_merged = true,
                Ok(None) | Err(_) => return has_merged,
            }
        }
    }

    /// Merges all tables of `levels`, which are those of now or were, while merging was locked.
    /// What they are then, and the tables that were written.
    ///
    /// # Errors
    /// As [`CheckpointError`].
    pub(crate) fn merge_all(
        &self,
        merging: &mut Merging,
        levels: &Levels<S::Sealed>,
    ) -> Result<(Levels<S::Sealed>, Vec<TableEntry>), CheckpointError> {
        let job = Job::all(levels);
        // However many come to level 0 meanwhile.
        self.tree.bears_many.store(true, Ordering::Relaxed);
        let written = self.merge(merging, &job, &|| true)?.unwrap_or_default();
        let entries = written.iter().map(|table| table.entry().clone()).collect();
        Ok((levels.after(&job, written), entries))
    }

    /// Does a job; the tables that came of it, `None` where it was ended.
    fn merge(
        &self,
        merging: &mut Merging,
        job: &Job<S::Sealed>,
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<TableList<S>>, CheckpointError> {
        let written = if job.is_move() {
            Ok(Some((job.upper.clone(), Vec::new())))
        } else {
            self.merge_and_write(job, goes_on)
        };
        let (tables, numbers) = match written {
            Ok(Some(written)) => written,
            Ok(None) => return Ok(None),
            Err(error) => {
                merging.retry.note_failure(self.clock.now());
                self.tree.failures.lock().merge = Some(with_causes(&error));
                // Or commits would wait for what does not come.
                self.tree.bears_many.store(true, Ordering::Relaxed);
                self.tell_of_tables();
                return Err(error);
            }
        };
        merging.retry.note_success();
        self.tree.failures.lock().merge = None;
        self.tree.bears_many.store(false, Ordering::Relaxed);
        if let (Some(turn), [upper]) = (job.target.checked_sub(2), &job.upper[..]) {
            let turns = merging.turns.len().max(turn + 1);
            merging.turns.resize_with(turns, Vec::new);
            merging.turns[turn] = upper.first_key().to_vec();
        }
        if !job.is_move() {
            self.tree.leave(job.inputs());
        }
        self.tree.change(|layers| {
            let levels = Arc::new(layers.levels.after(job, tables.clone()));
            Layers { levels, ..layers.clone() }
        });
        self.tree.written(&numbers);
        self.tell_of_tables();
        Ok(Some(tables))
    }

    fn merge_and_write(
        &self,
        job: &Job<S::Sealed>,
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Tables<S>>, CheckpointError> {
        let ranges = job.ranges(self.tree.settings.merge_threads);
        let first_lsn = job.inputs().map(|table| table.first_lsn()).min().unwrap_or_default();
        let write = |range: KeyRange<'_>| {
            let source = self.merged(job, range).map_err(CheckpointError::of_tables)?;
            self.retain_and_write(source, job.is_last, first_lsn, goes_on)
        };
        if let [range] = ranges[..] {
            return write(range);
        }
        let parts: Vec<_> = std::thread::scope(|scope| {
            let write = &write;
            let spawn = |range| scope.spawn(move || write(range));
            let threads: Vec<_> = ranges.into_iter().map(spawn).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        });
        let is_whole = parts.iter().all(|part| matches!(part, Ok(Some(_))));
        let (mut tables, mut numbers) = (Vec::new(), Vec::new());
        let mut failed = None;
        for part in parts {
            match part {
                Ok(Some((more, used))) => {
                    tables.extend(more);
                    numbers.extend(used);
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        if is_whole {
            return Ok(Some((tables, numbers)));
        }
        drop(tables);
        self.remove_tables(&numbers);
        failed.map_or(Ok(None), Err)
    }

    /// The versions of a job's tables in a range.
    fn merged(
        &self,
        job: &Job<S::Sealed>,
        range: KeyRange<'_>,
    ) -> Result<Merged<LevelCursor<'_, S>>, OpenError> {
        let cursor = |tables: Vec<_>| {
            let files = self.tree.files(&self.storage);
            LevelCursor::new(files, tables, range, Which::All, Direction::Forward)
        };
        let mut sources = Vec::with_capacity(1 + job.upper.len());
        for table in &job.upper {
            sources.push(cursor(vec![Arc::clone(table)])?);
        }
        sources.push(cursor(job.lower.clone())?);
        Merged::new(sources, Which::All, Direction::Forward)
    }

    /// Writes what is needed of a source, and opens the tables; they are being written as far as
    /// the tree knows. `None` where it was ended; then, and after a failure, no file is left.
    fn retain_and_write(
        &self,
        source: impl Cursor,
        is_last: bool,
        first_lsn: Lsn,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<Tables<S>>, CheckpointError> {
        // In this order: what is dropped behind the first horizon is known to be.
        let horizons = self.tree.snapshots.horizons();
        let keyspaces = self.tree.keyspaces_full();
        let is_last = is_last || mutant!("deletions-forgotten-early");
        let source = Retained::new(source, horizons, is_last, Some(keyspaces));
        let source = source.map_err(CheckpointError::of_tables)?;
        let numbers = RefCell::new(Vec::new());
        let next_number = || {
            let number = self.file_numbers.next();
            self.tree.writes(number);
            numbers.borrow_mut().push(number);
            number
        };
        let writing = Writing {
            storage: &self.storage,
            database: self.tree.database(),
            settings: self.tree.settings.tables,
            table_bytes: self.tree.settings.memtable_bytes,
            first_lsn,
            next_number: &next_number,
            goes_on,
        };
        let written = writing.write(source).map_err(CheckpointError::of_tables);
        let written = written.and_then(|written| self.check(written));
        let numbers = numbers.into_inner();
        match written {
            Ok(Written::Tables(entries)) => {
                let tables = entries.into_iter().map(|entry| Arc::new(Table::new(entry)));
                Ok(Some((tables.collect(), numbers)))
            }
            Ok(Written::Ended) => {
                self.remove_tables(&numbers);
                Ok(None)
            }
            Err(error) => {
                self.remove_tables(&numbers);
                Err(error)
            }
        }
    }

    /// Reads tables from the media where that is asked for.
    fn check(&self, written: Written) -> Result<Written, CheckpointError> {
        if let Written::Tables(entries) = &written
            && self.reads_back
        {
            let database = self.tree.database();
            for TableEntry { file, .. } in entries {
                let read = read_back(&self.storage, FileKind::Table, database, file);
                read.map_err(CheckpointError::ReadBack)?;
            }
        }
        Ok(written)
    }

    /// Removes tables that nothing names.
    fn remove_tables(&self, numbers: &[u64]) {
        for number in numbers {
            // What stays is removed by the next checkpoint.
            let _ = self.storage.remove(&FileKind::Table.file_name(*number));
        }
        self.tree.written(numbers);
    }

    /// Writes all keys as they are at a record that is held, to another storage, in tables whose
    /// keys follow each other.
    ///
    /// # Errors
    /// As [`CheckpointError`].
    pub(crate) fn export_keys<T: Storage>(
        &self,
        to: &T,
        lsn: Lsn,
    ) -> Result<Vec<TableEntry>, CheckpointError> {
        let files = self.tree.files(&self.storage);
        let layers = self.tree.layers_full();
        let written = layers.cursor(files, ALL, lsn, Direction::Forward);
        let written = written.and_then(|source| {
            let keyspaces = Some(self.tree.keyspaces_full());
            let source = Retained::new(source, Horizons::new(vec![lsn]), true, keyspaces)?;
            let writing = Writing {
                storage: to,
                database: self.tree.database(),
                settings: self.tree.settings.tables,
                table_bytes: self.tree.settings.memtable_bytes,
                first_lsn: 0,
                next_number: &|| self.file_numbers.next(),
                goes_on: &|| true,
            };
            writing.write(source)
        });
        match written.map_err(CheckpointError::of_tables)? {
            Written::Tables(entries) => Ok(entries),
            Written::Ended => Err(CheckpointError::Cancelled),
        }
    }

    /// Tells those who wait for tables.
    fn tell_of_tables(&self) {
        // They look at the layers under this lock.
        drop(self.queue.lock());
        self.changed.notify_all();
        self.work.notify_one();
    }

    fn level_1_bytes(&self) -> u64 {
        self.tree.settings.memtable_bytes.saturating_mul(LEVEL_1_MEMTABLES)
    }
}
