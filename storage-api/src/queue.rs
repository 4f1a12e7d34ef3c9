//! Reads in flight: the trait, and the queue of backends that read at once.

use crate::{AlignedBuf, ReadFile, Result};
use std::collections::VecDeque;
use std::num::NonZeroU16;

/// A finished read. The buffer comes back either way.
#[derive(Debug)]
pub struct Completion {
    /// What `submit` was given.
    pub tag: u64,
    /// The buffer; filled if `result` is `Ok`, else its contents are unspecified.
    pub buf: AlignedBuf,
    /// Whether the whole buffer was filled.
    pub result: Result<()>,
}

/// Reads in flight. Owns its buffers and its file, so it may be dropped or leaked at any time. The
/// file stays in use (`Busy`) while the queue lives.
pub trait ReadQueue: Send + 'static {
    /// Starts to fill `buf` from `offset`. A misaligned or out-of-bounds read completes with that
    /// error.
    ///
    /// # Errors
    /// The buffer comes back when `depth` reads are in flight: `wait` first.
    fn submit(&mut self, tag: u64, offset: u64, buf: AlignedBuf) -> Result<(), AlignedBuf>;

    /// Waits for any read. `None` when nothing is in flight.
    fn wait(&mut self) -> Option<Completion>;
}

/// The queue of a backend without one: each `submit` reads before it returns.
#[derive(Debug)]
pub struct ImmediateQueue<F> {
    file: F,
    depth: usize,
    done: VecDeque<Completion>,
}

impl<F: ReadFile> ImmediateQueue<F> {
    /// A queue over `file` that holds up to `depth` finished reads.
    pub fn new(file: F, depth: NonZeroU16) -> Self {
        Self { file, depth: usize::from(depth.get()), done: VecDeque::new() }
    }
}

impl<F: ReadFile> ReadQueue for ImmediateQueue<F> {
    fn submit(&mut self, tag: u64, offset: u64, mut buf: AlignedBuf) -> Result<(), AlignedBuf> {
        if self.done.len() >= self.depth {
            return Err(buf);
        }
        let result = self.file.read_at(offset, &mut buf);
        self.done.push_back(Completion { tag, buf, result });
        Ok(())
    }

    fn wait(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }
}
