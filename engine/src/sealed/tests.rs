//! What goes into a sealed file comes out of it, or is refused.

use super::*;
use gannet_storage::{Durability, MemStorage, ReadFile, Storage, Write, WriteFile};

const DATABASE: [u8; 16] = [9; 16];

fn ident() -> Ident {
    Ident { kind: FileKind::Rows, database: DATABASE, number: 4, lsn: 17 }
}

fn sections() -> Vec<(u32, Vec<u8>)> {
    let bytes = |len: usize| (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
    vec![(1, bytes(200_000)), (2, vec![]), (3, bytes(1)), (4, bytes(65_536)), (5, vec![])]
}

fn write(storage: &MemStorage) -> FileRef {
    let sections = sections();
    let lens: Vec<_> = sections.iter().map(|(id, bytes)| (*id, bytes.len() as u64)).collect();
    let mut writer = SealedWriter::create(storage, ident(), &lens).unwrap();
    for (_, bytes) in &sections {
        for piece in bytes.chunks(777) {
            writer.write(piece).unwrap();
        }
    }
    writer.finish().unwrap()
}

#[test]
fn sections_come_back_whole_and_in_ranges() {
    let storage = MemStorage::new();
    let file = write(&storage);
    let reader = SealedReader::open(&storage, FileKind::Rows, DATABASE, &file).unwrap();
    for (id, bytes) in sections() {
        assert_eq!(&reader.read(id).unwrap()[..], bytes, "section {id}");
    }
    let part = reader.read_range(1, 65_000..140_000).unwrap();
    assert_eq!(&part[..], &sections()[0].1[65_000..140_000]);
    assert!(reader.read_range(1, 0..200_001).is_err());
    assert!(reader.read(99).is_err());
    assert_eq!(reader.lsn(), 17);
    assert_eq!(reader.verify().unwrap(), 4096 + 4 * 6 + 200_000 + 1 + 65_536);
    assert_eq!(storage.list().unwrap()[0].len_bytes, file.len_bytes);
}

#[test]
fn another_file_database_or_kind_is_refused() {
    let storage = MemStorage::new();
    let file = write(&storage);
    let open = |kind, database, file: &FileRef| {
        SealedReader::open(&storage, kind, database, file).map(drop).is_ok()
    };
    assert!(open(FileKind::Rows, DATABASE, &file));
    assert!(!open(FileKind::Rows, [8; 16], &file));
    assert!(!open(FileKind::Graph, DATABASE, &file));
    assert!(!open(FileKind::Rows, DATABASE, &FileRef { number: 5, ..file }));
    assert!(!open(FileKind::Rows, DATABASE, &FileRef { header_crc: 1, ..file }));
    assert!(!open(FileKind::Rows, DATABASE, &FileRef { len_bytes: 4096, ..file }));
}

#[test]
fn a_flipped_byte_is_refused_or_is_padding() {
    let storage = MemStorage::new();
    let file = write(&storage);
    let layout = Layout::plan(
        ident(),
        &sections().iter().map(|(id, b)| (*id, b.len() as u64)).collect::<Vec<_>>(),
    );
    let covered = |at: u64| {
        at < BLOCK
            || layout.sections.iter().any(|s| (s.offset..s.offset + s.len_bytes).contains(&at))
            || (layout.table_offset..layout.table_offset + 4 * layout.units()).contains(&at)
    };
    let flip = |at: u64| {
        let handle = storage.open(&FileKind::Rows.file_name(4)).unwrap();
        let mut block = storage.alloc(BLOCK_SIZE);
        let start = at / BLOCK * BLOCK;
        handle.read_at(start, &mut block).unwrap();
        block[usize::try_from(at - start).unwrap()] ^= 1;
        handle.write_batch(&[Write { offset: start, bytes: &block }], Durability::Data).unwrap();
    };
    for at in (0..file.len_bytes).step_by(97).chain(0..600) {
        flip(at);
        let clean = SealedReader::open(&storage, FileKind::Rows, DATABASE, &file)
            .and_then(|reader| reader.verify())
            .is_ok();
        assert_eq!(clean, !covered(at), "byte {at}");
        flip(at);
    }
}

#[test]
fn names_tell_kind_and_number() {
    for kind in FileKind::ALL {
        assert_eq!(FileKind::of_name(&kind.file_name(12)), Some((kind, 12)));
    }
    for other in ["rows-1", "log-0000000001", "rows-000000000x", "root"] {
        assert_eq!(FileKind::of_name(&FileName::new(other).unwrap()), None, "{other}");
    }
}
