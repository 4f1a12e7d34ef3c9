//! The digits that come with the program, unpacked into vector files.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::error::DemoError;
use super::place::{Place, cannot};

/// 10,200 rows of MNIST; `cli/data/README.md` says which, from whom, and under which licence.
static PACKED: &[u8] = include_bytes!("../../data/mnist-10k.u8bin.gz");

/// Rows at the end of the set that are searched for instead of being imported.
const QUERIES: u32 = 200;

/// The demo's vector files.
#[derive(Debug)]
pub(super) struct Digits {
    /// The rows to import, `.u8bin`.
    pub(super) base: PathBuf,
    /// The rows to search for, `.u8bin`.
    pub(super) queries: PathBuf,
    /// Where their exact neighbours go, `.ivecs`; not written here.
    pub(super) truth: PathBuf,
    pub(super) rows: u32,
    pub(super) queries_count: u32,
    pub(super) dims: u32,
}

impl Digits {
    /// Writes the rows to import and the queries into the demo's data directory.
    pub(super) fn unpack(place: &Place) -> Result<Self, DemoError> {
        let file = |name: &str| place.data.join(name);
        let mut packed = GzDecoder::new(PACKED);
        let all = read_u32(&mut packed)?;
        let dims = read_u32(&mut packed)?;
        let rows = all.checked_sub(QUERIES).ok_or_else(|| damaged("too few rows"))?;
        let digits = Self {
            base: file("digits.u8bin"),
            queries: file("queries.u8bin"),
            truth: file("truth.ivecs"),
            rows,
            queries_count: QUERIES,
            dims,
        };
        copy_rows(&mut packed, rows, dims, &digits.base)?;
        copy_rows(&mut packed, QUERIES, dims, &digits.queries)?;
        let rest = packed.read(&mut [0]).map_err(|source| DemoError::Data { source })?;
        if rest == 0 { Ok(digits) } else { Err(damaged("too many bytes")) }
    }
}

fn damaged(why: &'static str) -> DemoError {
    DemoError::Data { source: io::Error::new(io::ErrorKind::InvalidData, why) }
}

fn read_u32(packed: &mut impl Read) -> Result<u32, DemoError> {
    let mut number = [0; 4];
    packed.read_exact(&mut number).map_err(|source| DemoError::Data { source })?;
    Ok(u32::from_le_bytes(number))
}

/// Writes the next `rows` rows to a `.u8bin` file of their own.
fn copy_rows(packed: &mut impl Read, rows: u32, dims: u32, to: &Path) -> Result<(), DemoError> {
    let write = |source| cannot("write", to, source);
    let mut file = BufWriter::new(File::create(to).map_err(write)?);
    for number in [rows, dims] {
        file.write_all(&number.to_le_bytes()).map_err(write)?;
    }
    let bytes = u64::from(rows) * u64::from(dims);
    let copied = io::copy(&mut packed.take(bytes), &mut file).map_err(write)?;
    if copied != bytes {
        return Err(damaged("too few bytes"));
    }
    file.flush().map_err(write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::VectorFile;

    #[test]
    fn the_set_unpacks_to_its_files() {
        let parent = tempfile::tempdir().unwrap();
        let place = Place::prepare(Some(&parent.path().join("demo"))).unwrap();
        let digits = Digits::unpack(&place).unwrap();
        assert_eq!((digits.rows, digits.queries_count, digits.dims), (10_000, 200, 784));
        for (path, rows) in [(&digits.base, 10_000), (&digits.queries, 200)] {
            let file = VectorFile::open(path).unwrap();
            assert_eq!((file.rows(), file.dims()), (rows, 784));
        }
        assert!(PACKED.len() < 2_000_000, "the repository stays small");
    }
}
