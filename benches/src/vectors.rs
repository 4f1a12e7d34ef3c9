//! Vectors in memory as the graph reads them: a stride each, in chunks.

use gannet_hnsw::{Metric, Rows, normalise, row_stride};

use crate::Random;

/// Rows a chunk: `1 << CHUNK_LOG2`.
pub const CHUNK_LOG2: u32 = 10;

/// How far a vector strays from its centre, as a part of how far the centres are apart.
const SPREAD: f32 = 0.5;

/// Vectors of one dimension, each padded with zeros to its stride.
#[derive(Clone, Debug)]
pub struct Vectors {
    dims: u32,
    floats: Vec<f32>,
}

impl Vectors {
    /// `len` vectors of `dims` around `clusters` centres; of unit length for cosine. A longer set
    /// of the same seed begins with the shorter one, so that the rows behind serve as queries.
    ///
    /// # Panics
    /// If `clusters` is 0.
    #[must_use]
    pub fn clustered(seed: u64, len: u32, dims: u32, clusters: u32, metric: Metric) -> Self {
        let mut random = Random::new(seed);
        let normals =
            |random: &mut Random| -> Vec<f32> { (0..dims).map(|_| random.normal()).collect() };
        let centres: Vec<Vec<f32>> = (0..clusters).map(|_| normals(&mut random)).collect();
        let stride = row_stride(dims);
        let mut floats = Vec::with_capacity(len as usize * stride);
        for row in 0..len as usize {
            let centre = &centres[random.below(clusters) as usize];
            floats.extend(centre.iter().map(|component| component + SPREAD * random.normal()));
            floats.resize((row + 1) * stride, 0.0);
            if metric == Metric::Cosine {
                normalise(&mut floats[row * stride..]).expect("twelve sums a component are not 0");
            }
        }
        Self { dims, floats }
    }

    /// How many vectors there are.
    ///
    /// # Panics
    /// Not for sets that [`Vectors::clustered`] makes.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.floats.len() / row_stride(self.dims)).expect("made from a u32")
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty()
    }

    /// A vector with its padding.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, row: u32) -> &[f32] {
        let stride = row_stride(self.dims);
        &self.floats[row as usize * stride..][..stride]
    }

    /// A vector without its padding.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn vector(&self, row: u32) -> &[f32] {
        &self.row(row)[..self.dims as usize]
    }

    /// Lends the first `len` vectors to `work` as the rows of a graph.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn with_rows<T>(&self, len: u32, work: impl FnOnce(&Rows<'_>) -> T) -> T {
        let stride = row_stride(self.dims);
        let floats = &self.floats[..len as usize * stride];
        let chunks: Vec<&[f32]> = floats.chunks(stride << CHUNK_LOG2).collect();
        work(&Rows::new(self.dims, CHUNK_LOG2, &chunks, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_vectors_and_a_longer_set_begins_with_the_shorter() {
        let make = |seed, len| Vectors::clustered(seed, len, 20, 3, Metric::L2);
        let (short, long) = (make(1, 5), make(1, 9));
        assert_eq!(short.floats, long.floats[..short.floats.len()]);
        assert_ne!(short.floats, make(2, 5).floats);
        assert_eq!((long.len(), long.row(8).len(), long.vector(8).len()), (9, 32, 20));
        assert!(!long.is_empty() && make(1, 0).is_empty());
    }

    #[test]
    fn vectors_under_cosine_are_of_unit_length() {
        let made = Vectors::clustered(3, 50, 33, 4, Metric::Cosine);
        for row in 0..made.len() {
            let length: f64 = made.row(row).iter().map(|x| f64::from(*x).powi(2)).sum();
            assert!((length - 1.0).abs() < 1e-5, "row {row}: {length}");
        }
    }

    #[test]
    fn rows_are_lent_in_chunks() {
        let made = Vectors::clustered(4, 2500, 16, 4, Metric::Dot);
        made.with_rows(2100, |rows| {
            assert_eq!(rows.len(), 2100);
            for row in [0, 1023, 1024, 2099] {
                assert_eq!(rows.row(row), made.row(row), "row {row}");
            }
        });
    }
}
