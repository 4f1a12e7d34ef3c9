//! What time it is: an argument of the engine, so that a simulator can say.

use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::time::{Duration, Instant};

/// A source of time that never goes back.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Time since some fixed moment.
    fn now(&self) -> Duration;

    /// Comes back when about so much time has gone by, or earlier.
    fn wait(&self, time: Duration) {
        // Nobody tells it.
        let never = Mutex::new(());
        let _ = Condvar::new().wait_for(&mut never.lock(), time);
    }
}

/// The operating system's monotonic clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the engine asks for time")]
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
