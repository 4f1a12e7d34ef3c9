//! Why nothing was salvaged, or not everything that could be.

use crate::error::{CheckpointError, CloseError, CommitError, OpenError, ReadError};
use gannet_storage::Error as StorageError;
use thiserror::Error;

/// Why a salvage ended. The damaged database is as it was. Where the new one has files already, it
/// is unfinished: delete it before the next try.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SalvageError {
    /// The target has a file.
    #[error("a salvage needs an empty place: {file} is there")]
    NotEmpty {
        /// It.
        file: String,
    },
    /// There is no file that could be one of a database.
    #[error("there is no file of a database")]
    Nothing,
    /// The files of the damaged database cannot be listed.
    #[error("the damaged database cannot be read")]
    Source(#[source] StorageError),
    /// The target's storage refused.
    #[error("the new database cannot be made")]
    Target(#[source] StorageError),
    /// The new database did not open.
    #[error("the new database cannot be made")]
    Open(#[source] OpenError),
    /// The new database refused a commit.
    #[error("what was salvaged cannot be written")]
    Commit(#[source] CommitError),
    /// What was written to the new database cannot be read.
    #[error("what was salvaged cannot be read again")]
    Read(#[source] ReadError),
    /// The new database made no checkpoint.
    #[error("what was salvaged cannot be indexed")]
    Checkpoint(#[source] CheckpointError),
    /// The new database could not be closed in order.
    #[error("the new database cannot be closed")]
    Close(#[source] CloseError),
}
