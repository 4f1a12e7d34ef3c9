//! A vector file of any known format, read from front to back in bounded memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::element::Element;
use super::fault::{VectorFault, VectorFileError};
use super::layout::Layout;
use super::{bin, npy, vecs};

/// Most bytes read in one go, unless a single row is longer.
const READ_BYTES: usize = 1 << 20;

/// An open vector file: a matrix of `rows` x `dims`, and a position in it.
///
/// ```
/// use gannet_cli::vectors::VectorFile;
/// # let dir = std::env::temp_dir().join(format!("gannet-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let path = dir.join("two.u8bin");
/// std::fs::write(&path, [2, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6])?;
/// let mut file = VectorFile::open(&path)?;
/// assert_eq!((file.rows(), file.dims()), (2, 3));
/// file.skip_rows(1)?;
/// let mut row = Vec::new();
/// assert_eq!(file.read_rows(10, &mut row)?, 1);
/// assert_eq!(row, [4.0, 5.0, 6.0]);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct VectorFile {
    path: PathBuf,
    file: File,
    layout: Layout,
    next_row: u64,
    bytes: Vec<u8>,
}

impl VectorFile {
    /// Opens `path` by its extension (any case) and checks its header against its length.
    ///
    /// # Errors
    /// The name is not known, the file cannot be read or is not a regular one, its header is no
    /// header, promises more or less than the file holds, or says 0 rows, 0 dimensions or more
    /// than [`DIMS_MAX`](super::DIMS_MAX).
    pub fn open(path: &Path) -> Result<Self, VectorFileError> {
        open(path).map_err(|fault| VectorFileError::new(path, fault))
    }

    /// The file as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows of the whole file, at least 1.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.layout.rows
    }

    /// Components a row, at least 1.
    #[must_use]
    pub fn dims(&self) -> u32 {
        self.layout.dims
    }

    /// The row that is read next; `rows()` at the end.
    #[must_use]
    pub fn next_row(&self) -> u64 {
        self.next_row
    }

    /// Appends the next `count` rows, or as many as are left, to `out`, and says how many.
    ///
    /// `out` grows by that number times `dims()`; beside it at most 1 MiB or one row is held.
    ///
    /// # Errors
    /// The file cannot be read or became shorter, a row of a `*vecs` file has another dimension,
    /// or a component does not fit an `f32`. `out` then ends with some of the rows before.
    pub fn read_rows(
        &mut self,
        count: usize,
        out: &mut Vec<f32>,
    ) -> Result<usize, VectorFileError> {
        let mut read = 0;
        while read < count && self.next_row < self.layout.rows {
            let left = usize::try_from(self.layout.rows - self.next_row).unwrap_or(usize::MAX);
            let rows = (count - read).min(left).min(self.rows_a_read());
            self.read_some(rows, out).map_err(|fault| VectorFileError::new(&self.path, fault))?;
            self.next_row += rows as u64;
            read += rows;
        }
        Ok(read)
    }

    /// Passes over the next `count` rows without reading them, or over all that are left.
    ///
    /// # Errors
    /// The file cannot be positioned.
    pub fn skip_rows(&mut self, count: u64) -> Result<(), VectorFileError> {
        let row = self.next_row.saturating_add(count).min(self.layout.rows);
        // In bounds: `layout` was checked against the length of the file.
        let offset = self.layout.start + row * self.layout.row_bytes();
        self.file.seek(SeekFrom::Start(offset)).map_err(|source| {
            VectorFileError::new(&self.path, VectorFault::Io { operation: "seek", source })
        })?;
        self.next_row = row;
        Ok(())
    }

    fn row_bytes(&self) -> usize {
        usize::try_from(self.layout.row_bytes()).expect("below 2^20, by DIMS_MAX")
    }

    fn rows_a_read(&self) -> usize {
        (READ_BYTES / self.row_bytes()).max(1)
    }

    /// Reads `rows` rows, at least one and not more than [`Self::rows_a_read`] or are left.
    fn read_some(&mut self, rows: usize, out: &mut Vec<f32>) -> Result<(), VectorFault> {
        let layout = self.layout;
        let row_bytes = self.row_bytes();
        let len = rows * row_bytes;
        self.bytes.resize(len, 0);
        self.file
            .read_exact(&mut self.bytes)
            .map_err(|source| VectorFault::while_reading(source, self.next_row))?;
        let unfit = |row, index: usize| VectorFault::Unfit {
            row: row + index as u64 / u64::from(layout.dims),
            component: index as u64 % u64::from(layout.dims),
        };
        if layout.prefix_bytes == 0 {
            let first = self.next_row;
            return layout.element.decode(&self.bytes, out).map_err(|index| unfit(first, index));
        }
        for (row, bytes) in (self.next_row..).zip(self.bytes.chunks_exact(row_bytes)) {
            let (prefix, components) =
                bytes.split_first_chunk::<4>().expect("a row with a prefix is longer than it");
            let found = i32::from_le_bytes(*prefix);
            if i64::from(found) != i64::from(layout.dims) {
                return Err(VectorFault::UnequalDims { row, expected: layout.dims, found });
            }
            layout.element.decode(components, out).map_err(|index| unfit(row, index))?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<VectorFile, VectorFault> {
    let extension = extension_of(path).ok_or(VectorFault::UnknownExtension)?;
    let (mut file, file_bytes) = open_regular(path)?;
    let layout = match extension.as_str() {
        "npy" => npy::layout(&mut file, file_bytes)?,
        "fvecs" => vecs::layout(&mut file, file_bytes, Element::F32)?,
        "bvecs" => vecs::layout(&mut file, file_bytes, Element::U8)?,
        "ivecs" => vecs::layout(&mut file, file_bytes, Element::I32)?,
        "fbin" => bin::layout(&mut file, file_bytes, Element::F32)?,
        "u8bin" => bin::layout(&mut file, file_bytes, Element::U8)?,
        _ => return Err(VectorFault::UnknownExtension),
    };
    file.seek(SeekFrom::Start(layout.start))
        .map_err(|source| VectorFault::Io { operation: "seek", source })?;
    Ok(VectorFile { path: path.to_path_buf(), file, layout, next_row: 0, bytes: Vec::new() })
}

/// The extension of `path` in lower case.
pub(super) fn extension_of(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// Opens a regular file for reading and tells its length.
pub(super) fn open_regular(path: &Path) -> Result<(File, u64), VectorFault> {
    // Asked before opening: to open a pipe that nobody writes to would wait for ever.
    let found =
        std::fs::metadata(path).map_err(|source| VectorFault::Io { operation: "open", source })?;
    if !found.is_file() {
        return Err(VectorFault::NotAFile);
    }
    let file = File::open(path).map_err(|source| VectorFault::Io { operation: "open", source })?;
    let meta = file
        .metadata()
        .map_err(|source| VectorFault::Io { operation: "read the length", source })?;
    Ok((file, meta.len()))
}
