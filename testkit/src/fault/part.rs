//! Batches done in part.

use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, Read, Result, Write, WriteFile, check_writes,
};
use std::ops::Range;

/// The bytes of the file from the first to the last that a batch is about.
pub(super) fn span(spans: impl Iterator<Item = (u64, usize)>) -> Option<Range<u64>> {
    let ranges = spans.map(|(offset, len)| offset..offset.saturating_add(len as u64));
    ranges.reduce(|all, one| all.start.min(one.start)..all.end.max(one.end))
}

pub(super) fn span_of_reads(reads: &[Read<'_>]) -> Option<Range<u64>> {
    span(reads.iter().map(|read| (read.offset, read.buf.len())))
}

pub(super) fn span_of_writes(writes: &[Write<'_>]) -> Option<Range<u64>> {
    span(writes.iter().map(|write| (write.offset, write.bytes.len())))
}

/// Writes the first half of the bytes of a batch; where that ends inside a block, the block is
/// torn.
///
/// # Errors
/// As the file's own calls.
pub(super) fn write_half<F: WriteFile>(file: &F, writes: &[Write<'_>]) -> Result<()> {
    check_writes(file.name(), writes, file.len_bytes())?;
    let total: usize = writes.iter().map(|write| write.bytes.len()).sum();
    // Half of a block is whole sectors.
    let mut left = total / 2;
    for write in writes {
        let (new, _) = write.bytes.split_at(left.min(write.bytes.len()));
        left -= new.len();
        let whole_len = new.len() - new.len() % BLOCK_SIZE;
        let (whole, torn) = new.split_at(whole_len);
        let put =
            |offset, bytes| file.write_batch(&[Write { offset, bytes }], Durability::Deferred);
        put(write.offset, whole)?;
        if !torn.is_empty() {
            let offset = write.offset + whole_len as u64;
            let mut block = AlignedBuf::zeroed(BLOCK_SIZE);
            file.read_at(offset, &mut block)?;
            block[..torn.len()].copy_from_slice(torn);
            put(offset, &block)?;
        }
    }
    Ok(())
}
