//! The header of a `.npy` file that holds a matrix of numbers.
//!
//! npyz parses the header; what reaches it is bounded here first. Its grammar backtracks
//! exponentially in nested brackets, its buffer is as long as the header says, and it multiplies
//! the shape unchecked: a matrix of numbers needs one dictionary, one tuple and few digits, so
//! nothing else is let through.

use std::io::{self, Read};

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::element::Element;
use super::fault::VectorFault;
use super::layout::Layout;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Magic, version 1.0 and the two bytes of the header's length.
const PREAMBLE_BYTES_MIN: u64 = 10;
/// The header of a matrix takes about 120 bytes; NumPy itself refuses more than 10,000.
const HEADER_BYTES_MAX: u64 = 16 * 1024;
/// 10^19 elements are more than any file holds and still fit 64 bits.
const SHAPE_DIGITS_MAX: usize = 19;

/// Reads the header of a file of `file_bytes` bytes from its beginning.
pub(super) fn layout(file: &mut impl Read, file_bytes: u64) -> Result<Layout, VectorFault> {
    let head = read_head(file, file_bytes)?;
    let header = NpyHeader::from_reader(head.as_slice())
        .map_err(|source| VectorFault::NpyHeader { source })?;
    let element = element_of(&header.dtype())?;
    let &[rows, dims] = header.shape() else {
        return Err(VectorFault::NpyAxes { axes: header.shape().len() });
    };
    // With one row or one column both orders are the same bytes, and NumPy may name either.
    if header.order() == Order::Fortran && rows > 1 && dims > 1 {
        return Err(VectorFault::NpyFortran);
    }
    Layout::of_matrix(head.len() as u64, rows, dims, element, file_bytes)
}

/// Preamble and dictionary, at most [`HEADER_BYTES_MAX`] bytes of text, checked to be plain.
fn read_head(file: &mut impl Read, file_bytes: u64) -> Result<Vec<u8>, VectorFault> {
    let short = |needed| VectorFault::ShortHeader { needed, found: file_bytes };
    let io = |source| VectorFault::Io { operation: "read the header", source };
    if file_bytes < PREAMBLE_BYTES_MIN {
        return Err(short(PREAMBLE_BYTES_MIN));
    }
    let mut head = vec![0; 8];
    file.read_exact(&mut head).map_err(io)?;
    if !head.starts_with(MAGIC) {
        let source = io::Error::new(io::ErrorKind::InvalidData, "the magic bytes are not there");
        return Err(VectorFault::NpyHeader { source });
    }
    let mut length = [0; 4];
    let length_bytes = if head[6] == 1 { 2 } else { 4 };
    if file_bytes < 8 + length_bytes as u64 {
        return Err(short(8 + length_bytes as u64));
    }
    file.read_exact(&mut length[..length_bytes]).map_err(io)?;
    head.extend_from_slice(&length[..length_bytes]);
    let text_bytes = u64::from(u32::from_le_bytes(length));
    if text_bytes > HEADER_BYTES_MAX {
        return Err(VectorFault::NpyNotPlain { reason: "it is longer than 16 KiB" });
    }
    let needed = head.len() as u64 + text_bytes;
    if file_bytes < needed {
        return Err(short(needed));
    }
    let text_start = head.len();
    file.take(text_bytes).read_to_end(&mut head).map_err(io)?;
    check_plain(&head[text_start..])?;
    Ok(head)
}

/// One dictionary with at most one tuple, of few decimal digits; anything else is not a matrix.
fn check_plain(text: &[u8]) -> Result<(), VectorFault> {
    let refuse = |reason| Err(VectorFault::NpyNotPlain { reason });
    let repeats = |byte| text.split(|&found| found == byte).nth(2).is_some();
    if text.contains(&b'[') || repeats(b'(') || repeats(b'{') {
        return refuse("it describes structured or nested data");
    }
    let mut shape = text.iter().skip_while(|&&byte| byte != b'(').skip(1);
    let mut digits = 0;
    for byte in shape.by_ref().take_while(|&&byte| byte != b')') {
        match byte {
            b'0'..=b'9' => digits += 1,
            b',' | b' ' => {}
            _ => return refuse("its shape is not a tuple of decimal numbers"),
        }
    }
    if digits > SHAPE_DIGITS_MAX {
        return refuse("its shape is larger than any file");
    }
    Ok(())
}

/// The component type, if its numbers can become `f32`.
fn element_of(dtype: &DType) -> Result<Element, VectorFault> {
    let unsupported = || VectorFault::NpyElement { found: dtype.descr() };
    let DType::Plain(scalar) = dtype else { return Err(unsupported()) };
    let element = match (scalar.type_char(), scalar.size_field()) {
        (TypeChar::Float, 4) => Element::F32,
        (TypeChar::Float, 8) => Element::F64,
        (TypeChar::Int, 1) => Element::I8,
        (TypeChar::Int, 2) => Element::I16,
        (TypeChar::Int, 4) => Element::I32,
        (TypeChar::Int, 8) => Element::I64,
        (TypeChar::Uint, 1) => Element::U8,
        (TypeChar::Uint, 2) => Element::U16,
        (TypeChar::Uint, 4) => Element::U32,
        (TypeChar::Uint, 8) => Element::U64,
        _ => return Err(unsupported()),
    };
    // The byte order of single bytes means nothing, whatever the header says.
    if scalar.endianness() == Endianness::Big && element.size_bytes() > 1 {
        return Err(VectorFault::NpyBigEndian);
    }
    Ok(element)
}
