//! Tiles on 256-bit vectors with fused steps: six rows by sixteen queries.
//!
//! Twelve sums keep both multipliers busy and leave registers for the operands. Unsafe in three
//! places: loading and storing eight floats of an array, and calling after detection.

use std::ops::Range;

use std::arch::x86_64::{
    __m256, _CMP_NGT_UQ, _mm256_add_ps, _mm256_broadcast_ss, _mm256_cmp_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_movemask_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

use super::tile::{Lanes, STEP, Sums, TILE_ROWS};
use super::{Avx2, LANES};

/// Proof that this CPU and its system have AVX2 and FMA: only [`Fma::detect`] makes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fma(());

impl Fma {
    /// The proof, if it can be given.
    pub(super) fn detect(_avx2: Avx2) -> Option<Self> {
        is_x86_feature_detected!("fma").then_some(Self(()))
    }
}

/// What `Tile::add` says.
#[inline]
pub(super) fn add(
    _proof: Fma,
    panel: &[[Lanes; STEP]],
    rows: &[&[[f32; STEP]]; TILE_ROWS],
    part: Range<usize>,
    sums: &mut Sums,
) {
    // SAFETY: the CPU must have AVX2 and FMA. The proof says so, and only a detection makes one. A
    // CPU without would stop at an illegal instruction.
    unsafe { add_rows(panel, rows, part, sums) }
}

/// What `Tile::survivors` says.
#[inline]
pub(super) fn survivors(
    _proof: Fma,
    sums: &Sums,
    weights: &Lanes,
    limits: &Lanes,
    offsets: &[f32; TILE_ROWS],
) -> [u16; TILE_ROWS] {
    // SAFETY: as in `add`.
    unsafe { survivors_of(sums, weights, limits, offsets) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(values: &[f32; 8]) -> __m256 {
    // SAFETY: the load reads 32 bytes from its pointer. The array type provides exactly those, and
    // an unaligned load asks for no alignment. A shorter array would stop compiling.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(values: &mut [f32; 8], vector: __m256) {
    // SAFETY: the store writes 32 bytes to its pointer. The array type provides exactly those, and
    // an unaligned store asks for no alignment. A shorter array would stop compiling.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), vector) }
}

/// Sets the sums, or adds to them.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn put(values: &mut [f32; 8], vector: __m256, is_first: bool) {
    let sum = if is_first { vector } else { _mm256_add_ps(load(values), vector) };
    store(values, sum);
}

#[target_feature(enable = "avx2,fma")]
fn add_rows(
    panel: &[[Lanes; STEP]],
    rows: &[&[[f32; STEP]]; TILE_ROWS],
    part: Range<usize>,
    sums: &mut Sums,
) {
    let is_first = part.start == 0;
    let (rows, _) = rows.as_chunks::<6>();
    let (sums, _) = sums.as_chunks_mut::<6>();
    for (rows, sums) in rows.iter().zip(sums) {
        // Cut to one length, so that one bounds check serves a step.
        let [r0, r1, r2, r3, r4, r5] = *rows;
        let (r0, r1, r2) = (&r0[part.clone()], &r1[part.clone()], &r2[part.clone()]);
        let (r3, r4, r5) = (&r3[part.clone()], &r4[part.clone()], &r5[part.clone()]);
        let mut block = [[_mm256_setzero_ps(); 2]; 6];
        for (i, lanes) in panel.iter().enumerate() {
            let at = [&r0[i], &r1[i], &r2[i], &r3[i], &r4[i], &r5[i]];
            for (step, lanes) in lanes.iter().enumerate() {
                let (halves, _) = lanes.as_chunks::<8>();
                let (low, high) = (load(&halves[0]), load(&halves[1]));
                for (block, row) in block.iter_mut().zip(at) {
                    let component = _mm256_broadcast_ss(&row[step]);
                    block[0] = _mm256_fmadd_ps(low, component, block[0]);
                    block[1] = _mm256_fmadd_ps(high, component, block[1]);
                }
            }
        }
        for (sums, block) in sums.iter_mut().zip(block) {
            let (halves, _) = sums.as_chunks_mut::<8>();
            put(&mut halves[0], block[0], is_first);
            put(&mut halves[1], block[1], is_first);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn survivors_of(
    sums: &Sums,
    weights: &Lanes,
    limits: &Lanes,
    offsets: &[f32; TILE_ROWS],
) -> [u16; TILE_ROWS] {
    let mut found = [0; TILE_ROWS];
    for half in 0..LANES / 8 {
        let weights = load(&weights.as_chunks::<8>().0[half]);
        let limits = load(&limits.as_chunks::<8>().0[half]);
        for ((found, sums), &offset) in found.iter_mut().zip(sums).zip(offsets) {
            let sums = load(&sums.as_chunks::<8>().0[half]);
            let low = _mm256_fmadd_ps(weights, _mm256_set1_ps(offset), sums);
            let stays = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NGT_UQ>(low, limits));
            *found |= eight_bits(stays) << (8 * half);
        }
    }
    found
}

#[inline]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bit a lane: eight")]
fn eight_bits(mask: i32) -> u16 {
    mask as u16
}
