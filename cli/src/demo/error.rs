//! What can stop the demo: its place, its child, or a promise that did not hold.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the demo did not come to its end.
#[derive(Debug, Error)]
pub(crate) enum DemoError {
    #[error("{path} is not an empty directory: the demo needs a fresh one", path = path.display())]
    NotFresh { path: PathBuf },
    #[error("{path} has no name that the demo's data could be put beside", path = path.display())]
    NoName { path: PathBuf },
    #[error("cannot {operation} {path}", path = path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("the demo's own data is damaged")]
    Data { source: io::Error },
    #[error("the child process cannot be started")]
    Spawn { source: io::Error },
    #[error("the importing child process failed: {said}")]
    Child { said: String },
    #[error("the importing child process ended before it could be killed: try again")]
    ChildFinished,
    #[error("{acked} rows were acknowledged before the kill, {rows} are there after it")]
    Lost { acked: u64, rows: u64 },
    #[error("{rows} rows are there after the kill, not a whole number of batches of {batch}")]
    PartialBatch { rows: u64, batch: usize },
    #[error("row {row} is not as in the file")]
    WrongRow { row: u64 },
    #[error("the index was not read but built again: {action}")]
    Rebuilt { action: String },
    #[error("exact search found {found} rows for query {query}, not {k}")]
    FewNeighbors { query: usize, found: usize, k: usize },
}
