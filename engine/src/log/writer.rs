//! The end of the log: groups into frames, frames into blocks, blocks into segments.
//!
//! Keeps the order, and where each frame goes: at the next block, or behind the last frame in a
//! block for which no sync was ever issued, which is then written again with the same bytes before
//! the new ones. Frames are composed one after the other; those in blocks of their own may be
//! written at the same time. A segment is zero-filled, named and synced before its first frame, so
//! that a full disk is met before anything of a group is written, and a write changes no metadata.
//! Which batches make a group, and what may be acknowledged when, is left to `commit`.

use crate::chance::Chance;
use crate::damage::Lsn;
use crate::log::LogPosition;
use crate::log::frame::{ALIGN, FrameHeader, HEADER_LEN_BYTES};
use crate::log::pack::Packer;
use crate::log::segment::{SegmentHeader, file_name};
use crate::names::Names;
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, Error, ErrorKind, FailStop, Op, Storage, Write, WriteFile,
};
use std::ops::Range;
use std::sync::Arc;

const BLOCK: u64 = BLOCK_SIZE as u64;
const FIRST_SEGMENT_BYTES: u64 = 1 << 20;
/// A longer buffer is not kept after use, nor one more than these.
const BUFFER_KEPT_BYTES: usize = 4 << 20;
const BUFFERS_KEPT: usize = 8;
/// Zeroes are written this much at a time, in pieces. A page cache keeps what one call wrote as one
/// unit (a folio), and looks at every block of it at each write into it: a commit into a unit of
/// 1 MiB took 1.6 times as long as into one of 16 KiB (`docs/BENCHMARKS.md`, Log).
const ZERO_FILL_BYTES: usize = 1 << 20;
const ZERO_PIECE_BYTES: usize = 16 << 10;

/// Why nothing of a group was written.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The storage refused what it understood: the log goes on.
    Refused(Error),
    /// The storage fails: the log is at its end.
    Failed(Error),
}

impl AppendError {
    /// Whether there is no space on the disk.
    pub(crate) fn is_no_space(&self) -> bool {
        matches!(self, Self::Refused(error) if error.kind() == ErrorKind::NoSpace)
    }

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

/// How the log is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSettings {
    pub(crate) segment_bytes_max: u64,
    /// Segments are made for many writes and few syncs.
    pub(crate) is_cached: bool,
    /// Long bodies are compressed.
    pub(crate) compresses: bool,
}

/// The end of the log; see the module's documentation.
pub(crate) struct LogWriter<S: Storage> {
    database: [u8; 16],
    chance: Arc<dyn Chance>,
    names: Arc<Names>,
    settings: LogSettings,
    next_segment_bytes: u64,
    next_number: u64,
    active: Option<ActiveSegment<S>>,
    /// A segment was begun, now active or not.
    has_begun: bool,
    spare: Option<SpareSegment<S>>,
    /// Makes long bodies shorter, where that was asked for.
    packer: Option<Packer>,
    /// Behind the last frame that was composed.
    end: LogPosition,
    /// Everything up to this record, and before the groups in flight, was covered by a sync that
    /// ended well.
    synced: Lsn,
    /// No marker has been composed since the last record.
    needs_witness: bool,
    /// Given back by frames that are written.
    buffers: Vec<AlignedBuf>,
}

struct ActiveSegment<S: Storage> {
    file: Arc<FailStop<S::File>>,
    salt: u64,
    /// Behind the last frame, a multiple of `ALIGN`.
    end: u64,
    /// What the block of `end` holds, while it may be written again.
    tail: Option<AlignedBuf>,
    len_bytes: u64,
}

/// A segment made ahead of need: named, zero-filled and durable, without a header.
pub(crate) struct SpareSegment<S: Storage> {
    file: S::File,
    len_bytes: u64,
}

/// A frame with its place in the log: what is left is to write it.
pub(crate) struct ComposedFrame<S: Storage> {
    file: Arc<FailStop<S::File>>,
    offset: u64,
    buffer: AlignedBuf,
    len_bytes: usize,
    /// Of `buffer`, the bytes of this frame; what is before them was written with an earlier one.
    own: Range<usize>,
    /// The next frame may share the last block.
    is_open: bool,
}

impl<S: Storage> ComposedFrame<S> {
    /// Bytes that are written for the first time.
    pub(crate) fn new_bytes(&self) -> u64 {
        self.own.len() as u64
    }

    /// Writes it. Frames that are durable may be written at the same time and in any order.
    ///
    /// # Errors
    /// The frame may or may not be on the media; nothing may be written to the log any more.
    pub(crate) fn write(&self, durability: Durability) -> Result<(), Error> {
        let write = Write { offset: self.offset, bytes: &self.buffer[..self.len_bytes] };
        mutant!("ack-before-sync" => {
            return self.file.write_batch(&[write], Durability::Deferred);
        });
        mutant!("failed-write-forgiven" => {
            let _ = self.file.write_batch(&[write], durability);
            return Ok(());
        });
        self.file.write_batch(&[write], durability)
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
        (chance, names): (Arc<dyn Chance>, Arc<Names>),
        settings: LogSettings,
        next_number: u64,
        end: LogPosition,
    ) -> Self {
        Self {
            database,
            chance,
            names,
            settings,
            next_segment_bytes: FIRST_SEGMENT_BYTES.min(settings.segment_bytes_max),
            next_number,
            active: None,
            has_begun: false,
            spare: None,
            packer: settings.compresses.then(Packer::default),
            end,
            synced: end.lsn,
            needs_witness: false,
            buffers: Vec::new(),
        }
    }

    /// The last record composed and the chain value behind it.
    pub(crate) fn end(&self) -> LogPosition {
        self.end
    }

    /// Everything up to this record, and before the groups in flight, is durable.
    pub(crate) fn synced(&self) -> Lsn {
        self.synced
    }

    /// Notes a sync that ended well.
    pub(crate) fn note_synced(&mut self, upto: Lsn) {
        self.synced = self.synced.max(upto);
    }

    /// Whether the last group has no witness yet.
    pub(crate) fn needs_witness(&self) -> bool {
        self.needs_witness && self.active.is_some()
    }

    /// How its segments are made.
    pub(crate) fn is_cached(&self) -> bool {
        self.settings.is_cached
    }

    /// Whether making the next segment takes long.
    pub(crate) fn next_is_long(&self) -> bool {
        self.next_segment_bytes > 2 * FIRST_SEGMENT_BYTES
    }

    /// Whether there is an active segment.
    pub(crate) fn is_writing(&self) -> bool {
        self.active.is_some()
    }

    /// Whether anything was written since the log was opened.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Gives numbers to records that are not to be written.
    pub(crate) fn skip(&mut self, records: u32) {
        self.end.lsn += Lsn::from(records);
    }

    /// Number that the next segment will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Whether a group with a body of `body_len` bytes fits the active segment, with the marker
    /// that may follow it.
    pub(crate) fn has_room(&self, body_len: usize) -> bool {
        let room = frame_len(body_len) as u64 + BLOCK;
        let fits = |active: &ActiveSegment<S>| active.end.next_multiple_of(BLOCK) + room;
        self.active.as_ref().is_some_and(|active| fits(active) <= active.len_bytes)
    }

    /// The file that is written to, for a sync that is about to be issued: of everything composed
    /// so far, and no block of that is written again.
    pub(crate) fn begin_sync(&mut self) -> Option<Arc<FailStop<S::File>>> {
        let active = self.active.as_mut()?;
        if !mutant!("tail-kept-after-sync")
            && let Some(tail) = active.tail.take()
        {
            keep_buffer(&mut self.buffers, tail);
        }
        Some(Arc::clone(&active.file))
    }

    /// Number and length of the spare that is wanted now: there is none, and the active segment is
    /// half full, or `is_soon` says that it will be left.
    pub(crate) fn wants_spare(&self, is_soon: bool) -> Option<(u64, u64)> {
        let is_half = |a: &ActiveSegment<S>| a.end.next_multiple_of(BLOCK) >= a.len_bytes / 2;
        let is_needed = self.active.as_ref().is_some_and(|active| is_soon || is_half(active));
        let is_wanted = is_needed && self.spare.is_none();
        is_wanted.then_some((self.next_number, self.next_segment_bytes))
    }

    /// Takes in a spare of the number that was wanted.
    pub(crate) fn add_spare(&mut self, spare: SpareSegment<S>) {
        self.spare = Some(spare);
    }

    /// Removes the spare: who opens the log would read all of it to know that it is one. Where that
    /// fails it stays, and does no other harm.
    pub(crate) fn remove_spare(&mut self, storage: &S) {
        if self.spare.take().is_some() {
            let _ = storage.remove(&file_name(self.next_number));
        }
    }

    /// Segments begin small again, as after an opening; the spare goes.
    pub(crate) fn begin_small(&mut self, storage: &S) {
        self.remove_spare(storage);
        self.next_segment_bytes = FIRST_SEGMENT_BYTES.min(self.settings.segment_bytes_max);
    }

    /// Begins a segment with room for a group of `body_len` bytes; returns its length in bytes.
    /// Every frame composed before is durable.
    ///
    /// # Errors
    /// Nothing was written that the log needs; see [`AppendError::before_writing`].
    pub(crate) fn begin_segment_for(
        &mut self,
        storage: &S,
        body_len: usize,
    ) -> Result<u64, AppendError> {
        let least = frame_len(body_len) as u64 + 2 * BLOCK;
        let planned = self.next_segment_bytes.max(least);
        let segment = match self.begin_segment(storage, planned, least) {
            // On a disk that is nearly full the shortest one may still fit.
            Err(error) if error.kind() == ErrorKind::NoSpace && error.op() != Op::SyncDir => {
                self.begin_segment(storage, least, least)
            }
            begun => begun,
        };
        let segment = segment.map_err(AppendError::before_writing)?;
        let len_bytes = segment.len_bytes;
        self.active = Some(segment);
        self.has_begun = true;
        Ok(len_bytes)
    }

    /// Composes the frame of a group: `bodies` are its records, one batch after another. There is
    /// room for it as it is, compressed or not; everything up to `durable_upto` is durable. It is
    /// written as `durability` says; a frame that is `Deferred` is written and given back before
    /// the next one is composed.
    ///
    /// # Panics
    /// If there is no room.
    pub(crate) fn compose<'b>(
        &mut self,
        storage: &S,
        bodies: impl Iterator<Item = &'b [u8]> + Clone,
        records: u32,
        durable_upto: Lsn,
        durability: Durability,
    ) -> ComposedFrame<S> {
        let plain_len: usize = bodies.clone().map(<[u8]>::len).sum();
        let packed = self.packer.as_mut().and_then(|packer| packer.pack(bodies.clone()));
        let body_len = packed.map_or(plain_len, <[u8]>::len);
        let active = self.active.as_mut().expect("a segment was begun");
        let tail = active.tail.take();
        let at = if tail.is_some() { active.end } else { active.end.next_multiple_of(BLOCK) };
        let offset = at - at % BLOCK;
        let front = usize::try_from(at - offset).expect("less than a block");
        let len_bytes = (front + HEADER_LEN_BYTES + body_len).next_multiple_of(BLOCK_SIZE);
        assert!(offset + len_bytes as u64 <= active.len_bytes, "no room for {body_len} bytes");
        let mut buffer = match tail {
            // Its block is written again: most often that is all.
            Some(tail) if tail.len() >= len_bytes => tail,
            tail => {
                let mut buffer = take_buffer(storage, &mut self.buffers, len_bytes);
                if let Some(tail) = tail {
                    buffer[..front].copy_from_slice(&tail[..front]);
                    keep_buffer(&mut self.buffers, tail);
                }
                buffer
            }
        };
        let mut end = front + HEADER_LEN_BYTES;
        let mut push = |body: &[u8]| {
            buffer[end..end + body.len()].copy_from_slice(body);
            end += body.len();
        };
        match packed {
            Some(packed) => push(packed),
            None => bodies.for_each(push),
        }
        buffer[end..len_bytes].fill(0);
        let (header, body) = buffer[front..end].split_at_mut(HEADER_LEN_BYTES);
        let first_lsn = self.end.lsn + 1;
        let frame = FrameHeader {
            first_lsn,
            records,
            durable_upto: if mutant!("durable-upto-never-advanced") { 0 } else { durable_upto },
            body_len_bytes: u32::try_from(body_len).expect("a group is below 4 GiB"),
            unpacked_len_bytes: packed
                .map(|_| u32::try_from(plain_len).expect("a group is below 4 GiB")),
            body_crc: FrameHeader::body_crc(active.salt, first_lsn, body),
            prev_chain: self.end.chain,
        };
        let chain = frame.encode(active.salt, header);
        self.end = LogPosition { lsn: frame.last_lsn(), chain };
        self.needs_witness = records > 0;
        end = end.next_multiple_of(ALIGN);
        active.end = offset + end as u64;
        let is_open = durability == Durability::Deferred && !active.end.is_multiple_of(BLOCK);
        let own = front..end.min(len_bytes);
        ComposedFrame { file: Arc::clone(&active.file), offset, buffer, len_bytes, own, is_open }
    }

    /// Takes back the memory of a frame that is written. One that is `Deferred` is given back
    /// before the next one is composed, or any sync begun: its last block may be the next one's
    /// first.
    pub(crate) fn give_back(&mut self, frame: ComposedFrame<S>) {
        let ComposedFrame { mut buffer, len_bytes, is_open, .. } = frame;
        // Where a long one is not kept, the next frame begins with the next block.
        let is_open = is_open && buffer.len() <= BUFFER_KEPT_BYTES;
        if let Some(active) = self.active.as_mut().filter(|_| is_open) {
            buffer.copy_within(len_bytes - BLOCK_SIZE..len_bytes, 0);
            active.tail = Some(buffer);
        } else {
            keep_buffer(&mut self.buffers, buffer);
        }
    }

    /// Writes a marker, a frame without records that says that all before it is durable, if the
    /// last group has none yet. No group is in flight; what is buffered is synced first.
    ///
    /// # Errors
    /// Nothing may be written to the log any more.
    pub(crate) fn witness(&mut self, storage: &S) -> Result<(), Error> {
        // There is room for it in the segment of the last group.
        if !self.needs_witness() {
            return Ok(());
        }
        let lsn = self.end.lsn;
        if self.synced < lsn
            && let Some(file) = self.begin_sync()
        {
            // What a marker says has to be true before it is written.
            if !mutant!("marker-before-sync") {
                file.sync(Durability::Data)?;
            }
            self.note_synced(lsn);
        }
        let marker = self.compose(storage, std::iter::empty(), 0, lsn, Durability::Data);
        let written = marker.write(Durability::Data);
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

    /// Lets go of the active segment and the spare, to which nothing is written any more.
    pub(crate) fn abandon(&mut self) {
        self.active = None;
        self.spare = None;
    }

    /// Begins a segment of at least `least` bytes: the spare, or a new one of `planned` bytes.
    fn begin_segment(
        &mut self,
        storage: &S,
        planned: u64,
        least: u64,
    ) -> Result<ActiveSegment<S>, Error> {
        let salt = self.chance.next_u64();
        let number = self.next_number;
        let header = SegmentHeader { database: self.database, number, salt, prev: self.end };
        let mut block = storage.alloc(BLOCK_SIZE);
        header.encode(&mut block);
        let header = [Write { offset: 0, bytes: &block }];
        let spare = self.spare.take().filter(|spare| spare.len_bytes >= least);
        let (file, len_bytes) = if let Some(SpareSegment { file, len_bytes }) = spare {
            // All but the header is durable already.
            file.write_batch(&header, Durability::Data)?;
            (file, len_bytes)
        } else {
            let name = file_name(number);
            let made =
                blank_file(storage, number, planned, self.settings.is_cached).and_then(|file| {
                    file.write_batch(&header, Durability::Full)?;
                    if !mutant!("segment-name-not-synced") {
                        self.names.sync(storage)?;
                    }
                    Ok(file)
                });
            let file = made.inspect_err(|_| {
                // A full disk should get its space back. If this fails too the next try begins
                // with it.
                let _ = storage.remove(&name);
            })?;
            (file, planned)
        };
        self.next_number += 1;
        self.next_segment_bytes =
            (self.next_segment_bytes * 2).min(self.settings.segment_bytes_max);
        let file = Arc::new(FailStop::new(file));
        Ok(ActiveSegment { file, salt, end: BLOCK, tail: None, len_bytes })
    }
}

/// Makes a spare: a blank segment with contents and name durable.
///
/// # Errors
/// As the storage's calls; there is no file of that name then, as far as it could be removed.
pub(crate) fn make_spare<S: Storage>(
    storage: &S,
    names: &Names,
    (number, len_bytes): (u64, u64),
    is_cached: bool,
) -> Result<SpareSegment<S>, Error> {
    let made = blank_file(storage, number, len_bytes, is_cached).and_then(|file| {
        file.sync(Durability::Full)?;
        if !mutant!("spare-name-not-synced") {
            names.sync(storage)?;
        }
        Ok(file)
    });
    let file = made.inspect_err(|_| {
        let _ = storage.remove(&file_name(number));
    })?;
    Ok(SpareSegment { file, len_bytes })
}

/// A file of zeroes, which are written: space is there, and later writes change no metadata.
fn blank_file<S: Storage>(
    storage: &S,
    number: u64,
    len_bytes: u64,
    is_cached: bool,
) -> Result<S::File, Error> {
    let name = file_name(number);
    // One that a crash or a full disk left without a frame.
    match storage.remove(&name) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = if is_cached {
        storage.create_cached(&name, len_bytes)
    } else {
        storage.create(&name, len_bytes)
    }?;
    zero_fill(storage, &file, 0..len_bytes)?;
    Ok(file)
}

/// Writes zeroes: the range takes space then.
pub(crate) fn zero_fill<S: Storage>(
    storage: &S,
    file: &S::File,
    range: Range<u64>,
) -> Result<(), Error> {
    let zeroes = storage.alloc(ZERO_PIECE_BYTES);
    for first in range.clone().step_by(ZERO_FILL_BYTES) {
        let end = range.end.min(first + ZERO_FILL_BYTES as u64);
        let piece = |offset| {
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            Write { offset, bytes: &zeroes[..left.min(ZERO_PIECE_BYTES)] }
        };
        let writes: Vec<_> = (first..end).step_by(ZERO_PIECE_BYTES).map(piece).collect();
        file.write_batch(&writes, Durability::Deferred)?;
    }
    Ok(())
}

fn keep_buffer(buffers: &mut Vec<AlignedBuf>, buffer: AlignedBuf) {
    if buffer.len() <= BUFFER_KEPT_BYTES && buffers.len() < BUFFERS_KEPT {
        buffers.push(buffer);
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
