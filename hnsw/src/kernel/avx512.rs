//! The kernels on 512-bit vectors: the sixteen lanes of the truth in one register.
//!
//! Unsafe in two places: loading sixteen floats of an array, and calling after detection.

use std::arch::x86_64::{
    __m128, __m512, _mm256_add_ps, _mm256_castpd_ps, _mm512_add_ps, _mm512_castps_pd,
    _mm512_castps512_ps256, _mm512_extractf64x4_pd, _mm512_loadu_ps, _mm512_mul_ps,
    _mm512_setzero_ps, _mm512_sub_ps,
};

use super::avx2::{fold_eight, fold_four_to_one, fold_to_one};
use super::prefetch::prefetch_after;
use super::{LANES, RUN_AHEAD, Task, tail_block};

/// Proof that this CPU and its system have AVX-512 with its instructions on bytes, its sums of
/// products of codes (VNNI) and its counts of bits, as CPUs since 2019 do, and AVX2 with what
/// [`Avx2`](super::Avx2) asks for, which the last steps use: only [`Avx512::detect`] makes one.
/// Older CPUs with AVX-512, which run slower while they use it, are left to AVX2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// The proof, if it can be given.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("popcnt");
        has.then_some(Self(()))
    }
}

/// Runs a task compiled for AVX-512.
#[inline]
pub(super) fn run<T: Task>(proof: Avx512, task: T) -> T::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx512vpopcntdq,avx2,f16c,popcnt")]
    fn compiled<T: Task>(proof: Avx512, task: T) -> T::Output {
        task.run(proof)
    }
    // SAFETY: as in `sum`, with all else that the proof speaks of.
    unsafe { compiled(proof, task) }
}

/// What the truth's `sum` gives.
#[inline]
pub(super) fn sum<const L2: bool>(_proof: Avx512, a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: the CPU must have AVX-512F and BW, and AVX2. The proof says so, and only a detection
    // makes one. A CPU without would stop at an illegal instruction.
    unsafe { sum_blocks::<L2>(a, b) }
}

/// What the truth's `sums` gives; `a` is a whole number of blocks.
#[inline]
pub(super) fn sums<const L2: bool>(_proof: Avx512, a: &[f32], run: &[f32], out: &mut [f32]) {
    // SAFETY: as in `sum`.
    unsafe { sums_of_run::<L2>(a, run, out) }
}

/// Four sums with one `a`; each is what `sum` gives.
#[inline]
pub(super) fn sum4<const L2: bool>(_proof: Avx512, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
    // SAFETY: as in `sum`.
    unsafe { sum4_blocks::<L2>(a, b) }
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
pub(super) fn add_block<const L2: bool>(sums: __m512, a: __m512, b: __m512) -> __m512 {
    if L2 {
        let difference = _mm512_sub_ps(a, b);
        _mm512_add_ps(sums, _mm512_mul_ps(difference, difference))
    } else {
        _mm512_add_ps(sums, _mm512_mul_ps(a, b))
    }
}

/// The first two steps of the truth's tree: 16 lanes to 8, 8 to 4.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
pub(super) fn fold_to_four(sums: __m512) -> __m128 {
    let low = _mm512_castps512_ps256(sums);
    // By way of f64, because the extraction of eight f32 would ask for AVX-512DQ.
    let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sums)));
    fold_eight(_mm256_add_ps(low, high))
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn sum_blocks<const L2: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let (b_blocks, b_tail) = b.as_chunks::<LANES>();
    let mut sums = _mm512_setzero_ps();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        sums = add_block::<L2>(sums, load(a), load(b));
    }
    if !a_tail.is_empty() {
        sums = add_block::<L2>(sums, load(&tail_block(a_tail)), load(&tail_block(b_tail)));
    }
    fold_to_one(fold_to_four(sums))
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn sum4_blocks<const L2: bool>(a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let blocks = a_blocks.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<LANES>().0[..blocks], &b[1].as_chunks::<LANES>().0[..blocks]);
    let (b2, b3) = (&b[2].as_chunks::<LANES>().0[..blocks], &b[3].as_chunks::<LANES>().0[..blocks]);
    let mut sums = [_mm512_setzero_ps(); 4];
    for i in 0..blocks {
        let a = load(&a_blocks[i]);
        sums[0] = add_block::<L2>(sums[0], a, load(&b0[i]));
        sums[1] = add_block::<L2>(sums[1], a, load(&b1[i]));
        sums[2] = add_block::<L2>(sums[2], a, load(&b2[i]));
        sums[3] = add_block::<L2>(sums[3], a, load(&b3[i]));
    }
    if !a_tail.is_empty() {
        let a = load(&tail_block(a_tail));
        for (sums, b) in sums.iter_mut().zip(b) {
            *sums = add_block::<L2>(*sums, a, load(&tail_block(&b[blocks * LANES..])));
        }
    }
    fold_four_to_one([
        fold_to_four(sums[0]),
        fold_to_four(sums[1]),
        fold_to_four(sums[2]),
        fold_to_four(sums[3]),
    ])
}

#[target_feature(enable = "avx512f,avx2")]
fn sums_of_run<const L2: bool>(a: &[f32], run: &[f32], out: &mut [f32]) {
    let (a_blocks, _) = a.as_chunks::<LANES>();
    for (b, out) in run.chunks_exact(a.len()).zip(out) {
        let mut sums = _mm512_setzero_ps();
        for (a, b) in a_blocks.iter().zip(b.as_chunks::<LANES>().0) {
            prefetch_after::<RUN_AHEAD>(b);
            sums = add_block::<L2>(sums, load(a), load(b));
        }
        *out = fold_to_one(fold_to_four(sums));
    }
}
