//! How a key is written on the command line.

use std::ffi::OsStr;

use crate::entries::hex;
use crate::failure::Failure;

/// Its bytes as they are, or as hexadecimal digits.
pub(super) fn parse(text: &OsStr, is_hex: bool) -> Result<Vec<u8>, Failure> {
    let bytes = text.as_encoded_bytes();
    if !is_hex {
        return Ok(bytes.to_vec());
    }
    hex::decode(bytes).ok_or_else(|| Failure::Hex { text: text.display().to_string() })
}
