//! Threads that compute where nobody else wants to, and whoever waits for them where that is never.
//!
//! Keeps that work goes on: the system gives such threads a core that is idle, and next to nothing
//! of one that is not, for seconds. So a loop is only given to threads that answer, and who waits
//! for it looks now and then whether it moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::executor::ExecutorError;

/// Threads that are given a core answer many times sooner.
const ANSWER: Duration = Duration::from_millis(2);
/// Where no item of a loop is begun for so long, who waits for it computes one.
const STILL: Duration = Duration::from_millis(20);

/// See the module's documentation. Cloning is cheap and shares the threads.
#[derive(Clone, Debug)]
pub struct Behind {
    pool: Arc<ThreadPool>,
    question: Arc<Question>,
    /// How many of the pool's threads compute at once.
    count: usize,
}

/// Whether any thread is given a core.
#[derive(Debug, Default)]
struct Question {
    is_open: Mutex<bool>,
    answered: Condvar,
}

impl Behind {
    /// `count` threads, `gannet-behind-0` and so on, for work that mostly nobody waits for. On
    /// Linux they compute where no other thread wants the core (`SCHED_IDLE`), and where that is
    /// never, the caller does; elsewhere they are threads like others.
    ///
    /// # Errors
    /// If `count` is 0 or the system refuses the threads.
    pub fn new(count: usize) -> Result<Self, ExecutorError> {
        if count == 0 {
            return Err(ExecutorError::NoThreads);
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("gannet-behind-{index}"))
            .start_handler(|_| give_way())
            .build()
            .map_err(|source| ExecutorError::Spawn { count, source })?;
        Ok(Self { pool: Arc::new(pool), question: Arc::default(), count })
    }

    /// The same threads, of which at most `count`, and at least one, compute at once.
    #[must_use]
    pub fn at_most(&self, count: usize) -> Self {
        Self { count: count.clamp(1, self.count), ..self.clone() }
    }

    pub(crate) fn thread_count(&self) -> usize {
        self.count
    }

    /// Whether a thread answers; one that was asked before and has not answered does not.
    fn answers(&self) -> bool {
        let mut is_open = self.question.is_open.lock();
        if !*is_open {
            *is_open = true;
            let question = Arc::clone(&self.question);
            self.pool.spawn(move || {
                *question.is_open.lock() = false;
                question.answered.notify_all();
            });
            let still_open = |is_open: &mut bool| *is_open;
            self.question.answered.wait_while_for(&mut is_open, still_open, ANSWER);
        }
        !*is_open
    }

    pub(crate) fn map<T: Send>(&self, count: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
        // Nobody is to wait on a thread that others wait for.
        let is_within = self.pool.current_thread_index().is_some();
        if is_within || !self.answers() {
            return (0..count).map(f).collect();
        }
        self.map_behind(count, f)
    }

    fn map_behind<T: Send>(&self, count: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let threads = self.thread_count().min(count);
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
        let take = || {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let is_one = index < count;
            is_one.then(|| {
                let value = f(index);
                done.lock().push((index, value));
            })
        };
        let (running, ended) = (Mutex::new(threads), Condvar::new());
        self.pool.in_place_scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|_| {
                    let _ends = Ends { running: &running, ended: &ended };
                    while take().is_some() {}
                });
            }
            let mut begun = 0;
            let mut left = running.lock();
            while *left > 0 {
                if !ended.wait_for(&mut left, STILL).timed_out() {
                    continue;
                }
                let before = std::mem::replace(&mut begun, next.load(Ordering::Relaxed));
                if begun == before && begun < count {
                    MutexGuard::unlocked(&mut left, take);
                }
            }
        });
        let mut done = done.into_inner();
        done.sort_unstable_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, value)| value).collect()
    }
}

/// A thread has no more to do, however it came to that.
struct Ends<'a> {
    running: &'a Mutex<usize>,
    ended: &'a Condvar,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        *self.running.lock() -= 1;
        self.ended.notify_one();
    }
}

/// The calling thread computes where no other wants the core.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{
            NormalThreadSchedulePolicy::Idle, ThreadPriority, ThreadSchedulePolicy::Normal,
            set_thread_priority_and_policy, thread_native_id,
        };
        // Where it may not be, searches and commits are slower while much is learnt.
        let lowest = ThreadPriority::Min;
        let _ = set_thread_priority_and_policy(thread_native_id(), lowest, Normal(Idle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    fn name(_: usize) -> Option<String> {
        std::thread::current().name().map(str::to_owned)
    }

    fn is_of_pool(name: &str) -> bool {
        name.starts_with("gannet-behind-")
    }

    #[test]
    fn its_threads_compute_and_who_waits_does_where_they_stand_still() {
        let behind = Behind::new(1).unwrap();
        let of_pool = |name: Option<String>| name.as_deref() == Some("gannet-behind-0");
        // The thread is held by its first item until another one has begun.
        let both = Barrier::new(2);
        let by = behind.map_behind(8, |index| {
            if index < 2 {
                both.wait();
            }
            of_pool(name(index))
        });
        assert_ne!(by[0], by[1], "{by:?}");
    }

    #[test]
    fn no_more_threads_compute_than_are_asked_for() {
        let all = Behind::new(3).unwrap();
        let one = all.at_most(1);
        assert_eq!([one.thread_count(), all.at_most(9).thread_count()], [1, 3]);
        let by = one.map_behind(100, name);
        let mut of_pool: Vec<_> =
            by.into_iter().flatten().filter(|name| is_of_pool(name)).collect();
        of_pool.dedup();
        assert!(of_pool.len() <= 1, "{of_pool:?}");
    }

    #[test]
    fn a_loop_within_a_loop_ends_and_a_panic_comes_to_the_caller() {
        let behind = Behind::new(2).unwrap();
        let sums = behind.map(10, |a| behind.map(10, |b| a * b).iter().sum::<usize>());
        assert_eq!(sums, (0..10).map(|a| 45 * a).collect::<Vec<_>>());
        let ends = |behind: &Behind| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                behind.map(100, |index| assert!(index < 3, "no more"))
            }))
        };
        assert!(ends(&behind).is_err());
        assert_eq!(behind.map(3, |index| index), [0, 1, 2]);
    }

    /// The policy of a thread is in the 41st field of its line, the 39th after its name.
    #[test]
    #[cfg(target_os = "linux")]
    fn its_threads_give_way() {
        const SCHED_IDLE: &str = "5";
        let gives_way = || {
            let line = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            line.rsplit_once(')').unwrap().1.split_whitespace().nth(38) == Some(SCHED_IDLE)
        };
        let behind = Behind::new(2).unwrap();
        // On a machine that is busy the caller computes, for a while.
        let mut has_computed = false;
        while !has_computed {
            for (by, gives_way) in behind.map(64, |index| (name(index), gives_way())) {
                let by_pool = by.is_some_and(|name| is_of_pool(&name));
                assert_eq!(gives_way, by_pool);
                has_computed |= by_pool;
            }
        }
    }
}
