//! What a walk measures with: rows themselves, or codes that stand for them.
//!
//! A walk and a build are written once, over a [`Space`], and compiled for each and for each
//! instruction set. Distances of one space are compared with each other alone.

use crate::code::{Code, Coded, Codes};
use crate::graph::Graph;
use crate::kernel::prefetch::prefetch;
use crate::kernel::{Simd, Task};
use crate::key::Key;
use crate::metric::Metric;
use crate::rows::Rows;

/// What distances are measured from: a query, or a row, as a space compares it. Memory that is
/// used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aim {
    /// A stride of the vector; for codes, the vector rotated.
    pub(crate) floats: Vec<f32>,
    /// For codes: components in steps of `step`, with zeros at the end.
    pub(crate) words: Vec<i16>,
    pub(crate) step: f32,
    /// For codes: the square of the length.
    pub(crate) square: f32,
}

impl Aim {
    pub(crate) fn memory_bytes(&self) -> usize {
        4 * self.floats.capacity() + 2 * self.words.capacity()
    }
}

/// Distances between rows, and from a query to rows. All of it is `#[inline(always)]`: it is part
/// of a task of one instruction set.
pub(crate) trait Space: Copy {
    /// Distances are those that callers see.
    const IS_EXACT: bool;

    /// Makes `aim` stand for `row`.
    fn aim(&self, row: u32, aim: &mut Aim);

    /// Makes `aim` stand for a query of a stride of floats.
    fn aim_at(&self, query: &[f32], aim: &mut Aim);

    /// Asks for the row to be brought near.
    fn prefetch(&self, row: u32);

    /// Bytes of a row as it is compared.
    #[cfg(feature = "counters")]
    fn row_len_bytes(&self) -> usize;

    /// The distance of `row`.
    fn distance(&self, from: &Aim, row: u32) -> f32;

    /// The distances of four rows; each is what `distance` gives.
    fn distance4(&self, from: &Aim, rows: [u32; 4]) -> [f32; 4];

    /// Gives each row with its distance to `take`, in order.
    #[inline(always)]
    fn each(&self, from: &Aim, rows: &[u32], mut take: impl FnMut(Key)) {
        let (fours, rest) = rows.as_chunks::<4>();
        let (fours, rest) = if cfg!(ablate = "fours") { (&fours[..0], rows) } else { (fours, rest) };
        for four in fours {
            let distances = self.distance4(from, *four);
            for (row, distance) in four.iter().zip(distances) {
                take(Key::new(distance, *row));
            }
        }
        for &row in rest {
            take(Key::new(self.distance(from, row), row));
        }
    }
}

/// Rows compared by their vectors.
#[derive(Clone, Copy)]
pub(crate) struct Exact<'a, S> {
    pub(crate) rows: &'a Rows<'a>,
    pub(crate) metric: Metric,
    pub(crate) simd: S,
}

impl<S: Simd> Space for Exact<'_, S> {
    const IS_EXACT: bool = true;

    #[inline(always)]
    fn aim(&self, row: u32, aim: &mut Aim) {
        self.aim_at(self.rows.row(row), aim);
    }

    #[inline(always)]
    fn aim_at(&self, query: &[f32], aim: &mut Aim) {
        aim.floats.clear();
        aim.floats.extend_from_slice(query);
    }

    #[inline(always)]
    fn prefetch(&self, row: u32) {
        prefetch(self.rows.row(row));
    }

    #[cfg(feature = "counters")]
    fn row_len_bytes(&self) -> usize {
        size_of::<f32>() * self.rows.stride()
    }

    #[inline(always)]
    fn distance(&self, from: &Aim, row: u32) -> f32 {
        let (from, vector) = (&from.floats[..], self.rows.row(row));
        assert_eq!(from.len(), vector.len(), "vectors of different lengths");
        self.metric.of_sum(match self.metric {
            Metric::L2 => self.simd.sum::<true>(from, vector),
            Metric::Cosine | Metric::Dot => self.simd.sum::<false>(from, vector),
        })
    }

    #[inline(always)]
    fn distance4(&self, from: &Aim, rows: [u32; 4]) -> [f32; 4] {
        let (from, vectors) = (&from.floats[..], rows.map(|row| self.rows.row(row)));
        assert_eq!(from.len(), vectors[0].len(), "vectors of different lengths");
        let sums = match self.metric {
            Metric::L2 => self.simd.sum4::<true>(from, vectors),
            Metric::Cosine | Metric::Dot => self.simd.sum4::<false>(from, vectors),
        };
        sums.map(|sum| self.metric.of_sum(sum))
    }
}

/// Work in a space, compiled once for each space and instruction set; `run` is
/// `#[inline(always)]`.
pub(crate) trait Measured {
    /// What comes of it.
    type Output;

    fn run<P: Space>(self, space: P) -> Self::Output;
}

impl Graph {
    /// Runs `work` in the space in which its rows are walked.
    pub(crate) fn measure<T: Measured>(&self, rows: &Rows<'_>, work: T) -> T::Output {
        self.measure_in::<T, false>(rows, &[], work)
    }

    /// The same, with a batch of rows that are about to join, of which `batch` holds the codes.
    pub(crate) fn measure_batch<T: Measured>(
        &self,
        rows: &Rows<'_>,
        batch: &[i8],
        work: T,
    ) -> T::Output {
        self.measure_in::<T, true>(rows, batch, work)
    }

    fn measure_in<T: Measured, const BATCH: bool>(
        &self,
        rows: &Rows<'_>,
        batch: &[i8],
        work: T,
    ) -> T::Output {
        let codes = Codes::<BATCH>::new(&self.params, self.codes.items(), batch);
        let metric = self.params.metric;
        self.kernel.isa().run(InSpace { rows, codes, metric, code: self.params.code, work })
    }
}

struct InSpace<'a, T, const BATCH: bool> {
    rows: &'a Rows<'a>,
    codes: Codes<'a, BATCH>,
    metric: Metric,
    code: Code,
    work: T,
}

impl<T: Measured, const BATCH: bool> Task for InSpace<'_, T, BATCH> {
    type Output = T::Output;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> T::Output {
        let Self { rows, codes, metric, code, work } = self;
        match code {
            Code::None => work.run(Exact { rows, metric, simd }),
            Code::Sq8 => work.run(Coded { codes, is_dot: metric == Metric::Dot, simd }),
        }
    }
}
