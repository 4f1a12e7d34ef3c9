//! A file being written.

use crate::open;
use crate::platform;
use crate::root::Root;
use crate::sealed::StdSealed;
use crate::transfer::{read_full, write_full};
use gannet_storage::{
    Durability, Error, FileName, Hold, Op, Read, ReadFile, Result, Write, WriteFile, check_len,
    check_reads, check_writes,
};
use std::fs::File;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file of a [`StdStorage`](crate::StdStorage) being written.
///
/// A batch is one positional transfer after the other, then one sync for `Data` or `Full`.
#[derive(Debug)]
pub struct StdFile {
    // In this order: the lock goes last.
    file: File,
    len_bytes: AtomicU64,
    hold: Hold,
    root: Arc<Root>,
}

impl StdFile {
    pub(crate) fn new(file: File, len_bytes: u64, hold: Hold, root: Arc<Root>) -> Self {
        Self { file, len_bytes: AtomicU64::new(len_bytes), hold, root }
    }

    pub(crate) fn seal(self) -> Result<StdSealed> {
        self.file.sync_all().map_err(|source| Error::io(Op::Seal, self.name(), source))?;
        let len_bytes = self.len_bytes();
        Ok(StdSealed::new(self.file, len_bytes, self.hold.into_reader(), self.root))
    }
}

impl ReadFile for StdFile {
    fn name(&self) -> &FileName {
        self.hold.name()
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes.load(Ordering::Acquire)
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        check_reads(self.name(), reads, self.len_bytes())?;
        read_each(&self.file, self.name(), reads)
    }

    /// Syncs the file, then drops its clean pages where the system can: see the crate's docs. A
    /// failure is a failed sync (clause 7 of the contract), and the system may report it only once.
    fn discard_cache(&self) -> Result<()> {
        discard(&self.file, self.name())
    }
}

impl WriteFile for StdFile {
    fn write_batch(&self, writes: &[Write<'_>], durability: Durability) -> Result<()> {
        check_writes(self.name(), writes, self.len_bytes())?;
        for w in writes {
            write_full(w.bytes, w.offset, |bytes, offset| {
                platform::write_at(&self.file, bytes, offset)
            })
            .map_err(|source| {
                let end = w.offset + w.bytes.len() as u64;
                Error::io(Op::Write, self.name(), source).at(w.offset..end)
            })?;
        }
        match durability {
            Durability::Deferred => Ok(()),
            Durability::Data => self.file.sync_data(),
            Durability::Full => self.file.sync_all(),
        }
        .map_err(|source| Error::io(Op::Sync, self.name(), source))
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        check_len(Op::SetLen, self.name(), len_bytes)?;
        open::set_len(Op::SetLen, &self.file, self.name(), len_bytes)?;
        self.len_bytes.store(len_bytes, Ordering::Release);
        Ok(())
    }
}

#[cfg(unix)]
impl AsFd for StdFile {
    /// The open file, for backends built on this one: positional transfers and syncs of it keep the
    /// contract, and so does asking the kernel to bypass its cache. Closing, locking or resizing it
    /// does not.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Does reads that have been checked, one after the other.
pub(crate) fn read_each(file: &File, name: &FileName, reads: &mut [Read<'_>]) -> Result<()> {
    for r in reads {
        let end = r.offset + r.buf.len() as u64;
        read_full(r.buf, r.offset, |buf, offset| platform::read_at(file, buf, offset))
            .map_err(|source| Error::io(Op::Read, name, source).at(r.offset..end))?;
    }
    Ok(())
}

pub(crate) fn discard(file: &File, name: &FileName) -> Result<()> {
    platform::discard_cached(file).map_err(|source| Error::io(Op::DiscardCache, name, source))
}
