//! A file being written.

use crate::linux::direct::Access;
use crate::linux::ring::{BatchError, Memory, Sync, Transfer};
use crate::linux::rings::Rings;
use crate::linux::sealed::UringSealed;
use crate::linux::transfer::CUT_BYTES;
use crate::linux::unsynced::Unsynced;
use gannet_backend_std::{StdFile, StdStorage};
use gannet_storage::{
    Durability, Error, FileName, Op, Read, ReadFile, Result, Storage, Write, WriteFile,
    check_reads, check_writes,
};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// A file of a [`UringStorage`](crate::UringStorage) being written.
///
/// A batch is one submission, but for one into the page cache, which is done at once. A durable one
/// of a single transfer, on a file of which everything else is durable, is one request with the
/// dsync flag; any other is its writes and a sync that starts when they have ended.
#[derive(Debug)]
pub struct UringFile {
    // In this order: the lock, which the last of them holds, goes last.
    rings: Arc<Rings>,
    access: Access,
    unsynced: Unsynced,
    std: StdFile,
}

impl UringFile {
    pub(crate) fn new(std: StdFile, access: Access, rings: Arc<Rings>) -> Self {
        let access = access.apply(std.as_fd());
        Self { rings, access, unsynced: Unsynced::unknown(), std }
    }

    pub(crate) fn seal(self, storage: &StdStorage) -> Result<UringSealed> {
        let Self { rings, access, std, .. } = self;
        Ok(UringSealed::new(storage.seal(std)?, access, rings))
    }
}

impl ReadFile for UringFile {
    fn name(&self) -> &FileName {
        self.std.name()
    }

    fn len_bytes(&self) -> u64 {
        self.std.len_bytes()
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        check_reads(self.name(), reads, self.len_bytes())?;
        read_all(&self.rings, self.std.as_fd(), &self.access, self.name(), reads)
    }

    /// Syncs the file, then drops what the page cache has of it. A failure is a failed sync (clause
    /// 7 of the contract), and the system may report it only once.
    fn discard_cache(&self) -> Result<()> {
        self.std.discard_cache()
    }
}

impl WriteFile for UringFile {
    fn write_batch(&self, writes: &[Write<'_>], durability: Durability) -> Result<()> {
        check_writes(self.name(), writes, self.len_bytes())?;
        if durability == Durability::Deferred && !self.access.is_direct() {
            // A copy into the page cache: a ring gives it to a thread of the kernel, and a call
            // has done it before that has woken up.
            let done = self.std.write_batch(writes, durability);
            self.unsynced.changed();
            return done;
        }
        let align = self.access.align();
        let mut spans = Vec::with_capacity(writes.len());
        let mut transfers = Vec::with_capacity(writes.len());
        for w in writes {
            for (cut, offset) in w.bytes.chunks(CUT_BYTES).zip((w.offset..).step_by(CUT_BYTES)) {
                spans.push(offset..offset + cut.len() as u64);
                transfers.push(Transfer::new(Memory::From(cut), offset, align));
            }
        }
        let due = self.unsynced.due();
        let sync = match durability {
            Durability::Deferred => Sync::None,
            Durability::Data if due.is_none() && transfers.len() == 1 => Sync::EachWrite,
            Durability::Data => Sync::Data,
            Durability::Full => Sync::Full,
        };
        if transfers.is_empty() && sync == Sync::None {
            return Ok(());
        }
        let done = self.rings.run(self.std.as_fd(), &mut transfers, sync);
        match (&done, due) {
            (Ok(()), Some(covers)) if matches!(sync, Sync::Data | Sync::Full) => {
                self.unsynced.synced(&covers);
            }
            (Ok(()), _) if sync != Sync::None => {}
            // Not durable, or nobody knows.
            _ => self.unsynced.changed(),
        }
        done.map_err(|error| match error {
            BatchError::Transfer(index, source) => {
                Error::io(Op::Write, self.name(), source).at(spans[index].clone())
            }
            BatchError::Sync(source) => Error::io(Op::Sync, self.name(), source),
            BatchError::Ring(source) => Error::io(Op::Write, self.name(), source),
        })
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        let done = self.std.set_len(len_bytes);
        self.unsynced.changed();
        done
    }
}

/// Does reads that have been checked, all in flight at once.
pub(crate) fn read_all(
    rings: &Rings,
    file: BorrowedFd<'_>,
    access: &Access,
    name: &FileName,
    reads: &mut [Read<'_>],
) -> Result<()> {
    let mut spans = Vec::with_capacity(reads.len());
    let mut transfers = Vec::with_capacity(reads.len());
    for r in reads {
        for (cut, offset) in r.buf.chunks_mut(CUT_BYTES).zip((r.offset..).step_by(CUT_BYTES)) {
            spans.push(offset..offset + cut.len() as u64);
            transfers.push(Transfer::new(Memory::Into(cut), offset, access.align()));
        }
    }
    if transfers.is_empty() {
        return Ok(());
    }
    rings.run(file, &mut transfers, Sync::None).map_err(|error| match error {
        BatchError::Transfer(index, source) => {
            Error::io(Op::Read, name, source).at(spans[index].clone())
        }
        BatchError::Sync(source) | BatchError::Ring(source) => Error::io(Op::Read, name, source),
    })
}

#[cfg(test)]
mod tests;
