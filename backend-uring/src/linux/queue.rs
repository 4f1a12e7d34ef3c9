//! Reads in flight on a ring of their own.

use crate::linux::ring::{Pipeline, Ring};
use crate::linux::sealed::UringSealed;
use gannet_storage::{AlignedBuf, Completion, Error, Op, ReadFile, ReadQueue, Result, check_span};
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::os::fd::AsFd;

/// Reads of a [`UringSealed`] in flight. Each is handed to the kernel as it is submitted.
///
/// Dropping it waits for the reads that are in flight. Leaking it leaks their buffers, its ring,
/// and with that the lock of the directory.
#[derive(Debug)]
pub struct UringQueue {
    // In this order: the kernel is done with the file before it is given back.
    pipeline: Pipeline,
    /// Reads that ended without the kernel: refused ones and empty ones.
    ended: VecDeque<Completion>,
    depth: usize,
    in_flight: usize,
    file: UringSealed,
}

impl UringQueue {
    /// Reads that one queue keeps in flight at the most.
    pub(crate) const DEPTH_MAX: NonZeroU16 = NonZeroU16::new(256).expect("not zero");

    pub(crate) fn new(ring: Ring, depth: NonZeroU16, file: UringSealed) -> Self {
        let depth = usize::from(depth.get());
        let pipeline = Pipeline::new(ring, depth, file.access().align());
        Self { pipeline, ended: VecDeque::new(), depth, in_flight: 0, file }
    }
}

impl ReadQueue for UringQueue {
    fn submit(&mut self, tag: u64, offset: u64, buf: AlignedBuf) -> Result<(), AlignedBuf> {
        if self.in_flight >= self.depth {
            return Err(buf);
        }
        let checked = check_span(Op::Read, self.file.name(), offset, &buf, self.file.len_bytes());
        if checked.is_err() || buf.is_empty() {
            self.ended.push_back(Completion { tag, buf, result: checked });
        } else {
            self.pipeline.start(self.file.as_fd(), tag, offset, buf)?;
        }
        self.in_flight += 1;
        Ok(())
    }

    fn wait(&mut self) -> Option<Completion> {
        let completion = if let Some(ended) = self.ended.pop_front() {
            ended
        } else {
            let finished = self.pipeline.finish(self.file.as_fd())?;
            let range = finished.offset..finished.offset + finished.buf.len() as u64;
            let result = finished
                .result
                .map_err(|source| Error::io(Op::Read, self.file.name(), source).at(range));
            Completion { tag: finished.tag, buf: finished.buf, result }
        };
        self.in_flight -= 1;
        Some(completion)
    }
}

#[cfg(test)]
mod tests;
