//! Windows: `ReadFile` and `WriteFile` with offsets; directories cannot be made durable.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::num::NonZeroU64;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const FILE_SHARE_READ: u32 = 0x1;
const FILE_SHARE_WRITE: u32 = 0x2;
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;

pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> Result<usize> {
    file.seek_read(buf, offset)
}

pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> Result<usize> {
    file.seek_write(bytes, offset)
}

/// Opens a symbolic link itself, which is then no regular file. Others may read and write beside
/// us, but neither delete nor rename what we have open.
pub(crate) fn guard(options: &mut OpenOptions) -> &mut OpenOptions {
    options
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE)
}

/// Always: `guard` opened it in a way that keeps others from deleting or renaming it.
#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
pub(crate) fn is_named(_file: &File, _path: &Path) -> Result<bool> {
    Ok(true)
}

/// Windows drops the pages of a file only where it is opened unbuffered, by all who have it open.
#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
pub(crate) fn discard_cached(_file: &File) -> Result<()> {
    Ok(())
}

pub(crate) fn will_need(_file: &File, _offset: u64, _len: NonZeroU64) {}

/// Stands for a directory that Windows has no way to sync.
#[derive(Debug)]
pub(crate) struct DirHandle;

impl DirHandle {
    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
    pub(crate) fn open(_path: &Path) -> Result<Self> {
        Ok(Self)
    }

    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "as on Unix")]
    pub(crate) fn sync(&self) -> Result<()> {
        Ok(())
    }
}
