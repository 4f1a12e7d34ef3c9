//! The one writer of the log: frames into blocks, blocks into segments.
//!
//! Keeps the end of the log and the active segment. Every append is durable when it returns: one
//! write and sync of whole blocks that held no frame before. A segment is zero-filled, named and
//! synced before its first frame, so that a full disk is met before anything of a group is written,
//! and an append changes no metadata. Which batches make a group is left to `commit`.

use crate::chance::Chance;
use crate::damage::Lsn;
use crate::log::LogPosition;
use crate::log::frame::{FrameHeader, HEADER_LEN_BYTES};
use crate::log::segment::{SegmentHeader, file_name};
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, Error, ErrorKind, FailStop, Op, Storage, Write, WriteFile,
};
use std::sync::Arc;

const BLOCK: u64 = BLOCK_SIZE as u64;
const FIRST_SEGMENT_BYTES: u64 = 1 << 20;
/// A larger buffer is given back after use.
const BUFFER_KEPT_BYTES: usize = 8 << 20;
const ZERO_FILL_BYTES: usize = 1 << 20;

/// Why a group is not known to be durable.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// Nothing of it was written, and the storage refused what it understood: the log goes on.
    Refused(Error),
    /// Nothing of it was written, but the storage fails: the log is at its end.
    Failed(Error),
    /// It may or may not be on the media: the log is at its end.
    Unknown(Error),
}

impl AppendError {
    /// The storage's error.
    pub(crate) fn into_source(self) -> Error {
        match self {
            Self::Refused(error) | Self::Failed(error) | Self::Unknown(error) => error,
        }
    }

    /// Judges a failure before anything of a group was written. A full or read-only disk is a
    /// refusal; but after a failed sync of the directory nobody knows which names are durable.
    pub(crate) fn before_writing(error: Error) -> Self {
        let refusal =
            matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::ReadOnly | ErrorKind::Denied);
        if refusal && error.op() != Op::SyncDir {
            Self::Refused(error)
        } else {
            Self::Failed(error)
        }
    }
}

/// Appends frames; see the module's documentation.
pub(crate) struct LogWriter<S: Storage> {
    database: [u8; 16],
    chance: Arc<dyn Chance>,
    segment_bytes_max: u64,
    next_segment_bytes: u64,
    next_number: u64,
    active: Option<ActiveSegment<S>>,
    end: LogPosition,
    /// No marker has been written since the last record.
    needs_witness: bool,
    buffer: AlignedBuf,
}

struct ActiveSegment<S: Storage> {
    file: FailStop<S::File>,
    salt: u64,
    /// First block without a frame.
    at: u64,
    len_bytes: u64,
}

impl<S: Storage> LogWriter<S> {
    /// A writer that continues at `end` with a new segment of number `next_number`, made when the
    /// first frame needs it.
    pub(crate) fn new(
        database: [u8; 16],
        chance: Arc<dyn Chance>,
        segment_bytes_max: u64,
        next_number: u64,
        end: LogPosition,
    ) -> Self {
        Self {
            database,
            chance,
            segment_bytes_max,
            next_segment_bytes: FIRST_SEGMENT_BYTES.min(segment_bytes_max),
            next_number,
            active: None,
            end,
            needs_witness: false,
            buffer: AlignedBuf::zeroed(0),
        }
    }

    /// The last record and the chain value behind it. All of it is durable.
    pub(crate) fn end(&self) -> LogPosition {
        self.end
    }

    /// Number that the next segment will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Ends the active segment, with a witness to its last group: the next frame begins a new one.
    pub(crate) fn rotate(&mut self, storage: &S) -> Result<(), AppendError> {
        self.witness(storage)?;
        self.active = None;
        Ok(())
    }

    /// Makes one group of `records` records durable; returns its first and last LSN.
    pub(crate) fn append(
        &mut self,
        storage: &S,
        body: &[u8],
        records: u32,
    ) -> Result<(Lsn, Lsn), AppendError> {
        let first = self.end.lsn + 1;
        self.write_frame(storage, body, records)?;
        self.needs_witness = true;
        Ok((first, self.end.lsn))
    }

    /// Appends a marker if the last group has no witness yet: a frame without records that says
    /// that all before it is durable.
    pub(crate) fn witness(&mut self, storage: &S) -> Result<(), AppendError> {
        // There is room for it in the segment of the last group.
        if self.needs_witness && self.active.is_some() {
            self.write_frame(storage, &[], 0)?;
            self.needs_witness = false;
        }
        Ok(())
    }

    fn write_frame(&mut self, storage: &S, body: &[u8], records: u32) -> Result<(), AppendError> {
        let frame_len = (HEADER_LEN_BYTES + body.len()).next_multiple_of(BLOCK_SIZE);
        // A frame with records leaves room for the marker that may follow it.
        let room = frame_len as u64 + if records == 0 { 0 } else { BLOCK };
        let fits = |active: &ActiveSegment<S>| active.at + room <= active.len_bytes;
        if !self.active.as_ref().is_some_and(fits) {
            let planned = self.next_segment_bytes.max(BLOCK + room);
            let segment = match self.begin_segment(storage, planned) {
                // On a disk that is nearly full the shortest one may still fit.
                Err(error) if error.kind() == ErrorKind::NoSpace && error.op() != Op::SyncDir => {
                    self.begin_segment(storage, BLOCK + room)
                }
                begun => begun,
            };
            let segment = segment.map_err(AppendError::before_writing)?;
            self.active = Some(segment);
        }
        let active = self.active.as_mut().expect("a segment was just begun");
        if self.buffer.len() < frame_len {
            self.buffer = storage.alloc(frame_len);
        }
        let frame = &mut self.buffer[..frame_len];
        let first_lsn = self.end.lsn + 1;
        let header = FrameHeader {
            first_lsn,
            records,
            durable_upto: self.end.lsn,
            body_len_bytes: u32::try_from(body.len()).expect("below BATCH_LEN_BYTES_MAX"),
            body_crc: FrameHeader::body_crc(active.salt, first_lsn, body),
            prev_chain: self.end.chain,
        };
        let chain = header.encode(active.salt, frame);
        let body_end = HEADER_LEN_BYTES + body.len();
        frame[HEADER_LEN_BYTES..body_end].copy_from_slice(body);
        frame[body_end..].fill(0);
        let write = Write { offset: active.at, bytes: frame };
        if let Err(error) = active.file.write_batch(&[write], Durability::Data) {
            // Nothing is ever written to it again.
            self.active = None;
            return Err(AppendError::Unknown(error));
        }
        active.at += frame_len as u64;
        self.end = LogPosition { lsn: header.last_lsn(), chain };
        if self.buffer.len() > BUFFER_KEPT_BYTES {
            self.buffer = AlignedBuf::zeroed(0);
        }
        Ok(())
    }

    /// A durable, named, zero-filled segment.
    fn begin_segment(&mut self, storage: &S, len_bytes: u64) -> Result<ActiveSegment<S>, Error> {
        let name = file_name(self.next_number);
        // One that a crash or a full disk left without a frame.
        match storage.remove(&name) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let salt = self.chance.next_u64();
        let header = SegmentHeader {
            database: self.database,
            number: self.next_number,
            salt,
            prev: self.end,
        };
        let made = storage.create(&name, len_bytes).and_then(|file| {
            zero_fill(storage, &file, len_bytes)?;
            let mut block = storage.alloc(BLOCK_SIZE);
            header.encode(&mut block);
            file.write_batch(&[Write { offset: 0, bytes: &block }], Durability::Full)?;
            storage.sync_dir()?;
            Ok(file)
        });
        let file = made.inspect_err(|_| {
            // A full disk should get its space back. If this fails too the next try begins with it.
            let _ = storage.remove(&name);
        })?;
        self.next_number += 1;
        self.next_segment_bytes = (self.next_segment_bytes * 2).min(self.segment_bytes_max);
        Ok(ActiveSegment { file: FailStop::new(file), salt, at: BLOCK, len_bytes })
    }
}

fn zero_fill<S: Storage>(storage: &S, file: &S::File, len_bytes: u64) -> Result<(), Error> {
    let chunk = usize::try_from(len_bytes).map_or(ZERO_FILL_BYTES, |len| len.min(ZERO_FILL_BYTES));
    let zeroes = storage.alloc(chunk);
    let mut offset = 0;
    while offset < len_bytes {
        let left = usize::try_from(len_bytes - offset).map_or(chunk, |left| left.min(chunk));
        let write = Write { offset, bytes: &zeroes[..left] };
        file.write_batch(&[write], Durability::Deferred)?;
        offset += left as u64;
    }
    Ok(())
}
