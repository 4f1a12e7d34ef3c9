//! A storage of one's own in under a hundred lines: a shelf, which is a map from names to bytes.
//!
//! The contract brings its own tools: `OpenTable` keeps who uses which file, the `check_` functions
//! what may be asked, `BufView` and `ImmediateQueue` do what a shelf cannot do better.
#![cfg_attr(rustfmt, rustfmt::skip)] // Short calls on one line: so all of it is seen at once.
#![allow(clippy::wildcard_imports, reason = "most of the contract is used")]
use gannet::storage::*;
use std::{collections::BTreeMap, num::NonZeroU16, ops::Range, sync::{Arc, Mutex, MutexGuard}};

type Bytes = Arc<Mutex<Vec<u8>>>;

#[derive(Default)]
pub(crate) struct Shelf { map: Mutex<BTreeMap<FileName, Bytes>>, table: Arc<OpenTable> }

/// An open file: its bytes, and the right to use them until the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Handle { bytes: Bytes, hold: Arc<Hold> }

impl Storage for Shelf {
    type File = Handle;
    type Sealed = Handle;
    fn create(&self, name: &FileName, len_bytes: u64) -> Result<Handle> {
        check_len(Op::Create, name, len_bytes)?;
        let exists = || Error::new(ErrorKind::AlreadyExists, Op::Create, name);
        let hold = self.table.hold_writer(Op::Create, name).map_err(|_| exists())?.into();
        if lock(&self.map).contains_key(name) { return Err(exists()); }
        let file = Handle { bytes: Bytes::default(), hold };
        file.set_len(len_bytes)?;
        lock(&self.map).insert(name.clone(), Arc::clone(&file.bytes));
        Ok(file)
    }
    fn open(&self, name: &FileName) -> Result<Handle> {
        let hold = self.table.hold_writer(Op::Open, name)?.into();
        Ok(Handle { bytes: find(Op::Open, name, lock(&self.map).get(name).cloned())?, hold })
    }
    fn open_sealed(&self, name: &FileName) -> Result<Handle> {
        let hold = self.table.hold_reader(Op::OpenSealed, name)?.into();
        Ok(Handle { bytes: find(Op::OpenSealed, name, lock(&self.map).get(name).cloned())?, hold })
    }
    fn seal(&self, Handle { bytes, hold }: Handle) -> Result<Handle> {
        Ok(Handle { bytes, hold: Arc::into_inner(hold).expect("one owner").into_reader().into() })
    }
    fn replace(&self, from: &FileName, to: &FileName) -> Result<()> {
        let take = || find(Op::Replace, from, lock(&self.map).remove(from));
        let put = |bytes| drop(lock(&self.map).insert(to.clone(), bytes));
        self.table.while_free(Op::Replace, &[from, to], || take().map(put))
    }
    fn remove(&self, name: &FileName) -> Result<()> {
        let take = || find(Op::Remove, name, lock(&self.map).remove(name));
        self.table.while_free(Op::Remove, &[name], || take().map(drop))
    }
    fn list(&self) -> Result<Vec<FileMeta>> {
        let map = lock(&self.map);
        let len = |name| lock(&map[name]).len() as u64;
        Ok(map.keys().map(|name| FileMeta { name: name.clone(), len_bytes: len(name) }).collect())
    }
    fn sync_dir(&self) -> Result<()> { Ok(()) }
    fn caps(&self) -> Caps { Caps { persistent: false, ..Caps::new("shelf") } }
}

impl ReadFile for Handle {
    fn name(&self) -> &FileName { self.hold.name() }
    fn len_bytes(&self) -> u64 { lock(&self.bytes).len() as u64 }
    fn discard_cache(&self) -> Result<()> { Ok(()) }
    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        let bytes = lock(&self.bytes);
        check_reads(self.name(), reads, bytes.len() as u64)?;
        for r in reads { r.buf.copy_from_slice(&bytes[at(r.offset)..][..r.buf.len()]); }
        Ok(())
    }
}

impl WriteFile for Handle {
    fn write_batch(&self, writes: &[Write<'_>], _: Durability) -> Result<()> {
        let mut bytes = lock(&self.bytes);
        check_writes(self.name(), writes, bytes.len() as u64)?;
        for w in writes { bytes[at(w.offset)..][..w.bytes.len()].copy_from_slice(w.bytes); }
        Ok(())
    }
    fn set_len(&self, len_bytes: u64) -> Result<()> {
        check_len(Op::SetLen, self.name(), len_bytes)?;
        let full = |_| Error::new(ErrorKind::NoSpace, Op::SetLen, self.name());
        lock(&self.bytes).resize(u32::try_from(len_bytes).map_err(full)? as usize, 0);
        Ok(())
    }
}

impl SealedFile for Handle {
    type View = BufView<Self>;
    type Queue = ImmediateQueue<Self>;
    fn view(&self, at: Range<u64>) -> Result<Self::View> { BufView::read(self, at, self.clone()) }
    fn queue(&self, n: NonZeroU16) -> Result<Self::Queue> { Ok(Self::Queue::new(self.clone(), n)) }
}

fn at(offset: u64) -> usize { usize::try_from(offset).expect("inside a file") }
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> { of.lock().expect("nothing panics in between") }
fn find<T>(op: Op, name: &FileName, file: Option<T>) -> Result<T> {
    file.ok_or_else(|| Error::new(ErrorKind::NotFound, op, name))
}
