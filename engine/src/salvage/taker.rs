//! The new database as it is being filled, and what is in doubt of it.
//!
//! Keeps which row number of the old database each id came from, because a deletion in the log
//! names a row and nothing else, and of each collection and keyspace what is not as it was at the
//! record that was reached. Checks what it is given like `sequence` does: whatever the bytes say,
//! the new database refuses nothing.

use super::error::SalvageError;
use super::report::{Loss, Lost};
use crate::batch::WriteBatch;
use crate::config::Durability;
use crate::damage::Lsn;
use crate::database::Database;
use crate::id::Id;
use crate::limits::{ID_LEN_BYTES_MAX, KEY_LEN_BYTES_MAX, VALUE_LEN_BYTES_MAX, is_name};
use crate::record::Record;
use gannet_hnsw::{Metric, Params, check_binary, check_finite};
use gannet_storage::Storage;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};

/// Commits hold about this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// A collection or keyspace, by its number in the old database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Collection(u32),
    Keyspace(u32),
}

/// What is not known to be as it was.
#[derive(Debug, Default)]
struct Doubt {
    losses: Vec<Loss>,
    /// Records are missing, and may have been about it.
    is_behind_hole: bool,
}

/// A collection of the old database.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) name: String,
    pub(super) params: Params,
    /// Of live rows.
    row_of: HashMap<Id, u32>,
    id_of: HashMap<u32, Id>,
}

pub(super) struct Taker<'d, T: Storage> {
    db: &'d Database<T>,
    batch: WriteBatch,
    batch_bytes: usize,
    collections: BTreeMap<u32, Rows>,
    keyspaces: BTreeMap<u32, String>,
    doubts: BTreeMap<Owner, Doubt>,
    /// Records are missing, and may have made something that nothing else tells of.
    is_behind_hole: bool,
    /// Records and rows looked at.
    pub(super) items: u64,
}

/// Why something is not taken.
pub(super) type Refusal = &'static str;

impl<'d, T: Storage> Taker<'d, T> {
    pub(super) fn new(db: &'d Database<T>) -> Self {
        Self {
            db,
            batch: WriteBatch::new(),
            batch_bytes: 0,
            collections: BTreeMap::new(),
            keyspaces: BTreeMap::new(),
            doubts: BTreeMap::new(),
            is_behind_hole: false,
            items: 0,
        }
    }

    /// Commits what waits.
    pub(super) fn flush(&mut self) -> Result<(), SalvageError> {
        self.batch_bytes = 0;
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.db.commit_with(batch, Durability::Strict).map(drop).map_err(SalvageError::Commit)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), SalvageError> {
        self.batch_bytes += bytes;
        if self.batch_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Something of `owner` could not be had.
    pub(super) fn lose(&mut self, owner: Owner, loss: Loss) {
        let losses = &mut self.doubts.entry(owner).or_default().losses;
        if !losses.last_mut().is_some_and(|last| last.join(&loss)) {
            losses.push(loss);
        }
    }

    /// Records are missing: nothing is known for certain, until a checkpoint tells.
    pub(super) fn doubt_all(&mut self) {
        self.is_behind_hole = true;
        for doubt in self.doubts.values_mut() {
            doubt.is_behind_hole = true;
        }
    }

    /// `owner` is as it was at the checkpoint that was reached.
    pub(super) fn trust(&mut self, owner: Owner) {
        self.doubts.insert(owner, Doubt::default());
    }

    /// Whether `owner` is as it was at the record that was reached.
    pub(super) fn is_trusted(&self, owner: Owner) -> bool {
        match self.doubts.get(&owner) {
            Some(doubt) => doubt.losses.is_empty() && !doubt.is_behind_hole,
            None => !self.is_behind_hole,
        }
    }

    /// A checkpoint has told of everything that there is.
    pub(super) fn trust_rest(&mut self) {
        self.is_behind_hole = false;
    }

    pub(super) fn into_losses(self) -> impl Iterator<Item = Loss> {
        self.doubts.into_values().flat_map(|doubt| doubt.losses)
    }

    pub(super) fn collection(&self, number: u32) -> Option<&Rows> {
        self.collections.get(&number)
    }

    /// A collection as the old database has it.
    pub(super) fn add_collection(
        &mut self,
        number: u32,
        name: &str,
        params: &Params,
    ) -> Result<Result<(), Refusal>, SalvageError> {
        if let Some(known) = self.collections.get(&number) {
            let is_same = known.name == name && known.params == *params;
            return Ok(if is_same { Ok(()) } else { Err("another collection has its number") });
        }
        if !is_name(name) || self.collections.values().any(|known| known.name == name) {
            return Ok(Err("its name is not valid, or taken"));
        }
        if params.validate().is_err() {
            return Ok(Err("its parameters are not valid"));
        }
        let rows = Rows {
            name: name.to_owned(),
            params: params.clone(),
            row_of: HashMap::new(),
            id_of: HashMap::new(),
        };
        self.collections.insert(number, rows);
        let is_behind_hole = self.is_behind_hole;
        self.doubts.entry(Owner::Collection(number)).or_default().is_behind_hole |= is_behind_hole;
        self.batch.create_collection(name, params.clone());
        self.grow(name.len()).map(Ok)
    }

    /// A keyspace as the old database has it. The new one has it from its first key on.
    pub(super) fn add_keyspace(&mut self, number: u32, name: &str) -> Result<(), Refusal> {
        if let Some(known) = self.keyspaces.get(&number) {
            return if known == name { Ok(()) } else { Err("another keyspace has its number") };
        }
        if !is_name(name) || self.keyspaces.values().any(|known| known == name) {
            return Err("its name is not valid, or taken");
        }
        self.keyspaces.insert(number, name.to_owned());
        let is_behind_hole = self.is_behind_hole;
        self.doubts.entry(Owner::Keyspace(number)).or_default().is_behind_hole |= is_behind_hole;
        Ok(())
    }

    /// Takes a row: its id has this vector from now on.
    pub(super) fn take_row(
        &mut self,
        number: u32,
        row: u32,
        id: &Id,
        vector: &[f32],
    ) -> Result<Result<(), Refusal>, SalvageError> {
        let Some(rows) = self.collections.get_mut(&number) else {
            return Ok(Err("its collection is not known"));
        };
        if let Some(fault) = fault_of(&rows.params, id, vector) {
            return Ok(Err(fault));
        }
        if let Some(before) = rows.row_of.insert(id.clone(), row) {
            rows.id_of.remove(&before);
        }
        // A row has one id, unless records are missing between two histories.
        if let Some(other) = rows.id_of.insert(row, id.clone()).filter(|other| other != id) {
            rows.row_of.remove(&other);
            self.batch.delete_row(&rows.name, other);
        }
        self.batch.upsert(&rows.name, id.clone(), vector);
        self.grow(4 * vector.len() + ID_LEN_BYTES_MAX).map(Ok)
    }

    /// Takes the deletion of a row.
    pub(super) fn drop_row(
        &mut self,
        number: u32,
        row: u32,
    ) -> Result<Result<(), Refusal>, SalvageError> {
        let Some(rows) = self.collections.get_mut(&number) else {
            return Ok(Err("its collection is not known"));
        };
        let Some(id) = rows.id_of.remove(&row) else {
            return Ok(Err("it deletes a row that is not known"));
        };
        rows.row_of.remove(&id);
        self.batch.delete_row(&rows.name, id);
        self.grow(ID_LEN_BYTES_MAX).map(Ok)
    }

    /// Takes a key.
    pub(super) fn put(
        &mut self,
        number: u32,
        key: &[u8],
        value: &[u8],
    ) -> Result<Result<(), Refusal>, SalvageError> {
        let Some(name) = self.keyspaces.get(&number) else {
            return Ok(Err("its keyspace is not known"));
        };
        let is_good = (1..=KEY_LEN_BYTES_MAX).contains(&key.len());
        if !is_good || value.len() > VALUE_LEN_BYTES_MAX {
            return Ok(Err("key or value has a length that is never written"));
        }
        self.batch.put(name, key, value);
        self.grow(key.len() + value.len()).map(Ok)
    }

    /// Takes the deletion of a key.
    pub(super) fn delete(
        &mut self,
        number: u32,
        key: &[u8],
    ) -> Result<Result<(), Refusal>, SalvageError> {
        let Some(name) = self.keyspaces.get(&number) else {
            return Ok(Err("its keyspace is not known"));
        };
        if !(1..=KEY_LEN_BYTES_MAX).contains(&key.len()) {
            return Ok(Err("its key has a length that is never written"));
        }
        self.batch.delete(name, key);
        self.grow(key.len()).map(Ok)
    }

    /// Takes the end of a keyspace, with all that is in it.
    fn drop_keyspace(&mut self, number: u32) -> Result<Result<(), Refusal>, SalvageError> {
        let Some(name) = self.keyspaces.remove(&number) else {
            return Ok(Err("its keyspace is not known"));
        };
        self.doubts.remove(&Owner::Keyspace(number));
        self.batch.drop_keyspace(&name);
        self.grow(name.len()).map(Ok)
    }

    /// Drops all keyspaces but these, which a checkpoint has.
    pub(super) fn keep_keyspaces(
        &mut self,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<(), SalvageError> {
        let kept: BTreeSet<u32> = numbers.collect();
        let gone: Vec<u32> =
            self.keyspaces.keys().copied().filter(|number| !kept.contains(number)).collect();
        for number in gone {
            self.drop_keyspace(number)?.expect("it is known");
        }
        Ok(())
    }

    /// Takes a record of the log; whether it was applied.
    pub(super) fn take(&mut self, lsn: Lsn, record: Record<'_>) -> Result<bool, SalvageError> {
        self.items += 1;
        let (owner, taken) = match record {
            Record::CreateCollection { collection, name, params } => {
                (Owner::Collection(collection), self.add_collection(collection, name, &params)?)
            }
            Record::Insert { collection, row, id, vector, .. } => {
                let floats: Vec<f32> =
                    vector.as_chunks().0.iter().map(|&float| f32::from_le_bytes(float)).collect();
                (Owner::Collection(collection), self.take_row(collection, row, &id, &floats)?)
            }
            Record::DeleteRow { collection, row } => {
                (Owner::Collection(collection), self.drop_row(collection, row)?)
            }
            // Graphs are built anew.
            Record::Cut { collection } => (Owner::Collection(collection), Ok(())),
            Record::CreateKeyspace { keyspace, name } => {
                (Owner::Keyspace(keyspace), self.add_keyspace(keyspace, name))
            }
            Record::DropKeyspace { keyspace } => {
                (Owner::Keyspace(keyspace), self.drop_keyspace(keyspace)?)
            }
            Record::Put { keyspace, key, value } => {
                (Owner::Keyspace(keyspace), self.put(keyspace, key, value)?)
            }
            Record::Delete { keyspace, key } => {
                (Owner::Keyspace(keyspace), self.delete(keyspace, key)?)
            }
        };
        if let Err(reason) = taken {
            self.lose(owner, Loss::new(Lost::Records { lsns: lsn..=lsn }, reason));
        }
        Ok(taken.is_ok())
    }

    /// Deletes the keys between two, those left out, but those that are to be kept. What was taken
    /// before must be committed.
    pub(super) fn delete_between(
        &mut self,
        number: u32,
        after: Option<&[u8]>,
        before: Option<&[u8]>,
        is_kept: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(), SalvageError> {
        let Some(name) = self.keyspaces.get(&number) else { return Ok(()) };
        let mut keys = Vec::new();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let to = before.map_or(Bound::Unbounded, Bound::Excluded);
        let scanned = self.db.scan(name, from, to, |key, _| {
            if !is_kept(key) {
                keys.push(key.to_vec());
            }
            ControlFlow::Continue(())
        });
        scanned.map_err(SalvageError::Read)?;
        for key in keys {
            self.delete(number, &key)?.expect("it was taken before");
        }
        Ok(())
    }

    /// Whether a key that was committed has this value.
    pub(super) fn has(&self, number: u32, key: &[u8], value: &[u8]) -> Result<bool, SalvageError> {
        let Some(name) = self.keyspaces.get(&number) else { return Ok(false) };
        let known = self.db.get(name, key).map_err(SalvageError::Read)?;
        Ok(known.as_deref() == Some(value))
    }
}

impl Rows {
    /// The id of a live row.
    pub(super) fn id_of(&self, row: u32) -> Option<&Id> {
        self.id_of.get(&row)
    }

    /// The live row of an id.
    pub(super) fn row_of(&self, id: &Id) -> Option<u32> {
        self.row_of.get(id).copied()
    }

    /// Live rows, in any order.
    pub(super) fn live(&self) -> impl Iterator<Item = u32> {
        self.id_of.keys().copied()
    }
}

/// What a commit would refuse.
fn fault_of(params: &Params, id: &Id, vector: &[f32]) -> Option<Refusal> {
    if let Id::Bytes(bytes) = id
        && !(1..=ID_LEN_BYTES_MAX).contains(&bytes.len())
    {
        return Some("its id has a length that is never written");
    }
    if vector.len() != params.dims as usize {
        return Some("its vector has another number of dimensions");
    }
    if check_finite(vector).is_err() {
        return Some("its vector has a component that is not finite");
    }
    if params.metric == Metric::Hamming && check_binary(vector).is_err() {
        return Some("its vector has a component that is neither 0 nor 1");
    }
    let is_zero = vector.iter().all(|component| component.abs() == 0.0);
    (params.metric == Metric::Cosine && is_zero).then_some("its vector has no direction")
}
