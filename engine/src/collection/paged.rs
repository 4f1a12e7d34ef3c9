//! A list that is cheap to copy and goes on growing: pages that copies share until one of them
//! writes there.

use std::sync::Arc;

/// Items of a page.
const PAGE_LEN: usize = 256;

/// A list of `T`. A clone copies a pointer for every [`PAGE_LEN`] items.
#[derive(Debug)]
pub(super) struct Paged<T> {
    /// All full but the last.
    pages: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }
}

impl<T> Clone for Paged<T> {
    fn clone(&self) -> Self {
        Self { pages: self.pages.clone(), len: self.len }
    }
}

impl<T: Clone> Paged<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.pages.get(index / PAGE_LEN)?.get(index % PAGE_LEN)
    }

    /// Appends an item: copies a page if a copy of the list shares the last one.
    pub(super) fn push(&mut self, item: T) {
        if self.len.is_multiple_of(PAGE_LEN) {
            self.pages.push(Arc::new(Vec::new()));
        }
        let page = Arc::make_mut(self.pages.last_mut().expect("a page was pushed"));
        if page.len() == page.capacity() {
            // Doubling stops where the page is full; a copied page has no room to spare.
            page.reserve_exact(page.len().max(4).min(PAGE_LEN - page.len()));
        }
        page.push(item);
        self.len += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.iter())
    }

    /// Bytes on the heap, those of the items themselves left out.
    pub(super) fn memory_bytes(&self) -> usize {
        let pages = self.pages.iter().map(|page| page.capacity() * size_of::<T>()).sum::<usize>();
        pages + self.pages.capacity() * size_of::<Arc<Vec<T>>>()
    }
}

impl<T: Clone> Extend<T> for Paged<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        for item in items {
            self.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_stays_as_it_was_while_the_list_grows() {
        let mut list = Paged::default();
        let mut clones = Vec::new();
        for item in 0..2000_usize {
            assert_eq!(list.is_empty(), item == 0);
            if item % 97 == 0 {
                clones.push((item, list.clone()));
            }
            list.push(item);
        }
        clones.push((2000, list));
        for (len, clone) in clones {
            assert!(clone.iter().copied().eq(0..len), "{len}");
            assert_eq!(clone.get(len), None);
            assert!((0..len).all(|index| clone.get(index) == Some(&index)));
            let pages = len.next_multiple_of(PAGE_LEN) * size_of::<usize>();
            assert!(clone.memory_bytes() <= pages + pages / 4 + 64, "{len}");
        }
    }
}
