//! The segments that belong to the log: found, settled, and their headers believed or not.

use crate::damage::{Corruption, Damage};
use crate::error::OpenError;
use crate::limits::SEGMENT_BYTES_MAX;
use crate::log::scan::is_blank;
use crate::log::segment::{self, HeaderFault, SegmentHeader, file_name};
use crate::settle::settle;
use gannet_storage::{BLOCK_SIZE, Error as StorageError, ErrorKind, FileName, SealedFile, Storage};
use std::ops::Range;

const BLANK_STEP_BYTES: u64 = 1 << 20;

/// A segment whose header is valid.
pub(crate) struct Segment<F> {
    pub(crate) header: SegmentHeader,
    pub(crate) file: F,
}

/// The segments that belong to the log, in order, without a gap from the first.
pub(crate) struct LiveSegments<F> {
    pub(crate) segments: Vec<Segment<F>>,
    /// The file behind them that should be one and is not; there may be further ones behind it.
    pub(crate) bad: Option<Corruption>,
    /// Number after the last of them.
    pub(crate) next_number: u64,
    /// Number after the last file that is named like one.
    files_end: u64,
}

impl<F> LiveSegments<F> {
    /// Numbers from `first` to the last file that is named like a segment.
    pub(crate) fn files(&self, first: u64) -> Range<u64> {
        first..self.files_end
    }
}

/// Finds the segments from `first_number` on. The last one is settled before its header is
/// believed: the end that a dead process wrote may be in the cache alone. Those before it were
/// synced when their successor was begun.
///
/// # Errors
/// `NewerVersion`, `Storage`. Damage is in the answer.
pub(crate) fn live_segments<S: Storage>(
    storage: &S,
    database: [u8; 16],
    first_number: u64,
) -> Result<LiveSegments<S::Sealed>, OpenError> {
    let mut numbers: Vec<u64> =
        storage.list()?.iter().filter_map(|meta| segment::number_of(&meta.name)).collect();
    numbers.retain(|&number| number >= first_number);
    numbers.sort_unstable();
    let files_end = numbers.last().map_or(first_number, |last| last + 1);
    let mut live =
        LiveSegments { segments: Vec::new(), bad: None, next_number: first_number, files_end };
    // A spare is made behind its predecessor too: whatever is there begins without a gap.
    let gap = (first_number..).zip(&numbers).find(|(expected, number)| expected != *number);
    let last = if let Some((missing, _)) = gap {
        live.bad = Some(Corruption::new(file_name(missing), 0, Damage::Missing));
        Some((missing, None))
    } else {
        last_begun(storage, database, &numbers)?.map(|(number, last)| (number, Some(last)))
    };
    let Some((last_number, last)) = last else { return Ok(live) };
    for number in first_number..last_number {
        let name = file_name(number);
        let found = match storage.open_sealed(&name) {
            Ok(file) => header_in(&file, database, number).map(|header| header.zip(Some(file))),
            Err(error) => Err(not_opened(&name, error)),
        };
        // A segment with a successor had its header on the media.
        let blank = || Corruption::new(name, 0, Damage::LostRecords);
        match damage_of(found)?.and_then(|found| found.ok_or_else(blank)) {
            Ok((header, file)) => live.segments.push(Segment { header, file }),
            Err(corruption) => {
                live.bad = Some(corruption);
                return Ok(live);
            }
        }
        live.next_number = number + 1;
    }
    match last {
        Some(Ok(segment)) => {
            live.segments.push(segment);
            live.next_number = last_number + u64::from(!mutant!("last-segment-reused"));
        }
        Some(Err(corruption)) => live.bad = Some(corruption),
        None => {}
    }
    Ok(live)
}

/// The number of a segment with the segment, or with what is wrong with it.
type Judged<F> = (u64, Result<Segment<F>, Corruption>);

/// The last segment that is more than a spare.
fn last_begun<S: Storage>(
    storage: &S,
    database: [u8; 16],
    numbers: &[u64],
) -> Result<Option<Judged<S::Sealed>>, OpenError> {
    for &number in numbers.iter().rev() {
        let name = file_name(number);
        let found = match settle(storage, &name) {
            Ok(file) => header_in(&file, database, number).map(|header| header.zip(Some(file))),
            Err(error) => Err(not_opened(&name, error)),
        };
        match damage_of(found)? {
            Ok(None) => {}
            Ok(Some((header, file))) => {
                return Ok(Some((number, Ok(Segment { header, file }))));
            }
            Err(corruption) => return Ok(Some((number, Err(corruption)))),
        }
    }
    Ok(None)
}

/// Damage apart from what else keeps a file from being judged.
fn damage_of<T>(found: Result<T, OpenError>) -> Result<Result<T, Corruption>, OpenError> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(OpenError::Corrupt(corruption)) => Ok(Err(corruption)),
        Err(error) => Err(error),
    }
}

pub(crate) fn not_opened(name: &FileName, error: StorageError) -> OpenError {
    if error.kind() == ErrorKind::BadLength {
        Corruption::new(name, 0, Damage::Length).into()
    } else {
        error.into()
    }
}

/// The header of a segment; `None` for one that has no frame: a spare, or one whose header was
/// being written.
pub(crate) fn header_in<F: SealedFile>(
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
            return Err(OpenError::newer_format(file.name(), found, segment::VERSION));
        }
        Err(HeaderFault::Blank) => Damage::Magic,
        Err(HeaderFault::Damaged(damage)) => damage,
    };
    // Frames are only written behind a durable header: without one, their space is blank.
    let mut at = BLOCK_SIZE as u64;
    while at < len_bytes {
        let end = (at + BLANK_STEP_BYTES).min(len_bytes);
        if !is_blank(&file.view(at..end)?) {
            return Err(Corruption::new(file.name(), 0, damage).into());
        }
        at = end;
    }
    Ok(None)
}
