//! The locks of the scheduler that tries orders of execution, as `parking_lot` has them.

use shuttle::sync as tried;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

const POISON: &str = "a panic ends the execution that is tried";

/// As `parking_lot::Mutex`.
#[derive(Default)]
pub(crate) struct Mutex<T>(tried::Mutex<T>);

/// As `parking_lot::MutexGuard`.
pub(crate) struct MutexGuard<'m, T> {
    mutex: &'m Mutex<T>,
    /// `None` while it is unlocked.
    guard: Option<tried::MutexGuard<'m, T>>,
}

/// As `parking_lot::Condvar`.
#[derive(Default)]
pub(crate) struct Condvar(tried::Condvar);

/// As `parking_lot::RwLock`.
#[derive(Default)]
pub(crate) struct RwLock<T>(tried::RwLock<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(tried::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, guard: Some(self.0.lock().expect(POISON)) }
    }
}

impl<T> Mutex<T> {
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = self.0.try_lock().ok()?;
        Some(MutexGuard { mutex: self, guard: Some(guard) })
    }

    /// Time does not pass: it is free now, or not in time.
    pub(crate) fn try_lock_for(&self, _: Duration) -> Option<MutexGuard<'_, T>> {
        self.try_lock()
    }
}

impl<T> MutexGuard<'_, T> {
    pub(crate) fn unlocked<U>(this: &mut Self, act: impl FnOnce() -> U) -> U {
        this.guard = None;
        let done = act();
        this.guard = Some(this.mutex.0.lock().expect(POISON));
        done
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect("locked")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("locked")
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let locked = guard.guard.take().expect("locked");
        guard.guard = Some(self.0.wait(locked).expect(POISON));
    }

    /// Time does not pass: it is over when others have had a chance to go on, told or not.
    #[expect(clippy::unused_self, reason = "as the one whose place it takes")]
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) {
        MutexGuard::unlocked(guard, shuttle::thread::yield_now);
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(tried::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> tried::RwLockReadGuard<'_, T> {
        self.0.read().expect(POISON)
    }

    pub(crate) fn write(&self) -> tried::RwLockWriteGuard<'_, T> {
        self.0.write().expect(POISON)
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}
