//! What batches that are sequenced and not yet applied have changed: the state as the next batch
//! will find it, seen from the state as readers find it.
//!
//! Keeps names, numbers of rows, and ids, and nothing else: keys and values are checked against
//! nothing. Entries stay until what they say is in the state, or until nothing is in flight.

use crate::damage::Lsn;
use crate::id::Id;
use gannet_hnsw::Params;
use std::collections::HashMap;

/// Entries of ids after which those that are applied are looked for.
const ROWS_KEPT: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    collections: Vec<Made>,
    /// Made, or dropped, in order.
    keyspaces: Vec<(Lsn, String, KeyspaceFate)>,
    /// By collection: one more than the highest row that was given.
    next_rows: HashMap<u32, u32>,
    /// By collection and id: what will become of it, by which record.
    rows: HashMap<(u32, Id), (Fate, Lsn)>,
    rows_kept: usize,
}

/// What will become of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It will have this row.
    Row(u32),
    /// It will be deleted.
    Gone,
}

impl Fate {
    pub(crate) fn row(self) -> Option<u32> {
        match self {
            Self::Row(row) => Some(row),
            Self::Gone => None,
        }
    }
}

/// What will become of a keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyspaceFate {
    /// It will have this number.
    Number(u32),
    /// It will be dropped.
    Gone,
}

impl KeyspaceFate {
    pub(crate) fn number(self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(number),
            Self::Gone => None,
        }
    }
}

/// A collection that is being made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) lsn: Lsn,
    pub(crate) name: String,
    pub(crate) id: u32,
    pub(crate) params: Params,
}

impl InFlight {
    pub(crate) fn collection(&self, name: &str) -> Option<&Made> {
        self.collections.iter().find(|made| made.name == name)
    }

    /// What will become of a keyspace; `None` where nothing in flight makes or drops it.
    pub(crate) fn keyspace(&self, name: &str) -> Option<KeyspaceFate> {
        self.keyspaces.iter().rfind(|(_, known, _)| known == name).map(|(_, _, fate)| *fate)
    }

    /// Number for the next collection, where the state would give `next`.
    pub(crate) fn next_collection(&self, next: u32) -> u32 {
        self.collections.iter().map(|made| made.id + 1).fold(next, u32::max)
    }

    /// Number for the next keyspace, where the state would give `next`.
    pub(crate) fn next_keyspace(&self, next: u32) -> u32 {
        let made = self.keyspaces.iter().filter_map(|(_, _, fate)| fate.number());
        made.map(|number| number + 1).fold(next, u32::max)
    }

    /// The next row of a collection, where the state would give `next`.
    pub(crate) fn next_row(&self, collection: u32, next: u32) -> u32 {
        self.next_rows.get(&collection).map_or(next, |&given| given.max(next))
    }

    /// Whether ids may be found here.
    pub(crate) fn has_rows(&self) -> bool {
        !self.rows.is_empty()
    }

    /// What will become of an id; `None` where nothing in flight changes it.
    pub(crate) fn fate_of(&self, key: &(u32, Id)) -> Option<Fate> {
        self.rows.get(key).map(|(fate, _)| *fate)
    }

    pub(crate) fn add_collection(&mut self, made: Made) {
        self.collections.push(made);
    }

    pub(crate) fn set_keyspace(&mut self, lsn: Lsn, name: String, number: KeyspaceFate) {
        self.keyspaces.push((lsn, name, number));
    }

    pub(crate) fn give_rows(&mut self, collection: u32, next_row: u32) {
        self.next_rows.insert(collection, next_row);
    }

    pub(crate) fn set_fate(&mut self, lsn: Lsn, key: (u32, Id), fate: Fate) {
        self.rows.insert(key, (fate, lsn));
    }

    /// Everything up to `lsn` is in the state.
    pub(crate) fn applied(&mut self, lsn: Lsn) {
        self.collections.retain(|made| made.lsn > lsn);
        self.keyspaces.retain(|(made, _, _)| *made > lsn);
        if self.rows.len() > ROWS_KEPT.max(2 * self.rows_kept) {
            self.rows.retain(|_, (_, changed)| *changed > lsn);
            self.rows_kept = self.rows.len();
        }
    }

    /// Nothing is in flight: all of it is in the state, or never will be.
    pub(crate) fn clear(&mut self) {
        self.collections.clear();
        self.keyspaces.clear();
        self.next_rows.clear();
        self.rows.clear();
        self.rows_kept = 0;
    }
}
