//! Files whose calls fail when a test asks for it.

use super::faults::{Failure, Faults};
use super::part::{span_of_reads, span_of_writes, write_half};
use super::queue::FaultQueue;
use gannet_storage::{
    Durability, FileName, Op, Read, ReadFile, Result, SealedFile, Write, WriteFile,
};
use std::num::NonZeroU16;
use std::ops::Range;

/// A file of a [`FaultStorage`](super::FaultStorage) being written.
#[derive(Debug)]
pub struct FaultFile<F> {
    pub(super) inner: F,
    faults: Faults,
}

/// A sealed file of a [`FaultStorage`](super::FaultStorage). Its views are those of the file that
/// it wraps: once made, they cannot fail.
#[derive(Clone, Debug)]
pub struct FaultSealed<F> {
    inner: F,
    faults: Faults,
}

impl<F> FaultFile<F> {
    pub(super) fn new(inner: F, faults: &Faults) -> Self {
        Self { inner, faults: faults.clone() }
    }
}

impl<F> FaultSealed<F> {
    pub(super) fn new(inner: F, faults: &Faults) -> Self {
        Self { inner, faults: faults.clone() }
    }
}

fn read_batch<F: ReadFile>(inner: &F, faults: &Faults, reads: &mut [Read<'_>]) -> Result<()> {
    match faults.count(Op::Read).meet(inner.name().as_str(), span_of_reads(reads)) {
        None => inner.read_batch(reads),
        Some(Failure { error, is_partial }) => {
            let done = if is_partial { reads.len() / 2 } else { 0 };
            inner.read_batch(&mut reads[..done]).and(Err(error))
        }
    }
}

fn discard_cache<F: ReadFile>(inner: &F, faults: &Faults) -> Result<()> {
    faults.call(Op::DiscardCache, inner.name().as_str(), None, || inner.discard_cache())
}

impl<F: ReadFile> ReadFile for FaultFile<F> {
    fn name(&self) -> &FileName {
        self.inner.name()
    }

    fn len_bytes(&self) -> u64 {
        self.inner.len_bytes()
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        read_batch(&self.inner, &self.faults, reads)
    }

    fn discard_cache(&self) -> Result<()> {
        discard_cache(&self.inner, &self.faults)
    }
}

impl<F: WriteFile> FaultFile<F> {
    /// Does `whole`, a write or sync that reaches `durability`, unless its sync fails: then only
    /// `writes`.
    fn synced(
        &self,
        durability: Durability,
        writes: &[Write<'_>],
        whole: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let fate = self.faults.count(Op::Sync);
        let place = self.name().as_str();
        if !fate.is_good() {
            self.inner.write_batch(writes, Durability::Deferred)?;
        }
        match fate.meet(place, None) {
            None => whole(),
            Some(Failure { error, is_partial: true }) => {
                self.inner.sync(durability).and(Err(error))
            }
            Some(Failure { error, is_partial: false }) => Err(error),
        }
    }
}

impl<F: WriteFile> WriteFile for FaultFile<F> {
    fn write_batch(&self, writes: &[Write<'_>], durability: Durability) -> Result<()> {
        if writes.is_empty() {
            return self.sync(durability);
        }
        let fate = self.faults.count(Op::Write);
        if let Some(failure) = fate.meet(self.name().as_str(), span_of_writes(writes)) {
            if failure.is_partial {
                write_half(&self.inner, writes)?;
            }
            return Err(failure.error);
        }
        match durability {
            Durability::Deferred => self.inner.write_batch(writes, durability),
            Durability::Data | Durability::Full => {
                self.synced(durability, writes, || self.inner.write_batch(writes, durability))
            }
        }
    }

    fn sync(&self, durability: Durability) -> Result<()> {
        self.synced(durability, &[], || self.inner.sync(durability))
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        let range = Some(0..len_bytes);
        let set = || self.inner.set_len(len_bytes);
        self.faults.call(Op::SetLen, self.name().as_str(), range, set)
    }
}

impl<F: SealedFile> ReadFile for FaultSealed<F> {
    fn name(&self) -> &FileName {
        self.inner.name()
    }

    fn len_bytes(&self) -> u64 {
        self.inner.len_bytes()
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        read_batch(&self.inner, &self.faults, reads)
    }

    fn discard_cache(&self) -> Result<()> {
        discard_cache(&self.inner, &self.faults)
    }
}

impl<F: SealedFile> SealedFile for FaultSealed<F> {
    type View = F::View;
    type Queue = FaultQueue<F::Queue>;

    fn view(&self, range: Range<u64>) -> Result<F::View> {
        let place = self.name().as_str();
        self.faults.call(Op::View, place, Some(range.clone()), || self.inner.view(range))
    }

    fn queue(&self, depth: NonZeroU16) -> Result<Self::Queue> {
        let place = self.name().as_str();
        let queue = self.faults.call(Op::Queue, place, None, || self.inner.queue(depth))?;
        Ok(FaultQueue::new(queue, self.name().clone(), &self.faults))
    }

    fn prefetch(&self, range: Range<u64>) {
        self.inner.prefetch(range);
    }

    fn advise_random(&self) {
        self.inner.advise_random();
    }
}
