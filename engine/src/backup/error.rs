//! Why a copy was not made: its source, its target, or neither is at fault.

use crate::error::OpenError;
use gannet_storage::Error as StorageError;
use thiserror::Error;

/// Why no backup was made. Nothing of the database was changed, and the target opens as none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The target has a file.
    #[error("a backup needs an empty place: {file} is there")]
    NotEmpty {
        /// It.
        file: String,
    },
    /// The target has a backup of another database, or one whose root is damaged.
    #[error("there is something else than a backup of this database")]
    OtherDatabase,
    /// The database is damaged, or its storage refused.
    #[error("the database cannot be copied")]
    Source(#[source] OpenError),
    /// The target's storage refused.
    #[error("the backup cannot be written")]
    Target(#[source] StorageError),
    /// An earlier write failed; only a reopen tells what is durable.
    #[error("an earlier write failed: reopen the database before it is backed up")]
    Poisoned,
}

/// Why nothing was restored: the target opens as no database.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The target has a file.
    #[error("a restore needs an empty place: {file} is there")]
    NotEmpty {
        /// It.
        file: String,
    },
    /// The backup is damaged, or its storage refused.
    #[error("the backup cannot be used")]
    Backup(#[from] OpenError),
    /// A file is missing, of no backup, or written to since: a database, perhaps, that opens.
    #[error("not a backup as it was made: see {file}")]
    Changed {
        /// It.
        file: String,
    },
    /// The target's storage refused.
    #[error("the copy cannot be written")]
    Target(#[source] StorageError),
}

/// As both know it.
#[derive(Debug)]
pub(super) enum CopyError {
    NotEmpty(String),
    Source(OpenError),
    Target(StorageError),
}

impl<E: Into<OpenError>> From<E> for CopyError {
    fn from(error: E) -> Self {
        Self::Source(error.into())
    }
}

impl From<CopyError> for BackupError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::NotEmpty(file) => Self::NotEmpty { file },
            CopyError::Source(error) => Self::Source(error),
            CopyError::Target(error) => Self::Target(error),
        }
    }
}

impl From<CopyError> for RestoreError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::NotEmpty(file) => Self::NotEmpty { file },
            CopyError::Source(error) => Self::Backup(error),
            CopyError::Target(error) => Self::Target(error),
        }
    }
}
