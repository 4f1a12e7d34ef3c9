//! Vectors by row number, wherever their chunks live.
//!
//! Borrows memory that somebody else keeps; checks its shape once, so that reading a row is a
//! shift, a mask and two bounds checks. What is in the rows (finite, unit length) is the caller's
//! promise.

use std::fmt;
use std::ops::Range;

use crate::overlay::Overlay;
use crate::params::{DIMS_MAX, ROWS_MAX};
use crate::unchecked::Guard;

/// A row's stride is a multiple of this many floats: one cache line, 64 bytes.
pub const STRIDE_STEP: usize = 16;

/// Floats a row takes in memory and in files: `dims` rounded up to a multiple of 16. The floats
/// after the last dimension are zero, so that a distance over the stride is the distance.
#[must_use]
pub const fn row_stride(dims: u32) -> usize {
    (dims as usize).next_multiple_of(STRIDE_STEP)
}

/// Row number to vector. Rows live in chunks of a power of two of rows, every chunk full but the
/// last; an [`Overlay`] may have some of them in its stead. Copying it copies references.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    chunks: &'a [&'a [f32]],
    /// `None` where it is empty.
    overlay: Option<&'a Overlay<f32>>,
    stride: usize,
    dims: u32,
    len: u32,
    chunk_log2: u32,
    /// Of the rows in a chunk of the overlay.
    overlay_log2: u32,
    /// Before rows outside of the overlay; `None` where all may be read.
    guard: Option<&'a Guard<'a>>,
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shape = f.debug_struct("Rows");
        shape.field("len", &self.len).field("dims", &self.dims).finish_non_exhaustive()
    }
}

impl<'a> Rows<'a> {
    /// `len` rows of `dims` dimensions in `chunks`, each of `1 << rows_per_chunk_log2` rows of
    /// [`row_stride`] floats. The last chunk may hold fewer rows, or more floats than `len` needs
    /// (they are not read). Cost: one step a chunk.
    ///
    /// # Panics
    /// If the chunks do not have that shape, or `dims`, `len` or `rows_per_chunk_log2` are over
    /// [`DIMS_MAX`], [`ROWS_MAX`] or 31.
    #[must_use]
    pub fn new(dims: u32, rows_per_chunk_log2: u32, chunks: &'a [&'a [f32]], len: u32) -> Self {
        assert!((1..=DIMS_MAX).contains(&dims), "dims is {dims}");
        assert!(len <= ROWS_MAX, "{len} rows");
        assert!(rows_per_chunk_log2 < u32::BITS, "2^{rows_per_chunk_log2} rows a chunk");
        let stride = row_stride(dims);
        let rows_per_chunk = 1u32 << rows_per_chunk_log2;
        let mut left = len;
        for (index, chunk) in chunks.iter().enumerate() {
            let rows = left.min(rows_per_chunk);
            let floats = rows as usize * stride;
            let is_last = index + 1 == chunks.len();
            assert!(
                chunk.len() == floats || (is_last && chunk.len() > floats),
                "chunk {index} of {} holds {} floats: expected {floats}",
                chunks.len(),
                chunk.len(),
            );
            left -= rows;
        }
        assert!(left == 0, "{} chunks hold {left} rows fewer than {len}", chunks.len());
        let chunk_log2 = rows_per_chunk_log2;
        Self { chunks, overlay: None, stride, dims, len, chunk_log2, overlay_log2: 0, guard: None }
    }

    /// `len` rows of `dims` dimensions, each in a chunk of `overlay`, or else in its view. Views
    /// have `1 << rows_per_view_log2` rows, or none where the overlay has all of theirs; so have
    /// the views behind the last. With the overlay comes the logarithm of how many rows a chunk of
    /// it has. Cost: one step a view.
    ///
    /// # Panics
    /// As [`new`](Self::new); also if the chunks of the overlay are of another length. Reading a
    /// row that is nowhere panics.
    #[must_use]
    pub fn layered(
        dims: u32,
        rows_per_view_log2: u32,
        views: &'a [&'a [f32]],
        (overlay, rows_per_chunk_log2): (&'a Overlay<f32>, u32),
        len: u32,
    ) -> Self {
        let none = Self::new(dims, rows_per_view_log2, &[], 0);
        assert!(len <= ROWS_MAX, "{len} rows");
        let whole = none.stride << rows_per_view_log2;
        let is_odd = |view: &&[f32]| !view.is_empty() && view.len() != whole;
        if let Some(index) = views.iter().position(is_odd) {
            panic!("view {index} holds {} floats: expected {whole}", views[index].len());
        }
        assert!(rows_per_chunk_log2 < u32::BITS, "2^{rows_per_chunk_log2} rows a chunk");
        let (found, expected) = (overlay.items_per_chunk(), none.stride << rows_per_chunk_log2);
        assert_eq!(found, expected, "floats of a chunk of the overlay");
        let overlay = Some(overlay).filter(|overlay| !overlay.is_empty());
        Self { chunks: views, overlay, len, overlay_log2: rows_per_chunk_log2, ..none }
    }

    /// The same rows, of which those that are not in the overlay are checked before they are read
    /// the first time. Where a block fails its check its rows read as zeroes: whoever checks has to
    /// note that, and what is computed with them is worth nothing.
    #[must_use]
    pub fn guarded(self, guard: &'a Guard<'a>) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// How many rows there are: they are numbered from 0.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Components of a vector, without padding.
    #[must_use]
    pub fn dims(&self) -> u32 {
        self.dims
    }

    /// Floats of a row, with padding.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The vector of `row`, padding included.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    #[inline]
    pub fn row(&self, row: u32) -> &'a [f32] {
        match self.refuses(row) {
            None => self.unread(row),
            Some(guard) => guard.zeroes(1, self.stride),
        }
    }

    /// Where the vector of `row` is, for a prefetch: it may not have been checked, so nobody looks
    /// at what is there.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub(crate) fn unread(&self, row: u32) -> &'a [f32] {
        assert!(row < self.len, "row {row} of {}", self.len);
        let (chunk, at) = self.place(row);
        let start = at as usize * self.stride;
        &chunk[start..start + self.stride]
    }

    /// The guard, if it lets nobody read `row`.
    #[inline]
    fn refuses(&self, row: u32) -> Option<&'a Guard<'a>> {
        let guard = self.guard?;
        if guard.is_checked(row) { None } else { self.ask(guard, row) }
    }

    #[cold]
    fn ask(&self, guard: &'a Guard<'a>, row: u32) -> Option<&'a Guard<'a>> {
        let chunk = (row >> self.overlay_log2) as usize;
        let is_over = self.overlay.is_some_and(|overlay| overlay.get(chunk).is_some());
        (!is_over && !guard.check(row)).then_some(guard)
    }

    /// The chunk that a row is in, and its place there.
    #[inline]
    fn place(&self, row: u32) -> (&'a [f32], u32) {
        if let Some(overlay) = self.overlay
            && let Some(chunk) = overlay.get((row >> self.overlay_log2) as usize)
        {
            return (chunk, row & ((1u32 << self.overlay_log2) - 1));
        }
        let chunk = self.chunks[(row >> self.chunk_log2) as usize];
        (chunk, row & ((1u32 << self.chunk_log2) - 1))
    }

    /// The first rows of `range` as they follow one another in memory: to its end, that of their
    /// chunk or that of a block that is checked as one, and at least one.
    ///
    /// # Panics
    /// If `range` is empty or there is no such row.
    pub(crate) fn run(&self, range: Range<u32>) -> &'a [f32] {
        assert!(range.start < range.end && range.end <= self.len, "{range:?} of {}", self.len);
        let (chunk, first) = self.place(range.start);
        let to_edge = |log2: u32| {
            let rows = 1usize << log2;
            rows - (range.start as usize & (rows - 1))
        };
        // A chunk of the overlay may begin in one of the others, or end there.
        let mut count = range.len().min(chunk.len() / self.stride - first as usize);
        count = count.min(to_edge(self.chunk_log2));
        if self.overlay.is_some() {
            count = count.min(to_edge(self.overlay_log2));
        }
        if let Some(guard) = self.guard {
            count = count.min(to_edge(guard.rows_log2()));
        }
        if let Some(guard) = self.refuses(range.start) {
            return guard.zeroes(count, self.stride);
        }
        &chunk[first as usize * self.stride..][..count * self.stride]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unchecked::Unchecked;
    use std::sync::Mutex;

    #[test]
    fn strides_are_whole_cache_lines() {
        let strides = [1, 15, 16, 17, 784, 65_536].map(row_stride);
        assert_eq!(strides, [16, 16, 16, 32, 784, 65_536]);
    }

    #[test]
    fn a_row_is_found_in_its_chunk() {
        let floats: Vec<f32> = (0u16..9 * 32).map(f32::from).collect();
        let (first, rest) = floats.split_at(4 * 32);
        let chunks = [first, &rest[..4 * 32], &rest[4 * 32..]];
        let rows = Rows::new(20, 2, &chunks, 9);
        assert_eq!((rows.len(), rows.dims(), rows.stride()), (9, 20, 32));
        for (row, expect) in (0..9).zip(floats.chunks(32)) {
            assert_eq!(rows.row(row).as_ptr(), expect.as_ptr(), "row {row}");
            assert_eq!(rows.row(row).len(), 32);
        }
    }

    #[test]
    fn a_run_ends_with_its_range_or_its_chunk() {
        let floats = [0.0; 9 * 16];
        let chunks = [&floats[..4 * 16], &floats[4 * 16..8 * 16], &floats[8 * 16..]];
        let rows = Rows::new(9, 2, &chunks, 9);
        for (range, count) in [(0..9, 4), (0..1, 1), (3..9, 1), (4..7, 3), (5..8, 3), (8..9, 1)] {
            let run = rows.run(range.clone());
            assert_eq!(run.len(), count * 16, "{range:?}");
            assert_eq!(run.as_ptr(), rows.row(range.start).as_ptr(), "{range:?}");
        }
        for range in [0..10, 9..9, 3..3] {
            assert!(
                std::panic::catch_unwind(|| rows.run(range.clone()).len()).is_err(),
                "{range:?}"
            );
        }
    }

    #[test]
    fn rows_of_an_overlay_are_read_from_it() {
        let floats: Vec<f32> = (0u16..32 * 16).map(f32::from).collect();
        for (log2, overlay_log2) in [(3, 1), (1, 3), (2, 2), (5, 0)] {
            let chunks: Vec<&[f32]> = floats.chunks(16 << log2).collect();
            let mut overlay = Overlay::new(16 << overlay_log2);
            let rows = Rows::new(16, log2, &chunks, 31);
            let layered = Rows::layered(16, log2, &chunks, (&overlay, overlay_log2), 31);
            assert_eq!(layered.run(0..31), rows.run(0..31));
            let len = overlay.items_per_chunk();
            for chunk in [1, 2, 5, 7] {
                overlay.chunk_mut(chunk, |new| {
                    let old = floats.get(chunk * len..).unwrap_or_default();
                    new.iter_mut().zip(old).for_each(|(new, old)| *new = -old);
                });
            }
            // A view may be missing where the overlay has all of it.
            let has = |view: &usize| {
                (*view << log2..(*view + 1) << log2)
                    .all(|row| overlay.get(row >> overlay_log2).is_some())
            };
            let views = chunks.iter().enumerate();
            let views: Vec<&[f32]> =
                views.map(|(view, chunk)| if has(&view) { &[][..] } else { *chunk }).collect();
            let over = Rows::layered(16, log2, &views, (&overlay, overlay_log2), 31);
            let is_over = |row: u32| overlay.get(row as usize >> overlay_log2).is_some();
            let expect = |row: u32| {
                rows.row(row).iter().map(move |&float| if is_over(row) { -float } else { float })
            };
            for row in 0..31 {
                assert!(over.row(row).iter().copied().eq(expect(row)), "row {row}");
                let run = over.run(row..31);
                let end = row + u32::try_from(run.len() / 16).unwrap();
                assert!(run.iter().copied().eq((row..end).flat_map(expect)), "from {row}");
                assert!((row < end) && end <= 31, "{row}..{end}");
            }
        }
        let (views, overlay) = ([&floats[..]], Overlay::new(32));
        let refused = |views, log2| {
            std::panic::catch_unwind(|| Rows::layered(16, 5, views, (&overlay, log2), 31).len())
        };
        assert!(refused(&views, 1).is_ok());
        assert!(refused(&views, 2).is_err(), "chunks of another length");
        assert!(refused(&[&floats[16..]], 1).is_err(), "a view of another length");
    }

    #[test]
    fn rows_are_checked_before_they_are_read_and_those_that_fail_are_zeroes() {
        let floats: Vec<f32> = (1u16..=32 * 16).map(f32::from).collect();
        let chunks: Vec<&[f32]> = floats.chunks(16 << 3).collect();
        // Rows 12 to 15 are read from the overlay.
        let mut overlay = Overlay::new(16 << 2);
        overlay.chunk_mut(3, |new| new.fill(-1.0));
        let rows = Rows::layered(16, 3, &chunks, (&overlay, 2), 32);
        let mut unchecked = Unchecked::new(1);
        unchecked.add(8..24);
        let asked = Mutex::new(Vec::new());
        // Rows 20 and 21 are damaged.
        let check = |block| {
            asked.lock().unwrap().push(block);
            if block != 10 {
                unchecked.remove(block);
            }
            block != 10
        };
        let guard = Guard::new(&unchecked, &check);
        let guarded = rows.guarded(&guard);
        let asked_for = || std::mem::take(&mut *asked.lock().unwrap());
        for row in [0, 7, 12, 15, 24, 31] {
            assert_eq!(guarded.row(row), rows.row(row), "row {row}");
        }
        assert_eq!(guarded.unread(8).as_ptr(), rows.row(8).as_ptr());
        assert_eq!(asked_for(), [0; 0], "nothing was to be checked, or looked at");
        for row in [8, 9, 8, 16] {
            assert_eq!(guarded.row(row), rows.row(row), "row {row}");
        }
        assert_eq!(asked_for(), [4, 8], "each block once");
        for row in [20, 21, 20] {
            assert_eq!(guarded.row(row), [0.0; 16], "row {row}");
        }
        assert_eq!(asked_for(), [10; 3], "what failed is asked for again");
        for row in 0..32 {
            let run = guarded.run(row..32);
            let (is_odd, end) = (row % 2 == 1, u32::try_from(run.len() / 16).unwrap() + row);
            assert_eq!(end, if is_odd { row + 1 } else { row + 2 }, "a run ends with its block");
            let is_damaged = |row: &u32| [20, 21].contains(row);
            let expect = (row..end).flat_map(|row| {
                let zero = is_damaged(&row);
                rows.row(row).iter().map(move |float| if zero { 0.0 } else { *float })
            });
            assert!(run.iter().copied().eq(expect), "from {row}");
        }
        assert_eq!(asked_for(), [5, 9, 10, 10, 11], "rows of the overlay are not asked for");
        assert_eq!(unchecked.left(), 3, "one is damaged, two are in the overlay");
    }

    #[test]
    fn spare_room_in_the_last_chunk_is_not_rows() {
        let chunk = [0.0; 64];
        let chunks = [&chunk[..]];
        let rows = Rows::new(16, 2, &chunks, 3);
        assert_eq!(rows.row(2).len(), 16);
        assert!(std::panic::catch_unwind(|| rows.row(3).len()).is_err());
    }

    #[track_caller]
    fn check_refused(chunks: &[&[f32]], len: u32) {
        assert!(std::panic::catch_unwind(|| Rows::new(16, 1, chunks, len).len()).is_err());
    }

    #[test]
    fn chunks_of_another_shape_are_refused() {
        let floats = [0.0; 64];
        check_refused(&[], 1);
        check_refused(&[&floats[..16]], 2);
        check_refused(&[&floats[..16], &floats[..32]], 3);
        check_refused(&[&floats[..48], &floats[..32]], 4);
        check_refused(&[&floats[..32]], 3);
        check_refused(&[&floats[..32], &floats[..15]], 3);
    }
}
