//! Writing a table: entries in order, in memory bounded by what the index and the filter take.

use super::block::BlockBuilder;
use super::codec::Packer;
use super::filter::{self, KeyHash};
use super::index::IndexBuilder;
use super::{
    BLOCKS, Compression, Entry, FILTER, FOOTER, Footer, INDEX, Order, TRAILER_LEN_BYTES, block_crc,
};
use crate::codec::Put;
use crate::damage::Lsn;
use crate::sealed::{FileKind, FileRef, Ident, OPEN_END, SealedWriter};
use gannet_storage::{Error, Storage};

/// About what an entry takes beside its key and its value.
const ENTRY_OVERHEAD: usize = 8;

/// How tables are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableSettings {
    /// Blocks are about so long before they are compressed.
    pub(crate) block_bytes: usize,
    pub(crate) compression: Compression,
    /// Bits of the filter for each key; 0 for no filter.
    pub(crate) bloom_bits: u8,
}

/// See the module's documentation.
pub(crate) struct TableWriter<'s, S: Storage> {
    out: SealedWriter<'s, S>,
    settings: TableSettings,
    footer: Footer,
    /// Of the last entry.
    last_lsn: Lsn,
    block: BlockBuilder,
    /// The end of the last block that was written, and its last key, which the index waits for the
    /// next key to take.
    ended: Option<(u64, Vec<u8>)>,
    end: u64,
    index: IndexBuilder,
    hashes: Vec<KeyHash>,
    packer: Packer,
}

impl<'s, S: Storage> TableWriter<'s, S> {
    /// Creates the file; no entry will be of a record before `first_lsn`.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) fn create(
        storage: &'s S,
        (database, number): ([u8; 16], u64),
        settings: TableSettings,
        first_lsn: Lsn,
    ) -> Result<Self, Error> {
        let ident = Ident { kind: FileKind::Table, database, number, lsn: first_lsn };
        let sections = [BLOCKS, INDEX, FILTER, FOOTER].map(|id| (id, OPEN_END));
        Ok(Self {
            out: SealedWriter::create(storage, ident, &sections)?,
            settings,
            footer: Footer { first_lsn, last_lsn: first_lsn, ..Footer::default() },
            last_lsn: 0,
            block: BlockBuilder::default(),
            ended: None,
            end: 0,
            index: IndexBuilder::default(),
            hashes: Vec::new(),
            packer: Packer::new(settings.compression),
        })
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// The storage's.
    ///
    /// # Panics
    /// If it is not behind the one before.
    pub(crate) fn push(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let footer = &mut self.footer;
        let is_new_key = self.hashes.is_empty() || footer.last_key != entry.key;
        let before = Order { key: &footer.last_key, lsn: self.last_lsn };
        let is_first = footer.entries == 0;
        assert!(is_first || before < Order { key: entry.key, lsn: entry.lsn }, "out of order");
        assert!(entry.lsn >= footer.first_lsn, "before the first record of the table");
        let len = entry.key.len() + entry.value.map_or(0, <[u8]>::len);
        let block_len = self.block.len_bytes() + len + ENTRY_OVERHEAD + TRAILER_LEN_BYTES;
        if is_first {
            footer.first_key.extend_from_slice(entry.key);
        }
        footer.last_lsn = footer.last_lsn.max(entry.lsn);
        footer.entries += 1;
        footer.deletes += u64::from(entry.value.is_none());
        footer.raw_len_bytes += len as u64;
        self.last_lsn = entry.lsn;
        if is_new_key {
            footer.last_key.clear();
            footer.last_key.extend_from_slice(entry.key);
            if self.settings.bloom_bits > 0 {
                self.hashes.push(KeyHash::of(entry.key));
            }
        }
        if block_len > self.settings.block_bytes && !self.block.is_empty() {
            self.end_block()?;
        }
        self.note_ended(Some(entry.key));
        self.block.push(entry, self.footer.first_lsn);
        Ok(())
    }

    /// Length of the blocks so far.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.end + self.block.len_bytes() as u64
    }

    /// The key of the last entry.
    pub(crate) fn last_key(&self) -> &[u8] {
        &self.footer.last_key
    }

    /// Whether nothing was appended.
    pub(crate) fn is_empty(&self) -> bool {
        self.footer.entries == 0
    }

    /// Writes what remains and makes the file durable. Its name is durable after `sync_dir`.
    ///
    /// # Errors
    /// The storage's.
    ///
    /// # Panics
    /// If nothing was appended.
    pub(crate) fn finish(mut self) -> Result<(FileRef, Footer), Error> {
        assert!(!self.is_empty(), "a table has entries");
        self.end_block()?;
        self.note_ended(None);
        self.out.end_section()?;
        let (index, skip) = self.index.finish();
        self.out.write(&index)?;
        self.out.end_section()?;
        drop(index);
        let bits = self.settings.bloom_bits;
        self.out.write(&filter::build(&self.hashes, bits))?;
        self.out.end_section()?;
        self.footer.blocks = u32::try_from(self.index.count()).expect("its keys are below 4 GiB");
        self.footer.skip = u32::try_from(skip).expect("no longer than a key");
        self.footer.probes = filter::probes(bits);
        self.out.write(&self.footer.encode())?;
        self.out.end_section()?;
        Ok((self.out.finish()?, self.footer))
    }

    fn end_block(&mut self) -> Result<(), Error> {
        let key = self.block.last_key().to_vec();
        let (codec, payload) = self.packer.pack(self.block.finish());
        let mut trailer = Vec::with_capacity(TRAILER_LEN_BYTES);
        trailer.put_u8(codec);
        trailer.put_u32(block_crc(self.out.ident().number, self.end, codec, payload));
        self.out.write(payload)?;
        self.out.write(&trailer)?;
        self.end += (payload.len() + TRAILER_LEN_BYTES) as u64;
        self.ended = Some((self.end, key));
        self.block.clear();
        Ok(())
    }

    fn note_ended(&mut self, next: Option<&[u8]>) {
        if let Some((end, last)) = self.ended.take() {
            self.index.push(end, &last, next);
        }
    }
}
