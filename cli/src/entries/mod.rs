//! Keys with their values, as they are written in files, on lines and on the command line.
//!
//! Which keys are read and where they are put is left to the verbs.

mod fault;
mod file;
pub(crate) mod hex;
pub(crate) mod json;
pub(crate) mod text;

pub(crate) use fault::{EntryError, EntryFault};
pub(crate) use file::EntryFile;

/// A key with its value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}
