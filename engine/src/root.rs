//! The root of a database: two slots of which the newest valid one names the manifest in force
//! (`docs/FORMAT.md`, chapter Root).
//!
//! Keeps the only bytes that are ever written in place, one block a slot, never the slot in use. A
//! torn slot is left as it is: the other one is valid.

use crate::codec::{Put, Reader};
use crate::damage::{Corruption, Damage};
use crate::error::OpenError;
use crate::limits::NUMBER_MAX;
use crate::sealed::FileRef;
use crate::settle::settle;
use gannet_storage::{
    BLOCK_SIZE, Durability, Error, ErrorKind, FileName, ReadFile, SealedFile, Storage, Write,
    WriteFile, publish,
};

const BLOCK: u64 = BLOCK_SIZE as u64;
const SLOTS: usize = 2;
const SLOT_LEN_BYTES: usize = 512;
/// Length of the file.
pub(crate) const LEN_BYTES: u64 = SLOTS as u64 * BLOCK;
const MAGIC: [u8; 8] = *b"GANNROOT";
const VERSION: u32 = 1;

/// Name of the file with the slots.
pub(crate) const FILE: &str = "root";
/// Name of it while it is being made.
pub(crate) const TEMP_FILE: &str = "root.tmp";

/// What one slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) database: [u8; 16],
    /// The slot with the highest is in force.
    pub(crate) generation: u64,
    /// `None`: no checkpoint yet, everything is in the log.
    pub(crate) manifest: Option<FileRef>,
}

/// Both slots as they were read.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    slots: [Result<Slot, Damage>; SLOTS],
}

impl Root {
    /// The valid slots with their index, the one in force first.
    pub(crate) fn newest_first(&self) -> Vec<(usize, Slot)> {
        let valid =
            |(index, slot): (usize, &Result<Slot, Damage>)| Some((index, *slot.as_ref().ok()?));
        let mut slots: Vec<_> = self.slots.iter().enumerate().filter_map(valid).collect();
        slots.sort_by_key(|(_, slot)| std::cmp::Reverse(slot.generation));
        slots
    }

    /// What is wrong with the slots that are not valid.
    pub(crate) fn damage(&self) -> impl Iterator<Item = Corruption> + '_ {
        let damaged = |(index, slot): (usize, &Result<Slot, Damage>)| {
            Some(Corruption::new(FILE, index as u64 * BLOCK, *slot.as_ref().err()?))
        };
        self.slots.iter().enumerate().filter_map(damaged)
    }
}

/// Reads the slots; `None` where there is no root.
///
/// # Errors
/// `NotADatabase` if the file is something else; `Corrupt` if no slot is valid; `NewerVersion`.
pub(crate) fn read<S: Storage>(storage: &S) -> Result<Option<Root>, OpenError> {
    let file = match settle(storage, &name(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if file.len_bytes() != SLOTS as u64 * BLOCK {
        return Err(Corruption::new(FILE, 0, Damage::Length).into());
    }
    let bytes = file.view(0..file.len_bytes())?;
    let mut slots = [Err(Damage::Magic); SLOTS];
    for (index, slot) in slots.iter_mut().enumerate() {
        *slot = match decode(&bytes[index * BLOCK_SIZE..][..SLOT_LEN_BYTES]) {
            Ok(slot) => Ok(slot),
            Err(SlotFault::Damaged(damage)) => Err(damage),
            Err(SlotFault::Newer(found)) => {
                return Err(OpenError::newer_format(FILE, found, VERSION));
            }
        };
    }
    if slots.iter().all(|slot| *slot == Err(Damage::Magic)) {
        return Err(OpenError::NotADatabase { file: FILE.to_owned() });
    }
    let root = Root { slots };
    let valid = root.newest_first();
    if valid.is_empty() || valid.iter().any(|(_, slot)| slot.database != valid[0].1.database) {
        return Err(Corruption::new(FILE, 0, Damage::Checksum).into());
    }
    Ok(Some(root))
}

/// What each slot says, by itself, as far as it can be had. Settles nothing.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn look<S: Storage>(storage: &S) -> Result<Vec<Result<Slot, OpenError>>, OpenError> {
    let file = storage.open_sealed(&name(FILE))?;
    let slot = |index: usize| {
        let start = index as u64 * BLOCK;
        if start + BLOCK > file.len_bytes() {
            return Err(Corruption::new(FILE, start, Damage::Length).into());
        }
        let block = file.view(start..start + BLOCK)?;
        decode(&block[..SLOT_LEN_BYTES]).map_err(|fault| match fault {
            SlotFault::Damaged(damage) => Corruption::new(FILE, start, damage).into(),
            SlotFault::Newer(found) => OpenError::newer_format(FILE, found, VERSION),
        })
    };
    Ok((0..SLOTS).map(slot).collect())
}

/// Makes a root with two valid slots that name no manifest.
pub(crate) fn create<S: Storage>(storage: &S, database: [u8; 16]) -> Result<Root, Error> {
    create_naming(storage, database, None)
}

/// Makes a root with two valid slots that name the same manifest.
pub(crate) fn create_naming<S: Storage>(
    storage: &S,
    database: [u8; 16],
    manifest: Option<FileRef>,
) -> Result<Root, Error> {
    let slots = first_slots(database, manifest);
    let mut bytes = storage.alloc(SLOTS * BLOCK_SIZE);
    for (block, slot) in bytes.chunks_exact_mut(BLOCK_SIZE).zip(&slots) {
        encode(slot, block);
    }
    publish(storage, &name(TEMP_FILE), &name(FILE), bytes.len() as u64, |file| {
        file.write_batch(&[Write { offset: 0, bytes: &bytes }], Durability::Data)
    })?;
    Ok(Root { slots: slots.map(Ok) })
}

fn first_slots(database: [u8; 16], manifest: Option<FileRef>) -> [Slot; SLOTS] {
    [0, 1].map(|generation| Slot { database, generation, manifest })
}

/// Reads a root that must be as [`create_naming`] made it, byte for byte; `None` if it is the valid
/// root of a database that has been written to since.
///
/// # Errors
/// As [`read`]; `Corrupt` if there is none.
pub(crate) fn read_first<S: Storage>(storage: &S) -> Result<Option<Slot>, OpenError> {
    let missing = || Corruption::new(FILE, 0, Damage::Missing);
    let root = read(storage)?.ok_or_else(missing)?;
    if let Some(damage) = root.damage().next() {
        return Err(damage.into());
    }
    let [(_, newest), ..] = root.newest_first()[..] else { return Ok(None) };
    let first = first_slots(newest.database, newest.manifest);
    if root.slots != first.map(Ok) {
        return Ok(None);
    }
    let file = storage.open_sealed(&name(FILE))?;
    let bytes = file.view(0..file.len_bytes())?;
    for (index, block) in bytes.chunks(BLOCK_SIZE).enumerate() {
        if block[SLOT_LEN_BYTES..].iter().any(|&byte| byte != 0) {
            let offset = index as u64 * BLOCK + SLOT_LEN_BYTES as u64;
            return Err(Corruption::new(FILE, offset, Damage::Field("padding")).into());
        }
    }
    Ok(Some(newest))
}

/// Opens the root to write a slot.
pub(crate) fn open<S: Storage>(storage: &S) -> Result<S::File, Error> {
    storage.open(&name(FILE))
}

/// Puts `slot` in place `index`, durably. If it fails, the slot is old, new or torn.
pub(crate) fn write<S: Storage>(
    storage: &S,
    file: &S::File,
    index: usize,
    slot: &Slot,
) -> Result<(), Error> {
    let mut block = storage.alloc(BLOCK_SIZE);
    encode(slot, &mut block);
    let level = if mutant!("slot-not-synced") { Durability::Deferred } else { Durability::Data };
    file.write_batch(&[Write { offset: index as u64 * BLOCK, bytes: &block }], level)
}

fn name(text: &str) -> FileName {
    FileName::new(text).expect("a valid name")
}

fn encode(slot: &Slot, block: &mut [u8]) {
    let mut fields = Vec::with_capacity(SLOT_LEN_BYTES);
    fields.put_u32(VERSION);
    fields.put(&slot.database);
    fields.put_u64(slot.generation);
    // Number 0 is never a file's: it stands for "no manifest".
    slot.manifest.unwrap_or(FileRef { number: 0, len_bytes: 0, header_crc: 0 }).encode(&mut fields);
    fields.resize(SLOT_LEN_BYTES - 12, 0);
    block[..8].copy_from_slice(&MAGIC);
    block[8..12].copy_from_slice(&crc32fast::hash(&fields).to_le_bytes());
    block[12..SLOT_LEN_BYTES].copy_from_slice(&fields);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotFault {
    Newer(u32),
    Damaged(Damage),
}

fn decode(bytes: &[u8]) -> Result<Slot, SlotFault> {
    let damaged = SlotFault::Damaged;
    let mut r = Reader::new(bytes);
    if r.bytes(8) != Some(&MAGIC) {
        return Err(damaged(Damage::Magic));
    }
    if r.u32() != Some(crc32fast::hash(&bytes[12..])) {
        return Err(damaged(Damage::Checksum));
    }
    let version = r.u32().ok_or(damaged(Damage::Length))?;
    if version != VERSION {
        return Err(SlotFault::Newer(version));
    }
    let database = r.array().ok_or(damaged(Damage::Length))?;
    let generation = r.u64().ok_or(damaged(Damage::Length))?;
    if generation > NUMBER_MAX {
        return Err(damaged(Damage::Field("generation")));
    }
    let manifest = FileRef::decode(&mut r).ok_or(damaged(Damage::Field("manifest")))?;
    let manifest = Some(manifest).filter(|file| file.number != 0);
    Ok(Slot { database, generation, manifest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_storage::MemStorage;

    fn manifest(number: u64) -> FileRef {
        FileRef { number, len_bytes: 8192, header_crc: 5 }
    }

    #[test]
    fn the_highest_generation_is_in_force_and_a_torn_slot_leaves_the_other() {
        let storage = MemStorage::new();
        assert!(read(&storage).unwrap().is_none());
        create(&storage, [3; 16]).unwrap();
        let newest = |storage: &MemStorage| read(storage).unwrap().unwrap().newest_first()[0];
        assert_eq!(
            newest(&storage),
            (1, Slot { database: [3; 16], generation: 1, manifest: None })
        );
        let slot = Slot { database: [3; 16], generation: 2, manifest: Some(manifest(9)) };
        write(&storage, &open(&storage).unwrap(), 0, &slot).unwrap();
        assert_eq!(newest(&storage), (0, slot));
        let file = storage.open(&name(FILE)).unwrap();
        let mut block = storage.alloc(BLOCK_SIZE);
        file.read_at(0, &mut block).unwrap();
        block[40] ^= 1;
        file.write_batch(&[Write { offset: 0, bytes: &block }], Durability::Data).unwrap();
        drop(file);
        assert_eq!(newest(&storage).0, 1);
        assert_eq!(read(&storage).unwrap().unwrap().damage().count(), 1);
    }

    #[test]
    fn absurd_generations_are_refused() {
        for (generation, good) in [(NUMBER_MAX, true), (NUMBER_MAX + 1, false), (u64::MAX, false)] {
            let mut block = vec![0; SLOT_LEN_BYTES];
            encode(&Slot { database: [0; 16], generation, manifest: None }, &mut block);
            assert_eq!(decode(&block).is_ok(), good, "{generation}");
        }
    }

    #[test]
    fn every_flipped_byte_of_a_slot_is_noticed_and_its_bytes_are_pinned() {
        let mut block = vec![0; SLOT_LEN_BYTES];
        let slot =
            Slot { database: *b"0123456789abcdef", generation: 3, manifest: Some(manifest(2)) };
        encode(&slot, &mut block);
        assert_eq!(decode(&block), Ok(slot));
        assert_eq!(crc32fast::hash(&block), 0x2121_a482, "the format has changed");
        for at in 0..SLOT_LEN_BYTES {
            block[at] ^= 0x80;
            assert!(decode(&block).is_err(), "byte {at}");
            block[at] ^= 0x80;
        }
    }
}
