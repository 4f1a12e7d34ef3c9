//! A byte a component: whole multiples, from -127 to 127, of a step of the row's own.
//!
//! | bytes | what |
//! |---|---|
//! | `dims`, rounded up to 16 | the multiples, i8; 0 behind the last dimension |
//! | 4 | the step, f32 |
//! | 4 | the square of the length of what the code stands for, f32 |
//! | 8 | zero |
//!
//! With the square the distance is that between what the codes stand for, not an estimate of a
//! larger error: `|a|^2 + |b|^2 - 2ab`, of which `ab` is the steps times a sum of integers.

use super::rotation::{largest, rotate};
use super::{BLOCK, Estimate, Form, TERMS_LEN, put_terms, rounded, term};
use crate::kernel::Simd;
use crate::metric::Metric;
use crate::space::Aim;

/// Multiples go from minus this to this.
pub(crate) const MOST: f32 = 127.0;
/// The same of a query, at most.
const WORD_MOST: f32 = 32_767.0;

/// Writes the code of a rotated vector, of which `scale` times its length is the length.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most 127, as a byte"
)]
#[inline(always)]
pub(super) fn encode(rotated: &[f32], scale: f32, out: &mut [u8]) {
    let largest = largest(rotated);
    let factor = if largest > 0.0 { MOST / largest } else { 0.0 };
    let (codes, _) = out.split_at_mut(out.len() - TERMS_LEN);
    let (used, rest) = codes.split_at_mut(rotated.len());
    let mut sum = 0;
    for (code, component) in used.iter_mut().zip(rotated) {
        let multiple = rounded(component * factor);
        sum += multiple * multiple;
        *code = multiple as u8;
    }
    rest.fill(0);
    let step = largest / MOST * scale;
    // In the order in which a distance is computed, so that equal codes are at distance zero.
    #[expect(clippy::cast_precision_loss, reason = "as a distance is rounded")]
    let square = step * step * sum as f32;
    put_terms(out, step, square, 0.0);
}

/// Bytes under a metric.
#[derive(Clone, Copy)]
pub(crate) struct Sq8(Estimate);

impl Sq8 {
    pub(crate) fn of(metric: Metric) -> Self {
        Self(Estimate::of(metric))
    }
}

impl Form for Sq8 {
    #[inline(always)]
    fn aim(self, _vector: &[f32], code: &[i8], aim: &mut Aim) {
        (aim.step, aim.square, aim.along) = (term(code, 0), term(code, 1), 0.0);
        aim.words.clear();
        aim.words.extend(code[..code.len() - TERMS_LEN].iter().map(|&code| i16::from(code)));
    }

    #[inline(always)]
    fn aim_at(self, query: &[f32], aim: &mut Aim) {
        aim.floats.clear();
        aim.floats.extend_from_slice(query);
        let scale = rotate(&mut aim.floats);
        aim.along = 0.0;
        aim_at(scale, aim);
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, from: &Aim, code: &[i8]) -> f32 {
        let dot = simd.dot_codes(&from.words, &code[..from.words.len()]);
        self.0.between(from, code, dot)
    }

    #[inline(always)]
    fn distance4<S: Simd>(self, simd: S, from: &Aim, codes: [&[i8]; 4]) -> [f32; 4] {
        let len = from.words.len();
        let dots = simd.dot_codes4(&from.words, codes.map(|code| &code[..len]));
        [
            self.0.between(from, codes[0], dots[0]),
            self.0.between(from, codes[1], dots[1]),
            self.0.between(from, codes[2], dots[2]),
            self.0.between(from, codes[3], dots[3]),
        ]
    }
}

/// The largest multiple that a query may have of its step, where no sum of products with codes is
/// to be beyond 32 bits: what rounding adds stays below the twentieth that is left. `largest` is
/// its largest component.
#[inline(always)]
pub(crate) fn query_most(query: &[f32], largest: f32) -> f32 {
    let magnitude: f32 = query.iter().map(|component| component.abs()).sum();
    WORD_MOST.min(0.95 * 2_147_483_647.0 / MOST * (largest / magnitude))
}

/// Aims at the query that `aim` has rotated: as [`encode`], in finer steps.
#[expect(clippy::cast_possible_truncation, reason = "rounded numbers of at most 32,767")]
#[inline(always)]
fn aim_at(scale: f32, aim: &mut Aim) {
    let rotated = &aim.floats;
    let largest = largest(rotated);
    let factor = if largest > 0.0 { query_most(rotated, largest) / largest } else { 0.0 };
    aim.words.clear();
    aim.words.extend(rotated.iter().map(|component| rounded(component * factor) as i16));
    aim.words.resize(rotated.len().next_multiple_of(BLOCK), 0);
    aim.step = if largest > 0.0 { scale / factor } else { 0.0 };
    let square: f64 = aim.words.iter().map(|&word| f64::from(word) * f64::from(word)).sum();
    aim.square = (f64::from(aim.step) * f64::from(aim.step) * square) as f32;
}
