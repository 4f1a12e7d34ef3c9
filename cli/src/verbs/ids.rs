//! A file of ids, one a line, as the rows that a search may find.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use gannet::limits::ID_LEN_BYTES_MAX;
use gannet::roaring::RoaringTreemap;
use gannet::{Filter, Id};

use super::row_id;
use crate::failure::Failure;

/// The filter of the ids in a file: a line each, with or without an end of line behind the last.
///
/// Lines are ids as arguments are (see [`row_id::parse`]), whole: a space is part of its id. An
/// empty line and one that is too long for an id are refused.
pub(super) fn read(path: &Path) -> Result<Filter, Failure> {
    let unread = |source| Failure::IdsFile { file: path.to_owned(), source };
    let bytes = fs::read(path).map_err(unread)?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let lines: Vec<&[u8]> =
        if bytes.is_empty() { Vec::new() } else { bytes.split(|byte| *byte == b'\n').collect() };
    let (mut integers, mut others) = (RoaringTreemap::new(), Vec::new());
    for (line, number) in lines.into_iter().zip(1..) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.len() > ID_LEN_BYTES_MAX {
            let (file, found) = (path.to_owned(), line.len());
            return Err(Failure::IdsLine { file, line: number, found });
        }
        match parse(line) {
            Id::Int(id) => _ = integers.insert(id),
            id @ Id::Bytes(_) => others.push(id),
        }
    }
    if others.is_empty() {
        return Ok(Filter::treemap(integers));
    }
    Ok(Filter::ids(others.into_iter().chain(integers.iter().map(Id::Int))))
}

fn parse(line: &[u8]) -> Id {
    let text = std::str::from_utf8(line).ok();
    text.map_or_else(|| Id::from(line), |text| row_id::parse(OsStr::new(text)))
}
