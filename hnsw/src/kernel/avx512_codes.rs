//! Sums over codes on 512-bit vectors: thirty-two codes are widened to the sixteen bits of the
//! query, multiplied, and added in pairs to 32 bits.
//!
//! Unsafe in two places: loading blocks of an array, and calling after detection.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_add_epi32, _mm_loadu_si128, _mm256_add_epi32, _mm256_castsi256_si128,
    _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm512_add_epi32, _mm512_castsi512_si256, _mm512_cvtepi8_epi16, _mm512_extracti64x4_epi64,
    _mm512_loadu_si512, _mm512_madd_epi16, _mm512_setzero_si512, _mm512_zextsi256_si512,
};

use super::avx2_codes::add_up;
use super::avx512::Avx512;

/// Codes in a block; rows are padded to half of one.
const BLOCK: usize = 32;

/// What the truth's `dot_codes` gives.
#[inline]
pub(super) fn dot(proof: Avx512, a: &[i16], b: &[i8]) -> i32 {
    dot4(proof, a, [b; 4])[0]
}

/// Four sums with one `a`; each is what `dot` gives.
#[inline]
pub(super) fn dot4(_proof: Avx512, a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
    // SAFETY: the CPU must have AVX-512F and BW, and AVX2. The proof says so, and only a detection
    // makes one. A CPU without would stop at an illegal instruction.
    unsafe { dot4_blocks(a, b) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2")]
fn multiply(a: &[i16; BLOCK], b: &[i8; BLOCK]) -> __m512i {
    // SAFETY: the load reads 64 bytes from its pointer. The array type provides exactly those, and
    // an unaligned load asks for no alignment. A shorter array would stop compiling.
    let a = unsafe { _mm512_loadu_si512(a.as_ptr().cast()) };
    // SAFETY: as above, with 32 bytes.
    let b = unsafe { _mm256_loadu_si256(b.as_ptr().cast()) };
    _mm512_madd_epi16(a, _mm512_cvtepi8_epi16(b))
}

/// The half block at the end of a row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2")]
fn multiply_half(a: &[i16; BLOCK / 2], b: &[i8; BLOCK / 2]) -> __m512i {
    // SAFETY: as in `multiply`, with 32 bytes.
    let a = unsafe { _mm256_loadu_si256(a.as_ptr().cast()) };
    // SAFETY: as in `multiply`, with 16 bytes.
    let b = unsafe { _mm_loadu_si128(b.as_ptr().cast()) };
    _mm512_zextsi256_si512(_mm256_madd_epi16(a, _mm256_cvtepi8_epi16(b)))
}

/// Sixteen lanes to four.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2")]
fn fold(sums: __m512i) -> __m128i {
    let eight =
        _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
    _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2")]
fn dot4_blocks(a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
    let (blocks, rest) = a.as_chunks::<BLOCK>();
    let count = blocks.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<BLOCK>().0[..count], &b[1].as_chunks::<BLOCK>().0[..count]);
    let (b2, b3) = (&b[2].as_chunks::<BLOCK>().0[..count], &b[3].as_chunks::<BLOCK>().0[..count]);
    let mut sums = [_mm512_setzero_si512(); 4];
    for i in 0..count {
        let a = &blocks[i];
        sums[0] = _mm512_add_epi32(sums[0], multiply(a, &b0[i]));
        sums[1] = _mm512_add_epi32(sums[1], multiply(a, &b1[i]));
        sums[2] = _mm512_add_epi32(sums[2], multiply(a, &b2[i]));
        sums[3] = _mm512_add_epi32(sums[3], multiply(a, &b3[i]));
    }
    if let Some(a) = rest.first_chunk() {
        for (sums, b) in sums.iter_mut().zip(b) {
            let half = b[count * BLOCK..].first_chunk().expect("as long as the query");
            *sums = _mm512_add_epi32(*sums, multiply_half(a, half));
        }
    }
    add_up([fold(sums[0]), fold(sums[1]), fold(sums[2]), fold(sums[3])])
}
