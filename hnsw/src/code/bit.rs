//! A bit a component, of the row less its mean, rotated: 1 if it is above zero.
//!
//! | bytes | what |
//! |---|---|
//! | `dims`, rounded up to 128, / 8 | bits, the lowest of a byte first; 0 behind the last |
//! | 4 | the factor, f32 |
//! | 4 | the square of the length of the row, f32 |
//! | 4 | the row's product with the vector of ones of unit length, f32 |
//! | 4 | zero |
//!
//! The code stands for ones and minus ones. The factor makes their product with the row less its
//! mean the square of its length: so estimates of the product with a query lean to neither side (as
//! `RaBitQ`: Gao and Long, 2024).

use super::mean::take_mean;
use super::packed::{pack, words};
use super::rotation::{largest, rotate};
use super::{Estimate, Form, put_terms, rounded, square_of};
use crate::kernel::{LANES, PLANES, Simd};
use crate::metric::Metric;
use crate::space::Aim;

/// Numbers of a query go from minus this to this.
const QUERY_MOST: f32 = 7.0;

/// Writes the code of a rotated vector, of which `scale` times its length is the length, and from
/// which `along` was taken (see `mean`).
#[inline(always)]
pub(super) fn encode(rotated: &[f32], scale: f32, along: f32, out: &mut [u8]) {
    pack(rotated, out);
    let mut magnitudes = [0.0; LANES];
    for block in rotated.chunks(LANES) {
        for (magnitude, component) in magnitudes.iter_mut().zip(block) {
            *magnitude += component.abs();
        }
    }
    let magnitude: f32 = magnitudes.iter().sum();
    let square = square_of(rotated);
    let factor = if magnitude > 0.0 { square / magnitude * scale } else { 0.0 };
    put_terms(out, factor, square * scale * scale + along * along, along);
}

/// Bits of rotated vectors under a metric.
#[derive(Clone, Copy)]
pub(crate) struct Bit(Estimate);

impl Bit {
    pub(crate) fn of(metric: Metric) -> Self {
        Self(Estimate::of(metric))
    }

    #[inline(always)]
    fn between(self, aim: &Aim, code: &[i8], dot: i32) -> f32 {
        self.0.between(aim, code, 2 * dot - aim.sum)
    }
}

impl Form for Bit {
    #[inline(always)]
    fn aim_at(self, query: &[f32], aim: &mut Aim) {
        let Aim { floats, bits, step, square, along, sum, .. } = aim;
        floats.clear();
        floats.extend_from_slice(query);
        *along = take_mean(floats);
        let scale = rotate(floats);
        let largest = largest(floats);
        let factor = if largest > 0.0 { QUERY_MOST / largest } else { 0.0 };
        let len = words(floats.len());
        bits.clear();
        bits.resize(PLANES * len, 0);
        *sum = 0;
        for (index, component) in floats.iter().enumerate() {
            let number = rounded(component * factor);
            *sum += number;
            for plane in 0..PLANES {
                let bit = u64::from(number.cast_unsigned() >> plane & 1);
                bits[plane * len + index / 64] |= bit << (index % 64);
            }
        }
        *step = largest / QUERY_MOST * scale;
        *square = square_of(floats) * scale * scale + *along * *along;
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, from: &Aim, code: &[i8]) -> f32 {
        self.between(from, code, simd.dot_bits(&from.bits, code))
    }

    #[inline(always)]
    fn distance4<S: Simd>(self, simd: S, from: &Aim, codes: [&[i8]; 4]) -> [f32; 4] {
        let dots = simd.dot_bits4(&from.bits, codes);
        std::array::from_fn(|row| self.between(from, codes[row], dots[row]))
    }
}
