//! The kernels on 256-bit vectors: lanes 0..8 and 8..16 of the truth in one register each.
//!
//! Unsafe in two places: loading eight floats of an array, and calling after detection.

use std::arch::x86_64::{
    __m128, __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_movelh_ps,
    _mm_shuffle_ps, _mm_unpackhi_ps, _mm_unpacklo_ps, _mm256_add_ps, _mm256_castps256_ps128,
    _mm256_extractf128_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_setzero_ps, _mm256_sub_ps,
};

use super::prefetch::prefetch_after;
use super::{LANES, RUN_AHEAD, Task, tail_block};

/// Proof that this CPU and its system have AVX2, and with it what every CPU that has it has:
/// conversion of halves and counting of bits. Only [`Avx2::detect`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, if it can be given.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("popcnt");
        has.then_some(Self(()))
    }
}

/// Runs a task compiled for AVX2.
#[inline]
pub(super) fn run<T: Task>(proof: Avx2, task: T) -> T::Output {
    #[target_feature(enable = "avx2,f16c,popcnt")]
    fn compiled<T: Task>(proof: Avx2, task: T) -> T::Output {
        task.run(proof)
    }
    // SAFETY: as in `sum`, with F16C and POPCNT.
    unsafe { compiled(proof, task) }
}

/// What the truth's `sum` gives.
#[inline]
pub(super) fn sum<const L2: bool>(_proof: Avx2, a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: the CPU must have AVX2. The proof says so, and only a detection makes one. A CPU
    // without would stop at an illegal instruction.
    unsafe { sum_blocks::<L2>(a, b) }
}

/// What the truth's `sums` gives; `a` is a whole number of blocks.
#[inline]
pub(super) fn sums<const L2: bool>(_proof: Avx2, a: &[f32], run: &[f32], out: &mut [f32]) {
    // SAFETY: as in `sum`.
    unsafe { sums_of_run::<L2>(a, run, out) }
}

/// Four sums with one `a`; each is what `sum` gives.
#[inline]
pub(super) fn sum4<const L2: bool>(_proof: Avx2, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
    // SAFETY: as in `sum`.
    unsafe { sum4_blocks::<L2>(a, b) }
}

/// Lanes 0..8 and lanes 8..16.
pub(super) type Pair = [__m256; 2];

#[inline]
#[target_feature(enable = "avx2")]
fn load(block: &[f32; LANES]) -> Pair {
    let (halves, _) = block.as_chunks::<8>();
    [load_eight(&halves[0]), load_eight(&halves[1])]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_eight(values: &[f32; 8]) -> __m256 {
    // SAFETY: the load reads 32 bytes from its pointer. The array type provides exactly those, and
    // an unaligned load asks for no alignment. A shorter array would stop compiling.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add_block<const L2: bool>(sums: Pair, a: Pair, b: Pair) -> Pair {
    [add_eight::<L2>(sums[0], a[0], b[0]), add_eight::<L2>(sums[1], a[1], b[1])]
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_eight<const L2: bool>(sums: __m256, a: __m256, b: __m256) -> __m256 {
    if L2 {
        let difference = _mm256_sub_ps(a, b);
        _mm256_add_ps(sums, _mm256_mul_ps(difference, difference))
    } else {
        _mm256_add_ps(sums, _mm256_mul_ps(a, b))
    }
}

/// The first two steps of the truth's tree: 16 lanes to 8, 8 to 4.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn fold_to_four(sums: Pair) -> __m128 {
    fold_eight(_mm256_add_ps(sums[0], sums[1]))
}

/// The second step of the truth's tree: 8 lanes to 4.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn fold_eight(sums: __m256) -> __m128 {
    _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums))
}

/// The last two steps of the truth's tree: 4 lanes to 2, 2 to 1.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn fold_to_one(sums: __m128) -> f32 {
    let two = _mm_add_ps(sums, _mm_movehl_ps(sums, sums));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<0b01>(two, two)))
}

/// `fold_to_one` of four vectors at once: transposed, lane `j` of all four is one register.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn fold_four_to_one(sums: [__m128; 4]) -> [f32; 4] {
    let low01 = _mm_unpacklo_ps(sums[0], sums[1]);
    let low23 = _mm_unpacklo_ps(sums[2], sums[3]);
    let high01 = _mm_unpackhi_ps(sums[0], sums[1]);
    let high23 = _mm_unpackhi_ps(sums[2], sums[3]);
    let lane0 = _mm_movelh_ps(low01, low23);
    let lane1 = _mm_movehl_ps(low23, low01);
    let lane2 = _mm_movelh_ps(high01, high23);
    let lane3 = _mm_movehl_ps(high23, high01);
    let total = _mm_add_ps(_mm_add_ps(lane0, lane2), _mm_add_ps(lane1, lane3));
    [
        _mm_cvtss_f32(total),
        _mm_cvtss_f32(_mm_shuffle_ps::<0b01>(total, total)),
        _mm_cvtss_f32(_mm_shuffle_ps::<0b10>(total, total)),
        _mm_cvtss_f32(_mm_shuffle_ps::<0b11>(total, total)),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_blocks<const L2: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let (b_blocks, b_tail) = b.as_chunks::<LANES>();
    let mut sums = [_mm256_setzero_ps(); 2];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        sums = add_block::<L2>(sums, load(a), load(b));
    }
    if !a_tail.is_empty() {
        sums = add_block::<L2>(sums, load(&tail_block(a_tail)), load(&tail_block(b_tail)));
    }
    fold_to_one(fold_to_four(sums))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum4_blocks<const L2: bool>(a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let blocks = a_blocks.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<LANES>().0[..blocks], &b[1].as_chunks::<LANES>().0[..blocks]);
    let (b2, b3) = (&b[2].as_chunks::<LANES>().0[..blocks], &b[3].as_chunks::<LANES>().0[..blocks]);
    let mut sums = [[_mm256_setzero_ps(); 2]; 4];
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

#[target_feature(enable = "avx2")]
fn sums_of_run<const L2: bool>(a: &[f32], run: &[f32], out: &mut [f32]) {
    let (a_blocks, _) = a.as_chunks::<LANES>();
    for (b, out) in run.chunks_exact(a.len()).zip(out) {
        let mut sums = [_mm256_setzero_ps(); 2];
        for (a, b) in a_blocks.iter().zip(b.as_chunks::<LANES>().0) {
            prefetch_after::<RUN_AHEAD>(b);
            sums = add_block::<L2>(sums, load(a), load(b));
        }
        *out = fold_to_one(fold_to_four(sums));
    }
}
