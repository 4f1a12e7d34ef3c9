//! Vector files: the formats that vectors and their nearest neighbours are exchanged in.
//!
//! Reading is streaming: a [`VectorFile`] knows its row count and dimension when it is open, and
//! hands out rows as `f32` in file order, in memory bounded by what the caller asks for. Every
//! header is checked against the length of its file before anything is allocated by it. What
//! becomes of the rows, and whether their values are finite, is the caller's business.
//!
//! | extension | layout |
//! |---|---|
//! | `.npy` | NumPy, two-dimensional, C order, little-endian, floats of 4 or 8 bytes or integers |
//! | `.fvecs` | per row: i32 dims, then dims f32 |
//! | `.bvecs` | per row: i32 dims, then dims u8 |
//! | `.ivecs` | per row: i32 dims, then dims i32 |
//! | `.fbin` | u32 rows, u32 dims, then rows of f32 |
//! | `.u8bin` | u32 rows, u32 dims, then rows of u8 |
//!
//! All numbers are little-endian.

mod bin;
mod element;
mod fault;
mod file;
mod layout;
mod neighbors;
mod npy;
mod vecs;

pub use fault::{VectorFault, VectorFileError};
pub use file::VectorFile;
pub use layout::DIMS_MAX;
pub use neighbors::NeighborLists;
