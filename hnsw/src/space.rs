//! What a walk measures with: rows themselves, or codes that stand for them.
//!
//! A walk and a build are written once, over a [`Space`], and compiled for each and for each
//! instruction set. Distances of one space are compared with each other alone.

use crate::code::{Bit, Code, Coded, F16, Packed, Sq4, Sq8};
use crate::graph::Graph;
use crate::kernel::prefetch::prefetch;
use crate::kernel::{Simd, Task};
use crate::key::Key;
use crate::metric::Metric;
use crate::rows::Rows;
use crate::table::View;

/// What distances are measured from: a query, or a row, as a space compares it. Memory that is
/// used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aim {
    /// A stride of the vector; for codes of rotated vectors, the vector rotated.
    pub(crate) floats: Vec<f32>,
    /// For sq8: components in steps of `step`, with zeros at the end.
    pub(crate) words: Vec<i16>,
    /// For sq4: the same, in larger steps.
    pub(crate) bytes: Vec<i8>,
    /// For bits: planes of components in steps of `step`; under Hamming the components.
    pub(crate) bits: Vec<u64>,
    pub(crate) step: f32,
    /// For codes of rotated vectors: the square of the length.
    pub(crate) square: f32,
    /// For codes of rotated vectors: the product with the vector of ones of unit length, which was
    /// taken off before the rotation; 0 for sq8.
    pub(crate) along: f32,
    /// For sq4 and bits: the sum over `bytes`, or over the numbers in planes.
    pub(crate) sum: i32,
}

impl Aim {
    pub(crate) fn memory_bytes(&self) -> usize {
        let Self { floats, words, bytes, bits, .. } = self;
        let wide = 4 * floats.capacity() + 8 * bits.capacity();
        wide + 2 * words.capacity() + bytes.capacity()
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
        let (fours, rest) =
            if cfg!(ablate = "fours") { (&fours[..0], rows) } else { (fours, rest) };
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
        prefetch(self.rows.unread(row));
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
            Metric::L2 | Metric::Hamming => self.simd.sum::<true>(from, vector),
            Metric::Cosine | Metric::Dot => self.simd.sum::<false>(from, vector),
        })
    }

    #[inline(always)]
    fn distance4(&self, from: &Aim, rows: [u32; 4]) -> [f32; 4] {
        let (from, vectors) = (&from.floats[..], rows.map(|row| self.rows.row(row)));
        assert_eq!(from.len(), vectors[0].len(), "vectors of different lengths");
        let sums = match self.metric {
            Metric::L2 | Metric::Hamming => self.simd.sum4::<true>(from, vectors),
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

/// Work of a build: rows are walked to in one space and linked by the distances of another. `run`
/// is `#[inline(always)]`.
pub(crate) trait Linked {
    /// What comes of it.
    type Output;

    /// Both are `SAME`, or they are two.
    fn run<W: Space, L: Space, const SAME: bool>(self, walk: W, link: L) -> Self::Output;
}

impl Graph {
    /// Runs `work` in the space in which a search walks the rows.
    pub(crate) fn measure<T: Measured>(&self, rows: &Rows<'_>, work: T) -> T::Output {
        let codes = self.codes.view();
        let (metric, code) = (self.params.metric, self.code);
        self.kernel.isa().run(InSpace { rows, codes, metric, code, work })
    }

    /// Runs `work` in the space in which rows are linked (see [`Code::of_builds`]).
    pub(crate) fn measure_links<T: Measured>(&self, rows: &Rows<'_>, work: T) -> T::Output {
        self.measure_build(rows, InLinkSpace(work))
    }

    /// The same, with the space in which those rows are walked to: by half bytes where searches
    /// compare these, for the order of what is found does not count.
    pub(crate) fn measure_build<T: Linked>(&self, rows: &Rows<'_>, work: T) -> T::Output {
        let walk_codes = self.codes.view();
        let (metric, code) = (self.params.metric, self.build_code());
        let link_codes = if self.has_build_codes() { self.build_codes.view() } else { walk_codes };
        let is_walked_by_half_bytes = self.code == Code::Sq4;
        let work = InBuildSpaces {
            rows,
            walk_codes,
            link_codes,
            metric,
            code,
            is_walked_by_half_bytes,
            work,
        };
        self.kernel.isa().run(work)
    }
}

/// Work for which the space of links is enough.
struct InLinkSpace<T>(T);

impl<T: Measured> Linked for InLinkSpace<T> {
    type Output = T::Output;

    #[inline(always)]
    fn run<W: Space, L: Space, const SAME: bool>(self, _walk: W, link: L) -> T::Output {
        self.0.run(link)
    }
}

struct InSpace<'a, T> {
    rows: &'a Rows<'a>,
    codes: View<'a, i8>,
    metric: Metric,
    code: Code,
    work: T,
}

impl<T: Measured> Task for InSpace<'_, T> {
    type Output = T::Output;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> T::Output {
        let Self { rows, codes, metric, code, work } = self;
        match (code, metric) {
            (Code::None, _) => work.run(Exact { rows, metric, simd }),
            (Code::Sq8, _) => work.run(Coded { rows, codes, form: Sq8::of(metric), simd }),
            (Code::F16, _) => work.run(Coded { rows, codes, form: F16(metric), simd }),
            (Code::Sq4, _) => work.run(Coded { rows, codes, form: Sq4::of(metric), simd }),
            (Code::Bit, Metric::Hamming) => work.run(Coded { rows, codes, form: Packed, simd }),
            (Code::Bit, Metric::L2 | Metric::Cosine | Metric::Dot) => {
                work.run(Coded { rows, codes, form: Bit::of(metric), simd })
            }
        }
    }
}

struct InBuildSpaces<'a, T> {
    rows: &'a Rows<'a>,
    walk_codes: View<'a, i8>,
    link_codes: View<'a, i8>,
    metric: Metric,
    /// Of links.
    code: Code,
    is_walked_by_half_bytes: bool,
    work: T,
}

impl<T: Linked> Task for InBuildSpaces<'_, T> {
    type Output = T::Output;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> T::Output {
        let Self { rows, walk_codes, link_codes, metric, code, is_walked_by_half_bytes, work } =
            self;
        let codes = link_codes;
        match code {
            // Sq4 is what no build links by.
            Code::None | Code::Sq4 => {
                let space = Exact { rows, metric, simd };
                work.run::<_, _, true>(space, space)
            }
            Code::Sq8 => {
                let space = Coded { rows, codes, form: Sq8::of(metric), simd };
                if is_walked_by_half_bytes {
                    let walk = Coded { rows, codes: walk_codes, form: Sq4::of(metric), simd };
                    work.run::<_, _, false>(walk, space)
                } else {
                    work.run::<_, _, true>(space, space)
                }
            }
            Code::F16 => {
                let space = Coded { rows, codes, form: F16(metric), simd };
                work.run::<_, _, true>(space, space)
            }
            // Of a build under Hamming alone.
            Code::Bit => {
                let space = Coded { rows, codes, form: Packed, simd };
                work.run::<_, _, true>(space, space)
            }
        }
    }
}
