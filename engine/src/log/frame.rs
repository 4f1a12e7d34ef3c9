//! The header of a frame: one commit group of the log (`docs/FORMAT.md`, chapter Frame).
//!
//! Keeps the 64 bytes before a group's records: lengths under a checksum of their own, the chain
//! to the frame before, and `durable_upto`, the statement about earlier frames by which recovery
//! tells damage from a torn write.

use crate::codec::{Reader, crc_seeded};
use crate::damage::{Lsn, Newer};
use crate::limits::{BATCH_LEN_BYTES_MAX, NUMBER_MAX};

/// Bytes of a frame before its body.
pub(crate) const HEADER_LEN_BYTES: usize = 64;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
const MAGIC: u32 = u32::from_le_bytes(*b"GFRM");
const VERSION: u8 = 1;
const FLAG_MARKER: u8 = 1;
const CODEC_NONE: u8 = 0;
const CODEC_LZ4: u8 = 1;
/// No byte of an lz4 block makes more than this many.
const LZ4_RATIO_MAX: u64 = 255;

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
    /// Length of the body before it was compressed, where it was: longer, and not beyond any limit.
    pub(crate) unpacked_len_bytes: Option<u32>,
    /// Checksum of the body as it follows, seeded with salt and LSN.
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
    Newer(Newer),
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
        let codec = if self.unpacked_len_bytes.is_some() { CODEC_LZ4 } else { CODEC_NONE };
        let unpacked_len_bytes = self.unpacked_len_bytes.unwrap_or(self.body_len_bytes);
        let (front, fields) = out[..HEADER_LEN_BYTES].split_at_mut(8);
        fields.fill(0);
        fields[0] = VERSION;
        fields[1] = if self.records == 0 { FLAG_MARKER } else { 0 };
        fields[2] = codec;
        fields[4..8].copy_from_slice(&self.records.to_le_bytes());
        fields[8..16].copy_from_slice(&self.first_lsn.to_le_bytes());
        fields[16..24].copy_from_slice(&self.durable_upto.to_le_bytes());
        fields[24..28].copy_from_slice(&self.body_len_bytes.to_le_bytes());
        fields[28..32].copy_from_slice(&unpacked_len_bytes.to_le_bytes());
        fields[32..36].copy_from_slice(&self.body_crc.to_le_bytes());
        fields[36..40].copy_from_slice(&self.prev_chain.to_le_bytes());
        let header_crc = crc_seeded(&salt.to_le_bytes(), fields);
        front[..4].copy_from_slice(&MAGIC.to_le_bytes());
        front[4..].copy_from_slice(&header_crc.to_le_bytes());
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
        let known = |what, found, supported| {
            let is_newer = found > supported;
            if is_newer { Err(FrameFault::Newer(Newer { what, found, supported })) } else { Ok(()) }
        };
        let version = r.u8().ok_or(field("version"))?;
        known("frame version", version, VERSION)?;
        if version == 0 {
            return Err(field("version"));
        }
        let flags = r.u8().ok_or(field("flags"))?;
        known("frame flags", flags, FLAG_MARKER)?;
        let codec = r.u8().ok_or(field("codec"))?;
        known("frame codec", codec, CODEC_LZ4)?;
        let zero = r.u8();
        let records = r.u32().ok_or(field("record count"))?;
        let first_lsn = r.u64().ok_or(field("first lsn"))?;
        let durable_upto = r.u64().ok_or(field("durable_upto"))?;
        let body_len_bytes = r.u32().ok_or(field("body length"))?;
        let unpacked_len_bytes = r.u32().ok_or(field("decoded length"))?;
        let body_crc = r.u32().ok_or(field("body checksum"))?;
        let prev_chain = r.u32().ok_or(field("chain"))?;
        if zero != Some(0) || r.rest().iter().any(|&byte| byte != 0) {
            return Err(field("reserved"));
        }
        let is_packed = codec == CODEC_LZ4;
        let may_be = |len: u32| {
            let most = (LZ4_RATIO_MAX * u64::from(body_len_bytes)).min(BATCH_LEN_BYTES_MAX as u64);
            len > body_len_bytes && u64::from(len) <= most
        };
        if !if is_packed {
            may_be(unpacked_len_bytes)
        } else {
            unpacked_len_bytes == body_len_bytes
        } {
            return Err(field("decoded length"));
        }
        let unpacked_len_bytes = is_packed.then_some(unpacked_len_bytes);
        if (flags == FLAG_MARKER) != (records == 0) || (records == 0) != (body_len_bytes == 0) {
            return Err(field("record count"));
        }
        if !(1..=NUMBER_MAX).contains(&first_lsn) {
            return Err(field("first lsn"));
        }
        if durable_upto >= first_lsn {
            return Err(field("durable_upto"));
        }
        Ok(Self {
            first_lsn,
            records,
            durable_upto,
            body_len_bytes,
            unpacked_len_bytes,
            body_crc,
            prev_chain,
        })
    }

    /// Never the body a second time: its checksum stands for it.
    fn chain(&self, header_crc: u32) -> u32 {
        let mut links = [0; 12];
        links[..4].copy_from_slice(&self.prev_chain.to_le_bytes());
        links[4..8].copy_from_slice(&header_crc.to_le_bytes());
        links[8..].copy_from_slice(&self.body_crc.to_le_bytes());
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
            unpacked_len_bytes: None,
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

    /// A header with bytes 8 on changed by hand, under a checksum that fits.
    fn forged(change: impl FnOnce(&mut [u8])) -> Result<FrameHeader, FrameFault> {
        let mut bytes = [0; HEADER_LEN_BYTES];
        header().encode(5, &mut bytes);
        change(&mut bytes);
        let crc = crc_seeded(&5_u64.to_le_bytes(), &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        FrameHeader::decode(5, &bytes).map(|(header, _)| header)
    }

    #[test]
    fn what_a_later_program_writes_is_told_from_damage() {
        for (at, what, supported) in
            [(8, "frame version", 1), (9, "frame flags", 1), (10, "frame codec", 1)]
        {
            let found = forged(|bytes| bytes[at] = 7);
            assert_eq!(found, Err(FrameFault::Newer(Newer { what, found: 7, supported })));
        }
        assert_eq!(forged(|bytes| bytes[8] = 0), Err(FrameFault::Field("version")));
    }

    #[test]
    fn a_length_before_compression_is_believed_only_within_its_bounds() {
        let packed = |len: u32| FrameHeader { unpacked_len_bytes: Some(len), ..header() };
        let mut bytes = [0; HEADER_LEN_BYTES];
        let chain = packed(101).encode(5, &mut bytes);
        assert_eq!(FrameHeader::decode(5, &bytes), Ok((packed(101), chain)));
        assert_eq!((bytes[10], &bytes[32..40]), (1, &[100, 0, 0, 0, 101, 0, 0, 0][..]));
        for (body, len, good) in [
            (100, 0, false),
            (100, 100, false),
            (100, 25_500, true),
            (100, 25_501, false),
            (100, u32::MAX, false),
            (200 << 20, 256 << 20, true),
            (200 << 20, (256 << 20) + 1, false),
            (0, 1, false),
        ] {
            let header = FrameHeader { body_len_bytes: body, ..packed(len) };
            header.encode(5, &mut bytes);
            assert_eq!(FrameHeader::decode(5, &bytes).is_ok(), good, "{body} bytes of {len}");
        }
        let marker = FrameHeader { records: 0, body_len_bytes: 0, ..packed(0) };
        marker.encode(5, &mut bytes);
        assert!(FrameHeader::decode(5, &bytes).is_err(), "a marker has no body");
        // Without a codec both lengths are the same.
        assert_eq!(forged(|bytes| bytes[36] = 101), Err(FrameFault::Field("decoded length")));
    }
}
