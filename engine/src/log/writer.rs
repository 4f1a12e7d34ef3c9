//! The end of the log: groups into frames, frames into blocks, blocks into segments.
//!
//! Keeps the order, and where each frame goes: whole blocks that held no frame before. Frames are
//! composed one after the other and may be written at the same time. A segment is zero-filled,
//! named and synced before its first frame, so that a full disk is met before anything of a group
//! is written, and a write changes no metadata. Which batches make a group, and what may be
//! acknowledged when, is left to `commit`.

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
/// A longer buffer is not kept after use, nor one more than these.
const BUFFER_KEPT_BYTES: usize = 4 << 20;
const BUFFERS_KEPT: usize = 8;
const ZERO_FILL_BYTES: usize = 1 << 20;

/// Why nothing of a group was written.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The storage refused what it understood: the log goes on.
    Refused(Error),
    /// The storage fails: the log is at its end.
    Failed(Error),
}

impl AppendError {
    /// The storage's error.
    pub(crate) fn into_source(self) -> Error {
        match self {
            Self::Refused(error) | Self::Failed(error) => error,
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

/// The end of the log; see the module's documentation.
pub(crate) struct LogWriter<S: Storage> {
    database: [u8; 16],
    chance: Arc<dyn Chance>,
    segment_bytes_max: u64,
    next_segment_bytes: u64,
    next_number: u64,
    active: Option<ActiveSegment<S>>,
    /// Behind the last frame that was composed.
    end: LogPosition,
    /// No marker has been composed since the last record.
    needs_witness: bool,
    /// Given back by frames that are written.
    buffers: Vec<AlignedBuf>,
}

struct ActiveSegment<S: Storage> {
    file: Arc<FailStop<S::File>>,
    salt: u64,
    /// First block without a frame.
    at: u64,
    len_bytes: u64,
}

/// A frame with its place in the log: what is left is to write it.
pub(crate) struct ComposedFrame<S: Storage> {
    file: Arc<FailStop<S::File>>,
    offset: u64,
    buffer: AlignedBuf,
    len_bytes: usize,
}

impl<S: Storage> ComposedFrame<S> {
    /// Writes it, durably. Frames may be written at the same time and in any order.
    ///
    /// # Errors
    /// The frame may or may not be on the media; nothing may be written to the log any more.
    pub(crate) fn write(&self) -> Result<(), Error> {
        let write = Write { offset: self.offset, bytes: &self.buffer[..self.len_bytes] };
        self.file.write_batch(&[write], Durability::Data)
    }
}

/// Bytes of a frame with a body of `body_len` bytes, in whole blocks.
fn frame_len(body_len: usize) -> usize {
    (HEADER_LEN_BYTES + body_len).next_multiple_of(BLOCK_SIZE)
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
            buffers: Vec::new(),
        }
    }

    /// The last record composed and the chain value behind it.
    pub(crate) fn end(&self) -> LogPosition {
        self.end
    }

    /// Number that the next segment will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Whether a group with a body of `body_len` bytes fits the active segment, with the marker
    /// that may follow it.
    pub(crate) fn has_room(&self, body_len: usize) -> bool {
        let room = frame_len(body_len) as u64 + BLOCK;
        self.active.as_ref().is_some_and(|active| active.at + room <= active.len_bytes)
    }

    /// Begins a segment with room for a group of `body_len` bytes. Every frame composed before is
    /// durable.
    ///
    /// # Errors
    /// Nothing was written that the log needs; see [`AppendError::before_writing`].
    pub(crate) fn begin_segment_for(
        &mut self,
        storage: &S,
        body_len: usize,
    ) -> Result<(), AppendError> {
        let least = frame_len(body_len) as u64 + 2 * BLOCK;
        let planned = self.next_segment_bytes.max(least);
        let segment = match self.begin_segment(storage, planned) {
            // On a disk that is nearly full the shortest one may still fit.
            Err(error) if error.kind() == ErrorKind::NoSpace && error.op() != Op::SyncDir => {
                self.begin_segment(storage, least)
            }
            begun => begun,
        };
        self.active = Some(segment.map_err(AppendError::before_writing)?);
        Ok(())
    }

    /// Composes the frame of a group: `bodies` are its records, one batch after another. There is
    /// room for it; everything up to `durable_upto` is durable.
    ///
    /// # Panics
    /// If there is no room.
    pub(crate) fn compose<'b>(
        &mut self,
        storage: &S,
        bodies: impl Iterator<Item = &'b [u8]> + Clone,
        records: u32,
        durable_upto: Lsn,
    ) -> ComposedFrame<S> {
        let body_len = bodies.clone().map(<[u8]>::len).sum();
        let len_bytes = frame_len(body_len);
        let active = self.active.as_mut().expect("a segment was begun");
        assert!(active.at + len_bytes as u64 <= active.len_bytes, "no room for {body_len} bytes");
        let mut buffer = take_buffer(storage, &mut self.buffers, len_bytes);
        let mut at = HEADER_LEN_BYTES;
        for body in bodies {
            buffer[at..at + body.len()].copy_from_slice(body);
            at += body.len();
        }
        buffer[at..len_bytes].fill(0);
        let (header, body) = buffer[..at].split_at_mut(HEADER_LEN_BYTES);
        let first_lsn = self.end.lsn + 1;
        let frame = FrameHeader {
            first_lsn,
            records,
            durable_upto,
            body_len_bytes: u32::try_from(body_len).expect("a group is below 4 GiB"),
            body_crc: FrameHeader::body_crc(active.salt, first_lsn, body),
            prev_chain: self.end.chain,
        };
        let chain = frame.encode(active.salt, header);
        self.end = LogPosition { lsn: frame.last_lsn(), chain };
        self.needs_witness = records > 0;
        let offset = active.at;
        active.at += len_bytes as u64;
        ComposedFrame { file: Arc::clone(&active.file), offset, buffer, len_bytes }
    }

    /// Takes back the memory of a frame that is written.
    pub(crate) fn give_back(&mut self, frame: ComposedFrame<S>) {
        if frame.buffer.len() <= BUFFER_KEPT_BYTES && self.buffers.len() < BUFFERS_KEPT {
            self.buffers.push(frame.buffer);
        }
    }

    /// Writes a marker, a frame without records that says that all before it is durable, if the last
    /// group has none yet. Every frame composed before is durable.
    ///
    /// # Errors
    /// Nothing may be written to the log any more.
    pub(crate) fn witness(&mut self, storage: &S) -> Result<(), Error> {
        // There is room for it in the segment of the last group.
        if !self.needs_witness || self.active.is_none() {
            return Ok(());
        }
        let marker = self.compose(storage, std::iter::empty(), 0, self.end.lsn);
        let written = marker.write();
        self.give_back(marker);
        written
    }

    /// Ends the active segment, with a witness to its last group: the next frame begins a new one.
    ///
    /// # Errors
    /// As [`witness`](Self::witness).
    pub(crate) fn rotate(&mut self, storage: &S) -> Result<(), Error> {
        self.witness(storage)?;
        self.active = None;
        Ok(())
    }

    /// Lets go of the active segment, to which nothing is written any more.
    pub(crate) fn abandon(&mut self) {
        self.active = None;
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
        let file = Arc::new(FailStop::new(file));
        Ok(ActiveSegment { file, salt, at: BLOCK, len_bytes })
    }
}

/// A buffer of at least `len_bytes`, one that was given back if any is long enough.
fn take_buffer<S: Storage>(
    storage: &S,
    buffers: &mut Vec<AlignedBuf>,
    len_bytes: usize,
) -> AlignedBuf {
    let fitting = buffers.iter().position(|buffer| buffer.len() >= len_bytes);
    fitting.map_or_else(|| storage.alloc(len_bytes), |index| buffers.swap_remove(index))
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
