//! A file that a verb makes: never one that is there, and whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// What a verb writes to; removed again where it is dropped before it is finished.
#[derive(Debug)]
pub(super) struct OutFile {
    path: PathBuf,
    file: Option<File>,
}

impl OutFile {
    /// Makes the file. One that is there is refused: a database is made of files, too.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create_new(path).map_err(|source| failed(path, source))?;
        Ok(Self { path: path.to_owned(), file: Some(file) })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes));
        written.map_err(|source| failed(&self.path, source))
    }

    /// Keeps the file, when all of it is on the disk.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_all);
        synced.map_err(|source| failed(&self.path, source))?;
        self.file = None;
        Ok(())
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // The failure that is told is the one that ended the verb.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn failed(path: &Path, source: io::Error) -> Failure {
    Failure::OutFile { file: path.to_owned(), source }
}
