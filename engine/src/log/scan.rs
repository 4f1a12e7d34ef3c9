//! One segment as a sequence of verified frames.
//!
//! Reads only, from front to end. Stops where the segment that follows begins, or at the first
//! frame it cannot vouch for, and says why; what that means for the log is `recover`'s business.

use crate::damage::{Damage, Lsn, Newer};
use crate::log::LogPosition;
use crate::log::frame::{ALIGN, FrameFault, FrameHeader, HEADER_LEN_BYTES};
use crate::log::pack::unpack;
use crate::log::segment::SegmentHeader;
use crate::log::window::{FrameBytes, PiecePool, Window};
use crate::record::RecordFault;
use gannet_storage::{BLOCK_SIZE, Error, ReadFile, SealedFile, Storage};
use std::ops::Range;

/// Blanks are looked for in this many bytes at a time, so that the loop needs no branch.
const BLANK_STEP_BYTES: usize = BLOCK_SIZE;

/// A valid frame that holds records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramePlace {
    /// Where its records begin in the segment.
    pub(crate) body_at: usize,
    pub(crate) first_lsn: Lsn,
    pub(crate) records: u32,
}

impl FramePlace {
    pub(crate) fn last_lsn(&self) -> Lsn {
        self.first_lsn + Lsn::from(self.records) - 1
    }
}

/// Why a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Here the segment that follows continues; what lies behind was cut by a recovery.
    Joint,
    /// Nothing but zeroes follows.
    Clean,
    /// Bytes that are not the next frame begin at `offset`; the last of them ends at `used_end`.
    Bad { offset: usize, used_end: usize, damage: Damage },
    /// The frame that begins at `offset` was written by a later program.
    Newer { offset: usize, newer: Newer },
    /// The frame is valid, but its body does not decode, or a record in it is none.
    Record { frame: FramePlace, fault: RecordFault },
}

/// The valid prefix of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Of records.
    pub(crate) bytes: u64,
    /// The log behind the last frame.
    pub(crate) end: LogPosition,
    /// Where that frame ends in the segment.
    pub(crate) end_at: usize,
    pub(crate) stop: Stop,
}

enum Step<'w> {
    Frame { header: FrameHeader, at: usize, body: &'w [u8], after: LogPosition },
    Newer { offset: usize, newer: Newer },
    Not(Damage),
}

/// A valid frame of a segment, a marker too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScannedFrame {
    /// Where its records stand in the segment.
    pub(crate) body: Range<usize>,
    /// The log after it.
    pub(crate) after: LogPosition,
}

/// The valid frames in the bytes of a whole segment.
pub(crate) struct ScannedFrames {
    pub(crate) frames: Vec<ScannedFrame>,
}

impl ScannedFrames {
    /// Where they end.
    pub(crate) fn end(&self, header: &SegmentHeader) -> LogPosition {
        self.frames.last().map_or(header.prev, |frame| frame.after)
    }
}

/// Scans all of a segment that is in memory.
pub(crate) fn scan(mut bytes: &[u8], header: &SegmentHeader) -> ScannedFrames {
    let mut frames = Vec::new();
    let each = |_: &FrameHeader, frame: ScannedFrame, _: &[u8]| {
        frames.push(frame);
        Ok(())
    };
    let walked = walk(&mut bytes, header, None, each);
    walked.expect("memory is read without fail");
    ScannedFrames { frames }
}

/// Scans a segment up to `joint`, where its successor begins, or to its end. Each frame with
/// records goes to `take`, its body as it was before it was compressed; `take` may refuse it.
///
/// # Errors
/// The storage's.
pub(crate) fn scan_file<S: Storage>(
    storage: &S,
    file: &S::Sealed,
    header: &SegmentHeader,
    joint: Option<LogPosition>,
    pool: &PiecePool,
    mut take: impl FnMut(&FramePlace, &[u8]) -> Result<(), RecordFault>,
) -> Result<Scan, Error> {
    let mut window = Window::<S::Sealed>::open(storage, file, 0, pool)?;
    let mut unpacked = Vec::new();
    let each = |header: &FrameHeader, frame: ScannedFrame, body: &[u8]| {
        let (first_lsn, records) = (header.first_lsn, header.records);
        if records == 0 {
            return Ok(());
        }
        let frame = FramePlace { body_at: frame.body.start, first_lsn, records };
        let body = match header.unpacked_len_bytes {
            None => Ok(body),
            Some(len) => unpack(body, len, &mut unpacked).map_err(RecordFault::Field),
        };
        body.and_then(|body| take(&frame, body)).map_err(|fault| (frame, fault))
    };
    let (mut scan, not) = walk(&mut window, header, joint, each)?;
    if let Some(damage) = not {
        drop(window);
        scan.stop = stop_at(storage, file, scan.end_at.next_multiple_of(ALIGN), damage, pool)?;
    }
    Ok(scan)
}

/// A frame that the caller does not take, and why.
type Refused = (FramePlace, RecordFault);

/// Goes from frame to frame; also tells why what is behind the last one is no frame, if it is that
/// which ended the walk.
fn walk<B: FrameBytes>(
    bytes: &mut B,
    header: &SegmentHeader,
    joint: Option<LogPosition>,
    mut each: impl FnMut(&FrameHeader, ScannedFrame, &[u8]) -> Result<(), Refused>,
) -> Result<(Scan, Option<Damage>), Error> {
    let mut scan = Scan {
        frames: 0,
        records: 0,
        bytes: 0,
        end: header.prev,
        end_at: BLOCK_SIZE,
        stop: Stop::Clean,
    };
    loop {
        if joint == Some(scan.end) {
            scan.stop = Stop::Joint;
            return Ok((scan, None));
        }
        let at = scan.end_at.next_multiple_of(ALIGN);
        match next_frame(bytes, at, header.salt, scan.end)? {
            Step::Frame { header, at, body, after } => {
                let end_at = at + body.len();
                let frame = ScannedFrame { body: at..end_at, after };
                if let Err((frame, fault)) = each(&header, frame, body) {
                    scan.stop = Stop::Record { frame, fault };
                    return Ok((scan, None));
                }
                scan.frames += 1;
                scan.records += u64::from(header.records);
                scan.bytes += body.len() as u64;
                scan.end_at = end_at;
                scan.end = after;
            }
            Step::Newer { offset, newer } => {
                scan.stop = Stop::Newer { offset, newer };
                return Ok((scan, None));
            }
            Step::Not(damage) => {
                mutant!("bad-frame-skipped" => {
                    if let Some(behind) = frame_behind(bytes, at, header.salt)? {
                        (scan.end_at, scan.end) = behind;
                        continue;
                    }
                });
                return Ok((scan, Some(damage)));
            }
        }
    }
}

/// The frame that begins right at `at` (groups that shared a block) or at the next block.
fn next_frame<B: FrameBytes>(
    window: &mut B,
    at: usize,
    salt: u64,
    position: LogPosition,
) -> Result<Step<'_>, Error> {
    let mut damage = None;
    for at in [at, at.next_multiple_of(BLOCK_SIZE)] {
        let bytes = window.get(at, HEADER_LEN_BYTES)?.unwrap_or_default();
        let (header, chain) = match FrameHeader::decode(salt, bytes) {
            Ok((header, chain))
                if (header.first_lsn, header.prev_chain) == (position.lsn + 1, position.chain) =>
            {
                (header, chain)
            }
            Err(FrameFault::Newer(newer)) => return Ok(Step::Newer { offset: at, newer }),
            other => {
                let found = match other {
                    Ok(_) => Damage::Order,
                    Err(FrameFault::Checksum) => Damage::Checksum,
                    Err(FrameFault::Field(name)) => Damage::Field(name),
                    Err(FrameFault::Magic | FrameFault::Newer(_)) => Damage::Magic,
                };
                damage.get_or_insert(found);
                continue;
            }
        };
        let len = usize::try_from(header.body_len_bytes).ok();
        let len = len.and_then(|len| len.checked_add(HEADER_LEN_BYTES)).unwrap_or(usize::MAX);
        let Some(frame) = window.get(at, len)? else { return Ok(Step::Not(Damage::Length)) };
        let body = &frame[HEADER_LEN_BYTES..];
        let is_whole = FrameHeader::body_crc(salt, header.first_lsn, body) == header.body_crc;
        if !is_whole && !mutant!("body-not-checked") {
            return Ok(Step::Not(Damage::Checksum));
        }
        let after = LogPosition { lsn: header.last_lsn(), chain };
        return Ok(Step::Frame { header, at: at + HEADER_LEN_BYTES, body, after });
    }
    Ok(Step::Not(damage.unwrap_or(Damage::Magic)))
}

/// Where the next frame that stands at a block begins, and what it says it continues.
#[cfg(mutants)]
fn frame_behind<B: FrameBytes>(
    bytes: &mut B,
    at: usize,
    salt: u64,
) -> Result<Option<(usize, LogPosition)>, Error> {
    for at in (1..64).map(|blocks| at / BLOCK_SIZE * BLOCK_SIZE + blocks * BLOCK_SIZE) {
        let Some(found) = bytes.get(at, HEADER_LEN_BYTES)? else { return Ok(None) };
        if let Ok((frame, _)) = FrameHeader::decode(salt, found) {
            return Ok(Some((
                at,
                LogPosition { lsn: frame.first_lsn - 1, chain: frame.prev_chain },
            )));
        }
    }
    Ok(None)
}

/// What is at `at` and behind it, where no frame is.
fn stop_at<S: Storage>(
    storage: &S,
    file: &S::Sealed,
    at: usize,
    damage: Damage,
    pool: &PiecePool,
) -> Result<Stop, Error> {
    let start = at / BLOCK_SIZE * BLOCK_SIZE;
    let len = usize::try_from(file.len_bytes()).expect("a segment fits memory");
    if start >= len {
        return Ok(Stop::Clean);
    }
    let mut window = Window::<S::Sealed>::open(storage, file, start, pool)?;
    let mut used: Option<(usize, usize)> = None;
    let mut step_at = at;
    while step_at < len {
        let step = BLANK_STEP_BYTES.min(len - step_at).min(BLOCK_SIZE - step_at % BLOCK_SIZE);
        let bytes = window.get(step_at, step)?.unwrap_or_default();
        if !is_blank(bytes) {
            let first = bytes.iter().position(|&byte| byte != 0).unwrap_or_default();
            let last = bytes.iter().rposition(|&byte| byte != 0).unwrap_or_default();
            let offset = used.map_or((step_at + first) / ALIGN * ALIGN, |(offset, _)| offset);
            used = Some((offset, step_at + last + 1));
        }
        step_at += step;
    }
    Ok(used.map_or(Stop::Clean, |(offset, used_end)| Stop::Bad { offset, used_end, damage }))
}

/// Whether all bytes are zero. Without a branch a byte, so that compilers take many at a time.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

/// What the frame headers behind a bad frame say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The last record that was durable when one of them was composed.
    pub(crate) durable_upto: Lsn,
    /// The last record that one of them has.
    pub(crate) last_lsn: Lsn,
}

/// The frame headers in the bytes from `from` to `used_end`, beyond which there is nothing. A
/// header alone is proof: its checksum covers what it says, and it was only written when that was
/// true.
///
/// # Errors
/// The storage's.
pub(crate) fn witness<F: SealedFile>(
    file: &F,
    salt: u64,
    from: usize,
    used_end: usize,
) -> Result<Witness, Error> {
    let start = from.next_multiple_of(ALIGN);
    // A header may end in zeroes.
    let end = (used_end as u64 + HEADER_LEN_BYTES as u64).min(file.len_bytes());
    let mut said = Witness::default();
    if start as u64 >= end {
        return Ok(said);
    }
    let bytes = file.view(start as u64..end)?;
    for at in (0..bytes.len()).step_by(ALIGN) {
        if let Ok((header, _)) = FrameHeader::decode(salt, &bytes[at..]) {
            said.durable_upto = said.durable_upto.max(header.durable_upto);
            said.last_lsn = said.last_lsn.max(header.last_lsn());
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_storage::{Durability, FileName, MemSealed, MemStorage, Write, WriteFile};

    const SALT: u64 = 77;

    fn segment_header() -> SegmentHeader {
        let prev = LogPosition { lsn: 4, chain: 9 };
        SegmentHeader { database: [1; 16], number: 1, salt: SALT, prev }
    }

    /// Two frames that share a block, one at a block's start, a marker; then zeroes.
    fn segment() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![0; 8 * BLOCK_SIZE];
        let mut position = segment_header().prev;
        let mut starts = Vec::new();
        let mut at = BLOCK_SIZE;
        for (records, body_len, gap) in
            [(2, 100, false), (1, 5000, false), (3, 60, true), (0, 0, true)]
        {
            if gap {
                at = at.next_multiple_of(BLOCK_SIZE);
            }
            let body = vec![7_u8; body_len];
            let first_lsn = position.lsn + 1;
            let header = FrameHeader {
                first_lsn,
                records,
                durable_upto: position.lsn,
                body_len_bytes: u32::try_from(body_len).unwrap(),
                unpacked_len_bytes: None,
                body_crc: FrameHeader::body_crc(SALT, first_lsn, &body),
                prev_chain: position.chain,
            };
            let chain = header.encode(SALT, &mut bytes[at..]);
            let body_at = at + HEADER_LEN_BYTES;
            bytes[body_at..body_at + body_len].copy_from_slice(&body);
            position = LogPosition { lsn: header.last_lsn(), chain };
            starts.push(at);
            at = (body_at + body_len).next_multiple_of(ALIGN);
        }
        (bytes, starts)
    }

    /// Bytes as a file that the storage views.
    fn file(bytes: &[u8]) -> (MemStorage, MemSealed) {
        let storage = MemStorage::new();
        let name = FileName::new("segment").unwrap();
        let file = storage.create(&name, bytes.len() as u64).unwrap();
        let mut buf = storage.alloc(bytes.len());
        buf.copy_from_slice(bytes);
        file.write_batch(&[Write { offset: 0, bytes: &buf }], Durability::Data).unwrap();
        let sealed = storage.seal(file).unwrap();
        (storage, sealed)
    }

    fn scanned(bytes: &[u8], joint: Option<LogPosition>) -> (Scan, Vec<(Lsn, Lsn)>) {
        let (storage, file) = file(bytes);
        let mut lsns = Vec::new();
        let take = |frame: &FramePlace, _: &[u8]| {
            lsns.push((frame.first_lsn, frame.last_lsn()));
            Ok(())
        };
        let pool = PiecePool::default();
        let scan = scan_file(&storage, &file, &segment_header(), joint, &pool, take).unwrap();
        (scan, lsns)
    }

    fn said(bytes: &[u8], from: usize) -> Witness {
        witness(&file(bytes).1, SALT, from, bytes.len()).unwrap()
    }

    #[test]
    fn frames_are_found_whether_they_share_a_block_or_not() {
        let (bytes, _) = segment();
        let (scan, lsns) = scanned(&bytes, None);
        assert_eq!(lsns, [(5, 6), (7, 7), (8, 10)]);
        assert_eq!((scan.frames, scan.records, scan.bytes, scan.end.lsn), (4, 6, 5160, 10));
        assert_eq!(scan.stop, Stop::Clean);
        let in_memory = super::scan(&bytes, &segment_header());
        assert_eq!((in_memory.frames.len(), in_memory.end(&segment_header())), (4, scan.end));
    }

    #[test]
    fn a_scan_ends_where_the_next_segment_begins() {
        let (mut bytes, starts) = segment();
        let (whole, _) = scanned(&bytes, None);
        assert_eq!(scanned(&bytes, Some(whole.end)).0, Scan { stop: Stop::Joint, ..whole });
        assert_eq!(scanned(&bytes, Some(segment_header().prev)).0.frames, 0);
        bytes[starts[2]] ^= 1;
        let (cut, _) = scanned(&bytes, None);
        assert_eq!(scanned(&bytes, Some(cut.end)).0, Scan { stop: Stop::Joint, ..cut });
        let short = scanned(&bytes, Some(whole.end)).0;
        assert!(matches!(short.stop, Stop::Bad { .. }), "{short:?}");
    }

    #[test]
    fn a_refused_frame_ends_the_scan_before_it() {
        let (bytes, _) = segment();
        let (storage, file) = file(&bytes);
        let take = |frame: &FramePlace, _: &[u8]| {
            if frame.first_lsn == 7 { Err("x".into()) } else { Ok(()) }
        };
        let pool = PiecePool::default();
        let scan = scan_file(&storage, &file, &segment_header(), None, &pool, take).unwrap();
        assert!(
            matches!(scan.stop, Stop::Record { fault: RecordFault::Field("x"), .. }),
            "{scan:?}"
        );
        assert_eq!((scan.frames, scan.end.lsn), (1, 6));
    }

    #[test]
    fn a_damaged_frame_stops_the_scan_and_a_later_header_is_its_witness() {
        let (bytes, starts) = segment();
        for (index, &start) in starts.iter().enumerate().take(3) {
            for at in [start, start + 20, start + HEADER_LEN_BYTES] {
                let mut bad = bytes.clone();
                bad[at] ^= 4;
                let (scan, _) = scanned(&bad, None);
                assert_eq!(scan.frames, index as u64);
                let Stop::Bad { offset, .. } = scan.stop else { panic!("{:?}", scan.stop) };
                assert_eq!(offset / ALIGN, start / ALIGN);
                let expected = Witness { durable_upto: 10, last_lsn: 10 };
                assert_eq!(said(&bad, offset + ALIGN), expected, "{index} {at}");
            }
        }
    }

    #[test]
    fn damage_after_the_last_frame_has_no_witness_and_padding_is_harmless() {
        let (mut bytes, starts) = segment();
        let end = starts[2] + HEADER_LEN_BYTES + 60;
        bytes[end + 100] = 1;
        assert_eq!(scanned(&bytes, None).0.frames, 4, "padding before a frame");
        bytes[starts[3]] = 0;
        let (scan, _) = scanned(&bytes, None);
        assert_eq!(scan.frames, 3);
        assert!(matches!(scan.stop, Stop::Bad { .. }));
        assert_eq!(said(&bytes, starts[3]), Witness::default());
    }

    #[test]
    fn every_byte_of_a_segment_may_be_hostile() {
        let (bytes, _) = segment();
        for at in BLOCK_SIZE..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] = !bad[at];
            assert!(scanned(&bad, None).0.frames <= 4);
        }
        for len in [0, BLOCK_SIZE] {
            assert_eq!(scanned(&bytes[..len], None).0.frames, 0);
        }
    }
}
