//! The database: one storage, one log, one commit.
//!
//! Keeps what its parts share. Opening is in `open`, committing in `commit`, reads of keys in
//! `read`, searching in `search`, checkpoints in `checkpoint`.

use crate::backup::Pins;
use crate::chance::Chance;
use crate::checkpoint::FileNumbers;
use crate::checkpoint::reserve::Reserve;
use crate::checkpoint::schedule::Schedule;
use crate::clock::Clock;
use crate::commit::queue::Queue;
use crate::config::{Config, Durability};
use crate::error::{CloseError, OpenError, ReadError};
use crate::id::Id;
use crate::indexer::{Indexer, Indexing};
use crate::keeper::Keeper;
use crate::log::writer::{AppendError, LogWriter};
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::open::{RecoveryReport, recover_database};
use crate::probe::Probes;
use crate::root;
use crate::state::State;
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering, RwLock};
use crate::tree::Tree;
use crate::workers::Workers;
use gannet_hnsw::{Executor, SearchContext};
use gannet_storage::{Error as StorageError, SealedFile, Storage};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The storage's view of a sealed file.
pub(crate) type ViewOf<S> = <<S as Storage>::Sealed as SealedFile>::View;

/// An open database. Shared by reference between threads; closed with [`close`](Self::close), or by
/// being dropped, which loses nothing that was acknowledged.
pub struct Database<S: Storage> {
    // In this order: the threads end before the rest goes.
    pub(crate) indexer: Option<Indexer<S>>,
    pub(crate) keeper: Option<Keeper<S>>,
    pub(crate) core: Arc<Core<S>>,
}

/// What a database is made of, shared with whoever works for it.
pub(crate) struct Core<S: Storage> {
    pub(crate) storage: S,
    pub(crate) workers: Workers,
    /// Held by whoever makes a checkpoint or works on its files.
    pub(crate) upkeep: Mutex<()>,
    pub(crate) indexing: Indexing,
    pub(crate) probes: Mutex<Probes>,
    pub(crate) chance: Arc<dyn Chance>,
    pub(crate) names: Arc<Names>,
    pub(crate) reserve: Reserve,
    /// What a checkpoint wrote is read from the media before it is published.
    pub(crate) reads_back: bool,
    checkpoints_on_close: bool,
    /// The keeper is to end: what it does must not take long any more.
    pub(crate) is_closing: AtomicBool,
    pub(crate) queue: Mutex<Queue<S>>,
    /// A group has ended, or a line of the queue is open again.
    pub(crate) changed: Condvar,
    /// There is work for the keeper.
    pub(crate) work: Condvar,
    /// Nobody tells it: a group that gathers waits on it until its time is over.
    pub(crate) gathering: Condvar,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) durability: Durability,
    /// Collections.
    pub(crate) state: RwLock<State<ViewOf<S>>>,
    /// Keyspaces.
    pub(crate) tree: Tree<S::Sealed>,
    pub(crate) file_numbers: FileNumbers,
    /// Those who have conditions of a batch checked.
    pub(crate) watchers: AtomicU64,
    /// No thread works for it: see [`Database::tend`].
    pub(crate) is_tended: bool,
    pub(crate) contexts: Mutex<Vec<SearchContext>>,
    pub(crate) report: RecoveryReport,
    pub(crate) metrics: Metrics,
    poisoned: AtomicBool,
}

/// What only one thread at a time uses: the queue's lock is its lock.
pub(crate) struct Writer<S: Storage> {
    pub(crate) log: LogWriter<S>,
    pub(crate) database: [u8; 16],
    /// Slot of the root in force; `None` while there is no root.
    pub(crate) slot: Option<usize>,
    /// Highest generation of any slot.
    pub(crate) generation: u64,
    pub(crate) manifest: Manifest,
    /// Number of the manifest's file; `None` before the first checkpoint.
    pub(crate) manifest_number: Option<u64>,
    /// The checkpoint before, while it is kept.
    pub(crate) older: Option<(Manifest, Option<u64>)>,
    /// What backups copy just now.
    pub(crate) pins: Pins,
}

/// Poisons the database, and ends what is in flight, if a panic begins in its scope.
pub(crate) struct PoisonOnPanic<'c, S: Storage> {
    core: &'c Core<S>,
    /// A commit may itself be made while a panic unwinds.
    was_panicking: bool,
}

impl<S: Storage> Drop for PoisonOnPanic<'_, S> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.was_panicking {
            self.core.end_by_panic(&mut self.core.queue.lock());
        }
    }
}

impl<S: Storage> Database<S> {
    /// Opens what `storage` holds, or begins a new database where it is empty. Nothing is written:
    /// a new database gets its first files with its first commit.
    ///
    /// What was found and done is in [`recovery_report`](Self::recovery_report).
    ///
    /// # Errors
    /// [`OpenError`]; nothing on disk was changed.
    #[expect(clippy::needless_pass_by_value, reason = "settings belong to the database")]
    pub fn open(storage: S, config: Config) -> Result<Self, OpenError> {
        config.validate()?;
        let workers = Workers::new(config.threads);
        let executor = workers.executor().map_err(|error| OpenError::Threads(error.into()))?;
        let names = Arc::new(Names::default());
        let began = config.clock.now();
        let recovered = recover_database(&storage, &config, executor, &names)?;
        let ready_time = config.clock.now().saturating_sub(began);
        let metrics = Metrics::new(&recovered.report, recovered.replay_time, ready_time);
        let schedule = Schedule::new(&config, recovered.report.log_bytes, recovered.segment_bytes);
        let found = (recovered.memtable, recovered.levels, recovered.blocks);
        let visible = recovered.writer.log.end().lsn;
        let of = (&config, recovered.writer.database);
        let tree = Tree::new(of, recovered.keyspaces, found, visible);
        let core = Core {
            storage,
            tree,
            file_numbers: FileNumbers::new(recovered.next_file),
            watchers: AtomicU64::new(0),
            is_tended: config.threads == 1,
            metrics,
            workers,
            upkeep: Mutex::new(()),
            indexing: Indexing::new(config.max_pending_rows),
            probes: Mutex::new(Probes::new(config.probes_per_minute, config.recall_target)),
            chance: Arc::clone(&config.chance),
            names,
            reserve: Reserve::default(),
            reads_back: config.checkpoint_readback,
            checkpoints_on_close: config.checkpoint_on_close,
            is_closing: AtomicBool::new(false),
            queue: Mutex::new(Queue::new(recovered.writer, &config, schedule)),
            changed: Condvar::new(),
            work: Condvar::new(),
            gathering: Condvar::new(),
            clock: Arc::clone(&config.clock),
            durability: config.durability,
            state: RwLock::new(recovered.state),
            contexts: Mutex::new(Vec::new()),
            report: recovered.report,
            poisoned: AtomicBool::new(false),
        };
        let core = Arc::new(core);
        let has_threads = config.threads != 1;
        let keeper = if has_threads { Some(Keeper::start(&core)?) } else { None };
        let indexer = if has_threads { Some(Indexer::start(&core)?) } else { None };
        Ok(Self { indexer, keeper, core })
    }

    /// The storage it was opened with.
    #[must_use]
    pub fn storage(&self) -> &S {
        &self.core.storage
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.core.report
    }

    /// The vector with that id; `None` where it is not there. Under cosine its components are those
    /// inserted to within two roundings, as rows are kept at unit length with their norm.
    ///
    /// # Errors
    /// `UnknownCollection`; `Corrupt`.
    pub fn get_vector(&self, collection: &str, id: &Id) -> Result<Option<Vec<f32>>, ReadError> {
        let unknown = || ReadError::UnknownCollection { name: collection.to_owned() };
        let (now, row) = {
            let state = self.core.state.read();
            let live = state.collection(collection).ok_or_else(unknown)?;
            let Some(row) = live.row_of(id) else { return Ok(None) };
            (Arc::clone(live.now()), row)
        };
        // No lock is held: it may be read from the media.
        Ok(Some(now.vector(row)?))
    }

    /// Ends work in order: makes a checkpoint if
    /// [`checkpoint_on_close`](Config::checkpoint_on_close) says so, and leaves a witness that the
    /// last commit was durable, so that damage to it is told from a torn write. Removes the segment
    /// that was made ahead of need.
    ///
    /// # Errors
    /// [`CloseError`]. Nothing that was acknowledged is lost by that.
    pub fn close(self) -> Result<(), CloseError> {
        drop(self.indexer);
        self.core.flush_waiting();
        drop(self.keeper);
        if self.core.check_poison().is_err() {
            return Err(CloseError::Poisoned);
        }
        if self.core.checkpoints_on_close {
            let _one = self.core.upkeep.lock();
            let made = self.core.checkpoint(&mut |_| ControlFlow::Continue(()), &|| Ok(()));
            made.map_err(CloseError::Checkpoint)?;
        }
        mutant!("no-witness-at-close" => { return Ok(()); });
        let mut writer = self.core.exclusive();
        writer.log.witness(&self.core.storage).map_err(CloseError::Witness)?;
        writer.log.remove_spare(&self.core.storage);
        Ok(())
    }
}

impl<S: Storage> Core<S> {
    /// The database's threads, or the calling one where the system has none left: it only takes
    /// longer.
    pub(crate) fn executor(&self) -> &Executor {
        self.workers.executor().unwrap_or(&Executor::Serial)
    }

    pub(crate) fn poison_on_panic(&self) -> PoisonOnPanic<'_, S> {
        PoisonOnPanic { core: self, was_panicking: std::thread::panicking() }
    }

    /// A failed append that is not a mere refusal is the last one.
    pub(crate) fn note_append(&self, error: AppendError) -> AppendError {
        if !matches!(error, AppendError::Refused(_)) {
            self.poison();
        }
        error
    }

    pub(crate) fn check_poison(&self) -> Result<(), ()> {
        if self.poisoned.load(Ordering::Acquire) { Err(()) } else { Ok(()) }
    }

    /// Whether nothing is to be written.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.durability == Durability::InMemory
    }

    /// Poisons the database, ends what is in flight, and gives the error back.
    pub(crate) fn fail(&self, error: StorageError) -> StorageError {
        // At once: what is acknowledged after this was durable before it.
        self.poison();
        self.fail_all(&mut self.queue.lock(), &error);
        error
    }

    pub(crate) fn poison(&self) {
        mutant!("no-poison" => { return; });
        self.poisoned.store(true, Ordering::Release);
    }
}

impl<S: Storage> Writer<S> {
    /// The first write of a new database makes its root.
    pub(crate) fn ensure_root(&mut self, storage: &S) -> Result<(), StorageError> {
        if self.slot.is_none() {
            let root = root::create(storage, self.database)?;
            let (index, slot) = root.newest_first()[0];
            self.slot = Some(index);
            self.generation = slot.generation;
        }
        Ok(())
    }
}

impl<S: Storage> std::fmt::Debug for Database<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("report", &self.core.report).finish_non_exhaustive()
    }
}
