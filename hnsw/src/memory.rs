//! Memory of large tables, in huge pages where the system has them.
//!
//! A walk reads lists and codes all over their tables: with pages of 4 KiB most of these reads miss
//! the CPU's cache of addresses as well. Whether pages are huge changes no result.

use bytemuck::Pod;

#[cfg(target_os = "linux")]
use memmap2::{Advice, MmapMut};

/// A huge page; smaller tables are on the heap.
#[cfg(target_os = "linux")]
const HUGE_LEN: usize = 2 << 20;

/// Items that grow at their end. Once they are more than a huge page they have an address range of
/// their own, of which only what they use is memory.
pub(crate) enum Place<T> {
    Heap(Vec<T>),
    #[cfg(target_os = "linux")]
    Huge {
        map: MmapMut,
        /// Bytes before the first huge page of the map.
        start: usize,
        /// Items.
        len: usize,
    },
}

impl<T: Pod> Place<T> {
    pub(crate) const fn new() -> Self {
        Self::Heap(Vec::new())
    }

    /// With room for so many items.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut place = Self::new();
        place.reserve(capacity);
        place
    }

    /// The items. Cheap, but not free: who reads many keeps the slice.
    pub(crate) fn items(&self) -> &[T] {
        match self {
            Self::Heap(items) => items,
            #[cfg(target_os = "linux")]
            Self::Huge { map, start, len } => {
                bytemuck::cast_slice(&map[*start..*start + len * size_of::<T>()])
            }
        }
    }

    pub(crate) fn items_mut(&mut self) -> &mut [T] {
        match self {
            Self::Heap(items) => items,
            #[cfg(target_os = "linux")]
            Self::Huge { map, start, len } => {
                bytemuck::cast_slice_mut(&mut map[*start..*start + *len * size_of::<T>()])
            }
        }
    }

    /// Appends `count` times `item`.
    pub(crate) fn grow(&mut self, count: usize, item: T) {
        let len = self.items().len();
        self.add_room(count);
        self.items_mut()[len..].fill(item);
    }

    pub(crate) fn extend_from_slice(&mut self, items: &[T]) {
        let len = self.items().len();
        self.add_room(items.len());
        self.items_mut()[len..].copy_from_slice(items);
    }

    /// Keeps the first `count` items, and the memory of all.
    pub(crate) fn truncate(&mut self, count: usize) {
        match self {
            Self::Heap(items) => items.truncate(count),
            #[cfg(target_os = "linux")]
            Self::Huge { len, .. } => *len = count.min(*len),
        }
    }

    /// Bytes of memory: of an address range of their own, the huge pages that the items use.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Heap(items) => items.capacity() * size_of::<T>(),
            #[cfg(target_os = "linux")]
            Self::Huge { len, .. } => (len * size_of::<T>()).next_multiple_of(HUGE_LEN),
        }
    }

    /// Makes room for `count` more items, of any value.
    fn add_room(&mut self, count: usize) {
        self.reserve(count);
        match self {
            Self::Heap(items) => items.resize(items.len() + count, T::zeroed()),
            #[cfg(target_os = "linux")]
            Self::Huge { len, .. } => *len += count,
        }
    }

    fn reserve(&mut self, more: usize) {
        let items = self.items();
        let needed = items.len() + more;
        let capacity = match &*self {
            Self::Heap(items) => items.capacity(),
            #[cfg(target_os = "linux")]
            Self::Huge { map, start, .. } => (map.len() - start) / size_of::<T>(),
        };
        if needed <= capacity {
            return;
        }
        #[cfg(target_os = "linux")]
        if needed * size_of::<T>() > HUGE_LEN
            && let Some(place) = huge(items, needed.max(2 * items.len()))
        {
            *self = place;
            return;
        }
        // By an eighth: doubling would leave half of a large table empty.
        let mut grown = Vec::new();
        grown.reserve_exact(needed.max(items.len() + items.len() / 8));
        grown.extend_from_slice(items);
        *self = Self::Heap(grown);
    }
}

/// `items` in an address range for `capacity` of them; what is not used of it is no memory. `None`
/// where there is no such range.
#[cfg(target_os = "linux")]
fn huge<T: Pod>(items: &[T], capacity: usize) -> Option<Place<T>> {
    let len_bytes = capacity.checked_mul(size_of::<T>())?.checked_add(HUGE_LEN)?;
    let mut map = MmapMut::map_anon(len_bytes).ok()?;
    if !cfg!(ablate = "huge-pages") {
        // A hint: where there are no huge pages it gets small ones.
        let _ = map.advise(Advice::HugePage);
    }
    let start = map.as_ptr().align_offset(HUGE_LEN);
    map.get_mut(start..)?[..size_of_val(items)].copy_from_slice(bytemuck::cast_slice(items));
    Some(Place::Huge { map, start, len: items.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_kept_from_the_heap_to_huge_pages() {
        let mut place = Place::new();
        let mut truth: Vec<u32> = Vec::new();
        for step in 0..40_u32 {
            let count = 50_000 + 7 * step as usize;
            if step % 2 == 0 {
                place.grow(count, step);
                truth.extend(vec![step; count]);
            } else {
                let items: Vec<u32> = (step..).take(count).collect();
                place.extend_from_slice(&items);
                truth.extend(&items);
            }
            place.items_mut()[step as usize * 1000] = 7;
            truth[step as usize * 1000] = 7;
            assert_eq!(place.items(), truth, "step {step}");
        }
        let used = size_of_val(&truth[..]);
        assert!((used..used + used / 8 + (2 << 20)).contains(&place.memory_bytes()));
        place.truncate(7);
        place.grow(2, 3);
        assert_eq!((&place.items()[..7], &place.items()[7..]), (&truth[..7], &[3, 3][..]));
    }
}
