//! A read-only map of a whole file: the crate's only unsafe code.
//!
//! Keeps the memory and the advice about it. Who may change the file meanwhile, and who may ask, is
//! left to the storage.

#![expect(unsafe_code, reason = "a map of a file is sound only by a promise about that file")]

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::ops::Deref;

/// The bytes of a file in memory; of an empty file nothing is mapped.
#[derive(Debug)]
pub(crate) struct Map(Option<Mmap>);

impl Map {
    /// Maps all of `file`, which needs not stay open. Nobody may write or cut the file while the
    /// map lives: the storage sees to it for its own handles, and the caller of
    /// [`MmapStorage::open`](crate::MmapStorage::open) answers for everybody else.
    ///
    /// # Errors
    /// If the file is not `len_bytes` long now; `FileTooLarge` beyond the address space;
    /// `OutOfMemory` if that, or the number of maps, is used up; what else the system says.
    pub(crate) fn whole(file: &File, len_bytes: u64) -> Result<Self> {
        let now = file.metadata()?.len();
        if now != len_bytes {
            let text = format!("another program changed its length from {len_bytes} to {now}");
            return Err(Error::other(text));
        }
        if len_bytes == 0 {
            return Ok(Self(None));
        }
        let len = isize::try_from(len_bytes).map_err(|_| Error::from(ErrorKind::FileTooLarge))?;
        let mut options = MmapOptions::new();
        options.len(len.unsigned_abs());
        // SAFETY: the slice this gives out must not change or lose its file while it lives. The
        // file was as long as the map a moment ago, is sealed, and the open table refuses to write,
        // cut, replace or remove it while the hold beside this map lives (`sealed::Inner`: the map
        // is dropped first); other programs stay away by the promise of `MmapStorage::open`. If one
        // does cut the file, a read beyond its end is SIGBUS: the process dies, see `tests/it`.
        let map = unsafe { options.map(file) }?;
        Ok(Self(Some(map)))
    }

    /// Gives back the pages that the map holds of the page cache, so that the kernel can drop them;
    /// the next read of each brings it back.
    ///
    /// # Errors
    /// What the system says: pages locked into memory cannot be given back.
    #[cfg(unix)]
    pub(crate) fn release(&self) -> Result<()> {
        let Some(map) = &self.0 else { return Ok(()) };
        // SAFETY: the bytes must be the same after it. They are, because the map is a shared one of
        // a file and was never written: what is given back is read from the file again. (In a
        // private or anonymous map they would be lost.) Every test of views after
        // `discard_cache` would notice.
        unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) }
    }

    /// As on Unix; but this system has no such call.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "as on Unix")]
    pub(crate) fn release(&self) -> Result<()> {
        Ok(())
    }

    /// Asks for `len` bytes from `offset` to be read ahead, as a hint. They lie inside the map.
    #[cfg(unix)]
    pub(crate) fn will_need(&self, offset: usize, len: usize) {
        if let Some(map) = &self.0 {
            // A refusal costs nothing but the wait that it would have saved.
            let _ = map.advise_range(memmap2::Advice::WillNeed, offset, len);
        }
    }

    /// Asks for faults to read their page alone, as a hint.
    #[cfg(unix)]
    pub(crate) fn random(&self) {
        if let Some(map) = &self.0 {
            // A refusal costs reads of what nobody looks at.
            let _ = map.advise(memmap2::Advice::Random);
        }
    }

    /// As on Unix; but this system has no such call.
    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "as on Unix")]
    pub(crate) fn random(&self) {}

    /// As on Unix; but this system has no such call.
    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "as on Unix")]
    pub(crate) fn will_need(&self, _offset: usize, _len: usize) {}
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
