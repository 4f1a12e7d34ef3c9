//! Opening and making regular files, and nothing else that a directory may hold.

use crate::platform;
use gannet_storage::{BLOCK_SIZE, Error, ErrorKind, FileName, Op, Result};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Opens an existing file and tells its length in bytes.
///
/// # Errors
/// `NotFound`; `BadLength` if it is not whole blocks; `Io` for what is not a regular file, a
/// symbolic link above all; `ReadOnly`, `Denied`, `Io`.
pub(crate) fn open(op: Op, path: &Path, name: &FileName, access: Access) -> Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::Write);
    let file = platform::guard(&mut options).open(path).map_err(|source| {
        // How the system refuses to open a link or a directory differs: look what it is.
        check_regular(op, path, name).err().unwrap_or_else(|| Error::io(op, name, source))
    })?;
    let meta = file.metadata().map_err(|source| Error::io(op, name, source))?;
    if !meta.is_file() {
        return Err(not_regular(op, name));
    }
    if !meta.len().is_multiple_of(BLOCK_SIZE as u64) {
        return Err(Error::new(ErrorKind::BadLength, op, name).at(0..meta.len()));
    }
    Ok((file, meta.len()))
}

/// Makes a file of `len_bytes` zero bytes, or nothing.
///
/// # Errors
/// `AlreadyExists`, `NoSpace`, `ReadOnly`, `Denied`, `Io`.
pub(crate) fn create(path: &Path, name: &FileName, len_bytes: u64) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    let opened = platform::guard(&mut options).open(path);
    let file = opened.map_err(|source| Error::io(Op::Create, name, source))?;
    if let Err(error) = set_len(Op::Create, &file, name, len_bytes) {
        drop(file);
        // If it cannot be removed either, an empty file is left, as by a crash.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

/// Grows a file with zeroes or cuts it.
///
/// # Errors
/// `NoSpace`, also for a length that no file of this file system can have; `Io`.
pub(crate) fn set_len(op: Op, file: &File, name: &FileName, len_bytes: u64) -> Result<()> {
    file.set_len(len_bytes).map_err(|source| {
        if matches!(source.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput) {
            Error::new(ErrorKind::NoSpace, op, name).at(0..len_bytes).because(source)
        } else {
            Error::io(op, name, source)
        }
    })
}

/// Whether `path` itself is a regular file.
///
/// # Errors
/// `NotFound`; `Io` for anything else that has the name.
pub(crate) fn check_regular(op: Op, path: &Path, name: &FileName) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(_) => Err(not_regular(op, name)),
        Err(source) => Err(Error::io(op, name, source)),
    }
}

fn not_regular(op: Op, name: &FileName) -> Error {
    Error::new(ErrorKind::Io, op, name).because("it is not a regular file")
}
