//! Blocks that were read, unpacked, for whoever asks for them again.

use super::kept::KeptBlock;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// About what a block takes beside its bytes.
const BLOCK_OVERHEAD: u64 = 64;
/// About how long blocks are, to make room for as many as there may be.
const BLOCK_BYTES: u64 = 4096;

/// A block: the number of its file, and where it stands there.
pub(crate) type BlockPlace = (u64, u64);

/// As many blocks as fit in so many bytes: those that were asked for more than once, or last.
#[derive(Debug)]
pub(crate) struct BlockCache {
    /// `None` where nothing is kept.
    blocks: Option<Cache<BlockPlace, KeptBlock, Weight>>,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<BlockPlace, KeptBlock> for Weight {
    fn weight(&self, _: &BlockPlace, block: &KeptBlock) -> u64 {
        block.len_bytes() as u64 + BLOCK_OVERHEAD
    }
}

impl BlockCache {
    /// Of at most `bytes` bytes; 0 for none.
    pub(crate) fn new(bytes: u64) -> Self {
        let blocks = usize::try_from(bytes / BLOCK_BYTES).unwrap_or(usize::MAX);
        let make = || Cache::with_weighter(blocks, bytes, Weight);
        Self { blocks: (bytes > 0).then(make) }
    }

    pub(crate) fn get(&self, place: BlockPlace) -> Option<KeptBlock> {
        self.blocks.as_ref()?.get(&place)
    }

    pub(crate) fn insert(&self, place: BlockPlace, block: KeptBlock) {
        if let Some(blocks) = &self.blocks {
            blocks.insert(place, block);
        }
    }

    /// How many bytes it holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.as_ref().map_or(0, Cache::weight)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::super::block::BlockBuilder;
    use super::*;

    #[test]
    fn it_keeps_no_more_than_it_may_and_gives_back_what_it_has() {
        const BYTES: u64 = 1 << 20;
        let cache = BlockCache::new(BYTES);
        let block = |at: u64| {
            let mut block = BlockBuilder::default();
            block.push(&Entry { key: &at.to_le_bytes(), lsn: 1, value: Some(&[7; 4000]) }, 1);
            KeptBlock::new(block.finish(), 1).expect("a block")
        };
        let mut kept = 0;
        for at in 0..2000 {
            cache.insert((7, at), block(at));
            assert!(cache.bytes() <= BYTES);
            kept += u32::from(cache.get((7, at)).is_some_and(|found| found == block(at)));
        }
        assert!(kept > 100 && cache.bytes() > BYTES / 2, "{kept}, {}", cache.bytes());
        assert_eq!(cache.get((8, 1999)), None);
        let none = BlockCache::new(0);
        none.insert((1, 1), block(1));
        assert_eq!((none.get((1, 1)), none.bytes()), (None, 0));
    }
}
