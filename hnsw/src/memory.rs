//! Memory of large tables, in huge pages where the system has them, or where somebody else keeps
//! it.
//!
//! A walk reads lists and codes all over their tables: with pages of 4 KiB most of these reads miss
//! the CPU's cache of addresses as well. Whether pages are huge changes no result.

use std::fmt;
use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use bytemuck::Pod;

#[cfg(target_os = "linux")]
use memmap2::{Advice, MmapMut};

/// A huge page; smaller tables are on the heap.
#[cfg(target_os = "linux")]
const HUGE_LEN: usize = 2 << 20;

/// The image of a graph where it lies: bytes that their owner keeps and nobody changes. A clone
/// shares them.
#[derive(Clone)]
pub struct Image {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    is_verified: bool,
}

// Nothing can be seen half changed in what does not change.
impl UnwindSafe for Image {}
impl RefUnwindSafe for Image {}

impl Image {
    /// The bytes of `owner`, which are the same each time.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self { owner: Arc::new(owner), is_verified: false }
    }

    /// As [`new`](Self::new), of bytes that a checksum of the owner's covers, which matched: the
    /// one that the image has of its body is not computed again.
    pub fn verified(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self { is_verified: true, ..Self::new(owner) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        (*self.owner).as_ref()
    }

    pub(crate) fn is_verified(&self) -> bool {
        self.is_verified
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("len", &self.bytes().len()).finish_non_exhaustive()
    }
}

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
    /// Items that are not its own, until they are to change.
    Viewed {
        image: Image,
        /// Bytes of the image.
        range: Range<usize>,
    },
}

impl<T: Pod> Place<T> {
    pub(crate) const fn new() -> Self {
        Self::Heap(Vec::new())
    }

    pub(crate) fn of(items: &[T]) -> Self {
        let mut place = Self::new();
        place.extend_from_slice(items);
        place
    }

    /// With room for so many items.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut place = Self::new();
        place.reserve(capacity);
        place
    }

    /// The items that a range of an image is; `None` where this machine has another order of bytes,
    /// or the range no place where items can be.
    ///
    /// # Panics
    /// If the image has no such range.
    pub(crate) fn viewed(image: &Image, range: Range<usize>) -> Option<Self> {
        let is_native = cfg!(target_endian = "little") || size_of::<T>() == 1;
        let bytes = &image.bytes()[range.clone()];
        let fits = is_native && bytemuck::try_cast_slice::<u8, T>(bytes).is_ok();
        fits.then(|| Self::Viewed { image: image.clone(), range })
    }

    pub(crate) fn is_viewed(&self) -> bool {
        matches!(self, Self::Viewed { .. })
    }

    /// The items. Cheap, but not free: who reads many keeps the slice.
    pub(crate) fn items(&self) -> &[T] {
        match self {
            Self::Heap(items) => items,
            #[cfg(target_os = "linux")]
            Self::Huge { map, start, len } => {
                bytemuck::cast_slice(&map[*start..*start + len * size_of::<T>()])
            }
            Self::Viewed { image, range } => bytemuck::cast_slice(&image.bytes()[range.clone()]),
        }
    }

    /// The items, from now on in memory of their own.
    pub(crate) fn items_mut(&mut self) -> &mut [T] {
        if self.is_viewed() {
            *self = Self::of(self.items());
        }
        match self {
            Self::Heap(items) => items,
            #[cfg(target_os = "linux")]
            Self::Huge { map, start, len } => {
                bytemuck::cast_slice_mut(&mut map[*start..*start + *len * size_of::<T>()])
            }
            Self::Viewed { .. } => unreachable!("it is its own by now"),
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
            Self::Viewed { range, .. } => {
                range.end = range.end.min(range.start + count * size_of::<T>());
            }
        }
    }

    /// Bytes of memory of its own: of an address range, the huge pages that the items use.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Heap(items) => items.capacity() * size_of::<T>(),
            #[cfg(target_os = "linux")]
            Self::Huge { len, .. } => (len * size_of::<T>()).next_multiple_of(HUGE_LEN),
            Self::Viewed { .. } => 0,
        }
    }

    /// Bytes that are somebody else's.
    pub(crate) fn viewed_bytes(&self) -> usize {
        if let Self::Viewed { range, .. } = self { range.len() } else { 0 }
    }

    /// Makes room for `count` more items, of any value.
    fn add_room(&mut self, count: usize) {
        self.reserve(count);
        match self {
            Self::Heap(items) => items.resize(items.len() + count, T::zeroed()),
            #[cfg(target_os = "linux")]
            Self::Huge { len, .. } => *len += count,
            Self::Viewed { .. } => assert!(count == 0, "no room in what is somebody else's"),
        }
    }

    fn reserve(&mut self, more: usize) {
        let items = self.items();
        let needed = items.len() + more;
        let capacity = match &*self {
            Self::Heap(items) => items.capacity(),
            #[cfg(target_os = "linux")]
            Self::Huge { map, start, .. } => (map.len() - start) / size_of::<T>(),
            Self::Viewed { .. } => 0,
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

    #[test]
    fn what_is_viewed_is_copied_before_it_changes() {
        let words: Vec<u32> = (0..600_000).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        // A vector of bytes may begin anywhere.
        let start = bytes.as_ptr().align_offset(4);
        let image = Image::new(bytes);
        let view = || Place::<u32>::viewed(&image, start..start + 2_000_000).unwrap();
        assert!(Place::<u32>::viewed(&image, start + 1..start + 9).is_none(), "no place of words");
        assert!(Place::<u32>::viewed(&image, start..start + 9).is_none(), "no whole words");
        let read = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let expect: Vec<u32> =
            image.bytes()[start..start + 2_000_000].chunks(4).map(read).collect();
        let mut place = view();
        assert_eq!(place.items(), expect);
        assert_eq!((place.memory_bytes(), place.viewed_bytes()), (0, 2_000_000));
        place.truncate(7);
        assert_eq!((place.items(), place.viewed_bytes()), (&expect[..7], 28));
        place.grow(1, 9);
        assert!(!place.is_viewed());
        assert_eq!(place.items(), [&expect[..7], &[9]].concat());
        let mut place = view();
        place.items_mut()[3] = 7;
        assert_eq!((place.items()[3], view().items()[3]), (7, expect[3]));
        assert!(place.memory_bytes() >= 2_000_000 && place.viewed_bytes() == 0);
        assert_eq!(place.items()[4..], expect[4..]);
    }
}
