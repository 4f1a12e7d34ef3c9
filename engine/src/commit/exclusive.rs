//! The queue while no group is in flight: for work on log, root and files.

use crate::checkpoint::schedule::SinceCheckpoint;
use crate::commit::queue::Queue;
use crate::database::{Core, Writer};
use crate::stats::CommitStats;
use crate::sync::MutexGuard;
use gannet_storage::{Error as StorageError, Storage};
use std::ops::{Deref, DerefMut};

/// The queue while no group is in flight. Batches may wait; they are written after it. A panic
/// while it is held poisons: a frame may be composed and not written.
pub(crate) struct Exclusive<'q, S: Storage> {
    pub(super) core: &'q Core<S>,
    pub(super) queue: MutexGuard<'q, Queue<S>>,
    pub(super) was_panicking: bool,
}

impl<S: Storage> Exclusive<'_, S> {
    /// Poisons the database, ends what is in flight, and gives the error back.
    pub(crate) fn fail(&mut self, error: StorageError) -> StorageError {
        self.core.fail_all(&mut self.queue, &error);
        error
    }

    /// Notes in the schedule that there is nothing for a checkpoint to write.
    pub(crate) fn skip_checkpoint(&mut self) {
        self.queue.schedule.take();
    }

    /// Notes in the schedule that a checkpoint begins; what it said before.
    pub(crate) fn begin_checkpoint(&mut self) -> SinceCheckpoint {
        self.queue.schedule.begin();
        self.queue.schedule.take()
    }

    pub(crate) fn checkpoint_failure(&self) -> Option<String> {
        self.queue.checkpoint_failure.clone()
    }

    pub(crate) fn commit_stats(&self) -> CommitStats {
        self.queue.metrics.stats(self.queue.bytes)
    }
}

impl<S: Storage> Deref for Exclusive<'_, S> {
    type Target = Writer<S>;

    fn deref(&self) -> &Writer<S> {
        &self.queue.writer
    }
}

impl<S: Storage> DerefMut for Exclusive<'_, S> {
    fn deref_mut(&mut self) -> &mut Writer<S> {
        &mut self.queue.writer
    }
}

impl<S: Storage> Drop for Exclusive<'_, S> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.was_panicking {
            self.core.end_by_panic(&mut self.queue);
        } else if self.queue.can_begin() && !self.queue.call() {
            // Those that wait have nobody who waits for them.
            self.core.work.notify_one();
        }
    }
}
