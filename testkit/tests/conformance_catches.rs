//! The suite is worth its name only if it fails: storages with one defect each, all of them caught
//! by the clause that they break.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a flaw concerns one call, not the others")]

use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, BufView, Caps, Completion, Durability, Error, ErrorKind, FileMeta,
    FileName, MemFile, MemSealed, MemStorage, Op, Read, ReadFile, ReadQueue, Result, SealedFile,
    Storage, Write, WriteFile, check_reads,
};
use gannet_testkit::conformance;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::ops::{Deref, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What is wrong with a storage. The number is that of the clause it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// 1: an odd offset is rounded down.
    RoundsOffsets,
    /// 1: memory is handed out unrounded in length.
    AllocatesTooMuch,
    /// 2: a read beyond the end leaves the buffer as it was.
    ReadsBeyondTheEnd,
    /// 2: a write beyond the end grows the file.
    GrowsOnWrite,
    /// 2: a file that was cut and grows again shows its old bytes.
    GrowsWithOldBytes,
    /// 3: of a batch only the first hundred members are written.
    ForgetsLateMembers,
    /// 3: one member of a batch is read, the others are not.
    ReadsOneMember,
    /// 3, 5: the members of a batch are written again by the next call.
    WritesAgain,
    /// 4: a queue takes more than its depth.
    QueueWithoutDepth,
    /// 4: a queue loses its last read.
    QueueLosesReads,
    /// 4: a queue mixes up its tags.
    QueueMixesTags,
    /// 6: a discarded cache takes synced bytes along.
    DiscardsSyncedBytes,
    /// 8: an existing file is truncated by create.
    CreatesOver,
    /// 8: the old name stays after a replace.
    ReplaceCopies,
    /// 9: a file is removed under its view.
    ViewsKeepNothing,
    /// 9: two writers at a time.
    TwoWriters,
    /// 10: views are at any address.
    ViewsAnywhere,
    /// 11: the listing is backwards.
    ListsBackwards,
}

use Defect::*;

struct Flawed {
    inner: MemStorage,
    defect: Defect,
}

struct FlawedFile {
    /// `None` only where a second writer was let in.
    inner: Option<MemFile>,
    name: FileName,
    defect: Defect,
}

#[derive(Clone)]
struct FlawedSealed {
    inner: MemSealed,
    defect: Defect,
}

#[derive(Clone)]
enum FlawedView {
    Right(BufView<Arc<gannet_storage::Hold>>),
    Copy(AlignedBuf, Range<usize>),
}

struct FlawedQueue {
    file: FlawedSealed,
    depth: usize,
    done: VecDeque<Completion>,
}

impl FlawedFile {
    fn inner(&self) -> &MemFile {
        self.inner.as_ref().expect("a second writer is not used")
    }
}

impl Storage for Flawed {
    type File = FlawedFile;
    type Sealed = FlawedSealed;

    fn create(&self, name: &FileName, len_bytes: u64) -> Result<FlawedFile> {
        let mut made = self.inner.create(name, len_bytes);
        if self.defect == CreatesOver && self.inner.remove(name).is_ok() {
            made = self.inner.create(name, len_bytes);
        }
        Ok(FlawedFile { inner: Some(made?), name: name.clone(), defect: self.defect })
    }

    fn open(&self, name: &FileName) -> Result<FlawedFile> {
        let inner = match self.inner.open(name) {
            Err(error) if self.defect == TwoWriters && error.kind() == ErrorKind::Busy => None,
            opened => Some(opened?),
        };
        Ok(FlawedFile { inner, name: name.clone(), defect: self.defect })
    }

    fn seal(&self, file: FlawedFile) -> Result<FlawedSealed> {
        let inner = self.inner.seal(file.inner.expect("a second writer is not used"))?;
        Ok(FlawedSealed { inner, defect: self.defect })
    }

    fn open_sealed(&self, name: &FileName) -> Result<FlawedSealed> {
        Ok(FlawedSealed { inner: self.inner.open_sealed(name)?, defect: self.defect })
    }

    fn replace(&self, from: &FileName, to: &FileName) -> Result<()> {
        self.inner.replace(from, to)?;
        if self.defect == ReplaceCopies && from != to {
            drop(self.inner.create(from, 0)?);
        }
        Ok(())
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.inner.remove(name)
    }

    fn list(&self) -> Result<Vec<FileMeta>> {
        let mut files = self.inner.list()?;
        if self.defect == ListsBackwards {
            files.reverse();
        }
        Ok(files)
    }

    fn sync_dir(&self) -> Result<()> {
        self.inner.sync_dir()
    }

    fn alloc(&self, len_bytes: usize) -> AlignedBuf {
        let more = usize::from(self.defect == AllocatesTooMuch && len_bytes > 0) * BLOCK_SIZE;
        AlignedBuf::zeroed(len_bytes + more)
    }

    fn caps(&self) -> Caps {
        Caps::new("flawed")
    }
}

fn read(file: &impl ReadFile, defect: Defect, reads: &mut [Read<'_>]) -> Result<()> {
    let beyond = |read: &Read<'_>| read.offset + read.buf.len() as u64 > file.len_bytes();
    let block = BLOCK_SIZE as u64;
    let rounded = if defect == RoundsOffsets { block } else { 1 };
    for read in reads.iter_mut() {
        read.offset -= read.offset % rounded;
    }
    if defect == ReadsBeyondTheEnd && reads.iter().any(beyond) {
        return Ok(());
    }
    let kept = if defect == ReadsOneMember { 1 } else { usize::MAX };
    let kept = reads.len().min(kept);
    check_reads(file.name(), reads, file.len_bytes())?;
    file.read_batch(&mut reads[..kept])
}

impl ReadFile for FlawedFile {
    fn name(&self) -> &FileName {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        self.inner().len_bytes()
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        read(self.inner(), self.defect, reads)
    }

    fn discard_cache(&self) -> Result<()> {
        if self.defect == DiscardsSyncedBytes {
            let len = self.len_bytes();
            self.inner().set_len(0)?;
            self.inner().set_len(len)?;
        }
        Ok(())
    }
}

impl WriteFile for FlawedFile {
    fn write_batch(&self, writes: &[Write<'_>], durability: Durability) -> Result<()> {
        let end = writes.iter().map(|w| w.offset.saturating_add(w.bytes.len() as u64)).max();
        match (self.defect, end) {
            (GrowsOnWrite, Some(end)) if end > self.len_bytes() && end < 1 << 20 => {
                self.inner().set_len(end)?;
            }
            (WritesAgain, None) => {
                let zero = AlignedBuf::zeroed(BLOCK_SIZE);
                let again = [Write { offset: 0, bytes: &zero }];
                let _ = self.inner().write_batch(&again, durability);
            }
            _ => {}
        }
        let kept = if self.defect == ForgetsLateMembers { 90 } else { usize::MAX };
        self.inner().write_batch(&writes[..writes.len().min(kept)], durability)
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        let before = self.len_bytes();
        self.inner().set_len(len_bytes)?;
        if self.defect == GrowsWithOldBytes && len_bytes > before {
            let mut old = AlignedBuf::zeroed(BLOCK_SIZE);
            old.fill(1);
            let write = Write { offset: len_bytes - BLOCK_SIZE as u64, bytes: &old };
            self.inner().write_batch(&[write], Durability::Deferred)?;
        }
        Ok(())
    }
}

impl ReadFile for FlawedSealed {
    fn name(&self) -> &FileName {
        self.inner.name()
    }

    fn len_bytes(&self) -> u64 {
        self.inner.len_bytes()
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        read(&self.inner, self.defect, reads)
    }

    fn discard_cache(&self) -> Result<()> {
        self.inner.discard_cache()
    }
}

impl SealedFile for FlawedSealed {
    type View = FlawedView;
    type Queue = FlawedQueue;

    fn view(&self, range: Range<u64>) -> Result<FlawedView> {
        let shift = usize::try_from(range.start % BLOCK_SIZE as u64).unwrap();
        let view = self.inner.view(range)?;
        let shift = match self.defect {
            ViewsKeepNothing => shift,
            ViewsAnywhere => shift + 1,
            _ => return Ok(FlawedView::Right(view)),
        };
        let mut copy = AlignedBuf::zeroed(shift + view.len());
        copy[shift..shift + view.len()].copy_from_slice(&view);
        Ok(FlawedView::Copy(copy, shift..shift + view.len()))
    }

    fn queue(&self, depth: NonZeroU16) -> Result<FlawedQueue> {
        let depth = depth.get().into();
        Ok(FlawedQueue { file: self.clone(), depth, done: VecDeque::new() })
    }
}

impl Deref for FlawedView {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Right(view) => view,
            Self::Copy(bytes, range) => &bytes[range.clone()],
        }
    }
}

impl ReadQueue for FlawedQueue {
    fn submit(&mut self, tag: u64, offset: u64, mut buf: AlignedBuf) -> Result<(), AlignedBuf> {
        if self.done.len() >= self.depth && self.file.defect != QueueWithoutDepth {
            return Err(buf);
        }
        let result = self.file.read_at(offset, &mut buf);
        self.done.push_back(Completion { tag, buf, result });
        Ok(())
    }

    fn wait(&mut self) -> Option<Completion> {
        if self.file.defect == QueueLosesReads && self.done.len() == 1 {
            self.done.clear();
        }
        let mut done = self.done.pop_front()?;
        if let (QueueMixesTags, Some(next)) = (self.file.defect, self.done.front_mut()) {
            std::mem::swap(&mut done.tag, &mut next.tag);
        }
        Some(done)
    }
}

#[test]
fn every_defect_is_caught_by_its_clause() {
    let defects = [
        (RoundsOffsets, "1"),
        (AllocatesTooMuch, "1"),
        (ReadsBeyondTheEnd, "2"),
        (GrowsOnWrite, "2"),
        (GrowsWithOldBytes, "2"),
        (ForgetsLateMembers, "3"),
        (ReadsOneMember, "3"),
        (WritesAgain, "6"),
        (QueueWithoutDepth, "4"),
        (QueueLosesReads, "4"),
        (QueueMixesTags, "4"),
        (DiscardsSyncedBytes, "6"),
        (CreatesOver, "8"),
        (ReplaceCopies, "8"),
        (ViewsKeepNothing, "9"),
        (TwoWriters, "9"),
        (ViewsAnywhere, "10"),
        (ListsBackwards, "11"),
    ];
    for (defect, clause) in defects {
        let run = || conformance::run(|| Flawed { inner: MemStorage::new(), defect });
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err(&format!("{defect:?} passed"));
        let text = panic.downcast_ref::<String>().map_or("", String::as_str);
        let due = format!("clause {clause} ");
        assert!(text.starts_with(&due), "{defect:?} should break {due}but: {text}");
    }
}

#[test]
fn a_lock_that_keeps_nobody_out_is_caught() {
    // Storages in memory share nothing, so every opening succeeds and nothing is kept.
    let run = || conformance::run_persistent(|| Ok(MemStorage::new()));
    let panic = catch_unwind(run).expect_err("storage in memory is not persistent");
    let text = panic.downcast_ref::<String>().map_or("", String::as_str);
    assert!(text.starts_with("clause 6 "), "{text}");
    let refuse = || Err::<MemStorage, _>(Error::new(ErrorKind::Io, Op::OpenStorage, "nowhere"));
    assert!(catch_unwind(|| conformance::run_persistent(refuse)).is_err());
}
