//! Where the log ends, decided without changing a byte.
//!
//! Keeps the rules by which a torn tail, which is cut, is told from damage, which is refused
//! (`docs/DURABILITY.md`). Segments are scanned in parallel and joined on the chain. Records are
//! handed to the caller in LSN order, a wave of segments at a time, so that memory is bounded by
//! the wave.

use crate::damage::{Corruption, Damage};
use crate::error::OpenError;
use crate::limits::SEGMENT_BYTES_MAX;
use crate::log::LogPosition;
use crate::log::frame;
use crate::log::scan::{Scan, Stop, scan, witness};
use crate::log::segment::{self, HeaderFault, SegmentHeader, file_name};
use crate::settle::settle;
use gannet_hnsw::Executor;
use gannet_storage::{
    BLOCK_SIZE, Error as StorageError, ErrorKind, FileName, ReadFile, SealedFile, Storage,
};

const BLANK_STEP_BYTES: u64 = 1 << 20;

/// What the log held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// The last valid record.
    pub(crate) position: LogPosition,
    /// Number for the next segment.
    pub(crate) next_number: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Bytes of frames read.
    pub(crate) bytes: u64,
    /// Bytes of an unfinished write behind the last valid record.
    pub(crate) torn_bytes: u64,
}

/// A segment whose header is valid.
struct Segment<F> {
    header: SegmentHeader,
    file: F,
}

/// The segments that belong to the log, in order, and the number after the last of them.
struct LiveSegments<F> {
    segments: Vec<Segment<F>>,
    next_number: u64,
}

/// Reads the log from segment `first_number` on, which begins behind `start`, and gives every
/// frame's body to `apply` with the number of its records, in order.
///
/// # Errors
/// `Corrupt`, `NewerVersion`, `Storage`; what `apply` says.
pub(crate) fn recover<S: Storage>(
    storage: &S,
    database: [u8; 16],
    first_number: u64,
    start: LogPosition,
    executor: &Executor,
    mut apply: impl FnMut(u32, &[u8]) -> Result<(), &'static str>,
) -> Result<LogEnd, OpenError> {
    let LiveSegments { segments, next_number } = live_segments(storage, database, first_number)?;
    let mut end =
        LogEnd { position: start, next_number, frames: 0, records: 0, bytes: 0, torn_bytes: 0 };
    let wave_len = executor.thread_count().max(1);
    for (wave_index, wave) in segments.chunks(wave_len).enumerate() {
        let scans = executor.map(wave.len(), |i| scan_segment(&wave[i]));
        for (i, scanned) in scans.into_iter().enumerate() {
            let (view, scan) = scanned?;
            let segment = &wave[i];
            let next = segments.get(wave_index * wave_len + i + 1);
            check_joint(segment, end.position)?;
            let kept = decide_end(segment, &view, &scan, next.map(|next| &next.header), &mut end)?;
            for frame in &scan.frames[..kept] {
                let body = &view[frame.body.clone()];
                if frame.header.records > 0 {
                    apply(frame.header.records, body).map_err(|field| {
                        let at = frame.body.start as u64;
                        Corruption::new(segment.file.name(), at, Damage::Field(field))
                            .lsns(frame.header.first_lsn, frame.after.lsn)
                    })?;
                }
                end.frames += 1;
                end.records += u64::from(frame.header.records);
                end.bytes += body.len() as u64;
                end.position = frame.after;
            }
        }
    }
    Ok(end)
}

fn scan_segment<F: SealedFile>(segment: &Segment<F>) -> Result<(F::View, Scan), OpenError> {
    let view = segment.file.view(0..segment.file.len_bytes())?;
    let scan = scan(&view, &segment.header);
    Ok((view, scan))
}

/// The segment must continue where the log stands.
fn check_joint<F: ReadFile>(segment: &Segment<F>, at: LogPosition) -> Result<(), OpenError> {
    if segment.header.prev == at {
        return Ok(());
    }
    Err(Corruption::new(segment.file.name(), 0, Damage::Order).into())
}

/// How many frames of the scan belong to the log; refuses if durable ones are missing.
fn decide_end<F: ReadFile>(
    segment: &Segment<F>,
    bytes: &[u8],
    scan: &Scan,
    next: Option<&SegmentHeader>,
    end: &mut LogEnd,
) -> Result<usize, OpenError> {
    let name = segment.file.name();
    if let Some(next) = next {
        // The successor was begun when everything up to `prev` was durable; what lies behind it
        // was cut by a recovery.
        let joint = scan.frames.iter().rposition(|frame| frame.after == next.prev);
        let kept = joint.map(|index| index + 1);
        let kept = kept.or((segment.header.prev == next.prev).then_some(0));
        return kept.ok_or_else(|| {
            if let Stop::Newer(version) = scan.stop {
                return newer_frame(name, version);
            }
            let reached = scan.end(&segment.header);
            let offset = stop_offset(scan, bytes.len());
            let damage =
                if reached.lsn < next.prev.lsn { Damage::LostRecords } else { Damage::Order };
            Corruption::new(name, offset, damage).lsns(reached.lsn + 1, next.prev.lsn).into()
        });
    }
    match scan.stop {
        Stop::Clean => {}
        Stop::Newer(version) => {
            return Err(newer_frame(name, version));
        }
        Stop::Bad { offset, used_end, .. } => {
            let lost = scan.end(&segment.header).lsn + 1;
            let from = scan.frames.last().map_or(BLOCK_SIZE, |frame| frame.body.end);
            if let Some(last) = witness(bytes, segment.header.salt, from, lost) {
                let damage = Damage::LostRecords;
                return Err(Corruption::new(name, offset as u64, damage).lsns(lost, last).into());
            }
            end.torn_bytes = (used_end - offset) as u64;
        }
    }
    Ok(scan.frames.len())
}

fn newer_frame(name: &FileName, version: u8) -> OpenError {
    let supported = u32::from(frame::VERSION);
    OpenError::NewerVersion { file: name.to_string(), found: u32::from(version), supported }
}

fn stop_offset(scan: &Scan, len: usize) -> u64 {
    match scan.stop {
        Stop::Bad { offset, .. } => offset as u64,
        Stop::Clean | Stop::Newer(_) => scan.frames.last().map_or(len, |f| f.body.end) as u64,
    }
}

/// Finds them. The last one is settled before its header is believed: the end that a dead process
/// wrote may be in the cache alone. Those before it were synced when their successor was begun.
fn live_segments<S: Storage>(
    storage: &S,
    database: [u8; 16],
    first_number: u64,
) -> Result<LiveSegments<S::Sealed>, OpenError> {
    let mut numbers: Vec<u64> =
        storage.list()?.iter().filter_map(|meta| segment::number_of(&meta.name)).collect();
    numbers.retain(|&number| number >= first_number);
    numbers.sort_unstable();
    // A spare is made behind its predecessor too: whatever is there begins without a gap.
    let gap = (first_number..).zip(&numbers).find(|(expected, number)| expected != *number);
    if let Some((missing, _)) = gap {
        return Err(Corruption::new(file_name(missing), 0, Damage::Missing).into());
    }
    let mut last = None;
    for &number in numbers.iter().rev() {
        let name = file_name(number);
        let file = settle(storage, &name).map_err(|error| not_opened(&name, error))?;
        if let Some(header) = header_in(&file, database, number)? {
            last = Some(Segment { header, file });
            break;
        }
    }
    let Some(last) = last else {
        return Ok(LiveSegments { segments: Vec::new(), next_number: first_number });
    };
    let mut segments = Vec::new();
    for number in first_number..last.header.number {
        let name = file_name(number);
        let file = storage.open_sealed(&name).map_err(|error| not_opened(&name, error))?;
        let Some(header) = header_in(&file, database, number)? else {
            // A segment with a successor had its header on the media.
            return Err(Corruption::new(name, 0, Damage::LostRecords).into());
        };
        segments.push(Segment { header, file });
    }
    let next_number = last.header.number + 1;
    segments.push(last);
    Ok(LiveSegments { segments, next_number })
}

fn not_opened(name: &FileName, error: StorageError) -> OpenError {
    if error.kind() == ErrorKind::BadLength {
        Corruption::new(name, 0, Damage::Length).into()
    } else {
        error.into()
    }
}

/// The header of a segment; `None` for one that has no frame: a spare, or one whose header was
/// being written.
fn header_in<F: SealedFile>(
    file: &F,
    database: [u8; 16],
    number: u64,
) -> Result<Option<SegmentHeader>, OpenError> {
    let len_bytes = file.len_bytes();
    if len_bytes == 0 {
        return Ok(None);
    }
    if len_bytes > SEGMENT_BYTES_MAX {
        return Err(Corruption::new(file.name(), len_bytes, Damage::Length).into());
    }
    let block = file.view(0..BLOCK_SIZE as u64)?;
    let damage = match SegmentHeader::decode(&block) {
        Ok(header) if header.database != database || header.number != number => Damage::Foreign,
        Ok(header) => return Ok(Some(header)),
        Err(HeaderFault::Newer(found)) => {
            let file = file.name().to_string();
            return Err(OpenError::NewerVersion { file, found, supported: segment::VERSION });
        }
        Err(HeaderFault::Blank) => Damage::Magic,
        Err(HeaderFault::Damaged(damage)) => damage,
    };
    // Frames are only written behind a durable header: without one, their space is blank.
    let mut at = BLOCK_SIZE as u64;
    while at < len_bytes {
        let end = (at + BLANK_STEP_BYTES).min(len_bytes);
        if file.view(at..end)?.iter().any(|&byte| byte != 0) {
            return Err(Corruption::new(file.name(), 0, damage).into());
        }
        at = end;
    }
    Ok(None)
}
