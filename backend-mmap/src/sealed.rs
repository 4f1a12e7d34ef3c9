//! A file that will not change again, and views into its map.

use crate::map::Map;
use gannet_backend_std::{StdQueue, StdSealed};
use gannet_storage::{Error, ErrorKind, FileName, Op, Read, ReadFile, Result, SealedFile};
use std::fs::File;
use std::io;
use std::num::NonZeroU16;
use std::ops::{Deref, Range};
#[cfg(unix)]
use std::os::fd::AsFd;
#[cfg(windows)]
use std::os::windows::io::AsHandle;
use std::sync::{Arc, OnceLock, Weak};

/// A sealed file of a [`MmapStorage`](crate::MmapStorage). Clones, and every other handle of the
/// same file, share one descriptor and one map.
///
/// The map is made by the first view or prefetch, not before: so that sealing fails for no other
/// reason than a failed sync, and a file that is only read needs no addresses.
#[derive(Clone, Debug)]
pub struct MmapSealed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    // In this order: the map goes first, then what keeps others from changing the file.
    map: OnceLock<Map>,
    file: StdSealed,
}

/// Finds a file again for as long as somebody has it.
#[derive(Debug)]
pub(crate) struct WeakSealed(Weak<Inner>);

impl WeakSealed {
    pub(crate) fn upgrade(&self) -> Option<MmapSealed> {
        self.0.upgrade().map(MmapSealed)
    }

    pub(crate) fn is_in_use(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl MmapSealed {
    pub(crate) fn new(file: StdSealed) -> Self {
        Self(Arc::new(Inner { map: OnceLock::new(), file }))
    }

    pub(crate) fn downgrade(&self) -> WeakSealed {
        WeakSealed(Arc::downgrade(&self.0))
    }

    fn map(&self) -> io::Result<&Map> {
        if let Some(map) = self.0.map.get() {
            return Ok(map);
        }
        let map = Map::whole(&self.0.descriptor()?, self.len_bytes())?;
        // Of two threads that map at once, one unmaps again.
        Ok(self.0.map.get_or_init(|| map))
    }
}

impl Inner {
    /// A second descriptor of the file.
    fn descriptor(&self) -> io::Result<File> {
        #[cfg(unix)]
        let own = self.file.as_fd().try_clone_to_owned()?;
        #[cfg(windows)]
        let own = self.file.as_handle().try_clone_to_owned()?;
        Ok(File::from(own))
    }
}

impl ReadFile for MmapSealed {
    fn name(&self) -> &FileName {
        self.0.file.name()
    }

    fn len_bytes(&self) -> u64 {
        self.0.file.len_bytes()
    }

    /// Reads through the descriptor, not from the map: the bytes come from the same page cache,
    /// with one copy either way, but a device that fails is an error here and no signal, and a
    /// large read of cold data is one request and not a fault for every page.
    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        self.0.file.read_batch(reads)
    }

    /// Gives back the mapped pages, for all handles and views of the file, then does as
    /// [`StdSealed`]. What another thread reads through a view just then comes back with it.
    fn discard_cache(&self) -> Result<()> {
        if let Some(map) = self.0.map.get() {
            map.release().map_err(|source| Error::io(Op::DiscardCache, self.name(), source))?;
        }
        self.0.file.discard_cache()
    }
}

impl SealedFile for MmapSealed {
    type View = MapView;
    type Queue = StdQueue;

    /// A slice of the map: nothing is read or copied until its bytes are looked at, and what the
    /// crate's docs say about SIGBUS is about that moment. Cost: an atomic increment; for the first
    /// view of a file the map, a few system calls.
    ///
    /// # Errors
    /// `OutOfBounds`. Of the first view: `Io` if the system has no more addresses or maps to give,
    /// or another program has changed the length of the file; `Unsupported` if the file system has
    /// no maps, or the file is larger than the address space.
    fn view(&self, range: Range<u64>) -> Result<MapView> {
        if range.start > range.end || range.end > self.len_bytes() {
            return Err(Error::new(ErrorKind::OutOfBounds, Op::View, self.name()).at(range));
        }
        let refused = |source| not_mapped(self.name(), source).at(range.clone());
        let len = self.map().map_err(refused)?.len();
        let inside = within(&range, len).expect("a map is as long as its file");
        Ok(MapView { file: Arc::clone(&self.0), range: inside })
    }

    fn queue(&self, depth: NonZeroU16) -> Result<StdQueue> {
        self.0.file.queue(depth)
    }

    /// Begins to read ahead, as far as `range` lies inside the file (not on Windows, which has no
    /// such call for maps).
    fn prefetch(&self, range: Range<u64>) {
        let range = range.start..range.end.min(self.len_bytes());
        if range.is_empty() {
            return;
        }
        // A hint: if there can be no map, the view will say so.
        let Ok(map) = self.map() else { return };
        if let Some(range) = within(&range, map.len()) {
            map.will_need(range.start, range.len());
        }
    }

    /// Faults read their page alone from then on, where they would read around it (not on Windows).
    /// Of the map, which all handles of the file share.
    fn advise_random(&self) {
        if let Ok(map) = self.map() {
            map.random();
        }
    }
}

/// `range` as one of a slice of `len` bytes.
fn within(range: &Range<u64>, len: usize) -> Option<Range<usize>> {
    let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
    (range.start <= range.end && range.end <= len).then_some(range)
}

fn not_mapped(name: &FileName, source: io::Error) -> Error {
    /// The same number on every Unix: the file system has no maps.
    const ENODEV: i32 = 19;
    let never = source.kind() == io::ErrorKind::FileTooLarge
        || cfg!(unix) && source.raw_os_error() == Some(ENODEV);
    if never {
        Error::new(ErrorKind::Unsupported, Op::View, name).because(source)
    } else {
        Error::io(Op::View, name, source)
    }
}

/// Bytes of a sealed file where the system has mapped them. Clones share the map, which lives, and
/// keeps the file in use, as long as any of them.
#[derive(Clone, Debug)]
pub struct MapView {
    file: Arc<Inner>,
    range: Range<usize>,
}

impl Deref for MapView {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let map = self.file.map.get().expect("a view is made of a map, which stays");
        &map[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn what_can_never_be_mapped_is_unsupported_and_the_rest_is_what_the_system_says() {
        let name = FileName::new("f").expect("valid");
        for (source, kind) in [
            (io::Error::from(io::ErrorKind::FileTooLarge), ErrorKind::Unsupported),
            #[cfg(unix)]
            (io::Error::from_raw_os_error(19), ErrorKind::Unsupported),
            (io::Error::from(io::ErrorKind::OutOfMemory), ErrorKind::Io),
            (io::Error::from(io::ErrorKind::PermissionDenied), ErrorKind::Denied),
            (io::Error::other("another length"), ErrorKind::Io),
        ] {
            let text = source.to_string();
            let error = not_mapped(&name, source);
            assert_eq!((error.kind(), error.op(), error.place()), (kind, Op::View, "f"));
            assert_eq!(error.source().expect("kept").to_string(), text);
        }
    }
}
