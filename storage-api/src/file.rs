//! The traits of files: read, written, sealed.

use crate::{Durability, FileName, Read, ReadQueue, Result, Write};
use std::num::NonZeroU16;
use std::ops::{Deref, Range};

/// Positional reads. `&self`: any number of threads at once.
pub trait ReadFile: Send + Sync + 'static {
    /// The name it was opened under.
    fn name(&self) -> &FileName;

    /// Its length in bytes, a multiple of `BLOCK_SIZE`.
    fn len_bytes(&self) -> u64;

    /// Fills every buffer, in any order, or fails. On failure the contents of the buffers are
    /// unspecified. Returns only when no buffer is in use any more.
    ///
    /// # Errors
    /// `Misaligned`, `OutOfBounds` (both before anything is read), `Io`.
    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()>;

    /// One read: a batch of one.
    ///
    /// # Errors
    /// As [`read_batch`](Self::read_batch).
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.read_batch(&mut [Read { offset, buf }])
    }

    /// Forgets what the operating system caches of this file: reads that begin after it come from
    /// the media, or fail. Bytes that no sync has covered may be lost by it. Where the storage has
    /// no cache between file and media it does nothing.
    ///
    /// # Errors
    /// `Io` where the cache could not be dropped.
    fn discard_cache(&self) -> Result<()>;
}

/// Positional writes. One owner holds the writer, but may share `&self` between its threads.
pub trait WriteFile: ReadFile {
    /// Writes all of `writes`, in any order, then reaches `durability` for them and for every write
    /// of this file whose call had returned before this call began. Batches that run at the same
    /// time must not overlap.
    ///
    /// # Errors
    /// `Misaligned`, `OutOfBounds` (both before anything is written); `NoSpace`, `Io`: each block
    /// of the batch is then old, new or torn, and after a failed *durable* call nothing more may be
    /// believed of this file (see [`FailStop`](crate::FailStop)).
    fn write_batch(&self, writes: &[Write<'_>], durability: Durability) -> Result<()>;

    /// Reaches `durability` for every write whose call had returned before this call began.
    ///
    /// # Errors
    /// As [`write_batch`](Self::write_batch).
    fn sync(&self, durability: Durability) -> Result<()> {
        self.write_batch(&[], durability)
    }

    /// Grows with zeroes or cuts. Durable after a later `Data` or `Full`. Not at the same time as
    /// other writes.
    ///
    /// # Errors
    /// `Misaligned`, `NoSpace`, `Io`.
    fn set_len(&self, len_bytes: u64) -> Result<()>;
}

/// A file that never changes again. Reads may avoid a copy or a wait; a clone shares the open file.
pub trait SealedFile: ReadFile + Clone {
    /// Bytes of the file: mapped memory, or one read. Keeps the file in use (`Busy`) while it
    /// lives.
    type View: Deref<Target = [u8]> + Clone + Send + Sync + 'static;
    /// A pipeline of reads.
    type Queue: ReadQueue;

    /// Any byte range inside the file; it need not be aligned. Its address is congruent to
    /// `range.start` modulo `BLOCK_SIZE`.
    ///
    /// # Errors
    /// `OutOfBounds` (also for a range that ends before it starts), `Io`.
    fn view(&self, range: Range<u64>) -> Result<Self::View>;

    /// A pipeline with up to `depth` reads in flight; a backend may keep fewer.
    ///
    /// # Errors
    /// Where the operating system refuses what the queue needs.
    fn queue(&self, depth: NonZeroU16) -> Result<Self::Queue>;

    /// A hint that `range` will be read soon. Correctness never depends on it.
    fn prefetch(&self, range: Range<u64>) {
        let _ = range;
    }

    /// A hint that the file will be read at random places: what the operating system reads around
    /// them by itself would not be used. Ranges that are read whole are then to be
    /// [prefetched](Self::prefetch). Correctness never depends on it.
    fn advise_random(&self) {}
}
