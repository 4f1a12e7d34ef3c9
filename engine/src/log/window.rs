//! A segment's bytes, from front to end, while later ones are being read.
//!
//! Keeps memory bounded: where a view of the file costs no copy it is one view, else a few pieces
//! of 1 MiB that go round through the storage's queue. What the bytes mean is left to `scan`.

use gannet_storage::{AlignedBuf, Completion, Error, ReadQueue, SealedFile, Storage};
use parking_lot::Mutex;
use std::num::NonZeroU16;

const PIECE_LEN_BYTES: usize = 1 << 20;
/// Reads in flight where transfers bypass the cache. Elsewhere the operating system reads ahead,
/// and a piece that the same thread has just copied is in the nearest cache.
const DEPTH: u16 = 4;

/// Pieces that segments hand to each other.
#[derive(Debug, Default)]
pub(crate) struct PiecePool(Mutex<Vec<AlignedBuf>>);

/// The bytes of one segment; what was passed cannot be had again.
pub(crate) enum Window<'p, F: SealedFile> {
    View(F::View),
    Pieces(Pieces<'p, F::Queue>),
}

impl<'p, F: SealedFile> Window<'p, F> {
    /// The bytes of `file` from `start`, a multiple of the block, on.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) fn open<S: Storage<Sealed = F>>(
        storage: &S,
        file: &F,
        start: usize,
        pool: &'p PiecePool,
    ) -> Result<Self, Error> {
        let caps = storage.caps();
        if caps.zero_copy_views {
            return file.view(0..file.len_bytes()).map(Self::View);
        }
        let depth = if caps.direct_io { DEPTH } else { 1 };
        let depth = NonZeroU16::new(depth).expect("at least one read");
        let mut pieces = Pieces {
            pool,
            queue: file.queue(depth)?,
            len: usize::try_from(file.len_bytes()).expect("a segment fits memory"),
            next: start,
            done: Vec::new(),
            piece: None,
            at: start,
            carry: Vec::new(),
            carry_at: start,
        };
        for _ in 0..depth.get() {
            let piece = pool.0.lock().pop();
            pieces.submit(piece.unwrap_or_else(|| storage.alloc(PIECE_LEN_BYTES)));
        }
        Ok(Self::Pieces(pieces))
    }
}

/// Bytes that are read from front to end.
pub(crate) trait FrameBytes {
    /// `len` bytes from `at` on; `None` where they end before. `at` never goes back, but for more
    /// of the bytes that were given last.
    ///
    /// # Errors
    /// The storage's.
    ///
    /// # Panics
    /// May panic if `at` goes back.
    fn get(&mut self, at: usize, len: usize) -> Result<Option<&[u8]>, Error>;
}

impl FrameBytes for &[u8] {
    fn get(&mut self, at: usize, len: usize) -> Result<Option<&[u8]>, Error> {
        Ok(at.checked_add(len).and_then(|end| <[u8]>::get(self, at..end)))
    }
}

impl<F: SealedFile> FrameBytes for Window<'_, F> {
    fn get(&mut self, at: usize, len: usize) -> Result<Option<&[u8]>, Error> {
        match self {
            Self::View(view) => Ok(at.checked_add(len).and_then(|end| <[u8]>::get(view, at..end))),
            Self::Pieces(pieces) => pieces.get(at, len),
        }
    }
}

/// A segment that goes by in pieces.
pub(crate) struct Pieces<'p, Q: ReadQueue> {
    pool: &'p PiecePool,
    queue: Q,
    len: usize,
    /// The next byte to ask for.
    next: usize,
    /// Read before their turn.
    done: Vec<Completion>,
    /// What is looked at, and where it begins.
    piece: Option<AlignedBuf>,
    at: usize,
    /// Bytes that stand in more than one piece, and where they begin; they end in `piece`.
    carry: Vec<u8>,
    carry_at: usize,
}

impl<Q: ReadQueue> Pieces<'_, Q> {
    /// Asks for the next piece, into `piece`, if there is one.
    fn submit(&mut self, piece: AlignedBuf) {
        let len = PIECE_LEN_BYTES.min(self.len.saturating_sub(self.next));
        if len == 0 {
            self.pool.0.lock().push(piece);
            return;
        }
        let buf = if len == piece.len() {
            piece
        } else {
            self.pool.0.lock().push(piece);
            AlignedBuf::zeroed(len)
        };
        let refused = self.queue.submit(self.next as u64, self.next as u64, buf);
        assert!(refused.is_ok(), "as many pieces as the queue takes go round");
        self.next += len;
    }

    /// The piece behind this one.
    fn advance(&mut self) -> Result<(), Error> {
        if let Some(piece) = self.piece.take() {
            self.at += piece.len();
            self.submit(piece);
        }
        let is_next = |done: &Completion| done.tag == self.at as u64;
        let found = loop {
            if let Some(index) = self.done.iter().position(is_next) {
                break self.done.swap_remove(index);
            }
            let done = self.queue.wait();
            self.done.push(done.expect("the next piece was asked for and has not come"));
        };
        found.result?;
        self.piece = Some(found.buf);
        Ok(())
    }

    fn piece(&self) -> &[u8] {
        self.piece.as_deref().unwrap_or_default()
    }

    fn get(&mut self, at: usize, len: usize) -> Result<Option<&[u8]>, Error> {
        let Some(end) = at.checked_add(len).filter(|&end| end <= self.len) else { return Ok(None) };
        let carry_end = self.carry_at + self.carry.len();
        if at < self.at {
            assert!(
                (self.carry_at..carry_end).contains(&at),
                "byte {at} went by: {} to {carry_end}, then {}",
                self.carry_at,
                self.at
            );
        } else {
            while self.at + self.piece().len() <= at && len > 0 {
                self.advance()?;
            }
            let start = at - self.at;
            if end <= self.at + self.piece().len() {
                return Ok(self.piece().get(start..start + len));
            }
            self.carry.clear();
            self.carry_at = at;
            let piece = self.piece.as_deref().unwrap_or_default();
            self.carry.extend_from_slice(&piece[start..]);
        }
        loop {
            let carry_end = self.carry_at + self.carry.len();
            if end <= carry_end {
                break;
            }
            if carry_end == self.at + self.piece().len() {
                self.advance()?;
            }
            let start = carry_end - self.at;
            let piece = self.piece.as_deref().unwrap_or_default();
            let take = piece.len().min(end - self.at);
            self.carry.extend_from_slice(&piece[start..take]);
        }
        let start = at - self.carry_at;
        Ok(self.carry.get(start..start + len))
    }
}

impl<Q: ReadQueue> Drop for Pieces<'_, Q> {
    fn drop(&mut self) {
        let whole = |buf: &AlignedBuf| buf.len() == PIECE_LEN_BYTES;
        let mut pool = self.pool.0.lock();
        pool.extend(self.piece.take().filter(whole));
        pool.extend(self.done.drain(..).map(|done| done.buf).filter(whole));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_storage::{Durability, FileName, ImmediateQueue, MemStorage, Write, WriteFile};

    /// A file that only a queue reads.
    fn pieces_of<'p>(
        bytes: &[u8],
        pool: &'p PiecePool,
        start: usize,
    ) -> Pieces<'p, impl ReadQueue + use<>> {
        let storage = MemStorage::new();
        let name = FileName::new("f").expect("a name");
        let file = storage.create(&name, bytes.len() as u64).expect("created");
        let mut buf = storage.alloc(bytes.len());
        buf.copy_from_slice(bytes);
        file.write_batch(&[Write { offset: 0, bytes: &buf }], Durability::Data).expect("written");
        let sealed = storage.seal(file).expect("sealed");
        let depth = NonZeroU16::new(2).expect("two");
        let mut pieces = Pieces {
            pool,
            queue: ImmediateQueue::new(sealed, depth),
            len: bytes.len(),
            next: start,
            done: Vec::new(),
            piece: None,
            at: start,
            carry: Vec::new(),
            carry_at: start,
        };
        for _ in 0..depth.get() {
            pieces.submit(AlignedBuf::zeroed(PIECE_LEN_BYTES));
        }
        pieces
    }

    #[test]
    fn bytes_of_every_span_are_those_of_the_file_and_pieces_come_back() {
        let len = 3 * PIECE_LEN_BYTES + 8192;
        let bytes: Vec<u8> =
            (0..len).map(|at| u8::try_from(at * 7 % 251).expect("small")).collect();
        for (step, span) in [(64, 64), (4096, 5000), (1 << 20, 1 << 20), (700_000, 2_500_000)] {
            let pool = PiecePool::default();
            let mut pieces = pieces_of(&bytes, &pool, 0);
            for at in (0..len).step_by(step) {
                for span in [64, span] {
                    let found = pieces.get(at, span).expect("reads");
                    assert!(found == bytes.get(at..at + span), "{span} bytes at {at}");
                }
            }
            drop(pieces);
            assert!((1..=2).contains(&pool.0.lock().len()));
        }
        let pool = PiecePool::default();
        let mut late = pieces_of(&bytes, &pool, 4096);
        assert_eq!(late.get(4100, 10).expect("reads"), bytes.get(4100..4110));
        assert_eq!(late.get(usize::MAX, 2).expect("reads"), None);
    }
}
