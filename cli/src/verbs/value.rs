//! Where the value of a key comes from: the command line, a file, or stdin.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gannet::limits::VALUE_LEN_BYTES_MAX;

use crate::args::ValueArgs;
use crate::failure::Failure;

/// The value that is named; an empty one where none is.
pub(super) fn read(args: &ValueArgs) -> Result<Vec<u8>, Failure> {
    match (&args.value, &args.value_file) {
        (Some(value), _) if value == "-" => read_from(Path::new("stdin"), Ok(io::stdin().lock())),
        (Some(value), _) => Ok(value.as_encoded_bytes().to_vec()),
        (None, Some(path)) => read_from(path, File::open(path)),
        (None, None) => Ok(Vec::new()),
    }
}

/// Reads to the end, or until it is more than a value can be.
fn read_from(name: &Path, input: io::Result<impl Read>) -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    let bound = VALUE_LEN_BYTES_MAX as u64 + 1;
    let read = input.and_then(|input| input.take(bound).read_to_end(&mut value));
    let file = || name.to_owned();
    match read {
        Err(source) => Err(Failure::ValueFile { file: file(), source }),
        Ok(len) if len > VALUE_LEN_BYTES_MAX => Err(Failure::LongValue { file: file() }),
        Ok(_) => Ok(value),
    }
}
