//! Where parallel loops run: on the calling thread, on a pool of named threads, or on threads that
//! give way (`behind`).
//!
//! The executor decides when things are computed, never what: `map` gives its answers in index
//! order, so a loop whose items do not depend on each other has one result on every executor.

use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use thiserror::Error;

use crate::behind::Behind;

/// Runs loops whose items are independent of each other. Cloning is cheap and shares the threads.
#[derive(Clone, Debug, Default)]
pub enum Executor {
    /// On the calling thread, in index order.
    #[default]
    Serial,
    /// On the threads of a pool; the caller waits.
    Pool(Arc<rayon::ThreadPool>),
    /// On threads that give way to others; the caller waits, or helps them.
    Behind(Behind),
}

/// Threads that could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// Zero threads do no work.
    #[error("an executor needs at least one thread")]
    NoThreads,
    /// The system refused to start them.
    #[error("cannot start {count} worker threads")]
    Spawn {
        /// How many were asked for.
        count: usize,
        /// Why not.
        source: rayon::ThreadPoolBuildError,
    },
}

impl Executor {
    /// An executor of `count` threads. One is the calling thread itself ([`Executor::Serial`]);
    /// more are a pool named `gannet-worker-0`, `gannet-worker-1` and so on, while the caller
    /// waits.
    ///
    /// # Errors
    /// If `count` is 0 or the system refuses the threads.
    pub fn threads(count: usize) -> Result<Self, ExecutorError> {
        if count == 1 {
            return Ok(Self::Serial);
        }
        if count == 0 {
            return Err(ExecutorError::NoThreads);
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("gannet-worker-{index}"))
            .build();
        let pool = pool.map_err(|source| ExecutorError::Spawn { count, source })?;
        Ok(Self::Pool(Arc::new(pool)))
    }

    /// How many threads work at once.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        match self {
            Self::Serial => 1,
            Self::Pool(pool) => pool.current_num_threads(),
            Self::Behind(behind) => behind.thread_count(),
        }
    }

    /// `[f(0), f(1), .. f(count - 1)]`, in that order whatever runs first.
    ///
    /// # Panics
    /// If `f` does, after the items already begun have ended.
    pub fn map<T: Send>(&self, count: usize, f: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
        match self {
            Self::Serial => (0..count).map(f).collect(),
            // Items of one loop may take very different times: each is for any thread to take.
            Self::Pool(pool) => {
                let each = (0..count).into_par_iter().with_max_len(1);
                pool.install(|| each.map(f).collect())
            }
            Self::Behind(behind) => behind.map(count, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_index_order_on_every_executor() {
        for threads in [1, 2, 3, 8] {
            let behind = Executor::Behind(Behind::new(threads).expect("threads start"));
            for exec in [Executor::threads(threads).expect("threads start"), behind] {
                assert_eq!(exec.thread_count(), threads);
                assert_eq!(exec.map(1000, |i| i * i), (0..1000).map(|i| i * i).collect::<Vec<_>>());
                assert_eq!(exec.map(0, |i| i), Vec::<usize>::new());
            }
        }
    }

    #[test]
    fn workers_carry_our_name() {
        let exec = Executor::threads(2).expect("threads start");
        for name in exec.map(16, |_| std::thread::current().name().map(str::to_owned)) {
            assert!(name.as_deref().is_some_and(|n| n.starts_with("gannet-worker-")), "{name:?}");
        }
    }

    #[test]
    fn no_threads_is_an_error() {
        for none in [Executor::threads(0), Behind::new(0).map(Executor::Behind)] {
            assert!(matches!(none, Err(ExecutorError::NoThreads)));
        }
    }
}
