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
///
/// It lies inside an allocation of ordinary alignment and one block more: allocators hand out large
/// zeroed memory of ordinary alignment untouched, as the system gives it, but write every byte of
/// aligned memory.
pub struct AlignedBuf {
    /// What the allocator gave; dangling if `len_bytes` is 0.
    allocation: NonNull<u8>,
    /// Bytes from there to the first block boundary.
    skip_bytes: usize,
    len_bytes: usize,
}

impl AlignedBuf {
    /// `len_bytes` zero bytes, rounded up to whole blocks. Length 0 allocates nothing.
    ///
    /// # Panics
    /// If the rounded length is near `isize::MAX` or beyond. Aborts where the allocator has no
    /// memory: check lengths that come from a disk against the file before asking.
    #[must_use]
    pub fn zeroed(len_bytes: usize) -> Self {
        let len_bytes =
            len_bytes.checked_next_multiple_of(BLOCK_SIZE).expect("length fits isize::MAX");
        if len_bytes == 0 {
            return Self { allocation: NonNull::dangling(), skip_bytes: 0, len_bytes };
        }
        let layout = Self::layout(len_bytes);
        // SAFETY: the layout's size is not zero (checked above). A zero size would be undefined
        // behaviour in the allocator; Miri and ASan notice.
        let allocation = unsafe { alloc_zeroed(layout) };
        let Some(allocation) = NonNull::new(allocation) else { handle_alloc_error(layout) };
        let address = allocation.as_ptr().addr();
        Self { allocation, skip_bytes: address.next_multiple_of(BLOCK_SIZE) - address, len_bytes }
    }

    /// Of the allocation: one block more than the buffer.
    fn layout(len_bytes: usize) -> Layout {
        let size = len_bytes.checked_add(BLOCK_SIZE).expect("length fits isize::MAX");
        Layout::from_size_align(size, align_of::<u64>()).expect("length fits isize::MAX")
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: `skip_bytes` is below BLOCK_SIZE, and the allocation is BLOCK_SIZE longer than
        // the buffer (or both are 0), so the sum stays inside it; `zeroed` is the only constructor.
        // Miri notices a pointer that leaves its allocation.
        unsafe { self.allocation.as_ptr().add(self.skip_bytes) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if self.len_bytes != 0 {
            // SAFETY: `allocation` came from `alloc_zeroed` with this same layout, in `zeroed`, the
            // only constructor, and nothing else frees it. A double free shows under ASan.
            unsafe { dealloc(self.allocation.as_ptr(), Self::layout(self.len_bytes)) }
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: from `start` on there are `len_bytes` initialised (zeroed, then only written
        // through `deref_mut`) bytes for as long as `self` lives: the allocation has BLOCK_SIZE
        // more than `len_bytes`, of which `skip_bytes` lie before `start`. For length 0 a dangling,
        // non-null pointer is allowed. ASan notices a length beyond the allocation.
        unsafe { std::slice::from_raw_parts(self.start(), self.len_bytes) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the slice the only path to the bytes.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len_bytes) }
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
        let lengths =
            [(0, 0), (1, 4096), (4096, 4096), (4097, 8192), (100_000, 102_400), (1 << 20, 1 << 20)];
        for (asked, got) in lengths {
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
