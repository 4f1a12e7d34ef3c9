//! What "near" means: the metrics, their stable codes and names.
//!
//! Sums are the business of `kernel`; preparing vectors (unit length) is that of `vector`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How two vectors are compared. Every metric is a distance: smaller is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Squared Euclidean distance, from 0.
    L2,
    /// One minus the dot product of two unit vectors, from 0 (same direction) to 2 (opposite). Rows
    /// and queries are brought to unit length (see [`crate::normalise`]) before they come here.
    Cosine,
    /// The negated dot product: any finite value; the larger the product, the nearer.
    Dot,
    /// The number of components that differ, of vectors whose components are 0 or 1 (see
    /// [`crate::check_binary`]): from 0 to the dimensions.
    Hamming,
}

/// A name that is none of `l2`, `cosine`, `dot`, `hamming`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown metric {name:?}: expected l2, cosine, dot or hamming")]
pub struct MetricUnknown {
    /// The name as given.
    pub name: String,
}

impl Metric {
    /// Every metric, in the order of its code.
    pub const ALL: [Self; 4] = [Self::L2, Self::Cosine, Self::Dot, Self::Hamming];

    /// The number that stands for this metric in files. Stable for ever.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::L2 => 1,
            Self::Cosine => 2,
            Self::Dot => 3,
            Self::Hamming => 4,
        }
    }

    /// The metric of a code, or `None` for a number that stands for none.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::L2),
            2 => Some(Self::Cosine),
            3 => Some(Self::Dot),
            4 => Some(Self::Hamming),
            _ => None,
        }
    }

    /// The distance, where the sum over the squares of differences (L2, Hamming) or over products
    /// is `sum`.
    #[inline(always)]
    pub(crate) fn of_sum(self, sum: f32) -> f32 {
        match self {
            Self::L2 | Self::Hamming => sum,
            Self::Cosine => 1.0 - sum,
            Self::Dot => 0.0 - sum,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Hamming => "hamming",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = MetricUnknown;

    /// Accepts exactly what `Display` prints: `l2`, `cosine`, `dot`, `hamming`.
    fn from_str(name: &str) -> Result<Self, MetricUnknown> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.name() == name)
            .ok_or_else(|| MetricUnknown { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_one_to_four_and_come_back() {
        assert_eq!(Metric::ALL.map(Metric::code), [1, 2, 3, 4]);
        for code in 0..=u8::MAX {
            assert_eq!(
                Metric::from_code(code).map(Metric::code),
                (1..=4).contains(&code).then_some(code)
            );
        }
    }

    #[test]
    fn names_come_back_and_other_names_are_refused() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
        for name in ["", "L2", "euclid", "l2 "] {
            assert_eq!(name.parse::<Metric>(), Err(MetricUnknown { name: name.to_owned() }));
        }
    }
}
