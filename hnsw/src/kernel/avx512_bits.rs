//! Counts of bits on 512-bit vectors, eight words at a time, the last of them fewer. Compiled and
//! reviewed, but run on no CPU so far: the tests run it where there is one.
//!
//! Unsafe in two places: loading words of a slice, and calling after detection.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_maskz_loadu_epi64, _mm512_popcnt_epi64,
    _mm512_reduce_add_epi64, _mm512_setzero_si512, _mm512_slli_epi64, _mm512_sub_epi64,
    _mm512_xor_si512,
};

use super::PLANES;
use super::avx512::Avx512;

/// Words in a vector.
const WORDS: usize = 8;

/// What the truth's `dot_bits` gives.
#[inline]
pub(super) fn dot(_proof: Avx512, planes: &[u64], b: &[i8]) -> i32 {
    // SAFETY: the CPU must have AVX-512F and VPOPCNTDQ. The proof says so, and only a detection
    // makes one. A CPU without would stop at an illegal instruction.
    unsafe { dot_words(planes, b) }
}

/// What the truth's `count_differing` gives.
#[inline]
pub(super) fn count_differing(_proof: Avx512, a: &[u64], b: &[i8]) -> u32 {
    // SAFETY: as in `dot`.
    unsafe { count_words(a, b) }
}

/// Masks of the first words of a vector, by their number.
const FIRST: [u8; WORDS + 1] = [0, 0x1, 0x3, 0x7, 0xf, 0x1f, 0x3f, 0x7f, 0xff];

/// At most eight words; zeros after the last.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn load(words: &[u64]) -> __m512i {
    let mask = FIRST[words.len()];
    // SAFETY: the load reads, from its pointer on, the words whose bit of the mask is set: as many
    // as the slice has. An unaligned load asks for no alignment. A longer slice panics above, a
    // wrong mask would read beyond a shorter one.
    unsafe { _mm512_maskz_loadu_epi64(mask, words.as_ptr().cast()) }
}

/// As `load`, of eight bytes a word.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn load_bytes(words: &[[i8; 8]]) -> __m512i {
    let mask = FIRST[words.len()];
    // SAFETY: as in `load`.
    unsafe { _mm512_maskz_loadu_epi64(mask, words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
#[expect(clippy::cast_possible_truncation, reason = "at most eight for each of 2^16 components")]
fn dot_words(planes: &[u64], b: &[i8]) -> i32 {
    let len = planes.len() / PLANES;
    let b = &b.as_chunks::<8>().0[..len];
    let mut sums = _mm512_setzero_si512();
    for (index, b) in b.chunks(WORDS).enumerate() {
        let from = index * WORDS;
        let bits = load_bytes(b);
        let ones = |plane: usize| {
            let words = &planes[plane * len + from..][..b.len()];
            _mm512_popcnt_epi64(_mm512_and_si512(load(words), bits))
        };
        sums = _mm512_add_epi64(sums, ones(0));
        sums = _mm512_add_epi64(sums, _mm512_slli_epi64::<1>(ones(1)));
        sums = _mm512_add_epi64(sums, _mm512_slli_epi64::<2>(ones(2)));
        sums = _mm512_sub_epi64(sums, _mm512_slli_epi64::<3>(ones(3)));
    }
    _mm512_reduce_add_epi64(sums) as i32
}

#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most 64 for each word of at most 2^16 components"
)]
fn count_words(a: &[u64], b: &[i8]) -> u32 {
    let mut sums = _mm512_setzero_si512();
    for (a, b) in a.chunks(WORDS).zip(b.as_chunks::<8>().0.chunks(WORDS)) {
        let differing = _mm512_xor_si512(load(a), load_bytes(&b[..a.len()]));
        sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(differing));
    }
    _mm512_reduce_add_epi64(sums) as u32
}
