//! A queue whose reads fail when a test asks for it.

use super::faults::{Fate, Faults};
use super::part::span;
use gannet_storage::{AlignedBuf, Completion, FileName, Op, ReadQueue, Result};
use std::collections::HashMap;
use std::ops::Range;

/// Reads in flight of a [`FaultSealed`](super::FaultSealed). A read that a rule strikes is counted
/// when it is submitted, and completes with its error.
#[derive(Debug)]
pub struct FaultQueue<Q> {
    inner: Q,
    name: FileName,
    faults: Faults,
    /// By the tag that the inner queue was given, which is different for each read.
    in_flight: HashMap<u64, InFlight>,
    next_tag: u64,
}

#[derive(Debug)]
struct InFlight {
    tag: u64,
    range: Option<Range<u64>>,
    fate: Fate,
}

impl<Q> FaultQueue<Q> {
    pub(super) fn new(inner: Q, name: FileName, faults: &Faults) -> Self {
        let (in_flight, faults) = (HashMap::new(), faults.clone());
        Self { inner, name, faults, in_flight, next_tag: 0 }
    }
}

impl<Q: ReadQueue> ReadQueue for FaultQueue<Q> {
    fn submit(&mut self, tag: u64, offset: u64, buf: AlignedBuf) -> Result<(), AlignedBuf> {
        let range = span(std::iter::once((offset, buf.len())));
        // A read that has no room yet is no call.
        self.inner.submit(self.next_tag, offset, buf)?;
        let fate = self.faults.count(Op::Read);
        self.in_flight.insert(self.next_tag, InFlight { tag, range, fate });
        self.next_tag += 1;
        Ok(())
    }

    fn wait(&mut self) -> Option<Completion> {
        let done = self.inner.wait()?;
        let InFlight { tag, range, fate } =
            self.in_flight.remove(&done.tag).expect("a read completes once, with its tag");
        let failure = fate.meet(self.name.as_str(), range);
        let result = failure.map_or(done.result, |failure| Err(failure.error));
        Some(Completion { tag, result, ..done })
    }
}
