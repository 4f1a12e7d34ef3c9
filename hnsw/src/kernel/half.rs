//! Numbers of sixteen bits (IEEE 754 binary16) to and from f32, the same on every CPU.

/// Where the exponent of an f32 begins.
const EXPONENT_AT: u32 = 23;
/// Bits of a fraction that a half has no room for.
const LOST: u32 = 13;

/// The f32 equal to a half, which is finite.
#[inline(always)]
pub(crate) fn widen(half: u16) -> f32 {
    // The exponents of halves begin 112 lower: a multiplication moves them, those of subnormals
    // too, and rounds nothing.
    const MOVE: f32 = f32::from_bits((127 + 112) << EXPONENT_AT);
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << LOST) * MOVE;
    f32::from_bits(magnitude.to_bits() | u32::from(half & 0x8000) << 16)
}

/// The half nearest to a number of a magnitude below 65,504, of two the even one.
#[inline(always)]
pub(crate) fn narrow(number: f32) -> u16 {
    /// The smallest normal half.
    const NORMAL: u32 = (127 - 14) << EXPONENT_AT;
    /// A sum with this number has room for no more of a fraction than a subnormal half.
    const ROUND: f32 = 0.5;
    let bits = number.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let subnormal = (f32::from_bits(magnitude) + ROUND).to_bits().wrapping_sub(ROUND.to_bits());
    // Half of what is lost, less one for even numbers.
    let nearest = magnitude.wrapping_add(0xfff + (magnitude >> LOST & 1));
    let normal = nearest.wrapping_sub(112 << EXPONENT_AT) >> LOST;
    let half = if magnitude < NORMAL { subnormal } else { normal };
    #[expect(clippy::cast_possible_truncation, reason = "15 bits, and the sign")]
    let half = (half | bits >> 16 & 0x8000) as u16;
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finite halves, from the lowest magnitude up.
    const FINITE: std::ops::Range<u16> = 0..0x7c00;

    fn value(half: u16) -> f64 {
        let (exponent, fraction) = (i32::from(half >> 10), f64::from(half & 0x3ff));
        match exponent {
            0 => fraction * 2f64.powi(-24),
            _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
        }
    }

    #[test]
    fn every_half_is_the_number_it_stands_for_and_comes_back() {
        for half in FINITE {
            for (half, sign) in [(half, 1.0), (half | 0x8000, -1.0)] {
                let wide = widen(half);
                assert_eq!(f64::from(wide).to_bits(), (sign * value(half & 0x7fff)).to_bits());
                assert_eq!(narrow(wide), half, "{wide}");
            }
        }
    }

    #[test]
    fn numbers_go_to_the_nearest_half_and_between_two_to_the_even_one() {
        for low in 0..0x7bff_u16 {
            let (a, b) = (widen(low), widen(low + 1));
            // Exact: twelve bits.
            let middle = a.midpoint(b);
            let even = low + (low & 1);
            for sign in [1.0, -1.0] {
                let bit = if sign < 0.0 { 0x8000 } else { 0 };
                assert_eq!(narrow(sign * middle), even | bit, "{middle}");
                assert_eq!(narrow(sign * middle.next_down()), low | bit, "{middle}");
                assert_eq!(narrow(sign * middle.next_up()), (low + 1) | bit, "{middle}");
            }
        }
        for tiny in [f32::from_bits(1), f32::MIN_POSITIVE, 2f32.powi(-26)] {
            assert_eq!([narrow(tiny), narrow(-tiny)], [0, 0x8000]);
        }
    }
}
