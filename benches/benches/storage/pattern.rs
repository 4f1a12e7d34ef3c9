//! Files whose every block says where it belongs, so that a read can be checked at no cost.

use gannet_benches::Random;
use gannet_storage::{AlignedBuf, BLOCK_SIZE, Durability, FileName, Storage, Write, WriteFile};

/// Bytes of one write when a file is made.
pub(crate) const CHUNK_BYTES: usize = 8 << 20;
const BLOCK: u64 = BLOCK_SIZE as u64;

/// The name of the file that is read.
pub(crate) fn name() -> FileName {
    FileName::new("blocks").expect("a valid name")
}

/// Makes the file, unless it is there.
pub(crate) fn make<S: Storage>(storage: &S, file_bytes: u64) {
    if storage.list().expect("a directory").iter().any(|meta| meta.name == name()) {
        return;
    }
    let file = storage.create(&name(), file_bytes).expect("a file");
    let mut chunk = storage.alloc(CHUNK_BYTES);
    for offset in (0..file_bytes).step_by(CHUNK_BYTES) {
        fill(&mut chunk, offset);
        let write = Write { offset, bytes: &chunk };
        file.write_batch(&[write], Durability::Deferred).expect("room on the disk");
    }
    drop(storage.seal(file).expect("a sync"));
    storage.sync_dir().expect("a sync");
}

/// Fills whole blocks that begin at `offset` of the file.
pub(crate) fn fill(bytes: &mut [u8], offset: u64) {
    for (block, at) in bytes.chunks_mut(BLOCK_SIZE).zip((offset..).step_by(BLOCK_SIZE)) {
        block.fill(0xA5);
        block[..8].copy_from_slice(&at.to_le_bytes());
    }
}

/// # Panics
/// If a block is not the one at `offset`.
pub(crate) fn check(block: &[u8], offset: u64) {
    assert_eq!(block[..8], offset.to_le_bytes(), "the block at {offset}");
    assert_eq!(block[BLOCK_SIZE - 1], 0xA5, "the block at {offset}");
}

/// Offsets of blocks of a file, at random.
pub(crate) struct Offsets {
    random: Random,
    blocks: u64,
}

impl Offsets {
    pub(crate) fn new(seed: u64, file_bytes: u64) -> Self {
        Self { random: Random::new(seed), blocks: file_bytes / BLOCK }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.random.next_u64() % self.blocks * BLOCK
    }
}

/// Buffers of one block.
pub(crate) fn buffers<S: Storage>(storage: &S, count: usize) -> Vec<AlignedBuf> {
    (0..count).map(|_| storage.alloc(BLOCK_SIZE)).collect()
}
