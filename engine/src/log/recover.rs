//! Where the log ends, decided without changing a byte.
//!
//! Keeps the rules by which a torn tail, which is cut, is told from damage, which is refused or,
//! where that was asked for, ends the log (`docs/DURABILITY.md`). Segments are scanned in parallel
//! and joined on the chain, a wave of them at a time: a wave is made by bytes, never by the number
//! of threads, so that memory is bounded and every number of threads does the same.

use crate::damage::{Corruption, Damage};
use crate::error::OpenError;
use crate::log::LogPosition;
use crate::log::aside::{Cut, last_known};
use crate::log::live::{Segment, live_segments};
use crate::log::scan::{FramePlace, Scan, Stop, scan_file, witness};
use crate::log::segment::SegmentHeader;
use crate::log::window::PiecePool;
use crate::record::RecordFault;
use gannet_hnsw::Executor;
use gannet_storage::{FileName, ReadFile, SealedFile, Storage};
use std::ops::Range;

/// Segments are scanned together up to this length, or one if it is longer.
const WAVE_LEN_BYTES: u64 = 128 << 20;

/// Which log is read, from where on, and what damage to it means.
pub(crate) struct LogSource<'s, S> {
    pub(crate) storage: &'s S,
    pub(crate) database: [u8; 16],
    pub(crate) first_number: u64,
    /// What segment `first_number` continues.
    pub(crate) start: LogPosition,
    /// Damage ends the log instead of being refused.
    pub(crate) cuts_damage: bool,
}

/// What the log held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// The last valid record.
    pub(crate) position: LogPosition,
    /// Number for the next segment.
    pub(crate) next_number: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Bytes of records read.
    pub(crate) bytes: u64,
    /// Bytes of an unfinished write behind the last valid record.
    pub(crate) torn_bytes: u64,
    /// The log ends before damage.
    pub(crate) cut: Option<Cut>,
}

/// What was taken from one segment.
pub(crate) struct Taken<T> {
    pub(crate) file: FileName,
    pub(crate) product: T,
}

/// Reads the log from segment `first_number` on, which begins behind `start`, and gives every
/// frame's body to `each` with the number of its records: in order within a segment, segments in
/// parallel.
///
/// # Errors
/// `Corrupt`, `NewerVersion`, `Storage`; what `each` says.
pub(crate) fn recover<S: Storage>(
    storage: &S,
    database: [u8; 16],
    first_number: u64,
    start: LogPosition,
    executor: &Executor,
    each: impl Fn(u32, &[u8]) -> Result<(), RecordFault> + Sync + Send,
) -> Result<LogEnd, OpenError> {
    let source = LogSource { storage, database, first_number, start, cuts_damage: false };
    let take = |(): &mut (), frame: &FramePlace, body: &[u8]| each(frame.records, body);
    recover_with(&source, executor, take, |_| Ok(()))
}

/// Reads the log. Each frame with records goes to `take`, in order within its segment, segments in
/// parallel; what was taken goes to `join`, all of it in order.
///
/// # Errors
/// `Corrupt`, `NewerVersion`, `Storage`; what `take` and `join` say. What was joined is then of no
/// use.
pub(crate) fn recover_with<S: Storage, T: Default + Send>(
    source: &LogSource<'_, S>,
    executor: &Executor,
    take: impl Fn(&mut T, &FramePlace, &[u8]) -> Result<(), RecordFault> + Sync + Send,
    mut join: impl FnMut(Vec<Taken<T>>) -> Result<(), Corruption>,
) -> Result<LogEnd, OpenError> {
    let live = live_segments(source.storage, source.database, source.first_number)?;
    let mut end = LogEnd {
        position: source.start,
        next_number: live.next_number,
        frames: 0,
        records: 0,
        bytes: 0,
        torn_bytes: 0,
        cut: None,
    };
    let pool = PiecePool::default();
    let segments = &live.segments;
    for wave in waves(segments) {
        let scans = executor.map(wave.len(), |index| {
            let number = wave.start + index;
            let joint = segments.get(number + 1).map(|next| next.header.prev);
            let (segment, mut product) = (&segments[number], T::default());
            let take = |frame: &FramePlace, body: &[u8]| take(&mut product, frame, body);
            let scan =
                scan_file(source.storage, &segment.file, &segment.header, joint, &pool, take);
            mutant!("log-ends-at-eio" => {
                if scan.is_err() {
                    let (end, stop) = (segment.header.prev, Stop::Clean);
                    let scan = Scan { frames: 0, records: 0, bytes: 0, end, end_at: 4096, stop };
                    return Ok((scan, T::default()));
                }
            });
            scan.map(|scan| (scan, product))
        });
        let mut taken = Vec::new();
        for (index, scanned) in wave.zip(scans) {
            let (segment, next) = (&segments[index], segments.get(index + 1));
            // The segment must continue where the log stands.
            if segment.header.prev != end.position && !mutant!("successor-ignored") {
                let corruption = Corruption::new(segment.file.name(), 0, Damage::Order);
                let number = segment.header.number;
                end.cut_at(source, live.files(number), number, corruption)?;
                break;
            }
            let (scan, product) = scanned?;
            end.frames += scan.frames;
            end.records += scan.records;
            end.bytes += scan.bytes;
            end.position = scan.end;
            taken.push(Taken { file: segment.file.name().clone(), product });
            let next = next.map(|next| &next.header);
            if let Err(corruption) = decide_end(segment, &scan, next, &mut end)? {
                let number = segment.header.number;
                end.cut_at(source, live.files(number), number + 1, corruption)?;
                break;
            }
        }
        join(taken)?;
        if end.cut.is_some() {
            return Ok(end);
        }
    }
    if let Some(bad) = live.bad.clone() {
        end.cut_at(source, live.files(live.next_number), live.next_number, bad)?;
    }
    Ok(end)
}

/// Segments that are scanned together.
fn waves<F: ReadFile>(segments: &[Segment<F>]) -> Vec<Range<usize>> {
    let mut waves: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (index, segment) in segments.iter().enumerate() {
        bytes += segment.file.len_bytes();
        match waves.last_mut() {
            Some(wave) if bytes <= WAVE_LEN_BYTES => wave.end = index + 1,
            _ => {
                waves.push(index..index + 1);
                bytes = segment.file.len_bytes();
            }
        }
    }
    waves
}

impl LogEnd {
    /// Ends the log before the damage in the first of `files`, if that was asked for; it continues
    /// with segment `next_number`.
    fn cut_at<S: Storage>(
        &mut self,
        source: &LogSource<'_, S>,
        files: Range<u64>,
        next_number: u64,
        corruption: Corruption,
    ) -> Result<(), OpenError> {
        if !source.cuts_damage {
            return Err(corruption.into());
        }
        let lost_upto = last_known(source.storage, files.clone())?;
        self.next_number = next_number;
        self.torn_bytes = 0;
        self.cut = Some(Cut { corruption, lost_upto, files });
        Ok(())
    }
}

/// Whether all frames that were durable are in the scan of a segment; else what is wrong.
fn decide_end<F: SealedFile>(
    segment: &Segment<F>,
    scan: &Scan,
    next: Option<&SegmentHeader>,
    end: &mut LogEnd,
) -> Result<Result<(), Corruption>, OpenError> {
    let name = segment.file.name();
    let reached = scan.end.lsn;
    let offset = match scan.stop {
        Stop::Joint => return Ok(Ok(())),
        Stop::Clean => scan.end_at,
        Stop::Bad { offset, .. } => offset,
        Stop::Newer { offset, newer } => {
            return Err(OpenError::newer_at(name, offset as u64, newer));
        }
        Stop::Record { frame, fault } => {
            let at = frame.body_at as u64;
            return Err(match fault {
                RecordFault::Newer(newer) => OpenError::newer_at(name, at, newer),
                RecordFault::Field(field) => Corruption::new(name, at, Damage::Field(field))
                    .lsns(frame.first_lsn, frame.last_lsn())
                    .into(),
            });
        }
    };
    let damaged = |damage, last| {
        Ok(Err(Corruption::new(name, offset as u64, damage).lsns(reached + 1, last)))
    };
    if let Some(next) = next
        && !mutant!("successor-ignored")
    {
        // The successor was begun when everything up to `prev` was durable.
        let last = next.prev.lsn;
        return damaged(if reached < last { Damage::LostRecords } else { Damage::Order }, last);
    }
    if let Stop::Bad { used_end, .. } = scan.stop {
        let said = witness(&segment.file, segment.header.salt, scan.end_at, used_end)?;
        if said.durable_upto > reached && !mutant!("witness-ignored") {
            return damaged(Damage::LostRecords, said.durable_upto);
        }
        end.torn_bytes = (used_end - offset) as u64;
    }
    Ok(Ok(()))
}
