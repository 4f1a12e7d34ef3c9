//! Storage in memory: the shortest backend that keeps the contract, and the reference for others.
//!
//! Everything is durable as far as the process lives, and gone with it.

use crate::{
    AlignedBuf, BufView, Caps, Durability, Error, ErrorKind, FileMeta, FileName, Hold,
    ImmediateQueue, Op, OpenTable, Read, ReadFile, Result, SealedFile, Storage, Write, WriteFile,
    check_len, check_reads, check_writes,
};
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Bytes of one file; shared by its handles and, once sealed, by its views.
type Contents = Arc<RwLock<Arc<AlignedBuf>>>;

/// A storage that lives in memory.
#[derive(Debug, Default)]
pub struct MemStorage {
    files: Mutex<BTreeMap<FileName, Contents>>,
    table: Arc<OpenTable>,
}

/// A file of a [`MemStorage`] being written.
#[derive(Debug)]
pub struct MemFile {
    contents: Contents,
    hold: Hold,
}

/// A sealed file of a [`MemStorage`].
#[derive(Clone, Debug)]
pub struct MemSealed {
    bytes: Arc<AlignedBuf>,
    hold: Arc<Hold>,
}

impl MemStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<FileName, Contents>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, op: Op, name: &FileName) -> Result<Contents> {
        let found = self.files().get(name).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, op, name))
    }
}

impl Storage for MemStorage {
    type File = MemFile;
    type Sealed = MemSealed;

    fn create(&self, name: &FileName, len_bytes: u64) -> Result<MemFile> {
        check_len(Op::Create, name, len_bytes)?;
        let hold = self.table.hold_writer(Op::Create, name);
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(Error::new(ErrorKind::AlreadyExists, Op::Create, name));
        }
        let hold = hold?;
        let contents = Arc::new(RwLock::new(Arc::new(zeroed(Op::Create, name, len_bytes)?)));
        files.insert(name.clone(), Arc::clone(&contents));
        Ok(MemFile { contents, hold })
    }

    fn open(&self, name: &FileName) -> Result<MemFile> {
        let hold = self.table.hold_writer(Op::Open, name)?;
        Ok(MemFile { contents: self.find(Op::Open, name)?, hold })
    }

    fn seal(&self, file: MemFile) -> Result<MemSealed> {
        let bytes = Arc::clone(&read(&file.contents));
        Ok(MemSealed { bytes, hold: Arc::new(file.hold.into_reader()) })
    }

    fn open_sealed(&self, name: &FileName) -> Result<MemSealed> {
        let hold = self.table.hold_reader(Op::OpenSealed, name)?;
        let contents = self.find(Op::OpenSealed, name)?;
        let bytes = Arc::clone(&read(&contents));
        Ok(MemSealed { bytes, hold: Arc::new(hold) })
    }

    fn replace(&self, from: &FileName, to: &FileName) -> Result<()> {
        self.table.while_free(Op::Replace, &[from, to], || {
            let mut files = self.files();
            let missing = || Error::new(ErrorKind::NotFound, Op::Replace, from);
            let contents = files.remove(from).ok_or_else(missing)?;
            files.insert(to.clone(), contents);
            Ok(())
        })
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.table.while_free(Op::Remove, &[name], || {
            let missing = || Error::new(ErrorKind::NotFound, Op::Remove, name);
            self.files().remove(name).map(drop).ok_or_else(missing)
        })
    }

    fn list(&self) -> Result<Vec<FileMeta>> {
        let meta = |(name, contents): (&FileName, &Contents)| FileMeta {
            name: name.clone(),
            len_bytes: read(contents).len() as u64,
        };
        Ok(self.files().iter().map(meta).collect())
    }

    fn sync_dir(&self) -> Result<()> {
        Ok(())
    }

    fn caps(&self) -> Caps {
        Caps { zero_copy_views: true, persistent: false, ..Caps::new("memory") }
    }
}

impl ReadFile for MemFile {
    fn name(&self) -> &FileName {
        self.hold.name()
    }

    fn len_bytes(&self) -> u64 {
        read(&self.contents).len() as u64
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        copy_out(self.name(), &read(&self.contents), reads)
    }

    fn discard_cache(&self) -> Result<()> {
        Ok(())
    }
}

impl WriteFile for MemFile {
    fn write_batch(&self, writes: &[Write<'_>], _durability: Durability) -> Result<()> {
        let mut contents = write(&self.contents);
        check_writes(self.name(), writes, contents.len() as u64)?;
        let bytes = Arc::make_mut(&mut contents);
        for w in writes {
            bytes[span(w.offset, w.bytes.len())].copy_from_slice(w.bytes);
        }
        Ok(())
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        check_len(Op::SetLen, self.name(), len_bytes)?;
        let mut contents = write(&self.contents);
        let mut resized = zeroed(Op::SetLen, self.name(), len_bytes)?;
        let kept = resized.len().min(contents.len());
        resized[..kept].copy_from_slice(&contents[..kept]);
        *contents = Arc::new(resized);
        Ok(())
    }
}

impl ReadFile for MemSealed {
    fn name(&self) -> &FileName {
        self.hold.name()
    }

    fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        copy_out(self.name(), &self.bytes, reads)
    }

    fn discard_cache(&self) -> Result<()> {
        Ok(())
    }
}

impl SealedFile for MemSealed {
    type View = BufView<Arc<Hold>>;
    type Queue = ImmediateQueue<Self>;

    fn view(&self, range: Range<u64>) -> Result<Self::View> {
        if range.start > range.end || range.end > self.len_bytes() {
            return Err(Error::new(ErrorKind::OutOfBounds, Op::View, self.name()).at(range));
        }
        let length = range.end - range.start;
        let range = span(range.start, usize::try_from(length).expect("inside a buffer"));
        Ok(BufView::of_whole(Arc::clone(&self.bytes), range, Arc::clone(&self.hold)))
    }

    fn queue(&self, depth: NonZeroU16) -> Result<Self::Queue> {
        Ok(ImmediateQueue::new(self.clone(), depth))
    }
}

fn read(contents: &Contents) -> RwLockReadGuard<'_, Arc<AlignedBuf>> {
    contents.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(contents: &Contents) -> RwLockWriteGuard<'_, Arc<AlignedBuf>> {
    contents.write().unwrap_or_else(PoisonError::into_inner)
}

fn zeroed(op: Op, name: &FileName, len_bytes: u64) -> Result<AlignedBuf> {
    // The limit keeps a wild length an error: allocation would abort.
    let fits = usize::try_from(len_bytes).ok().filter(|&len| isize::try_from(len).is_ok());
    let len = fits.ok_or_else(|| Error::new(ErrorKind::NoSpace, op, name).at(0..len_bytes))?;
    Ok(AlignedBuf::zeroed(len))
}

/// The bytes of a request that has been checked to lie inside a buffer.
fn span(offset: u64, len: usize) -> Range<usize> {
    let start = usize::try_from(offset).expect("inside a buffer");
    start..start + len
}

fn copy_out(name: &FileName, bytes: &AlignedBuf, reads: &mut [Read<'_>]) -> Result<()> {
    check_reads(name, reads, bytes.len() as u64)?;
    for r in reads {
        r.buf.copy_from_slice(&bytes[span(r.offset, r.buf.len())]);
    }
    Ok(())
}
