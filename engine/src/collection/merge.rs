//! Merging: a collection written anew without the rows that nobody needs, at a checkpoint.
//!
//! Keeps which rows stay, what the collection is when they are all there are, and how that takes
//! the place of the one that went on changing while it was written. Rows keep their order, and the
//! log its numbers for them: a replay over such a checkpoint comes to what one over another does.

use super::changes::Changes;
use super::frozen::FrozenCollection;
use super::ids::IdIndex;
use super::numbers::Numbers;
use super::{Collection, LiveCollection, SavedCollection, next_stamp};
use crate::damage::Corruption;
use gannet_hnsw::{Executor, RowSet};
use std::ops::Deref;
use std::sync::Arc;

/// By itself a checkpoint merges where so many rows can go, and half as many as are live: then
/// space is never much more than half again what is needed, and every row that comes has at most
/// two others written anew.
const MERGE_ROWS_MIN: u32 = 64;

/// Which collections a checkpoint merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// None: graphs may change meanwhile.
    None,
    /// Those in which much is dead.
    Much,
    /// All in which a row can go.
    All,
}

/// How rows are called when only some are kept, as of one moment.
#[derive(Debug)]
pub(super) struct Kept {
    /// The rows that are kept, in order: each is called by its index from now on.
    rows: Vec<u32>,
    /// Rows there were. Those that came later follow the ones that are kept.
    row_count: u32,
}

impl Kept {
    /// All rows that there are now, of `end` by their old names.
    fn all(&self, end: u32) -> impl Iterator<Item = u32> {
        self.rows.iter().copied().chain(self.row_count..end)
    }

    /// What a row is called that is kept, or came later.
    fn renamed(&self, row: u32) -> u32 {
        let as_row = |index| u32::try_from(index).expect("fewer than before");
        match row.checked_sub(self.row_count) {
            None => as_row(self.rows.binary_search(&row).expect("it is needed, and kept")),
            Some(later) => as_row(self.rows.len()) + later,
        }
    }

    /// A set of such rows, which are below `end`. Cost: a step for each row there is.
    fn renamed_set(&self, set: &RowSet, end: u32) -> RowSet {
        let rows = (0..).zip(self.all(end)).filter(|(_, row)| set.contains(*row));
        rows.map(|(row, _)| row).collect()
    }
}

/// Beside a collection that was merged: what it takes to go on with it, and as if it had not been.
pub(super) struct Merged<V> {
    kept: Kept,
    index: IdIndex,
    before: Arc<Collection<V>>,
    numbers: Numbers,
    changes: Changes,
    saved: SavedCollection,
}

impl<V: Deref<Target = [u8]> + Send + Sync> Collection<V> {
    /// Appends some of the rows of `from`.
    ///
    /// # Errors
    /// Damage of one of them: those before it were appended.
    fn push_rows(
        &mut self,
        from: &Self,
        rows: impl Iterator<Item = u32>,
        index: &mut IdIndex,
    ) -> Result<(), Corruption> {
        for row in rows {
            self.rows.push(|bytes| {
                bytes.copy_from_slice(from.rows.bytes(row, 1)?);
                Ok(())
            })?;
            self.norms.extend(from.norms.get(row as usize).copied());
            let id = from.ids.of(row);
            if !self.ids.push(id.clone()) && from.live.contains(row) {
                index.insert(id, self.row_count() - 1);
            }
        }
        Ok(())
    }

    /// Knows which rows are what, as `from` does.
    fn take_sets(&mut self, from: &Self, kept: &Kept) {
        let renamed = |set| kept.renamed_set(set, from.row_count());
        self.next_id = from.next_id;
        self.stamp = next_stamp();
        self.live = renamed(&from.live);
        self.joining = renamed(&from.joining);
        self.leaving = renamed(&from.leaving);
    }
}

impl<V: Deref<Target = [u8]> + Send + Sync> LiveCollection<V> {
    /// Whether a checkpoint is to merge it. By itself none merges rows that are damaged: it would
    /// fail again and again, and the log grow.
    pub(crate) fn is_to_merge(&self, merge: Merge) -> bool {
        let least = match merge {
            Merge::None => return false,
            Merge::Much if self.now.damage().is_some() => return false,
            Merge::Much => MERGE_ROWS_MIN.max(self.now.live.count() / 2),
            Merge::All => 1,
        };
        // What is still to leave the graph, or to join it before, is needed for that.
        let needed = self.now.leaving.count() as usize + self.changes.len();
        (self.now.dead_count() as usize).saturating_sub(needed) >= least as usize
    }

    /// A checkpoint is published: goes on with what was merged, if it was, and with its files. The
    /// graph has not changed since then. Gives back what it replaces, for the caller to drop where
    /// nobody waits.
    pub(crate) fn take_saved(&mut self, frozen: FrozenCollection<V>) -> [Arc<Collection<V>>; 2] {
        let FrozenCollection { collection, mut numbers, merged, saved, graph_version, .. } = frozen;
        self.saved = saved;
        self.unsaved = std::mem::take(&mut self.since_freeze);
        let Some(Merged { kept, mut index, before, .. }) = merged else {
            return [collection, Arc::clone(&self.now)];
        };
        assert_eq!(graph_version, self.graph_version, "a graph changed while it was merged");
        let now = &*self.now;
        let mut next = (*collection).clone();
        for row in before.live.iter().filter(|row| !now.live.contains(*row)) {
            index.remove(&now.ids.of(row));
        }
        let is_forgotten = mutant!("merge-forgets-what-came");
        let end = if is_forgotten { kept.row_count } else { now.row_count() };
        let pushed = next.push_rows(now, kept.row_count..end, &mut index);
        pushed.expect("rows that no file has are in memory, and need no check");
        (kept.row_count..end).for_each(|_| numbers.push());
        if !mutant!("merge-revives-the-dead") {
            next.take_sets(now, &kept);
        }
        if !mutant!("merge-renames-no-changes") {
            self.changes.rename(|row| kept.renamed(row));
        }
        (self.index, self.numbers) = (index, numbers);
        [before, std::mem::replace(&mut self.now, Arc::new(next))]
    }
}

impl<V: Deref<Target = [u8]> + Send + Sync> FrozenCollection<V> {
    /// Leaves out the rows that nobody needs, if that was decided: all of it is written then. Cost:
    /// a copy of the others, and of the graph.
    ///
    /// # Errors
    /// Damage, of any row: nothing was left out.
    pub(crate) fn merge(&mut self, executor: &Executor) -> Result<(), Corruption> {
        if !self.is_to_merge {
            return Ok(());
        }
        let old = &*self.collection;
        old.rows.verify_all(executor)?;
        let row_count = old.row_count();
        let mut waiting = RowSet::new();
        self.changes.each(|row, _| {
            waiting.insert(row);
            true
        });
        let sets = [&old.live, old.graph.members(), &waiting];
        let is_needed = |row: &u32| sets.iter().any(|set| set.contains(*row));
        let kept = Kept { rows: (0..row_count).filter(is_needed).collect(), row_count };
        let mut new = Collection::new(old.id, old.name.clone(), old.params.clone());
        let mut index = IdIndex::default();
        new.push_rows(old, kept.all(row_count), &mut index)?;
        new.take_sets(old, &kept);
        let mut graph = old.graph.renumbered(&kept.rows);
        // All of it is written.
        drop(graph.take_changed());
        new.graph = Arc::new(graph);
        let mut changes = self.changes.clone();
        changes.rename(|row| kept.renamed(row));
        let numbers = self.numbers.of_kept(&kept.rows);
        self.merged = Some(Merged {
            kept,
            index,
            before: std::mem::replace(&mut self.collection, Arc::new(new)),
            numbers: std::mem::replace(&mut self.numbers, numbers),
            changes: std::mem::replace(&mut self.changes, changes),
            saved: std::mem::take(&mut self.saved),
        });
        self.is_to_merge = false;
        Ok(())
    }

    /// Takes the merge back: there is no room for it. Gives the numbers of files that were written
    /// and are of no use.
    pub(crate) fn unmerge(&mut self) -> Vec<u64> {
        let Some(merged) = self.merged.take() else { return Vec::new() };
        let Merged { before, numbers, changes, saved, .. } = merged;
        (self.collection, self.numbers, self.changes) = (before, numbers, changes);
        let written = std::mem::replace(&mut self.saved, saved);
        let rows = written.rows.into_iter().map(|rows| rows.file);
        rows.chain(written.dead)
            .chain(written.graph)
            .chain(written.patches)
            .map(|file| file.number)
            .collect()
    }
}
