//! Sums over halves on 256-bit vectors: sixteen halves are widened to the lanes of the truth.
//!
//! Unsafe in two places: loading halves of an array, and calling after detection.

use std::arch::x86_64::{
    _mm_loadu_si128, _mm256_cvtph_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps,
    _mm256_setzero_ps,
};

use super::LANES;
use super::avx2::{Avx2, Pair, add_block, fold_four_to_one, fold_to_four, fold_to_one};
use super::scalar_codes::HALVES;

/// What the truth's `sum_halves` gives.
#[inline]
pub(super) fn sum<const L2: bool>(_proof: Avx2, a: &[f32], b: &[i8], scale: f32) -> f32 {
    // SAFETY: the CPU must have AVX2 and F16C. The proof says so, and only a detection makes one. A
    // CPU without would stop at an illegal instruction.
    unsafe { sum_blocks::<L2>(a, b, scale) }
}

/// Four sums with one `a`; each is what `sum` gives.
#[inline]
pub(super) fn sum4<const L2: bool>(
    _proof: Avx2,
    a: &[f32],
    b: [&[i8]; 4],
    scales: [f32; 4],
) -> [f32; 4] {
    // SAFETY: as in `sum`.
    unsafe { sum4_blocks::<L2>(a, b, scales) }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load(block: &[f32; LANES]) -> Pair {
    let (low, high) = block.split_at(8);
    // SAFETY: the load reads 32 bytes from its pointer. Both parts have eight floats, and an
    // unaligned load asks for no alignment. A shorter array would panic above.
    let low = unsafe { _mm256_loadu_ps(low.as_ptr()) };
    // SAFETY: as above.
    [low, unsafe { _mm256_loadu_ps(high.as_ptr()) }]
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn widen<const L2: bool>(block: &[i8; HALVES], scale: f32) -> Pair {
    let (low, high) = block.split_at(HALVES / 2);
    // SAFETY: the load reads 16 bytes from its pointer. Both parts have as many, and an unaligned
    // load asks for no alignment. A shorter array would panic above.
    let low = unsafe { _mm_loadu_si128(low.as_ptr().cast()) };
    // SAFETY: as above.
    let high = unsafe { _mm_loadu_si128(high.as_ptr().cast()) };
    let wide = [_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)];
    if L2 {
        let scale = _mm256_set1_ps(scale);
        [_mm256_mul_ps(wide[0], scale), _mm256_mul_ps(wide[1], scale)]
    } else {
        wide
    }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn sum_blocks<const L2: bool>(a: &[f32], b: &[i8], scale: f32) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 2];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<HALVES>().0) {
        sums = add_block::<L2>(sums, load(a), widen::<L2>(b, scale));
    }
    fold_to_one(fold_to_four(sums))
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn sum4_blocks<const L2: bool>(a: &[f32], b: [&[i8]; 4], scales: [f32; 4]) -> [f32; 4] {
    let a = a.as_chunks::<LANES>().0;
    let count = a.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<HALVES>().0[..count], &b[1].as_chunks::<HALVES>().0[..count]);
    let (b2, b3) = (&b[2].as_chunks::<HALVES>().0[..count], &b[3].as_chunks::<HALVES>().0[..count]);
    let mut sums = [[_mm256_setzero_ps(); 2]; 4];
    for i in 0..count {
        let a = load(&a[i]);
        sums[0] = add_block::<L2>(sums[0], a, widen::<L2>(&b0[i], scales[0]));
        sums[1] = add_block::<L2>(sums[1], a, widen::<L2>(&b1[i], scales[1]));
        sums[2] = add_block::<L2>(sums[2], a, widen::<L2>(&b2[i], scales[2]));
        sums[3] = add_block::<L2>(sums[3], a, widen::<L2>(&b3[i], scales[3]));
    }
    fold_four_to_one([
        fold_to_four(sums[0]),
        fold_to_four(sums[1]),
        fold_to_four(sums[2]),
        fold_to_four(sums[3]),
    ])
}
