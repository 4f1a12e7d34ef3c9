//! A table of rows of equal length whose clones are cheap: what one of them changes, the others
//! never see.
//!
//! The rows are in one array, which clones share. While they do, who changes a row copies the chunk
//! it is in, of about 4 KiB, into an overlay of its own. When a large part is in the overlay, or
//! the array is no longer shared, both become one again. Where the array lies is `memory`'s.

use std::fmt;
use std::iter::successors;
use std::sync::Arc;

use bytemuck::Pod;

use crate::memory::Place;
use crate::overlay::Overlay;

/// Bytes of a chunk, at most, if that is a row.
const CHUNK_LEN: usize = 4096;
/// A new array is made when one chunk in so many is in the overlay.
const FOLD_SHARE: usize = 4;

/// Rows of equal length that come and go at its end.
#[derive(Clone)]
pub(crate) struct Table<T> {
    /// As it was when it was last shared, but for rows in the overlay. It may be longer or shorter
    /// than the table: then the overlay has the rest.
    base: Arc<Place<T>>,
    overlay: Overlay<T>,
    /// Rows.
    len: usize,
    row_items: usize,
    /// Of the rows in a chunk.
    chunk_log2: u32,
}

/// The rows of a table, for who reads many.
pub(crate) struct View<'a, T> {
    base: &'a [T],
    /// `None` where it is empty.
    overlay: Option<&'a Overlay<T>>,
    row_items: usize,
    chunk_log2: u32,
}

impl<T: Pod> Table<T> {
    /// No rows, of so many items each.
    pub(crate) fn new(row_items: usize) -> Self {
        let row_len = row_items * size_of::<T>();
        assert!(row_len > 0, "rows of nothing");
        let chunk_log2 = (CHUNK_LEN / row_len).max(1).ilog2();
        let overlay = Overlay::new(row_items << chunk_log2);
        Self { base: Arc::new(Place::new()), overlay, len: 0, row_items, chunk_log2 }
    }

    /// The rows that the items of a place are.
    pub(crate) fn from_place(row_items: usize, place: Place<T>) -> Self {
        let len = place.items().len() / row_items;
        Self { len, base: Arc::new(place), ..Self::new(row_items) }
    }

    /// A table of some of its rows, `count` of them, each item as `change` makes it. It shares
    /// nothing with this one.
    pub(crate) fn picked(
        &self,
        rows: impl Iterator<Item = usize>,
        count: usize,
        change: impl Fn(T) -> T,
    ) -> Self {
        let mut table = Self::new(self.row_items);
        table.len = count;
        let mut place = Place::new();
        place.grow(count * self.row_items, T::zeroed());
        let view = self.view();
        for (items, row) in place.items_mut().chunks_exact_mut(self.row_items).zip(rows) {
            for (item, old) in items.iter_mut().zip(view.row(row)) {
                *item = change(*old);
            }
        }
        table.base = Arc::new(place);
        table
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn view(&self) -> View<'_, T> {
        View {
            base: self.base.items(),
            overlay: Some(&self.overlay).filter(|overlay| !overlay.is_empty()),
            row_items: self.row_items,
            chunk_log2: self.chunk_log2,
        }
    }

    /// A row. Who reads many keeps a view.
    pub(crate) fn row(&self, row: usize) -> &[T] {
        assert!(row < self.len, "row {row} of {}", self.len);
        self.view().row(row)
    }

    /// A row, to be changed.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.len, "row {row} of {}", self.len);
        let (items, log2) = (self.row_items, self.chunk_log2);
        if self.overlay.is_empty() && own(&mut self.base).is_some() {
            let base = own(&mut self.base).expect("as it was just now");
            return &mut base.items_mut()[row * items..][..items];
        }
        let base = &self.base;
        let chunk = self.overlay.chunk_mut(row >> log2, |new| {
            let start = ((row >> log2) << log2) * items;
            let old = base.items().get(start..).unwrap_or_default();
            let len = old.len().min(new.len());
            new[..len].copy_from_slice(&old[..len]);
        });
        &mut chunk[(row & ((1 << log2) - 1)) * items..][..items]
    }

    /// Appends `count` rows of `item` alone.
    pub(crate) fn grow(&mut self, count: usize, item: T) {
        let (start, end) = (self.len, self.len + count);
        self.len = end;
        if let Some(base) = own(&mut self.base).filter(|_| self.overlay.is_empty()) {
            base.truncate(start * self.row_items);
            base.grow(count * self.row_items, item);
            return;
        }
        for row in start..end {
            self.row_mut(row).fill(item);
        }
    }

    /// Keeps the first `len` rows. What lies behind them is never read again.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// To be called now and then, before changes: makes one array of array and overlay where that
    /// costs little, or saves much, and takes leave of an image.
    pub(crate) fn settle(&mut self) {
        let len = self.len * self.row_items;
        let (chunks, changed) = (self.len >> self.chunk_log2, self.overlay.chunk_count());
        if let Some(base) = own(&mut self.base) {
            base.truncate(len);
            if self.overlay.is_empty() {
                return;
            }
            base.grow(len - base.items().len(), T::zeroed());
            let chunks = base.items_mut().chunks_mut(self.row_items << self.chunk_log2);
            for (index, old) in chunks.enumerate() {
                if let Some(new) = self.overlay.get(index) {
                    old.copy_from_slice(&new[..old.len()]);
                }
            }
        } else if self.base.is_viewed() || FOLD_SHARE * changed > chunks {
            let mut base = Place::with_capacity(len);
            for run in self.runs() {
                base.extend_from_slice(run);
            }
            self.base = Arc::new(base);
        } else {
            return;
        }
        self.overlay = Overlay::new(self.row_items << self.chunk_log2);
    }

    /// All rows, in pieces as they follow one another in memory.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &[T]> {
        let end = self.len * self.row_items;
        let chunk_items = self.row_items << self.chunk_log2;
        let base = self.base.items();
        let run = move |start: usize| {
            if start >= end {
                return None;
            }
            let mut next = (start / chunk_items + 1) * chunk_items;
            if let Some(chunk) = self.overlay.get(start / chunk_items) {
                return Some(&chunk[..chunk_items.min(end - start)]);
            }
            while next < end && self.overlay.get(next / chunk_items).is_none() {
                next += chunk_items;
            }
            Some(&base[start..next.min(end)])
        };
        let first = run(0).map(|items| (items.len(), items));
        let all =
            successors(first, move |&(end, _)| run(end).map(|items| (end + items.len(), items)));
        all.map(|(_, items)| items)
    }

    /// Bytes of memory, those that it shares with clones included.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.base.memory_bytes() + self.overlay.memory_bytes()
    }

    /// Bytes of an image that it reads.
    pub(crate) fn viewed_bytes(&self) -> usize {
        self.base.viewed_bytes()
    }
}

/// The array, if no clone and no image has it too.
fn own<T: Pod>(base: &mut Arc<Place<T>>) -> Option<&mut Place<T>> {
    Arc::get_mut(base).filter(|base| !base.is_viewed())
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<'a, T: Pod> View<'a, T> {
    /// Items of a row.
    #[cfg(feature = "counters")]
    pub(crate) fn row_items(&self) -> usize {
        self.row_items
    }

    /// A row of the table.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [T] {
        let items = self.row_items;
        if let Some(overlay) = self.overlay
            && let Some(chunk) = overlay.get(row >> self.chunk_log2)
        {
            let mask = (1 << self.chunk_log2) - 1;
            return &chunk[(row & mask) * items..][..items];
        }
        &self.base[row * items..][..items]
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables beside plain arrays: cloned, changed, grown, cut off and settled at random.
    #[test]
    fn clones_are_what_copies_are() {
        let mut state = 5_u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from((state >> 33) % bound as u64).unwrap()
        };
        let check = |table: &Table<u32>, truth: &Vec<u32>| {
            assert!(table.runs().flatten().eq(truth));
            assert_eq!(table.len(), truth.len() / 3);
            for (row, expect) in truth.chunks(3).enumerate().step_by(7) {
                assert_eq!((table.row(row), table.view().row(row)), (expect, expect));
            }
            let thirds = || (0..table.len()).step_by(3);
            let picked = table.picked(thirds(), thirds().count(), |item| item + 1);
            let expect = truth.chunks(3).step_by(3).flatten().map(|item| item + 1);
            assert!(picked.runs().flatten().copied().eq(expect));
            assert_eq!(picked.len(), thirds().count());
        };
        let mut pairs = vec![(Table::new(3), Vec::new())];
        for step in 0..4000_u32 {
            let index = below(pairs.len());
            let (action, is_many) = (below(40), pairs.len() > 3);
            let (table, truth) = &mut pairs[index];
            match action {
                0..3 => {
                    let count = below(900);
                    table.grow(count, step);
                    truth.resize(truth.len() + 3 * count, step);
                }
                3 if below(3) == 0 => {
                    let len = below(table.len() + 1);
                    table.truncate(len);
                    truth.truncate(3 * len);
                }
                4..6 => table.settle(),
                6 => {
                    let clone = pairs[index].clone();
                    pairs.push(clone);
                }
                7 if is_many => {
                    let (table, truth) = pairs.remove(index);
                    check(&table, &truth);
                }
                _ if table.len() > 0 => {
                    let (row, at) = (below(table.len()), below(3));
                    table.row_mut(row)[at] = step;
                    truth[3 * row + at] = step;
                }
                _ => {}
            }
            if step % 16 == 0 {
                for (table, truth) in &pairs {
                    check(table, truth);
                }
            }
        }
    }

    #[test]
    fn what_is_shared_is_copied_by_the_chunk_and_what_is_not_stays_in_place() {
        let items: Vec<u32> = (0..400_000).collect();
        let place = Place::of(&items);
        let mut table = Table::from_place(4, place);
        let at = |table: &Table<u32>, row| table.row(row).as_ptr();
        let (first, memory) = (at(&table, 0), table.memory_bytes());
        table.row_mut(0)[0] = 7;
        assert_eq!((at(&table, 0), table.memory_bytes()), (first, memory), "changed in place");
        let clone = table.clone();
        table.row_mut(0)[0] = 8;
        assert_ne!(at(&table, 0), first);
        assert_eq!((at(&table, 256), at(&clone, 256)), (first.wrapping_add(1024), at(&table, 256)));
        assert!(table.memory_bytes() - memory < 3 * CHUNK_LEN);
        table.settle();
        assert_eq!(at(&table, 256), at(&clone, 256), "too little to make a new array");
        assert_eq!((clone.row(0)[0], table.row(0)[0]), (7, 8));
        drop(clone);
        table.settle();
        assert_eq!((at(&table, 0), table.row(0)[0]), (first, 8), "one array again");
        assert_eq!(table.memory_bytes(), memory);

        let clone = table.clone();
        for row in (0..30_000).step_by(100) {
            table.row_mut(row)[1] = 9;
        }
        table.settle();
        assert_ne!(at(&table, 99_999), at(&clone, 99_999), "an array of its own");
        assert_eq!((clone.row(100)[1], table.row(100)[1]), (401, 9));
    }
}
