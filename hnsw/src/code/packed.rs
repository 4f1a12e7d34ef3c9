//! A bit a component, under Hamming: the components themselves, and their distances, not estimates.
//!
//! | bytes | what |
//! |---|---|
//! | `dims`, rounded up to 128, / 8 | bits, the lowest of a byte first; 0 behind the last |
//! | 16 | zero |

use super::{Form, TERMS_LEN};
use crate::kernel::Simd;
use crate::space::Aim;

/// Words of the bits of so many components: two for each 16 bytes.
#[inline(always)]
pub(super) fn words(dims: usize) -> usize {
    2 * dims.div_ceil(128)
}

/// Writes a bit for each component, 1 if it is above zero, and zeros.
#[inline(always)]
pub(super) fn pack(vector: &[f32], out: &mut [u8]) {
    let used = vector.len().div_ceil(8);
    for (byte, components) in out.iter_mut().zip(vector.chunks(8)) {
        let bits = components.iter().enumerate();
        *byte = bits.fold(0, |byte, (bit, &component)| byte | u8::from(component > 0.0) << bit);
    }
    out[used..].fill(0);
}

/// Packed components: exact distances.
#[derive(Clone, Copy)]
pub(crate) struct Packed;

impl Form for Packed {
    const IS_EXACT: bool = true;

    #[inline(always)]
    fn aim(self, _vector: &[f32], code: &[i8], aim: &mut Aim) {
        let (bits, _) = code[..code.len() - TERMS_LEN].as_chunks::<8>();
        aim.bits.clear();
        let word = |bytes: &[i8; 8]| u64::from_le_bytes(bytes.map(i8::cast_unsigned));
        aim.bits.extend(bits.iter().map(word));
    }

    #[inline(always)]
    fn aim_at(self, query: &[f32], aim: &mut Aim) {
        aim.bits.clear();
        aim.bits.resize(words(query.len()), 0);
        for (word, components) in aim.bits.iter_mut().zip(query.chunks(64)) {
            for (bit, &component) in components.iter().enumerate() {
                *word |= u64::from(component > 0.0) << bit;
            }
        }
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, from: &Aim, code: &[i8]) -> f32 {
        distance_of(simd.count_differing(&from.bits, code))
    }

    #[inline(always)]
    fn distance4<S: Simd>(self, simd: S, from: &Aim, codes: [&[i8]; 4]) -> [f32; 4] {
        let counts = simd.count_differing4(&from.bits, codes);
        [
            distance_of(counts[0]),
            distance_of(counts[1]),
            distance_of(counts[2]),
            distance_of(counts[3]),
        ]
    }
}

#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "at most 2^16")]
fn distance_of(count: u32) -> f32 {
    count as f32
}
