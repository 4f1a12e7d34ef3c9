//! The keeper: what a database does although nobody has asked for it just then.
//!
//! Writes batches that were submitted and that nobody waits for; syncs buffered commits in time;
//! makes the next segment, and the reserve, ahead of need; gives the last group a witness when the
//! log is idle; begins the checkpoints that are due, and the making and merging of tables. All of
//! that is [`Database::tend`], which a thread of the keeper calls when something is due, or, where
//! there is to be no thread, the owner of the database. On threads of their own are checkpoints,
//! work on tables and the indexer: they take long.

use crate::commit::queue::{Queue, SpareWork};
use crate::database::{Core, Database};
use crate::error::{CommitError, OpenError};
use crate::log::writer::{AppendError, make_spare};
use crate::sync::{AtomicBool, Builder, JoinHandle, Ordering};
use gannet_hnsw::BuildScratch;
use gannet_storage::Storage;
use std::sync::Arc;
use std::time::Duration;

/// The log is idle when nothing was acknowledged for so long.
const IDLE: Duration = Duration::from_millis(50);

/// A wait that is longer ends when somebody commits.
const NAP: Duration = IDLE;

/// The thread, which ends when this is dropped.
pub(crate) struct Keeper<S: Storage> {
    core: Arc<Core<S>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Storage> Keeper<S> {
    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn start(core: &Arc<Core<S>>) -> Result<Self, OpenError> {
        let kept = Arc::clone(core);
        let builder = Builder::new().name("gannet-keeper".to_owned());
        let thread = builder.spawn(move || kept.keep());
        let thread = thread.map_err(|error| OpenError::Threads(error.into()))?;
        Ok(Self { core: Arc::clone(core), thread: Some(thread) })
    }
}

impl<S: Storage> Drop for Keeper<S> {
    fn drop(&mut self) {
        self.core.is_closing.store(true, Ordering::Relaxed);
        self.core.queue.lock().keeper.is_closing = true;
        self.core.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in it has poisoned the database.
            let _ = thread.join();
        }
    }
}

impl<S: Storage> Database<S> {
    /// Does what is due: writes what was submitted, syncs buffered commits that are old enough,
    /// makes the next log segment, gives the last commit of an idle log a witness, makes a
    /// checkpoint, makes tables of keys and merges them, puts rows into graphs. Threads of the
    /// database do this by themselves, unless [`Config::threads`](crate::Config::threads) is 1:
    /// then it is for the caller to do, now and then.
    ///
    /// # Errors
    /// `Unknown`, `Poisoned`: what is durable only a reopen can tell.
    pub fn tend(&self) -> Result<(), CommitError> {
        let core = &self.core;
        let _guard = core.poison_on_panic();
        core.tend()?;
        if self.keeper.is_none() && core.begin_due_checkpoint() {
            // A failure is in the statistics, and tried again.
            core.scheduled_checkpoint();
        }
        if core.is_tended {
            core.flush_what_waits();
            core.merge_what_is_due();
        }
        if self.indexer.is_none() {
            core.learn_what_is_due(&mut BuildScratch::new());
        }
        Ok(())
    }
}

impl<S: Storage> Core<S> {
    /// What the thread does until it shall end.
    fn keep(self: &Arc<Self>) {
        let _guard = self.poison_on_panic();
        let (mut checkpoint, mut flusher, mut merger) = (None, None, None);
        loop {
            // A failure has poisoned the database, and every commit says so.
            let _ = self.tend();
            if self.begin_due_checkpoint() {
                let work = |core: &Self| core.scheduled_checkpoint();
                join(checkpoint.replace(self.start("gannet-checkpoint", work)).flatten());
            }
            if self.begin_due(self.flush_due(), &self.tree.is_flushed) {
                let work = |core: &Self| {
                    core.flush_what_waits();
                    core.end_work(&core.tree.is_flushed);
                };
                join(flusher.replace(self.start("gannet-flush", work)).flatten());
            }
            if self.begin_due(self.merge_due(), &self.tree.is_merged) {
                let work = |core: &Self| {
                    core.merge_what_is_due();
                    core.end_work(&core.tree.is_merged);
                };
                join(merger.replace(self.start("gannet-merge", work)).flatten());
            }
            let mut queue = self.queue.lock();
            if queue.keeper.is_closing {
                break;
            }
            let due = self.next_due(&queue);
            let wait = due.map(|due| due.saturating_sub(self.clock.now()));
            // Who commits tells it, but not while it would soon look by itself.
            queue.keeper.is_idle = wait.is_none_or(|wait| wait > NAP);
            match wait {
                Some(wait) => _ = self.work.wait_for(&mut queue, wait),
                None => self.work.wait(&mut queue),
            }
            queue.keeper.is_idle = false;
        }
        for thread in [checkpoint, flusher, merger] {
            join(thread.flatten());
        }
    }

    /// Does work on a thread of its own, if there is one to be had.
    fn start(self: &Arc<Self>, name: &str, work: fn(&Self)) -> Option<JoinHandle<()>> {
        let core = Arc::clone(self);
        let guarded = move || {
            let _guard = core.poison_on_panic();
            work(&core);
        };
        let thread = Builder::new().name(name.to_owned()).spawn(guarded);
        if thread.is_err() {
            work(self);
        }
        thread.ok()
    }

    /// Whether work on the tree is due: then it has begun, as far as `is_begun` says.
    fn begin_due(&self, due: Option<Duration>, is_begun: &AtomicBool) -> bool {
        let is_due = due.is_some_and(|due| due <= self.clock.now()) && self.check_poison().is_ok();
        if is_due {
            is_begun.store(true, Ordering::Relaxed);
        }
        is_due
    }

    /// Ends what [`begin_due`](Self::begin_due) began.
    fn end_work(&self, is_begun: &AtomicBool) {
        // The keeper looks at it under this lock.
        let queue = self.queue.lock();
        is_begun.store(false, Ordering::Relaxed);
        drop(queue);
        self.work.notify_one();
    }

    /// Whether a checkpoint is due: then it has begun, as far as the schedule knows.
    fn begin_due_checkpoint(&self) -> bool {
        let mut queue = self.queue.lock();
        let is_due = !self.is_in_memory()
            && self.check_poison().is_ok()
            && queue.schedule.due().is_some_and(|due| due <= self.clock.now());
        if is_due {
            queue.schedule.begin_by_itself();
        }
        is_due
    }

    /// When there is something to do next; `None` for not before somebody tells.
    fn next_due(&self, queue: &Queue<S>) -> Option<Duration> {
        if self.check_poison().is_err() {
            return None;
        }
        let now = queue.can_begin()
            || queue.wants_spare(false).is_some()
            || queue.wants_reserve(self.reserve.len_bytes()).is_some();
        let witness = queue.writer.log.needs_witness().then(|| queue.last_end() + IDLE);
        let checkpoint = queue.schedule.due().filter(|_| !self.is_in_memory());
        let (flush, merge) = (self.flush_due(), self.merge_due());
        let now = now.then_some(Duration::ZERO);
        let dues = [now, queue.sync_due(), witness, checkpoint, flush, merge];
        dues.into_iter().flatten().min()
    }

    /// Makes the next segment now if none is ready; `is_soon` if the active one will be left before
    /// it is full.
    pub(crate) fn prepare_segment(&self, is_soon: bool) -> Result<(), CommitError> {
        let mut queue = self.queue.lock();
        let Some(segment) = queue.wants_spare(is_soon) else { return Ok(()) };
        queue.keeper.spare = SpareWork::Making;
        let is_cached = queue.writer.log.is_cached();
        drop(queue);
        let made = make_spare(&self.storage, &self.names, segment, is_cached);
        queue = self.queue.lock();
        queue.keeper.spare = SpareWork::Ready;
        let ended = match made {
            Ok(spare) => {
                queue.writer.log.add_spare(spare);
                Ok(())
            }
            Err(error) => {
                queue.keeper.spare = SpareWork::GaveUp;
                // A refusal is told to whoever needs the segment and makes it himself.
                match AppendError::before_writing(error) {
                    AppendError::Refused(_) => Ok(()),
                    AppendError::Failed(error) => {
                        self.fail_all(&mut queue, &error);
                        Err(CommitError::Unknown(error))
                    }
                }
            }
        };
        self.changed.notify_all();
        ended
    }

    fn tend(&self) -> Result<(), CommitError> {
        self.check_poison().map_err(|()| CommitError::Poisoned)?;
        let mut queue = self.queue.lock();
        if queue.can_begin() {
            queue = self.write_groups(queue);
        }
        let is_due = queue.sync_due().is_some_and(|due| due <= self.clock.now());
        if is_due && !mutant!("keeper-never-syncs") {
            self.sync(&mut queue)?;
        }
        drop(queue);
        self.prepare_segment(false)?;
        let wanted = self.queue.lock().wants_reserve(self.reserve.len_bytes());
        if let Some(len_bytes) = wanted
            && self.grow_reserve(len_bytes).is_err()
        {
            // The database does without: what was written to it says nothing of the log.
            self.queue.lock().keeper.lacks_reserve = true;
        }
        let mut queue = self.queue.lock();
        let is_idle = queue.is_quiet() && queue.last_end() + IDLE <= self.clock.now();
        if is_idle && queue.writer.log.needs_witness() {
            let witness = queue.writer.log.witness(&self.storage);
            if let Err(error) = witness {
                self.fail_all(&mut queue, &error);
                return Err(CommitError::Unknown(error));
            }
        }
        Ok(())
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        // A panic in it has poisoned the database.
        let _ = thread.join();
    }
}
