//! Where parallel loops run: on the calling thread, or on a pool of named threads.
//!
//! The executor decides when things are computed, never what: `map` gives its answers in index
//! order, so a loop whose items do not depend on each other has one result on every executor.

use std::sync::Arc;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use thiserror::Error;

/// Runs loops whose items are independent of each other. Cloning is cheap and shares the threads.
#[derive(Clone, Debug, Default)]
pub enum Executor {
    /// On the calling thread, in index order.
    #[default]
    Serial,
    /// On the threads of a pool; the caller waits.
    Pool(Arc<rayon::ThreadPool>),
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
        let pool = rayon::ThreadPoolBuilder::new();
        Self::pool(count, pool.thread_name(|index| format!("gannet-worker-{index}")))
    }

    /// A pool of `count` threads, `gannet-behind-0` and so on, for work that nobody waits for. On
    /// Linux they give way to others that want the core; elsewhere they are threads like others.
    ///
    /// # Errors
    /// As [`threads`](Self::threads).
    pub fn behind(count: usize) -> Result<Self, ExecutorError> {
        let pool = rayon::ThreadPoolBuilder::new();
        let pool = pool.thread_name(|index| format!("gannet-behind-{index}"));
        Self::pool(count, pool.start_handler(|_| give_way()))
    }

    fn pool(count: usize, pool: rayon::ThreadPoolBuilder) -> Result<Self, ExecutorError> {
        if count == 0 {
            return Err(ExecutorError::NoThreads);
        }
        let pool = pool.num_threads(count).build();
        let pool = pool.map_err(|source| ExecutorError::Spawn { count, source })?;
        Ok(Self::Pool(Arc::new(pool)))
    }

    /// How many threads work at once.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        match self {
            Self::Serial => 1,
            Self::Pool(pool) => pool.current_num_threads(),
        }
    }

    /// `[f(0), f(1), .. f(count - 1)]`, in that order whatever runs first.
    ///
    /// # Panics
    /// If `f` does, after the items already begun have ended.
    pub fn map<T: Send>(&self, count: usize, f: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
        match self {
            Self::Serial => (0..count).map(f).collect(),
            Self::Pool(pool) => pool.install(|| (0..count).into_par_iter().map(f).collect()),
        }
    }
}

/// The calling thread takes a core from no other that wants one for long.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        /// Nine times less of a contended core than others.
        const NICE: i32 = 10;
        // A thread of Linux has a priority of its own. Where it may not be changed, searches and
        // commits are a little slower while much is learnt.
        let _ = rustix::process::setpriority_process(None, NICE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_index_order_on_every_executor() {
        for threads in [1, 2, 3, 8] {
            let exec = Executor::threads(threads).expect("threads start");
            assert_eq!(exec.thread_count(), threads);
            assert_eq!(exec.map(1000, |i| i * i), (0..1000).map(|i| i * i).collect::<Vec<_>>());
            assert_eq!(exec.map(0, |i| i), Vec::<usize>::new());
        }
    }

    #[test]
    fn workers_carry_our_name() {
        let exec = Executor::threads(2).expect("threads start");
        for name in exec.map(16, |_| std::thread::current().name().map(str::to_owned)) {
            assert!(name.as_deref().is_some_and(|n| n.starts_with("gannet-worker-")), "{name:?}");
        }
    }

    /// The priority of a thread is in the 19th field of its line, the 17th after its name.
    #[test]
    #[cfg(target_os = "linux")]
    fn those_behind_give_way_and_the_others_do_not() {
        let nice = |exec: &Executor| {
            let of_each = exec.map(64, |_| {
                let line = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
                let rest = line.rsplit_once(')').unwrap().1;
                rest.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
            });
            *of_each.iter().max().unwrap()
        };
        let normal = nice(&Executor::Serial);
        assert_eq!(nice(&Executor::threads(2).unwrap()), normal);
        assert_eq!(nice(&Executor::behind(2).unwrap()), normal.max(10));
        assert_eq!(nice(&Executor::behind(1).unwrap()), normal.max(10));
    }

    #[test]
    fn no_threads_is_an_error() {
        for none in [Executor::threads(0), Executor::behind(0)] {
            assert!(matches!(none, Err(ExecutorError::NoThreads)));
        }
    }
}
