//! Which id a row has, and which row a live id.
//!
//! Rows whose ids are their own numbers, from the first row on, take no memory: most collections
//! are numbered like that. All others are kept, and so is an id that has moved to a later row.

use super::paged::Paged;
use crate::id::Id;
use gannet_hnsw::RowSet;
use std::collections::HashMap;

/// The id of each row.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    /// The first rows, each of its own number.
    numbered: u32,
    /// Of the rows after them.
    others: Paged<Id>,
}

/// Rows of live ids, where a row is not that of its own number among the first. Not part of what
/// searches read.
#[derive(Debug, Default)]
pub(super) struct IdIndex(HashMap<Id, u32>);

impl Ids {
    /// The id of a row, live or dead.
    pub(super) fn of(&self, row: u32) -> Id {
        match row.checked_sub(self.numbered) {
            None => Id::Int(row.into()),
            Some(other) => self.others.get(other as usize).expect("a row has an id").clone(),
        }
    }

    /// The row of an id that is a number of its own among the first rows.
    fn numbered_row(&self, id: &Id, live: &RowSet) -> Option<u32> {
        let Id::Int(number) = id else { return None };
        let row = u32::try_from(*number).ok().filter(|row| *row < self.numbered)?;
        live.contains(row).then_some(row)
    }

    /// How many of the first rows have their own numbers.
    pub(super) fn numbered(&self) -> u32 {
        self.numbered
    }

    /// The rows after them, with their ids, live or dead.
    pub(super) fn others(&self) -> impl Iterator<Item = (u32, &Id)> {
        (self.numbered..).zip(self.others.iter())
    }

    /// Gives the next row its id; whether that is the row's own number.
    pub(super) fn push(&mut self, id: Id) -> bool {
        let is_numbered = self.others.is_empty() && id == Id::Int(self.numbered.into());
        if is_numbered {
            self.numbered += 1;
        } else {
            self.others.push(id);
        }
        is_numbered
    }

    /// Bytes on the heap. Cost: a step for each id that is kept.
    pub(super) fn memory_bytes(&self) -> usize {
        self.others.memory_bytes() + self.others.iter().map(len_bytes).sum::<usize>()
    }
}

impl IdIndex {
    /// Of the live rows of `ids`. Two of one id are an error: the second.
    pub(super) fn new(ids: &Ids, live: &RowSet) -> Result<Self, u32> {
        let is_live = |row: &(u32, &Id)| live.contains(row.0);
        let of_live = || ids.others().filter(is_live);
        let mut rows = HashMap::with_capacity(of_live().count());
        for (row, id) in of_live() {
            if ids.numbered_row(id, live).is_some() || rows.insert(id.clone(), row).is_some() {
                return Err(row);
            }
        }
        Ok(Self(rows))
    }

    /// The row of a live id.
    pub(super) fn row_of(&self, id: &Id, ids: &Ids, live: &RowSet) -> Option<u32> {
        self.0.get(id).copied().or_else(|| ids.numbered_row(id, live))
    }

    /// Notes the row of an id, where that is not its own number among the first.
    pub(super) fn insert(&mut self, id: Id, row: u32) {
        self.0.insert(id, row);
    }

    /// Notes that an id is not live any more.
    pub(super) fn remove(&mut self, id: &Id) {
        self.0.remove(id);
    }

    /// Bytes on the heap. Cost: a step for each id.
    pub(super) fn memory_bytes(&self) -> usize {
        let slot = size_of::<(Id, u32)>() + 1;
        // A table is filled to seven eighths at the most.
        let slots = self.0.capacity() / 7 * 8;
        slots * slot + self.0.keys().map(len_bytes).sum::<usize>()
    }
}

/// Bytes of an id that are not in its place.
fn len_bytes(id: &Id) -> usize {
    if let Id::Bytes(bytes) = id { bytes.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against two plain tables, by operations that a seed chooses.
    #[test]
    fn ids_are_found_as_in_plain_tables_whatever_their_order() {
        for seed in 0..40_u64 {
            let mut state = seed;
            let mut below = |bound: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
                (state >> 33) % bound
            };
            let (mut ids, mut index) = (Ids::default(), IdIndex::default());
            let mut live = RowSet::new();
            let (mut by_row, mut by_id) = (Vec::new(), HashMap::new());
            for step in 0..300 {
                let row = u32::try_from(by_row.len()).unwrap();
                let id = match below(8) {
                    0 => Id::from(&below(30).to_le_bytes()[..]),
                    1 | 2 => Id::Int(below(60)),
                    // Its own number, until the seed says otherwise.
                    _ if step < 5 * seed => Id::Int(row.into()),
                    _ => Id::Int(below(1 << 40)),
                };
                let found = index.row_of(&id, &ids, &live);
                assert_eq!(found, by_id.get(&id).copied(), "seed {seed}, step {step}, {id}");
                if let Some(found) = found {
                    live.remove(found);
                }
                if found.is_some() && below(2) == 0 {
                    index.remove(&id);
                    by_id.remove(&id);
                    continue;
                }
                if !ids.push(id.clone()) {
                    index.insert(id.clone(), row);
                }
                live.insert(row);
                by_id.insert(id.clone(), row);
                by_row.push(id);
            }
            let mut loaded = Ids::default();
            for (row, id) in (0_u32..).zip(&by_row) {
                assert_eq!(ids.of(row), *id, "seed {seed}, row {row}");
                loaded.push(id.clone());
            }
            let reindexed = IdIndex::new(&loaded, &live).unwrap();
            for id in &by_row {
                let expected = by_id.get(id).copied();
                assert_eq!(index.row_of(id, &ids, &live), expected, "seed {seed}, {id}");
                assert_eq!(reindexed.row_of(id, &loaded, &live), expected, "seed {seed}, {id}");
            }
        }
    }

    #[test]
    fn rows_of_their_own_numbers_take_no_memory() {
        let mut ids = Ids::default();
        assert!((0..100_000).all(|id| ids.push(Id::Int(id))));
        assert_eq!(ids.memory_bytes(), 0);
    }

    #[test]
    fn two_live_rows_of_one_id_are_an_error() {
        for (list, expected) in [
            (vec![Id::Int(0), Id::from("a"), Id::from("a")], Err(2)),
            (vec![Id::Int(0), Id::Int(1), Id::Int(0)], Err(2)),
            (vec![Id::Int(0), Id::Int(1), Id::Int(3)], Ok(())),
        ] {
            let mut ids = Ids::default();
            let live = (0..3).collect();
            for id in list {
                _ = ids.push(id);
            }
            assert_eq!(IdIndex::new(&ids, &live).map(drop), expected);
        }
    }
}
