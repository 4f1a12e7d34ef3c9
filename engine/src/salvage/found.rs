//! What there is of a damaged database: whose it is, its checkpoints, its segments.
//!
//! Reads only, and settles nothing. Each slot, manifest and header speaks for itself: one that
//! cannot be had leaves the others.

use super::error::SalvageError;
use super::report::FileDamage;
use crate::damage::{Corruption, Damage};
use crate::error::{OpenError, with_causes};
use crate::log::segment::{self, HeaderFault, SegmentHeader};
use crate::manifest::Manifest;
use crate::root::{self, Slot};
use crate::sealed::{FileKind, FileRef, SealedReader};
use crate::verify::missing;
use gannet_storage::{BLOCK_SIZE, FileName, ReadFile, SealedFile, Storage};
use std::collections::{BTreeMap, BTreeSet};

/// What there is.
pub(super) struct Found {
    /// `None` where no header of any file is valid.
    pub(super) database: Option<[u8; 16]>,
    /// In order of their LSN.
    pub(super) checkpoints: Vec<Manifest>,
    /// In order of their number.
    pub(super) segments: Vec<FoundSegment>,
    /// Sealed files by name, those of another database left out.
    pub(super) sealed: BTreeSet<(FileKind, u64)>,
    pub(super) damage: Vec<FileDamage>,
    /// A checkpoint cannot be had, and may have been behind all others.
    pub(super) has_lost_checkpoint: bool,
}

/// How far a segment is known to belong to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// By its header.
    Whole,
    /// The header is damaged, but names the database.
    Named,
    /// The header is damaged: only frames that continue the log show it.
    Unknown,
    /// It is there and is not to be had.
    Lost,
}

/// A segment that frames may be had from.
pub(super) struct FoundSegment {
    pub(super) number: u64,
    pub(super) name: FileName,
    pub(super) salt: u64,
    /// `None` if the header is not valid: its salt may be.
    pub(super) header: Option<SegmentHeader>,
    pub(super) trust: Trust,
}

impl FileDamage {
    pub(super) fn new(file: impl AsRef<str>, error: &dyn std::error::Error) -> Self {
        Self { file: file.as_ref().to_owned(), reason: with_causes(error) }
    }
}

/// Looks at the root, and at the header of every file.
///
/// # Errors
/// `Source` if there is no listing, `Nothing` if no file has a name of ours.
pub(super) fn look<F: Storage>(from: &F) -> Result<Found, SalvageError> {
    let listed = from.list().map_err(SalvageError::Source)?;
    let names: Vec<FileName> = listed.into_iter().map(|meta| meta.name).collect();
    let is_ours = |name: &FileName| {
        name.as_str() == root::FILE
            || FileKind::of_name(name).is_some()
            || segment::number_of(name).is_some()
    };
    if !names.iter().any(is_ours) {
        return Err(SalvageError::Nothing);
    }
    let mut damage = Vec::new();
    let slots = slots(from, &mut damage);
    let owners = owners(from, &names);
    let database = whose(&slots, &owners);
    for (name, owner) in &owners {
        if Some(*owner) != database {
            damage.push(FileDamage::new(name, &Corruption::new(name, 0, Damage::Foreign)));
        }
    }
    let belongs = |name: &&FileName| owners.get(*name).is_none_or(|owner| Some(*owner) == database);
    let sealed: BTreeSet<_> = names.iter().filter(belongs).filter_map(FileKind::of_name).collect();
    let slots: Vec<Slot> =
        slots.into_iter().filter(|slot| Some(slot.database) == database).collect();
    let (checkpoints, is_all) = checkpoints(from, (database, &slots), &sealed, &mut damage);
    let has_lost_checkpoint = !is_all;
    let mut numbers: Vec<_> = names.iter().filter(belongs).filter_map(segment::number_of).collect();
    numbers.sort_unstable();
    let segments = numbers
        .into_iter()
        .filter_map(|number| look_at_segment(from, database, number, &mut damage));
    let segments = segments.collect();
    Ok(Found { database, checkpoints, segments, sealed, damage, has_lost_checkpoint })
}

/// The valid slots, newest first.
fn slots<F: Storage>(from: &F, damage: &mut Vec<FileDamage>) -> Vec<Slot> {
    let looked = root::look(from).unwrap_or_else(|error| vec![Err(error)]);
    let mut slots = Vec::new();
    for slot in looked {
        match slot {
            Ok(slot) => slots.push(slot),
            Err(error) => damage.push(FileDamage::new(root::FILE, &error)),
        }
    }
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.generation));
    slots
}

/// Which database each file with a valid header says it is of.
fn owners<F: Storage>(from: &F, names: &[FileName]) -> BTreeMap<FileName, [u8; 16]> {
    let owner = |name: &FileName| {
        if let Some(file) = FileKind::of_name(name) {
            let reader = SealedReader::open_damaged(from, file, None, None).ok()?;
            return Some(reader.ident().database);
        }
        segment::number_of(name)?;
        let file = from.open_sealed(name).ok()?;
        let block = file.view(0..BLOCK_SIZE as u64).ok()?;
        SegmentHeader::decode(&block).ok().map(|header| header.database)
    };
    names.iter().filter_map(|name| Some((name.clone(), owner(name)?))).collect()
}

/// The database that the root names; where it names none, or two, that of most files.
fn whose(slots: &[Slot], owners: &BTreeMap<FileName, [u8; 16]>) -> Option<[u8; 16]> {
    let named: BTreeSet<_> = slots.iter().map(|slot| slot.database).collect();
    if named.len() == 1 {
        return named.first().copied();
    }
    let mut files: BTreeMap<[u8; 16], usize> = named.iter().map(|&id| (id, 0)).collect();
    for owner in owners.values() {
        if named.is_empty() || named.contains(owner) {
            *files.entry(*owner).or_default() += 1;
        }
    }
    files.into_iter().max_by_key(|&(_, count)| count).map(|(id, _)| id)
}

/// The checkpoints that the slots name. Where a slot or what it names cannot be had, every manifest
/// that there is: each was whole and durable when it was written. Also tells which it was.
fn checkpoints<F: Storage>(
    from: &F,
    (database, slots): (Option<[u8; 16]>, &[Slot]),
    sealed: &BTreeSet<(FileKind, u64)>,
    damage: &mut Vec<FileDamage>,
) -> (Vec<Manifest>, bool) {
    let mut read = |number, expected: Option<&FileRef>| {
        let kind = FileKind::Manifest;
        let manifest = SealedReader::open_damaged(from, (kind, number), database, expected)
            .and_then(|reader| Manifest::of(&reader));
        match manifest {
            Ok(manifest) => Some(manifest),
            Err(error) => {
                damage.push(FileDamage::new(kind.file_name(number), &missing(error)));
                None
            }
        }
    };
    let mut found = BTreeMap::new();
    let mut is_all = slots.len() == 2;
    let mut tried = BTreeSet::new();
    for file in slots.iter().filter_map(|slot| slot.manifest) {
        if tried.insert(file.number) {
            let manifest = read(file.number, Some(&file));
            is_all &= manifest.is_some();
            found.extend(manifest.map(|manifest| (manifest.position.lsn, manifest)));
        }
    }
    if !is_all {
        for &(kind, number) in sealed {
            if kind == FileKind::Manifest && tried.insert(number) {
                let manifest = read(number, None);
                found.extend(manifest.map(|manifest| (manifest.position.lsn, manifest)));
            }
        }
    }
    (found.into_values().collect(), is_all)
}

/// `None` for a spare, and for one that nothing can be had from.
fn look_at_segment<F: Storage>(
    from: &F,
    database: Option<[u8; 16]>,
    number: u64,
    damage: &mut Vec<FileDamage>,
) -> Option<FoundSegment> {
    let name = segment::file_name(number);
    let lost =
        |name| Some(FoundSegment { number, name, salt: 0, header: None, trust: Trust::Lost });
    let file = match from.open_sealed(&name) {
        Ok(file) => file,
        Err(error) => {
            damage.push(FileDamage::new(&name, &missing(error.into())));
            return lost(name);
        }
    };
    if file.len_bytes() < BLOCK_SIZE as u64 {
        return None;
    }
    let block = match file.view(0..BLOCK_SIZE as u64) {
        Ok(block) => block,
        Err(error) => {
            damage.push(FileDamage::new(&name, &error));
            return lost(name);
        }
    };
    let damaged = match SegmentHeader::decode(&block) {
        Ok(header) if header.number == number => {
            let (salt, header) = (header.salt, Some(header));
            return Some(FoundSegment { number, name, salt, header, trust: Trust::Whole });
        }
        Ok(_) => Damage::Foreign,
        Err(HeaderFault::Newer(found)) => {
            let newer = OpenError::newer_format(&name, found, segment::VERSION);
            damage.push(FileDamage::new(&name, &newer));
            return lost(name);
        }
        Err(HeaderFault::Blank) if is_blank(&file) => return None,
        Err(HeaderFault::Blank) => Damage::Magic,
        Err(HeaderFault::Damaged(damage)) => damage,
    };
    damage.push(FileDamage::new(&name, &Corruption::new(&name, 0, damaged)));
    if damaged == Damage::Foreign {
        return None;
    }
    // A frame whose checksum matches under it proves the salt, whatever else is damaged.
    let salt = SegmentHeader::salt_in(&block).unwrap_or_default();
    let said = SegmentHeader::database_in(&block);
    let is_named = database.zip(said).is_none_or(|(database, said)| is_near(database, said));
    let trust = if is_named { Trust::Named } else { Trust::Unknown };
    Some(FoundSegment { number, name, salt, header: None, trust })
}

/// Whether the ids of databases differ by no more than damage: two random ones never do.
fn is_near(a: [u8; 16], b: [u8; 16]) -> bool {
    const BITS_MAX: u32 = 16;
    (u128::from_le_bytes(a) ^ u128::from_le_bytes(b)).count_ones() <= BITS_MAX
}

/// Whether a segment without a header was never written to, as far as it can be read.
fn is_blank<F: SealedFile>(file: &F) -> bool {
    const STEP_BYTES: u64 = 1 << 20;
    let mut at = 0;
    while at < file.len_bytes() {
        let end = (at + STEP_BYTES).min(file.len_bytes());
        if !file.view(at..end).is_ok_and(|bytes| bytes.iter().all(|&byte| byte == 0)) {
            return false;
        }
        at = end;
    }
    true
}
