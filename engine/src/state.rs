//! All collections, and what a record does to them.
//!
//! Keeps the one way in which records of rows take effect, used by commits and by replay alike;
//! what records do to keys is left to `tree`. Records have been checked by `sequence` before they
//! were logged; one that does not fit is damage.

use crate::codec::Reader;
use crate::collection::LiveCollection;
use crate::limits::is_name;
use crate::record::{Record, RecordFault};
use std::collections::BTreeMap;
use std::ops::Deref;

/// Everything that is visible. `V` is the storage's view of a sealed file.
pub(crate) struct State<V> {
    collections: BTreeMap<u32, LiveCollection<V>>,
    collection_names: BTreeMap<String, u32>,
    pub(crate) next_collection: u32,
    /// Rows came or went since somebody looked: graphs have something to learn.
    pub(crate) has_new_rows: bool,
}

impl<V: Deref<Target = [u8]> + Send + Sync> State<V> {
    pub(crate) fn new(next_collection: u32) -> Self {
        Self {
            collections: BTreeMap::new(),
            collection_names: BTreeMap::new(),
            next_collection,
            has_new_rows: false,
        }
    }

    pub(crate) fn collection(&self, name: &str) -> Option<&LiveCollection<V>> {
        self.collections.get(self.collection_names.get(name)?)
    }

    pub(crate) fn collection_by_id(&self, id: u32) -> Option<&LiveCollection<V>> {
        self.collections.get(&id)
    }

    /// In order of creation.
    pub(crate) fn collections(&self) -> impl Iterator<Item = &LiveCollection<V>> {
        self.collections.values()
    }

    pub(crate) fn collections_mut(&mut self) -> impl Iterator<Item = &mut LiveCollection<V>> {
        self.collections.values_mut()
    }

    pub(crate) fn collection_mut(&mut self, id: u32) -> Option<&mut LiveCollection<V>> {
        self.collections.get_mut(&id)
    }

    /// Takes in a collection.
    ///
    /// # Errors
    /// Damage if its number or name is taken, or the name is none.
    pub(crate) fn add_collection(
        &mut self,
        collection: LiveCollection<V>,
    ) -> Result<(), &'static str> {
        let (id, name) = (collection.now().id, collection.now().name.clone());
        if !is_name(&name) || self.collection_names.contains_key(&name) {
            return Err("name");
        }
        self.next_collection = self.next_collection.max(id.checked_add(1).ok_or("collection")?);
        self.collection_names.insert(name, id);
        let before = self.collections.insert(id, collection);
        if before.is_some() { Err("collection") } else { Ok(()) }
    }

    /// Applies a record, unless it is one of keys.
    ///
    /// # Errors
    /// The field that is damaged.
    pub(crate) fn apply(&mut self, record: Record<'_>) -> Result<(), &'static str> {
        match record {
            Record::CreateCollection { collection, name, params } => {
                self.add_collection(LiveCollection::new(collection, name.to_owned(), params))
            }
            Record::Insert { collection, row, replaces, id, vector } => {
                self.has_new_rows = true;
                let collection = self.collections.get_mut(&collection).ok_or("collection")?;
                collection.insert(row, replaces, id, vector)
            }
            Record::DeleteRow { collection, row } => {
                self.has_new_rows = true;
                self.collections.get_mut(&collection).ok_or("collection")?.delete(row)
            }
            Record::Cut { collection } => {
                self.collections.get_mut(&collection).ok_or("collection")?.cut();
                Ok(())
            }
            Record::CreateKeyspace { .. }
            | Record::DropKeyspace { .. }
            | Record::Put { .. }
            | Record::Delete { .. } => Ok(()),
        }
    }
}

/// Gives the `count` records of a frame's body to `each`, in order.
///
/// # Errors
/// The field that is damaged, what is newer, or what `each` says.
pub(crate) fn decode_all<'b>(
    count: u32,
    body: &'b [u8],
    mut each: impl FnMut(Record<'b>) -> Result<(), &'static str>,
) -> Result<(), RecordFault> {
    let mut records = Reader::new(body);
    for _ in 0..count {
        each(Record::decode(&mut records)?)?;
    }
    if records.is_empty() { Ok(()) } else { Err("record count".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_holds_as_many_records_as_it_says() {
        let mut body = Vec::new();
        for key in [b"a", b"b"] {
            Record::Delete { keyspace: 1, key }.encode(&mut body);
        }
        let decode = |count| decode_all(count, &body, |_| Ok(()));
        assert_eq!((decode(1), decode(2)), (Err("record count".into()), Ok(())));
        assert!(decode(3).is_err());
    }
}
