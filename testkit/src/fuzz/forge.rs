//! The formats of `docs/FORMAT.md`, written a second time: checksums that match whatever they
//! cover.
//!
//! Nothing here is shared with the engine, so that a mistake of one is not one of both. What is
//! taken apart was written by the engine; what is put together is an input's affair.

use crate::fault::{FaultStorage, Faults};
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, FileName, MemStorage, ReadFile, Storage, Write, WriteFile,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes under one checksum of a sealed file.
const UNIT: usize = 64 << 10;
/// Where the sections stand in its header.
const SECTIONS_AT: usize = 76;
const SECTION_LEN: usize = 24;
/// Length of a reference to a sealed file.
pub(super) const REFERENCE_LEN: usize = 20;
/// Where a slot of the root names a manifest.
pub(super) const MANIFEST_AT: usize = 40;
pub(super) const SLOT_LEN: usize = 512;

/// A storage whose files can be looked at when the database is gone.
pub(super) type Shared = FaultStorage<MemStorage>;

pub(super) fn shared(storage: &Arc<MemStorage>) -> Shared {
    FaultStorage::over(Arc::clone(storage), Faults::default())
}

/// The files of a storage.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Files(pub(super) BTreeMap<FileName, Vec<u8>>);

impl Files {
    pub(super) fn of(storage: &MemStorage) -> Self {
        let mut files = Self::default();
        for meta in storage.list().expect("listed") {
            let file = storage.open_sealed(&meta.name).expect("it is there");
            let mut bytes = AlignedBuf::zeroed(usize::try_from(meta.len_bytes).expect("small"));
            file.read_at(0, &mut bytes).expect("read");
            files.0.insert(meta.name, bytes.to_vec());
        }
        files
    }

    /// What is left in a storage by `work` and the end of the database that it is done with.
    pub(super) fn left_by(work: impl FnOnce(Shared)) -> Self {
        let storage = Arc::new(MemStorage::new());
        work(shared(&storage));
        Self::of(&storage)
    }

    /// A storage with these files, each filled up to whole blocks.
    pub(super) fn storage(&self) -> MemStorage {
        let storage = MemStorage::new();
        for (name, bytes) in &self.0 {
            let mut block = AlignedBuf::zeroed(bytes.len().next_multiple_of(BLOCK_SIZE));
            block[..bytes.len()].copy_from_slice(bytes);
            let file = storage.create(name, block.len() as u64).expect("made");
            let writes = [Write { offset: 0, bytes: &block }];
            file.write_batch(&writes, Durability::Data).expect("written");
        }
        storage
    }
}

pub(super) fn crc(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

pub(super) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the field is there"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the field is there"))
}

fn usize_at(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u64_at(bytes, at)).expect("a length in memory")
}

/// A sealed file, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    /// As it was written; lengths, places and checksums are put in anew.
    header: Vec<u8>,
    pub(super) sections: Vec<Vec<u8>>,
}

impl Sealed {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let section = |index: usize| {
            let at = SECTIONS_AT + index * SECTION_LEN;
            let (start, len) = (usize_at(bytes, at + 8), usize_at(bytes, at + 16));
            bytes[start..start + len].to_vec()
        };
        let sections = (0..u32_at(bytes, 72) as usize).map(section).collect();
        Self { header: bytes[..BLOCK_SIZE].to_vec(), sections }
    }

    /// The file. `change` has the last word about its header but for the checksum.
    pub(super) fn bytes(&self, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let number = self.header[36..44].to_vec();
        let (mut bytes, mut table) = (self.header.clone(), Vec::new());
        for (index, section) in self.sections.iter().enumerate() {
            let at = SECTIONS_AT + index * SECTION_LEN;
            let place = (bytes.len() as u64).to_le_bytes();
            put(&mut bytes, at + 8, &place);
            put(&mut bytes, at + 16, &(section.len() as u64).to_le_bytes());
            let id = bytes[at..at + 4].to_vec();
            for (unit, part) in (0_u64..).zip(section.chunks(UNIT)) {
                let sum = crc(&[&number, &id, &unit.to_le_bytes(), part]);
                table.extend(sum.to_le_bytes());
            }
            bytes.extend(section);
            bytes.resize(bytes.len().next_multiple_of(BLOCK_SIZE), 0);
        }
        let place = (bytes.len() as u64).to_le_bytes();
        put(&mut bytes, 60, &place);
        put(&mut bytes, 68, &crc(&[&table]).to_le_bytes());
        bytes.extend(table);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_SIZE), 0);
        let len = (bytes.len() as u64).to_le_bytes();
        put(&mut bytes, 52, &len);
        change(&mut bytes[12..BLOCK_SIZE]);
        let sum = crc(&[&bytes[12..BLOCK_SIZE]]);
        put(&mut bytes, 8, &sum.to_le_bytes());
        bytes
    }
}

/// What names a sealed file from outside; its number is that of its name.
pub(super) fn reference(name: &FileName, bytes: &[u8]) -> [u8; REFERENCE_LEN] {
    let (_, digits) = name.as_str().split_once('-').expect("the name of a sealed file");
    let number: u64 = digits.parse().expect("a number");
    let mut reference = [0; REFERENCE_LEN];
    put(&mut reference, 0, &number.to_le_bytes());
    put(&mut reference, 8, &(bytes.len() as u64).to_le_bytes());
    put(&mut reference, 16, &bytes[8..12]);
    reference
}

/// Makes the checksum of a slot of the root match.
pub(super) fn mend_slot(slot: &mut [u8]) {
    let sum = crc(&[&slot[12..SLOT_LEN]]);
    put(slot, 8, &sum.to_le_bytes());
}

/// Makes both checksums of the image of a graph match, or of a patch upon one, if it is long enough
/// to have them.
pub(super) fn mend_image(image: &mut [u8]) {
    const HEADER_LEN: usize = 128;
    if image.len() < HEADER_LEN {
        return;
    }
    let sum = crc(&[&image[HEADER_LEN..]]);
    put(image, 56, &sum.to_le_bytes());
    let sum = crc(&[&image[..HEADER_LEN - 4]]);
    put(image, HEADER_LEN - 4, &sum.to_le_bytes());
}

/// Makes the checksums of the blocks of a table match, as far as its index says where they are.
pub(super) fn mend_blocks(number: u64, table: &mut Sealed) {
    const BLOCKS_AT: usize = 40;
    let [blocks, index, _, footer] = &mut table.sections[..] else { return };
    if footer.len() < BLOCKS_AT + 4 {
        return;
    }
    let count = u32_at(footer, BLOCKS_AT) as usize;
    if count > index.len() / 16 {
        return;
    }
    let mut start = 0;
    for block in 0..count {
        let Ok(end) = usize::try_from(u64_at(index, 8 * (count + block))) else { return };
        if end > blocks.len() || end < start + 5 {
            return;
        }
        let bytes = &mut blocks[start..end];
        let (payload, trailer) = bytes.split_at_mut(end - start - 5);
        let place = (start as u64).to_le_bytes();
        let sum = crc(&[&number.to_le_bytes(), &place, &trailer[..1], payload]);
        put(trailer, 1, &sum.to_le_bytes());
        start = end;
    }
}

/// Header of a frame.
pub(super) const FRAME_LEN: usize = 64;

/// Where the frames of a segment are that the engine wrote: the offset of each, and its length with
/// its header.
pub(super) fn frames(segment: &[u8]) -> Vec<(usize, usize)> {
    let mut frames = Vec::new();
    let mut at = BLOCK_SIZE;
    while at + FRAME_LEN <= segment.len() {
        if segment[at..].starts_with(b"GFRM") {
            let len = FRAME_LEN + u32_at(segment, at + 32) as usize;
            frames.push((at, len));
            at = (at + len).next_multiple_of(8);
        } else {
            at = (at + 1).next_multiple_of(BLOCK_SIZE);
        }
    }
    frames
}

/// Makes the checksums of a segment match, with its frames where they were; returns the chain value
/// after the last one.
pub(super) fn mend_segment(segment: &mut [u8], frames: &[(usize, usize)], prev_chain: u32) -> u32 {
    let mut chain = prev_chain;
    put(segment, 64, &chain.to_le_bytes());
    let sum = crc(&[&segment[12..512]]);
    put(segment, 8, &sum.to_le_bytes());
    let salt = segment[40..48].to_vec();
    for &(at, _) in frames {
        let frame = &mut segment[at..];
        let len = (u32_at(frame, 32) as usize).min(frame.len() - FRAME_LEN);
        let body = crc(&[&salt, &frame[16..24], &frame[FRAME_LEN..FRAME_LEN + len]]);
        put(frame, 40, &body.to_le_bytes());
        put(frame, 44, &chain.to_le_bytes());
        let header = crc(&[&salt, &frame[8..FRAME_LEN]]);
        put(frame, 4, &header.to_le_bytes());
        chain = crc(&[&chain.to_le_bytes(), &header.to_le_bytes(), &body.to_le_bytes()]);
    }
    chain
}
