//! Memory that planning keeps between batches: a search context for each thread at work.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::chooser::Chooser;
use crate::context::Beam;
use crate::key::Key;
use crate::space::Aim;

/// What planning needs besides the graph: about one byte a row and thread, and some kilobytes.
/// Reused from batch to batch; it has no influence on results.
#[derive(Default)]
pub struct BuildScratch {
    idle: Mutex<Vec<Worker>>,
}

/// The memory of one thread at work.
#[derive(Default)]
pub(crate) struct Worker {
    pub(crate) beam: Beam,
    pub(crate) aim: Aim,
    pub(crate) chooser: Chooser,
    /// The batch's rows before the one at hand, by their distances from it.
    pub(crate) mates: Vec<Key>,
    /// Rows that leave, near the one at hand.
    pub(crate) gone: Vec<u32>,
}

impl BuildScratch {
    /// An empty scratch. Allocates nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes it holds on the heap between two batches.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.idle().iter().map(Worker::memory_bytes).sum()
    }

    /// Runs `work` with a worker's memory that no other thread has.
    pub(crate) fn with_worker<T>(&self, work: impl FnOnce(&mut Worker) -> T) -> T {
        let mut worker = self.idle().pop().unwrap_or_default();
        let result = work(&mut worker);
        self.idle().push(worker);
        result
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        // A panic cannot leave the list half changed: it is only pushed to and popped from.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BuildScratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildScratch").field("memory_bytes", &self.memory_bytes()).finish()
    }
}

impl Worker {
    fn memory_bytes(&self) -> usize {
        self.beam.memory_bytes()
            + self.aim.memory_bytes()
            + self.mates.capacity() * size_of::<Key>()
            + self.gone.capacity() * size_of::<u32>()
            + self.chooser.memory_bytes()
    }
}
