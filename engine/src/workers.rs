//! The threads of parallel loops, started when the first loop wants them.

use gannet_hnsw::{Executor, ExecutorError};
use std::num::NonZeroUsize;
use std::sync::OnceLock;

/// Starts its threads once, at first use.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: usize,
    executor: OnceLock<Executor>,
    behind: OnceLock<Executor>,
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

    /// Others, which give way to those that somebody waits for, and are one fewer: who commits and
    /// searches meanwhile has a core. Of one, the calling thread.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn behind(&self) -> Result<&Executor, ExecutorError> {
        match self.threads {
            1 => self.executor(),
            count => started(&self.behind, || Executor::behind(count - 1)),
        }
    }
}

fn started(
    place: &OnceLock<Executor>,
    start: impl FnOnce() -> Result<Executor, ExecutorError>,
) -> Result<&Executor, ExecutorError> {
    if let Some(executor) = place.get() {
        return Ok(executor);
    }
    let executor = start()?;
    Ok(place.get_or_init(|| executor))
}
