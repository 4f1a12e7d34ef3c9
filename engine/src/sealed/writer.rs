//! Writing a sealed file: sections in order, in bounded memory, never seen before they are whole.

use crate::codec::Put;
use crate::sealed::{FileRef, Ident, Layout, UNIT_LEN_BYTES, unit_crc};
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, Error, ErrorKind, Storage, Write, WriteFile,
};

const BUFFER_LEN_BYTES: u64 = 1 << 20;
/// Announces a section that is as long as it is when it is [ended](SealedWriter::end_section).
pub(crate) const OPEN_END: u64 = u64::MAX;
/// A file with such a section grows by this much at a time.
const GROWTH_BYTES: u64 = 8 << 20;

/// Writes one sealed file. Every section announced must be written in full, in order.
pub(crate) struct SealedWriter<'s, S: Storage> {
    storage: &'s S,
    file: S::File,
    /// Length of the file, which is cut to what is in it at the end.
    file_len_bytes: u64,
    ident: Ident,
    /// Each with the length that it was announced with, or has.
    sections: Vec<(u32, u64)>,
    section: usize,
    /// Bytes of the section written so far.
    written: u64,
    hasher: crc32fast::Hasher,
    crcs: Vec<u8>,
    buffer: AlignedBuf,
    buffered: usize,
    /// Place in the file of the buffer's first byte.
    buffer_offset: u64,
}

impl<'s, S: Storage> SealedWriter<'s, S> {
    /// Creates the file with the sections (id, length or [`OPEN_END`]) announced. A left-over of
    /// that name, which nothing names, is removed first.
    pub(crate) fn create(
        storage: &'s S,
        ident: Ident,
        sections: &[(u32, u64)],
    ) -> Result<Self, Error> {
        let is_known = sections.iter().all(|(_, len)| *len != OPEN_END);
        let len_bytes = if is_known { Layout::plan(ident, sections).len_bytes } else { 0 };
        let name = ident.kind.file_name(ident.number);
        match storage.remove(&name) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = storage.create(&name, len_bytes)?;
        let len = if is_known { len_bytes.min(BUFFER_LEN_BYTES) } else { BUFFER_LEN_BYTES };
        let mut writer = Self {
            storage,
            file,
            file_len_bytes: len_bytes,
            ident,
            sections: sections.to_vec(),
            section: 0,
            written: 0,
            hasher: unit_crc(ident.number, 0, 0),
            crcs: Vec::new(),
            buffer: storage.alloc(usize::try_from(len).expect("a MiB at most")),
            buffered: 0,
            buffer_offset: BLOCK_SIZE as u64,
        };
        writer.begin_section(0);
        Ok(writer)
    }

    pub(crate) fn ident(&self) -> Ident {
        self.ident
    }

    /// Appends to the section being written; goes on to the next one when it is full.
    ///
    /// # Panics
    /// If it is longer than announced.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let (id, len_bytes) = self.sections[self.section];
            let unit_left = UNIT_LEN_BYTES - self.written % UNIT_LEN_BYTES;
            let left = unit_left.min(len_bytes - self.written);
            assert!(left > 0, "section {id} is longer than announced");
            if self.written > 0 && self.written.is_multiple_of(UNIT_LEN_BYTES) {
                self.end_unit(self.written / UNIT_LEN_BYTES);
            }
            let take = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (head, rest) = bytes.split_at(take);
            self.hasher.update(head);
            self.written += take as u64;
            self.push(head)?;
            bytes = rest;
            if self.written == len_bytes {
                self.pad()?;
                self.begin_section(self.section + 1);
            }
        }
        Ok(())
    }

    /// Ends the section being written, which was announced with an open end.
    pub(crate) fn end_section(&mut self) -> Result<(), Error> {
        let (id, len_bytes) = &mut self.sections[self.section];
        assert_eq!(*len_bytes, OPEN_END, "section {id} has a length");
        *len_bytes = self.written;
        self.pad()?;
        self.begin_section(self.section + 1);
        Ok(())
    }

    /// Writes table and header, makes the contents durable. The name is durable after `sync_dir`.
    ///
    /// # Panics
    /// If a section is not complete.
    pub(crate) fn finish(mut self) -> Result<FileRef, Error> {
        assert_eq!(self.section, self.sections.len(), "a section is not complete");
        let table = std::mem::take(&mut self.crcs);
        let table_crc = crc32fast::hash(&table);
        self.push(&table)?;
        self.pad()?;
        self.flush()?;
        let layout = Layout { table_crc, ..Layout::plan(self.ident, &self.sections) };
        debug_assert_eq!(self.buffer_offset, layout.len_bytes);
        if self.file_len_bytes != layout.len_bytes {
            self.file.set_len(layout.len_bytes)?;
        }
        let mut header = self.storage.alloc(BLOCK_SIZE);
        let header_crc = layout.encode(&mut header);
        let write = Write { offset: 0, bytes: &header };
        self.file.write_batch(&[write], Durability::Deferred)?;
        let Layout { ident, len_bytes, .. } = layout;
        let file = FileRef { number: ident.number, len_bytes, header_crc };
        mutant!("manifest-not-synced" => {
            if ident.kind == crate::sealed::FileKind::Manifest {
                return Ok(file);
            }
        });
        mutant!("files-not-synced" => {
            if ident.kind != crate::sealed::FileKind::Manifest {
                return Ok(file);
            }
        });
        drop(self.storage.seal(self.file)?);
        Ok(file)
    }

    /// Sections of length 0 have no unit and are complete at once.
    fn begin_section(&mut self, index: usize) {
        if self.written > 0 {
            self.end_unit(0);
        }
        self.section = index;
        self.written = 0;
        while self.sections.get(self.section).is_some_and(|(_, len_bytes)| *len_bytes == 0) {
            self.section += 1;
        }
        self.hasher = self.unit_hasher(0);
    }

    fn end_unit(&mut self, next_unit: u64) {
        let next = self.unit_hasher(next_unit);
        let done = std::mem::replace(&mut self.hasher, next);
        self.crcs.put_u32(done.finalize());
    }

    fn unit_hasher(&self, unit: u64) -> crc32fast::Hasher {
        let id = self.sections.get(self.section).map_or(0, |(id, _)| *id);
        unit_crc(self.ident.number, id, unit)
    }

    fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let take = bytes.len().min(self.buffer.len() - self.buffered);
            self.buffer[self.buffered..self.buffered + take].copy_from_slice(&bytes[..take]);
            self.buffered += take;
            bytes = &bytes[take..];
            if self.buffered == self.buffer.len() {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Zeroes up to the next block.
    fn pad(&mut self) -> Result<(), Error> {
        let end = self.buffered.next_multiple_of(BLOCK_SIZE);
        self.buffer[self.buffered..end].fill(0);
        self.buffered = end;
        if end == self.buffer.len() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.buffered > 0 {
            debug_assert!(self.buffered.is_multiple_of(BLOCK_SIZE));
            let end = self.buffer_offset + self.buffered as u64;
            if end > self.file_len_bytes {
                let len = end.next_multiple_of(GROWTH_BYTES);
                self.file.set_len(len)?;
                self.file_len_bytes = len;
            }
            let write = Write { offset: self.buffer_offset, bytes: &self.buffer[..self.buffered] };
            // Durable as it goes: the log's syncs would wait for all of it at once.
            let is_long = self.buffered as u64 == BUFFER_LEN_BYTES;
            let durability = if is_long { Durability::Data } else { Durability::Deferred };
            self.file.write_batch(&[write], durability)?;
            self.buffer_offset += self.buffered as u64;
            self.buffered = 0;
        }
        Ok(())
    }
}
