//! One segment as a sequence of verified frames.
//!
//! Reads only. Stops at the first frame it cannot vouch for and says why; what that means for the
//! log is `recover`'s business.

use crate::damage::{Damage, Lsn};
use crate::log::LogPosition;
use crate::log::frame::{ALIGN, FrameFault, FrameHeader, HEADER_LEN_BYTES};
use crate::log::segment::SegmentHeader;
use gannet_storage::BLOCK_SIZE;
use std::ops::Range;

/// One valid frame of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScannedFrame {
    pub(crate) header: FrameHeader,
    /// Where its records stand in the segment.
    pub(crate) body: Range<usize>,
    /// The log after it.
    pub(crate) after: LogPosition,
}

/// Why a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing but zeroes follows.
    Clean,
    /// Bytes that are not the next frame begin at `offset`; the last of them ends at `used_end`.
    Bad { offset: usize, used_end: usize, damage: Damage },
    /// A frame that a newer program wrote.
    Newer(u8),
}

/// The valid prefix of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) frames: Vec<ScannedFrame>,
    pub(crate) stop: Stop,
}

impl Scan {
    /// Where the valid prefix ends.
    pub(crate) fn end(&self, header: &SegmentHeader) -> LogPosition {
        self.frames.last().map_or(header.prev, |frame| frame.after)
    }
}

enum Step {
    Frame(ScannedFrame),
    Newer(u8),
    Not(Damage),
}

/// Scans all of a segment's bytes.
pub(crate) fn scan(bytes: &[u8], header: &SegmentHeader) -> Scan {
    let mut frames = Vec::new();
    let mut position = header.prev;
    let mut at = BLOCK_SIZE;
    loop {
        // The next frame begins right here (groups that shared a block) or at the next block.
        let mut step = frame_at(bytes, at, header.salt, position);
        if let Step::Not(damage) = step {
            step = frame_at(bytes, at.next_multiple_of(BLOCK_SIZE), header.salt, position);
            if let Step::Not(_) = step {
                step = Step::Not(damage);
            }
        }
        match step {
            Step::Frame(frame) => {
                position = frame.after;
                at = frame.body.end.next_multiple_of(ALIGN);
                frames.push(frame);
            }
            Step::Newer(version) => return Scan { frames, stop: Stop::Newer(version) },
            Step::Not(damage) => return Scan { frames, stop: stop_at(bytes, at, damage) },
        }
    }
}

fn stop_at(bytes: &[u8], at: usize, damage: Damage) -> Stop {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(last) = rest.iter().rposition(|&byte| byte != 0) else { return Stop::Clean };
    let first = rest.iter().position(|&byte| byte != 0).unwrap_or(last);
    Stop::Bad { offset: (at + first) / ALIGN * ALIGN, used_end: at + last + 1, damage }
}

fn frame_at(bytes: &[u8], at: usize, salt: u64, position: LogPosition) -> Step {
    let rest = bytes.get(at..).unwrap_or_default();
    let (header, chain) = match FrameHeader::decode(salt, rest) {
        Ok(decoded) => decoded,
        Err(FrameFault::Newer(version)) => return Step::Newer(version),
        Err(FrameFault::Magic) => return Step::Not(Damage::Magic),
        Err(FrameFault::Checksum) => return Step::Not(Damage::Checksum),
        Err(FrameFault::Field(name)) => return Step::Not(Damage::Field(name)),
    };
    if header.first_lsn != position.lsn + 1 || header.prev_chain != position.chain {
        return Step::Not(Damage::Order);
    }
    let start = at + HEADER_LEN_BYTES;
    let body = usize::try_from(header.body_len_bytes).ok().and_then(|len| {
        let range = start..start.checked_add(len)?;
        bytes.get(range.clone()).map(|body| (range, body))
    });
    let Some((range, body)) = body else { return Step::Not(Damage::Length) };
    if FrameHeader::body_crc(salt, header.first_lsn, body) != header.body_crc {
        return Step::Not(Damage::Checksum);
    }
    let after = LogPosition { lsn: header.last_lsn(), chain };
    Step::Frame(ScannedFrame { header, body: range, after })
}

/// The last record that a frame header behind byte `from` says was durable, if that is `lost` or a
/// later one: then the record `lost`, which is not valid, was durable once. A header alone is
/// proof: its checksum covers the statement, and it was only written when the statement was true.
pub(crate) fn witness(bytes: &[u8], salt: u64, from: usize, lost: Lsn) -> Option<Lsn> {
    let durable_upto = |at: usize| {
        let (header, _) = FrameHeader::decode(salt, bytes.get(at..)?).ok()?;
        Some(header.durable_upto).filter(|&durable| durable >= lost)
    };
    let end = (bytes.len() + 1).saturating_sub(HEADER_LEN_BYTES);
    (from.next_multiple_of(ALIGN)..end).step_by(ALIGN).filter_map(durable_upto).max()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn frames_are_found_whether_they_share_a_block_or_not() {
        let (bytes, _) = segment();
        let scan = scan(&bytes, &segment_header());
        let lsns: Vec<_> = scan.frames.iter().map(|f| (f.header.first_lsn, f.after.lsn)).collect();
        assert_eq!(lsns, [(5, 6), (7, 7), (8, 10), (11, 10)]);
        assert_eq!(scan.stop, Stop::Clean);
    }

    #[test]
    fn a_damaged_frame_stops_the_scan_and_a_later_header_is_its_witness() {
        let (bytes, starts) = segment();
        for (index, &start) in starts.iter().enumerate().take(3) {
            for at in [start, start + 20, start + HEADER_LEN_BYTES] {
                let mut bad = bytes.clone();
                bad[at] ^= 4;
                let scan = scan(&bad, &segment_header());
                assert_eq!(scan.frames.len(), index);
                let Stop::Bad { offset, .. } = scan.stop else { panic!("{:?}", scan.stop) };
                assert_eq!(offset / ALIGN, start / ALIGN);
                let lost = scan.end(&segment_header()).lsn + 1;
                assert_eq!(witness(&bad, SALT, offset + ALIGN, lost), Some(10), "{index} {at}");
            }
        }
    }

    #[test]
    fn damage_after_the_last_frame_has_no_witness_and_padding_is_harmless() {
        let (mut bytes, starts) = segment();
        let end = starts[2] + HEADER_LEN_BYTES + 60;
        bytes[end + 100] = 1;
        assert_eq!(scan(&bytes, &segment_header()).frames.len(), 4, "padding before a frame");
        bytes[starts[3]] = 0;
        let scan = scan(&bytes, &segment_header());
        assert_eq!(scan.frames.len(), 3);
        assert!(matches!(scan.stop, Stop::Bad { .. }));
        assert_eq!(witness(&bytes, SALT, starts[3], 11), None);
    }

    #[test]
    fn every_byte_of_a_segment_may_be_hostile() {
        let (bytes, _) = segment();
        for at in BLOCK_SIZE..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] = !bad[at];
            let scan = scan(&bad, &segment_header());
            assert!(scan.frames.len() <= 4);
        }
        for len in [0, 1, BLOCK_SIZE, BLOCK_SIZE + 10] {
            assert!(scan(&bytes[..len], &segment_header()).frames.is_empty());
        }
    }
}
