//! The truth of sums over codes, in plain Rust.
//!
//! Sums over halves are floats, added as those of `scalar`; all others are integers. Everything is
//! `#[inline(always)]`: where an instruction set counts bits, so does this.

use super::half::widen;
use super::scalar::fold;
use super::{LANES, NIBBLES_BLOCK, PLANES};

/// Bytes of a block of halves.
pub(super) const HALVES: usize = 2 * LANES;
/// Bytes of a block of nibbles.
pub(super) const NIBBLES: usize = NIBBLES_BLOCK / 2;

/// The sum over `(a - b * scale)^2` if `L2`, else over `a * b`.
#[inline(always)]
pub(super) fn sum_halves<const L2: bool>(a: &[f32], b: &[i8], scale: f32) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<HALVES>().0) {
        let (halves, _) = b.as_chunks::<2>();
        for lane in 0..LANES {
            let b = widen(u16::from_le_bytes(halves[lane].map(i8::cast_unsigned)));
            sums[lane] += if L2 {
                let difference = a[lane] - b * scale;
                difference * difference
            } else {
                a[lane] * b
            };
        }
    }
    fold(sums)
}

/// The sum over `a * b`.
#[inline(always)]
pub(super) fn dot_codes(a: &[i16], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}

/// The sum over `a * b`, where `b` are nibbles.
#[inline(always)]
pub(super) fn dot_nibbles(a: &[i8], b: &[i8]) -> i32 {
    let mut sum = 0;
    for (a, b) in a.as_chunks::<NIBBLES_BLOCK>().0.iter().zip(b.as_chunks::<NIBBLES>().0) {
        let (low, high) = a.split_at(NIBBLES);
        for ((&low, &high), &b) in low.iter().zip(high).zip(b) {
            let b = b.cast_unsigned();
            sum += i32::from(low) * i32::from(b & 15) + i32::from(high) * i32::from(b >> 4);
        }
    }
    sum
}

/// The sum over the numbers of `planes` whose bit of `b` is set.
#[inline(always)]
pub(super) fn dot_bits(planes: &[u64], b: &[i8]) -> i32 {
    let mut counts = [0; PLANES];
    let len = planes.len() / PLANES;
    let (low, high) = planes.split_at(2 * len);
    let (planes0, planes1) = low.split_at(len);
    let (planes2, planes3) = high.split_at(len);
    let planes = planes0.iter().zip(planes1).zip(planes2).zip(planes3);
    for ((((&p0, &p1), &p2), &p3), b) in planes.zip(b.as_chunks::<8>().0) {
        let b = word(*b);
        for (count, plane) in counts.iter_mut().zip([p0, p1, p2, p3]) {
            *count += (plane & b).count_ones();
        }
    }
    let [ones, twos, fours, eights] = counts.map(u32::cast_signed);
    ones + 2 * twos + 4 * fours - 8 * eights
}

/// How many bits of `a` and `b` differ.
#[inline(always)]
pub(super) fn count_differing(a: &[u64], b: &[i8]) -> u32 {
    let words = a.iter().zip(b.as_chunks::<8>().0);
    words.map(|(a, b)| (a ^ word(*b)).count_ones()).sum()
}

#[inline(always)]
fn word(bytes: [i8; 8]) -> u64 {
    u64::from_le_bytes(bytes.map(i8::cast_unsigned))
}
