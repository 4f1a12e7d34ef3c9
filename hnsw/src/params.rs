//! What a graph is built with, and the limits of each parameter.

use thiserror::Error;

use crate::Metric;
use crate::code::{Code, CodeChoice};

/// Most dimensions a vector may have.
pub const DIMS_MAX: u32 = 65_536;
/// Fewest links a row may be given on an upper layer: with one, layers would have no shape.
pub const M_MIN: u16 = 2;
/// Most links on an upper layer; layer 0 holds twice as many.
pub const M_MAX: u16 = 128;
/// Widest beam an insertion may use.
pub const EF_CONSTRUCTION_MAX: u32 = 65_536;
/// Rows are numbered below this: a row number and one flag share 32 bits.
pub const ROWS_MAX: u32 = 1 << 31;

/// Everything that decides the shape of a graph besides its rows.
///
/// Equal parameters, equal rows and equal batch ends give equal graphs, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    /// Components of a vector, 1 to [`DIMS_MAX`].
    pub dims: u32,
    /// What near means.
    pub metric: Metric,
    /// Links a new row is given on each of its layers, [`M_MIN`] to [`M_MAX`]. A row holds at most
    /// `m` links on an upper layer and `2 * m` on layer 0.
    pub m: u16,
    /// Beam width of the searches of an insertion, 1 to [`EF_CONSTRUCTION_MAX`].
    pub ef_construction: u32,
    /// Decides, with the row number alone, on which layers a row stands.
    pub seed: u64,
    /// What walks and builds compare in place of vectors. Never changes which rows there are, nor a
    /// distance that a caller sees. Not every code goes with every metric: see [`Code::fits`].
    pub code: CodeChoice,
}

/// A parameter outside its limits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// `dims` is 0 or above [`DIMS_MAX`].
    #[error("dims is {found}: expected 1 to {DIMS_MAX}")]
    Dims {
        /// The value given.
        found: u32,
    },
    /// `m` is below [`M_MIN`] or above [`M_MAX`].
    #[error("m is {found}: expected {M_MIN} to {M_MAX}")]
    M {
        /// The value given.
        found: u16,
    },
    /// `ef_construction` is 0 or above [`EF_CONSTRUCTION_MAX`].
    #[error("ef_construction is {found}: expected 1 to {EF_CONSTRUCTION_MAX}")]
    EfConstruction {
        /// The value given.
        found: u32,
    },
    /// The code says nothing of distances of the metric: see [`Code::fits`].
    #[error("code {code} does not go with metric {metric}: expected none or bit")]
    Code {
        /// The code given.
        code: Code,
        /// The metric given.
        metric: Metric,
    },
}

impl Params {
    /// `m` of [`Params::new`].
    pub const M_DEFAULT: u16 = 16;
    /// `ef_construction` of [`Params::new`].
    pub const EF_CONSTRUCTION_DEFAULT: u32 = 200;
    /// `seed` of [`Params::new`].
    pub const SEED_DEFAULT: u64 = 0x6761_6e6e_6574_0001;

    /// The usual parameters: `m` 16, `ef_construction` 200, a fixed seed, the code that the graph
    /// chooses. Not yet validated.
    #[must_use]
    pub const fn new(dims: u32, metric: Metric) -> Self {
        Self {
            dims,
            metric,
            m: Self::M_DEFAULT,
            ef_construction: Self::EF_CONSTRUCTION_DEFAULT,
            seed: Self::SEED_DEFAULT,
            code: CodeChoice::Auto,
        }
    }

    /// Checks every parameter against its limits.
    ///
    /// # Errors
    /// The first parameter out of its limits, in the order `dims`, `m`, `ef_construction`,
    /// `code`.
    pub const fn validate(&self) -> Result<(), ParamsError> {
        if self.dims == 0 || self.dims > DIMS_MAX {
            return Err(ParamsError::Dims { found: self.dims });
        }
        if self.m < M_MIN || self.m > M_MAX {
            return Err(ParamsError::M { found: self.m });
        }
        if self.ef_construction == 0 || self.ef_construction > EF_CONSTRUCTION_MAX {
            return Err(ParamsError::EfConstruction { found: self.ef_construction });
        }
        if let CodeChoice::Fixed(code) = self.code
            && !code.fits(self.metric)
        {
            return Err(ParamsError::Code { code, metric: self.metric });
        }
        Ok(())
    }

    /// Links a row can hold on `layer`.
    pub(crate) fn links_max(&self, layer: u8) -> usize {
        usize::from(self.m) * if layer == 0 { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl Fn(&mut Params), expect: &Result<(), ParamsError>) {
        let mut params = Params::new(128, Metric::L2);
        change(&mut params);
        assert_eq!(&params.validate(), expect);
    }

    #[test]
    fn limits_are_inclusive() {
        check(|_| (), &Ok(()));
        check(|p| p.dims = 0, &Err(ParamsError::Dims { found: 0 }));
        check(|p| p.dims = 1, &Ok(()));
        check(|p| p.dims = 65_536, &Ok(()));
        check(|p| p.dims = 65_537, &Err(ParamsError::Dims { found: 65_537 }));
        check(|p| p.m = 1, &Err(ParamsError::M { found: 1 }));
        check(|p| p.m = 2, &Ok(()));
        check(|p| p.m = 128, &Ok(()));
        check(|p| p.m = 129, &Err(ParamsError::M { found: 129 }));
        check(|p| p.ef_construction = 0, &Err(ParamsError::EfConstruction { found: 0 }));
        check(|p| p.ef_construction = 1, &Ok(()));
        check(|p| p.ef_construction = 65_536, &Ok(()));
        let found = 65_537;
        check(|p| p.ef_construction = found, &Err(ParamsError::EfConstruction { found }));
    }

    #[test]
    fn under_hamming_only_codes_of_bits_make_sense() {
        for metric in Metric::ALL {
            check(|p| *p = Params::new(128, metric), &Ok(()));
        }
        for code in [Code::Sq8, Code::F16, Code::Sq4] {
            let metric = Metric::Hamming;
            let error = ParamsError::Code { code, metric };
            check(|p| *p = Params { code: code.into(), ..Params::new(128, metric) }, &Err(error));
        }
        check(|p| (p.metric, p.code) = (Metric::Hamming, Code::None.into()), &Ok(()));
        check(|p| p.code = Code::Bit.into(), &Ok(()));
        let error = ParamsError::Code { code: Code::Sq4, metric: Metric::Hamming };
        let text = "code sq4 does not go with metric hamming: expected none or bit";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn layer_zero_holds_twice_the_links() {
        let params = Params::new(4, Metric::Dot);
        assert_eq!([0, 1, 15].map(|layer| params.links_max(layer)), [32, 16, 16]);
    }
}
