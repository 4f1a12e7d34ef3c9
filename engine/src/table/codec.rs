//! How blocks are compressed.
//!
//! Keeps the bytes of each codec: a payload that is compressed begins with the length of what it
//! unpacks to, u32. Codecs are compiled in by cargo features; every program knows the numbers of
//! all.

use super::Compression;
use crate::codec::{Put, Reader};
use crate::limits::BATCH_LEN_BYTES_MAX;
use std::sync::Arc;

pub(super) const STORED: u8 = 0;
pub(super) const LZ4: u8 = 1;
pub(super) const ZSTD: u8 = 2;

/// A compressed block is kept if it is shorter by an eighth.
const GAIN_MIN: usize = 8;
/// Where so many blocks did not get shorter,
const VAIN_MAX: u32 = 8;
/// one in so many is tried: what compressing in vain takes was a tenth of what merging does.
const VAIN_STEP: u32 = 8;
/// LZ4 makes nothing shorter than by that.
const LZ4_GAIN_MAX: usize = 255;
/// Nor Zstandard: 128 KiB that are alike take four bytes.
const ZSTD_GAIN_MAX: usize = (128 << 10) / 4;
/// Nothing unpacks to more: an entry is part of a batch.
const UNPACKED_LEN_MAX: usize = 2 * BATCH_LEN_BYTES_MAX;
/// What zstd itself takes where nobody says.
#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 3;

/// What compresses blocks, one after the other.
pub(super) struct Packer {
    compression: Compression,
    packed: Vec<u8>,
    /// How many blocks, one after the other, did not get shorter.
    vain: u32,
    #[cfg(feature = "zstd")]
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

/// Why a payload was not unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnpackFault {
    Damaged,
    /// A codec that this program does not have: the cargo feature that has it.
    NotCompiled(&'static str),
    /// A codec that no program of this version writes.
    Newer(u8),
}

impl Packer {
    pub(super) fn new(compression: Compression) -> Self {
        Self {
            compression,
            packed: Vec::new(),
            vain: 0,
            #[cfg(feature = "zstd")]
            zstd: None,
        }
    }

    /// A block as it is written: the codec, and the payload, which is `raw` where compressing does
    /// not make it shorter, or did not for the blocks before: then some are not tried.
    pub(super) fn pack<'p>(&'p mut self, raw: &'p [u8]) -> (u8, &'p [u8]) {
        let codec = match self.compression {
            Compression::None => return (STORED, raw),
            Compression::Lz4 => LZ4,
            #[cfg(feature = "zstd")]
            Compression::Zstd => ZSTD,
        };
        if self.vain >= VAIN_MAX && !self.vain.is_multiple_of(VAIN_STEP) {
            self.vain = self.vain.wrapping_add(1);
            return (STORED, raw);
        }
        self.packed.clear();
        self.packed.put_u32(u32::try_from(raw.len()).expect("a block is below 4 GiB"));
        let is_packed = match self.compression {
            Compression::None => false,
            Compression::Lz4 => {
                self.packed.resize(4 + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                let len = lz4_flex::block::compress_into(raw, &mut self.packed[4..]);
                self.packed.truncate(4 + len.expect("there is room for the most"));
                true
            }
            #[cfg(feature = "zstd")]
            Compression::Zstd => self.zstd(raw).is_ok(),
        };
        let is_shorter = is_packed && self.packed.len() + raw.len() / GAIN_MIN <= raw.len();
        self.vain = if is_shorter { 0 } else { self.vain.wrapping_add(1) };
        if is_shorter { (codec, &self.packed) } else { (STORED, raw) }
    }

    /// Fails where memory does.
    #[cfg(feature = "zstd")]
    fn zstd(&mut self, raw: &[u8]) -> std::io::Result<()> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        self.packed.resize(4 + zstd::zstd_safe::compress_bound(raw.len()), 0);
        let len = zstd.compress_to_buffer(raw, &mut self.packed[4..])?;
        self.packed.truncate(4 + len);
        Ok(())
    }
}

/// What a payload was compressed from.
pub(super) fn unpack(codec: u8, payload: &[u8]) -> Result<Arc<[u8]>, UnpackFault> {
    let mut r = Reader::new(payload);
    let len = r.u32().and_then(|len| usize::try_from(len).ok()).ok_or(UnpackFault::Damaged)?;
    let packed = r.rest();
    let gain_max = match codec {
        LZ4 => LZ4_GAIN_MAX,
        ZSTD if cfg!(feature = "zstd") => ZSTD_GAIN_MAX,
        ZSTD => return Err(UnpackFault::NotCompiled("zstd")),
        newer => return Err(UnpackFault::Newer(newer)),
    };
    if len > packed.len().saturating_mul(gain_max).min(UNPACKED_LEN_MAX) {
        return Err(UnpackFault::Damaged);
    }
    let mut bytes = vec![0; len];
    let written = match codec {
        LZ4 => lz4_flex::block::decompress_into(packed, &mut bytes).ok(),
        _ => unzstd(packed, &mut bytes),
    };
    if written == Some(len) { Ok(bytes.into()) } else { Err(UnpackFault::Damaged) }
}

#[cfg(feature = "zstd")]
fn unzstd(packed: &[u8], bytes: &mut [u8]) -> Option<usize> {
    zstd::bulk::decompress_to_buffer(packed, bytes).ok()
}

#[cfg(not(feature = "zstd"))]
fn unzstd(_: &[u8], _: &mut [u8]) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_damage_is_none() {
        let all = [
            Compression::Lz4,
            #[cfg(feature = "zstd")]
            Compression::Zstd,
        ];
        let raw: Vec<u8> = (0..4000_u32).flat_map(|n| (n / 50).to_le_bytes()).collect();
        for compression in all {
            let mut packer = Packer::new(compression);
            let (codec, payload) = packer.pack(&raw);
            assert!(codec != STORED && payload.len() < raw.len() / 2);
            let payload = payload.to_vec();
            assert_eq!(unpack(codec, &payload).as_deref(), Ok(&raw[..]));
            assert_eq!(unpack(codec, &payload[..payload.len() - 1]), Err(UnpackFault::Damaged));
            // A length that nobody checks would take all memory.
            let mut long = payload.clone();
            long[..4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(unpack(codec, &long), Err(UnpackFault::Damaged));
            let noise: Vec<u8> =
                (0..64_u32).map(|n| ((n * n * 37) >> 3).to_le_bytes()[0]).collect();
            assert_eq!(packer.pack(&noise), (STORED, &noise[..]));
            assert_eq!(unpack(9, &payload), Err(UnpackFault::Newer(9)));
        }
    }

    #[test]
    fn what_gets_no_shorter_is_tried_now_and_then() {
        let noise: Vec<u8> = (0..64_u32).map(|n| ((n * n * 37) >> 3).to_le_bytes()[0]).collect();
        let mut packer = Packer::new(Compression::Lz4);
        for _ in 0..100 {
            assert_eq!(packer.pack(&noise), (STORED, &noise[..]));
        }
        // What comes next is noticed soon, and then all of it is compressed.
        let first = (0..100).position(|_| packer.pack(&[7; 4000]).0 == LZ4);
        assert!(first.is_some_and(|vain| vain < 8), "{first:?}");
        assert!((0..100).all(|_| packer.pack(&[7; 4000]).0 == LZ4));
    }

    #[cfg(not(feature = "zstd"))]
    #[test]
    fn a_codec_that_is_not_compiled_in_is_named() {
        assert_eq!(unpack(ZSTD, &[1, 0, 0, 0, 7]), Err(UnpackFault::NotCompiled("zstd")));
    }
}
