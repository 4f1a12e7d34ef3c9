//! Sums over halves on 512-bit vectors: sixteen halves are widened to the lanes of the truth.
//! Compiled and reviewed, but run on no CPU so far: the tests run it where there is one.
//!
//! Unsafe in two places: loading blocks of an array, and calling after detection.

use std::arch::x86_64::{
    __m512, _mm256_loadu_si256, _mm512_cvtph_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
    _mm512_setzero_ps,
};

use super::LANES;
use super::avx2::{fold_four_to_one, fold_to_one};
use super::avx512::{Avx512, add_block, fold_to_four};
use super::scalar_codes::HALVES;

/// What the truth's `sum_halves` gives.
#[inline]
pub(super) fn sum<const L2: bool>(_proof: Avx512, a: &[f32], b: &[i8], scale: f32) -> f32 {
    // SAFETY: the CPU must have AVX-512F and AVX2. The proof says so, and only a detection makes
    // one. A CPU without would stop at an illegal instruction.
    unsafe { sum_blocks::<L2>(a, b, scale) }
}

/// Four sums with one `a`; each is what `sum` gives.
#[inline]
pub(super) fn sum4<const L2: bool>(
    _proof: Avx512,
    a: &[f32],
    b: [&[i8]; 4],
    scales: [f32; 4],
) -> [f32; 4] {
    // SAFETY: as in `sum`.
    unsafe { sum4_blocks::<L2>(a, b, scales) }
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn load(block: &[f32; LANES]) -> __m512 {
    // SAFETY: the load reads 64 bytes from its pointer. The array type provides exactly those, and
    // an unaligned load asks for no alignment. A shorter array would stop compiling.
    unsafe { _mm512_loadu_ps(block.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn widen<const L2: bool>(block: &[i8; HALVES], scale: f32) -> __m512 {
    // SAFETY: as in `load`, with 32 bytes.
    let wide = _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(block.as_ptr().cast()) });
    if L2 { _mm512_mul_ps(wide, _mm512_set1_ps(scale)) } else { wide }
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn sum_blocks<const L2: bool>(a: &[f32], b: &[i8], scale: f32) -> f32 {
    let mut sums = _mm512_setzero_ps();
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<HALVES>().0) {
        sums = add_block::<L2>(sums, load(a), widen::<L2>(b, scale));
    }
    fold_to_one(fold_to_four(sums))
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn sum4_blocks<const L2: bool>(a: &[f32], b: [&[i8]; 4], scales: [f32; 4]) -> [f32; 4] {
    let a = a.as_chunks::<LANES>().0;
    let count = a.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<HALVES>().0[..count], &b[1].as_chunks::<HALVES>().0[..count]);
    let (b2, b3) = (&b[2].as_chunks::<HALVES>().0[..count], &b[3].as_chunks::<HALVES>().0[..count]);
    let mut sums = [_mm512_setzero_ps(); 4];
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
