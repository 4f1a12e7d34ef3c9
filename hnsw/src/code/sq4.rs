//! Half a byte a component, of the row less its mean, rotated: odd multiples, from -15 to 15, of
//! half a step of the row's own.
//!
//! | bytes | what |
//! |---|---|
//! | `dims`, rounded up to 64, / 2 | nibbles, (multiple + 15) / 2; 0 behind the last |
//! | 4 | the factor, f32 |
//! | 4 | the square of the length of the row, f32 |
//! | 4 | the row's product with the vector of ones of unit length, f32 |
//! | 4 | zero |
//!
//! Of each 64 components, component `i` is in the lower four bits of byte `i`, component `i + 32`
//! in the upper four.
//!
//! Of some steps the one is taken whose multiples point most nearly in the direction of the row.
//! The factor makes the product with the row less its mean the square of its length: so estimates
//! of the product with a query lean to neither side (as `RaBitQ`: Gao and Long, 2024; Gao et al.,
//! 2025).

use super::mean::take_mean;
use super::rotation::{largest, rotate};
use super::{Estimate, Form, TERMS_LEN, put_terms, rounded, square_of};
use crate::kernel::{LANES, NIBBLES_BLOCK, Simd};
use crate::metric::Metric;
use crate::space::Aim;

/// What the largest component is taken to be, of what it is, to make steps to try. A few components
/// beyond the largest multiple cost less than wider steps for all.
const TRIES: [f32; 8] = [1.0, 0.93, 0.86, 0.79, 0.72, 0.65, 0.58, 0.51];
/// Half the largest multiple: steps from zero.
const MOST: f32 = 7.5;
/// Numbers of a query go from minus this to this.
const QUERY_MOST: f32 = 127.0;

/// Writes the code of a rotated vector, of which `scale` times its length is the length, and from
/// which `along` was taken (see `mean`).
#[inline(always)]
pub(super) fn encode(rotated: &[f32], scale: f32, along: f32, out: &mut [u8]) {
    let largest = largest(rotated);
    let (mut best, mut cross, mut most) = (0.0, 0.0, 0.0);
    for part in TRIES {
        if largest > 0.0 {
            let factor = MOST / (part * largest);
            let (product, length) = fit(rotated, factor);
            let score = product * product / length;
            if score > most {
                (best, cross, most) = (factor, product, score);
            }
        }
    }
    let (codes, _) = out.split_at_mut(out.len() - TERMS_LEN);
    let blocks = codes.as_chunks_mut::<{ NIBBLES_BLOCK / 2 }>().0;
    for (block, part) in blocks.iter_mut().zip(rotated.chunks(NIBBLES_BLOCK)) {
        block.fill(0);
        let (low, high) = part.split_at(part.len().min(NIBBLES_BLOCK / 2));
        for (byte, component) in block.iter_mut().zip(low) {
            *byte = nibble(*component, best);
        }
        for (byte, component) in block.iter_mut().zip(high) {
            *byte |= nibble(*component, best) << 4;
        }
    }
    let square = square_of(rotated);
    let factor = if cross > 0.0 { square / cross * scale } else { 0.0 };
    put_terms(out, factor, square * scale * scale + along * along, along);
}

/// From 0 to 15: the multiple plus 15, halved.
#[inline(always)]
fn level(component: f32, factor: f32) -> i32 {
    let steps = component * factor + MOST;
    // Not `clamp`, which has to tell what is not a number.
    let steps = if steps > 0.0 { steps } else { 0.0 };
    rounded(if steps < 15.0 { steps } else { 15.0 })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 15")]
#[inline(always)]
fn nibble(component: f32, factor: f32) -> u8 {
    level(component, factor) as u8
}

/// The product of the components with their multiples, and the square of the length of these.
#[inline(always)]
fn fit(rotated: &[f32], factor: f32) -> (f32, f32) {
    let (mut products, mut squares) = ([0.0; LANES], [0.0; LANES]);
    let mut add = |lane: usize, component: f32| {
        #[expect(clippy::cast_precision_loss, reason = "15 at most")]
        let multiple = (2 * level(component, factor) - 15) as f32;
        products[lane] += component * multiple;
        squares[lane] += multiple * multiple;
    };
    let (blocks, rest) = rotated.as_chunks::<LANES>();
    for block in blocks {
        for (lane, component) in block.iter().enumerate() {
            add(lane, *component);
        }
    }
    for (lane, component) in rest.iter().enumerate() {
        add(lane, *component);
    }
    (products.iter().sum(), squares.iter().sum())
}

/// Nibbles under a metric.
#[derive(Clone, Copy)]
pub(crate) struct Sq4(Estimate);

impl Sq4 {
    pub(crate) fn of(metric: Metric) -> Self {
        Self(Estimate::of(metric))
    }

    #[inline(always)]
    fn between(self, aim: &Aim, code: &[i8], dot: i32) -> f32 {
        // Of components that are not there the number of the query is 0.
        self.0.between(aim, code, 2 * dot - 15 * aim.sum)
    }
}

#[inline(always)]
fn nibbles(code: &[i8]) -> &[i8] {
    &code[..code.len() - TERMS_LEN]
}

impl Form for Sq4 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 127, as a byte")]
    #[inline(always)]
    fn aim_at(self, query: &[f32], aim: &mut Aim) {
        let Aim { floats, bytes, step, square, along, sum, .. } = aim;
        floats.clear();
        floats.extend_from_slice(query);
        *along = take_mean(floats);
        let scale = rotate(floats);
        let largest = largest(floats);
        let factor = if largest > 0.0 { QUERY_MOST / largest } else { 0.0 };
        bytes.clear();
        bytes.extend(floats.iter().map(|component| rounded(component * factor) as i8));
        *sum = bytes.iter().map(|&byte| i32::from(byte)).sum();
        bytes.resize(query.len().next_multiple_of(NIBBLES_BLOCK), 0);
        *step = largest / QUERY_MOST * scale;
        *square = square_of(floats) * scale * scale + *along * *along;
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, from: &Aim, code: &[i8]) -> f32 {
        self.between(from, code, simd.dot_nibbles(&from.bytes, nibbles(code)))
    }

    #[inline(always)]
    fn distance4<S: Simd>(self, simd: S, from: &Aim, codes: [&[i8]; 4]) -> [f32; 4] {
        let dots = simd.dot_nibbles4(&from.bytes, codes.map(nibbles));
        std::array::from_fn(|row| self.between(from, codes[row], dots[row]))
    }
}
