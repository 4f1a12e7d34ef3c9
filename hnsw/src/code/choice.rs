//! Which code a graph is to have.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::Code;
use crate::metric::Metric;

/// Which code a graph is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CodeChoice {
    /// The smallest that was measured to find as much as the vectors themselves: see
    /// [`Graph::choose_code`](crate::Graph::choose_code).
    #[default]
    Auto,
    /// This one.
    Fixed(Code),
}

/// A name that is no code's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown code {name:?}: expected auto, none, sq8, f16, sq4 or bit")]
pub struct CodeUnknown {
    /// What was given.
    pub name: String,
}

impl CodeChoice {
    const AUTO: u8 = 255;

    /// The number that stands for it in files: the code's, or 255.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Auto => Self::AUTO,
            Self::Fixed(code) => code.number(),
        }
    }

    /// The choice that a number in a file stands for.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let auto = (number == Self::AUTO).then_some(Self::Auto);
        auto.or_else(|| Code::from_number(number).map(Self::Fixed))
    }

    /// Whether rows may have this code under `metric`: see [`Code::fits`].
    #[must_use]
    pub const fn fits(self, metric: Metric) -> bool {
        match self {
            Self::Auto => true,
            Self::Fixed(code) => code.fits(metric),
        }
    }

    /// The code of a graph in which nothing has been measured.
    #[must_use]
    pub const fn first(self, metric: Metric) -> Code {
        match (self, metric) {
            (Self::Fixed(code), _) => code,
            (Self::Auto, Metric::L2 | Metric::Cosine | Metric::Dot) => Code::Sq8,
            (Self::Auto, Metric::Hamming) => Code::Bit,
        }
    }

    /// Whether measuring can change the code: under Hamming bits are the vectors, only shorter.
    pub(crate) const fn is_open(self, metric: Metric) -> bool {
        matches!((self, metric), (Self::Auto, Metric::L2 | Metric::Cosine | Metric::Dot))
    }
}

impl From<Code> for CodeChoice {
    fn from(code: Code) -> Self {
        Self::Fixed(code)
    }
}

impl fmt::Display for CodeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(code) => code.fmt(f),
        }
    }
}

impl FromStr for CodeChoice {
    type Err = CodeUnknown;

    fn from_str(name: &str) -> Result<Self, CodeUnknown> {
        let fixed = Code::ALL.into_iter().map(Self::Fixed);
        let found = std::iter::once(Self::Auto).chain(fixed).find(|to| to.to_string() == name);
        found.ok_or_else(|| CodeUnknown { name: name.to_owned() })
    }
}
