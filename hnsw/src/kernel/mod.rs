//! Sums over vectors and codes: one truth, one file an instruction set, chosen at run time.
//!
//! Every instruction set adds floats in the same order, to 16 partial sums, and rounds after each
//! multiplication and each addition (no fused steps); sums over codes are integers. So all of them
//! give the same bits, and a graph does not depend on the CPU it was built on. `scalar` says what
//! is computed; the other files say how to do it faster. A whole search is compiled for each
//! instruction set ([`Task`]), so that the choice is made once a search, not once a distance.
//! Length, finiteness and unit length of vectors are checked elsewhere.

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions: loads, and calls after detection")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions: loads, and calls after detection")]
mod avx2_codes;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions: loads, and calls after detection")]
mod avx2_halves;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions: loads, and calls after detection")]
mod avx512;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions: loads, and calls after detection")]
mod avx512_bits;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions: loads, and calls after detection")]
mod avx512_codes;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions: loads, and calls after detection")]
mod avx512_halves;
pub(crate) mod half;
#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "vector instructions: loads, and calls after detection")]
mod neon;
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the prefetch instruction"))]
pub(crate) mod prefetch;
mod scalar;
mod scalar_codes;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tests_codes;
pub(crate) mod tile;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions: loads, stores, and calls after detection")]
mod tile_avx2;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions: loads, stores, and calls after detection")]
mod tile_avx512;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[expect(unsafe_code, reason = "vector instructions: loads")]
mod wasm;

use crate::{Metric, Rows};

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;

/// Partial sums of every kernel: component `i` is added to sum `i % 16`.
pub(crate) const LANES: usize = 16;

/// Components of a block of nibbles: of 32 bytes, each holds component `i` in its lower four bits
/// and component `i + 32` in its upper four.
pub(crate) const NIBBLES_BLOCK: usize = 64;

/// Bits of a number that is taken apart into planes: one plane after another, the lowest bits
/// first, each a word for 64 numbers. The highest bits count as minus eight.
pub(crate) const PLANES: usize = 4;

/// How far ahead, in bytes, rows that follow one another are asked for: what the CPU fetches by
/// itself comes late at the end of a page.
#[cfg(target_arch = "x86_64")]
const RUN_AHEAD: usize = 1024;

/// An instruction set that this CPU has: the variants beyond `Scalar` hold a proof of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust.
    Scalar,
    /// 256-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// 128-bit vectors.
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    /// 128-bit vectors.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    WasmSimd,
}

impl Isa {
    /// The fastest instruction set of this CPU.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(proof) = Avx512::detect() {
                return Self::Avx512(proof);
            }
            if let Some(proof) = Avx2::detect() {
                return Self::Avx2(proof);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(proof) = Neon::detect() {
            return Self::Neon(proof);
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        let everywhere = Self::WasmSimd;
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        let everywhere = Self::Scalar;
        everywhere
    }

    /// Every instruction set of this CPU, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let found = [
            Some(Self::Scalar),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Self::Avx2),
            #[cfg(target_arch = "x86_64")]
            Avx512::detect().map(Self::Avx512),
            #[cfg(target_arch = "aarch64")]
            Neon::detect().map(Self::Neon),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Some(Self::WasmSimd),
        ];
        found.into_iter().flatten().collect()
    }

    /// `scalar`, `avx2`, `avx512`, `neon` or `simd128`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::WasmSimd => "simd128",
        }
    }

    /// Runs `task`, compiled for this instruction set.
    #[inline]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            Self::Scalar => task.run(Scalar),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => avx2::run(proof, task),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => avx512::run(proof, task),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(proof) => neon::run(proof, task),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::WasmSimd => task.run(wasm::WasmSimd),
        }
    }

    #[inline]
    fn sum<const L2: bool>(self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Self::Scalar => scalar::sum::<L2>(a, b),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => avx2::sum::<L2>(proof, a, b),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => avx512::sum::<L2>(proof, a, b),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(proof) => neon::sum::<L2>(proof, a, b),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::WasmSimd => wasm::sum::<L2>(a, b),
        }
    }

    #[inline]
    fn sums<const L2: bool>(self, a: &[f32], run: &[f32], out: &mut [f32]) {
        match self {
            Self::Scalar => scalar::sums::<L2>(a, run, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => avx2::sums::<L2>(proof, a, run, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => avx512::sums::<L2>(proof, a, run, out),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(proof) => neon::sums::<L2>(proof, a, run, out),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::WasmSimd => wasm::sums::<L2>(a, run, out),
        }
    }

    #[inline]
    fn sum4<const L2: bool>(self, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
        match self {
            Self::Scalar => b.map(|b| scalar::sum::<L2>(a, b)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => avx2::sum4::<L2>(proof, a, b),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => avx512::sum4::<L2>(proof, a, b),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(proof) => neon::sum4::<L2>(proof, a, b),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::WasmSimd => wasm::sum4::<L2>(a, b),
        }
    }
}

/// Work that is compiled once for each instruction set. `run` and all that is to be compiled with
/// it is `#[inline(always)]`: code takes on the instruction set of the function it stands in.
pub(crate) trait Task {
    /// What comes of it.
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set as a type. A value is a proof that this CPU has it.
pub(crate) trait Simd: Copy {
    /// The sum over `(a - b)^2` if `L2`, else over `a * b`; both of one length.
    fn sum<const L2: bool>(self, a: &[f32], b: &[f32]) -> f32;

    /// Four sums with one `a`; each is what `sum` gives.
    fn sum4<const L2: bool>(self, a: &[f32], b: [&[f32]; 4]) -> [f32; 4];

    /// The sum over `a * b`, which fits 32 bits: who makes `a` sees to that. Both of one length, a
    /// multiple of 16.
    #[inline(always)]
    fn dot_codes(self, a: &[i16], b: &[i8]) -> i32 {
        scalar_codes::dot_codes(a, b)
    }

    /// Four sums with one `a`; each is what `dot_codes` gives.
    #[inline(always)]
    fn dot_codes4(self, a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
        let dot = |b| self.dot_codes(a, b);
        [dot(b[0]), dot(b[1]), dot(b[2]), dot(b[3])]
    }

    /// The sum over `(a - b * scale)^2` if `L2`, else over `a * b`, where `b` are finite halves,
    /// little-endian, two bytes for each of `a`, which are a multiple of 16. Summed and rounded as
    /// [`Kernel`] says; the product with `scale`, a power of two, is one more rounding where it is
    /// subnormal.
    #[inline(always)]
    fn sum_halves<const L2: bool>(self, a: &[f32], b: &[i8], scale: f32) -> f32 {
        scalar_codes::sum_halves::<L2>(a, b, scale)
    }

    /// Four sums with one `a`; each is what `sum_halves` gives.
    #[inline(always)]
    fn sum_halves4<const L2: bool>(self, a: &[f32], b: [&[i8]; 4], scales: [f32; 4]) -> [f32; 4] {
        let sum = |row: usize| self.sum_halves::<L2>(a, b[row], scales[row]);
        [sum(0), sum(1), sum(2), sum(3)]
    }

    /// The sum over `a * b`, where `a` is from -127 to 127, `b` are nibbles from 0 to 15 (see
    /// [`NIBBLES_BLOCK`]), half a byte for each of `a`, which are whole blocks: at most 2^16 of
    /// them, so that the sum fits 32 bits.
    #[inline(always)]
    fn dot_nibbles(self, a: &[i8], b: &[i8]) -> i32 {
        scalar_codes::dot_nibbles(a, b)
    }

    /// Four sums with one `a`; each is what `dot_nibbles` gives.
    #[inline(always)]
    fn dot_nibbles4(self, a: &[i8], b: [&[i8]; 4]) -> [i32; 4] {
        let dot = |b| self.dot_nibbles(a, b);
        [dot(b[0]), dot(b[1]), dot(b[2]), dot(b[3])]
    }

    /// The sum over the numbers from -8 to 7 in `planes` (see [`PLANES`]) whose bit of `b` is set;
    /// `b` is eight bytes, the lowest bit first, for each word of a plane.
    #[inline(always)]
    fn dot_bits(self, planes: &[u64], b: &[i8]) -> i32 {
        scalar_codes::dot_bits(planes, b)
    }

    /// Four sums with one `planes`; each is what `dot_bits` gives.
    #[inline(always)]
    fn dot_bits4(self, planes: &[u64], b: [&[i8]; 4]) -> [i32; 4] {
        let dot = |b| self.dot_bits(planes, b);
        [dot(b[0]), dot(b[1]), dot(b[2]), dot(b[3])]
    }

    /// How many bits of `a` and `b` differ; `b` is eight bytes for each word of `a`, the lowest bit
    /// first.
    #[inline(always)]
    fn count_differing(self, a: &[u64], b: &[i8]) -> u32 {
        scalar_codes::count_differing(a, b)
    }

    /// Four counts with one `a`; each is what `count_differing` gives.
    #[inline(always)]
    fn count_differing4(self, a: &[u64], b: [&[i8]; 4]) -> [u32; 4] {
        let count = |b| self.count_differing(a, b);
        [count(b[0]), count(b[1]), count(b[2]), count(b[3])]
    }
}

/// Plain Rust as an instruction set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar;

impl Simd for Scalar {
    #[inline(always)]
    fn sum<const L2: bool>(self, a: &[f32], b: &[f32]) -> f32 {
        scalar::sum::<L2>(a, b)
    }

    #[inline(always)]
    fn sum4<const L2: bool>(self, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
        b.map(|b| scalar::sum::<L2>(a, b))
    }
}

#[cfg(target_arch = "x86_64")]
impl Simd for Avx2 {
    #[inline(always)]
    fn sum<const L2: bool>(self, a: &[f32], b: &[f32]) -> f32 {
        avx2::sum::<L2>(self, a, b)
    }

    #[inline(always)]
    fn sum4<const L2: bool>(self, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
        avx2::sum4::<L2>(self, a, b)
    }

    #[inline(always)]
    fn dot_codes(self, a: &[i16], b: &[i8]) -> i32 {
        avx2_codes::dot(self, a, b)
    }

    #[inline(always)]
    fn dot_codes4(self, a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
        avx2_codes::dot4(self, a, b)
    }

    #[inline(always)]
    fn sum_halves<const L2: bool>(self, a: &[f32], b: &[i8], scale: f32) -> f32 {
        avx2_halves::sum::<L2>(self, a, b, scale)
    }

    #[inline(always)]
    fn sum_halves4<const L2: bool>(self, a: &[f32], b: [&[i8]; 4], scales: [f32; 4]) -> [f32; 4] {
        avx2_halves::sum4::<L2>(self, a, b, scales)
    }

    #[inline(always)]
    fn dot_nibbles(self, a: &[i8], b: &[i8]) -> i32 {
        avx2_codes::dot_nibbles(self, a, b)
    }

    #[inline(always)]
    fn dot_nibbles4(self, a: &[i8], b: [&[i8]; 4]) -> [i32; 4] {
        avx2_codes::dot_nibbles4(self, a, b)
    }
}

#[cfg(target_arch = "x86_64")]
impl Simd for Avx512 {
    #[inline(always)]
    fn sum<const L2: bool>(self, a: &[f32], b: &[f32]) -> f32 {
        avx512::sum::<L2>(self, a, b)
    }

    #[inline(always)]
    fn sum4<const L2: bool>(self, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
        avx512::sum4::<L2>(self, a, b)
    }

    #[inline(always)]
    fn dot_codes(self, a: &[i16], b: &[i8]) -> i32 {
        avx512_codes::dot(self, a, b)
    }

    #[inline(always)]
    fn dot_codes4(self, a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
        avx512_codes::dot4(self, a, b)
    }

    #[inline(always)]
    fn sum_halves<const L2: bool>(self, a: &[f32], b: &[i8], scale: f32) -> f32 {
        avx512_halves::sum::<L2>(self, a, b, scale)
    }

    #[inline(always)]
    fn sum_halves4<const L2: bool>(self, a: &[f32], b: [&[i8]; 4], scales: [f32; 4]) -> [f32; 4] {
        avx512_halves::sum4::<L2>(self, a, b, scales)
    }

    #[inline(always)]
    fn dot_nibbles(self, a: &[i8], b: &[i8]) -> i32 {
        avx512_codes::dot_nibbles(self, a, b)
    }

    #[inline(always)]
    fn dot_nibbles4(self, a: &[i8], b: [&[i8]; 4]) -> [i32; 4] {
        avx512_codes::dot_nibbles4(self, a, b)
    }

    #[inline(always)]
    fn dot_bits(self, planes: &[u64], b: &[i8]) -> i32 {
        avx512_bits::dot(self, planes, b)
    }

    #[inline(always)]
    fn count_differing(self, a: &[u64], b: &[i8]) -> u32 {
        avx512_bits::count_differing(self, a, b)
    }
}

/// A metric bound to an instruction set.
///
/// A distance has the same bits whichever instruction set, argument order or number of rows at a
/// time computed it. Its error is at most `(n / 16 + 4) * f32::EPSILON` times the sum of the
/// magnitudes of its `n` terms (plus half the smallest subnormal a term); sums beyond f32 become
/// infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    isa: Isa,
    metric: Metric,
}

impl Kernel {
    /// The kernel of `metric` on `isa`.
    #[must_use]
    pub const fn new(isa: Isa, metric: Metric) -> Self {
        Self { isa, metric }
    }

    /// The instruction set that computes.
    #[must_use]
    pub const fn isa(self) -> Isa {
        self.isa
    }

    /// The metric that is computed.
    #[must_use]
    pub const fn metric(self) -> Metric {
        self.metric
    }

    /// The distance between two vectors of one length; smaller is nearer. Any length and alignment;
    /// multiples of 16 floats are fastest.
    ///
    /// # Panics
    /// If the lengths differ.
    #[must_use]
    #[inline]
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of different lengths");
        self.metric.of_sum(match self.metric {
            Metric::L2 | Metric::Hamming => self.isa.sum::<true>(a, b),
            Metric::Cosine | Metric::Dot => self.isa.sum::<false>(a, b),
        })
    }

    /// The distances from `query` to four vectors, in less time than four calls of
    /// [`Kernel::distance`].
    ///
    /// # Panics
    /// If the lengths differ.
    #[must_use]
    #[inline]
    pub fn distance4(self, query: &[f32], vectors: [&[f32]; 4]) -> [f32; 4] {
        for vector in vectors {
            assert_eq!(query.len(), vector.len(), "vectors of different lengths");
        }
        let sums = match self.metric {
            Metric::L2 | Metric::Hamming => self.isa.sum4::<true>(query, vectors),
            Metric::Cosine | Metric::Dot => self.isa.sum4::<false>(query, vectors),
        };
        sums.map(|sum| self.metric.of_sum(sum))
    }

    /// Sets `out` to the distances from `query` to the rows that follow one another in `run`, as
    /// fast as memory gives them: one after another, which a CPU fetches best.
    ///
    /// # Panics
    /// If `query` is not a whole number of blocks, or `run` not a query's length for each of `out`.
    #[inline]
    pub(crate) fn run(self, query: &[f32], run: &[f32], out: &mut [f32]) {
        assert!(query.len().is_multiple_of(LANES), "a query of {} floats", query.len());
        assert_eq!(run.len(), query.len() * out.len(), "floats of {} rows", out.len());
        match self.metric {
            Metric::L2 | Metric::Hamming => self.isa.sums::<true>(query, run, out),
            Metric::Cosine | Metric::Dot => self.isa.sums::<false>(query, run, out),
        }
        for sum in out {
            *sum = self.metric.of_sum(*sum);
        }
    }

    /// Replaces `out` by the distances from `query` to the rows `ids`, in their order.
    ///
    /// # Panics
    /// If a row does not exist or `query` is not a stride long.
    pub(crate) fn distances(self, query: &[f32], rows: &Rows<'_>, ids: &[u32], out: &mut Vec<f32>) {
        out.clear();
        let (fours, rest) = ids.as_chunks::<4>();
        for four in fours {
            out.extend_from_slice(&self.distance4(query, four.map(|row| rows.row(row))));
        }
        for &row in rest {
            out.push(self.distance(query, rows.row(row)));
        }
    }
}

/// The last, partial block of a vector, filled up with zeros: they add nothing to any sum.
#[inline]
fn tail_block(tail: &[f32]) -> [f32; LANES] {
    let mut block = [0.0; LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}
