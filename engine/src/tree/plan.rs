//! Which tables are merged next.
//!
//! Keeps the shape of a tree: few tables in level 0, since each of them is asked for a key, and
//! each level below so many times as long as the one above (O'Neil et al., "The log-structured
//! merge-tree", 1996; the levels are those of `LevelDB`). What deletes much goes down at once.
//! Which versions are kept is left to `retained`, writing them to `write`.

use super::handle::Table;
use super::levels::{Levels, tables_in};
use gannet_storage::SealedFile;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// Tables of level 0 that are merged into the next.
pub(crate) const LEVEL_0_TABLES: usize = 4;
/// A level may be so many times as long as the one above.
const GROWTH: u64 = 8;

/// Some of the keys.
pub(crate) type KeyRange<'k> = (Bound<&'k [u8]>, Bound<&'k [u8]>);

/// Tables to be merged into one level.
pub(crate) struct Job<F: SealedFile> {
    /// Those of the upper level; of level 0 all that there were, the newest first.
    pub(crate) upper: Vec<Arc<Table<F>>>,
    /// Those of the target, whose keys are among theirs.
    pub(crate) lower: Vec<Arc<Table<F>>>,
    /// The level that they go to, from 1.
    pub(crate) target: usize,
    /// Nothing below has any of their keys.
    pub(crate) is_last: bool,
    /// It is to leave out what is not needed, also where nothing is in the way.
    writes_anew: bool,
}

impl<F: SealedFile> Job<F> {
    /// All of a tree, to be one level.
    pub(crate) fn all(levels: &Levels<F>) -> Self {
        let target = levels.sorted.len().max(1);
        let upper = levels.tables().cloned().collect();
        Self { upper, lower: Vec::new(), target, is_last: true, writes_anew: true }
    }

    /// All tables that are read.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Arc<Table<F>>> {
        self.upper.iter().chain(&self.lower)
    }

    /// Cuts it into at most `most` ranges of keys of about equal length, as far as the tables below
    /// level 0 tell where they could be.
    pub(crate) fn ranges(&self, most: usize) -> Vec<KeyRange<'_>> {
        let mut firsts: Vec<_> = self.lower.iter().map(|table| table.first_key()).collect();
        if self.lower.is_empty() {
            firsts.extend(self.upper.iter().map(|table| table.first_key()));
            firsts.sort_unstable();
            firsts.dedup();
        }
        let count = most.clamp(1, firsts.len().max(1));
        let cut = |index: usize| firsts[index * firsts.len() / count];
        let begin = |index| if index == 0 { Bound::Unbounded } else { Bound::Included(cut(index)) };
        let end = |index| match index + 1 {
            next if next == count => Bound::Unbounded,
            next => Bound::Excluded(cut(next)),
        };
        (0..count).map(|index| (begin(index), end(index))).collect()
    }

    /// Whether the tables can go to the target as they are: none is in their way, and no deleted
    /// key can be forgotten.
    pub(crate) fn is_move(&self) -> bool {
        let mut upper: Vec<_> = self.upper.iter().collect();
        upper.sort_by(|a, b| a.first_key().cmp(b.first_key()));
        let follow = upper.windows(2).all(|pair| pair[0].last_key() < pair[1].first_key());
        let has_deletes = upper.iter().any(|table| table.entry().deletes > 0);
        let is_free = self.lower.is_empty() && follow;
        is_free && !self.writes_anew && !(self.is_last && has_deletes)
    }
}

impl<F: SealedFile> Levels<F> {
    /// What is to be merged next, in a tree whose first level below 0 may have `level_1_bytes`.
    /// `turns` has, for each level, the key that the next turn of it begins behind.
    pub(crate) fn next_job(&self, level_1_bytes: u64, turns: &[Vec<u8>]) -> Option<Job<F>> {
        if self.newest.len() >= LEVEL_0_TABLES {
            return Some(self.job_of(self.newest.clone(), 1));
        }
        let mut limit = level_1_bytes;
        for (index, level) in self.sorted.iter().enumerate() {
            let target = index + 2;
            if len_bytes(level) > limit {
                // One after the other, in turns: each is merged as often as any.
                let turn = turns.get(index).map_or(&[][..], Vec::as_slice);
                let first = level.partition_point(|table| table.first_key() <= turn);
                let table = level.get(first).or(level.first())?;
                return Some(self.job_of(vec![Arc::clone(table)], target));
            }
            limit = limit.saturating_mul(GROWTH);
        }
        self.of_deletes()
    }

    /// The job of a table that says of most of its keys that they are deleted: what they delete
    /// takes room below, and this one so little that its level is never too long. In the last level
    /// there are deletions only while somebody reads what was before.
    fn of_deletes(&self) -> Option<Job<F>> {
        let above = self.sorted.split_last().map_or(&[][..], |(_, above)| above);
        let is_of_deletes = |table: &&Arc<Table<F>>| {
            let entry = table.entry();
            entry.deletes > entry.entries / 2
        };
        above.iter().enumerate().find_map(|(index, level)| {
            let table = level.iter().find(is_of_deletes)?;
            Some(self.job_of(vec![Arc::clone(table)], index + 2))
        })
    }

    /// The job of merging tables into a level.
    fn job_of(&self, upper: Vec<Arc<Table<F>>>, target: usize) -> Job<F> {
        let first = upper.iter().map(|table| table.first_key()).min().unwrap_or_default();
        let last = upper.iter().map(|table| table.last_key()).max().unwrap_or_default();
        let in_range = |level: usize| {
            let level = self.sorted.get(level - 1).map_or(&[][..], Vec::as_slice);
            tables_in(level, (Bound::Included(first), Bound::Included(last)))
        };
        let lower: Vec<_> = in_range(target).cloned().collect();
        // The tables of the target reach further than those above.
        let reach_first = lower.iter().map(|table| table.first_key()).min();
        let reach_last = lower.iter().map(|table| table.last_key()).max();
        let first = reach_first.map_or(first, |key| key.min(first));
        let last = reach_last.map_or(last, |key| key.max(last));
        let reach = (Bound::Included(first), Bound::Included(last));
        let mut below = self.sorted.iter().skip(target);
        let is_last = below.all(|level| tables_in(level, reach).next().is_none());
        Job { upper, lower, target, is_last, writes_anew: false }
    }

    /// The levels after a job: its tables are gone, and those that it wrote are there.
    pub(crate) fn after(&self, job: &Job<F>, written: Vec<Arc<Table<F>>>) -> Self {
        let gone: BTreeSet<u64> = job.inputs().map(|table| table.entry().file.number).collect();
        let stays = |table: &Arc<Table<F>>| !gone.contains(&table.entry().file.number);
        let mut next = self.clone();
        next.newest.retain(stays);
        next.sorted.iter_mut().for_each(|level| level.retain(stays));
        let levels = next.sorted.len().max(job.target);
        next.sorted.resize_with(levels, Vec::new);
        let level = &mut next.sorted[job.target - 1];
        level.extend(written);
        level.sort_by(|a, b| a.first_key().cmp(b.first_key()));
        while next.sorted.last().is_some_and(Vec::is_empty) {
            next.sorted.pop();
        }
        next
    }

    /// The levels with one more table, newer than all.
    pub(crate) fn with_newest(&self, table: Arc<Table<F>>) -> Self {
        let mut next = self.clone();
        next.newest.insert(0, table);
        next
    }
}

fn len_bytes<F: SealedFile>(level: &[Arc<Table<F>>]) -> u64 {
    level.iter().map(|table| table.entry().file.len_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::super::handle::TableEntry;
    use super::*;
    use crate::sealed::FileRef;
    use gannet_storage::{MemStorage, Storage};

    type Sealed = <MemStorage as Storage>::Sealed;

    const LEVEL_1_BYTES: u64 = 400;

    /// A table of 100 bytes.
    fn table(number: u64, first_key: &str, last_key: &str) -> Arc<Table<Sealed>> {
        table_with(number, first_key, last_key, 0)
    }

    fn table_with(
        number: u64,
        first_key: &str,
        last_key: &str,
        deletes: u64,
    ) -> Arc<Table<Sealed>> {
        Arc::new(Table::new(TableEntry {
            file: FileRef { number, len_bytes: 100, header_crc: 0 },
            first_lsn: 1,
            last_lsn: 1,
            entries: 10,
            deletes,
            first_key: first_key.as_bytes().to_vec(),
            last_key: last_key.as_bytes().to_vec(),
        }))
    }

    fn numbers<'t>(tables: impl IntoIterator<Item = &'t Arc<Table<Sealed>>>) -> Vec<u64> {
        tables.into_iter().map(|table| table.entry().file.number).collect()
    }

    fn next(levels: &Levels<Sealed>, turns: &[Vec<u8>]) -> Option<Job<Sealed>> {
        levels.next_job(LEVEL_1_BYTES, turns)
    }

    #[test]
    fn level_0_goes_down_when_it_has_enough_tables_with_those_in_its_way() {
        let sorted = vec![vec![table(1, "a", "c"), table(2, "d", "f"), table(3, "x", "z")]];
        let mut levels = Levels { newest: Vec::new(), sorted };
        for number in 11..14 {
            levels = levels.with_newest(table(number, "b", "e"));
            assert!(next(&levels, &[]).is_none());
        }
        levels = levels.with_newest(table(14, "b", "e"));
        let job = next(&levels, &[]).unwrap();
        assert_eq!((numbers(&job.upper), numbers(&job.lower)), (vec![14, 13, 12, 11], vec![1, 2]));
        assert_eq!((job.target, job.is_last, job.is_move()), (1, true, false));
        // One that comes meanwhile stays above.
        let meanwhile = levels.with_newest(table(15, "a", "z"));
        let after = meanwhile.after(&job, vec![table(21, "a", "b"), table(22, "c", "f")]);
        assert_eq!(numbers(after.tables()), [15, 21, 22, 3]);
    }

    #[test]
    fn a_level_that_is_too_long_gives_tables_away_in_turns() {
        let level_1 = (1..).zip(["a", "c", "e", "g", "i"]);
        let level_1 = level_1.map(|(number, key)| table(number, key, key)).collect();
        let level_2 = vec![table(11, "a", "d"), table(12, "h", "j")];
        let sorted = vec![level_1, level_2, vec![table(21, "b", "b")]];
        let mut levels = Levels { newest: Vec::new(), sorted };
        let job = next(&levels, &[]).unwrap();
        assert_eq!((numbers(&job.upper), numbers(&job.lower)), (vec![1], vec![11]));
        assert_eq!((job.target, job.is_last), (2, false), "what is below its reach counts");
        let job = next(&levels, &[b"c".to_vec()]).unwrap();
        assert_eq!((numbers(&job.upper), job.lower.len()), (vec![3], 0));
        assert!(job.is_last && job.is_move());
        let job = next(&levels, &[b"z".to_vec()]).unwrap();
        assert_eq!(numbers(&job.upper), [1], "again from the first");
        levels.sorted[0].pop();
        assert!(next(&levels, &[]).is_none());
    }

    #[test]
    fn what_was_deleted_is_not_kept_for_want_of_tables_above() {
        let deletes = |number, many| vec![table_with(number, "b", "c", many), table(9, "x", "z")];
        let levels = |many| {
            let sorted = vec![deletes(1, many), vec![table(2, "a", "f")], vec![table(3, "a", "f")]];
            Levels { newest: Vec::new(), sorted }
        };
        assert!(next(&levels(5), &[]).is_none());
        let job = next(&levels(6), &[]).unwrap();
        assert_eq!((numbers(job.inputs()), job.target, job.is_last), (vec![1, 2], 2, false));
        let after = levels(6).after(&job, vec![table_with(4, "a", "f", 6)]);
        let job = next(&after, &[]).unwrap();
        assert_eq!((numbers(job.inputs()), job.target, job.is_last), (vec![4, 3], 3, true));
        // Somebody may read what was before: there is nowhere else to go.
        let after = after.after(&job, vec![table_with(5, "a", "f", 6)]);
        assert!(next(&after, &[]).is_none());
    }

    #[test]
    fn tables_go_down_as_they_are_where_nothing_is_to_be_done() {
        let is_move = |upper: &[Arc<Table<Sealed>>], below: &[Arc<Table<Sealed>>]| {
            let sorted = vec![Vec::new(), below.to_vec()];
            let levels = Levels { newest: upper.to_vec(), sorted };
            levels.job_of(levels.newest.clone(), 1).is_move()
        };
        let deletes = table_with(3, "e", "f", 1);
        assert!(is_move(&[table(2, "c", "d"), table(1, "a", "b")], &[]));
        assert!(!is_move(&[table(2, "b", "d"), table(1, "a", "b")], &[]), "one key in both");
        assert!(!is_move(&[Arc::clone(&deletes)], &[]), "what is deleted is forgotten");
        assert!(is_move(&[deletes], &[table(4, "a", "z")]), "or not, for what is below");
    }

    #[test]
    fn all_of_a_tree_is_one_level() {
        let sorted = vec![vec![table(1, "a", "c")], vec![table(2, "a", "c")]];
        let levels = Levels { newest: Vec::new(), sorted }.with_newest(table(3, "b", "b"));
        let job = Job::all(&levels);
        assert_eq!((numbers(job.inputs()), job.is_last), (vec![3, 1, 2], true));
        assert!(!Job::all(&Levels { newest: vec![table(1, "a", "c")], sorted: vec![] }).is_move());
        let after = levels.after(&job, vec![table(4, "a", "c")]);
        assert_eq!((after.sorted.len(), numbers(after.tables())), (2, vec![4]));
        let nothing = levels.after(&job, Vec::new());
        assert_eq!((nothing.sorted.len(), nothing.tables().count()), (0, 0));
    }
}
