//! A file that will not change again.

use crate::file::{discard, read_each};
use crate::platform;
use crate::queue::StdQueue;
use crate::root::Root;
use gannet_storage::{BufView, FileName, Hold, Read, ReadFile, Result, SealedFile, check_reads};
use std::fs::File;
use std::num::{NonZeroU16, NonZeroU64};
use std::ops::Range;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::Arc;

/// A sealed file of a [`StdStorage`](crate::StdStorage). Clones share one descriptor.
///
/// A view is one read into a buffer that it shares with its clones, and keeps the file in use; a
/// queue reads on threads of its own: see [`StdQueue`].
#[derive(Clone, Debug)]
pub struct StdSealed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    // In this order: the lock goes last.
    file: File,
    len_bytes: u64,
    hold: Hold,
    _root: Arc<Root>,
}

impl StdSealed {
    pub(crate) fn new(file: File, len_bytes: u64, hold: Hold, root: Arc<Root>) -> Self {
        Self(Arc::new(Inner { file, len_bytes, hold, _root: root }))
    }
}

impl ReadFile for StdSealed {
    fn name(&self) -> &FileName {
        self.0.hold.name()
    }

    fn len_bytes(&self) -> u64 {
        self.0.len_bytes
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        check_reads(self.name(), reads, self.len_bytes())?;
        read_each(&self.0.file, self.name(), reads)
    }

    /// Syncs the file, which covers what a dead process may have left unsynced, then drops its
    /// clean pages where the system can: see the crate's docs.
    fn discard_cache(&self) -> Result<()> {
        discard(&self.0.file, self.name())
    }
}

#[cfg(unix)]
impl AsFd for StdSealed {
    /// The open file, for backends built on this one: reads of it and maps of it keep the contract.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

#[cfg(windows)]
impl AsHandle for StdSealed {
    /// The open file, for backends built on this one: reads of it and maps of it keep the contract.
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.file.as_handle()
    }
}

impl SealedFile for StdSealed {
    type View = BufView<Self>;
    type Queue = StdQueue;

    fn view(&self, range: Range<u64>) -> Result<Self::View> {
        BufView::read(self, range, self.clone())
    }

    fn queue(&self, depth: NonZeroU16) -> Result<Self::Queue> {
        Ok(StdQueue::new(self.clone(), depth))
    }

    fn prefetch(&self, range: Range<u64>) {
        let end = range.end.min(self.len_bytes());
        if let Some(len) = end.checked_sub(range.start).and_then(NonZeroU64::new) {
            platform::will_need(&self.0.file, range.start, len);
        }
    }
}
