//! What a file has that no sync has covered yet: whether a durable write may be content with its
//! own bytes.
//!
//! A write with the dsync flag makes itself durable and nothing else, not even earlier writes of
//! the same file (a device may write just these blocks through its cache). The contract wants all
//! earlier writes covered, so the flag may only be used while there are none.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one file.
#[derive(Debug)]
pub(crate) struct Unsynced {
    /// Changes that have returned without being durable.
    changes: AtomicU64,
    /// Of these, how many are covered by a sync that succeeded.
    covered: AtomicU64,
}

/// What a sync that begins now will cover.
#[derive(Debug)]
pub(crate) struct Covers(u64);

impl Unsynced {
    /// A file of whose past nothing is known, so that the first sync has to cover all of it.
    pub(crate) fn unknown() -> Self {
        Self { changes: AtomicU64::new(1), covered: AtomicU64::new(0) }
    }

    /// Notes a change that is not durable, before its call returns.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// `None` if every change is durable; else what a sync that begins after this call covers.
    pub(crate) fn due(&self) -> Option<Covers> {
        let changes = self.changes.load(Ordering::Acquire);
        (self.covered.load(Ordering::Acquire) < changes).then_some(Covers(changes))
    }

    /// Notes that a sync of the whole file has succeeded.
    pub(crate) fn synced(&self, covers: &Covers) {
        self.covered.fetch_max(covers.0, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_covers_what_had_returned_before_it_began() {
        let file = Unsynced::unknown();
        let first = file.due().expect("its past is unknown");
        file.changed();
        file.synced(&first);
        let second = file.due().expect("changed while the first sync ran");
        file.synced(&second);
        assert!(file.due().is_none());
        file.synced(&first);
        assert!(file.due().is_none(), "an older sync that ends later takes nothing back");
        file.changed();
        assert!(file.due().is_some());
    }
}
