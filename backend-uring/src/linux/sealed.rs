//! A file that will not change again.

use crate::linux::direct::Access;
use crate::linux::file::read_all;
use crate::linux::queue::UringQueue;
use crate::linux::rings::Rings;
use gannet_backend_std::StdSealed;
use gannet_storage::{
    BufView, Error, FileName, Op, Read, ReadFile, Result, SealedFile, check_reads,
};
use std::io;
use std::num::NonZeroU16;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// A sealed file of a [`UringStorage`](crate::UringStorage). Clones share one descriptor.
///
/// A view is one read into a buffer, cut into requests that are in flight together, and keeps the
/// file in use.
#[derive(Clone, Debug)]
pub struct UringSealed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    // In this order: the lock, which the last of them holds, goes last.
    rings: Arc<Rings>,
    access: Access,
    std: StdSealed,
}

impl UringSealed {
    pub(crate) fn new(std: StdSealed, access: Access, rings: Arc<Rings>) -> Self {
        Self(Arc::new(Inner { rings, access: access.apply(std.as_fd()), std }))
    }

    pub(crate) fn access(&self) -> &Access {
        &self.0.access
    }
}

impl AsFd for UringSealed {
    /// The open file. Reads of it keep the contract.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.std.as_fd()
    }
}

impl ReadFile for UringSealed {
    fn name(&self) -> &FileName {
        self.0.std.name()
    }

    fn len_bytes(&self) -> u64 {
        self.0.std.len_bytes()
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        check_reads(self.name(), reads, self.len_bytes())?;
        read_all(&self.0.rings, self.as_fd(), &self.0.access, self.name(), reads)
    }

    /// Syncs the file, then drops what the page cache has of it.
    fn discard_cache(&self) -> Result<()> {
        self.0.std.discard_cache()
    }
}

impl SealedFile for UringSealed {
    type View = BufView<Self>;
    type Queue = UringQueue;

    fn view(&self, range: Range<u64>) -> Result<Self::View> {
        BufView::read(self, range, self.clone())
    }

    /// Where memory for rings is short, as deep as the kernel gives.
    ///
    /// # Errors
    /// `Io` where the kernel gives no further ring; the source says why, and what can be done.
    fn queue(&self, depth: NonZeroU16) -> Result<UringQueue> {
        let mut depth = depth.min(UringQueue::DEPTH_MAX);
        loop {
            match self.0.rings.make(depth.get().into()) {
                Ok(ring) => return Ok(UringQueue::new(ring, depth, self.clone())),
                Err(source) => {
                    let less = NonZeroU16::new(depth.get() / 2);
                    let is_short = source.kind() == io::ErrorKind::OutOfMemory;
                    let Some(less) = less.filter(|_| is_short) else {
                        return Err(Error::io(Op::Queue, self.name(), source));
                    };
                    depth = less;
                }
            }
        }
    }

    /// Only where transfers go through the page cache: direct ones find nothing there.
    fn prefetch(&self, range: Range<u64>) {
        if !self.0.access.is_direct() {
            self.0.std.prefetch(range);
        }
    }
}
