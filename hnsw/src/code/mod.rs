//! Codes: what a walk compares in place of vectors, a fraction of their size.
//!
//! A code is a function of its row and the dimensions alone: nothing is trained, so a code never
//! grows stale, and equal rows have equal codes on every CPU. Codes decide which rows a walk looks
//! at; what it finds is put in order by exact distances, so they change no distance that a caller
//! sees. `f16` keeps vectors as they are, in fewer bits; `rotation` spreads a vector's length over
//! its components, and `sq8`, `sq4` and `bit` make bytes, half bytes and bits of them; `mean` takes
//! off what coarse codes need not stand for; `packed` is for vectors of bits. Graphs keep codes.

mod bit;
mod choice;
mod f16;
mod mean;
mod packed;
mod rotation;
mod sq4;
pub(crate) mod sq8;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::kernel::{Isa, LANES, NIBBLES_BLOCK, Simd, Task};
use crate::metric::Metric;
use crate::rows::Rows;
use crate::space::{Aim, Space};
use crate::table::View;
use mean::take_mean;
pub(crate) use rotation::largest;
use rotation::rotate;

pub(crate) use bit::Bit;
pub use choice::{CodeChoice, CodeUnknown};
pub(crate) use f16::F16;
pub(crate) use packed::Packed;
pub(crate) use sq4::Sq4;
pub(crate) use sq8::Sq8;

/// Codes of a block: the step of all kernels.
const BLOCK: usize = 16;
/// Bytes behind the codes of a row: its terms, f32 each, then zeros.
const TERMS_LEN: usize = 16;

/// What a walk compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The vectors themselves.
    None,
    /// A byte a component, of the rotated vector, in steps of 1/127 of its largest component.
    Sq8,
    /// A number of sixteen bits a component, of the vector as it is.
    F16,
    /// Half a byte a component, of the rotated vector, in steps of the row's own.
    Sq4,
    /// A bit a component: its sign in the rotated vector; under [`Metric::Hamming`] the component.
    Bit,
}

impl Code {
    /// Every code, in the order of its number.
    pub const ALL: [Self; 5] = [Self::None, Self::Sq8, Self::F16, Self::Sq4, Self::Bit];

    /// The number that stands for it in files.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Sq8 => 1,
            Self::F16 => 2,
            Self::Sq4 => 3,
            Self::Bit => 4,
        }
    }

    /// The code that a number in a file stands for.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// Bytes of a row's code, a multiple of 16; 0 where there is none.
    #[must_use]
    pub const fn len_bytes(self, dims: u32) -> usize {
        let dims = dims as usize;
        match self {
            Self::None => 0,
            Self::Sq8 => dims.next_multiple_of(BLOCK) + TERMS_LEN,
            Self::F16 => 2 * dims.next_multiple_of(BLOCK) + TERMS_LEN,
            Self::Sq4 => dims.next_multiple_of(NIBBLES_BLOCK) / 2 + TERMS_LEN,
            Self::Bit => dims.next_multiple_of(8 * BLOCK) / 8 + TERMS_LEN,
        }
    }

    /// Whether rows may have this code under `metric`: any under the others, but under
    /// [`Metric::Hamming`] none or [`Code::Bit`], which holds its vectors whole.
    #[must_use]
    pub const fn fits(self, metric: Metric) -> bool {
        match metric {
            Metric::L2 | Metric::Cosine | Metric::Dot => true,
            Metric::Hamming => matches!(self, Self::None | Self::Bit),
        }
    }

    /// What links are chosen by where walks compare this: the same, but bytes where the code is a
    /// coarse estimate, which would take links for long that are short, and drop ones that lead
    /// where no other does.
    #[must_use]
    pub const fn of_builds(self, metric: Metric) -> Self {
        match (self, metric) {
            (Self::Sq4, _) | (Self::Bit, Metric::L2 | Metric::Cosine | Metric::Dot) => Self::Sq8,
            (Self::None | Self::Sq8 | Self::F16, _) | (Self::Bit, Metric::Hamming) => self,
        }
    }

    /// The narrowest beam for `k` rows. Where estimates are coarse, some of the rows in it are
    /// there by mistake, and it has to hold more than are asked for.
    #[must_use]
    pub(crate) const fn width_min(self, k: usize, metric: Metric) -> usize {
        match (self, metric) {
            (Self::None | Self::Sq8 | Self::F16, _) | (Self::Bit, Metric::Hamming) => k,
            (Self::Sq4 | Self::Bit, _) => k.saturating_add(k.div_ceil(4)),
        }
    }

    /// Of the rows that a beam of `width` found, so many are put in order by exact distances where
    /// `k` are asked for. As a beam grows, so does this: no error of a code keeps a row out.
    #[must_use]
    pub(crate) fn ranked_count(self, k: usize, width: usize) -> usize {
        let more = match self {
            Self::None => 0,
            Self::Sq8 | Self::F16 => (k / 2).max(width / 8).max(6),
            Self::Sq4 => k.saturating_mul(2).max(width / 4).max(20),
            Self::Bit => width,
        };
        k.saturating_add(more)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Sq8 => "sq8",
            Self::F16 => "f16",
            Self::Sq4 => "sq4",
            Self::Bit => "bit",
        })
    }
}

/// Makes codes of rows, reusing its memory.
#[derive(Clone, Debug)]
pub struct Encoder {
    code: Code,
    metric: Metric,
    dims: u32,
    isa: Isa,
    floats: Vec<f32>,
}

impl Encoder {
    /// For rows of `dims` dimensions, compared by `metric`.
    ///
    /// # Panics
    /// If the code does not go with the metric: see [`Code::fits`].
    #[must_use]
    pub fn new(code: Code, metric: Metric, dims: u32) -> Self {
        assert!(code.fits(metric), "code {code} does not go with {metric}");
        Self { code, metric, dims, isa: Isa::detect(), floats: Vec::new() }
    }

    /// The same encoder, computing on `isa`. Codes do not change, only its speed.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// Writes the code of `vector`, which is finite (under Hamming, binary), over `out`.
    ///
    /// Cost: for rotated vectors, `2 * dims * log2(dims)` additions; for [`Code::Sq4`], eight
    /// roundings of each component besides.
    ///
    /// # Panics
    /// If `vector` has fewer components than dimensions, or `out` not [`Code::len_bytes`].
    pub fn encode(&mut self, vector: &[f32], out: &mut [u8]) {
        assert_eq!(out.len(), self.code.len_bytes(self.dims), "bytes of a code");
        self.floats.clear();
        self.floats.extend_from_slice(&vector[..self.dims as usize]);
        let Self { code, metric, ref mut floats, .. } = *self;
        self.isa.run(Encode { code, metric, vector: floats, out });
    }
}

/// The code of a vector, which is changed in place.
struct Encode<'a> {
    code: Code,
    metric: Metric,
    vector: &'a mut [f32],
    out: &'a mut [u8],
}

impl Task for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { code, metric, vector, out } = self;
        match (code, metric) {
            (Code::None, _) => {}
            (Code::F16, _) => f16::encode(vector, out),
            (Code::Bit, Metric::Hamming) => packed::pack(vector, out),
            (Code::Sq8, _) => {
                let scale = rotate(vector);
                sq8::encode(vector, scale, out);
            }
            (Code::Sq4, _) => {
                let along = take_mean(vector);
                let scale = rotate(vector);
                sq4::encode(vector, scale, along, out);
            }
            (Code::Bit, _) => {
                let along = take_mean(vector);
                let scale = rotate(vector);
                bit::encode(vector, scale, along, out);
            }
        }
    }
}

/// How codes of one kind are compared. All of it is `#[inline(always)]`.
pub(crate) trait Form: Copy {
    /// Distances are those that callers see.
    const IS_EXACT: bool = false;

    /// Makes `aim` stand for a row with this vector and this code. Estimates are of vectors: a row
    /// is aimed at as a query is, unless distances of codes are those of one space.
    #[inline(always)]
    fn aim(self, vector: &[f32], _code: &[i8], aim: &mut Aim) {
        self.aim_at(vector, aim);
    }

    /// Makes `aim` stand for a query, of as many floats as dimensions.
    fn aim_at(self, query: &[f32], aim: &mut Aim);

    /// The distance of the row with this code.
    fn distance<S: Simd>(self, simd: S, from: &Aim, code: &[i8]) -> f32;

    /// The distances of four rows; each is what `distance` gives.
    fn distance4<S: Simd>(self, simd: S, from: &Aim, codes: [&[i8]; 4]) -> [f32; 4];
}

/// Rows compared by their codes.
#[derive(Clone, Copy)]
pub(crate) struct Coded<'a, F, S> {
    pub(crate) rows: &'a Rows<'a>,
    pub(crate) codes: View<'a, i8>,
    pub(crate) form: F,
    pub(crate) simd: S,
}

impl<'a, F, S> Coded<'a, F, S> {
    /// The code of `row`.
    #[inline(always)]
    fn code(&self, row: u32) -> &'a [i8] {
        self.codes.row(row as usize)
    }
}

impl<F: Form, S: Simd> Space for Coded<'_, F, S> {
    const IS_EXACT: bool = F::IS_EXACT;

    #[inline(always)]
    fn aim(&self, row: u32, aim: &mut Aim) {
        let vector = &self.rows.row(row)[..self.rows.dims() as usize];
        self.form.aim(vector, self.code(row), aim);
    }

    #[inline(always)]
    fn aim_at(&self, query: &[f32], aim: &mut Aim) {
        self.form.aim_at(&query[..self.rows.dims() as usize], aim);
    }

    #[inline(always)]
    fn prefetch(&self, row: u32) {
        crate::kernel::prefetch::prefetch(self.code(row));
    }

    #[cfg(feature = "counters")]
    fn row_len_bytes(&self) -> usize {
        self.codes.row_items()
    }

    #[inline(always)]
    fn distance(&self, from: &Aim, row: u32) -> f32 {
        self.form.distance(self.simd, from, self.code(row))
    }

    #[inline(always)]
    fn distance4(&self, from: &Aim, rows: [u32; 4]) -> [f32; 4] {
        self.form.distance4(self.simd, from, rows.map(|row| self.code(row)))
    }
}

/// Distances by way of products: of codes whose terms are a factor of products, the square of a
/// length, and a part of the product that is not in the code (0 for sq8: see `mean`). Under cosine
/// the squared distance is compared, which orders unit vectors alike.
#[derive(Clone, Copy)]
pub(crate) struct Estimate {
    is_dot: bool,
}

impl Estimate {
    fn of(metric: Metric) -> Self {
        Self { is_dot: metric == Metric::Dot }
    }

    #[inline(always)]
    fn between(self, aim: &Aim, code: &[i8], dot: i32) -> f32 {
        let (factor, square) = (term(code, 0), term(code, 1));
        // Rounded: at most 2^-24 of it is lost.
        #[expect(clippy::cast_precision_loss, reason = "as said")]
        let product = aim.step * factor * dot as f32 + aim.along * term(code, 2);
        if self.is_dot { 0.0 - product } else { aim.square + square - 2.0 * product }
    }
}

/// A term at the end of a code.
#[inline(always)]
fn term(code: &[i8], index: usize) -> f32 {
    let at = code.len() - TERMS_LEN + 4 * index;
    let bytes: &[i8; 4] = code[at..].first_chunk().expect("four of sixteen bytes");
    f32::from_le_bytes(bytes.map(i8::cast_unsigned))
}

/// Writes the terms of [`Estimate`] at the end of a code.
#[inline(always)]
fn put_terms(code: &mut [u8], factor: f32, square: f32, along: f32) {
    let at = code.len() - TERMS_LEN;
    let terms = &mut code[at..];
    terms.fill(0);
    terms[..4].copy_from_slice(&factor.to_le_bytes());
    terms[4..8].copy_from_slice(&square.to_le_bytes());
    terms[8..12].copy_from_slice(&along.to_le_bytes());
}

/// The nearest integer to a number of a magnitude below 2^22, of two the even one: the sum with
/// this number has no room for a fraction. Many at a time, where a call to round would be one.
#[inline(always)]
pub(crate) fn rounded(number: f32) -> i32 {
    const NO_FRACTION: f32 = 12_582_912.0;
    let bits = (number + NO_FRACTION).to_bits();
    bits.wrapping_sub(NO_FRACTION.to_bits()).cast_signed()
}

/// The sum of squares, added in one order by every instruction set.
#[inline(always)]
fn square_of(vector: &[f32]) -> f32 {
    let mut squares = [0.0; LANES];
    let (blocks, rest) = vector.as_chunks::<LANES>();
    for block in blocks {
        for (square, component) in squares.iter_mut().zip(block) {
            *square += component * component;
        }
    }
    for (square, component) in squares.iter_mut().zip(rest) {
        *square += component * component;
    }
    squares.iter().sum()
}
