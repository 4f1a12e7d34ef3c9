//! A view made by reading: for backends that have no mapped memory to point into.

use crate::{AlignedBuf, BLOCK_SIZE, Error, ErrorKind, Op, ReadFile, Result};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes of a sealed file in a shared buffer. `K` is kept alive with the bytes: what marks the file
/// as in use.
#[derive(Clone, Debug)]
pub struct BufView<K> {
    buf: Arc<AlignedBuf>,
    range: Range<usize>,
    _keep: K,
}

impl<K> BufView<K> {
    /// Reads the blocks around `range` of `file` in one read and keeps them with `keep`.
    ///
    /// # Errors
    /// `OutOfBounds`, checked before anything is allocated; `Io`.
    pub fn read<F: ReadFile>(file: &F, range: Range<u64>, keep: K) -> Result<Self> {
        let block = BLOCK_SIZE as u64;
        let out = || Error::new(ErrorKind::OutOfBounds, Op::View, file.name()).at(range.clone());
        if range.start > range.end || range.end > file.len_bytes() {
            return Err(out());
        }
        let first = range.start - range.start % block;
        let len = usize::try_from(range.end.next_multiple_of(block) - first).map_err(|_| out())?;
        let mut buf = AlignedBuf::zeroed(len);
        file.read_at(first, &mut buf)?;
        // Both fit: they are at most `len`, which is a usize.
        let at = |offset: u64| usize::try_from(offset - first).map_err(|_| out());
        Ok(Self { range: at(range.start)?..at(range.end)?, buf: Arc::new(buf), _keep: keep })
    }

    /// `range` of a buffer that is the whole file.
    pub(crate) fn of_whole(buf: Arc<AlignedBuf>, range: Range<usize>, keep: K) -> Self {
        Self { buf, range, _keep: keep }
    }
}

impl<K> Deref for BufView<K> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buf[self.range.clone()]
    }
}
