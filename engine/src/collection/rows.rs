//! Vectors: views of sealed files, and memory for what no whole view holds.
//!
//! A view holds a power of two of rows, about 4 MiB of vectors, and never changes. All other rows
//! are in chunks of memory of about 32 KiB, which copies of a store share until one of them writes
//! there: so a copy is the rows at one moment, and a row that is added copies little.

use crate::sealed::Verified;
use gannet_hnsw::{Overlay, Rows, row_stride};
use std::ops::Deref;
use std::sync::Arc;

const VIEW_LEN_BYTES: usize = 4 << 20;
const CHUNK_LEN_BYTES: usize = 32 << 10;

/// All vectors of a collection, zero-padded to the stride that the kernels want.
pub(crate) struct RowStore<V> {
    dims: u32,
    /// Rows of a view, and of a chunk of memory.
    view_log2: u32,
    chunk_log2: u32,
    /// By the number of their first row; `None` where rows are in memory.
    views: Vec<Option<Arc<Verified<V>>>>,
    memory: Overlay<f32>,
    len: u32,
}

impl<V> Clone for RowStore<V> {
    fn clone(&self) -> Self {
        let Self { dims, view_log2, chunk_log2, ref views, ref memory, len } = *self;
        Self { dims, view_log2, chunk_log2, views: views.clone(), memory: memory.clone(), len }
    }
}

impl<V: Deref<Target = [u8]>> RowStore<V> {
    pub(crate) fn new(dims: u32) -> Self {
        let row_len = size_of::<f32>() * row_stride(dims);
        let view_log2 = (VIEW_LEN_BYTES / row_len).max(1).ilog2();
        let chunk_log2 = (CHUNK_LEN_BYTES / row_len).max(1).ilog2();
        let memory = Overlay::new(row_stride(dims) << chunk_log2);
        Self { dims, view_log2, chunk_log2, views: Vec::new(), memory, len: 0 }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Rows of a view, of which every view begins at a multiple.
    pub(crate) fn rows_per_view(&self) -> u32 {
        1 << self.view_log2
    }

    pub(crate) fn row_len_bytes(&self) -> usize {
        size_of::<f32>() * row_stride(self.dims)
    }

    /// Runs `read` with all rows.
    pub(crate) fn with_rows<T>(&self, read: impl FnOnce(&Rows<'_>) -> T) -> T {
        let views = self.views.iter().map(|view| match view {
            // Views are aligned: clause 10 of the storage contract.
            Some(bytes) => bytemuck::cast_slice(bytes),
            None => &[],
        });
        let views: Vec<&[f32]> = views.collect();
        let memory = (&self.memory, self.chunk_log2);
        read(&Rows::layered(self.dims, self.view_log2, &views, memory, self.len))
    }

    /// Bytes of `count` rows from `first` on as they stand in memory, at most to the end of a chunk
    /// or a view.
    pub(crate) fn bytes(&self, first: u32, count: u32) -> &[u8] {
        let count = count.min(self.len - first) as usize;
        let within = |bytes, rows_log2: u32| -> &[u8] {
            let in_piece = first as usize & ((1 << rows_log2) - 1);
            let count = count.min((1 << rows_log2) - in_piece);
            let row_len = self.row_len_bytes();
            &<[u8]>::as_ref(bytes)[in_piece * row_len..][..count * row_len]
        };
        if let Some(chunk) = self.memory.get((first >> self.chunk_log2) as usize) {
            return within(bytemuck::cast_slice(chunk), self.chunk_log2);
        }
        let view = self.views[(first >> self.view_log2) as usize].as_ref();
        within(view.expect("a row is in memory or in a view"), self.view_log2)
    }

    /// Appends a row: `fill` gets its bytes, all zero and aligned. If it fails nothing is appended.
    pub(crate) fn push<E>(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let row = self.room_for_next();
        fill(row).inspect_err(|_| row.fill(0))?;
        self.len += 1;
        Ok(())
    }

    /// Appends verified rows that go into one view: a whole view stays one, less is copied.
    pub(crate) fn append(&mut self, rows: Verified<V>) {
        let row_len = self.row_len_bytes();
        let is_whole = rows.len() == row_len << self.view_log2;
        if is_whole && self.len.is_multiple_of(self.rows_per_view()) {
            let index = (self.len >> self.view_log2) as usize;
            self.views.resize_with(index, || None);
            self.views.push(Some(Arc::new(rows)));
            self.len += self.rows_per_view();
            return;
        }
        for row in rows.chunks_exact(row_len) {
            self.room_for_next().copy_from_slice(row);
            self.len += 1;
        }
    }

    /// The bytes behind the last row, for the next one.
    fn room_for_next(&mut self) -> &mut [u8] {
        let stride = row_stride(self.dims);
        let chunk = self.memory.chunk_mut((self.len >> self.chunk_log2) as usize, |_| {});
        let in_chunk = self.len as usize & ((1 << self.chunk_log2) - 1);
        bytemuck::cast_slice_mut(&mut chunk[in_chunk * stride..][..stride])
    }

    /// Bytes of its own, and bytes of views.
    pub(crate) fn memory_bytes(&self) -> (usize, usize) {
        let viewed = self.views.iter().flatten().map(|view| view.viewed_len_bytes()).sum();
        (self.memory.memory_bytes(), viewed)
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
        assert_eq!((store.len(), store.rows_per_view()), (150, 64));
        store.with_rows(|rows| {
            for row in 0..150_u16 {
                let floats = rows.row(u32::from(row));
                assert_eq!(floats[0].to_bits(), f32::from(row).to_bits());
                assert_eq!(floats.as_ptr().addr() % 64, 0);
            }
        });
        let mut first = 0;
        while first < 150 {
            let bytes = store.bytes(first, 40);
            for row in bytes.chunks_exact(store.row_len_bytes()) {
                assert_eq!(row[..4], f32::from(u16::try_from(first).unwrap()).to_le_bytes());
                first += 1;
            }
        }
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
        let all = |store: &RowStore<Vec<u8>>| {
            store.with_rows(|rows| (0..rows.len()).map(|row| rows.row(row).to_vec()).collect())
        };
        let was: Vec<Vec<f32>> = all(&then);
        (70..200_u16).for_each(|row| push(&mut store, row.into()));
        assert!(store.push(|_| Err(())).is_err());
        assert_eq!((then.len(), store.len()), (70, 200));
        assert_eq!(all(&then), was);
        assert_eq!(all(&store)[..70], was);
    }
}
