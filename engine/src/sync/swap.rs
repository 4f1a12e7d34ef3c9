//! A shared value that is replaced as a whole.

use std::ops::Deref;
use std::sync::Arc;

/// A value that is read without waiting, and replaced by one thread at a time.
#[cfg(not(shuttle))]
pub(crate) struct Swap<T>(arc_swap::ArcSwap<T>);

#[cfg(not(shuttle))]
impl<T> Swap<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(arc_swap::ArcSwap::from_pointee(value))
    }

    /// The value as it is now, for a short time.
    pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> {
        self.0.load()
    }

    /// The value as it is now, for as long as it is wanted.
    pub(crate) fn load_full(&self) -> Arc<T> {
        self.0.load_full()
    }

    pub(crate) fn store(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

/// A value that is read and replaced under a lock, which a scheduler can try.
#[cfg(shuttle)]
pub(crate) struct Swap<T>(super::RwLock<Arc<T>>);

#[cfg(shuttle)]
impl<T> Swap<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(super::RwLock::new(Arc::new(value)))
    }

    pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> {
        Held(self.load_full())
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        Arc::clone(&self.0.read())
    }

    pub(crate) fn store(&self, value: T) {
        *self.0.write() = Arc::new(value);
    }
}

#[cfg(shuttle)]
struct Held<T>(Arc<T>);

#[cfg(shuttle)]
impl<T> Deref for Held<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}
