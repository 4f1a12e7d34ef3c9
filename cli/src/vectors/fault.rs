//! What can be wrong with a vector file, said with the file's name.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::layout::DIMS_MAX;

/// A vector file that cannot be used, and why.
#[derive(Debug)]
pub struct VectorFileError {
    /// The file as it was named by the caller.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: VectorFault,
}

impl VectorFileError {
    pub(super) fn new(path: &Path, fault: VectorFault) -> Self {
        Self { path: path.to_path_buf(), fault }
    }
}

impl fmt::Display for VectorFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.fault)
    }
}

impl std::error::Error for VectorFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.fault)
    }
}

/// The ways in which a vector file is refused. Rows and components count from 0, sizes are bytes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VectorFault {
    /// The name ends in nothing this program reads.
    #[error("unknown extension (known: .npy .fvecs .bvecs .ivecs .fbin .u8bin)")]
    UnknownExtension,
    /// Neighbour lists are read from `.ivecs` only.
    #[error("neighbour lists are read from .ivecs files only")]
    NotNeighborLists,
    /// A directory, a pipe, a device: something without a length.
    #[error("not a regular file")]
    NotAFile,
    /// The operating system refused.
    #[error("cannot {operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The file holds no row.
    #[error("holds no rows")]
    NoRows,
    /// The header, or the first row, says 0 components a row, or more than the limit.
    #[error("says that its rows have {found} dimensions; 1 to {DIMS_MAX} are possible")]
    Dims {
        /// The number in the file, or `i64::MAX` if it is larger.
        found: i64,
    },
    /// The file ends inside its header.
    #[error("ends inside its header: {found} bytes where at least {needed} are needed")]
    ShortHeader {
        /// Bytes that a header takes at least.
        needed: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The header promises more than the file holds.
    #[error(
        "header promises {rows} rows of {dims} dimensions, {promised} bytes in all, \
         but the file has {found} bytes"
    )]
    Truncated {
        /// Rows by the header.
        rows: u64,
        /// Components a row by the header.
        dims: u64,
        /// Length of the file by the header.
        promised: u128,
        /// Length of the file.
        found: u64,
    },
    /// The file goes on after the rows of its header.
    #[error("header promises {promised} bytes in all, but the file has {found}: {rows} rows")]
    Trailing {
        /// Rows by the header.
        rows: u64,
        /// Length of the file by the header.
        promised: u64,
        /// Length of the file.
        found: u64,
    },
    /// A `*vecs` file that ends inside a row.
    #[error("ends inside row {row}: {missing} bytes are missing")]
    CutRow {
        /// The row that is not whole.
        row: u64,
        /// Bytes that the row lacks.
        missing: u64,
    },
    /// A `*vecs` row of another dimension than the first.
    #[error("row {row} has {found} dimensions, row 0 has {expected}")]
    UnequalDims {
        /// The row that differs.
        row: u64,
        /// Dimensions of row 0.
        expected: u32,
        /// Dimensions of that row.
        found: i32,
    },
    /// The file became shorter while it was read.
    #[error("became shorter while it was read, at row {row}")]
    Shrank {
        /// The first row that could not be read.
        row: u64,
    },
    /// An integer that a 32-bit float cannot hold exactly, or a 64-bit float beyond its range.
    #[error("row {row}, component {component}: the value does not fit a 32-bit float")]
    Unfit {
        /// The row of the value.
        row: u64,
        /// Its place in the row.
        component: u64,
    },
    /// Not a `.npy` header.
    #[error("not a .npy header")]
    NpyHeader {
        /// What the parser said.
        source: io::Error,
    },
    /// A `.npy` header that is longer or more deeply nested than a matrix of numbers needs.
    #[error("the .npy header is not that of a plain matrix: {reason}")]
    NpyNotPlain {
        /// What is there that a matrix has not.
        reason: &'static str,
    },
    /// A `.npy` array of another number of axes than two.
    #[error("the .npy array has {axes} axes, two are needed (rows, dimensions)")]
    NpyAxes {
        /// Axes of the array.
        axes: usize,
    },
    /// A `.npy` array stored column by column.
    #[error("the .npy array is in Fortran order; save it with numpy.ascontiguousarray")]
    NpyFortran,
    /// A `.npy` array of big-endian numbers.
    #[error("the .npy array is big-endian; save it with .astype(array.dtype.newbyteorder('<'))")]
    NpyBigEndian,
    /// A `.npy` array of something that is no vector component.
    #[error("the .npy array holds {found}; floats of 4 or 8 bytes and integers can be read")]
    NpyElement {
        /// The type as NumPy writes it.
        found: String,
    },
    /// A neighbour list of fewer than no ids.
    #[error("row {row} says that it has {found} ids")]
    ListLength {
        /// The row of the list.
        row: u64,
        /// The length in the file.
        found: i32,
    },
    /// A neighbour list with an id below 0.
    #[error("row {row} names the id {found}; ids are row numbers from 0")]
    NegativeId {
        /// The row of the list.
        row: u64,
        /// The id in it.
        found: i32,
    },
}

impl VectorFault {
    /// A failed read of `row`: a checked file that ends early became shorter meanwhile.
    pub(super) fn while_reading(source: io::Error, row: u64) -> Self {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            Self::Shrank { row }
        } else {
            Self::Io { operation: "read", source }
        }
    }
}
