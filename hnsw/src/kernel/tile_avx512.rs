//! Tiles on 512-bit vectors: twelve rows by sixteen queries, a register a row.
//!
//! Unsafe in three places: loading and storing sixteen floats of an array, and calling after
//! detection.

use std::ops::Range;

use std::arch::x86_64::{
    __m512, _CMP_NGT_UQ, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::Avx512;
use super::tile::{Lanes, STEP, Sums, TILE_ROWS};

/// What `Tile::add` says, for all lanes.
#[inline]
pub(super) fn add(
    _proof: Avx512,
    panel: &[[Lanes; STEP]],
    rows: &[&[[f32; STEP]]; TILE_ROWS],
    part: Range<usize>,
    sums: &mut Sums,
) {
    // SAFETY: the CPU must have AVX-512F. The proof says so, and only a detection makes one. A CPU
    // without would stop at an illegal instruction.
    unsafe { add_rows(panel, rows, part, sums) }
}

/// What `Tile::survivors` says.
#[inline]
pub(super) fn survivors(
    _proof: Avx512,
    sums: &Sums,
    weights: &Lanes,
    limits: &Lanes,
    offsets: &[f32; TILE_ROWS],
) -> [u16; TILE_ROWS] {
    // SAFETY: as in `add`.
    unsafe { survivors_of(sums, weights, limits, offsets) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &Lanes) -> __m512 {
    // SAFETY: the load reads 64 bytes from its pointer. The array type provides exactly those, and
    // an unaligned load asks for no alignment. A shorter array would stop compiling.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(values: &mut Lanes, vector: __m512) {
    // SAFETY: the store writes 64 bytes to its pointer. The array type provides exactly those, and
    // an unaligned store asks for no alignment. A shorter array would stop compiling.
    unsafe { _mm512_storeu_ps(values.as_mut_ptr(), vector) }
}

#[target_feature(enable = "avx512f")]
fn add_rows(
    panel: &[[Lanes; STEP]],
    rows: &[&[[f32; STEP]]; TILE_ROWS],
    part: Range<usize>,
    sums: &mut Sums,
) {
    let is_first = part.start == 0;
    // Cut to one length, so that one bounds check serves a step.
    let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11] = *rows;
    let (r0, r1, r2) = (&r0[part.clone()], &r1[part.clone()], &r2[part.clone()]);
    let (r3, r4, r5) = (&r3[part.clone()], &r4[part.clone()], &r5[part.clone()]);
    let (r6, r7, r8) = (&r6[part.clone()], &r7[part.clone()], &r8[part.clone()]);
    let (r9, r10, r11) = (&r9[part.clone()], &r10[part.clone()], &r11[part.clone()]);
    let mut block = [_mm512_setzero_ps(); TILE_ROWS];
    for (i, lanes) in panel.iter().enumerate() {
        let at = [
            &r0[i], &r1[i], &r2[i], &r3[i], &r4[i], &r5[i], &r6[i], &r7[i], &r8[i], &r9[i],
            &r10[i], &r11[i],
        ];
        for (step, lanes) in lanes.iter().enumerate() {
            let lanes = load(lanes);
            for (block, row) in block.iter_mut().zip(at) {
                *block = _mm512_fmadd_ps(lanes, _mm512_set1_ps(row[step]), *block);
            }
        }
    }
    for (sums, block) in sums.iter_mut().zip(block) {
        let sum = if is_first { block } else { _mm512_add_ps(load(sums), block) };
        store(sums, sum);
    }
}

#[target_feature(enable = "avx512f")]
fn survivors_of(
    sums: &Sums,
    weights: &Lanes,
    limits: &Lanes,
    offsets: &[f32; TILE_ROWS],
) -> [u16; TILE_ROWS] {
    let (weights, limits) = (load(weights), load(limits));
    let mut found = [0; TILE_ROWS];
    for ((found, sums), &offset) in found.iter_mut().zip(sums).zip(offsets) {
        let low = _mm512_fmadd_ps(weights, _mm512_set1_ps(offset), load(sums));
        *found = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(low, limits);
    }
    found
}
