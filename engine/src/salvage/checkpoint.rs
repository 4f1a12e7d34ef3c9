//! The files of a checkpoint, as far as their checksums match.
//!
//! Brings the new database to what a checkpoint says: rows and keys that are there already are left
//! alone, those that the checkpoint does not have go. Where a part of a file cannot be had, what
//! older files and the log have told of it stays. Memory is one step of a file, and ids.

use super::error::SalvageError;
use super::keys::{LostKeys, Tables};
use super::report::{FileDamage, Loss, Lost};
use super::taker::{Owner, Rows, Taker};
use crate::codec::Reader;
use crate::collection::{DEAD, IDS, NORMS, NUMBERS, Numbers, ROWS};
use crate::damage::Damage;
use crate::error::{OpenError, with_causes};
use crate::id::Id;
use crate::manifest::{CollectionEntry, KeyspaceEntry, Manifest, RowsEntry};
use crate::record::decode_id;
use crate::sealed::{FileKind, FileRef, SealedReader, UNIT_LEN_BYTES};
use crate::verify::missing;
use gannet_hnsw::{Metric, Params, row_stride};
use gannet_storage::{SealedFile, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

/// Rows are read this much at a time.
const STEP_BYTES: u64 = 1 << 20;

/// Reads the files of checkpoints.
pub(super) struct Files<'f, F> {
    pub(super) from: &'f F,
    pub(super) database: Option<[u8; 16]>,
    /// Why a file is not whole; `None` for one that is.
    pub(super) health: BTreeMap<(FileKind, u64), Option<String>>,
    pub(super) damage: Vec<FileDamage>,
}

impl<F: Storage> Files<'_, F> {
    fn open(&self, kind: FileKind, file: &FileRef) -> Result<SealedReader<F::Sealed>, OpenError> {
        SealedReader::open_damaged(self.from, (kind, file.number), self.database, Some(file))
            .map_err(missing)
    }

    /// Whether everything that a checkpoint needs is whole. Graphs are not needed: they are built
    /// anew.
    pub(super) fn is_whole(&mut self, manifest: &Manifest) -> bool {
        let mut is_whole = true;
        for (kind, file) in manifest.files() {
            is_whole &= kind.is_of_graph() || self.is_file_whole(kind, &file);
        }
        is_whole
    }

    fn is_file_whole(&mut self, kind: FileKind, file: &FileRef) -> bool {
        let key = (kind, file.number);
        if !self.health.contains_key(&key) {
            let verified = self.open(kind, file).and_then(|reader| reader.verify());
            let fault = verified.err().map(|error| {
                self.damage.push(FileDamage::new(kind.file_name(file.number), &error));
                with_causes(&error)
            });
            self.health.insert(key, fault);
        }
        self.health[&key].is_none()
    }

    /// Brings the new database to what `manifest` says.
    pub(super) fn take<T: Storage>(
        &mut self,
        manifest: &Manifest,
        taker: &mut Taker<'_, T>,
    ) -> Result<(), SalvageError> {
        taker.flush()?;
        let refused = |file, reason: &str| Loss::new(Lost::File { file }, reason);
        for entry in &manifest.collections {
            let owner = Owner::Collection(entry.id);
            let rows = entry.rows.iter().map(|rows| (FileKind::Rows, rows.file));
            let files: Vec<_> = rows.chain(entry.dead.map(|file| (FileKind::Dead, file))).collect();
            let mut is_whole = true;
            for (kind, file) in &files {
                is_whole &= self.is_file_whole(*kind, file);
            }
            if !is_whole && taker.collection(entry.id).is_some() && taker.is_trusted(owner) {
                // Older files and the log have made up for it.
                continue;
            }
            if let Err(reason) = taker.add_collection(entry.id, &entry.name, &entry.params)? {
                taker.lose(owner, refused(format!("collection `{}`", entry.name), reason));
                continue;
            }
            let losses = self.take_collection(entry, taker)?;
            settle(taker, owner, losses);
        }
        let tables = Tables::find(self.from, self.database.unwrap_or_default(), manifest);
        for entry in &manifest.keyspaces {
            let owner = Owner::Keyspace(entry.id);
            let lost = tables.lost(entry.id);
            if let Err(reason) = taker.add_keyspace(entry.id, &entry.name) {
                taker.lose(owner, refused(format!("keyspace `{}`", entry.name), reason));
                continue;
            }
            if !lost.is_empty() && taker.is_trusted(owner) {
                continue;
            }
            let losses = take_keyspace(&tables, entry, lost, taker)?;
            settle(taker, owner, losses);
        }
        taker.keep_keyspaces(manifest.keyspaces.iter().map(|entry| entry.id))?;
        taker.flush()?;
        taker.trust_rest();
        Ok(())
    }

    fn take_collection<T: Storage>(
        &mut self,
        entry: &CollectionEntry,
        taker: &mut Taker<'_, T>,
    ) -> Result<Vec<Loss>, SalvageError> {
        let mut losses = Vec::new();
        let row_count = entry.rows.last().map_or(0, |rows| rows.first_row + rows.count);
        let dead = self.dead(entry, row_count);
        let readers = entry.rows.iter().map(|rows| self.open(FileKind::Rows, &rows.file));
        let readers: Vec<_> = readers.collect();
        let (mut files, mut unnumbered) = (Vec::new(), Vec::new());
        for (rows, reader) in entry.rows.iter().zip(&readers) {
            let numbers = match reader {
                // No row was ever left out.
                _ if entry.next_row == row_count => Numbers::of_run(rows.range()),
                Ok(reader) => read_numbers(reader, rows.count)
                    .map_err(|error| unnumbered.push((rows.range(), with_causes(&error))))
                    .ok(),
                Err(_) => None,
            };
            files.push(RowsFile { entry, rows, dead: &dead, numbers });
        }
        for (rows, reason) in dead.lost.iter().chain(&unnumbered) {
            for rows in files.iter().filter_map(|file| file.numbers_of(rows)) {
                let what = Lost::Deletions { collection: entry.name.clone(), rows };
                losses.push(Loss::new(what, reason));
            }
        }
        let known: Vec<u32> =
            taker.collection(entry.id).map_or_else(Vec::new, |rows| rows.live().collect());
        let are_all_known = files.iter().all(|file| file.numbers.is_some());
        for number in known {
            let row = files.iter().find_map(|file| file.row_of(number));
            // A number that no row has any more is of one that was dead.
            let is_left_out = || are_all_known && number < entry.next_row;
            if row.map_or_else(is_left_out, |row| dead.contains(row)) {
                taker.drop_row(entry.id, number)?.expect("it is known");
            }
        }
        for (file, reader) in files.iter().zip(&readers) {
            match reader {
                Ok(reader) => file.take(reader, taker, &mut losses)?,
                Err(error) => file.lose_all(0, error, taker, &mut losses),
            }
        }
        Ok(losses)
    }

    /// Which rows are deleted, as far as it can be had.
    fn dead(&self, entry: &CollectionEntry, row_count: u32) -> Dead {
        let mut dead = Dead { words: Vec::new(), lost: Vec::new() };
        let Some(file) = entry.dead else { return dead };
        let mut lose = |rows: Range<u64>, error: &OpenError| {
            let end = u32::try_from(rows.end).unwrap_or(u32::MAX).min(row_count);
            let Ok(first) = u32::try_from(rows.start) else { return };
            dead.lost.push((first..end, with_causes(error)));
        };
        let reader = match self.open(FileKind::Dead, &file) {
            Ok(reader) => reader,
            Err(error) => {
                lose(0..u64::from(row_count), &error);
                return dead;
            }
        };
        let there = reader.there(DEAD);
        let mut at = 0;
        while at < there {
            let end = (at + UNIT_LEN_BYTES).min(there);
            match reader.read_range(DEAD, at..end) {
                Ok(bytes) => dead.words.extend_from_slice(&bytes),
                Err(error) => {
                    lose(8 * at..8 * end, &error);
                    dead.words.extend((at..end).map(|_| 0));
                }
            }
            at = end;
        }
        let len = reader.section(DEAD).map_or(0, |section| section.len_bytes);
        if there < len {
            lose(8 * there..8 * len, &reader.damage(DEAD, there, Damage::Length).into());
        }
        dead
    }
}

/// Brings a keyspace to what the tables say; what is lost of it stays as it was.
fn take_keyspace<F: SealedFile, T: Storage>(
    found: &Tables<F>,
    entry: &KeyspaceEntry,
    missing_keys: Vec<LostKeys>,
    taker: &mut Taker<'_, T>,
) -> Result<Vec<Loss>, SalvageError> {
    let mut last: Option<Vec<u8>> = None;
    let mut refused = None;
    let is_lost = |key: &[u8]| missing_keys.iter().any(|keys| keys.contains(key));
    let told = found.each(entry.id, |key, value| {
        taker.items += 1;
        let Some(value) = value else { return Ok(()) };
        taker.delete_between(entry.id, last.as_deref(), Some(key), &is_lost)?;
        if !taker.has(entry.id, key, value)? {
            refused = taker.put(entry.id, key, value)?.err().or(refused);
        }
        last = Some(key.to_vec());
        Ok(())
    });
    let of_keys = |behind, upto, reason| {
        Loss::new(Lost::Keys { keyspace: entry.name.clone(), behind, upto }, reason)
    };
    match told {
        Ok(done) => done?,
        // It was read before, and cannot be now.
        Err(error) => return Ok(vec![of_keys(last, None, with_causes(&error))]),
    }
    taker.delete_between(entry.id, last.as_deref(), None, &is_lost)?;
    let losses = missing_keys
        .into_iter()
        .map(|LostKeys { behind, upto, reason, .. }| of_keys(behind, upto, reason));
    // Some key or other, that no commit would have let in.
    let refused = refused.map(|reason| of_keys(None, None, reason.to_owned()));
    Ok(losses.chain(refused).collect())
}

/// An owner is as the checkpoint says, or what was lost of it is in doubt.
fn settle<T: Storage>(taker: &mut Taker<'_, T>, owner: Owner, losses: Vec<Loss>) {
    if losses.is_empty() {
        taker.trust(owner);
    }
    for loss in losses {
        taker.lose(owner, loss);
    }
}

/// Rows that are deleted, a bit a row; unknown ones count as not deleted.
struct Dead {
    words: Vec<u8>,
    /// Of which rows that is, and why.
    lost: Vec<(Range<u32>, String)>,
}

impl Dead {
    fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    }
}

/// One file of rows.
struct RowsFile<'e> {
    entry: &'e CollectionEntry,
    rows: &'e RowsEntry,
    dead: &'e Dead,
    /// What the log calls its rows, by their place in it; `None` if that cannot be had.
    numbers: Option<Numbers>,
}

impl RowsFile<'_> {
    /// The row that the log calls so, if it is in this file.
    fn row_of(&self, number: u32) -> Option<u32> {
        self.numbers.as_ref()?.row_of(number).map(|index| self.rows.first_row + index)
    }

    /// What the log calls those of some rows that are in this file, from the first to the last: any
    /// number, where that is not known.
    fn numbers_of(&self, rows: &Range<u32>) -> Option<RangeInclusive<u32>> {
        let file = self.rows.range();
        let (start, end) = (rows.start.max(file.start), rows.end.min(file.end));
        let index = |row| row - file.start;
        (start < end).then(|| match &self.numbers {
            Some(numbers) => numbers.of(index(start))..=numbers.of(index(end - 1)),
            None => 0..=self.entry.next_row - 1,
        })
    }

    fn take<F: SealedFile, T: Storage>(
        &self,
        reader: &SealedReader<F>,
        taker: &mut Taker<'_, T>,
        losses: &mut Vec<Loss>,
    ) -> Result<(), SalvageError> {
        let params = &self.entry.params;
        let row_len = 4 * row_stride(params.dims) as u64;
        let count = u64::from(self.rows.count);
        if reader.section(ROWS).is_none_or(|section| section.len_bytes != count * row_len) {
            let error = reader.damage(ROWS, 0, Damage::Length).into();
            self.lose_all(0, &error, taker, losses);
            return Ok(());
        }
        let (ids, ids_fault) = read_ids(reader, self.rows.count);
        let there = u32::try_from(reader.there(ROWS) / row_len).unwrap_or(u32::MAX);
        let there = there.min(self.rows.count);
        let step = u32::try_from((STEP_BYTES / row_len).max(1)).unwrap_or(1);
        let mut at = 0;
        while at < there {
            let end = at.saturating_add(step).min(there);
            if let Ok(vectors) = read_vectors(reader, params, at..end) {
                for (index, vector) in (at..end).zip(vectors.chunks(params.dims as usize)) {
                    self.take_row(index, &ids, Ok(vector), &ids_fault, taker, losses)?;
                }
            } else {
                for index in at..end {
                    let vector = read_vectors(reader, params, index..index + 1);
                    let vector = vector.as_deref().map_err(|error| with_causes(error));
                    self.take_row(index, &ids, vector, &ids_fault, taker, losses)?;
                }
            }
            at = end;
        }
        if there < self.rows.count {
            let error = reader.damage(ROWS, u64::from(there) * row_len, Damage::Length).into();
            self.lose_all(there, &error, taker, losses);
        }
        Ok(())
    }

    /// Takes row `index` of the file, or says what is lost.
    fn take_row<T: Storage>(
        &self,
        index: u32,
        ids: &[Id],
        vector: Result<&[f32], String>,
        ids_fault: &str,
        taker: &mut Taker<'_, T>,
        losses: &mut Vec<Loss>,
    ) -> Result<(), SalvageError> {
        taker.items += 1;
        let row = self.rows.first_row + index;
        let collection = self.entry.id;
        // One that the log never gives, where it is not known.
        let number = self.numbers.as_ref().map_or(u32::MAX - row, |numbers| numbers.of(index));
        let known = taker.collection(collection).and_then(|rows| rows.id_of(number));
        if self.dead.contains(row) || known.is_some() {
            return Ok(());
        }
        let Some(id) = ids.get(index as usize) else {
            self.lose(index, None, ids_fault, losses);
            return Ok(());
        };
        let other = taker.collection(collection).and_then(|rows| rows.row_of(id));
        if other.is_some_and(|other| other > number || self.numbers.is_none()) {
            // Its deletion is not known; the one that replaced it is. Or it may be this one.
            return Ok(());
        }
        let vector = match vector {
            Ok(vector) => vector,
            Err(reason) => {
                self.lose(index, Some(id), &reason, losses);
                return Ok(());
            }
        };
        if let Err(reason) = taker.take_row(collection, number, id, vector)? {
            self.lose(index, Some(id), reason, losses);
        }
        Ok(())
    }

    /// Says that row `index` of the file is lost.
    fn lose(&self, index: u32, id: Option<&Id>, why: &str, losses: &mut Vec<Loss>) {
        let row = self.rows.first_row + index;
        let Some(found) = self.numbers_of(&(row..row + 1)) else { return };
        if let Some(Loss { what: Lost::Rows { rows, ids, .. }, reason }) = losses.last_mut()
            && (*rows == found || rows.end().checked_add(1) == Some(*found.start()))
            && reason == why
            && ids.is_some() == id.is_some()
        {
            *rows = *rows.start()..=*found.end();
            if let (Some((_, last)), Some(id)) = (ids, id) {
                *last = id.clone();
            }
            return;
        }
        let collection = self.entry.name.clone();
        let ids = id.map(|id| (id.clone(), id.clone()));
        losses.push(Loss::new(Lost::Rows { collection, rows: found, ids }, why));
    }

    /// All rows of the file from index `first` on that are not known from elsewhere.
    fn lose_all<T: Storage>(
        &self,
        first: u32,
        error: &OpenError,
        taker: &Taker<'_, T>,
        losses: &mut Vec<Loss>,
    ) {
        let Range { start, end } = self.rows.range();
        let first = start + first;
        // Only the manifest says how many there are, so it is the known ones that are gone through.
        let live = taker.collection(self.entry.id).into_iter().flat_map(Rows::live);
        let live = live.filter_map(|number| self.row_of(number));
        let bits = u32::try_from(8 * self.dead.words.len()).unwrap_or(u32::MAX);
        let dead = (0..bits).filter(|&row| self.dead.contains(row));
        let known = live.chain(dead).filter(|row| (first..end).contains(row));
        let known: BTreeSet<u32> = known.chain([end]).collect();
        let reason = with_causes(error);
        let mut from = first;
        for row in known {
            if let Some(rows) = self.numbers_of(&(from..row)) {
                let collection = self.entry.name.clone();
                let loss = Loss::new(Lost::Rows { collection, rows, ids: None }, &reason);
                if losses.last() != Some(&loss) {
                    losses.push(loss);
                }
            }
            from = row.saturating_add(1);
        }
    }
}

/// The ids of the first rows, up to the first that cannot be had, and why it cannot.
fn read_ids<F: SealedFile>(reader: &SealedReader<F>, count: u32) -> (Vec<Id>, String) {
    let there = reader.there(IDS);
    let (mut at, mut bytes, mut ids) = (0, Vec::new(), Vec::new());
    while at < there {
        let end = (at + UNIT_LEN_BYTES).min(there);
        match reader.read_range(IDS, at..end) {
            Ok(unit) => bytes.extend_from_slice(&unit),
            Err(error) => return (ids, with_causes(&error)),
        }
        at = end;
        let mut fields = Reader::new(&bytes);
        let mut used = 0;
        while ids.len() < count as usize
            && let Some(id) = decode_id(&mut fields)
        {
            ids.push(id);
            used = bytes.len() - fields.rest().len();
        }
        bytes.drain(..used);
    }
    (ids, with_causes(&reader.damage(IDS, at, Damage::Field("ids"))))
}

/// What the log calls the rows of a file.
fn read_numbers<F: SealedFile>(reader: &SealedReader<F>, count: u32) -> Result<Numbers, OpenError> {
    let mut numbers = Numbers::default();
    let is_good = numbers.append(&reader.read(NUMBERS)?, count);
    let damage = || reader.damage(NUMBERS, 0, Damage::Field("numbers")).into();
    if is_good { Ok(numbers) } else { Err(damage()) }
}

/// The vectors of some rows as they were inserted, one after another.
fn read_vectors<F: SealedFile>(
    reader: &SealedReader<F>,
    params: &Params,
    rows: Range<u32>,
) -> Result<Vec<f32>, OpenError> {
    let (dims, stride) = (params.dims as usize, row_stride(params.dims));
    let within = |len: u64| u64::from(rows.start) * len..u64::from(rows.end) * len;
    let bytes = reader.read_range(ROWS, within(4 * stride as u64))?;
    let norms = match params.metric {
        Metric::Cosine => Some(reader.read_range(NORMS, within(4))?),
        Metric::L2 | Metric::Dot | Metric::Hamming => None,
    };
    let mut norms = norms.as_deref().map(|norms| norms.as_chunks().0.iter());
    let mut vectors = Vec::with_capacity(rows.len() * dims);
    for row in bytes.chunks_exact(4 * stride) {
        let norm = norms.as_mut().and_then(Iterator::next);
        let norm = norm.map_or(1.0, |&norm| f32::from_le_bytes(norm));
        let floats = row.as_chunks().0.iter().map(|&float| f32::from_le_bytes(float));
        vectors.extend(floats.take(dims).map(|float| float * norm));
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::database::Database;
    use crate::manifest::inconsistent;
    use gannet_storage::MemStorage;

    /// A manifest may say that there are billions.
    #[test]
    fn rows_that_are_lost_are_told_in_ranges_and_not_gone_through() {
        let db = Database::open(MemStorage::new(), Config::balanced()).expect("new");
        let file = FileRef { number: 1, len_bytes: 0, header_crc: 0 };
        let rows = RowsEntry { file, first_row: 2, count: u32::MAX - 2 };
        let params = Params::new(3, Metric::L2);
        let (id, name) = (1, "c".to_owned());
        let (next_row, dead, graph, patches) = (u32::MAX, None, None, Vec::new());
        let files = vec![rows];
        let entry =
            CollectionEntry { id, name, params, next_row, rows: files, dead, graph, patches };
        for (words, expect) in [
            (vec![], vec![2..=u32::MAX - 1]),
            (vec![0b0011_0000], vec![2..=3, 6..=u32::MAX - 1]),
            (vec![0, 0b1000_0000], vec![2..=14, 16..=u32::MAX - 1]),
        ] {
            let (dead, mut losses) = (Dead { words, lost: Vec::new() }, Vec::new());
            let error = inconsistent(FileKind::Rows, &file, "rows");
            let numbers = Numbers::of_run(rows.range());
            let file = RowsFile { entry: &entry, rows: &rows, dead: &dead, numbers };
            file.lose_all(0, &error, &Taker::new(&db), &mut losses);
            let ranges = losses.iter().map(|loss| {
                let Lost::Rows { rows, .. } = &loss.what else { panic!("{loss}") };
                rows.clone()
            });
            assert_eq!(ranges.collect::<Vec<_>>(), expect);
        }
    }
}
