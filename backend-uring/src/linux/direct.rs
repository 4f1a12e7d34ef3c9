//! Whether transfers of a file bypass the page cache: asked of the file system, then tried.

use gannet_storage::BLOCK_SIZE;
use rustix::fs::{AtFlags, OFlags, StatxFlags};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;

/// `BLOCK_SIZE`, as the kernel counts alignments.
const BLOCK: u32 = 4096;
const _: () = assert!(BLOCK as usize == BLOCK_SIZE);

/// How the transfers of a file are done, from when it is opened to when it is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Past the page cache, in multiples of `align_bytes`.
    Direct {
        /// A power of two, at most `BLOCK_SIZE`.
        align_bytes: u32,
    },
    /// Through the page cache, because of this.
    Cached(String),
}

impl Access {
    /// Asks the file system what it allows for the open file.
    ///
    /// The order is: `statx` (Linux 6.1), the device's logical block, 4,096.
    pub(crate) fn of(file: BorrowedFd<'_>) -> Self {
        let align_bytes = match told_by_statx(file) {
            Ok(Some(0)) => return Self::Cached("the file system has no direct I/O".to_owned()),
            Ok(Some(align)) => align,
            Ok(None) | Err(_) => logical_block(file).unwrap_or(BLOCK),
        };
        if !align_bytes.is_power_of_two() || align_bytes > BLOCK {
            let why =
                format!("direct I/O wants transfers of {align_bytes} bytes, more than a block");
            return Self::Cached(why);
        }
        Self::Direct { align_bytes }
    }

    /// Switches the open file to this access, or says why it stays with the page cache.
    pub(crate) fn apply(self, file: BorrowedFd<'_>) -> Self {
        let Self::Direct { .. } = self else { return self };
        let set = rustix::fs::fcntl_getfl(file)
            .and_then(|flags| rustix::fs::fcntl_setfl(file, flags | OFlags::DIRECT));
        match set {
            Ok(()) => self,
            Err(errno) => {
                let error = io::Error::from(errno);
                Self::Cached(format!("the file system refuses direct I/O ({error})"))
            }
        }
    }

    /// Multiples of this many bytes are where an unfinished transfer can go on.
    pub(crate) fn align(&self) -> usize {
        match self {
            Self::Direct { align_bytes } => *align_bytes as usize,
            Self::Cached(_) => 1,
        }
    }

    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, Self::Direct { .. })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct { align_bytes } => write!(f, "yes, in multiples of {align_bytes} bytes"),
            Self::Cached(why) => write!(f, "no: {why}"),
        }
    }
}

/// What `statx` says: the strictest of its alignments, 0 for no direct I/O, nothing where the
/// kernel or file system does not tell.
fn told_by_statx(file: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)?;
    if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        return Ok(None);
    }
    if stat.stx_dio_offset_align == 0 {
        return Ok(Some(0));
    }
    Ok(Some(stat.stx_dio_offset_align.max(stat.stx_dio_mem_align)))
}

/// The logical block of the device under the file: what `BLKSSZGET` tells to those who may open the
/// device, read where everybody may.
fn logical_block(file: BorrowedFd<'_>) -> Option<u32> {
    let device = rustix::fs::fstat(file).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    // A partition has no queue of its own; that of its disk is one level up.
    ["queue", "../queue"].iter().find_map(|queue| {
        let path = format!("/sys/dev/block/{major}:{minor}/{queue}/logical_block_size");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn an_alignment_that_blocks_do_not_have_is_refused() {
        let file = tempfile::tempfile().expect("temporary file");
        match Access::of(file.as_fd()).apply(file.as_fd()) {
            Access::Direct { align_bytes } => {
                assert!(BLOCK_SIZE.is_multiple_of(align_bytes as usize), "{align_bytes}");
                let flags = rustix::fs::fcntl_getfl(&file).expect("open file");
                assert!(flags.contains(OFlags::DIRECT));
            }
            Access::Cached(why) => eprintln!("no direct I/O for temporary files: {why}"),
        }
    }

    #[test]
    fn what_cannot_be_direct_says_why() {
        let file = fs::File::options().read(true).open("/proc/self/status").expect("Linux");
        let refused = Access::Direct { align_bytes: 512 }.apply(file.as_fd());
        assert!(!refused.is_direct(), "{refused}");
        assert!(refused.to_string().contains("refuses direct I/O"), "{refused}");
    }
}
