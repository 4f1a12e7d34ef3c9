//! Vectors by row number, wherever their chunks live.
//!
//! Borrows memory that somebody else keeps; checks its shape once, so that reading a row is a
//! shift, a mask and two bounds checks. What is in the rows (finite, unit length) is the caller's
//! promise.

use std::fmt;
use std::ops::Range;

use crate::overlay::Overlay;
use crate::params::{DIMS_MAX, ROWS_MAX};

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
        Self { chunks, overlay: None, stride, dims, len, chunk_log2, overlay_log2: 0 }
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
        assert!(row < self.len, "row {row} of {}", self.len);
        let (chunk, at) = self.place(row);
        let start = at as usize * self.stride;
        &chunk[start..start + self.stride]
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

    /// The first rows of `range` as they follow one another in memory: to its end or that of their
    /// chunk, and at least one.
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
        &chunk[first as usize * self.stride..][..count * self.stride]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
