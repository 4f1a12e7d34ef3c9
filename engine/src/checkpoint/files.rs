//! The sealed files of one checkpoint while they are written: numbers, and whether to go on.

use crate::damage::Lsn;
use crate::error::{CheckpointError, OpenError};
use crate::manifest::Manifest;
use crate::sealed::{FileKind, FileRef, Ident, SealedReader, SealedWriter};
use crate::sync::{AtomicU64, Ordering};
use gannet_storage::{ReadFile, Storage};

/// The numbers of sealed files: each is given once.
#[derive(Debug)]
pub(crate) struct FileNumbers(AtomicU64);

impl FileNumbers {
    /// The first one will be `next`.
    pub(crate) fn new(next: u64) -> Self {
        Self(AtomicU64::new(next))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// What was written for a checkpoint.
#[derive(Debug, Default)]
pub(crate) struct WrittenFiles {
    /// Numbers of the files that were begun, the last one perhaps not finished.
    pub(crate) begun: Vec<u64>,
    pub(crate) finished: usize,
    /// Length of those that were finished.
    pub(crate) len_bytes: u64,
}

/// See the module's documentation.
pub(crate) struct NewFiles<'c, S: Storage> {
    pub(super) storage: &'c S,
    pub(super) database: [u8; 16],
    pub(super) lsn: Lsn,
    pub(super) numbers: &'c FileNumbers,
    pub(super) written: &'c mut WrittenFiles,
    /// Each file is read from the media before it counts as written.
    pub(super) reads_back: bool,
    /// Asked now and then: an error ends the work.
    pub(super) go_on: &'c dyn Fn() -> Result<(), CheckpointError>,
}

impl<'c, S: Storage> NewFiles<'c, S> {
    /// Begins the next file.
    ///
    /// # Errors
    /// As [`SealedWriter::create`].
    pub(crate) fn create(
        &mut self,
        kind: FileKind,
        sections: &[(u32, u64)],
    ) -> Result<SealedWriter<'c, S>, CheckpointError> {
        (self.go_on)()?;
        let (database, number, lsn) = (self.database, self.begin(), self.lsn);
        let ident = Ident { kind, database, number, lsn };
        Ok(SealedWriter::create(self.storage, ident, sections)?)
    }

    /// Writes the manifest, which names the other files.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`finish`](Self::finish).
    pub(super) fn write_manifest(
        &mut self,
        manifest: &Manifest,
    ) -> Result<FileRef, CheckpointError> {
        (self.go_on)()?;
        let number = self.begin();
        let file = manifest.write(self.storage, self.database, number)?;
        self.note_finished(FileKind::Manifest, &file)?;
        Ok(file)
    }

    /// Makes a file durable, and reads it back if that is asked for.
    ///
    /// # Errors
    /// `Storage`; `ReadBack` if it does not hold what was written.
    pub(crate) fn finish(
        &mut self,
        writer: SealedWriter<'c, S>,
    ) -> Result<FileRef, CheckpointError> {
        let kind = writer.ident().kind;
        let file = writer.finish()?;
        self.note_finished(kind, &file)?;
        Ok(file)
    }

    /// # Errors
    /// Whoever asked for the checkpoint wants it no more.
    pub(crate) fn go_on(&self) -> Result<(), CheckpointError> {
        (self.go_on)()
    }

    fn begin(&mut self) -> u64 {
        let number = self.numbers.next();
        self.written.begun.push(number);
        number
    }

    fn note_finished(&mut self, kind: FileKind, file: &FileRef) -> Result<(), CheckpointError> {
        self.written.finished += 1;
        self.written.len_bytes += file.len_bytes;
        if self.reads_back {
            let read = read_back(self.storage, kind, self.database, file);
            read.map_err(CheckpointError::ReadBack)?;
        }
        Ok(())
    }
}

/// Reads all of a file from the media.
///
/// # Errors
/// It does not hold what was written, or could not be read.
pub(crate) fn read_back<S: Storage>(
    storage: &S,
    kind: FileKind,
    database: [u8; 16],
    file: &FileRef,
) -> Result<(), OpenError> {
    let sealed = storage.open_sealed(&kind.file_name(file.number))?;
    sealed.discard_cache()?;
    drop(sealed);
    let reader = SealedReader::open(storage, kind, database, file)?;
    reader.verify()?;
    reader.check_padding()
}
