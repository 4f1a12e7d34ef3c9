//! The threads of parallel loops, started when the first loop wants them.

use gannet_hnsw::{Behind, Executor, ExecutorError};
use std::num::NonZeroUsize;
use std::sync::OnceLock;

/// Starts its threads once, at first use.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: usize,
    executor: OnceLock<Executor>,
    behind: OnceLock<Behind>,
}

impl Workers {
    /// `threads` as `Config::threads` has it.
    pub(crate) fn new(threads: usize) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = if threads == 0 { cores() } else { threads };
        // A scheduler that tries orders knows nothing of a pool's threads, which share work only.
        let threads = if cfg!(shuttle) { 1 } else { threads };
        Self { threads, executor: OnceLock::new(), behind: OnceLock::new() }
    }

    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn executor(&self) -> Result<&Executor, ExecutorError> {
        started(&self.executor, || Executor::threads(self.threads))
    }

    /// Others, at most `count` at a time, which give way to those that somebody waits for. Of one,
    /// the calling thread.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn behind(&self, count: usize) -> Result<Executor, ExecutorError> {
        if self.threads == 1 {
            return Ok(Executor::Serial);
        }
        let behind = started(&self.behind, || Behind::new(self.threads))?;
        Ok(Executor::Behind(behind.at_most(count)))
    }

    /// How many threads there are to be.
    pub(crate) fn count(&self) -> usize {
        self.threads
    }
}

fn started<T>(
    place: &OnceLock<T>,
    start: impl FnOnce() -> Result<T, ExecutorError>,
) -> Result<&T, ExecutorError> {
    if let Some(threads) = place.get() {
        return Ok(threads);
    }
    let threads = start()?;
    Ok(place.get_or_init(|| threads))
}
