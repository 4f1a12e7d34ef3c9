//! The kernels on NEON: lanes 0..4, 4..8, 8..12 and 12..16 of the truth in one register each; codes
//! widened to the sixteen bits of the query, multiplied, and added to 32 bits.
//!
//! Unsafe in two places: loading blocks of an array, and calling after detection. Run on an
//! emulator only, so that it is known to be right, not how fast it is; nothing is asked for ahead
//! of need, for which there is no stable instruction.

use std::arch::aarch64::{
    float32x2_t, float32x4_t, int8x16_t, int16x8_t, int32x4_t, vadd_f32, vaddq_f32, vaddq_s32,
    vaddvq_s32, vcombine_f32, vdupq_n_f32, vdupq_n_s32, vget_high_f32, vget_lane_f32, vget_low_f32,
    vget_low_s8, vget_low_s16, vgetq_lane_f32, vld1q_f32, vld1q_s8, vld1q_s16, vmlal_high_s16,
    vmlal_s16, vmovl_high_s8, vmovl_s8, vmulq_f32, vpadd_f32, vsubq_f32,
};
use std::arch::is_aarch64_feature_detected;

use super::{LANES, Simd, Task, tail_block};

/// Proof that this CPU has NEON: only [`Neon::detect`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

impl Neon {
    /// The proof, if it can be given.
    #[must_use]
    pub fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

impl Simd for Neon {
    #[inline(always)]
    fn sum<const L2: bool>(self, a: &[f32], b: &[f32]) -> f32 {
        sum::<L2>(self, a, b)
    }

    #[inline(always)]
    fn sum4<const L2: bool>(self, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
        sum4::<L2>(self, a, b)
    }

    #[inline(always)]
    fn dot_codes(self, a: &[i16], b: &[i8]) -> i32 {
        // SAFETY: as in `sum`.
        unsafe { dot_blocks(a, b) }
    }

    #[inline(always)]
    fn dot_codes4(self, a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
        // SAFETY: as in `sum`.
        unsafe { dot4_blocks(a, b) }
    }
}

/// Runs a task compiled for NEON.
#[inline]
pub(super) fn run<T: Task>(proof: Neon, task: T) -> T::Output {
    #[target_feature(enable = "neon")]
    fn compiled<T: Task>(proof: Neon, task: T) -> T::Output {
        task.run(proof)
    }
    // SAFETY: as in `sum`.
    unsafe { compiled(proof, task) }
}

/// What the truth's `sum` gives.
#[inline]
pub(super) fn sum<const L2: bool>(_proof: Neon, a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: the CPU must have NEON. The proof says so, and only a detection makes one. A CPU
    // without would stop at an illegal instruction.
    unsafe { sum_blocks::<L2>(a, b) }
}

/// What the truth's `sums` gives; `a` is a whole number of blocks.
#[inline]
pub(super) fn sums<const L2: bool>(_proof: Neon, a: &[f32], run: &[f32], out: &mut [f32]) {
    // SAFETY: as in `sum`.
    unsafe { sums_of_run::<L2>(a, run, out) }
}

/// Four sums with one `a`; each is what `sum` gives.
#[inline]
pub(super) fn sum4<const L2: bool>(_proof: Neon, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
    // SAFETY: as in `sum`.
    unsafe { sum4_blocks::<L2>(a, b) }
}

/// Lanes 0..4, 4..8, 8..12 and 12..16.
type Quad = [float32x4_t; 4];

#[inline]
#[target_feature(enable = "neon")]
fn load(block: &[f32; LANES]) -> Quad {
    let (fours, _) = block.as_chunks::<4>();
    [load_four(&fours[0]), load_four(&fours[1]), load_four(&fours[2]), load_four(&fours[3])]
}

#[inline]
#[target_feature(enable = "neon")]
fn load_four(values: &[f32; 4]) -> float32x4_t {
    // SAFETY: the load reads 16 bytes from its pointer. The array type provides exactly those, and
    // the load asks for no more than an element's alignment. A shorter array would stop compiling.
    unsafe { vld1q_f32(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn add_block<const L2: bool>(sums: Quad, a: Quad, b: Quad) -> Quad {
    [
        add_four::<L2>(sums[0], a[0], b[0]),
        add_four::<L2>(sums[1], a[1], b[1]),
        add_four::<L2>(sums[2], a[2], b[2]),
        add_four::<L2>(sums[3], a[3], b[3]),
    ]
}

/// Rounds after the multiplication, which a fused step would not.
#[inline]
#[target_feature(enable = "neon")]
fn add_four<const L2: bool>(sums: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
    if L2 {
        let difference = vsubq_f32(a, b);
        vaddq_f32(sums, vmulq_f32(difference, difference))
    } else {
        vaddq_f32(sums, vmulq_f32(a, b))
    }
}

/// The first three steps of the truth's tree: 16 lanes to 8, to 4, to 2.
#[inline]
#[target_feature(enable = "neon")]
fn fold_to_two(sums: Quad) -> float32x2_t {
    let four = vaddq_f32(vaddq_f32(sums[0], sums[2]), vaddq_f32(sums[1], sums[3]));
    vadd_f32(vget_low_f32(four), vget_high_f32(four))
}

#[inline]
#[target_feature(enable = "neon")]
fn sum_blocks<const L2: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let (b_blocks, b_tail) = b.as_chunks::<LANES>();
    let mut sums = [vdupq_n_f32(0.0); 4];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        sums = add_block::<L2>(sums, load(a), load(b));
    }
    if !a_tail.is_empty() {
        sums = add_block::<L2>(sums, load(&tail_block(a_tail)), load(&tail_block(b_tail)));
    }
    let two = fold_to_two(sums);
    vget_lane_f32::<0>(vpadd_f32(two, two))
}

#[inline]
#[target_feature(enable = "neon")]
fn sum4_blocks<const L2: bool>(a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let blocks = a_blocks.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<LANES>().0[..blocks], &b[1].as_chunks::<LANES>().0[..blocks]);
    let (b2, b3) = (&b[2].as_chunks::<LANES>().0[..blocks], &b[3].as_chunks::<LANES>().0[..blocks]);
    let mut sums = [[vdupq_n_f32(0.0); 4]; 4];
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
    // The last step of the tree, of two sums at a time: lane 0 and lane 1 of each.
    let low = vpadd_f32(fold_to_two(sums[0]), fold_to_two(sums[1]));
    let high = vpadd_f32(fold_to_two(sums[2]), fold_to_two(sums[3]));
    let total = vcombine_f32(low, high);
    [
        vgetq_lane_f32::<0>(total),
        vgetq_lane_f32::<1>(total),
        vgetq_lane_f32::<2>(total),
        vgetq_lane_f32::<3>(total),
    ]
}

#[target_feature(enable = "neon")]
fn sums_of_run<const L2: bool>(a: &[f32], run: &[f32], out: &mut [f32]) {
    for (b, out) in run.chunks_exact(a.len()).zip(out) {
        *out = sum_blocks::<L2>(a, b);
    }
}

/// Codes in a block.
const BLOCK: usize = 16;

/// Eight words, and the eight after them.
type Words = [int16x8_t; 2];

#[inline]
#[target_feature(enable = "neon")]
fn load_words(block: &[i16; BLOCK]) -> Words {
    let (eights, _) = block.as_chunks::<8>();
    [load_eight(&eights[0]), load_eight(&eights[1])]
}

#[inline]
#[target_feature(enable = "neon")]
fn load_eight(words: &[i16; 8]) -> int16x8_t {
    // SAFETY: as in `load_four`, with eight words.
    unsafe { vld1q_s16(words.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_codes(block: &[i8; BLOCK]) -> Words {
    // SAFETY: as in `load_four`, with 16 codes.
    let codes: int8x16_t = unsafe { vld1q_s8(block.as_ptr()) };
    [vmovl_s8(vget_low_s8(codes)), vmovl_high_s8(codes)]
}

/// Adds products of 32 bits; that no sum is beyond them is the caller's promise.
#[inline]
#[target_feature(enable = "neon")]
fn add_products(sums: int32x4_t, a: int16x8_t, b: int16x8_t) -> int32x4_t {
    vmlal_high_s16(vmlal_s16(sums, vget_low_s16(a), vget_low_s16(b)), a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn dot_blocks(a: &[i16], b: &[i8]) -> i32 {
    let (a, b) = (a.as_chunks::<BLOCK>().0, b.as_chunks::<BLOCK>().0);
    let mut sums = [vdupq_n_s32(0); 2];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (load_words(a), load_codes(b));
        sums[0] = add_products(sums[0], a[0], b[0]);
        sums[1] = add_products(sums[1], a[1], b[1]);
    }
    vaddvq_s32(vaddq_s32(sums[0], sums[1]))
}

#[inline]
#[target_feature(enable = "neon")]
fn dot4_blocks(a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
    let a = a.as_chunks::<BLOCK>().0;
    let blocks = a.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<BLOCK>().0[..blocks], &b[1].as_chunks::<BLOCK>().0[..blocks]);
    let (b2, b3) = (&b[2].as_chunks::<BLOCK>().0[..blocks], &b[3].as_chunks::<BLOCK>().0[..blocks]);
    let mut sums = [[vdupq_n_s32(0); 2]; 4];
    for i in 0..blocks {
        let a = load_words(&a[i]);
        for (sums, b) in sums.iter_mut().zip([&b0[i], &b1[i], &b2[i], &b3[i]]) {
            let b = load_codes(b);
            sums[0] = add_products(sums[0], a[0], b[0]);
            sums[1] = add_products(sums[1], a[1], b[1]);
        }
    }
    [
        vaddvq_s32(vaddq_s32(sums[0][0], sums[0][1])),
        vaddvq_s32(vaddq_s32(sums[1][0], sums[1][1])),
        vaddvq_s32(vaddq_s32(sums[2][0], sums[2][1])),
        vaddvq_s32(vaddq_s32(sums[3][0], sums[3][1])),
    ]
}
