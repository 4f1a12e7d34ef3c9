//! What the graph of a collection is still to learn: rows that join and rows that leave, in the
//! order of the log, and where batches of them end early.
//!
//! Keeps the one thing that makes a replay come to the same graph: where a batch ends follows from
//! the graph's size and the log alone, never from when somebody got round to it.

use crate::codec::{Put, Reader};
use std::collections::VecDeque;

/// Entries: a row that joins, a row with this bit that leaves, or a cut.
const LEAVES: u32 = 1 << 31;
const CUT: u32 = u32::MAX;

const _: () = assert!(gannet_hnsw::ROWS_MAX <= LEAVES, "a row number and the bit are no cut");

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    entries: VecDeque<u32>,
    /// Cuts among them.
    cuts: usize,
    /// Entries ever taken: with how many wait, this tells one state of the list from all others.
    taken: u64,
}

/// What the graph does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Rows leave, then rows join; each in order of their numbers.
    Batch { joins: Vec<u32>, leaves: Vec<u32> },
    /// A batch was to end here: what is done now and then is done here.
    Cut,
}

impl Changes {
    /// A row is new.
    pub(super) fn join(&mut self, row: u32) {
        self.entries.push_back(row);
    }

    /// A row is dead.
    pub(super) fn leave(&mut self, row: u32) {
        self.entries.push_back(row | LEAVES);
    }

    /// Batches end here.
    pub(super) fn cut(&mut self) {
        self.entries.push_back(CUT);
        self.cuts += 1;
    }

    /// Rows that wait to join or to leave.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.cuts
    }

    /// Whether there is anything, be it a cut.
    pub(crate) fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The number of the first entry, of all there ever were.
    pub(crate) fn first_number(&self) -> u64 {
        self.taken
    }

    /// One more than the number of the last.
    pub(crate) fn last_number(&self) -> u64 {
        self.taken + self.entries.len() as u64
    }

    /// Tells this state of the list from every other.
    pub(super) fn version(&self) -> (u64, u64) {
        (self.first_number(), self.last_number())
    }

    /// What comes after the first `after` entries, and how many entries it takes, where a whole
    /// batch is `most` rows; `None` while too few rows wait and no cut ends them.
    ///
    /// A row that joins and leaves in one batch does neither.
    pub(crate) fn next(&self, after: usize, most: u32) -> Option<(Step, usize)> {
        let most = most as usize;
        let rows = self.entries.range(after..).take(most).take_while(|entry| **entry != CUT);
        let count = rows.clone().count();
        let has_cut = self.entries.get(after + count) == Some(&CUT);
        if count < most && !has_cut {
            return None;
        }
        if count == 0 {
            return Some((Step::Cut, 1));
        }
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        for entry in rows {
            if entry & LEAVES == 0 { joins.push(*entry) } else { leaves.push(entry & !LEAVES) }
        }
        joins.sort_unstable();
        leaves.sort_unstable();
        let both: Vec<u32> =
            leaves.iter().copied().filter(|row| joins.binary_search(row).is_ok()).collect();
        joins.retain(|row| both.binary_search(row).is_err());
        leaves.retain(|row| both.binary_search(row).is_err());
        Some((Step::Batch { joins, leaves }, count))
    }

    /// Gives each row to `take`, in order, with whether it joins, until that says no; whether it
    /// never did.
    pub(super) fn each(&self, mut take: impl FnMut(u32, bool) -> bool) -> bool {
        let rows = self.entries.iter().filter(|entry| **entry != CUT);
        rows.into_iter().all(|entry| take(entry & !LEAVES, entry & LEAVES == 0))
    }

    /// Rows are called what `name` says from now on.
    pub(super) fn rename(&mut self, name: impl Fn(u32) -> u32) {
        for entry in self.entries.iter_mut().filter(|entry| **entry != CUT) {
            *entry = name(*entry & !LEAVES) | *entry & LEAVES;
        }
    }

    /// The first `count` entries are done.
    pub(super) fn take(&mut self, count: usize) {
        let done = self.entries.drain(..count);
        self.cuts -= done.filter(|entry| *entry == CUT).count();
        self.taken += count as u64;
    }

    /// None of it matters any more: the graph is made anew of what there is.
    pub(super) fn clear(&mut self) {
        self.take(self.entries.len());
    }

    /// The entries, each a little-endian `u32`: a row that joins, a row with bit 31 set that
    /// leaves, all ones for a cut.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 * self.entries.len());
        for entry in &self.entries {
            bytes.put_u32(*entry);
        }
        bytes
    }

    /// `None` if the bytes are not entries, or name a row at or behind `row_count`.
    pub(super) fn from_bytes(bytes: &[u8], row_count: u32) -> Option<Self> {
        let mut changes = Self::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            match reader.u32()? {
                CUT => changes.cut(),
                entry if entry & !LEAVES < row_count => changes.entries.push_back(entry),
                _ => return None,
            }
        }
        Some(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(joins: &[u32], leaves: &[u32]) -> Step {
        Step::Batch { joins: joins.to_vec(), leaves: leaves.to_vec() }
    }

    #[test]
    fn a_batch_ends_when_it_is_full_or_at_a_cut() {
        let mut changes = Changes::default();
        assert_eq!(changes.next(0, 3), None);
        changes.join(7);
        changes.leave(2);
        assert_eq!((changes.next(0, 3), changes.len()), (None, 2));
        assert_eq!(changes.next(0, 2), Some((batch(&[7], &[2]), 2)));
        changes.cut();
        assert_eq!(changes.next(0, 3), Some((batch(&[7], &[2]), 2)));
        assert_eq!(changes.next(2, 3), Some((Step::Cut, 1)));
        assert_eq!(changes.len(), 2);
        changes.join(8);
        changes.join(5);
        changes.join(9);
        assert_eq!(changes.next(3, 2), Some((batch(&[5, 8], &[]), 2)));
        assert_eq!(changes.next(5, 2), None);
        let before = changes.version();
        changes.take(3);
        assert_eq!(changes.len(), 3);
        assert_ne!(changes.version(), before);
        assert_eq!(changes.next(0, 3), Some((batch(&[5, 8, 9], &[]), 3)));
        changes.clear();
        assert_eq!((changes.len(), changes.next(0, 1)), (0, None));
    }

    #[test]
    fn a_row_that_comes_and_goes_in_a_batch_does_neither() {
        let mut changes = Changes::default();
        changes.join(4);
        changes.join(3);
        changes.leave(4);
        assert_eq!(changes.next(0, 3), Some((batch(&[3], &[]), 3)));
        assert_eq!(changes.next(0, 2), Some((batch(&[3, 4], &[]), 2)));
    }

    #[test]
    fn what_waits_comes_back_from_its_bytes() {
        let mut changes = Changes::default();
        changes.join(4);
        changes.leave(0);
        changes.cut();
        changes.join(5);
        let bytes = changes.to_bytes();
        let found = Changes::from_bytes(&bytes, 6).unwrap();
        assert_eq!((found.to_bytes(), found.len()), (bytes.clone(), 3));
        assert!(Changes::from_bytes(&bytes, 5).is_none(), "row 5 is not there");
        assert!(Changes::from_bytes(&bytes[1..], 6).is_none());
    }

    #[test]
    fn rows_that_are_renamed_join_and_leave_as_before() {
        let mut changes = Changes::default();
        changes.join(4);
        changes.leave(0);
        changes.cut();
        changes.join(5);
        let version = changes.version();
        changes.rename(|row| row + 3);
        assert_eq!(changes.version(), version);
        assert_eq!(changes.next(0, 9), Some((batch(&[7], &[3]), 2)));
        assert_eq!(changes.next(2, 9), Some((Step::Cut, 1)));
        assert_eq!(changes.next(3, 1), Some((batch(&[8], &[]), 1)));
    }
}
