//! The sealed files of one checkpoint while they are written: numbers, and whether to go on.

use crate::damage::Lsn;
use crate::error::{CheckpointError, OpenError};
use crate::manifest::Manifest;
use crate::sealed::{FileKind, FileRef, Ident, SealedReader, SealedWriter};
use gannet_storage::{ReadFile, Storage};

/// See the module's documentation.
pub(crate) struct NewFiles<'c, S: Storage> {
    pub(super) storage: &'c S,
    pub(super) database: [u8; 16],
    pub(super) lsn: Lsn,
    /// Number of the next file.
    pub(super) next_number: u64,
    /// Length of the files that were finished.
    pub(super) len_bytes: u64,
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
        let (database, number, lsn) = (self.database, self.next_number, self.lsn);
        self.next_number += 1;
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
        let number = self.next_number;
        self.next_number += 1;
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

    fn note_finished(&mut self, kind: FileKind, file: &FileRef) -> Result<(), CheckpointError> {
        self.len_bytes += file.len_bytes;
        if self.reads_back {
            self.read_back(kind, file).map_err(CheckpointError::ReadBack)?;
        }
        Ok(())
    }

    fn read_back(&self, kind: FileKind, file: &FileRef) -> Result<(), OpenError> {
        let name = kind.file_name(file.number);
        let sealed = self.storage.open_sealed(&name)?;
        sealed.discard_cache()?;
        drop(sealed);
        let reader = SealedReader::open(self.storage, kind, self.database, file)?;
        reader.verify()?;
        reader.check_padding()
    }
}
