//! Which id a row has, and which row a live id.
//!
//! Rows whose ids are their own numbers, from the first row on, take no memory: most collections
//! are numbered like that. All others are kept, and so is an id that has moved to a later row.

use super::dead::DeadRows;
use crate::id::Id;
use std::collections::HashMap;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    /// The first rows, each of its own number.
    numbered: u32,
    /// Of the rows after them.
    others: Vec<Id>,
    /// Rows of live ids, where a row is not that of its own number among the first.
    index: HashMap<Id, u32>,
}

impl Ids {
    /// How many rows have ids.
    pub(super) fn len(&self) -> u32 {
        self.numbered + u32::try_from(self.others.len()).expect("rows are counted in 32 bits")
    }

    /// The id of a row, live or dead.
    pub(super) fn of(&self, row: u32) -> Id {
        match row.checked_sub(self.numbered) {
            None => Id::Int(row.into()),
            Some(other) => self.others[other as usize].clone(),
        }
    }

    /// The row of a live id.
    pub(super) fn row_of(&self, id: &Id, dead: &DeadRows) -> Option<u32> {
        self.index.get(id).copied().or_else(|| self.numbered_row(id, dead))
    }

    fn numbered_row(&self, id: &Id, dead: &DeadRows) -> Option<u32> {
        let Id::Int(number) = id else { return None };
        let row = u32::try_from(*number).ok().filter(|row| *row < self.numbered)?;
        (!dead.contains(row)).then_some(row)
    }

    /// Gives the next row its id, which is live from now on in no other row.
    pub(super) fn push(&mut self, id: Id) {
        let row = self.len();
        if !self.push_unindexed(id) {
            self.index.insert(self.of(row), row);
        }
    }

    /// Gives the next row its id, to be found after [`index`](Self::index) alone; whether it is the
    /// row's own number.
    pub(super) fn push_unindexed(&mut self, id: Id) -> bool {
        let is_numbered = self.others.is_empty() && id == Id::Int(self.numbered.into());
        if is_numbered {
            self.numbered += 1;
        } else {
            self.others.push(id);
        }
        is_numbered
    }

    /// Notes that an id is not live any more; its row is dead.
    pub(super) fn remove(&mut self, id: &Id) {
        self.index.remove(id);
    }

    /// Makes every id of a live row findable. Two live rows of one id are an error: the second.
    pub(super) fn index(&mut self, dead: &DeadRows) -> Result<(), u32> {
        let first = self.numbered;
        let is_live = |row: &(u32, &Id)| !dead.contains(row.0);
        let live = || (first..).zip(&self.others).filter(is_live);
        let mut index = HashMap::with_capacity(live().count());
        for (row, id) in live() {
            if self.numbered_row(id, dead).is_some() || index.insert(id.clone(), row).is_some() {
                return Err(row);
            }
        }
        self.index = index;
        Ok(())
    }

    /// Bytes on the heap: of ids by row, and of rows by id. Cost: a step for each id that is kept.
    pub(super) fn memory_bytes(&self) -> (usize, usize) {
        let len = |id: &Id| if let Id::Bytes(bytes) = id { bytes.len() } else { 0 };
        let ids =
            self.others.capacity() * size_of::<Id>() + self.others.iter().map(len).sum::<usize>();
        let slot = size_of::<(Id, u32)>() + 1;
        // A table is filled to seven eighths at the most.
        let slots = self.index.capacity() / 7 * 8;
        (ids, slots * slot + self.index.keys().map(len).sum::<usize>())
    }
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
            let (mut ids, mut dead) = (Ids::default(), DeadRows::default());
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
                let found = ids.row_of(&id, &dead);
                assert_eq!(found, by_id.get(&id).copied(), "seed {seed}, step {step}, {id}");
                if let Some(found) = found {
                    dead.insert(found);
                }
                if found.is_some() && below(2) == 0 {
                    ids.remove(&id);
                    by_id.remove(&id);
                    continue;
                }
                ids.push(id.clone());
                by_id.insert(id.clone(), row);
                by_row.push(id);
            }
            let mut loaded = Ids::default();
            for (row, id) in (0_u32..).zip(&by_row) {
                assert_eq!(ids.of(row), *id, "seed {seed}, row {row}");
                loaded.push_unindexed(id.clone());
            }
            loaded.index(&dead).unwrap();
            for id in &by_row {
                let expected = by_id.get(id).copied();
                assert_eq!(ids.row_of(id, &dead), expected, "seed {seed}, {id}");
                assert_eq!(loaded.row_of(id, &dead), expected, "seed {seed}, {id}");
            }
            assert_eq!(ids.len() as usize, by_row.len());
        }
    }

    #[test]
    fn rows_of_their_own_numbers_take_no_memory() {
        let mut ids = Ids::default();
        (0..100_000).for_each(|id| ids.push(Id::Int(id)));
        assert_eq!(ids.memory_bytes(), (0, 0));
    }

    #[test]
    fn two_live_rows_of_one_id_are_an_error() {
        for (list, expected) in [
            (vec![Id::Int(0), Id::from("a"), Id::from("a")], Err(2)),
            (vec![Id::Int(0), Id::Int(1), Id::Int(0)], Err(2)),
            (vec![Id::Int(0), Id::Int(1), Id::Int(3)], Ok(())),
        ] {
            let mut ids = Ids::default();
            for id in list {
                _ = ids.push_unindexed(id);
            }
            assert_eq!(ids.index(&DeadRows::default()), expected);
        }
    }
}
