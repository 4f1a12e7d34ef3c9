//! Damaged segments set aside, and the log ended before them (`docs/FORMAT.md`, chapter Files set
//! aside).
//!
//! Keeps the order that makes a crash at any point harmless: every damaged or later segment is
//! copied and the copies are durable, then a segment that continues at the cut takes its place in
//! the log, then what is behind it goes, the nearest first. Until the last of them is gone a strict
//! recovery refuses: records are missing before a segment, or a segment is.

use crate::chance::Chance;
use crate::damage::{Corruption, Lsn};
use crate::log::LogPosition;
use crate::log::scan::witness;
use crate::log::segment::{SegmentHeader, file_name};
use gannet_storage::{
    BLOCK_SIZE, Durability, Error, ErrorKind, FileName, ReadFile, SealedFile, Storage, Write,
    WriteFile, publish,
};
use std::ops::Range;

const STEP_LEN_BYTES: u64 = 1 << 20;
/// Names of files while they are being made.
const TEMP_COPY: &str = "bad.tmp";
const TEMP_SEGMENT: &str = "log.tmp";

/// Damage at which the log is ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) corruption: Corruption,
    /// The last record that anything in `files` tells of; 0 for nothing.
    pub(crate) lost_upto: Lsn,
    /// Numbers of the segment with the damage and of those behind it, as far as they are there.
    pub(crate) files: Range<u64>,
}

/// The last record that anything in these segments tells of: headers of segments and frames whose
/// checksums match, wherever they stand.
///
/// # Errors
/// The storage's; a segment that is missing is none.
pub(crate) fn last_known<S: Storage>(storage: &S, files: Range<u64>) -> Result<Lsn, Error> {
    let mut known = 0;
    for number in files {
        let Some(file) = open(storage, &file_name(number))? else { continue };
        if file.len_bytes() < BLOCK_SIZE as u64 {
            continue;
        }
        let block = file.view(0..BLOCK_SIZE as u64)?;
        if let Ok(header) = SegmentHeader::decode(&block) {
            known = known.max(header.prev.lsn);
        }
        // A frame whose checksum matches under it proves the salt, whatever else is damaged.
        if let Some(salt) = SegmentHeader::salt_in(&block) {
            let end = usize::try_from(file.len_bytes()).expect("a segment fits memory");
            let said = witness(&file, salt, BLOCK_SIZE, end)?;
            known = known.max(said.last_lsn).max(said.durable_upto);
        }
    }
    Ok(known)
}

/// `None` for one that is missing.
fn open<S: Storage>(storage: &S, name: &FileName) -> Result<Option<S::Sealed>, Error> {
    match storage.open_sealed(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Copies the files of a cut, then makes segment `number` one that continues at `end`, with no
/// frame in it, then removes those behind it. Returns the names of the copies.
///
/// # Errors
/// The storage's: the log is then damaged as before, and so it is recognised.
pub(crate) fn end_log<S: Storage>(
    storage: &S,
    database: [u8; 16],
    cut: &Cut,
    (number, end): (u64, LogPosition),
    chance: &dyn Chance,
) -> Result<Vec<String>, Error> {
    let mut copies = Vec::new();
    for number in cut.files.clone() {
        if let Some(file) = open(storage, &file_name(number))? {
            copies.push(copy(storage, number, &file)?);
        }
    }
    let header = SegmentHeader { database, number, salt: chance.next_u64(), prev: end };
    let mut block = storage.alloc(BLOCK_SIZE);
    header.encode(&mut block);
    let temp = FileName::new(TEMP_SEGMENT).expect("a valid name");
    publish(storage, &temp, &file_name(number), BLOCK_SIZE as u64, |file| {
        file.write_batch(&[Write { offset: 0, bytes: &block }], Durability::Data)
    })?;
    for behind in number + 1..cut.files.end {
        match storage.remove(&file_name(behind)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The nearest is gone before any other: what is left does not join the log.
        storage.sync_dir()?;
    }
    Ok(copies)
}

/// Copies a segment under the first free name, unless one with the same bytes is there.
fn copy<S: Storage>(storage: &S, number: u64, file: &S::Sealed) -> Result<String, Error> {
    let mut turn = 0_u32;
    loop {
        let name = FileName::new(&format!("bad-{number:010}-{turn}")).expect("a valid name");
        let there = match open(storage, &name) {
            Err(error) if error.kind() == ErrorKind::BadLength => Some(false),
            opened => opened?.map(|other| is_same(file, &other)).transpose()?,
        };
        match there {
            Some(true) => {
                // The name may be an earlier process's, and not be durable.
                storage.sync_dir()?;
                return Ok(name.to_string());
            }
            Some(false) => turn += 1,
            None => {
                let temp = FileName::new(TEMP_COPY).expect("a valid name");
                publish(storage, &temp, &name, file.len_bytes(), |to| {
                    copy_bytes(storage, file, to)
                })?;
                return Ok(name.to_string());
            }
        }
    }
}

fn steps(len_bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let step = usize::try_from(STEP_LEN_BYTES).expect("1 MiB");
    (0..len_bytes).step_by(step).map(move |at| at..(at + STEP_LEN_BYTES).min(len_bytes))
}

fn is_same<F: SealedFile>(a: &F, b: &F) -> Result<bool, Error> {
    if a.len_bytes() != b.len_bytes() {
        return Ok(false);
    }
    for range in steps(a.len_bytes()) {
        if a.view(range.clone())?[..] != b.view(range)?[..] {
            return Ok(false);
        }
    }
    Ok(true)
}

fn copy_bytes<S: Storage>(storage: &S, from: &S::Sealed, to: &S::File) -> Result<(), Error> {
    for range in steps(from.len_bytes()) {
        let view = from.view(range.clone())?;
        let mut buf = storage.alloc(view.len());
        buf.copy_from_slice(&view);
        to.write_batch(&[Write { offset: range.start, bytes: &buf }], Durability::Deferred)?;
    }
    Ok(())
}
