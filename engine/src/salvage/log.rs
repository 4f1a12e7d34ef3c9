//! The log of a damaged database: every frame that is whole, also behind those that are not.
//!
//! This is the one place where anything is applied behind a hole. Frames are looked for wherever
//! they can begin; checksums under the segment's salt tell them from everything else, and each must
//! have later records than those before it. Memory is a piece of a segment and one frame.

use super::error::SalvageError;
use super::found::{FoundSegment, Trust};
use super::report::FileDamage;
use crate::codec::Reader;
use crate::damage::{Corruption, Damage, Lsn};
use crate::error::OpenError;
use crate::log::frame::{ALIGN, FrameFault, FrameHeader, HEADER_LEN_BYTES};
use crate::log::pack::unpack;
use crate::record::Record;
use crate::verify::missing;
use gannet_storage::{BLOCK_SIZE, ReadFile, SealedFile, Storage};
use std::borrow::Cow;

const BLOCK: u64 = BLOCK_SIZE as u64;
const PIECE_LEN_BYTES: u64 = 1 << 20;
const MAGIC: [u8; 4] = *b"GFRM";

/// What a segment told beside its frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// The last record that was durable by its account.
    pub(super) durable: Lsn,
    /// There may have been frames behind the last one that was had.
    pub(super) is_open: bool,
}

/// Reads a segment up to record `limit`, behind which a recovery has cut it. Each frame that is
/// whole goes to `each`, with the chain value after it.
///
/// # Errors
/// What `each` says; damage goes to `damage`.
pub(super) fn read_segment<F: Storage>(
    from: &F,
    segment: &FoundSegment,
    limit: Lsn,
    damage: &mut Vec<FileDamage>,
    mut each: impl FnMut(&FrameHeader, &[u8], u32) -> Result<(), SalvageError>,
) -> Result<Told, SalvageError> {
    let name = &segment.name;
    let mut told = Told { durable: 0, is_open: true };
    if segment.trust == Trust::Lost {
        return Ok(told);
    }
    let file = match from.open_sealed(name) {
        Ok(file) => file,
        Err(error) => {
            damage.push(FileDamage::new(name, &missing(error.into())));
            return Ok(told);
        }
    };
    let (salt, len) = (segment.salt, file.len_bytes());
    let mut bytes = Pieces { file, at: 0, piece: Vec::new(), bad: Vec::new(), bad_end: 0 };
    let (mut last, mut last_end) = (0, 0);
    let mut is_proven = segment.header.is_some();
    let mut at = BLOCK;
    // A place is told once, not again for everything that looks like a frame behind it.
    let mut is_told = false;
    let mut unpacked = Vec::new();
    while let Some(found) = bytes.find(at) {
        at = found;
        let header = bytes.get(at, HEADER_LEN_BYTES as u64);
        let decoded = header.as_deref().map(|header| FrameHeader::decode(salt, header));
        let fault = match decoded {
            Some(Ok((header, chain))) => {
                is_proven = true;
                told.durable = told.durable.max(header.durable_upto.min(limit));
                let body_at = at + HEADER_LEN_BYTES as u64;
                let body_len = u64::from(header.body_len_bytes);
                if header.last_lsn() > limit {
                    last_end = u64::MAX;
                    break;
                }
                if header.first_lsn <= last {
                    // A copy of a frame, in what a damaged one holds.
                    at += ALIGN as u64;
                    continue;
                }
                let body = bytes.get(body_at, body_len);
                let body = body.filter(|body| {
                    FrameHeader::body_crc(salt, header.first_lsn, body) == header.body_crc
                });
                match body {
                    Some(body) => {
                        let plain = match header.unpacked_len_bytes {
                            None => Ok(&*body),
                            Some(len) => unpack(&body, len, &mut unpacked),
                        };
                        // Of a body that does not unpack no record can be read.
                        each(&header, plain.unwrap_or_default(), chain)?;
                        last = header.last_lsn();
                        is_told = false;
                        last_end = body_at + body_len;
                        at = (body_at + body_len).next_multiple_of(ALIGN as u64);
                        continue;
                    }
                    // Its length is under the checksum of the header.
                    None if body_at + body_len <= len => {
                        at = (body_at + body_len).next_multiple_of(ALIGN as u64) - ALIGN as u64;
                    }
                    None => {}
                }
                let (first, last) = (header.first_lsn, header.last_lsn());
                Corruption::new(name, body_at, Damage::Checksum).lsns(first, last).into()
            }
            Some(Err(FrameFault::Newer(newer))) => OpenError::newer_at(name, at, newer),
            _ => Corruption::new(name, at, Damage::Checksum).into(),
        };
        if !is_told {
            damage.push(FileDamage::new(name, &fault));
            is_told = true;
        }
        at += ALIGN as u64;
    }
    told.is_open = !is_proven || bytes.bad_end > last_end;
    damage.extend(bytes.bad.into_iter().map(|error| FileDamage::new(name, &error)));
    Ok(told)
}

/// Gives the records of a frame to `each` with their numbers; the first that cannot be read, with
/// all behind it, is the answer.
pub(super) fn records(
    header: &FrameHeader,
    body: &[u8],
    mut each: impl FnMut(Lsn, Record<'_>) -> Result<(), SalvageError>,
) -> Result<Option<Lsn>, SalvageError> {
    let mut reader = Reader::new(body);
    for lsn in header.first_lsn..=header.last_lsn() {
        match Record::decode(&mut reader) {
            Ok(record) => each(lsn, record)?,
            Err(_) => return Ok(Some(lsn)),
        }
    }
    Ok(None)
}

/// The bytes of a segment, those that cannot be read left blank.
struct Pieces<F> {
    file: F,
    /// Where the piece begins.
    at: u64,
    piece: Vec<u8>,
    /// What could not be read.
    bad: Vec<gannet_storage::Error>,
    /// Where the last of it ends.
    bad_end: u64,
}

impl<F: SealedFile> Pieces<F> {
    /// The first place at or behind `at` where a frame may begin.
    fn find(&mut self, mut at: u64) -> Option<u64> {
        loop {
            let Some(bytes) = self.loaded(at) else {
                if at >= self.file.len_bytes() {
                    return None;
                }
                self.load(at / PIECE_LEN_BYTES * PIECE_LEN_BYTES);
                continue;
            };
            let mut places = bytes.chunks_exact(ALIGN).zip((at..).step_by(ALIGN));
            if let Some((_, place)) = places.find(|(bytes, _)| bytes.starts_with(&MAGIC)) {
                return Some(place);
            }
            at = self.at + self.piece.len() as u64;
        }
    }

    /// The bytes of the piece from `at` on.
    fn loaded(&self, at: u64) -> Option<&[u8]> {
        let start = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.piece.get(start..).filter(|bytes| !bytes.is_empty())
    }

    fn load(&mut self, at: u64) {
        let end = (at + PIECE_LEN_BYTES).min(self.file.len_bytes());
        self.at = at;
        self.piece.clear();
        if let Ok(bytes) = self.file.view(at..end) {
            self.piece.extend_from_slice(&bytes);
            return;
        }
        let mut is_told = false;
        for at in (at..end).step_by(BLOCK_SIZE) {
            match self.file.view(at..at + BLOCK) {
                Ok(bytes) => {
                    self.piece.extend_from_slice(&bytes);
                    is_told = false;
                }
                Err(error) => {
                    // Of neighbours the first is told.
                    self.bad.extend((!is_told).then_some(error));
                    self.bad_end = at + BLOCK;
                    self.piece.extend([0; BLOCK_SIZE]);
                    is_told = true;
                }
            }
        }
    }

    /// `None` where the file ends before, or cannot be read.
    fn get(&mut self, at: u64, len: u64) -> Option<Cow<'_, [u8]>> {
        let end = at.checked_add(len).filter(|&end| end <= self.file.len_bytes())?;
        if end > self.at + self.piece.len() as u64 {
            return match self.file.view(at..end) {
                Ok(bytes) => Some(bytes.to_vec().into()),
                Err(error) => {
                    self.bad.push(error);
                    self.bad_end = end;
                    None
                }
            };
        }
        let len = usize::try_from(len).ok()?;
        self.loaded(at).map_or(Some(&[][..]), |bytes| bytes.get(..len)).map(Cow::Borrowed)
    }
}
