//! The kernels on WASM SIMD: lanes 0..4, 4..8, 8..12 and 12..16 of the truth in one vector each;
//! codes widened to the sixteen bits of the query, multiplied, and added in pairs to 32 bits.
//!
//! A module is for machines with these vectors or it is not: there is nothing to detect, this file
//! is compiled where `simd128` is. Unsafe in one place: loading blocks of an array.

use std::arch::wasm32::{
    f32x4_add, f32x4_extract_lane, f32x4_mul, f32x4_splat, f32x4_sub, i16x8_extend_high_i8x16,
    i16x8_extend_low_i8x16, i32x4_add, i32x4_dot_i16x8, i32x4_extract_lane, i32x4_shuffle,
    i32x4_splat, v128, v128_load,
};

use super::{LANES, Simd, tail_block};

/// Vectors of 128 bits as an instruction set.
#[derive(Clone, Copy, Debug)]
pub(super) struct WasmSimd;

impl Simd for WasmSimd {
    #[inline(always)]
    fn sum<const L2: bool>(self, a: &[f32], b: &[f32]) -> f32 {
        sum::<L2>(a, b)
    }

    #[inline(always)]
    fn sum4<const L2: bool>(self, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
        sum4::<L2>(a, b)
    }

    #[inline(always)]
    fn dot_codes(self, a: &[i16], b: &[i8]) -> i32 {
        dot(a, b)
    }

    #[inline(always)]
    fn dot_codes4(self, a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
        dot4(a, b)
    }
}

/// Lanes 0..4, 4..8, 8..12 and 12..16.
type Quad = [v128; 4];

#[inline]
fn load(block: &[f32; LANES]) -> Quad {
    let (fours, _) = block.as_chunks::<4>();
    [load_16(&fours[0]), load_16(&fours[1]), load_16(&fours[2]), load_16(&fours[3])]
}

/// Sixteen bytes, of whatever numbers.
#[inline]
fn load_16<T, const N: usize>(values: &[T; N]) -> v128 {
    const { assert!(size_of::<T>() * N == 16) };
    // SAFETY: the load reads 16 bytes from its pointer. The array has exactly those, or this would
    // not compile, and the load asks for no alignment.
    unsafe { v128_load(values.as_ptr().cast()) }
}

#[inline]
fn add_block<const L2: bool>(sums: Quad, a: Quad, b: Quad) -> Quad {
    [
        add_four::<L2>(sums[0], a[0], b[0]),
        add_four::<L2>(sums[1], a[1], b[1]),
        add_four::<L2>(sums[2], a[2], b[2]),
        add_four::<L2>(sums[3], a[3], b[3]),
    ]
}

#[inline]
fn add_four<const L2: bool>(sums: v128, a: v128, b: v128) -> v128 {
    if L2 {
        let difference = f32x4_sub(a, b);
        f32x4_add(sums, f32x4_mul(difference, difference))
    } else {
        f32x4_add(sums, f32x4_mul(a, b))
    }
}

/// The truth's tree: 16 lanes to 8, to 4, to 2, to 1.
#[inline]
fn fold(sums: Quad) -> f32 {
    let four = f32x4_add(f32x4_add(sums[0], sums[2]), f32x4_add(sums[1], sums[3]));
    let two = f32x4_add(four, i32x4_shuffle::<2, 3, 0, 1>(four, four));
    f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
}

/// What the truth's `sum` gives.
#[inline]
pub(super) fn sum<const L2: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let (b_blocks, b_tail) = b.as_chunks::<LANES>();
    let mut sums = [f32x4_splat(0.0); 4];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        sums = add_block::<L2>(sums, load(a), load(b));
    }
    if !a_tail.is_empty() {
        sums = add_block::<L2>(sums, load(&tail_block(a_tail)), load(&tail_block(b_tail)));
    }
    fold(sums)
}

/// What the truth's `sums` gives.
#[inline]
pub(super) fn sums<const L2: bool>(a: &[f32], run: &[f32], out: &mut [f32]) {
    for (b, out) in run.chunks_exact(a.len()).zip(out) {
        *out = sum::<L2>(a, b);
    }
}

/// Four sums with one `a`; each is what `sum` gives.
#[inline]
pub(super) fn sum4<const L2: bool>(a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let blocks = a_blocks.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<LANES>().0[..blocks], &b[1].as_chunks::<LANES>().0[..blocks]);
    let (b2, b3) = (&b[2].as_chunks::<LANES>().0[..blocks], &b[3].as_chunks::<LANES>().0[..blocks]);
    let mut sums = [[f32x4_splat(0.0); 4]; 4];
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
    sums.map(fold)
}

/// Codes in a block.
const BLOCK: usize = 16;

/// Eight words, and the eight after them.
type Words = [v128; 2];

#[inline]
fn load_words(block: &[i16; BLOCK]) -> Words {
    let (eights, _) = block.as_chunks::<8>();
    [load_16(&eights[0]), load_16(&eights[1])]
}

/// Adds products in pairs; that no sum is beyond 32 bits is the caller's promise.
#[inline]
fn add_products(sums: v128, a: Words, b: &[i8; BLOCK]) -> v128 {
    let codes = load_16(b);
    let low = i32x4_dot_i16x8(a[0], i16x8_extend_low_i8x16(codes));
    let high = i32x4_dot_i16x8(a[1], i16x8_extend_high_i8x16(codes));
    i32x4_add(sums, i32x4_add(low, high))
}

#[inline]
fn add_up(sums: v128) -> i32 {
    let two = i32x4_add(sums, i32x4_shuffle::<2, 3, 0, 1>(sums, sums));
    let one = i32x4_add(two, i32x4_shuffle::<1, 0, 3, 2>(two, two));
    i32x4_extract_lane::<0>(one)
}

/// What the truth's `dot_codes` gives.
#[inline]
fn dot(a: &[i16], b: &[i8]) -> i32 {
    let (a, b) = (a.as_chunks::<BLOCK>().0, b.as_chunks::<BLOCK>().0);
    let mut sums = i32x4_splat(0);
    for (a, b) in a.iter().zip(b) {
        sums = add_products(sums, load_words(a), b);
    }
    add_up(sums)
}

/// Four sums with one `a`; each is what `dot` gives.
#[inline]
fn dot4(a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
    let a = a.as_chunks::<BLOCK>().0;
    let blocks = a.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<BLOCK>().0[..blocks], &b[1].as_chunks::<BLOCK>().0[..blocks]);
    let (b2, b3) = (&b[2].as_chunks::<BLOCK>().0[..blocks], &b[3].as_chunks::<BLOCK>().0[..blocks]);
    let mut sums = [i32x4_splat(0); 4];
    for i in 0..blocks {
        let a = load_words(&a[i]);
        for (sum, b) in sums.iter_mut().zip([&b0[i], &b1[i], &b2[i], &b3[i]]) {
            *sum = add_products(*sum, a, b);
        }
    }
    sums.map(add_up)
}
