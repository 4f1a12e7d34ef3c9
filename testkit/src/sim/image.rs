//! Contents of a file as blocks that copies share until one of them changes.
//!
//! Keeps bytes, length and a digest that follows every change. What is durable of them is left to
//! `inode`.

use super::digest;
use gannet_storage::BLOCK_SIZE;
use std::sync::Arc;

/// Bytes that a crash keeps or loses as one.
pub(super) const SECTOR: usize = 512;
/// Sectors of a block.
pub(super) const SECTORS: usize = BLOCK_SIZE / SECTOR;

/// One block that is not all zero, with the digest of each sector; 0 for a sector of zeroes.
#[derive(Debug)]
pub(super) struct Block {
    bytes: [u8; BLOCK_SIZE],
    digests: [u128; SECTORS],
}

/// A block; `None` is all zero.
pub(super) type Shared = Option<Arc<Block>>;

/// The block of these bytes.
pub(super) fn block(bytes: &[u8]) -> Shared {
    let bytes: [u8; BLOCK_SIZE] = bytes.try_into().expect("the caller cuts blocks");
    let mut digests = [0; SECTORS];
    for (sector, digest) in bytes.chunks_exact(SECTOR).zip(&mut digests) {
        if sector != [0; SECTOR] {
            *digest = digest::bytes(sector);
        }
    }
    (digests != [0; SECTORS]).then(|| Arc::new(Block { bytes, digests }))
}

/// A block put together from sectors of others, each at its own place.
pub(super) fn assemble(parts: [&Shared; SECTORS]) -> Shared {
    let mut made = Block { bytes: [0; BLOCK_SIZE], digests: [0; SECTORS] };
    for (at, part) in parts.into_iter().enumerate() {
        if let Some(part) = part {
            let bytes = at * SECTOR..(at + 1) * SECTOR;
            made.bytes[bytes.clone()].copy_from_slice(&part.bytes[bytes]);
            made.digests[at] = part.digests[at];
        }
    }
    (made.digests != [0; SECTORS]).then(|| Arc::new(made))
}

/// Digest of one sector of a block; 0 where it is zero.
pub(super) fn sector_digest(block: &Shared, sector: usize) -> u128 {
    block.as_ref().map_or(0, |block| block.digests[sector])
}

/// What one sector adds to the sum of its image.
pub(super) fn sector_sum(digest: u128, block: usize, sector: usize) -> u128 {
    if digest == 0 { 0 } else { digest::placed(digest, (block * SECTORS + sector) as u128) }
}

/// What a block adds to the sum of its image.
fn block_sum(block: &Shared, index: usize) -> u128 {
    let sectors = 0..SECTORS;
    sectors
        .fold(0, |sum: u128, at| sum.wrapping_add(sector_sum(sector_digest(block, at), index, at)))
}

/// Digest of a file from the sum of its sectors and its length.
pub(super) fn file_digest(sum: u128, len_bytes: u64) -> u128 {
    digest::placed(sum, u128::from(len_bytes) + 1)
}

/// The contents of a file. A clone shares all blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    len_bytes: u64,
    /// Up to the last block that is not zero.
    blocks: Arc<Vec<Shared>>,
    sum: u128,
}

impl Image {
    pub(super) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Sum of the digests of all sectors.
    pub(super) fn sum(&self) -> u128 {
        self.sum
    }

    pub(super) fn digest(&self) -> u128 {
        file_digest(self.sum, self.len_bytes)
    }

    /// Block `index`; zero where nothing was written.
    pub(super) fn block(&self, index: usize) -> &Shared {
        self.blocks.get(index).unwrap_or(&None)
    }

    /// Blocks that may be other than zero: `0..n`.
    pub(super) fn blocks_used(&self) -> usize {
        self.blocks.len()
    }

    /// Puts a block inside the length.
    pub(super) fn set_block(&mut self, index: usize, new: Shared) {
        let old = block_sum(self.block(index), index);
        self.sum = self.sum.wrapping_sub(old).wrapping_add(block_sum(&new, index));
        let blocks = Arc::make_mut(&mut self.blocks);
        if index >= blocks.len() {
            if new.is_none() {
                return;
            }
            blocks.resize(index + 1, None);
        }
        blocks[index] = new;
    }

    /// Grows with zeroes or cuts.
    pub(super) fn set_len(&mut self, len_bytes: u64) {
        let kept = blocks_of(len_bytes);
        for index in kept..self.blocks_used() {
            self.set_block(index, None);
        }
        if kept < self.blocks_used() {
            Arc::make_mut(&mut self.blocks).truncate(kept);
        }
        self.len_bytes = len_bytes;
    }

    /// Copies whole blocks from `offset`, which has been checked to lie inside.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) {
        for (at, into) in buf.chunks_exact_mut(BLOCK_SIZE).enumerate() {
            match self.block(blocks_of(offset) + at) {
                Some(block) => into.copy_from_slice(&block.bytes),
                None => into.fill(0),
            }
        }
    }
}

/// `bytes`, a multiple of the block, in blocks.
pub(super) fn blocks_of(bytes: u64) -> usize {
    usize::try_from(bytes / BLOCK_SIZE as u64).expect("lengths are below FILE_LEN_MAX")
}
