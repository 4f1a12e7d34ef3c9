//! What can be wrong with a file of keys and values, said with its name and line.

use std::io;
use std::path::PathBuf;

use gannet::limits::{KEY_LEN_BYTES_MAX, VALUE_LEN_BYTES_MAX};
use thiserror::Error;

/// A file of keys and values that cannot be used, and why.
#[derive(Debug, Error)]
pub(crate) enum EntryError {
    #[error("{file}: unknown extension (known: .jsonl .csv)", file = file.display())]
    UnknownExtension { file: PathBuf },
    #[error("{file}: cannot be opened", file = file.display())]
    Unopened { file: PathBuf, source: io::Error },
    #[error("{file}: line {line}", file = file.display())]
    Line { file: PathBuf, line: u64, source: EntryFault },
}

/// The ways in which a line is refused.
#[derive(Debug, Error)]
pub(crate) enum EntryFault {
    #[error("cannot be read")]
    Io(#[from] io::Error),
    #[error("longer than the longest key and value can be")]
    TooLong,
    #[error("byte {column}: {reason}")]
    Json { column: usize, reason: String },
    #[error("one of `{name}` and `{name}_hex` is needed, and not both")]
    OneOf { name: &'static str },
    #[error("`{name}` is not hexadecimal digits, two a byte")]
    Hex { name: &'static str },
    #[error("two fields are needed, a key and a value")]
    Fields,
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("a carriage return stands outside of quotes")]
    Return,
    #[error("the key is empty")]
    EmptyKey,
    #[error("a key of {found} bytes: {KEY_LEN_BYTES_MAX} are possible")]
    LongKey { found: usize },
    #[error("a value of {found} bytes: {VALUE_LEN_BYTES_MAX} are possible")]
    LongValue { found: usize },
}

impl EntryFault {
    /// What serde says of a line, which it takes for a text of its own.
    pub(super) fn json(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let place = format!(" at line {line} column {column}");
        let reason = text.strip_suffix(&place).unwrap_or(&text).to_owned();
        Self::Json { column, reason }
    }
}
