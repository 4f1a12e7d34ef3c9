//! Where the rows of a vector file lie, and the checks that every format shares.

use super::element::Element;
use super::fault::VectorFault;

/// Most components a row may have; the engine's own limit.
pub const DIMS_MAX: u32 = 65_536;

/// Bytes before each row of a `*vecs` file: its dimension.
pub(super) const ROW_PREFIX_BYTES: u64 = 4;

/// The shape of a vector file that was checked against its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Offset of row 0 in bytes.
    pub(super) start: u64,
    /// Rows of the file, at least 1.
    pub(super) rows: u64,
    /// Components a row, 1 to [`DIMS_MAX`].
    pub(super) dims: u32,
    /// The type of a component.
    pub(super) element: Element,
    /// Bytes before each row that repeat its dimension: 0 or [`ROW_PREFIX_BYTES`].
    pub(super) prefix_bytes: u64,
}

impl Layout {
    /// Rows without prefixes, `rows` and `dims` by the header, in a file of `file_bytes` bytes.
    pub(super) fn of_matrix(
        start: u64,
        rows: u64,
        dims: u64,
        element: Element,
        file_bytes: u64,
    ) -> Result<Self, VectorFault> {
        if rows == 0 {
            return Err(VectorFault::NoRows);
        }
        let row_dims = check_dims(i64::try_from(dims).unwrap_or(i64::MAX))?;
        // Below 2^64 * 2^16 * 2^3 + 2^64: 128 bits cannot overflow.
        let promised =
            u128::from(start) + u128::from(rows) * u128::from(dims) * element.size_bytes() as u128;
        match u64::try_from(promised) {
            Ok(promised) if promised == file_bytes => {}
            Ok(promised) if promised < file_bytes => {
                return Err(VectorFault::Trailing { rows, promised, found: file_bytes });
            }
            _ => return Err(VectorFault::Truncated { rows, dims, promised, found: file_bytes }),
        }
        Ok(Self { start, rows, dims: row_dims, element, prefix_bytes: 0 })
    }

    /// Bytes of one row with its prefix.
    pub(super) fn row_bytes(&self) -> u64 {
        self.prefix_bytes + u64::from(self.dims) * self.element.size_bytes() as u64
    }
}

/// The dimension as a checked number.
pub(super) fn check_dims(found: i64) -> Result<u32, VectorFault> {
    match u32::try_from(found) {
        Ok(dims @ 1..=DIMS_MAX) => Ok(dims),
        Ok(_) | Err(_) => Err(VectorFault::Dims { found }),
    }
}
