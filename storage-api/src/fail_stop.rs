//! After the first failed write there is no second.
//!
//! Keeps one flag beside a file: once a write, sync or change of length has failed, what is on the
//! disk is unknown, and every later one answers `Failed` without touching the file. A retry that
//! succeeds would prove nothing: kernels mark pages clean after a failed write-back. Reads go on.

use crate::{Durability, Error, ErrorKind, FileName, Op, Read, ReadFile, Result, Write, WriteFile};
use std::sync::atomic::{AtomicBool, Ordering};

/// A file whose first failed write is its last.
#[derive(Debug)]
pub struct FailStop<F> {
    file: F,
    failed: AtomicBool,
}

impl<F: WriteFile> FailStop<F> {
    /// Wraps a file that has not failed yet.
    pub fn new(file: F) -> Self {
        Self { file, failed: AtomicBool::new(false) }
    }

    /// Whether a write has failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The file, to be sealed or dropped.
    ///
    /// # Errors
    /// `Failed` if a write has.
    pub fn into_inner(self) -> Result<F> {
        if self.has_failed() {
            return Err(Error::new(ErrorKind::Failed, Op::Seal, self.file.name()));
        }
        Ok(self.file)
    }

    fn guard(&self, op: Op, act: impl FnOnce(&F) -> Result<()>) -> Result<()> {
        if self.has_failed() {
            return Err(Error::new(ErrorKind::Failed, op, self.file.name()));
        }
        act(&self.file).inspect_err(|error| {
            // A request refused before anything was done leaves the file as it was.
            if !matches!(error.kind(), ErrorKind::Misaligned | ErrorKind::OutOfBounds) {
                self.failed.store(true, Ordering::Release);
            }
        })?;
        // A kernel may have told of this one's loss to one beside it.
        if self.has_failed() {
            return Err(Error::new(ErrorKind::Failed, op, self.file.name()));
        }
        Ok(())
    }
}

impl<F: WriteFile> ReadFile for FailStop<F> {
    fn name(&self) -> &FileName {
        self.file.name()
    }

    fn len_bytes(&self) -> u64 {
        self.file.len_bytes()
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        self.file.read_batch(reads)
    }

    /// It may sync first, and a kernel may tell of a failed write-back only once: so its failure is
    /// a failed write too.
    fn discard_cache(&self) -> Result<()> {
        self.guard(Op::DiscardCache, F::discard_cache)
    }
}

impl<F: WriteFile> WriteFile for FailStop<F> {
    fn write_batch(&self, writes: &[Write<'_>], durability: Durability) -> Result<()> {
        self.guard(Op::Write, |file| file.write_batch(writes, durability))
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        self.guard(Op::SetLen, |file| file.set_len(len_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlignedBuf, MemFile, MemStorage, Storage};

    /// Fails every write while the flag is up.
    struct Failing(MemFile, AtomicBool);

    impl ReadFile for Failing {
        fn name(&self) -> &FileName {
            self.0.name()
        }
        fn len_bytes(&self) -> u64 {
            self.0.len_bytes()
        }
        fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
            self.0.read_batch(reads)
        }
        fn discard_cache(&self) -> Result<()> {
            self.sync(Durability::Data)
        }
    }

    impl WriteFile for Failing {
        fn write_batch(&self, writes: &[Write<'_>], durability: Durability) -> Result<()> {
            if self.1.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Io, Op::Write, self.name()));
            }
            self.0.write_batch(writes, durability)
        }
        fn set_len(&self, len_bytes: u64) -> Result<()> {
            self.0.set_len(len_bytes)
        }
    }

    #[test]
    fn a_failure_while_the_cache_is_discarded_counts() {
        let storage = MemStorage::new();
        let name = FileName::new("f").expect("valid");
        let inner = Failing(storage.create(&name, 4096).expect("new"), AtomicBool::new(true));
        let file = FailStop::new(inner);
        assert_eq!(file.discard_cache().expect_err("fails").kind(), ErrorKind::Io);
        file.file.1.store(false, Ordering::Relaxed);
        assert_eq!(file.sync(Durability::Data).expect_err("failed").kind(), ErrorKind::Failed);
    }

    #[test]
    fn after_a_failed_write_nothing_is_written_again() {
        let storage = MemStorage::new();
        let name = FileName::new("f").expect("valid");
        let inner = Failing(storage.create(&name, 4096).expect("new"), AtomicBool::new(false));
        let file = FailStop::new(inner);
        let block = AlignedBuf::zeroed(4096);
        let write = [Write { offset: 0, bytes: &block }];
        file.write_batch(&write, Durability::Data).expect("first");
        let refused = file.write_batch(&[Write { offset: 1, bytes: &block }], Durability::Data);
        assert_eq!(refused.expect_err("misaligned").kind(), ErrorKind::Misaligned);
        file.sync(Durability::Data).expect("a refused request changes nothing");
        file.file.1.store(true, Ordering::Relaxed);
        assert_eq!(file.sync(Durability::Data).expect_err("fails").kind(), ErrorKind::Io);
        file.file.1.store(false, Ordering::Relaxed);
        let again = file.write_batch(&write, Durability::Data).expect_err("stays failed");
        assert_eq!(file.discard_cache().expect_err("stays failed").kind(), ErrorKind::Failed);
        assert_eq!(again.kind(), ErrorKind::Failed);
        assert_eq!(file.set_len(0).expect_err("stays failed").kind(), ErrorKind::Failed);
        let mut back = AlignedBuf::zeroed(4096);
        file.read_at(0, &mut back).expect("reads go on");
        assert!(file.into_inner().is_err());
    }
}
