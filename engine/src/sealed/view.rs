//! Bytes of a section: as they stand in the file, and verified.
//!
//! Keeps what it takes to verify them later than they are mapped, a part at a time. Which part was,
//! and what the bytes mean, is left to whoever uses them.

use super::{Section, UNIT_LEN_BYTES, unit_crc};
use crate::damage::{Corruption, Damage};
use gannet_storage::FileName;
use std::ops::{Deref, Range};

/// A range of a section, in a view of the whole units that it touches.
#[derive(Clone, Debug)]
pub(crate) struct SectionView<V> {
    pub(super) view: V,
    /// The range, in the view.
    pub(super) range: Range<usize>,
    pub(super) file: FileName,
    pub(super) number: u64,
    pub(super) section: Section,
    pub(super) first_unit: u64,
    /// Checksums of the units, as far as they can be had.
    pub(super) crcs: Box<[u32]>,
}

/// Bytes of a section whose checksums matched.
#[derive(Clone, Debug)]
pub(crate) struct Verified<V>(SectionView<V>);

impl<V: Deref<Target = [u8]>> SectionView<V> {
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// Length of the view that it is part of.
    pub(crate) fn viewed_len_bytes(&self) -> usize {
        self.view.len()
    }

    /// The bytes, which somebody has verified, or does not look at.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.view[self.range.clone()]
    }

    /// Whatever has a checksum is what was written, of some of the bytes: of all units that these
    /// touch.
    ///
    /// # Errors
    /// The first unit that is not.
    pub(crate) fn verify(&self, bytes: Range<usize>) -> Result<(), Corruption> {
        let unit_len = usize::try_from(UNIT_LEN_BYTES).expect("64 KiB");
        let (start, end) = (self.range.start + bytes.start, self.range.start + bytes.end);
        let touched = start / unit_len..end.div_ceil(unit_len);
        let units = self.view.chunks(unit_len).enumerate().take(touched.end).skip(touched.start);
        for (index, bytes) in units {
            let unit = self.first_unit + index as u64;
            let mut hasher = unit_crc(self.number, self.section.id, unit);
            hasher.update(bytes);
            let is_whole = self.crcs.get(index) == Some(&hasher.finalize());
            if !is_whole && !mutant!("unit-not-checked") {
                let offset = self.section.offset + unit * UNIT_LEN_BYTES;
                return Err(Corruption::new(&self.file, offset, Damage::Checksum));
            }
        }
        Ok(())
    }

    /// All of it, verified.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub(crate) fn verified(self) -> Result<Verified<V>, Corruption> {
        self.verify(0..self.len())?;
        Ok(Verified(self))
    }

    /// Damage at one of the bytes.
    pub(crate) fn damage(&self, at: usize, damage: Damage) -> Corruption {
        let in_section = self.first_unit * UNIT_LEN_BYTES + (self.range.start + at) as u64;
        Corruption::new(&self.file, self.section.offset + in_section, damage)
    }
}

impl<V> Verified<V> {
    /// The same, for whoever keeps it beside others that were not verified.
    pub(crate) fn into_view(self) -> SectionView<V> {
        self.0
    }
}

impl<V: Deref<Target = [u8]>> Deref for Verified<V> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl<V: Deref<Target = [u8]>> AsRef<[u8]> for Verified<V> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
