//! Sequencing: a batch becomes records, or nothing.
//!
//! Keeps every check of a caller's input, and the numbers (rows, collections, keyspaces) that the
//! records carry, so that replay decides nothing. Sees the state, the batches in flight, and the
//! operations before in the same batch. Writes nothing.

use crate::batch::{Change, WriteBatch};
use crate::commit::condition::Recent;
use crate::commit::in_flight::{Fate, InFlight, KeyspaceFate, Made};
use crate::damage::Lsn;
use crate::error::{CommitError, ShowParams};
use crate::id::Id;
use crate::limits::{
    BATCH_LEN_BYTES_MAX, BATCH_RECORDS_MAX, ID_LEN_BYTES_MAX, KEY_LEN_BYTES_MAX, ROWS_MAX,
    VALUE_LEN_BYTES_MAX, is_name,
};
use crate::record::Record;
use crate::state::State;
use crate::tree::{Keyspaces, TreeKey, tree_key};
use gannet_hnsw::{Metric, Params, VectorFault, check_binary, check_finite};
use std::collections::HashMap;
use std::ops::Deref;

/// A batch as the log takes it.
#[derive(Debug)]
pub(crate) struct Sequenced {
    /// Records, one after another.
    pub(crate) body: Vec<u8>,
    /// Number of them; 0 where the batch changes nothing.
    pub(crate) records: u32,
    /// It changes keys and nothing else.
    pub(crate) is_of_keys: bool,
}

/// What is visible.
pub(crate) struct Known<'s, V> {
    pub(crate) state: &'s State<V>,
    pub(crate) keyspaces: &'s Keyspaces,
}

/// The state as the operations so far leave it.
struct Draft<'s, V> {
    state: &'s State<V>,
    known_keyspaces: &'s Keyspaces,
    in_flight: &'s InFlight,
    out: Sequenced,
    collections: Vec<DraftCollection>,
    /// Made by this batch, or dropped.
    keyspaces: Vec<(String, KeyspaceFate)>,
    next_collection: u32,
    next_keyspace: u32,
    /// Ids that this batch has changed, by collection number.
    rows: HashMap<(u32, Id), Fate>,
    before: Lsn,
    /// Keys, where they are to be noted.
    written: Option<Vec<(Lsn, TreeKey)>>,
}

#[derive(Clone)]
struct DraftCollection {
    name: String,
    id: u32,
    params: Params,
    next_row: u32,
    /// By this batch.
    is_made: bool,
}

/// Checks `batch` against what is known as `in_flight` will leave it, encodes it, and adds it to
/// what is in flight. `before` is the last record that was sequenced, `body` empty memory for the
/// records.
///
/// # Errors
/// The first operation that cannot be done, as `CommitError` says; nothing was added.
pub(crate) fn sequence<V: Deref<Target = [u8]> + Send + Sync>(
    known: &Known<'_, V>,
    (in_flight, recent): (&mut InFlight, &mut Recent),
    before: Lsn,
    batch: &WriteBatch,
    mut body: Vec<u8>,
) -> Result<Sequenced, CommitError> {
    if batch.is_empty() {
        return Err(CommitError::EmptyBatch);
    }
    body.reserve(batch.body_len_hint());
    let &Known { state, keyspaces: known_keyspaces } = known;
    let mut draft = Draft {
        state,
        known_keyspaces,
        in_flight,
        out: Sequenced { body, records: 0, is_of_keys: true },
        collections: Vec::new(),
        keyspaces: Vec::new(),
        next_collection: in_flight.next_collection(state.next_collection),
        next_keyspace: in_flight.next_keyspace(known_keyspaces.next),
        rows: HashMap::new(),
        before,
        written: recent.is_on().then(Vec::new),
    };
    for change in batch.changes() {
        draft.take(&change)?;
    }
    let Draft { out, collections, keyspaces, rows, written, .. } = draft;
    let lsn = before + Lsn::from(out.records);
    for DraftCollection { name, id, params, next_row, is_made } in collections {
        in_flight.give_rows(id, next_row);
        if is_made {
            in_flight.add_collection(Made { lsn, name, id, params });
        }
    }
    for (lsn, key) in written.into_iter().flatten() {
        recent.note(lsn, key);
    }
    for (name, number) in keyspaces {
        in_flight.set_keyspace(lsn, name, number);
    }
    for (key, fate) in rows {
        in_flight.set_fate(lsn, key, fate);
    }
    Ok(out)
}

impl<V: Deref<Target = [u8]> + Send + Sync> Draft<'_, V> {
    fn take(&mut self, change: &Change<'_>) -> Result<(), CommitError> {
        match change {
            Change::CreateCollection { name, params } => self.create_collection(name, params),
            Change::Insert { collection, id, vector, replace } => {
                self.insert(collection, id, vector, *replace)
            }
            Change::DeleteRow { collection, id } => self.delete_row(collection, id),
            Change::Cut { collection } => self.emit(&Record::Cut { collection: *collection }),
            Change::DropKeyspace { keyspace } => self.drop_keyspace(keyspace),
            Change::Put { keyspace, key, value } => self.put(keyspace, key, value),
            Change::Delete { keyspace, key } => self.delete(keyspace, key),
        }
    }

    fn create_collection(&mut self, name: &str, params: &Params) -> Result<(), CommitError> {
        check_name(name)?;
        let invalid = |source| CommitError::Params { name: name.to_owned(), source };
        params.validate().map_err(invalid)?;
        if let Ok(index) = self.collection(name) {
            let existing = &self.collections[index].params;
            if existing == params {
                return Ok(());
            }
            return Err(CommitError::CollectionExists {
                name: name.to_owned(),
                existing: ShowParams(existing.clone()),
                asked: ShowParams(params.clone()),
            });
        }
        let id = self.next_collection;
        self.next_collection = next_number("collections", id)?;
        self.emit(&Record::CreateCollection { collection: id, name, params: params.clone() })?;
        let (name, params) = (name.to_owned(), params.clone());
        self.collections.push(DraftCollection { name, id, params, next_row: 0, is_made: true });
        Ok(())
    }

    fn insert(
        &mut self,
        name: &str,
        id: &Id,
        vector: &[f32],
        replace: bool,
    ) -> Result<(), CommitError> {
        let index = self.collection(name)?;
        check_id(id)?;
        check_vector(name, &self.collections[index].params, id, vector)?;
        let collection = self.collections[index].id;
        let replaces = self.row_of(collection, id);
        if replaces.is_some() && !replace {
            return Err(CommitError::DuplicateId { collection: name.to_owned(), id: id.clone() });
        }
        let row = self.collections[index].next_row;
        if row >= ROWS_MAX {
            let (limit, found) = (ROWS_MAX as usize, row as usize + 1);
            return Err(CommitError::TooLarge { what: "number of rows", found, limit });
        }
        self.collections[index].next_row = row + 1;
        self.rows.insert((collection, id.clone()), Fate::Row(row));
        let vector = bytemuck::cast_slice(vector);
        self.emit(&Record::Insert { collection, row, replaces, id: id.clone(), vector })
    }

    fn delete_row(&mut self, name: &str, id: &Id) -> Result<(), CommitError> {
        let index = self.collection(name)?;
        check_id(id)?;
        let collection = self.collections[index].id;
        match self.row_of(collection, id) {
            None => Ok(()),
            Some(row) => {
                self.rows.insert((collection, id.clone()), Fate::Gone);
                self.emit(&Record::DeleteRow { collection, row })
            }
        }
    }

    fn put(&mut self, name: &str, key: &[u8], value: &[u8]) -> Result<(), CommitError> {
        check_key(key)?;
        check_len("value", value.len(), VALUE_LEN_BYTES_MAX)?;
        let keyspace = match self.keyspace(name) {
            Some(keyspace) => keyspace,
            None => self.create_keyspace(name)?,
        };
        self.emit(&Record::Put { keyspace, key, value })
    }

    /// A key that is not there is still logged: whether it is would cost more to find out.
    fn delete(&mut self, name: &str, key: &[u8]) -> Result<(), CommitError> {
        check_name(name)?;
        check_key(key)?;
        match self.keyspace(name) {
            None => Ok(()),
            Some(keyspace) => self.emit(&Record::Delete { keyspace, key }),
        }
    }

    /// The number of a keyspace as the operations so far leave it.
    fn keyspace(&self, name: &str) -> Option<u32> {
        let changed = self.keyspaces.iter().rfind(|(changed, _)| changed == name);
        let changed = changed.map(|(_, fate)| *fate);
        let changed = changed.or_else(|| self.in_flight.keyspace(name));
        changed.map_or_else(|| self.known_keyspaces.number_of(name), KeyspaceFate::number)
    }

    fn drop_keyspace(&mut self, name: &str) -> Result<(), CommitError> {
        check_name(name)?;
        let Some(keyspace) = self.keyspace(name) else { return Ok(()) };
        self.keyspaces.push((name.to_owned(), KeyspaceFate::Gone));
        self.emit(&Record::DropKeyspace { keyspace })
    }

    fn create_keyspace(&mut self, name: &str) -> Result<u32, CommitError> {
        check_name(name)?;
        let keyspace = self.next_keyspace;
        self.next_keyspace = next_number("keyspaces", keyspace)?;
        self.emit(&Record::CreateKeyspace { keyspace, name })?;
        self.keyspaces.push((name.to_owned(), KeyspaceFate::Number(keyspace)));
        Ok(keyspace)
    }

    /// Index of a collection in the draft.
    fn collection(&mut self, name: &str) -> Result<usize, CommitError> {
        if let Some(index) = self.collections.iter().rposition(|known| known.name == name) {
            return Ok(index);
        }
        let (id, params, next_row) = match self.state.collection(name) {
            Some(found) => {
                let now = found.now();
                (now.id, now.params.clone(), found.next_number())
            }
            None => match self.in_flight.collection(name) {
                Some(made) => (made.id, made.params.clone(), 0),
                None => return Err(CommitError::UnknownCollection { name: shorten(name) }),
            },
        };
        let next_row = self.in_flight.next_row(id, next_row);
        let name = name.to_owned();
        self.collections.push(DraftCollection { name, id, params, next_row, is_made: false });
        Ok(self.collections.len() - 1)
    }

    fn row_of(&self, collection: u32, id: &Id) -> Option<u32> {
        let known = || self.state.collection_by_id(collection)?.number_of(id);
        // The key is cloned only where ids have been changed before.
        if self.rows.is_empty() && !self.in_flight.has_rows() {
            return known();
        }
        let key = (collection, id.clone());
        let in_flight = || self.in_flight.fate_of(&key);
        self.rows.get(&key).copied().or_else(in_flight).map_or_else(known, Fate::row)
    }

    fn emit(&mut self, record: &Record<'_>) -> Result<(), CommitError> {
        record.encode(&mut self.out.body);
        self.out.records += 1;
        let key = match record {
            Record::Put { keyspace, key, .. } | Record::Delete { keyspace, key } => {
                Some((*keyspace, *key))
            }
            Record::CreateCollection { .. }
            | Record::Insert { .. }
            | Record::DeleteRow { .. }
            | Record::Cut { .. }
            | Record::CreateKeyspace { .. }
            | Record::DropKeyspace { .. } => None,
        };
        self.out.is_of_keys &= key.is_some();
        if let (Some(written), Some((keyspace, key))) = (&mut self.written, key) {
            let lsn = self.before + Lsn::from(self.out.records);
            written.push((lsn, tree_key(keyspace, key)));
        }
        check_len("number of records in a batch", self.out.records as usize, BATCH_RECORDS_MAX)?;
        check_len("length of a batch in bytes", self.out.body.len(), BATCH_LEN_BYTES_MAX)
    }
}

fn next_number(what: &'static str, number: u32) -> Result<u32, CommitError> {
    let limit = u32::MAX - 2;
    let error = || CommitError::TooLarge { what, found: number as usize, limit: limit as usize };
    if number < limit { Ok(number + 1) } else { Err(error()) }
}

fn check_len(what: &'static str, found: usize, limit: usize) -> Result<(), CommitError> {
    if found <= limit { Ok(()) } else { Err(CommitError::TooLarge { what, found, limit }) }
}

fn check_key(key: &[u8]) -> Result<(), CommitError> {
    if key.is_empty() {
        return Err(CommitError::Empty { what: "key" });
    }
    check_len("key", key.len(), KEY_LEN_BYTES_MAX)
}

fn check_id(id: &Id) -> Result<(), CommitError> {
    match id {
        Id::Int(_) => Ok(()),
        Id::Bytes(bytes) if bytes.is_empty() => Err(CommitError::Empty { what: "id" }),
        Id::Bytes(bytes) => check_len("id", bytes.len(), ID_LEN_BYTES_MAX),
    }
}

fn check_name(name: &str) -> Result<(), CommitError> {
    if is_name(name) { Ok(()) } else { Err(CommitError::Name { name: shorten(name) }) }
}

/// At most 40 characters, printable.
fn shorten(name: &str) -> String {
    let mut short: String = name.chars().take(40).flat_map(char::escape_debug).collect();
    if name.chars().count() > 40 {
        short.push_str("...");
    }
    short
}

fn check_vector(name: &str, params: &Params, id: &Id, vector: &[f32]) -> Result<(), CommitError> {
    let (collection, expected) = (name.to_owned(), params.dims);
    if vector.len() != expected as usize {
        let (id, found) = (id.clone(), vector.len());
        return Err(CommitError::Dimension { collection, id, expected, found });
    }
    if let Err(VectorFault::NonFinite { index }) = check_finite(vector) {
        return Err(CommitError::NotFinite { collection, id: id.clone(), component: index });
    }
    if params.metric == Metric::Hamming
        && let Err(VectorFault::NotBinary { index }) = check_binary(vector)
    {
        return Err(CommitError::NotBinary { collection, id: id.clone(), component: index });
    }
    if params.metric == Metric::Cosine && vector.iter().all(|&component| component == 0.0) {
        return Err(CommitError::ZeroVector { collection, id: id.clone() });
    }
    Ok(())
}
