//! Vectors at the door: finite, and of unit length or binary where the metric wants
//! it.

use thiserror::Error;

/// Why a vector cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VectorFault {
    /// A component is infinite or not a number.
    #[error("component {index} is not a finite number")]
    NonFinite {
        /// The first such component.
        index: usize,
    },
    /// Every component is zero (or there is none): it has no direction.
    #[error("a vector of zeros has no direction")]
    Zero,
    /// A component is neither 0 nor 1.
    #[error("component {index} is neither 0 nor 1")]
    NotBinary {
        /// The first such component.
        index: usize,
    },
}

/// Checks that every component is a finite number. An empty vector passes.
///
/// # Errors
/// [`VectorFault::NonFinite`] with the first component that is not.
pub fn check_finite(vector: &[f32]) -> Result<(), VectorFault> {
    match vector.iter().position(|component| !component.is_finite()) {
        Some(index) => Err(VectorFault::NonFinite { index }),
        None => Ok(()),
    }
}

/// Checks that every component is 0 (of either sign) or 1. An empty vector passes.
///
/// # Errors
/// [`VectorFault::NotBinary`] with the first component that is something else.
#[expect(clippy::float_cmp, reason = "these two numbers and no others")]
pub fn check_binary(vector: &[f32]) -> Result<(), VectorFault> {
    match vector.iter().position(|&component| component != 0.0 && component != 1.0) {
        Some(index) => Err(VectorFault::NotBinary { index }),
        None => Ok(()),
    }
}

/// Scales `vector` to length 1 and returns the length it had. Trailing zeros (padding) stay zero.
///
/// The length is summed in f64 from the first component to the last, so neither huge nor subnormal
/// components overflow or vanish, and every machine gives the same bits. A length above `f32::MAX`
/// is returned as `f32::MAX`; the vector is right all the same.
///
/// # Errors
/// [`VectorFault`], with the vector unchanged.
pub fn normalise(vector: &mut [f32]) -> Result<f32, VectorFault> {
    check_finite(vector)?;
    let mut sum = 0.0;
    for &component in &*vector {
        sum += f64::from(component) * f64::from(component);
    }
    if sum == 0.0 {
        return Err(VectorFault::Zero);
    }
    let norm = sum.sqrt();
    for component in vector {
        *component = narrow(f64::from(*component) / norm);
    }
    Ok(narrow(norm.min(f64::from(f32::MAX))))
}

/// The f32 nearest to `value`, which lies within f32's range.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(vector: &[f32], expect: &[f32], norm: f32) {
        let mut found = vector.to_vec();
        assert_eq!(normalise(&mut found), Ok(norm));
        assert_eq!(found, expect, "from {vector:?}");
    }

    #[test]
    fn length_becomes_one() {
        check(&[3.0, 4.0, 0.0], &[0.6, 0.8, 0.0], 5.0);
        check(&[-2.0], &[-1.0], 2.0);
    }

    #[test]
    fn huge_and_subnormal_vectors_keep_their_direction() {
        let tiny = f32::from_bits(1);
        check(&[tiny, 0.0], &[1.0, 0.0], tiny);
        check(&[3.0e38, 4.0e37, 0.0], &[0.991_227_9, 0.132_163_72, 0.0], 3.026_549_3e38);
        check(&[f32::MAX; 4], &[0.5; 4], f32::MAX);
        let mut mixed = [f32::MIN_POSITIVE, -f32::MAX, tiny];
        assert_eq!(normalise(&mut mixed), Ok(f32::MAX));
        assert_eq!(mixed.map(f32::to_bits), [0.0f32, -1.0, 0.0].map(f32::to_bits));
    }

    #[test]
    fn faults_leave_the_vector_alone() {
        let mut vector = [1.0, f32::NAN, f32::INFINITY];
        assert_eq!(normalise(&mut vector), Err(VectorFault::NonFinite { index: 1 }));
        assert_eq!((vector[0], vector[2]), (1.0, f32::INFINITY));
        assert_eq!(normalise(&mut [0.0, -0.0]), Err(VectorFault::Zero));
        assert_eq!(normalise(&mut []), Err(VectorFault::Zero));
    }

    #[test]
    fn the_first_component_that_is_not_finite_is_named() {
        assert_eq!(check_finite(&[]), Ok(()));
        assert_eq!(check_finite(&[0.0, -0.0, f32::MAX, f32::MIN_POSITIVE / 2.0]), Ok(()));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let fault = VectorFault::NonFinite { index: 2 };
            assert_eq!(check_finite(&[0.0, 1.0, bad, bad]), Err(fault));
        }
    }

    #[test]
    fn the_first_component_that_is_neither_zero_nor_one_is_named() {
        assert_eq!(check_binary(&[]), Ok(()));
        assert_eq!(check_binary(&[0.0, 1.0, -0.0, 1.0]), Ok(()));
        let tiny = f32::from_bits(1);
        for bad in [f32::NAN, f32::INFINITY, -1.0, 2.0, tiny, 1.0f32.next_down()] {
            let fault = VectorFault::NotBinary { index: 2 };
            assert_eq!(check_binary(&[0.0, 1.0, bad, bad]), Err(fault));
        }
    }
}
