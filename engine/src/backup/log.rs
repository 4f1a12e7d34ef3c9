//! Copying the log, and its end.
//!
//! The copy of a segment has the frames that belong to the log and nothing else: no torn tail that
//! a recovery has cut, no space that was never written to. Behind the last one stands a closing
//! segment, a header alone: its `prev` says where the log ends.

use super::error::{CopyError, RestoreError};
use super::{Extent, Written};
use crate::damage::{Corruption, Damage};
use crate::error::OpenError;
use crate::log::LogPosition;
use crate::log::frame::HEADER_LEN_BYTES;
use crate::log::live::{header_in, not_opened};
use crate::log::scan::scan;
use crate::log::segment::{self, SegmentHeader, file_name};
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, Error, ReadFile, SealedFile, Storage, Write, WriteFile,
};
use std::ops::Range;

const BLOCK: u64 = BLOCK_SIZE as u64;
const BUFFER_LEN_BYTES: usize = 1 << 20;
/// No frame is ever written behind a closing segment's header.
const CLOSING_SALT: u64 = 0;

/// What the last segment of a backup says.
pub(super) struct ClosingSegment {
    pub(super) number: u64,
    pub(super) end: LogPosition,
}

impl ClosingSegment {
    /// The last segment there is, which must be one.
    pub(super) fn find<S: Storage>(
        from: &S,
        database: [u8; 16],
        first: u64,
    ) -> Result<Self, RestoreError> {
        let listed = from.list().map_err(OpenError::from)?;
        let number = listed.iter().filter_map(|meta| segment::number_of(&meta.name)).max();
        let Some(number) = number.filter(|&number| number >= first) else {
            return Err(Corruption::new(file_name(first), 0, Damage::Missing).into());
        };
        let (header, file) = open_segment(from, database, number)?;
        let changed = || RestoreError::Changed { file: file.name().to_string() };
        if file.len_bytes() != BLOCK || header.salt != CLOSING_SALT {
            return Err(changed());
        }
        check_header(&header, &file)?;
        Ok(Self { number, end: header.prev })
    }
}

impl From<Corruption> for RestoreError {
    fn from(corruption: Corruption) -> Self {
        Self::Backup(corruption.into())
    }
}

/// Copies the segments of an extent, and closes the log behind them.
pub(super) fn copy_log<S: Storage, T: Storage>(
    from: &S,
    to: &T,
    extent: &Extent<'_>,
    written: &mut Written,
) -> Result<(), CopyError> {
    let &Extent { database, end, is_strict, .. } = extent;
    let Range { start: first, end: closing } = extent.segments;
    let mut at = extent.checkpoint.0.position;
    let mut ahead = None;
    for number in first..closing {
        let opened = ahead.take();
        let (header, file) = opened.map_or_else(|| open_segment(from, database, number), Ok)?;
        if header.prev != at {
            return Err(Corruption::new(file.name(), 0, Damage::Order).into());
        }
        let until = if number + 1 < closing {
            let (next, next_file) = open_segment(from, database, number + 1)?;
            let until = next.prev;
            ahead = Some((next, next_file));
            until
        } else {
            end
        };
        if is_strict {
            check_header(&header, &file)?;
        }
        written.add(copy_segment(to, &header, &file, until, is_strict)?);
        at = until;
    }
    if at != end {
        return Err(Corruption::new(file_name(closing), 0, Damage::Order).into());
    }
    let header = SegmentHeader { database, number: closing, salt: CLOSING_SALT, prev: end };
    let file = BlockWriter::create(to, &header, BLOCK).map_err(CopyError::Target)?;
    file.finish(to).map_err(CopyError::Target)?;
    written.add(BLOCK);
    Ok(())
}

/// A segment that is closed, and its header.
fn open_segment<S: Storage>(
    from: &S,
    database: [u8; 16],
    number: u64,
) -> Result<(SegmentHeader, S::Sealed), OpenError> {
    let name = file_name(number);
    let file = from.open_sealed(&name).map_err(|error| {
        if error.kind() == gannet_storage::ErrorKind::NotFound {
            return Corruption::new(&name, 0, Damage::Missing).into();
        }
        not_opened(&name, error)
    })?;
    match header_in(&file, database, number)? {
        Some(header) => Ok((header, file)),
        None => Err(Corruption::new(name, 0, Damage::LostRecords).into()),
    }
}

/// What is behind a header in its block is as it was written.
fn check_header<F: SealedFile>(header: &SegmentHeader, file: &F) -> Result<(), OpenError> {
    let mut block = vec![0; BLOCK_SIZE];
    header.encode(&mut block);
    if file.view(0..BLOCK)?[..] == block {
        return Ok(());
    }
    Err(Corruption::new(file.name(), 0, Damage::Field("padding")).into())
}

/// Copies the frames of a segment up to `until`; returns the length of the copy.
fn copy_segment<F: SealedFile, T: Storage>(
    to: &T,
    header: &SegmentHeader,
    file: &F,
    until: LogPosition,
    is_strict: bool,
) -> Result<u64, CopyError> {
    // All of it at once, as recovery does: what is copied are the bytes that were verified.
    let bytes = file.view(0..file.len_bytes())?;
    let scan = scan(&bytes, header);
    let joint = scan.frames.iter().rposition(|frame| frame.after == until);
    let kept = joint.map(|index| index + 1).or((header.prev == until).then_some(0));
    let Some(kept) = kept else {
        let reached = scan.end(header).lsn;
        let offset = scan.frames.last().map_or(BLOCK_SIZE, |frame| frame.body.end) as u64;
        let lost = Corruption::new(file.name(), offset, Damage::LostRecords);
        return Err(lost.lsns(reached + 1, until.lsn.max(reached + 1)).into());
    };
    let frames = || scan.frames[..kept].iter().map(|f| f.body.start - HEADER_LEN_BYTES..f.body.end);
    let used = frames().next_back().map_or(BLOCK_SIZE, |frame| frame.end);
    let len_bytes = used.next_multiple_of(BLOCK_SIZE) as u64;
    if is_strict {
        check_gaps(file, &bytes, frames())?;
        if file.len_bytes() != len_bytes {
            return Err(Corruption::new(file.name(), len_bytes, Damage::Length).into());
        }
    }
    let mut copy = BlockWriter::create(to, header, len_bytes).map_err(CopyError::Target)?;
    for frame in frames() {
        copy.write(frame.start as u64, &bytes[frame]).map_err(CopyError::Target)?;
    }
    copy.finish(to).map_err(CopyError::Target)?;
    Ok(len_bytes)
}

/// Between and behind frames there are zeroes.
fn check_gaps<F: ReadFile>(
    file: &F,
    bytes: &[u8],
    frames: impl Iterator<Item = Range<usize>>,
) -> Result<(), OpenError> {
    let check = |gap: Range<usize>| {
        if bytes[gap.clone()].iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        Err(Corruption::new(file.name(), gap.start as u64, Damage::Field("padding")))
    };
    let mut end = BLOCK_SIZE;
    for frame in frames {
        check(end..frame.start)?;
        end = frame.end;
    }
    Ok(check(end..bytes.len())?)
}

/// Writes a segment from its front to its end, through one buffer; what is left out is zero.
struct BlockWriter<T: Storage> {
    file: T::File,
    buffer: AlignedBuf,
    /// Place of the buffer in the file.
    offset: u64,
    buffered: usize,
}

impl<T: Storage> BlockWriter<T> {
    fn create(to: &T, header: &SegmentHeader, len_bytes: u64) -> Result<Self, Error> {
        let file = to.create(&file_name(header.number), len_bytes)?;
        let len = usize::try_from(len_bytes).map_or(BUFFER_LEN_BYTES, |l| l.min(BUFFER_LEN_BYTES));
        let mut buffer = to.alloc(len);
        header.encode(&mut buffer[..BLOCK_SIZE]);
        Ok(Self { file, buffer, offset: 0, buffered: BLOCK_SIZE })
    }

    /// Puts bytes at a place behind all that was written.
    fn write(&mut self, at: u64, mut bytes: &[u8]) -> Result<(), Error> {
        let mut gap = at - (self.offset + self.buffered as u64);
        while gap > 0 || !bytes.is_empty() {
            let room = self.buffer.len() - self.buffered;
            let skip = usize::try_from(gap).map_or(room, |gap| gap.min(room));
            let take = bytes.len().min(room - skip);
            let start = self.buffered + skip;
            self.buffer[self.buffered..start].fill(0);
            self.buffer[start..start + take].copy_from_slice(&bytes[..take]);
            self.buffered = start + take;
            gap -= skip as u64;
            bytes = &bytes[take..];
            if self.buffered == self.buffer.len() {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let end = self.buffered.next_multiple_of(BLOCK_SIZE);
        self.buffer[self.buffered..end].fill(0);
        let write = Write { offset: self.offset, bytes: &self.buffer[..end] };
        self.file.write_batch(&[write], Durability::Deferred)?;
        self.offset += end as u64;
        self.buffered = 0;
        Ok(())
    }

    /// Makes it durable but for its name.
    fn finish(mut self, to: &T) -> Result<(), Error> {
        if self.buffered > 0 {
            self.flush()?;
        }
        to.seal(self.file).map(drop)
    }
}
