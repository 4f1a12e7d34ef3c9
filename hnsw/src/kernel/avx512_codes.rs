//! Sums over codes on 512-bit vectors: thirty-two codes are widened to the sixteen bits of the
//! query, multiplied, and added in pairs to 32 bits; of nibbles sixty-four as bytes, in fours. One
//! instruction multiplies and adds, and no sum within it is cut off. Compiled and reviewed, but run
//! on no CPU so far: the tests run it where there is one.
//!
//! Unsafe in two places: loading blocks of an array, and calling after detection.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_add_epi32, _mm_loadu_si128, _mm256_add_epi32, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_set1_epi8, _mm256_srli_epi16, _mm512_castsi256_si512, _mm512_castsi512_si256,
    _mm512_cvtepi8_epi16, _mm512_dpbusd_epi32, _mm512_dpwssd_epi32, _mm512_extracti64x4_epi64,
    _mm512_inserti64x4, _mm512_loadu_si512, _mm512_setzero_si512, _mm512_zextsi256_si512,
};

use super::NIBBLES_BLOCK;
use super::avx2_codes::add_up;
use super::avx512::Avx512;
use super::scalar_codes::NIBBLES;

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
    // SAFETY: the CPU must have AVX-512F, BW and VNNI, and AVX2. The proof says so, and only a
    // detection makes one. A CPU without would stop at an illegal instruction.
    unsafe { dot4_blocks(a, b) }
}

/// What the truth's `dot_nibbles` gives.
#[inline]
pub(super) fn dot_nibbles(proof: Avx512, a: &[i8], b: &[i8]) -> i32 {
    dot_nibbles4(proof, a, [b; 4])[0]
}

/// Four sums with one `a`; each is what `dot_nibbles` gives.
#[inline]
pub(super) fn dot_nibbles4(_proof: Avx512, a: &[i8], b: [&[i8]; 4]) -> [i32; 4] {
    // SAFETY: as in `dot4`.
    unsafe { dot_nibble_blocks4(a, b) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
fn add(sums: __m512i, a: &[i16; BLOCK], b: &[i8; BLOCK]) -> __m512i {
    // SAFETY: the load reads 64 bytes from its pointer. The array type provides exactly those, and
    // an unaligned load asks for no alignment. A shorter array would stop compiling.
    let a = unsafe { _mm512_loadu_si512(a.as_ptr().cast()) };
    // SAFETY: as above, with 32 bytes.
    let b = unsafe { _mm256_loadu_si256(b.as_ptr().cast()) };
    _mm512_dpwssd_epi32(sums, a, _mm512_cvtepi8_epi16(b))
}

/// The half block at the end of a row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
fn add_half(sums: __m512i, a: &[i16; BLOCK / 2], b: &[i8; BLOCK / 2]) -> __m512i {
    // SAFETY: as in `add`, with 32 bytes.
    let a = unsafe { _mm256_loadu_si256(a.as_ptr().cast()) };
    // SAFETY: as in `add`, with 16 bytes.
    let b = unsafe { _mm_loadu_si128(b.as_ptr().cast()) };
    let b = _mm512_zextsi256_si512(_mm256_cvtepi8_epi16(b));
    _mm512_dpwssd_epi32(sums, _mm512_zextsi256_si512(a), b)
}

/// Sixteen lanes to four.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
fn fold(sums: __m512i) -> __m128i {
    let eight =
        _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
    _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
fn dot4_blocks(a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
    let (blocks, rest) = a.as_chunks::<BLOCK>();
    let count = blocks.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<BLOCK>().0[..count], &b[1].as_chunks::<BLOCK>().0[..count]);
    let (b2, b3) = (&b[2].as_chunks::<BLOCK>().0[..count], &b[3].as_chunks::<BLOCK>().0[..count]);
    let mut sums = [_mm512_setzero_si512(); 4];
    for i in 0..count {
        let a = &blocks[i];
        sums[0] = add(sums[0], a, &b0[i]);
        sums[1] = add(sums[1], a, &b1[i]);
        sums[2] = add(sums[2], a, &b2[i]);
        sums[3] = add(sums[3], a, &b3[i]);
    }
    if let Some(a) = rest.first_chunk() {
        for (sums, b) in sums.iter_mut().zip(b) {
            let half = b[count * BLOCK..].first_chunk().expect("as long as the query");
            *sums = add_half(*sums, a, half);
        }
    }
    add_up([fold(sums[0]), fold(sums[1]), fold(sums[2]), fold(sums[3])])
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
fn add_nibbles(sums: __m512i, a: __m512i, b: &[i8; NIBBLES]) -> __m512i {
    // SAFETY: as in `add`, with 32 bytes.
    let b = unsafe { _mm256_loadu_si256(b.as_ptr().cast()) };
    let lowest = _mm256_set1_epi8(15);
    let low = _mm256_and_si256(b, lowest);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(b), lowest);
    let numbers = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
    // Bytes without a sign come first.
    _mm512_dpbusd_epi32(sums, numbers, a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
fn dot_nibble_blocks4(a: &[i8], b: [&[i8]; 4]) -> [i32; 4] {
    let a = a.as_chunks::<NIBBLES_BLOCK>().0;
    let count = a.len();
    let (b0, b1) =
        (&b[0].as_chunks::<NIBBLES>().0[..count], &b[1].as_chunks::<NIBBLES>().0[..count]);
    let (b2, b3) =
        (&b[2].as_chunks::<NIBBLES>().0[..count], &b[3].as_chunks::<NIBBLES>().0[..count]);
    let mut sums = [_mm512_setzero_si512(); 4];
    for i in 0..count {
        // SAFETY: as in `add`: the array type provides 64 bytes.
        let a = unsafe { _mm512_loadu_si512(a[i].as_ptr().cast()) };
        sums[0] = add_nibbles(sums[0], a, &b0[i]);
        sums[1] = add_nibbles(sums[1], a, &b1[i]);
        sums[2] = add_nibbles(sums[2], a, &b2[i]);
        sums[3] = add_nibbles(sums[3], a, &b3[i]);
    }
    add_up([fold(sums[0]), fold(sums[1]), fold(sums[2]), fold(sums[3])])
}
