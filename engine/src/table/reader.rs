//! Reading a table: its footer when it is opened, index and filter at first use, blocks as they are
//! asked for.

use super::block::{Block, Found, Unpacked};
use super::cache::{BlockCache, BlockPlace};
use super::codec::{STORED, UnpackFault, ZSTD, unpack};
use super::filter::{self, KeyHash};
use super::index::{self, Index};
use super::kept::KeptBlock;
use super::{BLOCKS, FILTER, FOOTER, Footer, INDEX, TRAILER_LEN_BYTES, Version, block_crc};
use crate::damage::{Damage, Lsn, Newer};
use crate::error::OpenError;
use crate::sealed::{FileKind, FileRef, SealedReader, Verified};
use gannet_storage::{AlignedBuf, SealedFile, Storage};
use std::num::NonZeroU16;
use std::ops::{ControlFlow, Deref, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// See the module's documentation.
pub(crate) struct TableReader<F: SealedFile> {
    pub(super) sealed: SealedReader<F>,
    pub(super) footer: Footer,
    index: OnceLock<Verified<F::View>>,
    filter: OnceLock<Verified<F::View>>,
    pub(super) blocks: Arc<BlockCache>,
    /// Where views copy nothing: a bit for each block that was verified.
    verified: Option<Box<[AtomicU64]>>,
    /// No cache of the operating system reads ahead by itself.
    is_direct: bool,
}

/// Where tables are read.
pub(crate) struct TableFiles<'s, S> {
    pub(crate) storage: &'s S,
    pub(crate) database: [u8; 16],
    pub(crate) blocks: &'s Arc<BlockCache>,
}

impl<S> Clone for TableFiles<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for TableFiles<'_, S> {}

/// Bytes of the file.
#[derive(Clone, Debug)]
pub(super) enum FileBytes<V> {
    View(V),
    Read(Arc<AlignedBuf>),
}

impl<V: Deref<Target = [u8]>> Deref for FileBytes<V> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::View(view) => view,
            Self::Read(buf) => buf,
        }
    }
}

/// The bytes of a block, whole and not compressed.
#[derive(Clone, Debug)]
pub(super) enum BlockBytes<V> {
    /// As they stand in the file.
    Stored(FileBytes<V>, Range<usize>),
    Unpacked(Arc<[u8]>),
    Kept(KeptBlock),
}

impl<V: Deref<Target = [u8]>> Deref for BlockBytes<V> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Stored(bytes, range) => &bytes[range.clone()],
            Self::Unpacked(bytes) => bytes,
            Self::Kept(kept) => kept,
        }
    }
}

impl<F: SealedFile> TableReader<F> {
    /// Opens the table that `file` names, and reads its footer.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn open<S: Storage<Sealed = F>>(
        files: TableFiles<'_, S>,
        file: &FileRef,
    ) -> Result<Self, OpenError> {
        let TableFiles { storage, database, blocks } = files;
        let sealed = SealedReader::open(storage, FileKind::Table, database, file)?;
        let bytes = sealed.read(FOOTER)?;
        let footer = Footer::decode(&bytes)
            .ok_or_else(|| sealed.damage(FOOTER, 0, Damage::Field("footer")))?;
        // Before room is made for as many.
        let index_len = sealed.section(INDEX).map_or(0, |section| section.len_bytes);
        if u64::from(footer.blocks) * index::BLOCK_LEN_BYTES as u64 > index_len {
            return Err(sealed.damage(FOOTER, 0, Damage::Field("blocks")).into());
        }
        let words = footer.blocks.div_ceil(u64::BITS) as usize;
        let none = || std::iter::repeat_with(AtomicU64::default).take(words).collect();
        sealed.file().advise_random();
        let caps = storage.caps();
        let verified = caps.zero_copy_views.then(none);
        let (index, filter) = (OnceLock::new(), OnceLock::new());
        let (blocks, is_direct) = (Arc::clone(blocks), caps.direct_io);
        Ok(Self { sealed, footer, index, filter, blocks, verified, is_direct })
    }

    pub(crate) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The newest version of a key up to `upto`, if the table has one.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn get(
        &self,
        key: &[u8],
        hash: KeyHash,
        upto: Lsn,
    ) -> Result<Option<Version>, OpenError> {
        if upto < self.footer.first_lsn || !self.may_have(hash)? {
            return Ok(None);
        }
        self.get_from(self.block_of(key)?, key, upto)
    }

    /// The newest version of a key up to `upto`, which is in a block or behind it.
    pub(super) fn get_from(
        &self,
        mut block: usize,
        key: &[u8],
        upto: Lsn,
    ) -> Result<Option<Version>, OpenError> {
        while block < self.blocks() {
            match self.find(block, &self.block(block)?, key, upto)? {
                ControlFlow::Break(answer) => return Ok(answer),
                ControlFlow::Continue(()) => block += 1,
            }
        }
        Ok(None)
    }

    /// What a block says of a key; goes on if the next one may have it.
    pub(super) fn find(
        &self,
        block: usize,
        bytes: &BlockBytes<F::View>,
        key: &[u8],
        upto: Lsn,
    ) -> Result<ControlFlow<Option<Version>>, OpenError> {
        let lsn_base = self.footer.first_lsn;
        let found = match bytes {
            BlockBytes::Kept(kept) => kept.get(key, upto, lsn_base),
            BlockBytes::Stored(..) | BlockBytes::Unpacked(_) => {
                Block::new(bytes, lsn_base).and_then(|parsed| parsed.get(key, upto))
            }
        };
        match found {
            None => Err(self.damaged(block)),
            Some(Found::Nothing) => Ok(ControlFlow::Break(None)),
            Some(Found::MaybeNext) => Ok(ControlFlow::Continue(())),
            Some(Found::Version(lsn, place)) => {
                let value = place.map(|at| bytes[at].to_vec());
                Ok(ControlFlow::Break(Some(Version { lsn, value })))
            }
        }
    }

    /// Where a block is in the cache.
    pub(super) fn key_of(&self, place: &Range<u64>) -> BlockPlace {
        (self.sealed.ident().number, place.start)
    }

    /// Keeps a block, which stands at `place`, for whoever asks for it again.
    pub(super) fn keep(
        &self,
        block: usize,
        place: &Range<u64>,
        bytes: &BlockBytes<F::View>,
    ) -> Result<BlockBytes<F::View>, OpenError> {
        let kept = KeptBlock::new(bytes, self.footer.first_lsn);
        let kept = kept.ok_or_else(|| self.damaged(block))?;
        self.blocks.insert(self.key_of(place), kept.clone());
        Ok(BlockBytes::Kept(kept))
    }

    pub(super) fn may_have(&self, hash: KeyHash) -> Result<bool, OpenError> {
        let filter = self.section(FILTER, &self.filter)?;
        Ok(filter::may_have(filter, self.footer.probes, hash))
    }

    /// The first block that may have a key; the number of blocks if none may.
    pub(super) fn block_of(&self, key: &[u8]) -> Result<usize, OpenError> {
        let found = self.index()?.block_of(key);
        found.ok_or_else(|| self.sealed.damage(INDEX, 0, Damage::Field("index")).into())
    }

    /// One more than the last block that may have a key.
    pub(super) fn block_behind(&self, key: &[u8]) -> Result<usize, OpenError> {
        let found = self.index()?.block_behind(key);
        found.ok_or_else(|| self.sealed.damage(INDEX, 0, Damage::Field("index")).into())
    }

    pub(crate) fn blocks(&self) -> usize {
        self.footer.blocks as usize
    }

    /// Where a block stands among the bytes of all blocks.
    pub(super) fn place(&self, block: usize) -> Result<Range<u64>, OpenError> {
        let place = self.index()?.place(block);
        place.ok_or_else(|| self.sealed.damage(INDEX, 0, Damage::Field("index")).into())
    }

    /// Whether views copy nothing.
    pub(super) fn is_mapped(&self) -> bool {
        self.verified.is_some()
    }

    /// Bytes of blocks, not verified.
    pub(super) fn view(&self, places: Range<u64>) -> Result<FileBytes<F::View>, OpenError> {
        self.sealed.unverified(BLOCKS, places).map(FileBytes::View)
    }

    /// A hint that bytes of blocks will be read.
    pub(super) fn prefetch(&self, places: Range<u64>) {
        if let Ok((around, _)) = self.sealed.blocks_around(BLOCKS, &places) {
            self.sealed.file().prefetch(around);
        }
    }

    /// Where bytes of blocks are in the file.
    pub(super) fn around(
        &self,
        places: &Range<u64>,
    ) -> Result<(Range<u64>, Range<usize>), OpenError> {
        Ok(self.sealed.blocks_around(BLOCKS, places)?)
    }

    /// A queue of up to `depth` reads; `None` where views copy nothing.
    pub(super) fn queue(&self, depth: NonZeroU16) -> Result<Option<F::Queue>, OpenError> {
        if self.is_mapped() {
            return Ok(None);
        }
        Ok(Some(self.sealed.file().queue(depth)?))
    }

    /// How many reads of a queue are worth to be in flight: up to `most` where nobody else reads
    /// ahead.
    pub(super) fn reads_ahead(&self, most: NonZeroU16) -> NonZeroU16 {
        if self.is_direct { most } else { NonZeroU16::MIN }
    }

    fn index(&self) -> Result<Index<'_>, OpenError> {
        let bytes = self.section(INDEX, &self.index)?;
        let index = Index::new(bytes, self.blocks(), self.footer.skip as usize);
        index.ok_or_else(|| self.sealed.damage(INDEX, 0, Damage::Length).into())
    }

    /// A section that is verified, and kept, when it is first used.
    fn section<'r>(
        &'r self,
        id: u32,
        kept: &'r OnceLock<Verified<F::View>>,
    ) -> Result<&'r [u8], OpenError> {
        if let Some(bytes) = kept.get() {
            return Ok(bytes);
        }
        let read = self.sealed.read(id)?;
        Ok(kept.get_or_init(|| read))
    }

    /// A block, its checksum verified, once where views copy nothing: other blocks are kept for
    /// whoever asks for them again.
    pub(super) fn block(&self, block: usize) -> Result<BlockBytes<F::View>, OpenError> {
        let place = self.place(block)?;
        let bit = 1 << (block % 64);
        let verified = self.verified.as_ref().map(|verified| &verified[block / 64]);
        if verified.is_some_and(|verified| verified.load(Ordering::Relaxed) & bit != 0) {
            let view = self.view(place)?;
            let payload = 0..view.len() - TRAILER_LEN_BYTES;
            return Ok(BlockBytes::Stored(view, payload));
        }
        if let Some(kept) = self.blocks.get(self.key_of(&place)) {
            return Ok(BlockBytes::Kept(kept));
        }
        if verified.is_some() {
            // One read, and not one for every page that it touches.
            self.prefetch(place.clone());
        }
        let view = self.view(place.clone())?;
        let len = view.len();
        let bytes = self.block_in(place.start, view, 0..len)?;
        if let (BlockBytes::Stored(..), Some(verified)) = (&bytes, verified) {
            verified.fetch_or(bit, Ordering::Relaxed);
            return Ok(bytes);
        }
        self.keep(block, &place, &bytes)
    }

    /// The block in a range of bytes of the file, which stands at byte `at` of all blocks, its
    /// checksum verified.
    pub(super) fn block_in(
        &self,
        at: u64,
        bytes: FileBytes<F::View>,
        range: Range<usize>,
    ) -> Result<BlockBytes<F::View>, OpenError> {
        let damaged = |damage| OpenError::from(self.sealed.damage(BLOCKS, at, damage));
        let parts = bytes[range.clone()].split_last_chunk::<4>();
        let parts = parts.and_then(|(rest, crc)| Some((rest.split_last()?, crc)));
        let ((codec, payload), crc) = parts.ok_or_else(|| damaged(Damage::Length))?;
        let expected = block_crc(self.sealed.ident().number, at, *codec, payload);
        if u32::from_le_bytes(*crc) != expected && !mutant!("block-not-checked") {
            return Err(damaged(Damage::Checksum));
        }
        if *codec == STORED {
            return Ok(BlockBytes::Stored(bytes, range.start..range.end - TRAILER_LEN_BYTES));
        }
        match unpack(*codec, payload) {
            Ok(unpacked) => Ok(BlockBytes::Unpacked(unpacked)),
            Err(UnpackFault::Damaged) => Err(damaged(Damage::Field("block"))),
            Err(UnpackFault::NotCompiled(feature)) => {
                Err(OpenError::CodecNotCompiled { file: self.sealed.name().to_string(), feature })
            }
            Err(UnpackFault::Newer(found)) => {
                let newer = Newer { what: "codec", found, supported: ZSTD };
                Err(OpenError::newer_at(self.sealed.name(), at, newer))
            }
        }
    }

    /// All versions in a block, in order.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn entries_of(&self, block: usize) -> Result<Vec<(Vec<u8>, Version)>, OpenError> {
        let bytes = self.block(block)?;
        let mut unpacked = Unpacked::default();
        let parsed = Block::new(&bytes, self.footer.first_lsn);
        let taken = parsed.and_then(|parsed| unpacked.take(&parsed));
        taken.ok_or_else(|| self.damaged(block))?;
        let entry = |index| {
            let value = unpacked.value(index).map(|place| bytes[place].to_vec());
            (unpacked.key(index).to_vec(), Version { lsn: unpacked.lsn(index), value })
        };
        Ok((0..unpacked.len()).map(entry).collect())
    }

    /// It is not the table that is wanted, whatever its header says.
    pub(crate) fn inconsistent(&self) -> OpenError {
        self.sealed.damage(FOOTER, 0, Damage::Field("footer")).into()
    }

    /// A block whose checksum matches is not one.
    pub(super) fn damaged(&self, block: usize) -> OpenError {
        let start = self.place(block).map_or(0, |place| place.start);
        self.sealed.damage(BLOCKS, start, Damage::Field("block")).into()
    }
}
