//! Rows that were not verified when their file was opened: each block of them is, before anything
//! of it is used.
//!
//! Keeps which blocks that are, and the first damage that was met, for all copies of a store. A
//! block that is damaged stays unverified: whoever wants it meets the damage again.

use crate::damage::{Corruption, Damage};
use crate::sealed::SectionView;
use gannet_hnsw::{Unchecked, row_stride};
use std::ops::{Deref, Range};
use std::sync::OnceLock;

/// A block has at least so many bytes of vectors: as many as one checksum.
const BLOCK_LEN_BYTES: usize = 64 << 10;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Unverified {
    pub(super) blocks: Unchecked,
    damage: OnceLock<Corruption>,
}

impl Unverified {
    pub(super) fn new(row_len_bytes: usize) -> Self {
        let rows = BLOCK_LEN_BYTES.div_ceil(row_len_bytes).next_power_of_two();
        Self { blocks: Unchecked::new(rows.ilog2()), damage: OnceLock::new() }
    }

    /// The first damage that anybody has met.
    pub(super) fn damage(&self) -> Option<&Corruption> {
        self.damage.get()
    }

    /// Verifies some rows of a view, whole blocks, of which the first is row `first` of the store.
    ///
    /// # Errors
    /// Damage of any of them.
    pub(super) fn verify<V: Deref<Target = [u8]>>(
        &self,
        view: &SectionView<V>,
        bytes: Range<usize>,
        (first, dims): (u32, u32),
    ) -> Result<(), Corruption> {
        let rows = bytes.len() / (size_of::<f32>() * row_stride(dims));
        let rows = u32::try_from(rows).expect("rows of a view");
        verify_rows(view, bytes, dims)
            .inspect_err(|damage| _ = self.damage.get_or_init(|| damage.clone()))?;
        let rows_log2 = self.blocks.rows_per_block_log2();
        (first >> rows_log2..(first + rows) >> rows_log2)
            .for_each(|block| self.blocks.remove(block));
        Ok(())
    }
}

/// Verifies some rows of a view: checksums, and what `check_rows` looks at.
fn verify_rows<V: Deref<Target = [u8]>>(
    view: &SectionView<V>,
    bytes: Range<usize>,
    dims: u32,
) -> Result<(), Corruption> {
    view.verify(bytes.clone())?;
    let checked = check_rows(&view.bytes()[bytes.clone()], dims);
    checked.map_err(|damage| view.damage(bytes.start, damage))
}

/// Whether bytes are aligned rows, padded with zeroes, each component a finite number.
///
/// # Errors
/// What they are not.
pub(super) fn check_rows(bytes: &[u8], dims: u32) -> Result<(), Damage> {
    let floats: &[f32] = bytemuck::try_cast_slice(bytes).map_err(|_| Damage::Field("alignment"))?;
    let (dims, stride) = (dims as usize, row_stride(dims));
    let is_padding_zero = |row: &[f32]| row[dims..].iter().all(|float| float.to_bits() == 0);
    let is_padded = dims == stride || floats.chunks_exact(stride).all(is_padding_zero);
    if is_padded && all_finite(floats) { Ok(()) } else { Err(Damage::Field("vector")) }
}

/// Whether no exponent is all ones: a pass without a branch, many numbers at a time.
fn all_finite(floats: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let has_bad = |chunk: &[f32]| {
        chunk.iter().fold(false, |bad, float| bad | (float.to_bits() & EXPONENT == EXPONENT))
    };
    !floats.chunks(1024).any(has_bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_float_is_found_anywhere() {
        let mut floats = vec![f32::MAX; 5000];
        assert!(all_finite(&floats));
        for at in [0, 1023, 1024, 4999] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                floats[at] = bad;
                assert!(!all_finite(&floats), "{at} {bad}");
                floats[at] = -0.0;
            }
        }
    }

    #[test]
    fn a_block_has_at_least_the_bytes_of_a_checksum_and_at_least_a_row() {
        for (row_len, rows_log2) in [(64, 10), (512, 7), (3136, 5), (65_536, 0), (262_144, 0)] {
            let blocks = Unverified::new(row_len).blocks;
            assert_eq!(blocks.rows_per_block_log2(), rows_log2, "rows of {row_len} bytes");
        }
    }
}
