//! Lists of nearest neighbours in `.ivecs` files: the truth of a query set, or what was found.
//!
//! One list a query, nearest first; ids are row numbers. Unlike vectors, lists may differ in
//! length.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::fault::{VectorFault, VectorFileError};
use super::file::{extension_of, open_regular};

/// One list of ids a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighborLists {
    ids: Vec<u32>,
    /// Where list `i` ends in `ids`; it begins where the one before ends.
    ends: Vec<usize>,
}

impl NeighborLists {
    /// No lists.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the list of the next query.
    ///
    /// `Err` gives back the first id that an `.ivecs` file cannot hold: ids end at `i32::MAX`.
    ///
    /// # Errors
    /// An id is too large; nothing was added.
    pub fn push(&mut self, ids: impl IntoIterator<Item = u64>) -> Result<(), u64> {
        let start = self.ids.len();
        for id in ids {
            let fits = u32::try_from(id).ok().filter(|&fits| fits <= i32::MAX.unsigned_abs());
            let Some(fits) = fits else {
                self.ids.truncate(start);
                return Err(id);
            };
            self.ids.push(fits);
        }
        self.ends.push(self.ids.len());
        Ok(())
    }

    /// Number of lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no lists.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The list of query `index`, nearest first.
    ///
    /// # Panics
    /// If there is no such list.
    #[must_use]
    pub fn list(&self, index: usize) -> &[u32] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.ids[start..self.ends[index]]
    }

    /// Reads a whole `.ivecs` file. Memory is bounded by the length of the file.
    ///
    /// # Errors
    /// Another extension, an unreadable file, no list at all, a list that the file does not hold
    /// whole, or an id below 0.
    pub fn read(path: &Path) -> Result<Self, VectorFileError> {
        read(path).map_err(|fault| VectorFileError::new(path, fault))
    }

    /// Writes all lists to `path`, in place of what is there.
    ///
    /// # Errors
    /// The file cannot be made or written.
    ///
    /// # Panics
    /// If a list has 2^32 ids or more.
    pub fn write(&self, path: &Path) -> Result<(), VectorFileError> {
        let io = |source| {
            VectorFileError::new(path, VectorFault::Io { operation: "write the file", source })
        };
        let mut file = BufWriter::new(File::create(path).map_err(io)?);
        for index in 0..self.len() {
            let list = self.list(index);
            let count = u32::try_from(list.len()).expect("a list has 2^32 ids");
            for number in std::iter::once(&count).chain(list) {
                file.write_all(&number.to_le_bytes()).map_err(io)?;
            }
        }
        file.flush().map_err(io)
    }
}

fn read(path: &Path) -> Result<NeighborLists, VectorFault> {
    if extension_of(path).as_deref() != Some("ivecs") {
        return Err(VectorFault::NotNeighborLists);
    }
    let (file, file_bytes) = open_regular(path)?;
    let mut file = BufReader::new(file);
    let mut lists = NeighborLists::new();
    let mut left = file_bytes;
    let mut next = |row: u64| {
        let mut number = [0; 4];
        file.read_exact(&mut number).map_err(|source| VectorFault::while_reading(source, row))?;
        Ok(i32::from_le_bytes(number))
    };
    while left > 0 {
        let row = lists.len() as u64;
        if left < 4 {
            return Err(VectorFault::CutRow { row, missing: 4 - left });
        }
        let found = next(row)?;
        left -= 4;
        let count = u64::try_from(found).map_err(|_| VectorFault::ListLength { row, found })?;
        if count * 4 > left {
            return Err(VectorFault::CutRow { row, missing: count * 4 - left });
        }
        for _ in 0..count {
            let found = next(row)?;
            let id = u32::try_from(found).map_err(|_| VectorFault::NegativeId { row, found })?;
            lists.ids.push(id);
        }
        lists.ends.push(lists.ids.len());
        left -= count * 4;
    }
    if lists.is_empty() { Err(VectorFault::NoRows) } else { Ok(lists) }
}
