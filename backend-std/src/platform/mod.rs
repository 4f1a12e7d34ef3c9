//! What differs between operating systems, behind one set of functions.
//!
//! Keeps the choice only. Each platform's file has the same functions with the same meaning:
//!
//! - `read_at`, `write_at`: one attempt at a transfer at an offset, perhaps short, perhaps
//!   interrupted; a read past the end of the file gives 0.
//! - `guard`: opening neither follows a symbolic link in the last place of the path, nor waits for
//!   the other end of a pipe.
//! - `is_named`: whether an open file is what the path names now.
//! - `discard_cached`, `will_need`: talk to the page cache.
//! - `DirHandle`: a directory that can be made durable.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::{DirHandle, discard_cached, guard, is_named, read_at, will_need, write_at};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::{
    DirHandle, discard_cached, guard, is_named, read_at, will_need, write_at,
};

#[cfg(not(any(unix, windows)))]
compile_error!("gannet-backend-std needs positional file I/O: Unix or Windows");
