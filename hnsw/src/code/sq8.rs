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

use super::rotation::largest;
use super::{BLOCK, TERMS_LEN};
use crate::space::Aim;

/// Multiples go from minus this to this.
const MOST: f32 = 127.0;
/// The same of a query.
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
    let (codes, terms) = out.split_at_mut(out.len() - TERMS_LEN);
    let (used, rest) = codes.split_at_mut(rotated.len());
    let mut sum = 0;
    for (code, component) in used.iter_mut().zip(rotated) {
        let multiple = rounded(component * factor);
        sum += multiple * multiple;
        *code = multiple as u8;
    }
    rest.fill(0);
    let step = largest / MOST * scale;
    terms.fill(0);
    terms[..4].copy_from_slice(&step.to_le_bytes());
    // In the order in which a distance is computed, so that equal codes are at distance zero.
    #[expect(clippy::cast_precision_loss, reason = "as a distance is rounded")]
    terms[4..8].copy_from_slice(&(step * step * sum as f32).to_le_bytes());
}

/// The nearest integer to a number of a magnitude below 2^22, of two the even one: the sum with
/// this number has no room for a fraction. Many at a time, where a call to round would be one.
#[inline(always)]
fn rounded(number: f32) -> i32 {
    const NO_FRACTION: f32 = 12_582_912.0;
    let bits = (number + NO_FRACTION).to_bits();
    bits.wrapping_sub(NO_FRACTION.to_bits()).cast_signed()
}

/// Step and square of a code.
#[inline(always)]
pub(super) fn terms(code: &[i8]) -> (f32, f32) {
    let at = code.len() - TERMS_LEN;
    let term = |at: usize| {
        let bytes: &[i8; 4] = code[at..].first_chunk().expect("four of sixteen bytes");
        f32::from_le_bytes(bytes.map(i8::cast_unsigned))
    };
    (term(at), term(at + 4))
}

/// Aims at the query that `aim` has rotated: as [`encode`], in finer steps.
#[expect(clippy::cast_possible_truncation, reason = "rounded numbers of at most 32,767")]
#[inline(always)]
pub(super) fn aim(scale: f32, aim: &mut Aim) {
    let rotated = &aim.floats;
    let largest = largest(rotated);
    let magnitude: f32 = rotated.iter().map(|component| component.abs()).sum();
    // So that no sum of products with codes is beyond 32 bits: what rounding adds stays below the
    // twentieth that is left.
    let most = WORD_MOST.min(0.95 * 2_147_483_647.0 / MOST * (largest / magnitude));
    let factor = if largest > 0.0 { most / largest } else { 0.0 };
    aim.words.clear();
    aim.words.extend(rotated.iter().map(|component| rounded(component * factor) as i16));
    aim.words.resize(rotated.len().next_multiple_of(BLOCK), 0);
    aim.step = if largest > 0.0 { scale / factor } else { 0.0 };
    let square: f64 = aim.words.iter().map(|&word| f64::from(word) * f64::from(word)).sum();
    aim.square = (f64::from(aim.step) * f64::from(aim.step) * square) as f32;
}
