//! Bytes that know where they belong, and the few calls with which every check begins.

use super::verdict::Clause;
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, FileName, ReadFile, Result, Storage, Write, WriteFile,
};

/// [`BLOCK_SIZE`] as a file offset.
pub(super) const BLOCK: u64 = BLOCK_SIZE as u64;

/// A name that is known to be valid.
pub(super) fn name(text: &str) -> FileName {
    FileName::new(text).expect("the suite's own names are valid")
}

/// The byte that `seed` has at `offset` of a file: differs between neighbours, sectors, blocks and
/// seeds, and is never zero.
pub(super) fn byte(seed: u8, offset: u64) -> u8 {
    let mixed = offset
        .wrapping_add(u64::from(seed) << 48)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_le_bytes()[7] | 1
}

/// `len_bytes` bytes of `seed` as they are at `offset`, in memory of `storage`.
pub(super) fn filled<S: Storage>(
    storage: &S,
    seed: u8,
    offset: u64,
    len_bytes: usize,
) -> AlignedBuf {
    let mut buf = storage.alloc(len_bytes);
    for (at, slot) in (offset..).zip(buf[..len_bytes].iter_mut()) {
        *slot = byte(seed, at);
    }
    buf
}

/// Writes `blocks` blocks of `seed` from block `first`.
pub(super) fn put<S: Storage>(
    storage: &S,
    file: &S::File,
    seed: u8,
    first: u64,
    blocks: usize,
    durability: Durability,
) -> Result<()> {
    let offset = first * BLOCK;
    let bytes = filled(storage, seed, offset, blocks * BLOCK_SIZE);
    file.write_batch(&[Write { offset, bytes: &bytes }], durability)
}

/// The whole contents of a file, in one read.
pub(super) fn contents<S: Storage, F: ReadFile>(
    clause: Clause,
    storage: &S,
    file: &F,
) -> AlignedBuf {
    let len = usize::try_from(file.len_bytes()).expect("the suite's files are small");
    let mut buf = storage.alloc(len);
    clause.ok("read_at(whole file)", file.read_at(0, &mut buf));
    buf
}

/// A new file of `blocks` blocks of `seed`, in the operating system's hands.
pub(super) fn create<S: Storage>(
    clause: Clause,
    storage: &S,
    name: &FileName,
    seed: u8,
    blocks: usize,
) -> S::File {
    let file = clause.ok("create", storage.create(name, blocks as u64 * BLOCK));
    clause.ok("write_batch", put(storage, &file, seed, 0, blocks, Durability::Deferred));
    file
}

/// A new sealed file of `blocks` blocks of `seed`.
pub(super) fn sealed<S: Storage>(
    clause: Clause,
    storage: &S,
    name: &FileName,
    seed: u8,
    blocks: usize,
) -> S::Sealed {
    let file = create(clause, storage, name, seed, blocks);
    clause.ok("seal", storage.seal(file))
}
