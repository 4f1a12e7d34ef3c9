//! Chunks that stand for parts of a table which others still read as they were.
//!
//! Copying an overlay copies some hundred references; a chunk is copied when it is first changed
//! while somebody else has it too. What a chunk stands for, and what is read where there is none,
//! is the owner's affair.

use std::array;
use std::fmt;
use std::sync::Arc;

use bytemuck::Pod;

/// Chunks of a page.
const PAGE_CHUNKS: usize = 64;
/// Chunks begin at multiples of this.
const ALIGN: usize = 64;

/// Chunks of equal length by number, each there or not.
#[derive(Clone)]
pub struct Overlay<T> {
    pages: Vec<Option<Arc<Page<T>>>>,
    items_per_chunk: usize,
    count: usize,
}

/// Some chunks in a row, shared as long as none of them changes.
struct Page<T> {
    chunks: [Option<Arc<Chunk<T>>>; PAGE_CHUNKS],
}

impl<T> Clone for Page<T> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone() }
    }
}

/// The items of a chunk, with some before them that nobody reads.
struct Chunk<T> {
    room: Vec<T>,
    start: usize,
}

impl<T: Pod> Chunk<T> {
    /// Of zeros.
    fn new(len: usize) -> Self {
        let room = vec![T::zeroed(); len + ALIGN / size_of::<T>()];
        // Where no place is aligned, speed is all that is lost.
        let start = room.as_ptr().align_offset(ALIGN).min(room.len() - len);
        Self { room, start }
    }

    fn len(&self) -> usize {
        self.room.len() - ALIGN / size_of::<T>()
    }

    fn items(&self) -> &[T] {
        &self.room[self.start..][..self.len()]
    }

    fn items_mut(&mut self) -> &mut [T] {
        let len = self.len();
        &mut self.room[self.start..][..len]
    }
}

impl<T: Pod> Clone for Chunk<T> {
    fn clone(&self) -> Self {
        let mut clone = Self::new(self.len());
        clone.items_mut().copy_from_slice(self.items());
        clone
    }
}

impl<T: Pod> Overlay<T> {
    /// No chunk, for chunks of so many items. Allocates nothing yet.
    ///
    /// # Panics
    /// If a chunk has no items.
    #[must_use]
    pub const fn new(items_per_chunk: usize) -> Self {
        assert!(items_per_chunk > 0, "chunks of no items");
        Self { pages: Vec::new(), items_per_chunk, count: 0 }
    }

    /// Items of a chunk.
    #[must_use]
    pub fn items_per_chunk(&self) -> usize {
        self.items_per_chunk
    }

    /// The chunk, where it is there.
    #[must_use]
    #[inline]
    pub fn get(&self, chunk: usize) -> Option<&[T]> {
        let page = self.pages.get(chunk / PAGE_CHUNKS)?.as_ref()?;
        page.chunks[chunk % PAGE_CHUNKS].as_ref().map(|chunk| chunk.items())
    }

    /// The chunk, to be changed. If it was not there, it is from now on, of zeros that `make` fills
    /// in. Cost: a copy of the chunk and of a page of references where others have them too.
    pub fn chunk_mut(&mut self, chunk: usize, make: impl FnOnce(&mut [T])) -> &mut [T] {
        let page = chunk / PAGE_CHUNKS;
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let new_page = || Arc::new(Page { chunks: array::from_fn(|_| None) });
        let page = Arc::make_mut(self.pages[page].get_or_insert_with(new_page));
        let place = &mut page.chunks[chunk % PAGE_CHUNKS];
        self.count += usize::from(place.is_none());
        let len = self.items_per_chunk;
        let chunk = place.get_or_insert_with(|| {
            let mut new = Chunk::new(len);
            make(new.items_mut());
            Arc::new(new)
        });
        Arc::make_mut(chunk).items_mut()
    }

    /// Whether no chunk is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many chunks are there.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        self.count
    }

    /// Bytes it holds on the heap, those that it shares with others included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let chunk = self.items_per_chunk * size_of::<T>() + ALIGN + size_of::<Chunk<T>>();
        let pages = self.pages.iter().flatten().count() * size_of::<Page<T>>();
        self.count * chunk + pages + self.pages.capacity() * size_of::<Option<Arc<Page<T>>>>()
    }
}

impl<T> fmt::Debug for Overlay<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shape = f.debug_struct("Overlay");
        shape.field("items_per_chunk", &self.items_per_chunk).field("chunks", &self.count);
        shape.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn clones_go_their_own_ways() {
        let mut state = 3_u64;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from((state >> 33) % bound).unwrap()
        };
        let mut pairs = vec![(Overlay::<u32>::new(5), BTreeMap::<usize, Vec<u32>>::new())];
        for step in 0..2000_u32 {
            let index = below(pairs.len() as u64);
            if step % 100 == 0 {
                pairs.push(pairs[index].clone());
            }
            let (overlay, truth) = &mut pairs[index];
            let (chunk, at) = (below(400), below(5));
            let items = overlay.chunk_mut(chunk, |new| {
                assert_eq!(new, [0; 5], "zeros");
                new[4] = step;
            });
            assert_eq!(items.as_ptr().align_offset(ALIGN), 0);
            items[at] = step;
            let expect = truth.entry(chunk).or_insert_with(|| vec![0, 0, 0, 0, step]);
            expect[at] = step;
        }
        for (overlay, truth) in &pairs {
            for chunk in 0..500 {
                assert_eq!(overlay.get(chunk), truth.get(&chunk).map(Vec::as_slice));
            }
            assert_eq!(overlay.chunk_count(), truth.len());
            assert_eq!(overlay.is_empty(), truth.is_empty());
            assert!(overlay.memory_bytes() >= truth.len() * 20);
        }
    }
}
