//! The directory that torture works in: its own, below the user's.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::TortureError;

/// See the module's documentation.
pub(super) struct Place {
    dir: PathBuf,
}

impl Place {
    /// Makes a directory that was not there.
    pub(super) fn below(dir: &Path) -> Result<Self, TortureError> {
        for number in 1.. {
            let dir = dir.join(format!("gannet-torture-{number}"));
            match fs::create_dir(&dir) {
                Ok(()) => return Ok(Self { dir }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(source) => return Err(TortureError::Place { dir, source }),
            }
        }
        unreachable!("there are more numbers than files")
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// An empty directory for one round.
    pub(super) fn fresh(&self, name: &str) -> Result<PathBuf, TortureError> {
        let dir = self.dir.join(name);
        match fs::create_dir(&dir) {
            Ok(()) => Ok(dir),
            Err(source) => Err(TortureError::Place { dir, source }),
        }
    }

    /// Removes a round's directory.
    pub(super) fn discard(&self, dir: &Path) -> Result<(), TortureError> {
        debug_assert!(dir.starts_with(&self.dir));
        fs::remove_dir_all(dir)
            .map_err(|source| TortureError::Place { dir: dir.to_path_buf(), source })
    }

    /// Leaves what is there, and says where.
    pub(super) fn keep(self) -> PathBuf {
        self.dir
    }

    pub(super) fn remove(self) -> Result<(), TortureError> {
        self.discard(&self.dir)
    }
}
