//! Vectors: views of sealed files, and memory for what no whole view holds.
//!
//! A view holds a power of two of rows, about 4 MiB of vectors, and never changes. All other rows
//! are in chunks of memory of about 32 KiB, which copies of a store share until one of them writes
//! there: so a copy is the rows at one moment, and a row that is added copies little. A view may
//! have come without being verified: then each block of it is before it is read (`unverified`).

use super::unverified::Unverified;
use crate::damage::Corruption;
use crate::sealed::{SectionView, Verified};
use gannet_hnsw::{Executor, Guard, Overlay, Rows, row_stride};
use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock};

const VIEW_LEN_BYTES: usize = 4 << 20;
const CHUNK_LEN_BYTES: usize = 32 << 10;

/// All vectors of a collection, zero-padded to the stride that the kernels want.
pub(crate) struct RowStore<V> {
    dims: u32,
    /// Rows of a view, and of a chunk of memory.
    view_log2: u32,
    chunk_log2: u32,
    /// By the number of their first row; `None` where rows are in memory.
    views: Vec<Option<Arc<SectionView<V>>>>,
    /// What of the views was not verified when they came; copies share it.
    unverified: Arc<Unverified>,
    memory: Overlay<f32>,
    len: u32,
}

impl<V> Clone for RowStore<V> {
    fn clone(&self) -> Self {
        let Self { dims, view_log2, chunk_log2, ref views, ref unverified, ref memory, len } =
            *self;
        let (views, unverified) = (views.clone(), Arc::clone(unverified));
        Self { dims, view_log2, chunk_log2, views, unverified, memory: memory.clone(), len }
    }
}

impl<V: Deref<Target = [u8]> + Send + Sync> RowStore<V> {
    pub(crate) fn new(dims: u32) -> Self {
        let row_len = size_of::<f32>() * row_stride(dims);
        let view_log2 = (VIEW_LEN_BYTES / row_len).max(1).ilog2();
        let chunk_log2 = (CHUNK_LEN_BYTES / row_len).max(1).ilog2();
        let memory = Overlay::new(row_stride(dims) << chunk_log2);
        let unverified = Arc::new(Unverified::new(row_len));
        Self { dims, view_log2, chunk_log2, views: Vec::new(), unverified, memory, len: 0 }
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

    pub(crate) fn view_len_bytes(&self) -> usize {
        self.row_len_bytes() << self.view_log2
    }

    /// Runs `read` with all rows, each of which is verified before it is read.
    ///
    /// # Errors
    /// Damage of a row that was read: what was made of it is thrown away.
    pub(crate) fn with_rows<T>(&self, read: impl FnOnce(&Rows<'_>) -> T) -> Result<T, Corruption> {
        if self.unverified.blocks.left() == 0 {
            return Ok(self.with_views(read));
        }
        let met = OnceLock::new();
        let check = |block: u32| {
            let verified = self.verify_block(block << self.unverified.blocks.rows_per_block_log2());
            verified.map_err(|damage| _ = met.set(damage)).is_ok()
        };
        let guard = Guard::new(&self.unverified.blocks, &check);
        let made = self.with_views(|rows| read(&rows.guarded(&guard)));
        met.into_inner().map_or(Ok(made), Err)
    }

    /// Runs `read` with all rows, every one of them verified before.
    ///
    /// # Errors
    /// As [`verify_all`](Self::verify_all); nothing was run then.
    pub(crate) fn with_verified<T>(
        &self,
        executor: &Executor,
        read: impl FnOnce(&Rows<'_>) -> T,
    ) -> Result<T, Corruption> {
        self.verify_all(executor)?;
        Ok(self.with_views(read))
    }

    /// Runs `read` with all rows, verified or not.
    fn with_views<T>(&self, read: impl FnOnce(&Rows<'_>) -> T) -> T {
        let views = self.views.iter().map(|view| match view {
            // Views are aligned: clause 10 of the storage contract.
            Some(view) => bytemuck::cast_slice(view.bytes()),
            None => &[],
        });
        let views: Vec<&[f32]> = views.collect();
        let memory = (&self.memory, self.chunk_log2);
        read(&Rows::layered(self.dims, self.view_log2, &views, memory, self.len))
    }

    /// The first damage that anybody has met in rows that were not verified when they came.
    pub(crate) fn damage(&self) -> Option<&Corruption> {
        self.unverified.damage()
    }

    /// Verifies every row that was not yet. Cost: reading them, once.
    ///
    /// # Errors
    /// Damage, of any row. Where some was met before, at no cost.
    pub(crate) fn verify_all(&self, executor: &Executor) -> Result<(), Corruption> {
        if let Some(damage) = self.damage() {
            return Err(damage.clone());
        }
        if self.unverified.blocks.left() == 0 {
            return Ok(());
        }
        let verified = executor.map(self.views.len(), |index| {
            let Some(view) = &self.views[index] else { return Ok(()) };
            let first = u32::try_from(index).expect("fewer than rows") << self.view_log2;
            let blocks = &self.unverified.blocks;
            let mut rows =
                (first..first + self.rows_per_view()).step_by(1 << blocks.rows_per_block_log2());
            let is_verified = !rows.any(|row| blocks.contains(row));
            if is_verified { Ok(()) } else { self.verify(view, 0..view.len(), first) }
        });
        verified.into_iter().collect()
    }

    /// Verifies the block of a row, if it was not yet.
    fn verify_block(&self, row: u32) -> Result<(), Corruption> {
        let Unverified { blocks, .. } = &*self.unverified;
        if !blocks.contains(row) {
            return Ok(());
        }
        let rows_log2 = blocks.rows_per_block_log2();
        let first = row >> rows_log2 << rows_log2;
        let view = self.views[(row >> self.view_log2) as usize].as_ref();
        let at = (first & (self.rows_per_view() - 1)) as usize * self.row_len_bytes();
        let bytes = at..at + (self.row_len_bytes() << rows_log2);
        self.verify(view.expect("what was not verified is in a view"), bytes, first)
    }

    fn verify(
        &self,
        view: &SectionView<V>,
        bytes: Range<usize>,
        first: u32,
    ) -> Result<(), Corruption> {
        self.unverified.verify(view, bytes, (first, self.dims))
    }

    /// Bytes of `count` rows from `first` on as they stand in memory, verified: at most to the end
    /// of a chunk, of a view, or of a block where not all were verified before.
    ///
    /// # Errors
    /// Damage of these rows.
    pub(crate) fn bytes(&self, first: u32, count: u32) -> Result<&[u8], Corruption> {
        let count = count.min(self.len - first) as usize;
        let row_len = self.row_len_bytes();
        let in_piece = |rows_log2: u32| first as usize & ((1 << rows_log2) - 1);
        let count_within = |rows_log2: u32| count.min((1 << rows_log2) - in_piece(rows_log2));
        if let Some(chunk) = self.memory.get((first >> self.chunk_log2) as usize) {
            let bytes: &[u8] = bytemuck::cast_slice(chunk);
            let bytes = &bytes[in_piece(self.chunk_log2) * row_len..];
            return Ok(&bytes[..count_within(self.chunk_log2) * row_len]);
        }
        let view = self.views[(first >> self.view_log2) as usize].as_ref();
        let bytes = view.expect("a row is in memory or in a view").bytes();
        let Unverified { blocks, .. } = &*self.unverified;
        let is_verified = blocks.left() == 0;
        let to_log2 = if is_verified { self.view_log2 } else { blocks.rows_per_block_log2() };
        self.verify_block(first)?;
        Ok(&bytes[in_piece(self.view_log2) * row_len..][..count_within(to_log2) * row_len])
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
        if self.is_whole_view(rows.len()) {
            self.push_view(rows.into_view());
            return;
        }
        let row_len = self.row_len_bytes();
        for row in rows.chunks_exact(row_len) {
            self.room_for_next().copy_from_slice(row);
            self.len += 1;
        }
    }

    /// Appends a whole view of rows that are verified when they are wanted.
    ///
    /// # Panics
    /// If it is no whole view, or the store has been copied.
    pub(crate) fn append_unverified(&mut self, rows: SectionView<V>) {
        assert!(self.is_whole_view(rows.len()), "{} bytes behind row {}", rows.len(), self.len);
        let unverified = Arc::get_mut(&mut self.unverified).expect("a store that is being loaded");
        unverified.blocks.add(self.len..self.len + (1 << self.view_log2));
        self.push_view(rows);
    }

    /// Whether so many bytes of rows are a view when they come next.
    fn is_whole_view(&self, len_bytes: usize) -> bool {
        len_bytes == self.view_len_bytes() && self.len.is_multiple_of(self.rows_per_view())
    }

    fn push_view(&mut self, view: SectionView<V>) {
        let index = (self.len >> self.view_log2) as usize;
        self.views.resize_with(index, || None);
        self.views.push(Some(Arc::new(view)));
        self.len += self.rows_per_view();
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
    use crate::sealed::{FileKind, Ident, SealedReader, SealedWriter};
    use gannet_storage::{BLOCK_SIZE, Durability, MemStorage, ReadFile, Storage, Write, WriteFile};

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
        let check = |rows: &Rows<'_>| {
            for row in 0..150_u16 {
                let floats = rows.row(u32::from(row));
                assert_eq!(floats[0].to_bits(), f32::from(row).to_bits());
                assert_eq!(floats.as_ptr().addr() % 64, 0);
            }
        };
        store.with_rows(check).unwrap();
        let mut first = 0;
        while first < 150 {
            let bytes = store.bytes(first, 40).unwrap();
            for row in bytes.chunks_exact(store.row_len_bytes()) {
                assert_eq!(row[..4], f32::from(u16::try_from(first).unwrap()).to_le_bytes());
                first += 1;
            }
        }
    }

    /// 64 rows of 64,000 bytes, in a file; row `bad` is damaged.
    fn viewed(bad: Option<u16>) -> RowStore<impl Deref<Target = [u8]> + Send + Sync> {
        let (storage, database, row_len) = (MemStorage::new(), [1; 16], 64_000);
        let ident = Ident { kind: FileKind::Rows, database, number: 1, lsn: 1 };
        let mut writer = SealedWriter::create(&storage, ident, &[(1, 64 * row_len)]).unwrap();
        for row in 0..64_u16 {
            writer.write(bytemuck::cast_slice(&vec![f32::from(row); 16_000])).unwrap();
        }
        let file = writer.finish().unwrap();
        if let Some(row) = bad {
            let file = storage.open(&FileKind::Rows.file_name(1)).unwrap();
            let at = BLOCK_SIZE as u64 + u64::from(row) * row_len;
            let mut block = storage.alloc(BLOCK_SIZE);
            let offset = at / BLOCK_SIZE as u64 * BLOCK_SIZE as u64;
            file.read_at(offset, &mut block).unwrap();
            block[usize::try_from(at - offset).unwrap()] ^= 1;
            file.write_batch(&[Write { offset, bytes: &block }], Durability::Data).unwrap();
        }
        let reader = SealedReader::open(&storage, FileKind::Rows, database, &file).unwrap();
        let mut store = RowStore::new(16_000);
        store.append_unverified(reader.view_range(1, 0..64 * row_len).unwrap());
        store
    }

    #[test]
    fn each_block_of_a_view_is_verified_once_and_for_all_copies() {
        let store = viewed(None);
        let left = |store: &RowStore<_>| store.unverified.blocks.left();
        let mut copy = store.clone();
        assert_eq!(left(&store), 32, "blocks of two rows");
        let first_of = |row: u16| move |rows: &Rows<'_>| rows.row(row.into())[0].to_bits();
        for row in [3, 2, 3, 9] {
            assert_eq!(copy.with_rows(first_of(row)), Ok(f32::from(row).to_bits()));
        }
        assert_eq!((left(&store), left(&copy)), (30, 30));
        assert_eq!(store.bytes(9, 20).map(<[u8]>::len), Ok(64_000), "to the end of its block");
        assert_eq!(store.bytes(20, 20).map(<[u8]>::len), Ok(128_000));
        assert_eq!(left(&copy), 29);
        copy.push(|_| Ok::<(), ()>(())).unwrap();
        assert_eq!(copy.with_rows(first_of(64)), Ok(0));
        assert_eq!(left(&copy), 29, "what is in memory needs no check");
        let threads = Executor::threads(2).unwrap();
        assert_eq!(copy.with_verified(&threads, |rows| rows.row(64).len()), Ok(16_000));
        assert_eq!((left(&store), store.damage()), (0, None));
        assert_eq!(store.bytes(0, 99).map(<[u8]>::len), Ok(64 * 64_000));
    }

    #[test]
    fn a_block_that_is_damaged_fails_each_time_and_the_others_do_not() {
        let store = viewed(Some(8));
        let first_of = |row: u16| move |rows: &Rows<'_>| rows.row(row.into())[0].to_bits();
        for _ in 0..2 {
            // Row 7 ends in the unit that row 8 begins in.
            for row in [6, 7, 8, 9] {
                store.with_rows(first_of(row)).unwrap_err();
                store.bytes(row.into(), 1).unwrap_err();
            }
            for row in [0, 5, 10, 63] {
                assert_eq!(store.with_rows(first_of(row)), Ok(f32::from(row).to_bits()));
            }
        }
        let damage = store.damage().unwrap().clone();
        assert_eq!(store.verify_all(&Executor::Serial), Err(damage));
        let run = store.with_verified(&Executor::Serial, |_| panic!("it is run"));
        assert!(run.is_err());
        assert_eq!(
            viewed(Some(8)).verify_all(&Executor::Serial),
            run,
            "also where nobody was there"
        );
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
            let copy =
                |rows: &Rows<'_>| (0..rows.len()).map(|row| rows.row(row).to_vec()).collect();
            store.with_rows(copy).unwrap()
        };
        let was: Vec<Vec<f32>> = all(&then);
        (70..200_u16).for_each(|row| push(&mut store, row.into()));
        assert!(store.push(|_| Err(())).is_err());
        assert_eq!((then.len(), store.len()), (70, 200));
        assert_eq!(all(&then), was);
        assert_eq!(all(&store)[..70], was);
    }
}
