//! Vectors of a `.u8bin` or `.fbin` file (u32 rows, u32 dims, rows), for the examples.

use std::error::Error;
use std::fs;
use std::path::Path;

use gannet_hnsw::{Metric, Rows, normalise, row_stride};

const CHUNK_LOG2: u32 = 12;

/// Vectors in memory, a stride each.
pub(crate) struct Vectors {
    floats: Vec<f32>,
    pub(crate) dims: u32,
    pub(crate) len: u32,
}

impl Vectors {
    pub(crate) fn read(path: &str, metric: Metric) -> Result<Self, Box<dyn Error>> {
        let bytes = fs::read(path)?;
        let (header, body) = bytes.split_first_chunk::<8>().ok_or("no header")?;
        let words = header.as_chunks().0;
        let (len, dims) = (u32::from_le_bytes(words[0]), u32::from_le_bytes(words[1]));
        let stride = row_stride(dims);
        let mut floats = Vec::with_capacity(len as usize * stride);
        let is_bytes = Path::new(path).extension().is_some_and(|extension| extension == "u8bin");
        let row_bytes = dims as usize * if is_bytes { 1 } else { 4 };
        if body.len() != len as usize * row_bytes {
            return Err(format!("{path}: {len} rows of {dims} in {} bytes", body.len()).into());
        }
        for (row, vector) in body.chunks_exact(row_bytes).enumerate() {
            if is_bytes {
                floats.extend(vector.iter().copied().map(f32::from));
            } else {
                floats.extend(vector.as_chunks().0.iter().copied().map(f32::from_le_bytes));
            }
            floats.resize((row + 1) * stride, 0.0);
            if metric == Metric::Cosine {
                normalise(&mut floats[row * stride..])?;
            }
        }
        Ok(Self { floats, dims, len })
    }

    pub(crate) fn chunks(&self) -> Vec<&[f32]> {
        self.floats.chunks(row_stride(self.dims) << CHUNK_LOG2).collect()
    }

    /// The rows that `chunks` (see [`Vectors::chunks`]) hold.
    pub(crate) fn rows<'a>(&self, chunks: &'a [&'a [f32]]) -> Rows<'a> {
        Rows::new(self.dims, CHUNK_LOG2, chunks, self.len)
    }

    pub(crate) fn row(&self, row: u32) -> &[f32] {
        let stride = row_stride(self.dims);
        &self.floats[row as usize * stride..][..stride]
    }
}
