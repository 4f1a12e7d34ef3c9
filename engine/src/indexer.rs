//! The indexer: graphs learn of the rows that were committed, beside commits and searches.
//!
//! Keeps who changes graphs: one at a time, on a copy that takes the graph's place when some
//! batches are in it. Which rows make a batch follows from the log alone (`collection/changes`); a
//! batch that is to end early is told to the log first. `learn` is the work itself; this file says
//! when, and who waits for it.

mod learn;
mod retired;

use crate::batch::WriteBatch;
use crate::collection::LiveCollection;
use crate::config::Durability;
use crate::database::Core;
use crate::error::{CommitError, OpenError};
use crate::sync::{AtomicBool, Builder, Condvar, JoinHandle, Mutex, MutexGuard, Ordering};
use gannet_hnsw::{BuildScratch, Graph};
use gannet_storage::Storage;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use learn::{Asked, measure};
use retired::Retired;

/// Fewer rows than a whole batch are put into a graph when they are so many, or have waited so
/// long.
const LIVE_BATCH_ROWS: usize = 64;
const LIVE_WAIT: Duration = Duration::from_secs(1);
/// While rows wait, they are looked at again after so long.
const TICK: Duration = Duration::from_millis(10);
/// Who wants graphs to stay as they are waits so long for the batch that is being learnt.
const HOLD_WAIT: Duration = Duration::from_millis(500);
/// While many rows are learnt, searches get what is done so far this often.
const LIVE_INSTALL: Duration = Duration::from_millis(50);

/// What those who change graphs and those who wait for it share.
pub(crate) struct Indexing {
    /// Held by whoever changes graphs.
    pub(crate) one: Mutex<()>,
    state: Mutex<IndexerState>,
    /// Graphs that searches may still walk.
    retired: Retired,
    /// The thread sleeps until it is told of something.
    is_idle: AtomicBool,
    /// Somebody waits for the thread to let go of `one`.
    is_wanted: AtomicBool,
    /// Somebody searched since a batch was begun.
    was_searched: AtomicBool,
    /// Somebody waited for the disk since a batch was begun.
    was_synced: AtomicBool,
    /// There is something to learn.
    work: Condvar,
    /// Something was learnt, or will not be.
    learnt: Condvar,
    /// Rows that may wait before those who add more do.
    pending_max: usize,
}

#[derive(Default)]
struct IndexerState {
    /// There is a thread, and it goes on.
    is_running: bool,
    is_closing: bool,
    /// Somebody needs graphs to stay as they are for long.
    is_paused: bool,
    /// How many wait until fewer rows do.
    waiters: usize,
    /// How often the log took no cut: who waits is to hear from it why.
    refusals: u64,
    /// Since when rows of a collection wait.
    waiting_since: BTreeMap<u32, Duration>,
}

impl Indexing {
    pub(crate) fn new(pending_max: u32) -> Self {
        Self {
            one: Mutex::new(()),
            state: Mutex::new(IndexerState::default()),
            retired: Retired::default(),
            is_idle: AtomicBool::new(false),
            is_wanted: AtomicBool::new(false),
            was_searched: AtomicBool::new(false),
            was_synced: AtomicBool::new(false),
            work: Condvar::new(),
            learnt: Condvar::new(),
            pending_max: pending_max as usize,
        }
    }

    /// Whether the thread is to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.state.lock().is_closing
    }

    /// Keeps graphs as they are; `None` if somebody changes them for long.
    pub(crate) fn hold(&self) -> Option<MutexGuard<'_, ()>> {
        self.is_wanted.store(true, Ordering::SeqCst);
        // Who has it may be waiting for this checkpoint to make room in the log.
        let one = self.one.try_lock_for(HOLD_WAIT);
        self.is_wanted.store(false, Ordering::SeqCst);
        one
    }

    /// Somebody searches.
    pub(crate) fn note_search(&self) {
        // All searches read what few of them write.
        if !self.was_searched.load(Ordering::Relaxed) {
            self.was_searched.store(true, Ordering::Relaxed);
        }
    }

    /// Somebody waits for the disk.
    pub(crate) fn note_sync(&self) {
        self.was_synced.store(true, Ordering::Relaxed);
    }

    /// A graph took the place of this one.
    fn retire(&self, graph: Arc<Graph>) {
        if self.state.lock().is_running {
            self.retired.take(graph);
            drop(self.state.lock());
            self.work.notify_one();
        }
    }

    /// Something was learnt, or will not be.
    fn note_learnt(&self) {
        drop(self.state.lock());
        self.learnt.notify_all();
    }

    /// The log took no cut.
    fn note_refusal(&self) {
        self.state.lock().refusals += 1;
        self.learnt.notify_all();
    }

    /// Whoever waits for graphs to learn goes on without, until this is dropped.
    pub(crate) fn pause(&self) -> Paused<'_> {
        self.state.lock().is_paused = true;
        self.learnt.notify_all();
        Paused(self)
    }
}

/// See [`Indexing::pause`].
pub(crate) struct Paused<'i>(&'i Indexing);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.state.lock().is_paused = false;
    }
}

/// The thread, which ends when this is dropped.
pub(crate) struct Indexer<S: Storage> {
    core: Arc<Core<S>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Storage> Indexer<S> {
    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn start(core: &Arc<Core<S>>) -> Result<Self, OpenError> {
        core.indexing.state.lock().is_running = true;
        let kept = Arc::clone(core);
        let builder = Builder::new().name("gannet-indexer".to_owned());
        let thread = builder.spawn(move || kept.keep_learning());
        let thread = thread.map_err(|error| OpenError::Threads(error.into()))?;
        Ok(Self { core: Arc::clone(core), thread: Some(thread) })
    }
}

impl<S: Storage> Drop for Indexer<S> {
    fn drop(&mut self) {
        self.core.indexing.state.lock().is_closing = true;
        self.core.indexing.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in it has poisoned the database.
            let _ = thread.join();
        }
    }
}

/// However the thread ends, nobody waits for it any more.
struct Stopped<'i>(&'i Indexing);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.state.lock().is_running = false;
        self.0.learnt.notify_all();
    }
}

impl<S: Storage> Core<S> {
    /// What the thread does until it shall end.
    fn keep_learning(&self) {
        let _guard = self.poison_on_panic();
        let _stopped = Stopped(&self.indexing);
        let mut scratch = BuildScratch::new();
        while self.check_poison().is_ok() {
            self.learn_what_is_due(&mut scratch);
            self.probe_if_due();
            self.indexing.retired.drop_unused();
            let until_probe = self.probes.lock().wait(self.clock.now());
            let mut state = self.indexing.state.lock();
            if state.is_closing {
                break;
            }
            // Before the look: who commits after it tells, what came before it is seen.
            self.indexing.is_idle.store(true, Ordering::SeqCst);
            let has_rows = self.has_rows_to_learn(state.waiters > 0);
            if has_rows {
                // It looks again soon, whoever commits.
                self.indexing.is_idle.store(false, Ordering::SeqCst);
            } else {
                // Memory of threads that planned; what comes next may not come soon.
                scratch = BuildScratch::new();
            }
            let is_to_look = has_rows || self.indexing.retired.has_some();
            match until_probe.into_iter().chain(is_to_look.then_some(TICK)).min() {
                Some(wait) => _ = self.indexing.work.wait_for(&mut state, wait),
                None => self.indexing.work.wait(&mut state),
            }
            self.indexing.is_idle.store(false, Ordering::SeqCst);
        }
    }

    /// Whether rows wait that a graph can learn; or, where somebody may have to hear of it, any.
    fn has_rows_to_learn(&self, or_not: bool) -> bool {
        let state = self.state.read();
        let can_learn = |found: &LiveCollection<_>| or_not || found.now().damage().is_none();
        state.collections().any(|found| found.changes().len() > 0 && can_learn(found))
    }

    /// Rows were committed: the thread is told, if it sleeps.
    pub(crate) fn note_rows(&self) {
        if self.indexing.is_idle.load(Ordering::SeqCst) {
            drop(self.indexing.state.lock());
            self.indexing.work.notify_one();
        }
    }

    /// Puts into graphs what makes a whole batch, is many, or has waited long.
    pub(crate) fn learn_what_is_due(&self, scratch: &mut BuildScratch) {
        let ids: Vec<u32> = {
            let state = self.state.read();
            let waiting = state.collections().filter(|found| found.changes().has_entries());
            waiting.map(|found| found.now().id).collect()
        };
        self.indexing.state.lock().waiting_since.retain(|id, _| ids.contains(id));
        for id in ids {
            let Some(_one) = self.indexing.one.try_lock() else { return };
            let mut go_on = |_| {
                let is_wanted = self.indexing.is_wanted.load(Ordering::SeqCst);
                let is_over = is_wanted || self.indexing.is_closing();
                if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let install = LIVE_INSTALL;
            let mut asked = Asked { id, scratch, install, upto: u64::MAX, is_behind: true };
            match self.learn(&mut asked, &mut go_on) {
                Ok(ControlFlow::Break(())) => return,
                Ok(ControlFlow::Continue(())) => {}
                Err(_) => {
                    // Who waits for this graph finds the damage.
                    self.indexing.note_learnt();
                    continue;
                }
            }
            if self.is_cut_due(id) {
                match self.cut(id) {
                    Ok(()) => _ = self.learn(&mut asked, &mut go_on),
                    Err(_) => self.indexing.note_refusal(),
                }
            }
        }
    }

    /// Whether rows that make no whole batch are to be put into the graph now.
    fn is_cut_due(&self, id: u32) -> bool {
        let count = {
            let state = self.state.read();
            state.collection_by_id(id).map_or(0, |found| found.changes().len())
        };
        let mut state = self.indexing.state.lock();
        if count == 0 {
            state.waiting_since.remove(&id);
            return false;
        }
        let now = self.clock.now();
        let since = *state.waiting_since.entry(id).or_insert(now);
        let is_waited_for = state.waiters > 0;
        drop(state);
        let many = LIVE_BATCH_ROWS.min(self.indexing.pending_max / 2).max(1);
        let is_due = count >= many || now.saturating_sub(since) >= LIVE_WAIT;
        // Who opens a database to read it finds it as it was. A checkpoint ends the active segment.
        let may_write =
            || self.is_in_memory() || is_waited_for || self.queue.lock().writer.log.has_begun();
        is_due && may_write()
    }

    /// Tells the log that a batch of a collection's changes ends here.
    ///
    /// # Errors
    /// As any commit.
    pub(crate) fn cut(&self, id: u32) -> Result<(), CommitError> {
        let mut batch = WriteBatch::new();
        batch.cut(id);
        let level = if self.is_in_memory() { Durability::InMemory } else { Durability::Buffered };
        self.commit(&batch, level).map(drop)
    }

    /// Waits until the graphs of the collections that `batch` changes have learnt most of what was
    /// committed before: searches look at the rest one by one. Not where that cannot be: graphs are
    /// held as they are, or the log takes nothing, which the batch is to hear of itself.
    ///
    /// # Errors
    /// `GraphStopped`.
    pub(crate) fn wait_for_graphs(&self, batch: &WriteBatch) -> Result<(), CommitError> {
        for name in batch.collections_to_learn() {
            let lag = || {
                let state = self.state.read();
                let found = state.collection(name);
                found.map_or((0, 0), |found| (found.now().id, found.changes().len()))
            };
            let check = || {
                let state = self.state.read();
                let found = state.collection(name).and_then(|found| found.now().damage());
                found.map_or(Ok(()), |damage| {
                    let (collection, source) = (name.to_owned(), Box::new(damage.clone()));
                    Err(CommitError::GraphStopped { collection, source })
                })
            };
            let (id, count) = lag();
            if count <= self.indexing.pending_max {
                continue;
            }
            check()?;
            let mut state = self.indexing.state.lock();
            if !state.is_running {
                drop(state);
                self.learn_now(id);
                check()?;
                continue;
            }
            state.waiters += 1;
            let refusals = state.refusals;
            let may_learn = |state: &IndexerState| {
                state.is_running && !state.is_paused && state.refusals == refusals
            };
            while may_learn(&state) && lag().1 > self.indexing.pending_max && check().is_ok() {
                self.indexing.work.notify_one();
                self.indexing.learnt.wait(&mut state);
            }
            state.waiters -= 1;
            drop(state);
            if lag().1 > self.indexing.pending_max {
                check()?;
            }
        }
        Ok(())
    }

    /// Where there is no thread to wait for, whoever commits does its work.
    fn learn_now(&self, id: u32) {
        let Some(_one) = self.indexing.one.try_lock() else { return };
        let mut scratch = BuildScratch::new();
        let (scratch, install) = (&mut scratch, LIVE_INSTALL);
        let mut asked = Asked { id, scratch, install, upto: u64::MAX, is_behind: false };
        // Without the cut, whole batches are learnt all the same.
        _ = self.cut(id);
        _ = self.learn(&mut asked, &mut |_| ControlFlow::Continue(()));
    }
}
