//! Commits: a batch in, an acknowledgement out.
//!
//! Keeps the order of a commit: sequence (numbers are given, conditions checked against the state
//! and all batches in flight), log, durability, publish, acknowledge. `condition` is what a batch
//! may depend on, `in_flight` what sequenced batches will change, `queue` the lines they stand in,
//! `alone` the way past them, `publish` how they take effect, `outcome` where a waiter learns how
//! it ended. How a batch becomes records is `sequence`'s business, where a frame goes the log's.

mod alone;
pub(crate) mod condition;
pub(crate) mod exclusive;
pub(crate) mod in_flight;
pub(crate) mod outcome;
mod publish;
pub(crate) mod queue;
mod room;

pub use outcome::Commit;
#[cfg(mutants)]
pub(crate) use publish::Effect;

use crate::batch::WriteBatch;
use crate::config::Durability;
use crate::damage::Lsn;
use crate::database::{Core, Database};
use crate::error::CommitError;
use crate::sequence::{Known, Sequenced, sequence};
use crate::sync::{MutexGuard, Ordering};
use crate::tree::Pressure;
use gannet_hnsw::Params;
use gannet_storage::Storage;
use outcome::{Outcome, Wake};
use queue::Queue;
use std::sync::Arc;

/// A batch in flight. Dropping it leaves the batch in flight, with nobody to learn how it ended.
pub struct Ticket<S: Storage> {
    core: Arc<Core<S>>,
    outcome: Arc<Outcome>,
    last_lsn: Lsn,
}

impl<S: Storage> Database<S> {
    /// Makes a collection: a commit of its own. `Ok` without a change where it exists with the same
    /// parameters.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn create_collection(&self, name: &str, params: Params) -> Result<(), CommitError> {
        let mut batch = WriteBatch::new();
        batch.create_collection(name, params);
        self.commit(batch).map(drop)
    }

    /// Commits a batch, as durably as [`Config::durability`](crate::Config::durability) says. `Ok`
    /// means: so durable, visible, whole. Readers see all of it or nothing, and nothing before it
    /// is as durable as that.
    ///
    /// Waits while more than [`Config::max_pending_rows`](crate::Config::max_pending_rows) of a
    /// collection it changes are not in the graph yet; not where
    /// [`set_bulk`](WriteBatch::set_bulk) says so.
    ///
    /// # Errors
    /// [`CommitError`]. Nothing of the batch is visible; only after `Unknown` may a reopen find it.
    ///
    /// # Panics
    /// If a batch that passed every check does not apply: a fault of the engine. The database is
    /// then poisoned.
    pub fn commit(&self, batch: WriteBatch) -> Result<Commit, CommitError> {
        self.commit_with(batch, self.core.durability)
    }

    /// As [`commit`](Self::commit), with the durability of this batch. A strict commit makes every
    /// commit before it durable as well.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    #[expect(clippy::needless_pass_by_value, reason = "a batch is committed once")]
    pub fn commit_with(
        &self,
        batch: WriteBatch,
        durability: Durability,
    ) -> Result<Commit, CommitError> {
        if self.core.is_in_memory() != (durability == Durability::InMemory) {
            return Err(CommitError::InMemory);
        }
        let _guard = self.core.poison_on_panic();
        self.core.wait_for_graphs(&batch)?;
        self.core.commit(&batch, durability)
    }

    /// Puts a batch in line and comes back: its place in the order of commits is decided, and later
    /// batches see what it changes. It is visible and durable when [`Ticket::wait`] says so. While
    /// too many bytes are in flight it writes some of them first, or waits.
    ///
    /// # Errors
    /// [`CommitError`], of what is known at once: the batch cannot be done, or the database takes
    /// no more writes.
    #[expect(clippy::needless_pass_by_value, reason = "a batch is committed once")]
    pub fn submit(&self, batch: WriteBatch) -> Result<Ticket<S>, CommitError> {
        let _guard = self.core.poison_on_panic();
        self.core.wait_for_graphs(&batch)?;
        let mut queue = self.core.open_queue_for(&batch)?;
        let sequenced = self.core.sequence(&mut queue, &batch)?;
        let outcome = queue.push(sequenced, self.core.durability);
        let last_lsn = queue.sequenced;
        if queue.keeper.is_idle {
            self.core.work.notify_one();
        }
        drop(queue);
        Ok(Ticket { core: Arc::clone(&self.core), outcome, last_lsn })
    }
}

impl<S: Storage> Database<S> {
    /// Makes every acknowledged commit durable, however it was committed.
    ///
    /// # Errors
    /// `Unknown`, `Poisoned`: what is durable only a reopen can tell. `InMemory`: nothing is.
    pub fn flush(&self) -> Result<(), CommitError> {
        if self.core.is_in_memory() {
            return Err(CommitError::InMemory);
        }
        let _guard = self.core.poison_on_panic();
        self.core.sync(&mut self.core.queue.lock())
    }

    /// The last record that is known to be durable, with all before it.
    #[must_use]
    pub fn synced_lsn(&self) -> Lsn {
        self.core.queue.lock().durable_upto()
    }
}

impl<S: Storage> Ticket<S> {
    /// The last record of the batch, if it is acknowledged.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// Waits until the batch is acknowledged, as [`Database::commit`] does.
    ///
    /// # Errors
    /// As [`Database::commit`].
    pub fn wait(self) -> Result<Commit, CommitError> {
        let _guard = self.core.poison_on_panic();
        if let Some(result) = self.outcome.take() {
            return result;
        }
        let queue = self.core.queue.lock();
        self.outcome.watch();
        if queue.can_begin() {
            drop(self.core.write_groups(queue));
        } else {
            drop(queue);
        }
        self.core.wait(&self.outcome)
    }
}

impl<S: Storage> Core<S> {
    /// As [`Database::commit_with`], waiting for no graph.
    pub(crate) fn commit(
        &self,
        batch: &WriteBatch,
        durability: Durability,
    ) -> Result<Commit, CommitError> {
        let mut queue = self.open_queue_for(batch)?;
        let sequenced = self.sequence(&mut queue, batch)?;
        if durability == Durability::Buffered && queue.is_alone(&sequenced) {
            return self.write_alone(&mut queue, sequenced);
        }
        let outcome = queue.push(sequenced, durability);
        outcome.watch();
        if queue.can_begin() {
            drop(self.write_groups(queue));
        } else {
            drop(queue);
        }
        self.wait(&outcome)
    }

    /// The queue when it lets a batch in, whose conditions then hold.
    fn open_queue_for(&self, batch: &WriteBatch) -> Result<MutexGuard<'_, Queue<S>>, CommitError> {
        match batch.conditions() {
            Some(conditions) => self.open_queue_if(conditions),
            None => self.open_queue(),
        }
    }

    /// The queue when it lets a further batch in.
    fn open_queue(&self) -> Result<MutexGuard<'_, Queue<S>>, CommitError> {
        let mut queue = self.queue.lock();
        let mut has_tried = false;
        loop {
            self.check_poison().map_err(|()| CommitError::Poisoned)?;
            if !queue.is_closed() {
                let pressure = self.pressure();
                if !matches!(pressure, Pressure::None) && self.is_tended && !has_tried {
                    // Nobody else is there to do it.
                    has_tried = true;
                    drop(queue);
                    self.flush_what_waits();
                    self.merge_what_is_due();
                    queue = self.queue.lock();
                    continue;
                }
                match pressure {
                    Pressure::None => return Ok(queue),
                    Pressure::Full(reason) => return Err(CommitError::MemtableFull { reason }),
                    Pressure::Waits => {}
                }
            }
            if queue.can_begin() {
                // Nobody else may be there to do it.
                queue = self.write_groups(queue);
            } else {
                self.changed.wait(&mut queue);
            }
        }
    }

    /// Makes a batch what the log takes; it is then in flight.
    fn sequence(&self, queue: &mut Queue<S>, batch: &WriteBatch) -> Result<Sequenced, CommitError> {
        let body = std::mem::take(&mut queue.body);
        if self.watchers.load(Ordering::Relaxed) == 0 {
            queue.recent.end();
        }
        let Queue { in_flight, sequenced, recent, .. } = queue;
        let known = Known { state: &self.state.read(), keyspaces: &self.tree.keyspaces() };
        sequence(&known, (in_flight, recent), *sequenced, batch, body)
    }

    /// Waits for a batch, and writes groups when called to.
    fn wait(&self, outcome: &Outcome) -> Result<Commit, CommitError> {
        loop {
            match outcome.wait() {
                Wake::Done(result) => return result,
                Wake::Called => {
                    let queue = self.queue.lock();
                    if queue.can_begin() {
                        drop(self.write_groups(queue));
                    }
                }
            }
        }
    }
}

impl<S: Storage> std::fmt::Debug for Ticket<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("last_lsn", &self.last_lsn).finish_non_exhaustive()
    }
}
