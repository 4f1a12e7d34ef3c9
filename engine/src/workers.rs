//! The threads of parallel loops, started when the first loop wants them.

use gannet_hnsw::{Executor, ExecutorError};
use std::num::NonZeroUsize;
use std::sync::OnceLock;

/// Starts its threads once, at first use.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: usize,
    executor: OnceLock<Executor>,
}

impl Workers {
    /// `threads` as `Config::threads` has it.
    pub(crate) fn new(threads: usize) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = if threads == 0 { cores() } else { threads };
        Self { threads, executor: OnceLock::new() }
    }

    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn executor(&self) -> Result<&Executor, ExecutorError> {
        if let Some(executor) = self.executor.get() {
            return Ok(executor);
        }
        let executor = Executor::threads(self.threads)?;
        Ok(self.executor.get_or_init(|| executor))
    }
}
