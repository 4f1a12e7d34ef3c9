//! Two bytes a component: the vector as it is, not rotated, in numbers of sixteen bits.
//!
//! | bytes | what |
//! |---|---|
//! | 2 * `dims`, rounded up to 16 | binary16, components over the scale; 0 behind the last |
//! | 4 | the scale, f32: a power of two |
//! | 12 | zero |
//!
//! The scale is 1 for vectors whose largest component is from 2^-8 to 2^15: the smaller ones are
//! off by no more than 2^-16 of it. All others are scaled so that it is from 1 to 2.

use super::rotation::largest;
use super::{Form, TERMS_LEN, term};
use crate::kernel::half::{narrow, widen};
use crate::kernel::{LANES, Simd};
use crate::metric::Metric;
use crate::space::Aim;

/// Largest components that need no scale.
const UNSCALED: std::ops::Range<f32> = 0.003_906_25..32_768.0;
/// The largest half below 2: a scaled component goes no higher, so that it never becomes infinite.
const SCALED_MOST: f32 = 1.999_023_4;

/// Writes the code of a vector.
#[inline(always)]
pub(super) fn encode(vector: &[f32], out: &mut [u8]) {
    let largest = largest(vector);
    let is_unscaled = largest == 0.0 || UNSCALED.contains(&largest);
    let scale = if is_unscaled {
        1.0
    } else {
        f32::from_bits(largest.to_bits() & 0x7f80_0000).max(f32::MIN_POSITIVE)
    };
    let (factor, most) = (1.0 / scale, if is_unscaled { UNSCALED.end } else { SCALED_MOST });
    let (halves, terms) = out.split_at_mut(out.len() - TERMS_LEN);
    let (used, rest) = halves.split_at_mut(2 * vector.len());
    for (half, component) in used.as_chunks_mut::<2>().0.iter_mut().zip(vector) {
        *half = narrow((component * factor).clamp(-most, most)).to_le_bytes();
    }
    rest.fill(0);
    terms.fill(0);
    terms[..4].copy_from_slice(&scale.to_le_bytes());
}

/// Halves under a metric, which is not Hamming.
#[derive(Clone, Copy)]
pub(crate) struct F16(pub(crate) Metric);

impl F16 {
    fn is_l2(self) -> bool {
        self.0 == Metric::L2
    }
}

fn parts(code: &[i8]) -> (&[i8], f32) {
    let (halves, _) = code.split_at(code.len() - TERMS_LEN);
    (halves, term(code, 0))
}

impl Form for F16 {
    #[inline(always)]
    fn aim(self, _vector: &[f32], code: &[i8], aim: &mut Aim) {
        let (halves, scale) = parts(code);
        aim.floats.clear();
        let halves = halves.as_chunks::<2>().0.iter();
        let half = |half: &[i8; 2]| u16::from_le_bytes(half.map(i8::cast_unsigned));
        aim.floats.extend(halves.map(|bytes| widen(half(bytes)) * scale));
    }

    #[inline(always)]
    fn aim_at(self, query: &[f32], aim: &mut Aim) {
        aim.floats.clear();
        aim.floats.extend_from_slice(query);
        aim.floats.resize(query.len().next_multiple_of(LANES), 0.0);
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, from: &Aim, code: &[i8]) -> f32 {
        let (halves, scale) = parts(code);
        self.0.of_sum(if self.is_l2() {
            simd.sum_halves::<true>(&from.floats, halves, scale)
        } else {
            scale * simd.sum_halves::<false>(&from.floats, halves, scale)
        })
    }

    #[inline(always)]
    fn distance4<S: Simd>(self, simd: S, from: &Aim, codes: [&[i8]; 4]) -> [f32; 4] {
        let parts = codes.map(parts);
        let (halves, scales) = (parts.map(|part| part.0), parts.map(|part| part.1));
        let sums = if self.is_l2() {
            simd.sum_halves4::<true>(&from.floats, halves, scales)
        } else {
            let sums = simd.sum_halves4::<false>(&from.floats, halves, scales);
            std::array::from_fn(|row| scales[row] * sums[row])
        };
        sums.map(|sum| self.0.of_sum(sum))
    }
}
