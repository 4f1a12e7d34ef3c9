//! The big-ann layout, `.fbin` and `.u8bin`: u32 rows, u32 dims, then the rows.

use std::io::Read;

use super::element::Element;
use super::fault::VectorFault;
use super::layout::Layout;

const HEADER_BYTES: u64 = 8;

/// Reads the header of a file of `file_bytes` bytes from its beginning.
pub(super) fn layout(
    file: &mut impl Read,
    file_bytes: u64,
    element: Element,
) -> Result<Layout, VectorFault> {
    if file_bytes < HEADER_BYTES {
        return Err(VectorFault::ShortHeader { needed: HEADER_BYTES, found: file_bytes });
    }
    let (mut rows, mut dims) = ([0; 4], [0; 4]);
    for field in [&mut rows, &mut dims] {
        file.read_exact(field)
            .map_err(|source| VectorFault::Io { operation: "read the header", source })?;
    }
    let (rows, dims) = (u32::from_le_bytes(rows), u32::from_le_bytes(dims));
    Layout::of_matrix(HEADER_BYTES, rows.into(), dims.into(), element, file_bytes)
}
