//! The manifest: which files are the database at a checkpoint, and where the log goes on
//! (`docs/FORMAT.md`, chapter Manifest).
//!
//! Keeps names, parameters and file references. A sealed file itself, pinned by the root's slot.

use crate::codec::{Put, Reader};
use crate::damage::{Corruption, Damage};
use crate::error::OpenError;
use crate::limits::NUMBER_MAX;
use crate::log::LogPosition;
use crate::record::{decode_params, encode_params};
use crate::sealed::{FileKind, FileRef, Ident, SealedReader, SealedWriter};
use crate::tree::TableEntry;
use gannet_hnsw::Params;
use gannet_storage::{Error, SealedFile, Storage};
use std::ops::Range;

const BODY: u32 = 1;

/// The state of a database at one checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    /// The checkpoint: everything up to here is in the files.
    pub(crate) position: LogPosition,
    /// First segment that holds records behind the checkpoint.
    pub(crate) log_first: u64,
    /// Number for the next collection.
    pub(crate) next_collection: u32,
    /// Number for the next keyspace.
    pub(crate) next_keyspace: u32,
    pub(crate) collections: Vec<CollectionEntry>,
    pub(crate) keyspaces: Vec<KeyspaceEntry>,
    /// The tables of all keyspaces by level; of level 0 the newest first.
    pub(crate) tables: Vec<Vec<TableEntry>>,
}

/// A collection's files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CollectionEntry {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) params: Params,
    /// What the log will call the next row.
    pub(crate) next_row: u32,
    pub(crate) rows: Vec<RowsEntry>,
    /// The set of deleted rows, if there are any.
    pub(crate) dead: Option<FileRef>,
    /// The image of the graph, if it holds any row.
    pub(crate) graph: Option<FileRef>,
    /// What has changed in it since, in order.
    pub(crate) patches: Vec<FileRef>,
}

/// One file of rows; files follow each other without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowsEntry {
    pub(crate) file: FileRef,
    pub(crate) first_row: u32,
    pub(crate) count: u32,
}

impl RowsEntry {
    /// Its rows.
    pub(crate) fn range(&self) -> Range<u32> {
        self.first_row..self.first_row + self.count
    }
}

/// A keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyspaceEntry {
    pub(crate) id: u32,
    pub(crate) name: String,
}

impl Manifest {
    /// Before the first checkpoint: nothing, and the log from its first segment.
    pub(crate) fn empty() -> Self {
        Self {
            position: LogPosition::START,
            log_first: 1,
            next_collection: 1,
            next_keyspace: 1,
            collections: Vec::new(),
            keyspaces: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// Every file it names, itself left out.
    pub(crate) fn files(&self) -> impl Iterator<Item = (FileKind, FileRef)> + '_ {
        let of_collection = |c: &CollectionEntry| {
            let rows: Vec<_> = c.rows.iter().map(|rows| (FileKind::Rows, rows.file)).collect();
            let dead = c.dead.map(|file| (FileKind::Dead, file));
            let graph = c.graph.map(|file| (FileKind::Graph, file));
            let patches: Vec<_> = c.patches.iter().map(|file| (FileKind::Patch, *file)).collect();
            rows.into_iter().chain(dead).chain(graph).chain(patches)
        };
        let tables = self.tables.iter().flatten().map(|table| (FileKind::Table, table.file));
        self.collections.iter().flat_map(of_collection).chain(tables)
    }

    /// Writes it as a sealed file of that number; its name is durable after `sync_dir`.
    pub(crate) fn write<S: Storage>(
        &self,
        storage: &S,
        database: [u8; 16],
        number: u64,
    ) -> Result<FileRef, Error> {
        let body = self.encode();
        let lsn = self.position.lsn;
        let ident = Ident { kind: FileKind::Manifest, database, number, lsn };
        let mut writer = SealedWriter::create(storage, ident, &[(BODY, body.len() as u64)])?;
        writer.write(&body)?;
        writer.finish()
    }

    /// Reads the manifest that `file` names.
    pub(crate) fn read<S: Storage>(
        storage: &S,
        database: [u8; 16],
        file: &FileRef,
    ) -> Result<Self, OpenError> {
        Self::of(&SealedReader::open(storage, FileKind::Manifest, database, file)?)
    }

    /// The manifest in an open file.
    pub(crate) fn of<F: SealedFile>(reader: &SealedReader<F>) -> Result<Self, OpenError> {
        let body = reader.read(BODY)?;
        let mut fields = Reader::new(&body);
        let manifest = Self::decode(&mut fields)
            .filter(|manifest| fields.is_empty() && manifest.position.lsn == reader.lsn());
        manifest.ok_or_else(|| reader.damage(BODY, 0, Damage::Field("manifest")).into())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.position.lsn);
        out.put_u32(self.position.chain);
        out.put_u64(self.log_first);
        out.put_u32(self.next_collection);
        out.put_u32(self.next_keyspace);
        put_count(&mut out, self.collections.len());
        for collection in &self.collections {
            out.put_u32(collection.id);
            out.put_bytes_u16(collection.name.as_bytes());
            encode_params(&mut out, &collection.params);
            out.put_u32(collection.next_row);
            put_count(&mut out, collection.rows.len());
            for rows in &collection.rows {
                rows.file.encode(&mut out);
                out.put_u32(rows.first_row);
                out.put_u32(rows.count);
            }
            put_file(&mut out, collection.dead);
            put_file(&mut out, collection.graph);
            put_count(&mut out, collection.patches.len());
            for patch in &collection.patches {
                patch.encode(&mut out);
            }
        }
        put_count(&mut out, self.keyspaces.len());
        for keyspace in &self.keyspaces {
            out.put_u32(keyspace.id);
            out.put_bytes_u16(keyspace.name.as_bytes());
            put_file(&mut out, None);
        }
        self.encode_tables(&mut out);
        out
    }

    fn encode_tables(&self, out: &mut Vec<u8>) {
        put_count(out, self.tables.len());
        for level in &self.tables {
            put_count(out, level.len());
            for table in level {
                table.encode(out);
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let position = LogPosition { lsn: r.u64()?, chain: r.u32()? };
        let log_first = r.u64()?;
        if position.lsn > NUMBER_MAX || !(1..=NUMBER_MAX).contains(&log_first) {
            return None;
        }
        let (next_collection, next_keyspace) = (r.u32()?, r.u32()?);
        let mut collections = Vec::new();
        for _ in 0..r.u32()? {
            collections.push(Self::decode_collection(r).filter(|c| c.id < next_collection)?);
        }
        let mut keyspaces = Vec::new();
        for _ in 0..r.u32()? {
            let (id, name) = (r.u32()?, r.text_u16()?.to_owned());
            // A table of its own, as it was before there were levels, is read no more.
            file(r).ok().filter(Option::is_none)?;
            keyspaces.push(Some(KeyspaceEntry { id, name }).filter(|k| k.id < next_keyspace)?);
        }
        let mut tables = Vec::new();
        let levels = if r.is_empty() { 0 } else { r.u32()? };
        for _ in 0..levels {
            let mut level = Vec::new();
            for _ in 0..r.u32()? {
                let table = TableEntry::decode(r).filter(|t| t.last_lsn <= position.lsn)?;
                level.push(table);
            }
            tables.push(level);
        }
        let sorted = collections.is_sorted_by(|a, b| a.id < b.id)
            && keyspaces.is_sorted_by(|a, b| a.id < b.id);
        sorted.then_some(Self {
            position,
            log_first,
            next_collection,
            next_keyspace,
            collections,
            keyspaces,
            tables,
        })
    }

    fn decode_collection(r: &mut Reader<'_>) -> Option<CollectionEntry> {
        let id = r.u32()?;
        let name = r.text_u16()?.to_owned();
        let params = decode_params(r)?;
        let next_row = r.u32()?;
        let mut rows: Vec<RowsEntry> = Vec::new();
        let mut row_count = 0_u32;
        for _ in 0..r.u32()? {
            let entry =
                RowsEntry { file: FileRef::decode(r)?, first_row: r.u32()?, count: r.u32()? };
            if entry.first_row != row_count || entry.count == 0 {
                return None;
            }
            row_count = row_count.checked_add(entry.count)?;
            rows.push(entry);
        }
        let (dead, graph) = (file(r).ok()?, file(r).ok()?);
        let mut patches = Vec::new();
        for _ in 0..r.u32()? {
            patches.push(FileRef::decode(r).filter(|file| file.number != 0)?);
        }
        if graph.is_none() && !patches.is_empty() {
            return None;
        }
        Some(CollectionEntry { id, name, params, next_row, rows, dead, graph, patches })
    }
}

/// Damage in a file that a manifest names, where only its meaning is wrong.
pub(crate) fn inconsistent(kind: FileKind, file: &FileRef, field: &'static str) -> OpenError {
    Corruption::new(kind.file_name(file.number), 0, Damage::Field(field)).into()
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).expect("numbers of collections and files fit u32"));
}

/// Number 0 stands for "no file".
fn put_file(out: &mut Vec<u8>, file: Option<FileRef>) {
    file.unwrap_or(FileRef { number: 0, len_bytes: 0, header_crc: 0 }).encode(out);
}

/// A file, or `None` for the number 0, where the bytes are there.
fn file(r: &mut Reader<'_>) -> Result<Option<FileRef>, ShortManifest> {
    let file = FileRef::decode(r).ok_or(ShortManifest)?;
    Ok(Some(file).filter(|file| file.number != 0))
}

/// The bytes end early.
struct ShortManifest;

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_hnsw::{Code, Metric};

    fn manifest() -> Manifest {
        let file = |number| FileRef { number, len_bytes: 4096 * number, header_crc: 77 };
        let rows = vec![
            RowsEntry { file: file(1), first_row: 0, count: 5 },
            RowsEntry { file: file(2), first_row: 5, count: 1 },
        ];
        let params = Params { code: Code::None.into(), ..Params::new(8, Metric::Cosine) };
        let name = "docs".to_owned();
        let table = |number| TableEntry {
            file: file(number),
            first_lsn: 3,
            last_lsn: 12,
            entries: 9,
            deletes: 1,
            first_key: b"a".to_vec(),
            last_key: b"b".to_vec(),
        };
        Manifest {
            position: LogPosition { lsn: 12, chain: 34 },
            log_first: 3,
            next_collection: 2,
            next_keyspace: 3,
            collections: vec![CollectionEntry {
                id: 1,
                name: name.clone(),
                params,
                next_row: 8,
                rows,
                dead: None,
                graph: Some(file(3)),
                patches: vec![file(5), file(6)],
            }],
            keyspaces: vec![KeyspaceEntry { id: 2, name }],
            tables: vec![vec![], vec![table(4)]],
        }
    }

    #[test]
    fn a_manifest_comes_back_and_every_cut_is_refused() {
        for manifest in [Manifest::empty(), manifest()] {
            let bytes = manifest.encode();
            assert_eq!(Manifest::decode(&mut Reader::new(&bytes)).as_ref(), Some(&manifest));
            // One from before there were levels ends without them.
            let mut tables = Vec::new();
            manifest.encode_tables(&mut tables);
            let levels = bytes.len() - tables.len();
            let without = Manifest { tables: Vec::new(), ..manifest };
            for cut in 0..bytes.len() {
                let expected = (cut == levels).then_some(&without);
                let found = Manifest::decode(&mut Reader::new(&bytes[..cut]));
                assert_eq!(found.as_ref(), expected, "{cut}");
            }
        }
        assert_eq!(crc32fast::hash(&manifest().encode()), 0xd032_b7d3, "the format has changed");
        let numbers: Vec<_> = manifest().files().map(|(_, file)| file.number).collect();
        assert_eq!(numbers, [1, 2, 3, 5, 6, 4]);
    }

    #[test]
    fn absurd_numbers_are_refused() {
        let absurd = |change: fn(&mut Manifest)| {
            let mut manifest = manifest();
            change(&mut manifest);
            Manifest::decode(&mut Reader::new(&manifest.encode())).is_none()
        };
        assert!(absurd(|m| m.position.lsn = u64::MAX));
        assert!(absurd(|m| m.log_first = u64::MAX));
        assert!(absurd(|m| m.log_first = 0));
        assert!(absurd(|m| m.collections[0].rows[0].file.number = u64::MAX));
        assert!(absurd(|m| m.collections[0].patches[1].number = 0));
        assert!(absurd(|m| m.collections[0].graph = None));
        assert!(absurd(|m| m.tables[1][0].file.number = 0));
        assert!(absurd(|m| m.tables[1][0].last_lsn = 13), "of a record behind the checkpoint");
        assert!(!absurd(|m| m.position.lsn = NUMBER_MAX));
    }

    #[test]
    fn gaps_between_files_of_rows_are_refused() {
        let mut gap = manifest();
        gap.collections[0].rows[1].first_row = 6;
        assert_eq!(Manifest::decode(&mut Reader::new(&gap.encode())), None);
    }
}
