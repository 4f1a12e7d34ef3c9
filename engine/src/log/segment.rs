//! The header of a log segment, and its file's name (`docs/FORMAT.md`, chapter Segment header).

use crate::codec::{Put, Reader};
use crate::damage::{Damage, Lsn};
use crate::limits::NUMBER_MAX;
use crate::log::LogPosition;
use gannet_storage::{BLOCK_SIZE, FileName};

/// Length of the header in its block; the rest of the block is zero and ignored.
const HEADER_LEN_BYTES: usize = 512;
/// Behind magic, checksum and version.
const DATABASE_AT: usize = 8 + 4 + 4;
/// Behind these, database and number.
const SALT_AT: usize = DATABASE_AT + 16 + 8;
const MAGIC: [u8; 8] = *b"GANNTLOG";
pub(crate) const VERSION: u32 = 1;
const PREFIX: &str = "log-";

/// What a segment says of itself: written and synced before its first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) database: [u8; 16],
    pub(crate) number: u64,
    /// Fresh and random: part of every checksum in the segment.
    pub(crate) salt: u64,
    /// Where the segment before it ends; all of that was durable when this was written.
    pub(crate) prev: LogPosition,
}

/// Why a block is not a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// All zero: allocated, never written.
    Blank,
    Newer(u32),
    Damaged(Damage),
}

impl SegmentHeader {
    /// LSN of the first record that can stand in the segment.
    pub(crate) fn first_lsn(&self) -> Lsn {
        self.prev.lsn + 1
    }

    /// The header's block.
    pub(crate) fn encode(&self, block: &mut [u8]) {
        let mut fields = Vec::with_capacity(HEADER_LEN_BYTES);
        fields.put_u32(VERSION);
        fields.put(&self.database);
        fields.put_u64(self.number);
        fields.put_u64(self.salt);
        fields.put_u64(self.first_lsn());
        fields.put_u64(self.prev.lsn);
        fields.put_u32(self.prev.chain);
        fields.resize(HEADER_LEN_BYTES - 12, 0);
        block[..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&crc32fast::hash(&fields).to_le_bytes());
        block[12..HEADER_LEN_BYTES].copy_from_slice(&fields);
    }

    /// The salt as it stands in a header's block, which need not be valid.
    pub(crate) fn salt_in(block: &[u8]) -> Option<u64> {
        let salt = block.get(SALT_AT..)?.first_chunk()?;
        Some(u64::from_le_bytes(*salt))
    }

    /// As [`salt_in`](Self::salt_in), the database.
    pub(crate) fn database_in(block: &[u8]) -> Option<[u8; 16]> {
        block.get(DATABASE_AT..)?.first_chunk().copied()
    }

    pub(crate) fn decode(block: &[u8]) -> Result<Self, HeaderFault> {
        let Some(bytes) = block.get(..HEADER_LEN_BYTES) else {
            return Err(HeaderFault::Damaged(Damage::Length));
        };
        if block.iter().all(|&byte| byte == 0) {
            return Err(HeaderFault::Blank);
        }
        Self::decode_fields(bytes)
    }

    fn decode_fields(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let damaged = |damage| HeaderFault::Damaged(damage);
        let mut r = Reader::new(bytes);
        if r.bytes(8) != Some(&MAGIC) {
            return Err(damaged(Damage::Magic));
        }
        if r.u32() != Some(crc32fast::hash(&bytes[12..])) {
            return Err(damaged(Damage::Checksum));
        }
        let field = |name| damaged(Damage::Field(name));
        let version = r.u32().ok_or(field("version"))?;
        if version != VERSION {
            return Err(HeaderFault::Newer(version));
        }
        let database = r.array().ok_or(field("database"))?;
        let number = r.u64().ok_or(field("number"))?;
        let salt = r.u64().ok_or(field("salt"))?;
        let first_lsn = r.u64().ok_or(field("first_lsn"))?;
        let prev = LogPosition {
            lsn: r.u64().ok_or(field("prev_end_lsn"))?,
            chain: r.u32().ok_or(field("chain"))?,
        };
        if prev.lsn.checked_add(1) != Some(first_lsn) || first_lsn > NUMBER_MAX {
            return Err(field("first_lsn"));
        }
        Ok(Self { database, number, salt, prev })
    }
}

/// `log-` and ten digits.
pub(crate) fn file_name(number: u64) -> FileName {
    FileName::new(&format!("{PREFIX}{number:010}")).expect("digits make a valid name")
}

/// The segment number in a file's name, if it is a segment's.
pub(crate) fn number_of(name: &FileName) -> Option<u64> {
    let number = name.as_str().strip_prefix(PREFIX)?.parse().ok()?;
    (number <= NUMBER_MAX && file_name(number) == *name).then_some(number)
}

const _: () = assert!(HEADER_LEN_BYTES <= BLOCK_SIZE);

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        let prev = LogPosition { lsn: 41, chain: 0xdead_beef };
        SegmentHeader { database: *b"0123456789abcdef", number: 7, salt: 99, prev }
    }

    #[test]
    fn a_header_comes_back_and_its_bytes_are_pinned() {
        let mut block = vec![0; BLOCK_SIZE];
        header().encode(&mut block);
        assert_eq!(SegmentHeader::decode(&block), Ok(header()));
        assert_eq!(SegmentHeader::salt_in(&block), Some(99));
        assert_eq!(SegmentHeader::database_in(&block), Some(header().database));
        assert_eq!(&block[..8], b"GANNTLOG");
        assert_eq!(crc32fast::hash(&block), 0xbc5d_08dd, "the format has changed");
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let mut block = vec![0; BLOCK_SIZE];
        assert_eq!(SegmentHeader::decode(&block), Err(HeaderFault::Blank));
        header().encode(&mut block);
        for at in 0..HEADER_LEN_BYTES {
            block[at] ^= 0x10;
            assert!(SegmentHeader::decode(&block).is_err(), "byte {at}");
            block[at] ^= 0x10;
        }
        assert!(SegmentHeader::decode(&block[..100]).is_err());
    }

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(file_name(3).as_str(), "log-0000000003");
        assert_eq!(number_of(&file_name(NUMBER_MAX)), Some(NUMBER_MAX));
        assert_eq!(number_of(&file_name(NUMBER_MAX + 1)), None);
        for other in ["log-3", "log-00000000x3", "rows-0000000003"] {
            assert_eq!(number_of(&FileName::new(other).unwrap()), None, "{other}");
        }
    }
}
