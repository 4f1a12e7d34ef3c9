//! Sealed files: the container of everything a checkpoint writes (`docs/FORMAT.md`, chapter Sealed
//! files).
//!
//! Keeps a header block, sections that begin on block boundaries so that they can be used from a
//! mapping as they are, and a checksum for every 64 KiB of every section. A file is pinned by a
//! [`FileRef`] kept outside of it: its header's checksum covers the table of checksums, and that
//! covers everything else. What a section means is left to its owner.

mod reader;
mod view;
mod writer;

pub(crate) use reader::SealedReader;
pub(crate) use view::{SectionView, Verified};
pub(crate) use writer::{OPEN_END, SealedWriter};

use crate::codec::{Put, Reader};
use crate::damage::{Damage, Lsn};
use crate::limits::NUMBER_MAX;
use gannet_storage::{BLOCK_SIZE, FileName};

const BLOCK: u64 = BLOCK_SIZE as u64;
const MAGIC: [u8; 8] = *b"GANNFILE";
const VERSION: u32 = 1;
/// Bytes under one checksum.
pub(crate) const UNIT_LEN_BYTES: u64 = 64 << 10;
const SECTIONS_MAX: usize = 16;
/// A file longer than this is damage: no address space holds it.
const LEN_BYTES_MAX: u64 = 1 << 48;

/// What a sealed file is; also the beginning of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileKind {
    Manifest,
    Rows,
    Dead,
    Graph,
    Table,
    Patch,
}

impl FileKind {
    const ALL: [Self; 6] =
        [Self::Manifest, Self::Rows, Self::Dead, Self::Graph, Self::Table, Self::Patch];

    const fn code(self) -> u32 {
        match self {
            Self::Manifest => 1,
            Self::Rows => 2,
            Self::Dead => 3,
            Self::Graph => 4,
            Self::Table => 5,
            Self::Patch => 6,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Manifest => "manifest-",
            Self::Rows => "rows-",
            Self::Dead => "dead-",
            Self::Graph => "graph-",
            Self::Table => "table-",
            Self::Patch => "patch-",
        }
    }

    /// Whether it is of a graph, which is built anew of the rows where its files are not whole.
    pub(crate) const fn is_of_graph(self) -> bool {
        matches!(self, Self::Graph | Self::Patch)
    }

    /// The kind's prefix and ten digits.
    pub(crate) fn file_name(self, number: u64) -> FileName {
        let text = format!("{}{number:010}", self.prefix());
        FileName::new(&text).expect("a prefix and digits make a valid name")
    }

    /// Kind and number in a file's name, if it is a sealed file's.
    pub(crate) fn of_name(name: &FileName) -> Option<(Self, u64)> {
        let split = |kind: Self| Some((kind, name.as_str().strip_prefix(kind.prefix())?));
        let (kind, digits) = Self::ALL.into_iter().find_map(split)?;
        let number = digits.parse().ok()?;
        (number <= NUMBER_MAX && kind.file_name(number) == *name).then_some((kind, number))
    }
}

/// Names a sealed file from outside: number, length, and the checksum in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileRef {
    pub(crate) number: u64,
    pub(crate) len_bytes: u64,
    pub(crate) header_crc: u32,
}

impl FileRef {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.number);
        out.put_u64(self.len_bytes);
        out.put_u32(self.header_crc);
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let file = Self { number: r.u64()?, len_bytes: r.u64()?, header_crc: r.u32()? };
        (file.number <= NUMBER_MAX).then_some(file)
    }
}

/// Which file of which database this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ident {
    pub(crate) kind: FileKind,
    pub(crate) database: [u8; 16],
    pub(crate) number: u64,
    /// The checkpoint that wrote it.
    pub(crate) lsn: Lsn,
}

/// A part of a file with a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) id: u32,
    pub(crate) offset: u64,
    pub(crate) len_bytes: u64,
}

impl Section {
    fn units(&self) -> u64 {
        self.len_bytes.div_ceil(UNIT_LEN_BYTES)
    }
}

/// Where everything in a file stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    ident: Ident,
    sections: Vec<Section>,
    table_offset: u64,
    table_crc: u32,
    len_bytes: u64,
}

enum LayoutFault {
    Newer(u32),
    Damaged(Damage),
}

impl Layout {
    /// Sections one after another, each on a block boundary, the table of checksums behind them.
    fn plan(ident: Ident, sections: &[(u32, u64)]) -> Self {
        assert!(sections.len() <= SECTIONS_MAX, "{} sections", sections.len());
        let mut offset = BLOCK;
        let place = |&(id, len_bytes): &(u32, u64)| {
            let section = Section { id, offset, len_bytes };
            offset = (offset + len_bytes).next_multiple_of(BLOCK);
            section
        };
        let sections: Vec<_> = sections.iter().map(place).collect();
        let units: u64 = sections.iter().map(Section::units).sum();
        let len_bytes = (offset + 4 * units).next_multiple_of(BLOCK);
        Self { ident, sections, table_offset: offset, table_crc: 0, len_bytes }
    }

    fn units(&self) -> u64 {
        self.sections.iter().map(Section::units).sum()
    }

    /// Fills the header block; returns its checksum.
    fn encode(&self, block: &mut [u8]) -> u32 {
        let mut fields = Vec::with_capacity(BLOCK_SIZE);
        fields.put_u32(VERSION);
        fields.put_u32(self.ident.kind.code());
        fields.put(&self.ident.database);
        fields.put_u64(self.ident.number);
        fields.put_u64(self.ident.lsn);
        fields.put_u64(self.len_bytes);
        fields.put_u64(self.table_offset);
        fields.put_u32(self.table_crc);
        fields.put_u32(u32::try_from(self.sections.len()).expect("at most SECTIONS_MAX"));
        for section in &self.sections {
            fields.put_u32(section.id);
            fields.put_u32(0);
            fields.put_u64(section.offset);
            fields.put_u64(section.len_bytes);
        }
        fields.resize(BLOCK_SIZE - 12, 0);
        let crc = crc32fast::hash(&fields);
        block[..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&crc.to_le_bytes());
        block[12..BLOCK_SIZE].copy_from_slice(&fields);
        crc
    }

    /// The layout in a header block, and the block's checksum. Lengths and offsets are consistent
    /// with each other and with `file_len_bytes` if it is `Ok`.
    fn decode(block: &[u8], file_len_bytes: u64) -> Result<(Self, u32), LayoutFault> {
        let damaged = LayoutFault::Damaged;
        let mut r = Reader::new(block);
        if r.bytes(8) != Some(&MAGIC) {
            return Err(damaged(Damage::Magic));
        }
        let crc = crc32fast::hash(block.get(12..).unwrap_or_default());
        if r.u32() != Some(crc) {
            return Err(damaged(Damage::Checksum));
        }
        let version = r.u32().ok_or(damaged(Damage::Length))?;
        if version != VERSION {
            return Err(LayoutFault::Newer(version));
        }
        let layout = Self::decode_fields(&mut r).map_err(|name| damaged(Damage::Field(name)))?;
        let lens: Vec<_> = layout.sections.iter().map(|s| (s.id, s.len_bytes)).collect();
        if lens.iter().any(|&(_, len)| len > LEN_BYTES_MAX) {
            return Err(damaged(Damage::Field("section length")));
        }
        let planned = Self { table_crc: layout.table_crc, ..Self::plan(layout.ident, &lens) };
        if planned != layout {
            return Err(damaged(Damage::Field("section place")));
        }
        if layout.len_bytes != file_len_bytes {
            return Err(damaged(Damage::Length));
        }
        Ok((layout, crc))
    }

    fn decode_fields(r: &mut Reader<'_>) -> Result<Self, &'static str> {
        let code = r.u32().ok_or("kind")?;
        let kind = FileKind::ALL.into_iter().find(|kind| kind.code() == code).ok_or("kind")?;
        let database = r.array().ok_or("database")?;
        let number = r.u64().ok_or("number")?;
        let lsn = r.u64().ok_or("lsn")?;
        let len_bytes = r.u64().ok_or("length")?;
        let table_offset = r.u64().ok_or("table offset")?;
        let table_crc = r.u32().ok_or("table checksum")?;
        let count = r.u32().ok_or("section count")?;
        if count as usize > SECTIONS_MAX {
            return Err("section count");
        }
        let mut sections = Vec::new();
        for _ in 0..count {
            let id = r.u32().ok_or("section")?;
            let zero = r.u32().ok_or("section")?;
            let offset = r.u64().ok_or("section")?;
            let len_bytes = r.u64().ok_or("section")?;
            if zero != 0 {
                return Err("section");
            }
            sections.push(Section { id, offset, len_bytes });
        }
        let ident = Ident { kind, database, number, lsn };
        Ok(Self { ident, sections, table_offset, table_crc, len_bytes })
    }
}

/// Checksum of one unit: seeded with its place, so that a unit of elsewhere does not pass.
fn unit_crc(number: u64, section: u32, unit: u64) -> crc32fast::Hasher {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&section.to_le_bytes());
    hasher.update(&unit.to_le_bytes());
    hasher
}

#[cfg(test)]
mod tests;
