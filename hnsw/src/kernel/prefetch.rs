//! Asking the CPU for memory before it is needed. Changes no result.

/// Cache lines fetched of a long row: the CPU's own prefetcher takes over once a row is read.
#[cfg(target_arch = "x86_64")]
const LINES_MAX: usize = 16;

/// Asks for the first lines of `values` to be brought near.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T]) {
    if cfg!(ablate = "prefetch") {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        let line = 64 / size_of::<T>();
        for first in values.iter().step_by(line).take(LINES_MAX) {
            // SAFETY: a prefetch is a hint: it reads nothing into the program and never faults,
            // and this address is that of a live reference. Nothing could notice a bad one.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(first).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Asks for the line that lies `BYTES` after `line`, whatever is there.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn prefetch_after<const BYTES: usize>(line: &[f32; 16]) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    let ahead = line.as_ptr().wrapping_byte_add(BYTES);
    // SAFETY: a prefetch is a hint: it reads nothing into the program and never faults, not even
    // where nothing lies. Nothing could notice a bad address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.cast()) };
}
