//! The one order of search results: by distance, then by row, in a single integer.
//!
//! Also `Neighbor`, the same pair as callers see it.

use crate::params::ROWS_MAX;

/// A row and how far it is from the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// In the units of the metric; smaller is nearer. Never NaN.
    pub distance: f32,
    /// Row number.
    pub row: u32,
}

impl Neighbor {
    pub(crate) fn key(self) -> Key {
        Key::new(self.distance, self.row)
    }
}

/// A neighbour as an integer that sorts by (distance, row): 32 bits of distance, 31 of row number,
/// and one flag at the bottom which says that the row's links have been followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    /// Both zeros are one distance. NaN, which checked input cannot give except through overflow
    /// (infinity minus infinity), counts as infinitely far: the order stays total.
    #[inline]
    pub(crate) fn new(distance: f32, row: u32) -> Self {
        debug_assert!(row < ROWS_MAX, "row {row}");
        let distance = if distance.is_nan() { f32::INFINITY } else { distance + 0.0 };
        let bits = distance.to_bits();
        // Floats sort as their bits once the sign is upside down and negatives are inverted.
        let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
        Self(u64::from(ordered) << 32 | u64::from(row) << 1)
    }

    #[inline]
    pub(crate) fn row(self) -> u32 {
        let low = self.0 & u64::from(u32::MAX);
        u32::try_from(low >> 1).expect("31 bits")
    }

    #[inline]
    pub(crate) fn distance(self) -> f32 {
        let ordered = u32::try_from(self.0 >> 32).expect("32 bits");
        f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
    }

    #[inline]
    pub(crate) fn is_followed(self) -> bool {
        self.0 & 1 == 1
    }

    #[inline]
    pub(crate) fn followed(self) -> Self {
        Self(self.0 | 1)
    }

    pub(crate) fn neighbor(self) -> Neighbor {
        Neighbor { distance: self.distance(), row: self.row() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_distance_then_row() {
        let tiny = f32::from_bits(1);
        let distances = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -f32::MIN_POSITIVE,
            -tiny,
            0.0,
            tiny,
            f32::MIN_POSITIVE,
            1.0,
            1.0 + f32::EPSILON,
            f32::MAX,
            f32::INFINITY,
        ];
        let rows = [0, 1, 77, ROWS_MAX - 1];
        let keys: Vec<Key> =
            distances.iter().flat_map(|&d| rows.map(|row| Key::new(d, row))).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
        let pairs = distances.iter().flat_map(|&d| rows.map(|row| (d, row)));
        for (key, (distance, row)) in keys.iter().zip(pairs) {
            assert_eq!((key.distance().to_bits(), key.row()), (distance.to_bits(), row));
        }
    }

    #[test]
    fn both_zeros_are_one_distance() {
        assert_eq!(Key::new(-0.0, 7), Key::new(0.0, 7));
        assert!(Key::new(0.0, 6) < Key::new(-0.0, 7));
    }

    #[test]
    fn not_a_number_is_infinitely_far() {
        for nan in [f32::NAN, -f32::NAN] {
            assert_eq!(Key::new(nan, 3), Key::new(f32::INFINITY, 3));
        }
    }

    #[test]
    fn the_flag_does_not_touch_the_pair() {
        let key = Key::new(-2.5, ROWS_MAX - 1);
        assert!(!key.is_followed() && key.followed().is_followed());
        assert_eq!(key.followed().neighbor(), key.neighbor());
    }
}
