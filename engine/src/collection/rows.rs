//! Vectors in chunks: each chunk is memory that grows, or a view of a sealed file.
//!
//! Keeps chunks 64-byte aligned. A chunk holds a power of two of rows, about 4 MiB of vectors, so
//! that a row is found by a shift. A clone shares the chunks: it is the rows at one moment, for the
//! price of a copy of the last chunk when that grows.

use crate::sealed::Verified;
use gannet_hnsw::row_stride;
use gannet_storage::AlignedBuf;
use std::ops::Deref;
use std::sync::Arc;

const CHUNK_LEN_BYTES: usize = 4 << 20;

/// All vectors of a collection, zero-padded to the stride that the kernels want.
pub(crate) struct RowStore<V> {
    row_len: usize,
    log2: u32,
    chunks: Vec<Arc<Chunk<V>>>,
    len: u32,
}

enum Chunk<V> {
    /// Grows up to a whole chunk; only the last one is not full.
    Memory(AlignedBuf),
    /// Full, and never changes.
    View(Verified<V>),
}

impl<V> Clone for RowStore<V> {
    fn clone(&self) -> Self {
        let Self { row_len, log2, ref chunks, len } = *self;
        Self { row_len, log2, chunks: chunks.clone(), len }
    }
}

impl<V: Deref<Target = [u8]>> RowStore<V> {
    pub(crate) fn new(dims: u32) -> Self {
        let row_len = size_of::<f32>() * row_stride(dims);
        let rows = (CHUNK_LEN_BYTES / row_len).max(1);
        Self { row_len, log2: rows.ilog2(), chunks: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn rows_per_chunk_log2(&self) -> u32 {
        self.log2
    }

    pub(crate) fn row_len_bytes(&self) -> usize {
        self.row_len
    }

    fn rows_per_chunk(&self) -> u32 {
        1 << self.log2
    }

    fn chunk_len_bytes(&self) -> usize {
        self.row_len_bytes() << self.log2
    }

    /// Each chunk's floats; all but the last hold exactly a chunk's rows.
    pub(crate) fn chunks<'s>(&'s self) -> Vec<&'s [f32]> {
        let full = self.chunk_len_bytes();
        let floats = |chunk: &'s Arc<Chunk<V>>| -> &'s [f32] {
            let bytes: &[u8] = match &**chunk {
                Chunk::Memory(bytes) => &bytes[..bytes.len().min(full)],
                Chunk::View(bytes) => bytes,
            };
            // Buffers and views are aligned: clause 10 of the storage contract.
            let whole_rows = bytes.len() / self.row_len_bytes() * self.row_len_bytes();
            bytemuck::cast_slice(&bytes[..whole_rows])
        };
        self.chunks.iter().map(floats).collect()
    }

    /// Bytes of `count` rows from `first` on as they stand in memory, at most to the end of a
    /// chunk.
    pub(crate) fn bytes(&self, first: u32, count: u32) -> &[u8] {
        let in_chunk = first & (self.rows_per_chunk() - 1);
        let count = count.min(self.rows_per_chunk() - in_chunk).min(self.len - first);
        let start = in_chunk as usize * self.row_len_bytes();
        let range = start..start + count as usize * self.row_len_bytes();
        match &*self.chunks[(first >> self.log2) as usize] {
            Chunk::Memory(bytes) => &bytes[range],
            Chunk::View(bytes) => &bytes[range],
        }
    }

    /// Appends a row: `fill` gets its bytes, all zero and aligned. If it fails nothing is appended.
    pub(crate) fn push<E>(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let row_len = self.row_len;
        let row = &mut self.room_for(1)[..row_len];
        fill(row).inspect_err(|_| row.fill(0))?;
        self.len += 1;
        Ok(())
    }

    /// Appends whole rows, as [`bytes`](Self::bytes) gives them.
    fn push_bytes(&mut self, mut bytes: &[u8]) {
        let row_len = self.row_len_bytes();
        debug_assert!(bytes.len().is_multiple_of(row_len));
        while !bytes.is_empty() {
            let count =
                self.room_in_chunk().min(u32::try_from(bytes.len() / row_len).unwrap_or(u32::MAX));
            let (head, rest) = bytes.split_at(count as usize * row_len);
            self.room_for(count)[..head.len()].copy_from_slice(head);
            self.len += count;
            bytes = rest;
        }
    }

    /// Appends verified rows that go into one chunk: a whole chunk stays a view, less is copied.
    pub(crate) fn append(&mut self, rows: Verified<V>) {
        if self.room_in_chunk() == self.rows_per_chunk() && rows.len() == self.chunk_len_bytes() {
            self.chunks.push(Arc::new(Chunk::View(rows)));
            self.len += self.rows_per_chunk();
        } else {
            self.push_bytes(&rows);
        }
    }

    /// Rows that the chunk of the next row can still take.
    fn room_in_chunk(&self) -> u32 {
        self.rows_per_chunk() - (self.len & (self.rows_per_chunk() - 1))
    }

    /// The bytes behind the last row, with room for `count` rows of its chunk.
    fn room_for(&mut self, count: u32) -> &mut [u8] {
        let index = (self.len >> self.log2) as usize;
        let in_chunk = (self.len & (self.rows_per_chunk() - 1)) as usize;
        let (row_len, full) = (self.row_len_bytes(), self.chunk_len_bytes());
        let needed = (in_chunk + count as usize) * row_len;
        if index == self.chunks.len() {
            self.chunks.push(Arc::new(Chunk::Memory(AlignedBuf::zeroed(0))));
        }
        let chunk = &mut self.chunks[index];
        let Chunk::Memory(bytes) = &**chunk else {
            unreachable!("chunk {index} is a view, and views are full");
        };
        let is_shared = Arc::strong_count(chunk) > 1;
        if bytes.len() < needed || is_shared {
            let len = if bytes.len() < needed { 2 * bytes.len() } else { bytes.len() };
            let mut grown = AlignedBuf::zeroed(len.max(needed).min(full));
            if !(is_shared && mutant!("shared-rows-not-copied")) {
                grown[..bytes.len()].copy_from_slice(bytes);
            }
            *chunk = Arc::new(Chunk::Memory(grown));
        }
        match Arc::get_mut(chunk) {
            Some(Chunk::Memory(bytes)) => &mut bytes[in_chunk * row_len..],
            Some(Chunk::View(_)) | None => unreachable!("chunk {index} is memory of its own"),
        }
    }

    /// Bytes of its own, and bytes of views.
    pub(crate) fn memory_bytes(&self) -> (usize, usize) {
        self.chunks.iter().fold((0, 0), |(own, viewed), chunk| match &**chunk {
            Chunk::Memory(bytes) => (own + bytes.len(), viewed),
            Chunk::View(bytes) => (own, viewed + bytes.viewed_len_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_aligned_and_found_across_chunks() {
        let dims = 16_000; // 64 rows a chunk
        let mut store = RowStore::<Vec<u8>>::new(dims);
        for row in 0..150_u16 {
            let fill = |bytes: &mut [u8]| {
                bytes[..4].copy_from_slice(&f32::from(row).to_le_bytes());
                Ok::<(), ()>(())
            };
            store.push(fill).unwrap();
        }
        assert!(store.push(|_| Err(())).is_err());
        assert_eq!((store.len(), store.rows_per_chunk_log2()), (150, 6));
        let chunks = store.chunks();
        let rows = gannet_hnsw::Rows::new(dims, 6, &chunks, 150);
        for row in 0..150_u16 {
            let floats = rows.row(u32::from(row));
            assert_eq!(floats[0].to_bits(), f32::from(row).to_bits());
            assert_eq!(floats.as_ptr().addr() % 64, 0);
        }
        let mut copy = RowStore::<Vec<u8>>::new(dims);
        let mut first = 0;
        while first < 150 {
            let bytes = store.bytes(first, 40);
            copy.push_bytes(bytes);
            first = copy.len();
        }
        let copied = copy.chunks().concat();
        assert_eq!(copied[..], chunks.concat()[..copied.len()]);
    }

    #[test]
    fn a_clone_stays_as_it_was_while_rows_are_added() {
        let mut store = RowStore::<Vec<u8>>::new(16_000);
        let push = |store: &mut RowStore<_>, first: f32| {
            let fill = |bytes: &mut [u8]| {
                bytes[..4].copy_from_slice(&first.to_le_bytes());
                Ok::<(), ()>(())
            };
            store.push(fill).unwrap();
        };
        (0..70_u16).for_each(|row| push(&mut store, row.into()));
        let then = store.clone();
        let was = then.chunks().concat();
        (70..200_u16).for_each(|row| push(&mut store, row.into()));
        assert!(store.push(|_| Err(())).is_err());
        assert_eq!((then.len(), store.len()), (70, 200));
        assert_eq!(then.chunks().concat(), was);
        assert_eq!(store.chunks().concat()[..was.len().min(70 * 16_000)], was[..70 * 16_000]);
    }
}
