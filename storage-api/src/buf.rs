//! Memory aligned to blocks: the crate's only unsafe code.
//!
//! Keeps one zeroed allocation, aligned to [`BLOCK_SIZE`] and a whole number of blocks long. What
//! the bytes mean is left to the owner.

#![expect(unsafe_code, reason = "an aligned allocation has no safe constructor in std")]

use crate::BLOCK_SIZE;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Zeroed heap memory whose address and length are multiples of [`BLOCK_SIZE`].
pub struct AlignedBuf {
    start: NonNull<u8>,
    len_bytes: usize,
}

impl AlignedBuf {
    /// `len_bytes` zero bytes, rounded up to whole blocks. Length 0 allocates nothing.
    ///
    /// # Panics
    /// If the rounded length is beyond `isize::MAX`. Aborts where the allocator has no memory:
    /// check lengths that come from a disk against the file before asking.
    #[must_use]
    pub fn zeroed(len_bytes: usize) -> Self {
        let len_bytes = len_bytes.next_multiple_of(BLOCK_SIZE);
        if len_bytes == 0 {
            return Self { start: NonNull::dangling(), len_bytes };
        }
        let layout = Self::layout(len_bytes);
        // SAFETY: the layout's size is not zero (checked above). A zero size would be undefined
        // behaviour in the allocator; Miri and ASan notice.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, len_bytes }
    }

    fn layout(len_bytes: usize) -> Layout {
        Layout::from_size_align(len_bytes, BLOCK_SIZE).expect("length fits isize::MAX")
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if self.len_bytes != 0 {
            // SAFETY: `start` came from `alloc_zeroed` with this same layout, in `zeroed`, the
            // only constructor, and nothing else frees it. A double free shows under ASan.
            unsafe { dealloc(self.start.as_ptr(), Self::layout(self.len_bytes)) }
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is valid for `len_bytes` initialised (zeroed, then only written through
        // `deref_mut`) bytes for as long as `self` lives; for length 0 a dangling, well aligned,
        // non-null pointer is allowed. ASan notices a length beyond the allocation.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len_bytes) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the slice the only path to the bytes.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len_bytes) }
    }
}

impl Clone for AlignedBuf {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len_bytes);
        copy.copy_from_slice(self);
        copy
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len_bytes", &self.len_bytes).finish_non_exhaustive()
    }
}

// SAFETY: the buffer owns its allocation exclusively, like a `Box<[u8]>`; no interior mutability,
// no thread affinity. Removing either property would need a field that is not Send.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above: `&AlignedBuf` gives out only `&[u8]`.
unsafe impl Sync for AlignedBuf {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_rounded_to_blocks_and_address_is_aligned() {
        for (asked, got) in [(0, 0), (1, 4096), (4096, 4096), (4097, 8192), (1 << 20, 1 << 20)] {
            let buf = AlignedBuf::zeroed(asked);
            assert_eq!(buf.len(), got);
            assert!(buf.iter().all(|&byte| byte == 0));
            if got != 0 {
                assert_eq!(buf.as_ptr().addr() % BLOCK_SIZE, 0);
            }
        }
    }

    #[test]
    fn a_clone_is_a_copy() {
        let mut a = AlignedBuf::zeroed(4096);
        a[7] = 9;
        let b = a.clone();
        a[7] = 1;
        assert_eq!((a[7], b[7]), (1, 9));
    }
}
