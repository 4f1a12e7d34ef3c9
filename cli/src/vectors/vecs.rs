//! The TEXMEX layouts, `.fvecs`, `.bvecs` and `.ivecs`: each row is its i32 dimension, then its
//! components. There is no header; the row count follows from the length of the file.

use std::io::Read;

use super::element::Element;
use super::fault::VectorFault;
use super::layout::{Layout, ROW_PREFIX_BYTES, check_dims};

/// Takes the dimension from row 0 of a file of `file_bytes` bytes. Later rows are held to it when
/// they are read.
pub(super) fn layout(
    file: &mut impl Read,
    file_bytes: u64,
    element: Element,
) -> Result<Layout, VectorFault> {
    if file_bytes == 0 {
        return Err(VectorFault::NoRows);
    }
    if file_bytes < ROW_PREFIX_BYTES {
        return Err(VectorFault::ShortHeader { needed: ROW_PREFIX_BYTES, found: file_bytes });
    }
    let mut prefix = [0; 4];
    file.read_exact(&mut prefix)
        .map_err(|source| VectorFault::Io { operation: "read row 0", source })?;
    let dims = check_dims(i32::from_le_bytes(prefix).into())?;
    let mut layout = Layout { start: 0, rows: 0, dims, element, prefix_bytes: ROW_PREFIX_BYTES };
    layout.rows = file_bytes / layout.row_bytes();
    let rest = file_bytes % layout.row_bytes();
    if rest != 0 {
        let missing = layout.row_bytes() - rest;
        return Err(VectorFault::CutRow { row: layout.rows, missing });
    }
    Ok(layout)
}
