//! Memtables and tables read as one, beside a map of all versions.

use super::handle::{Table, TableEntry};
use super::levels::Levels;
use super::write::{Writing, Written};
use super::*;
use crate::damage::Lsn;
use crate::memtable::{Horizons, Memtable, NewVersion};
use crate::table::{
    BlockCache, Compression, Direction, KeyHash, TableFiles, TableReader, TableSettings, Which,
};
use gannet_storage::{MemStorage, Storage};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

type Sealed = <MemStorage as Storage>::Sealed;
type Versions = BTreeMap<(Vec<u8>, Reverse<Lsn>), Option<Vec<u8>>>;
type Sources<'b> = Vec<Box<dyn Cursor + 'b>>;

const DATABASE: [u8; 16] = [3; 16];
const SETTINGS: TableSettings =
    TableSettings { block_bytes: 256, compression: Compression::Lz4, bloom_bits: 10 };
const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

/// A memtable over three tables, which have the versions in turns of a hundred records.
struct Bed {
    memtable: Arc<Memtable>,
    tables: Vec<Arc<Table<Sealed>>>,
    versions: Versions,
    storage: MemStorage,
    blocks: Arc<BlockCache>,
}

impl Bed {
    fn new(horizons: &Horizons) -> Self {
        let mut bed = Self {
            memtable: Arc::default(),
            tables: Vec::new(),
            versions: Versions::new(),
            storage: MemStorage::new(),
            blocks: Arc::new(BlockCache::new(1 << 14)),
        };
        let mut random = 1_u32;
        for lsn in 1..=400 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = format!("key {:03}", random >> 16 & 63).into_bytes();
            let value = (random >> 9 & 3 > 0).then(|| vec![7; (random >> 11) as usize & 7]);
            bed.memtable.insert(NewVersion { key: &key, lsn, value: value.as_deref() }, || {
                horizons.clone()
            });
            bed.versions.insert((key, Reverse(lsn)), value);
            if lsn % 100 == 0 && lsn < 400 {
                bed.flush(lsn / 100);
            }
        }
        bed
    }

    /// Writes a table of the memtable, and begins another one.
    fn flush(&mut self, number: u64) {
        let memtable = std::mem::take(&mut self.memtable);
        let first = memtable.lsns().unwrap().0;
        let table = self.write(number, first, SortedMemtable::new(&memtable)).unwrap();
        self.tables.push(table);
    }

    /// `None` if there is nothing to write.
    fn write(
        &self,
        number: u64,
        first_lsn: Lsn,
        cursor: impl Cursor,
    ) -> Option<Arc<Table<Sealed>>> {
        let mut tables = self.write_cut(number, first_lsn, u64::MAX, cursor);
        assert!(tables.len() < 2);
        tables.pop()
    }

    /// In tables of so many bytes.
    fn write_cut(
        &self,
        number: u64,
        first_lsn: Lsn,
        table_bytes: u64,
        cursor: impl Cursor,
    ) -> Vec<Arc<Table<Sealed>>> {
        let next = Cell::new(number);
        let writing = Writing {
            storage: &self.storage,
            database: DATABASE,
            settings: SETTINGS,
            table_bytes,
            first_lsn,
            next_number: &|| next.replace(next.get() + 1),
            goes_on: &|| true,
        };
        let Written::Tables(tables) = writing.write(cursor).unwrap() else {
            panic!("nobody wants it ended");
        };
        tables.into_iter().map(|entry| Arc::new(Table::new(entry))).collect()
    }

    fn sources(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        which: Which,
        direction: Direction,
    ) -> Sources<'_> {
        let mut all: Sources<'_> = match which {
            Which::All => vec![Box::new(SortedMemtable::new(&self.memtable))],
            Which::UpTo(upto) => {
                let memtable = Arc::clone(&self.memtable);
                vec![Box::new(MemtableCursor::new(memtable, bounds, upto, direction))]
            }
        };
        for table in &self.tables {
            let cursor = TableCursor::new(self.open(table), bounds, which, direction);
            all.push(Box::new(cursor.unwrap()));
        }
        all
    }

    fn files(&self) -> TableFiles<'_, MemStorage> {
        TableFiles { storage: &self.storage, database: DATABASE, blocks: &self.blocks }
    }

    fn open(&self, table: &Table<Sealed>) -> Arc<TableReader<Sealed>> {
        Arc::clone(table.reader(self.files()).unwrap())
    }
}

fn read(mut cursor: impl Cursor) -> Vec<(Vec<u8>, Lsn, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    while let Some(Entry { key, lsn, value }) = cursor.entry() {
        all.push((key.to_vec(), lsn, value.map(<[u8]>::to_vec)));
        cursor.advance().unwrap();
    }
    all
}

/// What a reader up to a record sees, deleted keys included.
fn seen(versions: &Versions, upto: Lsn) -> Vec<(Vec<u8>, Lsn, Option<Vec<u8>>)> {
    let mut seen: Vec<_> = versions
        .iter()
        .filter(|((_, lsn), _)| lsn.0 <= upto)
        .map(|((key, lsn), value)| (key.clone(), lsn.0, value.clone()))
        .collect();
    seen.dedup_by(|later, first| later.0 == first.0);
    seen
}

#[test]
fn each_reader_sees_the_newest_versions_up_to_his_record_either_way() {
    let horizons = [30, 99, 100, 101, 250, 400];
    let bed = Bed::new(&Horizons::new(horizons.to_vec()));
    for upto in horizons {
        let expected = seen(&bed.versions, upto);
        for direction in [Direction::Forward, Direction::Backward] {
            let which = Which::UpTo(upto);
            let sources = bed.sources(ALL, which, direction);
            let mut found = read(Merged::new(sources, which, direction).unwrap());
            if direction == Direction::Backward {
                found.reverse();
            }
            assert!(found == expected, "up to {upto}, {direction:?}");
        }
    }
    let bounds = (Bound::Included(&b"key 010"[..]), Bound::Excluded(&b"key 020"[..]));
    let which = Which::UpTo(400);
    let sources = bed.sources(bounds, which, Direction::Backward);
    let mut found = read(Merged::new(sources, which, Direction::Backward).unwrap());
    found.reverse();
    let mut expected = seen(&bed.versions, 400);
    expected.retain(|(key, ..)| (&b"key 010"[..]..&b"key 020"[..]).contains(&&key[..]));
    assert!(found == expected);
}

#[test]
fn what_is_written_anew_is_seen_as_before_and_nothing_else_is_kept() {
    let wide = Horizons::new(1..=400);
    let bed = Bed::new(&wide);
    for lsns in [vec![400], vec![150, 400], vec![1, 120, 121, 399, 400], vec![100, 300]] {
        let horizons = Horizons::new(lsns.clone());
        for is_last in [false, true] {
            let sources = bed.sources(ALL, Which::All, Direction::Forward);
            let merged = Merged::new(sources, Which::All, Direction::Forward).unwrap();
            let retained = Retained::new(merged, horizons.clone(), is_last, None).unwrap();
            let table = bed.write(9, 1, retained).unwrap();
            let cursor =
                |which| TableCursor::new(bed.open(&table), ALL, which, Direction::Forward).unwrap();
            for upto in &lsns {
                let mut found = read(cursor(Which::UpTo(*upto)));
                let mut expected = seen(&bed.versions, *upto);
                if is_last {
                    found.retain(|(.., value)| value.is_some());
                    expected.retain(|(.., value)| value.is_some());
                }
                assert!(found == expected, "up to {upto} of {lsns:?}, last: {is_last}");
            }
            let kept = read(cursor(Which::All));
            // What is not visible at the last horizon will be.
            let last = horizons.last();
            let needed = |(key, lsn, value): &(Vec<u8>, Lsn, Option<Vec<u8>>)| {
                let is_seen =
                    |upto| seen(&bed.versions, upto).contains(&(key.clone(), *lsn, value.clone()));
                let is_newest = is_seen(400);
                let is_forgotten = is_last && value.is_none() && *lsn <= horizons.first();
                (*lsn > last || is_newest || lsns.iter().any(|upto| is_seen(*upto)))
                    && !is_forgotten
            };
            assert!(kept.iter().all(needed), "{lsns:?}, last: {is_last}");
        }
    }
}

#[test]
fn levels_have_what_their_tables_have() {
    let horizons = [30, 99, 100, 101, 250, 299, 300];
    let mut bed = Bed::new(&Horizons::new(horizons.to_vec()));
    bed.versions.retain(|(_, lsn), _| lsn.0 <= 300);
    let newest: Vec<_> = bed.tables.iter().rev().cloned().collect();
    let above = Levels { newest, sorted: Vec::new() };
    // The two older ones as one level, a table for each few keys.
    let sources: Sources<'_> = bed.tables[..2]
        .iter()
        .map(|table| {
            TableCursor::new(bed.open(table), ALL, Which::All, Direction::Forward).unwrap()
        })
        .map(|cursor| Box::new(cursor) as Box<dyn Cursor>)
        .collect();
    let merged = Merged::new(sources, Which::All, Direction::Forward).unwrap();
    let level = bed.write_cut(10, 1, 150, merged);
    assert!(level.len() > 5, "{}", level.len());
    let newest = vec![Arc::clone(&bed.tables[2])];
    let below = Levels { newest, sorted: vec![Vec::new(), level] };
    for levels in [above, below] {
        for upto in horizons {
            let expected = seen(&bed.versions, upto);
            for number in 0..70 {
                let key = format!("key {number:03}").into_bytes();
                let found = levels.get(bed.files(), (&key, KeyHash::of(&key)), upto).unwrap();
                let found = found.map(|version| (key.clone(), version.lsn, version.value));
                let there = expected.iter().find(|(other, ..)| *other == key).cloned();
                assert_eq!(found, there, "up to {upto}");
            }
            for direction in [Direction::Forward, Direction::Backward] {
                let which = Which::UpTo(upto);
                let cursors = levels.cursors(bed.files(), ALL, which, direction).unwrap();
                let mut found = read(Merged::new(cursors, which, direction).unwrap());
                if direction == Direction::Backward {
                    found.reverse();
                }
                assert!(found == expected, "up to {upto}, {direction:?}");
            }
        }
        assert_eq!(levels.tables().count(), levels.clone().tables().count());
    }
}

#[test]
fn a_table_that_is_not_what_it_was_is_refused() {
    let bed = Bed::new(&Horizons::default());
    let entry = bed.tables[0].entry().clone();
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    assert_eq!(TableEntry::decode(&mut crate::codec::Reader::new(&bytes)), Some(entry.clone()));
    for cut in 0..bytes.len() {
        assert_eq!(TableEntry::decode(&mut crate::codec::Reader::new(&bytes[..cut])), None);
    }
    let other = TableEntry { last_lsn: entry.last_lsn + 1, ..entry };
    assert!(Table::<Sealed>::new(other).reader(bed.files()).is_err());
}

#[test]
fn what_is_to_end_ends_before_it_is_begun() {
    let bed = Bed::new(&Horizons::default());
    let writing = Writing {
        storage: &bed.storage,
        database: DATABASE,
        settings: SETTINGS,
        table_bytes: u64::MAX,
        first_lsn: 1,
        next_number: &|| 50,
        goes_on: &|| false,
    };
    let sources = bed.sources(ALL, Which::All, Direction::Forward);
    let merged = Merged::new(sources, Which::All, Direction::Forward).unwrap();
    assert!(matches!(writing.write(merged), Ok(Written::Ended)));
    assert_eq!(bed.storage.list().unwrap().len(), bed.tables.len());
}
