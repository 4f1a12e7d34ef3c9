//! What a vector has in common with the vector of ones, taken off it and kept as one number.
//!
//! Where components are never below zero, as of images, much of a vector's length lies along that
//! direction, which tells rows apart little. Coarse codes have no bits to spare for it: so they
//! stand for the rest of a vector, and the product of this part with that of a query is exact.

use super::rotation::largest;

/// Lanes of a sum: wide enough to be added fast, in one order by every instruction set.
const LANES: usize = 8;
/// Above, nothing is taken off: a difference might be infinite.
const MOST: f32 = 8.507_059e37;

/// Takes the mean off each component; returns the product of the vector with the vector of ones
/// brought to unit length.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "at most 2^16 components")]
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
pub(super) fn take_mean(vector: &mut [f32]) -> f32 {
    if largest(vector) >= MOST {
        return 0.0;
    }
    let mut sums = [0.0; LANES];
    for block in vector.chunks(LANES) {
        for (sum, component) in sums.iter_mut().zip(block) {
            *sum += f64::from(*component);
        }
    }
    let len = vector.len() as f64;
    let mean = (sums.iter().sum::<f64>() / len) as f32;
    for component in vector {
        *component -= mean;
    }
    (f64::from(mean) * len.sqrt()) as f32
}
