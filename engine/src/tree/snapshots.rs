//! Who reads up to which record.

use crate::damage::Lsn;
use crate::memtable::Horizons;
use crate::sync::{AtomicU64, Mutex, Ordering};
use std::collections::BTreeMap;

/// The records that snapshots read up to, and the last one that is visible.
#[derive(Default)]
pub(crate) struct Snapshots {
    /// The last record that readers see.
    visible: AtomicU64,
    /// How many snapshots there are of each record.
    held: Mutex<BTreeMap<Lsn, usize>>,
}

impl Snapshots {
    /// With everything visible up to `visible`.
    pub(crate) fn new(visible: Lsn) -> Self {
        Self { visible: AtomicU64::new(visible), held: Mutex::default() }
    }

    /// The last record that readers see.
    pub(crate) fn visible(&self) -> Lsn {
        self.visible.load(Ordering::Acquire)
    }

    /// Everything up to this record is in its place: readers see it.
    pub(crate) fn publish(&self, lsn: Lsn) {
        self.visible.store(lsn, Ordering::Release);
    }

    /// Holds what is visible now, until it is [released](Self::release).
    pub(crate) fn hold(&self) -> Lsn {
        let mut held = self.held.lock();
        // Under the lock: whoever asks for the horizons before sees the same or an earlier one as
        // visible, and drops nothing that it needs.
        let lsn = self.visible();
        *held.entry(lsn).or_default() += 1;
        lsn
    }

    /// Ends what [`hold`](Self::hold) began.
    pub(crate) fn release(&self, lsn: Lsn) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(&lsn) {
            *count -= 1;
            if *count == 0 {
                held.remove(&lsn);
            }
        }
    }

    /// Which versions somebody may still ask for.
    pub(crate) fn horizons(&self) -> Horizons {
        let held = self.held.lock();
        Horizons::new(held.keys().copied().chain([self.visible()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_a_horizon_until_all_have_let_go() {
        let snapshots = Snapshots::new(5);
        let first = snapshots.hold();
        snapshots.publish(8);
        assert_eq!((first, snapshots.hold(), snapshots.hold()), (5, 8, 8));
        snapshots.publish(9);
        assert_eq!(snapshots.horizons(), Horizons::new(vec![5, 8, 9]));
        snapshots.release(8);
        snapshots.release(5);
        assert_eq!(snapshots.horizons(), Horizons::new(vec![8, 9]));
        snapshots.release(8);
        assert_eq!(snapshots.horizons(), Horizons::new(vec![9]));
    }
}
