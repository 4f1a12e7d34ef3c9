//! Sorted tables: entries of all keyspaces in order of their keys, sealed.
//!
//! Keeps the file: blocks of entries, each compressed and checked on its own, an index of them, a
//! filter that knows most keys that are not there, and a footer. Which tables there are, and which
//! of them has the newest version of a key, is left to `tree`.

mod ahead;
mod block;
mod cache;
mod codec;
mod cursor;
mod filter;
mod footer;
mod index;
mod kept;
mod many;
mod reader;
mod writer;

pub(crate) use cache::BlockCache;
pub(crate) use cursor::TableCursor;
pub(crate) use filter::KeyHash;
pub(crate) use footer::Footer;
pub(crate) use reader::{TableFiles, TableReader};
pub(crate) use writer::{TableSettings, TableWriter};

use crate::damage::Lsn;
use std::cmp::Ordering;

const BLOCKS: u32 = 1;
const INDEX: u32 = 2;
const FILTER: u32 = 3;
const FOOTER: u32 = 4;

/// Behind the bytes of a block: how they are compressed, and their checksum.
const TRAILER_LEN_BYTES: usize = 1 + 4;

/// How blocks of tables are compressed that get shorter by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// They are not.
    None,
    /// LZ4.
    #[default]
    Lz4,
    /// Zstandard at its level 3: shorter than LZ4, and slower to read. With the cargo feature
    /// `zstd`, without which such tables cannot be read.
    #[cfg(feature = "zstd")]
    Zstd,
}

/// One version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a [u8],
    /// The record that made it.
    pub(crate) lsn: Lsn,
    /// `None` where that deleted the key.
    pub(crate) value: Option<&'a [u8]>,
}

/// A version of a key that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) lsn: Lsn,
    /// `None` where it deleted the key.
    pub(crate) value: Option<Vec<u8>>,
}

/// Which versions of a key are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Every one, the newest first.
    All,
    /// The newest of a record up to this one.
    UpTo(Lsn),
}

/// The order in which keys are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// The order of entries: by key, of each the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order<'k> {
    pub(crate) key: &'k [u8],
    pub(crate) lsn: Lsn,
}

impl Ord for Order<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(other.key).then(other.lsn.cmp(&self.lsn))
    }
}

impl PartialOrd for Order<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The checksum of a block: seeded with its place, so that one of elsewhere does not pass.
fn block_crc(file: u64, at: u64, codec: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(&[codec]);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
