//! Many keys of a table at once: the blocks that have to be read are read together.

use super::reader::{BlockBytes, FileBytes, TableReader};
use super::{BLOCKS, KeyHash, Version};
use crate::damage::Lsn;
use crate::error::OpenError;
use gannet_storage::{AlignedBuf, Read, SealedFile};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Blocks that are read together are so long, or one.
const READ_TOGETHER_BYTES_MAX: u64 = 4 << 20;

impl<F: SealedFile> TableReader<F> {
    /// As [`get`](Self::get), of each of the keys, in their order; the blocks that have to be read
    /// are read together, some at a time.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn get_many(
        &self,
        keys: &[(&[u8], KeyHash)],
        upto: Lsn,
    ) -> Result<Vec<Option<Version>>, OpenError> {
        let mut found = vec![None; keys.len()];
        if upto < self.footer.first_lsn {
            return Ok(found);
        }
        // Blocks, and which of the keys each may have.
        let mut asked: Vec<(usize, usize)> = Vec::new();
        for (index, (key, hash)) in keys.iter().enumerate() {
            if self.may_have(*hash)? {
                asked.push((self.block_of(key)?, index));
            }
        }
        asked.retain(|(block, _)| *block < self.blocks());
        asked.sort_unstable();
        let mut rest = &asked[..];
        while !rest.is_empty() {
            let (together, behind) = rest.split_at(self.readable_together(rest)?);
            rest = behind;
            let mut blocks: Vec<usize> = together.iter().map(|(block, _)| *block).collect();
            blocks.dedup();
            let mut read = blocks.iter().zip(self.blocks_of(&blocks)?).peekable();
            for (block, index) in together {
                while read.next_if(|(of, _)| **of < *block).is_some() {}
                let (_, bytes) = read.peek().expect("each was read");
                let (key, _) = keys[*index];
                found[*index] = match self.find(*block, bytes, key, upto)? {
                    ControlFlow::Break(answer) => answer,
                    ControlFlow::Continue(()) => self.get_from(block + 1, key, upto)?,
                };
            }
        }
        Ok(found)
    }

    /// How many of these, in order of their blocks, are asked for at a time.
    fn readable_together(&self, asked: &[(usize, usize)]) -> Result<usize, OpenError> {
        let mut bytes = 0;
        for (count, (block, _)) in asked.iter().enumerate() {
            let place = self.place(*block)?;
            bytes += place.end - place.start;
            if count > 0 && bytes > READ_TOGETHER_BYTES_MAX {
                return Ok(count);
            }
        }
        Ok(asked.len())
    }

    /// Some blocks in order, their checksums verified: those that have to be read in one batch.
    fn blocks_of(&self, blocks: &[usize]) -> Result<Vec<BlockBytes<F::View>>, OpenError> {
        if self.is_mapped() {
            for block in blocks {
                self.prefetch(self.place(*block)?);
            }
            return blocks.iter().map(|block| self.block(*block)).collect();
        }
        let mut found = Vec::with_capacity(blocks.len());
        let mut missing = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let place = self.place(*block)?;
            let kept = self.blocks.get(self.key_of(&place));
            if kept.is_none() {
                let (around, within) = self.sealed.blocks_around(BLOCKS, &place)?;
                let len = usize::try_from(around.end - around.start).expect("inside a file");
                missing.push((index, place, around.start, within, AlignedBuf::zeroed(len)));
            }
            found.push(kept.map(BlockBytes::Kept));
        }
        for (_, place, ..) in missing.iter().filter(|_| missing.len() > 1) {
            // Where a batch is done one by one, the operating system reads the others meanwhile.
            self.prefetch(place.clone());
        }
        let mut reads = Vec::with_capacity(missing.len());
        for (_, _, offset, _, buf) in &mut missing {
            reads.push(Read { offset: *offset, buf });
        }
        self.sealed.file().read_batch(&mut reads)?;
        for (index, place, _, within, buf) in missing {
            let bytes = FileBytes::Read(Arc::new(buf));
            let bytes = self.block_in(place.start, bytes, within)?;
            found[index] = Some(self.keep(blocks[index], &place, &bytes)?);
        }
        Ok(found.into_iter().flatten().collect())
    }
}
