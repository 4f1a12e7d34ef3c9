//! Tables written and read back, whole and damaged.

use super::*;
use crate::error::OpenError;
use crate::sealed::{FileKind, FileRef, Ident, SealedWriter};
use gannet_storage::{
    BLOCK_SIZE, Durability, MemStorage, ReadFile, SealedFile, Storage, Write, WriteFile,
};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

const DATABASE: [u8; 16] = [9; 16];

/// Versions of keys, in order.
type Versions = BTreeMap<(Vec<u8>, Reverse<Lsn>), Option<Vec<u8>>>;

/// All that are compiled in.
fn compressions() -> Vec<Compression> {
    vec![
        Compression::None,
        Compression::Lz4,
        #[cfg(feature = "zstd")]
        Compression::Zstd,
    ]
}

fn settings(compression: Compression, bloom_bits: u8) -> TableSettings {
    TableSettings { block_bytes: 512, compression, bloom_bits }
}

fn versions(count: u32) -> Versions {
    let mut random = 5_u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random >> 12
    };
    let mut all = Versions::new();
    for lsn in 100..100 + count {
        // A few keys have versions for more than a block.
        let number = if next().is_multiple_of(5) { next() % 3 } else { next() % 5000 };
        let key = format!("key {number:06}").into_bytes();
        let value = (!next().is_multiple_of(6)).then(|| {
            let [byte, ..] = next().to_le_bytes();
            (0..next() % 60)
                .map(|at| if at % 2 == 0 { byte } else { next().to_le_bytes()[1] })
                .collect()
        });
        all.insert((key, Reverse(lsn.into())), value);
    }
    all
}

fn write(
    storage: &MemStorage,
    number: u64,
    settings: TableSettings,
    versions: &Versions,
) -> FileRef {
    let mut writer = TableWriter::create(storage, (DATABASE, number), settings, 100).unwrap();
    for ((key, lsn), value) in versions {
        writer.push(&Entry { key, lsn: lsn.0, value: value.as_deref() }).unwrap();
    }
    writer.finish().unwrap().0
}

fn open(
    storage: &MemStorage,
    file: &FileRef,
) -> Result<TableReader<<MemStorage as Storage>::Sealed>, OpenError> {
    let blocks = &Arc::new(BlockCache::new(1 << 16));
    TableReader::open(TableFiles { storage, database: DATABASE, blocks }, file)
}

fn newest<'v>(versions: &'v Versions, key: &[u8], upto: Lsn) -> Option<(Lsn, &'v Option<Vec<u8>>)> {
    let (found, value) = versions.range((key.to_vec(), Reverse(upto))..).next()?;
    (found.0 == key).then_some((found.1.0, value))
}

#[test]
fn every_version_is_found_and_nothing_else() {
    for (compression, bits) in
        [(Compression::None, 10), (Compression::Lz4, 10), (Compression::Lz4, 0)]
    {
        let storage = MemStorage::new();
        for (number, count) in [(1, 1), (2, 20), (3, 3000)] {
            let versions = versions(count);
            let file = write(&storage, number, settings(compression, bits), &versions);
            let table = open(&storage, &file).unwrap();
            let footer = table.footer();
            assert_eq!(footer.entries, versions.len() as u64);
            assert_eq!(
                footer.deletes,
                versions.values().filter(|value| value.is_none()).count() as u64
            );
            assert_eq!(footer.first_key, versions.keys().next().unwrap().0);
            assert_eq!(footer.last_key, versions.keys().next_back().unwrap().0);
            let others = (0..200).map(|number| format!("key {number:06}{number}").into_bytes());
            let keys = versions.keys().map(|(key, _)| key.clone()).chain(others);
            let bounds = [b"".to_vec(), b"key".to_vec(), b"z".to_vec()];
            for key in keys.chain(bounds) {
                for upto in [99, 100, 500, 1500, 2999, Lsn::MAX] {
                    let found = table.get(&key, KeyHash::of(&key), upto).unwrap();
                    let found = found.map(|version| (version.lsn, version.value));
                    let expected = newest(&versions, &key, upto);
                    assert_eq!(found, expected.map(|(lsn, value)| (lsn, value.clone())), "{key:?}");
                }
            }
        }
    }
}

fn read_all(
    table: &Arc<TableReader<<MemStorage as Storage>::Sealed>>,
    bounds: (Bound<&[u8]>, Bound<&[u8]>),
    which: Which,
    direction: Direction,
) -> Vec<(Vec<u8>, Lsn, Option<Vec<u8>>)> {
    let mut cursor = TableCursor::new(Arc::clone(table), bounds, which, direction).unwrap();
    let mut all = Vec::new();
    while let Some(Entry { key, lsn, value }) = cursor.entry() {
        all.push((key.to_vec(), lsn, value.map(<[u8]>::to_vec)));
        cursor.advance().unwrap();
    }
    all
}

#[test]
fn versions_are_read_in_order_either_way() {
    let storage = MemStorage::new();
    for (number, count) in [(1, 1), (2, 40), (3, 2500)] {
        let versions = versions(count);
        let file = write(&storage, number, settings(Compression::Lz4, 10), &versions);
        let table = Arc::new(open(&storage, &file).unwrap());
        let key = |number: u32| format!("key {number:06}").into_bytes();
        for (from, to) in [
            (Bound::Unbounded, Bound::Unbounded),
            (Bound::Included(key(1)), Bound::Included(key(1))),
            (Bound::Included(key(2)), Bound::Excluded(key(2))),
            (Bound::Excluded(key(0)), Bound::Included(key(2))),
            (Bound::Excluded(key(2)), Bound::Unbounded),
            (Bound::Included(key(1000)), Bound::Excluded(key(4000))),
            (Bound::Unbounded, Bound::Excluded(key(2))),
            (Bound::Included(b"z".to_vec()), Bound::Unbounded),
            (Bound::Unbounded, Bound::Included(b"a".to_vec())),
        ] {
            let range = (from.clone(), to.clone());
            let all: Vec<_> = versions
                .iter()
                .filter(|((key, _), _)| std::ops::RangeBounds::contains(&range, key))
                .map(|((key, lsn), value)| (key.clone(), lsn.0, value.clone()))
                .collect();
            let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
            let read = |which, direction| read_all(&table, bounds, which, direction);
            let check = |which, expected: &[_]| {
                // Without the values in the message.
                assert!(read(which, Direction::Forward) == expected, "{which:?} {range:?}");
                let mut backward = read(which, Direction::Backward);
                backward.reverse();
                assert!(backward == expected, "{which:?} {range:?} backward");
            };
            check(Which::All, &all);
            for upto in [99, 100, 700, 1500, Lsn::MAX] {
                let mut seen: Vec<_> =
                    all.iter().filter(|(_, lsn, _)| *lsn <= upto).cloned().collect();
                seen.dedup_by(|later, first| later.0 == first.0);
                check(Which::UpTo(upto), &seen);
            }
        }
    }
}

/// Writes a file again with a byte changed.
fn flip(storage: &MemStorage, file: &FileRef, at: usize) {
    let name = FileKind::Table.file_name(file.number);
    let sealed = storage.open_sealed(&name).unwrap();
    let mut bytes = storage.alloc(usize::try_from(sealed.len_bytes()).unwrap());
    bytes.copy_from_slice(&sealed.view(0..sealed.len_bytes()).unwrap());
    drop(sealed);
    bytes[at] ^= 0x41;
    storage.remove(&name).unwrap();
    let writer = storage.create(&name, bytes.len() as u64).unwrap();
    writer.write_batch(&[Write { offset: 0, bytes: &bytes }], Durability::Full).unwrap();
    drop(storage.seal(writer).unwrap());
}

#[test]
fn of_a_table_with_a_byte_changed_nothing_wrong_is_read() {
    let storage = MemStorage::new();
    let versions = versions(60);
    for compression in compressions() {
        let file = write(&storage, 7, settings(compression, 10), &versions);
        let mut refused = 0;
        for at in 0..usize::try_from(file.len_bytes).unwrap() {
            if at % BLOCK_SIZE > 1400 {
                // Zeroes that fill up blocks: `check_padding` looks at them.
                continue;
            }
            flip(&storage, &file, at);
            let read = || -> Result<(), OpenError> {
                let table = open(&storage, &file)?;
                for (key, lsn) in versions.keys() {
                    let found = table.get(key, KeyHash::of(key), lsn.0)?.expect("it is there");
                    assert_eq!(
                        (found.lsn, &found.value),
                        (lsn.0, &versions[&(key.clone(), *lsn)]),
                        "{at}"
                    );
                }
                Ok(())
            };
            refused += u32::from(read().is_err());
            flip(&storage, &file, at);
        }
        assert!(refused > 1000, "{refused}");
    }
}

#[test]
fn no_room_is_made_for_more_blocks_than_the_index_has() {
    let storage = MemStorage::new();
    let ident = Ident { kind: FileKind::Table, database: DATABASE, number: 1, lsn: 1 };
    let footer = Footer { entries: u64::MAX, blocks: u32::MAX, ..Footer::default() }.encode();
    let sections = [(INDEX, 20), (FOOTER, footer.len() as u64)];
    let mut writer = SealedWriter::create(&storage, ident, &sections).unwrap();
    writer.write(&[0; 20]).unwrap();
    writer.write(&footer).unwrap();
    let file = writer.finish().unwrap();
    let Err(OpenError::Corrupt(found)) = open(&storage, &file) else { panic!("it was opened") };
    assert_eq!(found.damage, crate::damage::Damage::Field("blocks"));
}
