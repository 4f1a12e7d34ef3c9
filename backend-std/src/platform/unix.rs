//! Unix: `pread`, `pwrite`, `fsync` of directories, and what std does not offer through rustix.

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> Result<usize> {
    file.read_at(buf, offset)
}

pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> Result<usize> {
    file.write_at(bytes, offset)
}

pub(crate) fn guard(options: &mut OpenOptions) -> &mut OpenOptions {
    // NONBLOCK means nothing for a regular file; it keeps the opening of a pipe, which is refused
    // once its kind is known, from waiting for a writer.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(flags.bits().cast_signed())
}

pub(crate) fn is_named(file: &File, path: &Path) -> Result<bool> {
    let open = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Syncs, because only clean pages can be dropped, then drops them as far as the system can.
pub(crate) fn discard_cached(file: &File) -> Result<()> {
    file.sync_data()?;
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
    #[cfg(target_vendor = "apple")]
    rustix::fs::fcntl_nocache(file, true)?;
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) fn will_need(file: &File, offset: u64, len: std::num::NonZeroU64) {
    // A hint: a refusal costs nothing but the wait that it would have saved.
    let _ = rustix::fs::fadvise(file, offset, Some(len), rustix::fs::Advice::WillNeed);
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(crate) fn will_need(_file: &File, _offset: u64, _len: std::num::NonZeroU64) {}

/// An open directory.
#[derive(Debug)]
pub(crate) struct DirHandle(File);

impl DirHandle {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY.bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(flags).open(path).map(Self)
    }

    /// Makes every earlier change of the directory's entries durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.0.sync_all()
    }
}
