//! Everything a verb can fail with, and the one line that is printed about it.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use gannet::limits::{ID_LEN_BYTES_MAX, VALUE_LEN_BYTES_MAX};
use gannet::storage::{Error as StorageError, Op};
use gannet::{
    BackupError, CheckpointError, CloseError, CommitError, Lsn, OpenError, ReadError, RestoreError,
    SalvageError, SearchError,
};
use thiserror::Error;

use crate::entries::EntryError;
use crate::vectors::VectorFileError;

/// The exit codes of the program, as its help lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    NotThere = 1,
    Usage = 2,
    Failed = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb did not do what it was asked to.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("key {key} is not there")]
    NoKey { key: String },
    #[error("`{text}` is not hexadecimal digits, two a byte")]
    Hex { text: String },
    #[error("key {key} has version {found}, not {expected}{}", if *found == 0 {
        ": it is not there"
    } else {
        ""
    })]
    Conflict { key: String, expected: Lsn, found: Lsn },
    #[error("there is no keyspace `{name}` in {dir}", dir = dir.display())]
    NoKeyspace { dir: PathBuf, name: String },
    #[error("{file}: cannot be read", file = file.display())]
    ValueFile { file: PathBuf, source: io::Error },
    #[error(
        "{file}: longer than a value can be, {VALUE_LEN_BYTES_MAX} bytes",
        file = file.display()
    )]
    LongValue { file: PathBuf },
    #[error("{file}: cannot be written", file = file.display())]
    OutFile { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Entries(#[from] EntryError),
    #[error("the import ended after {put} entries")]
    ImportEnded { put: u64, source: Box<Failure> },
    #[error("id {id} is not in collection `{collection}`")]
    NoId { collection: String, id: String },
    #[error("{dir}: {count} faults found", dir = dir.display())]
    Faults { dir: PathBuf, count: usize },
    #[error(
        "{dir}: {count} things are lost; the rest is in {to}",
        dir = dir.display(),
        to = to.display()
    )]
    Lost { dir: PathBuf, to: PathBuf, count: usize },
    #[error("there is no collection `{name}` in {dir}", dir = dir.display())]
    NoCollection { dir: PathBuf, name: String },
    #[error("cannot open {dir}", dir = dir.display())]
    Open { dir: PathBuf, source: OpenError },
    #[error(transparent)]
    Storage(#[from] gannet::storage::Error),
    #[error(transparent)]
    Vectors(#[from] VectorFileError),
    #[error(
        "a batch of {rows} rows of {dims} dimensions is too large: use --batch {rows_max} or less"
    )]
    Batch { rows: u64, dims: u32, rows_max: usize },
    #[error("{file}: row {row} cannot be imported", file = file.display())]
    Row { file: PathBuf, row: u64, source: CommitError },
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{file}: query {query} cannot be searched", file = file.display())]
    Query { file: PathBuf, query: usize, source: SearchError },
    #[error(
        "{file}: the queries have {found} dimensions, collection `{collection}` has {expected}",
        file = file.display()
    )]
    QueryDims { file: PathBuf, found: u32, collection: String, expected: u32 },
    #[error("{file}: {found} lists for {queries} queries", file = file.display())]
    TruthLists { file: PathBuf, found: usize, queries: usize },
    #[error(
        "{file}: query {query} has {found} true neighbours, {k} are needed",
        file = file.display()
    )]
    TruthShort { file: PathBuf, query: usize, found: usize, k: usize },
    #[error(
        "{file}: query {query} names row {id}, which collection `{collection}` does not have: \
         deleted, or the truth of other rows",
        file = file.display()
    )]
    TruthId { file: PathBuf, query: usize, id: u32, collection: String },
    #[error("{file}: cannot be read", file = file.display())]
    IdsFile { file: PathBuf, source: io::Error },
    #[error(
        "{file}: line {line} has {found} bytes: an id has 1 to {ID_LEN_BYTES_MAX}",
        file = file.display()
    )]
    IdsLine { file: PathBuf, line: u64, found: usize },
    #[error("query {query} found id {id}, which an .ivecs file cannot hold")]
    OutId { query: usize, id: String },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Close(#[from] CloseError),
    #[error("cannot back up {dir}", dir = dir.display())]
    Backup { dir: PathBuf, source: BackupError },
    #[error("cannot restore {dir}", dir = dir.display())]
    Restore { dir: PathBuf, source: RestoreError },
    #[error("cannot recover {dir}", dir = dir.display())]
    Recover { dir: PathBuf, source: SalvageError },
    #[error(transparent)]
    Torture(#[from] crate::verbs::torture::TortureError),
    #[error("cannot write to stdout")]
    Output { source: io::Error },
    #[error("cannot start a thread")]
    Thread { source: io::Error },
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
}

impl Failure {
    /// A directory that did not open. What the storage says of the directory itself names it
    /// already; of a file in it, it does not.
    pub(crate) fn open(dir: PathBuf, source: OpenError) -> Self {
        let of_dir = |error: &StorageError| matches!(error.op(), Op::OpenStorage | Op::Lock);
        if let OpenError::Storage(source) = source {
            if of_dir(&source) {
                return Self::Storage(source);
            }
            return Self::Open { dir, source: source.into() };
        }
        Self::Open { dir, source }
    }

    /// The exit code of the program.
    pub(crate) fn exit(&self) -> Exit {
        let violated =
            matches!(self, Self::Torture(crate::verbs::torture::TortureError::Violated { .. }));
        if violated
            || matches!(
                self,
                Self::NoKey { .. }
                    | Self::NoId { .. }
                    | Self::Conflict { .. }
                    | Self::Faults { .. }
                    | Self::Lost { .. }
            )
        {
            Exit::NotThere
        } else if matches!(self, Self::Hex { .. }) {
            Exit::Usage
        } else {
            Exit::Failed
        }
    }
}

/// `error` and its causes on one line, without control characters.
pub(crate) fn one_line(error: &dyn StdError) -> String {
    let mut line = printable(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = printable(&error.to_string());
        if !line.ends_with(&text) {
            write!(line, ": {text}").expect("writing to a string does not fail");
        }
        cause = error.source();
    }
    line
}

/// `text` with every control character, line ends among them, escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_causes() {
        let source = io::Error::from(io::ErrorKind::StorageFull);
        let line = one_line(&Failure::Output { source });
        assert_eq!(line, "cannot write to stdout: no storage space");
    }

    #[test]
    fn a_cause_that_was_told_already_is_not_repeated() {
        let inner = io::Error::other("the disk is gone");
        assert_eq!(one_line(&io::Error::other(inner)), "the disk is gone");
    }

    #[test]
    fn control_characters_in_names_do_not_make_lines() {
        let failure = Failure::NoKey { key: "a\nb\u{1b}[2J".into() };
        assert_eq!(one_line(&failure), "key a\\nb\\u{1b}[2J is not there");
    }

    #[test]
    fn what_is_not_there_has_an_exit_code_of_its_own() {
        assert_eq!(Failure::NoKey { key: "a".into() }.exit(), Exit::NotThere);
        let source = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Failure::Output { source }.exit(), Exit::Failed);
    }
}
