//! The contract of `gannet_storage` as a suite: a storage is right when it passes.
//!
//! One clause, or one group of clauses, a file. A failed check panics and names the clause, the
//! call, what was expected and what came. What only a power cut shows is left to
//! [`sim`](crate::sim) and to the crash rigs; here every call returns and every process lives.
//!
//! ```
//! gannet_testkit::conformance::run(gannet_storage::MemStorage::new);
//! ```

mod alignment;
mod durability;
mod exclusion;
mod listing;
mod names;
mod pattern;
mod persistence;
mod queue;
mod read;
mod seal;
mod verdict;
mod view;
mod write;

use gannet_storage::{Result, Storage};

/// Checks every clause that one process can see.
///
/// `open` gives a fresh and empty storage each time; it is called about forty times, and storages
/// of earlier calls may still be open (one check leaks a queue on purpose). Files stay below 1 MiB.
///
/// # Panics
/// At the first broken clause, with its number, the call, and both values.
pub fn run<S: Storage>(open: impl Fn() -> S) {
    // Simple calls first: what a later check builds on has passed by then.
    alignment::check(&open);
    read::check(&open);
    write::check(&open);
    durability::check(&open);
    names::check(&open);
    seal::check(&open);
    view::check(&open);
    queue::check(&open);
    exclusion::check(&open);
    listing::check(&open);
}

/// Checks what outlives a storage: contents, names and the lock. For persistent backends, after
/// [`run`].
///
/// `open` opens the *same* storage each time; it is empty at the first call, and later holds what
/// the checks left. Once it is called while the storage is open, to see `Locked`: a short
/// `lock_wait` makes that fast.
///
/// # Panics
/// At the first broken clause, with its number, the call, and both values.
pub fn run_persistent<S: Storage>(open: impl Fn() -> Result<S>) {
    persistence::check(&open);
}
