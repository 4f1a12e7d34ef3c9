//! Sums over codes on 256-bit vectors: sixteen codes are widened to the sixteen bits of the query,
//! multiplied, and added in pairs to 32 bits. Nibbles are multiplied as bytes, and added in pairs
//! to sixteen bits, of which two sums of two products have room for much more: at most 7,620.
//!
//! Unsafe in two places: loading blocks of an array, and calling after detection.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_shuffle_epi32,
    _mm_storeu_si128, _mm_unpackhi_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi32,
    _mm_unpacklo_epi64, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_setzero_si256, _mm256_srli_epi16,
};

use super::NIBBLES_BLOCK;
use super::avx2::Avx2;
use super::scalar_codes::NIBBLES;

/// Codes in a block.
const BLOCK: usize = 16;

/// What the truth's `dot_codes` gives.
#[inline]
pub(super) fn dot(_proof: Avx2, a: &[i16], b: &[i8]) -> i32 {
    // SAFETY: the CPU must have AVX2. The proof says so, and only a detection makes one. A CPU
    // without would stop at an illegal instruction.
    unsafe { dot_blocks(a, b) }
}

/// Four sums with one `a`; each is what `dot` gives.
#[inline]
pub(super) fn dot4(_proof: Avx2, a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
    // SAFETY: as in `dot`.
    unsafe { dot4_blocks(a, b) }
}

/// What the truth's `dot_nibbles` gives.
#[inline]
pub(super) fn dot_nibbles(_proof: Avx2, a: &[i8], b: &[i8]) -> i32 {
    // SAFETY: as in `dot`.
    unsafe { dot_nibble_blocks(a, b) }
}

/// Four sums with one `a`; each is what `dot_nibbles` gives.
#[inline]
pub(super) fn dot_nibbles4(_proof: Avx2, a: &[i8], b: [&[i8]; 4]) -> [i32; 4] {
    // SAFETY: as in `dot`.
    unsafe { dot_nibble_blocks4(a, b) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_words(block: &[i16; BLOCK]) -> __m256i {
    // SAFETY: the load reads 32 bytes from its pointer. The array type provides exactly those, and
    // an unaligned load asks for no alignment. A shorter array would stop compiling.
    unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_codes(block: &[i8; BLOCK]) -> __m256i {
    // SAFETY: as in `load_words`, with 16 bytes.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(block.as_ptr().cast()) })
}

/// Eight lanes to four.
#[inline]
#[target_feature(enable = "avx2")]
fn fold(sums: __m256i) -> __m128i {
    _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_blocks(a: &[i16], b: &[i8]) -> i32 {
    let (a, b) = (a.as_chunks::<BLOCK>().0, b.as_chunks::<BLOCK>().0);
    let mut sums = [_mm256_setzero_si256(); 2];
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        let product = _mm256_madd_epi16(load_words(a), load_codes(b));
        sums[index % 2] = _mm256_add_epi32(sums[index % 2], product);
    }
    add_up_one(fold(_mm256_add_epi32(sums[0], sums[1])))
}

/// The sum of the lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn add_up_one(four: __m128i) -> i32 {
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot4_blocks(a: &[i16], b: [&[i8]; 4]) -> [i32; 4] {
    let a = a.as_chunks::<BLOCK>().0;
    let blocks = a.len();
    // Cut to one length, so that the loop needs no bounds checks.
    let (b0, b1) = (&b[0].as_chunks::<BLOCK>().0[..blocks], &b[1].as_chunks::<BLOCK>().0[..blocks]);
    let (b2, b3) = (&b[2].as_chunks::<BLOCK>().0[..blocks], &b[3].as_chunks::<BLOCK>().0[..blocks]);
    let mut sums = [_mm256_setzero_si256(); 4];
    for i in 0..blocks {
        let a = load_words(&a[i]);
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(a, load_codes(&b0[i])));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(a, load_codes(&b1[i])));
        sums[2] = _mm256_add_epi32(sums[2], _mm256_madd_epi16(a, load_codes(&b2[i])));
        sums[3] = _mm256_add_epi32(sums[3], _mm256_madd_epi16(a, load_codes(&b3[i])));
    }
    add_up([fold(sums[0]), fold(sums[1]), fold(sums[2]), fold(sums[3])])
}

/// The sum of the lanes of each of four: transposed, lane `j` of all four is one register.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add_up(sums: [__m128i; 4]) -> [i32; 4] {
    let low01 = _mm_unpacklo_epi32(sums[0], sums[1]);
    let low23 = _mm_unpacklo_epi32(sums[2], sums[3]);
    let high01 = _mm_unpackhi_epi32(sums[0], sums[1]);
    let high23 = _mm_unpackhi_epi32(sums[2], sums[3]);
    let lanes01 = _mm_add_epi32(_mm_unpacklo_epi64(low01, low23), _mm_unpackhi_epi64(low01, low23));
    let lanes23 =
        _mm_add_epi32(_mm_unpacklo_epi64(high01, high23), _mm_unpackhi_epi64(high01, high23));
    let total = _mm_add_epi32(lanes01, lanes23);
    let mut out = [0; 4];
    // SAFETY: the store writes 16 bytes to its pointer. The array type provides exactly those, and
    // an unaligned store asks for no alignment. A shorter array would stop compiling.
    unsafe { _mm_storeu_si128((&raw mut out).cast(), total) };
    out
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_bytes(block: &[i8; NIBBLES]) -> __m256i {
    // SAFETY: as in `load_words`, with 32 bytes.
    unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
}

/// Sixteen sums of four products each, added in pairs to eight lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_nibbles(a: [__m256i; 2], b: &[i8; NIBBLES]) -> __m256i {
    let (b, lowest) = (load_bytes(b), _mm256_set1_epi8(15));
    let low = _mm256_and_si256(b, lowest);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(b), lowest);
    let low = _mm256_maddubs_epi16(low, a[0]);
    let sums = _mm256_add_epi16(low, _mm256_maddubs_epi16(high, a[1]));
    _mm256_madd_epi16(sums, _mm256_set1_epi16(1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_numbers(block: &[i8; NIBBLES_BLOCK]) -> [__m256i; 2] {
    let (halves, _) = block.as_chunks();
    [load_bytes(&halves[0]), load_bytes(&halves[1])]
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_nibble_blocks(a: &[i8], b: &[i8]) -> i32 {
    let (a, b) = (a.as_chunks::<NIBBLES_BLOCK>().0, b.as_chunks::<NIBBLES>().0);
    let mut sums = _mm256_setzero_si256();
    for (a, b) in a.iter().zip(b) {
        sums = _mm256_add_epi32(sums, multiply_nibbles(load_numbers(a), b));
    }
    add_up_one(fold(sums))
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_nibble_blocks4(a: &[i8], b: [&[i8]; 4]) -> [i32; 4] {
    let a = a.as_chunks::<NIBBLES_BLOCK>().0;
    let count = a.len();
    let (b0, b1) =
        (&b[0].as_chunks::<NIBBLES>().0[..count], &b[1].as_chunks::<NIBBLES>().0[..count]);
    let (b2, b3) =
        (&b[2].as_chunks::<NIBBLES>().0[..count], &b[3].as_chunks::<NIBBLES>().0[..count]);
    let mut sums = [_mm256_setzero_si256(); 4];
    for i in 0..count {
        let a = load_numbers(&a[i]);
        sums[0] = _mm256_add_epi32(sums[0], multiply_nibbles(a, &b0[i]));
        sums[1] = _mm256_add_epi32(sums[1], multiply_nibbles(a, &b1[i]));
        sums[2] = _mm256_add_epi32(sums[2], multiply_nibbles(a, &b2[i]));
        sums[3] = _mm256_add_epi32(sums[3], multiply_nibbles(a, &b3[i]));
    }
    add_up([fold(sums[0]), fold(sums[1]), fold(sums[2]), fold(sums[3])])
}
