//! Reading a sealed file: header and table of checksums at open, each unit before its first use
//! (`view`).

use crate::damage::{Corruption, Damage};
use crate::error::OpenError;
use crate::sealed::{
    BLOCK, FileKind, FileRef, Ident, Layout, LayoutFault, Section, SectionView, UNIT_LEN_BYTES,
    VERSION, Verified,
};
use gannet_storage::{ErrorKind, FileName, SealedFile, Storage};
use std::ops::{ControlFlow, Range};

/// Where the length of the file stands in its header.
const LEN_BYTES_AT: usize = 52;

/// An open sealed file whose header and table are what its [`FileRef`] says.
#[derive(Clone, Debug)]
pub(crate) struct SealedReader<F> {
    file: F,
    layout: Layout,
    /// Checksums of all units, section after section.
    crcs: Vec<u32>,
}

impl<F: SealedFile> SealedReader<F> {
    /// Opens the file that `expected` names.
    ///
    /// # Errors
    /// `Corrupt` with the file and what is wrong; `NewerVersion`; `Storage`.
    pub(crate) fn open<S: Storage<Sealed = F>>(
        storage: &S,
        kind: FileKind,
        database: [u8; 16],
        expected: &FileRef,
    ) -> Result<Self, OpenError> {
        let name = kind.file_name(expected.number);
        let damaged = |offset, damage| Corruption::new(&name, offset, damage);
        let file = storage.open_sealed(&name).map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                damaged(0, Damage::Missing).into()
            } else if error.kind() == ErrorKind::BadLength {
                damaged(0, Damage::Length).into()
            } else {
                OpenError::Storage(error)
            }
        })?;
        if file.len_bytes() != expected.len_bytes || expected.len_bytes < BLOCK {
            return Err(damaged(0, Damage::Length).into());
        }
        let header = file.view(0..BLOCK)?;
        let (layout, crc) =
            Layout::decode(&header, file.len_bytes()).map_err(|fault| match fault {
                LayoutFault::Damaged(damage) => damaged(0, damage).into(),
                LayoutFault::Newer(found) => OpenError::newer_format(&name, found, VERSION),
            })?;
        let ident = layout.ident;
        let same = (ident.kind, ident.database, ident.number) == (kind, database, expected.number);
        if !same || crc != expected.header_crc {
            return Err(damaged(0, Damage::Foreign).into());
        }
        let end = layout.table_offset + 4 * layout.units();
        let table = file.view(layout.table_offset..end)?;
        if crc32fast::hash(&table) != layout.table_crc {
            return Err(damaged(layout.table_offset, Damage::Checksum).into());
        }
        let crcs = table.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
        Ok(Self { file, crcs: crcs.collect(), layout })
    }

    /// Opens a file of which not everything need be there, to take from it what is: only its header
    /// must be valid, and of `database` where that is known. A unit whose checksum cannot be had
    /// fails like one that does not match. Without `expected` the header vouches for itself.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_damaged<S: Storage<Sealed = F>>(
        storage: &S,
        (kind, number): (FileKind, u64),
        database: Option<[u8; 16]>,
        expected: Option<&FileRef>,
    ) -> Result<Self, OpenError> {
        let name = kind.file_name(number);
        let damaged = |offset, damage| Corruption::new(&name, offset, damage);
        let file = storage.open_sealed(&name)?;
        if file.len_bytes() < BLOCK {
            return Err(damaged(0, Damage::Length).into());
        }
        let header = file.view(0..BLOCK)?;
        // What it says of its length is under its checksum; what is there may be less.
        let said = header.get(LEN_BYTES_AT..).and_then(<[u8]>::first_chunk);
        let said = said.map_or(0, |len| u64::from_le_bytes(*len));
        let (layout, crc) = Layout::decode(&header, said).map_err(|fault| match fault {
            LayoutFault::Damaged(damage) => damaged(0, damage).into(),
            LayoutFault::Newer(found) => OpenError::newer_format(&name, found, VERSION),
        })?;
        let ident = layout.ident;
        let same = (ident.kind, ident.number) == (kind, number)
            && database.is_none_or(|database| database == ident.database)
            && expected.is_none_or(|expected| expected.header_crc == crc);
        if !same {
            return Err(damaged(0, Damage::Foreign).into());
        }
        let end = (layout.table_offset + 4 * layout.units()).min(file.len_bytes());
        let mut table = Vec::new();
        let mut at = layout.table_offset;
        while at < end {
            let step = at..(at + BLOCK).min(end);
            match file.view(step.clone()) {
                Ok(bytes) => table.extend_from_slice(&bytes),
                Err(_) => table.extend(step.map(|_| 0)),
            }
            at += BLOCK;
        }
        let crcs = table.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
        Ok(Self { file, crcs: crcs.collect(), layout })
    }

    /// Bytes of a section that are in the file, which may be shorter than it was.
    pub(crate) fn there(&self, id: u32) -> u64 {
        let Some(section) = self.section(id) else { return 0 };
        self.file.len_bytes().saturating_sub(section.offset).min(section.len_bytes)
    }

    pub(crate) fn name(&self) -> &FileName {
        self.file.name()
    }

    pub(crate) fn lsn(&self) -> crate::damage::Lsn {
        self.layout.ident.lsn
    }

    pub(crate) fn ident(&self) -> Ident {
        self.layout.ident
    }

    /// In the order in which they stand.
    pub(crate) fn sections(&self) -> &[Section] {
        &self.layout.sections
    }

    /// Checks the bytes that no checksum covers: they fill up blocks, with zeroes.
    ///
    /// # Errors
    /// `Corrupt`; `Storage`.
    pub(crate) fn check_padding(&self) -> Result<(), OpenError> {
        let table_end = self.layout.table_offset + 4 * self.layout.units();
        let sections = self.layout.sections.iter().map(|s| s.offset + s.len_bytes);
        for end in sections.chain([table_end]) {
            let padding = end..end.next_multiple_of(BLOCK);
            if self.file.view(padding)?.iter().any(|&byte| byte != 0) {
                return Err(Corruption::new(self.name(), end, Damage::Field("padding")).into());
            }
        }
        Ok(())
    }

    /// Damage at byte `offset` of section `id`.
    pub(crate) fn damage(&self, id: u32, offset: u64, damage: Damage) -> Corruption {
        let base = self.section(id).map_or(0, |section| section.offset);
        Corruption::new(self.name(), base + offset, damage)
    }

    pub(crate) fn section(&self, id: u32) -> Option<Section> {
        self.layout.sections.iter().find(|section| section.id == id).copied()
    }

    /// All of a section.
    ///
    /// # Errors
    /// `Corrupt` if there is no such section or a checksum does not match; `Storage`.
    pub(crate) fn read(&self, id: u32) -> Result<Verified<F::View>, OpenError> {
        let len_bytes = self.section(id).map_or(0, |section| {
            self.file.prefetch(section.offset..section.offset + section.len_bytes);
            section.len_bytes
        });
        self.read_range(id, 0..len_bytes)
    }

    /// A range of a section, verified with the units it touches.
    ///
    /// # Errors
    /// As [`read`](Self::read); `Corrupt` also if the range is not inside the section.
    pub(crate) fn read_range(
        &self,
        id: u32,
        range: Range<u64>,
    ) -> Result<Verified<F::View>, OpenError> {
        Ok(self.view_range(id, range)?.verified()?)
    }

    /// A range of a section whose owner has checksums of his own.
    ///
    /// # Errors
    /// As [`view_range`](Self::view_range).
    pub(crate) fn unverified(&self, id: u32, range: Range<u64>) -> Result<F::View, OpenError> {
        let (_, section) = self.section_with(id, &range)?;
        Ok(self.file.view(section.offset + range.start..section.offset + range.end)?)
    }

    /// Where a range of a section is: the blocks around it in the file, and the range in these.
    ///
    /// # Errors
    /// `Corrupt` if there is no such section, or the range is not inside it and the file.
    pub(crate) fn blocks_around(
        &self,
        id: u32,
        range: &Range<u64>,
    ) -> Result<(Range<u64>, Range<usize>), Corruption> {
        let (_, section) = self.section_with(id, range)?;
        let (start, end) = (section.offset + range.start, section.offset + range.end);
        let blocks = start - start % BLOCK..end.next_multiple_of(BLOCK);
        if blocks.end > self.file.len_bytes() {
            return Err(self.damage(id, range.start, Damage::Length));
        }
        let within = |at: u64| usize::try_from(at - blocks.start).ok();
        let within = within(start).zip(within(end)).map(|(start, end)| start..end);
        let within = within.ok_or_else(|| self.damage(id, range.start, Damage::Length))?;
        Ok((blocks, within))
    }

    /// The open file.
    pub(crate) fn file(&self) -> &F {
        &self.file
    }

    /// A range of a section, to be verified by whoever looks at it. Where views copy nothing this
    /// reads nothing.
    ///
    /// # Errors
    /// `Corrupt` if there is no such section, or the range is not inside it; `Storage`.
    pub(crate) fn view_range(
        &self,
        id: u32,
        range: Range<u64>,
    ) -> Result<SectionView<F::View>, OpenError> {
        let (index, section) = self.section_with(id, &range)?;
        let first_unit = range.start / UNIT_LEN_BYTES;
        let start = first_unit * UNIT_LEN_BYTES;
        let end = range.end.next_multiple_of(UNIT_LEN_BYTES).min(section.len_bytes);
        let view = self.file.view(section.offset + start..section.offset + end)?;
        let units_before: u64 = self.layout.sections[..index].iter().map(Section::units).sum();
        let first = usize::try_from(units_before + first_unit).unwrap_or(usize::MAX);
        let count = usize::try_from((end - start).div_ceil(UNIT_LEN_BYTES)).expect("of a view");
        let crcs = self.crcs.iter().skip(first).take(count).copied().collect();
        let within = |offset: u64| usize::try_from(offset - start).expect("inside a view");
        Ok(SectionView {
            range: within(range.start)..within(range.end),
            view,
            file: self.name().clone(),
            number: self.layout.ident.number,
            section,
            first_unit,
            crcs,
        })
    }

    /// The section of that id, and which it is of all, if the range is inside it.
    fn section_with(&self, id: u32, range: &Range<u64>) -> Result<(usize, Section), Corruption> {
        let missing = || Corruption::new(self.name(), 0, Damage::Field("sections"));
        let index = self.layout.sections.iter().position(|s| s.id == id).ok_or_else(missing)?;
        let section = self.layout.sections[index];
        if range.start > range.end || range.end > section.len_bytes {
            return Err(self.damage(id, section.len_bytes, Damage::Length));
        }
        Ok((index, section))
    }

    /// Reads everything that has a checksum; returns how many bytes that were.
    ///
    /// # Errors
    /// The first damage.
    pub(crate) fn verify(&self) -> Result<u64, OpenError> {
        self.verify_steps(&mut |_| ControlFlow::Continue(()))
    }

    /// As [`verify`](Self::verify), and tells `each` how many bytes were read, a step at a time,
    /// until it breaks.
    ///
    /// # Errors
    /// The first damage.
    pub(crate) fn verify_steps(
        &self,
        each: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<u64, OpenError> {
        const STEP: u64 = 16 * UNIT_LEN_BYTES;
        let mut bytes = BLOCK + 4 * self.layout.units();
        if each(bytes).is_break() {
            return Ok(bytes);
        }
        for section in &self.layout.sections {
            let mut at = 0;
            while at < section.len_bytes {
                let end = (at + STEP).min(section.len_bytes);
                self.file.prefetch(section.offset + at..section.offset + end);
                self.read_range(section.id, at..end)?;
                bytes += end - at;
                if each(end - at).is_break() {
                    return Ok(bytes);
                }
                at = end;
            }
        }
        Ok(bytes)
    }

    /// Lets what is read from here on come from the media.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) fn discard_cache(&self) -> Result<(), OpenError> {
        Ok(self.file.discard_cache()?)
    }
}
