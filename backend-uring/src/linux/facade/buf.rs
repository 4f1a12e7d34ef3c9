//! Memory that a runtime may hand to the kernel: the facade's only unsafe code.
//!
//! `tokio-uring` 0.5 frees the memory of a read whose future was dropped when the runtime ends,
//! *before* it waits for the kernel (`impl Drop for Driver` replaces the operation's data and only
//! then cancels). So a [`Lent`] frees nothing by itself: who gets it back takes the memory out, and
//! one that a runtime drops is leaked.

#![expect(unsafe_code, reason = "the runtime's traits of buffers are unsafe to implement")]

use gannet_storage::AlignedBuf;
use std::mem::ManuallyDrop;
use tokio_uring::buf::{IoBuf, IoBufMut};

/// A buffer in the hands of the runtime.
pub(super) struct Lent(ManuallyDrop<AlignedBuf>);

// No test at run time could tell: a runtime that ends frees the memory, and then waits.
const _: () = assert!(!std::mem::needs_drop::<Lent>(), "dropping it frees nothing");

impl Lent {
    pub(super) fn new(buf: AlignedBuf) -> Self {
        Self(ManuallyDrop::new(buf))
    }

    /// The memory, now that the runtime has given it back.
    pub(super) fn into_inner(self) -> AlignedBuf {
        ManuallyDrop::into_inner(self.0)
    }
}

// SAFETY: the memory is on the heap and does not move with this value; it is never freed while a
// `Lent` exists, nor by its drop, so the pointer stays valid as long as the runtime has it and
// longer. All bytes are initialised (`AlignedBuf` is zeroed). The assertion above notices a drop
// that frees; the test that ends a runtime with reads in flight, bytes that come after its end.
unsafe impl IoBuf for Lent {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }

    fn bytes_total(&self) -> usize {
        self.0.len()
    }
}

// SAFETY: as above; `&mut self` makes the pointer the only path to the bytes, and the value owns
// them alone. The same assertion and test would notice.
unsafe impl IoBufMut for Lent {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    // SAFETY: the caller says that so many bytes are initialised; here they always are, so there
    // is nothing to note and nothing that a wrong number could break.
    unsafe fn set_init(&mut self, _pos: usize) {}
}
