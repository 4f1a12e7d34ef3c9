//! The header of a frame: one commit group of the log (`docs/FORMAT.md`, chapter Frame).
//!
//! Keeps the 64 bytes before a group's records: lengths under a checksum of their own, the chain
//! to the frame before, and `durable_upto`, the statement about earlier frames by which recovery
//! tells damage from a torn write.

use crate::codec::{Put, Reader, crc_seeded};
use crate::damage::Lsn;
use crate::limits::NUMBER_MAX;

/// Bytes of a frame before its body.
pub(crate) const HEADER_LEN_BYTES: usize = 64;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
const MAGIC: u32 = u32::from_le_bytes(*b"GFRM");
pub(crate) const VERSION: u8 = 1;
const FLAG_MARKER: u8 = 1;
const CODEC_NONE: u8 = 0;

/// A frame's header, without its own checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// LSN of its first record; for a marker, of the next record to come.
    pub(crate) first_lsn: Lsn,
    /// Records in the body; 0 makes it a marker.
    pub(crate) records: u32,
    /// Every record up to this one was covered by a completed sync when the frame was composed.
    pub(crate) durable_upto: Lsn,
    /// Length of the body that follows.
    pub(crate) body_len_bytes: u32,
    /// Checksum of the body, seeded with salt and LSN.
    pub(crate) body_crc: u32,
    /// Chain value after the frame before.
    pub(crate) prev_chain: u32,
}

/// Why bytes are not a frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameFault {
    Magic,
    Checksum,
    /// A version, codec or flag that only a later program writes.
    Newer(u8),
    Field(&'static str),
}

impl FrameHeader {
    /// LSN of the last record in it; for a marker, of the last before it.
    pub(crate) fn last_lsn(&self) -> Lsn {
        self.first_lsn + Lsn::from(self.records) - 1
    }

    pub(crate) fn body_crc(salt: u64, first_lsn: Lsn, body: &[u8]) -> u32 {
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&salt.to_le_bytes());
        seed[8..].copy_from_slice(&first_lsn.to_le_bytes());
        crc_seeded(&seed, body)
    }

    /// Writes the header to `out`; returns the chain value after this frame.
    pub(crate) fn encode(&self, salt: u64, out: &mut [u8]) -> u32 {
        let mut fields = Vec::with_capacity(HEADER_LEN_BYTES - 8);
        fields.put_u8(VERSION);
        fields.put_u8(if self.records == 0 { FLAG_MARKER } else { 0 });
        fields.put_u8(CODEC_NONE);
        fields.put_u8(0);
        fields.put_u32(self.records);
        fields.put_u64(self.first_lsn);
        fields.put_u64(self.durable_upto);
        fields.put_u32(self.body_len_bytes);
        fields.put_u32(self.body_len_bytes);
        fields.put_u32(self.body_crc);
        fields.put_u32(self.prev_chain);
        fields.resize(HEADER_LEN_BYTES - 8, 0);
        let header_crc = crc_seeded(&salt.to_le_bytes(), &fields);
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..8].copy_from_slice(&header_crc.to_le_bytes());
        out[8..HEADER_LEN_BYTES].copy_from_slice(&fields);
        self.chain(header_crc)
    }

    /// The header at the front of `bytes`, and the chain value after its frame.
    pub(crate) fn decode(salt: u64, bytes: &[u8]) -> Result<(Self, u32), FrameFault> {
        let header = bytes.get(..HEADER_LEN_BYTES).ok_or(FrameFault::Magic)?;
        let mut r = Reader::new(header);
        if r.u32() != Some(MAGIC) {
            return Err(FrameFault::Magic);
        }
        let header_crc = crc_seeded(&salt.to_le_bytes(), &header[8..]);
        if r.u32() != Some(header_crc) {
            return Err(FrameFault::Checksum);
        }
        let frame = Self::decode_fields(&mut r)?;
        Ok((frame, frame.chain(header_crc)))
    }

    fn decode_fields(r: &mut Reader<'_>) -> Result<Self, FrameFault> {
        let field = FrameFault::Field;
        let version = r.u8().ok_or(field("version"))?;
        if version != VERSION {
            return Err(FrameFault::Newer(version));
        }
        let flags = r.u8().ok_or(field("flags"))?;
        let codec = r.u8().ok_or(field("codec"))?;
        if flags & !FLAG_MARKER != 0 || codec != CODEC_NONE {
            return Err(FrameFault::Newer(version));
        }
        let zero = r.u8();
        let records = r.u32().ok_or(field("record count"))?;
        let first_lsn = r.u64().ok_or(field("first lsn"))?;
        let durable_upto = r.u64().ok_or(field("durable_upto"))?;
        let body_len_bytes = r.u32().ok_or(field("body length"))?;
        let decoded_len_bytes = r.u32().ok_or(field("decoded length"))?;
        let body_crc = r.u32().ok_or(field("body checksum"))?;
        let prev_chain = r.u32().ok_or(field("chain"))?;
        if zero != Some(0) || r.rest().iter().any(|&byte| byte != 0) {
            return Err(field("reserved"));
        }
        if decoded_len_bytes != body_len_bytes {
            return Err(field("decoded length"));
        }
        if (flags == FLAG_MARKER) != (records == 0) || (records == 0) != (body_len_bytes == 0) {
            return Err(field("record count"));
        }
        if !(1..=NUMBER_MAX).contains(&first_lsn) {
            return Err(field("first lsn"));
        }
        if durable_upto >= first_lsn {
            return Err(field("durable_upto"));
        }
        Ok(Self { first_lsn, records, durable_upto, body_len_bytes, body_crc, prev_chain })
    }

    /// Never the body a second time: its checksum stands for it.
    fn chain(&self, header_crc: u32) -> u32 {
        let mut links = Vec::with_capacity(12);
        links.put_u32(self.prev_chain);
        links.put_u32(header_crc);
        links.put_u32(self.body_crc);
        crc32fast::hash(&links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            first_lsn: 10,
            records: 3,
            durable_upto: 9,
            body_len_bytes: 100,
            body_crc: 0x0102_0304,
            prev_chain: 0xa0b0_c0d0,
        }
    }

    #[test]
    fn a_header_comes_back_and_its_bytes_are_pinned() {
        let mut bytes = [0; HEADER_LEN_BYTES];
        let chain = header().encode(5, &mut bytes);
        assert_eq!(FrameHeader::decode(5, &bytes), Ok((header(), chain)));
        assert_eq!(header().last_lsn(), 12);
        assert_eq!(&bytes[..4], b"GFRM");
        assert_eq!((crc32fast::hash(&bytes), chain), (0x5a97_f8c9, 0xf442_8e08), "format changed");
    }

    #[test]
    fn every_flipped_byte_and_every_other_salt_is_noticed() {
        let mut bytes = [0; HEADER_LEN_BYTES];
        header().encode(5, &mut bytes);
        assert_eq!(FrameHeader::decode(6, &bytes), Err(FrameFault::Checksum));
        for at in 0..HEADER_LEN_BYTES {
            bytes[at] ^= 1;
            assert!(FrameHeader::decode(5, &bytes).is_err(), "byte {at}");
            bytes[at] ^= 1;
        }
        assert_eq!(FrameHeader::decode(5, &[0; HEADER_LEN_BYTES]), Err(FrameFault::Magic));
        assert_eq!(FrameHeader::decode(5, &bytes[..63]), Err(FrameFault::Magic));
    }

    #[test]
    fn fields_that_are_never_written_are_refused_although_the_checksum_fits() {
        let decode = |header: FrameHeader| {
            let mut bytes = [0; HEADER_LEN_BYTES];
            header.encode(5, &mut bytes);
            FrameHeader::decode(5, &bytes)
        };
        assert!(decode(FrameHeader { records: 0, ..header() }).is_err());
        assert!(decode(FrameHeader { records: 0, body_len_bytes: 0, ..header() }).is_ok());
        assert!(decode(FrameHeader { durable_upto: 10, ..header() }).is_err());
        assert!(decode(FrameHeader { first_lsn: u64::MAX, durable_upto: 0, ..header() }).is_err());
    }
}
