//! The keeper: what a database does although nobody has asked for it just then.
//!
//! Writes batches that were submitted and that nobody waits for; syncs buffered commits in time;
//! makes the next segment ahead of need; gives the last group a witness when the log is idle. All
//! of that is [`Database::tend`], which a thread of the keeper calls when something is due, or,
//! where there is to be no thread, the owner of the database.

use crate::commit::queue::{Queue, SpareWork};
use crate::database::{Core, Database};
use crate::error::{CommitError, OpenError};
use crate::log::writer::{AppendError, make_spare};
use gannet_storage::Storage;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The log is idle when nothing was acknowledged for so long.
const IDLE: Duration = Duration::from_millis(50);

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
    /// makes the next log segment, gives the last commit of an idle log a witness. A thread of the
    /// database does this by itself, unless [`Config::threads`](crate::Config::threads) is 1: then
    /// it is for the caller to do, now and then.
    ///
    /// # Errors
    /// `Unknown`, `Poisoned`: what is durable only a reopen can tell.
    pub fn tend(&self) -> Result<(), CommitError> {
        let _guard = self.core.poison_on_panic();
        self.core.tend()
    }
}

impl<S: Storage> Core<S> {
    /// What the thread does until it shall end.
    fn keep(&self) {
        let _guard = self.poison_on_panic();
        loop {
            // A failure has poisoned the database, and every commit says so.
            let _ = self.tend();
            let mut queue = self.queue.lock();
            if queue.keeper.is_closing {
                return;
            }
            if let Some(due) = self.next_due(&queue) {
                let wait = due.saturating_sub(self.clock.now());
                let _ = self.work.wait_for(&mut queue, wait);
            } else {
                queue.keeper.is_idle = true;
                self.work.wait(&mut queue);
                queue.keeper.is_idle = false;
            }
        }
    }

    /// When there is something to do next; `None` for not before somebody tells.
    fn next_due(&self, queue: &Queue<S>) -> Option<Duration> {
        if self.check_poison().is_err() {
            return None;
        }
        let now = queue.can_begin() || queue.wants_spare().is_some();
        let witness = queue.writer.log.needs_witness().then(|| queue.last_end() + IDLE);
        [now.then_some(Duration::ZERO), queue.sync_due(), witness].into_iter().flatten().min()
    }

    fn tend(&self) -> Result<(), CommitError> {
        self.check_poison().map_err(|()| CommitError::Poisoned)?;
        let mut queue = self.queue.lock();
        if queue.can_begin() {
            queue = self.write_groups(queue);
        }
        if queue.sync_due().is_some_and(|due| due <= self.clock.now()) {
            self.sync(&mut queue)?;
        }
        if let Some((number, len_bytes)) = queue.wants_spare() {
            queue.keeper.spare = SpareWork::Making;
            let is_cached = queue.writer.log.is_cached();
            drop(queue);
            let made = make_spare(&self.storage, number, len_bytes, is_cached);
            queue = self.queue.lock();
            queue.keeper.spare = SpareWork::Ready;
            match made {
                Ok(spare) => queue.writer.log.add_spare(spare),
                Err(error) => {
                    queue.keeper.spare = SpareWork::GaveUp;
                    // A refusal is told to whoever needs the segment and makes it himself.
                    if let AppendError::Failed(error) = AppendError::before_writing(error) {
                        self.fail_all(&mut queue, &error);
                        return Err(CommitError::Unknown(error));
                    }
                }
            }
            self.changed.notify_all();
        }
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
